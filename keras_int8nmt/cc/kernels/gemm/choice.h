// Which back end the weights of a shape are packed for. All give the same bits, so that it is a
// question of time alone: the candidates of this CPU are measured on products of that shape.
//
// A candidate is what ActiveGemm takes by itself, and each library of other people's that is here:
// oneDNN, and MKL where KERAS_INT8NMT_MKL names it (to load it sets the threads of everybody's MKL
// in the process). Nothing is measured where KERAS_INT8NMT_GEMM asks for one back end.
#ifndef KERAS_INT8NMT_KERNELS_GEMM_CHOICE_H_
#define KERAS_INT8NMT_KERNELS_GEMM_CHOICE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "gemm/gemm.h"

namespace keras_int8nmt {

// The back end that weights [k, n] are packed for: the one that ChooseGemm was told, else
// ActiveGemm. Once asked it stays: a blob's size and its content are two questions.
const GemmBackend& ChosenGemm(int64_t k, int64_t n);
// Before the first ChosenGemm of that shape; else, and for the name of no candidate, it does
// nothing. Loads the library that it names. Returns whether it is chosen.
bool ChooseGemm(int64_t k, int64_t n, const std::string& name);

// Whether there may be a choice: the libraries are not loaded to find out.
bool GemmIsMeasured();

// The rows of inputs that are measured.
constexpr int64_t kMeasuredRows[] = {1, 8, 32, 128};
constexpr int kMeasuredCounts = sizeof(kMeasuredRows) / sizeof(kMeasuredRows[0]);

struct GemmTimes {
  const GemmBackend* backend = nullptr;
  // Seconds of one product of each count of rows; 0 where it was too far behind to be asked.
  double seconds[kMeasuredCounts] = {};
};

struct GemmRace {
  // Columns that were multiplied: of wide weights some.
  int64_t columns = 0;
  std::vector<GemmTimes> candidates;  // ActiveGemm first; alone without times
  const GemmBackend* fastest = nullptr;
};

// Measures on this thread for about so long, and chooses nothing. Loads the libraries.
GemmRace MeasureGemm(int64_t k, int64_t n, double seconds);

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_GEMM_CHOICE_H_
