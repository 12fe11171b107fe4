// A Transformer as the decoder sees it: which product is INT8 or float32, how each tensor is
// quantized, and where the weights are. Numbers only; Python decides all of it.
//
// Blocks hand on a pair: the residual stream, float32, and what the next product reads, codes or
// float32. Each norm is seen as the end of the sub-layer before it, for post-norm and pre-norm
// models alike.
#ifndef KERAS_INT8NMT_DECODER_MODEL_H_
#define KERAS_INT8NMT_DECODER_MODEL_H_

#include <cstdint>
#include <vector>

#include "gemm/gemm.h"
#include "int8.h"
#include "model_reader.h"

namespace keras_int8nmt {

// y = activation(x W + b), written as `output` says.
struct Linear {
  int index = 0;  // among all products of the model
  int64_t k = 0, n = 0;
  bool int8 = false;
  bool dynamic = false;  // INT8 whose input is float32, each row of it with a scale of its own
  Output input;          // what x is: codes, or float32 which INT8 products quantize so
  Activation activation = Activation::kNone;
  Output output;
  PackedInfo packed;                   // INT8
  const void* packed_float = nullptr;  // float32, oneDNN's form
  const float* scales = nullptr;       // [n], INT8
  const float* bias = nullptr;         // [n]
};

// LayerNorm of input + residual; see Kernels::layer_norm.
struct Norm {
  const float* gamma = nullptr;
  const float* beta = nullptr;
  float epsilon = 0.0f;
  bool carry_sum = false;  // pre-norm: the sum goes on as the residual stream
  bool integer = false;    // Kernels::integer_layer_norm instead
  Output output;
};

// One product and which of query, key and value are among its columns.
struct Projection {
  const char* name = "";  // of the entries: "query", "key_value", ...
  Linear linear;
  int64_t columns[3] = {-1, -1, -1};  // first column of query, key, value; -1: not here
  bool of_memory = false;             // it reads the encoder's output
};

struct Attention {
  int32_t heads = 0, head_dim = 0, value_dim = 0;
  Type key_type = Type::kInt8, value_type = Type::kInt8;  // kInt8 or kFloat32
  float scale = 1.0f;                                     // of the scores
  bool integer_softmax = false;
  Output context;  // of CachedAttentionArgs
  std::vector<Projection> projections;
  Linear output;

  int64_t key_bytes() const { return heads * CacheKeyBytes(key_type, head_dim); }
  int64_t value_bytes() const { return heads * CacheValueBytes(value_type, value_dim); }
};

struct Embedding {
  const int8_t* codes = nullptr;  // [words, d] with inv_scales [words], or
  const float* inv_scales = nullptr;
  const float* table = nullptr;  // [words, d]
  int64_t words = 0;
  float multiplier = 1.0f;
};

// How a stack's first pair is made of the embedded tokens.
struct Entry {
  bool has_norm = false;
  Norm norm;      // pre-norm
  Output output;  // post-norm: the tokens themselves, quantized
};

struct Layer {
  Attention self, cross;  // the encoder has no cross
  Norm self_norm, cross_norm, ffn_norm;
  Linear ffn_in, ffn_out;
};

struct Model {
  // Throws std::invalid_argument that says what is wrong. `tables`: whether float32 embeddings are
  // looked through for a NaN; if not, a sentence that reads one fails.
  explicit Model(ModelReader* reader, bool tables = true);

  int64_t dim = 0, max_length = 0;
  int32_t pad_id = 0, eos_id = 0, start_id = 0;
  Embedding source, target;
  const float* positions = nullptr;  // [max_length, dim]
  Entry encoder_entry, decoder_entry;
  std::vector<Layer> encoder, decoder;
  Output memory;  // what the encoder's last norm writes
  Linear projection;

  // Every product and norm, for sizes and preparation.
  std::vector<const Linear*> Linears() const;
  // Whether every product with weights is INT8.
  bool int8() const;
};

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_DECODER_MODEL_H_
