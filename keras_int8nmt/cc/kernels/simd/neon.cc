// The kernels for NEON, which every 64-bit ARM CPU has.

#include "simd/neon.h"

#include "simd/all.h"

#ifndef __ARM_NEON
#error "The flags of this instruction set are missing."
#endif

namespace keras_int8nmt {

const Kernels kNeonKernels = Table("neon");

}  // namespace keras_int8nmt
