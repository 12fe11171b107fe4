// The product of float32 matrices, for a library that has no better one.
#ifndef KERAS_INT8NMT_KERNELS_SIMD_FLOAT_PRODUCT_H_
#define KERAS_INT8NMT_KERNELS_SIMD_FLOAT_PRODUCT_H_

#include "int8.h"
#include "simd/vector_math.h"
#include "simd/vectors.h"

namespace keras_int8nmt {
namespace {

constexpr int kFloatVectors = kFloatPanel / kLanes;

// kRows rows of one panel.
template <int kRows>
INLINE void FloatTile(const FloatProductArgs& args, int64_t row, int64_t panel) {
  const float* weights = args.panels + panel * args.k * kFloatPanel;
  const float* a = args.a + row * args.k;
  Floats sum[kRows][kFloatVectors];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kFloatVectors; ++v) sum[r][v] = Set(0.0f);
  }
  for (int64_t i = 0; i < args.k; ++i, weights += kFloatPanel) {
    for (int r = 0; r < kRows; ++r) {
      const Floats x = Set(a[r * args.k + i]);
      for (int v = 0; v < kFloatVectors; ++v) {
        sum[r][v] = sum[r][v] + x * Load(weights + v * kLanes, Full());
      }
    }
  }
  const int64_t first = panel * kFloatPanel;
  const auto write = [&](int v, auto lanes) {
    const int64_t column = first + v * kLanes;
    const Floats bias = Load(args.bias + column, lanes);
    for (int r = 0; r < kRows; ++r) {
      const Floats y = sum[r][v] + bias;
      Store(args.out + (row + r) * args.n + column, args.relu ? Relu::Apply(y) : y, lanes);
    }
  };
  for (int v = 0; v < kFloatVectors; ++v) {
    const int64_t left = args.n - first - v * kLanes;
    if (left >= kLanes) {
      write(v, Full());
    } else if (left > 0) {
      write(v, Part{static_cast<int>(left)});
    }
  }
}

void MultiplyFloats(const FloatProductArgs& args) {
  for (int64_t panel = args.first_panel; panel < args.last_panel; ++panel) {
    int64_t row = 0;
    for (; row + kContextRows <= args.m; row += kContextRows) {
      FloatTile<kContextRows>(args, row, panel);
    }
    for (; row < args.m; ++row) FloatTile<1>(args, row, panel);
  }
}

}  // namespace
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_SIMD_FLOAT_PRODUCT_H_
