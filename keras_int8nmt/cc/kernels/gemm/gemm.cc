// The table of INT8 back ends, and the header of packed weights.
#include "gemm/gemm.h"

#include <atomic>
#include <cstring>
#include <stdexcept>

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
  uint64_t reserved;
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

[[noreturn]] void Refuse(const std::string& why) {
  throw std::invalid_argument("packed weights: " + why);
}

}  // namespace

const GemmBackend& GemmFor(const std::string& name) { return Table().Get(name); }

const GemmBackend& ActiveGemm() {
  static const GemmBackend& active = Table().Choose();
  return active;
}

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
  header.check = Check(header);
  std::memcpy(blob, &header, sizeof(header));
  void* body = static_cast<char*>(blob) + sizeof(header);
  // Padding must not be left to chance: equal weights give equal blobs.
  std::memset(body, 0, header.body_bytes);
  backend.pack(weights, k, n, body);
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
  if (header.check != Check(header) || header.k < 1 || header.n < 1) {
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
  const GemmBackend& backend = GemmFor(row->name);
  if (header.layout != backend.layout()) {
    Refuse("made for another CPU or another version of the back end '" + std::string(backend.name) +
           "'; pack the weights again");
  }
  PackedInfo info;
  info.k = header.k;
  info.n = header.n;
  info.backend = &backend;
  info.body = static_cast<const char*>(blob) + sizeof(header);
  return info;
}

}  // namespace keras_int8nmt
