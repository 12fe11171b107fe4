// oneDNN, loaded when the first of its functions is called.
//
// Its library is twenty times as large as ours and takes as long to load as a small model, which an
// INT8 model on a CPU with a back end of our own has no use for. What is included here instead of
// dnnl.hpp calls the C functions through a table; a function that the table lacks does not link.
// By a table, too, a copy of oneDNN that TensorFlow brings can't be taken for ours.
#ifndef KERAS_INT8NMT_KERNELS_GEMM_ONEDNN_LIBRARY_H_
#define KERAS_INT8NMT_KERNELS_GEMM_ONEDNN_LIBRARY_H_

#include <dnnl.h>

namespace keras_int8nmt {
namespace onednn {

struct Functions {
#define ONEDNN_FUNCTION(name) decltype(&::dnnl_##name) name;
#include "gemm/onednn_functions.def"
#undef ONEDNN_FUNCTION
  void (*omp_set_num_threads)(int threads);
};

// Throws std::runtime_error where the library is not found, or is another one.
const Functions& Library();

}  // namespace onednn
}  // namespace keras_int8nmt

#define KERAS_INT8NMT_ONEDNN(name) (*::keras_int8nmt::onednn::Library().name)
#define dnnl_engine_create KERAS_INT8NMT_ONEDNN(engine_create)
#define dnnl_engine_destroy KERAS_INT8NMT_ONEDNN(engine_destroy)
#define dnnl_get_effective_cpu_isa KERAS_INT8NMT_ONEDNN(get_effective_cpu_isa)
#define dnnl_matmul_primitive_desc_create KERAS_INT8NMT_ONEDNN(matmul_primitive_desc_create)
#define dnnl_memory_create_v2 KERAS_INT8NMT_ONEDNN(memory_create_v2)
#define dnnl_memory_desc_clone KERAS_INT8NMT_ONEDNN(memory_desc_clone)
#define dnnl_memory_desc_create_with_tag KERAS_INT8NMT_ONEDNN(memory_desc_create_with_tag)
#define dnnl_memory_desc_destroy KERAS_INT8NMT_ONEDNN(memory_desc_destroy)
#define dnnl_memory_desc_get_size_v2 KERAS_INT8NMT_ONEDNN(memory_desc_get_size_v2)
#define dnnl_memory_desc_query KERAS_INT8NMT_ONEDNN(memory_desc_query)
#define dnnl_memory_destroy KERAS_INT8NMT_ONEDNN(memory_destroy)
#define dnnl_memory_get_engine KERAS_INT8NMT_ONEDNN(memory_get_engine)
#define dnnl_memory_get_memory_desc KERAS_INT8NMT_ONEDNN(memory_get_memory_desc)
#define dnnl_memory_set_data_handle KERAS_INT8NMT_ONEDNN(memory_set_data_handle)
#define dnnl_post_ops_append_eltwise KERAS_INT8NMT_ONEDNN(post_ops_append_eltwise)
#define dnnl_post_ops_create KERAS_INT8NMT_ONEDNN(post_ops_create)
#define dnnl_post_ops_destroy KERAS_INT8NMT_ONEDNN(post_ops_destroy)
#define dnnl_primitive_attr_create KERAS_INT8NMT_ONEDNN(primitive_attr_create)
#define dnnl_primitive_attr_destroy KERAS_INT8NMT_ONEDNN(primitive_attr_destroy)
#define dnnl_primitive_attr_set_post_ops KERAS_INT8NMT_ONEDNN(primitive_attr_set_post_ops)
#define dnnl_primitive_attr_set_scales_mask KERAS_INT8NMT_ONEDNN(primitive_attr_set_scales_mask)
#define dnnl_primitive_create KERAS_INT8NMT_ONEDNN(primitive_create)
#define dnnl_primitive_desc_destroy KERAS_INT8NMT_ONEDNN(primitive_desc_destroy)
#define dnnl_primitive_desc_query_md KERAS_INT8NMT_ONEDNN(primitive_desc_query_md)
#define dnnl_primitive_destroy KERAS_INT8NMT_ONEDNN(primitive_destroy)
#define dnnl_primitive_execute KERAS_INT8NMT_ONEDNN(primitive_execute)
#define dnnl_reorder_primitive_desc_create KERAS_INT8NMT_ONEDNN(reorder_primitive_desc_create)
#define dnnl_stream_create KERAS_INT8NMT_ONEDNN(stream_create)
#define dnnl_stream_destroy KERAS_INT8NMT_ONEDNN(stream_destroy)
#define dnnl_stream_wait KERAS_INT8NMT_ONEDNN(stream_wait)
#define dnnl_version KERAS_INT8NMT_ONEDNN(version)

// After the names above: its inline functions call them.
#include <dnnl.hpp>

#endif  // KERAS_INT8NMT_KERNELS_GEMM_ONEDNN_LIBRARY_H_
