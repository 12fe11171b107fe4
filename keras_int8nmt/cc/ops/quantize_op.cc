// KerasInt8nmtQuantize and KerasInt8nmtDequantize, element by element.
#include "op_support.h"
#include "ops.h"
#include "shape_functions.h"

namespace keras_int8nmt {
namespace {

class Quantize {
 public:
  static constexpr const char* kName = "KerasInt8nmtQuantize";
  explicit Quantize(const Attributes& attributes) {
    output_.type = attributes.QuantizedType("Tout");
    output_.scale = attributes.Positive("scale");
    output_.zero_point = attributes.ZeroPoint("zero_point", output_.type);
  }

  void Compute(Context& context) const {
    const Tensor x = context.Input(0, "x");
    const Tensor q = context.Output(0, ToTensorFlow(output_.type), x.shape());
    if (x.count() == 0) return;
    ActiveKernels().quantize(x.data<const float>(), static_cast<size_t>(x.count()), output_,
                             q.data<void>());
  }

 private:
  Output output_;
};

class Dequantize {
 public:
  static constexpr const char* kName = "KerasInt8nmtDequantize";
  explicit Dequantize(const Attributes& attributes)
      : type_(attributes.QuantizedType("Tin")),
        inv_scale_(attributes.Positive("inv_scale")),
        zero_point_(attributes.ZeroPoint("zero_point", type_)) {}

  void Compute(Context& context) const {
    const Tensor q = context.Input(0, "q");
    const Tensor x = context.Output(0, TF_FLOAT, q.shape());
    if (q.count() == 0) return;
    ActiveKernels().dequantize(q.data<const void>(), type_, static_cast<size_t>(q.count()),
                               inv_scale_, zero_point_, x.data<float>());
  }

 private:
  Type type_;
  float inv_scale_;
  int32_t zero_point_;
};

}  // namespace

void RegisterQuantizeOps() {
  RegisterOp({Quantize::kName,
              {"x: float"},
              {"q: Tout"},
              {"Tout: {int8, uint8}", "scale: float", "zero_point: int = 0"},
              &SameShapeAsInput});
  RegisterKernel<Quantize>();
  RegisterOp({Dequantize::kName,
              {"q: Tin"},
              {"x: float"},
              {"Tin: {int8, uint8}", "inv_scale: float", "zero_point: int = 0"},
              &SameShapeAsInput});
  RegisterKernel<Dequantize>();
}

}  // namespace keras_int8nmt
