// Memory of a stream, allocated once, 64-byte aligned, not initialized.
#ifndef KERAS_INT8NMT_DECODER_BUFFER_H_
#define KERAS_INT8NMT_DECODER_BUFFER_H_

#include <cstddef>
#include <new>
#include <utility>
#include <vector>

namespace keras_int8nmt {

class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t bytes)
      : data_(::operator new(bytes == 0 ? 1 : bytes, std::align_val_t(64))) {}
  ~Buffer() {
    if (data_ != nullptr) ::operator delete(data_, std::align_val_t(64));
  }
  Buffer(Buffer&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    return *this;
  }

  template <class T = void>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
};

// Pieces of one size that are taken and given back; memory grows by whole slabs and is kept.
class BlockPool {
 public:
  explicit BlockPool(size_t bytes) : bytes_((bytes + 63) / 64 * 64) {}

  char* Take() {
    if (free_.empty()) Grow();
    char* block = free_.back();
    free_.pop_back();
    return block;
  }
  void Give(char* block) noexcept { free_.push_back(block); }

 private:
  static constexpr size_t kSlabBlocks = 16;

  void Grow() {
    // Giving back must not allocate. First, since a slab without it would be lost.
    free_.reserve((slabs_.size() + 1) * kSlabBlocks);
    slabs_.emplace_back(bytes_ * kSlabBlocks);
    for (size_t i = kSlabBlocks; i > 0; --i) {
      free_.push_back(slabs_.back().as<char>() + (i - 1) * bytes_);
    }
  }

  size_t bytes_;
  std::vector<Buffer> slabs_;
  std::vector<char*> free_;
};

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_DECODER_BUFFER_H_
