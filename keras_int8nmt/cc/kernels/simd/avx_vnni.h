// The vectors of AVX2; what AVX-VNNI adds is the products' alone (gemm/vnni_kernel_avx_vnni.cc).
#ifndef KERAS_INT8NMT_KERNELS_SIMD_AVX_VNNI_H_
#define KERAS_INT8NMT_KERNELS_SIMD_AVX_VNNI_H_

#include "simd/avx2.h"

#endif  // KERAS_INT8NMT_KERNELS_SIMD_AVX_VNNI_H_
