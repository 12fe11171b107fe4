// A model spec on disk, as runtime/spec_file.py writes it: spec.json has the settings,
// spec.safetensors the tensors. For the tests' own files: what is damaged is an exception, and no
// more is checked; docs/model_spec.md says what a reader of foreign files must check.
#ifndef KERAS_INT8NMT_TESTS_CC_SPEC_FOLDER_H_
#define KERAS_INT8NMT_TESTS_CC_SPEC_FOLDER_H_

#include <cctype>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "int8.h"
#include "model_reader.h"

namespace keras_int8nmt {

inline std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("no file " + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A value of a JSON text of plain ASCII.
struct Json {
  std::string text;  // of a string what it says, of a number its letters
  bool is_string = false;
  std::vector<Json> items;
  std::map<std::string, Json> entries;

  const Json& at(const std::string& name) const {
    const auto found = entries.find(name);
    if (found == entries.end()) throw std::runtime_error("JSON lacks \"" + name + "\"");
    return found->second;
  }
  int64_t Whole() const { return std::strtoll(text.c_str(), nullptr, 10); }
};

class JsonReader {
 public:
  explicit JsonReader(const std::string& text) : at_(text.data()), end_(at_ + text.size()) {}

  Json Value() {
    Json value;
    const char first = Peek();
    if (first == '{') {
      List('}', [&] {
        const std::string name = String();
        Take(':');
        value.entries[name] = Value();
      });
    } else if (first == '[') {
      List(']', [&] { value.items.push_back(Value()); });
    } else if (first == '"') {
      value.is_string = true;
      value.text = String();
    } else {
      while (at_ < end_ && std::strchr(",]} \n", *at_) == nullptr) value.text += *at_++;
    }
    return value;
  }

 private:
  char Peek() {
    while (at_ < end_ && std::isspace(static_cast<unsigned char>(*at_))) ++at_;
    if (at_ == end_) throw std::runtime_error("JSON ends too early");
    return *at_;
  }
  void Take(char expected) {
    if (Peek() != expected) throw std::runtime_error(std::string("JSON lacks a ") + expected);
    ++at_;
  }
  template <class F>
  void List(char close, F item) {
    ++at_;
    while (Peek() != close) {
      item();
      if (Peek() == ',') ++at_;
    }
    ++at_;
  }
  std::string String() {
    Take('"');
    std::string text;
    for (; at_ < end_ && *at_ != '"'; ++at_) {
      if (*at_ == '\\') throw std::runtime_error("an escape in a name of a spec");
      text += *at_;
    }
    Take('"');
    return text;
  }

  const char *at_, *end_;
};

// The entries of a spec; its tensors lie in `content`.
struct SpecFolder {
  explicit SpecFolder(const std::string& folder) : content(ReadFile(folder + "/spec.safetensors")) {
    const std::string text = ReadFile(folder + "/spec.json");
    const Json json = JsonReader(text).Value();
    for (const auto& [name, value] : json.at("settings").entries) {
      const bool whole = value.text.find_first_of(".eE") == std::string::npos;
      const Setting::Kind kind = value.is_string ? Setting::kText
                                 : whole         ? Setting::kInt
                                                 : Setting::kFloat;
      settings.push_back({name, kind, kind == Setting::kInt ? value.Whole() : 0,
                          kind == Setting::kFloat ? std::strtod(value.text.c_str(), nullptr) : 0.0,
                          value.is_string ? value.text : ""});
    }
    ReadTensors();
    // Tensors of the bytes of another are stored once.
    const auto same = json.entries.find("same");
    if (same == json.entries.end()) return;
    for (const auto& [name, other] : same->second.entries) tensors[name] = tensors.at(other.text);
  }
  SpecFolder(const SpecFolder&) = delete;
  SpecFolder& operator=(const SpecFolder&) = delete;

  int64_t Whole(const std::string& name) const {
    for (const Setting& setting : settings) {
      if (setting.name == name) return setting.whole;
    }
    throw std::runtime_error("the spec lacks " + name);
  }

  std::string content;
  std::vector<Setting> settings;
  std::map<std::string, TensorView> tensors;

 private:
  void ReadTensors() {
    uint64_t length = 0;
    if (content.size() < sizeof(length)) throw std::runtime_error("spec.safetensors is cut");
    std::memcpy(&length, content.data(), sizeof(length));
    if (length > content.size() - sizeof(length)) throw std::runtime_error("its header is cut");
    const Json header = JsonReader(content.substr(sizeof(length), length)).Value();
    const size_t data = sizeof(length) + length;
    for (const auto& [name, entry] : header.entries) {
      const std::string& type = entry.at("dtype").text;
      TensorView& tensor = tensors[name];
      tensor.type = type == "F32" ? Type::kFloat32 : type == "I8" ? Type::kInt8 : Type::kUint8;
      tensor.dims.clear();
      for (const Json& dim : entry.at("shape").items) tensor.dims.push_back(dim.Whole());
      const size_t end = data + entry.at("data_offsets").items.at(1).Whole();
      if (end > content.size()) throw std::runtime_error("the tensor " + name + " is cut");
      tensor.data = content.data() + data + entry.at("data_offsets").items.at(0).Whole();
    }
  }
};

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_TESTS_CC_SPEC_FOLDER_H_
