// The float32 back end of oneDNN.
#include <memory>
#include <vector>

#include "gemm/float_gemm.h"
#include "gemm/onednn.h"

namespace keras_int8nmt {
namespace {

using onednn::DataType;

size_t PackedBytes(int64_t k, int64_t n) {
  return onednn::PackedDesc(k, n, DataType::f32, DataType::f32).get_size();
}

void Pack(const float* weights, int64_t k, int64_t n, void* packed) {
  const onednn::Creating creating;
  onednn::ApplyThreads();
  const dnnl::memory::desc plain({k, n}, DataType::f32, dnnl::memory::format_tag::ab);
  dnnl::stream stream(onednn::Engine());
  dnnl::memory in(plain, onednn::Engine(), const_cast<float*>(weights));
  dnnl::memory out(onednn::PackedDesc(k, n, DataType::f32, DataType::f32), onednn::Engine(),
                   packed);
  dnnl::reorder(in, out).execute(stream, in, out);
  stream.wait();
}

void Multiply(const FloatGemmArgs& args) {
  // Pieces as for int8, so that the two differ in the arithmetic only.
  const int threads = onednn::ApplyThreads();
  const int64_t k = args.k, n = args.n;
  for (int64_t row = 0, rows = 0; row < args.m; row += rows) {
    rows = onednn::NextPiece(args.m - row);
    const onednn::Key key = {rows,          k,    n,         DataType::f32, DataType::f32,
                             DataType::f32, true, args.relu, threads};
    onednn::Execute(key, args.a + row * k, args.packed, nullptr, args.bias, args.out + row * n);
  }
}

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

int64_t RoundedRows(int64_t m) {
  int64_t rows = 0;
  while (rows < m) rows += kSizes[SizeFor(m - rows)];
  return rows;
}

// A primitive for each row count of the list.
class Plan : public FloatPlan {
 public:
  Plan(int64_t k, int64_t n, bool relu, int threads) : k_(k), n_(n) {
    for (int64_t rows : kSizes) {
      by_size_.push_back(std::make_unique<onednn::Product>(onednn::Key{
          rows, k, n, DataType::f32, DataType::f32, DataType::f32, true, relu, threads}));
    }
  }

  void Run(const FloatGemmArgs& args) override {
    for (int64_t row = 0; row < args.m;) {
      const int size = SizeFor(args.m - row);
      by_size_[size]->Execute(args.a + row * k_, args.packed, nullptr, args.bias,
                              args.out + row * n_);
      row += kSizes[size];
    }
  }

 private:
  int64_t k_, n_;
  std::vector<std::unique_ptr<onednn::Product>> by_size_;
};

std::unique_ptr<FloatPlan> MakePlan(int64_t k, int64_t n, bool relu, int threads) {
  return std::make_unique<Plan>(k, n, relu, threads);
}

void SetThreads(int threads) { onednn::ApplyThreads(threads); }

constexpr FloatGemmBackend kOnednn = {"onednn", PackedBytes, Pack,       Multiply, false,
                                      MakePlan, RoundedRows, SetThreads, nullptr};

}  // namespace

const FloatGemmBackend& OnednnFloatGemm() { return kOnednn; }

}  // namespace keras_int8nmt
