// The reference kernels against double precision, so that a wrong reference shows.
#ifndef KERAS_INT8NMT_TESTS_CC_REFERENCE_CHECKS_H_
#define KERAS_INT8NMT_TESTS_CC_REFERENCE_CHECKS_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "check.h"
#include "inputs.h"
#include "int8.h"

namespace keras_int8nmt {
namespace {

// The bounds are loose, but a wrong formula would break them.
void TestReferenceActivations(const Kernels& reference) {
  const auto value = [&](Activation activation, float x) {
    float y;
    reference.finish(&x, 1, 1, activation, Output(), &y);
    return double{y};
  };
  for (float x = -12.0f; x <= 12.0f; x += 0.00390625f) {
    const double d = x, bound = 2e-6 * (1.0 + std::fabs(d));
    const double inner = std::sqrt(2.0 / std::acos(-1.0)) * (d + 0.044715 * d * d * d);
    CheckNear("relu", value(Activation::kRelu, x), std::max(0.0, d), 0.0);
    CheckNear("gelu", value(Activation::kGelu, x), 0.5 * d * (1 + std::erf(d / std::sqrt(2.0))),
              bound);
    CheckNear("gelu_tanh", value(Activation::kGeluTanh, x), 0.5 * d * (1 + std::tanh(inner)),
              bound);
    CheckNear("swish", value(Activation::kSwish, x), d / (1 + std::exp(-d)), bound);
    // For x < 0 swish shows the exponential alone: exp(-x) = x / swish - 1.
    if (x < -2.0f) {
      CheckNear("exp", x / value(Activation::kSwish, x) / (1 + std::exp(-d)), 1.0, 5e-7);
    }
  }
}

// What the codes of a row stand for is the row, to half a step of its own maximum.
void TestReferenceRows(const Kernels& reference) {
  const int64_t rows = 3, n = 100;
  Guarded<float> x = Normal(rows * n);
  for (int64_t i = 0; i < n; ++i) {
    x[n + i] *= 1e6f;
    x[2 * n + i] = 0.0f;
  }
  Guarded<int8_t> codes(rows * n);
  Guarded<float> inverses(rows);
  reference.quantize_rows(x.data(), rows, n, codes.data(), inverses.data());
  for (int64_t r = 0; r < rows; ++r) {
    double largest = 0;
    for (int64_t i = 0; i < n; ++i) largest = std::max(largest, std::fabs(double{x[r * n + i]}));
    CheckNear("scale of a row", inverses[r], r == 2 ? 1.0 : largest / 127, 1e-6 * largest);
    for (int64_t i = 0; i < n; ++i) {
      CheckNear("codes of a row", codes[r * n + i] * double{inverses[r]}, x[r * n + i],
                largest / 254 * 1.00001);
    }
  }
  const float special[] = {1.0f, std::nanf(""), 1.0f, HUGE_VALF, 1.0f, -HUGE_VALF};
  reference.quantize_rows(special, 3, 2, codes.data(), inverses.data());
  for (int64_t r = 0; r < 3; ++r) {
    if (!std::isnan(inverses[r])) Fail("a row that is not finite has a scale");
  }
}

// An integer norm is off by half a step of each input, of 1/1024, and a little more.
void TestReferenceLayerNorm(const Kernels& reference, bool integer) {
  const double bound = integer ? 4e-3 : 1e-5;
  const auto layer_norm = integer ? reference.integer_layer_norm : reference.layer_norm;
  const int64_t n = 777;
  const Guarded<float> x = Normal(n), residual = Normal(n), gamma = Normal(n), beta = Normal(n);
  Guarded<float> y(n);
  layer_norm(x.data(), residual.data(), gamma.data(), beta.data(), 1, n, 1e-3f, false, nullptr,
             Output(), y.data());
  double mean = 0, variance = 0;
  for (int64_t i = 0; i < n; ++i) mean += (double{x[i]} + residual[i]) / n;
  for (int64_t i = 0; i < n; ++i) variance += std::pow(double{x[i]} + residual[i] - mean, 2) / n;
  for (int64_t i = 0; i < n; ++i) {
    const double normal = (double{x[i]} + residual[i] - mean) / std::sqrt(variance + 1e-3);
    CheckNear("layer_norm in double", y[i], normal * gamma[i] + beta[i], bound);
  }
}

void TestReferenceAttention(const Kernels& reference, bool integer, bool biased) {
  AttentionCase c = {2, 5, 30, 2, 16, 8, true, true, Type::kFloat32, integer, biased};
  AttentionData data(c);
  const int64_t width = int64_t{c.heads} * c.value_dim;
  Guarded<float> context(c.batch * c.rows * width);
  AttentionArgs& args = data.args;
  args.scale = 1e-4f;
  args.integer_softmax = integer;
  args.output.scale = 1.0f / 255.0f;
  args.context = context.data();
  reference.attention(args);
  for (int64_t i = 0; i < c.batch * c.rows * width; ++i) {
    const int64_t row = i / width, b = row / c.rows, t = row % c.rows;
    const int64_t h = i % width / c.value_dim, d = i % c.value_dim;
    double sum = 0, total = 0;
    for (int64_t j = 0; j < std::min<int64_t>(data.lengths[b], args.offset + t + 1); ++j) {
      if (data.mask[row * c.keys + j] == 0) continue;
      double score = 0;
      for (int64_t e = 0; e < c.head_dim; ++e) {
        score += data.query[row * args.query_stride + h * c.head_dim + e] *
                 data.key[(b * c.keys + j) * args.key_stride + h * c.head_dim + e];
      }
      double bias = 0;
      if (biased) {
        const int64_t places[] = {b, h, t},
                      sizes[] = {data.bias_batch, data.bias_heads, data.bias_rows};
        int64_t place = 0;
        for (int i = 0; i < 3; ++i) place = place * sizes[i] + (sizes[i] == 1 ? 0 : places[i]);
        bias = data.bias[place * c.keys + j];
      }
      const double weight = std::exp(score * 1e-4 + bias);
      sum += weight;
      total += weight * data.value[(b * c.keys + j) * args.value_stride + h * c.value_dim + d];
    }
    // Each probability is off by at most half a step of 1/255, times values up to 127.
    CheckNear("attention in double", context[i], sum == 0 ? 0 : total / sum, 0.5 / 255 * 127 * 10);
  }
}

void TestReferenceTopK(const Kernels& reference) {
  const int64_t n = 1500;
  const Guarded<float> x = Normal(n);
  float best[5], log_sum;
  int32_t ids[5];
  reference.top_k(x.data(), 1, n, 5, 7, best, ids, &log_sum);
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += std::exp(double{x[i]});
  std::vector<float> sorted;
  for (int64_t i = 0; i < n; ++i) {
    if (i != 7) sorted.push_back(x[i]);
  }
  std::sort(sorted.rbegin(), sorted.rend());
  for (int i = 0; i < 5; ++i) {
    CheckNear("log-sum-exp in double", log_sum, std::log(sum), 1e-5);
    CheckNear("top_k ids", x[ids[i]], sorted[i], 0.0);
  }
}

void TestReference(const Kernels& reference) {
  TestReferenceActivations(reference);
  TestReferenceRows(reference);
  for (bool integer : {false, true}) {
    TestReferenceLayerNorm(reference, integer);
    for (bool biased : {false, true}) TestReferenceAttention(reference, integer, biased);
  }
  TestReferenceTopK(reference);
}

}  // namespace
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_TESTS_CC_REFERENCE_CHECKS_H_
