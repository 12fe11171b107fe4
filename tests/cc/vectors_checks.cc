// What simd/vectors.h promises, lane by lane, of the set that this is compiled for.
#include SET_HEADER

#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>
#include <utility>

#include "simd/vectors.h"

// Some are used by other kernels alone.
#pragma GCC diagnostic ignored "-Wunused-function"

namespace keras_int8nmt {
namespace {

int failures = 0;

void Expect(bool fine, const char* what) {
  if (!fine && ++failures <= 20) std::printf("FAILED %s\n", what);
}

std::mt19937 engine(11);
float AnyFloat() {
  static const float special[] = {0.0f,
                                  -0.0f,
                                  0.5f,
                                  -0.5f,
                                  1.5f,
                                  2.5f,
                                  -2.5f,
                                  8388607.5f,
                                  -8388609.0f,
                                  1e-40f,
                                  3e38f,
                                  std::numeric_limits<float>::infinity(),
                                  -std::numeric_limits<float>::infinity(),
                                  std::numeric_limits<float>::quiet_NaN()};
  const uint32_t choice = engine() % 28;
  if (choice < 14) return special[choice];
  return std::uniform_real_distribution<float>(-100.0f, 100.0f)(engine);
}
float Number() { return std::uniform_real_distribution<float>(-1000.0f, 1000.0f)(engine); }
int8_t Byte() { return static_cast<int8_t>(static_cast<int>(engine() % 255) - 127); }

// 16 lanes in memory.
struct F16 {
  float x[kLanes];
};
struct I16 {
  int32_t x[kLanes];
};
F16 Make(float (*make)()) {
  F16 out;
  for (float& x : out.x) x = make();
  return out;
}
I16 AnyInts() {
  I16 out;
  for (int32_t& x : out.x) x = static_cast<int32_t>(engine());
  return out;
}
Floats In(const F16& x) { return Load(x.x, Full()); }
Ints In(const I16& x) { return Load(x.x, Full()); }
F16 Out(Floats x) {
  F16 out;
  Store(out.x, x, Full());
  return out;
}
I16 Out(Ints x) {
  I16 out;
  Store(out.x, x, Full());
  return out;
}

// Equal bits, or NaN both.
bool Same(float a, float b) {
  return std::memcmp(&a, &b, sizeof(a)) == 0 || (std::isnan(a) && std::isnan(b));
}
bool Same(int32_t a, int32_t b) { return a == b; }

template <class Lanes, class F>
void ExpectLanes(const char* what, const Lanes& lanes, F expected) {
  for (int i = 0; i < kLanes; ++i) Expect(Same(lanes.x[i], expected(i)), what);
}

int32_t Wrapped(int64_t x) { return static_cast<int32_t>(static_cast<uint32_t>(x)); }

void CheckArithmetic() {
  const F16 a = Make(AnyFloat), b = Make(AnyFloat);
  ExpectLanes("Set", Out(Set(a.x[3])), [&](int) { return a.x[3]; });
  ExpectLanes("a + b", Out(In(a) + In(b)), [&](int i) { return a.x[i] + b.x[i]; });
  ExpectLanes("a - b", Out(In(a) - In(b)), [&](int i) { return a.x[i] - b.x[i]; });
  ExpectLanes("a * b", Out(In(a) * In(b)), [&](int i) { return a.x[i] * b.x[i]; });
  ExpectLanes("a / b", Out(In(a) / In(b)), [&](int i) { return a.x[i] / b.x[i]; });
  ExpectLanes("Max", Out(Max(In(a), In(b))),
              [&](int i) { return a.x[i] > b.x[i] ? a.x[i] : b.x[i]; });
  ExpectLanes("Min", Out(Min(In(a), In(b))),
              [&](int i) { return a.x[i] < b.x[i] ? a.x[i] : b.x[i]; });
  ExpectLanes("Abs", Out(Abs(In(a))), [&](int i) { return std::fabs(a.x[i]); });
  ExpectLanes("CopySign", Out(CopySign(In(a), In(b))),
              [&](int i) { return std::copysign(a.x[i], b.x[i]); });
  ExpectLanes("Rint", Out(Rint(In(a))), [&](int i) { return std::rint(a.x[i]); });
  const F16 n = Make(Number);
  ExpectLanes("ToInts", Out(ToInts(In(n))), [&](int i) { return static_cast<int32_t>(n.x[i]); });
  const I16 p = AnyInts(), q = AnyInts();
  ExpectLanes("SetInt", Out(SetInt(p.x[5])), [&](int) { return p.x[5]; });
  ExpectLanes("whole a + b", Out(In(p) + In(q)),
              [&](int i) { return Wrapped(int64_t{p.x[i]} + q.x[i]); });
  ExpectLanes("whole a - b", Out(In(p) - In(q)),
              [&](int i) { return Wrapped(int64_t{p.x[i]} - q.x[i]); });
  ExpectLanes("ToFloats", Out(ToFloats(In(p))), [&](int i) { return static_cast<float>(p.x[i]); });
  for (int power : {-126, -3, 0, 1, 127}) {
    F16 x;
    for (float& lane : x.x) lane = power < 0 ? 2.5e3f + Number() : 1.0f + engine() % 64 / 64.0f;
    ExpectLanes("TimesPowerOfTwo",
                Out(TimesPowerOfTwo(In(x), Set(static_cast<float>(power < 0 ? power / 2 : power)))),
                [&](int i) { return std::ldexp(x.x[i], power < 0 ? power / 2 : power); });
  }
}

void CheckMasks() {
  const F16 a = Make(AnyFloat), b = Make(AnyFloat);
  uint32_t at_least = 0, unordered = 0;
  for (int i = 0; i < kLanes; ++i) {
    at_least |= static_cast<uint32_t>(a.x[i] >= b.x[i]) << i;
    unordered |= static_cast<uint32_t>(std::isnan(a.x[i]) || std::isnan(b.x[i])) << i;
  }
  const Mask least = AtLeast(In(a), In(b)), nan = Unordered(In(a), In(b));
  Expect(Bits(least) == at_least, "AtLeast");
  Expect(Bits(nan) == unordered, "Unordered");
  Expect(Bits(least | nan) == (at_least | unordered), "a | b of masks");
  Expect(Bits(NoLanes()) == 0, "NoLanes");
  Expect(Bits(FirstLanes(Full())) == 0xffff, "FirstLanes of all");
  for (int count = 1; count < kLanes; ++count) {
    Expect(Bits(FirstLanes(Part{count})) == (1u << count) - 1, "FirstLanes");
  }
  const uint32_t bits = static_cast<uint32_t>(engine());
  Expect(Bits(MaskOf(bits)) == (bits & 0xffff), "MaskOf");
  ExpectLanes("Select", Out(Select(MaskOf(bits), In(a), In(b))),
              [&](int i) { return (bits >> i & 1) != 0 ? a.x[i] : b.x[i]; });
  uint8_t bytes[kLanes], kept[kLanes];
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(engine() | 1);
  KeepBytes(bytes, bits, kept);
  for (int i = 0; i < kLanes; ++i) {
    Expect(kept[i] == ((bits >> i & 1) != 0 ? bytes[i] : 0), "KeepBytes");
  }
}

// Memory of lanes.count elements, so that the address sanitizer sees what is beyond.
template <class Lanes>
void CheckMemory(Lanes lanes, int count) {
  const F16 a = Make(AnyFloat);
  const I16 p = AnyInts();
  int8_t* bytes = new int8_t[count];
  float* floats = new float[count];
  int32_t* ints = new int32_t[count];
  for (int i = 0; i < count; ++i) {
    bytes[i] = static_cast<int8_t>(engine() % 4 == 0 ? 0 : engine());
    floats[i] = a.x[i];
    ints[i] = p.x[i];
  }
  ExpectLanes("Load", Out(Load(floats, lanes)), [&](int i) { return i < count ? a.x[i] : 0.0f; });
  ExpectLanes("Load of whole numbers", Out(Load(ints, lanes)),
              [&](int i) { return i < count ? p.x[i] : 0; });
  ExpectLanes("LoadWidened", Out(LoadWidened(bytes, lanes)),
              [&](int i) { return i < count ? int32_t{bytes[i]} : 0; });
  const auto* unsigned_bytes = reinterpret_cast<const uint8_t*>(bytes);
  ExpectLanes("LoadWidened of uint8", Out(LoadWidened(unsigned_bytes, lanes)),
              [&](int i) { return i < count ? int32_t{unsigned_bytes[i]} : 0; });
  const uint32_t mask = Bits(LoadMask(unsigned_bytes, lanes));
  for (int i = 0; i < kLanes; ++i) {
    Expect((mask >> i & 1) == (i < count && bytes[i] != 0), "LoadMask");
  }
  float stored[kLanes + 1];
  std::memset(stored, 0x55, sizeof(stored));
  const float before = stored[kLanes];
  Store(stored, In(a), lanes);
  for (int i = 0; i <= kLanes; ++i) {
    Expect(Same(stored[i], i < count ? a.x[i] : before), "Store");
  }
  uint8_t low[kLanes + 1];
  std::memset(low, 0x55, sizeof(low));
  StoreBytes(low, In(p), lanes);
  for (int i = 0; i <= kLanes; ++i) {
    Expect(low[i] == (i < count ? static_cast<uint8_t>(p.x[i]) : 0x55), "StoreBytes");
  }
  delete[] bytes;
  delete[] floats;
  delete[] ints;
}

void CheckAcross() {
  const F16 a = Make(Number);
  F16 p = a;
  float largest = a.x[0];
  for (float x : a.x) largest = x > largest ? x : largest;
  for (int half = 8; half >= 1; half /= 2) {
    for (int i = 0; i < half; ++i) p.x[i] = p.x[i] + p.x[i + half];
  }
  Expect(Same(TreeSum(In(a)), p.x[0]), "TreeSum");
  Expect(Same(LargestLane(In(a)), largest), "LargestLane");
}

int32_t ByteOf(int32_t lane, int i) {
  return static_cast<int8_t>(static_cast<uint32_t>(lane) >> 8 * i);
}
int32_t Pair(int32_t low, int32_t high) {
  return static_cast<int32_t>((static_cast<uint32_t>(low) & 0xffff) | static_cast<uint32_t>(high)
                                                                          << 16);
}
int32_t Half(int32_t lane, int i) {
  return static_cast<int16_t>(static_cast<uint32_t>(lane) >> 16 * i);
}

void CheckBytes() {
  const I16 a = AnyInts(), b = AnyInts();
  ExpectLanes("EvenBytes", Out(EvenBytes(In(a))),
              [&](int i) { return Pair(ByteOf(a.x[i], 0), ByteOf(a.x[i], 2)); });
  ExpectLanes("OddBytes", Out(OddBytes(In(a))),
              [&](int i) { return Pair(ByteOf(a.x[i], 1), ByteOf(a.x[i], 3)); });
  const Ints even = EvenBytes(In(a)), odd = OddBytes(In(b));
  const I16 x = Out(even), y = Out(odd);
  ExpectLanes("PairProducts", Out(PairProducts(even, odd)), [&](int i) {
    return Half(x.x[i], 0) * Half(y.x[i], 0) + Half(x.x[i], 1) * Half(y.x[i], 1);
  });
}

void CheckRearrangements() {
  int8_t rows[kLanes][24];
  RowPointers pointers;
  for (int r = 0; r < kLanes; ++r) {
    for (int8_t& byte : rows[r]) byte = Byte();
    pointers.at[r] = rows[r];
  }
  Ints groups[4];
  TransposeBytes(pointers, 5, groups);
  for (int g = 0; g < 4; ++g) {
    ExpectLanes("TransposeBytes", Out(groups[g]), [&](int j) {
      int32_t word;
      std::memcpy(&word, rows[j] + 5 + 4 * g, 4);
      return word;
    });
  }
  for (int columns : {1, 3, 16, 33, 63, 64}) {
    int8_t four[4][64];
    const int8_t* starts[4];
    for (int r = 0; r < 4; ++r) {
      for (int8_t& byte : four[r]) byte = Byte();
      starts[r] = four[r] + 64 - columns;  // what is after the columns is not read
    }
    Ints mixed[4];
    InterleaveRows(starts, columns, mixed);
    int32_t ordered[64];
    StoreColumns(mixed, ordered);
    for (int c = 0; c < 64; ++c) {
      for (int r = 0; r < 4; ++r) {
        Expect(ByteOf(ordered[c], r) == (c < columns ? starts[r][c] : 0), "InterleaveRows");
      }
    }
  }
}

// Sums over groups of 4, as attention makes them.
void CheckDots() {
  constexpr int kGroups = 9;
  int8_t query[4 * kGroups], lanes[kGroups][kLanes][4];
  uint8_t probabilities[4 * kGroups];
  for (int8_t& x : query) x = Byte();
  // As a softmax gives them: two that are next to each other are at most 256 together.
  for (int i = 0; i < 4 * kGroups; i += 2) {
    probabilities[i] = static_cast<uint8_t>(engine() % 4 == 0 ? 255 : engine());
    const uint32_t most = probabilities[i] == 0 ? 255 : 256 - probabilities[i];
    probabilities[i + 1] = static_cast<uint8_t>(engine() % 4 == 0 ? most : engine() % (most + 1));
    if (engine() % 2 == 0) std::swap(probabilities[i], probabilities[i + 1]);
  }
  for (auto& group : lanes) {
    for (auto& lane : group) {
      for (int8_t& x : lane) x = Byte();
    }
  }
  int32_t weights[kGroups * kWeightWords], unsigned_weights[kGroups * kWeightWords];
  PackWeights(query, kGroups, weights);
  PackWeights(probabilities, kGroups, unsigned_weights);
  Ints scores = SetInt(ScoreStart(query, 4 * kGroups)), context = SetInt(7);
  int32_t expected[kLanes] = {}, expected_context[kLanes] = {};
  for (int g = 0; g < kGroups; ++g) {
    I16 words;
    std::memcpy(words.x, lanes[g], sizeof(words.x));
    const Ints prepared = PrepareKeys(In(words));
    ExpectLanes("PrepareKey", Out(prepared), [&](int i) { return PrepareKey(words.x[i]); });
    scores = KeyDot(scores, prepared, weights + g * kWeightWords);
    context = ValueDot(context, In(words), unsigned_weights + g * kWeightWords);
    for (int j = 0; j < kLanes; ++j) {
      for (int i = 0; i < 4; ++i) {
        expected[j] += query[4 * g + i] * lanes[g][j][i];
        expected_context[j] += probabilities[4 * g + i] * lanes[g][j][i];
      }
    }
  }
  ExpectLanes("KeyDot", Out(scores), [&](int i) { return expected[i]; });
  ExpectLanes("ValueDot", Out(context), [&](int i) { return expected_context[i] + 7; });
}

}  // namespace
}  // namespace keras_int8nmt

int CheckVectors() {
  using namespace keras_int8nmt;
  for (int round = 0; round < 200; ++round) {
    CheckArithmetic();
    CheckMasks();
    CheckMemory(Full(), kLanes);
    for (int count = 1; count < kLanes; ++count) CheckMemory(Part{count}, count);
    CheckAcross();
    CheckBytes();
    CheckRearrangements();
    CheckDots();
  }
  return failures;
}
