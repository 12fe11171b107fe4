// The kernels for AVX2, and for AVX512 without VNNI: what madd.cc (the back end) and
// madd_kernel_<set>.cc (compiled for the instruction set) share.
//
// vpmaddubsw multiplies unsigned by signed bytes and adds pairs in 16 bits that saturate: with
// inputs up to 255 and weights of 8 bits that is not exact. So an input is made signed, x - 128,
// and its sign is given to the weight: |x - 128| * (sign * w). A pair is then at most 2 * 128 *
// 127, which 16 bits hold; vpmaddwd widens it. Of weights up to 63 two pairs can be added before.
#ifndef KERAS_INT8NMT_KERNELS_GEMM_MADD_H_
#define KERAS_INT8NMT_KERNELS_GEMM_MADD_H_

#include "gemm/panels.h"

namespace keras_int8nmt {
namespace panels {

struct MaddAvx2 {
  static constexpr int64_t kColumns = 16;
  static constexpr bool kUnsignedInputs = false;
  static constexpr bool kAsksNarrow = true;
  static bool Multiply(const Product& product, const Epilogue& epilogue, void* out);
  static void TopK(const Product& product, const Epilogue& epilogue, const ProductTopK& result);
};

struct MaddAvx512 {
  static constexpr int64_t kColumns = 64;
  static constexpr bool kUnsignedInputs = false;
  static constexpr bool kAsksNarrow = true;
  static bool Multiply(const Product& product, const Epilogue& epilogue, void* out);
  static void TopK(const Product& product, const Epilogue& epilogue, const ProductTopK& result);
};

}  // namespace panels
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_GEMM_MADD_H_
