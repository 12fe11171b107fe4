#include "translate_rows.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

#include "reason.h"
#include "workspaces.h"

namespace keras_int8nmt {
namespace {

template <class... Parts>
[[noreturn]] void Fail(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  throw std::invalid_argument(text.str());
}

// The rows as sentences, and what is found for each.
class Rows : public RequestQueue {
 public:
  Rows(const RowsToTranslate& rows, int32_t pad_id) : ids_(rows.ids), stride_(rows.columns) {
    for (int64_t i = 0; i < rows.rows; ++i) {
      const int32_t* row = ids_ + i * stride_;
      int64_t length = stride_;
      while (length > 1 && row[length - 1] == pad_id) --length;
      lengths_.push_back(length);
    }
    results_.resize(rows.rows);
    // The longest first: what takes longest is not left for the end.
    order_.resize(rows.rows);
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
  std::vector<std::vector<Hypothesis>> TakeResults() { return std::move(results_); }
  // Throws where one of them failed.
  void CheckFailure() const {
    if (!error_.empty()) Fail("row ", failed_row_, ": ", error_.c_str(), ".");
  }

  bool Next(int64_t most, bool, std::vector<Sentence>* sentences) noexcept override {
    for (; most > 0 && HasNext(); --most) {
      const int64_t i = order_[next_++];
      sentences->push_back({ids_ + i * stride_, lengths_[i], nullptr, i});
    }
    return !sentences->empty();
  }
  bool HasNext() const override { return error_.empty() && next_ < order_.size(); }
  // After a failure the whole call fails.
  bool Wants(const Sentence&) const override { return error_.empty(); }
  void Done(const Sentence& sentence, std::vector<Hypothesis> hypotheses) noexcept override {
    results_[sentence.index] = std::move(hypotheses);
  }
  void Failed(const Sentence& sentence, const char* why) noexcept override {
    if (!error_.empty()) return;
    error_.Set(why);
    failed_row_ = sentence.index;
  }

 private:
  const int32_t* ids_;
  int64_t stride_;
  std::vector<int64_t> lengths_, order_;
  size_t next_ = 0;
  std::vector<std::vector<Hypothesis>> results_;
  Reason error_;
  int64_t failed_row_ = 0;
};

SearchOptions SearchOf(const RowsToTranslate& rows, const Model& model) {
  const int64_t max_length = rows.num_divisors - 1;
  if (max_length < 1 || max_length > model.max_length) {
    Fail("divisors has shape [", rows.num_divisors, "]; expected [max_length + 1] with 1 to ",
         model.max_length, ", the model's max_length.");
  }
  if (rows.search.min_length > max_length) {
    Fail("min_length is ", rows.search.min_length, "; expected 0 to ", max_length,
         ", the maximum length that divisors is for.");
  }
  for (int64_t i = 0; i <= max_length; ++i) {
    if (std::isfinite(rows.divisors[i]) && rows.divisors[i] > 0.0f) continue;
    Fail("divisors has ", rows.divisors[i], " at position ", i,
         "; expected a finite number above 0.");
  }
  SearchOptions search = rows.search;
  search.max_length = static_cast<int32_t>(max_length);
  search.divisors.assign(rows.divisors, rows.divisors + max_length + 1);
  return search;
}

void Run(const RowsToTranslate& asked, const Model& model, const SearchOptions& search,
         Rows* rows) {
  // Rounded up, so that calls of about the same size find the same workspace.
  StreamOptions options;
  options.batch_size = 1;
  while (options.batch_size < asked.rows) options.batch_size *= 2;
  options.batch_size = std::min(options.batch_size, asked.batch_size);
  options.max_source = std::min(model.max_length, (rows->longest() + 63) / 64 * 64);
  Workspace::Key key = Workspace::KeyOf(*asked.structure, model, search, options);
  std::unique_ptr<Workspace> workspace = Workspaces::Get().Take(key);
  if (workspace == nullptr) {
    workspace = std::make_unique<Workspace>(std::move(key), model, search, options);
  }
  workspace->Run(model, search, rows);
  Workspaces::Get().Give(std::move(workspace));
  rows->CheckFailure();
}

}  // namespace

std::string StructureOf(const std::vector<Setting>& settings,
                        const std::vector<std::string>& tensor_names) {
  std::string text;
  for (const Setting& setting : settings) {
    text += setting.name + '=';
    if (setting.kind == Setting::kInt) text += std::to_string(setting.whole);
    if (setting.kind == Setting::kText) text += setting.text;
    text += '\n';
  }
  for (const std::string& name : tensor_names) text += name + '\n';
  return text;
}

TranslatedRows TranslateRows(const RowsToTranslate& asked) {
  ModelReader reader(*asked.settings, *asked.tensor_names, asked.tensors);
  // At every call of the op: what is large is not looked through.
  const Model model(&reader, false);
  const SearchOptions search = SearchOf(asked, model);
  Rows rows(asked, model.pad_id);
  rows.Check(model);
  if (asked.rows > 0) Run(asked, model, search, &rows);
  return {rows.TakeResults(), model.pad_id};
}

}  // namespace keras_int8nmt
