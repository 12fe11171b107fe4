#include "errors.h"

#include "export.h"

namespace keras_int8nmt {

Error& LastError() {
  thread_local Error error;
  return error;
}

}  // namespace keras_int8nmt

KERAS_INT8NMT_EXPORT const char* keras_int8nmt_last_error() {
  return keras_int8nmt::LastError().why.c_str();
}

// Whether that was for an argument that can't be, and not for what the machine lacks.
KERAS_INT8NMT_EXPORT bool keras_int8nmt_last_error_is_of_argument() {
  return keras_int8nmt::LastError().of_argument;
}
