// 16 lanes as four NEON registers, dot products also of bytes of different signs (FEAT_I8MM).
#ifndef KERAS_INT8NMT_KERNELS_SIMD_NEON_I8MM_H_
#define KERAS_INT8NMT_KERNELS_SIMD_NEON_I8MM_H_

#include "simd/neon_lanes.h"
// After the vectors.
#include "simd/dot_neon.h"

#define KERAS_INT8NMT_VECTORS

#endif  // KERAS_INT8NMT_KERNELS_SIMD_NEON_I8MM_H_
