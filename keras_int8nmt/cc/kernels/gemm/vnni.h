// The matrix product written by hand for AVX512-VNNI: what vnni.cc (the back end) and
// vnni_kernel_avx512_vnni.cc (compiled for that instruction set) share.
//
// Weights lie in panels of 64 columns: [panel][group of 4 rows of W][64 columns][4 bytes], rows and
// columns past the end are zero. Before the panels stands, for each column, what a sum of int8
// inputs starts from: inputs are multiplied as unsigned, x + 128, so that is -128 * sum(w).
#ifndef KERAS_INT8NMT_KERNELS_GEMM_VNNI_H_
#define KERAS_INT8NMT_KERNELS_GEMM_VNNI_H_

#include <cstddef>
#include <cstdint>

#include "gemm/gemm.h"

namespace keras_int8nmt {
namespace vnni {

constexpr int64_t kPanel = 64;  // columns

// Where the parts of a body lie.
struct Body {
  const int32_t* starts;  // [panels * kPanel]
  const int8_t* panels;
  int64_t groups;  // of 4 rows of W
  int64_t panel_bytes() const { return groups * kPanel * 4; }
};

// One product, or the panels [first_panel, last_panel) of it.
struct Product {
  const uint8_t* a;  // unsigned bytes, [m, a_stride]; a_stride is a multiple of 4, zero after k
  int64_t a_stride;
  int64_t m;
  bool shifted;  // a is x + 128
  Body body;
  int64_t n;
  int64_t first_panel, last_panel;
};

// out [m, n] of epilogue.output.type. False, and nothing done, for what the tiles do not write by
// themselves: activations but ReLU, codes with a scale or a zero point of their own; without scales
// of rows ReLU as float32, and with them codes.
bool Multiply(const Product& product, const Epilogue& epilogue, void* out);

// The k best of each row of a product whose float32 results are not kept; first_panel and
// last_panel are at whole chunks of kLogSumChunk columns, or at the end.
void TopK(const Product& product, const Epilogue& epilogue, const ProductTopK& result);

}  // namespace vnni
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_GEMM_VNNI_H_
