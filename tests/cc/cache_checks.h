// Attention to a search's cache: every set against the plain loops, and those against the attention
// over plain keys and values.
#ifndef KERAS_INT8NMT_TESTS_CC_CACHE_CHECKS_H_
#define KERAS_INT8NMT_TESTS_CC_CACHE_CHECKS_H_

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "check.h"
#include "inputs.h"
#include "int8.h"

namespace keras_int8nmt {
namespace {

struct CacheCase {
  int64_t rows, slots, length;
  int32_t heads, head_dim, value_dim;
  Type key_type, value_type, out_type;
  bool integer_softmax = false;
};

// Random keys and values [length, slots, heads * dim], and who owns which position.
struct CacheData {
  explicit CacheData(const CacheCase& c)
      : test(c),
        blocks((c.length + kCacheBlock - 1) / kCacheBlock),
        query(Numbers(c.key_type, c.rows * c.heads * c.head_dim)),
        key(Numbers(c.key_type, c.length * c.slots * c.heads * c.head_dim)),
        value(Numbers(c.value_type, c.length * c.slots * c.heads * c.value_dim)),
        owners(c.rows * blocks * c.slots, 0),
        slot_of(c.rows * c.length) {
    for (int64_t r = 0; r < c.rows; ++r) {
      for (int64_t j = 0; j < c.length; ++j) {
        // A common past in most places.
        const int64_t slot = Integer(0, 3) > 0 ? j % c.slots : Integer(0, c.slots - 1);
        slot_of[r * c.length + j] = slot;
        owners[(r * blocks + j / kCacheBlock) * c.slots + slot] |= 1u << j % kCacheBlock;
      }
    }
  }

  static std::vector<char> Numbers(Type type, int64_t n) {
    std::vector<char> out(n * TypeBytes(type));
    for (int64_t i = 0; i < n; ++i) {
      const float x = Uniform(-1.0f, 1.0f);
      const int8_t q = static_cast<int8_t>(Integer(-127, 127));
      std::memcpy(&out[i * TypeBytes(type)],
                  type == Type::kFloat32 ? static_cast<const void*>(&x) : &q, TypeBytes(type));
    }
    return out;
  }

  // The context as `kernels` gives it, from a cache that it wrote itself into memory full of ones.
  void Run(const Kernels& kernels, const Output& output, void* context) const {
    const int64_t key_part = test.heads * CacheKeyBytes(test.key_type, test.head_dim);
    const int64_t value_part = test.heads * CacheValueBytes(test.value_type, test.value_dim);
    const int64_t block_bytes = test.slots * (key_part + value_part);
    Guarded<char> cache(blocks * block_bytes);
    std::memset(cache.data(), 0xff, blocks * block_bytes);
    // In any order, as a pool gives them.
    std::vector<const char*> block_list;
    for (int64_t b = 0; b < blocks; ++b) {
      block_list.push_back(cache.data() + (b * 7 + 3) % blocks * block_bytes);
    }
    if (blocks % 7 == 0) {
      for (int64_t b = 0; b < blocks; ++b) block_list[b] = cache.data() + b * block_bytes;
    }
    CacheWriteArgs write;
    write.key_type = test.key_type;
    write.value_type = test.value_type;
    write.heads = test.heads;
    write.head_dim = test.head_dim;
    write.value_dim = test.value_dim;
    for (int64_t j = 0; j < test.length; ++j) {
      for (int64_t s = 0; s < test.slots; ++s) {
        if (!Owned(j, s)) continue;
        char* block = const_cast<char*>(block_list[j / kCacheBlock]);
        write.key = KeyRow(j, s);
        write.value = ValueRow(j, s);
        write.position = j % kCacheBlock;
        write.keys = block + s * key_part;
        write.values = block + test.slots * key_part + s * value_part;
        kernels.cache_write(write);
      }
    }
    CachedAttentionArgs args;
    args.query = query.data();
    args.query_stride = test.heads * test.head_dim * TypeBytes(test.key_type);
    args.rows = test.rows;
    args.blocks = block_list.data();
    // Fetched and not looked at.
    args.next_blocks = block_list.data();
    args.next_count = blocks / 2;
    args.values_offset = test.slots * key_part;
    args.key_type = test.key_type;
    args.value_type = test.value_type;
    args.slots = test.slots;
    args.owners = test.slots == 1 ? nullptr : owners.data();
    args.owners_stride = blocks * test.slots;
    args.length = test.length;
    args.heads = test.heads;
    args.head_dim = test.head_dim;
    args.value_dim = test.value_dim;
    args.scale = test.key_type == Type::kInt8 ? 2e-4f : 0.3f;
    args.integer_softmax = test.integer_softmax;
    args.output = output;
    args.context = context;
    args.context_stride = test.heads * test.value_dim * TypeBytes(output.type);
    kernels.cached_attention(args);
  }

  // What nobody continues is never written.
  bool Owned(int64_t j, int64_t slot) const {
    for (int64_t r = 0; r < test.rows; ++r) {
      if (slot_of[r * test.length + j] == slot) return true;
    }
    return false;
  }
  const char* KeyRow(int64_t j, int64_t slot) const {
    return &key[(j * test.slots + slot) * test.heads * test.head_dim * TypeBytes(test.key_type)];
  }
  const char* ValueRow(int64_t j, int64_t slot) const {
    return &value[(j * test.slots + slot) * test.heads * test.value_dim *
                  TypeBytes(test.value_type)];
  }

  CacheCase test;
  int64_t blocks;
  std::vector<char> query, key, value;
  std::vector<uint16_t> owners;
  std::vector<int64_t> slot_of;
};

// The plain loops over a cache find what plain attention finds in each row's own past.
inline void TestReferenceCache(const Kernels& reference, bool integer_softmax) {
  const CacheCase c = {5, 3, 37, 2, 12, 20, Type::kInt8, Type::kInt8, Type::kInt8, integer_softmax};
  const CacheData data(c);
  const Output output = MakeOutput(c.out_type, 0.01f);
  std::vector<int8_t> found(c.rows * c.heads * c.value_dim), expected(found.size());
  data.Run(reference, output, found.data());
  const int32_t length = static_cast<int32_t>(c.length);
  for (int64_t r = 0; r < c.rows; ++r) {
    std::vector<char> keys, values;
    for (int64_t j = 0; j < c.length; ++j) {
      const int64_t slot = data.slot_of[r * c.length + j];
      keys.insert(keys.end(), data.KeyRow(j, slot), data.KeyRow(j, slot) + c.heads * c.head_dim);
      values.insert(values.end(), data.ValueRow(j, slot),
                    data.ValueRow(j, slot) + c.heads * c.value_dim);
    }
    AttentionArgs args;
    args.query = reinterpret_cast<const int8_t*>(&data.query[r * c.heads * c.head_dim]);
    args.key = reinterpret_cast<const int8_t*>(keys.data());
    args.value = reinterpret_cast<const int8_t*>(values.data());
    args.query_stride = args.key_stride = c.heads * c.head_dim;
    args.value_stride = c.heads * c.value_dim;
    args.batch = args.rows_per_batch = 1;
    args.keys = c.length;
    args.heads = c.heads;
    args.head_dim = c.head_dim;
    args.value_dim = c.value_dim;
    args.lengths = &length;
    args.scale = 2e-4f;
    args.integer_softmax = integer_softmax;
    args.output = output;
    args.context = &expected[r * c.heads * c.value_dim];
    reference.attention(args);
  }
  if (found != expected) Fail("attention to a cache differs from attention");
}

}  // namespace
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_TESTS_CC_CACHE_CHECKS_H_
