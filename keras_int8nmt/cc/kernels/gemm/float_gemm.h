// float32 matrix products of oneDNN with prepared weights: what float layers run on in the decoder,
// and the peer of the INT8 products in benchmarks.
#ifndef KERAS_INT8NMT_KERNELS_GEMM_FLOAT_GEMM_H_
#define KERAS_INT8NMT_KERNELS_GEMM_FLOAT_GEMM_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace keras_int8nmt {

// Bytes of the packed form of weights [k, n].
size_t PackedFloatBytes(int64_t k, int64_t n);
void PackFloat(const float* weights, int64_t k, int64_t n, void* packed);
// out [m, n] = a [m, k] x weights + bias [n], on GemmThreads() threads.
void MultiplyFloat(const float* a, int64_t m, const void* packed, int64_t k, int64_t n,
                   const float* bias, float* out);

// Threads of this thread's float products from now on.
void SetFloatThreads(int threads);

// The product of one shape, made once for each row count of a short list, so that nothing is made
// or looked up when it runs. One thread at a time may use it.
class FloatProduct {
 public:
  FloatProduct(int64_t k, int64_t n, bool relu, int threads);
  ~FloatProduct();
  FloatProduct(FloatProduct&&) noexcept;

  // Rows that Run reads and writes for m rows: m or a little more.
  static int64_t RoundedRows(int64_t m);
  // a has RoundedRows(m) rows of memory, out too; what is in the rows after m does not matter.
  void Run(const float* a, int64_t m, const void* packed, const float* bias, float* out);

 private:
  struct Prepared;
  int64_t k_, n_;
  std::vector<std::unique_ptr<Prepared>> by_size_;
};

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_GEMM_FLOAT_GEMM_H_
