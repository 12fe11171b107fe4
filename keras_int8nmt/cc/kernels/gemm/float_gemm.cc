#include "gemm/float_gemm.h"

#include "gemm/onednn.h"

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

void SetFloatThreads(int threads) { onednn::ApplyThreads(threads); }

namespace {

// At most a seventh more rows than asked for, but for the smallest.
constexpr int64_t kSizes[] = {1,  2,  3,  4,  6,  8,  10, 12, 14, 16,  18,  20,
                              24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 256};
constexpr int kSizeCount = sizeof(kSizes) / sizeof(kSizes[0]);

// The size to multiply when m rows are left: the largest if it fits, else the smallest that covers.
int SizeFor(int64_t m) {
  if (m >= kSizes[kSizeCount - 1]) return kSizeCount - 1;
  // From 256 down to 128 in two pieces, as the rest will be rounded up.
  if (m > kSizes[kSizeCount - 2]) return kSizeCount - 2;
  int i = 0;
  while (kSizes[i] < m) ++i;
  return i;
}

}  // namespace

struct FloatProduct::Prepared {
  explicit Prepared(const onednn::Key& key) : product(key) {}
  onednn::Product product;
};

FloatProduct::FloatProduct(int64_t k, int64_t n, bool relu, int threads) : k_(k), n_(n) {
  for (int64_t rows : kSizes) {
    by_size_.push_back(std::make_unique<Prepared>(
        onednn::Key{rows, k, n, DataType::f32, DataType::f32, DataType::f32, true, relu, threads}));
  }
}
FloatProduct::~FloatProduct() = default;
FloatProduct::FloatProduct(FloatProduct&&) noexcept = default;

int64_t FloatProduct::RoundedRows(int64_t m) {
  int64_t rows = 0;
  while (rows < m) rows += kSizes[SizeFor(m - rows)];
  return rows;
}

void FloatProduct::Run(const float* a, int64_t m, const void* packed, const float* bias,
                       float* out) {
  for (int64_t row = 0; row < m;) {
    const int size = SizeFor(m - row);
    by_size_[size]->product.Execute(a + row * k_, packed, nullptr, bias, out + row * n_);
    row += kSizes[size];
  }
}

}  // namespace keras_int8nmt
