// The ops: any attributes, any shapes, contents that often fit. An error of TensorFlow's kinds is
// fine, everything else is not.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "fake_tensorflow.h"
#include "fuzz_input.h"

namespace keras_int8nmt {
namespace {

using Dims = std::vector<int64_t>;

class Call {
 public:
  explicit Call(FuzzInput input) : input_(input) {}

  void Run() {
    switch (input_.Below(11)) {
      case 0:
        return Gather();
      case 1:
        return Embedding();
      case 2:
        return MatMul();
      case 3:
        return Quantize();
      case 4:
        return LayerNorm();
      case 5:
        return Attention();
      case 6:
        return CacheAppend();
      case 7:
        return TopK();
      case 8:
        return FloatMatMul();
      case 9:
        return Pack();
      default:
        return Translate();
    }
  }

 private:
  // Mostly `wanted`; else dims of which a few are huge, beside a 0, as a tensor can have them.
  Dims Shape(Dims wanted) {
    if (!input_.Rarely()) return wanted;
    switch (input_.Below(4)) {
      case 0:
        wanted.resize(static_cast<size_t>(input_.Below(5)), 1);
        break;
      case 1:
        wanted.insert(wanted.begin(), 0);
        break;
      case 2:
        wanted.push_back(input_.Below(4));
        break;
      default:
        break;
    }
    int64_t product = 1;
    for (int64_t& dim : wanted) {
      if (input_.Maybe()) dim = input_.Of<int64_t>({0, 1, 2, int64_t{1} << 31, int64_t{1} << 62});
      // What TensorFlow could not hold either.
      int64_t next;
      if (__builtin_mul_overflow(product, dim, &next) || next > 1 << 20) {
        if (product == 0) continue;
        const bool zero_follows = &dim != &wanted.back() && wanted.back() == 0;
        if (!zero_follows || __builtin_mul_overflow(product, dim, &next)) dim = 1;
      }
      if (__builtin_mul_overflow(product, dim, &product)) product = 1;
    }
    int64_t count = 1;
    for (int64_t dim : wanted) {
      if (__builtin_mul_overflow(count, dim, &count)) return {0};
    }
    return count > 1 << 20 ? Dims{0} : wanted;
  }

  FakeTensor Bytes(TF_DataType type, const Dims& wanted) {
    FakeTensor tensor = FakeTensor::Of(type, Shape(wanted));
    auto* values = reinterpret_cast<int8_t*>(tensor.data->data());
    input_.Fill(values, tensor.data->size());
    if (type == TF_BOOL) {
      for (char& value : *tensor.data) value &= 1;
    }
    return tensor;
  }
  FakeTensor Floats(const Dims& wanted) {
    FakeTensor tensor = FakeTensor::Of(TF_FLOAT, Shape(wanted));
    auto* values = reinterpret_cast<float*>(tensor.data->data());
    const size_t count = tensor.data->size() / sizeof(float);
    input_.Fill(values, count);
    if (count > 0 && input_.Rarely())
      values[input_.Below(static_cast<int64_t>(count))] = input_.Number();
    return tensor;
  }
  // Mostly from 0 to `limit` - 1.
  template <class T>
  FakeTensor Indices(TF_DataType type, const Dims& wanted, int64_t limit) {
    FakeTensor tensor = FakeTensor::Of(type, Shape(wanted));
    auto* values = reinterpret_cast<T*>(tensor.data->data());
    const size_t count = tensor.data->size() / sizeof(T);
    const int64_t step = input_.Below(7);
    for (size_t i = 0; i < count; ++i)
      values[i] = static_cast<T>((i * step) % std::max<int64_t>(limit, 1));
    if (count > 0 && input_.Rarely()) {
      values[input_.Below(static_cast<int64_t>(count))] = static_cast<T>(input_.Whole());
    }
    return tensor;
  }
  FakeTensor Scalar(int64_t value) {
    FakeTensor tensor = FakeTensor::Of(TF_INT32, Shape({}));
    if (!tensor.data->empty()) {
      *reinterpret_cast<int32_t*>(tensor.data->data()) = static_cast<int32_t>(value);
    }
    return tensor;
  }

  void Int(const char* name, int64_t usual) {
    attributes_[name].whole = input_.Rarely() ? input_.Whole() : usual;
  }
  // What TensorFlow takes from the inputs.
  void Is(const char* name, TF_DataType type) { attributes_[name].whole = type; }
  void Float(const char* name, float usual) {
    attributes_[name].number = input_.Rarely() ? input_.Number() : usual;
  }
  void Text(const char* name, const std::string& usual) {
    attributes_[name].text = input_.Rarely() ? std::string(input_.Below(300), 'x') : usual;
  }
  TF_DataType OutputType() {
    const TF_DataType type = input_.Of({TF_FLOAT, TF_INT8, TF_UINT8});
    Int("Tout", type);
    Float("out_scale", 1.0f);
    Int("out_zero_point", type == TF_FLOAT ? 0 : input_.Below(5));
    return type;
  }

  FakeResult Do(const std::string& op, const std::vector<FakeTensor>& inputs) {
    FakeResult result = RunFakeOp("KerasInt8nmt" + op, attributes_, inputs);
    for (const FakeTensor& output : result.outputs) {
      // Whoever reads the outputs reads all of them.
      for (const char& byte : *output.data) sum_ = static_cast<uint8_t>(sum_ + byte);
    }
    if (result.code == TF_INTERNAL && result.message.find("unknown error") != std::string::npos) {
      std::fprintf(stderr, "%s: %s\n", op.c_str(), result.message.c_str());
      std::abort();
    }
    return result;
  }

  void Gather() {
    const TF_DataType type = input_.Of({TF_INT8, TF_UINT8, TF_FLOAT, TF_INT32});
    const bool wide = input_.Maybe();
    const int64_t batch_dims = input_.Below(3), rows = 1 + input_.Below(6);
    Dims x, indices;
    for (int64_t i = 0; i < batch_dims; ++i) x.push_back(1 + input_.Below(3));
    indices = x;
    x.push_back(rows);
    for (int64_t i = input_.Below(3); i > 0; --i) x.push_back(input_.Below(40));
    for (int64_t i = input_.Below(3); i > 0; --i) indices.push_back(input_.Below(5));
    // Shapes of nothing whose other dims are huge.
    if (input_.Rarely()) x = {1, int64_t{1} << 62, 0}, indices = {input_.Below(5)};
    Is("T", type);
    Is("Tindices", wide ? TF_INT64 : TF_INT32);
    Int("batch_dims", batch_dims);
    Do("Gather", {Bytes(type, x), wide ? Indices<int64_t>(TF_INT64, indices, rows)
                                       : Indices<int32_t>(TF_INT32, indices, rows)});
  }

  void Embedding() {
    const int64_t words = 1 + input_.Below(9), columns = input_.Below(70);
    Float("multiplier", 2.0f);
    Do("Embedding", {Bytes(TF_INT8, {words, columns}), Floats({words}),
                     Indices<int32_t>(TF_INT32, {input_.Below(4), input_.Below(4)}, words)});
  }

  FakeTensor Packed(int64_t k, int64_t n) {
    FakeTensor weights = FakeTensor::Of(TF_INT8, {k, n});
    auto* values = reinterpret_cast<int8_t*>(weights.data->data());
    input_.Fill(values, weights.data->size());
    for (size_t i = 0; i < weights.data->size(); ++i) values[i] = values[i] == -128 ? 0 : values[i];
    FakeResult made = Do("PackWeights", {weights});
    FakeTensor packed = made.outputs.empty() ? FakeTensor::Of(TF_UINT8, {0}) : made.outputs[0];
    if (input_.Rarely() && !packed.data->empty()) {
      (*packed.data)[input_.Below(static_cast<int64_t>(packed.data->size()))] ^= 4;
    }
    return packed;
  }

  void MatMul() {
    const int64_t k = 1 + input_.Below(70), n = 1 + input_.Below(70), m = input_.Below(5);
    const FakeTensor packed = Packed(k, n);
    Text("activation", input_.Of<const char*>({"none", "relu", "gelu", "gelu_tanh", "swish"}));
    if (input_.Maybe()) {
      Do("DynamicMatMul", {Floats({m, k}), packed, Floats({n}), Floats({n})});
      return;
    }
    const TF_DataType type = input_.Of({TF_INT8, TF_UINT8});
    Is("Tin", type);
    OutputType();
    Do("MatMul", {Bytes(type, {m, k}), packed, Floats({n}), Floats({n})});
  }

  void Quantize() {
    const TF_DataType type = input_.Of({TF_INT8, TF_UINT8});
    const Dims shape = {input_.Below(4), input_.Below(40)};
    Int("zero_point", input_.Below(5));
    Float("scale", 3.0f);
    Float("inv_scale", 3.0f);
    Int("Tout", type);
    Is("Tin", type);
    if (input_.Maybe()) {
      Do("Quantize", {Floats(shape)});
    } else {
      Do("Dequantize", {Bytes(type, shape)});
    }
  }

  void LayerNorm() {
    const int64_t rows = input_.Below(4), columns = input_.Below(70);
    Float("epsilon", 1e-5f);
    Int("carry_sum", input_.Below(2));
    Int("integer", input_.Below(2));
    OutputType();
    const Dims none = {0}, shape = {rows, columns};
    Do("LayerNorm", {Floats(shape), Floats(input_.Maybe() ? none : shape), Floats({columns}),
                     Floats({columns})});
  }

  void Attention() {
    const int64_t heads = 1 + input_.Below(3), dim = 1 + input_.Below(9), keys = input_.Below(20);
    const int64_t batch = input_.Below(3), rows = input_.Below(4), column = input_.Below(3);
    const int64_t columns = column + heads * dim;
    for (const char* name : {"query_column", "key_column", "value_column"}) Int(name, column);
    Int("num_heads", heads);
    Int("head_dim", dim);
    Int("value_dim", dim);
    Int("causal", input_.Below(2));
    Int("integer_softmax", input_.Below(2));
    Float("scale", 0.1f);
    OutputType();
    const Dims none = {0}, mask = {input_.Maybe() ? batch : 1, input_.Maybe() ? rows : 1, keys};
    Do("Attention",
       {Bytes(TF_INT8, {batch * rows, columns}), Bytes(TF_INT8, {batch, keys, columns}),
        Bytes(TF_INT8, {batch, keys, columns}), Indices<int32_t>(TF_INT32, {batch}, keys + 1),
        Bytes(TF_BOOL, input_.Maybe() ? none : mask), Scalar(input_.Below(4))});
  }

  void CacheAppend() {
    const int64_t batch = input_.Below(3), length = input_.Below(9), columns = input_.Below(20);
    const int64_t column = input_.Below(3);
    Int("column", column);
    const int64_t steps = input_.Below(3);
    Do("CacheAppend",
       {Bytes(TF_INT8, {batch, length, columns}), Bytes(TF_INT8, {batch * steps, column + columns}),
        Scalar(input_.Rarely() ? input_.Whole() : input_.Below(9))});
  }

  void TopK() {
    Int("k", 1 + input_.Below(5));
    Int("forbidden", input_.Below(4) - 1);
    Do("TopKLogProbs", {Floats({input_.Below(4), input_.Below(1100)})});
  }

  void FloatMatMul() {
    const int64_t k = 1 + input_.Below(20), n = 1 + input_.Below(70);
    FakeResult made = Do("PackFloat", {Floats({k, n})});
    FakeTensor packed = made.outputs.empty() ? FakeTensor::Of(TF_UINT8, {0}) : made.outputs[0];
    Do("FloatMatMul", {Floats({input_.Below(5), k}), packed, Floats({n})});
  }

  void Pack() {
    const FakeResult made =
        Do("PackWeights", {Bytes(TF_INT8, {input_.Below(70), input_.Below(70)})});
    if (!made.outputs.empty()) Do("UnpackWeights", {made.outputs[0]});
    Do("UnpackWeights", {Bytes(TF_UINT8, {input_.Below(200)})});
  }

  // Specs are the model target's; here what is no spec.
  void Translate() {
    Int("beam_size", 2);
    Int("num_hypotheses", 1);
    Int("min_length", 0);
    Int("batch_size", 4);
    for (const char* name : {"int_names", "float_names", "text_names", "texts", "tensor_names"}) {
      for (int64_t i = input_.Below(4); i > 0; --i) {
        attributes_[name].texts.push_back(input_.Of<const char*>({"", "model_dim", "pad_id", "x"}));
      }
    }
    for (int64_t i = input_.Below(60); i > 0; --i)
      attributes_["ints"].wholes.push_back(input_.Whole());
    for (int64_t i = input_.Below(9); i > 0; --i)
      attributes_["floats"].numbers.push_back(input_.Number());
    std::vector<FakeTensor> inputs = {Indices<int32_t>(TF_INT32, {2, 3}, 5), Floats({4})};
    for (int64_t i = input_.Below(5); i > 0; --i) inputs.push_back(Floats({input_.Below(5), 3}));
    attributes_["ints"];
    attributes_["floats"];
    Do("Translate", inputs);
  }

  FuzzInput input_;
  FakeAttributes attributes_;
  uint8_t sum_ = 0;
};

}  // namespace
}  // namespace keras_int8nmt

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  keras_int8nmt::Call(keras_int8nmt::FuzzInput(data, size)).Run();
  return 0;
}
