// The back ends of our own kernels for 64-bit ARM: `i8mm`, `dotprod`, and `neon` for CPUs that have
// neither.
#include <cstring>
#include <stdexcept>
#include <string>

#include "gemm/backends.h"

#if defined(__aarch64__)

#include "gemm/arm.h"

namespace keras_int8nmt {
namespace {

// Of all three: a blob names its back end, too.
uint64_t Layout() { return 1; }

using panels::Host;

constexpr GemmBackend kNeon = Host<panels::Neon>::Backend("neon", "smull", Layout);
constexpr GemmBackend kDotprod = Host<panels::Dotprod>::Backend("dotprod", "sdot", Layout);
constexpr GemmBackend kI8mm =
    Host<panels::I8mm, panels::I8mm::kDepth, true>::Backend("i8mm", "smmla", Layout);

// The instruction sets that have NEON, each with what those before it have.
constexpr const char* kSets[] = {"neon", "neon_dotprod", "neon_i8mm"};

// Throws unless the set in force has what kSets[least] has.
void Need(int least, const char* what) {
  const char* isa = ActiveKernels().isa;
  for (int set = least; set < 3; ++set) {
    if (std::strcmp(isa, kSets[set]) == 0) return;
  }
  throw std::runtime_error("it needs " + std::string(what) + ", and the instruction set in force " +
                           "is " + isa);
}

}  // namespace

const GemmBackend& NeonGemm() {
  Need(0, "NEON");
  return kNeon;
}

const GemmBackend& DotprodGemm() {
  Need(1, "FEAT_DotProd");
  return kDotprod;
}

const GemmBackend& I8mmGemm() {
  Need(2, "FEAT_I8MM");
  return kI8mm;
}

}  // namespace keras_int8nmt

#else

namespace keras_int8nmt {

const GemmBackend& NeonGemm() { throw std::runtime_error("it needs a 64-bit ARM CPU"); }
const GemmBackend& DotprodGemm() { throw std::runtime_error("it needs a 64-bit ARM CPU"); }
const GemmBackend& I8mmGemm() { throw std::runtime_error("it needs a 64-bit ARM CPU"); }

}  // namespace keras_int8nmt

#endif
