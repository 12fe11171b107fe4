// 16 lanes as one AVX-512 register, dot products with VNNI.
#ifndef KERAS_INT8NMT_KERNELS_SIMD_AVX512_VNNI_H_
#define KERAS_INT8NMT_KERNELS_SIMD_AVX512_VNNI_H_

#include "simd/avx512_lanes.h"
#include "simd/dot_vnni.h"

#define KERAS_INT8NMT_VECTORS

#endif  // KERAS_INT8NMT_KERNELS_SIMD_AVX512_VNNI_H_
