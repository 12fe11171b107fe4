// The oneDNN back end.
//
// Three ways, the first that a probe finds exact here is taken:
//   fused  scales, bias, ReLU and clipping inside oneDNN's kernel (CPUs with VNNI)
//   sums   int32 from oneDNN, the epilogue from our kernels
//   split  the same, inputs split in two, for CPUs whose u8 x s8 sums saturate (see SplitInput)
#include "gemm_onednn.h"

#include <algorithm>
#include <cstring>

#include "gemm_backends.h"

namespace keras_int8nmt {
namespace {

using onednn::DataType;
using onednn::Key;
using Tag = dnnl::memory::format_tag;

enum class Way { kFused, kSums, kSplit };

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
  onednn::ApplyThreads();
  dnnl::stream stream(onednn::Engine());
  dnnl::memory in(from, onednn::Engine(), const_cast<void*>(source));
  dnnl::memory out(to, onednn::Engine(), target);
  dnnl::reorder(in, out).execute(stream, in, out);
  stream.wait();
}

template <Way way>
size_t PackedSize(int64_t k, int64_t n) {
  return LayoutOf(k, n, way != Way::kSplit).bytes;
}

template <Way way>
void PackBody(const int8_t* weights, int64_t k, int64_t n, void* body) {
  const BodyLayout layout = LayoutOf(k, n, way != Way::kSplit);
  const dnnl::memory::desc plain({k, n}, DataType::s8, Tag::ab);
  if (way != Way::kSplit) Reorder(plain, weights, layout.s8, body);
  if (way == Way::kSplit || layout.u8_offset != 0) {
    Reorder(plain, weights, layout.u8, static_cast<char*>(body) + layout.u8_offset);
  }
}

template <Way way>
void UnpackBody(const void* body, int64_t k, int64_t n, int8_t* weights) {
  const BodyLayout layout = LayoutOf(k, n, way != Way::kSplit);
  Reorder(layout.u8, static_cast<const char*>(body) + layout.u8_offset,
          dnnl::memory::desc({k, n}, DataType::s8, Tag::ab), weights);
}

// The part of the body for this input type. The offset is 0 wherever the layouts are shared, and
// asking oneDNN is slow, so the last answer of a thread is kept.
template <Way way>
const void* BodyFor(Type a_type, const void* body, int64_t k, int64_t n) {
  if (way == Way::kSplit || a_type == Type::kInt8) return body;
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
};

// int32 sums of a piece, exact also where pairs saturate.
template <Way way>
const int32_t* Sums(const Piece& piece) {
  const size_t count = piece.rows * piece.n;
  int32_t* acc = Scratch<int32_t, 1>(count);
  Key key = {piece.rows,    piece.k, piece.n, ToOnednn(piece.a_type), DataType::s8,
             DataType::s32, false,   false,   piece.threads};
  if (way != Way::kSplit) {
    onednn::Execute(key, piece.a, piece.body, nullptr, nullptr, acc);
    return acc;
  }
  key.a = DataType::u8;
  const size_t inputs = piece.rows * piece.k;
  uint8_t* low = Scratch<uint8_t, 2>(2 * inputs);
  uint8_t* high = low + inputs;
  const int32_t factor = SplitInput(piece.a, piece.a_type, inputs, low, high);
  onednn::Execute(key, low, piece.body, nullptr, nullptr, acc);
  if (factor == 0) return acc;
  int32_t* acc_high = Scratch<int32_t, 3>(count);
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
  float* y = Scratch<float, 4>(piece.rows * piece.n);
  onednn::Execute(key, piece.a, piece.body, epilogue.scales, epilogue.bias, y);
  ActiveKernels().finish(y, piece.rows, piece.n, epilogue.activation, epilogue.output, out);
}

// oneDNN knows no scales of rows: it gives float results without a bias, and the rest is ours.
void FusedRows(const Piece& piece, const Epilogue& epilogue, void* out) {
  const Key key = {piece.rows,    piece.k, piece.n, ToOnednn(piece.a_type), DataType::s8,
                   DataType::f32, true,    false,   piece.threads};
  // Never written, so it stays zero.
  const float* zeros = Scratch<float, 8>(piece.n);
  const bool in_place = epilogue.output.type == Type::kFloat32;
  float* y = in_place ? static_cast<float*>(out) : Scratch<float, 4>(piece.rows * piece.n);
  onednn::Execute(key, piece.a, piece.body, epilogue.scales, zeros, y);
  ActiveKernels().finish_rows(y, piece.rows, piece.n, epilogue, out);
}

template <Way way>
void Multiply(const void* a, Type a_type, int64_t m, const void* body, int64_t k, int64_t n,
              const Epilogue& epilogue, void* out) {
  Piece piece = {
      nullptr, a_type, 0, BodyFor<way>(a_type, body, k, n), k, n, onednn::ApplyThreads()};
  const size_t out_stride = n * TypeSize(epilogue.output.type);
  for (int64_t row = 0; row < m; row += piece.rows) {
    piece.a = static_cast<const char*>(a) + row * k;
    piece.rows = onednn::NextPiece(m - row);
    char* piece_out = static_cast<char*>(out) + row * out_stride;
    const Epilogue part = EpilogueFrom(epilogue, row);
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
    const BodyLayout sample = LayoutOf(67, 83, way != Way::kSplit);
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

constexpr const char* kWayNames[] = {"fused", "sums", "split"};

template <Way way>
constexpr GemmBackend kOnednn = {"onednn",      kWayNames[static_cast<int>(way)],
                                 Layout<way>,   PackedSize<way>,
                                 PackBody<way>, UnpackBody<way>,
                                 Multiply<way>, nullptr,
                                 nullptr};

}  // namespace

const GemmBackend& OnednnGemm() {
  static const GemmBackend& chosen = []() -> const GemmBackend& {
    if (ProbeGemm(kOnednn<Way::kFused>)) return kOnednn<Way::kFused>;
    if (ProbeGemm(kOnednn<Way::kSums>)) return kOnednn<Way::kSums>;
    if (ProbeGemm(kOnednn<Way::kSplit>)) return kOnednn<Way::kSplit>;
    throw std::runtime_error("oneDNN's integer products are not exact on this CPU");
  }();
  return chosen;
}

}  // namespace keras_int8nmt
