// The core library, which this one is loaded beside: kernels, decoder and their threads, once in a
// process whoever uses them.
#ifndef KERAS_INT8NMT_OPS_CORE_LINK_H_
#define KERAS_INT8NMT_OPS_CORE_LINK_H_

#include "core.h"

namespace keras_int8nmt {

// Throws std::runtime_error where the core is of another build.
const Core& TheCore();

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_OPS_CORE_LINK_H_
