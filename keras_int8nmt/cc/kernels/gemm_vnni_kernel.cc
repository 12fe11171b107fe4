// The loops of the VNNI product; compiled with the flags of kernels_avx512_vnni.cc.
//
// A tile is up to 6 rows by 64 columns: 24 sums in registers, 4 registers of weights, one input
// broadcast at a time. vpdpbusd has a latency of 4 cycles and issues at most twice a cycle, so 24
// independent sums keep it busy, and a group of 4 rows of W is loaded once for 6 rows of inputs.
#include <type_traits>

#include "gemm_vnni.h"

// The headers below hold every kernel; few of them are used here.
#pragma GCC diagnostic ignored "-Wunused-function"

#ifndef __AVX512VNNI__
#error "The flags of this instruction set are missing."
#endif

#include "kernels_elementwise.h"
#include "kernels_top_k.h"
#include "simd.h"

// Loops over registers: GCC leaves some of them rolled, and the registers in memory.
#define UNROLL _Pragma("GCC unroll 8")

namespace keras_int8nmt {
namespace vnni {
namespace {

constexpr int kTileRows = 6;
constexpr int kVectors = kPanel / kLanes;
constexpr int64_t kLine = 64;
// Panels are read once, in order. At few rows the CPU's own prefetcher does not keep up with them.
constexpr int64_t kAhead = 4096;

// Where the tile's weights are, and the lines to fetch meanwhile: `lines` of them per group.
struct Panel {
  const int8_t* weights;
  const int8_t* fetch;
  int64_t fetch_step;  // bytes per group
};

template <int kRows>
struct Tile {
  __m512i sum[kRows][kVectors];
};

template <int kRows>
INLINE void Sums(const uint8_t* a, int64_t a_stride, int64_t groups, const Panel& panel,
                 const int32_t* starts, Tile<kRows>* tile) {
  // Local, so that the compiler keeps them in registers.
  __m512i sum[kRows][kVectors];
  UNROLL
  for (int r = 0; r < kRows; ++r) {
    UNROLL
    for (int v = 0; v < kVectors; ++v) {
      sum[r][v] =
          starts == nullptr ? _mm512_setzero_si512() : _mm512_loadu_si512(starts + v * kLanes);
    }
  }
  const int8_t* weights = panel.weights;
  const int8_t* fetch = panel.fetch;
  for (int64_t g = 0; g < groups; ++g) {
    __m512i w[kVectors];
    UNROLL
    for (int v = 0; v < kVectors; ++v) w[v] = _mm512_loadu_si512(weights + v * kLine);
    _mm_prefetch(fetch, _MM_HINT_T1);
    _mm_prefetch(fetch + panel.fetch_step / 2, _MM_HINT_T1);
    fetch += panel.fetch_step;
    UNROLL
    for (int r = 0; r < kRows; ++r) {
      int32_t word;
      __builtin_memcpy(&word, a + r * a_stride, 4);
      const __m512i x = _mm512_set1_epi32(word);
      UNROLL
      for (int v = 0; v < kVectors; ++v) sum[r][v] = _mm512_dpbusd_epi32(sum[r][v], x, w[v]);
    }
    a += 4;
    weights += kVectors * kLine;
  }
  UNROLL
  for (int r = 0; r < kRows; ++r) {
    UNROLL
    for (int v = 0; v < kVectors; ++v) tile->sum[r][v] = sum[r][v];
  }
}

// writer(row, column, values, lanes) for the `columns` (1 to 64) real ones of the tile.
template <int kRows, class Write>
INLINE void ForTile(const Tile<kRows>& tile, const float* scales, const float* bias,
                    int64_t columns, Write write) {
  const auto vector = [&](int v, auto lanes) {
    const Floats scale = Load(scales + v * kLanes, lanes);
    const Floats shift = Load(bias + v * kLanes, lanes);
    for (int r = 0; r < kRows; ++r) {
      write(r, v * kLanes, ToFloats(Ints{tile.sum[r][v]}) * scale + shift, lanes);
    }
  };
  if (columns == kPanel) {
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

// f(rows, first row) with compile-time row counts, for blocks of nearly equal size.
template <class F>
INLINE void ForRowBlocks(int64_t m, F f) {
  const int64_t blocks = (m + kTileRows - 1) / kTileRows;
  int64_t row = 0;
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t rows = (m - row + blocks - b - 1) / (blocks - b);
    switch (rows) {
      case 1:
        f(std::integral_constant<int, 1>(), row, b, blocks);
        break;
      case 2:
        f(std::integral_constant<int, 2>(), row, b, blocks);
        break;
      case 3:
        f(std::integral_constant<int, 3>(), row, b, blocks);
        break;
      case 4:
        f(std::integral_constant<int, 4>(), row, b, blocks);
        break;
      case 5:
        f(std::integral_constant<int, 5>(), row, b, blocks);
        break;
      default:
        f(std::integral_constant<int, 6>(), row, b, blocks);
    }
    row += rows;
  }
}

// The panel, and while block b of `blocks` is computed, that share of the panel after it.
INLINE Panel PanelAt(const Body& body, int64_t panel, int64_t last, int64_t b, int64_t blocks) {
  const int64_t bytes = body.panel_bytes();
  const int8_t* weights = body.panels + panel * bytes;
  if (blocks == 1) return {weights, weights + kAhead, 4 * kLine};
  if (panel + 1 == last) return {weights, weights, 0};
  if (blocks < 4) {
    if (b >= 2) return {weights, weights, 0};
    return {weights, weights + bytes + b * (bytes / 2), 2 * kLine};
  }
  if (b >= 4) return {weights, weights, 0};
  return {weights, weights + bytes + b * body.groups * kLine, kLine};
}

template <class Function, class Writer>
void MultiplyWith(const Product& p, const Epilogue& epilogue, Function function, Writer writer) {
  for (int64_t panel = p.first_panel; panel < p.last_panel; ++panel) {
    const int64_t column = panel * kPanel;
    const int64_t columns = p.n - column < kPanel ? p.n - column : kPanel;
    const int32_t* starts = p.shifted ? p.body.starts + column : nullptr;
    ForRowBlocks(p.m, [&](auto rows, int64_t row, int64_t b, int64_t blocks) {
      Tile<decltype(rows)::value> tile;
      Sums(p.a + row * p.a_stride, p.a_stride, p.body.groups,
           PanelAt(p.body, panel, p.last_panel, b, blocks), starts, &tile);
      ForTile(tile, epilogue.scales + column, epilogue.bias + column, columns,
              [&](int r, int64_t offset, Floats y, auto lanes) {
                writer((row + r) * p.n + column + offset, function.Apply(y), lanes);
              });
    });
  }
}

}  // namespace

void Multiply(const Product& product, const Epilogue& epilogue, void* out) {
  WithActivation(epilogue.activation, [&](auto function) {
    WithWriter(epilogue.output, out,
               [&](auto writer) { MultiplyWith(product, epilogue, function, writer); });
  });
}

namespace {

// The chunk's columns of up to kTileRows rows.
struct Logits {
  alignas(64) float rows[kTileRows][kLogSumChunk];
};

template <int kRows>
void ChunkLogits(const Product& p, const float* scales, const float* bias, int64_t first_panel,
                 int64_t last_panel, int64_t row, int64_t b, int64_t blocks, Logits* logits) {
  for (int64_t panel = first_panel; panel < last_panel; ++panel) {
    const int64_t column = panel * kPanel;
    const int64_t columns = p.n - column < kPanel ? p.n - column : kPanel;
    Tile<kRows> tile;
    // What is fetched ahead is the same panel of the next chunk.
    Panel at = PanelAt(p.body, panel, p.last_panel, b, blocks);
    if (blocks > 1 && at.fetch_step != 0) {
      const int64_t next = panel + kLogSumChunk / kPanel - 1;
      if (next + 1 >= p.last_panel) {
        at.fetch_step = 0;
      } else {
        at.fetch += (kLogSumChunk / kPanel - 1) * p.body.panel_bytes();
      }
    }
    Sums(p.a + row * p.a_stride, p.a_stride, p.body.groups, at,
         p.shifted ? p.body.starts + column : nullptr, &tile);
    float* out = &logits->rows[0][(panel - first_panel) * kPanel];
    ForTile(tile, scales + column, bias + column, columns,
            [&](int r, int64_t offset, Floats y, auto lanes) {
              Store(out + r * kLogSumChunk + offset, y, lanes);
            });
  }
}

}  // namespace

void TopK(const Product& p, const float* scales, const float* bias, const ProductTopK& result) {
  constexpr int64_t kChunkPanels = kLogSumChunk / kPanel;
  const int64_t chunks = (p.n + kLogSumChunk - 1) / kLogSumChunk;
  Logits logits;
  for (int64_t r = 0; r < p.m; ++r) result.counts[r] = 0, result.finite[r] = 1;
  for (int64_t panel = p.first_panel; panel < p.last_panel; panel += kChunkPanels) {
    const int64_t last = panel + kChunkPanels < p.last_panel ? panel + kChunkPanels : p.last_panel;
    const int64_t chunk = panel / kChunkPanels;
    const int64_t column = panel * kPanel;
    const int64_t columns = p.n - column < kLogSumChunk ? p.n - column : kLogSumChunk;
    const int64_t watched = result.watched - column;
    ForRowBlocks(p.m, [&](auto rows, int64_t row, int64_t b, int64_t blocks) {
      constexpr int kRows = decltype(rows)::value;
      ChunkLogits<kRows>(p, scales, bias, panel, last, row, b, blocks, &logits);
      for (int r = 0; r < kRows; ++r) {
        const int64_t i = row + r;
        const float* x = logits.rows[r];
        Best best(result.k, result.best + i * result.k, result.ids + i * result.k,
                  result.counts + i);
        if (!AddChunk(x, columns, column, result.forbidden, result.maxima + i * chunks + chunk,
                      result.sums + i * chunks + chunk, &best)) {
          result.finite[i] = 0;
        }
        if (watched >= 0 && watched < columns) result.watched_logits[i] = x[watched];
      }
    });
  }
}

}  // namespace vnni
}  // namespace keras_int8nmt
