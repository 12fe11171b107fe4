// 16 lanes as four NEON registers, dot products by those of Armv8.2 (FEAT_DotProd).
#ifndef KERAS_INT8NMT_KERNELS_SIMD_NEON_DOTPROD_H_
#define KERAS_INT8NMT_KERNELS_SIMD_NEON_DOTPROD_H_

#include "simd/neon_lanes.h"
// After the vectors.
#include "simd/dot_neon.h"

#define KERAS_INT8NMT_VECTORS

#endif  // KERAS_INT8NMT_KERNELS_SIMD_NEON_DOTPROD_H_
