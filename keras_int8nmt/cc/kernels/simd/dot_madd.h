// Dot products of bytes in groups of 4, by 16-bit multiplications (no VNNI). For the
// header of an instruction set, after its vectors.
//
// A lane holds 4 signed bytes; the weights of a group are two words, each a pair of 16-bit numbers:
// those of its 1st and 3rd byte, and those of its 2nd and 4th. Probabilities are bytes where a set
// multiplies unsigned by signed ones (UnsignedPairs): two of a row are never above 256
// together (probability_codes.h), so that their products with signed bytes fit into 16 bits.
#ifndef KERAS_INT8NMT_KERNELS_SIMD_DOT_MADD_H_
#define KERAS_INT8NMT_KERNELS_SIMD_DOT_MADD_H_

namespace keras_int8nmt {
namespace {

constexpr int kWeightWords = 2;

// Weights from bytes, signed or not: 4 * groups of them.
template <class T>
INLINE void PackWeights(const T* x, int64_t groups, int32_t* weights) {
  for (int64_t g = 0; g < groups; ++g) {
    const int32_t a = x[4 * g], b = x[4 * g + 1], c = x[4 * g + 2], d = x[4 * g + 3];
    weights[2 * g] = static_cast<int32_t>((a & 0xffff) | static_cast<uint32_t>(c) << 16);
    weights[2 * g + 1] = static_cast<int32_t>((b & 0xffff) | static_cast<uint32_t>(d) << 16);
  }
}

INLINE Ints GroupDot(Ints acc, Ints bytes, const int32_t* weights) {
  return acc + (PairProducts(EvenBytes(bytes), SetInt(weights[0])) +
                PairProducts(OddBytes(bytes), SetInt(weights[1])));
}

// Keys as the panel stores them; what a row of scores starts from; one group of each product.
INLINE Ints PrepareKeys(Ints keys) { return keys; }
INLINE int32_t PrepareKey(int32_t key) { return key; }  // 4 bytes of one key
INLINE int32_t ScoreStart(const int8_t*, int64_t) { return 0; }
INLINE Ints KeyDot(Ints acc, Ints keys, const int32_t* query) { return GroupDot(acc, keys, query); }
#ifdef KERAS_INT8NMT_UNSIGNED_PAIRS
INLINE void PackWeights(const uint8_t* x, int64_t groups, int32_t* weights) {
  for (int64_t g = 0; g < groups; ++g) __builtin_memcpy(weights + 2 * g, x + 4 * g, 4);
}
INLINE Ints ValueDot(Ints acc, Ints values, const int32_t* probabilities) {
  return acc + PairProducts(UnsignedPairs(SetInt(*probabilities), values), SetInt(0x10001));
}
#else
INLINE Ints ValueDot(Ints acc, Ints values, const int32_t* probabilities) {
  return GroupDot(acc, values, probabilities);
}
#endif

}  // namespace
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_SIMD_DOT_MADD_H_
