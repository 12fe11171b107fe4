// The loops of the product by smmla and usmmla, which add to a 2 x 2 matrix of sums the products of
// two rows of inputs and two columns of weights, 8 deep: a tile is up to 3 pairs of rows by 8 pairs
// of columns, 24 of the 32 registers. A row without a partner is its own.
#if !defined(__clang__)
// GCC's scheduler loads early what it then has no registers for; these CPUs reorder by themselves.
#pragma GCC optimize("no-schedule-insns")
#endif

#include "simd/neon_i8mm.h"

#ifndef __ARM_FEATURE_MATMUL_INT8
#error "The flags of this instruction set are missing."
#endif

#include "gemm/arm_kernel.h"

namespace keras_int8nmt {
namespace panels {
namespace {

INLINE int32x4_t AddProducts(int32x4_t sum, int8x16_t x, int8x16_t w, std::false_type) {
  return vmmlaq_s32(sum, x, w);
}
INLINE int32x4_t AddProducts(int32x4_t sum, int8x16_t x, int8x16_t w, std::true_type) {
  return vusmmlaq_s32(sum, vreinterpretq_u8_s8(x), w);
}

INLINE int32x4_t Row(int64x2_t x) { return vreinterpretq_s32_s64(x); }

template <bool kUnsigned>
struct I8mmSums {
  static constexpr int kTileRows = 6;
  static constexpr int64_t kColumns = I8mm::kColumns;
  static constexpr int kAcross = kColumns / 2;  // pairs of columns

  template <int kRows>
  static INLINE void Add(const uint8_t* a, int64_t a_stride, const Body& body, const Panel& panel,
                         const int32_t*, Tile<kRows, kColumns>* tile) {
    constexpr int kPairs = (kRows + 1) / 2;
    // Local, so that the compiler keeps them in registers.
    int32x4_t sum[kPairs][kAcross];
    UNROLL
    for (int p = 0; p < kPairs; ++p) {
      UNROLL
      for (int v = 0; v < kAcross; ++v) sum[p][v] = vdupq_n_s32(0);
    }
    const int8_t* weights = panel.weights;
    const int8_t* fetch = panel.fetch;
    for (int64_t group = 0; group < body.groups; ++group) {
      __builtin_prefetch(fetch, 0, 2);
      __builtin_prefetch(fetch + panel.fetch_step / 2, 0, 2);
      fetch += panel.fetch_step;
      int8x16_t x[kPairs];
      UNROLL
      for (int p = 0; p < kPairs; ++p) {
        const auto* even = reinterpret_cast<const int8_t*>(a + 2 * p * a_stride + group * 8);
        x[p] = vcombine_s8(vld1_s8(even), vld1_s8(2 * p + 1 < kRows ? even + a_stride : even));
      }
      UNROLL
      for (int v = 0; v < kAcross; ++v) {
        const int8x16_t w = vld1q_s8(weights + v * 16);
        UNROLL
        for (int p = 0; p < kPairs; ++p) {
          sum[p][v] = AddProducts(sum[p][v], x[p], w, std::integral_constant<bool, kUnsigned>());
        }
      }
      weights += kAcross * 16;
    }
    // From pairs of rows and columns to rows.
    UNROLL
    for (int r = 0; r < kRows; ++r) {
      UNROLL
      for (int i = 0; i < 4; ++i) {
        const int64x2_t left = vreinterpretq_s64_s32(sum[r / 2][2 * i]);
        const int64x2_t right = vreinterpretq_s64_s32(sum[r / 2][2 * i + 1]);
        tile->sum[r][0].v[i] = Row(r % 2 == 0 ? vtrn1q_s64(left, right) : vtrn2q_s64(left, right));
      }
    }
  }
};

}  // namespace

bool I8mm::Multiply(const Product& product, const Epilogue& epilogue, void* out) {
  if (product.is_unsigned) return MultiplyBy<I8mmSums<true>>(product, epilogue, out);
  return MultiplyBy<I8mmSums<false>>(product, epilogue, out);
}

void I8mm::TopK(const Product& product, const Epilogue& epilogue, const ProductTopK& result) {
  if (product.is_unsigned) return TopKBy<I8mmSums<true>>(product, epilogue, result);
  TopKBy<I8mmSums<false>>(product, epilogue, result);
}

}  // namespace panels
}  // namespace keras_int8nmt
