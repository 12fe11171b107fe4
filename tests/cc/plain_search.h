// Beam search as keras_engine/beam_search.py says it, over whole hypotheses and every word.
#ifndef KERAS_INT8NMT_TESTS_CC_PLAIN_SEARCH_H_
#define KERAS_INT8NMT_TESTS_CC_PLAIN_SEARCH_H_

#include <algorithm>
#include <cstdint>
#include <map>
#include <vector>

#include "beam.h"
#include "plain_forward.h"

namespace keras_int8nmt {

// The searches of one sentence; logits are computed once for each prefix.
class PlainSearch {
 public:
  PlainSearch(const small::Model& model, const std::vector<int32_t>& source)
      : model_(model), forward_(model), memory_(forward_.Encode(source)) {}

  std::vector<Hypothesis> Run(const SearchOptions& options) {
    const size_t beam = options.beam_size;
    std::vector<Live> live = {{{}, 0.0f}};
    std::vector<Hypothesis> ended;
    for (int32_t length = 1; length <= options.max_length && !live.empty(); ++length) {
      std::vector<Candidate> candidates = Candidates(options, live, length);
      std::vector<Live> next;
      for (size_t i = 0; i < candidates.size() && i < 2 * beam; ++i) {
        const Candidate& candidate = candidates[i];
        std::vector<int32_t> tokens = live[candidate.parent].tokens;
        tokens.push_back(candidate.token);
        if (candidate.token != model_.eos_id) {
          if (next.size() < beam) next.push_back({tokens, candidate.sum});
        } else if (i < beam) {
          ended.push_back({tokens, candidate.sum / options.divisors[length]});
        }
      }
      // The older win ties.
      std::stable_sort(ended.begin(), ended.end(),
                       [](const Hypothesis& a, const Hypothesis& b) { return a.score > b.score; });
      if (ended.size() > beam) ended.resize(beam);
      live = std::move(next);
      if (ended.size() == beam && !live.empty() &&
          ended[0].score >= live[0].sum / options.divisors[length]) {
        break;
      }
    }
    if (ended.size() > static_cast<size_t>(options.num_hypotheses)) {
      ended.resize(options.num_hypotheses);
    }
    return ended;
  }

  // The score of given tokens.
  float Score(const SearchOptions& options, const std::vector<int32_t>& tokens) {
    float sum = 0.0f;
    std::vector<int32_t> prefix;
    for (int32_t token : tokens) {
      const Step& step = StepAfter(prefix);
      sum += step.logits[token] - step.log_sum;
      prefix.push_back(token);
    }
    return sum / options.divisors[tokens.size()];
  }

 private:
  struct Live {
    std::vector<int32_t> tokens;
    float sum;
  };
  struct Candidate {
    float sum;
    int32_t token, parent;
    float logit;
  };
  struct Step {
    std::vector<float> logits;
    float best, log_sum;  // best of what may be produced
  };

  const Step& StepAfter(const std::vector<int32_t>& tokens) {
    const auto found = steps_.find(tokens);
    if (found != steps_.end()) return found->second;
    std::vector<int32_t> prefix = {model_.start_id};
    prefix.insert(prefix.end(), tokens.begin(), tokens.end());
    Step step;
    step.logits = forward_.Logits(memory_, prefix);
    int32_t id = 0;
    KernelsFor("reference")
        ->top_k(step.logits.data(), 1, static_cast<int64_t>(step.logits.size()), 1, model_.pad_id,
                &step.best, &id, &step.log_sum);
    return steps_.emplace(tokens, step).first->second;
  }

  std::vector<Candidate> Candidates(const SearchOptions& options, const std::vector<Live>& live,
                                    int32_t length) {
    std::vector<Candidate> candidates;
    for (size_t i = 0; i < live.size(); ++i) {
      const Step& step = StepAfter(live[i].tokens);
      const auto add = [&](int32_t token, float log_sum) {
        const float logit = step.logits[token];
        candidates.push_back(
            {logit - log_sum + live[i].sum, token, static_cast<int32_t>(i), logit});
      };
      if (length == options.max_length) {
        // The log-sum-exp as keras_engine/beam_search.py gets it back there.
        add(model_.eos_id, step.best - (step.best - step.log_sum));
        continue;
      }
      for (int32_t token = 0; token < static_cast<int32_t>(step.logits.size()); ++token) {
        if (token == model_.pad_id) continue;
        if (token == model_.eos_id && length < options.min_length) continue;
        add(token, step.log_sum);
      }
    }
    const bool greedy = options.beam_size == 1;
    std::stable_sort(candidates.begin(), candidates.end(),
                     [&](const Candidate& a, const Candidate& b) {
                       // Greedy search compares the logits themselves.
                       if (greedy) return a.logit > b.logit;
                       if (a.sum != b.sum) return a.sum > b.sum;
                       if (a.token != b.token) return a.token < b.token;
                       return a.parent < b.parent;
                     });
    return candidates;
  }

  const small::Model& model_;
  PlainForward forward_;
  PlainTensor memory_;
  std::map<std::vector<int32_t>, Step> steps_;
};

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_TESTS_CC_PLAIN_SEARCH_H_
