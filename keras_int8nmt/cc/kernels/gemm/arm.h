// The kernels for 64-bit ARM: what arm.cc (the back ends) and arm_kernel_<set>.cc (compiled for an
// instruction set) share.
#ifndef KERAS_INT8NMT_KERNELS_GEMM_ARM_H_
#define KERAS_INT8NMT_KERNELS_GEMM_ARM_H_

#include "gemm/panels.h"

namespace keras_int8nmt {
namespace panels {

// smull and smlal: signed products of bytes, summed in 16 bits by twos, |-128 * 127| * 2 < 2^15.
struct Neon {
  static constexpr int64_t kColumns = 16;
  static constexpr bool kUnsignedInputs = false;
  static constexpr bool kPairsGroups = false;
  static bool Multiply(const Product& product, const Epilogue& epilogue, void* out);
  static void TopK(const Product& product, const Epilogue& epilogue, const ProductTopK& result);
};

// sdot: 4 products of signed bytes a lane. There is none of unsigned by signed ones.
struct Dotprod {
  static constexpr int64_t kColumns = 16;
  static constexpr bool kUnsignedInputs = false;
  static constexpr bool kPairsGroups = false;
  static bool Multiply(const Product& product, const Epilogue& epilogue, void* out);
  static void TopK(const Product& product, const Epilogue& epilogue, const ProductTopK& result);
};

// smmla and usmmla: 8 products of two rows with two columns, inputs signed or not.
struct I8mm {
  static constexpr int64_t kDepth = 8;
  static constexpr int64_t kColumns = 16;
  static constexpr bool kUnsignedInputs = true;
  static constexpr bool kPairsGroups = false;
  static bool Multiply(const Product& product, const Epilogue& epilogue, void* out);
  static void TopK(const Product& product, const Epilogue& epilogue, const ProductTopK& result);
};

}  // namespace panels
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_GEMM_ARM_H_
