// The loops of the float32 product for AVX512: a tile is up to 14 rows by 32 columns, 28 sums of
// the 32 registers.
#include "simd/avx512.h"

// The headers below hold every kernel; few of them are used here.
#pragma GCC diagnostic ignored "-Wunused-function"

#ifndef __AVX512F__
#error "The flags of this instruction set are missing."
#endif

#include "gemm/fma_kernel.h"

namespace keras_int8nmt {
namespace fma {
namespace {

struct Avx512Set {
  using Register = __m512;
  static constexpr int64_t kWidth = 16;
  static constexpr int64_t kColumns = Avx512::kColumns;
  static constexpr int kTileRows = 14;
  static constexpr int Panels(int rows) { return rows == 1 ? 2 : 1; }

  static INLINE Register Zero() { return _mm512_setzero_ps(); }
  static INLINE Register Load(const float* x) { return _mm512_loadu_ps(x); }
  static INLINE Register Splat(const float* x) { return _mm512_set1_ps(*x); }
  static INLINE Register MulAdd(Register a, Register b, Register sum) {
    return _mm512_fmadd_ps(a, b, sum);
  }
  static INLINE Floats ToFloats(const Register* sums) { return {sums[0]}; }
};

}  // namespace

void Avx512::Multiply(const Product& product) { MultiplyBy<Avx512Set>(product); }

void Avx512::TopK(const Product& product, const ProductTopK& result) {
  TopKBy<Avx512Set>(product, result);
}

}  // namespace fma
}  // namespace keras_int8nmt
