// Reading a model by the names of its entries; docs/model_spec.md lists them.
#include "model.h"

#include <algorithm>
#include <cstdint>
#include <string>

#include "gemm/float_gemm.h"
#include "integer_math.h"

namespace keras_int8nmt {
namespace {

constexpr int64_t kVersion = 2;
constexpr int64_t kMost = int64_t{1} << 31;

void Require(bool fits, const std::string& name, const char* what) {
  if (!fits) RefuseEntry(name, what);
}

// Codes of a type that is not float32.
Output ReadCodes(ModelReader* reader, const std::string& at, Type type) {
  Output output;
  output.type = type;
  output.scale = reader->Float(at + ".scale");
  Require(output.scale > 0.0f, at + ".scale", "it is not above 0");
  const bool is_signed = type == Type::kInt8;
  output.zero_point = static_cast<int32_t>(
      reader->Int(at + ".zero_point", is_signed ? -127 : 0, is_signed ? 127 : 255));
  return output;
}

// How a part writes: float32, or codes.
Output ReadWrites(ModelReader* reader, const std::string& at) {
  const Type type = static_cast<Type>(reader->Word(at + ".type", {"float32", "int8", "uint8"}));
  return type == Type::kFloat32 ? Output() : ReadCodes(reader, at, type);
}

// The weighted sum of values, which is multiplied by a scale even where it stays float32.
Output ReadContext(ModelReader* reader, const std::string& at) {
  Output output = ReadWrites(reader, at);
  if (output.type != Type::kFloat32) return output;
  output.scale = reader->Float(at + ".scale");
  Require(output.scale > 0.0f, at + ".scale", "it is not above 0");
  return output;
}

void ReadWeights(ModelReader* reader, const std::string& at, Linear* linear) {
  const std::string name = at + ".weights";
  const TensorView& packed = reader->Tensor(name, {Type::kUint8});
  if (linear->int8) {
    linear->packed = ReadPacked(packed.data, static_cast<size_t>(packed.count()));
    Require(linear->packed.k == linear->k && linear->packed.n == linear->n, name,
            "they are packed of another shape");
    return;
  }
  // The back end is not asked about a size that cannot be.
  const int64_t floats = packed.count() / static_cast<int64_t>(sizeof(float));
  Require(floats / linear->k >= linear->n &&
              static_cast<size_t>(packed.count()) == PackedFloatBytes(linear->k, linear->n),
          name, "they are packed float32 weights of another size");
  linear->packed_float = packed.data;
}

Linear ReadLinear(ModelReader* reader, const std::string& at) {
  Linear linear;
  const int precision = reader->Word(at + ".precision", {"float32", "int8", "int8_dynamic"});
  linear.int8 = precision != 0;
  linear.dynamic = precision == 2;
  linear.k = reader->Int(at + ".rows", 1, linear.int8 ? kMaxDepth : kMost);
  linear.n = reader->Int(at + ".columns", 1, kMost);
  linear.activation = static_cast<Activation>(
      reader->Word(at + ".activation", {"none", "relu", "gelu", "gelu_tanh", "swish"}));
  if (linear.int8 && !linear.dynamic) {
    const int type = reader->Word(at + ".reads.type", {"int8", "uint8"});
    linear.input = ReadCodes(reader, at + ".reads", type == 0 ? Type::kInt8 : Type::kUint8);
  }
  linear.output = ReadWrites(reader, at + ".writes");
  ReadWeights(reader, at, &linear);
  if (linear.int8) linear.scales = reader->Floats(at + ".scales", {linear.n});
  linear.bias = reader->Floats(at + ".bias", {linear.n});
  return linear;
}

Linear ReadLinear(ModelReader* reader, const std::string& at, int64_t k, int64_t n) {
  const Linear linear = ReadLinear(reader, at);
  Require(linear.k == k, at + ".rows", "the part before it writes another width");
  Require(linear.n == n, at + ".columns", "the part after it reads another width");
  return linear;
}

Norm ReadNorm(ModelReader* reader, const std::string& at, int64_t dim) {
  Norm norm;
  norm.integer = reader->Word(at + ".arithmetic", {"float", "integer"}) == 1;
  norm.carry_sum = reader->Word(at + ".carry", {"norm", "sum"}) == 1;
  norm.epsilon = reader->Float(at + ".epsilon");
  Require(!norm.integer || (norm.epsilon >= 0.0f && norm.epsilon <= kNormMostEpsilon),
          at + ".epsilon", "an integer norm has none such");
  norm.output = ReadWrites(reader, at + ".writes");
  norm.gamma = reader->Floats(at + ".gamma", {dim});
  norm.beta = reader->Floats(at + ".beta", {dim});
  return norm;
}

// Which of query, key and value one product may give, side by side in this order.
struct Group {
  const char* name;
  bool has[3];
};
constexpr Group kGroups[] = {
    {"query_key_value", {true, true, true}}, {"query_key", {true, true, false}},
    {"query_value", {true, false, true}},    {"query", {true, false, false}},
    {"key_value", {false, true, true}},      {"key", {false, true, false}},
    {"value", {false, false, true}}};

Projection ReadProjection(ModelReader* reader, const std::string& at, const Group& group,
                          const Attention& attention, int64_t dim, bool cross) {
  Projection projection;
  projection.name = group.name;
  // Queries are of the layer's own input; keys and values of the memory where there is one.
  projection.of_memory = cross && !group.has[0];
  Require(!cross || !group.has[0] || (!group.has[1] && !group.has[2]), at,
          "a query is of another input than keys and values");
  int64_t width = 0;
  for (int i = 0; i < 3; ++i) {
    if (!group.has[i]) continue;
    projection.columns[i] = width;
    width += int64_t{attention.heads} * (i == 2 ? attention.value_dim : attention.head_dim);
  }
  projection.linear = ReadLinear(reader, at, dim, width);
  for (int i = 0; i < 3; ++i) {
    const Type wanted = i == 2 ? attention.value_type : attention.key_type;
    Require(!group.has[i] || projection.linear.output.type == wanted, at + ".writes.type",
            "the attention reads another type");
  }
  return projection;
}

Attention ReadAttention(ModelReader* reader, const std::string& at, int64_t dim, bool cross) {
  Attention attention;
  attention.integer_softmax = reader->Word(at + ".softmax", {"float", "integer"}) == 1;
  attention.heads = static_cast<int32_t>(reader->Int(at + ".heads", 1, 1 << 16));
  attention.head_dim = static_cast<int32_t>(reader->Int(at + ".head_dim", 1, 1 << 16));
  attention.value_dim = static_cast<int32_t>(reader->Int(at + ".value_dim", 1, 1 << 16));
  attention.key_type = static_cast<Type>(reader->Word(at + ".key_type", {"float32", "int8"}));
  attention.value_type = static_cast<Type>(reader->Word(at + ".value_type", {"float32", "int8"}));
  attention.scale = reader->Float(at + ".scale");
  attention.context = ReadContext(reader, at + ".context");
  int found[3] = {};
  for (const Group& group : kGroups) {
    const std::string name = at + "." + group.name;
    if (!reader->HasTensor(name + ".weights")) continue;
    attention.projections.push_back(ReadProjection(reader, name, group, attention, dim, cross));
    for (int i = 0; i < 3; ++i) found[i] += group.has[i];
  }
  for (int times : found) Require(times == 1, at, "it projects not each of query, key, value once");
  attention.output =
      ReadLinear(reader, at + ".output", int64_t{attention.heads} * attention.value_dim, dim);
  return attention;
}

// What ends a sub-layer: the residual sum after it is one of floats.
void RequireFloat(const Linear& last, const std::string& at) {
  Require(last.output.type == Type::kFloat32, at + ".writes.type", "a residual sum is of float32");
}

Layer ReadLayer(ModelReader* reader, const std::string& at, int64_t dim, bool decoder) {
  Layer layer;
  layer.self = ReadAttention(reader, at + ".self", dim, false);
  RequireFloat(layer.self.output, at + ".self.output");
  layer.self_norm = ReadNorm(reader, at + ".self_norm", dim);
  if (decoder) {
    layer.cross = ReadAttention(reader, at + ".cross", dim, true);
    RequireFloat(layer.cross.output, at + ".cross.output");
    layer.cross_norm = ReadNorm(reader, at + ".cross_norm", dim);
  }
  layer.ffn_in = ReadLinear(reader, at + ".ffn_in");
  Require(layer.ffn_in.k == dim, at + ".ffn_in.rows", "it is not the model's width");
  layer.ffn_out = ReadLinear(reader, at + ".ffn_out", layer.ffn_in.n, dim);
  RequireFloat(layer.ffn_out, at + ".ffn_out");
  layer.ffn_norm = ReadNorm(reader, at + ".ffn_norm", dim);
  return layer;
}

Embedding ReadEmbedding(ModelReader* reader, const std::string& at, int64_t dim) {
  Embedding embedding;
  embedding.multiplier = reader->Float(at + ".multiplier");
  const TensorView& table = reader->Tensor(at + ".table", {Type::kFloat32, Type::kInt8});
  Require(table.dims.size() == 2 && table.dims[0] >= 1 && table.dims[0] <= kMost &&
              table.dims[1] == dim,
          at + ".table", "it is not [words, the model's width]");
  embedding.words = table.dims[0];
  if (table.type == Type::kInt8) {
    embedding.codes = static_cast<const int8_t*>(table.data);
    embedding.inv_scales = reader->Floats(at + ".inv_scales", {embedding.words});
  } else {
    embedding.table = static_cast<const float*>(table.data);
  }
  return embedding;
}

Entry ReadEntry(ModelReader* reader, const std::string& at, int64_t dim) {
  Entry entry;
  entry.has_norm = reader->Word(at + ".kind", {"tokens", "norm"}) == 1;
  if (entry.has_norm) {
    entry.norm = ReadNorm(reader, at, dim);
  } else {
    entry.output = ReadWrites(reader, at + ".writes");
  }
  return entry;
}

std::vector<Layer> ReadLayers(ModelReader* reader, const std::string& stack, int64_t dim) {
  const int64_t count = reader->Int(stack + ".layers", 1, 1 << 16);
  std::vector<Layer> layers;
  for (int64_t i = 0; i < count; ++i) {
    layers.push_back(ReadLayer(reader, stack + "." + std::to_string(i), dim, stack == "decoder"));
  }
  return layers;
}

// ---- what one part writes is what the next one reads: nothing asks that while sentences run

void RequireReads(const Linear& linear, const Output& input, const std::string& at) {
  Require(input.type == Type::kFloat32 || (linear.int8 && linear.input.type == input.type), at,
          "it reads other codes than are written for it");
}

void RequireReads(const Attention& attention, const Output& input, const Output* memory,
                  const std::string& at) {
  for (const Projection& p : attention.projections) {
    RequireReads(p.linear, p.of_memory ? *memory : input, at + "." + p.name);
  }
  RequireReads(attention.output, attention.context, at + ".output");
}

// What the stack hands on.
Output RequireChain(const Entry& entry, const std::vector<Layer>& layers, const Output* memory) {
  Output input = entry.has_norm ? entry.norm.output : entry.output;
  const std::string stack = memory == nullptr ? "encoder." : "decoder.";
  int place = 0;
  for (const Layer& layer : layers) {
    const std::string at = stack + std::to_string(place++);
    RequireReads(layer.self, input, nullptr, at + ".self");
    input = layer.self_norm.output;
    if (memory != nullptr) {
      RequireReads(layer.cross, input, memory, at + ".cross");
      input = layer.cross_norm.output;
    }
    RequireReads(layer.ffn_in, input, at + ".ffn_in");
    RequireReads(layer.ffn_out, layer.ffn_in.output, at + ".ffn_out");
    input = layer.ffn_norm.output;
  }
  return input;
}

void RequireFiniteTable(const char* name, const Embedding& embedding, int64_t dim) {
  if (embedding.table == nullptr) return;
  RequireFinite(name, {Type::kFloat32, embedding.table, {embedding.words, dim}});
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

Model::Model(ModelReader* reader, bool tables) {
  reader->Int("format_version", kVersion, kVersion);
  dim = reader->Int("model_dim", 1, 1 << 20);
  max_length = reader->Int("max_length", 1, 1 << 24);
  pad_id = static_cast<int32_t>(reader->Int("pad_id", 0, kMost - 1));
  eos_id = static_cast<int32_t>(reader->Int("eos_id", 0, kMost - 1));
  start_id = static_cast<int32_t>(reader->Int("start_id", 0, kMost - 1));
  positions = reader->Floats("positions", {max_length, dim});
  source = ReadEmbedding(reader, "source_embedding", dim);
  target = ReadEmbedding(reader, "target_embedding", dim);
  encoder_entry = ReadEntry(reader, "encoder.entry", dim);
  encoder = ReadLayers(reader, "encoder", dim);
  decoder_entry = ReadEntry(reader, "decoder.entry", dim);
  decoder = ReadLayers(reader, "decoder", dim);
  const std::string last = "output_projection";
  projection = ReadLinear(reader, last);
  reader->End();
  memory = RequireChain(encoder_entry, encoder, nullptr);
  RequireReads(projection, RequireChain(decoder_entry, decoder, &memory), last);
  Require(projection.k == dim, last + ".rows", "it is not the model's width");
  Require(projection.output.type == Type::kFloat32, last + ".writes.type", "logits are float32");
  Require(projection.activation == Activation::kNone, last + ".activation", "logits have none");
  Require(projection.n >= 2 && projection.n <= target.words, last + ".columns",
          "it is not a vocabulary of two words or more, each with an embedding");
  Require(eos_id < projection.n, "eos_id", "it is not in the vocabulary");
  Require(start_id < target.words, "start_id", "it has no embedding");
  // Last: whoever changed a type has fewer numbers than it says, and was refused above.
  if (tables) {
    RequireFiniteTable("source_embedding.table", source, dim);
    RequireFiniteTable("target_embedding.table", target, dim);
  }
  int index = 0;
  for (Linear* linear : LinearsOf<Linear>(this)) linear->index = index++;
}

std::vector<const Linear*> Model::Linears() const { return LinearsOf<const Linear>(this); }

bool Model::int8() const {
  const std::vector<const Linear*> all = Linears();
  return std::all_of(all.begin(), all.end(), [](const Linear* linear) { return linear->int8; });
}

}  // namespace keras_int8nmt
