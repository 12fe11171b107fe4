// KerasInt8nmtLayerNorm: LayerNorm of x (+ residual), as float to carry on and as `out` says.
#include <cmath>

#include "core_link.h"
#include "finite.h"
#include "integer_math.h"
#include "op_support.h"
#include "ops.h"
#include "shape_functions.h"

namespace keras_int8nmt {
namespace {

class LayerNorm {
 public:
  static constexpr const char* kName = "KerasInt8nmtLayerNorm";
  explicit LayerNorm(const Attributes& attributes)
      : epsilon_(attributes.Finite("epsilon")),
        carry_sum_(attributes.Bool("carry_sum")),
        integer_(attributes.Bool("integer")),
        output_(attributes.OutputOf()) {
    if (epsilon_ < 0.0f) Fail("epsilon is ", epsilon_, "; expected 0 or more.");
    if (integer_ && epsilon_ > kNormMostEpsilon) {
      Fail("epsilon is ", epsilon_, "; expected at most ", kNormMostEpsilon, " where integer.");
    }
  }

  void Compute(Context& context) const {
    const Tensor x = context.Input(0, "x");
    const Tensor residual = context.Input(1, "residual");
    const Tensor gamma = context.Input(2, "gamma");
    const Tensor beta = context.Input(3, "beta");
    ExpectRankAtLeast(x, 1, "[..., n]");
    const int64_t columns = x.dim(-1);
    // Shape [0] means that there is no residual, unless x itself has that shape (then it is empty).
    const bool has_residual = residual.shape() != Shape{0};
    if (has_residual) ExpectShape(residual, x.shape(), "the shape of x, or [0] for none");
    ExpectShape(gamma, {columns}, "the last dim of x");
    ExpectShape(beta, {columns}, "the last dim of x");

    const Tensor carry = context.Output(0, TF_FLOAT, x.shape());
    if (output_.type == Type::kFloat32 && !carry_sum_) {
      // The two outputs are the same numbers, so they share one buffer.
      context.SetOutput(1, carry);
      Run(x, has_residual ? &residual : nullptr, gamma, beta, carry, nullptr);
    } else {
      const Tensor out = context.Output(1, ToTensorFlow(output_.type), x.shape());
      Run(x, has_residual ? &residual : nullptr, gamma, beta, carry, &out);
    }
  }

 private:
  // The row of a NaN or an infinity in what was normalized, or -1: each number of such a row's norm
  // is NaN, and where codes are written nothing else tells. The norm in whole numbers says what it
  // makes of them.
  int64_t BrokenRow(const Tensor& x, const float* carry) const {
    if (integer_) return -1;
    const int64_t columns = x.dim(-1);
    if (carry_sum_) return RowOf(FirstNotFinite(carry, x.count()), columns);
    for (int64_t row = 0; row < x.rows(); ++row) {
      if (!std::isfinite(carry[row * columns])) return row;
    }
    return -1;
  }
  static int64_t RowOf(int64_t place, int64_t columns) { return place < 0 ? -1 : place / columns; }

  void Run(const Tensor& x, const Tensor* residual, const Tensor& gamma, const Tensor& beta,
           const Tensor& carry, const Tensor* out) const {
    if (x.count() == 0) return;
    TheCore().layer_norm({integer_, x.data<const float>(),
                          residual == nullptr ? nullptr : residual->data<const float>(),
                          gamma.data<const float>(), beta.data<const float>(), x.rows(), x.dim(-1),
                          epsilon_, carry_sum_, carry.data<float>(), output_,
                          out == nullptr ? nullptr : out->data<void>()});
    const int64_t row = BrokenRow(x, carry.data<float>());
    if (row >= 0) {
      Fail(residual == nullptr ? "x" : "x or residual", " has NaN or infinite values in row ", row,
           ", or their norm has; expected no NaN or infinity.");
    }
  }

  float epsilon_;
  bool carry_sum_, integer_;
  Output output_;
};

void LayerNormShape(TF_ShapeInferenceContext* context, TF_Status* status) {
  ShapeInference shapes(context, status);
  const PartialShape x = shapes.InputOfRankAtLeast(0, 1);
  shapes.InputOfRank(2, 1);
  shapes.InputOfRank(3, 1);
  shapes.SetOutput(0, x);
  shapes.SetOutput(1, x);
}

}  // namespace

void RegisterLayerNormOp() {
  RegisterOp({LayerNorm::kName,
              {"x: float", "residual: float", "gamma: float", "beta: float"},
              {"carry: float", "out: Tout"},
              {"epsilon: float", "carry_sum: bool = false", "Tout: {float, int8, uint8}",
               "out_scale: float = 1.0", "out_zero_point: int = 0", "integer: bool = false"},
              &LayerNormShape});
  RegisterKernel<LayerNorm>();
}

}  // namespace keras_int8nmt
