#include "isa.h"

namespace keras_int8nmt {

#if defined(__x86_64__)

bool CpuHasAvx2() { return __builtin_cpu_supports("avx2"); }

bool CpuHasAvx512() {
  return CpuHasAvx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

bool CpuHasAvx512Vnni() { return CpuHasAvx512() && __builtin_cpu_supports("avx512vnni"); }

#endif

}  // namespace keras_int8nmt
