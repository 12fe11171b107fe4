// oneDNN matrix products with everything prepared: what onednn.cc and float_onednn.cc share.
//
// Creating a oneDNN primitive costs milliseconds, so each thread keeps those it has used. To keep
// them few, rows are multiplied in pieces whose sizes come from a short list (NextPiece).
#ifndef KERAS_INT8NMT_KERNELS_GEMM_ONEDNN_H_
#define KERAS_INT8NMT_KERNELS_GEMM_ONEDNN_H_

#include <cstdint>
#include <memory>

#include "gemm/onednn_library.h"

namespace keras_int8nmt {
namespace onednn {

using DataType = dnnl::memory::data_type;

// A product [m, k] x [k, n]: what distinguishes one primitive from another.
struct Key {
  int64_t m, k, n;
  DataType a, w, c;
  bool epilogue;  // bias, and scales for int8 weights
  bool relu;
  int threads;
  bool operator==(const Key& other) const {
    return m == other.m && k == other.k && n == other.n && a == other.a && w == other.w &&
           c == other.c && epilogue == other.epilogue && relu == other.relu &&
           threads == other.threads;
  }
};

const dnnl::engine& Engine();

// While it lives oneDNN may look up and make primitives, which takes locks of its own: the process
// is not forked then, since a child would find them held for ever.
class Creating {
 public:
  Creating();
  ~Creating();
  Creating(const Creating&) = delete;
  Creating& operator=(const Creating&) = delete;
};

// The layout of prepared weights; the same for every m.
dnnl::memory::desc PackedDesc(int64_t k, int64_t n, DataType a, DataType w);

// Rows of the next piece when `rows` are left: 1 to 32, or a larger one of a short list.
int64_t NextPiece(int64_t rows);

// Sets this thread's OpenMP threads to GemmThreads() and returns them.
int ApplyThreads();
// Sets them to `threads`, until the next call of either.
int ApplyThreads(int threads);

// A primitive that is made and may be executed by one thread at a time.
class Product {
 public:
  explicit Product(const Key& key);
  ~Product();
  void Execute(const void* a, const void* body, const float* scales, const float* bias, void* c);

 private:
  struct Prepared;
  std::unique_ptr<Prepared> prepared_;
};

// Multiplies key.m rows; scales and bias are unused without `epilogue`. Each thread keeps the
// products that it has used.
void Execute(const Key& key, const void* a, const void* body, const float* scales,
             const float* bias, void* c);

}  // namespace onednn
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_GEMM_ONEDNN_H_
