// A small model as a tape, in the order of runtime/model_spec.py.
#ifndef KERAS_INT8NMT_TESTS_CC_TAPE_WRITER_H_
#define KERAS_INT8NMT_TESTS_CC_TAPE_WRITER_H_

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "gemm/float_gemm.h"
#include "gemm/gemm.h"
#include "small_model.h"
#include "tape.h"

namespace keras_int8nmt {

// The lists may be changed before the tape is made. The writer keeps packed weights, the model the
// rest, so both must outlive what reads the tape.
class TapeWriter {
 public:
  TapeWriter(const small::Model& model, const GemmBackend& gemm) : dim_(model.dim), gemm_(gemm) {
    Put({9000, 1, model.dim, model.max_length});
    Put({Size(model.encoder.layers), Size(model.decoder.layers)});
    Put({model.pad_id, model.eos_id, model.start_id});
    PutFloats(model.positions, {model.max_length, dim_});
    PutEmbedding(model.source);
    PutEmbedding(model.target);
    PutStack(model.encoder);
    PutStack(model.decoder);
    PutProduct(model.projection);
    Put({9006});
  }
  TapeWriter(const TapeWriter&) = delete;
  TapeWriter& operator=(const TapeWriter&) = delete;

  Tape MakeTape() const { return Tape(ints, floats, tensors); }

  std::vector<int64_t> ints;
  std::vector<float> floats;
  std::vector<TensorView> tensors;

 private:
  template <class T>
  static int64_t Size(const std::vector<T>& list) {
    return static_cast<int64_t>(list.size());
  }
  void Put(std::initializer_list<int64_t> values) { ints.insert(ints.end(), values); }
  void PutFloats(const std::vector<float>& values, std::vector<int64_t> dims) {
    tensors.push_back({Type::kFloat32, values.data(), std::move(dims)});
  }
  void PutOutput(const Output& output) {
    Put({static_cast<int64_t>(output.type), output.zero_point});
    floats.push_back(output.scale);
  }

  void PutEmbedding(const small::Embedding& embedding) {
    const bool int8 = !embedding.codes.empty();
    Put({9005, int8, embedding.words});
    floats.push_back(embedding.multiplier);
    if (int8) {
      tensors.push_back({Type::kInt8, embedding.codes.data(), {embedding.words, dim_}});
      PutFloats(embedding.inv_scales, {embedding.words});
    } else {
      PutFloats(embedding.table, {embedding.words, dim_});
    }
  }

  void PutProduct(const small::Product& product) {
    const int64_t k = product.k, n = product.n;
    Put({9001, product.int8 + product.dynamic, k, n, static_cast<int64_t>(product.activation)});
    PutOutput(product.input);
    PutOutput(product.output);
    packed_.emplace_back(product.int8 ? PackedBytes(gemm_, k, n) : PackedFloatBytes(k, n));
    std::vector<char>& blob = packed_.back();
    if (product.int8) {
      Pack(gemm_, product.codes.data(), k, n, blob.data());
    } else {
      PackFloat(product.weights.data(), k, n, blob.data());
    }
    tensors.push_back({Type::kUint8, blob.data(), {Size(blob)}});
    if (product.int8) PutFloats(product.scales, {n});
    PutFloats(product.bias, {n});
  }

  void PutNorm(const small::Norm& norm) {
    Put({norm.integer ? 9007 : 9002, norm.carry_sum});
    floats.push_back(norm.epsilon);
    PutOutput(norm.output);
    PutFloats(norm.gamma, {dim_});
    PutFloats(norm.beta, {dim_});
  }

  void PutAttention(const small::Attention& attention) {
    Put({attention.integer_softmax ? 9008 : 9003, attention.heads, attention.head_dim});
    Put({attention.value_dim});
    Put({static_cast<int64_t>(attention.key_type), static_cast<int64_t>(attention.value_type)});
    floats.push_back(attention.scale);
    PutOutput(attention.context);
    Put({Size(attention.projections)});
    for (const small::Projected& p : attention.projections) {
      Put({p.of_memory, p.columns[0], p.columns[1], p.columns[2]});
      PutProduct(p.product);
    }
    PutProduct(attention.output);
  }

  void PutStack(const small::Stack& stack) {
    Put({stack.has_norm});
    stack.has_norm ? PutNorm(stack.norm) : PutOutput(stack.output);
    for (const small::Layer& layer : stack.layers) {
      Put({9004});
      PutAttention(layer.self);
      PutNorm(layer.self_norm);
      if (layer.cross.heads != 0) {
        PutAttention(layer.cross);
        PutNorm(layer.cross_norm);
      }
      PutProduct(layer.ffn_in);
      PutProduct(layer.ffn_out);
      PutNorm(layer.ffn_norm);
    }
  }

  int64_t dim_;
  const GemmBackend& gemm_;
  std::vector<std::vector<char>> packed_;  // growing moves the vectors, not what they hold
};

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_TESTS_CC_TAPE_WRITER_H_
