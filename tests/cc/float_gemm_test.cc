// Every float32 back end against sums in double; shares of a product, single rows of it, its best
// columns; plans.
//
// The instruction set in force comes from KERAS_INT8NMT_ISA and ONEDNN_MAX_CPU_ISA; exits with 77
// when this CPU has not the set. Buffers end at an unmapped page.
#include "gemm/float_gemm.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "inputs.h"

namespace keras_int8nmt {
namespace {

struct Size {
  int64_t m, k, n;
};

const Size kSizes[] = {{1, 1, 1},     {1, 64, 64},  {3, 5, 63},     {4, 16, 65},
                       {5, 100, 128}, {7, 33, 129}, {17, 512, 40},  {130, 31, 90},
                       {300, 8, 16},  {257, 20, 7}, {2, 1000, 200}, {1, 9, 300},
                       {6, 7, 47},    {14, 12, 97}, {15, 13, 33},   {29, 3, 31}};

struct Case {
  explicit Case(const Size& size)
      : a(Normal(size.m * size.k)), weights(Normal(size.k * size.n)), bias(Normal(size.n)) {}
  Guarded<float> a, weights, bias;
};

// The sum is near the exact one by the sum of the products' magnitudes.
void CheckProduct(const std::string& what, const Size& s, const Case& c, bool relu,
                  const float* out) {
  for (int64_t r = 0; r < s.m; ++r) {
    for (int64_t j = 0; j < s.n; ++j) {
      double sum = c.bias[j], magnitude = std::fabs(sum);
      for (int64_t i = 0; i < s.k; ++i) {
        const double product = static_cast<double>(c.a[r * s.k + i]) * c.weights[i * s.n + j];
        sum += product;
        magnitude += std::fabs(product);
      }
      const double bound = magnitude * static_cast<double>(s.k + 2) * 6e-8;
      CheckNear(what, out[r * s.n + j], relu ? std::max(sum, 0.0) : sum, bound);
    }
  }
}

void CheckShares(const FloatGemmBackend& backend, FloatGemmArgs args) {
  const int64_t count = args.m * args.n;
  for (int shares : {2, 3, 5}) {
    Guarded<float> shared(count);
    std::fill(shared.data(), shared.data() + count, -1e30f);
    const float* whole = args.out;
    FloatGemmArgs part = args;
    part.out = shared.data();
    for (int i = 0; i < shares; ++i) {
      part.share = {i, shares};
      backend.multiply(part);
    }
    if (std::memcmp(whole, shared.data(), count * sizeof(float)) != 0) Fail("shares of a product");
  }
}

// Our own kernels give a row the same bits whatever is computed with it.
void CheckRows(const FloatGemmBackend& backend, const FloatGemmArgs& args) {
  Guarded<float> alone(args.n);
  for (int64_t r = 0; r < args.m; ++r) {
    FloatGemmArgs row = args;
    row.a = args.a + r * args.k;
    row.m = 1;
    row.out = alone.data();
    backend.multiply(row);
    if (std::memcmp(args.out + r * args.n, alone.data(), args.n * sizeof(float)) != 0) {
      Fail(std::string(backend.name) + ": a row alone");
    }
  }
}

// What is kept of a product's columns is what the kernel finds in all of them, in shares, too.
void CheckTopK(const FloatGemmBackend& backend, FloatGemmArgs args, int shares) {
  const int64_t m = args.m, n = args.n, chunks = (n + kLogSumChunk - 1) / kLogSumChunk;
  const int32_t k = 4, forbidden = static_cast<int32_t>(n / 2), last = static_cast<int32_t>(n) - 1;
  std::vector<float> best(m * k), log_sums(m);
  std::vector<int32_t> ids(m * k);
  if (!ActiveKernels().top_k(args.out, m, n, k, forbidden, best.data(), ids.data(),
                             log_sums.data())) {
    Fail("top_k");
  }
  const float* logits = args.out;
  args.out = nullptr;
  Guarded<float> maxima(m * chunks), sums(m * chunks), watched(m);
  std::vector<std::vector<std::pair<float, int32_t>>> found(m);
  for (int i = 0; i < shares; ++i) {
    Guarded<float> values(m * k);
    Guarded<int32_t> columns(m * k), counts(m);
    Guarded<uint8_t> finite(m);
    args.share = {i, shares};
    backend.top_k(args, {k, forbidden, last, values.data(), columns.data(), counts.data(),
                         watched.data(), maxima.data(), sums.data(), finite.data()});
    for (int64_t r = 0; r < m; ++r) {
      if (finite[r] == 0) Fail("a finite row");
      for (int32_t j = 0; j < counts[r]; ++j) {
        found[r].emplace_back(-values[r * k + j], columns[r * k + j]);
      }
    }
  }
  for (int64_t r = 0; r < m; ++r) {
    std::sort(found[r].begin(), found[r].end());
    for (int32_t j = 0; j < k; ++j) {
      if (found[r][j] != std::make_pair(-best[r * k + j], ids[r * k + j])) Fail("the best columns");
    }
    float log_sum = 0.0f;
    if (!ActiveKernels().log_sum(&maxima[r * chunks], &sums[r * chunks], chunks, &log_sum) ||
        log_sum != log_sums[r] || watched[r] != logits[r * n + last]) {
      Fail("log-sum-exp of a product's columns");
    }
  }
}

void CheckTopK(const FloatGemmBackend& backend) {
  for (const Size& s : {Size{1, 64, 7}, Size{13, 37, 512}, Size{40, 130, 3001}}) {
    const Case c(s);
    std::vector<char> packed(backend.packed_bytes(s.k, s.n));
    backend.pack(c.weights.data(), s.k, s.n, packed.data());
    Guarded<float> logits(s.m * s.n);
    const FloatGemmArgs args = {c.a.data(),    s.m,   packed.data(), s.k,    s.n,
                                c.bias.data(), false, logits.data(), Share()};
    backend.multiply(args);
    for (int shares : {1, 3}) CheckTopK(backend, args, shares);
  }
}

void CheckPlan(const FloatGemmBackend& backend, const Size& s, const Case& c, const void* packed,
               bool relu) {
  const std::unique_ptr<FloatPlan> plan = backend.plan(s.k, s.n, relu, 1);
  const int64_t rows = backend.rounded_rows == nullptr ? s.m : backend.rounded_rows(s.m);
  if (rows < s.m) Fail("rounded rows");
  Guarded<float> a(rows * s.k), out(rows * s.n);
  std::memcpy(a.data(), c.a.data(), s.m * s.k * sizeof(float));
  plan->Run({a.data(), s.m, packed, s.k, s.n, c.bias.data(), relu, out.data(), Share()});
  CheckProduct(std::string(backend.name) + " plan", s, c, relu, out.data());
}

void CheckBackend(const FloatGemmBackend& backend) {
  for (const Size& s : kSizes) {
    const Case c(s);
    const size_t bytes = backend.packed_bytes(s.k, s.n);
    if (bytes < s.k * s.n * sizeof(float)) Fail("packed bytes");
    // Aligned as the library's buffers are.
    const std::unique_ptr<void, decltype(&std::free)> packed(
        std::aligned_alloc(64, (bytes + 63) / 64 * 64), std::free);
    backend.pack(c.weights.data(), s.k, s.n, packed.get());
    for (bool relu : {false, true}) {
      Guarded<float> out(s.m * s.n);
      const FloatGemmArgs args = {c.a.data(),    s.m,  packed.get(), s.k,    s.n,
                                  c.bias.data(), relu, out.data(),   Share()};
      backend.multiply(args);
      CheckProduct(backend.name, s, c, relu, out.data());
      if (backend.shares) CheckShares(backend, args);
      if (backend.plan == nullptr) CheckRows(backend, args);
      if (backend.plan != nullptr) CheckPlan(backend, s, c, packed.get(), relu);
    }
  }
  if (backend.top_k != nullptr) CheckTopK(backend);
  std::printf("ran float back end %s\n", backend.name);
}

void CheckBackend(const char* name) {
  try {
    CheckBackend(FloatGemmFor(name));
  } catch (const std::runtime_error& error) {
    std::printf("SKIPPED float back end %s: %s\n", name, error.what());
    // It needs an instruction set; the others run on all.
    const bool plain = std::strcmp(ActiveKernels().isa, "generic") == 0;
    if (!plain || std::strcmp(name, "fma") != 0) Fail(error.what());
  }
}

void CheckNames() {
  try {
    FloatGemmFor("abacus");
    Fail("an unknown back end");
  } catch (const std::runtime_error& error) {
    if (std::strstr(error.what(), "loops") == nullptr) Fail(error.what());
  }
}

}  // namespace
}  // namespace keras_int8nmt

int main() {
  using namespace keras_int8nmt;
  try {
    std::printf("instruction set: %s\n", ActiveKernels().isa);
  } catch (const std::runtime_error& error) {
    std::printf("SKIPPED %s\n", error.what());
    return 77;
  }
  CheckNames();
#define FLOAT_GEMM_BACKEND(id, name, get, by_default) CheckBackend(name);
#include "gemm/float_backends.def"
#undef FLOAT_GEMM_BACKEND
  return Failures() == 0 ? 0 : 1;
}
