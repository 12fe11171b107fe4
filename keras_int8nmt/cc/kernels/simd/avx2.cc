// The kernels for AVX2; compiled with -mavx2.

#include "simd/avx2.h"

#include "simd/all.h"

#ifndef __AVX2__
#error "The flags of this instruction set are missing."
#endif

namespace keras_int8nmt {

const Kernels kAvx2Kernels = Table("avx2");

}  // namespace keras_int8nmt
