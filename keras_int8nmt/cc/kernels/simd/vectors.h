// The vectors of an instruction set: what simd/<set>.h must define, and what the kernels may use.
//
// The kernels are written once, over the names below. A file that is compiled for a set includes
// the set's header first and then the kernels; everything is in anonymous namespaces, so that no
// function compiled for one set can be linked in place of another's. vectors_test holds every set
// to this page.
//
// A vector is 16 lanes of 32 bits, whatever the registers are: so a sum16 is one vector of partial
// sums, and results do not depend on the set. Lane i of a result depends on lanes i of the operands
// alone, unless it says otherwise. Floats are IEEE single precision, rounded to nearest even, each
// step on its own: no fused multiply-add, no flushing of subnormal numbers, no approximate
// division. No memory needs alignment.
//
// Types
//   Floats, Ints    16 float32; 16 int32, which wrap around
//   Mask            16 truth values
//   Full, Part      how many lanes take part (vector_lanes.h). Lanes outside a Part are neither
//                   read nor written in memory; a load gives 0 there
//   kContextRows    constant: rows of 4 vectors of sums that stay in registers, 1 or more
//
// Arithmetic
//   Set(x), SetInt(x)            x in every lane
//   a + b, a - b, a * b, a / b   Floats; a + b and a - b also Ints
//   Max(a, b), Min(a, b)         a > b ? a : b, a < b ? a : b; so b where one is NaN
//   Abs(x), CopySign(x, sign)    bits, also of NaN
//   Rint(x)                      to a whole number, halves to even; keeps the sign of zero, NaN and
//                                infinities
//   ToInts(x)                    towards zero; defined where |x| < 2^31
//   ToFloats(x)                  to nearest even
//   TimesPowerOfTwo(x, n)        x * 2^n for whole n in [-126, 127], where x and the result are
//                                normal numbers; x is not 0
//
// Masks
//   AtLeast(a, b)                a >= b; false for NaN
//   Unordered(a, b)              whether one of them is NaN
//   a | b, NoLanes()             Masks
//   FirstLanes(lanes)            true below lanes.count (all, for Full)
//   Bits(mask), MaskOf(bits)     lane i is bit i; the upper 16 bits are 0, or ignored
//   Select(mask, yes, no)        Floats
//   KeepBytes(x, bits, out)      16 bytes from x to out, 0 where bit i is not set
//
// Memory; `lanes` is Full or Part
//   Load(x, lanes)               Floats of float*, Ints of int32_t*
//   LoadWidened(x, lanes)        Ints of int8_t* or uint8_t*, sign or zero extended
//   LoadMask(x, lanes)           which bytes are not 0
//   Store(out, x, lanes)         Floats; Ints with Full only
//   StoreBytes(out, x, lanes)    the low byte of each lane of Ints
//
// Over lanes
//   TreeSum(x)                   p[i] + p[i + 8], then p[i] + p[i + 4], p[i + 2], p[0] + p[1]
//   LargestLane(x)               of 16 numbers (no NaN); either zero where both are the largest
//
// Bytes: a lane of Ints as 4 signed bytes, the lowest first
//   EvenBytes(x), OddBytes(x)    bytes 0 and 2, or 1 and 3, as two 16-bit numbers
//   PairProducts(a, b)           the sum of the products of the two 16-bit numbers
//   TransposeBytes(rows, column, groups)
//                                16 bytes of 16 rows: lane j of groups[g] is bytes 4g .. 4g + 3 of
//                                row j, from `column` on
//   InterleaveRows(rows, columns, out)
//                                `columns` (1 to 64) bytes of 4 rows: each lane of the 4 vectors
//                                has the 4 bytes of one column, 0 past the end; the order of the
//                                columns is the set's own
//   StoreColumns(x, out)         4 vectors of one value a column, in that order, to their own order
//
// Dot products of bytes in groups of 4: dot_madd.h for a set that has no instruction for it (over
// the functions above), dot_vnni.h for one that has
//   kWeightWords                 constant: words that a group of 4 weights takes
//   PackWeights(x, groups, weights)
//                                4 * groups bytes, signed or not, to groups * kWeightWords words
//   PrepareKeys(x), PrepareKey(x)
//                                signed bytes as KeyDot reads them; the same for one lane
//   ScoreStart(query, n)         what a sum of n of KeyDot's products starts from
//   KeyDot(sum, keys, query)     sum + dot of each lane of prepared keys with one group of signed
//                                weights; exact, together with ScoreStart
//   ValueDot(sum, values, probabilities)
//                                sum + dot of each lane of signed bytes with one group of unsigned
//                                weights, of which the first two are at most 256 together, and the
//                                last two, as in a softmax; exact
#ifndef KERAS_INT8NMT_KERNELS_SIMD_VECTORS_H_
#define KERAS_INT8NMT_KERNELS_SIMD_VECTORS_H_

#include <type_traits>

#include "simd/vector_lanes.h"

#ifndef KERAS_INT8NMT_VECTORS
#error "Include the header of an instruction set, simd/<set>.h, before the kernels."
#endif

namespace keras_int8nmt {
namespace {

// The page above for the compiler: names and types.
#define KERAS_INT8NMT_GIVES(type, ...)                            \
  static_assert(std::is_same<decltype(__VA_ARGS__), type>::value, \
                "simd/vectors.h: " #__VA_ARGS__ " must give " #type)

template <class F, class I, class M>
struct VectorContract {
  template <class T>
  static T Of();

  KERAS_INT8NMT_GIVES(F, Set(0.0f));
  KERAS_INT8NMT_GIVES(I, SetInt(0));
  KERAS_INT8NMT_GIVES(F, Of<F>() + Of<F>());
  KERAS_INT8NMT_GIVES(F, Of<F>() - Of<F>());
  KERAS_INT8NMT_GIVES(F, Of<F>() * Of<F>());
  KERAS_INT8NMT_GIVES(F, Of<F>() / Of<F>());
  KERAS_INT8NMT_GIVES(I, Of<I>() + Of<I>());
  KERAS_INT8NMT_GIVES(I, Of<I>() - Of<I>());
  KERAS_INT8NMT_GIVES(F, Max(Of<F>(), Of<F>()));
  KERAS_INT8NMT_GIVES(F, Min(Of<F>(), Of<F>()));
  KERAS_INT8NMT_GIVES(F, Abs(Of<F>()));
  KERAS_INT8NMT_GIVES(F, CopySign(Of<F>(), Of<F>()));
  KERAS_INT8NMT_GIVES(F, Rint(Of<F>()));
  KERAS_INT8NMT_GIVES(I, ToInts(Of<F>()));
  KERAS_INT8NMT_GIVES(F, ToFloats(Of<I>()));
  KERAS_INT8NMT_GIVES(F, TimesPowerOfTwo(Of<F>(), Of<F>()));
  KERAS_INT8NMT_GIVES(M, AtLeast(Of<F>(), Of<F>()));
  KERAS_INT8NMT_GIVES(M, Unordered(Of<F>(), Of<F>()));
  KERAS_INT8NMT_GIVES(M, Of<M>() | Of<M>());
  KERAS_INT8NMT_GIVES(M, NoLanes());
  KERAS_INT8NMT_GIVES(M, FirstLanes(Full()));
  KERAS_INT8NMT_GIVES(M, FirstLanes(Part()));
  KERAS_INT8NMT_GIVES(M, MaskOf(0u));
  KERAS_INT8NMT_GIVES(uint32_t, Bits(Of<M>()));
  KERAS_INT8NMT_GIVES(F, Select(Of<M>(), Of<F>(), Of<F>()));
  KERAS_INT8NMT_GIVES(void, KeepBytes(Of<const uint8_t*>(), 0u, Of<uint8_t*>()));
  KERAS_INT8NMT_GIVES(F, Load(Of<const float*>(), Full()));
  KERAS_INT8NMT_GIVES(F, Load(Of<const float*>(), Part()));
  KERAS_INT8NMT_GIVES(I, Load(Of<const int32_t*>(), Full()));
  KERAS_INT8NMT_GIVES(I, Load(Of<const int32_t*>(), Part()));
  KERAS_INT8NMT_GIVES(I, LoadWidened(Of<const int8_t*>(), Part()));
  KERAS_INT8NMT_GIVES(I, LoadWidened(Of<const uint8_t*>(), Part()));
  KERAS_INT8NMT_GIVES(M, LoadMask(Of<const uint8_t*>(), Part()));
  KERAS_INT8NMT_GIVES(void, Store(Of<float*>(), Of<F>(), Part()));
  KERAS_INT8NMT_GIVES(void, Store(Of<int32_t*>(), Of<I>(), Full()));
  KERAS_INT8NMT_GIVES(void, StoreBytes(Of<void*>(), Of<I>(), Part()));
  KERAS_INT8NMT_GIVES(float, TreeSum(Of<F>()));
  KERAS_INT8NMT_GIVES(float, LargestLane(Of<F>()));
  KERAS_INT8NMT_GIVES(I, EvenBytes(Of<I>()));
  KERAS_INT8NMT_GIVES(I, OddBytes(Of<I>()));
  KERAS_INT8NMT_GIVES(I, PairProducts(Of<I>(), Of<I>()));
  KERAS_INT8NMT_GIVES(void, TransposeBytes(Of<const RowPointers&>(), int64_t{0}, Of<I*>()));
  KERAS_INT8NMT_GIVES(void, InterleaveRows(Of<const int8_t* const*>(), int64_t{0}, Of<I*>()));
  KERAS_INT8NMT_GIVES(void, StoreColumns(Of<const I*>(), Of<int32_t*>()));
  KERAS_INT8NMT_GIVES(I, PrepareKeys(Of<I>()));
  KERAS_INT8NMT_GIVES(int32_t, PrepareKey(0));
  KERAS_INT8NMT_GIVES(int32_t, ScoreStart(Of<const int8_t*>(), int64_t{0}));
  KERAS_INT8NMT_GIVES(I, KeyDot(Of<I>(), Of<I>(), Of<const int32_t*>()));
  KERAS_INT8NMT_GIVES(I, ValueDot(Of<I>(), Of<I>(), Of<const int32_t*>()));
  static_assert(kContextRows >= 1 && kWeightWords >= 1, "simd/vectors.h: the constants");
};
#undef KERAS_INT8NMT_GIVES

template struct VectorContract<Floats, Ints, Mask>;

}  // namespace
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_SIMD_VECTORS_H_
