// The loops of a product over panels, for the header of an instruction set to come before: tiles of
// sums, and what becomes of them. How a tile is summed is the kernel's own, a type like this one:
//
//   struct Sums {
//     static constexpr int kTileRows;     // most rows of a tile, 1 to 6
//     static constexpr int64_t kColumns;  // of a panel
//     using Paired = ...;  // only of a kernel that pairs groups: of panels that have pairs
//     // Over all groups of a panel; starts is null where sums start from 0.
//     template <int kRows>
//     static void Add(const uint8_t* a, int64_t a_stride, const Body& body, const Panel& panel,
//                     const int32_t* starts, Tile<kRows, kColumns>* tile);
//   };
#ifndef KERAS_INT8NMT_KERNELS_GEMM_PANEL_KERNEL_H_
#define KERAS_INT8NMT_KERNELS_GEMM_PANEL_KERNEL_H_

#include "gemm/panels.h"
#include "gemm/tiles.h"

namespace keras_int8nmt {
namespace panels {
namespace {

// Where the tile's weights are, the panel's part of Body::orders, and what to fetch meanwhile: up
// to two lines a group.
struct Panel {
  const int8_t* weights;
  const char* order;
  const int8_t* fetch;
  int64_t fetch_step;  // bytes per group
};

template <int kRows, int64_t kColumns>
struct Tile {
  Ints sum[kRows][kColumns / kLanes];
};

// What becomes of a scaled sum in row `row` before the bias.
struct OneScale {
  INLINE Floats operator()(int64_t, Floats product) const { return product; }
};
struct RowScales {
  const float* scales;
  INLINE Floats operator()(int64_t row, Floats product) const { return product * Set(scales[row]); }
};

// write(row, column, values, lanes) for the `columns` real ones of the tile.
template <int kRows, int64_t kColumns, class Rows, class Write>
INLINE void ForTile(const Tile<kRows, kColumns>& tile, const float* scales, const float* bias,
                    int64_t columns, int64_t first_row, Rows rows, Write write) {
  constexpr int kVectors = kColumns / kLanes;
  const auto vector = [&](int v, auto lanes) {
    const Floats scale = Load(scales + v * kLanes, lanes);
    const Floats shift = Load(bias + v * kLanes, lanes);
    for (int r = 0; r < kRows; ++r) {
      const Floats product = ToFloats(tile.sum[r][v]) * scale;
      write(r, v * kLanes, rows(first_row + r, product) + shift, lanes);
    }
  };
  if (columns == kColumns) {
    for (int v = 0; v < kVectors; ++v) vector(v, Full());
    return;
  }
  for (int v = 0; v < kVectors; ++v) {
    const int64_t left = columns - v * kLanes;
    if (left >= kLanes) {
      vector(v, Full());
    } else if (left > 0) {
      vector(v, Part{static_cast<int>(left)});
    }
  }
}

// The panel, and what follows it: while the first four row blocks are computed, a quarter of it
// each.
INLINE Panel PanelAt(const Body& body, int64_t panel, int64_t last, int64_t b, int64_t blocks) {
  const int64_t group = body.group_bytes;
  const int64_t bytes = body.groups * group;
  const int8_t* weights = body.panels + panel * bytes;
  const char* order = body.OrderOf(panel);
  if (blocks == 1) return {weights, order, weights + kAhead, group};
  if (panel + 1 == last || b >= 4) return {weights, order, weights, 0};
  if (blocks < 4) {
    if (b >= 2) return {weights, order, weights, 0};
    return {weights, order, weights + bytes + b * (bytes / 2), group / 2};
  }
  return {weights, order, weights + bytes + b * (bytes / 4), group / 4};
}

// write(row, column, y, lanes) for the results of a panel after scales and bias.
template <class Sums, class Rows, class Write>
INLINE void ForPanel(const Product& p, int64_t panel, const Epilogue& epilogue, Rows row_scales,
                     Write write) {
  constexpr int64_t kColumns = Sums::kColumns;
  const int64_t column = panel * kColumns;
  const int64_t columns = p.n - column < kColumns ? p.n - column : kColumns;
  const int32_t* starts = p.shifted ? p.body.starts + column : nullptr;
  ForRowBlocks<Sums::kTileRows>(p.m, [&](auto rows, int64_t row, int64_t b, int64_t blocks) {
    Tile<decltype(rows)::value, kColumns> tile;
    Sums::template Add<decltype(rows)::value>(p.a + row * p.a_stride, p.a_stride, p.body,
                                              PanelAt(p.body, panel, p.last_panel, b, blocks),
                                              starts, &tile);
    ForTile(tile, epilogue.scales + column, epilogue.bias + column, columns, row, row_scales,
            [&](int r, int64_t offset, Floats y, auto lanes) {
              write(row + r, column + offset, y, lanes);
            });
  });
}

template <class Sums, class = void>
struct HasPaired : std::false_type {};
template <class Sums>
struct HasPaired<Sums, std::void_t<typename Sums::Paired>> : std::true_type {};

// The same for all results.
template <class Sums, class Rows, class Write>
INLINE void ForResults(const Product& p, const Epilogue& epilogue, Rows row_scales, Write write) {
  for (int64_t panel = p.first_panel; panel < p.last_panel; ++panel) {
    if constexpr (HasPaired<Sums>::value) {
      if (NumberAt(p.body.OrderOf(panel), 0) > 0) {
        ForPanel<typename Sums::Paired>(p, panel, epilogue, row_scales, write);
        continue;
      }
    }
    ForPanel<Sums>(p, panel, epilogue, row_scales, write);
  }
}

// What a ByteWriter writes at scale 1 and zero point 0, in half the operations: rounding whole
// bounds changes nothing, so it may come after the clamp, and then it is the conversion's own.
struct CodeWriter {
  uint8_t* out;
  float low, high;
  template <class Lanes>
  INLINE void operator()(int64_t i, Floats y, Lanes lanes) const {
    StoreBytes(out + i, RoundedInts(Clamp(y, low, high)), lanes);
  }
};

template <class Sums, class Rows, class Writer>
void MultiplyInto(const Product& p, const Epilogue& epilogue, Rows rows, Writer writer) {
  ForResults<Sums>(p, epilogue, rows, [&](int64_t row, int64_t column, Floats y, auto lanes) {
    writer(row * p.n + column, y, lanes);
  });
}

// Of rows with scales of their own: float32, since no scale of a result is known before it is.
template <class Sums>
bool MultiplyRows(const Product& product, const Epilogue& epilogue, void* out) {
  if (epilogue.output.type != Type::kFloat32) return false;
  const RowScales rows = {epilogue.row_scales};
  if (epilogue.activation == Activation::kNone) {
    MultiplyInto<Sums>(product, epilogue, rows, FloatWriter{static_cast<float*>(out)});
  } else if (epilogue.activation == Activation::kRelu) {
    MultiplyInto<Sums>(product, epilogue, rows, ReluWriter{static_cast<float*>(out)});
  } else {
    return false;
  }
  return true;
}

// See panels.h.
template <class Sums>
bool MultiplyBy(const Product& product, const Epilogue& epilogue, void* out) {
  if (epilogue.row_scales != nullptr) return MultiplyRows<Sums>(product, epilogue, out);
  const bool relu = epilogue.activation == Activation::kRelu;
  const Output& output = epilogue.output;
  if (output.type == Type::kFloat32 && epilogue.activation == Activation::kNone) {
    MultiplyInto<Sums>(product, epilogue, OneScale(), FloatWriter{static_cast<float*>(out)});
    return true;
  }
  const bool plain = output.scale == 1.0f && output.zero_point == 0;
  if (output.type == Type::kFloat32 || !plain ||
      (!relu && epilogue.activation != Activation::kNone)) {
    return false;
  }
  // ReLU is a clamp.
  const bool is_signed = output.type == Type::kInt8;
  MultiplyInto<Sums>(product, epilogue, OneScale(),
                     CodeWriter{static_cast<uint8_t*>(out), is_signed && !relu ? -127.0f : 0.0f,
                                is_signed ? 127.0f : 255.0f});
  return true;
}

template <class Sums, class Rows>
void TopKOf(const Product& p, const Epilogue& epilogue, Rows rows, const ProductTopK& result) {
  TopKOfPanels<Sums::kColumns>(p.m, p.n, p.first_panel, p.last_panel, result,
                               [&](int64_t first, int64_t last, auto write) {
                                 Product part = p;
                                 part.first_panel = first;
                                 part.last_panel = last;
                                 ForResults<Sums>(part, epilogue, rows, write);
                               });
}

template <class Sums>
void TopKBy(const Product& product, const Epilogue& epilogue, const ProductTopK& result) {
  if (epilogue.row_scales == nullptr) return TopKOf<Sums>(product, epilogue, OneScale(), result);
  TopKOf<Sums>(product, epilogue, RowScales{epilogue.row_scales}, result);
}

}  // namespace
}  // namespace panels
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_GEMM_PANEL_KERNEL_H_
