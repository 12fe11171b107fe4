// Memory of one call of a kernel, 64-byte aligned.
#ifndef KERAS_INT8NMT_KERNELS_SIMD_SCRATCH_H_
#define KERAS_INT8NMT_KERNELS_SIMD_SCRATCH_H_

#include <cstddef>
#include <cstdint>
#include <new>

namespace keras_int8nmt {
namespace {

constexpr size_t kAlignment = 64;

// What the last calls of a thread have used: it grows and is kept, so that calls do not allocate.
struct Arena {
  ~Arena() { Free(data); }
  static void* New(int64_t words) {
    return ::operator new(words * sizeof(int32_t), std::align_val_t(kAlignment));
  }
  static void Free(void* data) {
    if (data != nullptr) ::operator delete(data, std::align_val_t(kAlignment));
  }

  void* data = nullptr;
  int64_t words = 0;
  bool taken = false;
};

class Scratch {
 public:
  // In words of 32 bits.
  explicit Scratch(int64_t words) {
    thread_local Arena arena;
    own_ = arena.taken;
    if (own_) {
      data_ = Arena::New(words);
      return;
    }
    if (arena.words < words) {
      void* data = Arena::New(words);
      Arena::Free(arena.data);
      arena.data = data;
      arena.words = words;
    }
    data_ = arena.data;
    arena.taken = true;
    taken_ = &arena.taken;
  }
  ~Scratch() {
    if (own_) {
      Arena::Free(data_);
    } else {
      *taken_ = false;
    }
  }
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
  bool own_;  // a call within a call
  bool* taken_ = nullptr;
  int64_t used_ = 0;
};

}  // namespace
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_SIMD_SCRATCH_H_
