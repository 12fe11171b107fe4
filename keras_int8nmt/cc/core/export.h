// What leaves a library: C functions alone.
#ifndef KERAS_INT8NMT_CORE_EXPORT_H_
#define KERAS_INT8NMT_CORE_EXPORT_H_

#define KERAS_INT8NMT_EXPORT extern "C" __attribute__((visibility("default")))

#endif  // KERAS_INT8NMT_CORE_EXPORT_H_
