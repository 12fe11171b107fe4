// What the kernels of arm.h share; for the header of an instruction set to come before.
#ifndef KERAS_INT8NMT_KERNELS_GEMM_ARM_KERNEL_H_
#define KERAS_INT8NMT_KERNELS_GEMM_ARM_KERNEL_H_

#include "gemm/arm.h"
#include "simd/vectors.h"

// The headers below hold every kernel; few of them are used here.
#pragma GCC diagnostic ignored "-Wunused-function"

namespace keras_int8nmt {
namespace {

INLINE Ints RoundedInts(Floats x) {
  return Each<Ints>([&](int i) { return vcvtnq_s32_f32(x.v[i]); });
}

// 4 inputs in every lane of 32 bits.
INLINE int8x16_t Splat(const uint8_t* x) {
  int32_t word;
  __builtin_memcpy(&word, x, 4);
  return vreinterpretq_s8_s32(vdupq_n_s32(word));
}

// A register of a vector of sums, or of zeros where they start from 0.
INLINE int32x4_t Start(const int32_t* starts, int64_t column) {
  return starts == nullptr ? vdupq_n_s32(0) : vld1q_s32(starts + column);
}

}  // namespace
}  // namespace keras_int8nmt

#include "gemm/panel_kernel.h"

#endif  // KERAS_INT8NMT_KERNELS_GEMM_ARM_KERNEL_H_
