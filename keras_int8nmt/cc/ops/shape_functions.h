// Shape functions out of small parts. TensorFlow's C API shows them ranks and dims, but no integer
// attribute, so what depends on one is left unknown here and checked when the op runs.
#ifndef KERAS_INT8NMT_OPS_SHAPE_FUNCTIONS_H_
#define KERAS_INT8NMT_OPS_SHAPE_FUNCTIONS_H_

#include "tf_c_api.h"

namespace keras_int8nmt {

// A shape that is known in part. After an error in `status` every step does nothing, so that a
// shape function reads as one sequence.
class PartialShape {
 public:
  explicit PartialShape(TF_ShapeHandle* handle) : handle_(handle) {}
  ~PartialShape() { TF_DeleteShapeHandle(handle_); }
  PartialShape(PartialShape&& other) noexcept : handle_(other.handle_) { other.handle_ = nullptr; }
  PartialShape& operator=(PartialShape&&) = delete;
  TF_ShapeHandle* get() const { return handle_; }

 private:
  TF_ShapeHandle* handle_;
};

class ShapeInference {
 public:
  ShapeInference(TF_ShapeInferenceContext* context, TF_Status* status)
      : context_(context), status_(status) {}

  // The shape of an input, whose rank is checked if known.
  PartialShape Input(int index);
  PartialShape InputOfRank(int index, int64_t rank);
  PartialShape InputOfRankAtLeast(int index, int64_t rank);
  // Dims [start, end) of a shape; negative ends count from the back.
  PartialShape Part(const PartialShape& shape, int64_t start, int64_t end);
  PartialShape Concatenate(const PartialShape& first, const PartialShape& second);
  PartialShape UnknownVector();  // [?]
  void SetOutput(int index, const PartialShape& shape);
  void SetOutputsUnknown();

 private:
  bool ok() const { return TF_GetCode(status_) == TF_OK; }

  TF_ShapeInferenceContext* context_;
  TF_Status* status_;
};

// Output 0 has the shape of input 0.
void SameShapeAsInput(TF_ShapeInferenceContext* context, TF_Status* status);

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_OPS_SHAPE_FUNCTIONS_H_
