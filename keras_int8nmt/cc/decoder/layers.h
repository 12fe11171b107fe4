// The forward pass of a stream over packed rows: no padding, one row a token or a live hypothesis.
#ifndef KERAS_INT8NMT_DECODER_LAYERS_H_
#define KERAS_INT8NMT_DECODER_LAYERS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "buffer.h"
#include "model.h"
#include "products.h"
#include "profile.h"

namespace keras_int8nmt {

// Where the keys and values of a sentence are: a block for each 16 positions, and in it the layers
// one after the other, keys and then values.
struct SentenceCache {
  std::vector<char*> self_blocks;   // `slots` hypotheses side by side
  std::vector<char*> cross_blocks;  // of the source: one slot
  int64_t source_length = 0;
};

// The live hypotheses of a sentence in a step: rows [first_row, first_row + rows), one slot each.
struct SentenceRows {
  const SentenceCache* cache;
  int64_t first_row, rows;
  int64_t position;        // of the tokens that are read now
  const uint16_t* owners;  // see CachedAttentionArgs
  int64_t owners_stride;
};

// Bytes of a block of each cache.
size_t SelfBlockBytes(const Model& model, int64_t slots);
size_t CrossBlockBytes(const Model& model);

class Layers {
 public:
  // At most `source_tokens` tokens in one Encode, `rows` rows in one Step.
  Layers(const Model& model, int64_t slots, int64_t source_tokens, int64_t rows, int64_t max_source,
         int32_t k, bool log_sums, bool filters, ThreadTeam* team, Profile* profile);

  // Encodes sentences [ids...] of the caches' source lengths, one after the other, and writes their
  // cross-attention keys and values.
  void Encode(const std::vector<const int32_t*>& sentences,
              const std::vector<SentenceCache*>& caches);

  // One position of every row: writes it to the self caches and finds the best next tokens, none of
  // them `forbidden`, nor what `forbid` says, which may be null.
  BestTokens Step(const std::vector<int32_t>& tokens, const std::vector<SentenceRows>& sentences,
                  int32_t forbidden, int32_t watched, const Forbid* forbid);

  // Rows of the last Encode or Step with a NaN or an infinity, and the norm that it was found at:
  // what comes after reads codes, which have none.
  const std::map<int64_t, std::string>& broken() const { return broken_; }

 private:
  // What the next product reads: codes_ or, as float32, codes_ or carry_.
  struct Input {
    const void* data;
    Type type;
  };
  // A projected query, key or value: row r starts at data + r * stride bytes.
  struct Rows {
    const char* data = nullptr;
    int64_t stride = 0;
  };

  void Embed(const Embedding& embedding, const int32_t* ids, int64_t rows);
  void AddPosition(int64_t row, int64_t position);
  Input Enter(const Entry& entry, int64_t rows);
  decltype(Kernels::layer_norm) KernelOf(const Norm& norm) const {
    return norm.integer ? kernels_.integer_layer_norm : kernels_.layer_norm;
  }
  // The name of a norm of the model: "decoder", 3 and "cross_norm".
  struct Place {
    const char* stack;
    size_t layer;
    const char* norm;
  };
  Input Normalize(const Norm& norm, int64_t rows, const Place& place);
  void Watch(const float* x, int64_t rows, bool whole, const Place& place);
  void Project(const Attention& attention, bool of_memory, Input input, int64_t rows, Work work,
               Rows parts[3]);
  Input FeedForward(const std::vector<Layer>& stack, size_t layer, Input input, int64_t rows,
                    Work work);
  void WriteCache(const Attention& attention, const Rows parts[3], int64_t row, int64_t position,
                  char* block, int64_t slot, int64_t slots);
  void EncoderAttention(const Attention& attention, const Rows parts[3],
                        const std::vector<SentenceCache*>& caches);
  void SelfAttention(size_t layer, const Rows parts[3], const std::vector<SentenceRows>& sentences);
  void CrossAttention(size_t layer, const Rows parts[3],
                      const std::vector<SentenceRows>& sentences);
  CachedAttentionArgs ArgsOf(const Attention& attention, const Rows& query, int64_t first_row,
                             int64_t rows);

  const Model& model_;
  const Kernels& kernels_;
  Products products_;
  Profile* profile_;
  int64_t slots_;
  std::vector<int64_t> self_offsets_, cross_offsets_;  // of each layer within a block
  Buffer carry_, codes_, y_, projected_, context_, hidden_;
  std::vector<Buffer> encoder_blocks_;  // a cache for the encoder's own attention
  std::vector<const char*> encoder_block_list_;
  std::map<int64_t, std::string> broken_;
};

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_DECODER_LAYERS_H_
