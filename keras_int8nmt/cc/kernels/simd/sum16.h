// The fixed order of a sum of floats.
#ifndef KERAS_INT8NMT_KERNELS_SIMD_SUM16_H_
#define KERAS_INT8NMT_KERNELS_SIMD_SUM16_H_

#include "simd/vectors.h"

namespace keras_int8nmt {
namespace {

// Lanes past the end are 0 instead of x; a partial sum is never -0, so adding 0 changes nothing.
INLINE Floats KeepLanes(Floats x, Full) { return x; }
INLINE Floats KeepLanes(Floats x, Part lanes) { return Select(FirstLanes(lanes), x, Set(0.0f)); }

// The sum16 of value(i, lanes) over a row.
template <class Value>
INLINE float Sum16(int64_t n, Value value) {
  Floats sum = Set(0.0f);
  ForVectors(n, [&](int64_t i, auto lanes) { sum = sum + KeepLanes(value(i, lanes), lanes); });
  return TreeSum(sum);
}

}  // namespace
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_SIMD_SUM16_H_
