// 16 lanes as four vectors of GCC's own vector type, which every CPU has in some form;
// vectors.h says what each function does.
#ifndef KERAS_INT8NMT_KERNELS_SIMD_GENERIC_H_
#define KERAS_INT8NMT_KERNELS_SIMD_GENERIC_H_

#include "simd/vector_lanes.h"

namespace keras_int8nmt {
namespace {

typedef float Float4 __attribute__((vector_size(16)));
typedef int32_t Int4 __attribute__((vector_size(16)));
typedef uint32_t Word4 __attribute__((vector_size(16)));

struct Floats {
  Float4 v[4];
};
struct Ints {
  Int4 v[4];
};
struct Mask {
  Int4 v[4];  // -1 or 0
};

constexpr int kContextRows = 1;

// f of each of the four parts.
template <class Out, class F>
INLINE Out Each(F f) {
  return {f(0), f(1), f(2), f(3)};
}

INLINE Float4 AsFloats(Int4 x) { return reinterpret_cast<Float4>(x); }
INLINE Int4 AsInts(Float4 x) { return reinterpret_cast<Int4>(x); }
// Sums of unsigned numbers wrap around; of signed ones the language leaves that open.
INLINE Word4 AsWords(Int4 x) { return reinterpret_cast<Word4>(x); }
INLINE Int4 AsInts(Word4 x) { return reinterpret_cast<Int4>(x); }

INLINE Floats Set(float x) {
  return Each<Floats>([&](int) { return Float4{x, x, x, x}; });
}
INLINE Ints SetInt(int32_t x) {
  return Each<Ints>([&](int) { return Int4{x, x, x, x}; });
}
INLINE Floats operator+(Floats a, Floats b) {
  return Each<Floats>([&](int i) { return a.v[i] + b.v[i]; });
}
INLINE Floats operator-(Floats a, Floats b) {
  return Each<Floats>([&](int i) { return a.v[i] - b.v[i]; });
}
INLINE Floats operator*(Floats a, Floats b) {
  return Each<Floats>([&](int i) { return a.v[i] * b.v[i]; });
}
INLINE Floats operator/(Floats a, Floats b) {
  return Each<Floats>([&](int i) { return a.v[i] / b.v[i]; });
}
INLINE Ints operator+(Ints a, Ints b) {
  return Each<Ints>([&](int i) { return AsInts(AsWords(a.v[i]) + AsWords(b.v[i])); });
}
INLINE Ints operator-(Ints a, Ints b) {
  return Each<Ints>([&](int i) { return AsInts(AsWords(a.v[i]) - AsWords(b.v[i])); });
}
INLINE Floats Max(Floats a, Floats b) {
  return Each<Floats>([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
INLINE Floats Min(Floats a, Floats b) {
  return Each<Floats>([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}
INLINE Floats Abs(Floats x) {
  return Each<Floats>([&](int i) { return AsFloats(AsInts(x.v[i]) & 0x7fffffff); });
}
INLINE Floats CopySign(Floats magnitude, Floats sign) {
  return Each<Floats>([&](int i) {
    return AsFloats((AsInts(magnitude.v[i]) & 0x7fffffff) |
                    (AsInts(sign.v[i]) & static_cast<int32_t>(0x80000000u)));
  });
}
INLINE Mask AtLeast(Floats a, Floats b) {
  return Each<Mask>([&](int i) { return a.v[i] >= b.v[i]; });
}
INLINE Mask Unordered(Floats a, Floats b) {
  return Each<Mask>([&](int i) { return (a.v[i] != a.v[i]) | (b.v[i] != b.v[i]); });
}
INLINE Mask operator|(Mask a, Mask b) {
  return Each<Mask>([&](int i) { return a.v[i] | b.v[i]; });
}
INLINE Mask NoLanes() {
  return Each<Mask>([&](int) { return Int4{}; });
}
INLINE uint32_t Bits(Mask mask) {
  uint32_t bits = 0;
  for (int i = 0; i < kLanes; ++i) bits |= (mask.v[i / 4][i % 4] & 1u) << i;
  return bits;
}
INLINE Floats Select(Mask mask, Floats yes, Floats no) {
  return Each<Floats>([&](int i) { return mask.v[i] ? yes.v[i] : no.v[i]; });
}
// Adding 2^23 leaves no room for a fraction, so the addition itself rounds half to even. Larger
// numbers are whole already; NaN fails the comparison and stays.
INLINE Floats Rint(Floats x) {
  const Floats big = Set(8388608.0f);
  const Floats shift = CopySign(big, x);
  const Floats rounded = CopySign((x + shift) - shift, x);
  return Select(AtLeast(Abs(x), big) | Unordered(x, x), x, rounded);
}
INLINE Ints ToInts(Floats x) {
  return Each<Ints>([&](int i) { return __builtin_convertvector(x.v[i], Int4); });
}
INLINE Floats ToFloats(Ints x) {
  return Each<Floats>([&](int i) { return __builtin_convertvector(x.v[i], Float4); });
}
INLINE Floats TimesPowerOfTwo(Floats x, Floats n) {
  const Ints whole = ToInts(n);
  return Each<Floats>([&](int i) { return x.v[i] * AsFloats((whole.v[i] + 127) << 23); });
}
INLINE Mask FirstLanes(Part lanes) {
  return Each<Mask>([&](int i) { return Int4{0, 1, 2, 3} + 4 * i < lanes.count; });
}
INLINE Mask FirstLanes(Full) { return FirstLanes(Part{kLanes}); }
// Lane i by bit i.
INLINE Mask MaskOf(uint32_t bits) {
  const int32_t all = static_cast<int32_t>(bits);
  return Each<Mask>(
      [&](int i) { return ((Int4{all, all, all, all} >> (Int4{0, 1, 2, 3} + 4 * i)) & 1) != 0; });
}

template <class Vector, class T>
INLINE Vector Copy(const T* x) {
  Vector out;
  __builtin_memcpy(&out, x, sizeof(out));
  return out;
}
template <class T>
INLINE Ints Widened(const T* x) {
  return Each<Ints>(
      [&](int i) { return Int4{x[4 * i], x[4 * i + 1], x[4 * i + 2], x[4 * i + 3]}; });
}
// 16 bytes, those without a bit become 0.
INLINE void KeepBytes(const uint8_t* x, uint32_t bits, uint8_t* out) {
  for (int i = 0; i < kLanes; ++i) out[i] = (bits >> i & 1) != 0 ? x[i] : 0;
}

INLINE Floats Load(const float* x, Full) { return Copy<Floats>(x); }
INLINE Ints Load(const int32_t* x, Full) { return Copy<Ints>(x); }
INLINE Ints LoadWidened(const int8_t* x, Full) { return Widened(x); }
INLINE Ints LoadWidened(const uint8_t* x, Full) { return Widened(x); }
INLINE Mask LoadMask(const uint8_t* x, Full) {
  const Ints bytes = Widened(x);
  return Each<Mask>([&](int i) { return bytes.v[i] != 0; });
}
INLINE void Store(float* out, Floats x, Full) { __builtin_memcpy(out, &x, sizeof(x)); }
INLINE void Store(int32_t* out, Ints x, Full) { __builtin_memcpy(out, &x, sizeof(x)); }
INLINE void StoreBytes(void* out, Ints x, Full) {
  for (int i = 0; i < kLanes; ++i) {
    static_cast<uint8_t*>(out)[i] = static_cast<uint8_t>(x.v[i / 4][i % 4]);
  }
}

INLINE float TreeSum(Floats x) {
  const Float4 four = (x.v[0] + x.v[2]) + (x.v[1] + x.v[3]);
  return (four[0] + four[2]) + (four[1] + four[3]);
}
INLINE float LargestLane(Floats x) {
  float largest = x.v[0][0];
  for (int i = 1; i < kLanes; ++i) {
    const float lane = x.v[i / 4][i % 4];
    if (lane > largest) largest = lane;
  }
  return largest;
}

// The 16-bit numbers of each lane: their low and high halves, sign-extended to 32 bits.
INLINE Ints EvenBytes(Ints x) {
  return Each<Ints>(
      [&](int i) { return ((x.v[i] << 24 >> 24) & 0xffff) | (x.v[i] << 8 >> 24 << 16); });
}
INLINE Ints OddBytes(Ints x) {
  return Each<Ints>([&](int i) { return ((x.v[i] << 16 >> 24) & 0xffff) | (x.v[i] >> 24 << 16); });
}
INLINE Ints PairProducts(Ints a, Ints b) {
  return Each<Ints>([&](int i) {
    return (a.v[i] << 16 >> 16) * (b.v[i] << 16 >> 16) + (a.v[i] >> 16) * (b.v[i] >> 16);
  });
}

INLINE void TransposeBytes(const RowPointers& rows, int64_t column, Ints groups[4]) {
  int32_t lanes[4][kLanes];
  for (int j = 0; j < kLanes; ++j) {
    const Int4 row = Copy<Int4>(rows.at[j] + column);
    for (int g = 0; g < 4; ++g) lanes[g][j] = row[g];
  }
  for (int g = 0; g < 4; ++g) groups[g] = Load(lanes[g], Full());
}
INLINE void InterleaveRows(const int8_t* const rows[4], int64_t columns, Ints out[4]) {
  int8_t bytes[4 * 64] = {};
  for (int64_t c = 0; c < columns; ++c) {
    for (int i = 0; i < 4; ++i) bytes[4 * c + i] = rows[i][c];
  }
  for (int i = 0; i < 4; ++i) out[i] = Copy<Ints>(bytes + 64 * i);
}
INLINE void StoreColumns(const Ints acc[4], int32_t out[64]) {
  for (int i = 0; i < 4; ++i) __builtin_memcpy(out + 16 * i, &acc[i], sizeof(acc[i]));
}

}  // namespace
}  // namespace keras_int8nmt

#include "simd/dot_madd.h"
#include "simd/vector_part_by_copy.h"

#define KERAS_INT8NMT_VECTORS

#endif  // KERAS_INT8NMT_KERNELS_SIMD_GENERIC_H_
