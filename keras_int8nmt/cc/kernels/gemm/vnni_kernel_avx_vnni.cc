// The loops of the VNNI product for AVX-VNNI: a tile is up to 6 rows by 16 columns, 12 sums of the
// 16 registers.
#include "simd/avx_vnni.h"

// The headers below hold every kernel; few of them are used here.
#pragma GCC diagnostic ignored "-Wunused-function"

#ifndef __AVXVNNI__
#error "The flags of this instruction set are missing."
#endif

namespace keras_int8nmt {
namespace {

INLINE Ints RoundedInts(Floats x) { return {_mm256_cvtps_epi32(x.lo), _mm256_cvtps_epi32(x.hi)}; }

struct AvxVnniSet {
  using Register = __m256i;
  static constexpr int kRegisters = 2;

  static INLINE Register Load(const int8_t* w) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w));
  }
  static INLINE Register LoadStarts(const int32_t* x) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
  }
  static INLINE Register Zero() { return _mm256_setzero_si256(); }
  static INLINE Register Splat(const uint8_t* x) {
    int32_t word;
    __builtin_memcpy(&word, x, 4);
    return _mm256_set1_epi32(word);
  }
  static INLINE Register DotAdd(Register sum, Register x, Register w) {
    return _mm256_dpbusd_avx_epi32(sum, x, w);
  }
  static INLINE Register Add(Register a, Register b) { return _mm256_add_epi32(a, b); }
  static INLINE Ints ToInts(const Register* sums) { return {sums[0], sums[1]}; }
};

}  // namespace
}  // namespace keras_int8nmt

#include "gemm/vnni_kernel.h"

namespace keras_int8nmt {
namespace panels {

using Sums = VnniSums<AvxVnniSet, 6, AvxVnni::kColumns>;

bool AvxVnni::Multiply(const Product& product, const Epilogue& epilogue, void* out) {
  return MultiplyBy<Sums>(product, epilogue, out);
}

void AvxVnni::TopK(const Product& product, const Epilogue& epilogue, const ProductTopK& result) {
  TopKBy<Sums>(product, epilogue, result);
}

}  // namespace panels
}  // namespace keras_int8nmt
