// The search over one sentence, with the answers of beam_search.py of the Keras engine, which says
// what it means.
#ifndef KERAS_INT8NMT_DECODER_BEAM_H_
#define KERAS_INT8NMT_DECODER_BEAM_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "products.h"
#include "token_filters.h"

namespace keras_int8nmt {

struct SearchOptions {
  int32_t beam_size = 4;
  int32_t num_hypotheses = 1;  // results, at most beam_size
  int32_t max_length = 256, min_length = 0;
  bool scores = true;  // false: nobody reads Hypothesis::score
  // [max_length + 1]: what the sum of log-probabilities of a hypothesis of n tokens is divided by.
  std::vector<float> divisors;
  std::vector<std::shared_ptr<const TokenFilter>> filters;

  // Whether log-probabilities matter: the best logit of a row is its best token without them.
  bool needs_log_sums() const { return scores || beam_size > 1; }

  // Best next tokens of each hypothesis that a step needs. One of them may be the end token where
  // it is not allowed: 2 * beam_size leave enough others.
  int32_t candidates(int64_t vocabulary) const {
    const int64_t most = vocabulary - 1;
    return static_cast<int32_t>(2 * beam_size < most ? 2 * beam_size : most);
  }
};

struct Hypothesis {
  std::vector<int32_t> tokens;  // the end token included
  float score = 0.0f;
};

class Beam {
 public:
  Beam(const SearchOptions& options, int32_t eos_id, int32_t k);

  // The state before the first step.
  void Start(int32_t start_id);

  // Live hypotheses, best first; each has the slot of its number in the cache.
  int32_t live() const { return live_; }
  int32_t token(int32_t i) const { return tokens_[i]; }
  // Tokens generated so far, and so the position of the next step.
  int32_t position() const { return position_; }
  // CachedAttentionArgs::owners for the next step.
  const uint16_t* owners() const { return owners_.data(); }
  int64_t owners_stride() const { return owners_stride_; }

  // Appends what the filters forbid after live hypothesis i; nothing where the end token alone may
  // follow.
  void Forbid(int32_t i, std::vector<int32_t>* ids);

  // One step from the best next tokens of the rows from `first_row` on. False when the search has
  // stopped.
  bool Advance(const BestTokens& best, int64_t first_row);

  // The best ended hypotheses, best first.
  std::vector<Hypothesis> Results() const;

 private:
  struct Candidate {
    float score;
    int32_t token, parent;
  };
  struct Ended {
    float score;
    int32_t length, parent;  // it continued what was live place `parent` before its last step
  };
  struct Step {
    int32_t token, parent;
  };

  void Own();
  void Gather(const BestTokens& best, int64_t first_row);
  void End(const Candidate& candidate, float divisor);
  void Live();
  bool Stopped(float divisor) const;

  const SearchOptions& options_;
  int32_t eos_id_, k_;
  int32_t live_ = 0, position_ = 0;
  std::vector<int32_t> tokens_;
  std::vector<float> scores_;
  std::vector<Ended> ended_;   // best first
  std::vector<Step> history_;  // [position, beam]: of the live ones after that step
  std::vector<Candidate> candidates_;
  std::vector<float> next_scores_;
  std::vector<int32_t> prefix_;
  int64_t owners_stride_;
  std::vector<uint16_t> owners_, next_owners_;  // [beam, blocks, beam]
};

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_DECODER_BEAM_H_
