// A tile's sums by pairs of products in 16 bits (madd.h); for a file that is compiled for an
// instruction set and has defined a type Set of these:
//
//   Register                of bytes, 16-bit or 32-bit numbers
//   kRegisters              that a vector of 16 sums takes
//   Load(w), FromStarts(sums), Zero(), Fetch(w)
//   Splat(x)                4 bytes in every lane of 32 bits
//   Xor(a, b), Pairs(unsigned, signed), Widened(pairs), Add32(a, b)
//   ToInts(registers)       of a vector of sums
#ifndef KERAS_INT8NMT_KERNELS_GEMM_MADD_KERNEL_H_
#define KERAS_INT8NMT_KERNELS_GEMM_MADD_KERNEL_H_

#include "gemm/madd.h"
#include "gemm/panel_kernel.h"

namespace keras_int8nmt {
namespace panels {
namespace {

// A group of four inputs, a byte of `x` each.
INLINE void SplitGroup(uint32_t x, SplitGroupOfFour* group, uint32_t* below_zero) {
  const uint32_t ones = x >> 7 & 0x01010101u;
  group->signs = ones * 255;
  // ~x + 1 where x is below 0; at most 128, so that no byte reaches into the next one.
  group->sizes = (x ^ group->signs) + ones;
  const uint32_t counted = group->sizes & group->signs;
  *below_zero += (counted & 255) + (counted >> 8 & 255) + (counted >> 16 & 255) + (counted >> 24);
}

// Rows of k bytes, shifted by 128 where `flip`, to rows as SplitRow describes them.
INLINE void SplitRows(const uint8_t* bytes, bool flip, int64_t m, int64_t k, uint8_t* rows) {
  const SplitRow row(k);
  const uint32_t flipped = flip ? 0x80808080u : 0;
  for (int64_t r = 0; r < m; ++r, bytes += k, rows += row.bytes) {
    auto* groups = reinterpret_cast<SplitGroupOfFour*>(rows);
    uint32_t below_zero = 0;
    for (int64_t g = 0; g < k / 4; ++g) {
      uint32_t x;
      std::memcpy(&x, bytes + 4 * g, 4);
      SplitGroup(x ^ flipped, groups + g, &below_zero);
    }
    if (k % 4 != 0) {
      uint32_t x = flipped;
      std::memcpy(&x, bytes + k / 4 * 4, k % 4);
      SplitGroup(x ^ flipped, groups + k / 4, &below_zero);
    }
    std::memcpy(rows + row.below_zero, &below_zero, sizeof(below_zero));
  }
}

template <class Set, int kMostRows, int64_t kPanelColumns>
struct MaddSums {
  static constexpr int kTileRows = kMostRows;
  static constexpr int64_t kColumns = kPanelColumns;
  // Registers across a panel, and bytes of one.
  static constexpr int kAcross = kColumns / kLanes * Set::kRegisters;
  static constexpr int64_t kBytes = 64 / Set::kRegisters;
  using Register = typename Set::Register;

  template <int kRows>
  static INLINE void Add(const uint8_t* a, int64_t a_stride, const Body& body, const Panel& panel,
                         const int32_t* starts, Tile<kRows, kColumns>* tile) {
    // Of a prefetch in the loop each tile pays for all: none, one line or two of a group.
    if (panel.fetch_step == 0) {
      AddFetching<kRows, 0>(a, a_stride, body, panel, starts, tile);
    } else if (panel.fetch_step <= kLine) {
      AddFetching<kRows, 1>(a, a_stride, body, panel, starts, tile);
    } else {
      AddFetching<kRows, 2>(a, a_stride, body, panel, starts, tile);
    }
  }

  template <int kRows, int kLines>
  static INLINE void AddFetching(const uint8_t* a, int64_t a_stride, const Body& body,
                                 const Panel& panel, const int32_t* starts,
                                 Tile<kRows, kColumns>* tile) {
    if (body.narrow) {
      AddGroups<kRows, kLines, true>(a, a_stride, body, panel, starts, tile);
    } else {
      AddGroups<kRows, kLines, false>(a, a_stride, body, panel, starts, tile);
    }
  }

  template <int kLines>
  static INLINE void FetchGroup(const int8_t* fetch, int64_t step) {
    if (kLines > 0) Set::Fetch(fetch);
    if (kLines > 1) Set::Fetch(fetch + step / 2);
  }

  // Narrow weights take inputs as unsigned bytes, wide ones as sizes and signs.
  template <int kRows, int kLines, bool kNarrowWeights>
  static INLINE void AddGroups(const uint8_t* a, int64_t a_stride, const Body& body,
                               const Panel& panel, const int32_t* starts,
                               Tile<kRows, kColumns>* tile) {
    constexpr int64_t kGroupBytes = kNarrowWeights ? 4 : sizeof(SplitGroupOfFour);
    const int64_t below_zero = body.groups * kGroupBytes;
    // Local, so that the compiler keeps them in registers.
    Register sum[kRows][kAcross];
    UNROLL
    for (int r = 0; r < kRows; ++r) {
      const Register row = kNarrowWeights ? Set::Zero() : Set::Splat(a + r * a_stride + below_zero);
      UNROLL
      for (int v = 0; v < kAcross; ++v) {
        sum[r][v] = row;
        if (starts != nullptr) {
          sum[r][v] = Set::Add32(row, Set::FromStarts(starts + v * (kBytes / 4)));
        }
      }
    }
    const int8_t* weights = panel.weights;
    const int8_t* fetch = panel.fetch;
    for (int64_t group = 0; group < body.groups; ++group) {
      Register w[kAcross];
      UNROLL
      for (int v = 0; v < kAcross; ++v) w[v] = Set::Load(weights + v * kBytes);
      FetchGroup<kLines>(fetch, panel.fetch_step);
      fetch += panel.fetch_step;
      UNROLL
      for (int r = 0; r < kRows; ++r) {
        const uint8_t* row = a + r * a_stride + group * kGroupBytes;
        const Register x = Set::Splat(row);
        const Register sign = kNarrowWeights ? x : Set::Splat(row + 4);
        UNROLL
        for (int v = 0; v < kAcross; ++v) {
          const Register signed_w = kNarrowWeights ? w[v] : Set::Xor(w[v], sign);
          sum[r][v] = Set::Add32(sum[r][v], Set::Widened(Set::Pairs(x, signed_w)));
        }
      }
      weights += kAcross * kBytes;
    }
    UNROLL
    for (int r = 0; r < kRows; ++r) {
      UNROLL
      for (int v = 0; v < kColumns / kLanes; ++v) {
        tile->sum[r][v] = Set::ToInts(sum[r] + v * Set::kRegisters);
      }
    }
  }
};

}  // namespace
}  // namespace panels
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_GEMM_MADD_KERNEL_H_
