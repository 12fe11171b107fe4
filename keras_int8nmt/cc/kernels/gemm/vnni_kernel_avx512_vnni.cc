// The loops of the VNNI product; compiled with the flags of simd/avx512_vnni.cc.
//
// A tile is up to 6 rows by 64 columns: 24 sums in registers, 4 registers of weights, one input
// broadcast at a time. vpdpbusd has a latency of 4 cycles and issues at most twice a cycle, so 24
// independent sums keep it busy, and a group of 4 rows of W is loaded once for 6 rows of inputs.
// All rows go over a panel before the next one, which is fetched meanwhile.
#include "gemm/vnni.h"

// The headers below hold every kernel; few of them are used here.
#pragma GCC diagnostic ignored "-Wunused-function"

#ifndef __AVX512VNNI__
#error "The flags of this instruction set are missing."
#endif

#include "simd/avx512_vnni.h"

namespace keras_int8nmt {
namespace {

INLINE Ints RoundedInts(Floats x) { return {_mm512_cvtps_epi32(x.v)}; }

}  // namespace
}  // namespace keras_int8nmt

#include "gemm/panel_kernel.h"

namespace keras_int8nmt {
namespace panels {
namespace {

struct VnniSums {
  static constexpr int kTileRows = 6;
  static constexpr int64_t kColumns = Vnni::kColumns;
  static constexpr int kVectors = kColumns / kLanes;

  template <int kRows>
  static INLINE void Add(const uint8_t* a, int64_t a_stride, const Body& body, const Panel& panel,
                         const int32_t* starts, Tile<kRows, kColumns>* tile) {
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
    // Three rows from one pointer: the address of one is base, base + stride or base + 2 * stride.
    constexpr int kBases = (kRows + 2) / 3;
    const uint8_t* bases[kBases];
    UNROLL
    for (int i = 0; i < kBases; ++i) bases[i] = a + 3 * i * a_stride;
    for (int64_t g = 0; g < body.groups; ++g) {
      __m512i w[kVectors];
      UNROLL
      for (int v = 0; v < kVectors; ++v) w[v] = _mm512_loadu_si512(weights + v * kLine);
      _mm_prefetch(fetch, _MM_HINT_T1);
      _mm_prefetch(fetch + panel.fetch_step / 2, _MM_HINT_T1);
      fetch += panel.fetch_step;
      UNROLL
      for (int r = 0; r < kRows; ++r) {
        int32_t word;
        __builtin_memcpy(&word, bases[r / 3] + r % 3 * a_stride, 4);
        const __m512i x = _mm512_set1_epi32(word);
        UNROLL
        for (int v = 0; v < kVectors; ++v) sum[r][v] = _mm512_dpbusd_epi32(sum[r][v], x, w[v]);
      }
      UNROLL
      for (const uint8_t*& base : bases) base += 4;
      weights += kVectors * kLine;
    }
    UNROLL
    for (int r = 0; r < kRows; ++r) {
      UNROLL
      for (int v = 0; v < kVectors; ++v) tile->sum[r][v] = Ints{sum[r][v]};
    }
  }
};

}  // namespace

bool Vnni::Multiply(const Product& product, const Epilogue& epilogue, void* out) {
  return MultiplyBy<VnniSums>(product, epilogue, out);
}

void Vnni::TopK(const Product& product, const Epilogue& epilogue, const ProductTopK& result) {
  TopKBy<VnniSums>(product, epilogue, result);
}

}  // namespace panels
}  // namespace keras_int8nmt
