// KerasInt8nmtTopKLogProbs: the k best tokens of each row of logits with their log-probabilities.
#include "core_link.h"
#include "op_support.h"
#include "ops.h"
#include "shape_functions.h"

namespace keras_int8nmt {
namespace {

class TopKLogProbs {
 public:
  static constexpr const char* kName = "KerasInt8nmtTopKLogProbs";
  explicit TopKLogProbs(const Attributes& attributes)
      : k_(attributes.Int("k", 1)), forbidden_(attributes.Int("forbidden", -1)) {}

  void Compute(Context& context) const {
    const Tensor logits = context.Input(0, "logits");
    ExpectRank(logits, 2, "[rows, vocabulary]");
    const int64_t rows = logits.dim(0);
    const int64_t columns = logits.dim(1);
    if (forbidden_ >= columns) {
      Fail("forbidden is ", forbidden_, "; expected -1 for none, or 0 to ", columns - 1,
           ", a column of logits.");
    }
    const int64_t allowed = columns - (forbidden_ >= 0 ? 1 : 0);
    if (k_ > allowed) {
      Fail("k is ", k_, "; expected 1 to ", allowed, ", the allowed columns of logits ",
           ToText(logits.shape()), ".");
    }
    const Tensor log_probs = context.Output(0, TF_FLOAT, {rows, k_});
    const Tensor ids = context.Output(1, TF_INT32, {rows, k_});
    if (rows == 0) return;
    float* best = log_probs.data<float>();
    std::vector<float> log_sums(rows);
    if (!TheCore().top_k({logits.data<const float>(), rows, columns, k_, forbidden_, best,
                          ids.data<int32_t>(), log_sums.data()})) {
      Fail("logits has a NaN; expected numbers.");
    }
    for (int64_t i = 0; i < rows * k_; ++i) best[i] = best[i] - log_sums[i / k_];
  }

 private:
  int32_t k_, forbidden_;
};

void TopKShape(TF_ShapeInferenceContext* context, TF_Status* status) {
  ShapeInference shapes(context, status);
  const PartialShape logits = shapes.InputOfRank(0, 2);
  const PartialShape best = shapes.Concatenate(shapes.Part(logits, 0, 1), shapes.UnknownVector());
  shapes.SetOutput(0, best);
  shapes.SetOutput(1, best);
}

}  // namespace

void RegisterTopKOp() {
  RegisterOp({TopKLogProbs::kName,
              {"logits: float"},
              {"log_probs: float", "ids: int32"},
              {"k: int", "forbidden: int = -1"},
              &TopKShape});
  RegisterKernel<TopKLogProbs>();
}

}  // namespace keras_int8nmt
