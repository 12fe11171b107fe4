// Loops that do nothing but an instruction set's INT8 multiply-adds on registers: what the peak of
// a core is measured by. Each is compiled with the flags of its set.
#ifndef KERAS_INT8NMT_KERNELS_GEMM_INT8_PEAK_H_
#define KERAS_INT8NMT_KERNELS_GEMM_INT8_PEAK_H_

#include <cstdint>

namespace keras_int8nmt {

// Runs that many rounds; the result keeps the compiler from leaving them out. A round is
// kPeakSums multiply-adds of whole vectors, each into a sum of its own.
constexpr int kPeakSums = 24;
int PeakLoopAvx512Vnni(int64_t rounds);
int PeakLoopAvx512(int64_t rounds);
// A CPU with AVX2 alone has 16 registers.
constexpr int kPeakSumsAvx2 = 8;
int PeakLoopAvx2(int64_t rounds);
constexpr int kPeakSumsAvxVnni = 12;
int PeakLoopAvxVnni(int64_t rounds);
int PeakLoopNeonI8mm(int64_t rounds);
int PeakLoopNeonDotprod(int64_t rounds);
// Each sum has a register of products as well.
constexpr int kPeakSumsNeon = 12;
int PeakLoopNeon(int64_t rounds);

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_GEMM_INT8_PEAK_H_
