// The softmax of attention to a cache.
#ifndef KERAS_INT8NMT_KERNELS_SIMD_CACHE_SOFTMAX_H_
#define KERAS_INT8NMT_KERNELS_SIMD_CACHE_SOFTMAX_H_

#include <cmath>

#include "probability_codes.h"
#include "simd/exponential.h"
#include "simd/vector_math.h"
#include "simd/vectors.h"

namespace keras_int8nmt {
namespace {

// Scores of one row -> probabilities, zero from `length` to the end of the block.
template <bool kInt8Values, class Exponential>
INLINE void CacheSoftmax(float* scores, int64_t length, uint8_t* probabilities) {
  Floats largest = Set(-INFINITY);
  ForVectors(length, [&](int64_t j, auto lanes) {
    largest = Max(Select(FirstLanes(lanes), Load(scores + j, Full()), largest), largest);
  });
  Exponential exponential(LargestLane(largest));
  ForVectors(length, [&](int64_t j, auto lanes) {
    const Floats e = exponential(Load(scores + j, Full()));
    const Floats kept = Select(FirstLanes(lanes), e, Set(0.0f));
    Store(scores + j, kept, Full());
    exponential.Add(kept);
  });
  const float total = exponential.Total();
  const Floats factor = Set(kInt8Values ? ProbabilityFactor(total) : 1.0f / total);
  for (int64_t j = 0; j < length; j += kLanes) {
    const Floats e = Load(scores + j, Full());
    if (kInt8Values) {
      StoreBytes(probabilities + j, ToInts(Clamp(Rint(e * factor), 0.0f, 255.0f)), Full());
    } else {
      Store(scores + j, e * factor, Full());
    }
  }
}

}  // namespace
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_SIMD_CACHE_SOFTMAX_H_
