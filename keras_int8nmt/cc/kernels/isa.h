// The tables of kernels, one for each instruction set and the plain loops.
#ifndef KERAS_INT8NMT_KERNELS_ISA_H_
#define KERAS_INT8NMT_KERNELS_ISA_H_

#include "int8.h"

namespace keras_int8nmt {

#define INSTRUCTION_SET(name, table, cpu, flags, supported) extern const Kernels table;
#include "instruction_sets.def"
#undef INSTRUCTION_SET
extern const Kernels kReferenceKernels;

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_ISA_H_
