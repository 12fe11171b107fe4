// The back ends behind gemm.h, and what they share. Each function throws std::runtime_error when
// its back end can't run here.
#ifndef KERAS_INT8NMT_KERNELS_GEMM_BACKENDS_H_
#define KERAS_INT8NMT_KERNELS_GEMM_BACKENDS_H_

#include <cstdint>
#include <vector>

#include "gemm/gemm.h"

namespace keras_int8nmt {

#define GEMM_BACKEND(id, name, get, by_default) const GemmBackend& get();
#include "gemm/backends.def"
#undef GEMM_BACKEND

// A buffer of this thread for `count` elements; it grows and is never given back. One buffer for
// each `Use`, so that a function and its callee do not share one.
template <typename T, int Use>
T* ThreadBuffer(size_t count) {
  thread_local std::vector<T> buffer;
  if (buffer.size() < count) buffer.resize(count);
  return buffer.data();
}

// The epilogue of the rows from `row` on.
inline Epilogue EpilogueFrom(const Epilogue& epilogue, int64_t row) {
  Epilogue part = epilogue;
  if (part.row_scales != nullptr) part.row_scales += row;
  return part;
}

// `count` rows of a product, from `row` on.
inline GemmArgs RowsOf(const GemmArgs& args, int64_t row, int64_t count) {
  GemmArgs part = args;
  part.a = static_cast<const char*>(args.a) + row * args.weights.k;
  part.m = count;
  part.epilogue = EpilogueFrom(args.epilogue, row);
  part.out = static_cast<char*>(args.out) +
             row * args.weights.n * static_cast<int64_t>(TypeBytes(args.epilogue.output.type));
  return part;
}

// Some CPUs add pairs of u8 x s8 products in saturating 16 bits: exact only for inputs up to 127.
// So an input x is written as low + 128 * high, two matrices of small u8 numbers whose products
// are exact: u8: low = x & 127, high = x >> 7; s8: the same low, and high counts -128: x < 0.
// Fills `low` and `high`, returns the factor of the high product (128 or -128), or 0 when all of
// `high` is zero. Weights of at most kNarrowWeight need no split: 2 * 255 * 64 < 2^15.
constexpr int32_t kNarrowWeight = 64;
int32_t SplitInput(const void* a, Type a_type, size_t count, uint8_t* low, uint8_t* high);
// acc += factor * high.
void AddHigh(const int32_t* high, int32_t factor, size_t count, int32_t* acc);

// True if `multiply` gives exact sums and the contract's epilogue for both input types and all
// output types on hard inputs. Back ends choose their ways by it.
bool ProbeGemm(const GemmBackend& backend);

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_GEMM_BACKENDS_H_
