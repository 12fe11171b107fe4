// The C functions that are not the decoder's: what the library runs on, threads, and weights packed
// for this CPU.
#include <cstring>
#include <exception>
#include <string>

#include "errors.h"
#include "export.h"
#include "finite.h"
#include "gemm/choice.h"
#include "gemm/float_gemm.h"
#include "gemm/gemm.h"
#include "int8.h"
#include "json.h"
#include "shared_threads.h"
#include "sizes.h"

namespace keras_int8nmt {
namespace {

std::string Info() {
  try {
    // First: a wrong instruction set is no fault of the back end that would ask for it.
    const char* isa = ActiveKernels().isa;
    const GemmBackend& gemm = ActiveGemm();
    return "{\"isa\": " + JsonString(isa) + ", \"gemm\": " + JsonString(gemm.name) +
           ", \"gemm_way\": " + JsonString(gemm.way) +
           ", \"float_gemm\": " + JsonString(ActiveFloatGemm().name) +
           ", \"weight_bits\": " + std::to_string(gemm.weight_bits) + "}";
  } catch (const std::exception& error) {
    return "{\"error\": " + JsonString(error.what()) + "}";
  }
}

// Nor does that of floats below it, of both.
constexpr int64_t kMostFloats = int64_t{1} << 28;

}  // namespace
}  // namespace keras_int8nmt

// JSON: {"isa", "gemm", "gemm_way", "float_gemm", "weight_bits"}, or {"error": message} when the
// library cannot be used as the environment asks. The text stays valid until the thread's next
// call.
KERAS_INT8NMT_EXPORT const char* keras_int8nmt_info() {
  return keras_int8nmt::OrElse<const char*>("{\"error\": \"out of memory\"}", [] {
    thread_local std::string text;
    text = keras_int8nmt::Info();
    return text.c_str();
  });
}

// Threads of one op, at least 1. oneDNN has threads of its own: as many, and one until it is told.
KERAS_INT8NMT_EXPORT void keras_int8nmt_set_num_threads(int threads) {
  keras_int8nmt::SetGemmThreads(threads < 1 ? 1 : threads);
  keras_int8nmt::SetSharedThreads(threads);
}

KERAS_INT8NMT_EXPORT int keras_int8nmt_num_threads() { return keras_int8nmt::SharedThreadsCount(); }

// INT8 operations a second of one core, in 10^9; 0 where it is not known how to measure them.
KERAS_INT8NMT_EXPORT double keras_int8nmt_int8_peak(double seconds) {
  return keras_int8nmt::OrElse(0.0, [=] { return keras_int8nmt::Int8PeakGops(seconds); });
}

// ---- weights of products [k, n], packed for this CPU into memory of the caller, 64-byte aligned

// Bytes of the packed form; -1 for a size that cannot be, and keras_int8nmt_last_error tells.
KERAS_INT8NMT_EXPORT int64_t keras_int8nmt_packed_bytes(int64_t k, int64_t n) {
  return keras_int8nmt::OrElse<int64_t>(-1, [&] {
    keras_int8nmt::CheckInt8Size(k, n);
    return static_cast<int64_t>(keras_int8nmt::PackedBytes(keras_int8nmt::ChosenGemm(k, n), k, n));
  });
}

// Weights -127 to 127; true if it went well, and keras_int8nmt_last_error tells if not.
KERAS_INT8NMT_EXPORT bool keras_int8nmt_pack(const int8_t* weights, int64_t k, int64_t n,
                                             void* packed) {
  return keras_int8nmt::OrElse(false, [&] {
    keras_int8nmt::CheckInt8Size(k, n);
    // The library's search is many times as fast as a loop that may leave.
    if (const void* found = std::memchr(weights, 0x80, static_cast<size_t>(k * n))) {
      const int64_t i = static_cast<const int8_t*>(found) - weights;
      throw std::invalid_argument("weights has -128 at [" + std::to_string(i / n) + ", " +
                                  std::to_string(i % n) + "]; expected -127 to 127");
    }
    keras_int8nmt::Pack(keras_int8nmt::ChosenGemm(k, n), weights, k, n, packed);
    return true;
  });
}

KERAS_INT8NMT_EXPORT int64_t keras_int8nmt_packed_float_bytes(int64_t k, int64_t n) {
  return keras_int8nmt::OrElse<int64_t>(-1, [&] {
    keras_int8nmt::CheckSize(k, n, keras_int8nmt::kMostFloats, keras_int8nmt::kMostFloats);
    return static_cast<int64_t>(keras_int8nmt::PackedFloatBytes(k, n));
  });
}

KERAS_INT8NMT_EXPORT bool keras_int8nmt_pack_float(const float* weights, int64_t k, int64_t n,
                                                   void* packed) {
  return keras_int8nmt::OrElse(false, [&] {
    keras_int8nmt::CheckSize(k, n, keras_int8nmt::kMostFloats, keras_int8nmt::kMostFloats);
    const int64_t at = keras_int8nmt::FirstNotFinite(weights, k * n);
    if (at >= 0) {
      throw std::invalid_argument("weights has " + std::to_string(weights[at]) + " at [" +
                                  std::to_string(at / n) + ", " + std::to_string(at % n) +
                                  "]; expected no NaN or infinity");
    }
    keras_int8nmt::PackFloat(weights, k, n, packed);
    return true;
  });
}
