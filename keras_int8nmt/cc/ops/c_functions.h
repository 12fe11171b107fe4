// The C functions that Python calls beside the ops.
#ifndef KERAS_INT8NMT_OPS_C_FUNCTIONS_H_
#define KERAS_INT8NMT_OPS_C_FUNCTIONS_H_

#define KERAS_INT8NMT_EXPORT extern "C" __attribute__((visibility("default")))

#endif  // KERAS_INT8NMT_OPS_C_FUNCTIONS_H_
