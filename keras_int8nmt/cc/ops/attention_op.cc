// KerasInt8nmtAttention: softmax(query key^T) value over int8 heads, read where they lie; and
// KerasInt8nmtBiasedAttention, which adds a bias to the scores. Two ops, since saved graphs have
// the first with the inputs that it had.
#include "core_link.h"
#include "op_support.h"
#include "ops.h"
#include "shape_functions.h"

namespace keras_int8nmt {
namespace {

class AnyAttention {
 public:
  explicit AnyAttention(const Attributes& attributes)
      : heads_(attributes.Int("num_heads", 1)),
        head_dim_(attributes.Int("head_dim", 1, kMaxDepth)),
        value_dim_(attributes.Int("value_dim", 1)),
        scale_(attributes.Positive("scale")),
        output_(attributes.OutputOf()),
        causal_(attributes.Bool("causal")),
        integer_softmax_(attributes.Bool("integer_softmax")),
        query_column_(attributes.Int("query_column", 0)),
        key_column_(attributes.Int("key_column", 0)),
        value_column_(attributes.Int("value_column", 0)) {}

 protected:
  // `bias`: of the op that has one.
  void ComputeWith(Context& context, const Tensor* bias) const {
    const Tensor query = context.Input(0, "query");
    const Tensor key = context.Input(1, "key");
    const Tensor value = context.Input(2, "value");
    const Tensor lengths = context.Input(3, "lengths");
    const Tensor mask = context.Input(4, "mask");
    const int32_t offset = ReadScalar(context.Input(5, "offset"));
    AttentionArgs args;
    SetQueryKeyValue(query, key, value, &args);
    SetLengths(lengths, &args);
    SetMask(mask, &args);
    if (bias != nullptr) SetBias(*bias, &args);
    if (offset < 0) Fail("offset is ", offset, "; expected 0 or more.");
    args.causal = causal_;
    args.offset = offset;
    args.scale = scale_;
    args.integer_softmax = integer_softmax_;
    args.output = output_;

    Shape shape = query.shape();
    shape.back() = int64_t{heads_} * value_dim_;
    const Tensor result = context.Output(0, ToTensorFlow(output_.type), shape);
    if (result.count() == 0) return;
    args.context = result.data<void>();
    TheCore().attention(args);
  }

 private:
  // The heads of a row start at `column` and must lie within it.
  static void ExpectColumns(const Tensor& tensor, int64_t column, int64_t heads, int64_t size) {
    if (tensor.dim(-1) >= column + heads * size) return;
    Fail(tensor.name(), " has shape ", ToText(tensor.shape()), "; expected a last dim of at least ",
         column + heads * size, " for ", heads, " heads of ", size, " from column ", column, ".");
  }

  void SetQueryKeyValue(const Tensor& query, const Tensor& key, const Tensor& value,
                        AttentionArgs* args) const {
    ExpectRankAtLeast(query, 1, "[..., columns]");
    ExpectRank(key, 3, "[batch, keys, columns]");
    ExpectRank(value, 3, "[batch, keys, columns]");
    ExpectColumns(query, query_column_, heads_, head_dim_);
    ExpectColumns(key, key_column_, heads_, head_dim_);
    ExpectColumns(value, value_column_, heads_, value_dim_);
    const int64_t batch = key.dim(0);
    const int64_t keys = key.dim(1);
    if (value.dim(0) != batch || value.dim(1) != keys) {
      Fail("value has shape ", ToText(value.shape()), "; expected [", batch, ", ", keys,
           ", columns], as key has.");
    }
    if (keys > kMaxDepth) Fail("key has ", keys, " positions; expected at most ", kMaxDepth, ".");
    const int64_t rows = query.rows();
    if (batch == 0 ? rows != 0 : rows % batch != 0) {
      Fail("query has ", rows, " rows (shape ", ToText(query.shape()),
           "); expected a multiple of the batch of key, ", batch, ".");
    }
    args->query = query.data<const int8_t>() + query_column_;
    args->key = key.data<const int8_t>() + key_column_;
    args->value = value.data<const int8_t>() + value_column_;
    args->query_stride = query.dim(-1);
    args->key_stride = key.dim(2);
    args->value_stride = value.dim(2);
    args->batch = batch;
    args->rows_per_batch = batch == 0 ? 0 : rows / batch;
    args->keys = keys;
    args->heads = heads_;
    args->head_dim = head_dim_;
    args->value_dim = value_dim_;
  }

  static void SetLengths(const Tensor& lengths, AttentionArgs* args) {
    ExpectShape(lengths, {args->batch}, "one length a batch of key");
    args->lengths = lengths.data<const int32_t>();
    for (int64_t b = 0; b < args->batch; ++b) {
      if (args->lengths[b] < 0 || args->lengths[b] > args->keys) {
        Fail("lengths has ", args->lengths[b], " at position ", b, "; expected 0 to ", args->keys,
             ", the positions of key.");
      }
    }
  }

  static void SetMask(const Tensor& mask, AttentionArgs* args) {
    if (mask.shape() == Shape{0}) return;
    // Of an empty batch nobody knows how many rows each entry would have.
    const bool fits =
        mask.rank() == 3 && (mask.dim(0) == args->batch || mask.dim(0) == 1) &&
        (args->batch == 0 || mask.dim(1) == args->rows_per_batch || mask.dim(1) == 1) &&
        mask.dim(2) == args->keys;
    if (!fits) {
      Fail("mask has shape ", ToText(mask.shape()), "; expected [", args->batch, " or 1, ",
           args->rows_per_batch, " or 1, ", args->keys, "], or [0] for none.");
    }
    args->mask = mask.data<const uint8_t>();
    args->mask_row_stride = mask.dim(1) == 1 ? 0 : args->keys;
    args->mask_batch_stride = mask.dim(0) == 1 ? 0 : mask.dim(1) * args->keys;
  }

  static void SetBias(const Tensor& bias, AttentionArgs* args) {
    const bool fits =
        bias.rank() == 4 && (bias.dim(0) == args->batch || bias.dim(0) == 1) &&
        (bias.dim(1) == args->heads || bias.dim(1) == 1) &&
        // Of an empty batch nobody knows how many rows each entry would have.
        (args->batch == 0 || bias.dim(2) == args->rows_per_batch || bias.dim(2) == 1) &&
        bias.dim(3) == args->keys;
    if (!fits) {
      Fail("bias has shape ", ToText(bias.shape()), "; expected [", args->batch, " or 1, ",
           args->heads, " or 1, ", args->rows_per_batch, " or 1, ", args->keys, "].");
    }
    args->bias = bias.data<const float>();
    args->bias_row_stride = bias.dim(2) == 1 ? 0 : args->keys;
    args->bias_head_stride = bias.dim(1) == 1 ? 0 : bias.dim(2) * args->keys;
    args->bias_batch_stride = bias.dim(0) == 1 ? 0 : bias.dim(1) * bias.dim(2) * args->keys;
  }

  int32_t heads_, head_dim_, value_dim_;
  float scale_;
  Output output_;
  bool causal_, integer_softmax_;
  int32_t query_column_, key_column_, value_column_;
};

class AttentionOp : public AnyAttention {
 public:
  static constexpr const char* kName = "KerasInt8nmtAttention";
  using AnyAttention::AnyAttention;
  void Compute(Context& context) const { ComputeWith(context, nullptr); }
};

class BiasedAttentionOp : public AnyAttention {
 public:
  static constexpr const char* kName = "KerasInt8nmtBiasedAttention";
  using AnyAttention::AnyAttention;
  void Compute(Context& context) const {
    const Tensor bias = context.Input(6, "bias");
    ComputeWith(context, &bias);
  }
};

// The last dim, heads * value_dim, depends on attributes alone.
void AttentionShape(TF_ShapeInferenceContext* context, TF_Status* status) {
  ShapeInference shapes(context, status);
  const PartialShape query = shapes.InputOfRankAtLeast(0, 1);
  shapes.InputOfRank(1, 3);
  shapes.InputOfRank(2, 3);
  shapes.InputOfRank(3, 1);
  shapes.InputOfRank(5, 0);
  shapes.SetOutput(0, shapes.Concatenate(shapes.Part(query, 0, -1), shapes.UnknownVector()));
}

void BiasedAttentionShape(TF_ShapeInferenceContext* context, TF_Status* status) {
  ShapeInference(context, status).InputOfRank(6, 4);
  AttentionShape(context, status);
}

}  // namespace

void RegisterAttentionOps() {
  OpDefinition op = {
      AttentionOp::kName,
      {"query: int8", "key: int8", "value: int8", "lengths: int32", "mask: bool", "offset: int32"},
      {"context: Tout"},
      {"num_heads: int", "head_dim: int", "value_dim: int", "scale: float",
       "Tout: {float, int8, uint8}", "out_scale: float", "out_zero_point: int = 0",
       "causal: bool = false", "query_column: int = 0", "key_column: int = 0",
       "value_column: int = 0", "integer_softmax: bool = false"},
      &AttentionShape};
  RegisterOp(op);
  RegisterKernel<AttentionOp>();
  op.name = BiasedAttentionOp::kName;
  op.inputs.push_back("bias: float");
  op.shape_function = &BiasedAttentionShape;
  RegisterOp(op);
  RegisterKernel<BiasedAttentionOp>();
}

}  // namespace keras_int8nmt
