// Every kernel as plain loops: the truth that the fast kernels are held to, bit for bit.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "float_math.h"
#include "int8.h"
#include "integer_math.h"
#include "isa.h"
#include "probability_codes.h"
#include "reference/cache.h"
#include "reference/steps.h"
#include "row_scale.h"

namespace keras_int8nmt {
namespace {

void Quantize(const float* x, size_t n, const Output& output, void* q) {
  for (size_t i = 0; i < n; ++i) Store(x[i], output, q, static_cast<int64_t>(i));
}

void QuantizeRows(const float* x, int64_t rows, int64_t columns, int8_t* q, float* inverses) {
  for (int64_t r = 0; r < rows; ++r, x += columns, q += columns) {
    float largest = 0.0f;
    for (int64_t i = 0; i < columns; ++i) {
      const float magnitude = std::fabs(x[i]);
      if (magnitude > largest || std::isnan(magnitude)) largest = magnitude;
    }
    const RowScale row = RowScaleOf(largest);
    Output output;
    output.type = Type::kInt8;
    output.scale = row.scale;
    for (int64_t i = 0; i < columns; ++i) Store(x[i], output, q, i);
    inverses[r] = row.inverse;
  }
}

void Dequantize(const void* q, Type type, size_t n, float inv_scale, int32_t zero_point, float* x) {
  for (size_t i = 0; i < n; ++i) {
    const int32_t value =
        type == Type::kInt8 ? static_cast<const int8_t*>(q)[i] : static_cast<const uint8_t*>(q)[i];
    x[i] = static_cast<float>(value - zero_point) * inv_scale;
  }
}

void LayerNorm(const float* x, const float* residual, const float* gamma, const float* beta,
               int64_t rows, int64_t columns, float epsilon, bool carry_sum, float* carry,
               const Output& output, void* out) {
  const float count = static_cast<float>(columns);
  std::vector<float> s(columns);
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t start = row * columns;
    Sum16 sum;
    for (int64_t i = 0; i < columns; ++i) {
      s[i] = residual == nullptr ? x[start + i] : x[start + i] + residual[start + i];
      sum.Add(i, s[i]);
    }
    const float mean = sum.Total() / count;
    Sum16 squares;
    for (int64_t i = 0; i < columns; ++i) squares.Add(i, (s[i] - mean) * (s[i] - mean));
    const float variance = squares.Total() / count;
    const float rstd = 1.0f / std::sqrt(variance + epsilon);
    for (int64_t i = 0; i < columns; ++i) {
      const float y = ((s[i] - mean) * rstd) * gamma[i] + beta[i];
      if (carry != nullptr) carry[start + i] = carry_sum ? s[i] : y;
      if (out != nullptr) Store(y, output, out, start + i);
    }
  }
}

void IntegerLayerNorm(const float* x, const float* residual, const float* gamma, const float* beta,
                      int64_t rows, int64_t columns, float epsilon, bool carry_sum, float* carry,
                      const Output& output, void* out) {
  std::vector<float> s(columns);
  std::vector<int64_t> steps(columns);
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t start = row * columns;
    int64_t sum = 0, squares = 0;
    for (int64_t i = 0; i < columns; ++i) {
      s[i] = residual == nullptr ? x[start + i] : x[start + i] + residual[start + i];
      steps[i] = static_cast<int64_t>(Clamp(std::rint(s[i] * kNormUnit), -kNormMost, kNormMost));
      sum += steps[i];
    }
    const int64_t mean = IntegerMean(sum, columns);
    for (int64_t n : steps) squares += (n - mean) * (n - mean);
    const int64_t factor = IntegerNormFactor(squares, columns, epsilon);
    for (int64_t i = 0; i < columns; ++i) {
      const float normal = static_cast<float>(IntegerNormal(steps[i] - mean, factor)) * kNormStep;
      const float y = normal * gamma[i] + beta[i];
      if (carry != nullptr) carry[start + i] = carry_sum ? s[i] : y;
      if (out != nullptr) Store(y, output, out, start + i);
    }
  }
}

// One query row and one head of attention.
struct AttentionRow {
  const int8_t* query;
  const int8_t* key;    // of position 0
  const int8_t* value;  // of position 0
  const uint8_t* mask;  // of position 0, or null
  const float* bias;    // of position 0, or null
  int64_t limit;        // keys from here on are not allowed
};

bool Allowed(const AttentionRow& row, int64_t j) { return row.mask == nullptr || row.mask[j] != 0; }

std::vector<uint8_t> Probabilities(const AttentionArgs& args, const AttentionRow& row) {
  std::vector<float> scores(row.limit);
  float maximum = -std::numeric_limits<float>::infinity();
  for (int64_t j = 0; j < row.limit; ++j) {
    int32_t dot = 0;
    for (int32_t d = 0; d < args.head_dim; ++d) {
      dot += int32_t{row.query[d]} * row.key[j * args.key_stride + d];
    }
    scores[j] = static_cast<float>(dot) * args.scale;
    if (row.bias != nullptr) scores[j] += row.bias[j];
    if (Allowed(row, j) && scores[j] > maximum) maximum = scores[j];
  }
  SoftmaxPowers powers(args.integer_softmax, maximum);
  for (int64_t j = 0; j < row.limit; ++j) {
    scores[j] = Allowed(row, j) ? powers.Of(scores[j]) : 0.0f;
    powers.Add(j, scores[j]);
  }
  const float reciprocal = ProbabilityFactor(powers.Total());
  std::vector<uint8_t> probabilities(row.limit);
  for (int64_t j = 0; j < row.limit; ++j) {
    const float p = Clamp(std::rint(scores[j] * reciprocal), 0.0f, 255.0f);
    probabilities[j] = static_cast<uint8_t>(p);
  }
  return probabilities;
}

void AttentionHead(const AttentionArgs& args, const AttentionRow& row, int64_t out_start) {
  const std::vector<uint8_t> probabilities = Probabilities(args, row);
  for (int32_t d = 0; d < args.value_dim; ++d) {
    int32_t acc = 0;
    for (int64_t j = 0; j < row.limit; ++j) {
      acc += int32_t{probabilities[j]} * row.value[j * args.value_stride + d];
    }
    const float y = static_cast<float>(acc) * args.output.scale;
    if (args.output.type == Type::kFloat32) {
      static_cast<float*>(args.context)[out_start + d] = y;
    } else {
      StoreRounded(y, args.output, args.context, out_start + d);
    }
  }
}

void Attention(const AttentionArgs& args) {
  for (int64_t b = 0; b < args.batch; ++b) {
    for (int64_t t = 0; t < args.rows_per_batch; ++t) {
      const int64_t r = b * args.rows_per_batch + t;
      AttentionRow row;
      row.limit = args.lengths[b];
      if (args.causal) row.limit = std::min(row.limit, args.offset + t + 1);
      row.limit = std::max<int64_t>(row.limit, 0);
      row.mask = args.mask == nullptr
                     ? nullptr
                     : args.mask + b * args.mask_batch_stride + t * args.mask_row_stride;
      for (int32_t h = 0; h < args.heads; ++h) {
        row.bias = args.bias == nullptr ? nullptr
                                        : args.bias + b * args.bias_batch_stride +
                                              h * args.bias_head_stride + t * args.bias_row_stride;
        row.query = args.query + r * args.query_stride + h * args.head_dim;
        row.key = args.key + b * args.keys * args.key_stride + h * args.head_dim;
        row.value = args.value + b * args.keys * args.value_stride + h * args.value_dim;
        AttentionHead(args, row, (r * args.heads + h) * args.value_dim);
      }
    }
  }
}

void Embedding(const int8_t* table, int64_t columns, const float* inv_scales,
               const int32_t* indices, int64_t count, float multiplier, float* out) {
  for (int64_t i = 0; i < count; ++i) {
    const int8_t* row = table + indices[i] * columns;
    const float inv_scale = inv_scales[indices[i]];
    for (int64_t c = 0; c < columns; ++c) {
      out[i * columns + c] = (static_cast<float>(row[c]) * inv_scale) * multiplier;
    }
  }
}

bool LogSum(const float* maxima, const float* sums, int64_t chunks, float* log_sum) {
  const float maximum = *std::max_element(maxima, maxima + chunks);
  // An infinite maximum leaves no log-probability but NaN.
  if (std::isinf(maximum)) return false;
  double total = 0.0;
  for (int64_t c = 0; c < chunks; ++c) {
    total += double{sums[c]} * double{Exp(maxima[c] - maximum)};
  }
  *log_sum = maximum + static_cast<float>(std::log(total));
  return true;
}

bool LogSumOfRow(const float* logits, int64_t columns, float* log_sum) {
  std::vector<float> maxima, sums;
  for (int64_t first = 0; first < columns; first += kLogSumChunk) {
    const int64_t end = std::min(columns, first + kLogSumChunk);
    const float maximum = *std::max_element(logits + first, logits + end);
    Sum16 sum;
    for (int64_t i = first; i < end; ++i) sum.Add(i - first, Exp(logits[i] - maximum));
    maxima.push_back(maximum);
    sums.push_back(sum.Total());
  }
  return LogSum(maxima.data(), sums.data(), static_cast<int64_t>(maxima.size()), log_sum);
}

bool TopKRow(const float* logits, int64_t columns, int32_t k, int32_t forbidden, float* best,
             int32_t* ids, float* log_sum) {
  if (std::any_of(logits, logits + columns, [](float x) { return std::isnan(x); })) return false;
  std::vector<int32_t> order;
  for (int64_t i = 0; i < columns; ++i) {
    if (i != forbidden) order.push_back(static_cast<int32_t>(i));
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  for (int32_t i = 0; i < k; ++i) {
    ids[i] = order[i];
    best[i] = logits[order[i]];
  }
  return LogSumOfRow(logits, columns, log_sum);
}

bool TopK(const float* logits, int64_t rows, int64_t columns, int32_t k, int32_t forbidden,
          float* best, int32_t* ids, float* log_sums) {
  for (int64_t r = 0; r < rows; ++r) {
    if (!TopKRow(logits + r * columns, columns, k, forbidden, best + r * k, ids + r * k,
                 log_sums + r)) {
      return false;
    }
  }
  return true;
}

void FinishRows(const float* y, int64_t rows, int64_t n, const Epilogue& epilogue, void* out) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < n; ++c) {
      const float sum = y[r * n + c] * epilogue.row_scales[r] + epilogue.bias[c];
      Store(Activate(sum, epilogue.activation), epilogue.output, out, r * n + c);
    }
  }
}

void ApplyEpilogue(const int32_t* acc, int64_t rows, int64_t n, const Epilogue& epilogue,
                   void* out) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < n; ++c) {
      float y = static_cast<float>(acc[r * n + c]) * epilogue.scales[c];
      if (epilogue.row_scales != nullptr) y = y * epilogue.row_scales[r];
      y = y + epilogue.bias[c];
      Store(Activate(y, epilogue.activation), epilogue.output, out, r * n + c);
    }
  }
}

void Finish(const float* y, int64_t rows, int64_t n, Activation activation, const Output& output,
            void* out) {
  for (int64_t i = 0; i < rows * n; ++i) Store(Activate(y[i], activation), output, out, i);
}

void MultiplyFloats(const FloatProductArgs& args) {
  const int64_t first = args.first_panel * kFloatPanel;
  const int64_t last = std::min(args.n, args.last_panel * kFloatPanel);
  for (int64_t r = 0; r < args.m; ++r) {
    for (int64_t c = first; c < last; ++c) {
      const float* column = args.panels + c / kFloatPanel * args.k * kFloatPanel + c % kFloatPanel;
      float sum = 0.0f;
      for (int64_t i = 0; i < args.k; ++i) {
        sum = sum + args.a[r * args.k + i] * column[i * kFloatPanel];
      }
      const Activation last_step = args.relu ? Activation::kRelu : Activation::kNone;
      args.out[r * args.n + c] = Activate(sum + args.bias[c], last_step);
    }
  }
}

}  // namespace

const Kernels kReferenceKernels = {"reference",
                                   Quantize,
                                   QuantizeRows,
                                   Dequantize,
                                   LayerNorm,
                                   IntegerLayerNorm,
                                   Attention,
                                   ReferenceCacheWrite,
                                   ReferenceCachedAttention,
                                   Embedding,
                                   TopK,
                                   LogSum,
                                   ApplyEpilogue,
                                   Finish,
                                   FinishRows,
                                   MultiplyFloats};

}  // namespace keras_int8nmt
