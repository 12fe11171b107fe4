// What an ARM CPU has beyond NEON, as the system tells it: GCC's __builtin_cpu_supports is x86's.
#ifndef KERAS_INT8NMT_KERNELS_CPU_AARCH64_H_
#define KERAS_INT8NMT_KERNELS_CPU_AARCH64_H_

#include <cstring>

#if defined(__APPLE__)
#include <sys/sysctl.h>
#else
#include <sys/auxv.h>
#endif

namespace keras_int8nmt {

// "dotprod" or "i8mm".
inline bool CpuHas(const char* feature) {
  const bool dotprod = std::strcmp(feature, "dotprod") == 0;
#if defined(__APPLE__)
  const char* name = dotprod ? "hw.optional.arm.FEAT_DotProd" : "hw.optional.arm.FEAT_I8MM";
  int has = 0;
  size_t bytes = sizeof(has);
  return sysctlbyname(name, &has, &bytes, nullptr, 0) == 0 && has != 0;
#else
  // HWCAP_ASIMDDP and HWCAP2_I8MM of Linux, which older headers lack.
  constexpr unsigned long kDotprod = 1UL << 20, kI8mm = 1UL << 13;
  return dotprod ? (getauxval(AT_HWCAP) & kDotprod) != 0 : (getauxval(AT_HWCAP2) & kI8mm) != 0;
#endif
}

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_CPU_AARCH64_H_
