// The edges of a search: lengths, vocabularies, many positions, and models that give NaN.
#ifndef KERAS_INT8NMT_TESTS_CC_LIMIT_CHECKS_H_
#define KERAS_INT8NMT_TESTS_CC_LIMIT_CHECKS_H_

#include <limits>
#include <string>
#include <vector>

#include "search_checks.h"

namespace keras_int8nmt {

// Minimum and maximum length, and exponents of the length penalty.
inline void CheckLengths() {
  const auto backends = Backends(true);
  Shape shape;
  shape.name = "lengths";
  shape.end_bias = 4.0f;
  SearchChecks checks(shape, 12);
  for (int32_t beam : {1, 4}) {
    for (int32_t max_length : {1, 2, 16}) {
      for (int32_t min_length : {0, 1, 2, 9, 16}) {
        if (min_length > max_length) continue;
        checks.Run(MakeSearch(beam, max_length, min_length, 0.6), 3, {7}, {backends.back()});
      }
    }
  }
  checks.Run(MakeSearch(5, 12, 0, 0.0), 3, {7}, backends);
  shape.name = "one position";
  shape.max_length = 1;
  for (int32_t beam : {1, 3}) SearchChecks(shape, 5).Run(MakeSearch(beam, 1), 5, {2}, backends);
}

// Beams wider than the vocabulary, of which padding is never produced.
inline void CheckVocabularies() {
  for (int64_t words : {2, 3, 4, 5}) {
    for (bool tied : {false, true}) {
      Shape shape;
      shape.name = "vocabulary of " + std::to_string(words);
      shape.words = words;
      shape.tied = tied;
      shape.end_bias = 0.0f;
      SearchChecks checks(shape, 10);
      for (int32_t beam : {1, 2, 5, 8}) {
        checks.Run(MakeSearch(beam, 7), 4, {7}, Backends(false));
        checks.Run(MakeSearch(beam, 7, 4), 4, {7}, {&ActiveGemm()});
      }
    }
  }
}

// More positions than a block of the cache has, of sources and of hypotheses that part and meet.
inline void CheckManyPositions() {
  for (Type type : {Type::kInt8, Type::kFloat32}) {
    Shape shape;
    shape.name = "many positions";
    shape.key_type = shape.value_type = type;
    shape.max_length = 70;
    shape.end_bias = 1.0f;
    shape.decoders = 1;
    SearchChecks checks(shape, 9);
    for (int32_t beam : {1, 4}) {
      checks.Run(MakeSearch(beam, 70, 40), 3, {3, 8}, {&ActiveGemm()});
    }
    // Both sides of the blocks' edges.
    for (int32_t length : {15, 16, 17, 31, 32, 33}) {
      checks.Run(MakeSearch(3, length, length), 2, {8}, {&ActiveGemm()});
    }
  }
}

// One word's embedding is NaN: sentences with it fail, others do not notice.
inline void CheckNanSentences() {
  Shape shape;
  shape.precision = Precision::kFloat;
  shape.key_type = shape.value_type = Type::kFloat32;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  constexpr int32_t kBad = 7;
  small::Model model = ModelMaker(shape).Make();
  Random random(3);
  Sentences good = MakeSentences(shape, 20, 16, &random), bad = good;
  for (auto& sentence : good) std::replace(sentence.begin(), sentence.end(), kBad, kBad + 1);
  const SearchOptions search = MakeSearch(4, 12);
  const SpecWriter sound(model, ActiveGemm());
  const Answers expected = Alone(sound, search, good, 16);
  small::Model broken = model;
  std::fill_n(broken.source.table.begin() + kBad * shape.dim, shape.dim, nan);
  const SpecWriter writer(broken, ActiveGemm());
  ExpectThrows<std::invalid_argument>("a table with NaN", [&] { writer.spec.Read(); });
  const auto pool =
      std::make_unique<Pool>(writer.spec.Read(false), search, MakeOptions(2, 1, 8, 16));
  bad[11] = {1, kBad, 2};
  for (int round = 0; round < 5; ++round) {
    const std::shared_ptr<Request> fails = Begin(pool.get(), bad, 2);
    const std::shared_ptr<Request> succeeds = Begin(pool.get(), good, 3);
    WaitFor(pool.get(), fails.get());
    WaitFor(pool.get(), succeeds.get());
    const std::string told = fails->error.c_str(), other = succeeds->error.c_str();
    if (told.find("NaN") == std::string::npos ||
        told.find("seen at encoder.0.self_norm") == std::string::npos) {
      Fail("NaN was not told: " + told);
    }
    if (!other.empty()) Fail("NaN of another request: " + other);
    ExpectAnswers("beside NaN", succeeds->results, expected, BoundOf(Precision::kFloat));
  }
}

// Numbers of the model itself: a spec with one of them is refused by the name of its entry.
inline void CheckNanModels() {
  for (Precision precision : {Precision::kInt8, Precision::kFloat}) {
    for (float value :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      Shape shape;
      shape.precision = precision;
      if (precision == Precision::kFloat) shape.key_type = shape.value_type = Type::kFloat32;
      const small::Model model = ModelMaker(shape).Make();
      const auto refused = [&](const std::string& entry, const small::Model& broken) {
        const SpecWriter writer(broken, ActiveGemm());
        try {
          writer.spec.Read();
        } catch (const std::invalid_argument& error) {
          const std::string why = error.what();
          if (why.find(entry + ": it has") == std::string::npos) Fail(entry + ": " + why);
          return;
        }
        Fail(entry + " with " + std::to_string(value) + " was accepted");
      };
      small::Model broken = model;
      broken.projection.bias[5] = value;
      refused("output_projection.bias", broken);
      broken = model;
      broken.decoder.layers[0].ffn_out.bias[3] = value;
      refused("decoder.0.ffn_out.bias", broken);
      broken = model;
      broken.encoder.layers[0].ffn_norm.gamma[2] = value;
      refused("encoder.0.ffn_norm.gamma", broken);
      broken = model;
      broken.positions[4] = value;
      refused("positions", broken);
      if (precision == Precision::kFloat) continue;
      broken = model;
      broken.decoder.layers[0].ffn_in.scales[1] = value;
      refused("decoder.0.ffn_in.scales", broken);
    }
  }
}

// Finite numbers whose products overflow: every sentence fails, by the norm that saw it, none is
// waited for in vain, and the pool ends.
inline void CheckOverflowingModels() {
  for (bool pre_norm : {false, true}) {
    for (bool encoder : {false, true}) {
      Shape shape;
      shape.pre_norm = pre_norm;
      small::Model model = ModelMaker(shape).Make();
      auto& stack = encoder ? model.encoder : model.decoder;
      // The first norm after it sees it; of a residual sum that is carried on, the last one.
      std::fill(stack.layers[0].ffn_out.scales.begin(), stack.layers[0].ffn_out.scales.end(),
                3e38f);
      const std::string at = std::string(encoder ? "encoder." : "decoder.") +
                             std::to_string(pre_norm ? stack.layers.size() - 1 : 0) + ".ffn_norm";
      Random random(4);
      const Sentences sentences = MakeSentences(shape, 9, 16, &random);
      const SpecWriter writer(model, ActiveGemm());
      const auto pool = MakePool(writer, MakeSearch(3, 8), MakeOptions(2, 1, 4, 16));
      for (int round = 0; round < 2; ++round) {
        const std::shared_ptr<Request> request = Begin(pool.get(), sentences, 1);
        WaitFor(pool.get(), request.get());
        const std::string told = request->error.c_str();
        if (told.find("seen at " + at) == std::string::npos) {
          Fail("an overflow at " + at + ": " + told);
        }
      }
    }
  }
}

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_TESTS_CC_LIMIT_CHECKS_H_
