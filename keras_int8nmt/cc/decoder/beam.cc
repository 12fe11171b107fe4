#include "beam.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace keras_int8nmt {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

}  // namespace

Beam::Beam(const SearchOptions& options, int32_t eos_id, int32_t k)
    : options_(options), eos_id_(eos_id), k_(k) {
  const size_t beam = options.beam_size;
  const size_t blocks = (options.max_length + kCacheBlock - 1) / kCacheBlock;
  tokens_.resize(beam);
  scores_.resize(beam);
  next_scores_.resize(beam);
  ended_.reserve(2 * beam);
  history_.reserve(beam * options.max_length);
  candidates_.reserve(beam * k);
  owners_stride_ = static_cast<int64_t>(blocks * beam);
  owners_.resize(beam * owners_stride_);
  next_owners_.resize(beam * owners_stride_);
}

void Beam::Start(int32_t start_id) {
  live_ = 1;
  position_ = 0;
  tokens_[0] = start_id;
  scores_[0] = 0.0f;
  ended_.clear();
  history_.clear();
  Own();
}

void Beam::Forbid(int32_t i, std::vector<int32_t>* ids) {
  if (position_ + 1 == options_.max_length) return;
  prefix_.resize(position_);
  for (int32_t t = position_ - 1, place = i; t >= 0; --t) {
    const Step& step = history_[t * options_.beam_size + place];
    prefix_[t] = step.token;
    place = step.parent;
  }
  for (const auto& filter : options_.filters) filter->Forbid(prefix_, ids);
}

// Each live hypothesis writes the next position into its own slot.
void Beam::Own() {
  const int64_t beam = options_.beam_size;
  const int64_t block = position_ / kCacheBlock;
  for (int32_t i = 0; i < live_; ++i) {
    uint16_t* owners = &owners_[i * owners_stride_ + block * beam];
    if (position_ % kCacheBlock == 0) std::fill(owners, owners + beam, uint16_t{0});
    owners[i] = static_cast<uint16_t>(owners[i] | 1u << position_ % kCacheBlock);
  }
}

// The best continuations of all live hypotheses, best first; ties go to the lower token, then to
// the lower place.
void Beam::Gather(const BestTokens& best, int64_t first_row) {
  const int32_t length = position_ + 1;
  candidates_.clear();
  for (int32_t i = 0; i < live_; ++i) {
    const int64_t row = first_row + i;
    const float* logits = best.logits + row * k_;
    if (length == options_.max_length) {
      // The end token alone. Its log-sum-exp is what the layer path has left of it there.
      const float log_sum = logits[0] - (logits[0] - best.log_sums[row]);
      candidates_.push_back({best.watched_logits[row] - log_sum + scores_[i], eos_id_, i});
      continue;
    }
    const size_t before = candidates_.size();
    for (int32_t c = 0; c < k_; ++c) {
      const int32_t token = best.ids[row * k_ + c];
      if (token == eos_id_ && length < options_.min_length) continue;
      candidates_.push_back({logits[c] - best.log_sums[row] + scores_[i], token, i});
    }
    const bool none = candidates_.size() == before || candidates_[before].score == kNever;
    if (none && !options_.filters.empty()) {
      // Nothing else is left.
      candidates_.resize(before);
      candidates_.push_back(
          {best.watched_logits[row] - best.log_sums[row] + scores_[i], eos_id_, i});
    }
  }
  const size_t count = std::min(candidates_.size(), size_t{2} * options_.beam_size);
  // Those of one hypothesis are in order already.
  if (options_.beam_size > 1) {
    std::partial_sort(candidates_.begin(), candidates_.begin() + count, candidates_.end(),
                      [](const Candidate& a, const Candidate& b) {
                        if (a.score != b.score) return a.score > b.score;
                        if (a.token != b.token) return a.token < b.token;
                        return a.parent < b.parent;
                      });
  }
  candidates_.resize(count);
  while (!candidates_.empty() && candidates_.back().score == kNever) candidates_.pop_back();
}

// Among the best `beam_size` ended ones; the older win ties.
void Beam::End(const Candidate& candidate, float divisor) {
  const Ended ended = {candidate.score / divisor, position_ + 1, candidate.parent};
  const auto worse = std::find_if(ended_.begin(), ended_.end(),
                                  [&](const Ended& other) { return other.score < ended.score; });
  ended_.insert(worse, ended);
  if (ended_.size() > static_cast<size_t>(options_.beam_size)) ended_.pop_back();
}

// The best continuations that have not ended live on.
void Beam::Live() {
  const int64_t beam = options_.beam_size;
  const int64_t used = (position_ / kCacheBlock + 1) * beam;
  int32_t next = 0;
  for (const Candidate& candidate : candidates_) {
    if (candidate.token == eos_id_ || next == options_.beam_size) continue;
    tokens_[next] = candidate.token;
    next_scores_[next] = candidate.score;
    history_.push_back({candidate.token, candidate.parent});
    std::copy_n(&owners_[candidate.parent * owners_stride_], used,
                &next_owners_[next * owners_stride_]);
    ++next;
  }
  for (int32_t i = next; i < options_.beam_size; ++i) history_.push_back({eos_id_, 0});
  live_ = next;
  scores_.swap(next_scores_);
  owners_.swap(next_owners_);
}

bool Beam::Stopped(float divisor) const {
  if (live_ == 0) return true;
  return ended_.size() == static_cast<size_t>(options_.beam_size) &&
         ended_[0].score >= scores_[0] / divisor;
}

bool Beam::Advance(const BestTokens& best, int64_t first_row) {
  Gather(best, first_row);
  const float divisor = options_.divisors[position_ + 1];
  const int32_t first = std::min(options_.beam_size, static_cast<int32_t>(candidates_.size()));
  for (int32_t c = 0; c < first; ++c) {
    if (candidates_[c].token == eos_id_) End(candidates_[c], divisor);
  }
  Live();
  ++position_;
  if (position_ == options_.max_length || Stopped(divisor)) return false;
  Own();
  return true;
}

std::vector<Hypothesis> Beam::Results() const {
  std::vector<Hypothesis> results;
  for (const Ended& ended : ended_) {
    if (results.size() == static_cast<size_t>(options_.num_hypotheses)) break;
    Hypothesis hypothesis;
    hypothesis.score = ended.score;
    hypothesis.tokens.resize(ended.length);
    hypothesis.tokens[ended.length - 1] = eos_id_;
    int32_t place = ended.parent;
    for (int32_t t = ended.length - 2; t >= 0; --t) {
      const Step& step = history_[t * options_.beam_size + place];
      hypothesis.tokens[t] = step.token;
      place = step.parent;
    }
    results.push_back(std::move(hypothesis));
  }
  return results;
}

}  // namespace keras_int8nmt
