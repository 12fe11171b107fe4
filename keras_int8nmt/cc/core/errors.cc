#include "errors.h"

#include "export.h"

namespace keras_int8nmt {

std::string& LastError() {
  thread_local std::string text;
  return text;
}

}  // namespace keras_int8nmt

KERAS_INT8NMT_EXPORT const char* keras_int8nmt_last_error() {
  return keras_int8nmt::LastError().c_str();
}
