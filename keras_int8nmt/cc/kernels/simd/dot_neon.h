// Dot products of bytes in groups of 4 by ARM's instructions for them; the same functions as
// dot_madd.h. For the header of an instruction set, after its vectors.
//
// sdot multiplies signed by signed bytes, as a key and a query are. Probabilities are unsigned and
// values signed: usdot of FEAT_I8MM multiplies those. Without it udot does, of values + 128, which
// adds 128 * the sum of the group's probabilities: minus that stands beside them as a second word.
#ifndef KERAS_INT8NMT_KERNELS_SIMD_DOT_NEON_H_
#define KERAS_INT8NMT_KERNELS_SIMD_DOT_NEON_H_

#ifndef __ARM_FEATURE_DOTPROD
#error "The flags of this instruction set are missing."
#endif

namespace keras_int8nmt {
namespace {

INLINE Ints PrepareKeys(Ints keys) { return keys; }
INLINE int32_t PrepareKey(int32_t key) { return key; }
INLINE int32_t ScoreStart(const int8_t*, int64_t) { return 0; }
INLINE Ints KeyDot(Ints acc, Ints keys, const int32_t* query) {
  const int8x16_t x = vreinterpretq_s8_s32(vdupq_n_s32(*query));
  return Each<Ints>([&](int i) { return vdotq_s32(acc.v[i], vreinterpretq_s8_s32(keys.v[i]), x); });
}

#ifdef __ARM_FEATURE_MATMUL_INT8

constexpr int kWeightWords = 1;

template <class T>
INLINE void PackWeights(const T* x, int64_t groups, int32_t* weights) {
  __builtin_memcpy(weights, x, 4 * groups);
}
INLINE Ints ValueDot(Ints acc, Ints values, const int32_t* probabilities) {
  const uint8x16_t p = vreinterpretq_u8_s32(vdupq_n_s32(*probabilities));
  return Each<Ints>(
      [&](int i) { return vusdotq_s32(acc.v[i], p, vreinterpretq_s8_s32(values.v[i])); });
}

#else

constexpr int kWeightWords = 2;

template <class T>
INLINE void PackWeights(const T* x, int64_t groups, int32_t* weights) {
  for (int64_t g = 0; g < groups; ++g, x += 4) {
    __builtin_memcpy(weights + 2 * g, x, 4);
    weights[2 * g + 1] = -128 * (x[0] + x[1] + x[2] + x[3]);
  }
}
INLINE Ints ValueDot(Ints acc, Ints values, const int32_t* probabilities) {
  const uint8x16_t p = vreinterpretq_u8_s32(vdupq_n_s32(probabilities[0]));
  const int32x4_t start = vdupq_n_s32(probabilities[1]);
  return Each<Ints>([&](int i) {
    const uint8x16_t value = veorq_u8(vreinterpretq_u8_s32(values.v[i]), vdupq_n_u8(128));
    const uint32x4_t sum = vreinterpretq_u32_s32(vaddq_s32(acc.v[i], start));
    return vreinterpretq_s32_u32(vdotq_u32(sum, value, p));
  });
}

#endif

}  // namespace
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_SIMD_DOT_NEON_H_
