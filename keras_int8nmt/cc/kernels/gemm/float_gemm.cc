// The table of float32 back ends, and the products of the one in force.
#include "gemm/float_gemm.h"

#include "gemm/registry.h"

namespace keras_int8nmt {

#define FLOAT_GEMM_BACKEND(id, name, get, by_default) const FloatGemmBackend& get();
#include "gemm/float_backends.def"
#undef FLOAT_GEMM_BACKEND

namespace {

BackendTable<FloatGemmBackend>& Table() {
  static BackendTable<FloatGemmBackend> table("KERAS_INT8NMT_FLOAT_GEMM", {
#define FLOAT_GEMM_BACKEND(id, name, get, by_default) {id, name, get, by_default},
#include "gemm/float_backends.def"
#undef FLOAT_GEMM_BACKEND
                                                                          });
  return table;
}

}  // namespace

const FloatGemmBackend& ActiveFloatGemm() {
  static const FloatGemmBackend& active = Table().Choose();
  return active;
}

const FloatGemmBackend& FloatGemmFor(const std::string& name) { return Table().Get(name); }

void RegisterFloatGemm(int32_t id, const char* name, const FloatGemmBackend& (*get)()) {
  Table().Add({id, name, get, false});
}

size_t PackedFloatBytes(int64_t k, int64_t n) { return ActiveFloatGemm().packed_bytes(k, n); }

void PackFloat(const float* weights, int64_t k, int64_t n, void* packed) {
  ActiveFloatGemm().pack(weights, k, n, packed);
}

void MultiplyFloat(const float* a, int64_t m, const void* packed, int64_t k, int64_t n,
                   const float* bias, float* out) {
  ActiveFloatGemm().multiply({a, m, packed, k, n, bias, false, out, Share()});
}

void SetFloatThreads(int threads) {
  if (ActiveFloatGemm().set_threads != nullptr) ActiveFloatGemm().set_threads(threads);
}

FloatProduct::FloatProduct(int64_t k, int64_t n, bool relu, int threads)
    : backend_(ActiveFloatGemm()), k_(k), n_(n), relu_(relu) {
  if (backend_.plan != nullptr) plan_ = backend_.plan(k, n, relu, threads);
}

int64_t FloatProduct::RoundedRows(int64_t m) {
  const FloatGemmBackend& backend = ActiveFloatGemm();
  return backend.rounded_rows == nullptr ? m : backend.rounded_rows(m);
}

void FloatProduct::Run(const float* a, int64_t m, const void* packed, const float* bias, float* out,
                       Share share) {
  const FloatGemmArgs args = {a, m, packed, k_, n_, bias, relu_, out, share};
  if (plan_ != nullptr) {
    plan_->Run(args);
  } else {
    backend_.multiply(args);
  }
}

void FloatProduct::TopK(const float* a, int64_t m, const void* packed, const float* bias,
                        Share share, const ProductTopK& result) {
  backend_.top_k({a, m, packed, k_, n_, bias, relu_, nullptr, share}, result);
}

}  // namespace keras_int8nmt
