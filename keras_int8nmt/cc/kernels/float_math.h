// exp, erf, tanh and the activations as fixed formulas on one float.
//
// libm's functions differ between versions and have no vector form, so their bits could not be the
// same everywhere. Each step here is one rounded float32 operation; float_vector_math.h repeats the
// same steps on 16 floats, and quantization.py in NumPy.
#ifndef KERAS_INT8NMT_KERNELS_FLOAT_MATH_H_
#define KERAS_INT8NMT_KERNELS_FLOAT_MATH_H_

#include <cmath>
#include <cstdint>
#include <cstring>

#include "int8.h"

namespace keras_int8nmt {
namespace {

// A clamp that sends NaN to `low`.
inline float Clamp(float x, float low, float high) {
  x = x > low ? x : low;
  return x < high ? x : high;
}

// 2^n for n in [-126, 127].
inline float PowerOfTwo(int32_t n) {
  const uint32_t bits = static_cast<uint32_t>(n + 127) << 23;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

inline float Exp(float x) {
  x = Clamp(x, -87.0f, 88.0f);
  const float n = std::rint(x * 1.44269504f);
  float r = x - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  const float y = (p * (r * r) + r) + 1.0f;
  return y * PowerOfTwo(static_cast<int32_t>(n));
}

// Abramowitz and Stegun 7.1.26; absolute error below 2e-7 with rounding.
inline float Erf(float x) {
  const float a = std::fabs(x);
  const float t = 1.0f / (1.0f + 0.3275911f * a);
  float p = 1.061405429f;
  p = p * t + -1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t + -0.284496736f;
  p = p * t + 0.254829592f;
  return std::copysign(1.0f - (p * t) * Exp(-(x * x)), x);
}

inline float Tanh(float x) {
  const float a = std::fabs(x);
  if (a >= 0.625f) return std::copysign(1.0f - 2.0f / (Exp(2.0f * a) + 1.0f), x);
  const float z = x * x;
  float p = -5.70498872745e-3f;
  p = p * z + 2.06390887954e-2f;
  p = p * z + -5.37397155531e-2f;
  p = p * z + 1.33314422036e-1f;
  p = p * z + -3.33332819422e-1f;
  return (p * z) * x + x;
}

inline float Activate(float x, Activation activation) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kRelu:
      return x > 0.0f ? x : 0.0f;
    case Activation::kGelu:
      return (0.5f * x) * (1.0f + Erf(x * 0.70710678f));
    case Activation::kGeluTanh:
      return (0.5f * x) * (1.0f + Tanh(0.79788456f * (x + ((0.044715f * x) * x) * x)));
    case Activation::kSwish:
      return x / (1.0f + Exp(-x));
  }
  return x;
}

}  // namespace
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_FLOAT_MATH_H_
