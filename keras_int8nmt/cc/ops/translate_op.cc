// KerasInt8nmtTranslate: the decoder over the rows of a tensor. The model comes as the op's other
// inputs and attributes, so it lives in a SavedModel.
#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "core_link.h"
#include "op_support.h"
#include "ops.h"
#include "shape_functions.h"

namespace keras_int8nmt {
namespace {

// Memory of a sentence grows with the square of it.
constexpr int32_t kMaxBeam = 1024;

// The spec: its settings are attributes, its tensors the op's last inputs.
NamedSpec ReadSpec(const Attributes& attributes) {
  const std::vector<std::string> int_names = attributes.Strings("int_names");
  const std::vector<std::string> float_names = attributes.Strings("float_names");
  const std::vector<std::string> text_names = attributes.Strings("text_names");
  const std::vector<int64_t> ints = attributes.Ints("ints");
  const std::vector<float> floats = attributes.Floats("floats");
  const std::vector<std::string> texts = attributes.Strings("texts");
  NamedSpec spec;
  spec.tensor_names = attributes.Strings("tensor_names");
  if (spec.tensor_names.empty()) return TheCore().name_positional_spec(ints, floats);
  const auto check = [](const char* name, size_t names, size_t values) {
    if (names == values) return;
    Fail(name, " has ", values, " values for ", names, " names.");
  };
  check("ints", int_names.size(), ints.size());
  check("floats", float_names.size(), floats.size());
  check("texts", text_names.size(), texts.size());
  for (size_t i = 0; i < ints.size(); ++i) {
    spec.settings.push_back({int_names[i], Setting::kInt, ints[i], 0.0, ""});
  }
  for (size_t i = 0; i < floats.size(); ++i) {
    spec.settings.push_back({float_names[i], Setting::kFloat, 0, floats[i], ""});
  }
  for (size_t i = 0; i < texts.size(); ++i) {
    spec.settings.push_back({text_names[i], Setting::kText, 0, 0.0, texts[i]});
  }
  return spec;
}

class Translate {
 public:
  static constexpr const char* kName = "KerasInt8nmtTranslate";
  explicit Translate(const Attributes& attributes)
      : spec_(ReadSpec(attributes)),
        structure_(TheCore().structure_of(spec_.settings, spec_.tensor_names)),
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
    rows.settings = &spec_.settings;
    rows.tensor_names = &spec_.tensor_names;
    rows.structure = &structure_;
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

  NamedSpec spec_;
  std::string structure_;
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

// Of release 0.1.0, whose SavedModels go on loading: an op without names, whose `ints` and `floats`
// are a whole spec in one fixed order.
void RegisterTranslateOp() {
  RegisterOp({Translate::kName,
              {"source_ids: int32", "divisors: float", "tensors: T"},
              {"tokens: int32", "lengths: int32", "scores: float"},
              {"T: list({float, int8, uint8}) >= 1", "ints: list(int)", "floats: list(float)",
               "int_names: list(string) = []", "float_names: list(string) = []",
               "text_names: list(string) = []", "texts: list(string) = []",
               "tensor_names: list(string) = []", "beam_size: int = 4", "num_hypotheses: int = 1",
               "min_length: int = 0", "batch_size: int = 32"},
              &TranslateShape});
  RegisterKernel<Translate>();
}

}  // namespace keras_int8nmt
