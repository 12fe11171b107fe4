// The loops of the VNNI product for AVX512: a tile is up to 6 rows by 64 columns, 24 sums of the 32
// registers.
#include "simd/avx512_vnni.h"

// The headers below hold every kernel; few of them are used here.
#pragma GCC diagnostic ignored "-Wunused-function"

#ifndef __AVX512VNNI__
#error "The flags of this instruction set are missing."
#endif

namespace keras_int8nmt {
namespace {

INLINE Ints RoundedInts(Floats x) { return {_mm512_cvtps_epi32(x.v)}; }

struct Avx512VnniSet {
  using Register = __m512i;
  static constexpr int kRegisters = 1;

  static INLINE Register Load(const int8_t* w) { return _mm512_loadu_si512(w); }
  static INLINE Register LoadStarts(const int32_t* x) { return _mm512_loadu_si512(x); }
  static INLINE Register Zero() { return _mm512_setzero_si512(); }
  static INLINE Register Splat(const uint8_t* x) {
    int32_t word;
    __builtin_memcpy(&word, x, 4);
    return _mm512_set1_epi32(word);
  }
  static INLINE Register DotAdd(Register sum, Register x, Register w) {
    return _mm512_dpbusd_epi32(sum, x, w);
  }
  static INLINE Register Add(Register a, Register b) { return _mm512_add_epi32(a, b); }
  static INLINE Ints ToInts(const Register* sums) { return {sums[0]}; }
};

}  // namespace
}  // namespace keras_int8nmt

#include "gemm/vnni_kernel.h"

namespace keras_int8nmt {
namespace panels {

using Sums = VnniSums<Avx512VnniSet, 6, Vnni::kColumns>;

bool Vnni::Multiply(const Product& product, const Epilogue& epilogue, void* out) {
  return MultiplyBy<Sums>(product, epilogue, out);
}

void Vnni::TopK(const Product& product, const Epilogue& epilogue, const ProductTopK& result) {
  TopKBy<Sums>(product, epilogue, result);
}

}  // namespace panels
}  // namespace keras_int8nmt
