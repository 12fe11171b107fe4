// KerasInt8nmtGather: tf.gather(x, indices, axis=batch_dims, batch_dims=batch_dims).
#include "op_support.h"
#include "ops.h"
#include "shape_functions.h"

namespace keras_int8nmt {
namespace {

class Gather {
 public:
  static constexpr const char* kName = "KerasInt8nmtGather";
  explicit Gather(const Attributes& attributes)
      : type_(attributes.DataType("T", {TF_INT8, TF_UINT8, TF_FLOAT, TF_INT32})),
        index_type_(attributes.DataType("Tindices", {TF_INT32, TF_INT64})),
        batch_dims_(attributes.Int("batch_dims", 0)) {}

  void Compute(Context& context) const {
    const Tensor x = context.Input(0, "x");
    const Tensor indices = context.Input(1, "indices");
    ExpectBatchDims(x, indices);
    const size_t axis = static_cast<size_t>(batch_dims_);
    const int64_t source_rows = x.dim(batch_dims_);
    if (source_rows > INT32_MAX) {
      Fail("x has ", source_rows, " rows; expected at most ", INT32_MAX, ".");
    }
    std::vector<int32_t> narrow;
    const int32_t* rows = CheckedIndices(indices, source_rows, &narrow);

    Shape shape(x.shape().begin(), x.shape().begin() + batch_dims_);
    shape.insert(shape.end(), indices.shape().begin() + batch_dims_, indices.shape().end());
    shape.insert(shape.end(), x.shape().begin() + batch_dims_ + 1, x.shape().end());
    const Tensor result = context.Output(0, type_, shape);
    if (result.count() == 0) return;
    const int64_t row_elements = Product(x.shape(), axis + 1, x.shape().size());
    GatherRows(x.data<const void>(), Product(x.shape(), 0, axis), source_rows, rows,
               Product(indices.shape(), axis, indices.shape().size()),
               static_cast<size_t>(row_elements) * TF_DataTypeSize(type_), result.data<void>());
  }

 private:
  void ExpectBatchDims(const Tensor& x, const Tensor& indices) const {
    if (x.rank() <= batch_dims_ || indices.rank() < batch_dims_) {
      Fail("x has shape ", ToText(x.shape()), " and indices ", ToText(indices.shape()),
           "; expected ranks of at least ", int64_t{batch_dims_} + 1, " and ", batch_dims_,
           " for batch_dims ", batch_dims_, ".");
    }
    for (int32_t i = 0; i < batch_dims_; ++i) {
      if (x.dim(i) != indices.dim(i)) {
        Fail("indices has shape ", ToText(indices.shape()), "; expected the first ", batch_dims_,
             " dims of x, ", ToText(x.shape()), ".");
      }
    }
  }

  const int32_t* CheckedIndices(const Tensor& indices, int64_t limit,
                                std::vector<int32_t>* narrow) const {
    if (index_type_ == TF_INT32) {
      ExpectIndices<int32_t>(indices, limit, "x");
      return indices.data<const int32_t>();
    }
    ExpectIndices<int64_t>(indices, limit, "x");
    const int64_t* wide = indices.data<const int64_t>();
    for (int64_t i = 0; i < indices.count(); ++i) narrow->push_back(static_cast<int32_t>(wide[i]));
    return narrow->data();
  }

  TF_DataType type_, index_type_;
  int32_t batch_dims_;
};

// Even the rank depends on batch_dims, an attribute.
void GatherShape(TF_ShapeInferenceContext* context, TF_Status* status) {
  ShapeInference(context, status).SetOutputsUnknown();
}

}  // namespace

void RegisterGatherOp() {
  RegisterOp({Gather::kName,
              {"x: T", "indices: Tindices"},
              {"rows: T"},
              {"T: {int8, uint8, float, int32}", "Tindices: {int32, int64}", "batch_dims: int = 0"},
              &GatherShape});
  RegisterKernel<Gather>();
}

}  // namespace keras_int8nmt
