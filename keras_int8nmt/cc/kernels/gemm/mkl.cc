// The MKL back end, loaded at run time: cblas_gemm_s8u8s32 with packed weights.
//
// MKL runs on one thread here. In row-major order its left side is uint8 and its right side int8,
// so int8 inputs are shifted by 128 and 128 times the columns' sums is taken off again. Like other
// libraries it may add pairs of products in saturating 16 bits on a CPU without VNNI; a probe
// finds out and then inputs are split (see SplitInput). On some CPUs MKL's packed form takes ten
// times the weights' bytes and is not faster; there the weights are kept as they are.
#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "gemm/backends.h"

namespace keras_int8nmt {
namespace {

// MKL's C interface with 32-bit integers, as its manual gives it.
constexpr int kRowMajor = 101, kNoTrans = 111, kPacked = 151, kMatrixB = 162, kFixOffset = 173;
constexpr int kSequential = 1, kLp64 = 0;
using GetSize = size_t (*)(int identifier, int m, int n, int k);
using PackFunction = void (*)(int layout, int identifier, int trans, int m, int n, int k,
                              const void* source, int stride, void* target);
using Compute = void (*)(int layout, int trans_a, int trans_b, int offset, int m, int n, int k,
                         float alpha, const void* a, int stride_a, int8_t a_offset, const void* b,
                         int stride_b, int8_t b_offset, float beta, int32_t* c, int stride_c,
                         const int32_t* c_offset);
// cblas_gemm_s8u8s32, with the same arguments.
using Gemm = Compute;
using SetLayer = int (*)(int);

struct Mkl {
  GetSize get_size = nullptr;
  PackFunction pack = nullptr;
  Compute compute = nullptr;
  Gemm gemm = nullptr;
  bool packs = false;
};

// <env>/lib, when this library is in <env>/lib/pythonX.Y/site-packages/keras_int8nmt/_native.
std::string EnvironmentLib() {
  Dl_info info;
  if (dladdr(reinterpret_cast<void*>(&MklGemm), &info) == 0 || info.dli_fname == nullptr) return "";
  std::string path = info.dli_fname;
  for (int level = 0; level < 5; ++level) {
    const size_t slash = path.rfind('/');
    if (slash == std::string::npos) return "";
    path.resize(slash);
  }
  return path + "/";
}

void* OpenMkl() {
  // MKL's own parts look its symbols up globally.
  constexpr int kFlags = RTLD_NOW | RTLD_GLOBAL;
  const char* chosen = std::getenv("KERAS_INT8NMT_MKL");
  if (chosen != nullptr && *chosen != '\0') {
    void* handle = dlopen(chosen, kFlags);
    if (handle == nullptr) {
      const char* why = dlerror();
      throw std::runtime_error(std::string("KERAS_INT8NMT_MKL: ") + (why ? why : chosen));
    }
    return handle;
  }
  for (const std::string& folder : {EnvironmentLib(), std::string()}) {
    for (const char* name : {"libmkl_rt.so.3", "libmkl_rt.so.2", "libmkl_rt.so"}) {
      if (void* handle = dlopen((folder + name).c_str(), kFlags)) return handle;
    }
  }
  throw std::runtime_error(
      "libmkl_rt was not found (pip install keras-int8nmt[mkl], or set KERAS_INT8NMT_MKL to its "
      "path)");
}

template <typename F>
F Symbol(void* handle, const char* name) {
  void* address = dlsym(handle, name);
  if (address == nullptr) throw std::runtime_error(std::string("MKL has no function ") + name);
  return reinterpret_cast<F>(address);
}

const Mkl& Library() {
  static const Mkl library = [] {
    void* handle = OpenMkl();
    Symbol<SetLayer>(handle, "MKL_Set_Interface_Layer")(kLp64);
    Symbol<SetLayer>(handle, "MKL_Set_Threading_Layer")(kSequential);
    Mkl mkl;
    mkl.get_size = Symbol<GetSize>(handle, "cblas_gemm_s8u8s32_pack_get_size");
    mkl.pack = Symbol<PackFunction>(handle, "cblas_gemm_s8u8s32_pack");
    mkl.compute = Symbol<Compute>(handle, "cblas_gemm_s8u8s32_compute");
    mkl.gemm = Symbol<Gemm>(handle, "cblas_gemm_s8u8s32");
    constexpr int kSample = 1024;
    mkl.packs = mkl.get_size(kMatrixB, kSample, kSample, kSample) < 2 * kSample * kSample;
    return mkl;
  }();
  return library;
}

// Rows of one call. Packed weights are asked for and used with the same number of rows, as the
// manual wants it; fewer rows at the end are fine (the tests hold them equal to plain loops).
constexpr int kRows = 256;

size_t RoundUp64(size_t bytes) { return (bytes + 63) / 64 * 64; }
size_t SumsBytes(int64_t n) { return RoundUp64(n * sizeof(int32_t)); }

// Body: the sums of the columns, then MKL's packed matrix or the weights, at a multiple of 64
// bytes.
size_t PackedSize(int64_t k, int64_t n) {
  if (!Library().packs) return SumsBytes(n) + static_cast<size_t>(k * n);
  return SumsBytes(n) +
         Library().get_size(kMatrixB, kRows, static_cast<int>(n), static_cast<int>(k));
}

void PackBody(const int8_t* weights, int64_t k, int64_t n, void* body) {
  // The body may lie anywhere; only when it is multiplied it must be aligned.
  std::vector<int32_t> sums(n);
  for (int64_t i = 0; i < k; ++i) {
    for (int64_t j = 0; j < n; ++j) sums[j] += weights[i * n + j];
  }
  std::memcpy(body, sums.data(), n * sizeof(int32_t));
  char* target = static_cast<char*>(body) + SumsBytes(n);
  if (!Library().packs) {
    std::memcpy(target, weights, k * n);
    return;
  }
  Library().pack(kRowMajor, kMatrixB, kNoTrans, kRows, static_cast<int>(n), static_cast<int>(k),
                 weights, static_cast<int>(n), target);
}

// acc [rows, n] = a [rows, k] uint8 x the packed weights.
void Product(const uint8_t* a, int64_t rows, const void* body, int64_t k, int64_t n, int32_t* acc) {
  const int32_t zero = 0;
  const int k32 = static_cast<int>(k), n32 = static_cast<int>(n);
  const Mkl& mkl = Library();
  (mkl.packs ? mkl.compute : mkl.gemm)(kRowMajor, kNoTrans, mkl.packs ? kPacked : kNoTrans,
                                       kFixOffset, static_cast<int>(rows), n32, k32, 1.0f, a, k32,
                                       0, static_cast<const char*>(body) + SumsBytes(n), n32, 0,
                                       0.0f, acc, n32, &zero);
}

// MKL has no way back, so packed weights are multiplied by the unit matrix.
void UnpackBody(const void* body, int64_t k, int64_t n, int8_t* weights) {
  if (!Library().packs) {
    std::memcpy(weights, static_cast<const char*>(body) + SumsBytes(n), k * n);
    return;
  }
  std::vector<uint8_t> unit(k);
  std::vector<int32_t> row(n);
  for (int64_t i = 0; i < k; ++i) {
    unit[i] = 1;
    Product(unit.data(), 1, body, k, n, row.data());
    std::copy(row.begin(), row.end(), weights + i * n);
    unit[i] = 0;
  }
}

struct Input {
  const void* a;
  Type type;
  int64_t rows, k, n;
};

void ShiftedSums(const Input& input, const void* body, int32_t* acc) {
  if (input.type == Type::kUint8) {
    Product(static_cast<const uint8_t*>(input.a), input.rows, body, input.k, input.n, acc);
    return;
  }
  const size_t inputs = input.rows * input.k;
  const auto* a = static_cast<const uint8_t*>(input.a);
  uint8_t* shifted = ThreadBuffer<uint8_t, 5>(inputs);
  for (size_t i = 0; i < inputs; ++i) shifted[i] = a[i] ^ 128;  // x + 128
  Product(shifted, input.rows, body, input.k, input.n, acc);
  // Copied: nobody promises how a blob is aligned.
  int32_t* sums = ThreadBuffer<int32_t, 8>(input.n);
  std::memcpy(sums, body, input.n * sizeof(int32_t));
  for (int64_t i = 0; i < input.rows; ++i) {
    for (int64_t j = 0; j < input.n; ++j) acc[i * input.n + j] -= 128 * sums[j];
  }
}

void SplitSums(const Input& input, const void* body, int32_t* acc) {
  const size_t inputs = input.rows * input.k, count = input.rows * input.n;
  uint8_t* low = ThreadBuffer<uint8_t, 5>(2 * inputs);
  uint8_t* high = low + inputs;
  const int32_t factor = SplitInput(input.a, input.type, inputs, low, high);
  Product(low, input.rows, body, input.k, input.n, acc);
  if (factor == 0) return;
  int32_t* acc_high = ThreadBuffer<int32_t, 6>(count);
  Product(high, input.rows, body, input.k, input.n, acc_high);
  AddHigh(acc_high, factor, count, acc);
}

template <bool split>
void Multiply(const GemmArgs& args) {
  const int64_t k = args.weights.k, n = args.weights.n;
  const size_t out_stride = n * TypeBytes(args.epilogue.output.type);
  Input input = {nullptr, args.a_type, 0, k, n};
  for (int64_t row = 0; row < args.m; row += input.rows) {
    input.a = static_cast<const char*>(args.a) + row * k;
    input.rows = std::min<int64_t>(kRows, args.m - row);
    int32_t* acc = ThreadBuffer<int32_t, 7>(input.rows * n);
    (split ? SplitSums : ShiftedSums)(input, args.weights.body, acc);
    ActiveKernels().epilogue(acc, input.rows, n, EpilogueFrom(args.epilogue, row),
                             static_cast<char*>(args.out) + row * out_stride);
  }
}

// MKL chooses its packed form by the CPU; its size for a sample tells forms apart.
uint64_t Layout() {
  static const uint64_t layout = Library().packs ? Library().get_size(kMatrixB, kRows, 83, 67) : 1;
  return layout;
}

template <bool split>
constexpr GemmBackend kMkl = {"mkl",      split ? "split" : "sums", Layout, PackedSize, PackBody,
                              UnpackBody, Multiply<split>,          false,  nullptr,    8};

}  // namespace

const GemmBackend& MklGemm() {
  static const GemmBackend& chosen = []() -> const GemmBackend& {
    if (ProbeGemm(kMkl<false>)) return kMkl<false>;
    if (ProbeGemm(kMkl<true>)) return kMkl<true>;
    throw std::runtime_error("MKL's integer products are not exact on this CPU");
  }();
  return chosen;
}

}  // namespace keras_int8nmt
