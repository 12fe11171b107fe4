// A tile's sums by pairs of products in 16 bits (madd.h); for a file that is compiled for an
// instruction set and has defined a type Set of these:
//
//   Register                of bytes, 16-bit or 32-bit numbers
//   kRegisters              that a vector of 16 sums takes
//   Load(w), FromStarts(sums), Zero(), Fetch(w)
//   Splat(x)                4 bytes in every lane of 32 bits
//   Xor(a, b), Pairs(unsigned, signed), Add16(a, b), Widened(pairs), Add32(a, b)
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

// Eight groups at a time, by instructions of AVX2, which all these sets have.
class EightGroups {
 public:
  explicit EightGroups(bool flip) : flipped_(_mm256_set1_epi8(flip ? -128 : 0)) {}

  INLINE void Split(const uint8_t* bytes, SplitGroupOfFour* groups) {
    const __m256i zero = _mm256_setzero_si256();
    const __m256i x =
        _mm256_xor_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes)), flipped_);
    const __m256i signs = _mm256_cmpgt_epi8(zero, x), sizes = _mm256_abs_epi8(x);
    below_zero_ =
        _mm256_add_epi64(below_zero_, _mm256_sad_epu8(_mm256_and_si256(sizes, signs), zero));
    // Groups 0, 1, 4, 5 and 2, 3, 6, 7.
    const __m256i one = _mm256_unpacklo_epi32(sizes, signs);
    const __m256i other = _mm256_unpackhi_epi32(sizes, signs);
    auto* out = reinterpret_cast<__m256i*>(groups);
    _mm256_storeu_si256(out, _mm256_permute2x128_si256(one, other, 0x20));
    _mm256_storeu_si256(out + 1, _mm256_permute2x128_si256(one, other, 0x31));
  }

  // The sum of |x| where x is below 0.
  INLINE uint32_t BelowZero() const {
    uint64_t sums[4];
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums), below_zero_);
    return static_cast<uint32_t>(sums[0] + sums[1] + sums[2] + sums[3]);
  }

 private:
  __m256i flipped_;
  __m256i below_zero_ = _mm256_setzero_si256();
};

// Rows of k bytes, shifted by 128 where `flip`, to rows as SplitRow describes them.
INLINE void SplitRows(const uint8_t* bytes, bool flip, int64_t m, int64_t k, uint8_t* rows) {
  const SplitRow row(k);
  const uint32_t flipped = flip ? 0x80808080u : 0;
  for (int64_t r = 0; r < m; ++r, bytes += k, rows += row.bytes) {
    auto* groups = reinterpret_cast<SplitGroupOfFour*>(rows);
    EightGroups eight(flip);
    int64_t g = 0;
    for (; g + 8 <= k / 4; g += 8) eight.Split(bytes + 4 * g, groups + g);
    uint32_t below_zero = eight.BelowZero();
    for (; g < k / 4; ++g) {
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

// Narrow weights take inputs as unsigned bytes, wide ones as sizes and signs. kMostRows: of a tile
// of a panel without pairs of groups, kMostPaired of one with.
template <class Set, int kMostRows, int kMostPaired, int64_t kPanelColumns, bool kNarrowWeights,
          bool kPairs = false>
struct MaddSums {
  using Paired = MaddSums<Set, kMostRows, kMostPaired, kPanelColumns, kNarrowWeights, true>;
  static constexpr int kTileRows = kPairs ? kMostPaired : kMostRows;
  static constexpr int64_t kColumns = kPanelColumns;
  // Registers across a panel, and bytes of one and of a group of the panel and of a row of inputs.
  static constexpr int kAcross = kColumns / kLanes * Set::kRegisters;
  static constexpr int64_t kBytes = 64 / Set::kRegisters;
  static constexpr int64_t kGroup = kAcross * kBytes;
  static constexpr int64_t kInputs = kNarrowWeights ? 4 : sizeof(SplitGroupOfFour);
  using Register = typename Set::Register;

  template <int kRows>
  static INLINE void Add(const uint8_t* a, int64_t a_stride, const Body& body, const Panel& panel,
                         const int32_t* starts, Tile<kRows, kColumns>* tile) {
    // Of a prefetch in the loop each tile pays for all: none, half a line of a group, one or two.
    if (panel.fetch_step == 0) {
      AddFetching<kRows, 0>(a, a_stride, body, panel, starts, tile);
    } else if (panel.fetch_step <= kLine / 2) {
      AddFetching<kRows, 1>(a, a_stride, body, panel, starts, tile);
    } else if (panel.fetch_step <= kLine) {
      AddFetching<kRows, 2>(a, a_stride, body, panel, starts, tile);
    } else {
      AddFetching<kRows, 4>(a, a_stride, body, panel, starts, tile);
    }
  }

  // `step` bytes, of which a line is fetched for each two of kHalfLines.
  template <int kHalfLines>
  static INLINE void FetchAhead(const int8_t* fetch, int64_t step) {
    constexpr int kLines = (kHalfLines + 1) / 2;
    UNROLL
    for (int line = 0; line < kLines; ++line)
      Set::Fetch(fetch + line * step / (kLines > 0 ? kLines : 1));
  }

  // One function for all that is made of sums: a tile passes memory in a hundredth of its time, and
  // there are a dozen of these loops.
  template <int kRows, int kHalfLines>
  static __attribute__((noinline)) void AddFetching(const uint8_t* a, int64_t a_stride,
                                                    const Body& body, const Panel& panel,
                                                    const int32_t* starts,
                                                    Tile<kRows, kColumns>* tile) {
    const int64_t below_zero = body.groups * kInputs;
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
    // Without pairs the order is the groups' own.
    const int64_t pairs = kPairs ? NumberAt(panel.order, 0) : 0;
    const char* order = panel.order + sizeof(int32_t);
    for (int64_t pair = 0; pair < pairs; ++pair, order += 2 * sizeof(int32_t)) {
      const uint8_t* const inputs = a + NumberAt(order, 0) * kInputs;
      const uint8_t* const others = a + NumberAt(order, 1) * kInputs;
      FetchAhead<2 * kHalfLines>(fetch, 2 * panel.fetch_step);
      fetch += 2 * panel.fetch_step;
      UNROLL
      for (int r = 0; r < kRows; ++r) {
        const Input x(inputs + r * a_stride), y(others + r * a_stride);
        UNROLL
        for (int v = 0; v < kAcross; ++v) {
          const Register both =
              Set::Add16(x.Pairs(weights + v * kBytes), y.Pairs(weights + kGroup + v * kBytes));
          sum[r][v] = Set::Add32(sum[r][v], Set::Widened(both));
        }
      }
      weights += 2 * kGroup;
    }
    for (int64_t group = 2 * pairs; group < body.groups; ++group, order += sizeof(int32_t)) {
      const uint8_t* const inputs = a + (kPairs ? NumberAt(order, 0) : group) * kInputs;
      FetchAhead<kHalfLines>(fetch, panel.fetch_step);
      fetch += panel.fetch_step;
      UNROLL
      for (int r = 0; r < kRows; ++r) {
        const Input x(inputs + r * a_stride);
        UNROLL
        for (int v = 0; v < kAcross; ++v) {
          sum[r][v] = Set::Add32(sum[r][v], Set::Widened(x.Pairs(weights + v * kBytes)));
        }
      }
      weights += kGroup;
    }
    UNROLL
    for (int r = 0; r < kRows; ++r) {
      UNROLL
      for (int v = 0; v < kColumns / kLanes; ++v) {
        tile->sum[r][v] = Set::ToInts(sum[r] + v * Set::kRegisters);
      }
    }
  }

  // A group of a row of inputs, in every lane of 32 bits.
  struct Input {
    Register sizes, signs;  // or the inputs themselves, and nothing
    INLINE explicit Input(const uint8_t* group)
        : sizes(Set::Splat(group)), signs(kNarrowWeights ? sizes : Set::Splat(group + 4)) {}
    // The products of pairs by the weights of some columns, in 16 bits.
    INLINE Register Pairs(const int8_t* w) const {
      const Register weights = Set::Load(w);
      return Set::Pairs(sizes, kNarrowWeights ? weights : Set::Xor(weights, signs));
    }
  };
};

// The two functions of a kernel; see panels.h.
template <class Narrow, class Wide>
bool MultiplyByWeights(const Product& product, const Epilogue& epilogue, void* out) {
  return product.body.narrow ? MultiplyBy<Narrow>(product, epilogue, out)
                             : MultiplyBy<Wide>(product, epilogue, out);
}

template <class Narrow, class Wide>
void TopKByWeights(const Product& product, const Epilogue& epilogue, const ProductTopK& result) {
  product.body.narrow ? TopKBy<Narrow>(product, epilogue, result)
                      : TopKBy<Wide>(product, epilogue, result);
}

}  // namespace
}  // namespace panels
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_GEMM_MADD_KERNEL_H_
