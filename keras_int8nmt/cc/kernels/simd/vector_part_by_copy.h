// Loads and stores of part of a vector for sets without masked moves: through a copy of 16 lanes.
// Included by the vector header that needs it, after its own functions.
#ifndef KERAS_INT8NMT_KERNELS_SIMD_VECTOR_PART_BY_COPY_H_
#define KERAS_INT8NMT_KERNELS_SIMD_VECTOR_PART_BY_COPY_H_

namespace keras_int8nmt {
namespace {

template <class T>
struct Sixteen {
  Sixteen(const T* x, Part lanes) { __builtin_memcpy(data, x, lanes.count * sizeof(T)); }
  T data[kLanes] = {};
};

INLINE Floats Load(const float* x, Part lanes) {
  return Load(Sixteen<float>(x, lanes).data, Full());
}
INLINE Ints Load(const int32_t* x, Part lanes) {
  return Load(Sixteen<int32_t>(x, lanes).data, Full());
}
INLINE Ints LoadWidened(const int8_t* x, Part lanes) {
  return LoadWidened(Sixteen<int8_t>(x, lanes).data, Full());
}
INLINE Ints LoadWidened(const uint8_t* x, Part lanes) {
  return LoadWidened(Sixteen<uint8_t>(x, lanes).data, Full());
}
INLINE Mask LoadMask(const uint8_t* x, Part lanes) {
  return LoadMask(Sixteen<uint8_t>(x, lanes).data, Full());
}
INLINE void Store(float* out, Floats x, Part lanes) {
  float data[kLanes];
  Store(data, x, Full());
  __builtin_memcpy(out, data, lanes.count * sizeof(float));
}
INLINE void StoreBytes(void* out, Ints x, Part lanes) {
  uint8_t data[kLanes];
  StoreBytes(data, x, Full());
  __builtin_memcpy(out, data, lanes.count);
}

}  // namespace
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_SIMD_VECTOR_PART_BY_COPY_H_
