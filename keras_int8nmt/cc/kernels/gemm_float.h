// float32 matrix products of oneDNN with prepared weights: the peer in benchmarks, nothing else.
#ifndef KERAS_INT8NMT_KERNELS_GEMM_FLOAT_H_
#define KERAS_INT8NMT_KERNELS_GEMM_FLOAT_H_

#include <cstddef>
#include <cstdint>

namespace keras_int8nmt {

// Bytes of the packed form of weights [k, n].
size_t PackedFloatBytes(int64_t k, int64_t n);
void PackFloat(const float* weights, int64_t k, int64_t n, void* packed);
// out [m, n] = a [m, k] x weights + bias [n], on GemmThreads() threads.
void MultiplyFloat(const float* a, int64_t m, const void* packed, int64_t k, int64_t n,
                   const float* bias, float* out);

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_GEMM_FLOAT_H_
