// The kernels for AVX2, and for AVX512 without VNNI: what madd.cc (the back end) and
// madd_kernel_<set>.cc (compiled for the instruction set) share.
//
// vpmaddubsw multiplies unsigned by signed bytes and adds pairs in 16 bits that saturate; vpmaddwd
// widens what it gives, of one group of four inputs or, where weights are small enough, of the sum
// of two groups (group_pairs.h). With inputs up to 255 and weights up to 63 no pair is too large.
// With weights of 8 bits it may be: then an input is made signed, x - 128, and its sign goes to the
// weight: x * w = |x| * (sign of x * w), and a pair is at most 2 * 128 * 128 below zero and less
// above, which 16 bits hold.
//
// A weight with its sign turned is ~w + 1, and the +1 makes |x| more whatever the weight is: one
// number for each row of inputs, which its sums start from. So of the sign in the loop remains
// ~w, an exclusive or, which any of the vector units does, where vpsignb would wait for those that
// multiply. Sizes and signs of inputs are found once for all panels.
#ifndef KERAS_INT8NMT_KERNELS_GEMM_MADD_H_
#define KERAS_INT8NMT_KERNELS_GEMM_MADD_H_

#include "gemm/panels.h"

namespace keras_int8nmt {
namespace panels {

// Four inputs, a byte each: sizes |x|, and signs, all bits where x is below 0.
struct SplitGroupOfFour {
  uint32_t sizes, signs;
};

// A row of k inputs as the loops want it: its groups, zero from k on, then the sum of |x| where x
// is below 0.
struct SplitRow {
  int64_t below_zero;  // where it is
  int64_t bytes;
  explicit SplitRow(int64_t k)
      : below_zero((k + 3) / 4 * sizeof(SplitGroupOfFour)), bytes(below_zero + sizeof(uint32_t)) {}
};

struct MaddAvx2 {
  static constexpr int64_t kColumns = 32;
  static constexpr bool kUnsignedInputs = false;
  static constexpr bool kPairsGroups = true;
  static int64_t InputBytes(int64_t k) { return SplitRow(k).bytes; }
  static void LayInputs(const uint8_t* a, bool flip, int64_t m, int64_t k, uint8_t* rows);
  static bool Multiply(const Product& product, const Epilogue& epilogue, void* out);
  static void TopK(const Product& product, const Epilogue& epilogue, const ProductTopK& result);
};

struct MaddAvx512 {
  static constexpr int64_t kColumns = 64;
  static constexpr bool kUnsignedInputs = false;
  static constexpr bool kPairsGroups = true;
  static int64_t InputBytes(int64_t k) { return SplitRow(k).bytes; }
  static void LayInputs(const uint8_t* a, bool flip, int64_t m, int64_t k, uint8_t* rows);
  static bool Multiply(const Product& product, const Epilogue& epilogue, void* out);
  static void TopK(const Product& product, const Epilogue& epilogue, const ProductTopK& result);
};

}  // namespace panels
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_GEMM_MADD_H_
