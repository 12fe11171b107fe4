// The table of INT8 back ends, and the header of packed weights.
#include "gemm/gemm.h"

#include <array>
#include <atomic>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "gemm/backends.h"
#include "gemm/registry.h"

namespace keras_int8nmt {
namespace {

BackendTable<GemmBackend>& Table() {
  static BackendTable<GemmBackend> table("KERAS_INT8NMT_GEMM", {
#define GEMM_BACKEND(id, name, get, by_default) {id, name, get, by_default},
#include "gemm/backends.def"
#undef GEMM_BACKEND
                                                               });
  return table;
}

std::atomic<int> g_threads{1};

constexpr char kMagic[8] = {'k', 'i', '8', 'n', 'm', 't', 'W', '\n'};
constexpr uint32_t kVersion = 1;

struct Header {
  char magic[8];
  uint32_t version;
  int32_t backend;
  uint64_t layout;
  int64_t k, n;
  uint64_t body_bytes;
  uint64_t body_check;  // 0: of an earlier release, which had none
  uint64_t check;
};
static_assert(sizeof(Header) == 64, "the body starts at byte 64");

// FNV-1a of all bytes before the check.
uint64_t Check(const Header& header) {
  uint64_t hash = 0xcbf29ce484222325u;
  const auto* bytes = reinterpret_cast<const unsigned char*>(&header);
  for (size_t i = 0; i < offsetof(Header, check); ++i) {
    hash = (hash ^ bytes[i]) * 0x100000001b3u;
  }
  return hash;
}

constexpr uint64_t kPrime = 0x9e3779b97f4a7c15u;

uint64_t Mixed(uint64_t hash, uint64_t word) {
  hash = (hash ^ word) * kPrime;
  return hash ^ hash >> 32;
}

// Of a body, never 0: eight words side by side, since one after another would wait for each
// product.
uint64_t CheckBody(const void* body, size_t bytes) {
  constexpr size_t kLanes = 8;
  uint64_t lanes[kLanes];
  for (size_t i = 0; i < kLanes; ++i) lanes[i] = i + 1;
  const char* from = static_cast<const char*>(body);
  size_t left = bytes;
  for (; left >= sizeof(lanes); left -= sizeof(lanes), from += sizeof(lanes)) {
    uint64_t words[kLanes];
    std::memcpy(words, from, sizeof(words));
    for (size_t i = 0; i < kLanes; ++i) lanes[i] = Mixed(lanes[i], words[i]);
  }
  uint64_t words[kLanes] = {};
  if (left > 0) std::memcpy(words, from, left);
  uint64_t hash = bytes;
  for (size_t i = 0; i < kLanes; ++i) hash = Mixed(hash, Mixed(lanes[i], words[i]));
  return hash == 0 ? 1 : hash;
}

// A body of at most that many bytes is checked whenever its blob is read, so that damage at a place
// that was seen before is found, too.
constexpr size_t kSmallBody = 32 << 10;

// The last few blobs that this thread has found whole, by where they lie and what they say: to
// check one at every product would cost as much as the product. Each has several places, so that
// those of one model do not push each other out again and again.
class Known {
 public:
  bool Has(const void* blob, uint64_t check) const {
    const size_t first = Place(blob, check);
    for (size_t i = 0; i < kNear; ++i) {
      if (keys_[(first + i) % kPlaces] == Key{blob, check}) return true;
    }
    return false;
  }
  void Add(const void* blob, uint64_t check) {
    if (Has(blob, check)) return;
    const size_t first = Place(blob, check);
    size_t at = first + turn_++ % kNear;
    for (size_t i = 0; i < kNear; ++i) {
      if (keys_[(first + i) % kPlaces].first == nullptr) {
        at = first + i;
        break;
      }
    }
    keys_[at % kPlaces] = {blob, check};
  }

 private:
  using Key = std::pair<const void*, uint64_t>;
  static constexpr size_t kPlaces = 1024, kNear = 8;

  static size_t Place(const void* blob, uint64_t check) {
    return Mixed(check, reinterpret_cast<uintptr_t>(blob)) % kPlaces;
  }

  std::array<Key, kPlaces> keys_{};
  size_t turn_ = 0;
};

// No size of packed weights overflows below it.
constexpr int64_t kMostColumns = int64_t{1} << 31;

[[noreturn]] void Refuse(const std::string& why) {
  throw std::invalid_argument("packed weights: " + why);
}

// The back end of a row, where it can run here.
const GemmBackend& Usable(const BackendRow<GemmBackend>& row) {
  try {
    return GemmFor(row.name);
  } catch (const std::runtime_error& error) {
    Refuse("made by the back end '" + row.name + "': " + error.what());
  }
}

// Whether size and body are those of such weights; asked once of a large blob at one place.
void CheckWhole(const void* blob, const Header& header, const GemmBackend& backend) {
  thread_local Known known;
  const bool small = header.body_bytes <= kSmallBody && header.body_check != 0;
  // Without a check of the body nothing tells it from another one at the same place.
  const bool unsure = header.body_check == 0 && backend.is_sound != nullptr;
  const bool seen = known.Has(blob, header.check);
  if (seen && !small && !unsure) return;
  if (!seen && header.body_bytes != backend.packed_size(header.k, header.n)) {
    Refuse(std::to_string(header.body_bytes) + " bytes are not weights of " +
           std::to_string(header.k) + " rows and " + std::to_string(header.n) + " columns");
  }
  const void* body = static_cast<const char*>(blob) + sizeof(header);
  if (header.body_check != 0 && header.body_check != CheckBody(body, header.body_bytes)) {
    Refuse("damaged after they were packed");
  }
  if (backend.is_sound != nullptr && !backend.is_sound(body, header.k, header.n)) {
    Refuse("groups of rows that the weights have not");
  }
  known.Add(blob, header.check);
}

}  // namespace

const GemmBackend& GemmFor(const std::string& name) { return Table().Get(name); }

const GemmBackend& ActiveGemm() {
  static const GemmBackend& active = Table().Choose();
  return active;
}

bool GemmIsLeftToChoose() { return Table().Asked().empty(); }

void RegisterGemm(int32_t id, const char* name, const GemmBackend& (*get)()) {
  Table().Add({id, name, get, false});
}

void SetGemmThreads(int threads) { g_threads = threads < 1 ? 1 : threads; }
int GemmThreads() { return g_threads; }

size_t PackedBytes(const GemmBackend& backend, int64_t k, int64_t n) {
  return sizeof(Header) + backend.packed_size(k, n);
}

void Pack(const GemmBackend& backend, const int8_t* weights, int64_t k, int64_t n, void* blob) {
  Header header = {};
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  header.version = kVersion;
  const BackendRow<GemmBackend>* row = Table().Find(std::string(backend.name));
  if (row == nullptr) {
    throw std::invalid_argument("the back end '" + std::string(backend.name) + "' has no row");
  }
  header.backend = row->id;
  header.layout = backend.layout();
  header.k = k;
  header.n = n;
  header.body_bytes = backend.packed_size(k, n);
  void* body = static_cast<char*>(blob) + sizeof(header);
  // Padding must not be left to chance: equal weights give equal blobs.
  std::memset(body, 0, header.body_bytes);
  backend.pack(weights, k, n, body);
  header.body_check = CheckBody(body, header.body_bytes);
  header.check = Check(header);
  std::memcpy(blob, &header, sizeof(header));
}

PackedInfo ReadPacked(const void* blob, size_t bytes) {
  Header header;
  if (bytes < sizeof(header)) {
    Refuse("expected at least 64 bytes, got " + std::to_string(bytes));
  }
  std::memcpy(&header, blob, sizeof(header));
  if (std::memcmp(header.magic, kMagic, sizeof(kMagic)) != 0) Refuse("not made by PackWeights");
  if (header.version != kVersion) {
    Refuse("format version " + std::to_string(header.version) + ", expected " +
           std::to_string(kVersion));
  }
  if (header.check != Check(header) || header.k < 1 || header.n < 1 || header.k > kMaxDepth ||
      header.n > kMostColumns) {
    Refuse("damaged header");
  }
  if (bytes - sizeof(header) != header.body_bytes) {
    Refuse("expected " + std::to_string(header.body_bytes + sizeof(header)) + " bytes, got " +
           std::to_string(bytes));
  }
  const BackendRow<GemmBackend>* row = Table().Find(header.backend);
  if (row == nullptr) {
    Refuse("made by a back end that this library was built without (number " +
           std::to_string(header.backend) + "); pack the weights again");
  }
  const GemmBackend& backend = Usable(*row);
  if (header.layout != backend.layout()) {
    Refuse("made for another CPU or another version of the back end '" + std::string(backend.name) +
           "'; pack the weights again");
  }
  CheckWhole(blob, header, backend);
  PackedInfo info;
  info.k = header.k;
  info.n = header.n;
  info.backend = &backend;
  info.body = static_cast<const char*>(blob) + sizeof(header);
  return info;
}

}  // namespace keras_int8nmt
