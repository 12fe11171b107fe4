// The C functions by which Python has back ends measured, and tells what it knows of them.
#include <cstdint>
#include <sstream>
#include <string>

#include "build_id.h"
#include "errors.h"
#include "export.h"
#include "gemm/choice.h"
#include "json.h"
#include "sizes.h"

namespace keras_int8nmt {
namespace {

std::string Known() {
  std::ostringstream json;
  json << "{\"measured\": " << (GemmIsMeasured() ? "true" : "false")
       << ", \"build\": " << JsonString(kBuildId) << ", \"rows\": [";
  for (int i = 0; i < kMeasuredCounts; ++i) json << (i == 0 ? "" : ", ") << kMeasuredRows[i];
  json << "]}";
  return json.str();
}

std::string Measured(const GemmRace& race) {
  std::ostringstream json;
  json << "{\"fastest\": " << JsonString(race.fastest->name) << ", \"columns\": " << race.columns
       << ", \"seconds\": {";
  for (size_t i = 0; i < race.candidates.size(); ++i) {
    const GemmTimes& times = race.candidates[i];
    json << (i == 0 ? "" : ", ") << JsonString(times.backend->name) << ": [";
    for (int c = 0; c < kMeasuredCounts; ++c) json << (c == 0 ? "" : ", ") << times.seconds[c];
    json << "]";
  }
  json << "}}";
  return json.str();
}

}  // namespace
}  // namespace keras_int8nmt

// JSON: {"measured": whether back ends are measured, "build": the id of this library, "rows": the
// counts of rows}; null where keras_int8nmt_last_error tells. Texts of these functions stay valid
// until the thread's next call of the same.
KERAS_INT8NMT_EXPORT const char* keras_int8nmt_gemm_choice() {
  return keras_int8nmt::OrElse<const char*>(nullptr, [] {
    thread_local std::string text;
    text = keras_int8nmt::Known();
    return text.c_str();
  });
}

// JSON: {"fastest": name, "columns": multiplied, "seconds": {name: [of each count of rows, 0 where
// it was not measured], ...}}, or null. Takes about `seconds` of this thread.
KERAS_INT8NMT_EXPORT const char* keras_int8nmt_measure_gemm(int64_t k, int64_t n, double seconds) {
  return keras_int8nmt::OrElse<const char*>(nullptr, [=] {
    keras_int8nmt::CheckInt8Size(k, n);
    thread_local std::string text;
    text = keras_int8nmt::Measured(keras_int8nmt::MeasureGemm(k, n, seconds));
    return text.c_str();
  });
}

// What weights [k, n] are packed for from now on; false where that is settled already, or `name` no
// back end that can be chosen here.
KERAS_INT8NMT_EXPORT bool keras_int8nmt_choose_gemm(int64_t k, int64_t n, const char* name) {
  return keras_int8nmt::OrElse(false, [=] {
    keras_int8nmt::CheckInt8Size(k, n);
    return name != nullptr && keras_int8nmt::ChooseGemm(k, n, name);
  });
}

// The name of the back end that weights [k, n] are packed for; null where the last error tells.
KERAS_INT8NMT_EXPORT const char* keras_int8nmt_chosen_gemm(int64_t k, int64_t n) {
  return keras_int8nmt::OrElse<const char*>(nullptr, [=] {
    keras_int8nmt::CheckInt8Size(k, n);
    return keras_int8nmt::ChosenGemm(k, n).name;
  });
}
