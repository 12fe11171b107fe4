// What the headers of the instruction sets share: how many of the 16 lanes take part.
//
// A vector is always 16 lanes, whatever the registers: so a sum16 is one vector of partial sums.
#ifndef KERAS_INT8NMT_KERNELS_SIMD_VECTOR_LANES_H_
#define KERAS_INT8NMT_KERNELS_SIMD_VECTOR_LANES_H_

#include <cstdint>

// A vector that passes through a call, or through memory, costs more than the work on it.
#define INLINE inline __attribute__((always_inline))

namespace keras_int8nmt {
namespace {

constexpr int kLanes = 16;

struct Full {};
struct Part {
  int count;  // 1 to 15; the lanes from here on are not read (zero instead) and not written
};

// body(i, Full()) for each whole vector of [0, n), then body(i, Part) for the rest.
template <class Body>
void ForVectors(int64_t n, Body body) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i, Full());
  if (i < n) body(i, Part{static_cast<int>(n - i)});
}

// Where 16 rows of bytes start.
struct RowPointers {
  const int8_t* at[kLanes];
};

}  // namespace
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_SIMD_VECTOR_LANES_H_
