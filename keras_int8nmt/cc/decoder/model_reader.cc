#include "model_reader.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "finite.h"

namespace keras_int8nmt {
namespace {

// Of a tensor: what is computed of it below fits into 64 bits.
constexpr int64_t kMostElements = int64_t{1} << 40;

constexpr const char* kKinds[] = {"a whole number", "a number", "a word"};
constexpr const char* kTypes[] = {"float32", "int8", "uint8"};

std::string ToText(const std::vector<int64_t>& dims) {
  std::string text = "[";
  for (size_t i = 0; i < dims.size(); ++i) text += (i ? ", " : "") + std::to_string(dims[i]);
  return text + "]";
}

// What an entry that is not there is missing as.
template <class Places>
[[noreturn]] void RefuseMissing(const Places& others, const std::string& name, const char* other) {
  RefuseEntry(name, others.count(name) != 0 ? std::string("it is ") + other : "it is missing");
}

}  // namespace

void RefuseEntry(const std::string& name, const std::string& why) {
  throw std::invalid_argument("the model's spec: " + name + ": " + why);
}

ModelReader::ModelReader(const std::vector<Setting>& settings,
                         const std::vector<std::string>& tensor_names,
                         std::vector<TensorView> tensors)
    : settings_(settings),
      tensors_(std::move(tensors)),
      setting_read_(settings.size(), false),
      tensor_read_(tensors_.size(), false) {
  if (tensor_names.size() != tensors_.size()) {
    throw std::invalid_argument("the model's spec: there are " +
                                std::to_string(tensor_names.size()) + " names for " +
                                std::to_string(tensors_.size()) + " tensors");
  }
  setting_places_.reserve(settings.size());
  tensor_places_.reserve(tensors_.size());
  for (size_t i = 0; i < settings.size(); ++i) {
    if (!setting_places_.emplace(settings[i].name, i).second) {
      RefuseEntry(settings[i].name, "it is there twice");
    }
  }
  for (size_t i = 0; i < tensor_names.size(); ++i) {
    if (setting_places_.count(tensor_names[i]) != 0 ||
        !tensor_places_.emplace(tensor_names[i], i).second) {
      RefuseEntry(tensor_names[i], "it is there twice");
    }
    int64_t count = 1;
    for (int64_t dim : tensors_[i].dims) {
      if (dim < 0 || dim > kMostElements / std::max<int64_t>(count, 1)) {
        RefuseEntry(tensor_names[i], "it has shape " + ToText(tensors_[i].dims));
      }
      count *= dim;
    }
    if (count > 0 && tensors_[i].data == nullptr) RefuseEntry(tensor_names[i], "it has no data");
  }
}

void ModelReader::End() const {
  for (size_t i = 0; i < settings_.size(); ++i) {
    if (!setting_read_[i])
      RefuseEntry(settings_[i].name, "no part of this model has such a setting");
  }
  for (const auto& [name, place] : tensor_places_) {
    if (!tensor_read_[place])
      RefuseEntry(std::string(name), "no part of this model has such a tensor");
  }
}

const Setting& ModelReader::Find(const std::string& name, Setting::Kind kind) {
  const auto found = setting_places_.find(name);
  if (found == setting_places_.end()) RefuseMissing(tensor_places_, name, "a tensor");
  const Setting& setting = settings_[found->second];
  if (setting.kind != kind) {
    const bool known = setting.kind >= Setting::kInt && setting.kind <= Setting::kText;
    RefuseEntry(name, std::string("it is ") + (known ? kKinds[setting.kind] : "of no known kind") +
                          "; expected " + kKinds[kind]);
  }
  setting_read_[found->second] = true;
  return setting;
}

int64_t ModelReader::Int(const std::string& name, int64_t least, int64_t most) {
  const int64_t value = Find(name, Setting::kInt).whole;
  if (value < least || value > most) {
    RefuseEntry(name, "it is " + std::to_string(value) + "; expected " + std::to_string(least) +
                          " to " + std::to_string(most));
  }
  return value;
}

float ModelReader::Float(const std::string& name) {
  const float value = static_cast<float>(Find(name, Setting::kFloat).number);
  if (!std::isfinite(value)) RefuseEntry(name, "it is not finite");
  return value;
}

int ModelReader::Word(const std::string& name, std::initializer_list<const char*> words) {
  const std::string& text = Find(name, Setting::kText).text;
  int place = 0;
  for (const char* word : words) {
    if (text == word) return place;
    ++place;
  }
  std::string choices;
  for (const char* word : words) choices += (choices.empty() ? "" : ", ") + std::string(word);
  RefuseEntry(name, "it is \"" + text + "\"; expected one of " + choices);
}

const TensorView& ModelReader::Tensor(const std::string& name, std::initializer_list<Type> types) {
  const auto found = tensor_places_.find(name);
  if (found == tensor_places_.end()) RefuseMissing(setting_places_, name, "a setting");
  const TensorView& view = tensors_[found->second];
  for (Type type : types) {
    if (view.type != type) continue;
    tensor_read_[found->second] = true;
    return view;
  }
  std::string choices;
  for (Type type : types) {
    choices += (choices.empty() ? "" : " or ") + std::string(kTypes[static_cast<int>(type)]);
  }
  const int type = static_cast<int>(view.type);
  RefuseEntry(name, std::string("it is ") + (type >= 0 && type <= 2 ? kTypes[type] : "of no type") +
                        "; expected " + choices);
}

const float* ModelReader::Floats(const std::string& name, std::initializer_list<int64_t> dims) {
  const TensorView& view = Tensor(name, {Type::kFloat32});
  if (view.dims != std::vector<int64_t>(dims)) {
    RefuseEntry(name, "it has shape " + ToText(view.dims) + "; expected " + ToText(dims));
  }
  RequireFinite(name, view);
  return static_cast<const float*>(view.data);
}

void RequireFinite(const std::string& name, const TensorView& view) {
  const auto* values = static_cast<const float*>(view.data);
  const int64_t at = FirstNotFinite(values, view.count());
  if (at < 0) return;
  RefuseEntry(name, "it has " + std::to_string(values[at]) + " at flat position " +
                        std::to_string(at) + "; expected no NaN or infinity");
}

}  // namespace keras_int8nmt
