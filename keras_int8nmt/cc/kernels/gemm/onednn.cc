// The oneDNN back end.
//
// Four ways, the first that a probe finds exact here is taken:
//   fused  scales, bias, ReLU and clipping inside oneDNN's kernel (CPUs with VNNI)
//   sums   int32 from oneDNN, the epilogue from our kernels
//   pairs  the same for CPUs whose u8 x s8 sums saturate in pairs: one product where the weights
//          are narrow (kNarrowWeight), else inputs are split in two (see SplitInput)
//   split  inputs are always split in two
#include "gemm/onednn.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "gemm/backends.h"

namespace keras_int8nmt {
namespace {

using onednn::DataType;
using onednn::Key;
using Tag = dnnl::memory::format_tag;

enum class Way { kFused, kSums, kPairs, kSplit };

constexpr bool Saturates(Way way) { return way == Way::kPairs || way == Way::kSplit; }

DataType ToOnednn(Type type) {
  return type == Type::kFloat32 ? DataType::f32 : type == Type::kInt8 ? DataType::s8 : DataType::u8;
}

size_t RoundUp64(size_t bytes) { return (bytes + 63) / 64 * 64; }

// The two layouts, for int8 inputs (with the sums that oneDNN needs for them) and uint8 inputs,
// are mostly one with the sums at the end. Then one copy serves both.
bool Shared(const dnnl::memory::desc& s8, const dnnl::memory::desc& u8) {
  return s8.get_inner_blks() == u8.get_inner_blks() && s8.get_inner_idxs() == u8.get_inner_idxs() &&
         s8.get_strides() == u8.get_strides() && s8.get_padded_dims() == u8.get_padded_dims();
}

struct BodyLayout {
  dnnl::memory::desc s8, u8;
  size_t u8_offset = 0, bytes = 0;
};

BodyLayout LayoutOf(int64_t k, int64_t n, bool with_s8) {
  BodyLayout layout;
  layout.u8 = onednn::PackedDesc(k, n, DataType::u8, DataType::s8);
  layout.bytes = layout.u8.get_size();
  if (!with_s8) return layout;
  layout.s8 = onednn::PackedDesc(k, n, DataType::s8, DataType::s8);
  if (Shared(layout.s8, layout.u8)) {
    layout.bytes = std::max(layout.bytes, layout.s8.get_size());
  } else {
    layout.u8_offset = RoundUp64(layout.s8.get_size());
    layout.bytes += layout.u8_offset;
  }
  return layout;
}

void Reorder(const dnnl::memory::desc& from, const void* source, const dnnl::memory::desc& to,
             void* target) {
  const onednn::Creating creating;
  onednn::ApplyThreads();
  dnnl::stream stream(onednn::Engine());
  dnnl::memory in(from, onednn::Engine(), const_cast<void*>(source));
  dnnl::memory out(to, onednn::Engine(), target);
  dnnl::reorder(in, out).execute(stream, in, out);
  stream.wait();
}

// What lies before oneDNN's part of a body of `pairs`: whether the weights are narrow, and what the
// sums of int8 inputs start from when those are made unsigned by adding 128. Words of 32 bits at
// any address: nobody promises how a blob is aligned.
class Front {
 public:
  explicit Front(const void* body) : bytes_(static_cast<const char*>(body)) {}
  bool narrow() const { return Word(0) != 0; }
  int32_t start(int64_t column) const { return Word(1 + column); }

 private:
  int32_t Word(int64_t i) const {
    int32_t word;
    std::memcpy(&word, bytes_ + i * sizeof(word), sizeof(word));
    return word;
  }

  const char* bytes_;
};

template <Way way>
size_t FrontBytes(int64_t n) {
  return way == Way::kPairs ? RoundUp64((1 + n) * sizeof(int32_t)) : 0;
}

void PackFront(const int8_t* weights, int64_t k, int64_t n, void* body) {
  std::vector<int32_t> words(1 + n);
  words[0] = 1;
  for (int64_t i = 0; i < k; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      const int32_t w = weights[i * n + j];
      words[1 + j] -= 128 * w;
      if (w < -kNarrowWeight || w > kNarrowWeight) words[0] = 0;
    }
  }
  std::memcpy(body, words.data(), words.size() * sizeof(int32_t));
}

template <Way way>
size_t PackedSize(int64_t k, int64_t n) {
  return FrontBytes<way>(n) + LayoutOf(k, n, !Saturates(way)).bytes;
}

template <Way way>
void PackBody(const int8_t* weights, int64_t k, int64_t n, void* body) {
  if (way == Way::kPairs) PackFront(weights, k, n, body);
  char* own = static_cast<char*>(body) + FrontBytes<way>(n);
  const BodyLayout layout = LayoutOf(k, n, !Saturates(way));
  const dnnl::memory::desc plain({k, n}, DataType::s8, Tag::ab);
  if (!Saturates(way)) Reorder(plain, weights, layout.s8, own);
  if (Saturates(way) || layout.u8_offset != 0) {
    Reorder(plain, weights, layout.u8, own + layout.u8_offset);
  }
}

template <Way way>
void UnpackBody(const void* body, int64_t k, int64_t n, int8_t* weights) {
  const BodyLayout layout = LayoutOf(k, n, !Saturates(way));
  Reorder(layout.u8, static_cast<const char*>(body) + FrontBytes<way>(n) + layout.u8_offset,
          dnnl::memory::desc({k, n}, DataType::s8, Tag::ab), weights);
}

// The part of the body for this input type. The offset is 0 wherever the layouts are shared, and
// asking oneDNN is slow, so the last answer of a thread is kept.
template <Way way>
const void* BodyFor(Type a_type, const void* body, int64_t k, int64_t n) {
  if (Saturates(way)) return static_cast<const char*>(body) + FrontBytes<way>(n);
  if (a_type == Type::kInt8) return body;
  static const bool always_shared = LayoutOf(64, 64, true).u8_offset == 0;
  if (always_shared) return body;
  thread_local int64_t last_k = 0, last_n = 0;
  thread_local size_t offset = 0;
  if (k != last_k || n != last_n) {
    offset = LayoutOf(k, n, true).u8_offset;
    last_k = k;
    last_n = n;
  }
  return static_cast<const char*>(body) + offset;
}

struct Piece {
  const void* a;
  Type a_type;
  int64_t rows;
  const void* body;
  int64_t k, n;
  int threads;
  Front front;  // of `pairs`
};

// Sums of narrow weights: one product, int8 inputs made unsigned by adding 128.
void NarrowSums(const Key& key, const Piece& piece, int32_t* acc) {
  if (piece.a_type == Type::kUint8) {
    onednn::Execute(key, piece.a, piece.body, nullptr, nullptr, acc);
    return;
  }
  const size_t inputs = piece.rows * piece.k;
  const auto* a = static_cast<const uint8_t*>(piece.a);
  uint8_t* shifted = ThreadBuffer<uint8_t, 2>(inputs);
  for (size_t i = 0; i < inputs; ++i) shifted[i] = a[i] ^ 128;
  onednn::Execute(key, shifted, piece.body, nullptr, nullptr, acc);
  for (int64_t i = 0; i < piece.rows; ++i) {
    for (int64_t j = 0; j < piece.n; ++j) acc[i * piece.n + j] += piece.front.start(j);
  }
}

// int32 sums of a piece, exact also where pairs saturate.
template <Way way>
const int32_t* Sums(const Piece& piece) {
  const size_t count = piece.rows * piece.n;
  int32_t* acc = ThreadBuffer<int32_t, 1>(count);
  Key key = {piece.rows,    piece.k, piece.n, ToOnednn(piece.a_type), DataType::s8,
             DataType::s32, false,   false,   piece.threads};
  if (!Saturates(way)) {
    onednn::Execute(key, piece.a, piece.body, nullptr, nullptr, acc);
    return acc;
  }
  key.a = DataType::u8;
  if (way == Way::kPairs && piece.front.narrow()) {
    NarrowSums(key, piece, acc);
    return acc;
  }
  const size_t inputs = piece.rows * piece.k;
  uint8_t* low = ThreadBuffer<uint8_t, 2>(2 * inputs);
  uint8_t* high = low + inputs;
  const int32_t factor = SplitInput(piece.a, piece.a_type, inputs, low, high);
  onednn::Execute(key, low, piece.body, nullptr, nullptr, acc);
  if (factor == 0) return acc;
  int32_t* acc_high = ThreadBuffer<int32_t, 3>(count);
  onednn::Execute(key, high, piece.body, nullptr, nullptr, acc_high);
  AddHigh(acc_high, factor, count, acc);
  return acc;
}

// Everything inside oneDNN when it knows the epilogue, else float results and our own finish.
void Fused(const Piece& piece, const Epilogue& epilogue, void* out) {
  const bool relu = epilogue.activation == Activation::kRelu;
  const bool whole = (relu || epilogue.activation == Activation::kNone) &&
                     (epilogue.output.type == Type::kFloat32 ||
                      (epilogue.output.scale == 1.0f && epilogue.output.zero_point == 0));
  Key key = {piece.rows,    piece.k, piece.n, ToOnednn(piece.a_type), DataType::s8,
             DataType::f32, true,    false,   piece.threads};
  if (whole) {
    key.c = ToOnednn(epilogue.output.type);
    key.relu = relu;
    onednn::Execute(key, piece.a, piece.body, epilogue.scales, epilogue.bias, out);
    return;
  }
  float* y = ThreadBuffer<float, 4>(piece.rows * piece.n);
  onednn::Execute(key, piece.a, piece.body, epilogue.scales, epilogue.bias, y);
  ActiveKernels().finish(y, piece.rows, piece.n, epilogue.activation, epilogue.output, out);
}

// oneDNN knows no scales of rows: it gives float results without a bias, and the rest is ours.
void FusedRows(const Piece& piece, const Epilogue& epilogue, void* out) {
  const Key key = {piece.rows,    piece.k, piece.n, ToOnednn(piece.a_type), DataType::s8,
                   DataType::f32, true,    false,   piece.threads};
  // Never written, so it stays zero.
  const float* zeros = ThreadBuffer<float, 8>(piece.n);
  const bool in_place = epilogue.output.type == Type::kFloat32;
  float* y = in_place ? static_cast<float*>(out) : ThreadBuffer<float, 4>(piece.rows * piece.n);
  onednn::Execute(key, piece.a, piece.body, epilogue.scales, zeros, y);
  ActiveKernels().finish_rows(y, piece.rows, piece.n, epilogue, out);
}

template <Way way>
void Multiply(const GemmArgs& args) {
  const int64_t k = args.weights.k, n = args.weights.n;
  const void* body = args.weights.body;
  Piece piece = {nullptr,
                 args.a_type,
                 0,
                 BodyFor<way>(args.a_type, body, k, n),
                 k,
                 n,
                 onednn::ApplyThreads(),
                 Front(body)};
  const size_t out_stride = n * TypeBytes(args.epilogue.output.type);
  for (int64_t row = 0; row < args.m; row += piece.rows) {
    piece.a = static_cast<const char*>(args.a) + row * k;
    piece.rows = onednn::NextPiece(args.m - row);
    char* piece_out = static_cast<char*>(args.out) + row * out_stride;
    const Epilogue part = EpilogueFrom(args.epilogue, row);
    if (way != Way::kFused) {
      ActiveKernels().epilogue(Sums<way>(piece), piece.rows, n, part, piece_out);
    } else if (part.row_scales != nullptr) {
      FusedRows(piece, part, piece_out);
    } else {
      Fused(piece, part, piece_out);
    }
  }
}

// The way, oneDNN's version, its instruction set and the blocks of a sample.
template <Way way>
uint64_t Layout() {
  static const uint64_t layout = [] {
    const BodyLayout sample = LayoutOf(67, 83, !Saturates(way));
    uint64_t hash = static_cast<uint64_t>(way);
    const auto add = [&hash](uint64_t part) { hash = (hash ^ part) * 0x100000001b3u; };
    add(dnnl_version()->major * 10000 + dnnl_version()->minor * 100 + dnnl_version()->patch);
    add(static_cast<uint64_t>(dnnl::get_effective_cpu_isa()));
    add(sample.bytes);
    for (dnnl::memory::dim part : sample.u8.get_strides()) add(part);
    for (dnnl::memory::dim part : sample.u8.get_inner_blks()) add(part);
    return hash;
  }();
  return layout;
}

constexpr const char* kWayNames[] = {"fused", "sums", "pairs", "split"};

template <Way way>
constexpr GemmBackend kOnednn = {"onednn",      kWayNames[static_cast<int>(way)],
                                 Layout<way>,   PackedSize<way>,
                                 PackBody<way>, UnpackBody<way>,
                                 Multiply<way>, false,
                                 nullptr,       way == Way::kPairs ? 7 : 8};

}  // namespace

const GemmBackend& OnednnGemm() {
  static const GemmBackend& chosen = []() -> const GemmBackend& {
    for (const GemmBackend* way : {&kOnednn<Way::kFused>, &kOnednn<Way::kSums>,
                                   &kOnednn<Way::kPairs>, &kOnednn<Way::kSplit>}) {
      if (ProbeGemm(*way)) return *way;
    }
    throw std::runtime_error("oneDNN's integer products are not exact on this CPU");
  }();
  return chosen;
}

}  // namespace keras_int8nmt
