// The decoder's C functions: a pool of streams over a model, and requests to it.
//
// Python keeps what it hands over (the model's tensors) alive until it has destroyed the pool, and
// calls through ctypes, which releases the interpreter lock. A function that fails returns null,
// see errors.h. A request that is freed while streams work on it, and a pool that is closed or
// destroyed while others wait for it, harm nobody: each holds what it works on. In a process that
// was forked since, freeing does nothing: there is neither a thread to end nor anybody to unlock a
// lock.
#ifndef KERAS_INT8NMT_CORE_DECODER_API_H_
#define KERAS_INT8NMT_CORE_DECODER_API_H_

#include <cstdint>

#include "export.h"

extern "C" {

// An entry of the model's spec: one of the three values, as `kind` says.
struct KerasInt8nmtSetting {
  const char* name;
  int32_t kind;  // Setting::Kind
  int64_t whole;
  double number;
  const char* text;
};

struct KerasInt8nmtTensor {
  const char* name;
  int32_t type;  // Type
  int32_t rank;
  const int64_t* dims;
  const void* data;
};

struct KerasInt8nmtModelSpec {
  int64_t size;  // of this struct, as its writer knows it
  const KerasInt8nmtSetting* settings;
  int64_t num_settings;
  const KerasInt8nmtTensor* tensors;
  int64_t num_tensors;
};

struct KerasInt8nmtTokenFilter {
  const char* kind;
  const int64_t* numbers;
  int64_t count;
};

// The first field of both is the size that the caller knows them by.
struct KerasInt8nmtSearchOptions {
  int64_t size;
  int32_t beam_size, num_hypotheses, max_length, min_length;
  const float* divisors;  // [max_length + 1]
  int32_t scores;
  int32_t num_filters;
  const KerasInt8nmtTokenFilter* filters;
};

struct KerasInt8nmtPoolOptions {
  int64_t size;
  int32_t streams, threads_per_stream, pin, batch_size, max_source;
};

}  // extern "C"

KERAS_INT8NMT_EXPORT void* keras_int8nmt_pool_create(const KerasInt8nmtModelSpec* spec,
                                                     const KerasInt8nmtSearchOptions* search,
                                                     const KerasInt8nmtPoolOptions* options);

// Ends the threads. Requests that are not over fail, later ones are refused; safe from any thread.
KERAS_INT8NMT_EXPORT void keras_int8nmt_pool_close(void* pool);

// Closes it and gives it back; no other call may have it then. Its requests are still to be freed.
KERAS_INT8NMT_EXPORT void keras_int8nmt_pool_destroy(void* pool);

// Sentence i is ids[offsets[i], offsets[i + 1]); `order` says in which order they are begun.
KERAS_INT8NMT_EXPORT void* keras_int8nmt_request_submit(void* pool, const int32_t* ids,
                                                        const int64_t* offsets,
                                                        const int64_t* order, int64_t count);

// How many sentences are finished, after `milliseconds` at most.
KERAS_INT8NMT_EXPORT int64_t keras_int8nmt_request_wait(void* request, int milliseconds);

KERAS_INT8NMT_EXPORT void keras_int8nmt_request_cancel(void* request);

// Cancels what is not over.
KERAS_INT8NMT_EXPORT void keras_int8nmt_request_free(void* request);

// ---- for callers that wait for many requests at once

// The tag, at least 0, is told by pool_take_over when the request is over. False: see errors.h.
KERAS_INT8NMT_EXPORT bool keras_int8nmt_request_tell(void* request, int64_t tag);

// Writes the tags of requests that are over, `most` of them and each once; returns how many. It
// waits for nothing.
KERAS_INT8NMT_EXPORT int64_t keras_int8nmt_pool_take_over(void* pool, int64_t* tags, int64_t most);

// A descriptor that is readable while pool_take_over would find something, as long as the pool is
// there; -1: see errors.h.
KERAS_INT8NMT_EXPORT int keras_int8nmt_pool_over_descriptor(void* pool);

// ---- of a request that is over

// Why it failed; empty if it did not.
KERAS_INT8NMT_EXPORT const char* keras_int8nmt_request_error(const void* request);

// sizes[0]: hypotheses of all sentences; sizes[1]: their tokens.
KERAS_INT8NMT_EXPORT void keras_int8nmt_request_sizes(const void* request, int64_t* sizes);

// counts: hypotheses of each sentence; then of each hypothesis its tokens and its score.
KERAS_INT8NMT_EXPORT void keras_int8nmt_request_results(const void* request, int64_t* counts,
                                                        int64_t* lengths, float* scores,
                                                        int32_t* tokens);

// ---- where the time goes

// Counts the time of each kind of work in all streams from now on.
KERAS_INT8NMT_EXPORT void keras_int8nmt_pool_profile_start(void* pool);

// Stops counting and tells the counts as JSON. The text stays valid until the thread's next call.
KERAS_INT8NMT_EXPORT const char* keras_int8nmt_pool_profile_stop(void* pool);

#endif  // KERAS_INT8NMT_CORE_DECODER_API_H_
