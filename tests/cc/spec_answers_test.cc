// Models on disk translate token ids as a file says, bit for bit, by the C functions that Python
// calls. So the answers of one CPU are held against those of another.
//
//   spec_answers_test FOLDER...
//
// A folder has spec.json, spec.safetensors and answers.txt, lines of
//
//   search BEAM MAX_LENGTH              all hypotheses of the beam, length penalty 1
//   source ID...                        a sentence, its end included
//   SCORE ID...                         each of its hypotheses, the best first; hexadecimal
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "decoder_api.h"
#include "spec_folder.h"

extern "C" {
const char* keras_int8nmt_info();
const char* keras_int8nmt_last_error();
int64_t keras_int8nmt_packed_bytes(int64_t k, int64_t n);
bool keras_int8nmt_pack(const int8_t* weights, int64_t k, int64_t n, void* packed);
int64_t keras_int8nmt_packed_float_bytes(int64_t k, int64_t n);
bool keras_int8nmt_pack_float(const float* weights, int64_t k, int64_t n, void* packed);
}

namespace keras_int8nmt {
namespace {

[[noreturn]] void Throw(const std::string& what) {
  throw std::runtime_error(what + ": " + keras_int8nmt_last_error());
}

struct Found {
  float score;
  std::vector<int32_t> tokens;
  bool operator==(const Found& other) const {
    return std::memcmp(&score, &other.score, sizeof(score)) == 0 && tokens == other.tokens;
  }
};

struct Sentence {
  std::vector<int32_t> source;
  std::vector<Found> hypotheses;
};

struct Search {
  int32_t beam = 1, max_length = 1;
  std::vector<Sentence> sentences;
};

std::vector<Search> ReadAnswers(const std::string& path) {
  std::vector<Search> searches;
  std::istringstream lines(ReadFile(path));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string first;
    words >> first;
    if (first == "search") {
      searches.emplace_back();
      words >> searches.back().beam >> searches.back().max_length;
      continue;
    }
    const std::vector<int32_t> ids{std::istream_iterator<int32_t>(words), {}};
    std::vector<Sentence>& sentences = searches.at(searches.size() - 1).sentences;
    if (first == "source") {
      sentences.push_back({ids, {}});
    } else {
      sentences.at(sentences.size() - 1)
          .hypotheses.push_back({std::strtof(first.c_str(), nullptr), ids});
    }
  }
  return searches;
}

std::vector<char> Packed(const TensorView& plain) {
  const int64_t k = plain.dims.at(0), n = plain.dims.at(1);
  const bool int8 = plain.type == Type::kInt8;
  const int64_t bytes =
      int8 ? keras_int8nmt_packed_bytes(k, n) : keras_int8nmt_packed_float_bytes(k, n);
  if (bytes < 0) Throw("packed_bytes");
  std::vector<char> packed(bytes);
  const bool done =
      int8 ? keras_int8nmt_pack(static_cast<const int8_t*>(plain.data), k, n, packed.data())
           : keras_int8nmt_pack_float(static_cast<const float*>(plain.data), k, n, packed.data());
  if (!done) Throw("pack");
  return packed;
}

// The spec as the C functions are handed it, its weights packed for this CPU.
class Handed {
 public:
  explicit Handed(const SpecFolder& folder) {
    for (const Setting& s : folder.settings) {
      settings_.push_back({s.name.c_str(), s.kind, s.whole, s.number, s.text.c_str()});
    }
    packed_.reserve(folder.tensors.size());
    dims_.reserve(folder.tensors.size());
    const std::string kind = ".weights";
    for (const auto& [name, plain] : folder.tensors) {
      TensorView tensor = plain;
      if (name.size() > kind.size() && name.substr(name.size() - kind.size()) == kind) {
        packed_.push_back(Packed(plain));
        tensor = {
            Type::kUint8, packed_.back().data(), {static_cast<int64_t>(packed_.back().size())}};
      }
      dims_.push_back(tensor.dims);
      tensors_.push_back({name.c_str(), static_cast<int32_t>(tensor.type),
                          static_cast<int32_t>(dims_.back().size()), dims_.back().data(),
                          tensor.data});
    }
  }
  Handed(const Handed&) = delete;
  Handed& operator=(const Handed&) = delete;

  KerasInt8nmtModelSpec Get() const {
    return {sizeof(KerasInt8nmtModelSpec), settings_.data(), static_cast<int64_t>(settings_.size()),
            tensors_.data(), static_cast<int64_t>(tensors_.size())};
  }

 private:
  std::vector<KerasInt8nmtSetting> settings_;
  std::vector<std::vector<char>> packed_;
  std::vector<std::vector<int64_t>> dims_;
  std::vector<KerasInt8nmtTensor> tensors_;
};

// Two threads share the products, so that shares of them are computed, too.
void* MakePool(const KerasInt8nmtModelSpec& spec, const Search& search, int64_t max_source) {
  std::vector<float> divisors(search.max_length + 1, 1.0f);
  std::iota(divisors.begin() + 1, divisors.end(), 1.0f);
  KerasInt8nmtSearchOptions options = {};
  options.size = sizeof(options);
  options.beam_size = options.num_hypotheses = search.beam;
  options.max_length = search.max_length;
  options.divisors = divisors.data();
  options.scores = 1;
  KerasInt8nmtPoolOptions pool = {sizeof(pool), 1, 2, 0, 16, static_cast<int32_t>(max_source)};
  void* made = keras_int8nmt_pool_create(&spec, &options, &pool);
  if (made == nullptr) Throw("pool_create");
  return made;
}

std::vector<std::vector<Found>> Results(const void* request, size_t count) {
  int64_t sizes[2];
  keras_int8nmt_request_sizes(request, sizes);
  std::vector<int64_t> counts(count), lengths(sizes[0]);
  std::vector<float> scores(sizes[0]);
  std::vector<int32_t> tokens(sizes[1]);
  keras_int8nmt_request_results(request, counts.data(), lengths.data(), scores.data(),
                                tokens.data());
  std::vector<std::vector<Found>> results(count);
  int64_t hypothesis = 0;
  const int32_t* at = tokens.data();
  for (size_t i = 0; i < count; ++i) {
    for (int64_t h = 0; h < counts[i]; ++h, ++hypothesis) {
      results[i].push_back({scores[hypothesis], {at, at + lengths[hypothesis]}});
      at += lengths[hypothesis];
    }
  }
  return results;
}

std::vector<std::vector<Found>> Translate(void* pool, const Search& search) {
  const auto count = static_cast<int64_t>(search.sentences.size());
  std::vector<int32_t> ids;
  std::vector<int64_t> offsets = {0}, order(count);
  for (const Sentence& sentence : search.sentences) {
    ids.insert(ids.end(), sentence.source.begin(), sentence.source.end());
    offsets.push_back(static_cast<int64_t>(ids.size()));
  }
  std::iota(order.begin(), order.end(), 0);
  void* request =
      keras_int8nmt_request_submit(pool, ids.data(), offsets.data(), order.data(), count);
  if (request == nullptr) Throw("request_submit");
  while (keras_int8nmt_request_wait(request, 1000) < count) {
  }
  const std::string error = keras_int8nmt_request_error(request);
  if (!error.empty()) throw std::runtime_error(error);
  auto results = Results(request, search.sentences.size());
  keras_int8nmt_request_free(request);
  return results;
}

std::string Text(const std::vector<Found>& hypotheses) {
  std::string text;
  for (const Found& found : hypotheses) {
    char score[64];
    std::snprintf(score, sizeof(score), "\n  %a", static_cast<double>(found.score));
    text += score;
    for (const int32_t token : found.tokens) text += " " + std::to_string(token);
  }
  return text;
}

// How many sentences have other answers.
int Compare(const std::string& name) {
  const SpecFolder folder(name);
  const Handed handed(folder);
  int sentences = 0, hypotheses = 0, wrong = 0;
  for (const Search& search : ReadAnswers(name + "/answers.txt")) {
    void* pool = MakePool(handed.Get(), search, folder.Whole("max_length"));
    const auto results = Translate(pool, search);
    keras_int8nmt_pool_destroy(pool);
    for (size_t i = 0; i < results.size(); ++i) {
      const std::vector<Found>& expected = search.sentences[i].hypotheses;
      ++sentences;
      hypotheses += static_cast<int>(expected.size());
      if (!expected.empty() && results[i] == expected) continue;
      if (++wrong > 3) continue;
      std::printf("FAILED %s, beam %d, sentence %zu: expected%s\nwas%s\n", name.c_str(),
                  search.beam, i, Text(expected).c_str(), Text(results[i]).c_str());
    }
  }
  std::printf("ran %s: %d sentences, %d hypotheses, %d sentences differ\n", name.c_str(), sentences,
              hypotheses, wrong);
  return sentences == 0 ? 1 : wrong;
}

int Run(int count, char** folders) {
  std::printf("%s\n", keras_int8nmt_info());
  if (count == 0) {
    std::fprintf(stderr, "usage: spec_answers_test FOLDER...\n");
    return 2;
  }
  int wrong = 0;
  try {
    for (int i = 0; i < count; ++i) wrong += Compare(folders[i]);
  } catch (const std::exception& error) {
    std::printf("FAILED %s\n", error.what());
    return 1;
  }
  return wrong == 0 ? 0 : 1;
}

}  // namespace
}  // namespace keras_int8nmt

int main(int argc, char** argv) { return keras_int8nmt::Run(argc - 1, argv + 1); }
