// Packed weights: a valid blob of each back end, with bytes changed and headers sealed again. What
// is accepted is multiplied and unpacked.
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "fuzz_input.h"
#include "gemm/gemm.h"

namespace keras_int8nmt {
namespace {

constexpr size_t kHeader = 64, kCheckAt = 56;

void Seal(std::vector<char>* blob) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (size_t i = 0; i < kCheckAt; ++i) {
    hash = (hash ^ static_cast<unsigned char>((*blob)[i])) * 0x100000001b3u;
  }
  std::memcpy(blob->data() + kCheckAt, &hash, sizeof(hash));
}

void Change(FuzzInput* input, std::vector<char>* blob) {
  if (blob->size() < kHeader) return;
  switch (input->Below(4)) {
    case 0:
      (*blob)[input->Below(static_cast<int64_t>(blob->size()))] ^=
          static_cast<char>(1 << input->Below(8));
      break;
    case 1: {
      // Rows, columns, bytes of the body or its check.
      const int64_t number = input->Whole();
      std::memcpy(blob->data() + 24 + 8 * input->Below(4), &number, sizeof(number));
      break;
    }
    case 2:
      blob->resize(input->Below(static_cast<int64_t>(blob->size()) + 80));
      break;
    default: {
      const int64_t none = 0;
      std::memcpy(blob->data() + 48, &none, sizeof(none));
    }
  }
  if (blob->size() >= kHeader && input->Maybe()) Seal(blob);
}

void Use(const PackedInfo& packed, FuzzInput* input) {
  if (packed.k * packed.n > 1 << 16) return;
  const int64_t m = input->Below(4);
  std::vector<int8_t> a(m * packed.k), weights(packed.k * packed.n);
  input->Fill(a.data(), a.size());
  const std::vector<float> numbers(packed.n, 0.5f);
  std::vector<float> out(m * packed.n);
  GemmArgs args;
  args.a = a.data();
  args.a_type = input->Maybe() ? Type::kInt8 : Type::kUint8;
  args.m = m;
  args.weights = packed;
  args.epilogue.scales = numbers.data();
  args.epilogue.bias = numbers.data();
  args.out = out.data();
  packed.backend->multiply(args);
  packed.backend->unpack(packed.body, packed.k, packed.n, weights.data());
}

void RunOne(FuzzInput input) {
  const GemmBackend& backend = input.Maybe() ? ActiveGemm() : GemmFor("reference");
  const int64_t k = 1 + input.Below(70), n = 1 + input.Below(130);
  std::vector<int8_t> weights(k * n);
  input.Fill(weights.data(), weights.size());
  for (int8_t& w : weights) w = w == -128 ? 0 : w;
  std::vector<char> blob(PackedBytes(backend, k, n));
  Pack(backend, weights.data(), k, n, blob.data());
  for (int64_t times = input.Below(4); times > 0; --times) Change(&input, &blob);
  // Of its exact size, at any address.
  const size_t offset = static_cast<size_t>(input.Below(5));
  std::vector<char> memory(blob.size() + offset);
  if (!blob.empty()) std::memcpy(memory.data() + offset, blob.data(), blob.size());
  try {
    Use(ReadPacked(memory.data() + offset, blob.size()), &input);
  } catch (const std::invalid_argument&) {
  }
}

}  // namespace
}  // namespace keras_int8nmt

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  keras_int8nmt::RunOne({data, size});
  return 0;
}
