// No exception leaves a C function: it returns what says that it failed, and
// keras_int8nmt_last_error tells why.
#ifndef KERAS_INT8NMT_CORE_ERRORS_H_
#define KERAS_INT8NMT_CORE_ERRORS_H_

#include <exception>
#include <stdexcept>
#include <string>

#include "reason.h"

namespace keras_int8nmt {

// Why the last call of this thread that failed did.
struct Error {
  Reason why;
  bool of_argument = false;  // what the caller handed over is at fault
};
Error& LastError();

// f(), or `failed` where it throws.
template <class T, class F>
T OrElse(T failed, F f) noexcept {
  try {
    return f();
  } catch (const std::exception& error) {
    LastError().why.Set(WhyOf(error));
    LastError().of_argument = dynamic_cast<const std::invalid_argument*>(&error) != nullptr;
  }
  return failed;
}

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_CORE_ERRORS_H_
