// Small random models of every configuration, with numbers of the size that real ones have.
#ifndef KERAS_INT8NMT_TESTS_CC_RANDOM_MODEL_H_
#define KERAS_INT8NMT_TESTS_CC_RANDOM_MODEL_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "small_model.h"

namespace keras_int8nmt {

enum class Precision { kInt8, kFloat, kMixed };

struct Shape {
  std::string name;
  Precision precision = Precision::kInt8;
  Type key_type = Type::kInt8, value_type = Type::kInt8;
  bool pre_norm = false;
  Activation activation = Activation::kRelu;
  int64_t dim = 24;
  int32_t heads = 2, head_dim = 12, value_dim = 12;
  int64_t ffn = 40;
  int encoders = 1, decoders = 2;
  int64_t source_words = 37, words = 31, max_length = 16;
  bool separate = false;         // query, key and value each a product of its own
  bool tied = false;             // the output projection is the target embedding
  bool float_embedding = false;  // of an INT8 model
  bool asymmetric = false;       // activations are uint8 with a zero point
  bool folded = false;           // scales of int8 heads are in the products themselves
  bool dynamic = false;          // INT8 products give each row of their input a scale of its own
  bool integer_softmax = false, integer_norm = false;
  bool float_flow = false;  // norms and contexts hand on float32, which products quantize
  float end_bias = 2.0f;    // how eager the model is to end
  uint32_t seed = 1;
};

// The same numbers with every standard library.
class Random {
 public:
  explicit Random(uint32_t seed) : generator_(seed) {}
  int64_t Below(int64_t n) { return static_cast<int64_t>(generator_() % static_cast<uint64_t>(n)); }
  float Uniform(float low, float high) {
    return low + (high - low) * (static_cast<float>(generator_() >> 8) / 16777216.0f);
  }
  std::vector<float> Uniforms(int64_t n, float low, float high) {
    std::vector<float> out(n);
    for (float& x : out) x = Uniform(low, high);
    return out;
  }
  template <class T>
  void Shuffle(std::vector<T>* list) {
    for (size_t i = list->size(); i > 1; --i) std::swap((*list)[i - 1], (*list)[Below(i)]);
  }

 private:
  std::mt19937 generator_;
};

class ModelMaker {
 public:
  explicit ModelMaker(const Shape& shape) : shape_(shape), random_(shape.seed) {}

  small::Model Make() {
    small::Model model;
    model.dim = shape_.dim;
    model.max_length = shape_.max_length;
    model.positions = random_.Uniforms(shape_.max_length * shape_.dim, -1.2f, 1.2f);
    model.source = MakeEmbedding(shape_.source_words);
    model.target = MakeEmbedding(shape_.words);
    const Output memory = Codes(), last = Codes();
    Fill(&model.encoder, shape_.encoders, nullptr);
    Fill(&model.decoder, shape_.decoders, &memory);
    model.projection =
        shape_.tied ? Tied(model.target, last) : MakeProduct(shape_.dim, shape_.words, last, 2.5f);
    model.projection.bias[model.eos_id] += shape_.end_bias;
    std::vector<const small::Product*> readers;
    for (const small::Layer& layer : model.decoder.layers) Readers(layer.cross, true, &readers);
    model.encoder.layers.back().ffn_norm.output = Written(memory, readers);
    model.decoder.layers.back().ffn_norm.output = Written(last, {&model.projection});
    return model;
  }

 private:
  using Products = std::vector<const small::Product*>;

  static void Readers(const small::Attention& attention, bool of_memory, Products* readers) {
    for (const small::Projected& p : attention.projections) {
      if (p.of_memory == of_memory) readers->push_back(&p.product);
    }
  }
  static Products Readers(const small::Attention& attention) {
    Products readers;
    Readers(attention, false, &readers);
    return readers;
  }

  // How a tensor that is read as `codes` is written: so, if all of its readers want it.
  Output Written(const Output& codes, const Products& readers) const {
    const auto reads = [](const small::Product* p) { return p->int8 && !p->dynamic; };
    if (shape_.float_flow || !std::all_of(readers.begin(), readers.end(), reads)) return Output();
    return codes;
  }

  Output Codes() {
    if (!shape_.asymmetric) return {Type::kInt8, 127.0f / random_.Uniform(3.0f, 4.0f), 0};
    return {Type::kUint8, 255.0f / random_.Uniform(6.0f, 8.0f),
            static_cast<int32_t>(100 + random_.Below(50))};
  }
  Output HiddenCodes() {
    if (shape_.activation == Activation::kRelu) return {Type::kUint8, 255.0f / 3.0f, 0};
    if (shape_.asymmetric) return {Type::kUint8, 60.0f, 31};
    return {Type::kInt8, 127.0f / 3.0f, 0};
  }

  bool DrawInt8() {
    const bool heads = random_.Below(2) == 0;
    return shape_.precision == Precision::kInt8 || (shape_.precision == Precision::kMixed && heads);
  }

  small::Embedding MakeEmbedding(int64_t words) {
    const int64_t dim = shape_.dim;
    const float size = 1.7f / std::sqrt(static_cast<float>(dim));
    small::Embedding embedding;
    embedding.words = words;
    embedding.multiplier = std::sqrt(static_cast<float>(dim));
    const bool int8 = DrawInt8() && !shape_.float_embedding;
    if (!int8) {
      embedding.table = random_.Uniforms(words * dim, -size, size);
      return embedding;
    }
    for (int64_t i = 0; i < words * dim; ++i) {
      embedding.codes.push_back(static_cast<int8_t>(random_.Below(255) - 127));
    }
    embedding.inv_scales = random_.Uniforms(words, 0.8f * size / 127.0f, size / 127.0f);
    return embedding;
  }

  small::Product MakeProduct(int64_t k, int64_t n, const Output& input, float gain = 1.0f) {
    const float size = gain * std::sqrt(3.0f / static_cast<float>(k));
    return Quantized(k, n, random_.Uniforms(k * n, -size, size), input);
  }

  small::Product Tied(const small::Embedding& embedding, const Output& input) {
    const int64_t k = shape_.dim, n = embedding.words;
    std::vector<float> weights(k * n);
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t i = 0; i < k; ++i) {
        const int64_t place = j * k + i;
        weights[i * n + j] = embedding.codes.empty() ? embedding.table[place]
                                                     : static_cast<float>(embedding.codes[place]) *
                                                           embedding.inv_scales[j];
      }
    }
    return Quantized(k, n, std::move(weights), input);
  }

  // INT8 or float32, as is drawn; the input's zero point is folded into the bias.
  small::Product Quantized(int64_t k, int64_t n, std::vector<float> weights, Output input) {
    small::Product product;
    product.k = k;
    product.n = n;
    product.int8 = DrawInt8();
    product.bias = random_.Uniforms(n, -0.3f, 0.3f);
    if (!product.int8) {
      product.weights = std::move(weights);
      return product;
    }
    product.dynamic = shape_.dynamic;
    if (shape_.dynamic) input = Output();
    product.input = input;
    product.codes.resize(k * n);
    for (int64_t j = 0; j < n; ++j) {
      float largest = 1e-6f;
      for (int64_t i = 0; i < k; ++i) largest = std::max(largest, std::fabs(weights[i * n + j]));
      float sum = 0.0f;
      for (int64_t i = 0; i < k; ++i) {
        const float code = std::rint(weights[i * n + j] * (127.0f / largest));
        product.codes[i * n + j] = static_cast<int8_t>(code);
        sum += code;
      }
      product.scales.push_back(largest / 127.0f / input.scale);
      product.bias[j] -= static_cast<float>(input.zero_point) * product.scales[j] * sum;
    }
    return product;
  }

  // Writes heads of `type`: int8 with the scale kHeads, which may be in the product itself.
  void WriteHeads(Type type, small::Product* product) const {
    if (type == Type::kFloat32) return;
    product->output = {Type::kInt8, kHeads, 0};
    if (!shape_.folded || !product->int8) return;
    for (float& scale : product->scales) scale *= kHeads;
    for (float& bias : product->bias) bias *= kHeads;
    product->output.scale = 1.0f;
  }

  // Which of query (0), key and value are projected together.
  std::vector<std::vector<int>> Groups(bool cross) const {
    const bool alike = shape_.key_type == shape_.value_type;
    if (shape_.separate || (cross && !alike)) return {{0}, {1}, {2}};
    if (cross) return {{0}, {1, 2}};
    if (!alike) return {{0, 1}, {2}};
    return {{0, 1, 2}};
  }

  small::Attention MakeAttention(const Output& input, const Output* memory) {
    small::Attention a;
    a.heads = shape_.heads;
    a.head_dim = shape_.head_dim;
    a.value_dim = shape_.value_dim;
    a.key_type = shape_.key_type;
    a.value_type = shape_.value_type;
    a.integer_softmax = shape_.integer_softmax;
    a.scale = 1.5f / std::sqrt(static_cast<float>(a.head_dim));
    if (a.key_type == Type::kInt8) a.scale /= kHeads * kHeads;
    for (const std::vector<int>& group : Groups(memory != nullptr)) {
      small::Projected projected;
      int64_t width = 0;
      for (int part : group) {
        projected.columns[part] = width;
        width += int64_t{a.heads} * (part == 2 ? a.value_dim : a.head_dim);
      }
      projected.of_memory = memory != nullptr && group[0] > 0;
      projected.product = MakeProduct(shape_.dim, width, projected.of_memory ? *memory : input);
      WriteHeads(group.back() == 2 ? a.value_type : a.key_type, &projected.product);
      a.projections.push_back(projected);
    }
    const Output context = Codes();
    a.output = MakeProduct(int64_t{a.heads} * a.value_dim, shape_.dim, context);
    a.context = Written(context, {&a.output});
    if (a.value_type == Type::kInt8) a.context.scale /= 255.0f * kHeads;
    return a;
  }

  small::Norm MakeNorm() {
    small::Norm norm;
    norm.gamma = random_.Uniforms(shape_.dim, 0.7f, 1.3f);
    norm.beta = random_.Uniforms(shape_.dim, -0.2f, 0.2f);
    norm.carry_sum = shape_.pre_norm;
    norm.integer = shape_.integer_norm;
    return norm;
  }

  // All of a stack but how its last norm is written.
  void Fill(small::Stack* stack, int count, const Output* memory) {
    stack->has_norm = shape_.pre_norm;
    if (stack->has_norm) stack->norm = MakeNorm();
    stack->layers.resize(count);
    Output* written = stack->has_norm ? &stack->norm.output : &stack->output;
    for (small::Layer& layer : stack->layers) {
      const Output input = Codes(), hidden = HiddenCodes();
      layer.self = MakeAttention(input, nullptr);
      *written = Written(input, Readers(layer.self));
      layer.self_norm = MakeNorm();
      written = &layer.self_norm.output;
      if (memory != nullptr) {
        const Output query = Codes();
        layer.cross = MakeAttention(query, memory);
        *written = Written(query, Readers(layer.cross));
        layer.cross_norm = MakeNorm();
        written = &layer.cross_norm.output;
      }
      const Output middle = Codes();
      layer.ffn_in = MakeProduct(shape_.dim, shape_.ffn, middle);
      layer.ffn_in.activation = shape_.activation;
      layer.ffn_out = MakeProduct(shape_.ffn, shape_.dim, hidden);
      layer.ffn_in.output = Written(hidden, {&layer.ffn_out});
      *written = Written(middle, {&layer.ffn_in});
      layer.ffn_norm = MakeNorm();
      written = &layer.ffn_norm.output;
    }
  }

  static constexpr float kHeads = 127.0f / 3.0f;  // the scale of int8 queries, keys and values

  const Shape& shape_;
  Random random_;
};

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_TESTS_CC_RANDOM_MODEL_H_
