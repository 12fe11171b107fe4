// Cores for streams, on machines of given shape and on this one.
#include "topology.h"

#include <sched.h>

#include <cstdio>
#include <string>
#include <vector>

#include "affinity.h"
#include "check.h"

namespace keras_int8nmt {
namespace {

using Numbers = std::vector<int>;

std::string Text(const Numbers& numbers) {
  std::string text;
  for (int number : numbers) text += " " + std::to_string(number);
  return text;
}

void CheckSame(const std::string& what, const Numbers& actual, const Numbers& expected) {
  if (actual != expected) Fail(what + ": expected" + Text(expected) + ", was" + Text(actual));
}

// `cores` of each node, numbered node after node.
std::vector<Core> Machine(int nodes, int cores) {
  std::vector<Core> machine;
  for (int i = 0; i < nodes * cores; ++i) machine.push_back({i, i / cores, 0});
  return machine;
}

void TestOneNode() {
  CheckSame("the first cores", ChooseCores(Machine(1, 4), 2, 1), {0, 1});
  CheckSame("threads side by side", ChooseCores(Machine(1, 4), 2, 2), {0, 1, 2, 3});
  CheckSame("too few", ChooseCores(Machine(1, 4), 5, 1), {});
  CheckSame("too few for a stream", ChooseCores(Machine(1, 3), 2, 2), {});
  std::vector<Core> used = Machine(1, 4);
  used[0].uses = used[1].uses = 1;
  CheckSame("the least used", ChooseCores(used, 3, 1), {2, 3, 0});
}

void TestNodes() {
  CheckSame("streams on all nodes", ChooseCores(Machine(2, 2), 3, 1), {0, 2, 1});
  // In the order of their numbers the second stream would have cores 2 and 3, of two nodes.
  CheckSame("a stream on one node", ChooseCores(Machine(2, 3), 2, 2), {0, 1, 3, 4});
  CheckSame("split as the last resort", ChooseCores(Machine(2, 3), 3, 2), {0, 1, 3, 4, 2, 5});
  // As Linux numbers two nodes of two cores with two threads each.
  const std::vector<Core> siblings = {{0, 0, 0}, {1, 0, 0}, {2, 1, 0}, {3, 1, 0},
                                      {4, 0, 0}, {5, 0, 0}, {6, 1, 0}, {7, 1, 0}};
  CheckSame("numbers that alternate", ChooseCores(siblings, 2, 3), {0, 1, 4, 2, 3, 6});
  std::vector<Core> used = Machine(2, 2);
  used[0].uses = 1;
  CheckSame("a node that is free", ChooseCores(used, 1, 2), {2, 3});
  CheckSame("its free core", ChooseCores(used, 2, 1), {1, 2});
}

void TestLists() {
  CheckSame("ranges", ParseCpuList("0-3,8,10-11"), {0, 1, 2, 3, 8, 10, 11});
  CheckSame("one", ParseCpuList("7\n"), {7});
  CheckSame("none", ParseCpuList(""), {});
  for (const char* bad : {"a", "1-", "3-1", "1;2"}) CheckSame(bad, ParseCpuList(bad), {});
}

// Of this machine, whatever it has: all of its cores or none, and threads stay where they are put.
void TestThisMachine() {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return Fail("sched_getaffinity");
  const int all = CPU_COUNT(&allowed);
  const Numbers cores = TakeCores(all, 1);
  if (static_cast<int>(cores.size()) != all) Fail("all cores are taken");
  CheckSame("a part of them", TakeCores(all - 1, 1), {});
  CheckSame("more than there are", TakeCores(all, 2), {});
  CheckSame("no overflow", TakeCores(65536, 65536), {});
  ReleaseCores(cores);
  PinTo(&cores.back(), 1);
  cpu_set_t now;
  sched_getaffinity(0, sizeof(now), &now);
  if (CPU_COUNT(&now) != 1 || !CPU_ISSET(cores.back(), &now)) Fail("pinned to one core");
  sched_setaffinity(0, sizeof(allowed), &allowed);
  PinTo(cores.data(), static_cast<int>(cores.size()));
  sched_getaffinity(0, sizeof(now), &now);
  if (!CPU_EQUAL(&now, &allowed)) Fail("pinned to several");
}

}  // namespace
}  // namespace keras_int8nmt

int main() {
  keras_int8nmt::TestOneNode();
  keras_int8nmt::TestNodes();
  keras_int8nmt::TestLists();
  keras_int8nmt::TestThisMachine();
  std::printf("ran: choosing cores\n");
  return keras_int8nmt::Failures() == 0 ? 0 : 1;
}
