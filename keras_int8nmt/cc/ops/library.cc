// What happens when the library is loaded (the ops are registered), and the C functions that Python
// calls beside the ops.
#include <exception>
#include <string>

#include "core_link.h"
#include "export.h"
#include "op_profile.h"
#include "ops.h"

namespace keras_int8nmt {
namespace {

void RegisterAll() {
  RegisterPackWeightsOps();
  RegisterMatMulOps();
  RegisterQuantizeOps();
  RegisterLayerNormOp();
  RegisterAttentionOps();
  RegisterCacheAppendOp();
  RegisterGatherOp();
  RegisterEmbeddingOp();
  RegisterTopKOp();
  RegisterFloatMatMulOps();
  RegisterTranslateOp();
}

// tf.load_op_library looks for no function by name: it collects what is registered while the
// library loads. An exception here would end the process, so keras_int8nmt_ops_error reports it.
// Ops are registered beside a core of another build, too: whoever loads this file by its name reads
// why they refuse to run, and not that there are none.
std::string LoadError() {
  try {
    RegisterAll();
  } catch (const std::exception& error) {
    return std::string("registering the ops failed: ") + error.what();
  }
  try {
    TheCore();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}
const std::string* const load_error = new std::string(LoadError());

}  // namespace
}  // namespace keras_int8nmt

// Why the ops can't be used; empty if they can.
KERAS_INT8NMT_EXPORT const char* keras_int8nmt_ops_error() {
  return keras_int8nmt::load_error->c_str();
}

// Counts the time spent in each op from now on.
KERAS_INT8NMT_EXPORT void keras_int8nmt_profile_start() { keras_int8nmt::StartOpProfile(); }

// Stops counting and tells the counts as JSON. The text stays valid until the thread's next call.
KERAS_INT8NMT_EXPORT const char* keras_int8nmt_profile_stop() {
  thread_local std::string text;
  text = keras_int8nmt::StopOpProfile();
  return text.c_str();
}
