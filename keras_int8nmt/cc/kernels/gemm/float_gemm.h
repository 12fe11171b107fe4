// float32 matrix products: weights prepared once, multiplied often. What float layers run on in the
// decoder, and the peer of the INT8 products in benchmarks.
//
//   packed = pack(W [k, n]);   out [m, n] = a [m, k] x W + bias [n], then ReLU where it is wanted
//
// Sums of floats: two back ends need not give the same bits. Packed weights belong to the back end
// and the process that made them; they are never stored. A back end is one file and one row of
// float_backends.def.
#ifndef KERAS_INT8NMT_KERNELS_GEMM_FLOAT_GEMM_H_
#define KERAS_INT8NMT_KERNELS_GEMM_FLOAT_GEMM_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "gemm/gemm.h"

namespace keras_int8nmt {

struct FloatGemmArgs {
  const float* a = nullptr;  // [m, k]
  int64_t m = 0;
  const void* packed = nullptr;
  int64_t k = 0, n = 0;
  const float* bias = nullptr;  // [n]
  bool relu = false;
  float* out = nullptr;  // [m, n]
  Share share;           // heeded by a back end that `shares`
};

// A product of one shape that is ready to run. One thread at a time may use it.
class FloatPlan {
 public:
  virtual ~FloatPlan() = default;
  // `a` and `out` have memory of rounded_rows(m) rows. Of `args` it reads a, m, packed, bias, out.
  virtual void Run(const FloatGemmArgs& args) = 0;
};

struct FloatGemmBackend {
  const char* name;
  // At least k * n floats.
  size_t (*packed_bytes)(int64_t k, int64_t n);
  void (*pack)(const float* weights, int64_t k, int64_t n, void* packed);
  // On GemmThreads() threads where it has threads of its own.
  void (*multiply)(const FloatGemmArgs& args);
  // Whether `multiply` does the share that it is asked for; if not, it does the whole product.
  bool shares;

  // What a back end has for which a product of a new shape costs more than its numbers do; null
  // otherwise.
  std::unique_ptr<FloatPlan> (*plan)(int64_t k, int64_t n, bool relu, int threads);
  // Rows that a plan reads and writes for m rows: m or a little more.
  int64_t (*rounded_rows)(int64_t m);
  // Threads of the calling thread's plans from now on.
  void (*set_threads)(int threads);
  // As GemmBackend::top_k; null for a back end that has it not.
  void (*top_k)(const FloatGemmArgs& args, const ProductTopK& result);
};

// The back end in force: KERAS_INT8NMT_FLOAT_GEMM (fma, onednn, loops); by default the first that
// this CPU and this build have. Throws std::runtime_error that names the choices for an unknown or
// absent one.
const FloatGemmBackend& ActiveFloatGemm();
// By name; throws as above.
const FloatGemmBackend& FloatGemmFor(const std::string& name);
// As RegisterGemm.
void RegisterFloatGemm(int32_t id, const char* name, const FloatGemmBackend& (*get)());

// ---- the back end in force

// Bytes of the packed form of weights [k, n].
size_t PackedFloatBytes(int64_t k, int64_t n);
void PackFloat(const float* weights, int64_t k, int64_t n, void* packed);
// out [m, n] = a [m, k] x weights + bias [n], on GemmThreads() threads where the back end has
// threads of its own.
void MultiplyFloat(const float* a, int64_t m, const void* packed, int64_t k, int64_t n,
                   const float* bias, float* out);

// Threads of this thread's float products from now on.
void SetFloatThreads(int threads);

// The product of one shape, made once, so that nothing is made or looked up when it runs. One
// thread at a time may use it, or several that do a share each where it `shares`.
class FloatProduct {
 public:
  FloatProduct(int64_t k, int64_t n, bool relu, int threads);

  // Rows that Run reads and writes for m rows: m or a little more.
  static int64_t RoundedRows(int64_t m);
  bool shares() const { return plan_ == nullptr && backend_.shares; }
  // Whether TopK may be called.
  static bool HasTopK() { return ActiveFloatGemm().top_k != nullptr; }
  // a has RoundedRows(m) rows of memory, out too; what is in the rows after m does not matter.
  void Run(const float* a, int64_t m, const void* packed, const float* bias, float* out,
           Share share = Share());
  // A share of the product of which only the best columns are kept, as GemmBackend::top_k.
  void TopK(const float* a, int64_t m, const void* packed, const float* bias, Share share,
            const ProductTopK& result);

 private:
  const FloatGemmBackend& backend_;
  int64_t k_, n_;
  bool relu_;
  std::unique_ptr<FloatPlan> plan_;
};

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_GEMM_FLOAT_GEMM_H_
