#include "gemm/group_pairs.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace keras_int8nmt {
namespace panels {

namespace {

// Partners that a group is tried with. Of bell-shaped weights every second fits; where none does,
// groups are not worth more time.
constexpr int kTries = 12;

// Whether no load is above the room that is left; in operations on bytes.
bool Fits(const uint8_t* loads, const uint8_t* room, int64_t count) {
  uint8_t above = 0;
  for (int64_t i = 0; i < count; ++i) above |= std::max(loads[i], room[i]) ^ room[i];
  return above == 0;
}

}  // namespace

void GroupLoads::Find(const int8_t* group, int64_t columns, bool narrow, uint8_t* loads) {
  for (int64_t pair = 0; pair < 2 * columns; ++pair) {
    const int one = group[2 * pair], other = group[2 * pair + 1];
    if (narrow) {
      loads[2 * pair] = static_cast<uint8_t>(std::max(one, 0) + std::max(other, 0));
      loads[2 * pair + 1] = static_cast<uint8_t>(std::max(-one, 0) + std::max(-other, 0));
    } else {
      const int load = std::max(one, ~one) + 1 + std::max(other, ~other) + 1;
      // 255 with the 2 of a group of zeros is too much already.
      loads[pair] = static_cast<uint8_t>(std::min(load, 255));
    }
  }
}

int64_t PairGroups(const uint8_t* loads, int64_t groups, int64_t count, int limit, int32_t* order) {
  std::vector<int> peaks(groups);
  for (int64_t g = 0; g < groups; ++g) {
    peaks[g] = *std::max_element(loads + g * count, loads + (g + 1) * count);
  }
  std::vector<int32_t> by_peak(groups);
  std::iota(by_peak.begin(), by_peak.end(), 0);
  std::sort(by_peak.begin(), by_peak.end(), [&](int32_t one, int32_t other) {
    return peaks[one] != peaks[other] ? peaks[one] < peaks[other] : one < other;
  });
  // Those that fit few are asked first, and try those first that fit many.
  std::vector<int32_t> alone;
  std::vector<uint8_t> room(count);
  int64_t pairs = 0;
  while (!by_peak.empty()) {
    const int32_t hardest = by_peak.back();
    by_peak.pop_back();
    for (int64_t i = 0; i < count; ++i) {
      room[i] = static_cast<uint8_t>(std::max(limit - loads[hardest * count + i], 0));
    }
    const auto last = by_peak.begin() + std::min<int64_t>(by_peak.size(), kTries);
    const auto partner = std::find_if(by_peak.begin(), last, [&](int32_t other) {
      return Fits(loads + other * count, room.data(), count);
    });
    if (partner == last) {
      alone.push_back(hardest);
      continue;
    }
    order[2 * pairs] = hardest;
    order[2 * pairs + 1] = *partner;
    by_peak.erase(partner);
    ++pairs;
  }
  if (4 * pairs < groups) {
    std::iota(order, order + groups, 0);
    return 0;
  }
  std::copy(alone.begin(), alone.end(), order + 2 * pairs);
  return pairs;
}

}  // namespace panels
}  // namespace keras_int8nmt
