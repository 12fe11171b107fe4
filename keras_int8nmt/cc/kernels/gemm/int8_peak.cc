// A core's INT8 peak, with the instruction set in force.
#include "gemm/int8_peak.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "gemm/gemm.h"

namespace keras_int8nmt {
namespace {

// The loop of a set, and the products of one of its rounds.
struct PeakLoop {
  const char* isa;
  int (*run)(int64_t rounds);
  int products;
};

constexpr PeakLoop kPeakLoops[] = {
#if defined(__x86_64__)
    {"avx512_vnni", PeakLoopAvx512Vnni, 64 * kPeakSums},
    {"avx512", PeakLoopAvx512, 64 * kPeakSums},
#ifndef KERAS_INT8NMT_WITHOUT_AVX_VNNI
    {"avx_vnni", PeakLoopAvxVnni, 32 * kPeakSumsAvxVnni},
#endif
    {"avx2", PeakLoopAvx2, 32 * kPeakSumsAvx2},
#endif
#if defined(__aarch64__)
    {"neon_i8mm", PeakLoopNeonI8mm, 32 * kPeakSums},
    {"neon_dotprod", PeakLoopNeonDotprod, 16 * kPeakSums},
    {"neon", PeakLoopNeon, 16 * kPeakSumsNeon},
#endif
    // The others have no such instructions: what a compiler makes of loops is no peak.
    {"generic", nullptr, 0},
};

double Measured(const PeakLoop& loop, double seconds) {
  using Clock = std::chrono::steady_clock;
  constexpr int64_t kRounds = 100000;
  double best = 0.0;
  volatile int kept = loop.run(kRounds);
  const auto start = Clock::now();
  double elapsed = 0.0;
  while (elapsed < seconds) {
    const auto before = Clock::now();
    kept = kept ^ loop.run(kRounds);
    const auto after = Clock::now();
    const double took = std::chrono::duration<double>(after - before).count();
    // A product and an addition are two operations.
    best = std::max(best, 2.0 * loop.products * kRounds / took * 1e-9);
    elapsed = std::chrono::duration<double>(after - start).count();
  }
  return best;
}

}  // namespace

double Int8PeakGops(double seconds) {
  const char* isa = ActiveKernels().isa;
  for (const PeakLoop& loop : kPeakLoops) {
    if (std::strcmp(loop.isa, isa) == 0 && loop.run != nullptr) return Measured(loop, seconds);
  }
  return 0.0;
}

}  // namespace keras_int8nmt
