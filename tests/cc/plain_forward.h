// The forward pass as plain loops: every position of every hypothesis computed anew, no cache.
//
// Integers and the order of float sums are those of int8.h, so a model without float32 products
// gives the same bits as the decoder. Float32 products are summed in double.
#ifndef KERAS_INT8NMT_TESTS_CC_PLAIN_FORWARD_H_
#define KERAS_INT8NMT_TESTS_CC_PLAIN_FORWARD_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "int8.h"
#include "reference/steps.h"
#include "small_model.h"

namespace keras_int8nmt {

// Rows of float32 or codes.
struct PlainTensor {
  PlainTensor() = default;
  PlainTensor(Type type, int64_t rows, int64_t columns)
      : type(type),
        rows(rows),
        columns(columns),
        bytes(rows * columns * (type == Type::kFloat32 ? 4 : 1)) {}

  float Float(int64_t i) const {
    float value;
    std::memcpy(&value, bytes.data() + i * 4, 4);
    return value;
  }
  int32_t Code(int64_t i) const {
    const auto byte = static_cast<uint8_t>(bytes[i]);
    return type == Type::kUint8 ? byte : static_cast<int8_t>(byte);
  }
  const float* floats() const { return reinterpret_cast<const float*>(bytes.data()); }
  float* floats() { return reinterpret_cast<float*>(bytes.data()); }

  Type type = Type::kFloat32;
  int64_t rows = 0, columns = 0;
  std::vector<char> bytes;
};

class PlainForward {
 public:
  explicit PlainForward(const small::Model& model)
      : model_(model), kernels_(*KernelsFor("reference")) {}

  // The encoder's output for a source.
  PlainTensor Encode(const std::vector<int32_t>& source) const {
    PlainTensor carry = Embed(model_.source, source);
    PlainTensor input = Enter(model_.encoder, carry);
    for (const small::Layer& layer : model_.encoder.layers) {
      input = Run(layer, nullptr, false, input, &carry);
    }
    return input;
  }

  // The logits after a prefix that begins with the start token.
  std::vector<float> Logits(const PlainTensor& memory, const std::vector<int32_t>& prefix) const {
    PlainTensor carry = Embed(model_.target, prefix);
    PlainTensor input = Enter(model_.decoder, carry);
    for (const small::Layer& layer : model_.decoder.layers) {
      input = Run(layer, &memory, true, input, &carry);
    }
    const size_t row = input.bytes.size() / input.rows;
    PlainTensor last(input.type, 1, input.columns);
    std::copy(input.bytes.end() - row, input.bytes.end(), last.bytes.begin());
    const PlainTensor logits = Multiply(model_.projection, last);
    return std::vector<float>(logits.floats(), logits.floats() + logits.columns);
  }

 private:
  struct Heads {
    PlainTensor part[3];  // query, key, value
  };

  PlainTensor Embed(const small::Embedding& embedding, const std::vector<int32_t>& ids) const {
    PlainTensor x(Type::kFloat32, static_cast<int64_t>(ids.size()), model_.dim);
    for (int64_t r = 0; r < x.rows; ++r) {
      for (int64_t c = 0; c < model_.dim; ++c) {
        const int64_t place = ids[r] * model_.dim + c;
        const float value = embedding.codes.empty() ? embedding.table[place]
                                                    : static_cast<float>(embedding.codes[place]) *
                                                          embedding.inv_scales[ids[r]];
        x.floats()[r * model_.dim + c] =
            value * embedding.multiplier + model_.positions[r * model_.dim + c];
      }
    }
    return x;
  }

  PlainTensor Enter(const small::Stack& stack, const PlainTensor& x) const {
    if (!stack.has_norm) return Quantize(x, stack.output);
    PlainTensor out(stack.norm.output.type, x.rows, x.columns);
    KernelOf(stack.norm)(x.floats(), nullptr, stack.norm.gamma.data(), stack.norm.beta.data(),
                         x.rows, x.columns, stack.norm.epsilon, true, nullptr, stack.norm.output,
                         out.bytes.data());
    return out;
  }

  PlainTensor Quantize(const PlainTensor& x, const Output& output) const {
    if (x.type != Type::kFloat32 || output.type == Type::kFloat32) return x;
    PlainTensor out(output.type, x.rows, x.columns);
    for (int64_t i = 0; i < x.rows * x.columns; ++i) {
      StoreRounded(x.Float(i) * output.scale, output, out.bytes.data(), i);
    }
    return out;
  }

  PlainTensor Multiply(const small::Product& product, const PlainTensor& x) const {
    const int64_t k = product.k, n = product.n;
    PlainTensor out(product.output.type, x.rows, n);
    if (!product.int8) {
      PlainTensor sums(Type::kFloat32, x.rows, n);
      for (int64_t r = 0; r < x.rows; ++r) {
        std::vector<double> sum(product.bias.begin(), product.bias.end());
        for (int64_t i = 0; i < k; ++i) {
          const double factor = x.Float(r * k + i);
          for (int64_t j = 0; j < n; ++j) sum[j] += factor * product.weights[i * n + j];
        }
        std::copy(sum.begin(), sum.end(), sums.floats() + r * n);
      }
      kernels_.finish(sums.floats(), x.rows, n, product.activation, product.output,
                      out.bytes.data());
      return out;
    }
    PlainTensor codes = Quantize(x, product.input);
    std::vector<float> row_scales(x.rows);
    if (product.dynamic) {
      codes = PlainTensor(Type::kInt8, x.rows, k);
      kernels_.quantize_rows(x.floats(), x.rows, k, reinterpret_cast<int8_t*>(codes.bytes.data()),
                             row_scales.data());
    }
    std::vector<int32_t> acc(x.rows * n, 0);
    for (int64_t r = 0; r < x.rows; ++r) {
      for (int64_t i = 0; i < k; ++i) {
        const int32_t factor = codes.Code(r * k + i);
        for (int64_t j = 0; j < n; ++j) acc[r * n + j] += factor * product.codes[i * n + j];
      }
    }
    const Epilogue epilogue = {product.scales.data(), product.bias.data(), product.activation,
                               product.output, product.dynamic ? row_scales.data() : nullptr};
    kernels_.epilogue(acc.data(), x.rows, n, epilogue, out.bytes.data());
    return out;
  }

  Heads Project(const small::Attention& attention, const PlainTensor& input,
                const PlainTensor* memory) const {
    Heads heads;
    for (const small::Projected& p : attention.projections) {
      const PlainTensor all = Multiply(p.product, p.of_memory ? *memory : input);
      const int64_t element = all.type == Type::kFloat32 ? 4 : 1;
      for (int i = 0; i < 3; ++i) {
        if (p.columns[i] < 0) continue;
        const int64_t width =
            int64_t{attention.heads} * (i == 2 ? attention.value_dim : attention.head_dim);
        PlainTensor& part = heads.part[i] = PlainTensor(all.type, all.rows, width);
        for (int64_t r = 0; r < all.rows; ++r) {
          std::memcpy(part.bytes.data() + r * width * element,
                      all.bytes.data() + (r * all.columns + p.columns[i]) * element,
                      width * element);
        }
      }
    }
    return heads;
  }

  static float Score(const small::Attention& a, const Heads& heads, int64_t query, int64_t key) {
    int32_t codes = 0;
    float floats = 0.0f;
    for (int64_t d = 0; d < a.head_dim; ++d) {
      if (a.key_type == Type::kInt8) {
        codes += heads.part[0].Code(query + d) * heads.part[1].Code(key + d);
      } else {
        floats = floats + heads.part[1].Float(key + d) * heads.part[0].Float(query + d);
      }
    }
    return (a.key_type == Type::kInt8 ? static_cast<float>(codes) : floats) * a.scale;
  }

  // One head of one row, which sees `length` positions.
  void AttendHead(const small::Attention& a, const Heads& heads, int64_t row, int64_t head,
                  int64_t length, PlainTensor* context) const {
    const int64_t key_width = heads.part[1].columns, value_width = heads.part[2].columns;
    std::vector<float> powers(length);
    float largest = -std::numeric_limits<float>::infinity(), total = 0.0f;
    for (int64_t j = 0; j < length; ++j) {
      powers[j] =
          Score(a, heads, row * key_width + head * a.head_dim, j * key_width + head * a.head_dim);
      largest = std::max(largest, powers[j]);
    }
    SoftmaxPowers sum(a.integer_softmax, largest);
    for (int64_t j = 0; j < length; ++j) {
      powers[j] = sum.Of(powers[j]);
      sum.Add(j, powers[j]);
    }
    total = sum.Total();
    for (int64_t c = 0; c < a.value_dim; ++c) {
      int32_t codes = 0;
      float floats = 0.0f;
      for (int64_t j = 0; j < length; ++j) {
        const int64_t value = j * value_width + head * a.value_dim + c;
        if (a.value_type == Type::kInt8) {
          const float p = Clamp(std::rint(powers[j] * (255.0f / total)), 0.0f, 255.0f);
          codes += static_cast<int32_t>(p) * heads.part[2].Code(value);
        } else {
          floats = floats + powers[j] * (1.0f / total) * heads.part[2].Float(value);
        }
      }
      const float y =
          (a.value_type == Type::kInt8 ? static_cast<float>(codes) : floats) * a.context.scale;
      const int64_t place = row * value_width + head * a.value_dim + c;
      if (context->type == Type::kFloat32) {
        context->floats()[place] = y;
      } else {
        StoreRounded(y, a.context, context->bytes.data(), place);
      }
    }
  }

  PlainTensor Attend(const small::Attention& a, const PlainTensor& input, const PlainTensor* memory,
                     bool causal) const {
    const Heads heads = Project(a, input, memory);
    PlainTensor context(a.context.type, input.rows, heads.part[2].columns);
    for (int64_t r = 0; r < input.rows; ++r) {
      const int64_t length = causal ? r + 1 : heads.part[1].rows;
      for (int64_t h = 0; h < a.heads; ++h) AttendHead(a, heads, r, h, length, &context);
    }
    return Multiply(a.output, context);
  }

  decltype(Kernels::layer_norm) KernelOf(const small::Norm& norm) const {
    return norm.integer ? kernels_.integer_layer_norm : kernels_.layer_norm;
  }

  // The end of a sub-layer: what it gives and the residual stream.
  PlainTensor Normalize(const small::Norm& norm, const PlainTensor& y, PlainTensor* carry) const {
    PlainTensor out(norm.output.type, y.rows, y.columns), sum = *carry;
    KernelOf(norm)(y.floats(), sum.floats(), norm.gamma.data(), norm.beta.data(), y.rows, y.columns,
                   norm.epsilon, norm.carry_sum, carry->floats(), norm.output, out.bytes.data());
    return out;
  }

  PlainTensor Run(const small::Layer& layer, const PlainTensor* memory, bool causal,
                  PlainTensor input, PlainTensor* carry) const {
    input = Normalize(layer.self_norm, Attend(layer.self, input, nullptr, causal), carry);
    if (memory != nullptr) {
      input = Normalize(layer.cross_norm, Attend(layer.cross, input, memory, false), carry);
    }
    const PlainTensor hidden = Multiply(layer.ffn_in, input);
    return Normalize(layer.ffn_norm, Multiply(layer.ffn_out, hidden), carry);
  }

  const small::Model& model_;
  const Kernels& kernels_;
};

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_TESTS_CC_PLAIN_FORWARD_H_
