// The bytes of one run of a fuzzer as choices: any bytes are a valid input.
#ifndef KERAS_INT8NMT_TESTS_CC_FUZZ_INPUT_H_
#define KERAS_INT8NMT_TESTS_CC_FUZZ_INPUT_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

namespace keras_int8nmt {

class FuzzInput {
 public:
  FuzzInput(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  bool empty() const { return size_ == 0; }

  // Zeros where the bytes have ended.
  template <class T>
  T Take() {
    T value{};
    const size_t bytes = std::min(size_, sizeof(T));
    if (bytes > 0) std::memcpy(&value, data_, bytes);
    data_ += bytes;
    size_ -= bytes;
    return value;
  }

  // 0 to count - 1; few bytes, so that a change of one changes little.
  int64_t Below(int64_t count) {
    return count <= 256 ? Take<uint8_t>() % std::max<int64_t>(count, 1) : Take<uint16_t>() % count;
  }
  bool Maybe() { return Below(2) != 0; }
  // One in sixteen.
  bool Rarely() { return Below(16) == 15; }

  template <class T>
  T Of(std::initializer_list<T> choices) {
    return choices.begin()[Below(static_cast<int64_t>(choices.size()))];
  }

  // Small numbers, and those at which something wraps or overflows.
  int64_t Whole() {
    switch (Below(6)) {
      case 0:
        return Take<int8_t>();
      case 1:
        return Of({INT64_MAX, INT64_MIN, int64_t{INT32_MAX}, int64_t{INT32_MIN}, int64_t{1} << 32,
                   (int64_t{1} << 32) + 1, int64_t{1} << 62, int64_t{66000}, int64_t{66001}});
      case 2:
        return Take<int64_t>();
      default:
        return Below(9);
    }
  }

  float Number() {
    switch (Below(5)) {
      case 0:
        return Of({std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                   -std::numeric_limits<float>::infinity(), 3e38f, -3e38f, 1e-45f, -0.0f, 0.0f});
      case 1:
        return Take<float>();
      default:
        return static_cast<float>(Take<int8_t>()) / 16.0f;
    }
  }

  template <class T>
  void Fill(T* values, size_t count) {
    // A pattern: inputs stay short.
    const uint64_t seed = Take<uint16_t>();
    uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
    for (size_t i = 0; i < count; ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      values[i] =
          static_cast<T>(static_cast<int64_t>(state >> 33) % 256 - (T(-1) < T(0) ? 127 : 0));
    }
  }

 private:
  const uint8_t* data_;
  size_t size_;
};

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_TESTS_CC_FUZZ_INPUT_H_
