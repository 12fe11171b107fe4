// smmla: 32 products and as many additions.
#include "gemm/int8_peak.h"

#ifndef __ARM_FEATURE_MATMUL_INT8
#error "The flags of this instruction set are missing."
#endif

#include <arm_neon.h>

// Loops over registers: GCC leaves some of them rolled, and the registers in memory.
#define UNROLL _Pragma("GCC unroll 32")

namespace keras_int8nmt {

int PeakLoopNeonI8mm(int64_t rounds) {
  int32x4_t sums[kPeakSums];
  UNROLL
  for (int32x4_t& sum : sums) sum = vdupq_n_s32(0);
  const int8x16_t x = vdupq_n_s8(1), w = vdupq_n_s8(2);
  for (int64_t round = 0; round < rounds; ++round) {
    UNROLL
    for (int32x4_t& sum : sums) {
      // Not the intrinsic: the compiler moves its sums to and fro.
      asm volatile("smmla %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(x), "w"(w));
    }
  }
  int32x4_t total = vdupq_n_s32(0);
  UNROLL
  for (const int32x4_t& sum : sums) total = vaddq_s32(total, sum);
  return vaddvq_s32(total);
}

}  // namespace keras_int8nmt
