// The decoder against plain loops, in every configuration, company and number of threads.
//
// The loops know neither cache nor instruction set, so all sets and back ends are held to the same
// bits. ctest runs this once for each set (KERAS_INT8NMT_ISA); exits with 77 when this CPU has not
// the set. An argument names a part: "searches", "streams" (no oneDNN, so the thread sanitizer can
// watch it) or "specs" (alike for every set); without one all parts run.
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "limit_checks.h"
#include "pool_checks.h"
#include "search_checks.h"
#include "spec_checks.h"

namespace keras_int8nmt {
namespace {

// The address sanitizer, which makes all five times as slow, looks at the ways through the code and
// not at so many answers.
#ifdef __SANITIZE_ADDRESS__
constexpr int64_t kSentences = 9;
#else
constexpr int64_t kSentences = 24;
#endif

void CheckSearches() {
  const std::vector<const GemmBackend*> backends = Backends(false);
  for (const Shape& shape : Shapes()) {
    SearchChecks checks(shape, kSentences);
    for (int32_t beam : {1, 2, 4, 5}) {
      checks.Run(MakeSearch(beam, 14), 6, {2, 7, 32}, backends);
    }
    checks.RunThreads(MakeSearch(4, 14), *backends.back());
  }
  std::printf("ran searches of %zu configurations on", Shapes().size());
  for (const GemmBackend* backend : backends) std::printf(" %s", backend->name);
  std::printf("\n");
}

void CheckStreams() {
  CheckTeam();
  CheckTeamFailures();
  for (const GemmBackend* backend : Backends(true)) {
    PoolChecks(*backend).Run();
    std::printf("ran streams on %s\n", backend->name);
  }
}

void CheckAnswers() {
  CheckSearches();
  CheckLengths();
  CheckVocabularies();
  CheckManyPositions();
  CheckNanSentences();
  CheckNanModels();
  CheckOverflowingModels();
}

struct Part {
  const char* name;
  void (*run)();
};
constexpr Part kParts[] = {
    {"streams", CheckStreams}, {"searches", CheckAnswers}, {"specs", CheckSpecs}};

int Run(const char* wanted) {
  try {
    std::printf("instruction set: %s\n", ActiveKernels().isa);
  } catch (const std::runtime_error& error) {
    std::printf("SKIPPED instruction set: %s\n", error.what());
    return 77;
  }
  int parts = 0;
  for (const Part& part : kParts) {
    if (wanted != nullptr && std::strcmp(wanted, part.name) != 0) continue;
    part.run();
    ++parts;
  }
  if (parts == 0) Fail(std::string("no such part: ") + wanted);
  std::printf("ran the decoder: %d failures\n", Failures());
  return Failures() == 0 ? 0 : 1;
}

}  // namespace
}  // namespace keras_int8nmt

int main(int argc, char** argv) { return keras_int8nmt::Run(argc > 1 ? argv[1] : nullptr); }
