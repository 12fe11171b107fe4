// The steps that the plain loops share: how a result is written, how floats are summed.
#ifndef KERAS_INT8NMT_KERNELS_REFERENCE_STEPS_H_
#define KERAS_INT8NMT_KERNELS_REFERENCE_STEPS_H_

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "float_math.h"
#include "int8.h"
#include "integer_math.h"

namespace keras_int8nmt {
namespace {

// clip(rint(scaled) + zero_point) of a value that is scaled already, written to out[i].
inline void StoreRounded(float scaled, const Output& output, void* out, int64_t i) {
  const float value = std::rint(scaled) + static_cast<float>(output.zero_point);
  if (output.type == Type::kInt8) {
    static_cast<int8_t*>(out)[i] = static_cast<int8_t>(Clamp(value, -127.0f, 127.0f));
  } else {
    static_cast<uint8_t*>(out)[i] = static_cast<uint8_t>(Clamp(value, 0.0f, 255.0f));
  }
}

inline void Store(float y, const Output& output, void* out, int64_t i) {
  if (output.type == Type::kFloat32) {
    static_cast<float*>(out)[i] = y;
  } else {
    StoreRounded(y * output.scale, output, out, i);
  }
}

// The fixed order of a sum of floats: 16 partial sums by index mod 16, then one tree.
class Sum16 {
 public:
  void Add(int64_t i, float value) { partial_[i % 16] = partial_[i % 16] + value; }

  float Total() const {
    float p[16];
    std::copy(partial_, partial_ + 16, p);
    for (int half = 8; half >= 1; half /= 2) {
      for (int i = 0; i < half; ++i) p[i] = p[i] + p[i + half];
    }
    return p[0];
  }

 private:
  float partial_[16] = {};
};

// The whole-number exponential of integer_math.h, of a whole number of steps.
inline int32_t IntegerExp(float steps) {
  const int32_t q = static_cast<int32_t>(Clamp(steps, kLeastExponent, 0.0f));
  const int32_t z = -q / kExpLn2;
  const int32_t b = q + z * kExpLn2 + kExpB;
  return (b * b + kExpC) >> z;
}

// The exponentials of a softmax and their sum, in float or in whole numbers.
class SoftmaxPowers {
 public:
  SoftmaxPowers(bool integer, float maximum) : integer_(integer), maximum_(maximum) {}

  float Of(float score) const {
    if (!integer_) return Exp(score - maximum_);
    const float steps = std::rint(score * kScoreUnit) - std::rint(maximum_ * kScoreUnit);
    return static_cast<float>(IntegerExp(steps));
  }
  void Add(int64_t j, float power) {
    sum_.Add(j, power);
    whole_sum_ += static_cast<int64_t>(power);
  }
  float Total() const { return integer_ ? static_cast<float>(whole_sum_) : sum_.Total(); }

 private:
  bool integer_;
  float maximum_;
  Sum16 sum_;
  int64_t whole_sum_ = 0;
};

}  // namespace
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_REFERENCE_STEPS_H_
