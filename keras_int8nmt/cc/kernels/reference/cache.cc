#include "reference/cache.h"

#include <limits>
#include <vector>

#include "probability_codes.h"
#include "reference/steps.h"

namespace keras_int8nmt {
namespace {

constexpr int64_t kBlock = kCacheBlock;

int64_t ValueColumns(int64_t value_dim) { return (value_dim + 15) / 16 * 16; }

// Where element d of a key, or column c of a value, of one position lies within a head's part.
int64_t KeyPlace(Type type, int64_t position, int64_t d) {
  return type == Type::kInt8 ? (d / 4 * kBlock + position) * 4 + d % 4 : d * kBlock + position;
}
int64_t ValuePlace(Type type, int64_t columns, int64_t position, int64_t c) {
  return type == Type::kInt8 ? (position / 4 * columns + c) * 4 + position % 4
                             : position * columns + c;
}

template <class T>
void WriteKey(const CacheWriteArgs& args, int64_t head) {
  const int64_t bytes = CacheKeyBytes(args.key_type, args.head_dim);
  T* out = reinterpret_cast<T*>(static_cast<char*>(args.keys) + head * bytes);
  const T* key = static_cast<const T*>(args.key) + head * args.head_dim;
  for (int64_t d = 0; d < args.head_dim; ++d) {
    out[KeyPlace(args.key_type, args.position, d)] = key[d];
  }
}

template <class T>
void WriteValue(const CacheWriteArgs& args, int64_t head) {
  const int64_t bytes = CacheValueBytes(args.value_type, args.value_dim);
  T* out = reinterpret_cast<T*>(static_cast<char*>(args.values) + head * bytes);
  const T* value = static_cast<const T*>(args.value) + head * args.value_dim;
  for (int64_t c = 0; c < args.value_dim; ++c) {
    out[ValuePlace(args.value_type, ValueColumns(args.value_dim), args.position, c)] = value[c];
  }
}

// One row and head: where it finds position p.
struct Reader {
  const CachedAttentionArgs& args;
  int64_t row, head;

  int64_t Slot(int64_t position) const {
    if (args.owners == nullptr) return 0;
    const uint16_t* owners =
        args.owners + row * args.owners_stride + position / kBlock * args.slots;
    int64_t slot = 0;
    while ((owners[slot] >> position % kBlock & 1) == 0) ++slot;
    return slot;
  }
  const char* Part(int64_t offset, int64_t bytes, int64_t position) const {
    return args.blocks[position / kBlock] + offset + (Slot(position) * args.heads + head) * bytes;
  }
  template <class T>
  T Query(int64_t d) const {
    const char* start = static_cast<const char*>(args.query) + row * args.query_stride;
    return reinterpret_cast<const T*>(start)[head * args.head_dim + d];
  }
  template <class T>
  T Key(int64_t position, int64_t d) const {
    const char* part =
        Part(args.keys_offset, CacheKeyBytes(args.key_type, args.head_dim), position);
    return reinterpret_cast<const T*>(part)[KeyPlace(args.key_type, position % kBlock, d)];
  }
  template <class T>
  T Value(int64_t position, int64_t c) const {
    const char* part =
        Part(args.values_offset, CacheValueBytes(args.value_type, args.value_dim), position);
    return reinterpret_cast<const T*>(
        part)[ValuePlace(args.value_type, ValueColumns(args.value_dim), position % kBlock, c)];
  }

  float Score(int64_t position) const {
    if (args.key_type == Type::kInt8) {
      int32_t dot = 0;
      for (int32_t d = 0; d < args.head_dim; ++d) {
        dot += int32_t{Query<int8_t>(d)} * Key<int8_t>(position, d);
      }
      return static_cast<float>(dot) * args.scale;
    }
    float dot = 0.0f;
    for (int32_t d = 0; d < args.head_dim; ++d)
      dot = dot + Key<float>(position, d) * Query<float>(d);
    return dot * args.scale;
  }
};

// The exponential of each position, as args.integer_softmax says; their sum to *total.
std::vector<float> Powers(const Reader& reader, float* total) {
  std::vector<float> powers(reader.args.length);
  float maximum = -std::numeric_limits<float>::infinity();
  for (int64_t j = 0; j < reader.args.length; ++j) {
    powers[j] = reader.Score(j);
    maximum = std::max(maximum, powers[j]);
  }
  SoftmaxPowers sum(reader.args.integer_softmax, maximum);
  for (int64_t j = 0; j < reader.args.length; ++j) {
    powers[j] = sum.Of(powers[j]);
    sum.Add(j, powers[j]);
  }
  *total = sum.Total();
  return powers;
}

float ContextOf(const Reader& reader, const std::vector<float>& powers, float total, int64_t c) {
  if (reader.args.value_type == Type::kInt8) {
    int32_t acc = 0;
    for (int64_t j = 0; j < reader.args.length; ++j) {
      const float p = Clamp(std::rint(powers[j] * ProbabilityFactor(total)), 0.0f, 255.0f);
      acc += static_cast<int32_t>(p) * reader.Value<int8_t>(j, c);
    }
    return static_cast<float>(acc);
  }
  float acc = 0.0f;
  for (int64_t j = 0; j < reader.args.length; ++j) {
    acc = acc + powers[j] * (1.0f / total) * reader.Value<float>(j, c);
  }
  return acc;
}

}  // namespace

void ReferenceCacheWrite(const CacheWriteArgs& args) {
  for (int64_t h = 0; h < args.heads; ++h) {
    args.key_type == Type::kInt8 ? WriteKey<int8_t>(args, h) : WriteKey<float>(args, h);
    args.value_type == Type::kInt8 ? WriteValue<int8_t>(args, h) : WriteValue<float>(args, h);
  }
}

void ReferenceCachedAttention(const CachedAttentionArgs& args) {
  for (int64_t r = 0; r < args.rows; ++r) {
    void* out = static_cast<char*>(args.context) + r * args.context_stride;
    for (int64_t h = 0; h < args.heads; ++h) {
      const Reader reader = {args, r, h};
      float total = 0.0f;
      const std::vector<float> powers = Powers(reader, &total);
      for (int64_t c = 0; c < args.value_dim; ++c) {
        const float y = ContextOf(reader, powers, total, c) * args.output.scale;
        const int64_t place = h * args.value_dim + c;
        if (args.output.type == Type::kFloat32) {
          static_cast<float*>(out)[place] = y;
        } else {
          StoreRounded(y, args.output, out, place);
        }
      }
    }
  }
}

}  // namespace keras_int8nmt
