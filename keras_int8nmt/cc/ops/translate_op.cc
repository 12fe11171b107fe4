// KerasInt8nmtTranslate: the decoder over the rows of a tensor. The model comes as the op's other
// inputs and attributes, so it lives in a SavedModel.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>

#include "op_support.h"
#include "ops.h"
#include "shape_functions.h"
#include "translate_workspaces.h"

namespace keras_int8nmt {
namespace {

// Memory of a sentence grows with the square of it.
constexpr int32_t kMaxBeam = 1024;

// The rows of [rows, columns] as sentences, and what is found for each.
class Rows : public Feed {
 public:
  Rows(const Tensor& ids, int32_t pad_id) : ids_(ids.data<const int32_t>()), stride_(ids.dim(1)) {
    const int64_t count = ids.dim(0);
    for (int64_t i = 0; i < count; ++i) {
      const int32_t* row = ids_ + i * stride_;
      int64_t length = stride_;
      while (length > 1 && row[length - 1] == pad_id) --length;
      lengths_.push_back(length);
    }
    results_.resize(count);
    // The longest first: what takes longest is not left for the end.
    order_.resize(count);
    std::iota(order_.begin(), order_.end(), int64_t{0});
    std::stable_sort(order_.begin(), order_.end(),
                     [&](int64_t a, int64_t b) { return lengths_[a] > lengths_[b]; });
  }

  // Throws for a sentence that the model can't read.
  void Check(const Model& model) const {
    for (size_t i = 0; i < lengths_.size(); ++i) {
      if (lengths_[i] > model.max_length) {
        Fail("source_ids has ", lengths_[i], " tokens in row ", i, "; expected at most ",
             model.max_length, ", the model's max_length.");
      }
      const int32_t* row = ids_ + static_cast<int64_t>(i) * stride_;
      for (int64_t t = 0; t < lengths_[i]; ++t) {
        if (row[t] >= 0 && row[t] < model.source.words) continue;
        Fail("source_ids has ", row[t], " at [", i, ", ", t, "]; expected 0 to ",
             model.source.words - 1, ", the source vocabulary.");
      }
    }
  }

  int64_t longest() const { return order_.empty() ? 0 : lengths_[order_[0]]; }
  const std::vector<std::vector<Hypothesis>>& results() const { return results_; }
  const std::string& error() const { return error_; }

  bool Next(int64_t most, bool, std::vector<Sentence>* sentences) override {
    for (; most > 0 && HasNext(); --most) {
      const int64_t i = order_[next_++];
      sentences->push_back({ids_ + i * stride_, lengths_[i], nullptr, i});
    }
    return !sentences->empty();
  }
  bool HasNext() const override { return error_.empty() && next_ < order_.size(); }
  // After a failure the whole call fails.
  bool Wants(const Sentence&) const override { return error_.empty(); }
  void Done(const Sentence& sentence, std::vector<Hypothesis> hypotheses) override {
    results_[sentence.index] = std::move(hypotheses);
  }
  void Failed(const Sentence& sentence, const std::string& why) override {
    if (error_.empty()) error_ = "row " + std::to_string(sentence.index) + ": " + why + ".";
  }

 private:
  const int32_t* ids_;
  int64_t stride_;
  std::vector<int64_t> lengths_, order_;
  size_t next_ = 0;
  std::vector<std::vector<Hypothesis>> results_;
  std::string error_;
};

Type TypeOf(const Tensor& tensor) {
  switch (FromTensorFlow(TF_TensorType(tensor.get()))) {
    case Type::kInt8:
      return Type::kInt8;
    case Type::kUint8:
      return Type::kUint8;
    default:
      return Type::kFloat32;
  }
}

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
    std::vector<Tensor> tensors;
    std::vector<TensorView> views;
    for (int i = 2; i < context.NumInputs(); ++i) {
      tensors.push_back(context.Input(i, "tensors"));
      const Tensor& last = tensors.back();
      views.push_back({TypeOf(last), last.data<const void>(), last.shape()});
    }
    Tape tape(ints_, floats_, std::move(views));
    const Model model(&tape);
    const SearchOptions search = SearchWith(divisors, model);
    Rows rows(ids, model.pad_id);
    rows.Check(model);
    if (ids.dim(0) > 0) Run(model, search, ids.dim(0), &rows);
    Write(context, rows, model.pad_id);
  }

 private:
  SearchOptions SearchWith(const Tensor& divisors, const Model& model) const {
    ExpectRank(divisors, 1, "[max_length + 1]");
    const int64_t max_length = divisors.dim(0) - 1;
    if (max_length < 1 || max_length > model.max_length) {
      Fail("divisors has shape ", ToText(divisors.shape()),
           "; expected [max_length + 1] with 1 to ", model.max_length, ", the model's max_length.");
    }
    if (search_.min_length > max_length) {
      Fail("min_length is ", search_.min_length, "; expected 0 to ", max_length,
           ", the maximum length that divisors is for.");
    }
    const float* values = divisors.data<const float>();
    for (int64_t i = 0; i <= max_length; ++i) {
      if (std::isfinite(values[i]) && values[i] > 0.0f) continue;
      Fail("divisors has ", values[i], " at position ", i, "; expected a finite number above 0.");
    }
    SearchOptions search = search_;
    search.max_length = static_cast<int32_t>(max_length);
    search.divisors.assign(values, values + max_length + 1);
    return search;
  }

  // In the calling thread: TensorFlow runs calls side by side as it sees fit.
  void Run(const Model& model, const SearchOptions& search, int64_t count, Rows* rows) const {
    // Rounded up, so that calls of about the same size find the same workspace.
    StreamOptions options;
    options.batch_size = 1;
    while (options.batch_size < count) options.batch_size *= 2;
    options.batch_size = std::min(options.batch_size, batch_size_);
    options.max_source = std::min(model.max_length, (rows->longest() + 63) / 64 * 64);
    Workspace::Key key = Workspace::KeyOf(ints_, model, search, options);
    std::unique_ptr<Workspace> workspace = Workspaces::Get().Take(key);
    if (workspace == nullptr) {
      workspace = std::make_unique<Workspace>(std::move(key), model, search, options);
    }
    workspace->Run(model, search, rows);
    if (!rows->error().empty()) Fail(rows->error());
    Workspaces::Get().Give(std::move(workspace));
  }

  void Write(const Context& context, const Rows& rows, int32_t pad_id) const {
    const int64_t batch = static_cast<int64_t>(rows.results().size());
    const int64_t count = search_.num_hypotheses;
    size_t longest = 0;
    for (const std::vector<Hypothesis>& found : rows.results()) {
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
      for (const Hypothesis& each : rows.results()[i]) {
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
