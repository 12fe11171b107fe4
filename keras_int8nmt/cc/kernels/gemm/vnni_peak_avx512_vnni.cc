// The CPU's INT8 peak: what a loop of vpdpbusd alone reaches. Compiled with the flags of
// simd/avx512_vnni.cc.
#include "gemm/vnni.h"

#include <algorithm>
#include <chrono>

#ifndef __AVX512VNNI__
#error "The flags of this instruction set are missing."
#endif

#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

// Loops over registers: GCC leaves some of them rolled, and the registers in memory.
#define UNROLL _Pragma("GCC unroll 8")

namespace keras_int8nmt {
namespace vnni {
namespace {

// As many independent sums as a tile of the product has.
constexpr int kRows = 6, kVectors = 4;

// `rounds` times that many instructions; the result keeps the compiler from leaving them out.
int Loop(int64_t rounds) {
  __m512i sums[kRows][kVectors];
  UNROLL
  for (int r = 0; r < kRows; ++r) {
    UNROLL
    for (int v = 0; v < kVectors; ++v) {
      sums[r][v] = _mm512_setzero_si512();
    }
  }
  const __m512i x = _mm512_set1_epi8(1), w = _mm512_set1_epi8(2);
  for (int64_t round = 0; round < rounds; ++round) {
    UNROLL
    for (int r = 0; r < kRows; ++r) {
      UNROLL
      for (int v = 0; v < kVectors; ++v) {
        // Not the intrinsic: the compiler moves its sums to and fro.
        asm volatile("vpdpbusd %2, %1, %0" : "+v"(sums[r][v]) : "v"(x), "v"(w));
      }
    }
  }
  __m512i total = _mm512_setzero_si512();
  UNROLL
  for (int r = 0; r < kRows; ++r) {
    UNROLL
    for (int v = 0; v < kVectors; ++v) total = _mm512_add_epi32(total, sums[r][v]);
  }
  return _mm512_reduce_add_epi32(total);
}

}  // namespace

double PeakGops(double seconds) {
  using Clock = std::chrono::steady_clock;
  constexpr int64_t kRounds = 100000;
  double best = 0.0;
  volatile int kept = Loop(kRounds);
  const auto start = Clock::now();
  double elapsed = 0.0;
  while (elapsed < seconds) {
    const auto before = Clock::now();
    kept = kept + Loop(kRounds);
    const auto after = Clock::now();
    const double took = std::chrono::duration<double>(after - before).count();
    // 64 products and as many additions in each.
    best = std::max(best, 128.0 * kRows * kVectors * kRounds / took * 1e-9);
    elapsed = std::chrono::duration<double>(after - start).count();
  }
  return best;
}

}  // namespace vnni
}  // namespace keras_int8nmt
