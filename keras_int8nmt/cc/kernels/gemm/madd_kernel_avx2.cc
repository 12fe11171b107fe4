// The loops of the product for AVX2: a tile is up to 3 rows by 32 columns, 12 sums of the 16
// registers, or 2 where two groups of inputs have signs: four registers a row; weights come from
// memory as operands.
#include "simd/avx2.h"

// The headers below hold every kernel; few of them are used here.
#pragma GCC diagnostic ignored "-Wunused-function"

#ifndef __AVX2__
#error "The flags of this instruction set are missing."
#endif

namespace keras_int8nmt {
namespace {

INLINE Ints RoundedInts(Floats x) { return {_mm256_cvtps_epi32(x.lo), _mm256_cvtps_epi32(x.hi)}; }

struct Avx2Set {
  using Register = __m256i;
  static constexpr int kRegisters = 2;

  static INLINE Register Load(const int8_t* w) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w));
  }
  static INLINE Register FromStarts(const int32_t* x) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
  }
  static INLINE Register Zero() { return _mm256_setzero_si256(); }
  static INLINE void Fetch(const int8_t* w) { _mm_prefetch(w, _MM_HINT_T1); }
  static INLINE Register Splat(const uint8_t* x) {
    int32_t word;
    __builtin_memcpy(&word, x, 4);
    return _mm256_set1_epi32(word);
  }
  static INLINE Register Xor(Register a, Register b) { return _mm256_xor_si256(a, b); }
  static INLINE Register Pairs(Register x, Register w) { return _mm256_maddubs_epi16(x, w); }
  static INLINE Register Widened(Register pairs) {
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
  }
  static INLINE Register Add16(Register a, Register b) { return _mm256_add_epi16(a, b); }
  static INLINE Register Add32(Register a, Register b) { return _mm256_add_epi32(a, b); }
  static INLINE Ints ToInts(const Register* sums) { return {sums[0], sums[1]}; }
};

}  // namespace
}  // namespace keras_int8nmt

#include "gemm/madd_kernel.h"

namespace keras_int8nmt {
namespace panels {

using Narrow = MaddSums<Avx2Set, 3, 3, MaddAvx2::kColumns, true>;
using Wide = MaddSums<Avx2Set, 3, 2, MaddAvx2::kColumns, false>;

void MaddAvx2::LayInputs(const uint8_t* a, bool flip, int64_t m, int64_t k, uint8_t* rows) {
  SplitRows(a, flip, m, k, rows);
}

bool MaddAvx2::Multiply(const Product& product, const Epilogue& epilogue, void* out) {
  return MultiplyByWeights<Narrow, Wide>(product, epilogue, out);
}

void MaddAvx2::TopK(const Product& product, const Epilogue& epilogue, const ProductTopK& result) {
  TopKByWeights<Narrow, Wide>(product, epilogue, result);
}

}  // namespace panels
}  // namespace keras_int8nmt
