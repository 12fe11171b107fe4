// The loops of the float32 product for NEON, whatever else the CPU has: a tile is up to 6 rows by
// 16 columns, 24 sums of the 32 registers.
#if !defined(__clang__)
// GCC's scheduler loads early what it then has no registers for; these CPUs reorder by themselves.
#pragma GCC optimize("no-schedule-insns")
#endif

#include "simd/neon.h"

// The headers below hold every kernel; few of them are used here.
#pragma GCC diagnostic ignored "-Wunused-function"

#ifndef __ARM_NEON
#error "The flags of this instruction set are missing."
#endif

#include "gemm/fma_kernel.h"

namespace keras_int8nmt {
namespace fma {
namespace {

struct NeonSet {
  using Register = float32x4_t;
  static constexpr int64_t kWidth = 4;
  static constexpr int64_t kColumns = Neon::kColumns;
  static constexpr int kTileRows = 6;
  static constexpr int Panels(int rows) { return rows == 1 ? 3 : rows == 2 ? 2 : 1; }

  static INLINE Register Zero() { return vdupq_n_f32(0.0f); }
  static INLINE Register Load(const float* x) { return vld1q_f32(x); }
  static INLINE Register Splat(const float* x) { return vld1q_dup_f32(x); }
  static INLINE Register MulAdd(Register a, Register b, Register sum) {
    return vfmaq_f32(sum, a, b);
  }
  static INLINE Floats ToFloats(const Register* sums) {
    return {sums[0], sums[1], sums[2], sums[3]};
  }
};

}  // namespace

void Neon::Multiply(const Product& product) { MultiplyBy<NeonSet>(product); }

void Neon::TopK(const Product& product, const ProductTopK& result) {
  TopKBy<NeonSet>(product, result);
}

}  // namespace fma
}  // namespace keras_int8nmt
