// vpdpbusd: 64 products and as many additions.
#include "gemm/int8_peak.h"

#ifndef __AVX512VNNI__
#error "The flags of this instruction set are missing."
#endif

#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

// Loops over registers: GCC leaves some of them rolled, and the registers in memory.
#define UNROLL _Pragma("GCC unroll 32")

namespace keras_int8nmt {

int PeakLoopAvx512Vnni(int64_t rounds) {
  __m512i sums[kPeakSums];
  UNROLL
  for (int s = 0; s < kPeakSums; ++s) sums[s] = _mm512_setzero_si512();
  const __m512i x = _mm512_set1_epi8(1), w = _mm512_set1_epi8(2);
  for (int64_t round = 0; round < rounds; ++round) {
    UNROLL
    for (int s = 0; s < kPeakSums; ++s) {
      // Not the intrinsic: the compiler moves its sums to and fro.
      asm volatile("vpdpbusd %2, %1, %0" : "+v"(sums[s]) : "v"(x), "v"(w));
    }
  }
  __m512i total = _mm512_setzero_si512();
  UNROLL
  for (int s = 0; s < kPeakSums; ++s) total = _mm512_add_epi32(total, sums[s]);
  return _mm512_reduce_add_epi32(total);
}

}  // namespace keras_int8nmt
