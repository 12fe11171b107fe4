// What the compiler's C++ runtime and headers take from a glibc later than 2.28, for a library that
// is to load with that one (glibc.cmake). Hidden, as all but the C functions is. What a compiler of
// another release takes besides is a name that the linker does not find.
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>

extern "C" {

#if __GLIBC_PREREQ(2, 30)
// By the clock of the computer's time of day, which may be set meanwhile: so never for long.
// Whoever waits looks at the clock again, as after any wake-up without a cause.
int pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t clock,
                           const timespec* until) {
  constexpr int64_t kSecond = 1000000000, kLongest = kSecond;
  timespec now, day;
  clock_gettime(clock, &now);
  clock_gettime(CLOCK_REALTIME, &day);
  const int64_t seconds = static_cast<int64_t>(until->tv_sec) - now.tv_sec;
  int64_t left = kLongest;
  if (seconds <= 1) left = seconds * kSecond + until->tv_nsec - now.tv_nsec;
  const bool all = left < kLongest;
  left = !all ? kLongest : left < 0 ? 0 : left;
  left += day.tv_nsec;
  day.tv_sec += left / kSecond;
  day.tv_nsec = left % kSecond;
  const int result = pthread_cond_timedwait(condition, mutex, &day);
  return result == ETIMEDOUT && !all ? 0 : result;
}
#endif

#if __GLIBC_PREREQ(2, 32)
// Not known, so counts of references are always atomic.
char __libc_single_threaded = 0;
#endif

#if __GLIBC_PREREQ(2, 33)
int fstat64(int file, struct stat64* status) noexcept {
  return static_cast<int>(syscall(SYS_fstat, file, status));
}
#endif

#if __GLIBC_PREREQ(2, 35)
// Where the tables for unwinding an exception lie, of the object that has an address.
int _dl_find_object(void* address, dl_find_object* result) noexcept {
  struct Search {
    uintptr_t address;
    dl_find_object* result;
  } search = {reinterpret_cast<uintptr_t>(address), result};
  const auto look = [](dl_phdr_info* info, size_t, void* data) {
    auto* wanted = static_cast<Search*>(data);
    const ElfW(Phdr)* tables = nullptr;
    bool inside = false;
    for (int i = 0; i < info->dlpi_phnum; ++i) {
      const ElfW(Phdr) & part = info->dlpi_phdr[i];
      const uintptr_t begin = info->dlpi_addr + part.p_vaddr;
      if (part.p_type == PT_GNU_EH_FRAME) tables = &part;
      if (part.p_type == PT_LOAD && wanted->address - begin < part.p_memsz) {
        inside = true;
        wanted->result->dlfo_map_start = reinterpret_cast<void*>(begin);
        wanted->result->dlfo_map_end = reinterpret_cast<void*>(begin + part.p_memsz);
      }
    }
    if (!inside) return 0;
    if (tables == nullptr) return -1;
    wanted->result->dlfo_eh_frame = reinterpret_cast<void*>(info->dlpi_addr + tables->p_vaddr);
    return 1;
  };
  *result = {};
  return dl_iterate_phdr(look, &search) == 1 ? 0 : -1;
}
#endif

#if __GLIBC_PREREQ(2, 36)
uint32_t arc4random() noexcept {
  uint32_t word;
  if (getentropy(&word, sizeof(word)) != 0) abort();
  return word;
}
#endif

}  // extern "C"
