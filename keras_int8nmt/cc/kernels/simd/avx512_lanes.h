// 16 lanes as one AVX-512 register. For files compiled with -mavx512f -mavx512bw -mavx512vl
// -mavx512dq; everything is local to the including file, because other files see other flags.
#ifndef KERAS_INT8NMT_KERNELS_SIMD_AVX512_LANES_H_
#define KERAS_INT8NMT_KERNELS_SIMD_AVX512_LANES_H_

// GCC 12 takes the undefined register that its own intrinsics start from for a mistake of ours.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#include "simd/vector_lanes.h"

namespace keras_int8nmt {
namespace {

struct Floats {
  __m512 v;
};
struct Ints {
  __m512i v;
};
struct Mask {
  __mmask16 v;
};

constexpr int kContextRows = 4;

INLINE Floats Set(float x) { return {_mm512_set1_ps(x)}; }
INLINE Ints SetInt(int32_t x) { return {_mm512_set1_epi32(x)}; }
INLINE Floats operator+(Floats a, Floats b) { return {_mm512_add_ps(a.v, b.v)}; }
INLINE Floats operator-(Floats a, Floats b) { return {_mm512_sub_ps(a.v, b.v)}; }
INLINE Floats operator*(Floats a, Floats b) { return {_mm512_mul_ps(a.v, b.v)}; }
INLINE Floats operator/(Floats a, Floats b) { return {_mm512_div_ps(a.v, b.v)}; }
INLINE Ints operator+(Ints a, Ints b) { return {_mm512_add_epi32(a.v, b.v)}; }
INLINE Ints operator-(Ints a, Ints b) { return {_mm512_sub_epi32(a.v, b.v)}; }
INLINE Floats Max(Floats a, Floats b) { return {_mm512_max_ps(a.v, b.v)}; }
INLINE Floats Min(Floats a, Floats b) { return {_mm512_min_ps(a.v, b.v)}; }
INLINE Floats Rint(Floats x) { return {_mm512_roundscale_ps(x.v, 8)}; }
INLINE Floats Abs(Floats x) { return {_mm512_abs_ps(x.v)}; }
INLINE Floats CopySign(Floats magnitude, Floats sign) {
  const __m512 bit = _mm512_set1_ps(-0.0f);
  return {_mm512_or_ps(_mm512_andnot_ps(bit, magnitude.v), _mm512_and_ps(bit, sign.v))};
}
INLINE Ints ToInts(Floats x) { return {_mm512_cvttps_epi32(x.v)}; }
INLINE Floats ToFloats(Ints x) { return {_mm512_cvtepi32_ps(x.v)}; }
// x * 2^n for whole n in [-126, 127] and a result that is a normal number: the exponent's bits grow
// by n. (_mm512_scalef_ps does it too, at several times the cost.)
INLINE Floats TimesPowerOfTwo(Floats x, Floats n) {
  const __m512i grow = _mm512_slli_epi32(_mm512_cvtps_epi32(n.v), 23);
  return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x.v), grow))};
}

INLINE Mask AtLeast(Floats a, Floats b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GE_OQ)}; }
INLINE Mask Unordered(Floats a, Floats b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_UNORD_Q)}; }
INLINE Mask operator|(Mask a, Mask b) { return {static_cast<__mmask16>(a.v | b.v)}; }
INLINE Mask NoLanes() { return {0}; }
INLINE uint32_t Bits(Mask mask) { return mask.v; }
INLINE Floats Select(Mask mask, Floats yes, Floats no) {
  return {_mm512_mask_blend_ps(mask.v, no.v, yes.v)};
}

INLINE __mmask16 LaneMask(Full) { return 0xffff; }
INLINE __mmask16 LaneMask(Part lanes) { return static_cast<__mmask16>((1u << lanes.count) - 1); }
template <class Lanes>
INLINE Mask FirstLanes(Lanes lanes) {
  return {LaneMask(lanes)};
}

// Lane i by bit i.
INLINE Mask MaskOf(uint32_t bits) { return {static_cast<__mmask16>(bits)}; }

INLINE Floats Load(const float* x, Full) { return {_mm512_loadu_ps(x)}; }
INLINE Floats Load(const float* x, Part lanes) {
  return {_mm512_maskz_loadu_ps(LaneMask(lanes), x)};
}
INLINE Ints Load(const int32_t* x, Full) { return {_mm512_loadu_si512(x)}; }
INLINE Ints Load(const int32_t* x, Part lanes) {
  return {_mm512_maskz_loadu_epi32(LaneMask(lanes), x)};
}
INLINE __m128i LoadBytes(const void* x, Full) {
  return _mm_loadu_si128(static_cast<const __m128i*>(x));
}
INLINE __m128i LoadBytes(const void* x, Part lanes) {
  return _mm_maskz_loadu_epi8(LaneMask(lanes), x);
}
template <class Lanes>
INLINE Ints LoadWidened(const int8_t* x, Lanes lanes) {
  return {_mm512_cvtepi8_epi32(LoadBytes(x, lanes))};
}
template <class Lanes>
INLINE Ints LoadWidened(const uint8_t* x, Lanes lanes) {
  return {_mm512_cvtepu8_epi32(LoadBytes(x, lanes))};
}
// The lanes whose byte is not zero.
template <class Lanes>
INLINE Mask LoadMask(const uint8_t* x, Lanes lanes) {
  const __m128i bytes = LoadBytes(x, lanes);
  return {_mm_test_epi8_mask(bytes, bytes)};
}
INLINE void Store(float* out, Floats x, Full) { _mm512_storeu_ps(out, x.v); }
INLINE void Store(float* out, Floats x, Part lanes) {
  _mm512_mask_storeu_ps(out, LaneMask(lanes), x.v);
}
INLINE void Store(int32_t* out, Ints x, Full) { _mm512_storeu_si512(out, x.v); }
// The low byte of each lane.
INLINE void StoreBytes(void* out, Ints x, Full) {
  _mm_storeu_si128(static_cast<__m128i*>(out), _mm512_cvtepi32_epi8(x.v));
}
INLINE void StoreBytes(void* out, Ints x, Part lanes) {
  _mm512_mask_cvtepi32_storeu_epi8(out, LaneMask(lanes), x.v);
}

// 16 bytes, those without a bit become 0.
INLINE void KeepBytes(const uint8_t* x, uint32_t bits, uint8_t* out) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out),
                   _mm_maskz_loadu_epi8(static_cast<__mmask16>(bits), x));
}

// p[i] += p[i + 8], then + 4, + 2, + 1: the fixed tree.
INLINE float TreeSum(Floats x) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(x.v), _mm512_extractf32x8_ps(x.v, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
INLINE float LargestLane(Floats x) { return _mm512_reduce_max_ps(x.v); }

// In each 32-bit lane: its 1st and 3rd signed byte, or its 2nd and 4th, as two 16-bit numbers.
INLINE Ints EvenBytes(Ints x) { return {_mm512_srai_epi16(_mm512_slli_epi16(x.v, 8), 8)}; }
INLINE Ints OddBytes(Ints x) { return {_mm512_srai_epi16(x.v, 8)}; }
// In each 32-bit lane: the sum of the two products of 16-bit numbers.
INLINE Ints PairProducts(Ints a, Ints b) { return {_mm512_madd_epi16(a.v, b.v)}; }
#define KERAS_INT8NMT_UNSIGNED_PAIRS
INLINE Ints UnsignedPairs(Ints a, Ints b) { return {_mm512_maddubs_epi16(a.v, b.v)}; }

// A 4 x 4 transposition of 32-bit lanes within each 128-bit quarter.
INLINE void TransposeQuarters(Ints rows[4]) {
  const __m512i a = _mm512_unpacklo_epi32(rows[0].v, rows[1].v);
  const __m512i b = _mm512_unpackhi_epi32(rows[0].v, rows[1].v);
  const __m512i c = _mm512_unpacklo_epi32(rows[2].v, rows[3].v);
  const __m512i d = _mm512_unpackhi_epi32(rows[2].v, rows[3].v);
  rows[0].v = _mm512_unpacklo_epi64(a, c);
  rows[1].v = _mm512_unpackhi_epi64(a, c);
  rows[2].v = _mm512_unpacklo_epi64(b, d);
  rows[3].v = _mm512_unpackhi_epi64(b, d);
}

// 16 rows of 16 bytes -> groups[g]: lane j holds bytes 4g .. 4g + 3 of row j.
INLINE void TransposeBytes(const RowPointers& rows, int64_t column, Ints groups[4]) {
  for (int i = 0; i < 4; ++i) {
    __m512i v = _mm512_castsi128_si512(LoadBytes(rows.at[i] + column, Full()));
    v = _mm512_mask_broadcast_i32x4(v, 0x00f0, LoadBytes(rows.at[4 + i] + column, Full()));
    v = _mm512_mask_broadcast_i32x4(v, 0x0f00, LoadBytes(rows.at[8 + i] + column, Full()));
    v = _mm512_mask_broadcast_i32x4(v, 0xf000, LoadBytes(rows.at[12 + i] + column, Full()));
    groups[i].v = v;
  }
  TransposeQuarters(groups);
}

// 4 rows of `columns` (1 to 64) bytes -> 64 lanes, each with the 4 bytes of one column. The order
// of the columns is what the unpack instructions give; StoreColumns undoes it.
INLINE void InterleaveRows(const int8_t* const rows[4], int64_t columns, Ints out[4]) {
  const __mmask64 mask = columns >= 64 ? ~0ull : (1ull << columns) - 1;
  __m512i row[4];
  for (int i = 0; i < 4; ++i) row[i] = _mm512_maskz_loadu_epi8(mask, rows[i]);
  const __m512i a = _mm512_unpacklo_epi8(row[0], row[1]);
  const __m512i b = _mm512_unpackhi_epi8(row[0], row[1]);
  const __m512i c = _mm512_unpacklo_epi8(row[2], row[3]);
  const __m512i d = _mm512_unpackhi_epi8(row[2], row[3]);
  out[0].v = _mm512_unpacklo_epi16(a, c);
  out[1].v = _mm512_unpackhi_epi16(a, c);
  out[2].v = _mm512_unpacklo_epi16(b, d);
  out[3].v = _mm512_unpackhi_epi16(b, d);
}

// The accumulators of the 64 columns of InterleaveRows, in their natural order.
INLINE void StoreColumns(const Ints acc[4], int32_t out[64]) {
  const __m512i a = _mm512_shuffle_i32x4(acc[0].v, acc[1].v, 0x44);
  const __m512i b = _mm512_shuffle_i32x4(acc[0].v, acc[1].v, 0xee);
  const __m512i c = _mm512_shuffle_i32x4(acc[2].v, acc[3].v, 0x44);
  const __m512i d = _mm512_shuffle_i32x4(acc[2].v, acc[3].v, 0xee);
  _mm512_storeu_si512(out, _mm512_shuffle_i32x4(a, c, 0x88));
  _mm512_storeu_si512(out + 16, _mm512_shuffle_i32x4(a, c, 0xdd));
  _mm512_storeu_si512(out + 32, _mm512_shuffle_i32x4(b, d, 0x88));
  _mm512_storeu_si512(out + 48, _mm512_shuffle_i32x4(b, d, 0xdd));
}

}  // namespace
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_SIMD_AVX512_LANES_H_
