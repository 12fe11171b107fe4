// What an x86 CPU has that not every compiler's __builtin_cpu_supports knows by name.
#ifndef KERAS_INT8NMT_KERNELS_CPU_X86_H_
#define KERAS_INT8NMT_KERNELS_CPU_X86_H_

#include <cpuid.h>

namespace keras_int8nmt {

// AVX-VNNI: EAX bit 4 of leaf 7, subleaf 1. Its registers are AVX's, so a system that saves those
// is all it needs; __builtin_cpu_supports("avx2") asks for that.
inline bool CpuHasAvxVnni() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0 || eax < 1) return false;
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax >> 4 & 1) != 0;
}

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_CPU_X86_H_
