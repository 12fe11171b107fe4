// LayerNorm with the residual sum before it and the quantization after it.
#ifndef KERAS_INT8NMT_KERNELS_SIMD_LAYER_NORM_H_
#define KERAS_INT8NMT_KERNELS_SIMD_LAYER_NORM_H_

#include "simd/elementwise.h"
#include "simd/sum16.h"
#include "simd/vectors.h"

namespace keras_int8nmt {
namespace {

// One row; s(i, lanes) is the sum of input and residual, cheap enough to be made three times.
template <class Sum, class Writer>
void LayerNormRow(Sum s, const float* gamma, const float* beta, int64_t columns, float epsilon,
                  bool carry_sum, float* carry, Writer writer) {
  const float count = static_cast<float>(columns);
  const Floats mean = Set(Sum16(columns, s) / count);
  const float squares = Sum16(columns, [&](int64_t i, auto lanes) {
    const Floats d = s(i, lanes) - mean;
    return d * d;
  });
  const Floats rstd = Set(1.0f / __builtin_sqrtf(squares / count + epsilon));
  ForVectors(columns, [&](int64_t i, auto lanes) {
    const Floats value = s(i, lanes);
    const Floats y = ((value - mean) * rstd) * Load(gamma + i, lanes) + Load(beta + i, lanes);
    if (carry != nullptr) Store(carry + i, carry_sum ? value : y, lanes);
    if (writer.out != nullptr) writer(i, y, lanes);
  });
}

void LayerNorm(const float* x, const float* residual, const float* gamma, const float* beta,
               int64_t rows, int64_t columns, float epsilon, bool carry_sum, float* carry,
               const Output& output, void* out) {
  WithWriter(output, out, [&](auto writer) {
    for (int64_t row = 0; row < rows; ++row) {
      const auto plain = [&](int64_t i, auto lanes) { return Load(x + i, lanes); };
      const auto with_residual = [&](int64_t i, auto lanes) {
        return Load(x + i, lanes) + Load(residual + i, lanes);
      };
      if (residual == nullptr) {
        LayerNormRow(plain, gamma, beta, columns, epsilon, carry_sum, carry, writer);
      } else {
        LayerNormRow(with_residual, gamma, beta, columns, epsilon, carry_sum, carry, writer);
        residual += columns;
      }
      x += columns;
      if (carry != nullptr) carry += columns;
      if (writer.out != nullptr) writer.out += columns;
    }
  });
}

}  // namespace
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_SIMD_LAYER_NORM_H_
