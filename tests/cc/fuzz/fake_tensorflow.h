// As much of TensorFlow's C API as the ops use, so that they run under a sanitizer: an op is called
// by its name, with attributes and tensors. Where TensorFlow ends the process, this does.
#ifndef KERAS_INT8NMT_TESTS_CC_FUZZ_FAKE_TENSORFLOW_H_
#define KERAS_INT8NMT_TESTS_CC_FUZZ_FAKE_TENSORFLOW_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tf_c_api.h"

namespace keras_int8nmt {

struct FakeTensor {
  TF_DataType type = TF_FLOAT;
  std::vector<int64_t> dims;
  // Of its exact size.
  std::shared_ptr<std::vector<char>> data;

  static FakeTensor Of(TF_DataType type, const std::vector<int64_t>& dims);
};

struct FakeAttribute {
  int64_t whole = 0;
  float number = 0.0f;
  std::string text;
  std::vector<int64_t> wholes;
  std::vector<float> numbers;
  std::vector<std::string> texts;
  // What kinds of lists have as their number of elements.
  size_t count() const { return wholes.size() + numbers.size() + texts.size(); }
};

using FakeAttributes = std::map<std::string, FakeAttribute>;

struct FakeResult {
  TF_Code code = TF_OK;
  std::string message;
  std::vector<FakeTensor> outputs;
};

FakeResult RunFakeOp(const std::string& op, const FakeAttributes& attributes,
                     const std::vector<FakeTensor>& inputs);

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_TESTS_CC_FUZZ_FAKE_TENSORFLOW_H_
