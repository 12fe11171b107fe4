// The whole-number functions against what they approximate, and against definitions.
#ifndef KERAS_INT8NMT_TESTS_CC_INTEGER_CHECKS_H_
#define KERAS_INT8NMT_TESTS_CC_INTEGER_CHECKS_H_

#include <array>
#include <cmath>
#include <cstdint>
#include <string>

#include "check.h"
#include "integer_math.h"
#include "reference/steps.h"

namespace keras_int8nmt {
namespace {

// By its definition: the largest number whose square is at most n.
inline void TestIntegerRoot(int64_t n) {
  const int64_t root = IntegerRoot(n);
  if (root * root <= n && (root + 1) * (root + 1) > n) return;
  Fail("the root of " + std::to_string(n) + " was " + std::to_string(root));
}

inline void TestReferenceIntegers() {
  for (int64_t n = 0; n < 5000; ++n) TestIntegerRoot(n);
  for (int64_t root = 3; root < int64_t{1} << 26; root = root * 5 / 4 + 1) {
    for (int64_t n : {root * root - 1, root * root, root * root + 1}) TestIntegerRoot(n);
  }
  // Halves go up, also below zero.
  for (const auto& [sum, count, mean] :
       {std::array<int64_t, 3>{5, 2, 3}, {-5, 2, -2}, {-6, 4, -1}, {-7, 4, -2}, {7, 3, 2}}) {
    if (IntegerMean(sum, count) != mean) Fail("the mean of " + std::to_string(sum));
  }
  // The polynomial is within 2% of exp, and the step of ln 2 adds 0.25% a halving.
  const double whole = IntegerExp(0.0f);
  for (int q = 0; q > -1200; --q) {
    const double expected = std::exp(q / double{kScoreUnit});
    const double bound = expected * (0.025 + 0.003 * -q / kExpLn2) + 1.0 / whole;
    CheckNear("integer exp", IntegerExp(static_cast<float>(q)) / whole, expected, bound);
  }
  for (float q : {kLeastExponent, -1e30f, -INFINITY}) CheckNear("exp of much", IntegerExp(q), 0, 0);
}

}  // namespace
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_TESTS_CC_INTEGER_CHECKS_H_
