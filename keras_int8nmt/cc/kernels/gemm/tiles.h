// What all kernels over panels of columns share, whatever they multiply; for the header of an
// instruction set to come before.
#ifndef KERAS_INT8NMT_KERNELS_GEMM_TILES_H_
#define KERAS_INT8NMT_KERNELS_GEMM_TILES_H_

#include <type_traits>

#include "gemm/gemm.h"
#include "simd/elementwise.h"
#include "simd/top_k.h"
#include "simd/vectors.h"

// Loops over registers: GCC leaves some of them rolled, and the registers in memory.
#define UNROLL _Pragma("GCC unroll 16")

namespace keras_int8nmt {
namespace {

constexpr int64_t kLine = 64;
// Panels are read once, in order. At few rows the CPU's own prefetcher does not keep up with them.
constexpr int64_t kAhead = 4096;

struct ReluWriter {
  float* out;
  template <class Lanes>
  INLINE void operator()(int64_t i, Floats y, Lanes lanes) const {
    Store(out + i, Relu::Apply(y), lanes);
  }
};

// f(rows, first row, block, blocks) with compile-time row counts, for blocks of nearly equal size.
template <int kTileRows, class F>
INLINE void ForRowBlocks(int64_t m, F f) {
  static_assert(kTileRows >= 1 && kTileRows <= 14, "a case for each number of rows");
  const int64_t blocks = (m + kTileRows - 1) / kTileRows;
  int64_t row = 0;
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t rows = (m - row + blocks - b - 1) / (blocks - b);
    switch (rows) {
#define KERAS_INT8NMT_ROWS(n)                              \
  case n:                                                  \
    if constexpr (n <= kTileRows) {                        \
      f(std::integral_constant<int, n>(), row, b, blocks); \
    }                                                      \
    break;
      KERAS_INT8NMT_ROWS(1)
      KERAS_INT8NMT_ROWS(2)
      KERAS_INT8NMT_ROWS(3)
      KERAS_INT8NMT_ROWS(4)
      KERAS_INT8NMT_ROWS(5)
      KERAS_INT8NMT_ROWS(6)
      KERAS_INT8NMT_ROWS(7)
      KERAS_INT8NMT_ROWS(8)
      KERAS_INT8NMT_ROWS(9)
      KERAS_INT8NMT_ROWS(10)
      KERAS_INT8NMT_ROWS(11)
      KERAS_INT8NMT_ROWS(12)
      KERAS_INT8NMT_ROWS(13)
      KERAS_INT8NMT_ROWS(14)
#undef KERAS_INT8NMT_ROWS
    }
    row += rows;
  }
}

// The k best of each of m rows of n columns, of the panels [first_panel, last_panel): results are
// handed over a chunk of columns at a time and not kept. `multiply(first, last, write)` makes those
// of some panels: write(row, column, y, lanes) for each vector of them.
template <int64_t kColumns, class Multiply>
void TopKOfPanels(int64_t m, int64_t n, int64_t first_panel, int64_t last_panel,
                  const ProductTopK& result, Multiply multiply) {
  constexpr int64_t kChunkPanels = kLogSumChunk / kColumns;
  const int64_t chunks = (n + kLogSumChunk - 1) / kLogSumChunk;
  Scratch memory(m * kLogSumChunk);
  float* logits = memory.Take<float>(m * kLogSumChunk);
  for (int64_t r = 0; r < m; ++r) result.counts[r] = 0, result.finite[r] = 1;
  for (int64_t panel = first_panel; panel < last_panel; panel += kChunkPanels) {
    const int64_t end = panel + kChunkPanels < last_panel ? panel + kChunkPanels : last_panel;
    const int64_t chunk = panel / kChunkPanels;
    const int64_t first = panel * kColumns;
    const int64_t columns = n - first < kLogSumChunk ? n - first : kLogSumChunk;
    multiply(panel, end, [&](int64_t row, int64_t column, Floats y, auto lanes) {
      Store(logits + row * kLogSumChunk + column - first, y, lanes);
    });
    const int64_t watched = result.watched - first;
    for (int64_t r = 0; r < m; ++r) {
      const float* x = logits + r * kLogSumChunk;
      Best best(result.k, result.best + r * result.k, result.ids + r * result.k, result.counts + r);
      float* sum = result.sums == nullptr ? nullptr : result.sums + r * chunks + chunk;
      if (!AddChunk(x, columns, first, result.forbidden, result.maxima + r * chunks + chunk, sum,
                    &best)) {
        result.finite[r] = 0;
      }
      if (watched >= 0 && watched < columns) result.watched_logits[r] = x[watched];
    }
  }
}

}  // namespace
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_GEMM_TILES_H_
