// Which table of kernels is in force: chosen once, the best first, or by KERAS_INT8NMT_ISA.

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "int8.h"
#include "isa.h"

#if defined(__aarch64__)
#include "cpu_aarch64.h"
#elif defined(__x86_64__)
#include "cpu_x86.h"
#endif

namespace keras_int8nmt {
namespace {

struct Row {
  const Kernels* kernels;
  bool (*supported)();
};

// A row for the CPU that this is compiled for, or none.
#define FOR_any(...) __VA_ARGS__
#if defined(__x86_64__)
#define FOR_x86_64(...) __VA_ARGS__
#define CPU_HAS(feature) (__builtin_cpu_supports(feature) != 0)
#else
#define FOR_x86_64(...)
#endif
#if defined(__aarch64__)
#define FOR_aarch64(...) __VA_ARGS__
#define CPU_HAS(feature) CpuHas(feature)
#else
#define FOR_aarch64(...)
#endif

// Best first.
const Row kRows[] = {
#define INSTRUCTION_SET(name, table, cpu, flags, supported) \
  FOR_##cpu({&table, []() -> bool { return supported; }}, )
#include "instruction_sets.def"
#undef INSTRUCTION_SET
    {&kReferenceKernels, []() -> bool { return true; }},
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
