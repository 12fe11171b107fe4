#include "thread_team.h"

#include <utility>

namespace keras_int8nmt {
namespace {

// About 50 microseconds: longer than what a stream does between two products.
constexpr int kSpins = 2000;

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  // `yield` does nothing on most of these CPUs; this takes as long as x86's pause.
  asm volatile("isb" ::: "memory");
#else
  std::this_thread::yield();
#endif
}

}  // namespace

ThreadTeam::ThreadTeam(int size, const std::function<void(int)>& begin) {
  try {
    for (int member = 1; member < size; ++member) {
      threads_.emplace_back([this, member, begin] {
        begin(member);
        Work(member);
      });
    }
  } catch (...) {
    // No more threads are to be had; those that run must not be left behind.
    Stop();
    throw;
  }
}

ThreadTeam::~ThreadTeam() { Stop(); }

void ThreadTeam::Stop() {
  {
    const std::lock_guard<std::mutex> hold(lock_);
    stop_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadTeam::Start(void (*call)(const void*, int), const void* f) {
  call_ = call;
  argument_ = f;
  busy_ = static_cast<int>(threads_.size());
  round_.fetch_add(1);
  if (asleep_.load() == 0) return;
  // Whoever is between its last look and its sleep holds the lock.
  {
    const std::lock_guard<std::mutex> hold(lock_);
  }
  wake_.notify_all();
}

// What is thrown is kept for whoever waits; the first one counts.
void ThreadTeam::RunMember(int member) noexcept {
  try {
    call_(argument_, member);
  } catch (...) {
    if (!failed_.exchange(true)) failure_ = std::current_exception();
  }
}

void ThreadTeam::Wait() {
  for (int spins = 0; busy_.load(std::memory_order_acquire) != 0; ++spins) {
    // The others may have lost their core to another process.
    spins < kSpins ? Pause() : std::this_thread::yield();
  }
  if (!failed_.load(std::memory_order_relaxed)) return;
  failed_ = false;
  std::rethrow_exception(std::exchange(failure_, nullptr));
}

void ThreadTeam::Work(int member) {
  for (uint64_t seen = 0;; ++seen) {
    for (int spins = 0; spins < kSpins && round_.load() == seen; ++spins) Pause();
    if (round_.load() == seen) {
      std::unique_lock<std::mutex> hold(lock_);
      ++asleep_;
      wake_.wait(hold, [&] { return round_.load() != seen || stop_; });
      --asleep_;
    }
    if (round_.load() == seen) return;
    RunMember(member);
    busy_.fetch_sub(1, std::memory_order_release);
  }
}

}  // namespace keras_int8nmt
