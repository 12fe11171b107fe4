// The back end that weights are packed for: what may be chosen, when that is settled, and the race.
// All candidates give the same bits, which gemm_test holds.
#include "gemm/choice.h"

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "check.h"

namespace keras_int8nmt {
namespace {

bool Is(const GemmBackend& backend, const std::string& name) { return backend.name == name; }

void TestSettling() {
  const std::string own = ActiveGemm().name;
  if (!Is(ChosenGemm(64, 64), own)) Fail("a shape of which nobody said anything");
  if (!ChooseGemm(64, 64, own)) Fail("what is settled, asked for again");
  // Where the loops of the reference are all that there is, they are the one candidate.
  if ((own != "reference" && ChooseGemm(64, 96, "reference")) || ChooseGemm(64, 96, "bogus") ||
      ChooseGemm(64, 96, "")) {
    Fail("no candidate was chosen");
  }
  // The names before settled nothing.
  if (!ChooseGemm(64, 96, own) || !Is(ChosenGemm(64, 96), own)) Fail("a shape that was chosen");
}

// With oneDNN beside our own: its name is taken, the blob is its own, and what was packed stays.
void TestOneOfTwo(const GemmBackend& other) {
  const int64_t k = 67, n = 130;
  if (!ChooseGemm(k, n, other.name) || !Is(ChosenGemm(k, n), other.name)) Fail("another one");
  if (ChooseGemm(k, n, ActiveGemm().name)) Fail("a settled shape was chosen again");
  if (ChooseGemm(64, 64, other.name)) Fail("a shape that was asked for was chosen later");
  const std::vector<int8_t> weights(k * n, 3);
  const GemmBackend& chosen = ChosenGemm(k, n);
  std::vector<char> blob(PackedBytes(chosen, k, n));
  Pack(chosen, weights.data(), k, n, blob.data());
  if (ReadPacked(blob.data(), blob.size()).backend != &other) Fail("the blob of another one");
}

void CheckRace(int64_t k, int64_t n, size_t candidates) {
  const std::string shape = std::to_string(k) + " x " + std::to_string(n);
  SetGemmThreads(3);
  const GemmRace race = MeasureGemm(k, n, 0.0);
  if (GemmThreads() != 3) Fail("the threads of a product are others now");
  SetGemmThreads(1);
  if (race.candidates.size() != candidates) Fail("the candidates of " + shape);
  if (race.candidates[0].backend != &ActiveGemm()) Fail("the first candidate");
  bool found = false;
  for (const GemmTimes& times : race.candidates) {
    found = found || times.backend == race.fastest;
    // Who is far behind is asked no more, and never again.
    bool asked = true;
    for (const double seconds : times.seconds) {
      if (seconds < 0.0 || seconds > 60.0 || (seconds > 0.0 && !asked)) Fail("times of " + shape);
      asked = seconds > 0.0;
    }
    const bool measured = times.seconds[0] > 0.0;
    if (measured != (candidates > 1)) Fail("who was measured of " + shape);
  }
  if (!found) Fail("the fastest of " + shape + " is no candidate");
  if (candidates > 1 && (race.columns < 1 || race.columns > n)) Fail("the columns of " + shape);
}

void TestRaces(size_t candidates) {
  const int64_t shapes[][2] = {{1, 1},    {3, 5},      {64, 64},    {64, 513}, {513, 64},
                               {64, 600}, {512, 2048}, {512, 9000}, {66000, 2}};
  for (const auto& shape : shapes) CheckRace(shape[0], shape[1], candidates);
  // Nothing was chosen by it.
  if (!Is(ChosenGemm(513, 64), ActiveGemm().name)) Fail("a race chose");
}

// With what KERAS_INT8NMT_GEMM says. 77: this CPU has not the instruction set.
int Run() {
  if (std::getenv("KERAS_INT8NMT_ISA") != nullptr &&
      KernelsFor(std::getenv("KERAS_INT8NMT_ISA")) == nullptr) {
    std::printf("SKIPPED: this CPU has no %s\n", std::getenv("KERAS_INT8NMT_ISA"));
    return 77;
  }
  TestSettling();
  // What is looked for need not be here, as MKL where it was named.
  size_t candidates = 1;
  for (const char* name : {"onednn", "mkl"}) {
    const char* mkl = std::getenv("KERAS_INT8NMT_MKL");
    if (!GemmIsMeasured() || (name == std::string("mkl") && (mkl == nullptr || *mkl == '\0')))
      continue;
    try {
      const GemmBackend& other = GemmFor(name);
      if (&other == &ActiveGemm()) continue;
      if (candidates++ == 1) TestOneOfTwo(other);
    } catch (const std::exception& error) {
      std::printf("not here: %s\n", error.what());
    }
  }
  TestRaces(candidates);
  std::printf("ran choice of %s among %zu: %d failures\n", ActiveGemm().name, candidates,
              Failures());
  return Failures() == 0 ? 0 : 1;
}

// Who asks for one back end has nothing measured.
int RunForced() {
  setenv("KERAS_INT8NMT_GEMM", "reference", 1);
  if (GemmIsMeasured()) Fail("it would be measured, though one is asked for");
  CheckRace(64, 64, 1);
  if (ChooseGemm(64, 64, "onednn")) Fail("another than the one that is asked for");
  if (!Is(ChosenGemm(64, 64), "reference")) Fail("the one that is asked for");
  return Failures() == 0 ? 0 : 1;
}

}  // namespace
}  // namespace keras_int8nmt

int main(int count, char** words) {
  using namespace keras_int8nmt;
  return count > 1 && std::strcmp(words[1], "forced") == 0 ? RunForced() : Run();
}
