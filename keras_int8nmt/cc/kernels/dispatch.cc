// Which table of kernels is in force: chosen once, the best first, or by KERAS_INT8NMT_ISA.

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "int8.h"
#include "isa.h"

namespace keras_int8nmt {
namespace {

bool Always() { return true; }

struct Row {
  const Kernels* kernels;
  bool (*supported)();
};

// Best first.
const Row kRows[] = {
#if defined(__x86_64__)
    {&kAvx512VnniKernels, CpuHasAvx512Vnni},
    {&kAvx512Kernels, CpuHasAvx512},
    {&kAvx2Kernels, CpuHasAvx2},
#endif
    {&kGenericKernels, Always},
    {&kReferenceKernels, Always},
};

std::string Choices() {
  std::string names;
  for (const Row& row : kRows) {
    if (!row.supported()) continue;
    if (!names.empty()) names += ", ";
    names += row.kernels->isa;
  }
  return names;
}

const Kernels& Choose() {
  const char* name = std::getenv("KERAS_INT8NMT_ISA");
  if (name == nullptr || *name == '\0') {
    for (const Row& row : kRows) {
      if (row.supported()) return *row.kernels;
    }
  }
  const Kernels* kernels = KernelsFor(name);
  if (kernels == nullptr) {
    throw std::runtime_error("KERAS_INT8NMT_ISA is \"" + std::string(name) +
                             "\"; this CPU can run: " + Choices() + ".");
  }
  return *kernels;
}

}  // namespace

const Kernels& ActiveKernels() {
  static const Kernels& kernels = Choose();
  return kernels;
}

const Kernels* KernelsFor(const char* isa) {
  for (const Row& row : kRows) {
    if (std::strcmp(isa, row.kernels->isa) == 0) return row.supported() ? row.kernels : nullptr;
  }
  return nullptr;
}

}  // namespace keras_int8nmt
