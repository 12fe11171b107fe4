// The kernels for AVX-512 without VNNI; compiled with -mavx512f -mavx512bw -mavx512vl -mavx512dq.

#include "simd/avx512.h"

#include "simd/all.h"

#ifndef __AVX512BW__
#error "The flags of this instruction set are missing."
#endif

namespace keras_int8nmt {

const Kernels kAvx512Kernels = Table("avx512");

}  // namespace keras_int8nmt
