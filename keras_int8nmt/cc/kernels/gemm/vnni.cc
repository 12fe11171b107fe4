// The back end of our own kernels for AVX512-VNNI and AVX-VNNI.
//
// It is the default where the CPU has that: oneDNN's equal at many rows, up to 1.3 times as fast at
// few, and it hands the columns of a product over as they are made (top_k).
#include "gemm/vnni.h"

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

constexpr GemmBackend kVnni = Host<panels::Vnni>::Backend("vnni", "own kernel", Layout<2>);
#ifndef KERAS_INT8NMT_WITHOUT_AVX_VNNI
constexpr GemmBackend kAvxVnni = Host<panels::AvxVnni>::Backend("vnni", "avx_vnni", Layout<3>);
#endif

}  // namespace

const GemmBackend& VnniGemm() {
  const std::string isa = ActiveKernels().isa;
  if (isa == "avx512_vnni") return kVnni;
#ifndef KERAS_INT8NMT_WITHOUT_AVX_VNNI
  if (isa == "avx_vnni") return kAvxVnni;
#endif
  throw std::runtime_error(
      "it needs AVX512-VNNI or AVX-VNNI, and the instruction set in force is " + isa);
}

#else

const GemmBackend& VnniGemm() { throw std::runtime_error("it needs an x86-64 CPU"); }

#endif

}  // namespace keras_int8nmt
