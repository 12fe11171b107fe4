#include "layers.h"

#include <algorithm>
#include <cstring>

#include "finite.h"

namespace keras_int8nmt {
namespace {

constexpr char kEncoder[] = "encoder", kDecoder[] = "decoder";

// Bytes of a row of everything that is projected from one input.
int64_t ProjectedBytes(const Attention& attention) {
  int64_t bytes = 0;
  for (const Projection& p : attention.projections) {
    bytes += (p.linear.n * TypeBytes(p.linear.output.type) + 63) / 64 * 64;
  }
  return bytes;
}

void FetchNext(const std::vector<char*>& blocks, CachedAttentionArgs* args) {
  args->next_blocks = blocks.data();
  args->next_count = static_cast<int64_t>(blocks.size());
}

}  // namespace

size_t SelfBlockBytes(const Model& model, int64_t slots) {
  size_t bytes = 0;
  for (const Layer& layer : model.decoder) {
    bytes += slots * (layer.self.key_bytes() + layer.self.value_bytes());
  }
  return bytes;
}

size_t CrossBlockBytes(const Model& model) {
  size_t bytes = 0;
  for (const Layer& layer : model.decoder) {
    bytes += layer.cross.key_bytes() + layer.cross.value_bytes();
  }
  return bytes;
}

Layers::Layers(const Model& model, int64_t slots, int64_t source_tokens, int64_t rows,
               int64_t max_source, int32_t k, bool log_sums, bool filters, ThreadTeam* team,
               Profile* profile)
    : model_(model),
      kernels_(ActiveKernels()),
      products_(model, std::max(source_tokens, rows), rows, k, log_sums, filters, team),
      profile_(profile),
      slots_(slots) {
  int64_t projected = 0, context = 0, hidden = 0, encoder_block = 0;
  int64_t self_offset = 0, cross_offset = 0;
  for (const std::vector<Layer>* stack : {&model.encoder, &model.decoder}) {
    for (const Layer& layer : *stack) {
      for (const Attention* attention : {&layer.self, &layer.cross}) {
        if (attention->heads == 0) continue;
        projected = std::max(projected, ProjectedBytes(*attention));
        context = std::max(context, attention->output.k * TypeBytes(attention->context.type));
      }
      hidden = std::max(hidden, layer.ffn_in.n * TypeBytes(layer.ffn_in.output.type));
      if (stack == &model.encoder) {
        encoder_block = std::max(encoder_block, layer.self.key_bytes() + layer.self.value_bytes());
        continue;
      }
      self_offsets_.push_back(self_offset);
      cross_offsets_.push_back(cross_offset);
      self_offset += slots * (layer.self.key_bytes() + layer.self.value_bytes());
      cross_offset += layer.cross.key_bytes() + layer.cross.value_bytes();
    }
  }
  const int64_t most = FloatProduct::RoundedRows(std::max(source_tokens, rows));
  carry_ = Buffer(most * model.dim * sizeof(float));
  codes_ = Buffer(most * model.dim * sizeof(float));
  y_ = Buffer(most * model.dim * sizeof(float));
  projected_ = Buffer(most * projected);
  context_ = Buffer(most * context);
  hidden_ = Buffer(most * hidden);
  for (int64_t b = 0; b < CacheBlocks(max_source); ++b) {
    encoder_blocks_.emplace_back(encoder_block);
    encoder_block_list_.push_back(encoder_blocks_.back().as<const char>());
  }
}

// ---- parts

void Layers::Embed(const Embedding& embedding, const int32_t* ids, int64_t rows) {
  float* x = carry_.as<float>();
  if (embedding.codes != nullptr) {
    kernels_.embedding(embedding.codes, model_.dim, embedding.inv_scales, ids, rows,
                       embedding.multiplier, x);
    return;
  }
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = embedding.table + ids[r] * model_.dim;
    for (int64_t c = 0; c < model_.dim; ++c) *x++ = row[c] * embedding.multiplier;
  }
}

void Layers::AddPosition(int64_t row, int64_t position) {
  float* x = carry_.as<float>() + row * model_.dim;
  const float* added = model_.positions + position * model_.dim;
  for (int64_t c = 0; c < model_.dim; ++c) x[c] = x[c] + added[c];
}

Layers::Input Layers::Enter(const Entry& entry, int64_t rows) {
  const WorkTimer timer(profile_, Work::kLayerNorm);
  const float* x = carry_.as<float>();
  if (entry.has_norm) {
    KernelOf(entry.norm)(x, nullptr, entry.norm.gamma, entry.norm.beta, rows, model_.dim,
                         entry.norm.epsilon, true, nullptr, entry.norm.output, codes_.as());
    return {codes_.as(), entry.norm.output.type};
  }
  if (entry.output.type == Type::kFloat32) return {x, Type::kFloat32};
  kernels_.quantize(x, rows * model_.dim, entry.output, codes_.as());
  return {codes_.as(), entry.output.type};
}

// Notes the rows of x with a NaN or an infinity; not `whole`: where it shows in every number of a
// row, so that one is enough.
void Layers::Watch(const float* x, int64_t rows, bool whole, const Place& place) {
  const int64_t columns = whole ? model_.dim : 1;
  for (int64_t row = 0; row < rows; ++row) {
    if (FirstNotFinite(x + row * model_.dim, columns, whole ? kTooLarge : kInfinity) < 0) continue;
    broken_.emplace(
        row, std::string(place.stack) + "." + std::to_string(place.layer) + "." + place.norm);
  }
}

// The end of a sub-layer, whose result is in y_.
Layers::Input Layers::Normalize(const Norm& norm, int64_t rows, const Place& place) {
  const WorkTimer timer(profile_, Work::kLayerNorm);
  // Whole numbers have no NaN: it is looked for before.
  if (norm.integer) Watch(y_.as<float>(), rows, true, place);
  // A float32 norm that is the residual stream too is written once.
  const bool one = norm.output.type == Type::kFloat32 && !norm.carry_sum;
  KernelOf(norm)(y_.as<float>(), carry_.as<float>(), norm.gamma, norm.beta, rows, model_.dim,
                 norm.epsilon, norm.carry_sum, carry_.as<float>(), norm.output,
                 one ? nullptr : codes_.as());
  // A residual sum that is carried on keeps its NaN; the last norm of the stack sees them all.
  const size_t layers = (place.stack[0] == 'e' ? model_.encoder : model_.decoder).size();
  const bool last = place.layer + 1 == layers && std::strcmp(place.norm, "ffn_norm") == 0;
  if (!norm.carry_sum) {
    if (!norm.integer) Watch(carry_.as<float>(), rows, false, place);
  } else if (last) {
    Watch(carry_.as<float>(), rows, true, place);
  }
  return {one ? carry_.as() : codes_.as(), norm.output.type};
}

void Layers::Project(const Attention& attention, bool of_memory, Input input, int64_t rows,
                     Work work, Rows parts[3]) {
  const WorkTimer timer(profile_, work);
  char* out = projected_.as<char>();
  for (const Projection& p : attention.projections) {
    if (p.of_memory != of_memory) continue;
    products_.Run(p.linear, input.data, input.type, rows, out);
    const int64_t element = TypeBytes(p.linear.output.type);
    for (int i = 0; i < 3; ++i) {
      if (p.columns[i] < 0) continue;
      parts[i].data = out + p.columns[i] * element;
      parts[i].stride = p.linear.n * element;
    }
    out += FloatProduct::RoundedRows(rows) * ((p.linear.n * element + 63) / 64 * 64);
  }
}

Layers::Input Layers::FeedForward(const std::vector<Layer>& stack, size_t l, Input input,
                                  int64_t rows, Work work) {
  const Layer& layer = stack[l];
  {
    const WorkTimer timer(profile_, work);
    products_.Run(layer.ffn_in, input.data, input.type, rows, hidden_.as());
    products_.Run(layer.ffn_out, hidden_.as(), layer.ffn_in.output.type, rows, y_.as());
  }
  const char* name = &stack == &model_.encoder ? kEncoder : kDecoder;
  return Normalize(layer.ffn_norm, rows, {name, l, "ffn_norm"});
}

void Layers::WriteCache(const Attention& attention, const Rows parts[3], int64_t row,
                        int64_t position, char* block, int64_t slot, int64_t slots) {
  CacheWriteArgs args;
  args.key = parts[1].data + row * parts[1].stride;
  args.value = parts[2].data + row * parts[2].stride;
  args.key_type = attention.key_type;
  args.value_type = attention.value_type;
  args.heads = attention.heads;
  args.head_dim = attention.head_dim;
  args.value_dim = attention.value_dim;
  args.position = position % kCacheBlock;
  args.keys = block + slot * attention.key_bytes();
  args.values = block + slots * attention.key_bytes() + slot * attention.value_bytes();
  kernels_.cache_write(args);
}

CachedAttentionArgs Layers::ArgsOf(const Attention& attention, const Rows& query, int64_t first_row,
                                   int64_t rows) {
  CachedAttentionArgs args;
  args.query = query.data + first_row * query.stride;
  args.query_stride = query.stride;
  args.rows = rows;
  args.key_type = attention.key_type;
  args.value_type = attention.value_type;
  args.heads = attention.heads;
  args.head_dim = attention.head_dim;
  args.value_dim = attention.value_dim;
  args.scale = attention.scale;
  args.integer_softmax = attention.integer_softmax;
  args.output = attention.context;
  args.context_stride = attention.output.k * TypeBytes(attention.context.type);
  args.context = context_.as<char>() + first_row * args.context_stride;
  return args;
}

// ---- the encoder

void Layers::EncoderAttention(const Attention& attention, const Rows parts[3],
                              const std::vector<SentenceCache*>& caches) {
  const WorkTimer timer(profile_, Work::kEncoderAttention);
  int64_t first = 0;
  for (const SentenceCache* cache : caches) {
    const int64_t length = cache->source_length;
    for (int64_t j = 0; j < length; ++j) {
      WriteCache(attention, parts, first + j, j, encoder_blocks_[j / kCacheBlock].as<char>(), 0, 1);
    }
    CachedAttentionArgs args = ArgsOf(attention, parts[0], first, length);
    args.blocks = encoder_block_list_.data();
    args.values_offset = attention.key_bytes();
    args.length = length;
    kernels_.cached_attention(args);
    first += length;
  }
}

void Layers::Encode(const std::vector<const int32_t*>& sentences,
                    const std::vector<SentenceCache*>& caches) {
  broken_.clear();
  int64_t rows = 0;
  {
    const WorkTimer timer(profile_, Work::kEmbedding);
    std::vector<int32_t> ids;
    for (size_t s = 0; s < sentences.size(); ++s) {
      ids.insert(ids.end(), sentences[s], sentences[s] + caches[s]->source_length);
    }
    rows = static_cast<int64_t>(ids.size());
    Embed(model_.source, ids.data(), rows);
    int64_t row = 0;
    for (const SentenceCache* cache : caches) {
      for (int64_t j = 0; j < cache->source_length; ++j) AddPosition(row++, j);
    }
  }
  Input input = Enter(model_.encoder_entry, rows);
  Rows parts[3];
  for (size_t l = 0; l < model_.encoder.size(); ++l) {
    const Layer& layer = model_.encoder[l];
    Project(layer.self, false, input, rows, Work::kEncoderGemm, parts);
    EncoderAttention(layer.self, parts, caches);
    {
      const WorkTimer timer(profile_, Work::kEncoderGemm);
      products_.Run(layer.self.output, context_.as(), layer.self.context.type, rows, y_.as());
    }
    input = Normalize(layer.self_norm, rows, {kEncoder, l, "self_norm"});
    input = FeedForward(model_.encoder, l, input, rows, Work::kEncoderGemm);
  }
  for (size_t l = 0; l < model_.decoder.size(); ++l) {
    const Attention& cross = model_.decoder[l].cross;
    Project(cross, true, input, rows, Work::kMemoryGemm, parts);
    const WorkTimer timer(profile_, Work::kCacheWrite);
    int64_t row = 0;
    for (const SentenceCache* cache : caches) {
      for (int64_t j = 0; j < cache->source_length; ++j) {
        char* block = cache->cross_blocks[j / kCacheBlock] + cross_offsets_[l];
        WriteCache(cross, parts, row++, j, block, 0, 1);
      }
    }
  }
}

// ---- the decoder

void Layers::SelfAttention(size_t layer, const Rows parts[3],
                           const std::vector<SentenceRows>& sentences) {
  const Attention& attention = model_.decoder[layer].self;
  // Sentence by sentence: what is written is still in the CPU's cache when it is read.
  for (size_t n = 0; n < sentences.size(); ++n) {
    const SentenceRows& s = sentences[n];
    {
      const WorkTimer timer(profile_, Work::kCacheWrite);
      char* block = s.cache->self_blocks[s.position / kCacheBlock] + self_offsets_[layer];
      for (int64_t i = 0; i < s.rows; ++i) {
        WriteCache(attention, parts, s.first_row + i, s.position, block, i, slots_);
      }
    }
    const WorkTimer timer(profile_, Work::kSelfAttention);
    CachedAttentionArgs args = ArgsOf(attention, parts[0], s.first_row, s.rows);
    args.blocks = s.cache->self_blocks.data();
    args.keys_offset = self_offsets_[layer];
    args.values_offset = args.keys_offset + slots_ * attention.key_bytes();
    if (n + 1 < sentences.size()) FetchNext(sentences[n + 1].cache->self_blocks, &args);
    args.slots = slots_;
    args.owners = slots_ == 1 ? nullptr : s.owners;
    args.owners_stride = s.owners_stride;
    args.length = s.position + 1;
    kernels_.cached_attention(args);
  }
}

void Layers::CrossAttention(size_t layer, const Rows parts[3],
                            const std::vector<SentenceRows>& sentences) {
  const WorkTimer timer(profile_, Work::kCrossAttention);
  const Attention& attention = model_.decoder[layer].cross;
  for (size_t i = 0; i < sentences.size(); ++i) {
    const SentenceRows& s = sentences[i];
    CachedAttentionArgs args = ArgsOf(attention, parts[0], s.first_row, s.rows);
    args.blocks = s.cache->cross_blocks.data();
    if (i + 1 < sentences.size()) FetchNext(sentences[i + 1].cache->cross_blocks, &args);
    args.keys_offset = cross_offsets_[layer];
    args.values_offset = args.keys_offset + attention.key_bytes();
    args.length = s.cache->source_length;
    kernels_.cached_attention(args);
  }
}

BestTokens Layers::Step(const std::vector<int32_t>& tokens,
                        const std::vector<SentenceRows>& sentences, int32_t forbidden,
                        int32_t watched, const Forbid* forbid) {
  broken_.clear();
  const int64_t rows = static_cast<int64_t>(tokens.size());
  {
    const WorkTimer timer(profile_, Work::kEmbedding);
    Embed(model_.target, tokens.data(), rows);
    for (const SentenceRows& s : sentences) {
      for (int64_t i = 0; i < s.rows; ++i) AddPosition(s.first_row + i, s.position);
    }
  }
  Input input = Enter(model_.decoder_entry, rows);
  Rows parts[3];
  for (size_t l = 0; l < model_.decoder.size(); ++l) {
    const Layer& layer = model_.decoder[l];
    Project(layer.self, false, input, rows, Work::kQkvGemm, parts);
    SelfAttention(l, parts, sentences);
    {
      const WorkTimer timer(profile_, Work::kSelfOutGemm);
      products_.Run(layer.self.output, context_.as(), layer.self.context.type, rows, y_.as());
    }
    input = Normalize(layer.self_norm, rows, {kDecoder, l, "self_norm"});
    Project(layer.cross, false, input, rows, Work::kCrossGemm, parts);
    CrossAttention(l, parts, sentences);
    {
      const WorkTimer timer(profile_, Work::kCrossGemm);
      products_.Run(layer.cross.output, context_.as(), layer.cross.context.type, rows, y_.as());
    }
    input = Normalize(layer.cross_norm, rows, {kDecoder, l, "cross_norm"});
    input = FeedForward(model_.decoder, l, input, rows, Work::kFfnGemm);
  }
  const WorkTimer timer(profile_, Work::kProjection);
  return products_.TopK(input.data, input.type, rows, forbidden, watched, forbid);
}

}  // namespace keras_int8nmt
