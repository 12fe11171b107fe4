// What the native tests share: failures, and buffers that end at an unmapped page.
#ifndef KERAS_INT8NMT_TESTS_CC_CHECK_H_
#define KERAS_INT8NMT_TESTS_CC_CHECK_H_

#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

namespace keras_int8nmt {

inline int& Failures() {
  static int failures = 0;
  return failures;
}

// Prints the first failures; the program goes on, and ends when there are many.
inline void Fail(const std::string& message) {
  std::fprintf(stderr, "FAIL %s\n", message.c_str());
  if (++Failures() >= 20) std::exit(1);
}

// NaN differs from every number.
inline void CheckNear(const std::string& what, double actual, double expected, double bound) {
  if (std::fabs(actual - expected) <= bound) return;
  Fail(what + ": expected " + std::to_string(expected) + ", was " + std::to_string(actual));
}

// n zeroed elements, the last of them right before a page that may not be touched.
template <class T>
class Guarded {
 public:
  explicit Guarded(int64_t n) : bytes_(n * sizeof(T)) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t body = (bytes_ + page - 1) / page * page;
    mapped_ = body + page;
    map_ = static_cast<char*>(
        mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (map_ == MAP_FAILED || mprotect(map_ + body, page, PROT_NONE) != 0) std::abort();
    data_ = reinterpret_cast<T*>(map_ + body - bytes_);
  }
  Guarded(Guarded&& other) noexcept
      : bytes_(other.bytes_),
        mapped_(other.mapped_),
        map_(std::exchange(other.map_, nullptr)),
        data_(other.data_) {}
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  ~Guarded() {
    if (map_ != nullptr) munmap(map_, mapped_);
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  T& operator[](int64_t i) { return data_[i]; }
  const T& operator[](int64_t i) const { return data_[i]; }

 private:
  size_t bytes_, mapped_;
  char* map_;
  T* data_;
};

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_TESTS_CC_CHECK_H_
