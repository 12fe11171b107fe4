// Without VNNI a multiply-add of bytes is three instructions: products of pairs as 16 bits (which
// weights of 7 bits keep from overflowing), sums of pairs of these as 32 bits, and the addition.
#include "gemm/int8_peak.h"

#ifndef __AVX512BW__
#error "The flags of this instruction set are missing."
#endif

#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

// Loops over registers: GCC leaves some of them rolled, and the registers in memory.
#define UNROLL _Pragma("GCC unroll 32")

namespace keras_int8nmt {

int PeakLoopAvx512(int64_t rounds) {
  __m512i sums[kPeakSums];
  UNROLL
  for (int s = 0; s < kPeakSums; ++s) sums[s] = _mm512_setzero_si512();
  const __m512i x = _mm512_set1_epi8(1), w = _mm512_set1_epi8(2), ones = _mm512_set1_epi16(1);
  for (int64_t round = 0; round < rounds; ++round) {
    UNROLL
    for (int s = 0; s < kPeakSums; ++s) {
      __m512i pairs;
      // Not the intrinsics: the compiler would take what does not change out of the loop.
      asm volatile(
          "vpmaddubsw %3, %2, %1\n\t"
          "vpmaddwd %4, %1, %1\n\t"
          "vpaddd %1, %0, %0"
          : "+v"(sums[s]), "=&v"(pairs)
          : "v"(x), "v"(w), "v"(ones));
    }
  }
  __m512i total = _mm512_setzero_si512();
  UNROLL
  for (int s = 0; s < kPeakSums; ++s) total = _mm512_add_epi32(total, sums[s]);
  return _mm512_reduce_add_epi32(total);
}

}  // namespace keras_int8nmt
