// Dot products of bytes in groups of 4 by VNNI; the same functions as dot_madd.h. For
// the header of an instruction set, after its vectors.
//
// vpdpbusd multiplies unsigned by signed. Probabilities are unsigned. Keys are made so by adding
// 128, which adds 128 * sum(query) to each score: a row of scores starts from minus that.
#ifndef KERAS_INT8NMT_KERNELS_SIMD_DOT_VNNI_H_
#define KERAS_INT8NMT_KERNELS_SIMD_DOT_VNNI_H_

namespace keras_int8nmt {
namespace {

constexpr int kWeightWords = 1;

template <class T>
INLINE void PackWeights(const T* x, int64_t groups, int32_t* weights) {
  __builtin_memcpy(weights, x, 4 * groups);
}

INLINE Ints PrepareKeys(Ints keys) { return {_mm512_xor_si512(keys.v, _mm512_set1_epi8(-128))}; }
// The same for one key's 4 bytes.
INLINE int32_t PrepareKey(int32_t key) { return key ^ static_cast<int32_t>(0x80808080u); }
INLINE int32_t ScoreStart(const int8_t* query, int64_t n) {
  int32_t sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += query[i];
  return -128 * sum;
}
INLINE Ints KeyDot(Ints acc, Ints keys, const int32_t* query) {
  return {_mm512_dpbusd_epi32(acc.v, keys.v, _mm512_set1_epi32(*query))};
}
INLINE Ints ValueDot(Ints acc, Ints values, const int32_t* probabilities) {
  return {_mm512_dpbusd_epi32(acc.v, _mm512_set1_epi32(*probabilities), values.v)};
}

}  // namespace
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_SIMD_DOT_VNNI_H_
