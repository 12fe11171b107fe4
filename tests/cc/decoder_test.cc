// The decoder against plain loops, in every configuration, company and number of threads.
//
// The loops know neither cache nor instruction set, so all sets and back ends are held to the same
// bits. ctest runs this once for each set (KERAS_INT8NMT_ISA); exits with 77 when this CPU has not
// the set. With the argument "streams" only what threads have to do with, for the thread sanitizer.
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "limit_checks.h"
#include "pool_checks.h"
#include "search_checks.h"
#include "tape_checks.h"

namespace keras_int8nmt {
namespace {

void CheckSearches() {
  const std::vector<const GemmBackend*> backends = Backends(false);
  for (const Shape& shape : Shapes()) {
    SearchChecks checks(shape, 24);
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
  for (const GemmBackend* backend : Backends(true)) {
    PoolChecks(*backend).Run();
    std::printf("ran streams on %s\n", backend->name);
  }
}

int Run(bool streams_only) {
  try {
    std::printf("instruction set: %s\n", ActiveKernels().isa);
  } catch (const std::runtime_error& error) {
    std::printf("SKIPPED instruction set: %s\n", error.what());
    return 77;
  }
  CheckStreams();
  if (!streams_only) {
    CheckSearches();
    CheckLengths();
    CheckVocabularies();
    CheckManyPositions();
    CheckNanSentences();
    CheckNanModels();
    CheckTapes();
  }
  std::printf("ran the decoder: %d failures\n", Failures());
  return Failures() == 0 ? 0 : 1;
}

}  // namespace
}  // namespace keras_int8nmt

int main(int argc, char** argv) {
  return keras_int8nmt::Run(argc == 2 && std::strcmp(argv[1], "streams") == 0);
}
