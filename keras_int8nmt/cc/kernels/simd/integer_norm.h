// LayerNorm in whole numbers; see Kernels::integer_layer_norm. The loops over whole numbers are
// plain: their sums have no order, so the compiler makes vectors of them.
#ifndef KERAS_INT8NMT_KERNELS_SIMD_INTEGER_NORM_H_
#define KERAS_INT8NMT_KERNELS_SIMD_INTEGER_NORM_H_

#include "integer_math.h"
#include "simd/elementwise.h"
#include "simd/scratch.h"
#include "simd/vector_math.h"
#include "simd/vectors.h"

namespace keras_int8nmt {
namespace {

// steps[i] := the normal form of steps[i].
void NormalizeSteps(int32_t* steps, int64_t columns, float epsilon) {
  int64_t sum = 0;
  for (int64_t i = 0; i < columns; ++i) sum += steps[i];
  const int32_t mean = static_cast<int32_t>(IntegerMean(sum, columns));
  int64_t squares = 0;
  for (int64_t i = 0; i < columns; ++i) {
    const int64_t deviation = steps[i] - mean;
    squares += deviation * deviation;
  }
  const int64_t factor = IntegerNormFactor(squares, columns, epsilon);
  for (int64_t i = 0; i < columns; ++i) steps[i] = IntegerNormal(steps[i] - mean, factor);
}

// One row; s(i, lanes) is the sum of input and residual. `steps` holds whole vectors.
template <class Sum, class Writer>
void IntegerNormRow(Sum s, const float* gamma, const float* beta, int64_t columns, float epsilon,
                    bool carry_sum, int32_t* steps, float* carry, Writer writer) {
  ForVectors(columns, [&](int64_t i, auto lanes) {
    const Floats whole = Rint(s(i, lanes) * Set(kNormUnit));
    Store(steps + i, ToInts(Clamp(whole, -kNormMost, kNormMost)), Full());
  });
  NormalizeSteps(steps, columns, epsilon);
  ForVectors(columns, [&](int64_t i, auto lanes) {
    const Floats normal = ToFloats(Load(steps + i, Full())) * Set(kNormStep);
    const Floats y = normal * Load(gamma + i, lanes) + Load(beta + i, lanes);
    if (carry != nullptr) Store(carry + i, carry_sum ? s(i, lanes) : y, lanes);
    if (writer.out != nullptr) writer(i, y, lanes);
  });
}

void IntegerLayerNorm(const float* x, const float* residual, const float* gamma, const float* beta,
                      int64_t rows, int64_t columns, float epsilon, bool carry_sum, float* carry,
                      const Output& output, void* out) {
  const int64_t whole = Scratch::RoundedUp(columns);
  Scratch scratch(whole);
  int32_t* steps = scratch.Take<int32_t>(whole);
  WithWriter(output, out, [&](auto writer) {
    for (int64_t row = 0; row < rows; ++row) {
      const auto sum = [&](int64_t i, auto lanes) {
        const Floats value = Load(x + i, lanes);
        return residual == nullptr ? value : value + Load(residual + i, lanes);
      };
      IntegerNormRow(sum, gamma, beta, columns, epsilon, carry_sum, steps, carry, writer);
      x += columns;
      if (residual != nullptr) residual += columns;
      if (carry != nullptr) carry += columns;
      if (writer.out != nullptr) writer.out += columns;
    }
  });
}

}  // namespace
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_SIMD_INTEGER_NORM_H_
