// The float32 back end of our own kernels, for CPUs with fused multiply-adds: x86 and 64-bit ARM.
#include "gemm/fma.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace keras_int8nmt {

#if defined(__x86_64__) || defined(__aarch64__)

namespace {

template <class Kernel>
struct Host {
  static constexpr int64_t kColumns = Kernel::kColumns;

  static int64_t Panels(int64_t n) { return (n + kColumns - 1) / kColumns; }

  static size_t PackedBytes(int64_t k, int64_t n) {
    return Panels(n) * kColumns * k * sizeof(float);
  }

  static void Pack(const float* weights, int64_t k, int64_t n, void* packed) {
    auto* target = static_cast<float*>(packed);
    for (int64_t first = 0; first < n; first += kColumns) {
      const int64_t columns = std::min(kColumns, n - first);
      for (int64_t i = 0; i < k; ++i, target += kColumns) {
        const float* row = weights + i * n + first;
        std::fill(std::copy(row, row + columns, target), target + kColumns, 0.0f);
      }
    }
  }

  // The product, or a share of it whose panels come in groups of `unit`.
  static fma::Product ShareOf(const FloatGemmArgs& args, int64_t unit) {
    fma::Product product;
    product.a = args.a;
    product.m = args.m;
    product.k = args.k;
    product.n = args.n;
    product.panels = static_cast<const float*>(args.packed);
    product.bias = args.bias;
    product.relu = args.relu;
    product.out = args.out;
    const int64_t units = (Panels(args.n) + unit - 1) / unit;
    const Share share = args.share;
    product.first_panel = units * share.index / share.count * unit;
    product.last_panel = std::min(units * (share.index + 1) / share.count * unit, Panels(args.n));
    return product;
  }

  // A share is of whole lines of results, so that no two threads write to one.
  static_assert(kColumns * sizeof(float) % 64 == 0, "a panel is whole lines");

  static void MultiplyShare(const FloatGemmArgs& args) { Kernel::Multiply(ShareOf(args, 1)); }

  static void TopKShare(const FloatGemmArgs& args, const ProductTopK& result) {
    Kernel::TopK(ShareOf(args, kLogSumChunk / kColumns), result);
  }
};

template <class Kernel>
constexpr FloatGemmBackend Backend() {
  using Own = Host<Kernel>;
  return {"fma",   Own::PackedBytes, Own::Pack, Own::MultiplyShare, true,
          nullptr, nullptr,          nullptr,   Own::TopKShare};
}

}  // namespace

#endif

#if defined(__x86_64__)

const FloatGemmBackend& FmaFloatGemm() {
  static constexpr FloatGemmBackend kAvx2 = Backend<fma::Avx2>();
  static constexpr FloatGemmBackend kAvx512 = Backend<fma::Avx512>();
  const std::string isa = ActiveKernels().isa;
  if (isa == "avx2" || isa == "avx_vnni") return kAvx2;
  if (isa == "avx512" || isa == "avx512_vnni") return kAvx512;
  throw std::runtime_error("it needs AVX2 and FMA, and the instruction set in force is " + isa);
}

#elif defined(__aarch64__)

const FloatGemmBackend& FmaFloatGemm() {
  static constexpr FloatGemmBackend kNeon = Backend<fma::Neon>();
  const std::string isa = ActiveKernels().isa;
  if (isa.rfind("neon", 0) == 0) return kNeon;
  throw std::runtime_error("it needs NEON, and the instruction set in force is " + isa);
}

#else

const FloatGemmBackend& FmaFloatGemm() {
  throw std::runtime_error("it needs an x86-64 or a 64-bit ARM CPU");
}

#endif

}  // namespace keras_int8nmt
