// Writes a position of a search's cache: int8.h has the layout.
#ifndef KERAS_INT8NMT_KERNELS_SIMD_CACHE_WRITE_H_
#define KERAS_INT8NMT_KERNELS_SIMD_CACHE_WRITE_H_

#include "int8.h"
#include "simd/attention.h"
#include "simd/vectors.h"

namespace keras_int8nmt {
namespace {

void WriteInt8Key(const int8_t* key, int64_t head_dim, int32_t* out) {
  const int64_t whole = head_dim / 4;
  for (int64_t g = 0; g < whole; ++g) {
    int32_t word;
    __builtin_memcpy(&word, key + 4 * g, 4);
    out[g * kLanes] = PrepareKey(word);
  }
  if (head_dim % 4 == 0) return;
  int32_t word = 0;
  __builtin_memcpy(&word, key + 4 * whole, head_dim % 4);
  out[whole * kLanes] = PrepareKey(word);
}

// Other positions of the group keep what they have: a slot need not be written at all of them.
void WriteInt8Value(const int8_t* value, int64_t value_dim, int64_t position, uint32_t* out) {
  const int shift = static_cast<int>(position % 4 * 8);
  const uint32_t keep = ~(0xffu << shift);
  for (int64_t c = 0; c < value_dim; ++c) {
    out[c] = (out[c] & keep) | static_cast<uint32_t>(static_cast<uint8_t>(value[c])) << shift;
  }
}

void CacheWrite(const CacheWriteArgs& args) {
  const int64_t key_bytes = CacheKeyBytes(args.key_type, args.head_dim);
  const int64_t value_bytes = CacheValueBytes(args.value_type, args.value_dim);
  const int64_t columns = RoundUp(args.value_dim, kLanes);
  for (int64_t h = 0; h < args.heads; ++h) {
    char* keys = static_cast<char*>(args.keys) + h * key_bytes;
    char* values = static_cast<char*>(args.values) + h * value_bytes;
    if (args.key_type == Type::kInt8) {
      WriteInt8Key(static_cast<const int8_t*>(args.key) + h * args.head_dim, args.head_dim,
                   reinterpret_cast<int32_t*>(keys) + args.position);
    } else {
      const float* key = static_cast<const float*>(args.key) + h * args.head_dim;
      float* out = reinterpret_cast<float*>(keys) + args.position;
      for (int64_t d = 0; d < args.head_dim; ++d) out[d * kLanes] = key[d];
    }
    if (args.value_type == Type::kInt8) {
      WriteInt8Value(static_cast<const int8_t*>(args.value) + h * args.value_dim, args.value_dim,
                     args.position,
                     reinterpret_cast<uint32_t*>(values) + args.position / 4 * columns);
    } else {
      __builtin_memcpy(reinterpret_cast<float*>(values) + args.position * columns,
                       static_cast<const float*>(args.value) + h * args.value_dim,
                       args.value_dim * sizeof(float));
    }
  }
}

}  // namespace
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_SIMD_CACHE_WRITE_H_
