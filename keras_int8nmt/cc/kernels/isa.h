// The instruction sets by name, and whether this CPU has them.
#ifndef KERAS_INT8NMT_KERNELS_ISA_H_
#define KERAS_INT8NMT_KERNELS_ISA_H_

#include "int8.h"

namespace keras_int8nmt {

// One table per set, each from a file of its own with its own compiler flags.
extern const Kernels kReferenceKernels;
extern const Kernels kGenericKernels;
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
extern const Kernels kAvx512VnniKernels;

// Whether CPU and operating system can run it. "generic" and "reference" run everywhere.
bool CpuHasAvx2();
bool CpuHasAvx512();
bool CpuHasAvx512Vnni();

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_ISA_H_
