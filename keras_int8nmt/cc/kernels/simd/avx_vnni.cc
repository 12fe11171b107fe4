// The kernels for AVX2 with AVX-VNNI, which CPUs without AVX-512 have.

#include "simd/avx_vnni.h"

#include "simd/all.h"

#ifndef __AVXVNNI__
#error "The flags of this instruction set are missing."
#endif

namespace keras_int8nmt {

const Kernels kAvxVnniKernels = Table("avx_vnni");

}  // namespace keras_int8nmt
