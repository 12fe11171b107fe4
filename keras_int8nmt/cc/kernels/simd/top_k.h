// The k best logits of a row and its log-sum-exp, chunk by chunk, so that the row need not exist as
// a whole: a product can hand over its columns as it makes them.
#ifndef KERAS_INT8NMT_KERNELS_SIMD_TOP_K_H_
#define KERAS_INT8NMT_KERNELS_SIMD_TOP_K_H_

#include <cmath>

#include "float_math.h"
#include "simd/scratch.h"
#include "simd/sum16.h"
#include "simd/vector_math.h"
#include "simd/vectors.h"

namespace keras_int8nmt {
namespace {

Floats LowestOutside(Floats x, Full) { return x; }
Floats LowestOutside(Floats x, Part lanes) { return Select(FirstLanes(lanes), x, Set(-INFINITY)); }

// Whether x[0, n) has no NaN; its largest element to *maximum.
bool ChunkMaximum(const float* x, int64_t n, float* maximum) {
  Floats best[4];
  Mask nan = NoLanes();
  for (Floats& vector : best) vector = Set(-INFINITY);
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    Floats v[4];
    for (int j = 0; j < 4; ++j) v[j] = Load(x + i + j * kLanes, Full());
    for (int j = 0; j < 4; ++j) best[j] = Max(v[j], best[j]);
    nan = nan | Unordered(v[0], v[1]) | Unordered(v[2], v[3]);
  }
  ForVectors(n - i, [&](int64_t offset, auto lanes) {
    const Floats v = LowestOutside(Load(x + i + offset, lanes), lanes);
    best[0] = Max(v, best[0]);
    nan = nan | Unordered(v, v);
  });
  *maximum = LargestLane(Max(Max(best[0], best[1]), Max(best[2], best[3])));
  return Bits(nan) == 0;
}

// The k best so far, best first; of equal ones the first that came. The list is the caller's, so
// that it can be continued; *count is how much of it there is.
class Best {
 public:
  Best(int32_t k, float* values, int32_t* ids, int32_t* count)
      : k_(k), count_(count), values_(values), ids_(ids) {}

  void Add(float value, int32_t id) {
    if (*count_ == k_) {
      if (!(value > values_[k_ - 1])) return;
    } else {
      ++*count_;
    }
    int32_t at = *count_ - 1;
    for (; at > 0 && value > values_[at - 1]; --at) {
      values_[at] = values_[at - 1];
      ids_[at] = ids_[at - 1];
    }
    values_[at] = value;
    ids_[at] = id;
  }
  float Last() const { return *count_ == k_ ? values_[k_ - 1] : -INFINITY; }

 private:
  int32_t k_;
  int32_t* count_;
  float* values_;
  int32_t* ids_;
};

// Adds the elements of a chunk that are among the k best; `forbidden` is not.
INLINE void AddCandidates(const float* x, int64_t n, int64_t first_id, int32_t forbidden,
                          Best* best) {
  ForVectors(n, [&](int64_t i, auto lanes) {
    const Floats values = Load(x + i, lanes);
    uint32_t bits = Bits(AtLeast(values, Set(best->Last()))) & Bits(FirstLanes(lanes));
    for (; bits != 0; bits &= bits - 1) {
      const int64_t at = i + __builtin_ctz(bits);
      const int32_t id = static_cast<int32_t>(first_id + at);
      if (id != forbidden) best->Add(x[at], id);
    }
  });
}

// One chunk of a row: its maximum, its sum of exponentials unless `sum` is null, and its candidates
// to `best`. False if it has a NaN.
INLINE bool AddChunk(const float* x, int64_t n, int64_t first_id, int32_t forbidden, float* maximum,
                     float* sum, Best* best) {
  if (!ChunkMaximum(x, n, maximum)) return false;
  if (sum != nullptr) {
    const Floats shift = Set(*maximum);
    *sum = Sum16(n, [&](int64_t i, auto lanes) { return Exp(Load(x + i, lanes) - shift); });
  }
  if (*maximum >= best->Last()) AddCandidates(x, n, first_id, forbidden, best);
  return true;
}

// The log-sum-exp of a row from its chunks. False if it is not finite: then no log-probability is
// anything but NaN.
bool LogSum(const float* maxima, const float* sums, int64_t chunks, float* log_sum) {
  float maximum = maxima[0];
  for (int64_t c = 1; c < chunks; ++c) maximum = maxima[c] > maximum ? maxima[c] : maximum;
  if (__builtin_isinf(maximum)) return false;
  double total = 0.0;
  for (int64_t c = 0; c < chunks; ++c) {
    total += static_cast<double>(sums[c]) * static_cast<double>(Exp(maxima[c] - maximum));
  }
  *log_sum = maximum + static_cast<float>(::log(total));
  return true;
}

bool TopK(const float* logits, int64_t rows, int64_t columns, int32_t k, int32_t forbidden,
          float* best_logits, int32_t* ids, float* log_sums) {
  const int64_t chunks = (columns + kLogSumChunk - 1) / kLogSumChunk;
  Scratch memory(2 * Scratch::RoundedUp(chunks));
  float* maxima = memory.Take<float>(chunks);
  float* sums = memory.Take<float>(chunks);
  for (int64_t r = 0; r < rows; ++r) {
    int32_t count = 0;
    Best best(k, best_logits + r * k, ids + r * k, &count);
    for (int64_t c = 0; c < chunks; ++c) {
      const int64_t first = c * kLogSumChunk;
      const int64_t n = columns - first < kLogSumChunk ? columns - first : kLogSumChunk;
      if (!AddChunk(logits + r * columns + first, n, first, forbidden, &maxima[c], &sums[c],
                    &best)) {
        return false;
      }
    }
    if (!LogSum(maxima, sums, chunks, &log_sums[r])) return false;
  }
  return true;
}

}  // namespace
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_SIMD_TOP_K_H_
