// The kernels for any CPU.

#include "simd/generic.h"

#include "simd/all.h"

namespace keras_int8nmt {

const Kernels kGenericKernels = Table("generic");

}  // namespace keras_int8nmt
