// The loops of the float32 product for AVX2 with FMA: a tile is up to 6 rows by 16 columns, 12 sums
// of the 16 registers.
#include "simd/avx2.h"

// The headers below hold every kernel; few of them are used here.
#pragma GCC diagnostic ignored "-Wunused-function"

#if !defined(__AVX2__) || !defined(__FMA__)
#error "The flags of this instruction set are missing."
#endif

#include "gemm/fma_kernel.h"

namespace keras_int8nmt {
namespace fma {
namespace {

struct Avx2Set {
  using Register = __m256;
  static constexpr int64_t kWidth = 8;
  static constexpr int64_t kColumns = Avx2::kColumns;
  static constexpr int kTileRows = 6;
  static constexpr int Panels(int rows) { return rows == 1 ? 2 : 1; }

  static INLINE Register Zero() { return _mm256_setzero_ps(); }
  static INLINE Register Load(const float* x) { return _mm256_loadu_ps(x); }
  static INLINE Register Splat(const float* x) { return _mm256_broadcast_ss(x); }
  static INLINE Register MulAdd(Register a, Register b, Register sum) {
    return _mm256_fmadd_ps(a, b, sum);
  }
  static INLINE Floats ToFloats(const Register* sums) { return {sums[0], sums[1]}; }
};

}  // namespace

void Avx2::Multiply(const Product& product) { MultiplyBy<Avx2Set>(product); }

void Avx2::TopK(const Product& product, const ProductTopK& result) {
  TopKBy<Avx2Set>(product, result);
}

}  // namespace fma
}  // namespace keras_int8nmt
