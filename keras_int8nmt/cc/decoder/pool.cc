#include "pool.h"

#include <algorithm>
#include <chrono>
#include <sstream>
#include <stdexcept>

namespace keras_int8nmt {
namespace {

constexpr const char* kClosed = "the translator was closed";
// Sentences that a stream computes together, however few wait: two cost a good deal less than twice
// one, and more than two hardly less for each.
constexpr int64_t kFew = 2;

// A sentence that is not in the order would be waited for without end.
void CheckOrder(const Request& request) {
  std::vector<bool> seen(request.sentences.size(), false);
  for (int64_t index : request.order) {
    if (index < 0 || index >= static_cast<int64_t>(seen.size()) || seen[index]) {
      throw std::invalid_argument("the order of a request has the index " + std::to_string(index) +
                                  " twice or out of range");
    }
    seen[index] = true;
  }
  if (request.order.size() != seen.size()) {
    throw std::invalid_argument("the order of a request is not of all its sentences");
  }
}

}  // namespace

int64_t SentencesToTake(int64_t waiting, int64_t idle, int64_t active, int64_t room) noexcept {
  // What there is is shared with the other streams that have nothing; one alone is for one of them.
  const int64_t sharers = idle + 1;
  const int64_t share = (waiting + (active == 0 ? idle : 0)) / sharers;
  // A sentence beside many takes as long as all of them, and makes them wait. Where few wait, it is
  // answered sooner if those before it are finished first; where many do, full batches take less
  // time for all.
  const int64_t worthwhile = std::max<int64_t>(0, std::max(kFew, waiting) - active);
  return std::min({room, share, worthwhile});
}

Pool::Pool(std::unique_ptr<const Model> model, SearchOptions search, Options options)
    : model_(std::move(model)), search_(std::move(search)), options_(options) {
  const int64_t divisors = static_cast<int64_t>(search_.divisors.size());
  if (search_.beam_size < 1 || search_.num_hypotheses < 1 || search_.max_length < 1 ||
      search_.max_length > model_->max_length || search_.min_length > search_.max_length ||
      search_.num_hypotheses > search_.beam_size || divisors != search_.max_length + 1 ||
      options_.streams < 1 || options_.threads_per_stream < 1 || options_.stream.batch_size < 1 ||
      options_.stream.max_source < 1 || options_.stream.max_source > model_->max_length) {
    throw std::invalid_argument("the search's options are out of range");
  }
  if (options_.pin) cores_.taken = TakeCores(options_.streams, options_.threads_per_stream);
  for (int i = 0; i < options_.streams; ++i) profiles_.push_back(std::make_unique<Profile>());
  try {
    for (int i = 0; i < options_.streams; ++i) threads_.emplace_back([this, i] { Serve(i); });
  } catch (...) {
    // No more threads are to be had; those that run must not be left behind.
    Close();
    throw;
  }
}

Pool::~Pool() { Close(); }

void Pool::Close() noexcept {
  // Whoever comes second waits for the first.
  const std::lock_guard<std::mutex> one(closing_);
  {
    const std::lock_guard<std::mutex> hold(lock_);
    stop_ = true;
    while (!queue_.empty()) {
      if (queue_.front()->error.empty()) queue_.front()->error.Set(kClosed);
      DropWaiting(queue_.front());
    }
  }
  work_.notify_all();
  progress_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

// ---- callers

void Pool::Submit(const std::shared_ptr<Request>& request) {
  const int64_t words = model_->source.words;
  for (const std::vector<int32_t>& sentence : request->sentences) {
    const int64_t length = static_cast<int64_t>(sentence.size());
    if (length < 1 || length > options_.stream.max_source) {
      throw std::invalid_argument("a sentence has " + std::to_string(length) +
                                  " tokens; expected 1 to " +
                                  std::to_string(options_.stream.max_source));
    }
    for (int32_t id : sentence) {
      if (id < 0 || id >= words) {
        throw std::invalid_argument("a sentence has the token " + std::to_string(id) +
                                    "; expected 0 to " + std::to_string(words - 1));
      }
    }
  }
  CheckOrder(*request);
  request->results.resize(request->sentences.size());
  const int64_t count = static_cast<int64_t>(request->sentences.size());
  {
    const std::lock_guard<std::mutex> hold(lock_);
    if (stop_) throw std::runtime_error(kClosed);
    if (count == 0) return;
    // Nothing fails after it.
    queue_.push_back(request.get());
    request->held = request;
    waiting_ += count;
    ++submitted_;
  }
  work_.notify_all();
}

int64_t Pool::Wait(Request* request, int milliseconds) {
  std::unique_lock<std::mutex> hold(lock_);
  const int64_t before = request->finished;
  const int64_t all = static_cast<int64_t>(request->sentences.size());
  // Even a wait for no time would be a call of the system, with the lock let go of meanwhile.
  if (before < all && milliseconds > 0) {
    progress_.wait_for(hold, std::chrono::milliseconds(milliseconds),
                       [&] { return request->finished != before; });
  }
  return request->finished;
}

void Pool::Cancel(Request* request) noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  // Over, or never handed over.
  if (request->held == nullptr) return;
  request->cancelled = true;
  if (request->error.empty()) request->error.Set("cancelled");
  DropWaiting(request);
  progress_.notify_all();
}

// Its sentences that no stream has are over. Called with the lock.
void Pool::DropWaiting(Request* request) noexcept {
  const auto place = std::find(queue_.begin(), queue_.end(), request);
  if (place == queue_.end()) return;
  queue_.erase(place);
  const int64_t waiting = static_cast<int64_t>(request->order.size() - request->handed_out);
  waiting_ -= waiting;
  Finish(request, waiting);
}

// Counts sentences that are over. With the last one the pool lets go of the request, which may end
// it. Called with the lock.
void Pool::Finish(Request* request, int64_t sentences) noexcept {
  request->finished += sentences;
  if (request->finished < static_cast<int64_t>(request->sentences.size())) return;
  if (request->tag >= 0) notices_.Put(request->tag);
  const std::shared_ptr<Request> last = std::move(request->held);
}

void Pool::Tell(Request* request, int64_t tag) {
  const std::lock_guard<std::mutex> hold(lock_);
  if (tag < 0 || request->tag >= 0) {
    throw std::invalid_argument("the tag of a request is " + std::to_string(tag) +
                                "; expected 0 or more, and one tag for each");
  }
  notices_.Expect();
  request->tag = tag;
  if (request->finished == static_cast<int64_t>(request->sentences.size())) notices_.Put(tag);
}

int64_t Pool::TakeOver(int64_t* tags, int64_t most) noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  return notices_.Take(tags, most);
}

int Pool::OverDescriptor() {
  const std::lock_guard<std::mutex> hold(lock_);
  return notices_.Descriptor();
}

void Pool::StartProfile() {
  for (const auto& profile : profiles_) profile->Start();
}

std::string Pool::StopProfile() {
  for (const auto& profile : profiles_) profile->Stop();
  std::ostringstream json;
  json << "{";
  for (int work = 0; work < kWorkCount; ++work) {
    int64_t calls = 0, nanoseconds = 0;
    for (const auto& profile : profiles_) {
      calls += profile->calls(work);
      nanoseconds += profile->nanoseconds(work);
    }
    json << (work == 0 ? "" : ", ") << "\"" << kWorkNames[work] << "\": {\"calls\": " << calls
         << ", \"seconds\": " << static_cast<double>(nanoseconds) * 1e-9 << "}";
  }
  json << "}";
  return json.str();
}

// ---- streams

void Pool::Serve(int stream) {
  for (;;) {
    try {
      return RunStream(stream);
    } catch (const std::exception& error) {
      if (!StartAgain(error)) return;
    }
  }
}

void Pool::RunStream(int stream) {
  const int threads = options_.threads_per_stream;
  const auto pin = [&](int member) {
    if (cores_.taken.empty()) return;
    const int* own = cores_.taken.data() + stream * threads;
    // OpenMP's threads, which float products run on, inherit the cores of member 0.
    if (member == 0 && !model_->int8()) {
      PinTo(own, threads);
    } else {
      PinTo(own + member, 1);
    }
  };
  pin(0);
  ThreadTeam team(threads, pin);
  Stream loop(*model_, search_, options_.stream, &team, profiles_[stream].get());
  loop.Run(this);
}

// The stream could not be made. One that is left may serve; without any, nobody waits for ever.
// True when there is new work to try again for; false when the pool ends.
bool Pool::StartAgain(const std::exception& error) {
  std::unique_lock<std::mutex> hold(lock_);
  if (++not_started_ == options_.streams) {
    while (!queue_.empty()) {
      queue_.front()->error.Set(WhyOf(error), "a stream could not be started: ");
      DropWaiting(queue_.front());
    }
    progress_.notify_all();
  }
  const uint64_t seen = submitted_;
  work_.wait(hold, [&] { return stop_ || submitted_ != seen; });
  --not_started_;
  return !stop_;
}

bool Pool::Next(int64_t most, bool wait, std::vector<Sentence>* sentences) noexcept {
  std::unique_lock<std::mutex> hold(lock_);
  if (wait) {
    ++idle_;
    work_.wait(hold, [&] { return stop_ || !queue_.empty(); });
    --idle_;
    if (stop_) return false;
  }
  const int64_t active = options_.stream.batch_size - most;
  const int64_t count = SentencesToTake(waiting_, idle_, active, most);
  for (int64_t i = 0; i < count; ++i) {
    Request* request = queue_.front();
    const int64_t index = request->order[request->handed_out++];
    if (request->handed_out == request->order.size()) queue_.pop_front();
    const std::vector<int32_t>& ids = request->sentences[index];
    sentences->push_back({ids.data(), static_cast<int64_t>(ids.size()), request, index});
  }
  waiting_ -= count;
  return !sentences->empty();
}

bool Pool::Wants(const Sentence& sentence) const {
  return !stop_.load(std::memory_order_relaxed) &&
         !static_cast<const Request*>(sentence.request)->cancelled.load(std::memory_order_relaxed);
}

void Pool::Done(const Sentence& sentence, std::vector<Hypothesis> hypotheses) noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  auto* request = static_cast<Request*>(sentence.request);
  request->results[sentence.index] = std::move(hypotheses);
  Finish(request, 1);
  progress_.notify_all();
}

void Pool::Failed(const Sentence& sentence, const char* why) noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  auto* request = static_cast<Request*>(sentence.request);
  if (request->error.empty()) request->error.Set(stop_ ? kClosed : why);
  // The others of the request are not worth going on with.
  request->cancelled = true;
  Finish(request, 1);
  progress_.notify_all();
}

}  // namespace keras_int8nmt
