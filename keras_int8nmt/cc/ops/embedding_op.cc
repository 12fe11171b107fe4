// KerasInt8nmtEmbedding: rows of an int8 table, each with its own scale, as float.
#include "op_support.h"
#include "ops.h"
#include "shape_functions.h"

namespace keras_int8nmt {
namespace {

class Embedding {
 public:
  static constexpr const char* kName = "KerasInt8nmtEmbedding";
  explicit Embedding(const Attributes& attributes) : multiplier_(attributes.Finite("multiplier")) {}

  void Compute(Context& context) const {
    const Tensor table = context.Input(0, "table");
    const Tensor inv_scales = context.Input(1, "inv_scales");
    const Tensor indices = context.Input(2, "indices");
    ExpectRank(table, 2, "[vocabulary, columns]");
    ExpectShape(inv_scales, {table.dim(0)}, "one value a row of table");
    ExpectIndices<int32_t>(indices, table.dim(0), "a row of table");

    Shape shape = indices.shape();
    shape.push_back(table.dim(1));
    const Tensor result = context.Output(0, TF_FLOAT, shape);
    if (result.count() == 0) return;
    ActiveKernels().embedding(table.data<const int8_t>(), table.dim(1),
                              inv_scales.data<const float>(), indices.data<const int32_t>(),
                              indices.count(), multiplier_, result.data<float>());
  }

 private:
  float multiplier_;
};

void EmbeddingShape(TF_ShapeInferenceContext* context, TF_Status* status) {
  ShapeInference shapes(context, status);
  const PartialShape table = shapes.InputOfRank(0, 2);
  shapes.InputOfRank(1, 1);
  shapes.SetOutput(0, shapes.Concatenate(shapes.Input(2), shapes.Part(table, 1, 2)));
}

}  // namespace

void RegisterEmbeddingOp() {
  RegisterOp({Embedding::kName,
              {"table: int8", "inv_scales: float", "indices: int32"},
              {"vectors: float"},
              {"multiplier: float = 1.0"},
              &EmbeddingShape});
  RegisterKernel<Embedding>();
}

}  // namespace keras_int8nmt
