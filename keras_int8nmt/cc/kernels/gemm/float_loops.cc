// The float32 back end that needs nothing: the product of our own kernels, on any instruction set.
//
// Its sums are those of Kernels::float_product, so they are the same bits on every CPU; fma and
// oneDNN, which multiply and add in one step, are some times as fast.
#include <algorithm>

#include "gemm/float_gemm.h"

namespace keras_int8nmt {
namespace {

int64_t Panels(int64_t n) { return (n + kFloatPanel - 1) / kFloatPanel; }

size_t PackedBytes(int64_t k, int64_t n) { return Panels(n) * kFloatPanel * k * sizeof(float); }

void Pack(const float* weights, int64_t k, int64_t n, void* packed) {
  auto* target = static_cast<float*>(packed);
  for (int64_t first = 0; first < n; first += kFloatPanel) {
    const int64_t columns = std::min(kFloatPanel, n - first);
    for (int64_t i = 0; i < k; ++i, target += kFloatPanel) {
      const float* row = weights + i * n + first;
      std::fill(std::copy(row, row + columns, target), target + kFloatPanel, 0.0f);
    }
  }
}

void Multiply(const FloatGemmArgs& args) {
  FloatProductArgs product;
  product.a = args.a;
  product.m = args.m;
  product.k = args.k;
  product.n = args.n;
  product.panels = static_cast<const float*>(args.packed);
  product.bias = args.bias;
  product.relu = args.relu;
  product.out = args.out;
  const int64_t panels = Panels(args.n);
  product.first_panel = panels * args.share.index / args.share.count;
  product.last_panel = panels * (args.share.index + 1) / args.share.count;
  ActiveKernels().float_product(product);
}

constexpr FloatGemmBackend kLoops = {"loops", PackedBytes, Pack,    Multiply, true,
                                     nullptr, nullptr,     nullptr, nullptr};

}  // namespace

const FloatGemmBackend& LoopsFloatGemm() { return kLoops; }

}  // namespace keras_int8nmt
