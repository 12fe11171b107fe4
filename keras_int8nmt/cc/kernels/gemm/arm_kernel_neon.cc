// The loops of the product by smull: a tile is up to 2 rows by 16 columns. Products of two groups
// are added in 16 bits; pairs of these go to 32 bits, so that a column has two sums until the end:
// 16 of the 32 registers.
#if !defined(__clang__)
// GCC's scheduler loads early what it then has no registers for; these CPUs reorder by themselves.
#pragma GCC optimize("no-schedule-insns")
#endif

#include "simd/neon.h"

#ifndef __ARM_NEON
#error "The flags of this instruction set are missing."
#endif

#include "gemm/arm_kernel.h"

namespace keras_int8nmt {
namespace panels {
namespace {

struct NeonSums {
  static constexpr int kTileRows = 2;
  static constexpr int64_t kColumns = Neon::kColumns;
  static constexpr int kAcross = kColumns / 4;  // registers of weights across a panel
  static constexpr int64_t kGroupBytes = kColumns * 4;

  template <int kRows>
  static INLINE void Add(const uint8_t* a, int64_t a_stride, const Body& body, const Panel& panel,
                         const int32_t* starts, Tile<kRows, kColumns>* tile) {
    // Local, so that the compiler keeps them in registers.
    int32x4_t sum[kRows][2 * kAcross];
    UNROLL
    for (int r = 0; r < kRows; ++r) {
      UNROLL
      for (int v = 0; v < 2 * kAcross; ++v) sum[r][v] = vdupq_n_s32(0);
    }
    const int8_t* weights = panel.weights;
    const int8_t* fetch = panel.fetch;
    int64_t group = 0;
    for (; group + 2 <= body.groups; group += 2) {
      __builtin_prefetch(fetch, 0, 2);
      __builtin_prefetch(fetch + panel.fetch_step, 0, 2);
      fetch += 2 * panel.fetch_step;
      int8x16_t x[kRows], y[kRows];
      UNROLL
      for (int r = 0; r < kRows; ++r) {
        x[r] = Splat(a + r * a_stride + group * 4);
        y[r] = Splat(a + r * a_stride + group * 4 + 4);
      }
      UNROLL
      for (int v = 0; v < kAcross; ++v) {
        const int8x16_t w = vld1q_s8(weights + v * 16);
        const int8x16_t next = vld1q_s8(weights + kGroupBytes + v * 16);
        UNROLL
        for (int r = 0; r < kRows; ++r) {
          const int16x8_t low = vmlal_s8(vmull_s8(vget_low_s8(w), vget_low_s8(x[r])),
                                         vget_low_s8(next), vget_low_s8(y[r]));
          const int16x8_t high = vmlal_high_s8(vmull_high_s8(w, x[r]), next, y[r]);
          sum[r][2 * v] = vpadalq_s16(sum[r][2 * v], low);
          sum[r][2 * v + 1] = vpadalq_s16(sum[r][2 * v + 1], high);
        }
      }
      weights += 2 * kGroupBytes;
    }
    if (group < body.groups) {
      UNROLL
      for (int v = 0; v < kAcross; ++v) {
        const int8x16_t w = vld1q_s8(weights + v * 16);
        UNROLL
        for (int r = 0; r < kRows; ++r) {
          const int8x16_t x = Splat(a + r * a_stride + group * 4);
          const int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(x));
          sum[r][2 * v] = vpadalq_s16(sum[r][2 * v], low);
          sum[r][2 * v + 1] = vpadalq_s16(sum[r][2 * v + 1], vmull_high_s8(w, x));
        }
      }
    }
    UNROLL
    for (int r = 0; r < kRows; ++r) {
      UNROLL
      for (int v = 0; v < kAcross; ++v) {
        tile->sum[r][0].v[v] =
            vaddq_s32(vpaddq_s32(sum[r][2 * v], sum[r][2 * v + 1]), Start(starts, v * 4));
      }
    }
  }
};

}  // namespace

bool Neon::Multiply(const Product& product, const Epilogue& epilogue, void* out) {
  return MultiplyBy<NeonSums>(product, epilogue, out);
}

void Neon::TopK(const Product& product, const Epilogue& epilogue, const ProductTopK& result) {
  TopKBy<NeonSums>(product, epilogue, result);
}

}  // namespace panels
}  // namespace keras_int8nmt
