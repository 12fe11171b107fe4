// KerasInt8nmtCacheAppend: new rows into the cache of a decoder, in place where TensorFlow allows.
#include <cstring>

#include "op_support.h"
#include "ops.h"
#include "shape_functions.h"

namespace keras_int8nmt {
namespace {

class CacheAppend {
 public:
  static constexpr const char* kName = "KerasInt8nmtCacheAppend";
  explicit CacheAppend(const Attributes& attributes) : column_(attributes.Int("column", 0)) {}

  void Compute(Context& context) const {
    const Shape shape = context.Input(0, "cache").shape();
    const Tensor update = context.Input(1, "update");
    const int64_t index = ReadScalar(context.Input(2, "index"));
    const int64_t steps = CheckedSteps(shape, update, index);

    bool in_place = false;
    const Tensor result = context.OutputInPlaceOf(0, 0, shape, &in_place);
    if (result.count() == 0) return;
    if (!in_place) {
      const Tensor cache = context.Input(0, "cache");
      std::memcpy(result.data<void>(), cache.data<const void>(), cache.bytes());
    }
    const int64_t length = shape[1];
    const int64_t columns = shape[2];
    const int8_t* from = update.data<const int8_t>() + column_;
    for (int64_t b = 0; b < shape[0]; ++b) {
      int8_t* to = result.data<int8_t>() + (b * length + index) * columns;
      for (int64_t t = 0; t < steps; ++t) {
        std::memcpy(to, from, static_cast<size_t>(columns));
        to += columns;
        from += update.dim(-1);
      }
    }
  }

 private:
  // The number of new rows of each batch.
  int64_t CheckedSteps(const Shape& cache, const Tensor& update, int64_t index) const {
    if (cache.size() != 3) {
      Fail("cache has shape ", ToText(cache), "; expected [batch, length, columns].");
    }
    ExpectRankAtLeast(update, 1, "[..., columns]");
    const int64_t batch = cache[0];
    // Differences, not sums: a dim may be as large as 64 bits allow where another one is 0.
    if (update.dim(-1) - column_ < cache[2]) {
      Fail("update has shape ", ToText(update.shape()), "; expected a last dim of at least ",
           static_cast<uint64_t>(cache[2]) + static_cast<uint64_t>(column_), ", the ", cache[2],
           " columns of cache from column ", column_, ".");
    }
    const int64_t rows = update.rows();
    if (batch == 0 ? rows != 0 : rows % batch != 0) {
      Fail("update has ", rows, " rows (shape ", ToText(update.shape()),
           "); expected a multiple of the batch of cache, ", batch, ".");
    }
    const int64_t steps = batch == 0 ? 0 : rows / batch;
    if (index < 0 || steps > cache[1] - index) {
      Fail("index is ", index, "; expected 0 to ", cache[1] - steps, " for ", steps,
           " new rows in a cache of length ", cache[1], ".");
    }
    return steps;
  }

  int32_t column_;
};

void CacheAppendShape(TF_ShapeInferenceContext* context, TF_Status* status) {
  ShapeInference shapes(context, status);
  const PartialShape cache = shapes.InputOfRank(0, 3);
  shapes.InputOfRankAtLeast(1, 1);
  shapes.InputOfRank(2, 0);
  shapes.SetOutput(0, cache);
}

}  // namespace

void RegisterCacheAppendOp() {
  RegisterOp({CacheAppend::kName,
              {"cache: int8", "update: int8", "index: int32"},
              {"appended: int8"},
              {"column: int = 0"},
              &CacheAppendShape});
  RegisterKernel<CacheAppend>();
}

}  // namespace keras_int8nmt
