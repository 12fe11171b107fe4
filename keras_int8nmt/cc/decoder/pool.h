// N streams over one model, fed from one queue by any number of callers.
#ifndef KERAS_INT8NMT_DECODER_POOL_H_
#define KERAS_INT8NMT_DECODER_POOL_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "affinity.h"
#include "model.h"
#include "notices.h"
#include "profile.h"
#include "reason.h"
#include "stream.h"

namespace keras_int8nmt {

// Sentences that somebody waits for together. Whoever asked for it and the pool that works on it
// both hold it, so that either may leave first.
struct Request {
  std::vector<std::vector<int32_t>> sentences;
  // The order in which they are handed to the streams; all indices once.
  std::vector<int64_t> order;

  // Filled by the streams; to be read when it is over.
  std::vector<std::vector<Hypothesis>> results;
  Reason error;

  // The pool's own.
  size_t handed_out = 0;  // of `order`
  int64_t finished = 0;
  int64_t tag = -1;  // see Pool::Tell; -1: none
  std::atomic<bool> cancelled{false};
  std::shared_ptr<Request> held;  // itself, until it is over
};

// How many of the `waiting` sentences a stream takes that has `active` ones and room for so many
// more, while `idle` other streams have none.
int64_t SentencesToTake(int64_t waiting, int64_t idle, int64_t active, int64_t room) noexcept;

// Whatever runs out of memory, or fails otherwise, is an error of the requests that it was for; the
// pool goes on.
class Pool : private RequestQueue {
 public:
  struct Options {
    int streams = 1;
    int threads_per_stream = 1;
    bool pin = true;  // threads to cores, where there are enough
    StreamOptions stream;
  };

  // Whoever made the model keeps its tensors alive until Close, or as long as the pool.
  Pool(std::unique_ptr<const Model> model, SearchOptions search, Options options);
  ~Pool() override;

  // Ends the threads; what is not finished fails. Safe from any thread, also while others wait.
  void Close() noexcept;

  // Throws std::invalid_argument for ids or lengths that the model has not, or a bad order, and
  // std::runtime_error after Close; then nothing has been handed over. Safe from any thread.
  void Submit(const std::shared_ptr<Request>& request);
  // Waits for `milliseconds` at most, less if a sentence finishes; returns how many have. The
  // request is over when that is all of them.
  int64_t Wait(Request* request, int milliseconds);
  // Makes the streams drop the request; it is over when Wait says so.
  void Cancel(Request* request) noexcept;

  // For callers that wait for many requests at once. The tag, at least 0, is among those of
  // TakeOver as soon as the request is over, be it already.
  void Tell(Request* request, int64_t tag);
  // Writes the tags of requests that are over, `most` of them and each once; returns how many.
  int64_t TakeOver(int64_t* tags, int64_t most) noexcept;
  // Readable while TakeOver would find something; as long as the pool is there.
  int OverDescriptor();

  void StartProfile();
  // JSON: {"encoder GEMM": {"calls": 3, "seconds": 0.5}, ...}, summed over all streams.
  std::string StopProfile();

 private:
  // Cores that are given back whatever happens.
  struct Cores {
    std::vector<int> taken;  // of each thread; empty: not pinned
    ~Cores() { ReleaseCores(taken); }
  };

  void Serve(int stream);
  void RunStream(int stream);
  bool StartAgain(const std::exception& error);
  void DropWaiting(Request* request) noexcept;
  void Finish(Request* request, int64_t sentences) noexcept;

  bool Next(int64_t most, bool wait, std::vector<Sentence>* sentences) noexcept override;
  bool HasNext() const override { return waiting_.load(std::memory_order_relaxed) > 0; }
  bool Wants(const Sentence& sentence) const override;
  void Done(const Sentence& sentence, std::vector<Hypothesis> hypotheses) noexcept override;
  void Failed(const Sentence& sentence, const char* why) noexcept override;

  const std::unique_ptr<const Model> model_;
  const SearchOptions search_;
  const Options options_;
  std::mutex lock_;
  std::condition_variable work_, progress_;
  std::deque<Request*> queue_;       // those of which some sentences wait
  std::atomic<int64_t> waiting_{0};  // sentences that wait
  int idle_ = 0;                     // streams without a sentence
  Notices notices_;
  std::atomic<bool> stop_{false};
  uint64_t submitted_ = 0;  // requests so far
  int not_started_ = 0;     // streams that could not be made when they were last tried
  std::vector<std::unique_ptr<Profile>> profiles_;
  Cores cores_;
  std::mutex closing_;  // held by the one who joins the threads
  std::vector<std::thread> threads_;
};

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_DECODER_POOL_H_
