// oneDNN's own sums of u8 x s8 products, without what gemm/onednn.cc does about saturation.
#ifndef KERAS_INT8NMT_TESTS_RAW_ONEDNN_H_
#define KERAS_INT8NMT_TESTS_RAW_ONEDNN_H_

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "gemm/onednn.h"

namespace keras_int8nmt {

// A buffer aligned as packed weights are.
class Aligned {
 public:
  explicit Aligned(size_t bytes) : data_(std::aligned_alloc(64, (bytes + 63) / 64 * 64)) {}
  ~Aligned() { std::free(data_); }
  Aligned(const Aligned&) = delete;
  Aligned& operator=(const Aligned&) = delete;
  void* data() { return data_; }

 private:
  void* data_;
};

// True if `rows` x `k` inputs of 255 and weights that all are `weight` give exact sums.
inline bool RawSumsAreExact(int8_t weight) {
  using onednn::DataType;
  constexpr int64_t kRows = 3, kK = 64, kN = 48;
  std::vector<int8_t> plain(kK * kN, weight);
  std::vector<uint8_t> a(kRows * kK, 255);
  const dnnl::memory::desc from({kK, kN}, DataType::s8, dnnl::memory::format_tag::ab);
  const dnnl::memory::desc to = onednn::PackedDesc(kK, kN, DataType::u8, DataType::s8);
  Aligned body(to.get_size());
  dnnl::memory source(from, onednn::Engine(), plain.data());
  dnnl::memory target(to, onednn::Engine(), body.data());
  dnnl::stream stream(onednn::Engine());
  dnnl::reorder(source, target).execute(stream, source, target);
  stream.wait();
  std::vector<int32_t> sums(kRows * kN);
  const onednn::Key key = {kRows, kK,    kN, DataType::u8, DataType::s8, DataType::s32,
                           false, false, 1};
  onednn::Execute(key, a.data(), body.data(), nullptr, nullptr, sums.data());
  for (const int32_t sum : sums) {
    if (sum != static_cast<int32_t>(kK) * 255 * weight) return false;
  }
  return true;
}

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_TESTS_RAW_ONEDNN_H_
