// A small model as a spec, by the names of docs/model_spec.md.
#ifndef KERAS_INT8NMT_TESTS_CC_SPEC_WRITER_H_
#define KERAS_INT8NMT_TESTS_CC_SPEC_WRITER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "gemm/float_gemm.h"
#include "gemm/gemm.h"
#include "model.h"
#include "model_reader.h"
#include "small_model.h"

namespace keras_int8nmt {

// The entries of a spec, in any order.
struct Spec {
  std::vector<Setting> settings;
  std::vector<std::string> names;  // of the tensors
  std::vector<TensorView> tensors;

  // `tables` as in Model.
  std::unique_ptr<const Model> Read(bool tables = true) const {
    ModelReader reader(settings, names, tensors);
    return std::make_unique<const Model>(&reader, tables);
  }
};

// The entries may be changed before the model is read. The writer keeps packed weights, the model
// the rest, so both must outlive what reads the spec.
class SpecWriter {
 public:
  SpecWriter(const small::Model& model, const GemmBackend& gemm) : dim_(model.dim), gemm_(gemm) {
    Put("format_version", 2);
    Put("model_dim", model.dim);
    Put("max_length", model.max_length);
    Put("pad_id", model.pad_id);
    Put("eos_id", model.eos_id);
    Put("start_id", model.start_id);
    PutFloats("positions", model.positions, {model.max_length, dim_});
    PutEmbedding("source_embedding", model.source);
    PutEmbedding("target_embedding", model.target);
    PutStack("encoder", model.encoder);
    PutStack("decoder", model.decoder);
    PutProduct("output_projection", model.projection);
  }
  SpecWriter(const SpecWriter&) = delete;
  SpecWriter& operator=(const SpecWriter&) = delete;

  Spec spec;

 private:
  using Name = std::string;

  template <class T>
  static int64_t Size(const std::vector<T>& list) {
    return static_cast<int64_t>(list.size());
  }
  static const char* Word(Type type) {
    return type == Type::kFloat32 ? "float32" : type == Type::kInt8 ? "int8" : "uint8";
  }

  void Put(const Name& name, int64_t value) {
    spec.settings.push_back({name, Setting::kInt, value, 0.0, ""});
  }
  void PutNumber(const Name& name, float value) {
    spec.settings.push_back({name, Setting::kFloat, 0, value, ""});
  }
  void PutWord(const Name& name, const char* value) {
    spec.settings.push_back({name, Setting::kText, 0, 0.0, value});
  }
  void PutTensor(const Name& name, Type type, const void* data, std::vector<int64_t> dims) {
    spec.names.push_back(name);
    spec.tensors.push_back({type, data, std::move(dims)});
  }
  void PutFloats(const Name& name, const std::vector<float>& values, std::vector<int64_t> dims) {
    PutTensor(name, Type::kFloat32, values.data(), std::move(dims));
  }
  void PutOutput(const Name& at, const Output& output, bool of_float = false) {
    PutWord(at + ".type", Word(output.type));
    if (output.type != Type::kFloat32) Put(at + ".zero_point", output.zero_point);
    if (output.type != Type::kFloat32 || of_float) PutNumber(at + ".scale", output.scale);
  }

  void PutEmbedding(const Name& at, const small::Embedding& embedding) {
    PutNumber(at + ".multiplier", embedding.multiplier);
    if (embedding.codes.empty()) {
      PutFloats(at + ".table", embedding.table, {embedding.words, dim_});
      return;
    }
    PutTensor(at + ".table", Type::kInt8, embedding.codes.data(), {embedding.words, dim_});
    PutFloats(at + ".inv_scales", embedding.inv_scales, {embedding.words});
  }

  void PutProduct(const Name& at, const small::Product& product) {
    const int64_t k = product.k, n = product.n;
    PutWord(at + ".precision", !product.int8     ? "float32"
                               : product.dynamic ? "int8_dynamic"
                                                 : "int8");
    Put(at + ".rows", k);
    Put(at + ".columns", n);
    constexpr const char* kActivations[] = {"none", "relu", "gelu", "gelu_tanh", "swish"};
    PutWord(at + ".activation", kActivations[static_cast<int>(product.activation)]);
    if (product.int8 && !product.dynamic) PutOutput(at + ".reads", product.input);
    PutOutput(at + ".writes", product.output);
    packed_.emplace_back(product.int8 ? PackedBytes(gemm_, k, n) : PackedFloatBytes(k, n));
    std::vector<char>& blob = packed_.back();
    if (product.int8) {
      Pack(gemm_, product.codes.data(), k, n, blob.data());
    } else {
      PackFloat(product.weights.data(), k, n, blob.data());
    }
    PutTensor(at + ".weights", Type::kUint8, blob.data(), {Size(blob)});
    if (product.int8) PutFloats(at + ".scales", product.scales, {n});
    PutFloats(at + ".bias", product.bias, {n});
  }

  void PutNorm(const Name& at, const small::Norm& norm) {
    PutWord(at + ".arithmetic", norm.integer ? "integer" : "float");
    PutWord(at + ".carry", norm.carry_sum ? "sum" : "norm");
    PutNumber(at + ".epsilon", norm.epsilon);
    PutOutput(at + ".writes", norm.output);
    PutFloats(at + ".gamma", norm.gamma, {dim_});
    PutFloats(at + ".beta", norm.beta, {dim_});
  }

  void PutAttention(const Name& at, const small::Attention& attention) {
    PutWord(at + ".softmax", attention.integer_softmax ? "integer" : "float");
    Put(at + ".heads", attention.heads);
    Put(at + ".head_dim", attention.head_dim);
    Put(at + ".value_dim", attention.value_dim);
    PutWord(at + ".key_type", Word(attention.key_type));
    PutWord(at + ".value_type", Word(attention.value_type));
    PutNumber(at + ".scale", attention.scale);
    PutOutput(at + ".context", attention.context, true);
    for (const small::Projected& p : attention.projections) {
      PutProduct(at + "." + p.name(), p.product);
    }
    PutProduct(at + ".output", attention.output);
  }

  void PutStack(const Name& stack, const small::Stack& from) {
    const Name entry = stack + ".entry";
    PutWord(entry + ".kind", from.has_norm ? "norm" : "tokens");
    from.has_norm ? PutNorm(entry, from.norm) : PutOutput(entry + ".writes", from.output);
    Put(stack + ".layers", Size(from.layers));
    for (size_t i = 0; i < from.layers.size(); ++i) {
      const small::Layer& layer = from.layers[i];
      const Name at = stack + "." + std::to_string(i);
      PutAttention(at + ".self", layer.self);
      PutNorm(at + ".self_norm", layer.self_norm);
      if (layer.cross.heads != 0) {
        PutAttention(at + ".cross", layer.cross);
        PutNorm(at + ".cross_norm", layer.cross_norm);
      }
      PutProduct(at + ".ffn_in", layer.ffn_in);
      PutProduct(at + ".ffn_out", layer.ffn_out);
      PutNorm(at + ".ffn_norm", layer.ffn_norm);
    }
  }

  int64_t dim_;
  const GemmBackend& gemm_;
  std::vector<std::vector<char>> packed_;  // growing moves the vectors, not what they hold
};

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_TESTS_CC_SPEC_WRITER_H_
