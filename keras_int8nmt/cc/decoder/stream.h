// One search loop over many sentences: continuous batching.
//
// Sentences are slots of a batch. One that has stopped leaves at once; when enough slots are free,
// waiting sentences are encoded together and take them. What else is in the batch never changes an
// answer.
#ifndef KERAS_INT8NMT_DECODER_STREAM_H_
#define KERAS_INT8NMT_DECODER_STREAM_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "beam.h"
#include "buffer.h"
#include "layers.h"
#include "model.h"
#include "profile.h"
#include "thread_team.h"

namespace keras_int8nmt {

struct Sentence {
  const int32_t* ids = nullptr;  // checked against the vocabulary by whoever feeds
  int64_t length = 0;            // at least 1
  void* request = nullptr;       // the queue's own
  int64_t index = 0;             // likewise
};

// Where sentences come from and go to. Called by the stream's thread.
class RequestQueue {
 public:
  virtual ~RequestQueue() = default;
  // Appends up to `most` sentences, which `sentences` has room for. With `wait` it gives at least
  // one, or returns false: none will come.
  virtual bool Next(int64_t most, bool wait, std::vector<Sentence>* sentences) noexcept = 0;
  // Whether Next would find something; cheap, asked at every step.
  virtual bool HasNext() const = 0;
  // Whether anybody still waits for this sentence; cheap, asked at every step.
  virtual bool Wants(const Sentence& sentence) const = 0;
  // One of the two once for each sentence, which is not to be looked at afterwards.
  virtual void Done(const Sentence& sentence, std::vector<Hypothesis> hypotheses) noexcept = 0;
  virtual void Failed(const Sentence& sentence, const char* why) noexcept = 0;
};

struct StreamOptions {
  int64_t batch_size = 32;
  int64_t max_source = 256;
};

class Stream {
 public:
  // Everything that the loop needs is allocated and prepared here. Model and search options must
  // outlive the stream.
  Stream(const Model& model, const SearchOptions& search, const StreamOptions& options,
         ThreadTeam* team, Profile* profile);

  // Translates until `queue` has no more. What throws meanwhile fails the sentences that are here.
  void Run(RequestQueue* queue);

 private:
  struct Slot {
    explicit Slot(Beam beam) : beam(std::move(beam)) {}
    Sentence sentence;
    SentenceCache cache;
    Beam beam;
    std::string broken;  // where its first NaN was found; empty: nowhere
  };

  void Admit(RequestQueue* queue);
  void Place(const Sentence& sentence);
  void Encode(size_t first);
  void Step(RequestQueue* queue);
  void ForbidAfter(int64_t row, std::vector<int32_t>* ids);
  void Leave(size_t i) noexcept;
  void FailAll(RequestQueue* queue, const char* why) noexcept;

  const Model& model_;
  const SearchOptions& search_;
  StreamOptions options_;
  Profile* profile_;
  int32_t k_;
  BlockPool self_pool_, cross_pool_;
  Layers layers_;
  const Forbid forbid_;
  // The first `active_` slots are taken.
  std::vector<std::unique_ptr<Slot>> slots_;
  size_t active_ = 0;
  std::vector<Sentence> arrived_;  // and have no slot yet
  std::vector<int32_t> tokens_;
  std::vector<SentenceRows> rows_;
};

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_DECODER_STREAM_H_
