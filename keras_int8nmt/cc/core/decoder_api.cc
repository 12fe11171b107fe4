#include "decoder_api.h"

#include <unistd.h>

// __GLIBC__ is known after a header of the C library.
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "errors.h"
#include "pool.h"

namespace keras_int8nmt {
namespace {

// The ranges of runtime/search_options.py and runtime/batching.py.
constexpr int64_t kMostBeam = 1024, kMostStreams = 1024, kMostThreads = 256;
constexpr int64_t kMostBatch = 1 << 16, kMostLength = 1 << 24;
// Of arrays that a caller gives, and of the dims of a tensor.
constexpr int64_t kMostEntries = int64_t{1} << 31, kMostRank = 8;

void CheckSize(const std::string& what, int64_t given, size_t expected) {
  if (given == static_cast<int64_t>(expected)) return;
  throw std::invalid_argument("the " + what + " have " + std::to_string(given) +
                              " bytes and this library's " + std::to_string(expected) +
                              ": package and library are of different releases");
}

// A number from `least` to `most`; nothing is read or allocated by one that is not.
int64_t InRange(const char* name, int64_t value, int64_t least, int64_t most) {
  if (value >= least && value <= most) return value;
  throw std::invalid_argument(std::string(name) + " is " + std::to_string(value) + "; expected " +
                              std::to_string(least) + " to " + std::to_string(most));
}

// `count` elements, of which there may be none.
template <class T>
const T* Given(const char* name, const T* array, int64_t count) {
  InRange(name, count, 0, kMostEntries);
  if (count > 0 && array == nullptr) {
    throw std::invalid_argument(std::string(name) + " are missing");
  }
  return array;
}

std::string Text(const char* name, const char* text) {
  if (text != nullptr) return text;
  throw std::invalid_argument(std::string(name) + " has no text");
}

SearchOptions SearchOf(const KerasInt8nmtSearchOptions& options) {
  InRange("beam_size", options.beam_size, 1, kMostBeam);
  InRange("num_hypotheses", options.num_hypotheses, 1, options.beam_size);
  InRange("max_length", options.max_length, 1, kMostLength);
  InRange("min_length", options.min_length, 0, options.max_length);
  Given("divisors", options.divisors, options.max_length + 1);
  Given("token filters", options.filters, options.num_filters);
  SearchOptions search;
  search.beam_size = options.beam_size;
  search.num_hypotheses = options.num_hypotheses;
  search.max_length = options.max_length;
  search.min_length = options.min_length;
  search.scores = options.scores != 0;
  search.divisors.assign(options.divisors, options.divisors + options.max_length + 1);
  for (const float divisor : search.divisors) {
    if (std::isfinite(divisor) && divisor > 0.0f) continue;
    throw std::invalid_argument("divisors has " + std::to_string(divisor) +
                                "; expected finite numbers above 0");
  }
  for (int32_t i = 0; i < options.num_filters; ++i) {
    const KerasInt8nmtTokenFilter& filter = options.filters[i];
    Given("numbers of a token filter", filter.numbers, filter.count);
    search.filters.push_back(MakeTokenFilter(Text("a token filter", filter.kind),
                                             {filter.numbers, filter.numbers + filter.count}));
  }
  return search;
}

void CheckPool(const KerasInt8nmtPoolOptions& options) {
  InRange("streams", options.streams, 1, kMostStreams);
  InRange("threads_per_stream", options.threads_per_stream, 1, kMostThreads);
  InRange("batch_size", options.batch_size, 1, kMostBatch);
  InRange("max_source", options.max_source, 1, kMostLength);
}

std::unique_ptr<const Model> ReadModel(const KerasInt8nmtModelSpec& spec) {
  CheckSize("parts of the model's spec", spec.size, sizeof(spec));
  Given("settings of the model's spec", spec.settings, spec.num_settings);
  Given("tensors of the model's spec", spec.tensors, spec.num_tensors);
  std::vector<Setting> settings;
  for (int64_t i = 0; i < spec.num_settings; ++i) {
    const KerasInt8nmtSetting& s = spec.settings[i];
    settings.push_back({Text("a setting", s.name), static_cast<Setting::Kind>(s.kind), s.whole,
                        s.number, s.text == nullptr ? "" : s.text});
  }
  std::vector<std::string> names;
  std::vector<TensorView> views;
  for (int64_t i = 0; i < spec.num_tensors; ++i) {
    const KerasInt8nmtTensor& t = spec.tensors[i];
    names.push_back(Text("a tensor", t.name));
    InRange("rank of a tensor", t.rank, 0, kMostRank);
    Given("dims of a tensor", t.dims, t.rank);
    views.push_back(
        {static_cast<Type>(t.type), t.data, std::vector<int64_t>(t.dims, t.dims + t.rank)});
  }
  ModelReader reader(settings, names, std::move(views));
  return std::make_unique<const Model>(&reader);
}

// What streams allocated lies between what others hold: glibc keeps it, and each load leaves a
// little more. Takes half a millisecond.
void GiveMemoryBack() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

// What the caller holds of a pool, and of a request.
struct PoolHandle {
  std::shared_ptr<Pool> pool;
  pid_t process = getpid();
};
struct RequestHandle {
  std::shared_ptr<Pool> pool;
  std::shared_ptr<Request> request;
  pid_t process = getpid();
};

PoolHandle& PoolOf(void* handle) { return *static_cast<PoolHandle*>(handle); }
RequestHandle& RequestOf(void* handle) { return *static_cast<RequestHandle*>(handle); }
const Request& Over(const void* handle) {
  return *static_cast<const RequestHandle*>(handle)->request;
}

}  // namespace
}  // namespace keras_int8nmt

using keras_int8nmt::Hypothesis;
using keras_int8nmt::Pool;
using keras_int8nmt::PoolHandle;
using keras_int8nmt::PoolOf;
using keras_int8nmt::Request;
using keras_int8nmt::RequestHandle;
using keras_int8nmt::RequestOf;

void* keras_int8nmt_pool_create(const KerasInt8nmtModelSpec* spec,
                                const KerasInt8nmtSearchOptions* search,
                                const KerasInt8nmtPoolOptions* options) {
  return keras_int8nmt::OrElse<void*>(nullptr, [&]() -> void* {
    auto model = keras_int8nmt::ReadModel(*spec);
    keras_int8nmt::CheckSize("options of the search", search->size, sizeof(*search));
    keras_int8nmt::CheckSize("options of the pool", options->size, sizeof(*options));
    keras_int8nmt::CheckPool(*options);
    Pool::Options pool;
    pool.streams = options->streams;
    pool.threads_per_stream = options->threads_per_stream;
    pool.pin = options->pin != 0;
    pool.stream.batch_size = options->batch_size;
    pool.stream.max_source = options->max_source;
    auto handle = std::make_unique<PoolHandle>();
    handle->pool = std::make_shared<Pool>(std::move(model), keras_int8nmt::SearchOf(*search), pool);
    return handle.release();
  });
}

void keras_int8nmt_pool_close(void* pool) {
  if (PoolOf(pool).process == getpid()) PoolOf(pool).pool->Close();
}

void keras_int8nmt_pool_destroy(void* pool) {
  if (PoolOf(pool).process != getpid()) return;
  // Requests may hold it for longer than the model's tensors are there.
  PoolOf(pool).pool->Close();
  delete &PoolOf(pool);
  keras_int8nmt::GiveMemoryBack();
}

void* keras_int8nmt_request_submit(void* pool, const int32_t* ids, const int64_t* offsets,
                                   const int64_t* order, int64_t count) {
  return keras_int8nmt::OrElse<void*>(nullptr, [&]() -> void* {
    keras_int8nmt::Given("offsets", offsets, keras_int8nmt::InRange("count", count, 0, INT32_MAX));
    keras_int8nmt::Given("order", order, count);
    if (count > 0) {
      keras_int8nmt::InRange("an offset", offsets[0], 0, INT64_MAX);
      keras_int8nmt::Given("ids", ids, offsets[count]);
    }
    auto handle = std::make_unique<RequestHandle>();
    handle->pool = PoolOf(pool).pool;
    handle->request = std::make_shared<Request>();
    Request& request = *handle->request;
    request.sentences.reserve(count);
    for (int64_t i = 0; i < count; ++i) {
      keras_int8nmt::InRange("an offset", offsets[i + 1], offsets[i], INT64_MAX);
      request.sentences.emplace_back(ids + offsets[i], ids + offsets[i + 1]);
    }
    request.order.assign(order, order + count);
    handle->pool->Submit(handle->request);
    return handle.release();
  });
}

int64_t keras_int8nmt_request_wait(void* request, int milliseconds) {
  RequestHandle& handle = RequestOf(request);
  return handle.pool->Wait(handle.request.get(), milliseconds);
}

void keras_int8nmt_request_cancel(void* request) {
  RequestHandle& handle = RequestOf(request);
  if (handle.process == getpid()) handle.pool->Cancel(handle.request.get());
}

void keras_int8nmt_request_free(void* request) {
  if (RequestOf(request).process != getpid()) return;
  keras_int8nmt_request_cancel(request);
  delete &RequestOf(request);
}

bool keras_int8nmt_request_tell(void* request, int64_t tag) {
  return keras_int8nmt::OrElse(false, [&] {
    RequestOf(request).pool->Tell(RequestOf(request).request.get(), tag);
    return true;
  });
}

int64_t keras_int8nmt_pool_take_over(void* pool, int64_t* tags, int64_t most) {
  if (PoolOf(pool).process != getpid()) return 0;
  return PoolOf(pool).pool->TakeOver(tags, most);
}

int keras_int8nmt_pool_over_descriptor(void* pool) {
  return keras_int8nmt::OrElse(-1, [&] { return PoolOf(pool).pool->OverDescriptor(); });
}

const char* keras_int8nmt_request_error(const void* request) {
  return keras_int8nmt::Over(request).error.c_str();
}

void keras_int8nmt_request_sizes(const void* request, int64_t* sizes) {
  sizes[0] = sizes[1] = 0;
  for (const std::vector<Hypothesis>& found : keras_int8nmt::Over(request).results) {
    sizes[0] += static_cast<int64_t>(found.size());
    for (const Hypothesis& each : found) sizes[1] += static_cast<int64_t>(each.tokens.size());
  }
}

void keras_int8nmt_request_results(const void* request, int64_t* counts, int64_t* lengths,
                                   float* scores, int32_t* tokens) {
  for (const std::vector<Hypothesis>& found : keras_int8nmt::Over(request).results) {
    *counts++ = static_cast<int64_t>(found.size());
    for (const Hypothesis& each : found) {
      *lengths++ = static_cast<int64_t>(each.tokens.size());
      *scores++ = each.score;
      std::memcpy(tokens, each.tokens.data(), each.tokens.size() * sizeof(int32_t));
      tokens += each.tokens.size();
    }
  }
}

void keras_int8nmt_pool_profile_start(void* pool) { PoolOf(pool).pool->StartProfile(); }

const char* keras_int8nmt_pool_profile_stop(void* pool) {
  return keras_int8nmt::OrElse<const char*>(nullptr, [&] {
    thread_local std::string text;
    text = PoolOf(pool).pool->StopProfile();
    return text.c_str();
  });
}
