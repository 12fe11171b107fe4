// 16 lanes as four NEON registers, dot products by 16-bit multiplications.
#ifndef KERAS_INT8NMT_KERNELS_SIMD_NEON_H_
#define KERAS_INT8NMT_KERNELS_SIMD_NEON_H_

#include "simd/neon_lanes.h"
// After the vectors.
#include "simd/dot_madd.h"

#define KERAS_INT8NMT_VECTORS

#endif  // KERAS_INT8NMT_KERNELS_SIMD_NEON_H_
