// 16 lanes as two AVX2 registers; vectors.h says what each function does. Everything is
// local to the including file.
#ifndef KERAS_INT8NMT_KERNELS_SIMD_AVX2_H_
#define KERAS_INT8NMT_KERNELS_SIMD_AVX2_H_

#include <immintrin.h>

#include "simd/vector_lanes.h"

namespace keras_int8nmt {
namespace {

struct Floats {
  __m256 lo, hi;
};
struct Ints {
  __m256i lo, hi;
};
struct Mask {
  __m256 lo, hi;
};

// 64 columns of one row fill 8 of the 16 registers.
constexpr int kContextRows = 1;

INLINE Floats Set(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
INLINE Ints SetInt(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
INLINE Floats operator+(Floats a, Floats b) {
  return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}
INLINE Floats operator-(Floats a, Floats b) {
  return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}
INLINE Floats operator*(Floats a, Floats b) {
  return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}
INLINE Floats operator/(Floats a, Floats b) {
  return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}
INLINE Ints operator+(Ints a, Ints b) {
  return {_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)};
}
INLINE Ints operator-(Ints a, Ints b) {
  return {_mm256_sub_epi32(a.lo, b.lo), _mm256_sub_epi32(a.hi, b.hi)};
}
INLINE Floats Max(Floats a, Floats b) {
  return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}
INLINE Floats Min(Floats a, Floats b) {
  return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)};
}
INLINE Floats Rint(Floats x) { return {_mm256_round_ps(x.lo, 8), _mm256_round_ps(x.hi, 8)}; }
INLINE Floats Abs(Floats x) {
  const __m256 bit = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(bit, x.lo), _mm256_andnot_ps(bit, x.hi)};
}
INLINE Floats CopySign(Floats magnitude, Floats sign) {
  const __m256 bit = _mm256_set1_ps(-0.0f);
  const Floats m = Abs(magnitude);
  return {_mm256_or_ps(m.lo, _mm256_and_ps(bit, sign.lo)),
          _mm256_or_ps(m.hi, _mm256_and_ps(bit, sign.hi))};
}
INLINE Ints ToInts(Floats x) { return {_mm256_cvttps_epi32(x.lo), _mm256_cvttps_epi32(x.hi)}; }
INLINE Floats ToFloats(Ints x) { return {_mm256_cvtepi32_ps(x.lo), _mm256_cvtepi32_ps(x.hi)}; }
INLINE __m256 PowerOfTwo(__m256i n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}
INLINE Floats TimesPowerOfTwo(Floats x, Floats n) {
  const Ints whole = ToInts(n);
  return x * Floats{PowerOfTwo(whole.lo), PowerOfTwo(whole.hi)};
}

INLINE Mask AtLeast(Floats a, Floats b) {
  return {_mm256_cmp_ps(a.lo, b.lo, _CMP_GE_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_GE_OQ)};
}
INLINE Mask Unordered(Floats a, Floats b) {
  return {_mm256_cmp_ps(a.lo, b.lo, _CMP_UNORD_Q), _mm256_cmp_ps(a.hi, b.hi, _CMP_UNORD_Q)};
}
INLINE Mask operator|(Mask a, Mask b) {
  return {_mm256_or_ps(a.lo, b.lo), _mm256_or_ps(a.hi, b.hi)};
}
INLINE Mask NoLanes() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
INLINE uint32_t Bits(Mask mask) {
  return static_cast<uint32_t>(_mm256_movemask_ps(mask.lo) | _mm256_movemask_ps(mask.hi) << 8);
}
INLINE Floats Select(Mask mask, Floats yes, Floats no) {
  return {_mm256_blendv_ps(no.lo, yes.lo, mask.lo), _mm256_blendv_ps(no.hi, yes.hi, mask.hi)};
}

INLINE Mask ToMask(__m256i lo, __m256i hi) {
  return {_mm256_castsi256_ps(lo), _mm256_castsi256_ps(hi)};
}
INLINE Mask FirstLanes(Part lanes) {
  const __m256i first = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return ToMask(_mm256_cmpgt_epi32(_mm256_set1_epi32(lanes.count), first),
                _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes.count - 8), first));
}
INLINE Mask FirstLanes(Full) { return FirstLanes(Part{kLanes}); }
// Lane i by bit i.
INLINE Mask MaskOf(uint32_t bits) {
  const __m256i all = _mm256_set1_epi32(static_cast<int32_t>(bits));
  const __m256i lo = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  const __m256i hi = _mm256_slli_epi32(lo, 8);
  return ToMask(_mm256_cmpeq_epi32(_mm256_and_si256(all, lo), lo),
                _mm256_cmpeq_epi32(_mm256_and_si256(all, hi), hi));
}

// 16 bytes, those without a bit become 0.
INLINE void KeepBytes(const uint8_t* x, uint32_t bits, uint8_t* out) {
  for (int i = 0; i < kLanes; ++i) out[i] = (bits >> i & 1) != 0 ? x[i] : 0;
}

INLINE Floats Load(const float* x, Full) { return {_mm256_loadu_ps(x), _mm256_loadu_ps(x + 8)}; }
INLINE Ints Load(const int32_t* x, Full) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + 8))};
}
INLINE __m128i LoadEight(const void* x) { return _mm_loadl_epi64(static_cast<const __m128i*>(x)); }
INLINE Ints LoadWidened(const int8_t* x, Full) {
  return {_mm256_cvtepi8_epi32(LoadEight(x)), _mm256_cvtepi8_epi32(LoadEight(x + 8))};
}
INLINE Ints LoadWidened(const uint8_t* x, Full) {
  return {_mm256_cvtepu8_epi32(LoadEight(x)), _mm256_cvtepu8_epi32(LoadEight(x + 8))};
}
INLINE Mask LoadMask(const uint8_t* x, Full) {
  const Ints bytes = LoadWidened(x, Full());
  const __m256i zero = _mm256_setzero_si256();
  return ToMask(_mm256_cmpgt_epi32(bytes.lo, zero), _mm256_cmpgt_epi32(bytes.hi, zero));
}
INLINE void Store(float* out, Floats x, Full) {
  _mm256_storeu_ps(out, x.lo);
  _mm256_storeu_ps(out + 8, x.hi);
}
INLINE void Store(int32_t* out, Ints x, Full) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), x.lo);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 8), x.hi);
}
INLINE void StoreBytes(void* out, Ints x, Full) {
  const __m256i low = _mm256_set1_epi32(0xff);
  const __m256i words =
      _mm256_packus_epi32(_mm256_and_si256(x.lo, low), _mm256_and_si256(x.hi, low));
  const __m256i ordered = _mm256_permute4x64_epi64(words, 0xd8);
  _mm_storeu_si128(
      static_cast<__m128i*>(out),
      _mm_packus_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1)));
}

INLINE __m128 UpperHalf(__m256 x) { return _mm256_extractf128_ps(x, 1); }
INLINE float TreeSum(Floats x) {
  const __m256 eight = _mm256_add_ps(x.lo, x.hi);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), UpperHalf(eight));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
INLINE float LargestLane(Floats x) {
  const __m256 eight = _mm256_max_ps(x.lo, x.hi);
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), UpperHalf(eight));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

INLINE __m256i EvenBytes(__m256i x) { return _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8); }
INLINE Ints EvenBytes(Ints x) { return {EvenBytes(x.lo), EvenBytes(x.hi)}; }
INLINE Ints OddBytes(Ints x) { return {_mm256_srai_epi16(x.lo, 8), _mm256_srai_epi16(x.hi, 8)}; }
INLINE Ints PairProducts(Ints a, Ints b) {
  return {_mm256_madd_epi16(a.lo, b.lo), _mm256_madd_epi16(a.hi, b.hi)};
}

#define KERAS_INT8NMT_UNSIGNED_PAIRS
INLINE Ints UnsignedPairs(Ints a, Ints b) {
  return {_mm256_maddubs_epi16(a.lo, b.lo), _mm256_maddubs_epi16(a.hi, b.hi)};
}

INLINE __m256i LoadPair(const int8_t* a, const int8_t* b) {
  return _mm256_inserti128_si256(
      _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(a))),
      _mm_loadu_si128(reinterpret_cast<const __m128i*>(b)), 1);
}
INLINE void TransposeQuarters(__m256i rows[4]) {
  const __m256i a = _mm256_unpacklo_epi32(rows[0], rows[1]);
  const __m256i b = _mm256_unpackhi_epi32(rows[0], rows[1]);
  const __m256i c = _mm256_unpacklo_epi32(rows[2], rows[3]);
  const __m256i d = _mm256_unpackhi_epi32(rows[2], rows[3]);
  rows[0] = _mm256_unpacklo_epi64(a, c);
  rows[1] = _mm256_unpackhi_epi64(a, c);
  rows[2] = _mm256_unpacklo_epi64(b, d);
  rows[3] = _mm256_unpackhi_epi64(b, d);
}
INLINE void TransposeBytes(const RowPointers& rows, int64_t column, Ints groups[4]) {
  __m256i lo[4], hi[4];
  for (int i = 0; i < 4; ++i) {
    lo[i] = LoadPair(rows.at[i] + column, rows.at[4 + i] + column);
    hi[i] = LoadPair(rows.at[8 + i] + column, rows.at[12 + i] + column);
  }
  TransposeQuarters(lo);
  TransposeQuarters(hi);
  for (int i = 0; i < 4; ++i) groups[i] = {lo[i], hi[i]};
}

// 32 columns of 4 rows: out[i].*half* gets the columns in the order of the unpack instructions.
INLINE void InterleaveHalf(const int8_t* const rows[4], int64_t column, __m256i out[4]) {
  __m256i row[4];
  for (int i = 0; i < 4; ++i) {
    row[i] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows[i] + column));
  }
  const __m256i a = _mm256_unpacklo_epi8(row[0], row[1]);
  const __m256i b = _mm256_unpackhi_epi8(row[0], row[1]);
  const __m256i c = _mm256_unpacklo_epi8(row[2], row[3]);
  const __m256i d = _mm256_unpackhi_epi8(row[2], row[3]);
  out[0] = _mm256_unpacklo_epi16(a, c);
  out[1] = _mm256_unpackhi_epi16(a, c);
  out[2] = _mm256_unpacklo_epi16(b, d);
  out[3] = _mm256_unpackhi_epi16(b, d);
}
INLINE void InterleaveRows(const int8_t* const rows[4], int64_t columns, Ints out[4]) {
  alignas(32) int8_t copy[4][64];
  const int8_t* whole[4] = {rows[0], rows[1], rows[2], rows[3]};
  if (columns < 64) {
    for (int i = 0; i < 4; ++i) {
      __builtin_memset(copy[i], 0, 64);
      __builtin_memcpy(copy[i], rows[i], columns);
      whole[i] = copy[i];
    }
  }
  __m256i lo[4], hi[4];
  InterleaveHalf(whole, 0, lo);
  InterleaveHalf(whole, 32, hi);
  for (int i = 0; i < 4; ++i) out[i] = {lo[i], hi[i]};
}

INLINE void StoreColumnsHalf(__m256i a, __m256i b, __m256i c, __m256i d, int32_t* out) {
  __m256i* target = reinterpret_cast<__m256i*>(out);
  _mm256_storeu_si256(target, _mm256_permute2x128_si256(a, b, 0x20));
  _mm256_storeu_si256(target + 1, _mm256_permute2x128_si256(c, d, 0x20));
  _mm256_storeu_si256(target + 2, _mm256_permute2x128_si256(a, b, 0x31));
  _mm256_storeu_si256(target + 3, _mm256_permute2x128_si256(c, d, 0x31));
}
INLINE void StoreColumns(const Ints acc[4], int32_t out[64]) {
  StoreColumnsHalf(acc[0].lo, acc[1].lo, acc[2].lo, acc[3].lo, out);
  StoreColumnsHalf(acc[0].hi, acc[1].hi, acc[2].hi, acc[3].hi, out + 32);
}

}  // namespace
}  // namespace keras_int8nmt

#include "simd/dot_madd.h"
#include "simd/vector_part_by_copy.h"

#define KERAS_INT8NMT_VECTORS

#endif  // KERAS_INT8NMT_KERNELS_SIMD_AVX2_H_
