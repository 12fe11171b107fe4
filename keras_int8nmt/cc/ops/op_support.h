// What all ops share: TensorFlow's handles as C++ values, attributes, checks and error text.
//
// A kernel is a class with a constructor from Attributes, `static constexpr const char* kName`, and
// `void Compute(Context&) const`. It throws when something is wrong; RegisterKernel turns every
// exception into a TensorFlow status, so none leaves the library. It may keep attributes and
// nothing else: TensorFlow shares one kernel object among all calls with equal attributes.
#ifndef KERAS_INT8NMT_OPS_OP_SUPPORT_H_
#define KERAS_INT8NMT_OPS_OP_SUPPORT_H_

#include <cstdint>
#include <initializer_list>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "int8.h"
#include "op_profile.h"
#include "tf_c_api.h"

namespace keras_int8nmt {

using Shape = std::vector<int64_t>;

// The product of dims [from, to); 1 when there are none.
int64_t Product(const Shape& shape, size_t from, size_t to);
inline int64_t Product(const Shape& shape) { return Product(shape, 0, shape.size()); }
std::string ToText(const Shape& shape);  // "[2, 3]"
// Throws std::invalid_argument for an output that TensorFlow can't have: it would end the process.
// The product of the dims, in their order, must fit into 64 bits, even where a later one is 0.
void ExpectPossible(const Shape& shape, size_t element_bytes);

// ---- errors
template <class... Parts>
[[noreturn]] void Fail(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  throw std::invalid_argument(text.str());
}

class Status {
 public:
  Status() : status_(TF_NewStatus()) {}
  ~Status() { TF_DeleteStatus(status_); }
  Status(const Status&) = delete;
  Status& operator=(const Status&) = delete;
  TF_Status* get() const { return status_; }
  // Throws std::invalid_argument or std::runtime_error if TensorFlow reported an error.
  void Check() const;

 private:
  TF_Status* status_;
};

// To be called in a catch block: writes the exception in flight to `status`, after "op: ".
void CurrentExceptionToStatus(const char* op, TF_Status* status);

// ---- tensors
class Tensor {
 public:
  // Takes `tensor` over. The name is what error messages call it.
  Tensor(TF_Tensor* tensor, const char* name);
  ~Tensor();
  Tensor(Tensor&& other) noexcept;
  Tensor& operator=(Tensor&&) = delete;

  const char* name() const { return name_; }
  const Shape& shape() const { return shape_; }
  int64_t rank() const { return static_cast<int64_t>(shape_.size()); }
  int64_t dim(int64_t i) const { return shape_[i < 0 ? i + shape_.size() : i]; }
  int64_t count() const { return Product(shape_); }
  int64_t rows() const { return Product(shape_, 0, shape_.size() - 1); }  // needs rank >= 1
  size_t bytes() const { return TF_TensorByteSize(tensor_); }
  TF_Tensor* get() const { return tensor_; }
  template <class T>
  T* data() const {
    return static_cast<T*>(TF_TensorData(tensor_));
  }

 private:
  TF_Tensor* tensor_;
  const char* name_;
  Shape shape_;
};

// Throw std::invalid_argument that names the tensor, what it is and what was expected.
void ExpectRank(const Tensor& tensor, int64_t rank, const char* expected);
void ExpectRankAtLeast(const Tensor& tensor, int64_t rank, const char* expected);
void ExpectShape(const Tensor& tensor, const Shape& shape, const char* why);
template <class Index>
void ExpectIndices(const Tensor& indices, int64_t limit, const char* of) {
  const Index* values = indices.data<const Index>();
  for (int64_t i = 0; i < indices.count(); ++i) {
    if (values[i] < 0 || values[i] >= limit) {
      Fail(indices.name(), " has ", values[i], " at flat position ", i, "; expected 0 to ",
           limit - 1, ", an index of ", of, ".");
    }
  }
}
int32_t ReadScalar(const Tensor& tensor);

// ---- attributes, read when a kernel is made
class Attributes {
 public:
  explicit Attributes(TF_OpKernelConstruction* construction) : construction_(construction) {}
  TF_DataType DataType(const char* name, std::initializer_list<TF_DataType> allowed) const;
  int32_t Int(const char* name, int32_t least, int32_t most = INT32_MAX) const;
  float Finite(const char* name) const;
  float Positive(const char* name) const;  // finite and > 0
  bool Bool(const char* name) const;
  std::string String(const char* name) const;
  std::vector<int64_t> Ints(const char* name) const;
  std::vector<float> Floats(const char* name) const;
  std::vector<std::string> Strings(const char* name) const;
  // int8 or uint8.
  Type QuantizedType(const char* name) const;
  // A zero point within the range of `type`; 0 for float.
  int32_t ZeroPoint(const char* name, Type type) const;
  // Tout, out_scale and out_zero_point.
  Output OutputOf() const;

 private:
  // Of a list; *bytes of all its strings.
  size_t ListSize(const char* name, size_t* bytes = nullptr) const;

  TF_OpKernelConstruction* construction_;
};

TF_DataType ToTensorFlow(Type type);
Type FromTensorFlow(TF_DataType type);

// ---- one call of a kernel
class Context {
 public:
  explicit Context(TF_OpKernelContext* context) : context_(context) {}
  int NumInputs() const { return TF_NumInputs(context_); }
  Tensor Input(int index, const char* name) const;
  Tensor Output(int index, TF_DataType type, const Shape& shape) const;
  // The buffer of the input if nobody else will read it, else a new one (*forwarded says which).
  // Hold no Tensor of that input meanwhile: it would count as a reader.
  Tensor OutputInPlaceOf(int input, int index, const Shape& shape, bool* forwarded) const;
  void SetOutput(int index, const Tensor& tensor) const;

 private:
  TF_OpKernelContext* context_;
};

// Throws std::runtime_error where the core library is of another build; see core_link.h.
void RequireCore();

// ---- registration, once, when the library is loaded
struct OpDefinition {
  const char* name;
  std::vector<const char*> inputs, outputs, attributes;
  void (*shape_function)(TF_ShapeInferenceContext*, TF_Status*);
};
void RegisterOp(const OpDefinition& definition);
void RegisterKernelFunctions(const char* op, void* (*create)(TF_OpKernelConstruction*),
                             void (*compute)(void*, TF_OpKernelContext*), void (*destroy)(void*));

template <class Kernel>
void* CreateKernel(TF_OpKernelConstruction* construction) {
  try {
    RequireCore();
    return new Kernel(Attributes(construction));
  } catch (...) {
    Status status;
    CurrentExceptionToStatus(Kernel::kName, status.get());
    TF_OpKernelConstruction_Failure(construction, status.get());
    return nullptr;
  }
}

template <class Kernel>
void ComputeKernel(void* kernel, TF_OpKernelContext* tf_context) {
  static OpProfile profile(Kernel::kName);
  const OpTimer timer(profile);
  try {
    Context context(tf_context);
    static_cast<const Kernel*>(kernel)->Compute(context);
  } catch (...) {
    Status status;
    CurrentExceptionToStatus(Kernel::kName, status.get());
    TF_OpKernelContext_Failure(tf_context, status.get());
  }
}

template <class Kernel>
void RegisterKernel() {
  RegisterKernelFunctions(Kernel::kName, &CreateKernel<Kernel>, &ComputeKernel<Kernel>,
                          [](void* kernel) { delete static_cast<Kernel*>(kernel); });
}

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_OPS_OP_SUPPORT_H_
