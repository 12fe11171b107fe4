// What a new back end of matrix products costs: two are registered here, without a line of the
// library changed, chosen by their names and held to plain loops.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.h"
#include "gemm/float_gemm.h"
#include "gemm/gemm.h"
#include "inputs.h"

namespace keras_int8nmt {
namespace {

// ---- INT8: columns one after the other, backwards

uint64_t ToyLayout() { return 42; }

size_t ToySize(int64_t k, int64_t n) { return static_cast<size_t>(k * n); }

void ToyPack(const int8_t* weights, int64_t k, int64_t n, void* body) {
  auto* target = static_cast<int8_t*>(body);
  for (int64_t i = 0; i < k; ++i) {
    for (int64_t j = 0; j < n; ++j) target[(n - 1 - j) * k + i] = weights[i * n + j];
  }
}

void ToyUnpack(const void* body, int64_t k, int64_t n, int8_t* weights) {
  const auto* source = static_cast<const int8_t*>(body);
  for (int64_t i = 0; i < k; ++i) {
    for (int64_t j = 0; j < n; ++j) weights[i * n + j] = source[(n - 1 - j) * k + i];
  }
}

void ToyMultiply(const GemmArgs& args) {
  const int64_t k = args.weights.k, n = args.weights.n;
  const auto* columns = static_cast<const int8_t*>(args.weights.body);
  std::vector<int32_t> sums(args.m * n);
  for (int64_t r = 0; r < args.m; ++r) {
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t i = 0; i < k; ++i) {
        const int64_t place = r * k + i;
        const int32_t x = args.a_type == Type::kUint8 ? static_cast<const uint8_t*>(args.a)[place]
                                                      : static_cast<const int8_t*>(args.a)[place];
        sums[r * n + j] += x * columns[(n - 1 - j) * k + i];
      }
    }
  }
  ActiveKernels().epilogue(sums.data(), args.m, n, args.epilogue, args.out);
}

const GemmBackend& Toy() {
  static constexpr GemmBackend toy = {"toy",     "columns",   ToyLayout, ToySize, ToyPack,
                                      ToyUnpack, ToyMultiply, false,     nullptr, 8};
  return toy;
}

// ---- float32: weights as they are, sums in double

size_t ToyFloatBytes(int64_t k, int64_t n) { return k * n * sizeof(float); }

void ToyFloatPack(const float* weights, int64_t k, int64_t n, void* packed) {
  std::memcpy(packed, weights, ToyFloatBytes(k, n));
}

void ToyFloatMultiply(const FloatGemmArgs& args) {
  const auto* weights = static_cast<const float*>(args.packed);
  for (int64_t r = 0; r < args.m; ++r) {
    for (int64_t j = 0; j < args.n; ++j) {
      double sum = args.bias[j];
      for (int64_t i = 0; i < args.k; ++i) {
        sum += static_cast<double>(args.a[r * args.k + i]) * weights[i * args.n + j];
      }
      args.out[r * args.n + j] = static_cast<float>(args.relu ? std::max(sum, 0.0) : sum);
    }
  }
}

const FloatGemmBackend& ToyFloat() {
  static constexpr FloatGemmBackend toy = {"toy",  ToyFloatBytes, ToyFloatPack, ToyFloatMultiply,
                                           false,  nullptr,       nullptr,      nullptr,
                                           nullptr};
  return toy;
}

// ---- what is expected of them

const int64_t kM = 5, kK = 37, kN = 70;

std::vector<char> Product(const GemmBackend& backend, const Guarded<int8_t>& weights,
                          const Guarded<int8_t>& a, const Epilogue& epilogue) {
  std::vector<char> blob(PackedBytes(backend, kK, kN));
  Pack(backend, weights.data(), kK, kN, blob.data());
  const PackedInfo packed = ReadPacked(blob.data(), blob.size());
  if (packed.backend != &backend) Fail("the blob is another back end's");
  std::vector<char> out(kM * kN * TypeBytes(epilogue.output.type));
  packed.backend->multiply({a.data(), Type::kInt8, kM, packed, epilogue, out.data(), Share()});
  return out;
}

void TestInt8() {
  if (&ActiveGemm() != &Toy()) Fail("KERAS_INT8NMT_GEMM did not choose the new back end");
  const Guarded<int8_t> weights = Bytes(kK * kN), a = Bytes(kM * kK);
  const Guarded<float> scales = Filled<float>(kN, [] { return Uniform(0.001f, 0.01f); });
  const Guarded<float> bias = Normal(kN);
  for (Type type : {Type::kFloat32, Type::kInt8, Type::kUint8}) {
    Epilogue epilogue;
    epilogue.scales = scales.data();
    epilogue.bias = bias.data();
    epilogue.activation = Activation::kGelu;
    epilogue.output = MakeOutput(type, 11.0f);
    if (Product(Toy(), weights, a, epilogue) !=
        Product(GemmFor("reference"), weights, a, epilogue)) {
      Fail("the new back end's product differs from the reference");
    }
  }
}

void TestFloat() {
  if (&ActiveFloatGemm() != &ToyFloat()) Fail("KERAS_INT8NMT_FLOAT_GEMM did not choose it");
  const Guarded<float> weights = Normal(kK * kN), a = Normal(kM * kK), bias = Normal(kN);
  std::vector<char> packed(PackedFloatBytes(kK, kN));
  PackFloat(weights.data(), kK, kN, packed.data());
  FloatProduct product(kK, kN, true, 1);
  if (FloatProduct::RoundedRows(kM) != kM) Fail("rows of a back end without plans");
  Guarded<float> out(kM * kN);
  product.Run(a.data(), kM, packed.data(), bias.data(), out.data());
  for (int64_t r = 0; r < kM; ++r) {
    for (int64_t j = 0; j < kN; ++j) {
      double sum = bias[j];
      for (int64_t i = 0; i < kK; ++i) sum += double{a[r * kK + i]} * weights[i * kN + j];
      CheckNear("a float product", out[r * kN + j], std::max(sum, 0.0), 1e-4);
    }
  }
}

template <class F>
void ExpectRefused(const std::string& what, F f) {
  try {
    f();
    Fail("accepted: " + what);
  } catch (const std::invalid_argument&) {
  }
}

void TestRefusals() {
  ExpectRefused("a name twice", [] { RegisterGemm(1001, "toy", Toy); });
  ExpectRefused("a number twice", [] { RegisterGemm(2, "other", Toy); });
  ExpectRefused("a float name twice", [] { RegisterFloatGemm(1001, "loops", ToyFloat); });
}

}  // namespace
}  // namespace keras_int8nmt

int main() {
  using namespace keras_int8nmt;
  setenv("KERAS_INT8NMT_GEMM", "toy", 1);
  setenv("KERAS_INT8NMT_FLOAT_GEMM", "toy", 1);
  RegisterGemm(1000, "toy", Toy);
  RegisterFloatGemm(1000, "toy", ToyFloat);
  TestInt8();
  TestFloat();
  TestRefusals();
  return Failures() == 0 ? 0 : 1;
}
