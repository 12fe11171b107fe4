// The loops of AVX-512 without VNNI, their tiles of 5 rows by 64 columns and their panels, on pairs
// of AVX2's registers: CPUs that have AVX-512 and no VNNI are rare, and what is left untested where
// there is none are the instructions themselves.
#include "simd/avx2.h"

// The headers below hold every kernel; few of them are used here.
#pragma GCC diagnostic ignored "-Wunused-function"

namespace keras_int8nmt {
namespace {

INLINE Ints RoundedInts(Floats x) { return {_mm256_cvtps_epi32(x.lo), _mm256_cvtps_epi32(x.hi)}; }

struct Wide {
  __m256i lo, hi;
};

struct WideSet {
  using Register = Wide;
  static constexpr int kRegisters = 1;

  template <typename T>
  static INLINE Register Load(const T* x) {
    const auto* halves = reinterpret_cast<const __m256i*>(x);
    return {_mm256_loadu_si256(halves), _mm256_loadu_si256(halves + 1)};
  }
  static INLINE Register FromStarts(const int32_t* x) { return Load(x); }
  static INLINE Register Zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
  static INLINE void Fetch(const int8_t* w) { _mm_prefetch(w, _MM_HINT_T1); }
  static INLINE Register Splat(const uint8_t* x) {
    int32_t word;
    __builtin_memcpy(&word, x, 4);
    return {_mm256_set1_epi32(word), _mm256_set1_epi32(word)};
  }
  static INLINE Register Xor(Register a, Register b) {
    return {_mm256_xor_si256(a.lo, b.lo), _mm256_xor_si256(a.hi, b.hi)};
  }
  static INLINE Register Pairs(Register x, Register w) {
    return {_mm256_maddubs_epi16(x.lo, w.lo), _mm256_maddubs_epi16(x.hi, w.hi)};
  }
  static INLINE Register Widened(Register pairs) {
    const __m256i ones = _mm256_set1_epi16(1);
    return {_mm256_madd_epi16(pairs.lo, ones), _mm256_madd_epi16(pairs.hi, ones)};
  }
  static INLINE Register Add16(Register a, Register b) {
    return {_mm256_add_epi16(a.lo, b.lo), _mm256_add_epi16(a.hi, b.hi)};
  }
  static INLINE Register Add32(Register a, Register b) {
    return {_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)};
  }
  static INLINE Ints ToInts(const Register* sums) { return {sums->lo, sums->hi}; }
};

}  // namespace
}  // namespace keras_int8nmt

#include "gemm/madd_kernel.h"

namespace keras_int8nmt {
namespace panels {
namespace {

using Narrow = MaddSums<WideSet, 5, 5, MaddAvx512::kColumns, true>;
using Wide = MaddSums<WideSet, 5, 5, MaddAvx512::kColumns, false>;

struct MaddWide {
  static constexpr int64_t kColumns = MaddAvx512::kColumns;
  static constexpr bool kUnsignedInputs = MaddAvx512::kUnsignedInputs;
  static constexpr bool kPairsGroups = MaddAvx512::kPairsGroups;
  static int64_t InputBytes(int64_t k) { return MaddAvx512::InputBytes(k); }
  static void LayInputs(const uint8_t* a, bool flip, int64_t m, int64_t k, uint8_t* rows) {
    SplitRows(a, flip, m, k, rows);
  }
  static bool Multiply(const Product& product, const Epilogue& epilogue, void* out) {
    return MultiplyByWeights<Narrow, Wide>(product, epilogue, out);
  }
  static void TopK(const Product& product, const Epilogue& epilogue, const ProductTopK& result) {
    TopKByWeights<Narrow, Wide>(product, epilogue, result);
  }
};

uint64_t Layout() { return 1; }

}  // namespace
}  // namespace panels

const GemmBackend& WideMadd() {
  static constexpr GemmBackend wide = panels::Host<panels::MaddWide>::Backend(
      "wide madd", "AVX-512's loops on AVX2", panels::Layout);
  return wide;
}

}  // namespace keras_int8nmt
