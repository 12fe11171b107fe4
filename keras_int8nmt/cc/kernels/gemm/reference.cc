// The matrix product as plain loops: the truth, and the back end of a CPU without a faster one.
#include <cstring>

#include "gemm/backends.h"

namespace keras_int8nmt {
namespace {

template <typename T>
void MultiplyRow(const T* a, const int8_t* weights, int64_t k, int64_t n, int32_t* acc) {
  std::memset(acc, 0, n * sizeof(*acc));
  for (int64_t i = 0; i < k; ++i) {
    const int32_t factor = a[i];
    const int8_t* row = weights + i * n;
    for (int64_t j = 0; j < n; ++j) acc[j] += factor * row[j];
  }
}

uint64_t Layout() { return 1; }

size_t PackedSize(int64_t k, int64_t n) { return static_cast<size_t>(k * n); }

void PackBody(const int8_t* weights, int64_t k, int64_t n, void* body) {
  std::memcpy(body, weights, k * n);
}

void UnpackBody(const void* body, int64_t k, int64_t n, int8_t* weights) {
  std::memcpy(weights, body, k * n);
}

void Multiply(const GemmArgs& args) {
  const Kernels& kernels = *KernelsFor("reference");
  const int64_t k = args.weights.k, n = args.weights.n;
  const auto* weights = static_cast<const int8_t*>(args.weights.body);
  const size_t out_stride = n * TypeBytes(args.epilogue.output.type);
  int32_t* acc = ThreadBuffer<int32_t, 0>(n);
  for (int64_t i = 0; i < args.m; ++i) {
    if (args.a_type == Type::kUint8) {
      MultiplyRow(static_cast<const uint8_t*>(args.a) + i * k, weights, k, n, acc);
    } else {
      MultiplyRow(static_cast<const int8_t*>(args.a) + i * k, weights, k, n, acc);
    }
    kernels.epilogue(acc, 1, n, EpilogueFrom(args.epilogue, i),
                     static_cast<char*>(args.out) + i * out_stride);
  }
}

constexpr GemmBackend kReference = {"reference", "plain loops", Layout, PackedSize, PackBody,
                                    UnpackBody,  Multiply,      false,  nullptr,    8};

}  // namespace

const GemmBackend& ReferenceGemm() { return kReference; }

}  // namespace keras_int8nmt
