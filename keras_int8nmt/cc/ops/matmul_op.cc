// KerasInt8nmtMatMul: y = epilogue(x times packed weights), and KerasInt8nmtDynamicMatMul: the same
// of float rows, each quantized with a scale of its own.
#include <vector>

#include "core_link.h"
#include "gemm/gemm.h"
#include "op_support.h"
#include "ops.h"
#include "shape_functions.h"

namespace keras_int8nmt {
namespace {

Activation ReadActivation(const std::string& name) {
  if (name == "none") return Activation::kNone;
  if (name == "relu") return Activation::kRelu;
  if (name == "gelu") return Activation::kGelu;
  if (name == "gelu_tanh") return Activation::kGeluTanh;
  if (name == "swish") return Activation::kSwish;
  Fail("activation is \"", name, "\"; expected one of none, relu, gelu, gelu_tanh, swish.");
}

// Elements that a core quantizes in a second, low.
constexpr double kQuantized = 500e6;

// The weights in `packed`, checked against the other inputs.
PackedInfo CheckedWeights(const Tensor& x, const Tensor& packed, const Tensor& scales,
                          const Tensor& bias) {
  ExpectRankAtLeast(x, 1, "[..., k]");
  ExpectRank(packed, 1, "[bytes], as KerasInt8nmtPackWeights gives it");
  const PackedInfo weights = ReadPacked(packed.data<const void>(), packed.bytes());
  if (x.dim(-1) != weights.k) {
    Fail("x has shape ", ToText(x.shape()), "; expected a last dim of ", weights.k,
         ", the rows of the packed weights.");
  }
  ExpectShape(scales, {weights.n}, "one value a column of the packed weights");
  ExpectShape(bias, {weights.n}, "one value a column of the packed weights");
  return weights;
}

class MatMul {
 public:
  static constexpr const char* kName = "KerasInt8nmtMatMul";
  explicit MatMul(const Attributes& attributes)
      : x_type_(attributes.QuantizedType("Tin")),
        activation_(ReadActivation(attributes.String("activation"))),
        output_(attributes.OutputOf()) {}

  void Compute(Context& context) const {
    const Tensor x = context.Input(0, "x");
    const Tensor packed = context.Input(1, "packed");
    const Tensor scales = context.Input(2, "scales");
    const Tensor bias = context.Input(3, "bias");
    const PackedInfo weights = CheckedWeights(x, packed, scales, bias);

    Shape shape = x.shape();
    shape.back() = weights.n;
    const Tensor y = context.Output(0, ToTensorFlow(output_.type), shape);
    if (y.count() == 0) return;
    GemmArgs args;
    args.a = x.data<const void>();
    args.a_type = x_type_;
    args.m = x.rows();
    args.weights = weights;
    args.epilogue.scales = scales.data<const float>();
    args.epilogue.bias = bias.data<const float>();
    args.epilogue.activation = activation_;
    args.epilogue.output = output_;
    args.out = y.data<void>();
    TheCore().multiply(args);
  }

 private:
  Type x_type_;
  Activation activation_;
  Output output_;
};

class DynamicMatMul {
 public:
  static constexpr const char* kName = "KerasInt8nmtDynamicMatMul";
  explicit DynamicMatMul(const Attributes& attributes)
      : activation_(ReadActivation(attributes.String("activation"))) {}

  void Compute(Context& context) const {
    const Tensor x = context.Input(0, "x");
    const Tensor packed = context.Input(1, "packed");
    const Tensor scales = context.Input(2, "scales");
    const Tensor bias = context.Input(3, "bias");
    const PackedInfo weights = CheckedWeights(x, packed, scales, bias);
    Shape shape = x.shape();
    shape.back() = weights.n;
    const Tensor y = context.Output(0, TF_FLOAT, shape);
    if (y.count() == 0) return;
    // Of this thread, grown and kept: a call does not allocate.
    thread_local std::vector<int8_t> codes;
    thread_local std::vector<float> row_scales;
    if (codes.size() < static_cast<size_t>(x.count())) codes.resize(x.count());
    if (row_scales.size() < static_cast<size_t>(x.rows())) row_scales.resize(x.rows());
    const auto* from = x.data<const float>();
    // The vectors of this thread, whichever thread a share is in.
    int8_t* to = codes.data();
    float* scales_to = row_scales.data();
    TheCore().in_shares(static_cast<double>(x.count()) / kQuantized, [&](Share share) {
      const Range rows = RangeOf(x.rows(), share);
      const int64_t first = rows.first * weights.k;
      ActiveKernels().quantize_rows(from + first, rows.count(), weights.k, to + first,
                                    scales_to + rows.first);
    });
    GemmArgs args;
    args.a = codes.data();
    args.m = x.rows();
    args.weights = weights;
    args.epilogue.scales = scales.data<const float>();
    args.epilogue.bias = bias.data<const float>();
    args.epilogue.activation = activation_;
    args.epilogue.row_scales = row_scales.data();
    args.out = y.data<void>();
    TheCore().multiply(args);
  }

 private:
  Activation activation_;
};

// [..., n]; n is known from the scales, since a shape function cannot look into the blob.
void MatMulShape(TF_ShapeInferenceContext* context, TF_Status* status) {
  ShapeInference shapes(context, status);
  const PartialShape x = shapes.InputOfRankAtLeast(0, 1);
  shapes.InputOfRank(1, 1);
  const PartialShape scales = shapes.InputOfRank(2, 1);
  shapes.InputOfRank(3, 1);
  shapes.SetOutput(0, shapes.Concatenate(shapes.Part(x, 0, -1), scales));
}

}  // namespace

void RegisterMatMulOps() {
  RegisterOp({MatMul::kName,
              {"x: Tin", "packed: uint8", "scales: float", "bias: float"},
              {"y: Tout"},
              {"Tin: {int8, uint8}", "Tout: {float, int8, uint8}", "activation: string = 'none'",
               "out_scale: float = 1.0", "out_zero_point: int = 0"},
              &MatMulShape});
  RegisterKernel<MatMul>();
  RegisterOp({DynamicMatMul::kName,
              {"x: float", "packed: uint8", "scales: float", "bias: float"},
              {"y: float"},
              {"activation: string = 'none'"},
              &MatMulShape});
  RegisterKernel<DynamicMatMul>();
}

}  // namespace keras_int8nmt
