#include "affinity.h"

#include <algorithm>
#include <map>
#include <mutex>

#ifdef __linux__
#include <sched.h>
#endif

namespace keras_int8nmt {
namespace {

// Threads of ours on each core. Never destroyed: pools may outlive static objects.
struct Uses {
  std::mutex lock;
  std::map<int, int> by_core;
};
Uses& AllUses() {
  static Uses* uses = new Uses;
  return *uses;
}

}  // namespace

#ifdef __linux__

std::vector<int> TakeCores(int count) {
  cpu_set_t allowed;
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &allowed)) cores.push_back(core);
  }
  if (static_cast<int>(cores.size()) < count) return {};
  Uses& uses = AllUses();
  const std::lock_guard<std::mutex> hold(uses.lock);
  std::stable_sort(cores.begin(), cores.end(),
                   [&](int a, int b) { return uses.by_core[a] < uses.by_core[b]; });
  cores.resize(count);
  for (int core : cores) ++uses.by_core[core];
  return cores;
}

void PinTo(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  // A core that has gone since is no reason to fail.
  sched_setaffinity(0, sizeof(set), &set);
}

#else

std::vector<int> TakeCores(int) { return {}; }
void PinTo(int) {}

#endif

void ReleaseCores(const std::vector<int>& cores) {
  Uses& uses = AllUses();
  const std::lock_guard<std::mutex> hold(uses.lock);
  for (int core : cores) --uses.by_core[core];
}

}  // namespace keras_int8nmt
