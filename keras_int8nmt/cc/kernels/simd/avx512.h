// 16 lanes as one AVX-512 register, dot products without VNNI.
#ifndef KERAS_INT8NMT_KERNELS_SIMD_AVX512_H_
#define KERAS_INT8NMT_KERNELS_SIMD_AVX512_H_

#include "simd/avx512_lanes.h"
#include "simd/dot_madd.h"

#define KERAS_INT8NMT_VECTORS

#endif  // KERAS_INT8NMT_KERNELS_SIMD_AVX512_H_
