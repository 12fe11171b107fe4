// The back end of each shape, and the race that it is chosen by.
#include "gemm/choice.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <utility>

namespace keras_int8nmt {
namespace {

// ---- what may be chosen

struct Library {
  const char* name;  // of its row
  bool (*may_be_loaded)();
};

constexpr Library kLibraries[] = {
#ifdef KERAS_INT8NMT_WITH_ONEDNN
    {"onednn", [] { return true; }},
#endif
    {"mkl",
     [] {
       const char* path = std::getenv("KERAS_INT8NMT_MKL");
       return path != nullptr && *path != '\0';
     }},
};

// Those that would have to be loaded to be candidates.
std::vector<const char*> Libraries() {
  std::vector<const char*> names;
  if (!GemmIsLeftToChoose()) return names;
  for (const Library& library : kLibraries) {
    if (library.may_be_loaded() && std::strcmp(library.name, ActiveGemm().name) != 0) {
      names.push_back(library.name);
    }
  }
  return names;
}

// Null where it can't run here.
const GemmBackend* Loaded(const char* name) {
  try {
    return &GemmFor(name);
  } catch (const std::exception&) {
    return nullptr;
  }
}

// ---- what was chosen

// The lock is held for a look into the map alone.
struct Choices {
  std::mutex lock;
  std::map<std::pair<int64_t, int64_t>, const GemmBackend*> of_shape;
};

// Never destroyed: threads may still run when the process exits.
Choices& AllChoices() {
  static auto* const choices = [] {
    auto* made = new Choices;
    // A child can't unlock it, being another thread than the one that locked it: it gets a new one.
    pthread_atfork([] { AllChoices().lock.lock(); }, [] { AllChoices().lock.unlock(); },
                   [] { new (&AllChoices().lock) std::mutex; });
    return made;
  }();
  return *choices;
}

// What the shape has, which is `backend` if it had nothing.
const GemmBackend& Settled(int64_t k, int64_t n, const GemmBackend& backend) {
  Choices& choices = AllChoices();
  const std::lock_guard<std::mutex> hold(choices.lock);
  return *choices.of_shape.emplace(std::make_pair(k, n), &backend).first->second;
}

// ---- the race

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

constexpr int64_t kMostRows = kMeasuredRows[kMeasuredCounts - 1];
// Wider weights than that are those of an output projection, of which the best columns are kept.
constexpr int64_t kProjection = 8;
// Of wide weights so many are multiplied: the others take as long each.
constexpr int64_t kMostWeights = 1 << 19, kMostProjected = 1 << 20;
constexpr int64_t kColumns = 64;  // at least, and whole panels of every kernel
// A model has more weights than a core's own cache holds, so each product finds its own in none:
// the packed weights lie in so many bytes several times over, in at most so many places.
constexpr int64_t kCold = 2 << 20;
constexpr int64_t kMostPlaces = 16;
// Turns of each candidate at one count of rows: the fastest counts, since others may be at work.
constexpr int kLeastTurns = 3, kMostTurns = 9;
// Who takes so many times as long as the fastest, in the mean of the counts so far, is asked no
// more.
constexpr double kHopeless = 2.0;
// How much faster than ActiveGemm another must be: less is noise, and a library's products are
// not shared by the threads of a stream.
constexpr double kFaster = 1.05;

// A product of Transformers of that shape. Products that widen are those before a ReLU, or of
// queries, keys and values, and write codes; those that narrow read the codes after the ReLU;
// others write the residual stream's floats.
class Problem {
 public:
  Problem(int64_t depth, int64_t width)
      : k(depth),
        projects(width > kProjection * depth),
        widens_(width > depth),
        narrows_(width < depth) {
    const int64_t most = (projects ? kMostProjected : kMostWeights) / k;
    n = std::min(width, std::max<int64_t>(1, most / kColumns) * kColumns);
    weights = Weights(k * n);
    a_ = Codes(kMostRows * k);
    // Logits of a few units, codes of a few tens.
    const float unit = std::sqrt(static_cast<float>(k)) * 73.0f * 42.0f;
    scales_.assign(n, (widens_ && !projects ? 30.0f : 3.0f) / unit);
    bias_.assign(n, 0.0f);
    out_.reset(new float[kMostRows * n]);
    const int64_t chunks = (n + kLogSumChunk - 1) / kLogSumChunk;
    for (std::vector<float>* each : {&maxima_, &sums_}) each->resize(kMostRows * chunks);
    for (std::vector<float>* each : {&best_, &log_sums_, &watched_})
      each->resize(kMostRows * kBest);
    for (std::vector<int32_t>* each : {&ids_, &counts_}) each->resize(kMostRows * kBest);
    finite_.resize(kMostRows);
  }

  // One product as the decoder has it computed.
  void Run(const PackedInfo& packed, int64_t m) {
    GemmArgs args;
    args.a = a_.data();
    args.a_type = narrows_ ? Type::kUint8 : Type::kInt8;
    args.m = m;
    args.weights = packed;
    args.epilogue.scales = scales_.data();
    args.epilogue.bias = bias_.data();
    args.out = out_.get();
    if (!projects) {
      if (widens_) args.epilogue.output.type = Type::kUint8;
      if (widens_) args.epilogue.activation = Activation::kRelu;
      packed.backend->multiply(args);
    } else if (packed.backend->top_k == nullptr) {
      packed.backend->multiply(args);
      ActiveKernels().top_k(out_.get(), m, n, kBest, -1, best_.data(), ids_.data(),
                            log_sums_.data());
    } else {
      args.out = nullptr;
      packed.backend->top_k(args, {kBest, -1, 0, best_.data(), ids_.data(), counts_.data(),
                                   watched_.data(), maxima_.data(), sums_.data(), finite_.data()});
    }
  }

  const int64_t k;
  int64_t n = 0;
  const bool projects;
  std::vector<int8_t> weights;

 private:
  // A beam's.
  static constexpr int32_t kBest = 4;

  static std::vector<int8_t> Codes(int64_t count) { return Drawn(count, 1); }
  // Near zero more often than far from it, as weights of trained models are: kernels may sum such
  // weights in fewer steps.
  static std::vector<int8_t> Weights(int64_t count) { return Drawn(count, 3); }

  // Means of `each` numbers of -127 to 127, in no order that a product would notice.
  static std::vector<int8_t> Drawn(int64_t count, int each) {
    constexpr int64_t kDrawn = 10007;
    std::vector<int8_t> codes(count);
    uint32_t state = 1;
    for (int64_t i = 0; i < std::min(count, kDrawn); ++i) {
      int32_t sum = 0;
      for (int draw = 0; draw < each; ++draw) {
        state = state * 1664525u + 1013904223u;
        sum += static_cast<int32_t>((state >> 8) % 255) - 127;
      }
      codes[i] = static_cast<int8_t>(sum / each);
    }
    for (int64_t i = kDrawn; i < count; i += kDrawn) {
      std::memcpy(&codes[i], codes.data(), std::min(kDrawn, count - i));
    }
    return codes;
  }

  const bool widens_, narrows_;
  std::vector<int8_t> a_;
  std::unique_ptr<float[]> out_;
  std::vector<uint8_t> finite_;
  std::vector<float> scales_, bias_, maxima_, sums_, best_, log_sums_, watched_;
  std::vector<int32_t> ids_, counts_;
};

// A candidate with packed weights of its own.
class Racer {
 public:
  Racer(const GemmBackend& backend, Problem* problem)
      : problem_(problem), packed_{problem->k, problem->n, &backend, nullptr} {
    times.backend = &backend;
    const size_t bytes = backend.packed_size(problem->k, problem->n);
    lines_ = (static_cast<int64_t>(bytes) + kLine - 1) / kLine;
    places_ = std::clamp<int64_t>(kCold / (lines_ * kLine), 1, kMostPlaces);
    memory_.reset(new Line[lines_ * places_]);
    std::memset(memory_.get(), 0, lines_ * kLine);
    backend.pack(problem->weights.data(), problem->k, problem->n, memory_.get());
    for (int64_t i = 1; i < places_; ++i) {
      std::memcpy(memory_.get() + i * lines_, memory_.get(), lines_ * kLine);
    }
  }

  // What is made once for so many rows is made.
  void WarmUp(int64_t m) { Multiply(m); }

  void TakeTurn(int count) {
    const int64_t m = kMeasuredRows[count];
    // Short ones several times over: a clock has a grain.
    const int64_t calls = std::clamp<int64_t>(kMostPlaces / m, 1, places_);
    const auto start = Clock::now();
    for (int64_t i = 0; i < calls; ++i) Multiply(m);
    const double seconds = SecondsSince(start) / static_cast<double>(calls);
    double& best = times.seconds[count];
    best = best == 0.0 ? seconds : std::min(best, seconds);
  }

  // The logarithm of the times of that many counts multiplied.
  double Score(int counts) const {
    double sum = 0.0;
    for (int i = 0; i < counts; ++i) sum += std::log(times.seconds[i]);
    return sum;
  }

  GemmTimes times;

 private:
  static constexpr int64_t kLine = 64;
  struct alignas(kLine) Line {
    char bytes[kLine];
  };

  void Multiply(int64_t m) {
    packed_.body = memory_.get() + next_ * lines_;
    next_ = (next_ + 1) % places_;
    problem_->Run(packed_, m);
  }

  Problem* problem_;
  PackedInfo packed_;
  int64_t lines_ = 0, places_ = 1, next_ = 0;
  std::unique_ptr<Line[]> memory_;
};

// The measured products run on one thread, as those of a stream do.
class OneThread {
 public:
  OneThread() { SetGemmThreads(1); }
  ~OneThread() { SetGemmThreads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  const int before_ = GemmThreads();
};

void Race(std::vector<Racer*> left, double seconds) {
  for (int count = 0; count < kMeasuredCounts && left.size() > 1; ++count) {
    for (Racer* racer : left) racer->WarmUp(kMeasuredRows[count]);
    const auto start = Clock::now();
    for (int turn = 0; turn < kMostTurns; ++turn) {
      if (turn >= kLeastTurns && SecondsSince(start) > seconds / kMeasuredCounts) break;
      for (Racer* racer : left) racer->TakeTurn(count);
    }
    const int counts = count + 1;
    double best = left[0]->Score(counts);
    for (const Racer* racer : left) best = std::min(best, racer->Score(counts));
    const double most = best + counts * std::log(kHopeless);
    const auto behind = [=](const Racer* racer) { return racer->Score(counts) > most; };
    left.erase(std::remove_if(left.begin(), left.end(), behind), left.end());
  }
}

// By the mean over the counts of rows that all who are left were measured at.
const GemmBackend* Fastest(const std::vector<Racer*>& racers) {
  int counts = 0;
  for (const Racer* racer : racers) {
    const double* s = racer->times.seconds;
    const auto measured = std::find(s, s + kMeasuredCounts, 0.0) - s;
    counts = std::max(counts, static_cast<int>(measured));
  }
  const Racer* best = nullptr;
  for (const Racer* racer : racers) {
    if (counts > 0 && racer->times.seconds[counts - 1] == 0.0) continue;
    const double least = best == racers[0] ? counts * std::log(kFaster) : 0.0;
    if (best == nullptr || racer->Score(counts) + least < best->Score(counts)) best = racer;
  }
  return best->times.backend;
}

}  // namespace

const GemmBackend& ChosenGemm(int64_t k, int64_t n) { return Settled(k, n, ActiveGemm()); }

bool ChooseGemm(int64_t k, int64_t n, const std::string& name) {
  const GemmBackend* backend = name == ActiveGemm().name ? &ActiveGemm() : nullptr;
  for (const char* library : Libraries()) {
    if (name == library) backend = Loaded(library);
  }
  return backend != nullptr && &Settled(k, n, *backend) == backend;
}

bool GemmIsMeasured() { return !Libraries().empty(); }

GemmRace MeasureGemm(int64_t k, int64_t n, double seconds) {
  GemmRace race;
  race.fastest = &ActiveGemm();
  std::vector<const GemmBackend*> backends = {race.fastest};
  for (const char* library : Libraries()) {
    if (const GemmBackend* loaded = Loaded(library)) backends.push_back(loaded);
  }
  if (backends.size() == 1) {
    race.candidates.push_back({race.fastest, {}});
    return race;
  }
  const OneThread one;
  Problem problem(k, n);
  race.columns = problem.n;
  std::vector<std::unique_ptr<Racer>> racers;
  std::vector<Racer*> all;
  for (const GemmBackend* backend : backends) {
    try {
      racers.push_back(std::make_unique<Racer>(*backend, &problem));
    } catch (const std::exception&) {
      // oneDNN has no product of that shape, say.
      if (backend == race.fastest) throw;
      continue;
    }
    all.push_back(racers.back().get());
  }
  Race(all, seconds);
  race.fastest = Fastest(all);
  for (const Racer* racer : all) race.candidates.push_back(racer->times);
  return race;
}

}  // namespace keras_int8nmt
