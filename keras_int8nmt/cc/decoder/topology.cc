#include "topology.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <numeric>
#include <sstream>
#include <tuple>

namespace keras_int8nmt {
namespace {

// The node that a stream of `threads` threads goes to, by its cores that are left; -1: none has so
// many.
int ChooseNode(const std::map<int, std::vector<Core>>& left, int threads) {
  int best = -1;
  std::tuple<int, int> least;
  for (const auto& [node, cores] : left) {
    const int count = static_cast<int>(cores.size());
    if (count < threads) continue;
    const int uses = std::accumulate(cores.begin(), cores.begin() + threads, 0,
                                     [](int sum, const Core& core) { return sum + core.uses; });
    const std::tuple<int, int> rank{uses, -count};
    if (best < 0 || rank < least) {
      best = node;
      least = rank;
    }
  }
  return best;
}

}  // namespace

std::vector<int> ChooseCores(std::vector<Core> cores, int streams, int threads) {
  if (static_cast<int64_t>(cores.size()) < int64_t{streams} * threads) return {};
  const auto less_used = [](const Core& a, const Core& b) { return a.uses < b.uses; };
  std::stable_sort(cores.begin(), cores.end(), less_used);
  std::map<int, std::vector<Core>> left;
  for (const Core& core : cores) left[core.node].push_back(core);
  std::vector<int> chosen;
  for (int stream = 0; stream < streams; ++stream) {
    const int node = ChooseNode(left, threads);
    if (node >= 0) {
      std::vector<Core>& own = left[node];
      for (int i = 0; i < threads; ++i) chosen.push_back(own[i].number);
      own.erase(own.begin(), own.begin() + threads);
      continue;
    }
    // Split over nodes, since it can't be helped.
    for (int i = 0; i < threads; ++i) {
      const int single = ChooseNode(left, 1);
      chosen.push_back(left[single].front().number);
      left[single].erase(left[single].begin());
    }
  }
  return chosen;
}

std::vector<int> ParseCpuList(const std::string& list) {
  std::vector<int> numbers;
  std::istringstream in(list);
  std::string range;
  while (std::getline(in, range, ',')) {
    std::istringstream part(range);
    int first = 0, last = 0;
    char dash = 0;
    if (!(part >> first)) return {};
    last = first;
    if (part >> dash && (dash != '-' || !(part >> last) || last < first)) return {};
    for (int number = first; number <= last; ++number) numbers.push_back(number);
  }
  return numbers;
}

}  // namespace keras_int8nmt
