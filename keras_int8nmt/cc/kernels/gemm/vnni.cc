// The back end of our own kernel for AVX512-VNNI.
//
// It is the default where the CPU has that: oneDNN's equal at many rows, up to 1.3 times as fast at
// few, and it hands the columns of a product over as they are made (top_k).
#include "gemm/vnni.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <type_traits>

#include "gemm/backends.h"

namespace keras_int8nmt {

#if defined(__x86_64__)

namespace vnni {
namespace {

int64_t Panels(int64_t n) { return (n + kPanel - 1) / kPanel; }
int64_t Groups(int64_t k) { return (k + 3) / 4; }

// Counted up when it changes.
uint64_t Layout() { return 2; }

size_t PackedSize(int64_t k, int64_t n) {
  return Panels(n) * kPanel * (sizeof(int32_t) + Groups(k) * 4);
}

Body BodyAt(const void* body, int64_t k, int64_t n) {
  Body parts;
  parts.starts = static_cast<const int32_t*>(body);
  parts.panels = reinterpret_cast<const int8_t*>(parts.starts + Panels(n) * kPanel);
  parts.groups = Groups(k);
  return parts;
}

// Where W[i, j] lies among the panels.
int64_t PlaceOf(int64_t i, int64_t j, int64_t groups) {
  return ((j / kPanel) * groups + i / 4) * kPanel * 4 + j % kPanel * 4 + i % 4;
}

// Rows that are packed together: what they make of a panel is one page, and their lines are found
// again by the panel after it.
constexpr int64_t kPackedRows = 64;

// Four rows of a panel, each `columns` long; the sums of their columns are added to `sums`.
template <typename Columns>
void PackGroup(const int8_t* w, int64_t n, Columns columns, int8_t* group, int32_t* sums) {
  const int8_t *w0 = w, *w1 = w + n, *w2 = w + 2 * n, *w3 = w + 3 * n;
  for (int64_t j = 0; j < columns; ++j) {
    group[j * 4] = w0[j];
    group[j * 4 + 1] = w1[j];
    group[j * 4 + 2] = w2[j];
    group[j * 4 + 3] = w3[j];
    sums[j] += w0[j] + w1[j] + w2[j] + w3[j];
  }
}

void PackBody(const int8_t* weights, int64_t k, int64_t n, void* body) {
  auto* starts = static_cast<int32_t*>(body);
  auto* panels = reinterpret_cast<int8_t*>(starts + Panels(n) * kPanel);
  const int64_t whole = k / 4 * 4;
  for (int64_t row = 0; row < whole; row += kPackedRows) {
    const int64_t end = std::min(row + kPackedRows, whole);
    for (int64_t first = 0; first < n; first += kPanel) {
      const int64_t columns = std::min(n - first, kPanel);
      int8_t* group = panels + PlaceOf(row, first, Groups(k));
      for (int64_t i = row; i < end; i += 4, group += kPanel * 4) {
        const int8_t* w = weights + i * n + first;
        if (columns == kPanel) {
          PackGroup(w, n, std::integral_constant<int64_t, kPanel>(), group, starts + first);
        } else {
          PackGroup(w, n, columns, group, starts + first);
        }
      }
    }
  }
  for (int64_t i = whole; i < k; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      panels[PlaceOf(i, j, Groups(k))] = weights[i * n + j];
      starts[j] += weights[i * n + j];
    }
  }
  for (int64_t j = 0; j < n; ++j) starts[j] *= -128;
}

void UnpackBody(const void* body, int64_t k, int64_t n, int8_t* weights) {
  const Body parts = BodyAt(body, k, n);
  for (int64_t i = 0; i < k; ++i) {
    for (int64_t j = 0; j < n; ++j) weights[i * n + j] = parts.panels[PlaceOf(i, j, parts.groups)];
  }
}

// The inputs as unsigned bytes, rows padded with zeros to whole groups: `a` itself or a copy.
const uint8_t* Unsigned(const void* a, Type a_type, int64_t m, int64_t k) {
  const auto* bytes = static_cast<const uint8_t*>(a);
  const int64_t stride = Groups(k) * 4;
  const bool shifted = a_type == Type::kInt8;
  if (!shifted && stride == k) return bytes;
  uint8_t* copy = ThreadBuffer<uint8_t, 5>(m * stride);
  const uint8_t flip = shifted ? 128 : 0;
  for (int64_t r = 0; r < m; ++r, bytes += k, copy += stride) {
    for (int64_t i = 0; i < k; ++i) copy[i] = bytes[i] ^ flip;
    for (int64_t i = k; i < stride; ++i) copy[i] = 0;
  }
  return copy - m * stride;
}

// The product, or a share of it whose panels come in groups of `unit`.
Product ShareOf(const GemmArgs& args, int64_t unit) {
  const int64_t k = args.weights.k, n = args.weights.n;
  Product product;
  product.a = Unsigned(args.a, args.a_type, args.m, k);
  product.a_stride = Groups(k) * 4;
  product.m = args.m;
  product.shifted = args.a_type == Type::kInt8;
  product.body = BodyAt(args.weights.body, k, n);
  product.n = n;
  const int64_t units = (Panels(n) + unit - 1) / unit;
  const Share share = args.share;
  product.first_panel = units * share.index / share.count * unit;
  product.last_panel = std::min(units * (share.index + 1) / share.count * unit, Panels(n));
  return product;
}

void MultiplyShare(const GemmArgs& args) {
  const Epilogue& epilogue = args.epilogue;
  const int64_t m = args.m, n = args.weights.n;
  const Product product = ShareOf(args, 1);
  if (Multiply(product, epilogue, args.out)) return;
  // In two steps: float32, then activation and rounding of the columns that are ours.
  Epilogue plain = epilogue;
  plain.activation = Activation::kNone;
  plain.output = Output();
  float* y = ThreadBuffer<float, 6>(m * n);
  Multiply(product, plain, y);
  const int64_t first = product.first_panel * kPanel;
  const int64_t columns = std::min(n, product.last_panel * kPanel) - first;
  const size_t element = TypeBytes(epilogue.output.type);
  for (int64_t r = 0; r < m && columns > 0; ++r) {
    ActiveKernels().finish(y + r * n + first, 1, columns, epilogue.activation, epilogue.output,
                           static_cast<char*>(args.out) + (r * n + first) * element);
  }
}

void TopKShare(const GemmArgs& args, const ProductTopK& result) {
  TopK(ShareOf(args, kLogSumChunk / kPanel), args.epilogue, result);
}

constexpr GemmBackend kVnni = {"vnni",     "own kernel",  Layout, PackedSize, PackBody,
                               UnpackBody, MultiplyShare, true,   TopKShare,  8};

}  // namespace
}  // namespace vnni

const GemmBackend& VnniGemm() {
  if (std::strcmp(ActiveKernels().isa, "avx512_vnni") != 0) {
    throw std::runtime_error("it needs AVX512-VNNI, and the instruction set in force is " +
                             std::string(ActiveKernels().isa));
  }
  return vnni::kVnni;
}

#else

const GemmBackend& VnniGemm() { throw std::runtime_error("it needs an x86-64 CPU"); }

#endif

}  // namespace keras_int8nmt
