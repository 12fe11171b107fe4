// The back end of our own kernels for x86 CPUs without VNNI.
#include "gemm/madd.h"

#include <stdexcept>
#include <string>

#include "gemm/backends.h"

namespace keras_int8nmt {

#if defined(__x86_64__)

namespace {

template <uint64_t number>
uint64_t Layout() {
  return number;
}

using panels::Host;
using panels::MaddAvx2;
using panels::MaddAvx512;

constexpr GemmBackend kAvx2 = Host<MaddAvx2>::Backend("madd", "avx2", Layout<5>);
constexpr GemmBackend kAvx512 = Host<MaddAvx512>::Backend("madd", "avx512", Layout<4>);

}  // namespace

const GemmBackend& MaddGemm() {
  const std::string isa = ActiveKernels().isa;
  if (isa == "avx2" || isa == "avx_vnni") return kAvx2;
  if (isa == "avx512" || isa == "avx512_vnni") return kAvx512;
  throw std::runtime_error("it needs AVX2, and the instruction set in force is " + isa);
}

#else

const GemmBackend& MaddGemm() { throw std::runtime_error("it needs an x86-64 CPU"); }

#endif

}  // namespace keras_int8nmt
