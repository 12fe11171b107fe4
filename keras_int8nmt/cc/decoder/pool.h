// N streams over one model, fed from one queue by any number of callers.
#ifndef KERAS_INT8NMT_DECODER_POOL_H_
#define KERAS_INT8NMT_DECODER_POOL_H_

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "model.h"
#include "profile.h"
#include "stream.h"

namespace keras_int8nmt {

// Sentences that somebody waits for together. The caller keeps it until Wait has said that it is
// over.
struct Request {
  std::vector<std::vector<int32_t>> sentences;
  // The order in which they are handed to the streams; all indices once.
  std::vector<int64_t> order;

  // Filled by the streams; to be read when it is over.
  std::vector<std::vector<Hypothesis>> results;
  std::string error;  // empty: none

  // The pool's own.
  int64_t finished = 0;
  std::atomic<bool> cancelled{false};
};

class Pool : private RequestQueue {
 public:
  struct Options {
    int streams = 1;
    int threads_per_stream = 1;
    bool pin = true;  // threads to cores, where there are enough
    StreamOptions stream;
  };

  // Whoever made the model keeps its tensors alive as long as the pool.
  Pool(std::unique_ptr<const Model> model, SearchOptions search, Options options);
  // Ends the threads; what is not finished fails.
  ~Pool() override;

  // Throws std::invalid_argument for ids or lengths that the model has not, or a bad order. Safe
  // from any thread.
  void Submit(Request* request);
  // Waits for `milliseconds` at most, less if a sentence finishes; returns how many have. The
  // request is over when that is all of them.
  int64_t Wait(Request* request, int milliseconds);
  // Makes the streams drop the request; it is over when Wait says so.
  void Cancel(Request* request);

  void StartProfile();
  // JSON: {"encoder GEMM": {"calls": 3, "seconds": 0.5}, ...}, summed over all streams.
  std::string StopProfile();

 private:
  struct Item {
    Request* request;
    int64_t index;
  };

  void Close();
  void Serve(int stream);
  void Finish(const Sentence& sentence);

  bool Next(int64_t most, bool wait, std::vector<Sentence>* sentences) override;
  bool HasNext() const override { return waiting_.load(std::memory_order_relaxed) > 0; }
  bool Wants(const Sentence& sentence) const override;
  void Done(const Sentence& sentence, std::vector<Hypothesis> hypotheses) override;
  void Failed(const Sentence& sentence, const std::string& why) override;

  const std::unique_ptr<const Model> model_;
  const SearchOptions search_;
  const Options options_;
  std::mutex lock_;
  std::condition_variable work_, progress_;
  std::deque<Item> queue_;
  std::atomic<int64_t> waiting_{0};  // items in the queue
  int idle_ = 0;                     // streams without a sentence
  std::atomic<bool> stop_{false};
  std::vector<std::unique_ptr<Profile>> profiles_;
  std::vector<int> cores_;  // of each thread; empty: not pinned
  std::vector<std::thread> threads_;
  int alive_ = 0;  // streams that could be started, as far as is known
  std::string start_error_;
};

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_DECODER_POOL_H_
