// The k best log-probabilities of a row.
//
// Three passes over a row that stays in cache after the first: the maximum of each chunk; the sum
// of exponentials; and the candidates, looked for only in the chunks whose maximum is among the k
// best maxima, because k elements at least as good are known by then.
#ifndef KERAS_INT8NMT_KERNELS_KERNELS_TOP_K_H_
#define KERAS_INT8NMT_KERNELS_KERNELS_TOP_K_H_

#include <cmath>

#include "kernels_scratch.h"
#include "kernels_sum16.h"
#include "simd.h"
#include "vector_math.h"

namespace keras_int8nmt {
namespace {

constexpr int64_t kChunk = 256;

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

// The k best so far, best first; of equal ones the first that came.
class Best {
 public:
  Best(int32_t k, float* values, int32_t* ids) : k_(k), values_(values), ids_(ids) {}

  void Add(float value, int32_t id) {
    if (count_ == k_) {
      if (!(value > values_[k_ - 1])) return;
    } else {
      ++count_;
    }
    int32_t at = count_ - 1;
    for (; at > 0 && value > values_[at - 1]; --at) {
      values_[at] = values_[at - 1];
      ids_[at] = ids_[at - 1];
    }
    values_[at] = value;
    ids_[at] = id;
  }
  float Last() const { return count_ == k_ ? values_[k_ - 1] : -INFINITY; }

 private:
  int32_t k_, count_ = 0;
  float* values_;
  int32_t* ids_;
};

struct TopKScratch {
  float* maxima;  // [chunks]
  float* values;  // [k + 1]
  int32_t* ids;   // [k + 1]
};

// Adds the elements of one chunk whose log-probability is at least `threshold`.
void AddCandidates(const float* x, int64_t n, int64_t first_id, float lse, float threshold,
                   int32_t forbidden, Best* best) {
  const Floats shift = Set(lse);
  ForVectors(n, [&](int64_t i, auto lanes) {
    const Floats log_probs = Load(x + i, lanes) - shift;
    uint32_t bits = Bits(AtLeast(log_probs, Set(threshold))) & Bits(FirstLanes(lanes));
    for (; bits != 0; bits &= bits - 1) {
      const int64_t at = i + __builtin_ctz(bits);
      const int32_t id = static_cast<int32_t>(first_id + at);
      if (id != forbidden) best->Add(x[at] - lse, id);
    }
  });
}

bool TopKRow(const float* x, int64_t columns, int32_t k, int32_t forbidden,
             const TopKScratch& scratch, float* log_probs, int32_t* ids) {
  const int64_t chunks = (columns + kChunk - 1) / kChunk;
  const auto chunk_size = [&](int64_t c) { return c + 1 < chunks ? kChunk : columns - c * kChunk; };
  // One more than k, because the forbidden token may be among them.
  Best best_maxima(k + 1, scratch.values, scratch.ids);
  for (int64_t c = 0; c < chunks; ++c) {
    if (!ChunkMaximum(x + c * kChunk, chunk_size(c), &scratch.maxima[c])) return false;
    best_maxima.Add(scratch.maxima[c], static_cast<int32_t>(c));
  }
  const float maximum = scratch.values[0];
  // An infinite maximum leaves no log-probability but NaN.
  if (__builtin_isinf(maximum)) return false;
  const Floats shift = Set(maximum);
  const float sum =
      Sum16(columns, [&](int64_t i, auto lanes) { return Exp(Load(x + i, lanes) - shift); });
  const float lse = maximum + static_cast<float>(::log(static_cast<double>(sum)));
  // Compared as log-probabilities: different logits can round to the same one, and are then a tie.
  const float threshold = best_maxima.Last() - lse;
  Best best(k, log_probs, ids);
  for (int64_t c = 0; c < chunks; ++c) {
    if (scratch.maxima[c] - lse < threshold) continue;
    AddCandidates(x + c * kChunk, chunk_size(c), c * kChunk, lse, threshold, forbidden, &best);
  }
  return true;
}

bool TopK(const float* logits, int64_t rows, int64_t columns, int32_t k, int32_t forbidden,
          float* log_probs, int32_t* ids) {
  const int64_t chunks = (columns + kChunk - 1) / kChunk;
  Scratch memory(Scratch::RoundedUp(chunks) + 2 * Scratch::RoundedUp(k + 1));
  TopKScratch scratch;
  scratch.maxima = memory.Take<float>(chunks);
  scratch.values = memory.Take<float>(k + 1);
  scratch.ids = memory.Take<int32_t>(k + 1);
  for (int64_t r = 0; r < rows; ++r) {
    if (!TopKRow(logits + r * columns, columns, k, forbidden, scratch, log_probs + r * k,
                 ids + r * k)) {
      return false;
    }
  }
  return true;
}

}  // namespace
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_KERNELS_TOP_K_H_
