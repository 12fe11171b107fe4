// The kernels for AVX512-VNNI and for AVX-VNNI: what vnni.cc (the back end) and
// vnni_kernel_<set>.cc (compiled for the instruction set) share.
#ifndef KERAS_INT8NMT_KERNELS_GEMM_VNNI_H_
#define KERAS_INT8NMT_KERNELS_GEMM_VNNI_H_

#include "gemm/panels.h"

namespace keras_int8nmt {
namespace panels {

// vpdpbusd multiplies unsigned inputs by signed weights and adds without saturation.
struct Vnni {
  static constexpr int64_t kColumns = 64;
  static constexpr bool kUnsignedInputs = true;
  static constexpr bool kPairsGroups = false;
  static bool Multiply(const Product& product, const Epilogue& epilogue, void* out);
  static void TopK(const Product& product, const Epilogue& epilogue, const ProductTopK& result);
};

// The same of half the width, for CPUs without AVX-512.
struct AvxVnni {
  static constexpr int64_t kColumns = 16;
  static constexpr bool kUnsignedInputs = true;
  static constexpr bool kPairsGroups = false;
  static bool Multiply(const Product& product, const Epilogue& epilogue, void* out);
  static void TopK(const Product& product, const Epilogue& epilogue, const ProductTopK& result);
};

}  // namespace panels
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_GEMM_VNNI_H_
