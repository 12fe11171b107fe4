// Random inputs of the kernels' tests.
#ifndef KERAS_INT8NMT_TESTS_CC_INPUTS_H_
#define KERAS_INT8NMT_TESTS_CC_INPUTS_H_

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>

#include "check.h"
#include "int8.h"

namespace keras_int8nmt {
namespace {

std::mt19937 generator(1);

float Uniform(float low, float high) {
  return std::uniform_real_distribution<float>(low, high)(generator);
}
int32_t Integer(int32_t low, int32_t high) {
  return std::uniform_int_distribution<int32_t>(low, high)(generator);
}

// Ordinary numbers, ties at .5, and now and then a special one.
inline float AnyFloat() {
  const float infinity = std::numeric_limits<float>::infinity();
  const float special[] = {0.0f,   -0.0f,  infinity,   -infinity,   std::nanf(""), 1e30f,
                           -1e30f, 1e-40f, 8388608.0f, -8388609.0f, 3.4e38f,       -87.5f};
  switch (Integer(0, 9)) {
    case 0:
      return special[Integer(0, 11)];
    case 1:
    case 2:
      return static_cast<float>(Integer(-300, 300)) + 0.5f;
    case 3:
      return Uniform(-100.0f, 100.0f);
    default:
      return Uniform(-4.0f, 4.0f);
  }
}

template <class T, class Make>
Guarded<T> Filled(int64_t n, Make make) {
  Guarded<T> out(n);
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<T>(make());
  return out;
}
Guarded<float> Normal(int64_t n) {
  return Filled<float>(n, [] { return Uniform(-3.0f, 3.0f); });
}
Guarded<int8_t> Bytes(int64_t n) {
  return Filled<int8_t>(n, [] { return Integer(-127, 127); });
}

Output MakeOutput(Type type, float scale) {
  Output output;
  output.type = type;
  output.scale = scale;
  output.zero_point = type == Type::kUint8 ? Integer(0, 255) : 0;
  return output;
}

// Attention with random content; the mask, if any, is [batch, rows, keys], and the bias is [batch
// or 1, heads or 1, rows or 1, keys], at random which.
struct AttentionCase {
  int64_t batch, rows, keys;
  int32_t heads, head_dim, value_dim;
  bool causal, masked;
  Type type;
  bool integer_softmax = false, biased = false;
};

struct AttentionData {
  explicit AttentionData(const AttentionCase& c)
      : query(Bytes(c.batch * c.rows * (c.heads * c.head_dim + kGap) - kGap)),
        key(Bytes(c.batch * c.keys * (c.heads * c.head_dim + kGap) - kGap)),
        value(Bytes(c.batch * c.keys * (c.heads * c.value_dim + kGap) - kGap)),
        mask(Filled<uint8_t>(c.batch * c.rows * c.keys, [] { return Integer(0, 3) != 0; })),
        lengths(Filled<int32_t>(c.batch,
                                [&] {
                                  return Integer(0, 4) == 0 ? Integer(0, c.keys)
                                                            : Integer(c.keys * 3 / 4, c.keys);
                                })),
        bias_batch(Integer(0, 1) == 0 ? 1 : c.batch),
        bias_heads(Integer(0, 1) == 0 ? 1 : c.heads),
        bias_rows(Integer(0, 1) == 0 ? 1 : c.rows),
        // Some far below all others, as those of masked keys are.
        bias(Filled<float>(bias_batch * bias_heads * bias_rows * c.keys,
                           [] { return Integer(0, 5) == 0 ? -1e9f : Uniform(-3.0f, 3.0f); })) {
    args.query = query.data();
    args.key = key.data();
    args.value = value.data();
    args.query_stride = args.key_stride = c.heads * c.head_dim + kGap;
    args.value_stride = c.heads * c.value_dim + kGap;
    args.batch = c.batch;
    args.rows_per_batch = c.rows;
    args.keys = c.keys;
    args.heads = c.heads;
    args.head_dim = c.head_dim;
    args.value_dim = c.value_dim;
    args.lengths = lengths.data();
    args.causal = c.causal;
    args.offset = Integer(0, 3);
    args.scale = Uniform(1e-5f, 3e-4f);
    args.output = MakeOutput(c.type, Uniform(0.001f, 0.01f));
    if (c.biased) {
      args.bias = bias.data();
      args.bias_row_stride = bias_rows == 1 ? 0 : c.keys;
      args.bias_head_stride = bias_heads == 1 ? 0 : bias_rows * c.keys;
      args.bias_batch_stride = bias_batch == 1 ? 0 : bias_heads * bias_rows * c.keys;
    }
    if (!c.masked) return;
    args.mask = mask.data();
    args.mask_batch_stride = c.rows * c.keys;
    args.mask_row_stride = c.keys;
  }

  static constexpr int64_t kGap = 5;  // bytes between rows, which no kernel may use
  Guarded<int8_t> query, key, value;
  Guarded<uint8_t> mask;
  Guarded<int32_t> lengths;
  int64_t bias_batch, bias_heads, bias_rows;
  Guarded<float> bias;
  AttentionArgs args;
};

}  // namespace
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_TESTS_CC_INPUTS_H_
