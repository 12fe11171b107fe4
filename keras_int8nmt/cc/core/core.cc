#include "core.h"

#include <cstring>
#include <string>

#include "build_id.h"
#include "errors.h"
#include "gemm/backends.h"
#include "gemm/choice.h"
#include "gemm/float_gemm.h"
#include "shared_threads.h"

namespace keras_int8nmt {
namespace {

// What a core does in a second of each kind of work, low: to tell what is worth sharing.
constexpr double kProducts = 60e9, kFloatProducts = 15e9, kNormed = 500e6;

// So many rows to each thread and more are shared by rows: each lays out its own inputs alone.
constexpr int64_t kRowsToShare = 32;

void Multiply(const GemmArgs& args) {
  const GemmBackend& gemm = *args.weights.backend;
  // oneDNN has threads of its own, and MKL has one.
  if (!gemm.shares) return gemm.multiply(args);
  const double products = static_cast<double>(args.m) * args.weights.k * args.weights.n;
  InShares(products / kProducts, [&](Share share) {
    if (args.m >= kRowsToShare * share.count) {
      const Range rows = RangeOf(args.m, share);
      return gemm.multiply(RowsOf(args, rows.first, rows.count()));
    }
    GemmArgs part = args;
    part.share = share;
    gemm.multiply(part);
  });
}

void Unpack(const PackedInfo& packed, int8_t* weights) {
  packed.backend->unpack(packed.body, packed.k, packed.n, weights);
}

// Some of the key batches, or of the rows where there is one batch.
AttentionArgs BatchesOf(const AttentionArgs& args, Range batches) {
  AttentionArgs part = args;
  const int64_t rows = batches.first * args.rows_per_batch;
  part.batch = batches.count();
  part.query += rows * args.query_stride;
  part.key += batches.first * args.keys * args.key_stride;
  part.value += batches.first * args.keys * args.value_stride;
  part.lengths += batches.first;
  if (part.mask != nullptr) part.mask += batches.first * args.mask_batch_stride;
  if (part.bias != nullptr) part.bias += batches.first * args.bias_batch_stride;
  part.context = static_cast<char*>(args.context) +
                 rows * args.heads * args.value_dim * TypeBytes(args.output.type);
  return part;
}
AttentionArgs QueriesOf(const AttentionArgs& args, Range rows) {
  AttentionArgs part = args;
  part.rows_per_batch = rows.count();
  part.query += rows.first * args.query_stride;
  part.offset += rows.first;
  if (part.mask != nullptr) part.mask += rows.first * args.mask_row_stride;
  if (part.bias != nullptr) part.bias += rows.first * args.bias_row_stride;
  part.context = static_cast<char*>(args.context) +
                 rows.first * args.heads * args.value_dim * TypeBytes(args.output.type);
  return part;
}

void RunAttention(const AttentionArgs& args) {
  const Kernels& kernels = ActiveKernels();
  const double products = static_cast<double>(args.batch) * args.rows_per_batch * args.keys *
                          args.heads * (args.head_dim + args.value_dim);
  InShares(products / kProducts, [&](Share share) {
    if (share.count == 1) return kernels.attention(args);
    AttentionArgs part = args.batch == 1 ? QueriesOf(args, RangeOf(args.rows_per_batch, share))
                                         : BatchesOf(args, RangeOf(args.batch, share));
    if (part.batch > 0 && part.rows_per_batch > 0) kernels.attention(part);
  });
}

void RunLayerNorm(const LayerNormArgs& a) {
  const Kernels& kernels = ActiveKernels();
  const auto norm = a.integer ? kernels.integer_layer_norm : kernels.layer_norm;
  InShares(static_cast<double>(a.rows) * a.columns / kNormed, [&](Share share) {
    const Range rows = RangeOf(a.rows, share);
    const int64_t first = rows.first * a.columns;
    const auto from = [first](auto* x) { return x == nullptr ? nullptr : x + first; };
    void* out =
        a.out == nullptr ? nullptr : static_cast<char*>(a.out) + first * TypeBytes(a.output.type);
    norm(from(a.x), from(a.residual), a.gamma, a.beta, rows.count(), a.columns, a.epsilon,
         a.carry_sum, from(a.carry), a.output, out);
  });
}

bool RunTopK(const TopKArgs& a) {
  return ActiveKernels().top_k(a.logits, a.rows, a.columns, a.k, a.forbidden, a.best, a.ids,
                               a.log_sums);
}

void RunMultiplyFloat(const float* a, int64_t m, const void* packed, int64_t k, int64_t n,
                      const float* bias, float* out) {
  if (!ActiveFloatGemm().shares) return MultiplyFloat(a, m, packed, k, n, bias, out);
  InShares(static_cast<double>(m) * k * n / kFloatProducts, [&](Share share) {
    ActiveFloatGemm().multiply({a, m, packed, k, n, bias, false, out, share});
  });
}

Core MakeCore() {
  using C = Core;
  return {decltype(C::active_kernels)::Of<&ActiveKernels>(),
          decltype(C::in_shares)::Of<&InShares>(),
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
          decltype(C::multiply_float)::Of<&RunMultiplyFloat>(),
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
