// KerasInt8nmtQuantize and KerasInt8nmtDequantize, element by element.
#include <algorithm>

#include "core_link.h"
#include "op_support.h"
#include "ops.h"
#include "shape_functions.h"

namespace keras_int8nmt {
namespace {

// What a core does in a second, low.
constexpr double kElements = 1e9;
// Of codes: no two threads write to one line.
constexpr int64_t kLine = 64;

// f(first, count) for the elements of each share, whole lines.
template <class F>
void InLines(int64_t count, F f) {
  TheCore().in_shares(static_cast<double>(count) / kElements, [&](Share share) {
    const Range lines = RangeOf((count + kLine - 1) / kLine, share);
    const int64_t first = lines.first * kLine;
    const int64_t last = std::min(lines.last * kLine, count);
    if (first < last) f(first, last - first);
  });
}

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
    const auto* from = x.data<const float>();
    auto* to = q.data<char>();
    InLines(x.count(), [&](int64_t first, int64_t count) {
      ActiveKernels().quantize(from + first, static_cast<size_t>(count), output_, to + first);
    });
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
    const auto* from = q.data<const char>();
    auto* to = x.data<float>();
    InLines(x.count(), [&](int64_t first, int64_t count) {
      ActiveKernels().dequantize(from + first, type_, static_cast<size_t>(count), inv_scale_,
                                 zero_point_, to + first);
    });
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
