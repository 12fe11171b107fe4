#include "op_support.h"

#include <algorithm>
#include <cmath>
#include <new>

namespace keras_int8nmt {
namespace {

constexpr size_t kMostRank = 254;  // of a tensor of TensorFlow's

}  // namespace

int64_t Product(const Shape& shape, size_t from, size_t to) {
  int64_t product = 1;
  for (size_t i = from; i < to; ++i) product *= shape[i];
  return product;
}

void ExpectPossible(const Shape& shape, size_t element_bytes) {
  if (shape.size() > kMostRank) {
    Fail("the output would have ", shape.size(), " dims; expected at most ", kMostRank, ".");
  }
  int64_t count = 1;
  bool fits = true;
  for (const int64_t dim : shape) fits = fits && !__builtin_mul_overflow(count, dim, &count);
  int64_t bytes = 0;
  if (!fits || __builtin_mul_overflow(count, static_cast<int64_t>(element_bytes), &bytes)) {
    Fail("the output would have shape ", ToText(shape), ", whose size overflows 64 bits.");
  }
}

std::string ToText(const Shape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  }
  return text + "]";
}

void Status::Check() const {
  const TF_Code code = TF_GetCode(status_);
  if (code == TF_OK) return;
  if (code == TF_INVALID_ARGUMENT) throw std::invalid_argument(TF_Message(status_));
  if (code == TF_RESOURCE_EXHAUSTED) throw std::bad_alloc();
  throw std::runtime_error(TF_Message(status_));
}

void CurrentExceptionToStatus(const char* op, TF_Status* status) {
  const std::string prefix = std::string(op) + ": ";
  try {
    throw;
  } catch (const std::invalid_argument& error) {
    TF_SetStatus(status, TF_INVALID_ARGUMENT, (prefix + error.what()).c_str());
  } catch (const std::bad_alloc&) {
    TF_SetStatus(status, TF_RESOURCE_EXHAUSTED, (prefix + "out of memory.").c_str());
  } catch (const std::exception& error) {
    TF_SetStatus(status, TF_INTERNAL, (prefix + error.what()).c_str());
  } catch (...) {
    TF_SetStatus(status, TF_INTERNAL, (prefix + "unknown error.").c_str());
  }
}

// ---- tensors

Tensor::Tensor(TF_Tensor* tensor, const char* name) : tensor_(tensor), name_(name) {
  const int rank = TF_NumDims(tensor);
  for (int i = 0; i < rank; ++i) shape_.push_back(TF_Dim(tensor, i));
}

Tensor::~Tensor() {
  if (tensor_ != nullptr) TF_DeleteTensor(tensor_);
}

Tensor::Tensor(Tensor&& other) noexcept
    : tensor_(other.tensor_), name_(other.name_), shape_(std::move(other.shape_)) {
  other.tensor_ = nullptr;
}

void ExpectRank(const Tensor& tensor, int64_t rank, const char* expected) {
  if (tensor.rank() == rank) return;
  Fail(tensor.name(), " has shape ", ToText(tensor.shape()), "; expected ", expected, ".");
}

void ExpectRankAtLeast(const Tensor& tensor, int64_t rank, const char* expected) {
  if (tensor.rank() >= rank) return;
  Fail(tensor.name(), " has shape ", ToText(tensor.shape()), "; expected ", expected, ".");
}

void ExpectShape(const Tensor& tensor, const Shape& shape, const char* why) {
  if (tensor.shape() == shape) return;
  Fail(tensor.name(), " has shape ", ToText(tensor.shape()), "; expected ", ToText(shape), ", ",
       why, ".");
}

int32_t ReadScalar(const Tensor& tensor) {
  ExpectRank(tensor, 0, "[], a scalar");
  return *tensor.data<const int32_t>();
}

// ---- attributes

namespace {

const char* TypeName(TF_DataType type) {
  switch (type) {
    case TF_FLOAT:
      return "float32";
    case TF_INT8:
      return "int8";
    case TF_UINT8:
      return "uint8";
    case TF_INT32:
      return "int32";
    case TF_INT64:
      return "int64";
    case TF_BOOL:
      return "bool";
    default:
      return "another type";
  }
}

}  // namespace

TF_DataType Attributes::DataType(const char* name,
                                 std::initializer_list<TF_DataType> allowed) const {
  TF_DataType type;
  Status status;
  TF_OpKernelConstruction_GetAttrType(construction_, name, &type, status.get());
  status.Check();
  if (std::find(allowed.begin(), allowed.end(), type) == allowed.end()) {
    std::string choices;
    for (TF_DataType choice : allowed) {
      choices += (choices.empty() ? "" : ", ") + std::string(TypeName(choice));
    }
    Fail(name, " is ", TypeName(type), " (", static_cast<int>(type), "); expected one of ", choices,
         ".");
  }
  return type;
}

int32_t Attributes::Int(const char* name, int32_t least, int32_t most) const {
  int64_t value;
  Status status;
  TF_OpKernelConstruction_GetAttrInt64(construction_, name, &value, status.get());
  status.Check();
  if (value < least || value > most) {
    Fail(name, " is ", value, "; expected ", least, " to ", most, ".");
  }
  return static_cast<int32_t>(value);
}

float Attributes::Finite(const char* name) const {
  float value;
  Status status;
  TF_OpKernelConstruction_GetAttrFloat(construction_, name, &value, status.get());
  status.Check();
  if (!std::isfinite(value)) Fail(name, " is ", value, "; expected a finite number.");
  return value;
}

float Attributes::Positive(const char* name) const {
  const float value = Finite(name);
  if (value <= 0.0f) Fail(name, " is ", value, "; expected a number above 0.");
  return value;
}

bool Attributes::Bool(const char* name) const {
  TF_Bool value;
  Status status;
  TF_OpKernelConstruction_GetAttrBool(construction_, name, &value, status.get());
  status.Check();
  return value != 0;
}

std::string Attributes::String(const char* name) const {
  int32_t list_size = 0;
  int32_t size = 0;
  Status status;
  TF_OpKernelConstruction_GetAttrSize(construction_, name, &list_size, &size, status.get());
  status.Check();
  std::string value(static_cast<size_t>(size), '\0');
  TF_OpKernelConstruction_GetAttrString(construction_, name, value.data(), value.size(),
                                        status.get());
  status.Check();
  return value;
}

size_t Attributes::ListSize(const char* name, size_t* bytes) const {
  int32_t list_size = 0;
  int32_t total = 0;
  Status status;
  TF_OpKernelConstruction_GetAttrSize(construction_, name, &list_size, &total, status.get());
  status.Check();
  if (bytes != nullptr) *bytes = total < 0 ? 0 : static_cast<size_t>(total);
  return list_size < 0 ? 0 : static_cast<size_t>(list_size);
}

std::vector<int64_t> Attributes::Ints(const char* name) const {
  std::vector<int64_t> values(ListSize(name));
  Status status;
  TF_OpKernelConstruction_GetAttrInt64List(construction_, name, values.data(),
                                           static_cast<int>(values.size()), status.get());
  status.Check();
  return values;
}

std::vector<float> Attributes::Floats(const char* name) const {
  std::vector<float> values(ListSize(name));
  Status status;
  TF_OpKernelConstruction_GetAttrFloatList(construction_, name, values.data(),
                                           static_cast<int>(values.size()), status.get());
  status.Check();
  return values;
}

std::vector<std::string> Attributes::Strings(const char* name) const {
  size_t bytes = 0;
  const size_t count = ListSize(name, &bytes);
  std::vector<char*> values(count);
  std::vector<size_t> lengths(count);
  std::vector<char> storage(bytes);
  Status status;
  TF_OpKernelConstruction_GetAttrStringList(construction_, name, values.data(), lengths.data(),
                                            static_cast<int>(count), storage.data(), bytes,
                                            status.get());
  status.Check();
  std::vector<std::string> strings;
  for (size_t i = 0; i < count; ++i) strings.emplace_back(values[i], lengths[i]);
  return strings;
}

Type Attributes::QuantizedType(const char* name) const {
  return FromTensorFlow(DataType(name, {TF_INT8, TF_UINT8}));
}

int32_t Attributes::ZeroPoint(const char* name, Type type) const {
  switch (type) {
    case Type::kInt8:
      return Int(name, -127, 127);
    case Type::kUint8:
      return Int(name, 0, 255);
    default:
      return Int(name, 0, 0);
  }
}

Output Attributes::OutputOf() const {
  Output output;
  output.type = FromTensorFlow(DataType("Tout", {TF_FLOAT, TF_INT8, TF_UINT8}));
  output.scale = Positive("out_scale");
  output.zero_point = ZeroPoint("out_zero_point", output.type);
  return output;
}

TF_DataType ToTensorFlow(Type type) {
  return type == Type::kInt8 ? TF_INT8 : type == Type::kUint8 ? TF_UINT8 : TF_FLOAT;
}

Type FromTensorFlow(TF_DataType type) {
  return type == TF_INT8 ? Type::kInt8 : type == TF_UINT8 ? Type::kUint8 : Type::kFloat32;
}

// ---- one call of a kernel

Tensor Context::Input(int index, const char* name) const {
  TF_Tensor* tensor = nullptr;
  Status status;
  TF_GetInput(context_, index, &tensor, status.get());
  status.Check();
  return Tensor(tensor, name);
}

Tensor Context::Output(int index, TF_DataType type, const Shape& shape) const {
  ExpectPossible(shape, TF_DataTypeSize(type));
  Status status;
  const size_t bytes = static_cast<size_t>(Product(shape)) * TF_DataTypeSize(type);
  TF_Tensor* tensor = TF_AllocateOutput(context_, index, type, shape.data(),
                                        static_cast<int>(shape.size()), bytes, status.get());
  status.Check();
  return Tensor(tensor, "output");
}

Tensor Context::OutputInPlaceOf(int input, int index, const Shape& shape, bool* forwarded) const {
  Status status;
  int from = -1;
  TF_Tensor* tensor =
      TF_ForwardInputOrAllocateOutput(context_, &input, 1, index, shape.data(),
                                      static_cast<int>(shape.size()), &from, status.get());
  status.Check();
  *forwarded = from == input;
  return Tensor(tensor, "output");
}

void Context::SetOutput(int index, const Tensor& tensor) const {
  Status status;
  TF_SetOutput(context_, index, tensor.get(), status.get());
  status.Check();
}

// ---- registration

void RegisterOp(const OpDefinition& definition) {
  TF_OpDefinitionBuilder* builder = TF_NewOpDefinitionBuilder(definition.name);
  for (const char* spec : definition.inputs) TF_OpDefinitionBuilderAddInput(builder, spec);
  for (const char* spec : definition.outputs) TF_OpDefinitionBuilderAddOutput(builder, spec);
  for (const char* spec : definition.attributes) TF_OpDefinitionBuilderAddAttr(builder, spec);
  TF_OpDefinitionBuilderSetShapeInferenceFunction(builder, definition.shape_function);
  Status status;
  TF_RegisterOpDefinition(builder, status.get());
  status.Check();
}

void RegisterKernelFunctions(const char* op, void* (*create)(TF_OpKernelConstruction*),
                             void (*compute)(void*, TF_OpKernelContext*), void (*destroy)(void*)) {
  TF_KernelBuilder* builder = TF_NewKernelBuilder(op, "CPU", create, compute, destroy);
  Status status;
  TF_RegisterKernelBuilder(op, builder, status.get());
  status.Check();
}

}  // namespace keras_int8nmt
