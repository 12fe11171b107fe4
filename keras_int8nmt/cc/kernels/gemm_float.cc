#include "gemm_float.h"

#include "gemm_onednn.h"

namespace keras_int8nmt {

using onednn::DataType;

size_t PackedFloatBytes(int64_t k, int64_t n) {
  return onednn::PackedDesc(k, n, DataType::f32, DataType::f32).get_size();
}

void PackFloat(const float* weights, int64_t k, int64_t n, void* packed) {
  onednn::ApplyThreads();
  const dnnl::memory::desc plain({k, n}, DataType::f32, dnnl::memory::format_tag::ab);
  dnnl::stream stream(onednn::Engine());
  dnnl::memory in(plain, onednn::Engine(), const_cast<float*>(weights));
  dnnl::memory out(onednn::PackedDesc(k, n, DataType::f32, DataType::f32), onednn::Engine(),
                   packed);
  dnnl::reorder(in, out).execute(stream, in, out);
  stream.wait();
}

void MultiplyFloat(const float* a, int64_t m, const void* packed, int64_t k, int64_t n,
                   const float* bias, float* out) {
  // Pieces as for int8, so that the two differ in the arithmetic only.
  const int threads = onednn::ApplyThreads();
  for (int64_t row = 0, rows = 0; row < m; row += rows) {
    rows = onednn::NextPiece(m - row);
    const onednn::Key key = {rows,          k,    n,     DataType::f32, DataType::f32,
                             DataType::f32, true, false, threads};
    onednn::Execute(key, a + row * k, packed, nullptr, bias, out + row * n);
  }
}

}  // namespace keras_int8nmt
