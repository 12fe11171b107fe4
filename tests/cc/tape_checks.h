// Descriptions of models that must be refused, and those that are a little other than they should
// be: whatever is accepted must run.
#ifndef KERAS_INT8NMT_TESTS_CC_TAPE_CHECKS_H_
#define KERAS_INT8NMT_TESTS_CC_TAPE_CHECKS_H_

#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "answers.h"

namespace keras_int8nmt {

class TapeChecks {
 public:
  explicit TapeChecks(const Shape& shape)
      : shape_(shape), model_(ModelMaker(shape).Make()), writer_(model_, GemmFor("reference")) {}

  void Run() {
    CheckCut();
    CheckChanged();
    CheckFloats();
    CheckTensors();
    CheckFlow();
    std::printf("ran descriptions of %s: %d refused, %d accepted\n", shape_.name.c_str(), refused_,
                accepted_);
  }

 private:
  using Ints = std::vector<int64_t>;
  using Floats = std::vector<float>;
  using Tensors = std::vector<TensorView>;

  static void Refuse(const std::string& what, Ints ints, Floats floats, Tensors tensors) {
    ExpectThrows<std::invalid_argument>(what, [&] {
      Tape tape(std::move(ints), std::move(floats), std::move(tensors));
      Model model(&tape);
    });
  }

  // Cut anywhere, or longer than the model.
  void CheckCut() {
    const Ints& ints = writer_.ints;
    const Floats& floats = writer_.floats;
    const Tensors& tensors = writer_.tensors;
    for (size_t n = 0; n < ints.size(); ++n) {
      Refuse("ints cut to " + std::to_string(n), Ints(ints.begin(), ints.begin() + n), floats,
             tensors);
    }
    for (size_t n = 0; n < floats.size(); ++n) {
      Refuse("floats cut to " + std::to_string(n), ints, Floats(floats.begin(), floats.begin() + n),
             tensors);
    }
    for (size_t n = 0; n < tensors.size(); ++n) {
      Refuse("tensors cut to " + std::to_string(n), ints, floats,
             Tensors(tensors.begin(), tensors.begin() + n));
    }
    Ints more_ints = ints;
    more_ints.push_back(0);
    Refuse("one int more", more_ints, floats, tensors);
    Floats more_floats = floats;
    more_floats.push_back(1.0f);
    Refuse("one float more", ints, more_floats, tensors);
    Tensors more_tensors = tensors;
    more_tensors.push_back(tensors[0]);
    Refuse("one tensor more", ints, floats, more_tensors);
  }

  // One whole number changed.
  void CheckChanged() {
    constexpr int64_t kLowest = std::numeric_limits<int64_t>::min();
    constexpr int64_t kHighest = std::numeric_limits<int64_t>::max();
    for (size_t i = 0; i < writer_.ints.size(); ++i) {
      const int64_t old = writer_.ints[i];
      for (int64_t value : {old + 1, old - 1, old * 2, old / 2, int64_t{0}, int64_t{1}, int64_t{2},
                            int64_t{-1}, int64_t{1} << 31, kLowest, kHighest}) {
        if (value == old) continue;
        Ints ints = writer_.ints;
        ints[i] = value;
        const std::string what =
            "int " + std::to_string(i) + " " + std::to_string(old) + " as " + std::to_string(value);
        if (old >= 9000) {
          Refuse("mark " + what, ints, writer_.floats, writer_.tensors);
        } else {
          RefuseOrRun(what, ints, writer_.floats);
        }
      }
    }
  }

  void CheckFloats() {
    for (size_t i = 0; i < writer_.floats.size(); ++i) {
      for (float value : {std::numeric_limits<float>::quiet_NaN(),
                          std::numeric_limits<float>::infinity(), 0.0f, -1.0f, 1e30f, 1e-30f}) {
        Floats floats = writer_.floats;
        floats[i] = value;
        const std::string what = "float " + std::to_string(i) + " as " + std::to_string(value);
        if (std::isfinite(value)) {
          RefuseOrRun(what, writer_.ints, floats);
        } else {
          Refuse(what, writer_.ints, floats, writer_.tensors);
        }
      }
    }
  }

  // Other shapes and types; also each tensor in the place of another.
  void CheckTensors() {
    const Tensors& tensors = writer_.tensors;
    for (size_t i = 0; i < tensors.size(); ++i) {
      for (int type = 0; type < 3; ++type) {
        Tensors changed = tensors;
        changed[i].type = static_cast<Type>(type);
        if (changed[i].type == tensors[i].type) continue;
        Refuse("type of tensor " + std::to_string(i), writer_.ints, writer_.floats, changed);
      }
      for (int64_t more : {-1, 1}) {
        Tensors changed = tensors;
        changed[i].dims[0] += more;
        Refuse("shape of tensor " + std::to_string(i), writer_.ints, writer_.floats, changed);
      }
      for (const TensorView& other : tensors) {
        if (other.type == tensors[i].type && other.dims == tensors[i].dims) continue;
        Tensors changed = tensors;
        changed[i] = other;
        Refuse("another tensor " + std::to_string(i), writer_.ints, writer_.floats, changed);
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
      const TapeWriter writer(changed, GemmFor("reference"));
      Refuse(shape_.name + ": " + what, writer.ints, writer.floats, writer.tensors);
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
    refuse("self of memory", [&](M*, L* e, L*) { e->self.projections[0].of_memory = true; });
    refuse("query of memory", [&](M*, L*, L* d) { d->cross.projections[0].of_memory = true; });
    refuse("keys of the input", [&](M*, L*, L* d) { d->cross.projections[1].of_memory = false; });
    if (shape_.dynamic) {
      refuse("codes for a dynamic product", [&](M*, L*, L* d) { other(&d->ffn_in.input); });
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
  void RefuseOrRun(const std::string& what, const Ints& ints, const Floats& floats) {
    std::unique_ptr<const Model> model;
    try {
      Tape tape(ints, floats, writer_.tensors);
      model = std::make_unique<const Model>(&tape);
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
  TapeWriter writer_;
  int refused_ = 0, accepted_ = 0;
};

inline void CheckTapes() {
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
      TapeChecks(shape).Run();
    }
  }
}

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_TESTS_CC_TAPE_CHECKS_H_
