// The loops of the product for AVX512 without VNNI: a tile is up to 5 rows by 64 columns, 20 sums
// of the 32 registers.
#include "simd/avx512.h"

// The headers below hold every kernel; few of them are used here.
#pragma GCC diagnostic ignored "-Wunused-function"

#ifndef __AVX512BW__
#error "The flags of this instruction set are missing."
#endif

namespace keras_int8nmt {
namespace {

INLINE Ints RoundedInts(Floats x) { return {_mm512_cvtps_epi32(x.v)}; }

struct Avx512Set {
  using Register = __m512i;
  static constexpr int kRegisters = 1;

  static INLINE Register Load(const int8_t* w) { return _mm512_loadu_si512(w); }
  static INLINE Register FromStarts(const int32_t* x) { return _mm512_loadu_si512(x); }
  static INLINE Register Zero() { return _mm512_setzero_si512(); }
  static INLINE void Fetch(const int8_t* w) { _mm_prefetch(w, _MM_HINT_T1); }
  static INLINE Register Splat(const uint8_t* x) {
    int32_t word;
    __builtin_memcpy(&word, x, 4);
    return _mm512_set1_epi32(word);
  }
  static INLINE Register Xor(Register a, Register b) { return _mm512_xor_si512(a, b); }
  static INLINE Register Pairs(Register x, Register w) { return _mm512_maddubs_epi16(x, w); }
  static INLINE Register Widened(Register pairs) {
    return _mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
  }
  static INLINE Register Add16(Register a, Register b) { return _mm512_add_epi16(a, b); }
  static INLINE Register Add32(Register a, Register b) { return _mm512_add_epi32(a, b); }
  static INLINE Ints ToInts(const Register* sums) { return {sums[0]}; }
};

}  // namespace
}  // namespace keras_int8nmt

#include "gemm/madd_kernel.h"

namespace keras_int8nmt {
namespace panels {

using Narrow = MaddSums<Avx512Set, 5, 5, MaddAvx512::kColumns, true>;
using Wide = MaddSums<Avx512Set, 5, 5, MaddAvx512::kColumns, false>;

void MaddAvx512::LayInputs(const uint8_t* a, bool flip, int64_t m, int64_t k, uint8_t* rows) {
  SplitRows(a, flip, m, k, rows);
}

bool MaddAvx512::Multiply(const Product& product, const Epilogue& epilogue, void* out) {
  return MultiplyByWeights<Narrow, Wide>(product, epilogue, out);
}

void MaddAvx512::TopK(const Product& product, const Epilogue& epilogue, const ProductTopK& result) {
  TopKByWeights<Narrow, Wide>(product, epilogue, result);
}

}  // namespace panels
}  // namespace keras_int8nmt
