// The C functions that Python calls: numbers of any kind, arrays that are as long as they say.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "../answers.h"
// Its structs are its own: callers of C declare them again, and a C++ one takes them from here.
#include "decoder_api.cc"  // NOLINT
#include "fuzz_input.h"

extern "C" {
int64_t keras_int8nmt_packed_bytes(int64_t k, int64_t n);
bool keras_int8nmt_pack(const int8_t* weights, int64_t k, int64_t n, void* packed);
int64_t keras_int8nmt_packed_float_bytes(int64_t k, int64_t n);
bool keras_int8nmt_pack_float(const float* weights, int64_t k, int64_t n, void* packed);
bool keras_int8nmt_choose_gemm(int64_t k, int64_t n, const char* name);
const char* keras_int8nmt_chosen_gemm(int64_t k, int64_t n);
const char* keras_int8nmt_measure_gemm(int64_t k, int64_t n, double seconds);
const char* keras_int8nmt_last_error();
}

namespace keras_int8nmt {
namespace {

struct Base {
  Base() : model(ModelMaker(Shape()).Make()), writer(model, GemmFor("reference")) {
    const Spec& spec = writer.spec;
    for (const Setting& s : spec.settings) {
      settings.push_back({s.name.c_str(), s.kind, s.whole, s.number, s.text.c_str()});
    }
    for (size_t i = 0; i < spec.names.size(); ++i) {
      const TensorView& t = spec.tensors[i];
      tensors.push_back({spec.names[i].c_str(), static_cast<int32_t>(t.type),
                         static_cast<int32_t>(t.dims.size()), t.dims.data(), t.data});
    }
  }
  small::Model model;
  SpecWriter writer;
  std::vector<KerasInt8nmtSetting> settings;
  std::vector<KerasInt8nmtTensor> tensors;
};

void* Create(FuzzInput* input) {
  static const Base& base = *new Base;
  std::vector<KerasInt8nmtSetting> settings = base.settings;
  std::vector<KerasInt8nmtTensor> tensors = base.tensors;
  const auto number = [&](int64_t usual) {
    return static_cast<int32_t>(input->Rarely() ? input->Whole() : usual);
  };
  if (input->Rarely()) settings[input->Below(static_cast<int64_t>(settings.size()))].name = nullptr;
  if (input->Rarely()) settings[input->Below(static_cast<int64_t>(settings.size()))].text = nullptr;
  if (input->Rarely()) tensors[input->Below(static_cast<int64_t>(tensors.size()))].data = nullptr;
  if (input->Rarely()) tensors[input->Below(static_cast<int64_t>(tensors.size()))].dims = nullptr;
  if (input->Rarely()) tensors[input->Below(static_cast<int64_t>(tensors.size()))].rank = 9;
  KerasInt8nmtModelSpec spec = {sizeof(spec), settings.data(),
                                static_cast<int64_t>(settings.size()), tensors.data(),
                                static_cast<int64_t>(tensors.size())};
  if (input->Rarely()) spec.num_settings = -input->Below(9);
  if (input->Rarely()) spec.num_tensors = -input->Below(9);
  const int32_t length = number(1 + input->Below(5));
  // Nobody has arrays for more.
  std::vector<float> divisors(length >= 1 && length < 1 << 16 ? length + 1 : 1, 1.0f);
  for (int64_t i = input->Rarely() ? 1 : 0; i > 0; --i) divisors.back() = input->Number();
  const bool too_long = length >= 1 << 16;
  const int64_t numbers[] = {input->Whole(), 2};
  KerasInt8nmtTokenFilter filter = {input->Rarely() ? nullptr : "no_repeat_ngram",
                                    input->Rarely() ? nullptr : numbers,
                                    input->Rarely() ? -1 : 1 + input->Below(2)};
  KerasInt8nmtSearchOptions search = {};
  search.size = input->Rarely() ? input->Whole() : static_cast<int64_t>(sizeof(search));
  search.beam_size = number(1 + input->Below(3));
  search.num_hypotheses = number(1);
  search.max_length = too_long ? INT32_MAX : length;
  search.min_length = number(0);
  search.divisors = input->Rarely() ? nullptr : divisors.data();
  search.scores = number(1);
  search.num_filters = input->Maybe() ? 1 : 0;
  search.filters = input->Rarely() ? nullptr : &filter;
  KerasInt8nmtPoolOptions pool = {};
  pool.size = input->Rarely() ? input->Whole() : static_cast<int64_t>(sizeof(pool));
  // Threads and memory for as many as are allowed are nothing that is tested here.
  const auto few = [&](int32_t value) { return value > 3 && value < 1 << 16 ? 3 : value; };
  pool.streams = few(number(1));
  pool.threads_per_stream = few(number(1));
  pool.batch_size = few(number(2));
  pool.max_source = number(8);
  return keras_int8nmt_pool_create(&spec, &search, &pool);
}

void Ask(FuzzInput* input, void* pool) {
  const int64_t count = input->Rarely() ? -input->Below(3) : input->Below(4);
  std::vector<int32_t> ids(40, 2);
  for (int32_t& id : ids)
    id = static_cast<int32_t>(input->Rarely() ? input->Whole() : input->Below(9));
  std::vector<int64_t> offsets = {0}, order;
  for (int64_t i = 0; i < count; ++i) {
    offsets.push_back(offsets.back() + (input->Rarely() ? -input->Below(2) : 1 + input->Below(9)));
    order.push_back(input->Rarely() ? input->Whole() : i);
  }
  void* request =
      keras_int8nmt_request_submit(pool, ids.data(), offsets.data(), order.data(), count);
  if (request == nullptr) return;
  while (keras_int8nmt_request_wait(request, 100) < count) {
  }
  if (*keras_int8nmt_request_error(request) == '\0') {
    int64_t sizes[2];
    keras_int8nmt_request_sizes(request, sizes);
    std::vector<int64_t> counts(count), lengths(sizes[0]);
    std::vector<float> scores(sizes[0]);
    std::vector<int32_t> tokens(sizes[1]);
    keras_int8nmt_request_results(request, counts.data(), lengths.data(), scores.data(),
                                  tokens.data());
  }
  keras_int8nmt_request_free(request);
}

void PackSome(FuzzInput* input) {
  const int64_t k = input->Whole(), n = input->Whole();
  const char* const names[] = {"vnni", "madd", "onednn", "reference", "auto", "", nullptr};
  keras_int8nmt_choose_gemm(k, n, names[input->Below(7)]);
  const int64_t bytes = keras_int8nmt_packed_bytes(k, n);
  if ((keras_int8nmt_chosen_gemm(k, n) == nullptr) != (bytes < 0)) std::abort();
  if (bytes < 0 && keras_int8nmt_measure_gemm(k, n, 0.0) != nullptr) std::abort();
  const int64_t float_bytes = keras_int8nmt_packed_float_bytes(k, n);
  if (bytes < 0 && std::string(keras_int8nmt_last_error()).empty()) std::abort();
  if (k < 1 || n < 1 || k > 64 || n > 64) return;
  std::vector<int8_t> weights(k * n);
  input->Fill(weights.data(), weights.size());
  std::vector<float> floats(k * n, input->Number());
  // Where a line of the cache begins, as the functions ask for it.
  const auto packed = [](int64_t size) {
    return std::unique_ptr<void, decltype(&std::free)>(
        std::aligned_alloc(64, static_cast<size_t>((size + 63) / 64 * 64)), &std::free);
  };
  keras_int8nmt_pack(weights.data(), k, n, packed(bytes).get());
  keras_int8nmt_pack_float(floats.data(), k, n, packed(float_bytes).get());
}

void RunOne(FuzzInput input) {
  if (input.Maybe()) return PackSome(&input);
  void* pool = Create(&input);
  if (pool == nullptr) return;
  for (int64_t times = input.Below(3); times > 0; --times) Ask(&input, pool);
  keras_int8nmt_pool_destroy(pool);
}

}  // namespace
}  // namespace keras_int8nmt

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  keras_int8nmt::RunOne({data, size});
  return 0;
}
