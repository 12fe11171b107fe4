// Every back end against plain loops, bit for bit; packed blobs that must be refused.
//
// The instruction set in force comes from KERAS_INT8NMT_ISA and ONEDNN_MAX_CPU_ISA; ctest runs this
// once for each. Exits with 77 when this CPU has not the set. Buffers end at an unmapped page, so
// that a read or write too far is a crash here and not a chance elsewhere.
#include "gemm/gemm.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "gemm/group_pairs.h"

#ifdef KERAS_INT8NMT_WITH_ONEDNN
#include "raw_onednn.h"
#endif

namespace keras_int8nmt {

#ifdef KERAS_INT8NMT_WITH_WIDE_MADD
const GemmBackend& WideMadd();  // wide_madd.cc
#endif

namespace {

int failures = 0;

void Fail(const std::string& what) {
  if (++failures <= 20) std::printf("FAILED %s\n", what.c_str());
}

// Memory whose last byte is followed by a page that may not be touched.
class Guarded {
 public:
  explicit Guarded(size_t bytes) {
    const size_t page = sysconf(_SC_PAGESIZE);
    const size_t body = (bytes + page - 1) / page * page;
    length_ = body + page;
    base_ = static_cast<char*>(
        mmap(nullptr, length_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (base_ == MAP_FAILED || mprotect(base_ + body, page, PROT_NONE) != 0) std::abort();
    data_ = base_ + body - bytes;
  }
  ~Guarded() { munmap(base_, length_); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  template <typename T>
  T* as() {
    return reinterpret_cast<T*>(data_);
  }

 private:
  char* base_ = nullptr;
  char* data_ = nullptr;
  size_t length_ = 0;
};

struct Size {
  int64_t m, k, n;
};

std::vector<Size> Sizes() {
  std::vector<Size> sizes = {{7, 8192, 33},  {57, 8000, 35}, {2, 65536, 3},
                             {300, 64, 40},  {1000, 24, 17}, {33, 512, 200},
                             {1, 513, 2049}, {63, 100, 1},   {385, 31, 65}};
  for (int64_t base : {1, 2, 4, 8, 16, 32, 64, 128, 256}) {
    for (int64_t side : {base - 1, base, base + 1}) {
      if (side < 1) continue;
      sizes.push_back({side, 37, 19});
      sizes.push_back({5, side, 21});
      sizes.push_back({9, 23, side});
      sizes.push_back({1, side, side});
    }
  }
  return sizes;
}

struct Case {
  explicit Case(const Size& size, std::mt19937* random)
      : size(size), weights(size.k * size.n), scales(size.n), bias(size.n) {
    std::uniform_int_distribution<int> byte(-127, 127);
    std::uniform_real_distribution<float> real(-1, 1);
    // Every third case has only extreme weights, where saturating products would show; in half of
    // them the widest of those that a back end may multiply in another way.
    const bool extreme = size.m % 3 == 0;
    // And some have weights of 7 bits alone, of which more can be added in 16 bits.
    const bool narrow = size.m % 5 == 0 || size.k % 5 == 0;
    const int largest = narrow ? 63 : size.m % 2 == 0 ? 64 : 127;
    for (int8_t& w : weights) {
      const int value = narrow ? byte(*random) / 2 : byte(*random);
      w = static_cast<int8_t>(extreme ? (value < 0 ? -largest : largest) : value);
    }
    const float spread = 2e-3f / std::sqrt(static_cast<float>(size.k));
    for (int64_t j = 0; j < size.n; ++j) {
      scales[j] = spread * (1.5f + real(*random));
      bias[j] = 20 * real(*random);
      if (j % 11 == 5) bias[j] = -0.0f;
      if (j % 11 == 7) scales[j] = -scales[j];
    }
  }

  void FillInput(Type type, uint8_t* a, std::mt19937* random) const {
    std::uniform_int_distribution<int> byte(type == Type::kUint8 ? 0 : -127,
                                            type == Type::kUint8 ? 255 : 127);
    for (int64_t i = 0; i < size.m * size.k; ++i) a[i] = static_cast<uint8_t>(byte(*random));
    // Rows of zeros and of extremes.
    std::memset(a, 0, size.m > 1 ? size.k : 0);
    std::memset(a + (size.m - 1) * size.k, type == Type::kUint8 ? 255 : 0x81, size.k);
  }

  Size size;
  std::vector<int8_t> weights;
  std::vector<float> scales, bias;
};

// Scales of rows, or none.
std::vector<std::vector<float>> RowScales(int64_t m) {
  std::vector<float> scales(m);
  for (int64_t i = 0; i < m; ++i) scales[i] = 0.013f * static_cast<float>(1 + i * 7 % 97);
  return {{}, scales};
}

Epilogue MakeEpilogue(const Case& test, const std::vector<float>& row_scales) {
  Epilogue epilogue;
  epilogue.scales = test.scales.data();
  epilogue.bias = test.bias.data();
  if (!row_scales.empty()) epilogue.row_scales = row_scales.data();
  return epilogue;
}

std::vector<int32_t> PlainSums(const Case& test, Type type, const uint8_t* a) {
  const Size& s = test.size;
  std::vector<int32_t> acc(s.m * s.n, 0);
  for (int64_t i = 0; i < s.m; ++i) {
    for (int64_t l = 0; l < s.k; ++l) {
      const uint8_t byte = a[i * s.k + l];
      const int32_t x = type == Type::kUint8 ? byte : static_cast<int8_t>(byte);
      for (int64_t j = 0; j < s.n; ++j) acc[i * s.n + j] += x * test.weights[l * s.n + j];
    }
  }
  return acc;
}

std::string Name(const GemmBackend& backend, const Size& s, Type a_type, const Epilogue& epilogue) {
  return std::string(backend.name) + " m" + std::to_string(s.m) + " k" + std::to_string(s.k) +
         " n" + std::to_string(s.n) + " input " + std::to_string(static_cast<int>(a_type)) +
         " output " + std::to_string(static_cast<int>(epilogue.output.type)) + " activation " +
         std::to_string(static_cast<int>(epilogue.activation)) + " out_scale " +
         std::to_string(epilogue.output.scale) +
         (epilogue.row_scales == nullptr ? "" : " scales of rows");
}

std::vector<Output> Outputs() {
  return {{Type::kFloat32, 1.0f, 0}, {Type::kInt8, 1.0f, 0},    {Type::kUint8, 1.0f, 0},
          {Type::kInt8, 3.7f, -5},   {Type::kUint8, 2.3f, 101}, {Type::kUint8, 1.0f, 128}};
}

void CheckEpilogues(const GemmBackend& backend, const PackedInfo& packed, const Case& test,
                    Type a_type, const uint8_t* a) {
  const Size& s = test.size;
  const std::vector<int32_t> acc = PlainSums(test, a_type, a);
  const auto all = RowScales(s.m);
  for (int i = 0; i < 10; ++i) {
    for (const Output& output : Outputs()) {
      Epilogue epilogue = MakeEpilogue(test, all[i / 5]);
      epilogue.activation = static_cast<Activation>(i % 5);
      epilogue.output = output;
      // Of codes with a scale of their own one kind is enough there.
      if (i >= 5 && output.zero_point > 0) continue;
      const size_t bytes = s.m * s.n * (output.type == Type::kFloat32 ? 4 : 1);
      std::vector<char> expected(bytes);
      KernelsFor("reference")->epilogue(acc.data(), s.m, s.n, epilogue, expected.data());
      Guarded out(bytes);
      backend.multiply({a, a_type, s.m, packed, epilogue, out.as<char>(), {}});
      if (std::memcmp(out.as<char>(), expected.data(), bytes) != 0) {
        Fail(Name(backend, s, a_type, epilogue));
      }
    }
  }
}

void CheckSize(const GemmBackend& backend, const Size& size, std::mt19937* random) {
  const Case test(size, random);
  const size_t bytes = PackedBytes(backend, size.k, size.n);
  Guarded blob(bytes);
  Pack(backend, test.weights.data(), size.k, size.n, blob.as<char>());
  const PackedInfo packed = ReadPacked(blob.as<char>(), bytes);
  if (packed.k != size.k || packed.n != size.n || packed.backend != &backend) Fail("ReadPacked");
  std::vector<int8_t> back(test.weights.size());
  backend.unpack(packed.body, size.k, size.n, back.data());
  if (back != test.weights) Fail(std::string(backend.name) + " unpack");
  for (Type a_type : {Type::kInt8, Type::kUint8}) {
    Guarded a(size.m * size.k);
    test.FillInput(a_type, a.as<uint8_t>(), random);
    CheckEpilogues(backend, packed, test, a_type, a.as<uint8_t>());
  }
}

// Weights of which the groups of 4 rows take turns at two kinds, and the inputs that make of them
// what is farthest from zero: sums of two groups in 16 bits hold them by a hair, or would not.
void CheckSumsOfTwoGroups(const GemmBackend& backend, std::mt19937* random) {
  struct Kinds {
    int8_t even[2], odd[2];
  };
  // By GroupLoads 128 and 127, 128 and 129, 64 and 64, 64 and 65, and so below zero.
  const Kinds all[] = {{{63, 63}, {63, 62}},     {{63, 63}, {64, 63}},     {{32, 32}, {32, 32}},
                       {{32, 32}, {32, 33}},     {{-64, -64}, {-64, -63}}, {{-64, -64}, {-64, -65}},
                       {{-32, -32}, {-32, -32}}, {{-32, -32}, {-33, -32}}};
  for (const Kinds& kinds : all) {
    for (const Size& size : {Size{1, 64, 64}, Size{3, 72, 33}, Size{5, 512, 100}, Size{8, 60, 7}}) {
      Case test(size, random);
      for (int64_t i = 0; i < size.k; ++i) {
        for (int64_t j = 0; j < size.n; ++j) {
          test.weights[i * size.n + j] = (i / 4 % 2 == 0 ? kinds.even : kinds.odd)[i % 2];
        }
      }
      Guarded blob(PackedBytes(backend, size.k, size.n));
      Pack(backend, test.weights.data(), size.k, size.n, blob.as<char>());
      const PackedInfo packed = ReadPacked(blob.as<char>(), PackedBytes(backend, size.k, size.n));
      for (Type a_type : {Type::kInt8, Type::kUint8}) {
        for (int input : {0, 255, 127, 128, 129}) {
          std::vector<uint8_t> a(size.m * size.k, static_cast<uint8_t>(input));
          CheckEpilogues(backend, packed, test, a_type, a.data());
        }
      }
    }
  }
}

// Bell-shaped weights, as trained models have them, of 8 or of 7 bits.
void CheckBellShapedWeights(const GemmBackend& backend, std::mt19937* random) {
  std::uniform_int_distribution<int> byte(-127, 127);
  for (int bits : {8, 7}) {
    for (const Size& size :
         {Size{1, 512, 96}, Size{2, 130, 64}, Size{6, 1000, 200}, Size{31, 256, 32}}) {
      Case test(size, random);
      for (int8_t& w : test.weights) {
        const int sum = byte(*random) + byte(*random) + byte(*random);
        w = static_cast<int8_t>(sum / (bits == 8 ? 3 : 6));
      }
      const size_t bytes = PackedBytes(backend, size.k, size.n);
      Guarded blob(bytes);
      Pack(backend, test.weights.data(), size.k, size.n, blob.as<char>());
      const PackedInfo packed = ReadPacked(blob.as<char>(), bytes);
      std::vector<int8_t> back(test.weights.size());
      backend.unpack(packed.body, size.k, size.n, back.data());
      if (back != test.weights) Fail(std::string(backend.name) + " unpack of groups in pairs");
      for (Type a_type : {Type::kInt8, Type::kUint8}) {
        Guarded a(size.m * size.k);
        test.FillInput(a_type, a.as<uint8_t>(), random);
        CheckEpilogues(backend, packed, test, a_type, a.as<uint8_t>());
      }
    }
  }
}

// Each group is in the order once, and what is paired fits: all of bell-shaped weights but for a
// few, none of weights that are as often large as small.
void CheckPairsOfGroups(std::mt19937* random) {
  constexpr int64_t kGroups = 128, kColumns = 32;
  std::uniform_int_distribution<int> byte(-127, 127);
  for (bool narrow : {false, true}) {
    for (int draws : {1, 3}) {
      const int64_t count = panels::GroupLoads::Count(kColumns, narrow);
      const int limit = narrow ? panels::GroupLoads::kNarrowLimit : panels::GroupLoads::kWideLimit;
      std::vector<int8_t> weights(kGroups * kColumns * 4);
      for (int8_t& w : weights) {
        int sum = 0;
        for (int draw = 0; draw < draws; ++draw) sum += byte(*random);
        w = static_cast<int8_t>(sum / draws / (narrow ? 2 : 1));
      }
      std::vector<uint8_t> loads(kGroups * count);
      for (int64_t g = 0; g < kGroups; ++g) {
        panels::GroupLoads::Find(&weights[g * kColumns * 4], kColumns, narrow, &loads[g * count]);
      }
      std::vector<int32_t> order(kGroups);
      const int64_t pairs = panels::PairGroups(loads.data(), kGroups, count, limit, order.data());
      if (draws == 1 ? pairs != 0 : pairs < kGroups * 9 / 20) Fail("how many groups have partners");
      for (int64_t pair = 0; pair < pairs; ++pair) {
        for (int64_t i = 0; i < count; ++i) {
          if (loads[order[2 * pair] * count + i] + loads[order[2 * pair + 1] * count + i] > limit) {
            Fail("two groups that do not fit");
          }
        }
      }
      if (pairs == 0 && !std::is_sorted(order.begin(), order.end())) Fail("an order without pairs");
      std::sort(order.begin(), order.end());
      for (int64_t g = 0; g < kGroups; ++g) {
        if (order[g] != g) Fail("a group that is not there once");
      }
    }
  }
}

#ifdef KERAS_INT8NMT_WITH_ONEDNN

// Where oneDNN's own sums saturate the back end must say so, and narrow weights need nothing: then
// a model with such weights takes one product. Its answers are exact in any case (CheckSize).
void CheckSaturation(const GemmBackend& backend) {
  const bool saturates = !RawSumsAreExact(127) || !RawSumsAreExact(-127);
  std::printf("oneDNN's sums of 255 x 127 %s\n", saturates ? "saturate" : "are exact");
  if ((backend.weight_bits == 7) != saturates) Fail("bits of weights");
  for (int8_t weight : {63, -63, 64, -64}) {
    if (!RawSumsAreExact(weight)) Fail("narrow weights saturate");
  }
}

#endif

// A row gives the same bits alone and among any others, on one thread and on two, in any thread.
void CheckRowsAndThreads(const GemmBackend& backend, std::mt19937* random) {
  const Size size = {150, 96, 70};
  const Case test(size, random);
  const size_t bytes = PackedBytes(backend, size.k, size.n);
  std::vector<char> blob(bytes);
  Pack(backend, test.weights.data(), size.k, size.n, blob.data());
  const PackedInfo packed = ReadPacked(blob.data(), bytes);
  std::vector<uint8_t> a(size.m * size.k);
  test.FillInput(Type::kUint8, a.data(), random);
  Epilogue epilogue = MakeEpilogue(test, {});
  epilogue.activation = Activation::kGelu;
  std::vector<float> all(size.m * size.n), row(size.n), other(all.size());
  const auto multiply = [&](int64_t m, int64_t first, float* out) {
    backend.multiply({a.data() + first * size.k, Type::kUint8, m, packed, epilogue, out, {}});
  };
  multiply(size.m, 0, all.data());
  for (int64_t i = 0; i < size.m; ++i) {
    multiply(1, i, row.data());
    if (std::memcmp(row.data(), all.data() + i * size.n, size.n * 4) != 0) Fail("a row alone");
  }
  for (int threads : {2, 1}) {
    SetGemmThreads(threads);
    std::thread thread([&] { multiply(size.m, 0, other.data()); });
    thread.join();
    if (other != all) Fail("in a thread");
    multiply(size.m, 0, other.data());
    if (other != all) Fail("on " + std::to_string(threads) + " threads");
  }
}

void ExpectRefused(const std::vector<char>& blob, const std::string& what) {
  try {
    ReadPacked(blob.data(), blob.size());
    Fail("accepted: " + what);
  } catch (const std::invalid_argument&) {
  }
}

void CheckRefusals(const GemmBackend& backend) {
  const std::vector<int8_t> weights(7 * 5, 3);
  std::vector<char> good(PackedBytes(backend, 7, 5));
  Pack(backend, weights.data(), 7, 5, good.data());
  for (size_t byte = 0; byte < 64; ++byte) {
    std::vector<char> bad = good;
    bad[byte] ^= 1;
    ExpectRefused(bad, "byte " + std::to_string(byte) + " of the header changed");
  }
  for (size_t size : {size_t{0}, size_t{1}, size_t{63}, size_t{64}, good.size() - 1}) {
    ExpectRefused({good.begin(), good.begin() + size}, "cut to " + std::to_string(size));
  }
  std::vector<char> longer = good;
  longer.push_back(0);
  ExpectRefused(longer, "one byte more");
  for (size_t byte = 64; byte < good.size(); byte += 1 + byte % 7) {
    std::vector<char> bad = good;
    bad[byte] ^= 64;
    ExpectRefused(bad, "byte " + std::to_string(byte) + " of the body changed");
    ReadPacked(good.data(), good.size());
  }
}

// The check of a header whose bytes before it were changed, as whoever knows the format makes it.
void Seal(std::vector<char>* blob) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (size_t i = 0; i < 56; ++i) {
    hash = (hash ^ static_cast<unsigned char>((*blob)[i])) * 0x100000001b3u;
  }
  std::memcpy(blob->data() + 56, &hash, sizeof(hash));
}

void Write(std::vector<char>* blob, size_t at, int64_t number) {
  std::memcpy(blob->data() + at, &number, sizeof(number));
}

// A header that fits itself but no weights: whoever made it up knows its check.
void CheckHostileHeaders(const GemmBackend& backend) {
  constexpr size_t kRows = 24, kColumns = 32, kBytes = 40, kBodyCheck = 48;
  const std::vector<int8_t> weights(7 * 5, 3);
  std::vector<char> good(PackedBytes(backend, 7, 5));
  Pack(backend, weights.data(), 7, 5, good.data());
  for (int64_t most : {int64_t{8}, int64_t{66001}, INT64_MAX, int64_t{-1}, int64_t{0},
                       int64_t{1} << 32, INT64_MIN}) {
    for (size_t at : {kRows, kColumns}) {
      // A column more may be as many bytes.
      const int64_t number = at == kColumns && most == 8 ? 500 : most == 8 ? 640 : most;
      std::vector<char> bad = good;
      Write(&bad, at, number);
      Seal(&bad);
      ExpectRefused(bad, std::to_string(number) + " at byte " + std::to_string(at));
    }
  }
  std::vector<char> longer = good;
  longer.resize(good.size() + 64);
  Write(&longer, kBytes, static_cast<int64_t>(longer.size()) - 64);
  Write(&longer, kBodyCheck, 0);
  Seal(&longer);
  ExpectRefused(longer, "a longer body than its rows and columns need");
  // Of a release that had no check of the body.
  std::vector<char> old = good;
  Write(&old, kBodyCheck, 0);
  Seal(&old);
  if (ReadPacked(old.data(), old.size()).k != 7) Fail("a blob of an earlier release");
}

// Bodies of our own kernels with any numbers in them, and headers that say that they were not
// checked: refused, or computed with inside their bounds, at the end of which memory ends.
void CheckHostileBodies(const GemmBackend& backend) {
  constexpr size_t kBodyCheck = 48;
  const int64_t m = 3, k = 70, n = 40;
  const std::vector<int8_t> weights(k * n, 3);
  std::vector<char> good(PackedBytes(backend, k, n));
  Pack(backend, weights.data(), k, n, good.data());
  Write(&good, kBodyCheck, 0);
  Guarded a(m * k);
  std::memset(a.as<char>(), 1, m * k);
  const std::vector<float> scales(n, 1.0f), bias(n, 0.0f);
  Epilogue epilogue;
  epilogue.scales = scales.data();
  epilogue.bias = bias.data();
  int refused = 0;
  for (int32_t number : {-1, 19, 1 << 20, INT32_MAX, INT32_MIN}) {
    for (size_t at = 64; at + sizeof(number) <= good.size(); at += sizeof(number)) {
      std::vector<char> bad = good;
      std::memcpy(bad.data() + at, &number, sizeof(number));
      Seal(&bad);
      Guarded blob(bad.size());
      std::memcpy(blob.as<char>(), bad.data(), bad.size());
      try {
        const PackedInfo packed = ReadPacked(blob.as<char>(), bad.size());
        std::vector<float> out(m * n);
        backend.multiply({a.as<char>(), Type::kInt8, m, packed, epilogue, out.data(), {}});
        std::vector<int8_t> back(k * n);
        backend.unpack(packed.body, k, n, back.data());
      } catch (const std::invalid_argument&) {
        ++refused;
      }
    }
  }
  if ((refused > 0) != (backend.is_sound != nullptr)) Fail("which hostile bodies are refused");
}

// A large body is checked once where it lies, by each thread; a damaged one at another place is not
// taken for it.
void CheckLargeBodies(const GemmBackend& backend) {
  const int64_t k = 300, n = 400;
  const std::vector<int8_t> weights(k * n, 5);
  std::vector<char> good(PackedBytes(backend, k, n));
  Pack(backend, weights.data(), k, n, good.data());
  for (int i = 0; i < 2; ++i) ReadPacked(good.data(), good.size());
  std::vector<char> bad = good;
  bad[bad.size() / 2] ^= 1;
  for (int i = 0; i < 2; ++i) ExpectRefused(bad, "a large body changed");
  good[good.size() / 2] ^= 1;
  std::thread([&] { ExpectRefused(good, "a body that another thread had read before"); }).join();
}

// A blob may lie anywhere.
void CheckAddresses(const GemmBackend& backend, std::mt19937* random) {
  const Size size = {3, 70, 90};
  const Case test(size, random);
  std::vector<uint8_t> a(size.m * size.k);
  test.FillInput(Type::kInt8, a.data(), random);
  const size_t bytes = PackedBytes(backend, size.k, size.n);
  std::vector<char> blob(bytes), memory(bytes + 64);
  Pack(backend, test.weights.data(), size.k, size.n, blob.data());
  std::vector<float> expected;
  const Epilogue epilogue = MakeEpilogue(test, {});
  for (size_t offset : {0, 4, 8, 1, 31}) {
    std::memcpy(memory.data() + offset, blob.data(), bytes);
    const PackedInfo packed = ReadPacked(memory.data() + offset, bytes);
    std::vector<float> out(size.m * size.n);
    backend.multiply({a.data(), Type::kInt8, size.m, packed, epilogue, out.data(), {}});
    if (expected.empty()) expected = out;
    if (out != expected) Fail("a blob at " + std::to_string(offset));
    std::vector<int8_t> unpacked(size.k * size.n);
    backend.unpack(packed.body, size.k, size.n, unpacked.data());
    if (unpacked != test.weights) Fail("unpacked from " + std::to_string(offset));
  }
}

std::vector<const char*> BackendNames() {
  return {
#define GEMM_BACKEND(id, name, get, by_default) name,
#include "gemm/backends.def"
#undef GEMM_BACKEND
  };
}

void CheckNames() {
  try {
    GemmFor("abacus");
    Fail("an unknown back end");
  } catch (const std::runtime_error& error) {
    for (const char* name : BackendNames()) {
      if (std::strstr(error.what(), name) == nullptr) Fail(error.what());
    }
  }
}

// Threads that share a product write each column once.
void CheckShares(const GemmBackend& backend, std::mt19937* random) {
  for (const Size& size : {Size{5, 70, 1}, Size{7, 64, 200}, Size{33, 37, 1000}}) {
    const Case test(size, random);
    std::vector<char> blob(PackedBytes(backend, size.k, size.n));
    Pack(backend, test.weights.data(), size.k, size.n, blob.data());
    const PackedInfo packed = ReadPacked(blob.data(), blob.size());
    std::vector<uint8_t> a(size.m * size.k);
    test.FillInput(Type::kInt8, a.data(), random);
    for (const std::vector<float>& row_scales : RowScales(size.m)) {
      const Epilogue epilogue = MakeEpilogue(test, row_scales);
      std::vector<float> whole(size.m * size.n), shared(size.m * size.n, -1e30f);
      GemmArgs args = {a.data(), Type::kInt8, size.m, packed, epilogue, whole.data(), {}};
      backend.multiply(args);
      args.out = shared.data();
      for (int count : {2, 3, 5}) {
        for (int i = 0; i < count; ++i) {
          args.share = {i, count};
          backend.multiply(args);
        }
        if (whole != shared) Fail("shares of a product");
      }
    }
  }
}

// What is kept of a product's columns is what the kernel finds in its float32 results.
void CheckTopK(const GemmBackend& backend, bool rows, std::mt19937* random) {
  for (const Size& size : {Size{1, 64, 7}, Size{13, 37, 512}, Size{40, 130, 3001}}) {
    const Case test(size, random);
    std::vector<char> blob(PackedBytes(backend, size.k, size.n));
    Pack(backend, test.weights.data(), size.k, size.n, blob.data());
    const PackedInfo packed = ReadPacked(blob.data(), blob.size());
    std::vector<uint8_t> a(size.m * size.k);
    test.FillInput(Type::kUint8, a.data(), random);
    const std::vector<float> row_scales = RowScales(size.m)[rows];
    const Epilogue epilogue = MakeEpilogue(test, row_scales);
    std::vector<float> logits(size.m * size.n);
    GemmArgs args = {a.data(), Type::kUint8, size.m, packed, epilogue, logits.data(), {}};
    backend.multiply(args);
    const int32_t k = 6, forbidden = static_cast<int32_t>(size.n) - 1;
    std::vector<float> best(size.m * k), log_sums(size.m);
    std::vector<int32_t> ids(size.m * k);
    ActiveKernels().top_k(logits.data(), size.m, size.n, k, forbidden, best.data(), ids.data(),
                          log_sums.data());
    const int64_t chunks = (size.n + kLogSumChunk - 1) / kLogSumChunk;
    std::vector<float> found(size.m * k), maxima(size.m * chunks), sums(size.m * chunks),
        watched(size.m);
    std::vector<int32_t> found_ids(size.m * k), counts(size.m);
    std::vector<uint8_t> finite(size.m);
    const ProductTopK result = {k,
                                forbidden,
                                5,
                                found.data(),
                                found_ids.data(),
                                counts.data(),
                                watched.data(),
                                maxima.data(),
                                sums.data(),
                                finite.data()};
    args.out = nullptr;
    backend.top_k(args, result);
    if (found != best || found_ids != ids) Fail("the best columns of a product");
    for (int64_t r = 0; r < size.m; ++r) {
      float log_sum = 0.0f;
      if (!ActiveKernels().log_sum(&maxima[r * chunks], &sums[r * chunks], chunks, &log_sum) ||
          log_sum != log_sums[r] || watched[r] != logits[r * size.n + 5] || !finite[r]) {
        Fail("log-sum-exp of a product's columns");
      }
    }
  }
}

// Whether the instruction set in force, by itself, has what a back end needs.
bool MustBe(const std::string& backend) {
  const std::string isa = ActiveKernels().isa;
  const bool is_arm = isa.rfind("neon", 0) == 0;
  if (backend == "vnni") return isa == "avx512_vnni" || isa == "avx_vnni";
  if (backend == "madd") return isa.rfind("avx", 0) == 0;
  if (backend == "i8mm") return isa == "neon_i8mm";
  if (backend == "dotprod") return is_arm && isa != "neon";
  if (backend == "neon") return is_arm;
  return backend != "mkl";
}

int Run() {
  const char* isa = std::getenv("KERAS_INT8NMT_ISA");
  try {
    std::printf("instruction set: %s\n", ActiveKernels().isa);
  } catch (const std::runtime_error& error) {
    std::printf("SKIPPED instruction set %s: %s\n", isa ? isa : "", error.what());
    return 77;
  }
  CheckNames();
  std::mt19937 drawn(11);
  CheckPairsOfGroups(&drawn);
  std::vector<const char*> names = BackendNames();
#ifdef KERAS_INT8NMT_WITH_WIDE_MADD
  if (std::strcmp(ActiveKernels().isa, "avx2") == 0) {
    RegisterGemm(1000, "wide madd", WideMadd);
    names.push_back("wide madd");
  }
#endif
  const bool vnni = std::strcmp(ActiveKernels().isa, "avx512_vnni") == 0;
  for (const char* name : names) {
    const GemmBackend* backend = nullptr;
    try {
      backend = &GemmFor(name);
    } catch (const std::runtime_error& error) {
      std::printf("SKIPPED back end %s: %s\n", name, error.what());
      // MKL is optional, and our own kernels need their instruction sets.
      if (MustBe(name)) Fail(error.what());
      continue;
    }
    const int before = failures;
    // Slower ways are exact too, so only this shows that the fast one is lost.
    if (vnni && std::strcmp(name, "onednn") == 0 && std::strcmp(backend->way, "fused") != 0) {
      Fail(std::string("oneDNN runs as ") + backend->way + ", expected fused");
    }
    std::mt19937 random(7);
    for (const Size& size : Sizes()) CheckSize(*backend, size, &random);
    CheckSumsOfTwoGroups(*backend, &random);
    CheckBellShapedWeights(*backend, &random);
    CheckRowsAndThreads(*backend, &random);
    CheckRefusals(*backend);
    CheckHostileHeaders(*backend);
    if (backend->top_k != nullptr) CheckHostileBodies(*backend);
    CheckLargeBodies(*backend);
    CheckAddresses(*backend, &random);
#ifdef KERAS_INT8NMT_WITH_ONEDNN
    if (std::strcmp(name, "onednn") == 0) CheckSaturation(*backend);
#endif
    if (backend->shares) CheckShares(*backend, &random);
    if (backend->top_k != nullptr) {
      CheckTopK(*backend, false, &random);
      CheckTopK(*backend, true, &random);
    }
    std::printf("ran back end %s (%s): %d failures\n", name, backend->way, failures - before);
  }
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace keras_int8nmt

int main() { return keras_int8nmt::Run(); }
