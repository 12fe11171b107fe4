// Probabilities as bytes at the scale 255.
#ifndef KERAS_INT8NMT_KERNELS_PROBABILITY_CODES_H_
#define KERAS_INT8NMT_KERNELS_PROBABILITY_CODES_H_

namespace keras_int8nmt {
namespace {

// What a softmax multiplies its exponentials by to give codes; `total` is their sum. The largest of
// finite scores has 1 or more, so the sum has. It has less where no score is a number or none is
// allowed: then all codes are 0. So two codes are never above 256 together, whatever the scores
// are.
inline float ProbabilityFactor(float total) { return 255.0f / (total > 1.0f ? total : 1.0f); }

}  // namespace
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_PROBABILITY_CODES_H_
