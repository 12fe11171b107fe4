// The loops of the float32 product, for the header of an instruction set to come before, and a type
// that names its registers:
//
//   struct Set {
//     using Register;
//     static constexpr int64_t kWidth;     // floats of a register
//     static constexpr int64_t kColumns;   // of a panel
//     static constexpr int kTileRows;      // most rows of a tile
//     // Panels side by side at that many rows: few rows of one panel are too few sums to hide the
//     // latency of an addition.
//     static constexpr int Panels(int rows);
//     Zero(), Load(x), Splat(x), MulAdd(a, b, sum), ToFloats(registers)
//   };
#ifndef KERAS_INT8NMT_KERNELS_GEMM_FMA_KERNEL_H_
#define KERAS_INT8NMT_KERNELS_GEMM_FMA_KERNEL_H_

#include "gemm/fma.h"
#include "gemm/tiles.h"

namespace keras_int8nmt {
namespace fma {
namespace {

// Rows of W between two looks at what to fetch.
constexpr int64_t kStep = 4;

// Where a tile's weights are, and what to fetch meanwhile.
struct Weights {
  const float* at;
  int64_t panel;  // floats of a whole panel
  const char* fetch;
  int64_t fetch_step;  // bytes, whole lines, for kStep rows
  bool soon;           // whether it is wanted soon: what waits longer stays out of the first cache
};

// For kStep rows of kPanels panels.
template <int kPanels>
INLINE void Fetch(const Weights& from, const char* fetch) {
  if (from.soon) {
    UNROLL
    for (int p = 0; p < kPanels; ++p) {
      const char* panel = fetch + p * from.panel * static_cast<int64_t>(sizeof(float));
      for (int64_t at = 0; at < from.fetch_step; at += kLine) __builtin_prefetch(panel + at, 0, 3);
    }
    return;
  }
  for (int64_t at = 0; at < from.fetch_step; at += kLine) __builtin_prefetch(fetch + at, 0, 2);
}

template <class Set, int kRows, int kPanels>
struct Tile {
  static constexpr int kAcross = static_cast<int>(Set::kColumns / Set::kWidth);
  static constexpr int kRegisters = static_cast<int>(kLanes / Set::kWidth);  // of a Floats
  using Register = typename Set::Register;

  Register sum[kRows][kPanels * kAcross];

  // One row of W.
  INLINE void Step(const float* const* bases, int64_t a_stride, const float* weights,
                   int64_t panel) {
    Register w[kPanels * kAcross];
    UNROLL
    for (int v = 0; v < kPanels * kAcross; ++v) {
      w[v] = Set::Load(weights + v / kAcross * panel + v % kAcross * Set::kWidth);
    }
    UNROLL
    for (int r = 0; r < kRows; ++r) {
      const Register x = Set::Splat(bases[r / 3] + r % 3 * a_stride);
      UNROLL
      for (int v = 0; v < kPanels * kAcross; ++v) sum[r][v] = Set::MulAdd(x, w[v], sum[r][v]);
    }
  }
};

// write(row, column, y, lanes) for kPanels panels of kRows rows of results.
template <class Set, int kRows, int kPanels, class Write>
INLINE void ForTile(const Product& p, int64_t first_row, int64_t panel, const Weights& from,
                    Write write) {
  using Sums = Tile<Set, kRows, kPanels>;
  constexpr int kAcross = Sums::kAcross;
  Sums tile;
  UNROLL
  for (int r = 0; r < kRows; ++r) {
    UNROLL
    for (int v = 0; v < kPanels * kAcross; ++v) tile.sum[r][v] = Set::Zero();
  }
  // Three rows from one pointer: the address of one is base, base + stride or base + 2 * stride.
  constexpr int kBases = (kRows + 2) / 3;
  const float* bases[kBases];
  UNROLL
  for (int i = 0; i < kBases; ++i) bases[i] = p.a + (first_row + 3 * i) * p.k;
  const float* weights = from.at;
  const char* fetch = from.fetch;
  int64_t i = 0;
  for (; i + kStep <= p.k; i += kStep) {
    Fetch<kPanels>(from, fetch);
    fetch += from.fetch_step;
    UNROLL
    for (int64_t s = 0; s < kStep; ++s) {
      tile.Step(bases, p.k, weights, from.panel);
      UNROLL
      for (const float*& base : bases) ++base;
      weights += Set::kColumns;
    }
  }
  for (; i < p.k; ++i) {
    tile.Step(bases, p.k, weights, from.panel);
    UNROLL
    for (const float*& base : bases) ++base;
    weights += Set::kColumns;
  }
  const auto vector = [&](int v, int64_t column, auto lanes) {
    const Floats bias = keras_int8nmt::Load(p.bias + column, lanes);
    UNROLL
    for (int r = 0; r < kRows; ++r) {
      write(first_row + r, column, Set::ToFloats(&tile.sum[r][v * Sums::kRegisters]) + bias, lanes);
    }
  };
  constexpr int kVectors = static_cast<int>(kPanels * Set::kColumns / kLanes);
  const int64_t column = panel * Set::kColumns;
  if (p.n - column >= kPanels * Set::kColumns) {
    UNROLL
    for (int v = 0; v < kVectors; ++v) vector(v, column + v * kLanes, Full());
    return;
  }
  UNROLL
  for (int v = 0; v < kVectors; ++v) {
    const int64_t left = p.n - column - v * kLanes;
    if (left >= kLanes) {
      vector(v, column + v * kLanes, Full());
    } else if (left > 0) {
      vector(v, column + v * kLanes, Part{static_cast<int>(left)});
    }
  }
}

// What is fetched while block `b` of `blocks` goes over a panel that is not the last: of one
// block its own weights, else a part of the next panel, which is done after four blocks.
template <class Set>
INLINE Weights WeightsAt(const Product& p, int64_t panel, bool is_last, int64_t b, int64_t blocks) {
  constexpr int64_t kBytes = kStep * Set::kColumns * static_cast<int64_t>(sizeof(float));
  const int64_t size = p.k * Set::kColumns;
  const float* at = p.panels + panel * size;
  const char* bytes = reinterpret_cast<const char*>(at);
  if (blocks == 1) return {at, size, bytes + kAhead, kBytes, true};
  if (is_last || b >= 4) return {at, size, bytes, 0, false};
  const int64_t parts = blocks < 4 ? 2 : 4;
  if (b >= parts) return {at, size, bytes, 0, false};
  const int64_t size_bytes = size * static_cast<int64_t>(sizeof(float));
  return {at, size, bytes + size_bytes + b * (size_bytes / parts), kBytes / parts, false};
}

template <class Set, class Write>
INLINE void ForResults(const Product& p, int64_t first_panel, int64_t last_panel, Write write) {
  if (p.m <= Set::kTileRows) {
    // One block of rows: whole groups of panels, then what is left of them one at a time.
    ForRowBlocks<Set::kTileRows>(p.m, [&](auto rows, int64_t row, int64_t, int64_t) {
      constexpr int kRows = decltype(rows)::value;
      constexpr int kPanels = Set::Panels(kRows);
      int64_t panel = first_panel;
      for (; panel + kPanels <= last_panel; panel += kPanels) {
        ForTile<Set, kRows, kPanels>(p, row, panel, WeightsAt<Set>(p, panel, false, 0, 1), write);
      }
      for (; kPanels > 1 && panel < last_panel; ++panel) {
        ForTile<Set, kRows, 1>(p, row, panel, WeightsAt<Set>(p, panel, false, 0, 1), write);
      }
    });
    return;
  }
  for (int64_t panel = first_panel; panel < last_panel; ++panel) {
    ForRowBlocks<Set::kTileRows>(p.m, [&](auto rows, int64_t row, int64_t b, int64_t blocks) {
      ForTile<Set, decltype(rows)::value, 1>(
          p, row, panel, WeightsAt<Set>(p, panel, panel + 1 == last_panel, b, blocks), write);
    });
  }
}

// See fma.h.
template <class Set>
void MultiplyBy(const Product& p) {
  const auto into = [&](auto writer) {
    ForResults<Set>(p, p.first_panel, p.last_panel,
                    [&](int64_t row, int64_t column, Floats y, auto lanes) {
                      writer(row * p.n + column, y, lanes);
                    });
  };
  if (p.relu) {
    into(ReluWriter{p.out});
  } else {
    into(FloatWriter{p.out});
  }
}

template <class Set>
void TopKBy(const Product& p, const ProductTopK& result) {
  TopKOfPanels<Set::kColumns>(
      p.m, p.n, p.first_panel, p.last_panel, result,
      [&](int64_t first, int64_t last, auto write) { ForResults<Set>(p, first, last, write); });
}

}  // namespace
}  // namespace fma
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_GEMM_FMA_KERNEL_H_
