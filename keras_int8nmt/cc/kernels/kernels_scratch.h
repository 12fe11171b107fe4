// Memory of one call, 64-byte aligned.
#ifndef KERAS_INT8NMT_KERNELS_KERNELS_SCRATCH_H_
#define KERAS_INT8NMT_KERNELS_KERNELS_SCRATCH_H_

#include <cstddef>
#include <cstdint>
#include <new>

namespace keras_int8nmt {
namespace {

constexpr size_t kAlignment = 64;

class Scratch {
 public:
  // In words of 32 bits.
  explicit Scratch(int64_t words)
      : data_(::operator new(words * sizeof(int32_t), std::align_val_t(kAlignment))) {}
  ~Scratch() { ::operator delete(data_, std::align_val_t(kAlignment)); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  // The next `words`, rounded up to whole lines.
  template <class T>
  T* Take(int64_t words) {
    int32_t* start = static_cast<int32_t*>(data_) + used_;
    used_ += RoundedUp(words);
    return reinterpret_cast<T*>(start);
  }
  static int64_t RoundedUp(int64_t words) { return (words + 15) / 16 * 16; }

 private:
  void* data_;
  int64_t used_ = 0;
};

}  // namespace
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_KERNELS_SCRATCH_H_
