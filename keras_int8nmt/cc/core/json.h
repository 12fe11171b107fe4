// Text in the JSON that the C functions give.
#ifndef KERAS_INT8NMT_CORE_JSON_H_
#define KERAS_INT8NMT_CORE_JSON_H_

#include <string>

namespace keras_int8nmt {

inline std::string JsonString(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return quoted + "\"";
}

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_CORE_JSON_H_
