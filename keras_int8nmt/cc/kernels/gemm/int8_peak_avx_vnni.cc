// As int8_peak_avx512_vnni.cc, of half the width and in the encoding that needs no AVX-512.
#include "gemm/int8_peak.h"

#ifndef __AVXVNNI__
#error "The flags of this instruction set are missing."
#endif

#include <immintrin.h>

// Loops over registers: GCC leaves some of them rolled, and the registers in memory.
#define UNROLL _Pragma("GCC unroll 32")

namespace keras_int8nmt {

int PeakLoopAvxVnni(int64_t rounds) {
  __m256i sums[kPeakSumsAvxVnni];
  UNROLL
  for (int s = 0; s < kPeakSumsAvxVnni; ++s) sums[s] = _mm256_setzero_si256();
  const __m256i x = _mm256_set1_epi8(1), w = _mm256_set1_epi8(2);
  for (int64_t round = 0; round < rounds; ++round) {
    UNROLL
    for (int s = 0; s < kPeakSumsAvxVnni; ++s) {
      // Not the intrinsic: the compiler moves its sums to and fro.
      asm volatile("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sums[s]) : "x"(x), "x"(w));
    }
  }
  __m256i total = _mm256_setzero_si256();
  UNROLL
  for (int s = 0; s < kPeakSumsAvxVnni; ++s) total = _mm256_add_epi32(total, sums[s]);
  alignas(32) int32_t lanes[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), total);
  int sum = 0;
  for (const int32_t lane : lanes) sum += lane;
  return sum;
}

}  // namespace keras_int8nmt
