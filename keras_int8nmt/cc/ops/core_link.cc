#include "core_link.h"

#include <stdexcept>

#include "build_id.h"
#include "gemm/choice.h"
#include "gemm/float_gemm.h"
#include "op_support.h"

namespace keras_int8nmt {

const Core& TheCore() {
  static const Core& core = []() -> const Core& {
    const char* why = "";
    const Core* found = keras_int8nmt_core(kBuildId, &why);
    if (found == nullptr) throw std::runtime_error(why);
    return *found;
  }();
  return core;
}

void RequireCore() { TheCore(); }

// ---- the kernels' functions, which the ops call by their names

const Kernels& ActiveKernels() { return TheCore().active_kernels(); }

const GemmBackend& ChosenGemm(int64_t k, int64_t n) { return TheCore().chosen_gemm(k, n); }

size_t PackedBytes(const GemmBackend& backend, int64_t k, int64_t n) {
  return TheCore().packed_bytes(backend, k, n);
}

void Pack(const GemmBackend& backend, const int8_t* weights, int64_t k, int64_t n, void* blob) {
  TheCore().pack(backend, weights, k, n, blob);
}

PackedInfo ReadPacked(const void* blob, size_t bytes) { return TheCore().read_packed(blob, bytes); }

size_t PackedFloatBytes(int64_t k, int64_t n) { return TheCore().packed_float_bytes(k, n); }

void PackFloat(const float* weights, int64_t k, int64_t n, void* packed) {
  TheCore().pack_float(weights, k, n, packed);
}

void MultiplyFloat(const float* a, int64_t m, const void* packed, int64_t k, int64_t n,
                   const float* bias, float* out) {
  TheCore().multiply_float(a, m, packed, k, n, bias, out);
}

void GatherRows(const void* x, int64_t outer, int64_t source_rows, const int32_t* indices,
                int64_t count, size_t row_bytes, void* out) {
  TheCore().gather_rows(x, outer, source_rows, indices, count, row_bytes, out);
}

}  // namespace keras_int8nmt
