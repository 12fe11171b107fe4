// The scale of a row that is quantized by its own maximum.
#ifndef KERAS_INT8NMT_KERNELS_ROW_SCALE_H_
#define KERAS_INT8NMT_KERNELS_ROW_SCALE_H_

#include "int8.h"

namespace keras_int8nmt {
namespace {

struct RowScale {
  float scale, inverse;
};

// `largest` is the largest magnitude of the row; infinite or NaN if one is.
inline RowScale RowScaleOf(float largest) {
  if (!__builtin_isfinite(largest)) return {1.0f, __builtin_nanf("")};
  if (largest <= kLeastRowMaximum) return {1.0f, 1.0f};
  const float scale = 127.0f / largest;
  return {scale, 1.0f / scale};
}

}  // namespace
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_ROW_SCALE_H_
