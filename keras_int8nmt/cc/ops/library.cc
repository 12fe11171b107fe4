// What happens when the library is loaded (the ops are registered), and the C functions that Python
// calls beside the ops.
#include <exception>
#include <string>

#include "c_functions.h"
#include "gemm/gemm.h"
#include "int8.h"
#include "op_profile.h"
#include "ops.h"

namespace keras_int8nmt {
namespace {

void RegisterAll() {
  RegisterPackWeightsOps();
  RegisterMatMulOps();
  RegisterQuantizeOps();
  RegisterLayerNormOp();
  RegisterAttentionOp();
  RegisterCacheAppendOp();
  RegisterGatherOp();
  RegisterEmbeddingOp();
  RegisterTopKOp();
  RegisterFloatMatMulOps();
  RegisterTranslateOp();
}

// tf.load_op_library looks for no function by name: it collects what is registered while the
// library loads. An exception here would end the process, so keras_int8nmt_info reports it.
std::string* RegistrationError() {
  try {
    RegisterAll();
    return nullptr;
  } catch (const std::exception& error) {
    return new std::string(error.what());
  }
}
const std::string* const registration_error = RegistrationError();

std::string JsonString(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return quoted + "\"";
}

std::string Info() {
  try {
    if (registration_error != nullptr) {
      return "{\"error\": " + JsonString("registering the ops failed: " + *registration_error) +
             "}";
    }
    return "{\"isa\": " + JsonString(ActiveKernels().isa) +
           ", \"gemm\": " + JsonString(ActiveGemm().name) +
           ", \"gemm_way\": " + JsonString(ActiveGemm().way) +
           ", \"weight_bits\": " + std::to_string(ActiveGemm().weight_bits) + "}";
  } catch (const std::exception& error) {
    return "{\"error\": " + JsonString(error.what()) + "}";
  }
}

}  // namespace
}  // namespace keras_int8nmt

// JSON: {"isa", "gemm", "gemm_way", "weight_bits"}, or {"error": message} when the library cannot
// be used as the environment asks. The text stays valid until the thread's next call.
KERAS_INT8NMT_EXPORT const char* keras_int8nmt_info() {
  thread_local std::string text;
  text = keras_int8nmt::Info();
  return text.c_str();
}

// Threads of one matrix product, at least 1.
KERAS_INT8NMT_EXPORT void keras_int8nmt_set_num_threads(int threads) {
  keras_int8nmt::SetGemmThreads(threads < 1 ? 1 : threads);
}

KERAS_INT8NMT_EXPORT int keras_int8nmt_num_threads() { return keras_int8nmt::GemmThreads(); }

// Counts the time spent in each op from now on.
KERAS_INT8NMT_EXPORT void keras_int8nmt_profile_start() { keras_int8nmt::StartOpProfile(); }

// Stops counting and tells the counts as JSON. The text stays valid until the thread's next call.
KERAS_INT8NMT_EXPORT const char* keras_int8nmt_profile_stop() {
  thread_local std::string text;
  text = keras_int8nmt::StopOpProfile();
  return text.c_str();
}
