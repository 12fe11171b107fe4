// The part of TensorFlow's C API that the ops use, declared here so that building needs no
// TensorFlow.
//
// The API is a stable C ABI: the same library loads in every TensorFlow from 2.18 on. Handles are
// opaque, enumerations are passed as ints. tests/ops/test_tf_c_api_header.py compiles this file
// after an installed TensorFlow's own headers (with KERAS_INT8NMT_TF_HEADERS defined, its types are
// used instead of ours), and then any declaration that differs is an error of the compiler.
#ifndef KERAS_INT8NMT_OPS_TF_C_API_H_
#define KERAS_INT8NMT_OPS_TF_C_API_H_

#include <cstddef>
#include <cstdint>

#define KERAS_INT8NMT_TF_DATA_TYPES(entry)                                                      \
  entry(TF_FLOAT, 1) entry(TF_INT32, 3) entry(TF_UINT8, 4) entry(TF_INT8, 6) entry(TF_INT64, 9) \
      entry(TF_BOOL, 10)
#define KERAS_INT8NMT_TF_CODES(entry)                                           \
  entry(TF_OK, 0) entry(TF_INVALID_ARGUMENT, 3) entry(TF_RESOURCE_EXHAUSTED, 8) \
      entry(TF_INTERNAL, 13)

#ifdef KERAS_INT8NMT_TF_HEADERS
#define KERAS_INT8NMT_SAME(name, value) static_assert(name == value, #name " differs");
KERAS_INT8NMT_TF_DATA_TYPES(KERAS_INT8NMT_SAME)
KERAS_INT8NMT_TF_CODES(KERAS_INT8NMT_SAME)
#undef KERAS_INT8NMT_SAME
static_assert(sizeof(TF_DataType) == sizeof(int) && sizeof(TF_Code) == sizeof(int),
              "TensorFlow's enumerations are no longer ints");
static_assert(sizeof(TF_Bool) == 1, "TF_Bool is no longer one byte");
#else
#define KERAS_INT8NMT_ENTRY(name, value) name = value,
enum TF_DataType : int { KERAS_INT8NMT_TF_DATA_TYPES(KERAS_INT8NMT_ENTRY) };
enum TF_Code : int { KERAS_INT8NMT_TF_CODES(KERAS_INT8NMT_ENTRY) };
#undef KERAS_INT8NMT_ENTRY
using TF_Bool = unsigned char;
struct TF_DimensionHandle;
struct TF_KernelBuilder;
struct TF_OpDefinitionBuilder;
struct TF_OpKernelConstruction;
struct TF_OpKernelContext;
struct TF_ShapeHandle;
struct TF_ShapeInferenceContext;
struct TF_Status;
struct TF_Tensor;
#endif

extern "C" {

// ---- status
TF_Status* TF_NewStatus();
void TF_DeleteStatus(TF_Status* status);
void TF_SetStatus(TF_Status* status, TF_Code code, const char* message);
TF_Code TF_GetCode(const TF_Status* status);
const char* TF_Message(const TF_Status* status);

// ---- tensors
void TF_DeleteTensor(TF_Tensor* tensor);
TF_DataType TF_TensorType(const TF_Tensor* tensor);
int TF_NumDims(const TF_Tensor* tensor);
int64_t TF_Dim(const TF_Tensor* tensor, int index);
size_t TF_TensorByteSize(const TF_Tensor* tensor);
void* TF_TensorData(const TF_Tensor* tensor);
size_t TF_DataTypeSize(TF_DataType type);

// ---- definitions of ops
TF_OpDefinitionBuilder* TF_NewOpDefinitionBuilder(const char* name);
void TF_OpDefinitionBuilderAddAttr(TF_OpDefinitionBuilder* builder, const char* spec);
void TF_OpDefinitionBuilderAddInput(TF_OpDefinitionBuilder* builder, const char* spec);
void TF_OpDefinitionBuilderAddOutput(TF_OpDefinitionBuilder* builder, const char* spec);
void TF_OpDefinitionBuilderSetShapeInferenceFunction(
    TF_OpDefinitionBuilder* builder,
    void (*function)(TF_ShapeInferenceContext* context, TF_Status* status));
// Takes the builder over.
void TF_RegisterOpDefinition(TF_OpDefinitionBuilder* builder, TF_Status* status);

// ---- shape functions
TF_ShapeHandle* TF_NewShapeHandle();
void TF_DeleteShapeHandle(TF_ShapeHandle* shape);
void TF_ShapeInferenceContextGetInput(TF_ShapeInferenceContext* context, int index,
                                      TF_ShapeHandle* shape, TF_Status* status);
void TF_ShapeInferenceContextSetOutput(TF_ShapeInferenceContext* context, int index,
                                       TF_ShapeHandle* shape, TF_Status* status);
TF_ShapeHandle* TF_ShapeInferenceContextVectorFromSize(TF_ShapeInferenceContext* context,
                                                       size_t size);
void TF_ShapeInferenceContextWithRank(TF_ShapeInferenceContext* context, TF_ShapeHandle* shape,
                                      int64_t rank, TF_ShapeHandle* result, TF_Status* status);
void TF_ShapeInferenceContextWithRankAtLeast(TF_ShapeInferenceContext* context,
                                             TF_ShapeHandle* shape, int64_t rank,
                                             TF_ShapeHandle* result, TF_Status* status);
void TF_ShapeInferenceContextSubshape(TF_ShapeInferenceContext* context, TF_ShapeHandle* shape,
                                      int64_t start, int64_t end, TF_ShapeHandle* result,
                                      TF_Status* status);
void TF_ShapeInferenceContextConcatenateShapes(TF_ShapeInferenceContext* context,
                                               TF_ShapeHandle* first, TF_ShapeHandle* second,
                                               TF_ShapeHandle* result, TF_Status* status);
void TF_ShapeInferenceContextSetUnknownShape(TF_ShapeInferenceContext* context, TF_Status* status);

// ---- kernels
TF_KernelBuilder* TF_NewKernelBuilder(const char* op, const char* device,
                                      void* (*create)(TF_OpKernelConstruction*),
                                      void (*compute)(void*, TF_OpKernelContext*),
                                      void (*destroy)(void*));
// Takes the builder over.
void TF_RegisterKernelBuilder(const char* name, TF_KernelBuilder* builder, TF_Status* status);

void TF_OpKernelConstruction_GetAttrSize(TF_OpKernelConstruction* construction, const char* name,
                                         int32_t* list_size, int32_t* total_size,
                                         TF_Status* status);
void TF_OpKernelConstruction_GetAttrType(TF_OpKernelConstruction* construction, const char* name,
                                         TF_DataType* value, TF_Status* status);
void TF_OpKernelConstruction_GetAttrInt64(TF_OpKernelConstruction* construction, const char* name,
                                          int64_t* value, TF_Status* status);
void TF_OpKernelConstruction_GetAttrFloat(TF_OpKernelConstruction* construction, const char* name,
                                          float* value, TF_Status* status);
void TF_OpKernelConstruction_GetAttrBool(TF_OpKernelConstruction* construction, const char* name,
                                         TF_Bool* value, TF_Status* status);
void TF_OpKernelConstruction_GetAttrString(TF_OpKernelConstruction* construction, const char* name,
                                           char* value, size_t max_length, TF_Status* status);
void TF_OpKernelConstruction_GetAttrInt64List(TF_OpKernelConstruction* construction,
                                              const char* name, int64_t* values, int max_values,
                                              TF_Status* status);
void TF_OpKernelConstruction_GetAttrStringList(TF_OpKernelConstruction* construction,
                                               const char* name, char** values, size_t* lengths,
                                               int max_values, void* storage, size_t storage_size,
                                               TF_Status* status);
void TF_OpKernelConstruction_GetAttrFloatList(TF_OpKernelConstruction* construction,
                                              const char* name, float* values, int max_values,
                                              TF_Status* status);
void TF_OpKernelConstruction_Failure(TF_OpKernelConstruction* construction, TF_Status* status);

int TF_NumInputs(TF_OpKernelContext* context);
void TF_GetInput(TF_OpKernelContext* context, int index, TF_Tensor** tensor, TF_Status* status);
void TF_SetOutput(TF_OpKernelContext* context, int index, const TF_Tensor* tensor,
                  TF_Status* status);
TF_Tensor* TF_AllocateOutput(TF_OpKernelContext* context, int index, TF_DataType type,
                             const int64_t* dims, int num_dims, size_t bytes, TF_Status* status);
// *forwarded: the input whose buffer the output has taken, or -1 when it is a new one.
TF_Tensor* TF_ForwardInputOrAllocateOutput(TF_OpKernelContext* context, const int* candidates,
                                           int num_candidates, int index, const int64_t* dims,
                                           int num_dims, int* forwarded, TF_Status* status);
void TF_OpKernelContext_Failure(TF_OpKernelContext* context, TF_Status* status);

}  // extern "C"

#endif  // KERAS_INT8NMT_OPS_TF_C_API_H_
