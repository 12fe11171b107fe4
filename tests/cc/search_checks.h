// What an answer is: that of plain loops, whatever computes it and in whatever company.
#ifndef KERAS_INT8NMT_TESTS_CC_SEARCH_CHECKS_H_
#define KERAS_INT8NMT_TESTS_CC_SEARCH_CHECKS_H_

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "answers.h"
#include "plain_search.h"

namespace keras_int8nmt {

// The back ends that this CPU and the instruction set in force have; `own` of them without oneDNN.
inline std::vector<const GemmBackend*> Backends(bool own) {
  std::vector<const GemmBackend*> found;
  for (const char* name : {"reference", "vnni", "madd", "neon", "dotprod", "i8mm", "onednn"}) {
    if (own && std::strcmp(name, "onednn") == 0) continue;
    try {
      found.push_back(&GemmFor(name));
    } catch (const std::runtime_error&) {
    }
  }
  return found;
}

inline std::vector<Shape> Shapes() {
  std::vector<Shape> shapes;
  const auto add = [&](const char* name, auto change) {
    Shape shape;
    shape.name = name;
    shape.seed = static_cast<uint32_t>(shapes.size() + 1);
    change(&shape);
    shapes.push_back(shape);
  };
  const auto head = [](Shape* s, int32_t heads, int32_t head_dim, int32_t value_dim) {
    s->heads = heads;
    s->head_dim = head_dim;
    s->value_dim = value_dim;
  };
  constexpr Type kFloat = Type::kFloat32;
  add("INT8, post-norm, ReLU", [](Shape* s) { s->end_bias = 4.0f; });
  add("INT8, pre-norm, GELU, tied", [](Shape* s) {
    s->pre_norm = s->tied = true;
    s->activation = Activation::kGelu;
    s->end_bias = 0.0f;
  });
  add("INT8, asymmetric, swish, float embeddings", [](Shape* s) {
    s->asymmetric = s->float_embedding = true;
    s->activation = Activation::kSwish;
  });
  add("INT8, one wide head, folded, separate, tanh GELU", [&](Shape* s) {
    head(s, 1, 64, 20);
    s->folded = s->separate = true;
    s->activation = Activation::kGeluTanh;
    s->decoders = 1;
  });
  add("INT8, float between, odd sizes", [&](Shape* s) {
    head(s, 3, 7, 5);
    s->float_flow = true;
    s->dim = 33;
    s->ffn = 50;
    s->words = 45;
    s->end_bias = 3.5f;
  });
  add("INT8, QK in float", [&](Shape* s) {
    s->key_type = kFloat;
    s->end_bias = 4.0f;
  });
  add("INT8, AV in float, pre-norm, asymmetric", [&](Shape* s) {
    s->value_type = kFloat;
    s->pre_norm = s->asymmetric = true;
  });
  add("INT8, attention in float", [&](Shape* s) {
    s->key_type = s->value_type = kFloat;
    s->end_bias = 3.5f;
  });
  add("INT8, dynamic", [&](Shape* s) {
    s->dynamic = true;
    s->key_type = s->value_type = kFloat;
    s->end_bias = 3.5f;
  });
  add("INT8, dynamic, pre-norm, GELU, tied, wide vocabulary, odd sizes", [&](Shape* s) {
    s->dynamic = s->pre_norm = s->tied = s->separate = true;
    s->key_type = s->value_type = kFloat;
    s->activation = Activation::kGelu;
    head(s, 3, 7, 5);
    s->dim = 33;
    s->words = 700;
    s->decoders = 1;
  });
  add("INT8, wide vocabulary", [&](Shape* s) {
    s->words = 1300;
    s->decoders = 1;
    s->end_bias = 4.0f;
  });
  add("float, post-norm", [&](Shape* s) {
    s->precision = Precision::kFloat;
    s->key_type = s->value_type = kFloat;
  });
  add("float, pre-norm, GELU, tied, odd sizes", [&](Shape* s) {
    s->precision = Precision::kFloat;
    s->key_type = s->value_type = kFloat;
    s->pre_norm = s->tied = true;
    s->activation = Activation::kGelu;
    head(s, 3, 7, 5);
    s->dim = 33;
  });
  add("mixed, dynamic", [&](Shape* s) {
    s->precision = Precision::kMixed;
    s->dynamic = true;
    s->key_type = s->value_type = kFloat;
  });
  add("mixed", [](Shape* s) { s->precision = Precision::kMixed; });
  add("mixed, pre-norm, QK in float, swish", [&](Shape* s) {
    s->precision = Precision::kMixed;
    s->key_type = kFloat;
    s->pre_norm = true;
    s->activation = Activation::kSwish;
  });
  add("mixed, asymmetric, AV in float, separate", [&](Shape* s) {
    s->precision = Precision::kMixed;
    s->value_type = kFloat;
    s->asymmetric = s->separate = true;
  });
  add("INT8, integer softmax and norms", [](Shape* s) {
    s->integer_softmax = s->integer_norm = true;
    s->end_bias = 4.0f;
  });
  add("INT8, AV in float, integer softmax, pre-norm, odd sizes", [&](Shape* s) {
    s->value_type = kFloat;
    s->integer_softmax = s->integer_norm = s->pre_norm = true;
    s->dim = 33;
    head(s, 3, 7, 5);
  });
  return shapes;
}

// Each sentence for itself; all others are held to it.
inline Answers Alone(const SpecWriter& writer, const SearchOptions& search,
                     const Sentences& sentences, int64_t max_source) {
  const std::unique_ptr<Pool> pool = MakePool(writer, search, MakeOptions(1, 1, 1, max_source));
  Answers answers;
  for (const auto& sentence : sentences) answers.push_back(Translate(pool.get(), {sentence})[0]);
  return answers;
}

class SearchChecks {
 public:
  SearchChecks(const Shape& shape, int64_t count)
      : shape_(shape),
        model_(ModelMaker(shape).Make()),
        random_(shape.seed + 100),
        sentences_(MakeSentences(shape, count, shape.max_length, &random_)),
        bound_(BoundOf(shape.precision)) {
    sentences_[0].resize(1);
    sentences_[1].resize(shape.max_length, 3);
  }

  // The first `plain` sentences by plain loops too.
  void Run(const SearchOptions& search, size_t plain, const std::vector<int64_t>& batches,
           const std::vector<const GemmBackend*>& backends) {
    const std::string beam = shape_.name + ", beam " + std::to_string(search.beam_size);
    Answers expected;
    for (const GemmBackend* backend : backends) {
      const SpecWriter writer(model_, *backend);
      const std::string what = beam + ", " + backend->name;
      const Answers alone = Alone(writer, search, sentences_, shape_.max_length);
      if (expected.empty()) {
        expected = alone;
        ComparePlain(beam, search, plain, alone);
        for (const Answer& answer : alone) CheckAnswer(beam, search, answer);
      }
      ExpectAnswers(what + ", alone", alone, expected, bound_);
      for (int64_t batch : batches) {
        // Half as many at first as there are slots, and the others when some are free.
        const std::unique_ptr<Pool> pool =
            MakePool(writer, search, MakeOptions(1, 1, batch, shape_.max_length));
        const auto seed = static_cast<uint32_t>(batch + search.beam_size);
        ExpectAnswers(what + ", batch " + std::to_string(batch),
                      Translate(pool.get(), sentences_, seed), expected, bound_);
      }
      if (search.beam_size == 1) CheckWithoutScores(what, writer, search, alone);
    }
  }

  // Streams and the threads that share their products.
  void RunThreads(const SearchOptions& search, const GemmBackend& backend) {
    const SpecWriter writer(model_, backend);
    const Answers expected = Alone(writer, search, sentences_, shape_.max_length);
    for (int streams : {1, 2, 3}) {
      for (int threads : {1, 2, 3}) {
        const std::unique_ptr<Pool> pool =
            MakePool(writer, search, MakeOptions(streams, threads, 16, shape_.max_length));
        ExpectAnswers(shape_.name + ", " + std::to_string(streams) + " streams of " +
                          std::to_string(threads) + " threads",
                      Translate(pool.get(), sentences_, 5), expected, bound_);
      }
    }
  }

 private:
  // Greedy search has the same tokens when nobody asks for their probabilities.
  void CheckWithoutScores(const std::string& what, const SpecWriter& writer, SearchOptions search,
                          const Answers& expected) {
    search.scores = false;
    const std::unique_ptr<Pool> pool =
        MakePool(writer, search, MakeOptions(1, 1, 16, shape_.max_length));
    Answers answers = Translate(pool.get(), sentences_, 5);
    for (size_t i = 0; i < answers.size() && i < expected.size(); ++i) {
      if (answers[i].size() != expected[i].size()) continue;
      for (size_t j = 0; j < answers[i].size(); ++j) answers[i][j].score = expected[i][j].score;
    }
    ExpectAnswers(what + ", without scores", answers, expected, bound_);
  }

  void ComparePlain(const std::string& what, const SearchOptions& search, size_t plain,
                    const Answers& alone) {
    Answers expected;
    for (size_t i = 0; i < plain && i < sentences_.size(); ++i) {
      auto& of_sentence = plain_[i];
      if (of_sentence == nullptr) {
        of_sentence = std::make_unique<PlainSearch>(model_, sentences_[i]);
      }
      expected.push_back(of_sentence->Run(search));
    }
    ExpectAnswers(what + ", plain loops", alone, expected, bound_);
  }

  void CheckAnswer(const std::string& what, const SearchOptions& search, const Answer& answer) {
    // Of padding and the end token alone nothing can be made that is longer than the end token.
    const bool possible = shape_.words > 2 || search.min_length <= 1;
    if (answer.empty() == possible || answer.size() > static_cast<size_t>(search.num_hypotheses)) {
      Fail(what + ": " + std::to_string(answer.size()) + " hypotheses");
    }
    for (size_t i = 0; i < answer.size(); ++i) {
      const std::vector<int32_t>& tokens = answer[i].tokens;
      const auto length = static_cast<int32_t>(tokens.size());
      if (i > 0 && !(answer[i].score <= answer[i - 1].score)) Fail(what + ": not best first");
      if (length > search.max_length || length < search.min_length || length < 1) {
        Fail(what + ": length " + std::to_string(length));
        continue;
      }
      for (int32_t t = 0; t < length; ++t) {
        const bool ends = tokens[t] == model_.eos_id;
        if (tokens[t] < 0 || tokens[t] >= shape_.words || tokens[t] == model_.pad_id ||
            ends != (t + 1 == length)) {
          Fail(what + ": token " + std::to_string(tokens[t]) + " at " + std::to_string(t));
        }
      }
    }
  }

  Shape shape_;
  small::Model model_;
  Random random_;
  Sentences sentences_;
  float bound_;
  std::map<size_t, std::unique_ptr<PlainSearch>> plain_;
};

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_TESTS_CC_SEARCH_CHECKS_H_
