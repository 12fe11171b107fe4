// The loops of the VNNI product, for the header of an instruction set to come before, and a type
// that names its registers:
//
//   struct Set {
//     using Register;
//     static constexpr int kRegisters;  // of a Tile's Ints
//     Load(bytes), LoadStarts(ints), Zero(), Splat(four bytes), DotAdd(sum, unsigned, signed),
//     Add(ints, ints), ToInts(registers)
//   };
//
// vpdpbusd has a latency of 4 cycles or 5 and issues at most twice a cycle, so a dozen independent
// sums keep it busy, and a group of 4 rows of W is loaded once for all rows of inputs of a tile.
// All rows go over a panel before the next one, which is fetched meanwhile.
#ifndef KERAS_INT8NMT_KERNELS_GEMM_VNNI_KERNEL_H_
#define KERAS_INT8NMT_KERNELS_GEMM_VNNI_KERNEL_H_

#include "gemm/panel_kernel.h"
#include "gemm/vnni.h"

namespace keras_int8nmt {
namespace panels {
namespace {

template <class Set, int kMostRows, int64_t kPanelColumns>
struct VnniSums {
  static constexpr int kTileRows = kMostRows;
  static constexpr int64_t kColumns = kPanelColumns;
  // Registers across a panel, and bytes of one.
  static constexpr int kAcross = static_cast<int>(kColumns / kLanes * Set::kRegisters);
  static constexpr int64_t kBytes = 64 / Set::kRegisters;
  using Register = typename Set::Register;

  template <int kRows>
  static INLINE void Add(const uint8_t* a, int64_t a_stride, const Body& body, const Panel& panel,
                         const int32_t* starts, Tile<kRows, kColumns>* tile) {
    // Local, so that the compiler keeps them in registers.
    Register sum[kRows][kAcross];
    UNROLL
    for (int r = 0; r < kRows; ++r) {
      UNROLL
      for (int v = 0; v < kAcross; ++v) {
        sum[r][v] = starts == nullptr ? Set::Zero() : Set::LoadStarts(starts + v * (kBytes / 4));
      }
    }
    // So few sums would wait for one another: groups take turns at several of each.
    constexpr int kChains = kRows * kAcross < 4 ? 4 : 1;
    Register more[kChains][kRows][kAcross];
    UNROLL
    for (int c = 1; c < kChains; ++c) {
      UNROLL
      for (int r = 0; r < kRows; ++r) {
        UNROLL
        for (int v = 0; v < kAcross; ++v) more[c][r][v] = Set::Zero();
      }
    }
    const int8_t* weights = panel.weights;
    const int8_t* fetch = panel.fetch;
    // Three rows from one pointer: the address of one is base, base + stride or base + 2 * stride.
    constexpr int kBases = (kRows + 2) / 3;
    const uint8_t* bases[kBases];
    UNROLL
    for (int i = 0; i < kBases; ++i) bases[i] = a + 3 * i * a_stride;
    const auto group = [&](Register(*to)[kAcross]) __attribute__((always_inline)) {
      Register w[kAcross];
      UNROLL
      for (int v = 0; v < kAcross; ++v) w[v] = Set::Load(weights + v * kBytes);
      _mm_prefetch(fetch, _MM_HINT_T1);
      if (kAcross * kBytes > kLine) _mm_prefetch(fetch + panel.fetch_step / 2, _MM_HINT_T1);
      fetch += panel.fetch_step;
      UNROLL
      for (int r = 0; r < kRows; ++r) {
        const Register x = Set::Splat(bases[r / 3] + r % 3 * a_stride);
        UNROLL
        for (int v = 0; v < kAcross; ++v) to[r][v] = Set::DotAdd(to[r][v], x, w[v]);
      }
      UNROLL
      for (const uint8_t*& base : bases) base += 4;
      weights += kAcross * kBytes;
    };
    int64_t g = 0;
    for (; kChains > 1 && g + kChains <= body.groups; g += kChains) {
      group(sum);
      UNROLL
      for (int c = 1; c < kChains; ++c) group(more[c]);
    }
    for (; g < body.groups; ++g) group(sum);
    UNROLL
    for (int c = 1; c < kChains; ++c) {
      UNROLL
      for (int r = 0; r < kRows; ++r) {
        UNROLL
        for (int v = 0; v < kAcross; ++v) sum[r][v] = Set::Add(sum[r][v], more[c][r][v]);
      }
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

#endif  // KERAS_INT8NMT_KERNELS_GEMM_VNNI_KERNEL_H_
