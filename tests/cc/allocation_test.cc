// Out of memory at every allocation in turn: loading a model, handing sentences over, translating.
//
// Each of them is done once with its first allocation failing, once with its second, and so on
// until none is left; and again with that one and all later ones failing. Whatever fails must be an
// error of its caller, other requests and later ones get their answers, nobody waits for ever and
// nothing ends the process; the address sanitizer watches the rest.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <thread>

#include "answers.h"
#include "decoder_api.h"

extern "C" const char* keras_int8nmt_last_error();

// ---- operator new, which counts and fails as it is told

namespace {

std::atomic<bool> counting{false}, failing{false};
std::atomic<int64_t> allocations{0};
std::atomic<int64_t> first_failure{-1};
std::atomic<bool> later_ones{false};

bool Fails() {
  if (!counting.load(std::memory_order_relaxed)) return false;
  const int64_t number = allocations.fetch_add(1);
  const int64_t first = first_failure.load(std::memory_order_relaxed);
  const bool fails = later_ones.load(std::memory_order_relaxed) ? number >= first : number == first;
  if (fails) failing = true;
  return fails;
}

void* Take(size_t bytes, size_t alignment) {
  if (Fails()) throw std::bad_alloc();
  void* memory = nullptr;
  if (posix_memalign(&memory, alignment, bytes == 0 ? 1 : bytes) != 0) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(size_t bytes) { return Take(bytes, alignof(std::max_align_t)); }
void* operator new[](size_t bytes) { return Take(bytes, alignof(std::max_align_t)); }
void* operator new(size_t bytes, std::align_val_t alignment) {
  return Take(bytes, static_cast<size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }

namespace keras_int8nmt {
namespace {

// While it lives, allocation `first` fails, and with `all` every one after it.
class NoMemory {
 public:
  NoMemory(int64_t first, bool all) {
    allocations = 0;
    failing = false;
    first_failure = first;
    later_ones = all;
    counting = true;
  }
  ~NoMemory() { counting = false; }
};

bool HasFailed() { return failing; }

// A spec as the C functions are handed it.
class CSpec {
 public:
  explicit CSpec(const Spec& spec) {
    for (const Setting& s : spec.settings) {
      settings_.push_back({s.name.c_str(), s.kind, s.whole, s.number, s.text.c_str()});
    }
    for (size_t i = 0; i < spec.names.size(); ++i) {
      const TensorView& t = spec.tensors[i];
      tensors_.push_back({spec.names[i].c_str(), static_cast<int32_t>(t.type),
                          static_cast<int32_t>(t.dims.size()), t.dims.data(), t.data});
    }
    spec_ = {sizeof(spec_), settings_.data(), static_cast<int64_t>(settings_.size()),
             tensors_.data(), static_cast<int64_t>(tensors_.size())};
  }
  const KerasInt8nmtModelSpec* get() const { return &spec_; }

 private:
  std::vector<KerasInt8nmtSetting> settings_;
  std::vector<KerasInt8nmtTensor> tensors_;
  KerasInt8nmtModelSpec spec_;
};

struct PoolEnd {
  void operator()(void* pool) const { keras_int8nmt_pool_destroy(pool); }
};
struct RequestEnd {
  void operator()(void* request) const { keras_int8nmt_request_free(request); }
};
using PoolPointer = std::unique_ptr<void, PoolEnd>;
using RequestPointer = std::unique_ptr<void, RequestEnd>;

class Scan {
 public:
  Scan(std::string name, const Shape& shape, int streams, int threads, int32_t ngram)
      : name_(std::move(name)),
        model_(ModelMaker(shape).Make()),
        writer_(model_, ActiveGemm()),
        spec_(writer_.spec),
        search_(MakeSearch(3, kMaxLength)) {
    size_ = ngram;
    filter_ = {"no_repeat_ngram", &size_, 1};
    options_ = {sizeof(options_),
                search_.beam_size,
                search_.num_hypotheses,
                search_.max_length,
                search_.min_length,
                search_.divisors.data(),
                1,
                ngram > 0 ? 1 : 0,
                &filter_};
    pool_options_ = {sizeof(pool_options_), streams, threads, 0, 2, kMaxSource};
    Random random(5);
    // More than there are slots, so that some wait; two of more than one block of the cache.
    for (const auto& sentence : MakeSentences(shape, kSentences, kMaxSource, &random)) {
      ids_.insert(ids_.end(), sentence.begin(), sentence.end());
      offsets_.push_back(static_cast<int64_t>(ids_.size()));
      order_.push_back(static_cast<int64_t>(order_.size()));
    }
    const PoolPointer pool = Create();
    expected_ = Answer(pool.get());
  }

  void Run() {
    for (bool all : {false, true}) {
      ScanLoading(all);
      ScanRequests(all);
    }
    std::printf("ran out of memory, %s: %lld times while loading, %lld while translating\n",
                name_.c_str(), static_cast<long long>(loads_), static_cast<long long>(requests_));
  }

 private:
  static constexpr int32_t kSentences = 5, kMaxSource = 20, kMaxLength = 20;

  PoolPointer Create() const {
    return PoolPointer(keras_int8nmt_pool_create(spec_.get(), &options_, &pool_options_));
  }

  RequestPointer Submit(void* pool) const {
    return RequestPointer(keras_int8nmt_request_submit(pool, ids_.data(), offsets_.data(),
                                                       order_.data(), kSentences));
  }

  // Whoever waits for ever is found by the clock.
  void Wait(void* request) const {
    const auto begin = std::chrono::steady_clock::now();
    while (keras_int8nmt_request_wait(request, 100) < kSentences) {
      if (std::chrono::steady_clock::now() - begin < std::chrono::seconds(60)) continue;
      Fail(name_ + ": a request without end");
      std::exit(1);
    }
  }

  // Tokens and scores of a request that is over and did not fail.
  static std::string Read(void* request) {
    int64_t sizes[2];
    keras_int8nmt_request_sizes(request, sizes);
    std::vector<int64_t> counts(kSentences), lengths(sizes[0]);
    std::vector<float> scores(sizes[0]);
    std::vector<int32_t> tokens(sizes[1]);
    keras_int8nmt_request_results(request, counts.data(), lengths.data(), scores.data(),
                                  tokens.data());
    std::string text;
    for (int64_t length : lengths) text += std::to_string(length) + " ";
    for (float score : scores) text += std::to_string(score) + " ";
    for (int32_t token : tokens) text += std::to_string(token) + " ";
    return text;
  }

  std::string Answer(void* pool) const {
    const RequestPointer request = Submit(pool);
    if (request == nullptr) return std::string("refused: ") + keras_int8nmt_last_error();
    Wait(request.get());
    const std::string error = keras_int8nmt_request_error(request.get());
    return error.empty() ? Read(request.get()) : error;
  }

  void ExpectUsable(const std::string& what, void* pool) const {
    const std::string answer = Answer(pool);
    if (answer != expected_) Fail(name_ + ", " + what + ": " + answer);
  }

  // That a request has its answers, or an error that tells of memory.
  void ExpectAnswerOrError(const std::string& what, void* request) const {
    const std::string error = keras_int8nmt_request_error(request);
    if (error.empty()) {
      if (Read(request) != expected_) Fail(name_ + ", " + what + ": other answers");
    } else if (error.find("memory") == std::string::npos) {
      Fail(name_ + ", " + what + ": " + error);
    }
  }

  void ScanLoading(bool all) {
    for (int64_t index = 0;; ++index) {
      PoolPointer pool;
      bool failed = false;
      {
        const NoMemory scarce(index, all);
        pool = Create();
        failed = HasFailed();
      }
      const std::string what = "loading, allocation " + std::to_string(index);
      if (pool != nullptr) {
        // Its streams may have failed to start; they try again.
        Answer(pool.get());
        ExpectUsable(what, pool.get());
      } else if (std::string(keras_int8nmt_last_error()).find("memory") == std::string::npos) {
        Fail(name_ + ", " + what + ": " + keras_int8nmt_last_error());
      }
      if (!failed) return;
      ++loads_;
    }
  }

  void ScanRequests(bool all) {
    for (int64_t index = 0;; ++index) {
      // A new pool: what it has once allocated it keeps.
      const PoolPointer pool = Create();
      const RequestPointer before = Submit(pool.get());
      RequestPointer during;
      bool failed = false;
      {
        const NoMemory scarce(index, all);
        during = Submit(pool.get());
        Wait(before.get());
        if (during != nullptr) Wait(during.get());
        failed = HasFailed();
      }
      const std::string what = "translating, allocation " + std::to_string(index);
      ExpectAnswerOrError(what, before.get());
      if (during != nullptr) ExpectAnswerOrError(what, during.get());
      ExpectUsable(what, pool.get());
      if (!failed) return;
      ++requests_;
    }
  }

  std::string name_;
  small::Model model_;
  SpecWriter writer_;
  CSpec spec_;
  SearchOptions search_;
  int64_t size_ = 0;
  KerasInt8nmtTokenFilter filter_;
  KerasInt8nmtSearchOptions options_;
  KerasInt8nmtPoolOptions pool_options_;
  std::vector<int32_t> ids_;
  std::vector<int64_t> offsets_ = {0}, order_;
  std::string expected_;
  int64_t loads_ = 0, requests_ = 0;
};

Shape SmallShape() {
  Shape shape;
  shape.decoders = 1;
  shape.max_length = 24;
  return shape;
}

int Run() {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  Scan("INT8", SmallShape(), 1, 1, 0).Run();
  Scan("INT8 with a token filter, two streams", SmallShape(), 2, 1, 2).Run();
  Shape wide = SmallShape();
  // Wide enough for the threads of a stream to share products.
  wide.words = 1100;
  Scan("INT8 on a team of threads", wide, 1, 3, 0).Run();
  Shape real = SmallShape();
  real.precision = Precision::kFloat;
  real.key_type = real.value_type = Type::kFloat32;
  Scan("float32", real, 2, 2, 0).Run();
  Shape dynamic = SmallShape();
  dynamic.dynamic = true;
  dynamic.pre_norm = true;
  Scan("dynamic", dynamic, 2, 2, 3).Run();
  std::printf("ran out of memory: %d failures\n", Failures());
  return Failures() == 0 ? 0 : 1;
}

}  // namespace
}  // namespace keras_int8nmt

int main() { return keras_int8nmt::Run(); }
