#include "positional_spec.h"

#include <stdexcept>

namespace keras_int8nmt {
namespace {

enum Mark : int64_t {
  kModelMark = 9000,
  kLinearMark,
  kNormMark,
  kAttentionMark,
  kLayerMark,
  kEmbeddingMark,
  kEndMark,
  // In the place of kNormMark and kAttentionMark.
  kIntegerNormMark,
  kIntegerSoftmaxMark
};

constexpr const char* kTypes[] = {"float32", "int8", "uint8"};
constexpr const char* kActivations[] = {"none", "relu", "gelu", "gelu_tanh", "swish"};
constexpr const char* kPrecisions[] = {"float32", "int8", "int8_dynamic"};
constexpr const char* kMembers[] = {"query", "key", "value"};

class Namer {
 public:
  Namer(const std::vector<int64_t>& ints, const std::vector<float>& floats)
      : ints_(ints), floats_(floats) {}

  NamedSpec Run() {
    Expect(kModelMark);
    Expect(1);  // the version
    PutInt("format_version", 2);
    PutInt("model_dim", Next());
    PutInt("max_length", Next());
    const int64_t encoders = Next(), decoders = Next();
    PutInt("encoder.layers", encoders);
    PutInt("decoder.layers", decoders);
    for (const char* name : {"pad_id", "eos_id", "start_id"}) PutInt(name, Next());
    PutTensor("positions");
    NameEmbedding("source_embedding");
    NameEmbedding("target_embedding");
    NameStack("encoder", encoders);
    NameStack("decoder", decoders);
    NameLinear("output_projection");
    Expect(kEndMark);
    if (next_int_ != ints_.size() || next_float_ != floats_.size()) Refuse("it is too long");
    return std::move(spec_);
  }

 private:
  [[noreturn]] static void Refuse(const std::string& why) {
    throw std::invalid_argument("the model's spec, of release 0.1.0: " + why);
  }

  int64_t Next() {
    if (next_int_ == ints_.size()) Refuse("the whole numbers have ended");
    return ints_[next_int_++];
  }
  void Expect(int64_t wanted) {
    const int64_t found = Next();
    if (found == wanted) return;
    Refuse("there is " + std::to_string(found) + " at " + std::to_string(next_int_ - 1) +
           " instead of the mark " + std::to_string(wanted));
  }
  // Whether the mark is `other` rather than `usual`.
  bool IsOther(Mark usual, Mark other) {
    if (next_int_ < ints_.size() && ints_[next_int_] == other) {
      ++next_int_;
      return true;
    }
    Expect(usual);
    return false;
  }
  double NextFloat() {
    if (next_float_ == floats_.size()) Refuse("the floats have ended");
    return floats_[next_float_++];
  }
  template <size_t count>
  const char* Choice(const char* const (&choices)[count]) {
    const int64_t place = Next();
    if (place < 0 || place >= static_cast<int64_t>(count)) {
      Refuse("there is " + std::to_string(place) + " at " + std::to_string(next_int_ - 1) +
             "; expected 0 to " + std::to_string(count - 1));
    }
    return choices[place];
  }
  bool Flag() {
    static constexpr const char* kFlags[] = {"", "1"};
    return *Choice(kFlags) != '\0';
  }

  void PutInt(const std::string& name, int64_t value) {
    spec_.settings.push_back({name, Setting::kInt, value, 0.0, ""});
  }
  void PutFloat(const std::string& name, double value) {
    spec_.settings.push_back({name, Setting::kFloat, 0, value, ""});
  }
  void PutText(const std::string& name, const char* value) {
    spec_.settings.push_back({name, Setting::kText, 0, 0.0, value});
  }
  void PutTensor(const std::string& name) { spec_.tensor_names.push_back(name); }

  // `of_float`: whether it has a scale where it is float32, too. `named` false: it is passed over.
  void NameOutput(const std::string& at, bool of_float = false, bool named = true) {
    const std::string type = Choice(kTypes);
    const int64_t zero_point = Next();
    const double scale = NextFloat();
    if (!named) return;
    PutText(at + ".type", type.c_str());
    if (type != "float32") PutInt(at + ".zero_point", zero_point);
    if (type != "float32" || of_float) PutFloat(at + ".scale", scale);
  }

  void NameEmbedding(const std::string& at) {
    Expect(kEmbeddingMark);
    const bool int8 = Flag();
    Next();  // words: the table has them
    PutFloat(at + ".multiplier", NextFloat());
    PutTensor(at + ".table");
    if (int8) PutTensor(at + ".inv_scales");
  }

  void NameLinear(const std::string& at) {
    Expect(kLinearMark);
    const std::string precision = Choice(kPrecisions);
    PutText(at + ".precision", precision.c_str());
    PutInt(at + ".rows", Next());
    PutInt(at + ".columns", Next());
    PutText(at + ".activation", Choice(kActivations));
    NameOutput(at + ".reads", false, precision == "int8");
    NameOutput(at + ".writes");
    PutTensor(at + ".weights");
    if (precision != "float32") PutTensor(at + ".scales");
    PutTensor(at + ".bias");
  }

  void NameNorm(const std::string& at) {
    PutText(at + ".arithmetic", IsOther(kNormMark, kIntegerNormMark) ? "integer" : "float");
    PutText(at + ".carry", Flag() ? "sum" : "norm");
    PutFloat(at + ".epsilon", NextFloat());
    NameOutput(at + ".writes");
    PutTensor(at + ".gamma");
    PutTensor(at + ".beta");
  }

  void NameAttention(const std::string& at) {
    PutText(at + ".softmax", IsOther(kAttentionMark, kIntegerSoftmaxMark) ? "integer" : "float");
    for (const char* name : {".heads", ".head_dim", ".value_dim"}) PutInt(at + name, Next());
    PutText(at + ".key_type", Choice(kTypes));
    PutText(at + ".value_type", Choice(kTypes));
    PutFloat(at + ".scale", NextFloat());
    NameOutput(at + ".context", true);
    for (int64_t left = Next(); left > 0; --left) {
      Flag();  // whether it reads the memory: its name tells
      std::string group;
      for (const char* member : kMembers) {
        if (Next() >= 0) group += (group.empty() ? "" : "_") + std::string(member);
      }
      NameLinear(at + "." + group);
    }
    NameLinear(at + ".output");
  }

  void NameStack(const std::string& stack, int64_t layers) {
    const std::string entry = stack + ".entry";
    const bool has_norm = Flag();
    PutText(entry + ".kind", has_norm ? "norm" : "tokens");
    has_norm ? NameNorm(entry) : NameOutput(entry + ".writes");
    for (int64_t i = 0; i < layers; ++i) {
      const std::string at = stack + "." + std::to_string(i);
      Expect(kLayerMark);
      NameAttention(at + ".self");
      NameNorm(at + ".self_norm");
      if (stack == "decoder") {
        NameAttention(at + ".cross");
        NameNorm(at + ".cross_norm");
      }
      NameLinear(at + ".ffn_in");
      NameLinear(at + ".ffn_out");
      NameNorm(at + ".ffn_norm");
    }
  }

  const std::vector<int64_t>& ints_;
  const std::vector<float>& floats_;
  size_t next_int_ = 0, next_float_ = 0;
  NamedSpec spec_;
};

}  // namespace

NamedSpec NamePositionalSpec(const std::vector<int64_t>& ints, const std::vector<float>& floats) {
  return Namer(ints, floats).Run();
}

}  // namespace keras_int8nmt
