// Where the time of a stream goes, counted by kind of work while asked for.
#ifndef KERAS_INT8NMT_DECODER_PROFILE_H_
#define KERAS_INT8NMT_DECODER_PROFILE_H_

#include <atomic>
#include <chrono>
#include <cstdint>

namespace keras_int8nmt {

enum class Work : int {
  kEncoderGemm,
  kMemoryGemm,
  kQkvGemm,
  kSelfOutGemm,
  kCrossGemm,
  kFfnGemm,
  kProjection,
  kEncoderAttention,
  kSelfAttention,
  kCrossAttention,
  kCacheWrite,
  kLayerNorm,
  kEmbedding,
  kSearch,
  kCount
};
constexpr int kWorkCount = static_cast<int>(Work::kCount);
constexpr const char* kWorkNames[kWorkCount] = {"encoder GEMM",
                                                "cross keys and values GEMM",
                                                "QKV GEMM",
                                                "self-attention output GEMM",
                                                "cross-attention GEMM",
                                                "feed-forward GEMM",
                                                "output projection and top-k",
                                                "encoder attention",
                                                "self-attention",
                                                "cross-attention",
                                                "cache writes",
                                                "LayerNorm, residual, quantize",
                                                "embedding",
                                                "search"};

// One of a stream. Other threads read and clear it while it is added to.
class Profile {
 public:
  void Start() {
    for (auto& each : nanoseconds_) each = 0;
    for (auto& each : calls_) each = 0;
    on_ = true;
  }
  void Stop() { on_ = false; }
  bool on() const { return on_.load(std::memory_order_relaxed); }
  void Add(Work work, int64_t nanoseconds) {
    nanoseconds_[static_cast<int>(work)] += nanoseconds;
    ++calls_[static_cast<int>(work)];
  }
  int64_t nanoseconds(int work) const { return nanoseconds_[work]; }
  int64_t calls(int work) const { return calls_[work]; }

 private:
  std::atomic<bool> on_{false};
  std::atomic<int64_t> nanoseconds_[kWorkCount] = {};
  std::atomic<int64_t> calls_[kWorkCount] = {};
};

// Counts its own lifetime, if counting was on at its beginning.
class WorkTimer {
 public:
  WorkTimer(Profile* profile, Work work)
      : profile_(profile->on() ? profile : nullptr), work_(work) {
    if (profile_ != nullptr) start_ = Clock::now();
  }
  ~WorkTimer() {
    if (profile_ == nullptr) return;
    const auto elapsed = Clock::now() - start_;
    profile_->Add(work_, std::chrono::duration_cast<std::chrono::nanoseconds>(elapsed).count());
  }
  WorkTimer(const WorkTimer&) = delete;
  WorkTimer& operator=(const WorkTimer&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  Profile* profile_;
  Work work_;
  Clock::time_point start_;
};

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_DECODER_PROFILE_H_
