// KerasInt8nmtTranslate: the decoder over the rows of a tensor. The model comes as the op's other
// inputs and attributes, so it lives in a SavedModel.
#include <algorithm>
#include <limits>
#include <vector>

#include "core_link.h"
#include "op_support.h"
#include "ops.h"
#include "shape_functions.h"

namespace keras_int8nmt {
namespace {

// Memory of a sentence grows with the square of it.
constexpr int32_t kMaxBeam = 1024;

class Translate {
 public:
  static constexpr const char* kName = "KerasInt8nmtTranslate";
  explicit Translate(const Attributes& attributes)
      : ints_(attributes.Ints("ints")),
        floats_(attributes.Floats("floats")),
        batch_size_(attributes.Int("batch_size", 1)) {
    search_.beam_size = attributes.Int("beam_size", 1, kMaxBeam);
    search_.num_hypotheses = attributes.Int("num_hypotheses", 1, search_.beam_size);
    search_.min_length = attributes.Int("min_length", 0);
  }

  void Compute(Context& context) const {
    const Tensor ids = context.Input(0, "source_ids");
    ExpectRank(ids, 2, "[batch, source length]");
    if (ids.dim(0) > 0 && ids.dim(1) < 1) {
      Fail("source_ids has shape ", ToText(ids.shape()), "; expected at least one column.");
    }
    const Tensor divisors = context.Input(1, "divisors");
    ExpectRank(divisors, 1, "[max_length + 1]");
    RowsToTranslate rows;
    rows.ints = &ints_;
    rows.floats = &floats_;
    rows.search = search_;
    rows.divisors = divisors.data<const float>();
    rows.num_divisors = divisors.dim(0);
    rows.ids = ids.data<const int32_t>();
    rows.rows = ids.dim(0);
    rows.columns = ids.dim(1);
    rows.batch_size = batch_size_;
    std::vector<Tensor> tensors;
    for (int i = 2; i < context.NumInputs(); ++i) {
      tensors.push_back(context.Input(i, "tensors"));
      const Tensor& last = tensors.back();
      rows.tensors.push_back(
          {FromTensorFlow(TF_TensorType(last.get())), last.data<const void>(), last.shape()});
    }
    const TranslatedRows found = TheCore().translate_rows(rows);
    Write(context, found.results, found.pad_id);
  }

 private:
  void Write(const Context& context, const std::vector<std::vector<Hypothesis>>& results,
             int32_t pad_id) const {
    const int64_t batch = static_cast<int64_t>(results.size());
    const int64_t count = search_.num_hypotheses;
    size_t longest = 0;
    for (const std::vector<Hypothesis>& found : results) {
      for (const Hypothesis& each : found) longest = std::max(longest, each.tokens.size());
    }
    const int64_t width = static_cast<int64_t>(longest);
    const Tensor tokens = context.Output(0, TF_INT32, {batch, count, width});
    const Tensor lengths = context.Output(1, TF_INT32, {batch, count});
    const Tensor scores = context.Output(2, TF_FLOAT, {batch, count});
    std::fill_n(tokens.data<int32_t>(), tokens.count(), pad_id);
    std::fill_n(lengths.data<int32_t>(), lengths.count(), 0);
    std::fill_n(scores.data<float>(), scores.count(), -std::numeric_limits<float>::infinity());
    for (int64_t i = 0; i < batch; ++i) {
      int64_t place = i * count;
      for (const Hypothesis& each : results[i]) {
        std::copy(each.tokens.begin(), each.tokens.end(), tokens.data<int32_t>() + place * width);
        lengths.data<int32_t>()[place] = static_cast<int32_t>(each.tokens.size());
        scores.data<float>()[place] = each.score;
        ++place;
      }
    }
  }

  std::vector<int64_t> ints_;
  std::vector<float> floats_;
  int64_t batch_size_;
  SearchOptions search_;  // without what divisors tells
};

void TranslateShape(TF_ShapeInferenceContext* context, TF_Status* status) {
  ShapeInference shapes(context, status);
  const PartialShape rows = shapes.Part(shapes.InputOfRank(0, 2), 0, 1);
  shapes.InputOfRank(1, 1);
  const PartialShape each = shapes.Concatenate(rows, shapes.UnknownVector());
  shapes.SetOutput(0, shapes.Concatenate(each, shapes.UnknownVector()));
  shapes.SetOutput(1, each);
  shapes.SetOutput(2, each);
}

}  // namespace

void RegisterTranslateOp() {
  RegisterOp({Translate::kName,
              {"source_ids: int32", "divisors: float", "tensors: T"},
              {"tokens: int32", "lengths: int32", "scores: float"},
              {"T: list({float, int8, uint8}) >= 1", "ints: list(int)", "floats: list(float)",
               "beam_size: int = 4", "num_hypotheses: int = 1", "min_length: int = 0",
               "batch_size: int = 32"},
              &TranslateShape});
  RegisterKernel<Translate>();
}

}  // namespace keras_int8nmt
