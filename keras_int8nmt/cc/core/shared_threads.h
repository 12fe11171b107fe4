// The threads that TensorFlow's ops share: of the whole process, as many as set_num_threads says.
#ifndef KERAS_INT8NMT_CORE_SHARED_THREADS_H_
#define KERAS_INT8NMT_CORE_SHARED_THREADS_H_

#include <functional>

#include "gemm/gemm.h"

namespace keras_int8nmt {

// At least 1. Until it is called there are as many as this process may use cores, as TensorFlow
// has.
void SetSharedThreads(int threads);
int SharedThreadsCount();

// f(share) once for each share of one piece of work that takes about `seconds` on one core. It is
// one share, in the calling thread, where that is too little to wake others for, where another op
// has the threads, and where none are to be had. What f throws is thrown when all are done.
void InShares(double seconds, const std::function<void(Share share)>& f);

// Units [first, last) of a share of `units`.
struct Range {
  int64_t first, last;
  int64_t count() const { return last - first; }
};
inline Range RangeOf(int64_t units, Share share) {
  return {units * share.index / share.count, units * (share.index + 1) / share.count};
}

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_CORE_SHARED_THREADS_H_
