// The kernels for AVX-512 with VNNI; compiled with the flags of avx512.cc and -mavx512vnni.

#include "simd/avx512_vnni.h"

#include "simd/all.h"

#ifndef __AVX512VNNI__
#error "The flags of this instruction set are missing."
#endif

namespace keras_int8nmt {

const Kernels kAvx512VnniKernels = Table("avx512_vnni");

}  // namespace keras_int8nmt
