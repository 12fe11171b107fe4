// INT8 matrix products: weights prepared once, multiplied often, the epilogue a value.
//
//   packed = pack(W int8 [k, n]);   C [m, n] = epilogue(A int8|uint8 [m, k] x W)
//
// Integer sums are exact: |sum| < 2^31 for k up to 66,000. A back end is one file and one row of
// backends.def. A packed blob belongs to the back end and the CPU that made it; its header says so;
// header and body are checked before use.
#ifndef KERAS_INT8NMT_KERNELS_GEMM_GEMM_H_
#define KERAS_INT8NMT_KERNELS_GEMM_GEMM_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "int8.h"

namespace keras_int8nmt {

// What is kept of the float32 results of a product: Kernels::top_k while they are made.
struct ProductTopK {
  int32_t k = 1;
  int32_t forbidden = -1, watched = 0;
  float* best = nullptr;            // [m, k] logits, as in Kernels::top_k
  int32_t* ids = nullptr;           // [m, k]
  int32_t* counts = nullptr;        // [m]: how many there are, k unless there are fewer columns
  float* watched_logits = nullptr;  // [m]: of the column `watched`, if it is among those multiplied
  float* maxima = nullptr;          // [m, chunks of all n columns]
  float* sums = nullptr;            // likewise; null: no sums of exponentials are wanted
  uint8_t* finite = nullptr;        // [m]: 0 where a logit is NaN
};

// Thread `index` of `count` that share one product does its part of the columns.
struct Share {
  int index = 0, count = 1;
};

struct GemmBackend;

// Weights [k, n] as a back end has packed them.
struct PackedInfo {
  int64_t k = 0, n = 0;
  const GemmBackend* backend = nullptr;
  const void* body = nullptr;
};

// One product: out [m, n] of epilogue.output.type = epilogue(a [m, k] x weights).
struct GemmArgs {
  const void* a = nullptr;
  Type a_type = Type::kInt8;  // or kUint8
  int64_t m = 0;
  PackedInfo weights;
  Epilogue epilogue;
  void* out = nullptr;
  Share share;  // heeded by a back end that `shares`
};

struct GemmBackend {
  const char* name;  // "vnni", "madd", "onednn", "mkl", "reference"
  const char* way;   // how it computes on this CPU, for people: "fused", "pairs", ...
  // Two blobs of one back end fit each other only if this is the same: CPU, library version, ...
  uint64_t (*layout)();
  // Bytes of the body (after the header) for weights of k rows and n columns.
  size_t (*packed_size)(int64_t k, int64_t n);
  void (*pack)(const int8_t* weights, int64_t k, int64_t n, void* body);
  void (*unpack)(const void* body, int64_t k, int64_t n, int8_t* weights);
  void (*multiply)(const GemmArgs& args);
  // Whether `multiply` does the share that it is asked for; if not, it does the whole product.
  bool shares;
  // A share of a product of which only the best columns of each row are kept; null for a back end
  // that has it not. Each share has a `best`, `ids`, `counts` and `finite` of its own, while
  // `maxima`, `sums` and `watched_logits` may be common. args.out is unused, and of args.epilogue
  // what comes before the activation counts.
  void (*top_k)(const GemmArgs& args, const ProductTopK& result);
  // Bits of the weights that conversion chooses for it: 7 where pairs of products saturate on this
  // CPU, so that wider weights take two products, which is exact, too.
  int32_t weight_bits;
  // Whether a body leads nowhere outside itself and the inputs, whoever made it: what checks of
  // damage can't tell. Null where any bytes are such a body.
  bool (*is_sound)(const void* body, int64_t k, int64_t n) = nullptr;
};

// The back end in force: KERAS_INT8NMT_GEMM (vnni, madd, onednn, mkl, reference); by default, and
// with "auto", the first of backends.def that this CPU and this build have; then choice.h may know
// a faster one for a shape. Throws std::runtime_error that names the choices for an unknown or
// absent one.
const GemmBackend& ActiveGemm();
// Whether the environment leaves the choice.
bool GemmIsLeftToChoose();
// By name; throws as above.
const GemmBackend& GemmFor(const std::string& name);
// One back end more, for a program that brings its own: chosen by name alone, and `id` is what its
// packed weights name it by. To be called before threads multiply. Throws std::invalid_argument
// where name or id is taken.
void RegisterGemm(int32_t id, const char* name, const GemmBackend& (*get)());

// Threads of one multiply; 1 unless set.
void SetGemmThreads(int threads);
int GemmThreads();

// The blob: a 64-byte header (magic, version, back end, CPU layout, k, n, body bytes, check of the
// body, check of the header) and the body, which starts 64 bytes after the blob's start. It may lie
// at any address. A large body is checked when a thread reads its blob for the first
// time at that place: at every multiplication it would cost as much as the multiplication.
size_t PackedBytes(const GemmBackend& backend, int64_t k, int64_t n);
void Pack(const GemmBackend& backend, const int8_t* weights, int64_t k, int64_t n, void* blob);
// Throws std::invalid_argument that says what is wrong with the blob (size, magic, back end, ...).
PackedInfo ReadPacked(const void* blob, size_t bytes);

// The most INT8 operations a second of one core, in 10^9, that a loop of multiply-adds alone
// reaches with the instruction set in force within that long; 0 of a set without such instructions.
double Int8PeakGops(double seconds);

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_GEMM_GEMM_H_
