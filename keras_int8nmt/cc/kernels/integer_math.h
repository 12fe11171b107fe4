// The whole-number functions of I-BERT (Kim et al. 2021, arXiv 2101.01321, algorithms 2 to 4) at
// the fixed steps of this project; ops/integer_rules.py has the same in NumPy.
#ifndef KERAS_INT8NMT_KERNELS_INTEGER_MATH_H_
#define KERAS_INT8NMT_KERNELS_INTEGER_MATH_H_

#include <cstdint>

namespace keras_int8nmt {
namespace {

// exp of q / kScoreUnit, q <= 0 whole: with z = floor(-q / ln 2) and p = q + z ln 2, all in whole
// steps, it is ((p + b)^2 + c) >> z. The values share an unknown factor, which a softmax divides
// away.
constexpr float kScoreUnit = 256.0f;
constexpr int32_t kExpLn2 = 177;      // floor(ln 2 * 256)
constexpr int32_t kExpB = 346;        // floor(1.353 * 256)
constexpr int32_t kExpC = 62885;      // floor(0.344 / 0.3585 * 256^2)
constexpr int32_t kExpHalvings = 18;  // b^2 + c < 2^18, so that so many give 0
constexpr float kLeastExponent = -1.0f * kExpHalvings * kExpLn2;

// LayerNorm: input in steps of 1 / kNormUnit, result in steps of 1 / kNormResult.
constexpr float kNormUnit = 1024.0f;
constexpr float kNormMost = 1048576.0f;  // of the input's steps; what is beyond is cut off
constexpr float kNormStep = 1.0f / 16384.0f;
constexpr int kRootBits = 6;  // of the standard deviation below the input's steps
constexpr int kFactorBits = 40;
constexpr int kResultShift = 20;  // 2^(kFactorBits - kRootBits - kResultShift) = 1 / kNormStep
// The largest epsilon of an integer LayerNorm.
constexpr float kNormMostEpsilon = 1.0f;

// The largest whole number whose square is at most n; Newton's iteration (algorithm 4).
inline int64_t IntegerRoot(int64_t n) {
  if (n < 2) return n;
  const int bits = 64 - __builtin_clzll(static_cast<uint64_t>(n));
  int64_t x = int64_t{1} << (bits + 1) / 2;
  for (;;) {
    const int64_t next = (x + n / x) >> 1;
    if (next >= x) return x;
    x = next;
  }
}

// The mean of `count` whole numbers, rounded half up.
inline int64_t IntegerMean(int64_t sum, int64_t count) {
  const int64_t above = 2 * sum + count, below = 2 * count;
  const int64_t quotient = above / below;
  return quotient - (above % below < 0);
}

// What a deviation is multiplied by, from the sum of squared deviations.
inline int64_t IntegerNormFactor(int64_t squares, int64_t count, float epsilon) {
  const float steps = epsilon * (kNormUnit * kNormUnit);
  const int64_t added = static_cast<int64_t>(__builtin_rintf(steps));
  const int64_t root = IntegerRoot((squares / count + added) << (2 * kRootBits));
  return (int64_t{1} << kFactorBits) / (root < 1 ? 1 : root);
}

// deviation / standard deviation in steps of kNormStep, rounded half up.
inline int32_t IntegerNormal(int64_t deviation, int64_t factor) {
  constexpr int64_t kHalf = int64_t{1} << (kResultShift - 1);
  return static_cast<int32_t>((deviation * factor + kHalf) >> kResultShift);
}

}  // namespace
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_INTEGER_MATH_H_
