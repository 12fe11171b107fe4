# Writes OUTPUT, a header with the id of a build: a hash of SOURCES (a list) and of MADE_BY, which
# tells the compiler. Equal sources built alike have equal ids, wherever they lie.
set(_all "${MADE_BY}")
foreach(_source IN LISTS SOURCES)
  file(SHA256 ${_source} _hash)
  string(APPEND _all " ${_hash}")
endforeach()
string(SHA256 _id "${_all}")
string(SUBSTRING ${_id} 0 16 _id)
file(WRITE ${OUTPUT}
"// Made by build_id.cmake.
#ifndef KERAS_INT8NMT_BUILD_ID_H_
#define KERAS_INT8NMT_BUILD_ID_H_

namespace keras_int8nmt {

constexpr char kBuildId[] = \"build ${_id}\";

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_BUILD_ID_H_
")
