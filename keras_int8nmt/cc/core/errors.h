// No exception leaves a C function: it returns what says that it failed, and
// keras_int8nmt_last_error tells why.
#ifndef KERAS_INT8NMT_CORE_ERRORS_H_
#define KERAS_INT8NMT_CORE_ERRORS_H_

#include <exception>
#include <new>
#include <stdexcept>
#include <string>

namespace keras_int8nmt {

// Why the last call of this thread that failed did.
std::string& LastError();

// f(), or `failed` where it throws.
template <class T, class F>
T OrElse(T failed, F f) {
  try {
    return f();
  } catch (const std::bad_alloc&) {
    LastError() = "out of memory";
  } catch (const std::exception& error) {
    LastError() = error.what();
  }
  return failed;
}

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_CORE_ERRORS_H_
