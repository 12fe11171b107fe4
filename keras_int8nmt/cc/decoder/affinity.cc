#include "affinity.h"

#include <pthread.h>

#include <cstdint>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#ifdef __linux__
#include <dirent.h>
#include <sched.h>

#include "topology.h"
#endif

namespace keras_int8nmt {
namespace {

// Threads of ours on each core. Never destroyed: pools may outlive static objects.
struct Uses {
  std::mutex lock;
  std::map<int, int> by_core;
};
Uses& AllUses() {
  static Uses* const uses = [] {
    auto* made = new Uses;
    // A forked child finds the lock free, and none of the threads.
    pthread_atfork([] { AllUses().lock.lock(); }, [] { AllUses().lock.unlock(); },
                   [] {
                     AllUses().by_core.clear();
                     AllUses().lock.unlock();
                   });
    return made;
  }();
  return *uses;
}

}  // namespace

#ifdef __linux__

namespace {

// The node of each core that has one.
std::map<int, int> ReadNodes() {
  const std::string folder = "/sys/devices/system/node";
  std::map<int, int> nodes;
  const std::unique_ptr<DIR, int (*)(DIR*)> listing(opendir(folder.c_str()), &closedir);
  if (listing == nullptr) return nodes;
  while (const dirent* entry = readdir(listing.get())) {
    const std::string name = entry->d_name;
    const std::string digits = name.rfind("node", 0) == 0 ? name.substr(4) : "";
    if (digits.empty() || digits.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream file(folder + "/" + name + "/cpulist");
    std::string list;
    std::getline(file, list);
    for (int core : ParseCpuList(list)) nodes[core] = std::stoi(digits);
  }
  return nodes;
}

}  // namespace

std::vector<int> TakeCores(int streams, int threads) {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return {};
  if (int64_t{streams} * threads != CPU_COUNT(&allowed)) return {};
  static const std::map<int, int>* nodes = new std::map<int, int>(ReadNodes());
  Uses& uses = AllUses();
  const std::lock_guard<std::mutex> hold(uses.lock);
  std::vector<Core> cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (!CPU_ISSET(core, &allowed)) continue;
    const auto node = nodes->find(core);
    cores.push_back({core, node == nodes->end() ? 0 : node->second, uses.by_core[core]});
  }
  const std::vector<int> chosen = ChooseCores(cores, streams, threads);
  for (int core : chosen) ++uses.by_core[core];
  return chosen;
}

void PinTo(const int* cores, int count) noexcept {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (int i = 0; i < count; ++i) CPU_SET(cores[i], &set);
  // A core that has gone since is no reason to fail.
  sched_setaffinity(0, sizeof(set), &set);
}

#else

std::vector<int> TakeCores(int, int) { return {}; }
void PinTo(const int*, int) noexcept {}

#endif

void ReleaseCores(const std::vector<int>& cores) {
  Uses& uses = AllUses();
  const std::lock_guard<std::mutex> hold(uses.lock);
  for (int core : cores) --uses.by_core[core];
}

}  // namespace keras_int8nmt
