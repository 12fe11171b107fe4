#include <cstring>

#include "int8.h"

namespace keras_int8nmt {
namespace {

// Rows this far ahead are fetched while one is copied: the indices jump, so the CPU cannot guess.
constexpr int64_t kRowsAhead = 8;
constexpr size_t kLine = 64;

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

void GatherAny(const char* x, const int32_t* indices, int64_t count, size_t row_bytes, char* out) {
  const size_t fetch = row_bytes < kFetchBytes ? row_bytes : kFetchBytes;
  for (int64_t i = 0; i < count;) {
    // Neighbours that stay neighbours are one copy; a beam that keeps its order is all of them.
    int64_t run = 1;
    while (i + run < count && indices[i + run] == indices[i] + run) ++run;
    if (i + run < count) {
      const char* next = x + indices[i + run] * row_bytes;
      for (size_t byte = 0; byte < fetch; byte += kLine) __builtin_prefetch(next + byte);
    }
    std::memcpy(out + i * row_bytes, x + indices[i] * row_bytes, run * row_bytes);
    i += run;
  }
}

void GatherBatch(const char* x, const int32_t* indices, int64_t count, size_t row_bytes,
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
      return GatherAny(x, indices, count, row_bytes, out);
  }
}

}  // namespace

void GatherRows(const void* x, int64_t outer, int64_t source_rows, const int32_t* indices,
                int64_t count, size_t row_bytes, void* out) {
  const char* source = static_cast<const char*>(x);
  char* target = static_cast<char*>(out);
  for (int64_t o = 0; o < outer; ++o) {
    GatherBatch(source, indices, count, row_bytes, target);
    source += source_rows * row_bytes;
    indices += count;
    target += count * row_bytes;
  }
}

}  // namespace keras_int8nmt
