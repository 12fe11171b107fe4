// Writing and reading the cache of a search as plain loops; int8.h has the contract.
#ifndef KERAS_INT8NMT_KERNELS_REFERENCE_CACHE_H_
#define KERAS_INT8NMT_KERNELS_REFERENCE_CACHE_H_

#include "int8.h"

namespace keras_int8nmt {

void ReferenceCacheWrite(const CacheWriteArgs& args);
void ReferenceCachedAttention(const CachedAttentionArgs& args);

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_REFERENCE_CACHE_H_
