// The vectors of one instruction set, held to simd/vectors.h. This file is compiled for any CPU,
// vectors_checks.cc for the set; exits with 77 where this CPU has not the set.
#include <cstdio>

#include "int8.h"

int CheckVectors();

int main() {
  if (keras_int8nmt::KernelsFor(SET_NAME) == nullptr) {
    std::printf("SKIPPED vectors of %s\n", SET_NAME);
    return 77;
  }
  const int failures = CheckVectors();
  std::printf("ran vectors of %s: %d failures\n", SET_NAME, failures);
  return failures == 0 ? 0 : 1;
}
