// One function an op file; library.cc calls them when the library is loaded.
#ifndef KERAS_INT8NMT_OPS_OPS_H_
#define KERAS_INT8NMT_OPS_OPS_H_

namespace keras_int8nmt {

void RegisterPackWeightsOps();
void RegisterMatMulOps();
void RegisterQuantizeOps();
void RegisterLayerNormOp();
void RegisterAttentionOps();
void RegisterCacheAppendOp();
void RegisterGatherOp();
void RegisterEmbeddingOp();
void RegisterTopKOp();
void RegisterFloatMatMulOps();
void RegisterTranslateOp();

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_OPS_OPS_H_
