// Time spent in each op of the library, counted while asked for: what `bench profile` prints.
#ifndef KERAS_INT8NMT_OPS_OP_PROFILE_H_
#define KERAS_INT8NMT_OPS_OP_PROFILE_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>

namespace keras_int8nmt {

// One an op, of static lifetime; safe from many threads.
class OpProfile {
 public:
  explicit OpProfile(const char* op);

  const char* op;
  std::atomic<int64_t> calls{0}, nanoseconds{0};
};

extern std::atomic<bool> op_profile_on;

// Counts its own lifetime, if counting was on at its beginning.
class OpTimer {
 public:
  explicit OpTimer(OpProfile& profile)
      : profile_(op_profile_on.load(std::memory_order_relaxed) ? &profile : nullptr) {
    if (profile_ != nullptr) start_ = Clock::now();
  }
  ~OpTimer() {
    if (profile_ == nullptr) return;
    const auto elapsed = Clock::now() - start_;
    profile_->nanoseconds += std::chrono::duration_cast<std::chrono::nanoseconds>(elapsed).count();
    ++profile_->calls;
  }
  OpTimer(const OpTimer&) = delete;
  OpTimer& operator=(const OpTimer&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  OpProfile* profile_;
  Clock::time_point start_;
};

// Sets all counts to 0 and counts from now on.
void StartOpProfile();
// Stops counting. JSON: {"KerasInt8nmtMatMul": {"calls": 3, "seconds": 0.5}, ...}.
std::string StopOpProfile();

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_OPS_OP_PROFILE_H_
