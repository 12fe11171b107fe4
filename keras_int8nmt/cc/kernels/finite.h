// Whether float32 numbers are numbers.
#ifndef KERAS_INT8NMT_KERNELS_FINITE_H_
#define KERAS_INT8NMT_KERNELS_FINITE_H_

#include <cstdint>
#include <cstring>

namespace keras_int8nmt {
namespace {

// As whole numbers, magnitudes have the order of the floats, with NaN above all of them.
constexpr uint32_t kInfinity = 0x7f800000u;
// 2^60: the square of such a number overflows in a sum of them.
constexpr uint32_t kTooLarge = 0x5d800000u;

inline uint32_t Magnitude(const float* x) {
  uint32_t bits;
  std::memcpy(&bits, x, sizeof(bits));
  return bits & 0x7fffffffu;
}

// The place of the first among x [count] that is NaN or of at least the magnitude `least`, or -1.
inline int64_t FirstNotFinite(const float* x, int64_t count, uint32_t least = kInfinity) {
  // The sum carries into the sign. No branch within a part, so that the compiler takes it in
  // vectors.
  constexpr int64_t kPart = 4096;
  for (int64_t from = 0; from < count; from += kPart) {
    const int64_t end = from + kPart < count ? from + kPart : count;
    uint32_t any = 0;
    for (int64_t i = from; i < end; ++i) any |= Magnitude(x + i) + (0x80000000u - least);
    if (any >> 31 == 0) continue;
    for (int64_t i = from; i < end; ++i) {
      if (Magnitude(x + i) >= least) return i;
    }
  }
  return -1;
}

}  // namespace
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_FINITE_H_
