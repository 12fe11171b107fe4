// KerasInt8nmtPackFloat and KerasInt8nmtFloatMatMul: the float32 product with prepared
// weights, the peer that `bench gemm` measures the INT8 products against.
#include "finite.h"
#include "gemm/float_gemm.h"
#include "op_support.h"
#include "ops.h"
#include "shape_functions.h"

namespace keras_int8nmt {
namespace {

constexpr int64_t kMostWide = int64_t{1} << 28;

// No size of packed weights overflows below it.
void ExpectSize(int64_t k, int64_t n) {
  if (k <= kMostWide && n <= kMostWide) return;
  Fail("weights of ", k, " rows and ", n, " columns; expected at most ", kMostWide, " of both.");
}

struct PackFloatWeights {
  static constexpr const char* kName = "KerasInt8nmtPackFloat";
  explicit PackFloatWeights(const Attributes&) {}

  void Compute(Context& context) const {
    const Tensor weights = context.Input(0, "weights");
    ExpectRank(weights, 2, "[k, n]");
    const int64_t k = weights.dim(0);
    const int64_t n = weights.dim(1);
    if (k < 1 || n < 1) Fail("weights has shape ", ToText(weights.shape()), "; it is empty.");
    ExpectSize(k, n);
    const float* values = weights.data<const float>();
    const int64_t at = FirstNotFinite(values, k * n);
    if (at >= 0) {
      Fail("weights has ", values[at], " at [", at / n, ", ", at % n,
           "]; expected no NaN or infinity.");
    }
    const int64_t bytes = static_cast<int64_t>(PackedFloatBytes(k, n));
    const Tensor packed = context.Output(0, TF_UINT8, {bytes});
    PackFloat(values, k, n, packed.data<void>());
  }
};

struct FloatMatMul {
  static constexpr const char* kName = "KerasInt8nmtFloatMatMul";
  explicit FloatMatMul(const Attributes&) {}

  void Compute(Context& context) const {
    const Tensor x = context.Input(0, "x");
    const Tensor packed = context.Input(1, "packed");
    const Tensor bias = context.Input(2, "bias");
    ExpectRank(x, 2, "[m, k]");
    ExpectRank(bias, 1, "[n]");
    const int64_t k = x.dim(1);
    const int64_t n = bias.dim(0);
    ExpectSize(k, n);
    if (k < 1 || n < 1 || packed.bytes() != PackedFloatBytes(k, n)) {
      Fail("packed has ", packed.bytes(), " bytes, which are not weights of ", k, " rows and ", n,
           " columns.");
    }
    const Tensor y = context.Output(0, TF_FLOAT, {x.dim(0), n});
    if (y.count() == 0) return;
    MultiplyFloat(x.data<const float>(), x.dim(0), packed.data<const void>(), k, n,
                  bias.data<const float>(), y.data<float>());
  }
};

void PackFloatShape(TF_ShapeInferenceContext* context, TF_Status* status) {
  ShapeInference shapes(context, status);
  shapes.InputOfRank(0, 2);
  shapes.SetOutput(0, shapes.UnknownVector());
}

void FloatMatMulShape(TF_ShapeInferenceContext* context, TF_Status* status) {
  ShapeInference shapes(context, status);
  const PartialShape x = shapes.InputOfRank(0, 2);
  shapes.InputOfRank(1, 1);
  shapes.SetOutput(0, shapes.Concatenate(shapes.Part(x, 0, 1), shapes.InputOfRank(2, 1)));
}

}  // namespace

void RegisterFloatMatMulOps() {
  RegisterOp({PackFloatWeights::kName, {"weights: float"}, {"packed: uint8"}, {}, &PackFloatShape});
  RegisterKernel<PackFloatWeights>();
  RegisterOp({FloatMatMul::kName,
              {"x: float", "packed: uint8", "bias: float"},
              {"y: float"},
              {},
              &FloatMatMulShape});
  RegisterKernel<FloatMatMul>();
}

}  // namespace keras_int8nmt
