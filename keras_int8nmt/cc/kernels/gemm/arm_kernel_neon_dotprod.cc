// The loops of the product by sdot: a tile is up to 6 rows by 16 columns, 24 sums of the 32
// registers. Inputs are loaded 4 groups at a time, and an instruction takes one of them by its
// number, so that none is copied over a register first.
#if !defined(__clang__)
// GCC's scheduler loads early what it then has no registers for; these CPUs reorder by themselves.
#pragma GCC optimize("no-schedule-insns")
#endif

#include "simd/neon_dotprod.h"

#ifndef __ARM_FEATURE_DOTPROD
#error "The flags of this instruction set are missing."
#endif

#include "gemm/arm_kernel.h"

namespace keras_int8nmt {
namespace panels {
namespace {

struct DotprodSums {
  static constexpr int kTileRows = 6;
  static constexpr int64_t kColumns = Dotprod::kColumns;
  static constexpr int kAcross = kColumns / 4;  // registers across a panel
  static constexpr int64_t kGroupBytes = kColumns * 4;

  // Group kGroup of the four that the inputs are of.
  template <int kRows, int kGroup>
  static INLINE void AddGroup(const int8_t* weights, const int8x16_t x[kRows],
                              int32x4_t sum[kRows][kAcross]) {
    UNROLL
    for (int v = 0; v < kAcross; ++v) {
      const int8x16_t w = vld1q_s8(weights + kGroup * kGroupBytes + v * 16);
      UNROLL
      for (int r = 0; r < kRows; ++r) sum[r][v] = vdotq_laneq_s32(sum[r][v], w, x[r], kGroup);
    }
  }

  template <int kRows>
  static INLINE void Add(const uint8_t* a, int64_t a_stride, const Body& body, const Panel& panel,
                         const int32_t* starts, Tile<kRows, kColumns>* tile) {
    // Local, so that the compiler keeps them in registers.
    int32x4_t sum[kRows][kAcross];
    UNROLL
    for (int r = 0; r < kRows; ++r) {
      UNROLL
      for (int v = 0; v < kAcross; ++v) sum[r][v] = Start(starts, v * 4);
    }
    const int8_t* weights = panel.weights;
    const int8_t* fetch = panel.fetch;
    int64_t group = 0;
    for (; group + 4 <= body.groups; group += 4) {
      UNROLL
      for (int i = 0; i < 4; ++i) __builtin_prefetch(fetch + i * panel.fetch_step, 0, 2);
      fetch += 4 * panel.fetch_step;
      int8x16_t x[kRows];
      UNROLL
      for (int r = 0; r < kRows; ++r) {
        x[r] = vld1q_s8(reinterpret_cast<const int8_t*>(a + r * a_stride + group * 4));
      }
      AddGroup<kRows, 0>(weights, x, sum);
      AddGroup<kRows, 1>(weights, x, sum);
      AddGroup<kRows, 2>(weights, x, sum);
      AddGroup<kRows, 3>(weights, x, sum);
      weights += 4 * kGroupBytes;
    }
    for (; group < body.groups; ++group, weights += kGroupBytes) {
      int8x16_t x[kRows];
      UNROLL
      for (int r = 0; r < kRows; ++r) x[r] = Splat(a + r * a_stride + group * 4);
      AddGroup<kRows, 0>(weights, x, sum);
    }
    UNROLL
    for (int r = 0; r < kRows; ++r) tile->sum[r][0] = {sum[r][0], sum[r][1], sum[r][2], sum[r][3]};
  }
};

}  // namespace

bool Dotprod::Multiply(const Product& product, const Epilogue& epilogue, void* out) {
  return MultiplyBy<DotprodSums>(product, epilogue, out);
}

void Dotprod::TopK(const Product& product, const Epilogue& epilogue, const ProductTopK& result) {
  TopKBy<DotprodSums>(product, epilogue, result);
}

}  // namespace panels
}  // namespace keras_int8nmt
