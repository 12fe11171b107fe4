// A tile's sums by pairs of products in 16 bits (madd.h); for a file that is compiled for an
// instruction set and has defined a type Set of these:
//
//   Register                of bytes, 16-bit or 32-bit numbers
//   kRegisters              that a vector of 16 sums takes
//   Load(w), FromStarts(sums), Zero(), Fetch(w)
//   Splat(x)                4 inputs in every lane of 32 bits
//   Abs(x), SignOf(x)       of inputs
//   WithSign(w, sign)       w, or -w where the input is below 0; where it is 0, any number
//   Pairs(unsigned, signed), Widened(pairs), Add16(a, b), Add32(a, b)
//   ToInts(registers)       of a vector of sums
#ifndef KERAS_INT8NMT_KERNELS_GEMM_MADD_KERNEL_H_
#define KERAS_INT8NMT_KERNELS_GEMM_MADD_KERNEL_H_

#include "gemm/madd.h"
#include "gemm/panel_kernel.h"

namespace keras_int8nmt {
namespace panels {
namespace {

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
    if (body.narrow) {
      AddGroups<kRows, true>(a, a_stride, body, panel, starts, tile);
    } else {
      AddGroups<kRows, false>(a, a_stride, body, panel, starts, tile);
    }
  }

  template <int kRows, bool kNarrowWeights>
  static INLINE void AddGroups(const uint8_t* a, int64_t a_stride, const Body& body,
                               const Panel& panel, const int32_t* starts,
                               Tile<kRows, kColumns>* tile) {
    // Local, so that the compiler keeps them in registers.
    Register sum[kRows][kAcross];
    UNROLL
    for (int r = 0; r < kRows; ++r) {
      UNROLL
      for (int v = 0; v < kAcross; ++v) {
        sum[r][v] = starts == nullptr ? Set::Zero() : Set::FromStarts(starts + v * (kBytes / 4));
      }
    }
    const int8_t* weights = panel.weights;
    const int8_t* fetch = panel.fetch;
    int64_t group = 0;
    if (kNarrowWeights) {
      for (; group + 2 <= body.groups; group += 2) {
        Register low[kAcross], high[kAcross];
        UNROLL
        for (int v = 0; v < kAcross; ++v) {
          low[v] = Set::Load(weights + v * kBytes);
          high[v] = Set::Load(weights + kAcross * kBytes + v * kBytes);
        }
        Set::Fetch(fetch);
        Set::Fetch(fetch + panel.fetch_step);
        fetch += 2 * panel.fetch_step;
        UNROLL
        for (int r = 0; r < kRows; ++r) {
          const uint8_t* row = a + r * a_stride + group * 4;
          const Register x = Set::Splat(row), y = Set::Splat(row + 4);
          const Register abs_x = Set::Abs(x), abs_y = Set::Abs(y);
          const auto sign_x = Set::SignOf(x), sign_y = Set::SignOf(y);
          UNROLL
          for (int v = 0; v < kAcross; ++v) {
            const Register pairs = Set::Add16(Set::Pairs(abs_x, Set::WithSign(low[v], sign_x)),
                                              Set::Pairs(abs_y, Set::WithSign(high[v], sign_y)));
            sum[r][v] = Set::Add32(sum[r][v], Set::Widened(pairs));
          }
        }
        weights += 2 * kAcross * kBytes;
      }
    }
    for (; group < body.groups; ++group) {
      Register w[kAcross];
      UNROLL
      for (int v = 0; v < kAcross; ++v) w[v] = Set::Load(weights + v * kBytes);
      Set::Fetch(fetch);
      fetch += panel.fetch_step;
      UNROLL
      for (int r = 0; r < kRows; ++r) {
        const Register x = Set::Splat(a + r * a_stride + group * 4);
        const Register abs_x = Set::Abs(x);
        const auto sign = Set::SignOf(x);
        UNROLL
        for (int v = 0; v < kAcross; ++v) {
          sum[r][v] =
              Set::Add32(sum[r][v], Set::Widened(Set::Pairs(abs_x, Set::WithSign(w[v], sign))));
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
