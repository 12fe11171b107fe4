#include "shared_threads.h"

#if defined(__linux__)
#include <sched.h>
#endif
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>

#include "thread_team.h"

namespace keras_int8nmt {
namespace {

// To wake a thread that sleeps took 100 microseconds and more on virtual machines, where its core
// sleeps, too: products of half that time became slower by it.
constexpr double kWorthSharing = 300e-6;

// That this process may use.
int Cores() {
#if defined(__linux__)
  cpu_set_t allowed;
  // It fails where the machine has more cores than the set has places.
  if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0) return CPU_COUNT(&allowed);
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

std::atomic<int>& Wanted() {
  static std::atomic<int> threads{Cores()};
  return threads;
}

// One op at a time has the threads. They are never ended: TensorFlow may still run ops while the
// process ends.
struct Shared {
  std::mutex lock;
  std::unique_ptr<ThreadTeam> team;
  pid_t owner = 0;

  // The team of the wanted size, or null where there is none to be had. The lock is held.
  ThreadTeam* Team(int size) {
    // A forked child has none of the parent's threads, and can't wait for their end.
    if (owner != getpid()) (void)team.release();
    if (team != nullptr && team->size() == size) return team.get();
    team.reset();
    try {
      team = std::make_unique<ThreadTeam>(size, [](int) {});
    } catch (const std::exception&) {
      return nullptr;
    }
    owner = getpid();
    return team.get();
  }
};

Shared& TheShared() {
  static auto* const shared = new Shared;
  return *shared;
}

}  // namespace

void SetSharedThreads(int threads) { Wanted() = std::max(1, threads); }
int SharedThreadsCount() { return Wanted(); }

void InShares(double seconds, const std::function<void(Share share)>& f) {
  const int size = Wanted();
  if (size == 1 || seconds < kWorthSharing) return f({});
  Shared& shared = TheShared();
  const std::unique_lock<std::mutex> held(shared.lock, std::try_to_lock);
  ThreadTeam* team = held.owns_lock() ? shared.Team(size) : nullptr;
  if (team == nullptr) return f({});
  team->Run([&](int member) { f({member, size}); });
}

}  // namespace keras_int8nmt
