// Attention in int8: scores, softmax to uint8, weighted sum of the values.
//
// For a batch and a head the keys are turned once into a panel: blocks of 16 keys, each a row of
// vectors whose lane j holds 4 bytes of key j. So 16 scores grow in one register, and up to
// kQueryRows query rows share each load of the panel.
#ifndef KERAS_INT8NMT_KERNELS_SIMD_ATTENTION_H_
#define KERAS_INT8NMT_KERNELS_SIMD_ATTENTION_H_

#include <cmath>

#include "int8.h"
#include "probability_codes.h"
#include "simd/elementwise.h"
#include "simd/exponential.h"
#include "simd/scratch.h"
#include "simd/vector_math.h"
#include "simd/vectors.h"

namespace keras_int8nmt {
namespace {

constexpr int kQueryRows = 4;
constexpr int kBlock = kLanes;    // keys of a panel block
constexpr int kColumns = 64;      // value columns at a time
constexpr int kSpareWords = 128;  // for the rounding of each part of the scratch memory

int64_t RoundUp(int64_t x, int64_t unit) { return (x + unit - 1) / unit * unit; }
int64_t Smaller(int64_t a, int64_t b) { return a < b ? a : b; }

struct AttentionScratch {
  AttentionScratch(int64_t head_dim, int64_t keys)
      : groups(RoundUp(head_dim, 16) / 4),
        keys(RoundUp(keys, kBlock)),
        memory_(this->keys * (groups + kQueryRows + 1 + kQueryRows * kWeightWords) +
                groups * (kQueryRows * kWeightWords + 1) + kSpareWords) {
    panel = memory_.Take<int32_t>(this->keys * groups);
    scores = memory_.Take<float>(kQueryRows * this->keys);
    probabilities = memory_.Take<uint8_t>(this->keys / 4);
    weights = memory_.Take<int32_t>(kQueryRows * this->keys / 4 * kWeightWords);
    queries = memory_.Take<int32_t>(kQueryRows * groups * kWeightWords);
    query_bytes = memory_.Take<int8_t>(groups);
  }

  int64_t groups;          // of 4 dimensions
  int64_t keys;            // rounded up to whole blocks
  int32_t* panel;          // [keys / 16, groups, 16]
  float* scores;           // [kQueryRows, keys]
  uint8_t* probabilities;  // [keys], of one row
  int32_t* weights;        // [kQueryRows, keys / 4, kWeightWords], from the probabilities
  int32_t* queries;        // [kQueryRows, groups, kWeightWords]
  int8_t* query_bytes;     // [4 * groups]
  int32_t starts[kQueryRows];

 private:
  Scratch memory_;
};

// One head of one batch.
struct Head {
  const int8_t* query;
  const int8_t* key;
  const int8_t* value;
  const uint8_t* mask;
  const float* bias;
  int64_t limit;     // keys that any row may see
  int64_t next_key;  // from a key of this head to the same key of the head that is next
  int64_t next_value;
  int64_t first_row;   // of the batch, in query and context
  int64_t out_column;  // of the head, in a row of context
};

// The keys a row of the batch may see, by length and order.
int64_t RowLimit(const AttentionArgs& args, int32_t length, int64_t t) {
  int64_t limit = length;
  if (args.causal) limit = Smaller(limit, args.offset + t + 1);
  return limit < 0 ? 0 : limit;
}

void PackKeys(const AttentionArgs& args, const Head& head, AttentionScratch* scratch) {
  const int64_t whole = args.head_dim / 16 * 16;
  const int64_t rest = args.head_dim - whole;
  int32_t* out = scratch->panel;
  for (int64_t first = 0; first < head.limit; first += kBlock) {
    RowPointers rows;
    for (int j = 0; j < kBlock; ++j) {
      const int64_t row = Smaller(first + j, head.limit - 1);
      rows.at[j] = head.key + row * args.key_stride;
      // Rows lie far apart for the CPU's own prefetcher.
      __builtin_prefetch(rows.at[j] + head.next_key);
      __builtin_prefetch(head.value + row * args.value_stride + head.next_value);
    }
    Ints groups[4];
    for (int64_t d = 0; d < whole; d += 16) {
      TransposeBytes(rows, d, groups);
      for (const Ints& group : groups) {
        Store(out, PrepareKeys(group), Full());
        out += kLanes;
      }
    }
    if (rest == 0) continue;
    int8_t copy[kBlock][16] = {};
    for (int j = 0; j < kBlock; ++j) {
      __builtin_memcpy(copy[j], rows.at[j] + whole, rest);
      rows.at[j] = copy[j];
    }
    TransposeBytes(rows, 0, groups);
    for (const Ints& group : groups) {
      Store(out, PrepareKeys(group), Full());
      out += kLanes;
    }
  }
}

template <int kRows>
void PackQueries(const AttentionArgs& args, const int8_t* query, AttentionScratch* scratch) {
  const int64_t words = scratch->groups * kWeightWords;
  for (int r = 0; r < kRows; ++r) {
    const int8_t* bytes = query + r * args.query_stride;
    scratch->starts[r] = ScoreStart(bytes, args.head_dim);
    if (args.head_dim % 16 != 0) {
      __builtin_memset(scratch->query_bytes, 0, 4 * scratch->groups);
      __builtin_memcpy(scratch->query_bytes, bytes, args.head_dim);
      bytes = scratch->query_bytes;
    }
    PackWeights(bytes, scratch->groups, scratch->queries + r * words);
  }
}

// Scores of kRows rows against the keys [0, limit), and garbage up to a whole block.
template <int kRows>
void Scores(const AttentionArgs& args, int64_t limit, AttentionScratch* scratch) {
  const Floats scale = Set(args.scale);
  const int64_t groups = scratch->groups;
  const int64_t words = groups * kWeightWords;
  const int32_t* panel = scratch->panel;
  for (int64_t first = 0; first < limit; first += kBlock) {
    Ints acc[kRows];
    for (int r = 0; r < kRows; ++r) acc[r] = SetInt(scratch->starts[r]);
    for (int64_t g = 0; g < groups; ++g) {
      const Ints keys = Load(panel, Full());
      panel += kLanes;
      for (int r = 0; r < kRows; ++r) {
        acc[r] = KeyDot(acc[r], keys, scratch->queries + r * words + g * kWeightWords);
      }
    }
    for (int r = 0; r < kRows; ++r) {
      Store(scratch->scores + r * scratch->keys + first, ToFloats(acc[r]) * scale, Full());
    }
  }
}

void AddBias(const float* bias, int64_t limit, float* scores) {
  ForVectors(limit, [&](int64_t j, auto lanes) {
    Store(scores + j, Load(scores + j, Full()) + Load(bias + j, lanes), Full());
  });
}

// Lanes that are not allowed become `other`.
template <class Lanes>
INLINE Floats Allowed(Floats x, const uint8_t* mask, int64_t j, Floats other, Lanes lanes) {
  if (mask != nullptr) return Select(LoadMask(mask + j, lanes), x, other);
  return Select(FirstLanes(lanes), x, other);
}

// Scores of one row -> weights for the values: zero from the row's limit to `end`.
template <class Exponential>
void Softmax(float* scores, const uint8_t* mask, int64_t limit, int64_t end, uint8_t* probabilities,
             int32_t* weights) {
  Floats largest = Set(-INFINITY);
  ForVectors(limit, [&](int64_t j, auto lanes) {
    largest = Max(Allowed(Load(scores + j, Full()), mask, j, largest, lanes), largest);
  });
  Exponential exponential(LargestLane(largest));
  ForVectors(limit, [&](int64_t j, auto lanes) {
    const Floats e = exponential(Load(scores + j, Full()));
    const Floats kept = Allowed(e, mask, j, Set(0.0f), lanes);
    Store(scores + j, kept, Full());
    exponential.Add(kept);
  });
  const Floats reciprocal = Set(ProbabilityFactor(exponential.Total()));
  const int64_t padded = RoundUp(limit, kBlock);
  for (int64_t j = 0; j < padded; j += kLanes) {
    const Floats p = Clamp(Rint(Load(scores + j, Full()) * reciprocal), 0.0f, 255.0f);
    StoreBytes(probabilities + j, ToInts(p), Full());
  }
  if (end > padded) __builtin_memset(probabilities + padded, 0, end - padded);
  PackWeights(probabilities, end / 4, weights);
}

void WriteContext(const AttentionArgs& args, const int32_t* acc, int64_t columns, int64_t start) {
  const auto write = [&](auto writer) {
    ForVectors(columns, [&](int64_t i, auto lanes) {
      writer(start + i, ToFloats(Load(acc + i, lanes)), lanes);
    });
  };
  if (args.output.type != Type::kFloat32) return WithWriter(args.output, args.context, write);
  const Floats scale = Set(args.output.scale);
  float* out = static_cast<float*>(args.context);
  write([&](int64_t i, Floats x, auto lanes) { Store(out + i, x * scale, lanes); });
}

// Adds 4 keys to the accumulators of kRows rows.
template <int kRows>
INLINE void AddValues(const int8_t* const rows[4], int64_t columns, const int32_t* weights,
                      int64_t row_words, Ints acc[kRows][4]) {
  Ints values[4];
  InterleaveRows(rows, columns, values);
  for (int r = 0; r < kRows; ++r) {
    for (int i = 0; i < 4; ++i) acc[r][i] = ValueDot(acc[r][i], values[i], weights + r * row_words);
  }
}

// Context of kRows rows, the first of them row t of the batch, from weights of [0, limit).
template <int kRows>
void Context(const AttentionArgs& args, const Head& head, int64_t t, int64_t limit,
             const int32_t* weights, int64_t row_words) {
  for (int64_t column = 0; column < args.value_dim; column += kColumns) {
    const int64_t columns = Smaller(kColumns, args.value_dim - column);
    const int8_t* value = head.value + column;
    Ints acc[kRows][4];
    for (auto& row : acc) {
      for (Ints& part : row) part = SetInt(0);
    }
    int64_t j = 0;
    for (; j + 4 <= limit; j += 4, value += 4 * args.value_stride) {
      const int8_t* const rows[4] = {value, value + args.value_stride,
                                     value + 2 * args.value_stride, value + 3 * args.value_stride};
      AddValues<kRows>(rows, columns, weights + j / 4 * kWeightWords, row_words, acc);
    }
    if (j < limit) {
      // Keys past the limit have weight 0; the last key stands in for them.
      const int8_t* rows[4];
      for (int i = 0; i < 4; ++i) rows[i] = value + Smaller(i, limit - 1 - j) * args.value_stride;
      AddValues<kRows>(rows, columns, weights + j / 4 * kWeightWords, row_words, acc);
    }
    for (int r = 0; r < kRows; ++r) {
      int32_t natural[kColumns];
      StoreColumns(acc[r], natural);
      const int64_t row = head.first_row + t + r;
      WriteContext(args, natural, columns,
                   row * args.heads * args.value_dim + head.out_column + column);
    }
  }
}

template <int kRows>
void HeadRows(const AttentionArgs& args, const Head& head, int32_t length, int64_t t,
              AttentionScratch* scratch) {
  PackQueries<kRows>(args, head.query + t * args.query_stride, scratch);
  const int64_t limit = RowLimit(args, length, t + kRows - 1);
  const int64_t end = RoundUp(limit, kBlock);
  const int64_t row_words = scratch->keys / 4 * kWeightWords;
  Scores<kRows>(args, limit, scratch);
  if (head.bias != nullptr) {
    for (int r = 0; r < kRows; ++r) {
      AddBias(head.bias + (t + r) * args.bias_row_stride, limit,
              scratch->scores + r * scratch->keys);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    const uint8_t* mask =
        head.mask == nullptr ? nullptr : head.mask + (t + r) * args.mask_row_stride;
    const auto softmax =
        args.integer_softmax ? &Softmax<IntegerExponential> : &Softmax<FloatExponential>;
    softmax(scratch->scores + r * scratch->keys, mask, RowLimit(args, length, t + r), end,
            scratch->probabilities, scratch->weights + r * row_words);
  }
  constexpr int kTogether = kRows < kContextRows ? kRows : kContextRows;
  int r = 0;
  for (; r + kTogether <= kRows; r += kTogether) {
    Context<kTogether>(args, head, t + r, limit, scratch->weights + r * row_words, row_words);
  }
}

void HeadAttention(const AttentionArgs& args, const Head& head, int32_t length,
                   AttentionScratch* scratch) {
  PackKeys(args, head, scratch);
  int64_t t = 0;
  for (; t + kQueryRows <= args.rows_per_batch; t += kQueryRows) {
    HeadRows<kQueryRows>(args, head, length, t, scratch);
  }
  for (; t + 2 <= args.rows_per_batch; t += 2) HeadRows<2>(args, head, length, t, scratch);
  if (t < args.rows_per_batch) HeadRows<1>(args, head, length, t, scratch);
}

void Attention(const AttentionArgs& args) {
  AttentionScratch scratch(args.head_dim, args.keys);
  for (int64_t b = 0; b < args.batch; ++b) {
    const int32_t length = args.lengths[b];
    for (int32_t h = 0; h < args.heads; ++h) {
      Head head;
      head.first_row = b * args.rows_per_batch;
      head.query = args.query + head.first_row * args.query_stride + h * args.head_dim;
      head.key = args.key + b * args.keys * args.key_stride + h * args.head_dim;
      head.value = args.value + b * args.keys * args.value_stride + h * args.value_dim;
      head.mask = args.mask == nullptr ? nullptr : args.mask + b * args.mask_batch_stride;
      head.bias = args.bias == nullptr
                      ? nullptr
                      : args.bias + b * args.bias_batch_stride + h * args.bias_head_stride;
      head.limit = RowLimit(args, length, args.rows_per_batch - 1);
      const bool same_batch = h + 1 < args.heads;
      const int64_t keys = b + 1 < args.batch ? args.keys : 0;
      head.next_key = same_batch ? args.head_dim : keys * args.key_stride - h * args.head_dim;
      head.next_value = same_batch ? args.value_dim : keys * args.value_stride - h * args.value_dim;
      head.out_column = int64_t{h} * args.value_dim;
      HeadAttention(args, head, length, &scratch);
    }
  }
}

}  // namespace
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_SIMD_ATTENTION_H_
