// A model as named settings and named tensors, each looked up by its name.
//
// So a model crosses from Python, or from the attributes and inputs of a TensorFlow op, without a
// text format of its own. Every read is checked, and so is that everything was read; what is wrong
// is a std::invalid_argument that names the entry. docs/model_spec.md lists the entries.
#ifndef KERAS_INT8NMT_DECODER_MODEL_READER_H_
#define KERAS_INT8NMT_DECODER_MODEL_READER_H_

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "int8.h"

namespace keras_int8nmt {

// A dense array that somebody else keeps alive.
struct TensorView {
  Type type = Type::kFloat32;
  const void* data = nullptr;
  std::vector<int64_t> dims;

  int64_t count() const {
    int64_t product = 1;
    for (int64_t dim : dims) product *= dim;
    return product;
  }
};

// A whole number, a number or a word.
struct Setting {
  enum Kind : int32_t { kInt = 0, kFloat = 1, kText = 2 };

  std::string name;
  Kind kind = kInt;
  int64_t whole = 0;
  double number = 0.0;
  std::string text;
};

class ModelReader {
 public:
  // Settings and names must outlive the reader. Throws if a name is there twice.
  ModelReader(const std::vector<Setting>& settings, const std::vector<std::string>& tensor_names,
              std::vector<TensorView> tensors);

  // Throws for an entry that was not read.
  void End() const;

  int64_t Int(const std::string& name, int64_t least, int64_t most);
  float Float(const std::string& name);
  // The place of the setting among `words`.
  int Word(const std::string& name, std::initializer_list<const char*> words);

  bool HasTensor(const std::string& name) const { return tensor_places_.count(name) != 0; }
  // Of any shape, without a dim below 0.
  const TensorView& Tensor(const std::string& name, std::initializer_list<Type> types);
  // All of them finite.
  const float* Floats(const std::string& name, std::initializer_list<int64_t> dims);

 private:
  const Setting& Find(const std::string& name, Setting::Kind kind);

  const std::vector<Setting>& settings_;
  std::vector<TensorView> tensors_;
  std::unordered_map<std::string_view, size_t> setting_places_, tensor_places_;
  std::vector<bool> setting_read_, tensor_read_;
};

// Throws for a NaN or an infinity among the float32 values of the tensor `name`.
void RequireFinite(const std::string& name, const TensorView& view);

// Throws std::invalid_argument: the model's spec, the entry and what is wrong with it.
[[noreturn]] void RefuseEntry(const std::string& name, const std::string& why);

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_DECODER_MODEL_READER_H_
