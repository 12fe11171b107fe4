#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <cstdint>
#include <cstring>

#include "int8.h"

namespace keras_int8nmt {
namespace {

constexpr size_t kLine = 64;
constexpr size_t kCacheBytes = size_t{16} << 20;  // more output than this is not kept in cache

// Rows this far ahead are fetched while one is copied: the indices jump, so the CPU cannot guess.
constexpr int64_t kRowsAhead = 8;     // rows of up to 128 bytes
constexpr size_t kAheadBytes = 2048;  // longer ones

// At most this much of a coming row; the CPU's own prefetcher goes on from there.
constexpr size_t kFetchBytes = 512;

// Rows of a size known to the compiler: the copy is a few moves, without a call.
template <size_t kBytes>
void GatherFixed(const char* x, const int32_t* indices, int64_t count, char* out) {
  for (int64_t i = 0; i < count; ++i) {
    if (i + kRowsAhead < count) __builtin_prefetch(x + indices[i + kRowsAhead] * kBytes);
    std::memcpy(out + i * kBytes, x + indices[i] * kBytes, kBytes);
  }
}

void CopyThrough(char* out, const char* x, size_t bytes) { std::memcpy(out, x, bytes); }

// Copies past the cache, for more than it holds: a line that is only written is not read first.
void CopyAround(char* out, const char* x, size_t bytes) {
#if defined(__SSE2__)
  if (reinterpret_cast<uintptr_t>(out) % 16 == 0) {
    size_t i = 0;
    for (; i + kLine <= bytes; i += kLine) {
      const __m128i* from = reinterpret_cast<const __m128i*>(x + i);
      __m128i* to = reinterpret_cast<__m128i*>(out + i);
      for (int part = 0; part < 4; ++part) {
        _mm_stream_si128(to + part, _mm_loadu_si128(from + part));
      }
    }
    out += i;
    x += i;
    bytes -= i;
  }
#endif
  std::memcpy(out, x, bytes);
}

template <void (*copy)(char* out, const char* x, size_t bytes)>
void GatherAny(const char* x, const int32_t* indices, int64_t count, size_t row_bytes, char* out) {
  const size_t fetch = row_bytes < kFetchBytes ? row_bytes : kFetchBytes;
  const int64_t ahead = 1 + static_cast<int64_t>(kAheadBytes / row_bytes);
  for (int64_t i = 0; i < count;) {
    // Neighbours that stay neighbours are one copy; a beam that keeps its order is all of them.
    int64_t run = 1;
    while (i + run < count && indices[i + run] == indices[i] + run) ++run;
    if (i + run + ahead <= count) {
      const char* next = x + indices[i + run + ahead - 1] * row_bytes;
      for (size_t byte = 0; byte < fetch; byte += kLine) __builtin_prefetch(next + byte);
    }
    copy(out + i * row_bytes, x + indices[i] * row_bytes, run * row_bytes);
    i += run;
  }
}

void GatherBatch(const char* x, const int32_t* indices, int64_t count, size_t row_bytes, bool keep,
                 char* out) {
  switch (row_bytes) {
    case 1:
      return GatherFixed<1>(x, indices, count, out);
    case 4:
      return GatherFixed<4>(x, indices, count, out);
    case 8:
      return GatherFixed<8>(x, indices, count, out);
    case 16:
      return GatherFixed<16>(x, indices, count, out);
    case 32:
      return GatherFixed<32>(x, indices, count, out);
    case 64:
      return GatherFixed<64>(x, indices, count, out);
    case 128:
      return GatherFixed<128>(x, indices, count, out);
    default:
      if (keep) return GatherAny<CopyThrough>(x, indices, count, row_bytes, out);
      return GatherAny<CopyAround>(x, indices, count, row_bytes, out);
  }
}

}  // namespace

void GatherRows(const void* x, int64_t outer, int64_t source_rows, const int32_t* indices,
                int64_t count, size_t row_bytes, void* out) {
  if (row_bytes == 0) return;
  const char* source = static_cast<const char*>(x);
  char* target = static_cast<char*>(out);
  const bool keep = outer * count * row_bytes < kCacheBytes;
  for (int64_t o = 0; o < outer; ++o) {
    GatherBatch(source, indices, count, row_bytes, keep, target);
    source += source_rows * row_bytes;
    indices += count;
    target += count * row_bytes;
  }
#if defined(__SSE2__)
  if (!keep) _mm_sfence();  // copies around the cache are in order for other threads
#endif
}

}  // namespace keras_int8nmt
