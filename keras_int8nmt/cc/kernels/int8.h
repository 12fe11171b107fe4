// The contract of the kernels: what each function computes, with shapes and rounding.
//
// Plain pointers, no framework. All matrices are row-major and dense unless a stride is given; no
// alignment is required and no byte outside the stated shapes is read or written. Every function
// gives the same bits on every instruction set: float steps are rounded one by one (no fused
// multiply-add), and sums of floats run as 16 partial sums by index mod 16, then one fixed tree.
// Callers check shapes and indices; the kernels trust them.
#ifndef KERAS_INT8NMT_KERNELS_INT8_H_
#define KERAS_INT8NMT_KERNELS_INT8_H_

#include <cstddef>
#include <cstdint>

namespace keras_int8nmt {

// Columns of a row of logits whose exponentials are summed together; see Kernels::top_k.
constexpr int64_t kLogSumChunk = 512;

// A row whose largest magnitude is at most this has no scale of its own: 127 / maximum, or the
// inverse of that, would be no normal float32.
constexpr float kLeastRowMaximum = 1.5e-36f;

// The most products of bytes in one sum of 32 bits: 66,000 * 255 * 127 < 2^31.
constexpr int64_t kMaxDepth = 66000;

enum class Type : int32_t { kFloat32 = 0, kInt8 = 1, kUint8 = 2 };

inline int64_t TypeBytes(Type type) { return type == Type::kFloat32 ? 4 : 1; }

enum class Activation : int32_t { kNone = 0, kRelu = 1, kGelu = 2, kGeluTanh = 3, kSwish = 4 };

// How a float result is written: as it is (kFloat32), or as
// clip(rint(y * scale) + zero_point) to [-127, 127] (kInt8) or [0, 255] (kUint8).
struct Output {
  Type type = Type::kFloat32;
  float scale = 1.0f;
  int32_t zero_point = 0;
};

// What follows an integer matrix product: y = float(acc) * scales[n] + bias[n], activation, output.
// Where each row of the input has a scale of its own, y = (float(acc) * scales[n]) * row_scales[m]
// + bias[n].
struct Epilogue {
  const float* scales = nullptr;  // [n]
  const float* bias = nullptr;    // [n]
  Activation activation = Activation::kNone;
  Output output;
  const float* row_scales = nullptr;  // [m] or null
};

// Softmax: e = exp(score - the largest score), summed by sum16; or, with integer_softmax, the whole
// numbers of integer_math.h with their exact sum, of rint(score * kScoreUnit).
struct AttentionArgs {
  // Row r of `query` starts at query + r * query_stride bytes; head h at + h * head_dim within it.
  // Keys of batch b, position j: key + (b * keys + j) * key_stride + h * head_dim; values likewise.
  const int8_t* query = nullptr;
  const int8_t* key = nullptr;
  const int8_t* value = nullptr;
  int64_t query_stride = 0, key_stride = 0, value_stride = 0;
  int64_t batch = 0;           // key batches
  int64_t rows_per_batch = 0;  // query rows of a key batch; row t of batch b is row b * that + t
  int64_t keys = 0;            // S
  int32_t heads = 0, head_dim = 0, value_dim = 0;
  const int32_t* lengths = nullptr;  // [batch]: keys j >= lengths[b] are not allowed
  const uint8_t* mask = nullptr;     // optional; nonzero: allowed; [batch|1, rows|1, keys]
  int64_t mask_batch_stride = 0, mask_row_stride = 0;
  bool causal = false;  // then only keys j <= offset + t
  int64_t offset = 0;
  float scale = 1.0f;           // score = float(dot) * scale
  const float* bias = nullptr;  // optional: then + bias; finite; [batch|1, heads|1, rows|1, keys]
  int64_t bias_batch_stride = 0, bias_head_stride = 0, bias_row_stride = 0;
  bool integer_softmax = false;
  Output output;  // context = float(acc) * output.scale, then as Output says (float: not rounded)
  void* context = nullptr;  // [batch * rows_per_batch, heads * value_dim] of output.type
};

// Keys and values of one sentence as a search writes them: one position a step, `slots` hypotheses
// side by side, of which later ones continue some. Blocks of kCacheBlock positions, each
// [slots, heads, CacheKeyBytes or CacheValueBytes]:
//   int8 keys      [groups of 4 dimensions][position][4 bytes], in a form of the instruction set
//   int8 values    [groups of 4 positions][columns][4 bytes]
//   float32 keys   [dimension][position]
//   float32 values [position][columns]
// Dimensions are rounded up to whole groups of 4, columns to 16.
constexpr int64_t kCacheBlock = 16;

inline int64_t CacheBlocks(int64_t positions) {
  return (positions + kCacheBlock - 1) / kCacheBlock;
}

inline int64_t CacheKeyBytes(Type type, int64_t head_dim) {
  return (head_dim + 3) / 4 * 4 * kCacheBlock * TypeBytes(type);
}
inline int64_t CacheValueBytes(Type type, int64_t value_dim) {
  return (value_dim + 15) / 16 * 16 * kCacheBlock * TypeBytes(type);
}

// One position of one slot: rows [heads * head_dim] and [heads * value_dim], kInt8 or kFloat32.
struct CacheWriteArgs {
  const void* key = nullptr;
  const void* value = nullptr;
  Type key_type = Type::kInt8, value_type = Type::kInt8;
  int32_t heads = 0, head_dim = 0, value_dim = 0;
  int64_t position = 0;  // within the block
  void* keys = nullptr;  // of this block and slot
  void* values = nullptr;
};

// Attention of the hypotheses of one sentence to its cache.
struct CachedAttentionArgs {
  // Of key_type; row r starts at query + r * query_stride bytes, head h at element h * head_dim.
  const void* query = nullptr;
  int64_t query_stride = 0;
  int64_t rows = 0;
  // Block b's keys are at blocks[b] + keys_offset, its values at blocks[b] + values_offset.
  const char* const* blocks = nullptr;
  int64_t keys_offset = 0, values_offset = 0;
  // Blocks that the call after this one will read, to be fetched meanwhile; may be none.
  const char* const* next_blocks = nullptr;
  int64_t next_count = 0;
  Type key_type = Type::kInt8, value_type = Type::kInt8;
  int64_t slots = 1;
  // Bit p of owners[r * owners_stride + b * slots + s]: at position p of block b, row r continues
  // slot s. Null: there is one slot.
  const uint16_t* owners = nullptr;
  int64_t owners_stride = 0;
  int64_t length = 0;  // positions, at least 1
  int32_t heads = 0, head_dim = 0, value_dim = 0;
  float scale = 1.0f;  // score = dot * scale; an int8 dot is float(sum of products)
  bool integer_softmax = false;
  // int8 values: probabilities are rint(e * ProbabilityFactor(sum of e)), context = float(acc) *
  // output.scale.
  // float32 values: they are e * (1 / sum of e), and the context, summed by position, is multiplied
  // likewise. Then as Output says (float: not rounded).
  Output output;
  void* context = nullptr;  // row r at context + r * context_stride bytes
  int64_t context_stride = 0;
};

// Columns of a panel of weights of a float product.
constexpr int64_t kFloatPanel = 64;

// The columns of panels [first_panel, last_panel) of a product of float32 matrices.
struct FloatProductArgs {
  const float* a = nullptr;  // [m, k]
  int64_t m = 0, k = 0, n = 0;
  const float* panels = nullptr;  // [panel][k][kFloatPanel]; columns from n on are zero
  const float* bias = nullptr;    // [n]
  bool relu = false;
  float* out = nullptr;  // [m, n]
  int64_t first_panel = 0, last_panel = 0;
};

// One table of functions for an instruction set.
struct Kernels {
  const char* isa;

  // q[i] = clip(rint(x[i] * scale) + zero_point).
  void (*quantize)(const float* x, size_t n, const Output& output, void* q);
  // Codes of rows [rows, columns] that have a scale each: q = clip(rint(x * scale)) to [-127, 127],
  // scale = 127 / max |x| of the row, or 1 where that maximum is at most kLeastRowMaximum. inverses
  // [rows] gets 1 / scale, or NaN for a row with a NaN or an infinity, whose codes are those of
  // scale 1.
  void (*quantize_rows)(const float* x, int64_t rows, int64_t columns, int8_t* q, float* inverses);
  // x[i] = float(q[i] - zero_point) * inv_scale; `type` is kInt8 or kUint8.
  void (*dequantize)(const void* q, Type type, size_t n, float inv_scale, int32_t zero_point,
                     float* x);
  // s = x (+ residual if not null); y = LayerNorm(s); `carry` gets y, or s if carry_sum;
  // `out` gets y as `output` says. Either of carry and out may be null. [rows, columns].
  void (*layer_norm)(const float* x, const float* residual, const float* gamma, const float* beta,
                     int64_t rows, int64_t columns, float epsilon, bool carry_sum, float* carry,
                     const Output& output, void* out);
  // The same, normalized in whole numbers (integer_math.h): n = rint(s * kNormUnit), cut off at
  // kNormMost; the deviations from the mean of n are multiplied by one factor, y = float(that) *
  // kNormStep * gamma + beta. `epsilon` is at most kNormMostEpsilon.
  void (*integer_layer_norm)(const float* x, const float* residual, const float* gamma,
                             const float* beta, int64_t rows, int64_t columns, float epsilon,
                             bool carry_sum, float* carry, const Output& output, void* out);
  void (*attention)(const AttentionArgs& args);
  void (*cache_write)(const CacheWriteArgs& args);
  void (*cached_attention)(const CachedAttentionArgs& args);
  // out[i] = (float(table[indices[i]][c]) * inv_scales[indices[i]]) * multiplier.
  void (*embedding)(const int8_t* table, int64_t columns, const float* inv_scales,
                    const int32_t* indices, int64_t count, float multiplier, float* out);
  // The k best logits of each row, descending, ties to the lower id, and the row's log-sum-exp; the
  // log-probability of a token is its logit minus that. `forbidden` (or -1) is never returned but
  // counts in the sum. Returns false if a logit is NaN or the largest one is infinite.
  // The sum: each chunk of kLogSumChunk columns has its maximum m and the sum16 s of exp(x - m);
  // with M the largest m, log_sum = M + float(log(the sum over chunks, in order and in double, of
  // s * exp(m - M))).
  bool (*top_k)(const float* logits, int64_t rows, int64_t columns, int32_t k, int32_t forbidden,
                float* best, int32_t* ids, float* log_sums);
  // The last step of that log_sum: from the chunks' maxima and sums. False if it is not finite.
  bool (*log_sum)(const float* maxima, const float* sums, int64_t chunks, float* log_sum);
  // acc [rows, n] int32, from a GEMM that has no epilogue of its own -> out [rows, n].
  void (*epilogue)(const int32_t* acc, int64_t rows, int64_t n, const Epilogue& epilogue,
                   void* out);
  // y [rows, n] float after scales and bias -> activation and output, for a GEMM that stops there.
  void (*finish)(const float* y, int64_t rows, int64_t n, Activation activation,
                 const Output& output, void* out);
  // y [rows, n] float after scales -> y * row_scales[m] + bias[n], then activation and output, for
  // a GEMM that knows no scales of rows. `out` may be y where it is kFloat32.
  void (*finish_rows)(const float* y, int64_t rows, int64_t n, const Epilogue& epilogue, void* out);
  // out[r, c] = the sum of a[r, i] * weights[i, c], from 0 and in the order of i, + bias[c]; then
  // ReLU, if wanted.
  void (*float_product)(const FloatProductArgs& args);
};

// The table in force: the best set that this CPU has and the library was built with, or what
// KERAS_INT8NMT_ISA names (a row of instruction_sets.def). Throws std::runtime_error that names the
// choices when that is unknown or absent here.
const Kernels& ActiveKernels();
// By name, or null when unknown or not for this CPU. "reference" is the plain loops.
const Kernels* KernelsFor(const char* isa);

// Rows copied whole: out[i] = x[indices[i]], each row_bytes long. outer batches each with
// their own indices: x [outer, source_rows], indices [outer, count]. Bytes only, so one code for
// all.
void GatherRows(const void* x, int64_t outer, int64_t source_rows, const int32_t* indices,
                int64_t count, size_t row_bytes, void* out);

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_INT8_H_
