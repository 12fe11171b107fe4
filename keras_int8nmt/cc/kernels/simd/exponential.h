// The two exponentials of a softmax, each with the sum that its results have.
#ifndef KERAS_INT8NMT_KERNELS_SIMD_EXPONENTIAL_H_
#define KERAS_INT8NMT_KERNELS_SIMD_EXPONENTIAL_H_

#include "integer_math.h"
#include "simd/vector_math.h"
#include "simd/vectors.h"

namespace keras_int8nmt {
namespace {

// exp(score - maximum) in float32, and the sum16.
class FloatExponential {
 public:
  explicit FloatExponential(float maximum) : maximum_(Set(maximum)), sum_(Set(0.0f)) {}
  Floats operator()(Floats score) const { return Exp(score - maximum_); }
  void Add(Floats e) { sum_ = sum_ + e; }
  float Total() const { return TreeSum(sum_); }

 private:
  Floats maximum_, sum_;
};

// I-BERT's. All are whole numbers below 2^24, which Floats carry exactly; so is a lane's sum of at
// most 8192 keys, and the sums beyond are taken in 64 bits.
class IntegerExponential {
 public:
  explicit IntegerExponential(float maximum)
      : maximum_(Rint(Set(maximum) * Set(kScoreUnit))), sum_(SetInt(0)) {}

  Floats operator()(Floats score) const {
    const Floats q = Clamp(Rint(score * Set(kScoreUnit)) - maximum_, kLeastExponent, 0.0f);
    // Half a step from the nearest quotient at which the rounding of 1 / ln 2 could matter.
    const Floats z = ToFloats(ToInts((Set(0.5f) - q) * Set(1.0f / kExpLn2)));
    const Floats p = q + z * Set(static_cast<float>(kExpLn2));
    const Floats b = p + Set(static_cast<float>(kExpB));
    const Floats e = b * b + Set(static_cast<float>(kExpC));
    return ToFloats(ToInts(TimesPowerOfTwo(e, Set(0.0f) - z)));
  }
  void Add(Floats e) { sum_ = sum_ + ToInts(e); }
  float Total() const {
    int32_t lanes[kLanes];
    Store(lanes, sum_, Full());
    int64_t total = 0;
    for (int32_t lane : lanes) total += lane;
    return static_cast<float>(total);
  }

 private:
  Floats maximum_;
  Ints sum_;
};

}  // namespace
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_SIMD_EXPONENTIAL_H_
