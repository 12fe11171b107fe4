#include "token_filters.h"

#include <algorithm>
#include <stdexcept>

namespace keras_int8nmt {
namespace {

// No run of `size` tokens occurs twice.
class NoRepeatNgram : public TokenFilter {
 public:
  explicit NoRepeatNgram(const std::vector<int64_t>& numbers) {
    if (numbers.size() != 1 || numbers[0] < 1) {
      throw std::invalid_argument("the token filter no_repeat_ngram wants one number from 1 on");
    }
    context_ = static_cast<size_t>(numbers[0]) - 1;
  }

  void Forbid(const std::vector<int32_t>& tokens, std::vector<int32_t>* ids) const override {
    if (tokens.size() <= context_) return;
    const auto last = tokens.end() - static_cast<std::ptrdiff_t>(context_);
    for (size_t end = context_; end < tokens.size(); ++end) {
      const auto before = tokens.begin() + static_cast<std::ptrdiff_t>(end - context_);
      if (std::equal(last, tokens.end(), before)) ids->push_back(tokens[end]);
    }
  }

 private:
  size_t context_;
};

template <class Filter>
std::shared_ptr<const TokenFilter> Make(const std::vector<int64_t>& numbers) {
  return std::make_shared<const Filter>(numbers);
}

struct Kind {
  const char* name;
  std::shared_ptr<const TokenFilter> (*make)(const std::vector<int64_t>& numbers);
};

constexpr Kind kKinds[] = {
    {"no_repeat_ngram", &Make<NoRepeatNgram>},
};

}  // namespace

std::shared_ptr<const TokenFilter> MakeTokenFilter(const std::string& kind,
                                                   const std::vector<int64_t>& numbers) {
  for (const Kind& each : kKinds) {
    if (kind == each.name) return each.make(numbers);
  }
  throw std::invalid_argument("there is no token filter \"" + kind + "\"");
}

}  // namespace keras_int8nmt
