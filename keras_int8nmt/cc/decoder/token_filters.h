// Token filters: what must not come next, said by the tokens so far; see runtime/token_filters.py.
#ifndef KERAS_INT8NMT_DECODER_TOKEN_FILTERS_H_
#define KERAS_INT8NMT_DECODER_TOKEN_FILTERS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace keras_int8nmt {

class TokenFilter {
 public:
  virtual ~TokenFilter() = default;
  // Appends the ids that must not follow `tokens`, the start token left out. Called from many
  // threads.
  virtual void Forbid(const std::vector<int32_t>& tokens, std::vector<int32_t>* ids) const = 0;
};

// The filter of a kind, of the numbers that TokenFilter.native gives in Python. Throws
// std::invalid_argument for a kind that there is not, and for numbers that it has no use for.
std::shared_ptr<const TokenFilter> MakeTokenFilter(const std::string& kind,
                                                   const std::vector<int64_t>& numbers);

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_DECODER_TOKEN_FILTERS_H_
