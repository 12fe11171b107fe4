// The float32 kernels of our own: what fma.cc (the back end) and fma_kernel_<set>.cc (compiled for
// an instruction set with fused multiply-adds) share.
//
// Weights lie in panels of some columns: [panel][row of W][columns], columns past the end are zero.
// A sum runs over the rows of W in order, one fused multiply-add each, then the bias is added: so a
// result has the same bits whatever rows and panels are computed with it.
#ifndef KERAS_INT8NMT_KERNELS_GEMM_FMA_H_
#define KERAS_INT8NMT_KERNELS_GEMM_FMA_H_

#include <cstdint>

#include "gemm/float_gemm.h"

namespace keras_int8nmt {
namespace fma {

// One product, or the panels [first_panel, last_panel) of it.
struct Product {
  const float* a;  // [m, k]
  int64_t m, k, n;
  const float* panels;
  const float* bias;
  bool relu;
  float* out;  // [m, n]; unused by TopK
  int64_t first_panel, last_panel;
};

struct Avx2 {
  static constexpr int64_t kColumns = 16;
  static void Multiply(const Product& product);
  static void TopK(const Product& product, const ProductTopK& result);
};

struct Avx512 {
  static constexpr int64_t kColumns = 32;
  static void Multiply(const Product& product);
  static void TopK(const Product& product, const ProductTopK& result);
};

struct Neon {
  static constexpr int64_t kColumns = 16;
  static void Multiply(const Product& product);
  static void TopK(const Product& product, const ProductTopK& result);
};

}  // namespace fma
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_GEMM_FMA_H_
