#include "token_filters.h"

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <utility>

namespace keras_int8nmt {
namespace {

int32_t Token(int64_t number) {
  if (number < 0 || number > INT32_MAX) throw std::invalid_argument("there is no such token id");
  return static_cast<int32_t>(number);
}

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

// The last token of a sequence must not follow the others. Numbers: the length of each, then it.
class Sequences : public TokenFilter {
 public:
  explicit Sequences(const std::vector<int64_t>& numbers) {
    for (size_t at = 0; at < numbers.size();) {
      const int64_t length = numbers[at++];
      if (length < 1 || static_cast<uint64_t>(length) > numbers.size() - at) {
        throw std::invalid_argument("the token filter sequences wants lengths and so many tokens");
      }
      std::vector<int32_t> sequence;
      for (int64_t i = 0; i < length; ++i) sequence.push_back(Token(numbers[at++]));
      sequences_.push_back(std::move(sequence));
    }
  }

  void Forbid(const std::vector<int32_t>& tokens, std::vector<int32_t>* ids) const override {
    for (const std::vector<int32_t>& sequence : sequences_) {
      const size_t context = sequence.size() - 1;
      if (context > tokens.size()) continue;
      const auto last = tokens.end() - static_cast<std::ptrdiff_t>(context);
      if (std::equal(last, tokens.end(), sequence.begin())) ids->push_back(sequence.back());
    }
  }

 private:
  std::vector<std::vector<int32_t>> sequences_;
};

// Nothing but one token comes first. Numbers: that token, and how many there are.
class FirstToken : public TokenFilter {
 public:
  explicit FirstToken(const std::vector<int64_t>& numbers) {
    if (numbers.size() != 2 || numbers[0] < 0 || numbers[0] >= numbers[1]) {
      throw std::invalid_argument("the token filter first_token wants a token and their number");
    }
    Token(numbers[1]);
    for (int32_t id = 0; id < numbers[1]; ++id) {
      if (id != numbers[0]) others_.push_back(id);
    }
  }

  void Forbid(const std::vector<int32_t>& tokens, std::vector<int32_t>* ids) const override {
    if (tokens.empty()) ids->insert(ids->end(), others_.begin(), others_.end());
  }

 private:
  std::vector<int32_t> others_;
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
    {"sequences", &Make<Sequences>},
    {"first_token", &Make<FirstToken>},
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
