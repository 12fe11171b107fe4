// The kernels for NEON with FEAT_DotProd and FEAT_I8MM.

#include "simd/neon_i8mm.h"

#include "simd/all.h"

#ifndef __ARM_FEATURE_MATMUL_INT8
#error "The flags of this instruction set are missing."
#endif

namespace keras_int8nmt {

const Kernels kNeonI8mmKernels = Table("neon_i8mm");

}  // namespace keras_int8nmt
