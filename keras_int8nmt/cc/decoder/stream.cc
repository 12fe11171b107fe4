#include "stream.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <map>
#include <utility>

#include "reason.h"

namespace keras_int8nmt {
namespace {

// Tokens that are encoded together: enough for the products to be at their fastest.
constexpr int64_t kEncoderTokens = 1024;

// Of a sentence with a NaN or an infinity on its way.
constexpr char kBroken[] = "the model gives NaN or infinite logits for this sentence";

// What was found in rows [first, last), or empty.
std::string BrokenAt(const std::map<int64_t, std::string>& broken, int64_t first, int64_t last) {
  const auto found = broken.lower_bound(first);
  return found == broken.end() || found->first >= last ? "" : found->second;
}

bool AllFinite(const std::vector<Hypothesis>& found) {
  return std::all_of(found.begin(), found.end(),
                     [](const Hypothesis& each) { return std::isfinite(each.score); });
}

}  // namespace

Stream::Stream(const Model& model, const SearchOptions& search, const StreamOptions& options,
               ThreadTeam* team, Profile* profile)
    : model_(model),
      search_(search),
      options_(options),
      profile_(profile),
      k_(search.candidates(model.projection.n)),
      self_pool_(SelfBlockBytes(model, search.beam_size)),
      cross_pool_(CrossBlockBytes(model)),
      layers_(model, search.beam_size, std::max(kEncoderTokens, options.max_source),
              options.batch_size * search.beam_size, options.max_source, k_,
              search.needs_log_sums(), !search.filters.empty(), team, profile),
      forbid_([this](int64_t row, std::vector<int32_t>* ids) { ForbidAfter(row, ids); }) {
  for (int64_t i = 0; i < options.batch_size; ++i) {
    slots_.push_back(std::make_unique<Slot>(Beam(search, model.eos_id, k_)));
    slots_.back()->cache.self_blocks.reserve(CacheBlocks(search.max_length));
    slots_.back()->cache.cross_blocks.reserve(CacheBlocks(options.max_source));
  }
  arrived_.reserve(options.batch_size);
  tokens_.reserve(options.batch_size * search.beam_size);
  rows_.reserve(options.batch_size);
}

void Stream::Run(RequestQueue* queue) {
  // A few sentences alone would read all of the encoder's weights for little.
  const size_t enough = std::max<size_t>(1, slots_.size() / 4);
  for (;;) {
    const size_t free = slots_.size() - active_;
    arrived_.clear();
    try {
      if (active_ == 0 || (free >= enough && queue->HasNext())) {
        if (!queue->Next(static_cast<int64_t>(free), active_ == 0, &arrived_) && active_ == 0)
          return;
        Admit(queue);
      }
      if (active_ > 0) Step(queue);
    } catch (const std::exception& error) {
      FailAll(queue, WhyOf(error));
    }
  }
}

// Encodes what has arrived, in groups of whole sentences.
void Stream::Admit(RequestQueue* queue) {
  size_t group = active_;
  int64_t tokens = 0;
  while (!arrived_.empty()) {
    const Sentence sentence = arrived_.back();
    if (!queue->Wants(sentence)) {
      arrived_.pop_back();
      queue->Failed(sentence, "cancelled");
      continue;
    }
    if (active_ > group && tokens + sentence.length > kEncoderTokens) {
      Encode(group);
      group = active_;
      tokens = 0;
    }
    arrived_.pop_back();
    Place(sentence);
    tokens += sentence.length;
  }
  if (active_ > group) Encode(group);
}

void Stream::Place(const Sentence& sentence) {
  Slot& slot = *slots_[active_];
  slot.sentence = sentence;
  slot.cache.source_length = sentence.length;
  // First of all, so that it is found among the active ones when the next line throws.
  ++active_;
  for (int64_t b = 0; b < CacheBlocks(sentence.length); ++b) {
    slot.cache.cross_blocks.push_back(cross_pool_.Take());
  }
  slot.beam.Start(model_.start_id);
  slot.broken.clear();
}

void Stream::Encode(size_t first) {
  std::vector<const int32_t*> sentences;
  std::vector<SentenceCache*> caches;
  for (size_t i = first; i < active_; ++i) {
    sentences.push_back(slots_[i]->sentence.ids);
    caches.push_back(&slots_[i]->cache);
  }
  layers_.Encode(sentences, caches);
  if (layers_.broken().empty()) return;
  int64_t row = 0;
  for (size_t i = first; i < active_; ++i) {
    const int64_t end = row + slots_[i]->sentence.length;
    slots_[i]->broken = BrokenAt(layers_.broken(), row, end);
    row = end;
  }
}

void Stream::Step(RequestQueue* queue) {
  tokens_.clear();
  rows_.clear();
  for (size_t i = 0; i < active_; ++i) {
    Slot& slot = *slots_[i];
    const Beam& beam = slot.beam;
    if (beam.position() % kCacheBlock == 0) slot.cache.self_blocks.push_back(self_pool_.Take());
    rows_.push_back({&slot.cache, static_cast<int64_t>(tokens_.size()), beam.live(),
                     beam.position(), beam.owners(), beam.owners_stride()});
    for (int32_t j = 0; j < beam.live(); ++j) tokens_.push_back(beam.token(j));
  }
  const BestTokens best = layers_.Step(tokens_, rows_, model_.pad_id, model_.eos_id,
                                       search_.filters.empty() ? nullptr : &forbid_);
  const WorkTimer timer(profile_, Work::kSearch);
  // From the last, so that a slot that is freed is refilled by one that is done with.
  for (size_t i = active_; i-- > 0;) {
    Slot& slot = *slots_[i];
    const SentenceRows& rows = rows_[i];
    const uint8_t* finite = best.finite + rows.first_row;
    if (slot.broken.empty() && !layers_.broken().empty()) {
      slot.broken = BrokenAt(layers_.broken(), rows.first_row, rows.first_row + rows.rows);
    }
    if (!slot.broken.empty()) {
      const std::string why = std::string(kBroken) + "; the first are seen at " + slot.broken;
      queue->Failed(slot.sentence, why.c_str());
      Leave(i);
    } else if (std::find(finite, finite + rows.rows, 0) != finite + rows.rows) {
      queue->Failed(slot.sentence, kBroken);
      Leave(i);
    } else if (!queue->Wants(slot.sentence)) {
      queue->Failed(slot.sentence, "cancelled");
      Leave(i);
    } else if (!slot.beam.Advance(best, rows.first_row)) {
      std::vector<Hypothesis> found = slot.beam.Results();
      if (search_.scores && !AllFinite(found)) {
        queue->Failed(slot.sentence, "a score of this sentence is NaN or infinite");
      } else {
        queue->Done(slot.sentence, std::move(found));
      }
      Leave(i);
    }
  }
}

// What the filters forbid after a row of this step.
void Stream::ForbidAfter(int64_t row, std::vector<int32_t>* ids) {
  const auto after =
      std::upper_bound(rows_.begin(), rows_.end(), row,
                       [](int64_t r, const SentenceRows& s) { return r < s.first_row; });
  const auto slot = after - rows_.begin() - 1;
  slots_[slot]->beam.Forbid(static_cast<int32_t>(row - rows_[slot].first_row), ids);
}

// Gives up slot i; the last one that is taken moves there.
void Stream::Leave(size_t i) noexcept {
  SentenceCache& cache = slots_[i]->cache;
  for (char* block : cache.self_blocks) self_pool_.Give(block);
  for (char* block : cache.cross_blocks) cross_pool_.Give(block);
  cache.self_blocks.clear();
  cache.cross_blocks.clear();
  --active_;
  std::swap(slots_[i], slots_[active_]);
}

// Those that have a slot, and those that have none yet.
void Stream::FailAll(RequestQueue* queue, const char* why) noexcept {
  while (active_ > 0) {
    queue->Failed(slots_[active_ - 1]->sentence, why);
    Leave(active_ - 1);
  }
  for (const Sentence& sentence : arrived_) queue->Failed(sentence, why);
}

}  // namespace keras_int8nmt
