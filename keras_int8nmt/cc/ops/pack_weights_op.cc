// KerasInt8nmtPackWeights and KerasInt8nmtUnpackWeights: weights to and from the opaque blob that
// the GEMM of this process and this CPU multiplies by.
#include "core_link.h"
#include "gemm/choice.h"
#include "gemm/gemm.h"
#include "op_support.h"
#include "ops.h"
#include "shape_functions.h"

namespace keras_int8nmt {
namespace {

struct PackWeights {
  static constexpr const char* kName = "KerasInt8nmtPackWeights";
  explicit PackWeights(const Attributes&) {}

  void Compute(Context& context) const {
    const Tensor weights = context.Input(0, "weights");
    ExpectRank(weights, 2, "[k, n]");
    const int64_t k = weights.dim(0);
    const int64_t n = weights.dim(1);
    if (k < 1 || k > kMaxDepth || n < 1) {
      Fail("weights has shape ", ToText(weights.shape()), "; expected [k, n] with k from 1 to ",
           kMaxDepth, " and n at least 1.");
    }
    const int8_t* values = weights.data<const int8_t>();
    for (int64_t i = 0; i < k * n; ++i) {
      if (values[i] == -128) {
        Fail("weights has -128 at [", i / n, ", ", i % n, "]; expected -127 to 127.");
      }
    }
    const GemmBackend& gemm = ChosenGemm(k, n);
    const int64_t bytes = static_cast<int64_t>(PackedBytes(gemm, k, n));
    const Tensor packed = context.Output(0, TF_UINT8, {bytes});
    Pack(gemm, values, k, n, packed.data<void>());
  }
};

struct UnpackWeights {
  static constexpr const char* kName = "KerasInt8nmtUnpackWeights";
  explicit UnpackWeights(const Attributes&) {}

  void Compute(Context& context) const {
    const Tensor packed = context.Input(0, "packed");
    ExpectRank(packed, 1, "[bytes], as KerasInt8nmtPackWeights gives it");
    const PackedInfo info = ReadPacked(packed.data<const void>(), packed.bytes());
    const Tensor weights = context.Output(0, TF_INT8, {info.k, info.n});
    TheCore().unpack(info, weights.data<int8_t>());
  }
};

void PackedShape(TF_ShapeInferenceContext* context, TF_Status* status) {
  ShapeInference shapes(context, status);
  shapes.InputOfRank(0, 2);
  shapes.SetOutput(0, shapes.UnknownVector());
}

void UnpackedShape(TF_ShapeInferenceContext* context, TF_Status* status) {
  ShapeInference shapes(context, status);
  shapes.InputOfRank(0, 1);
  shapes.SetOutput(0, shapes.Concatenate(shapes.UnknownVector(), shapes.UnknownVector()));
}

}  // namespace

void RegisterPackWeightsOps() {
  RegisterOp({PackWeights::kName, {"weights: int8"}, {"packed: uint8"}, {}, &PackedShape});
  RegisterKernel<PackWeights>();
  RegisterOp({UnpackWeights::kName, {"packed: uint8"}, {"weights: int8"}, {}, &UnpackedShape});
  RegisterKernel<UnpackWeights>();
}

}  // namespace keras_int8nmt
