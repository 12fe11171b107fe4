#include "fake_tensorflow.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

using keras_int8nmt::FakeAttribute;
using keras_int8nmt::FakeAttributes;
using keras_int8nmt::FakeTensor;

struct TF_Status {
  TF_Code code = TF_OK;
  std::string message;
};
struct TF_Tensor {
  FakeTensor tensor;
};
struct TF_KernelBuilder {
  void* (*create)(TF_OpKernelConstruction*);
  void (*compute)(void*, TF_OpKernelContext*);
  void (*destroy)(void*);
};
struct TF_OpKernelConstruction {
  const FakeAttributes* attributes;
  TF_Status status;
};
struct TF_OpKernelContext {
  const std::vector<FakeTensor>* inputs;
  std::vector<FakeTensor> outputs;
  TF_Status status;
};
struct TF_OpDefinitionBuilder {};
struct TF_ShapeHandle {};

namespace {

constexpr int64_t kMostBytes = int64_t{1} << 26;
constexpr int kMostRank = 254;

std::map<std::string, TF_KernelBuilder>& Ops() {
  static std::map<std::string, TF_KernelBuilder> ops;
  return ops;
}

// -1 for what TensorFlow can't have.
int64_t Count(const std::vector<int64_t>& dims) {
  int64_t count = 1;
  for (int64_t dim : dims) {
    if (dim < 0 || __builtin_mul_overflow(count, dim, &count)) return -1;
  }
  return dims.size() > kMostRank ? -1 : count;
}

TF_Tensor* Allocate(TF_OpKernelContext* context, int index, TF_DataType type,
                    const std::vector<int64_t>& dims, TF_Status* status) {
  const int64_t count = Count(dims);
  if (count < 0) {
    std::fprintf(stderr, "TensorFlow would end the process: an output shape that can not be\n");
    std::abort();
  }
  if (count > kMostBytes / 8) {
    TF_SetStatus(status, TF_RESOURCE_EXHAUSTED, "no memory for that");
    return nullptr;
  }
  const auto place = static_cast<size_t>(index);
  if (context->outputs.size() <= place) context->outputs.resize(place + 1);
  context->outputs[place] = FakeTensor::Of(type, dims);
  return new TF_Tensor{context->outputs[place]};
}

const FakeAttribute* Find(const TF_OpKernelConstruction* construction, const char* name,
                          TF_Status* status) {
  const auto found = construction->attributes->find(name);
  if (found != construction->attributes->end()) return &found->second;
  TF_SetStatus(status, TF_INVALID_ARGUMENT, "no such attribute");
  return nullptr;
}

}  // namespace

namespace keras_int8nmt {

FakeTensor FakeTensor::Of(TF_DataType type, const std::vector<int64_t>& dims) {
  FakeTensor tensor;
  tensor.type = type;
  tensor.dims = dims;
  const size_t bytes =
      static_cast<size_t>(std::max<int64_t>(Count(dims), 0)) * TF_DataTypeSize(type);
  tensor.data = std::make_shared<std::vector<char>>(bytes);
  return tensor;
}

FakeResult RunFakeOp(const std::string& op, const FakeAttributes& attributes,
                     const std::vector<FakeTensor>& inputs) {
  const TF_KernelBuilder& kernel = Ops().at(op);
  TF_OpKernelConstruction construction = {&attributes, {}};
  void* made = kernel.create(&construction);
  FakeResult result;
  if (construction.status.code != TF_OK) {
    result.code = construction.status.code;
    result.message = construction.status.message;
    return result;
  }
  TF_OpKernelContext context = {&inputs, {}, {}};
  kernel.compute(made, &context);
  kernel.destroy(made);
  result.code = context.status.code;
  result.message = context.status.message;
  result.outputs = std::move(context.outputs);
  return result;
}

}  // namespace keras_int8nmt

extern "C" {

TF_Status* TF_NewStatus() { return new TF_Status; }
void TF_DeleteStatus(TF_Status* status) { delete status; }
void TF_SetStatus(TF_Status* status, TF_Code code, const char* message) {
  status->code = code;
  status->message = message;
}
TF_Code TF_GetCode(const TF_Status* status) { return status->code; }
const char* TF_Message(const TF_Status* status) { return status->message.c_str(); }

void TF_DeleteTensor(TF_Tensor* tensor) { delete tensor; }
TF_DataType TF_TensorType(const TF_Tensor* tensor) { return tensor->tensor.type; }
int TF_NumDims(const TF_Tensor* tensor) { return static_cast<int>(tensor->tensor.dims.size()); }
int64_t TF_Dim(const TF_Tensor* tensor, int index) {
  return tensor->tensor.dims[static_cast<size_t>(index)];
}
size_t TF_TensorByteSize(const TF_Tensor* tensor) { return tensor->tensor.data->size(); }
void* TF_TensorData(const TF_Tensor* tensor) { return tensor->tensor.data->data(); }
size_t TF_DataTypeSize(TF_DataType type) {
  return type == TF_INT64 ? 8 : type == TF_FLOAT || type == TF_INT32 ? 4 : 1;
}

TF_OpDefinitionBuilder* TF_NewOpDefinitionBuilder(const char*) {
  return new TF_OpDefinitionBuilder;
}
void TF_OpDefinitionBuilderAddAttr(TF_OpDefinitionBuilder*, const char*) {}
void TF_OpDefinitionBuilderAddInput(TF_OpDefinitionBuilder*, const char*) {}
void TF_OpDefinitionBuilderAddOutput(TF_OpDefinitionBuilder*, const char*) {}
void TF_OpDefinitionBuilderSetShapeInferenceFunction(TF_OpDefinitionBuilder*,
                                                     void (*)(TF_ShapeInferenceContext*,
                                                              TF_Status*)) {}
void TF_RegisterOpDefinition(TF_OpDefinitionBuilder* builder, TF_Status*) { delete builder; }

// Shape functions are TensorFlow's business, and are not called here.
TF_ShapeHandle* TF_NewShapeHandle() { return new TF_ShapeHandle; }
void TF_DeleteShapeHandle(TF_ShapeHandle* shape) { delete shape; }
void TF_ShapeInferenceContextGetInput(TF_ShapeInferenceContext*, int, TF_ShapeHandle*, TF_Status*) {
}
void TF_ShapeInferenceContextSetOutput(TF_ShapeInferenceContext*, int, TF_ShapeHandle*,
                                       TF_Status*) {}
TF_ShapeHandle* TF_ShapeInferenceContextVectorFromSize(TF_ShapeInferenceContext*, size_t) {
  return new TF_ShapeHandle;
}
void TF_ShapeInferenceContextWithRank(TF_ShapeInferenceContext*, TF_ShapeHandle*, int64_t,
                                      TF_ShapeHandle*, TF_Status*) {}
void TF_ShapeInferenceContextWithRankAtLeast(TF_ShapeInferenceContext*, TF_ShapeHandle*, int64_t,
                                             TF_ShapeHandle*, TF_Status*) {}
void TF_ShapeInferenceContextSubshape(TF_ShapeInferenceContext*, TF_ShapeHandle*, int64_t, int64_t,
                                      TF_ShapeHandle*, TF_Status*) {}
void TF_ShapeInferenceContextConcatenateShapes(TF_ShapeInferenceContext*, TF_ShapeHandle*,
                                               TF_ShapeHandle*, TF_ShapeHandle*, TF_Status*) {}
void TF_ShapeInferenceContextSetUnknownShape(TF_ShapeInferenceContext*, TF_Status*) {}

TF_KernelBuilder* TF_NewKernelBuilder(const char*, const char*,
                                      void* (*create)(TF_OpKernelConstruction*),
                                      void (*compute)(void*, TF_OpKernelContext*),
                                      void (*destroy)(void*)) {
  return new TF_KernelBuilder{create, compute, destroy};
}
void TF_RegisterKernelBuilder(const char* name, TF_KernelBuilder* builder, TF_Status*) {
  Ops()[name] = *builder;
  delete builder;
}

void TF_OpKernelConstruction_GetAttrSize(TF_OpKernelConstruction* construction, const char* name,
                                         int32_t* list_size, int32_t* total_size,
                                         TF_Status* status) {
  const FakeAttribute* found = Find(construction, name, status);
  if (found == nullptr) return;
  *list_size = static_cast<int32_t>(found->count());
  *total_size = static_cast<int32_t>(found->text.size());
  for (const std::string& text : found->texts) *total_size += static_cast<int32_t>(text.size());
}
void TF_OpKernelConstruction_GetAttrType(TF_OpKernelConstruction* construction, const char* name,
                                         TF_DataType* value, TF_Status* status) {
  const FakeAttribute* found = Find(construction, name, status);
  if (found != nullptr) *value = static_cast<TF_DataType>(found->whole);
}
void TF_OpKernelConstruction_GetAttrInt64(TF_OpKernelConstruction* construction, const char* name,
                                          int64_t* value, TF_Status* status) {
  const FakeAttribute* found = Find(construction, name, status);
  if (found != nullptr) *value = found->whole;
}
void TF_OpKernelConstruction_GetAttrFloat(TF_OpKernelConstruction* construction, const char* name,
                                          float* value, TF_Status* status) {
  const FakeAttribute* found = Find(construction, name, status);
  if (found != nullptr) *value = found->number;
}
void TF_OpKernelConstruction_GetAttrBool(TF_OpKernelConstruction* construction, const char* name,
                                         TF_Bool* value, TF_Status* status) {
  const FakeAttribute* found = Find(construction, name, status);
  if (found != nullptr) *value = found->whole != 0;
}
void TF_OpKernelConstruction_GetAttrString(TF_OpKernelConstruction* construction, const char* name,
                                           char* value, size_t max_length, TF_Status* status) {
  const FakeAttribute* found = Find(construction, name, status);
  if (found != nullptr)
    std::memcpy(value, found->text.data(), std::min(max_length, found->text.size()));
}
void TF_OpKernelConstruction_GetAttrInt64List(TF_OpKernelConstruction* construction,
                                              const char* name, int64_t* values, int max_values,
                                              TF_Status* status) {
  const FakeAttribute* found = Find(construction, name, status);
  if (found == nullptr) return;
  std::copy_n(found->wholes.begin(), std::min<size_t>(max_values, found->wholes.size()), values);
}
void TF_OpKernelConstruction_GetAttrFloatList(TF_OpKernelConstruction* construction,
                                              const char* name, float* values, int max_values,
                                              TF_Status* status) {
  const FakeAttribute* found = Find(construction, name, status);
  if (found == nullptr) return;
  std::copy_n(found->numbers.begin(), std::min<size_t>(max_values, found->numbers.size()), values);
}
void TF_OpKernelConstruction_GetAttrStringList(TF_OpKernelConstruction* construction,
                                               const char* name, char** values, size_t* lengths,
                                               int max_values, void* storage, size_t storage_size,
                                               TF_Status* status) {
  const FakeAttribute* found = Find(construction, name, status);
  if (found == nullptr) return;
  char* to = static_cast<char*>(storage);
  for (size_t i = 0; i < found->texts.size() && i < static_cast<size_t>(max_values); ++i) {
    const std::string& text = found->texts[i];
    if (text.size() > storage_size) std::abort();
    if (!text.empty()) std::memcpy(to, text.data(), text.size());
    values[i] = to;
    lengths[i] = text.size();
    to += text.size();
    storage_size -= text.size();
  }
}
void TF_OpKernelConstruction_Failure(TF_OpKernelConstruction* construction, TF_Status* status) {
  construction->status = *status;
}

int TF_NumInputs(TF_OpKernelContext* context) { return static_cast<int>(context->inputs->size()); }
void TF_GetInput(TF_OpKernelContext* context, int index, TF_Tensor** tensor, TF_Status* status) {
  const auto place = static_cast<size_t>(index);
  if (place >= context->inputs->size()) {
    TF_SetStatus(status, TF_INVALID_ARGUMENT, "no such input");
    return;
  }
  *tensor = new TF_Tensor{(*context->inputs)[place]};
}
void TF_SetOutput(TF_OpKernelContext* context, int index, const TF_Tensor* tensor, TF_Status*) {
  const auto place = static_cast<size_t>(index);
  if (context->outputs.size() <= place) context->outputs.resize(place + 1);
  context->outputs[place] = tensor->tensor;
}
TF_Tensor* TF_AllocateOutput(TF_OpKernelContext* context, int index, TF_DataType type,
                             const int64_t* dims, int num_dims, size_t, TF_Status* status) {
  return Allocate(context, index, type, {dims, dims + num_dims}, status);
}
TF_Tensor* TF_ForwardInputOrAllocateOutput(TF_OpKernelContext* context, const int* candidates, int,
                                           int index, const int64_t* dims, int num_dims,
                                           int* forwarded, TF_Status* status) {
  *forwarded = -1;
  const TF_DataType type = (*context->inputs)[static_cast<size_t>(candidates[0])].type;
  return Allocate(context, index, type, {dims, dims + num_dims}, status);
}
void TF_OpKernelContext_Failure(TF_OpKernelContext* context, TF_Status* status) {
  context->status = *status;
}

}  // extern "C"
