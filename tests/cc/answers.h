// Sentences through a pool, and answers compared.
#ifndef KERAS_INT8NMT_TESTS_CC_ANSWERS_H_
#define KERAS_INT8NMT_TESTS_CC_ANSWERS_H_

#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "pool.h"
#include "random_model.h"
#include "spec_writer.h"

namespace keras_int8nmt {

using Sentences = std::vector<std::vector<int32_t>>;
using Answer = std::vector<Hypothesis>;
using Answers = std::vector<Answer>;

inline SearchOptions MakeSearch(int32_t beam, int32_t max_length, int32_t min_length = 0,
                                double penalty = 1.0) {
  SearchOptions search;
  search.beam_size = search.num_hypotheses = beam;
  search.max_length = max_length;
  search.min_length = min_length;
  for (int32_t n = 0; n <= max_length; ++n) {
    search.divisors.push_back(static_cast<float>(std::pow(n == 0 ? 1 : n, penalty)));
  }
  return search;
}

inline Pool::Options MakeOptions(int streams, int threads, int64_t batch, int64_t max_source) {
  Pool::Options options;
  options.streams = streams;
  options.threads_per_stream = threads;
  options.pin = false;
  options.stream.batch_size = batch;
  options.stream.max_source = max_source;
  return options;
}

inline std::unique_ptr<Pool> MakePool(const SpecWriter& writer, const SearchOptions& search,
                                      const Pool::Options& options) {
  return std::make_unique<Pool>(writer.spec.Read(), search, options);
}

inline Sentences MakeSentences(const Shape& shape, int64_t count, int64_t longest, Random* random) {
  Sentences sentences(count);
  for (auto& sentence : sentences) {
    sentence.resize(1 + random->Below(longest));
    for (int32_t& id : sentence) id = static_cast<int32_t>(random->Below(shape.source_words));
  }
  return sentences;
}

inline void FillRequest(const Sentences& sentences, uint32_t seed, Request* request) {
  request->sentences = sentences;
  request->order.resize(sentences.size());
  std::iota(request->order.begin(), request->order.end(), 0);
  if (seed != 0) Random(seed).Shuffle(&request->order);
}

inline void WaitFor(Pool* pool, Request* request) {
  const auto all = static_cast<int64_t>(request->sentences.size());
  while (pool->Wait(request, 100) < all) {
  }
}

// A request that the pool has.
inline std::shared_ptr<Request> Begin(Pool* pool, const Sentences& sentences, uint32_t seed) {
  auto request = std::make_shared<Request>();
  FillRequest(sentences, seed, request.get());
  pool->Submit(request);
  return request;
}

// Throws what the request failed with; `seed` shuffles the sentences' order, if not 0.
inline Answers Translate(Pool* pool, const Sentences& sentences, uint32_t seed = 0) {
  const std::shared_ptr<Request> request = Begin(pool, sentences, seed);
  WaitFor(pool, request.get());
  if (!request->error.empty()) throw std::runtime_error(request->error.c_str());
  return std::move(request->results);
}

inline std::string Text(const Answer& answer) {
  std::string text;
  for (const Hypothesis& hypothesis : answer) {
    text += " [";
    for (int32_t token : hypothesis.tokens) text += std::to_string(token) + " ";
    text += "] " + std::to_string(hypothesis.score);
  }
  return text;
}

// Tokens, and the bits of scores.
inline bool Equal(const Answer& a, const Answer& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].tokens != b[i].tokens || std::memcmp(&a[i].score, &b[i].score, sizeof(float)) != 0) {
      return false;
    }
  }
  return true;
}

// Scores alone: what is best may differ at ties, which float products settle by their rounding.
inline bool Near(const Answer& a, const Answer& b, float bound) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    const bool tokens = a[i].tokens == b[i].tokens;
    const bool tie = (i > 0 && std::fabs(a[i].score - a[i - 1].score) <= bound) ||
                     (i + 1 < a.size() && std::fabs(a[i].score - a[i + 1].score) <= bound);
    if ((!tokens && !tie) || !(std::fabs(a[i].score - b[i].score) <= bound)) return false;
  }
  return true;
}

// How exactly two computations of one model agree: products in float32 are rounded otherwise with
// other rows beside, and where codes follow them, a code may be the next one.
inline float BoundOf(Precision precision) {
  switch (precision) {
    case Precision::kInt8:
      return 0.0f;
    case Precision::kFloat:
      return 1e-4f;
    default:
      return 0.05f;
  }
}

inline void ExpectAnswers(const std::string& what, const Answers& actual, const Answers& expected,
                          float bound) {
  for (size_t i = 0; i < expected.size(); ++i) {
    const bool fine =
        bound == 0.0f ? Equal(actual[i], expected[i]) : Near(actual[i], expected[i], bound);
    if (fine) continue;
    Fail(what + ", sentence " + std::to_string(i) + ": expected" + Text(expected[i]) + ", was" +
         Text(actual[i]));
    return;
  }
}

template <class Error, class F>
void ExpectThrows(const std::string& what, F f) {
  try {
    f();
    Fail(what + ": accepted");
  } catch (const Error&) {
  } catch (const std::exception& error) {
    Fail(what + ": refused with another exception: " + error.what());
  }
}

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_TESTS_CC_ANSWERS_H_
