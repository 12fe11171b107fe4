// What the back ends share: the exact split of inputs, and the probe of a back end's arithmetic.
#include <cstring>

#include "gemm/backends.h"

namespace keras_int8nmt {

int32_t SplitInput(const void* a, Type a_type, size_t count, uint8_t* low, uint8_t* high) {
  const auto* x = static_cast<const uint8_t*>(a);
  uint8_t any = 0;
  for (size_t i = 0; i < count; ++i) {
    low[i] = x[i] & 127;
    high[i] = x[i] >> 7;
    any |= high[i];
  }
  if (any == 0) return 0;
  return a_type == Type::kUint8 ? 128 : -128;
}

void AddHigh(const int32_t* high, int32_t factor, size_t count, int32_t* acc) {
  for (size_t i = 0; i < count; ++i) acc[i] += factor * high[i];
}

namespace {

// Extreme and mixed numbers; every pair of neighbours is somewhere extreme.
void FillInputs(Type type, int64_t count, std::vector<uint8_t>* a) {
  a->resize(count);
  for (int64_t i = 0; i < count; ++i) {
    const bool extreme = i % 7 < 5;
    const int value = extreme ? (type == Type::kUint8 ? 255 : (i % 3 ? 127 : -127))
                              : static_cast<int>(i * 37 % 127);
    (*a)[i] = static_cast<uint8_t>(value);
  }
}

// `largest` is the magnitude of extreme weights.
bool ProbeOne(const GemmBackend& backend, Type a_type, int32_t largest, int64_t m) {
  constexpr int64_t k = 67, n = 83;
  std::vector<uint8_t> a;
  FillInputs(a_type, m * k, &a);
  std::vector<int8_t> weights(k * n);
  std::vector<float> scales(n), bias(n), row_scales(m);
  for (int64_t i = 0; i < k * n; ++i) {
    const int64_t column = i % n;
    const int64_t mixed = i % (2 * largest + 1) - largest;
    weights[i] = static_cast<int8_t>(column % 3 == 0   ? largest
                                     : column % 3 == 1 ? -largest
                                                       : mixed);
  }
  for (int64_t j = 0; j < n; ++j) {
    scales[j] = 1.1e-4f + 3.7e-6f * static_cast<float>(j);
    bias[j] = -7.3f + 0.137f * static_cast<float>(j * 5 % 113);
  }
  for (int64_t i = 0; i < m; ++i) row_scales[i] = 0.3f + 0.071f * static_cast<float>(i);
  const float* scaled = row_scales.data();
  std::vector<char> body(backend.packed_size(k, n)), plain(k * n);
  backend.pack(weights.data(), k, n, body.data());
  const GemmBackend& reference = ReferenceGemm();
  reference.pack(weights.data(), k, n, plain.data());
  for (Type type : {Type::kFloat32, Type::kInt8, Type::kUint8}) {
    for (Activation activation : {Activation::kNone, Activation::kRelu}) {
      for (const float* rows : {static_cast<const float*>(nullptr), scaled}) {
        Epilogue epilogue;
        epilogue.scales = scales.data();
        epilogue.bias = bias.data();
        epilogue.activation = activation;
        epilogue.output.type = type;
        epilogue.row_scales = rows;
        std::vector<char> got(m * n * TypeBytes(type)), expected(got.size());
        backend.multiply(
            {a.data(), a_type, m, {k, n, &backend, body.data()}, epilogue, got.data(), {}});
        reference.multiply(
            {a.data(), a_type, m, {k, n, &reference, plain.data()}, epilogue, expected.data(), {}});
        if (got != expected) return false;
      }
    }
  }
  return true;
}

}  // namespace

bool ProbeGemm(const GemmBackend& backend) {
  for (Type a_type : {Type::kInt8, Type::kUint8}) {
    // Narrow weights may go another way.
    for (int32_t largest : {127, kNarrowWeight}) {
      for (int64_t m : {1, 17}) {
        if (!ProbeOne(backend, a_type, largest, m)) return false;
      }
    }
  }
  return true;
}

}  // namespace keras_int8nmt
