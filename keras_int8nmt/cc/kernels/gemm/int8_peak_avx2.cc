// As int8_peak_avx512.cc, of half the width.
#include "gemm/int8_peak.h"

#ifndef __AVX2__
#error "The flags of this instruction set are missing."
#endif

#include <immintrin.h>

// Loops over registers: GCC leaves some of them rolled, and the registers in memory.
#define UNROLL _Pragma("GCC unroll 32")

namespace keras_int8nmt {

int PeakLoopAvx2(int64_t rounds) {
  __m256i sums[kPeakSumsAvx2];
  UNROLL
  for (int s = 0; s < kPeakSumsAvx2; ++s) sums[s] = _mm256_setzero_si256();
  const __m256i x = _mm256_set1_epi8(1), w = _mm256_set1_epi8(2), ones = _mm256_set1_epi16(1);
  for (int64_t round = 0; round < rounds; ++round) {
    UNROLL
    for (int s = 0; s < kPeakSumsAvx2; ++s) {
      __m256i pairs;
      // Not the intrinsics: the compiler would take what does not change out of the loop.
      asm volatile(
          "vpmaddubsw %3, %2, %1\n\t"
          "vpmaddwd %4, %1, %1\n\t"
          "vpaddd %1, %0, %0"
          : "+x"(sums[s]), "=&x"(pairs)
          : "x"(x), "x"(w), "x"(ones));
    }
  }
  __m256i total = _mm256_setzero_si256();
  UNROLL
  for (int s = 0; s < kPeakSumsAvx2; ++s) total = _mm256_add_epi32(total, sums[s]);
  alignas(32) int32_t lanes[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), total);
  int sum = 0;
  for (const int32_t lane : lanes) sum += lane;
  return sum;
}

}  // namespace keras_int8nmt
