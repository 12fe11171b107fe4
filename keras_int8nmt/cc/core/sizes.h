// The sizes of weights that a caller names, checked.
#ifndef KERAS_INT8NMT_CORE_SIZES_H_
#define KERAS_INT8NMT_CORE_SIZES_H_

#include <cstdint>
#include <stdexcept>
#include <string>

#include "int8.h"

namespace keras_int8nmt {

// No number of bytes overflows below it.
constexpr int64_t kMostColumns = int64_t{1} << 31;

inline void CheckSize(int64_t k, int64_t n, int64_t most_rows, int64_t most_columns) {
  if (k >= 1 && k <= most_rows && n >= 1 && n <= most_columns) return;
  throw std::invalid_argument("weights of " + std::to_string(k) + " rows and " + std::to_string(n) +
                              " columns; expected 1 to " + std::to_string(most_rows) +
                              " and 1 to " + std::to_string(most_columns));
}

inline void CheckInt8Size(int64_t k, int64_t n) { CheckSize(k, n, kMaxDepth, kMostColumns); }

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_CORE_SIZES_H_
