// All fast kernels: included by one file per instruction set, compiled with the flags of that set.
#ifndef KERAS_INT8NMT_KERNELS_SIMD_ALL_H_
#define KERAS_INT8NMT_KERNELS_SIMD_ALL_H_

#include "int8.h"
#include "isa.h"
#include "simd/attention.h"
#include "simd/cache.h"
#include "simd/elementwise.h"
#include "simd/float_product.h"
#include "simd/integer_norm.h"
#include "simd/layer_norm.h"
#include "simd/top_k.h"

namespace keras_int8nmt {
namespace {

constexpr Kernels Table(const char* isa) {
  return {isa,           Quantize,   QuantizeRows,    Dequantize,    LayerNorm, IntegerLayerNorm,
          Attention,     CacheWrite, CachedAttention, Embedding,     TopK,      LogSum,
          ApplyEpilogue, Finish,     FinishRows,      MultiplyFloats};
}

}  // namespace
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_SIMD_ALL_H_
