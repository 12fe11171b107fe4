// The kernels for NEON with FEAT_DotProd.

#include "simd/neon_dotprod.h"

#include "simd/all.h"

#ifndef __ARM_FEATURE_DOTPROD
#error "The flags of this instruction set are missing."
#endif

namespace keras_int8nmt {

const Kernels kNeonDotprodKernels = Table("neon_dotprod");

}  // namespace keras_int8nmt
