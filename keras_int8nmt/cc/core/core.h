// What the library of TensorFlow's ops takes of the core library: one table of functions, found by
// one C function, so that a core of another build is refused and never called.
//
// The two are built by one compiler from one state of the sources, which equal build ids say; so
// C++ values may pass.
#ifndef KERAS_INT8NMT_CORE_CORE_H_
#define KERAS_INT8NMT_CORE_CORE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core_function.h"
#include "export.h"
#include "gemm/gemm.h"
#include "int8.h"
#include "positional_spec.h"
#include "shared_threads.h"
#include "translate_rows.h"

namespace keras_int8nmt {

// The arguments of Kernels::layer_norm, or integer_layer_norm, and top_k.
struct LayerNormArgs {
  bool integer;
  const float *x, *residual, *gamma, *beta;
  int64_t rows, columns;
  float epsilon;
  bool carry_sum;
  float* carry;
  Output output;
  void* out;
};
struct TopKArgs {
  const float* logits;
  int64_t rows, columns;
  int32_t k, forbidden;
  float* best;
  int32_t* ids;
  float* log_sums;
};

// Each as the function of kernels/ or decoder/ that it stands for. What the table of kernels points
// to is called directly where it allocates nothing; nothing of a back end's is.
struct Core {
  CoreFunction<const Kernels&()> active_kernels;
  CoreFunction<void(double seconds, const std::function<void(Share share)>& f)> in_shares;
  CoreFunction<const GemmBackend&(int64_t k, int64_t n)> chosen_gemm;
  CoreFunction<size_t(const GemmBackend& backend, int64_t k, int64_t n)> packed_bytes;
  CoreFunction<void(const GemmBackend& backend, const int8_t* weights, int64_t k, int64_t n,
                    void* blob)>
      pack;
  CoreFunction<PackedInfo(const void* blob, size_t bytes)> read_packed;
  CoreFunction<void(const GemmArgs& args)> multiply;
  CoreFunction<void(const PackedInfo& packed, int8_t* weights)> unpack;
  CoreFunction<void(const AttentionArgs& args)> attention;
  CoreFunction<void(const LayerNormArgs& args)> layer_norm;
  CoreFunction<bool(const TopKArgs& args)> top_k;
  CoreFunction<size_t(int64_t k, int64_t n)> packed_float_bytes;
  CoreFunction<void(const float* weights, int64_t k, int64_t n, void* packed)> pack_float;
  CoreFunction<void(const float* a, int64_t m, const void* packed, int64_t k, int64_t n,
                    const float* bias, float* out)>
      multiply_float;
  CoreFunction<void(const void* x, int64_t outer, int64_t source_rows, const int32_t* indices,
                    int64_t count, size_t row_bytes, void* out)>
      gather_rows;
  CoreFunction<NamedSpec(const std::vector<int64_t>& ints, const std::vector<float>& floats)>
      name_positional_spec;
  CoreFunction<std::string(const std::vector<Setting>& settings,
                           const std::vector<std::string>& tensor_names)>
      structure_of;
  CoreFunction<TranslatedRows(const RowsToTranslate& rows)> translate_rows;
};

}  // namespace keras_int8nmt

// The table, for whoever is of this build; for others null, and *why is a sentence. `build` names
// the caller's build, as build_id.h does.
KERAS_INT8NMT_EXPORT const keras_int8nmt::Core* keras_int8nmt_core(const char* build,
                                                                   const char** why);

#endif  // KERAS_INT8NMT_CORE_CORE_H_
