// A model as three lists that are read in one fixed order: whole numbers, floats and tensors.
//
// So a model crosses from Python, or from the inputs of a TensorFlow op, without a text format of
// its own. Marks among the whole numbers show where the two sides disagree. Every read is checked;
// what is wrong is a std::invalid_argument that names it.
#ifndef KERAS_INT8NMT_DECODER_TAPE_H_
#define KERAS_INT8NMT_DECODER_TAPE_H_

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>
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

class Tape {
 public:
  Tape(std::vector<int64_t> ints, std::vector<float> floats, std::vector<TensorView> tensors)
      : ints_(std::move(ints)), floats_(std::move(floats)), tensors_(std::move(tensors)) {}

  int64_t Int(const char* what, int64_t least, int64_t most) {
    if (next_int_ == ints_.size()) Refuse(what, "the whole numbers have ended");
    const int64_t value = ints_[next_int_++];
    if (value < least || value > most) {
      Refuse(what, "it is " + std::to_string(value) + "; expected " + std::to_string(least) +
                       " to " + std::to_string(most));
    }
    return value;
  }
  bool Flag(const char* what) { return Int(what, 0, 1) != 0; }
  void Mark(int64_t mark) { Int("mark", mark, mark); }

  float Float(const char* what) {
    if (next_float_ == floats_.size()) Refuse(what, "the floats have ended");
    const float value = floats_[next_float_++];
    if (!std::isfinite(value)) Refuse(what, "it is not finite");
    return value;
  }

  const TensorView& Tensor(const char* what, Type type) {
    if (next_tensor_ == tensors_.size()) Refuse(what, "the tensors have ended");
    const TensorView& view = tensors_[next_tensor_++];
    if (view.type != type) Refuse(what, "it is a tensor of the wrong type");
    return view;
  }
  template <class T>
  const T* Data(const char* what, Type type, std::initializer_list<int64_t> dims) {
    const TensorView& view = Tensor(what, type);
    if (view.dims != std::vector<int64_t>(dims)) {
      Refuse(what, "it has shape " + Text(view.dims) + "; expected " + Text(dims));
    }
    return static_cast<const T*>(view.data);
  }
  const float* Floats(const char* what, std::initializer_list<int64_t> dims) {
    return Data<float>(what, Type::kFloat32, dims);
  }

  void End() {
    if (next_int_ != ints_.size() || next_float_ != floats_.size() ||
        next_tensor_ != tensors_.size()) {
      throw std::invalid_argument("the model's description is longer than the model");
    }
  }

 private:
  [[noreturn]] static void Refuse(const char* what, const std::string& why) {
    throw std::invalid_argument("the model's description: " + std::string(what) + ": " + why);
  }
  static std::string Text(const std::vector<int64_t>& dims) {
    std::string text = "[";
    for (size_t i = 0; i < dims.size(); ++i) text += (i ? ", " : "") + std::to_string(dims[i]);
    return text + "]";
  }

  std::vector<int64_t> ints_;
  std::vector<float> floats_;
  std::vector<TensorView> tensors_;
  size_t next_int_ = 0, next_float_ = 0, next_tensor_ = 0;
};

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_DECODER_TAPE_H_
