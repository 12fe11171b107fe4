// A model as plain numbers: what runtime/model_spec.py knows of a model before it is packed.
#ifndef KERAS_INT8NMT_TESTS_CC_SMALL_MODEL_H_
#define KERAS_INT8NMT_TESTS_CC_SMALL_MODEL_H_

#include <cstdint>
#include <string>
#include <vector>

#include "int8.h"

namespace keras_int8nmt {
namespace small {

// act(x W + bias); W [k, n] is `codes` with `scales` [n] if int8, else `weights`.
struct Product {
  int64_t k = 0, n = 0;
  bool int8 = false;
  bool dynamic = false;  // INT8 of float32, each row with a scale of its own
  std::vector<int8_t> codes;
  std::vector<float> scales, weights, bias;
  Activation activation = Activation::kNone;
  Output input, output;
};

struct Norm {
  std::vector<float> gamma, beta;
  float epsilon = 1e-5f;
  bool carry_sum = false;
  bool integer = false;
  Output output;
};

// A product and the first columns in it of query, key and value; -1: not here.
struct Projected {
  Product product;
  int64_t columns[3] = {-1, -1, -1};
  bool of_memory = false;

  // "query", "key_value", ...
  std::string name() const {
    std::string all;
    constexpr const char* kParts[] = {"query", "key", "value"};
    for (int i = 0; i < 3; ++i) {
      if (columns[i] >= 0) all += (all.empty() ? "" : "_") + std::string(kParts[i]);
    }
    return all;
  }
};

struct Attention {
  int32_t heads = 0, head_dim = 0, value_dim = 0;
  Type key_type = Type::kInt8, value_type = Type::kInt8;
  float scale = 1.0f;
  bool integer_softmax = false;
  Output context;
  std::vector<Projected> projections;
  Product output;
};

// int8 codes [words, dim] with inv_scales [words], or a float32 table.
struct Embedding {
  int64_t words = 0;
  std::vector<int8_t> codes;
  std::vector<float> inv_scales, table;
  float multiplier = 1.0f;
};

// An encoder's layer has no cross.
struct Layer {
  Attention self, cross;
  Norm self_norm, cross_norm, ffn_norm;
  Product ffn_in, ffn_out;
};

struct Stack {
  bool has_norm = false;
  Norm norm;
  Output output;
  std::vector<Layer> layers;
};

struct Model {
  int64_t dim = 0, max_length = 0;
  int32_t pad_id = 0, eos_id = 1, start_id = 0;
  std::vector<float> positions;  // [max_length, dim]
  Embedding source, target;
  Stack encoder, decoder;
  Product projection;
};

}  // namespace small
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_TESTS_CC_SMALL_MODEL_H_
