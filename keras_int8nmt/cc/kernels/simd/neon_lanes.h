// 16 lanes as four NEON registers; vectors.h says what each function does. Everything is local to
// the including file.
#ifndef KERAS_INT8NMT_KERNELS_SIMD_NEON_LANES_H_
#define KERAS_INT8NMT_KERNELS_SIMD_NEON_LANES_H_

#include <arm_neon.h>

#include "simd/vector_lanes.h"

namespace keras_int8nmt {
namespace {

struct Floats {
  float32x4_t v[4];
};
struct Ints {
  int32x4_t v[4];
};
struct Mask {
  uint32x4_t v[4];  // all bits of a lane, or none
};

// 64 columns of one row fill 16 of the 32 registers.
constexpr int kContextRows = 1;

// f of each of the four parts.
template <class Out, class F>
INLINE Out Each(F f) {
  return {f(0), f(1), f(2), f(3)};
}

INLINE Floats Set(float x) {
  const float32x4_t all = vdupq_n_f32(x);
  return {all, all, all, all};
}
INLINE Ints SetInt(int32_t x) {
  const int32x4_t all = vdupq_n_s32(x);
  return {all, all, all, all};
}
INLINE Floats operator+(Floats a, Floats b) {
  return Each<Floats>([&](int i) { return vaddq_f32(a.v[i], b.v[i]); });
}
INLINE Floats operator-(Floats a, Floats b) {
  return Each<Floats>([&](int i) { return vsubq_f32(a.v[i], b.v[i]); });
}
INLINE Floats operator*(Floats a, Floats b) {
  return Each<Floats>([&](int i) { return vmulq_f32(a.v[i], b.v[i]); });
}
INLINE Floats operator/(Floats a, Floats b) {
  return Each<Floats>([&](int i) { return vdivq_f32(a.v[i], b.v[i]); });
}
INLINE Ints operator+(Ints a, Ints b) {
  return Each<Ints>([&](int i) { return vaddq_s32(a.v[i], b.v[i]); });
}
INLINE Ints operator-(Ints a, Ints b) {
  return Each<Ints>([&](int i) { return vsubq_s32(a.v[i], b.v[i]); });
}
// Not fmax and fmin, which give NaN where one is.
INLINE Floats Max(Floats a, Floats b) {
  return Each<Floats>([&](int i) { return vbslq_f32(vcgtq_f32(a.v[i], b.v[i]), a.v[i], b.v[i]); });
}
INLINE Floats Min(Floats a, Floats b) {
  return Each<Floats>([&](int i) { return vbslq_f32(vcltq_f32(a.v[i], b.v[i]), a.v[i], b.v[i]); });
}
INLINE Floats Abs(Floats x) {
  return Each<Floats>([&](int i) { return vabsq_f32(x.v[i]); });
}
INLINE Floats CopySign(Floats magnitude, Floats sign) {
  const uint32x4_t bit = vdupq_n_u32(0x80000000u);
  return Each<Floats>([&](int i) { return vbslq_f32(bit, sign.v[i], magnitude.v[i]); });
}
INLINE Floats Rint(Floats x) {
  return Each<Floats>([&](int i) { return vrndnq_f32(x.v[i]); });
}
INLINE Ints ToInts(Floats x) {
  return Each<Ints>([&](int i) { return vcvtq_s32_f32(x.v[i]); });
}
INLINE Floats ToFloats(Ints x) {
  return Each<Floats>([&](int i) { return vcvtq_f32_s32(x.v[i]); });
}
INLINE Floats TimesPowerOfTwo(Floats x, Floats n) {
  const Ints whole = ToInts(n);
  return Each<Floats>([&](int i) {
    const int32x4_t exponent = vshlq_n_s32(vaddq_s32(whole.v[i], vdupq_n_s32(127)), 23);
    return vmulq_f32(x.v[i], vreinterpretq_f32_s32(exponent));
  });
}

INLINE Mask AtLeast(Floats a, Floats b) {
  return Each<Mask>([&](int i) { return vcgeq_f32(a.v[i], b.v[i]); });
}
INLINE Mask Unordered(Floats a, Floats b) {
  return Each<Mask>([&](int i) {
    return vmvnq_u32(vandq_u32(vceqq_f32(a.v[i], a.v[i]), vceqq_f32(b.v[i], b.v[i])));
  });
}
INLINE Mask operator|(Mask a, Mask b) {
  return Each<Mask>([&](int i) { return vorrq_u32(a.v[i], b.v[i]); });
}
INLINE Mask NoLanes() {
  return Each<Mask>([&](int) { return vdupq_n_u32(0); });
}
// Bit i in lane i.
INLINE Mask LaneBits() {
  const uint32x4_t first = {1, 2, 4, 8};
  return {first, vshlq_n_u32(first, 4), vshlq_n_u32(first, 8), vshlq_n_u32(first, 12)};
}
INLINE uint32_t Bits(Mask mask) {
  const Mask bits = LaneBits();
  const Mask kept = Each<Mask>([&](int i) { return vandq_u32(mask.v[i], bits.v[i]); });
  return vaddvq_u32(vorrq_u32(vorrq_u32(kept.v[0], kept.v[1]), vorrq_u32(kept.v[2], kept.v[3])));
}
INLINE Mask MaskOf(uint32_t bits) {
  const Mask lanes = LaneBits();
  return Each<Mask>([&](int i) { return vtstq_u32(vdupq_n_u32(bits), lanes.v[i]); });
}
INLINE Floats Select(Mask mask, Floats yes, Floats no) {
  return Each<Floats>([&](int i) { return vbslq_f32(mask.v[i], yes.v[i], no.v[i]); });
}
INLINE Mask FirstLanes(Part lanes) {
  const int32x4_t first = {0, 1, 2, 3};
  return Each<Mask>([&](int i) {
    return vcgtq_s32(vdupq_n_s32(lanes.count), vaddq_s32(first, vdupq_n_s32(4 * i)));
  });
}
INLINE Mask FirstLanes(Full) { return FirstLanes(Part{kLanes}); }
// 16 bytes, those without a bit become 0.
INLINE void KeepBytes(const uint8_t* x, uint32_t bits, uint8_t* out) {
  const uint8x16_t each = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  const uint8x16_t low_high = vcombine_u8(vdup_n_u8(static_cast<uint8_t>(bits)),
                                          vdup_n_u8(static_cast<uint8_t>(bits >> 8)));
  vst1q_u8(out, vandq_u8(vld1q_u8(x), vtstq_u8(low_high, each)));
}

INLINE Floats Load(const float* x, Full) {
  return Each<Floats>([&](int i) { return vld1q_f32(x + 4 * i); });
}
INLINE Ints Load(const int32_t* x, Full) {
  return Each<Ints>([&](int i) { return vld1q_s32(x + 4 * i); });
}
INLINE Ints LoadWidened(const int8_t* x, Full) {
  const int8x16_t bytes = vld1q_s8(x);
  const int16x8_t low = vmovl_s8(vget_low_s8(bytes)), high = vmovl_high_s8(bytes);
  return {vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low), vmovl_s16(vget_low_s16(high)),
          vmovl_high_s16(high)};
}
INLINE Ints LoadWidened(const uint8_t* x, Full) {
  const uint8x16_t bytes = vld1q_u8(x);
  const uint16x8_t low = vmovl_u8(vget_low_u8(bytes)), high = vmovl_high_u8(bytes);
  return {vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(low))),
          vreinterpretq_s32_u32(vmovl_high_u16(low)),
          vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(high))),
          vreinterpretq_s32_u32(vmovl_high_u16(high))};
}
INLINE Mask LoadMask(const uint8_t* x, Full) {
  const Ints bytes = LoadWidened(x, Full());
  return Each<Mask>([&](int i) { return vtstq_s32(bytes.v[i], bytes.v[i]); });
}
INLINE void Store(float* out, Floats x, Full) {
  for (int i = 0; i < 4; ++i) vst1q_f32(out + 4 * i, x.v[i]);
}
INLINE void Store(int32_t* out, Ints x, Full) {
  for (int i = 0; i < 4; ++i) vst1q_s32(out + 4 * i, x.v[i]);
}
INLINE int16x8_t LowHalves(int32x4_t a, int32x4_t b) {
  return vuzp1q_s16(vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(b));
}
INLINE void StoreBytes(void* out, Ints x, Full) {
  const int8x16_t bytes = vuzp1q_s8(vreinterpretq_s8_s16(LowHalves(x.v[0], x.v[1])),
                                    vreinterpretq_s8_s16(LowHalves(x.v[2], x.v[3])));
  vst1q_s8(static_cast<int8_t*>(out), bytes);
}

INLINE float TreeSum(Floats x) {
  const float32x4_t four = vaddq_f32(vaddq_f32(x.v[0], x.v[2]), vaddq_f32(x.v[1], x.v[3]));
  const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}
INLINE float LargestLane(Floats x) {
  return vmaxvq_f32(vmaxq_f32(vmaxq_f32(x.v[0], x.v[1]), vmaxq_f32(x.v[2], x.v[3])));
}

INLINE Ints EvenBytes(Ints x) {
  return Each<Ints>([&](int i) {
    const int16x8_t pairs = vreinterpretq_s16_s32(x.v[i]);
    return vreinterpretq_s32_s16(vshrq_n_s16(vshlq_n_s16(pairs, 8), 8));
  });
}
INLINE Ints OddBytes(Ints x) {
  return Each<Ints>(
      [&](int i) { return vreinterpretq_s32_s16(vshrq_n_s16(vreinterpretq_s16_s32(x.v[i]), 8)); });
}
INLINE Ints PairProducts(Ints a, Ints b) {
  return Each<Ints>([&](int i) {
    const int16x8_t p = vreinterpretq_s16_s32(a.v[i]), q = vreinterpretq_s16_s32(b.v[i]);
    return vpaddq_s32(vmull_s16(vget_low_s16(p), vget_low_s16(q)), vmull_high_s16(p, q));
  });
}

INLINE void TransposeBytes(const RowPointers& rows, int64_t column, Ints groups[4]) {
  for (int i = 0; i < 4; ++i) {
    int32x4_t row[4];
    for (int j = 0; j < 4; ++j) {
      row[j] = vreinterpretq_s32_s8(vld1q_s8(rows.at[4 * i + j] + column));
    }
    const int64x2_t a = vreinterpretq_s64_s32(vtrn1q_s32(row[0], row[1]));
    const int64x2_t b = vreinterpretq_s64_s32(vtrn2q_s32(row[0], row[1]));
    const int64x2_t c = vreinterpretq_s64_s32(vtrn1q_s32(row[2], row[3]));
    const int64x2_t d = vreinterpretq_s64_s32(vtrn2q_s32(row[2], row[3]));
    groups[0].v[i] = vreinterpretq_s32_s64(vtrn1q_s64(a, c));
    groups[1].v[i] = vreinterpretq_s32_s64(vtrn1q_s64(b, d));
    groups[2].v[i] = vreinterpretq_s32_s64(vtrn2q_s64(a, c));
    groups[3].v[i] = vreinterpretq_s32_s64(vtrn2q_s64(b, d));
  }
}

INLINE void InterleaveRows(const int8_t* const rows[4], int64_t columns, Ints out[4]) {
  int8_t copy[4][64];
  const int8_t* whole[4] = {rows[0], rows[1], rows[2], rows[3]};
  if (columns < 64) {
    for (int i = 0; i < 4; ++i) {
      __builtin_memset(copy[i], 0, 64);
      __builtin_memcpy(copy[i], rows[i], columns);
      whole[i] = copy[i];
    }
  }
  for (int i = 0; i < 4; ++i) {
    int8x16_t row[4];
    for (int j = 0; j < 4; ++j) row[j] = vld1q_s8(whole[j] + 16 * i);
    const int16x8_t a = vreinterpretq_s16_s8(vzip1q_s8(row[0], row[1]));
    const int16x8_t b = vreinterpretq_s16_s8(vzip2q_s8(row[0], row[1]));
    const int16x8_t c = vreinterpretq_s16_s8(vzip1q_s8(row[2], row[3]));
    const int16x8_t d = vreinterpretq_s16_s8(vzip2q_s8(row[2], row[3]));
    out[i] = {vreinterpretq_s32_s16(vzip1q_s16(a, c)), vreinterpretq_s32_s16(vzip2q_s16(a, c)),
              vreinterpretq_s32_s16(vzip1q_s16(b, d)), vreinterpretq_s32_s16(vzip2q_s16(b, d))};
  }
}
// Their order is the columns' own.
INLINE void StoreColumns(const Ints acc[4], int32_t out[64]) {
  for (int i = 0; i < 4; ++i) Store(out + 16 * i, acc[i], Full());
}

}  // namespace
}  // namespace keras_int8nmt

#include "simd/vector_part_by_copy.h"

#endif  // KERAS_INT8NMT_KERNELS_SIMD_NEON_LANES_H_
