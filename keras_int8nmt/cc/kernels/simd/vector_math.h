// The formulas of float_math.h on 16 floats, step for step.
#ifndef KERAS_INT8NMT_KERNELS_SIMD_VECTOR_MATH_H_
#define KERAS_INT8NMT_KERNELS_SIMD_VECTOR_MATH_H_

#include <type_traits>

#include "int8.h"
#include "simd/vectors.h"

namespace keras_int8nmt {
namespace {

// Sends NaN to `low`: Max and Min give their second operand when one is NaN.
INLINE Floats Clamp(Floats x, float low, float high) { return Min(Max(x, Set(low)), Set(high)); }

INLINE Floats Exp(Floats x) {
  x = Clamp(x, -87.0f, 88.0f);
  const Floats n = Rint(x * Set(1.44269504f));
  Floats r = x - n * Set(0.693359375f);
  r = r - n * Set(-2.12194440e-4f);
  Floats p = Set(1.9875691500e-4f);
  p = p * r + Set(1.3981999507e-3f);
  p = p * r + Set(8.3334519073e-3f);
  p = p * r + Set(4.1665795894e-2f);
  p = p * r + Set(1.6666665459e-1f);
  p = p * r + Set(5.0000001201e-1f);
  const Floats y = (p * (r * r) + r) + Set(1.0f);
  return TimesPowerOfTwo(y, n);
}

// Not 0 - x, which would lose the sign of zero.
INLINE Floats Negative(Floats x) { return x * Set(-1.0f); }

INLINE Floats Erf(Floats x) {
  const Floats one = Set(1.0f);
  const Floats t = one / (one + Set(0.3275911f) * Abs(x));
  Floats p = Set(1.061405429f);
  p = p * t + Set(-1.453152027f);
  p = p * t + Set(1.421413741f);
  p = p * t + Set(-0.284496736f);
  p = p * t + Set(0.254829592f);
  return CopySign(one - (p * t) * Exp(Negative(x * x)), x);
}

INLINE Floats Tanh(Floats x) {
  const Floats one = Set(1.0f);
  const Floats a = Abs(x);
  const Floats large = CopySign(one - Set(2.0f) / (Exp(Set(2.0f) * a) + one), x);
  const Floats z = x * x;
  Floats p = Set(-5.70498872745e-3f);
  p = p * z + Set(2.06390887954e-2f);
  p = p * z + Set(-5.37397155531e-2f);
  p = p * z + Set(1.33314422036e-1f);
  p = p * z + Set(-3.33332819422e-1f);
  return Select(AtLeast(a, Set(0.625f)), large, (p * z) * x + x);
}

struct None {
  static Floats Apply(Floats x) { return x; }
};
struct Relu {
  static Floats Apply(Floats x) { return Max(x, Set(0.0f)); }
};
struct Gelu {
  static Floats Apply(Floats x) {
    return (Set(0.5f) * x) * (Set(1.0f) + Erf(x * Set(0.70710678f)));
  }
};
struct GeluTanh {
  static Floats Apply(Floats x) {
    const Floats inner = x + ((Set(0.044715f) * x) * x) * x;
    return (Set(0.5f) * x) * (Set(1.0f) + Tanh(Set(0.79788456f) * inner));
  }
};
struct Swish {
  static Floats Apply(Floats x) { return x / (Set(1.0f) + Exp(Negative(x))); }
};

// Whether one of them takes dozens of steps.
template <class Function>
struct IsLong : std::true_type {};
template <>
struct IsLong<None> : std::false_type {};
template <>
struct IsLong<Relu> : std::false_type {};

// f(one of the structs above).
template <class F>
INLINE void WithActivation(Activation activation, F f) {
  switch (activation) {
    case Activation::kNone:
      return f(None());
    case Activation::kRelu:
      return f(Relu());
    case Activation::kGelu:
      return f(Gelu());
    case Activation::kGeluTanh:
      return f(GeluTanh());
    case Activation::kSwish:
      return f(Swish());
  }
}

}  // namespace
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_SIMD_VECTOR_MATH_H_
