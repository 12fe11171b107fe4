// Products by kernels of our own over panels of columns: what the back ends of this kind share.
//
// Weights lie in panels of some columns: [panel][group of rows of W][columns][a byte of each row of
// the group], rows and columns past the end are zero. A group is of 4 rows or, where instructions
// sum 8 products, of 8. Before the panels stands, for each column, what a sum starts from
// where inputs were shifted by 128 to be of the sign that the kernel's instructions want.
//
// A kernel whose instructions sum in 16 bits first has the groups of each panel in an order of
// their own, those first that may share such sums (group_pairs.h).
#ifndef KERAS_INT8NMT_KERNELS_GEMM_PANELS_H_
#define KERAS_INT8NMT_KERNELS_GEMM_PANELS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <vector>

#include "gemm/backends.h"
#include "gemm/group_pairs.h"

namespace keras_int8nmt {
namespace panels {

// Where the parts of a body lie.
struct Body {
  const int32_t* starts;  // [panels * columns]
  const int8_t* panels;
  int64_t groups;       // of rows of W
  int64_t group_bytes;  // of a group of a panel
  bool narrow;          // no weight is above kNarrow; false of a kernel that does not pair groups
  // [panels, 1 + groups], int32 at any address: how many pairs of groups come first in the panel,
  // and which group each of the panel's is (each its own, where there is no pair); null of a kernel
  // that does not pair groups.
  const char* orders;

  const char* OrderOf(int64_t panel) const {
    return orders == nullptr ? nullptr : orders + panel * (1 + groups) * sizeof(int32_t);
  }
};

// A number of an order.
inline int64_t NumberAt(const char* order, int64_t i) {
  int32_t number;
  std::memcpy(&number, order + i * sizeof(number), sizeof(number));
  return number;
}

// Weights up to it are narrow: a pair of products by unsigned inputs, 2 * 255 * 63, is one of 16
// bits.
constexpr int kNarrow = 63;

// One product, or the panels [first_panel, last_panel) of it.
struct Product {
  const uint8_t*
      a;  // bytes, [m, a_stride], of whole groups, zero after k; or the kernel's own rows
  int64_t a_stride;
  int64_t m;
  bool shifted;  // a is x + 128 where the kernel wants unsigned bytes, x - 128 where signed ones
  bool is_unsigned;  // what `a` is; for a kernel that takes both
  Body body;
  int64_t n;
  int64_t first_panel, last_panel;
};

// A kernel is a type like this one; its two functions are compiled for its instruction set.
//
//   struct Kernel {
//     static constexpr int64_t kColumns;      // of a panel, a multiple of 16 that divides
//                                             // kLogSumChunk
//     static constexpr bool kUnsignedInputs;  // which bytes it wants, if it does not take both
//     static constexpr bool kPairsGroups;     // whether Body::narrow and Body::orders are kept for
//                                             // it; with narrow weights it wants unsigned bytes
//     // Only of a kernel that lays out rows of inputs by itself where weights are not narrow:
//     bytes
//     // of one, and how; where `flip`, inputs are to be shifted by 128.
//     static int64_t InputBytes(int64_t k);
//     static void LayInputs(const uint8_t* a, bool flip, int64_t m, int64_t k, uint8_t* rows);
//     // out [m, n] of epilogue.output.type. False, and nothing done, for what the tiles do not
//     // write by themselves: activations but ReLU, codes with a scale or a zero point of their
//     // own; without scales of rows ReLU as float32, and with them codes.
//     static bool Multiply(const Product& product, const Epilogue& epilogue, void* out);
//     // The k best of each row of a product whose float32 results are not kept; first_panel and
//     // last_panel are at whole chunks of kLogSumChunk columns, or at the end.
//     static void TopK(const Product& product, const Epilogue& epilogue, const ProductTopK&
//     result);
//   };
//
template <class Kernel, class = void>
struct LaysInputs : std::false_type {};
template <class Kernel>
struct LaysInputs<Kernel, std::void_t<decltype(&Kernel::LayInputs)>> : std::true_type {};

// kDepth: rows of W in a group; kBothSigns: whether it takes inputs as they are, signed or not.
template <class Kernel, int64_t kDepth = 4, bool kBothSigns = false>
struct Host {
  static constexpr int64_t kColumns = Kernel::kColumns;
  static constexpr bool kPairsGroups = Kernel::kPairsGroups;
  // Of the body: one line, so that what follows stays aligned.
  static constexpr int64_t kFlagBytes = kPairsGroups ? 64 : 0;

  static bool WantsUnsigned(bool narrow) { return Kernel::kUnsignedInputs || narrow; }

  static int64_t Panels(int64_t n) { return (n + kColumns - 1) / kColumns; }
  static int64_t Groups(int64_t k) { return (k + kDepth - 1) / kDepth; }

  // Of the orders of all panels, in whole lines.
  static int64_t OrderBytes(int64_t k, int64_t n) {
    if (!kPairsGroups) return 0;
    return (Panels(n) * (1 + Groups(k)) * sizeof(int32_t) + 63) / 64 * 64;
  }

  static size_t PackedSize(int64_t k, int64_t n) {
    return kFlagBytes + OrderBytes(k, n) +
           Panels(n) * kColumns * (sizeof(int32_t) + Groups(k) * kDepth);
  }

  static Body BodyAt(const void* body, int64_t k, int64_t n) {
    const auto* start = static_cast<const char*>(body);
    Body parts;
    parts.narrow = kPairsGroups && *start != 0;
    parts.starts = reinterpret_cast<const int32_t*>(start + kFlagBytes);
    const char* const orders = start + kFlagBytes + Panels(n) * kColumns * sizeof(int32_t);
    parts.orders = kPairsGroups ? orders : nullptr;
    parts.panels = reinterpret_cast<const int8_t*>(orders) + OrderBytes(k, n);
    parts.groups = Groups(k);
    parts.group_bytes = kColumns * kDepth;
    return parts;
  }

  // Where W[i, j] lies among the panels.
  static int64_t PlaceOf(int64_t i, int64_t j, int64_t groups) {
    return ((j / kColumns) * groups + i / kDepth) * kColumns * kDepth + j % kColumns * kDepth +
           i % kDepth;
  }

  // Rows that are packed together: what they make of a panel is a page or less, and their lines
  // are found again by the panel after it.
  static constexpr int64_t kPackedRows = 64;

  // Four rows of a panel, each `columns` long, from their place in the group on; the sums of their
  // columns are added to `sums`.
  template <typename Columns>
  static void PackFour(const int8_t* w, int64_t n, Columns columns, int8_t* group, int32_t* sums) {
    const int8_t *w0 = w, *w1 = w + n, *w2 = w + 2 * n, *w3 = w + 3 * n;
    for (int64_t j = 0; j < columns; ++j) {
      group[j * kDepth] = w0[j];
      group[j * kDepth + 1] = w1[j];
      group[j * kDepth + 2] = w2[j];
      group[j * kDepth + 3] = w3[j];
      sums[j] += w0[j] + w1[j] + w2[j] + w3[j];
    }
  }

  static bool IsNarrow(const int8_t* weights, int64_t count) {
    int widest = 0;
    for (int64_t i = 0; i < count; ++i) widest = std::max(widest, std::abs(weights[i]));
    return widest <= kNarrow;
  }

  // `body` is zero.
  static void Pack(const int8_t* weights, int64_t k, int64_t n, void* body) {
    const bool narrow = kPairsGroups && IsNarrow(weights, k * n);
    if (narrow) *static_cast<char*>(body) = 1;
    auto* starts = reinterpret_cast<int32_t*>(static_cast<char*>(body) + kFlagBytes);
    auto* panels = reinterpret_cast<int8_t*>(starts + Panels(n) * kColumns) + OrderBytes(k, n);
    const int64_t whole = k / 4 * 4;
    for (int64_t row = 0; row < whole; row += kPackedRows) {
      const int64_t end = std::min(row + kPackedRows, whole);
      for (int64_t first = 0; first < n; first += kColumns) {
        const int64_t columns = std::min(n - first, kColumns);
        for (int64_t i = row; i < end; i += 4) {
          const int8_t* w = weights + i * n + first;
          int8_t* group = panels + PlaceOf(i, first, Groups(k));
          if (columns == kColumns) {
            PackFour(w, n, std::integral_constant<int64_t, kColumns>(), group, starts + first);
          } else {
            PackFour(w, n, columns, group, starts + first);
          }
        }
      }
    }
    for (int64_t i = whole; i < k; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        panels[PlaceOf(i, j, Groups(k))] = weights[i * n + j];
        starts[j] += weights[i * n + j];
      }
    }
    for (int64_t j = 0; j < n; ++j) starts[j] *= WantsUnsigned(narrow) ? -128 : 128;
    if (kPairsGroups) Pair(k, n, narrow, starts + Panels(n) * kColumns, panels);
  }

  // Puts the groups of each panel in their order.
  static void Pair(int64_t k, int64_t n, bool narrow, int32_t* orders, int8_t* panels) {
    const int64_t groups = Groups(k), bytes = kColumns * kDepth;
    const int64_t count = GroupLoads::Count(kColumns, narrow);
    const int limit = narrow ? GroupLoads::kNarrowLimit : GroupLoads::kWideLimit;
    std::vector<uint8_t> loads(groups * count);
    std::vector<int8_t> panel(groups * bytes);
    for (int64_t p = 0; p < Panels(n); ++p, panels += groups * bytes, orders += 1 + groups) {
      for (int64_t g = 0; g < groups; ++g) {
        GroupLoads::Find(panels + g * bytes, kColumns, narrow, loads.data() + g * count);
      }
      orders[0] = static_cast<int32_t>(PairGroups(loads.data(), groups, count, limit, orders + 1));
      std::copy(panels, panels + groups * bytes, panel.begin());
      for (int64_t g = 0; g < groups; ++g) {
        std::memcpy(panels + g * bytes, panel.data() + orders[1 + g] * bytes, bytes);
      }
    }
  }

  // Whether every panel's order has groups that there are.
  static bool OrdersAreSound(const void* body, int64_t k, int64_t n) {
    const Body parts = BodyAt(body, k, n);
    const auto within = [](int64_t x, int64_t end) { return x >= 0 && x < end; };
    for (int64_t panel = 0; panel < Panels(n); ++panel) {
      const char* order = parts.OrderOf(panel);
      if (!within(NumberAt(order, 0), parts.groups / 2 + 1)) return false;
      for (int64_t i = 1; i <= parts.groups; ++i) {
        if (!within(NumberAt(order, i), parts.groups)) return false;
      }
    }
    return true;
  }

  static void Unpack(const void* body, int64_t k, int64_t n, int8_t* weights) {
    const Body parts = BodyAt(body, k, n);
    for (int64_t first = 0; first < n; first += kColumns) {
      const int64_t end = std::min(n, first + kColumns);
      const char* order = parts.OrderOf(first / kColumns);
      for (int64_t place = 0; place < parts.groups; ++place) {
        const int64_t row = (kPairsGroups ? NumberAt(order, 1 + place) : place) * kDepth;
        for (int64_t i = 0; i < std::min(kDepth, k - row); ++i) {
          for (int64_t j = first; j < end; ++j) {
            weights[(row + i) * n + j] = parts.panels[PlaceOf(place * kDepth + i, j, parts.groups)];
          }
        }
      }
    }
  }

  static int64_t InputStride(int64_t k, bool narrow) {
    if constexpr (LaysInputs<Kernel>::value) {
      if (!narrow) return Kernel::InputBytes(k);
    }
    return Groups(k) * kDepth;
  }

  // The inputs as bytes of the kernel's sign, rows padded with zeros to whole groups: `a` itself or
  // a copy; or in the kernel's own layout.
  static const uint8_t* Inputs(const void* a, bool shifted, int64_t m, int64_t k, bool narrow) {
    const auto* bytes = static_cast<const uint8_t*>(a);
    const int64_t stride = InputStride(k, narrow);
    if constexpr (LaysInputs<Kernel>::value) {
      if (!narrow) {
        uint8_t* rows = ThreadBuffer<uint8_t, 5>(m * stride);
        Kernel::LayInputs(bytes, shifted, m, k, rows);
        return rows;
      }
    }
    if (!shifted && stride == k) return bytes;
    uint8_t* copy = ThreadBuffer<uint8_t, 5>(m * stride);
    const uint8_t flip = shifted ? 128 : 0;
    for (int64_t r = 0; r < m; ++r, bytes += k, copy += stride) {
      for (int64_t i = 0; i < k; ++i) copy[i] = bytes[i] ^ flip;
      for (int64_t i = k; i < stride; ++i) copy[i] = 0;
    }
    return copy - m * stride;
  }

  // Of many rows, so many at a time that their inputs stay in the second-level cache while all
  // panels pass; whole tiles of any kernel. Measured for kernels that lay out inputs, on a CPU with
  // half a megabyte; CPUs that have what the others need have a megabyte and more, and those
  // multiply faster, so that reading the panels once more would count more: no step of a search is
  // cut there.
  static constexpr int64_t kBlockBytes = (LaysInputs<Kernel>::value ? 192 : 512) << 10;
  static constexpr int64_t kTileRows = 12;
  static int64_t BlockRows(int64_t m, int64_t k) {
    const int64_t most = std::max(2 * kTileRows, kBlockBytes / InputStride(k, false));
    const int64_t blocks = std::max<int64_t>(1, (m + most - 1) / most);
    return ((m + blocks - 1) / blocks + kTileRows - 1) / kTileRows * kTileRows;
  }

  // The product, or a share of it whose panels come in groups of `unit`.
  static Product ShareOf(const GemmArgs& args, int64_t unit) {
    const int64_t k = args.weights.k, n = args.weights.n;
    Product product;
    product.body = BodyAt(args.weights.body, k, n);
    const bool narrow = product.body.narrow;
    const bool is_signed = args.a_type == Type::kInt8;
    product.shifted = !kBothSigns && is_signed == WantsUnsigned(narrow);
    product.is_unsigned = is_signed == product.shifted;
    product.a = Inputs(args.a, product.shifted, args.m, k, narrow);
    product.a_stride = InputStride(k, narrow);
    product.m = args.m;
    product.n = n;
    const int64_t units = (Panels(n) + unit - 1) / unit;
    const Share share = args.share;
    product.first_panel = units * share.index / share.count * unit;
    product.last_panel = std::min(units * (share.index + 1) / share.count * unit, Panels(n));
    return product;
  }

  // A share is of whole lines of results, so that no two threads write to one.
  static constexpr int64_t kUnit = std::max<int64_t>(1, 64 / kColumns);

  static void MultiplyShare(const GemmArgs& args) {
    const int64_t rows = BlockRows(args.m, args.weights.k);
    for (int64_t row = 0; row < args.m; row += rows) {
      MultiplyBlock(RowsOf(args, row, std::min(rows, args.m - row)));
    }
  }

  static void MultiplyBlock(const GemmArgs& args) {
    const Epilogue& epilogue = args.epilogue;
    const int64_t m = args.m, n = args.weights.n;
    const Product product = ShareOf(args, kUnit);
    if (Kernel::Multiply(product, epilogue, args.out)) return;
    // In two steps: float32, then activation and rounding of the columns that are ours.
    Epilogue plain = epilogue;
    plain.activation = Activation::kNone;
    plain.output = Output();
    float* y = ThreadBuffer<float, 6>(m * n);
    Kernel::Multiply(product, plain, y);
    const int64_t first = product.first_panel * kColumns;
    const int64_t columns = std::min(n, product.last_panel * kColumns) - first;
    const size_t element = TypeBytes(epilogue.output.type);
    for (int64_t r = 0; r < m && columns > 0; ++r) {
      ActiveKernels().finish(y + r * n + first, 1, columns, epilogue.activation, epilogue.output,
                             static_cast<char*>(args.out) + (r * n + first) * element);
    }
  }

  static void TopKShare(const GemmArgs& args, const ProductTopK& result) {
    Kernel::TopK(ShareOf(args, kLogSumChunk / kColumns), args.epilogue, result);
  }

  // `layout` is counted up when the layout above changes.
  static constexpr GemmBackend Backend(const char* name, const char* way, uint64_t (*layout)()) {
    return {name,
            way,
            layout,
            PackedSize,
            Pack,
            Unpack,
            MultiplyShare,
            true,
            TopKShare,
            8,
            kPairsGroups ? OrdersAreSound : nullptr};
  }
};

}  // namespace panels
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_GEMM_PANELS_H_
