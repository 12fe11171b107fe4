// Attention to the cache of a search: int8.h has the layout.
//
// A block's 16 positions are the lanes of a vector. Where hypotheses share a past, their rows share
// the loads of one slot; where they do not, each slot that some row continues is computed for all
// rows and every row takes its own lanes. So a beam is reordered by its owners' bits alone.
#ifndef KERAS_INT8NMT_KERNELS_SIMD_CACHE_H_
#define KERAS_INT8NMT_KERNELS_SIMD_CACHE_H_

#include <cmath>

#include "int8.h"
#include "simd/attention.h"
#include "simd/cache_softmax.h"
#include "simd/cache_write.h"
#include "simd/elementwise.h"
#include "simd/scratch.h"
#include "simd/vector_math.h"
#include "simd/vectors.h"

namespace keras_int8nmt {
namespace {

constexpr int kCacheRows = 4;     // query rows at a time
constexpr int kCacheVectors = 4;  // of 16 value columns at a time
static_assert(kCacheBlock == kLanes, "a position is a lane");

// Of up to kCacheRows rows in all heads.
struct CacheScratch {
  CacheScratch(int64_t heads, int64_t head_dim, int64_t length)
      : positions(RoundUp(length, kLanes)),
        groups((head_dim + 3) / 4),
        memory_(heads * kCacheRows * (positions + RoundUp(positions / 4, kLanes)) +
                kCacheRows * RoundUp(groups * kWeightWords, kLanes) + groups + kSpareWords) {
    scores_ = memory_.Take<float>(heads * kCacheRows * positions);
    probabilities_ = memory_.Take<uint8_t>(heads * kCacheRows * positions / 4);
    for (int32_t*& query : queries) query = memory_.Take<int32_t>(groups * kWeightWords);
    query_bytes = memory_.Take<int8_t>(groups);
  }

  float* scores(int64_t head, int r) const { return scores_ + (head * kCacheRows + r) * positions; }
  // For int8 values; float32 ones have theirs in `scores`.
  uint8_t* probabilities(int64_t head, int r) const {
    return probabilities_ + (head * kCacheRows + r) * positions;
  }

  int64_t positions;  // rounded up to whole blocks
  int64_t groups;     // of 4 dimensions
  // Of the head at hand.
  int32_t* queries[kCacheRows];
  int32_t starts[kCacheRows];
  int8_t* query_bytes;

 private:
  Scratch memory_;
  float* scores_;
  uint8_t* probabilities_;
};

// Rows [first_row, first_row + kRows) of one head.
struct CacheHead {
  int64_t head, first_row;
  int64_t keys, values;          // where they are within a block
  int64_t key_slot, value_slot;  // bytes from slot to slot
};

// f(slot, bits of each row, whether one slot is all of the block) for each slot that a row
// continues.
template <int kRows, class F>
INLINE void ForSlots(const CachedAttentionArgs& args, int64_t first_row, int64_t block, F f) {
  if (args.owners == nullptr) {
    uint32_t bits[kRows];
    for (uint32_t& row : bits) row = 0xffff;
    f(0, bits);
    return;
  }
  const uint16_t* owners = args.owners + first_row * args.owners_stride + block * args.slots;
  for (int64_t s = 0; s < args.slots; ++s) {
    uint32_t bits[kRows], any = 0;
    for (int r = 0; r < kRows; ++r) any |= bits[r] = owners[r * args.owners_stride + s];
    if (any != 0) f(s, bits);
  }
}

template <int kRows>
void CacheQueries(const CachedAttentionArgs& args, const CacheHead& head, CacheScratch* scratch) {
  for (int r = 0; r < kRows; ++r) {
    const auto* bytes = static_cast<const int8_t*>(args.query) +
                        (head.first_row + r) * args.query_stride + head.head * args.head_dim;
    scratch->starts[r] = ScoreStart(bytes, args.head_dim);
    if (args.head_dim % 4 != 0) {
      __builtin_memset(scratch->query_bytes, 0, 4 * scratch->groups);
      __builtin_memcpy(scratch->query_bytes, bytes, args.head_dim);
      bytes = scratch->query_bytes;
    }
    PackWeights(bytes, scratch->groups, scratch->queries[r]);
  }
}

// What to fetch while `offset` in a block is read: the same of the next call or, where that has no
// such block, what lies `behind` bytes behind it in this one, the next head. The caches of a batch
// do not fit the CPU's, and a head alone is computed faster than memory answers.
INLINE const char* Ahead(const CachedAttentionArgs& args, int64_t block, int64_t offset,
                         int64_t behind) {
  if (block < args.next_count) return args.next_blocks[block] + offset;
  return args.blocks[block] + offset + behind;
}

template <int kRows>
INLINE void Int8Dots(const CacheScratch& scratch, const char* keys, const char* ahead,
                     Floats dots[kRows]) {
  Ints acc[kRows];
  for (int r = 0; r < kRows; ++r) acc[r] = SetInt(scratch.starts[r]);
  const auto* panel = reinterpret_cast<const int32_t*>(keys);
  for (int64_t g = 0; g < scratch.groups; ++g) {
    const Ints group = Load(panel + g * kLanes, Full());
    __builtin_prefetch(ahead + g * kLanes * 4, 0, 2);
    for (int r = 0; r < kRows; ++r) {
      acc[r] = KeyDot(acc[r], group, scratch.queries[r] + g * kWeightWords);
    }
  }
  for (int r = 0; r < kRows; ++r) dots[r] = ToFloats(acc[r]);
}

template <int kRows>
INLINE void FloatDots(const CachedAttentionArgs& args, const CacheHead& head, const char* keys,
                      Floats dots[kRows]) {
  const float* query[kRows];
  for (int r = 0; r < kRows; ++r) {
    query[r] = reinterpret_cast<const float*>(static_cast<const char*>(args.query) +
                                              (head.first_row + r) * args.query_stride) +
               head.head * args.head_dim;
    dots[r] = Set(0.0f);
  }
  const auto* panel = reinterpret_cast<const float*>(keys);
  for (int64_t d = 0; d < args.head_dim; ++d) {
    const Floats key = Load(panel + d * kLanes, Full());
    for (int r = 0; r < kRows; ++r) dots[r] = dots[r] + key * Set(query[r][d]);
  }
}

template <int kRows, bool kInt8Keys>
INLINE void CacheScores(const CachedAttentionArgs& args, const CacheHead& head,
                        CacheScratch* scratch) {
  if (kInt8Keys) CacheQueries<kRows>(args, head, scratch);
  const Floats scale = Set(args.scale);
  for (int64_t block = 0; block * kLanes < args.length; ++block) {
    Floats scores[kRows];
    for (Floats& row : scores) row = Set(0.0f);
    ForSlots<kRows>(args, head.first_row, block, [&](int64_t slot, const uint32_t bits[kRows]) {
      const int64_t offset = head.keys + slot * head.key_slot;
      const char* keys = args.blocks[block] + offset;
      Floats dots[kRows];
      if (kInt8Keys) {
        const char* ahead = Ahead(args, block, offset, scratch->groups * kLanes * 4);
        Int8Dots<kRows>(*scratch, keys, ahead, dots);
      } else {
        FloatDots<kRows>(args, head, keys, dots);
      }
      for (int r = 0; r < kRows; ++r) {
        scores[r] = Select(MaskOf(bits[r]), dots[r] * scale, scores[r]);
      }
    });
    for (int r = 0; r < kRows; ++r)
      Store(scratch->scores(head.head, r) + block * kLanes, scores[r], Full());
  }
}

// Adds the weighted values of one block and slot to `acc`; `real` are the block's real positions,
// the others have the weight 0.
template <int kRows>
INLINE void AddInt8Values(const CacheScratch& scratch, int64_t head, int64_t block, uint32_t real,
                          const char* values, const char* ahead, int64_t columns, int vectors,
                          const uint32_t bits[kRows], Ints acc[kRows][kCacheVectors]) {
  int32_t weights[kRows][4 * kWeightWords];
  for (int r = 0; r < kRows; ++r) {
    const uint8_t* row = scratch.probabilities(head, r) + block * kLanes;
    uint8_t kept[kLanes];
    if ((bits[r] & real) != real) {
      KeepBytes(row, bits[r], kept);
      row = kept;
    }
    PackWeights(row, 4, weights[r]);
  }
  for (int g = 0; g < 4; ++g) {
    const auto* panel = reinterpret_cast<const int32_t*>(values) + g * columns;
    for (int v = 0; v < vectors; ++v) {
      const Ints value = Load(panel + v * kLanes, Full());
      __builtin_prefetch(ahead + (g * columns + v * kLanes) * 4, 0, 2);
      for (int r = 0; r < kRows; ++r) {
        acc[r][v] = ValueDot(acc[r][v], value, weights[r] + g * kWeightWords);
      }
    }
  }
}

// The same for float32 values, position by position whatever slots they are in: their sums have an
// order.
template <int kRows>
INLINE void AddFloatValues(const CachedAttentionArgs& args, const CacheHead& head,
                           const CacheScratch& scratch, int64_t block, int64_t column, int vectors,
                           Floats acc[kRows][kCacheVectors]) {
  const int64_t columns = RoundUp(args.value_dim, kLanes);
  const int64_t count = Smaller(kLanes, args.length - block * kLanes);
  const char* values = args.blocks[block] + head.values;
  for (int64_t j = 0; j < count; ++j) {
    ForSlots<kRows>(args, head.first_row, block, [&](int64_t slot, const uint32_t bits[kRows]) {
      const float* value =
          reinterpret_cast<const float*>(values + slot * head.value_slot) + j * columns + column;
      for (int r = 0; r < kRows; ++r) {
        if ((bits[r] >> j & 1) == 0) continue;
        const Floats weight = Set(scratch.scores(head.head, r)[block * kLanes + j]);
        for (int v = 0; v < vectors; ++v) {
          acc[r][v] = acc[r][v] + weight * Load(value + v * kLanes, Full());
        }
      }
    });
  }
}

// Writes up to kCacheVectors vectors of a row of context.
INLINE void WriteCacheContext(const CachedAttentionArgs& args, int64_t row, int64_t column,
                              int64_t columns, const Floats* y) {
  void* out = static_cast<char*>(args.context) + row * args.context_stride;
  const auto write = [&](auto writer) {
    ForVectors(columns, [&](int64_t i, auto lanes) { writer(column + i, y[i / kLanes], lanes); });
  };
  if (args.output.type != Type::kFloat32) return WithWriter(args.output, out, write);
  const Floats scale = Set(args.output.scale);
  write([&](int64_t i, Floats x, auto lanes) {
    Store(static_cast<float*>(out) + i, x * scale, lanes);
  });
}

template <int kRows, bool kInt8Values>
INLINE void CacheContext(const CachedAttentionArgs& args, const CacheHead& head,
                         const CacheScratch& scratch) {
  const int64_t stride = RoundUp(args.value_dim, kLanes);
  for (int64_t column = 0; column < args.value_dim; column += kCacheVectors * kLanes) {
    const int64_t columns = Smaller(kCacheVectors * kLanes, args.value_dim - column);
    const int vectors = static_cast<int>((columns + kLanes - 1) / kLanes);
    Ints sums[kRows][kCacheVectors];
    Floats context[kRows][kCacheVectors];
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kCacheVectors; ++v) sums[r][v] = SetInt(0), context[r][v] = Set(0.0f);
    }
    for (int64_t block = 0; block * kLanes < args.length; ++block) {
      const uint32_t real = (1u << Smaller(kLanes, args.length - block * kLanes)) - 1;
      if (!kInt8Values) {
        AddFloatValues<kRows>(args, head, scratch, block, column, vectors, context);
        continue;
      }
      ForSlots<kRows>(args, head.first_row, block, [&](int64_t slot, const uint32_t bits[kRows]) {
        const int64_t offset = head.values + slot * head.value_slot + column * 4;
        const char* values = args.blocks[block] + offset;
        const char* ahead = Ahead(args, block, offset, 4 * stride * 4);
        if (vectors == kCacheVectors) {
          AddInt8Values<kRows>(scratch, head.head, block, real, values, ahead, stride,
                               kCacheVectors, bits, sums);
        } else {
          AddInt8Values<kRows>(scratch, head.head, block, real, values, ahead, stride, vectors,
                               bits, sums);
        }
      });
    }
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; kInt8Values && v < vectors; ++v) context[r][v] = ToFloats(sums[r][v]);
      WriteCacheContext(args, head.first_row + r, head.head * args.value_dim + column, columns,
                        context[r]);
    }
  }
}

// All heads of some rows, one kind of work after the other: a softmax is a long chain of
// operations, and those of different rows and heads overlap only when nothing comes between them.
template <int kRows, bool kInt8Keys, bool kInt8Values>
void CacheRows(const CachedAttentionArgs& args, int64_t first_row, CacheScratch* scratch) {
  const int64_t key_bytes = CacheKeyBytes(args.key_type, args.head_dim);
  const int64_t value_bytes = CacheValueBytes(args.value_type, args.value_dim);
  CacheHead head;
  head.first_row = first_row;
  head.key_slot = args.heads * key_bytes;
  head.value_slot = args.heads * value_bytes;
  const auto for_heads = [&](auto f) {
    for (head.head = 0; head.head < args.heads; ++head.head) {
      head.keys = args.keys_offset + head.head * key_bytes;
      head.values = args.values_offset + head.head * value_bytes;
      f();
    }
  };
  for_heads([&] { CacheScores<kRows, kInt8Keys>(args, head, scratch); });
  if (args.integer_softmax) {
    for_heads([&] {
      for (int r = 0; r < kRows; ++r) {
        CacheSoftmax<kInt8Values, IntegerExponential>(scratch->scores(head.head, r), args.length,
                                                      scratch->probabilities(head.head, r));
      }
    });
  } else {
    for_heads([&] {
      for (int r = 0; r < kRows; ++r) {
        CacheSoftmax<kInt8Values, FloatExponential>(scratch->scores(head.head, r), args.length,
                                                    scratch->probabilities(head.head, r));
      }
    });
  }
  for_heads([&] { CacheContext<kRows, kInt8Values>(args, head, *scratch); });
}

template <bool kInt8Keys, bool kInt8Values>
void CachedAttentionOf(const CachedAttentionArgs& args) {
  CacheScratch scratch(args.heads, args.head_dim, args.length);
  for (int64_t row = 0; row < args.rows;) {
    const int64_t left = args.rows - row;
    if (left >= kCacheRows) {
      CacheRows<kCacheRows, kInt8Keys, kInt8Values>(args, row, &scratch);
      row += kCacheRows;
    } else if (left >= 2) {
      CacheRows<2, kInt8Keys, kInt8Values>(args, row, &scratch);
      row += 2;
    } else {
      CacheRows<1, kInt8Keys, kInt8Values>(args, row, &scratch);
      row += 1;
    }
  }
}

void CachedAttention(const CachedAttentionArgs& args) {
  const bool int8_keys = args.key_type == Type::kInt8;
  if (args.value_type == Type::kInt8) {
    int8_keys ? CachedAttentionOf<true, true>(args) : CachedAttentionOf<false, true>(args);
  } else {
    int8_keys ? CachedAttentionOf<true, false>(args) : CachedAttentionOf<false, false>(args);
  }
}

}  // namespace
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_SIMD_CACHE_H_
