// Reading a model; runtime/model_spec.py writes in this order.
#include "model.h"

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "gemm/float_gemm.h"
#include "integer_math.h"

namespace keras_int8nmt {
namespace {

constexpr int64_t kVersion = 1;
constexpr int64_t kMost = int64_t{1} << 31;
enum Mark : int64_t {
  kModelMark = 9000,
  kLinearMark,
  kNormMark,
  kAttentionMark,
  kLayerMark,
  kEmbeddingMark,
  kEndMark,
  // In the place of kNormMark and kAttentionMark.
  kIntegerNormMark,
  kIntegerSoftmaxMark
};

enum Precision : int64_t { kFloatProduct, kInt8Product, kDynamicProduct };

void Require(bool fits, const char* what) {
  if (!fits) throw std::invalid_argument("the model's description: " + std::string(what));
}

// Whether the mark is `other` rather than `usual`.
bool ReadEither(Tape* tape, Mark usual, Mark other) {
  const int64_t mark = tape->Int("mark", usual, other);
  Require(mark == usual || mark == other, "mark");
  return mark == other;
}

Output ReadOutput(Tape* tape) {
  Output output;
  output.type = static_cast<Type>(tape->Int("type", 0, 2));
  output.scale = tape->Float("scale");
  const bool is_signed = output.type == Type::kInt8;
  output.zero_point =
      static_cast<int32_t>(tape->Int("zero point", is_signed ? -127 : 0, is_signed ? 127 : 255));
  Require(output.scale > 0.0f, "scale <= 0");
  return output;
}

Linear ReadLinear(Tape* tape) {
  tape->Mark(kLinearMark);
  Linear linear;
  const int64_t precision = tape->Int("precision of a product", kFloatProduct, kDynamicProduct);
  linear.int8 = precision != kFloatProduct;
  linear.dynamic = precision == kDynamicProduct;
  linear.k = tape->Int("rows of weights", 1, linear.int8 ? kMaxDepth : kMost);
  linear.n = tape->Int("columns of weights", 1, kMost);
  linear.activation = static_cast<Activation>(tape->Int("activation", 0, 4));
  linear.input = ReadOutput(tape);
  linear.output = ReadOutput(tape);
  const TensorView& packed = tape->Tensor("packed weights", Type::kUint8);
  if (linear.int8) {
    linear.packed = ReadPacked(packed.data, static_cast<size_t>(packed.count()));
    Require(linear.packed.k == linear.k && linear.packed.n == linear.n,
            "packed weights of another shape");
    Require(linear.dynamic == (linear.input.type == Type::kFloat32),
            linear.dynamic ? "a product of dynamic scales with integer input"
                           : "an INT8 product with float input");
    linear.scales = tape->Floats("scales", {linear.n});
  } else {
    // The back end is not asked about a size that cannot be.
    const int64_t floats = packed.count() / static_cast<int64_t>(sizeof(float));
    Require(floats / linear.k >= linear.n &&
                static_cast<size_t>(packed.count()) == PackedFloatBytes(linear.k, linear.n),
            "packed float weights of another size");
    Require(linear.input.type == Type::kFloat32, "a float product with integer input");
    linear.packed_float = packed.data;
  }
  linear.bias = tape->Floats("bias", {linear.n});
  return linear;
}

Linear ReadLinear(Tape* tape, int64_t k, int64_t n) {
  const Linear linear = ReadLinear(tape);
  Require(linear.k == k && linear.n == n, "a product of the wrong shape");
  return linear;
}

Norm ReadNorm(Tape* tape, int64_t dim) {
  Norm norm;
  norm.integer = ReadEither(tape, kNormMark, kIntegerNormMark);
  norm.carry_sum = tape->Flag("what a norm hands on");
  norm.epsilon = tape->Float("epsilon");
  Require(!norm.integer || (norm.epsilon >= 0.0f && norm.epsilon <= kNormMostEpsilon),
          "epsilon of an integer norm");
  norm.output = ReadOutput(tape);
  norm.gamma = tape->Floats("gamma", {dim});
  norm.beta = tape->Floats("beta", {dim});
  return norm;
}

Attention ReadAttention(Tape* tape, int64_t dim, bool cross) {
  Attention attention;
  attention.integer_softmax = ReadEither(tape, kAttentionMark, kIntegerSoftmaxMark);
  attention.heads = static_cast<int32_t>(tape->Int("heads", 1, 1 << 16));
  attention.head_dim = static_cast<int32_t>(tape->Int("head_dim", 1, 1 << 16));
  attention.value_dim = static_cast<int32_t>(tape->Int("value_dim", 1, 1 << 16));
  attention.key_type = static_cast<Type>(tape->Int("type of keys", 0, 1));
  attention.value_type = static_cast<Type>(tape->Int("type of values", 0, 1));
  attention.scale = tape->Float("scale of scores");
  attention.context = ReadOutput(tape);
  const int64_t count = tape->Int("projections", 1, 3);
  int found[3] = {};
  for (int64_t p = 0; p < count; ++p) {
    Projection projection;
    projection.of_memory = tape->Flag("whose projection");
    for (int64_t& column : projection.columns) column = tape->Int("column", -1, kMost);
    projection.linear = ReadLinear(tape);
    Require(projection.linear.k == dim, "a projection of the wrong shape");
    for (int i = 0; i < 3; ++i) {
      if (projection.columns[i] < 0) continue;
      ++found[i];
      const int64_t width =
          int64_t{attention.heads} * (i == 2 ? attention.value_dim : attention.head_dim);
      Require(projection.columns[i] + width <= projection.linear.n, "a projection is too narrow");
      const Type wanted = i == 2 ? attention.value_type : attention.key_type;
      Require(projection.linear.output.type == wanted, "a projection of the wrong type");
      Require(projection.of_memory == (cross && i > 0), "a projection of the wrong input");
    }
    attention.projections.push_back(projection);
  }
  for (int times : found) Require(times == 1, "query, key and value must be projected once each");
  attention.output = ReadLinear(tape, int64_t{attention.heads} * attention.value_dim, dim);
  return attention;
}

Layer ReadLayer(Tape* tape, int64_t dim, bool decoder) {
  tape->Mark(kLayerMark);
  Layer layer;
  layer.self = ReadAttention(tape, dim, false);
  layer.self_norm = ReadNorm(tape, dim);
  if (decoder) {
    layer.cross = ReadAttention(tape, dim, true);
    layer.cross_norm = ReadNorm(tape, dim);
  }
  layer.ffn_in = ReadLinear(tape);
  Require(layer.ffn_in.k == dim, "a product of the wrong shape");
  layer.ffn_out = ReadLinear(tape, layer.ffn_in.n, dim);
  layer.ffn_norm = ReadNorm(tape, dim);
  std::vector<const Linear*> lasts = {&layer.self.output, &layer.ffn_out};
  if (decoder) lasts.push_back(&layer.cross.output);
  for (const Linear* last : lasts) {
    Require(last->output.type == Type::kFloat32, "a residual sum of integers");
  }
  return layer;
}

Embedding ReadEmbedding(Tape* tape, int64_t dim) {
  tape->Mark(kEmbeddingMark);
  Embedding embedding;
  const bool int8 = tape->Flag("precision of an embedding");
  embedding.words = tape->Int("words", 1, kMost);
  embedding.multiplier = tape->Float("multiplier");
  if (int8) {
    embedding.codes = tape->Data<int8_t>("table", Type::kInt8, {embedding.words, dim});
    embedding.inv_scales = tape->Floats("inverse scales", {embedding.words});
  } else {
    embedding.table = tape->Floats("table", {embedding.words, dim});
  }
  return embedding;
}

Entry ReadEntry(Tape* tape, int64_t dim) {
  Entry entry;
  entry.has_norm = tape->Flag("entry norm");
  if (entry.has_norm) {
    entry.norm = ReadNorm(tape, dim);
  } else {
    entry.output = ReadOutput(tape);
  }
  return entry;
}

// ---- what one part writes is what the next one reads: nothing asks that while sentences run

void RequireReads(const Linear& linear, const Output& input) {
  Require(input.type == Type::kFloat32 || (linear.int8 && linear.input.type == input.type),
          "a product of other codes than are written for it");
}

void RequireReads(const Attention& attention, const Output& input, const Output* memory) {
  for (const Projection& p : attention.projections) {
    const bool query = p.columns[0] >= 0;
    const bool others = p.columns[1] >= 0 || p.columns[2] >= 0;
    // Queries are of the layer's own input; keys and values of the memory where there is one.
    Require(memory == nullptr ? !p.of_memory : query != others && p.of_memory == others,
            "a projection of the wrong input");
    RequireReads(p.linear, p.of_memory ? *memory : input);
  }
  RequireReads(attention.output, attention.context);
}

// What the stack hands on.
Output RequireChain(const Entry& entry, const std::vector<Layer>& layers, const Output* memory) {
  Output input = entry.has_norm ? entry.norm.output : entry.output;
  for (const Layer& layer : layers) {
    RequireReads(layer.self, input, nullptr);
    input = layer.self_norm.output;
    if (memory != nullptr) {
      RequireReads(layer.cross, input, memory);
      input = layer.cross_norm.output;
    }
    RequireReads(layer.ffn_in, input);
    RequireReads(layer.ffn_out, layer.ffn_in.output);
    input = layer.ffn_norm.output;
  }
  return input;
}

template <class T, class M>
std::vector<T*> LinearsOf(M* model) {
  std::vector<T*> linears = {&model->projection};
  for (auto* stack : {&model->encoder, &model->decoder}) {
    for (auto& layer : *stack) {
      for (auto* attention : {&layer.self, &layer.cross}) {
        if (attention->heads == 0) continue;
        for (auto& p : attention->projections) linears.push_back(&p.linear);
        linears.push_back(&attention->output);
      }
      linears.push_back(&layer.ffn_in);
      linears.push_back(&layer.ffn_out);
    }
  }
  return linears;
}

}  // namespace

Model::Model(Tape* tape) {
  tape->Mark(kModelMark);
  tape->Int("version", kVersion, kVersion);
  dim = tape->Int("model_dim", 1, 1 << 20);
  max_length = tape->Int("max_length", 1, 1 << 24);
  const int64_t encoders = tape->Int("encoder layers", 1, 1 << 16);
  const int64_t decoders = tape->Int("decoder layers", 1, 1 << 16);
  pad_id = static_cast<int32_t>(tape->Int("pad_id", 0, kMost - 1));
  eos_id = static_cast<int32_t>(tape->Int("eos_id", 0, kMost - 1));
  start_id = static_cast<int32_t>(tape->Int("start_id", 0, kMost - 1));
  positions = tape->Floats("positions", {max_length, dim});
  source = ReadEmbedding(tape, dim);
  target = ReadEmbedding(tape, dim);
  encoder_entry = ReadEntry(tape, dim);
  for (int64_t i = 0; i < encoders; ++i) encoder.push_back(ReadLayer(tape, dim, false));
  decoder_entry = ReadEntry(tape, dim);
  for (int64_t i = 0; i < decoders; ++i) decoder.push_back(ReadLayer(tape, dim, true));
  projection = ReadLinear(tape);
  tape->Mark(kEndMark);
  tape->End();
  memory = RequireChain(encoder_entry, encoder, nullptr);
  RequireReads(projection, RequireChain(decoder_entry, decoder, &memory));
  Require(projection.k == dim && projection.output.type == Type::kFloat32 &&
              projection.activation == Activation::kNone,
          "the output projection");
  Require(eos_id < projection.n && start_id < target.words && projection.n <= target.words,
          "special tokens out of range");
  Require(projection.n >= 2, "a vocabulary of one word");
  int index = 0;
  for (Linear* linear : LinearsOf<Linear>(this)) linear->index = index++;
}

std::vector<const Linear*> Model::Linears() const { return LinearsOf<const Linear>(this); }

bool Model::int8() const {
  const std::vector<const Linear*> all = Linears();
  return std::all_of(all.begin(), all.end(), [](const Linear* linear) { return linear->int8; });
}

}  // namespace keras_int8nmt
