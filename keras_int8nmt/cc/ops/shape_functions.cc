#include "shape_functions.h"

namespace keras_int8nmt {

PartialShape ShapeInference::Input(int index) {
  PartialShape shape(TF_NewShapeHandle());
  if (ok()) TF_ShapeInferenceContextGetInput(context_, index, shape.get(), status_);
  return shape;
}

PartialShape ShapeInference::InputOfRank(int index, int64_t rank) {
  PartialShape input = Input(index);
  PartialShape shape(TF_NewShapeHandle());
  if (ok()) TF_ShapeInferenceContextWithRank(context_, input.get(), rank, shape.get(), status_);
  return shape;
}

PartialShape ShapeInference::InputOfRankAtLeast(int index, int64_t rank) {
  PartialShape input = Input(index);
  PartialShape shape(TF_NewShapeHandle());
  if (ok()) {
    TF_ShapeInferenceContextWithRankAtLeast(context_, input.get(), rank, shape.get(), status_);
  }
  return shape;
}

PartialShape ShapeInference::Part(const PartialShape& shape, int64_t start, int64_t end) {
  PartialShape part(TF_NewShapeHandle());
  if (ok()) {
    TF_ShapeInferenceContextSubshape(context_, shape.get(), start, end, part.get(), status_);
  }
  return part;
}

PartialShape ShapeInference::Concatenate(const PartialShape& first, const PartialShape& second) {
  PartialShape whole(TF_NewShapeHandle());
  if (ok()) {
    TF_ShapeInferenceContextConcatenateShapes(context_, first.get(), second.get(), whole.get(),
                                              status_);
  }
  return whole;
}

PartialShape ShapeInference::UnknownVector() {
  // TensorFlow writes an unknown dim as -1.
  return PartialShape(
      TF_ShapeInferenceContextVectorFromSize(context_, static_cast<size_t>(int64_t{-1})));
}

void ShapeInference::SetOutput(int index, const PartialShape& shape) {
  if (ok()) TF_ShapeInferenceContextSetOutput(context_, index, shape.get(), status_);
}

void ShapeInference::SetOutputsUnknown() {
  if (ok()) TF_ShapeInferenceContextSetUnknownShape(context_, status_);
}

void SameShapeAsInput(TF_ShapeInferenceContext* context, TF_Status* status) {
  ShapeInference shapes(context, status);
  shapes.SetOutput(0, shapes.Input(0));
}

}  // namespace keras_int8nmt
