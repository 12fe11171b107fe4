#include "core.h"

#include <cstring>
#include <string>

#include "build_id.h"
#include "errors.h"
#include "gemm/choice.h"
#include "gemm/float_gemm.h"

namespace keras_int8nmt {
namespace {

void Multiply(const GemmArgs& args) { args.weights.backend->multiply(args); }

void Unpack(const PackedInfo& packed, int8_t* weights) {
  packed.backend->unpack(packed.body, packed.k, packed.n, weights);
}

void RunAttention(const AttentionArgs& args) { ActiveKernels().attention(args); }

void RunLayerNorm(const LayerNormArgs& a) {
  const Kernels& kernels = ActiveKernels();
  (a.integer ? kernels.integer_layer_norm : kernels.layer_norm)(
      a.x, a.residual, a.gamma, a.beta, a.rows, a.columns, a.epsilon, a.carry_sum, a.carry,
      a.output, a.out);
}

bool RunTopK(const TopKArgs& a) {
  return ActiveKernels().top_k(a.logits, a.rows, a.columns, a.k, a.forbidden, a.best, a.ids,
                               a.log_sums);
}

Core MakeCore() {
  using C = Core;
  return {decltype(C::active_kernels)::Of<&ActiveKernels>(),
          decltype(C::chosen_gemm)::Of<&ChosenGemm>(),
          decltype(C::packed_bytes)::Of<&PackedBytes>(),
          decltype(C::pack)::Of<&Pack>(),
          decltype(C::read_packed)::Of<&ReadPacked>(),
          decltype(C::multiply)::Of<&Multiply>(),
          decltype(C::unpack)::Of<&Unpack>(),
          decltype(C::attention)::Of<&RunAttention>(),
          decltype(C::layer_norm)::Of<&RunLayerNorm>(),
          decltype(C::top_k)::Of<&RunTopK>(),
          decltype(C::packed_float_bytes)::Of<&PackedFloatBytes>(),
          decltype(C::pack_float)::Of<&PackFloat>(),
          decltype(C::multiply_float)::Of<&MultiplyFloat>(),
          decltype(C::gather_rows)::Of<&GatherRows>(),
          decltype(C::name_positional_spec)::Of<&NamePositionalSpec>(),
          decltype(C::structure_of)::Of<&StructureOf>(),
          decltype(C::translate_rows)::Of<&TranslateRows>()};
}

}  // namespace
}  // namespace keras_int8nmt

const keras_int8nmt::Core* keras_int8nmt_core(const char* build, const char** why) {
  static const keras_int8nmt::Core core = keras_int8nmt::MakeCore();
  if (std::strcmp(build, keras_int8nmt::kBuildId) == 0) return &core;
  *why = keras_int8nmt::OrElse<const char*>("out of memory", [=] {
    thread_local std::string text;
    text = "the TensorFlow ops (" + std::string(build) + ") and the core library (" +
           keras_int8nmt::kBuildId + ") are of different builds; install both together";
    return text.c_str();
  });
  return nullptr;
}
