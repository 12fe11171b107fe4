// Specs of models that must be refused, and those that are a little other than they should be:
// whatever is accepted must run.
#ifndef KERAS_INT8NMT_TESTS_CC_SPEC_CHECKS_H_
#define KERAS_INT8NMT_TESTS_CC_SPEC_CHECKS_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "answers.h"

namespace keras_int8nmt {

class SpecChecks {
 public:
  explicit SpecChecks(const Shape& shape)
      : shape_(shape), model_(ModelMaker(shape).Make()), writer_(model_, GemmFor("reference")) {}

  void Run() {
    CheckOrder();
    CheckMissing();
    CheckUnknown();
    CheckTwice();
    CheckKinds();
    CheckInts();
    CheckFloats();
    CheckWords();
    CheckTensors();
    CheckFlow();
    std::printf("ran specs of %s: %d refused, %d accepted\n", shape_.name.c_str(), refused_,
                accepted_);
  }

 private:
  // Refused with a message that has `named` in it.
  static void Refuse(const std::string& what, const Spec& spec, const std::string& named) {
    try {
      spec.Read();
      Fail(what + ": accepted");
    } catch (const std::invalid_argument& error) {
      if (std::string(error.what()).find(named) == std::string::npos) {
        Fail(what + ": refused, but not as " + named + ": " + error.what());
      }
    } catch (const std::exception& error) {
      Fail(what + ": refused with another exception: " + error.what());
    }
  }

  // Entries are found by their names, wherever they are.
  void CheckOrder() const {
    Spec turned = writer_.spec;
    std::reverse(turned.settings.begin(), turned.settings.end());
    std::reverse(turned.names.begin(), turned.names.end());
    std::reverse(turned.tensors.begin(), turned.tensors.end());
    const auto answers = [](const Spec& spec) {
      Pool pool(spec.Read(), MakeSearch(2, 3), MakeOptions(1, 1, 2, 5));
      return Translate(&pool, {{1}, {2, 3, 4, 5, 6}, {3, 0, 1}});
    };
    ExpectAnswers("entries in another order", answers(turned), answers(writer_.spec), 0.0f);
  }

  // Each entry left out: without the weights of a projection there is no such projection, and what
  // is left of it is of no use.
  void CheckMissing() const {
    const Spec& whole = writer_.spec;
    for (size_t i = 0; i < whole.settings.size(); ++i) {
      Spec spec = whole;
      spec.settings.erase(spec.settings.begin() + i);
      Refuse("without " + whole.settings[i].name, spec, whole.settings[i].name + ": it is missing");
    }
    for (size_t i = 0; i < whole.names.size(); ++i) {
      Spec spec = whole;
      spec.names.erase(spec.names.begin() + i);
      spec.tensors.erase(spec.tensors.begin() + i);
      const std::string& name = whole.names[i];
      const std::string at = name.substr(0, name.rfind('.'));
      const std::string group = at.substr(at.rfind('.') + 1);
      const bool projection =
          group.find("query") == 0 || group.find("key") == 0 || group.find("value") == 0;
      const bool absent = projection && name == at + ".weights";
      Refuse("without " + name, spec, absent ? at.substr(0, at.rfind('.')) : name);
    }
  }

  void CheckUnknown() const {
    for (const Setting& setting : writer_.spec.settings) {
      Spec spec = writer_.spec;
      spec.settings.push_back(setting);
      spec.settings.back().name += ".more";
      Refuse("one more setting", spec, setting.name + ".more: no part");
    }
    for (const std::string& name : writer_.spec.names) {
      Spec spec = writer_.spec;
      spec.names.push_back(name + "_more");
      spec.tensors.push_back(spec.tensors[0]);
      Refuse("one more tensor", spec, name + "_more: no part");
    }
    Spec spec = writer_.spec;
    spec.names.push_back("unnamed");
    Refuse("a name without a tensor", spec, "names for");
  }

  void CheckTwice() const {
    for (const Setting& setting : writer_.spec.settings) {
      Spec spec = writer_.spec;
      spec.settings.push_back(setting);
      Refuse("a setting twice", spec, setting.name + ": it is there twice");
    }
    for (size_t i = 0; i < writer_.spec.names.size(); ++i) {
      Spec spec = writer_.spec;
      spec.names.push_back(spec.names[i]);
      spec.tensors.push_back(spec.tensors[i]);
      Refuse("a tensor twice", spec, spec.names[i] + ": it is there twice");
    }
  }

  // A setting of another kind, and one that is a tensor.
  void CheckKinds() const {
    for (size_t i = 0; i < writer_.spec.settings.size(); ++i) {
      const std::string& name = writer_.spec.settings[i].name;
      for (int kind : {0, 1, 2, 3, -1}) {
        Spec spec = writer_.spec;
        if (spec.settings[i].kind == kind) continue;
        spec.settings[i].kind = static_cast<Setting::Kind>(kind);
        Refuse("kind " + std::to_string(kind), spec, name + ": it is ");
      }
      Spec spec = writer_.spec;
      spec.settings.erase(spec.settings.begin() + i);
      spec.names.push_back(name);
      spec.tensors.push_back(spec.tensors[0]);
      Refuse("a tensor as a setting", spec, name + ": it is a tensor");
    }
  }

  // One whole number changed.
  void CheckInts() {
    constexpr int64_t kLowest = std::numeric_limits<int64_t>::min();
    constexpr int64_t kHighest = std::numeric_limits<int64_t>::max();
    for (size_t i = 0; i < writer_.spec.settings.size(); ++i) {
      const Setting& setting = writer_.spec.settings[i];
      if (setting.kind != Setting::kInt) continue;
      const int64_t old = setting.whole;
      for (int64_t value : {old + 1, old - 1, old * 2, old / 2, int64_t{0}, int64_t{1}, int64_t{2},
                            int64_t{-1}, int64_t{1} << 31, kLowest, kHighest}) {
        if (value == old) continue;
        Spec spec = writer_.spec;
        spec.settings[i].whole = value;
        const std::string what = setting.name + " as " + std::to_string(value);
        if (setting.name == "format_version") {
          Refuse(what, spec, "format_version: it is ");
        } else {
          RefuseOrRun(what, spec);
        }
      }
    }
  }

  void CheckFloats() {
    for (size_t i = 0; i < writer_.spec.settings.size(); ++i) {
      const Setting& setting = writer_.spec.settings[i];
      if (setting.kind != Setting::kFloat) continue;
      for (double value :
           {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(),
            1e300, 0.0, -1.0, 1e30, 1e-30}) {
        Spec spec = writer_.spec;
        spec.settings[i].number = value;
        const std::string what = setting.name + " as " + std::to_string(value);
        if (std::isfinite(static_cast<float>(value))) {
          RefuseOrRun(what, spec);
        } else {
          Refuse(what, spec, setting.name + ": it is not finite");
        }
      }
    }
  }

  // Each word as any other, known or not.
  void CheckWords() {
    for (size_t i = 0; i < writer_.spec.settings.size(); ++i) {
      const Setting& setting = writer_.spec.settings[i];
      if (setting.kind != Setting::kText) continue;
      for (const char* word : {"float32", "int8", "uint8", "int8_dynamic", "none", "relu", "gelu",
                               "float", "integer", "norm", "sum", "tokens"}) {
        Spec spec = writer_.spec;
        if (setting.text == word) continue;
        spec.settings[i].text = word;
        RefuseOrRun(setting.name + " as " + word, spec);
      }
      for (const char* word : {"", "Int8", "float64"}) {
        Spec spec = writer_.spec;
        spec.settings[i].text = word;
        Refuse(setting.name, spec, setting.name + ": it is \"" + word + "\"; expected one of ");
      }
    }
  }

  // Other shapes and types; also each tensor in the place of another.
  void CheckTensors() {
    const Spec& whole = writer_.spec;
    for (size_t i = 0; i < whole.tensors.size(); ++i) {
      const std::string& name = whole.names[i];
      const TensorView& tensor = whole.tensors[i];
      for (int type : {0, 1, 2, 3, -1}) {
        Spec spec = whole;
        spec.tensors[i].type = static_cast<Type>(type);
        if (spec.tensors[i].type == tensor.type) continue;
        // An embedding's table may be of two types; then its scales are missing or too many.
        const bool table =
            name.find("_embedding.table") != std::string::npos && type >= 0 && type < 2;
        Refuse("type of " + name, spec, table ? "_embedding.inv_scales" : name);
      }
      for (int64_t more : {int64_t{-1}, int64_t{1}, -2 * tensor.dims[0]}) {
        Spec spec = whole;
        spec.tensors[i].dims[0] += more;
        // A table of more or fewer words is one of another vocabulary.
        const bool table = name.find("_embedding.table") != std::string::npos;
        if (table && more >= -1) {
          if (tensor.type == Type::kInt8) Refuse("words", spec, "_embedding.inv_scales: it has ");
          continue;
        }
        Refuse("shape of " + name, spec,
               tensor.type == Type::kUint8 && more >= -1 ? "packed" : name);
      }
      for (const TensorView& other : whole.tensors) {
        if (other.type == tensor.type && other.dims == tensor.dims) continue;
        Spec spec = whole;
        spec.tensors[i] = other;
        // The other's vocabulary may fit, too.
        if (name.find("_embedding.table") != std::string::npos && other.dims.size() == 2) continue;
        Refuse("another tensor as " + name, spec, "");
      }
    }
  }

  // A part that writes what the next one does not read. No sanitizer sees what oneDNN's code reads,
  // so a refusal is asked for in so many words.
  void CheckFlow() const {
    const auto other = [](Output* output) {
      output->type = output->type == Type::kInt8 ? Type::kUint8 : Type::kInt8;
      output->zero_point = 0;
    };
    const auto refuse = [&](const char* what, auto change) {
      small::Model changed = model_;
      change(&changed, &changed.encoder.layers.back(), &changed.decoder.layers.back());
      const SpecWriter writer(changed, GemmFor("reference"));
      Refuse(shape_.name + ": " + what, writer.spec, "the model's spec: ");
    };
    using M = small::Model;
    using L = small::Layer;
    refuse("hidden", [&](M*, L*, L* d) { other(&d->ffn_in.output); });
    refuse("context", [&](M*, L* e, L*) { other(&e->self.context); });
    refuse("context of cross", [&](M*, L*, L* d) { other(&d->cross.context); });
    refuse("self norm", [&](M*, L*, L* d) { other(&d->self_norm.output); });
    refuse("cross norm", [&](M*, L*, L* d) { other(&d->cross_norm.output); });
    refuse("memory", [&](M*, L* e, L*) { other(&e->ffn_norm.output); });
    refuse("last norm", [&](M*, L*, L* d) { other(&d->ffn_norm.output); });
    refuse("entry", [&](M* m, L*, L*) {
      other(m->encoder.has_norm ? &m->encoder.norm.output : &m->encoder.output);
    });
    refuse("self sum", [&](M*, L* e, L*) { other(&e->self.output.output); });
    refuse("cross sum", [&](M*, L*, L* d) { other(&d->cross.output.output); });
    refuse("ffn sum", [&](M*, L*, L* d) { other(&d->ffn_out.output); });
    refuse("logits", [&](M* m, L*, L*) { other(&m->projection.output); });
    if (!shape_.separate) {
      refuse("a query with keys of the memory",
             [&](M*, L*, L* d) { d->cross.projections = d->self.projections; });
    }
    if (shape_.dynamic) {
      Spec codes = writer_.spec;
      codes.settings.push_back({"decoder.0.ffn_in.reads.type", Setting::kText, 0, 0.0, "int8"});
      Refuse("codes for a dynamic product", codes, "decoder.0.ffn_in.reads.type: no part");
      refuse("a dynamic product as another one", [&](M*, L* e, L*) { e->ffn_out.dynamic = false; });
    }
    refuse("end token", [&](M* m, L*, L*) { m->eos_id = static_cast<int32_t>(shape_.words); });
    refuse("epsilon of an integer norm", [&](M*, L* e, L*) {
      e->self_norm.integer = true;
      e->self_norm.epsilon = 1.5f;
    });
    refuse("start token", [&](M* m, L*, L*) { m->start_id = static_cast<int32_t>(shape_.words); });
  }

  // What is accepted may give wrong numbers, but touches no memory that is not the model's.
  void RefuseOrRun(const std::string& what, const Spec& spec) {
    std::unique_ptr<const Model> model;
    try {
      model = spec.Read();
    } catch (const std::invalid_argument&) {
      ++refused_;
      return;
    } catch (const std::exception& error) {
      return Fail(what + ": refused with another exception: " + error.what());
    }
    ++accepted_;
    Pool pool(std::move(model), MakeSearch(2, 3), MakeOptions(1, 1, 2, 5));
    try {
      Translate(&pool, {{1}, {2, 3, 4, 5, 6}, {3, 0, 1}});
    } catch (const std::runtime_error&) {
      // NaN, for example.
    }
  }

  Shape shape_;
  small::Model model_;
  SpecWriter writer_;
  int refused_ = 0, accepted_ = 0;
};

inline void CheckSpecs() {
  struct Kind {
    Precision precision;
    bool dynamic;
  };
  for (const Kind& kind : {Kind{Precision::kInt8, false}, Kind{Precision::kInt8, true},
                           Kind{Precision::kMixed, false}, Kind{Precision::kFloat, false}}) {
    for (bool pre_norm : {false, true}) {
      Shape shape;
      shape.name =
          std::string(kind.dynamic ? "dynamic, " : "") + (pre_norm ? "pre" : "post") + "-norm";
      shape.precision = kind.precision;
      shape.dynamic = kind.dynamic;
      const bool int8 = kind.precision == Precision::kInt8 && !kind.dynamic;
      if (!int8) shape.key_type = Type::kFloat32;
      if (kind.precision == Precision::kFloat || kind.dynamic) shape.value_type = Type::kFloat32;
      shape.pre_norm = shape.separate = pre_norm;
      shape.decoders = 1;
      shape.max_length = 5;
      shape.integer_softmax = kind.precision == Precision::kMixed;
      shape.integer_norm = kind.precision == Precision::kMixed && pre_norm;
      SpecChecks(shape).Run();
    }
  }
}

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_TESTS_CC_SPEC_CHECKS_H_
