// Many callers, many streams: each gets its own answers, and whatever ends early harms no other.
// What the thread sanitizer watches; nothing here calls oneDNN.
#ifndef KERAS_INT8NMT_TESTS_CC_POOL_CHECKS_H_
#define KERAS_INT8NMT_TESTS_CC_POOL_CHECKS_H_

#include <poll.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "answers.h"
#include "thread_team.h"

namespace keras_int8nmt {

class PoolChecks {
 public:
  explicit PoolChecks(const GemmBackend& gemm)
      : shape_(MakeShape()),
        model_(ModelMaker(shape_).Make()),
        writer_(model_, gemm),
        random_(11),
        sentences_(MakeSentences(shape_, 24, kMaxSource, &random_)),
        expected_(Translate(Start(1, 1, 1).get(), sentences_)) {}

  void Run() {
    CheckThreadCounts();
    CheckShares();
    CheckAdmission();
    CheckCallers();
    CheckCancel();
    CheckDestroy();
    CheckLeave();
    CheckClose();
    CheckTold();
    CheckRefusals();
    CheckStartStop();
    CheckProfile();
  }

 private:
  static constexpr int64_t kMaxSource = 12;
  static constexpr int kCallers = 8;

  static Shape MakeShape() {
    Shape shape;
    // Wide enough for the threads of a stream to share products.
    shape.words = 1100;
    shape.ffn = 96;
    shape.decoders = 1;
    shape.end_bias = 4.0f;
    return shape;
  }

  std::unique_ptr<Pool> Start(int streams, int threads, int64_t batch, bool pin = false) const {
    Pool::Options options = MakeOptions(streams, threads, batch, kMaxSource);
    options.pin = pin;
    return MakePool(writer_, MakeSearch(4, 8), options);
  }

  void ExpectWhole(const std::string& what, Pool* pool, uint32_t seed) const {
    ExpectAnswers(what, Translate(pool, sentences_, seed), expected_, 0.0f);
  }

  void CheckThreadCounts() const {
    for (int streams : {1, 2, 3}) {
      for (int threads : {1, 2, 3}) {
        const auto pool = Start(streams, threads, 16, streams == threads);
        ExpectWhole(std::to_string(streams) + " streams of " + std::to_string(threads), pool.get(),
                    2);
      }
    }
  }

  static void CheckShares() {
    const auto expect = [](const std::string& why, int64_t waiting, int64_t idle, int64_t active,
                           int64_t room, int64_t expected) {
      const int64_t taken = SentencesToTake(waiting, idle, active, room);
      if (taken == expected) return;
      Fail(why + ": a stream with " + std::to_string(active) + " sentences takes " +
           std::to_string(taken) + " of " + std::to_string(waiting) + ", expected " +
           std::to_string(expected));
    };
    expect("one alone goes to a stream that has none", 1, 0, 0, 8, 1);
    expect("one alone goes to one of those that have none", 1, 3, 0, 8, 1);
    expect("one alone is left to a stream that has none", 1, 1, 1, 7, 0);
    expect("one alone is left to a stream that has none", 1, 3, 5, 3, 0);
    expect("two are computed together", 1, 0, 1, 7, 1);
    expect("a third waits for one of two to end", 1, 0, 2, 6, 0);
    expect("a third waits for one of two to end", 2, 0, 2, 6, 0);
    expect("those before are finished first where few wait", 4, 0, 5, 11, 0);
    expect("those before are finished first where few wait", 5, 0, 5, 11, 0);
    expect("a batch grows to as many as wait", 6, 0, 5, 11, 1);
    expect("a batch grows to as many as wait", 9, 0, 5, 11, 4);
    expect("a long queue fills the batch", 40, 0, 5, 11, 11);
    expect("a long queue fills the batch", 40, 0, 15, 1, 1);
    expect("a full batch takes nothing", 40, 0, 16, 0, 0);
    expect("those that have none share what waits", 9, 1, 0, 16, 5);
    expect("those that have none share what waits", 9, 3, 0, 16, 3);
    expect("one that has some leaves them their shares", 9, 1, 1, 15, 4);
    expect("one that has some leaves them their shares", 9, 2, 4, 12, 3);
    // Streams that wake one after the other take all that waits, each as much as the others.
    for (int64_t streams = 1; streams <= 5; ++streams) {
      for (int64_t all = 1; all <= 40; ++all) {
        int64_t left = all;
        for (int64_t idle = streams - 1; idle >= 0 && left > 0; --idle) {
          const int64_t taken = SentencesToTake(left, idle, 0, 64);
          if (taken != (all + idle) / streams) Fail("streams that have nothing share unevenly");
          left -= taken;
        }
        if (left != 0) Fail("streams that have nothing leave some");
      }
    }
  }

  // Steps of the decoder that these sentences take in a pool of one stream.
  static int64_t Steps(Pool* pool, const Sentences& sentences) {
    // Counted before a step's sentences are told of, so that none is missed at the end.
    const std::string name = "\"output projection and top-k\": {\"calls\": ";
    pool->StartProfile();
    Translate(pool, sentences);
    const std::string profile = pool->StopProfile();
    return std::stoll(profile.substr(profile.find(name) + name.size()));
  }

  // Steps of one stream that takes sentences by a rule, `alone` being those of each by itself.
  template <class Rule>
  static int64_t StepsBy(Rule rule, const std::vector<int64_t>& alone, int64_t batch) {
    std::vector<int64_t> active;  // steps that are left of each
    const auto all = static_cast<int64_t>(alone.size());
    int64_t next = 0, steps = 0;
    while (next < all || !active.empty()) {
      const auto before = static_cast<int64_t>(active.size());
      if (before < batch && next < all) {
        for (int64_t i = rule(all - next, before, batch - before); i > 0; --i) {
          active.push_back(alone[next++]);
        }
      }
      ++steps;
      for (int64_t& left : active) --left;
      active.erase(std::remove(active.begin(), active.end(), 0), active.end());
    }
    return steps;
  }

  // That streams go by these shares: the steps of a pool tell when its stream takes a sentence, for
  // all of a request wait when it begins, and none takes more steps beside others.
  void CheckAdmission() const {
    // Of a batch so small that a stream asks whenever one has ended; a beam of one ends early.
    constexpr int64_t kBatch = 4;
    const auto pool = MakePool(writer_, MakeSearch(1, 14), MakeOptions(1, 1, kBatch, kMaxSource));
    std::vector<int64_t> alone;
    for (const auto& sentence : sentences_) alone.push_back(Steps(pool.get(), {sentence}));
    bool told = false;
    for (size_t count = 5; count <= sentences_.size(); ++count) {
      const std::vector<int64_t> lengths(alone.begin(), alone.begin() + count);
      const int64_t expected =
          StepsBy([](int64_t waiting, int64_t active,
                     int64_t room) { return SentencesToTake(waiting, 0, active, room); },
                  lengths, kBatch);
      const int64_t greedy =
          StepsBy([](int64_t waiting, int64_t, int64_t room) { return std::min(waiting, room); },
                  lengths, kBatch);
      told = told || expected != greedy;
      const int64_t steps =
          Steps(pool.get(), Sentences(sentences_.begin(), sentences_.begin() + count));
      if (steps != expected) {
        Fail(std::to_string(count) + " sentences take " + std::to_string(steps) +
             " steps, expected " + std::to_string(expected));
      }
    }
    if (!told) Fail("a stream that takes whatever waits has the same steps");
  }

  // Some of the sentences in an order of its own, time and again.
  void Call(Pool* pool, uint32_t seed) const {
    Random random(seed);
    for (int round = 0; round < 4; ++round) {
      Sentences mine;
      Answers answers;
      for (int64_t i = random.Below(9); i >= 0; --i) {
        const int64_t at = random.Below(static_cast<int64_t>(sentences_.size()));
        mine.push_back(sentences_[at]);
        answers.push_back(expected_[at]);
      }
      ExpectAnswers("one of many callers", Translate(pool, mine, seed), answers, 0.0f);
    }
  }

  // Fail is not for many threads at once, but then the run has failed.
  void CheckCallers() const {
    for (int pools : {1, 3}) {
      std::vector<std::unique_ptr<Pool>> started;
      for (int i = 0; i < pools; ++i) started.push_back(Start(2, 1 + i % 2, 6, i == 1));
      std::vector<std::thread> callers;
      for (int i = 0; i < kCallers; ++i) {
        callers.emplace_back([&, i] { Call(started[i % pools].get(), i + 1); });
      }
      for (std::thread& caller : callers) caller.join();
    }
  }

  void CheckCancel() const {
    const auto pool = Start(2, 1, 4);
    Sentences many;
    for (int i = 0; i < 10; ++i) many.insert(many.end(), sentences_.begin(), sentences_.end());
    for (int round = 0; round < 6; ++round) {
      const std::shared_ptr<Request> request = Begin(pool.get(), many, 1);
      std::thread other([&] { ExpectWhole("beside a cancelled request", pool.get(), 7); });
      // At once, or when some are done.
      if (round % 2 == 1) pool->Wait(request.get(), 100);
      pool->Cancel(request.get());
      WaitFor(pool.get(), request.get());
      const std::string told = request->error.c_str();
      if (told != "cancelled") Fail("a cancelled request says: " + told);
      other.join();
    }
    ExpectWhole("after cancelled requests", pool.get(), 3);
  }

  void CheckDestroy() const {
    for (int round = 0; round < 10; ++round) {
      std::vector<std::shared_ptr<Request>> requests;
      {
        const auto pool = Start(1 + round % 3, 1, 4);
        for (int i = 0; i < 6; ++i) requests.push_back(Begin(pool.get(), sentences_, 1));
        if (round % 2 == 1) pool->Wait(requests[0].get(), 5);
      }
      for (const auto& request : requests) {
        const std::string told = request->error.c_str();
        if (request->finished != static_cast<int64_t>(request->sentences.size())) {
          Fail("a request that its pool has left behind");
        } else if (told.empty()) {
          ExpectAnswers("done before its pool ended", request->results, expected_, 0.0f);
        } else if (told != "the translator was closed") {
          Fail("a closed pool says: " + told);
        }
        if (request.use_count() != 1) Fail("a request that its pool has not let go of");
      }
    }
  }

  // Whoever asked leaves while streams work on it, with a word or without one.
  void CheckLeave() const {
    const auto pool = Start(3, 1, 4);
    for (int round = 0; round < 12; ++round) {
      std::vector<std::weak_ptr<Request>> left;
      for (int i = 0; i < 4; ++i) {
        const std::shared_ptr<Request> request = Begin(pool.get(), sentences_, round + i);
        if (i % 2 == 1) pool->Wait(request.get(), round % 3);
        if (i > 1) pool->Cancel(request.get());
        left.push_back(request);
      }
      ExpectWhole("beside requests that nobody waits for", pool.get(), round);
      for (const auto& request : left) {
        while (!request.expired()) std::this_thread::yield();
      }
    }
  }

  // Closed by many at once, while others wait and hand over more.
  void CheckClose() const {
    for (int round = 0; round < 6; ++round) {
      const auto pool = Start(2, 1 + round % 2, 4);
      std::vector<std::thread> callers;
      for (int i = 0; i < 4; ++i) {
        callers.emplace_back([&, i] {
          try {
            for (int call = 0; call < 1000; ++call) Call(pool.get(), i + 1);
            Fail("a closed pool goes on");
          } catch (const std::runtime_error& error) {
            if (error.what() != std::string("the translator was closed")) Fail(error.what());
          }
        });
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(round));
      for (int i = 0; i < 2; ++i) callers.emplace_back([&] { pool->Close(); });
      for (std::thread& caller : callers) caller.join();
    }
  }

  // Each tag once, whatever became of its request, and the descriptor wakes whoever waits.
  void CheckTold() const {
    for (const bool early : {true, false}) {
      const auto pool = Start(2, 1, 4);
      const int descriptor = early ? pool->OverDescriptor() : -1;
      constexpr int64_t kRequests = 40;
      std::vector<std::shared_ptr<Request>> requests;
      for (int64_t tag = 0; tag < kRequests; ++tag) {
        requests.push_back(Begin(pool.get(), {sentences_[tag % sentences_.size()]}, 1));
        if (tag % 8 == 1) WaitFor(pool.get(), requests.back().get());
        if (tag % 8 == 2) pool->Cancel(requests.back().get());
        pool->Tell(requests.back().get(), tag);
        if (tag % 8 == 3) pool->Cancel(requests.back().get());
      }
      ExpectThrows<std::invalid_argument>("a second tag",
                                          [&] { pool->Tell(requests[0].get(), 99); });
      ExpectThrows<std::invalid_argument>(
          "a tag below 0", [&] { pool->Tell(Begin(pool.get(), {sentences_[0]}, 1).get(), -1); });
      pollfd waiting = {early ? descriptor : pool->OverDescriptor(), POLLIN, 0};
      std::vector<int64_t> told;
      while (told.size() < kRequests) {
        if (poll(&waiting, 1, 10000) != 1) return Fail("the descriptor does not wake");
        int64_t some[3];
        const int64_t count = pool->TakeOver(some, 3);
        if (count < 1) return Fail("the descriptor is readable for nothing");
        for (int64_t i = 0; i < count; ++i) {
          const Request& request = *requests[some[i]];
          if (request.finished != 1) Fail("a request is told of that is not over");
          told.push_back(some[i]);
        }
      }
      std::sort(told.begin(), told.end());
      for (int64_t tag = 0; tag < kRequests; ++tag) {
        if (told[tag] != tag) Fail("a tag twice");
      }
      if (poll(&waiting, 1, 0) != 0) Fail("the descriptor is readable after all are told");
    }
    // Those of a pool that is closed, too.
    const auto pool = Start(1, 1, 1);
    const std::shared_ptr<Request> request = Begin(pool.get(), sentences_, 1);
    pool->Tell(request.get(), 7);
    pool->Close();
    int64_t tag = 0;
    if (pool->TakeOver(&tag, 1) != 1 || tag != 7) Fail("a closed pool tells of nothing");
  }

  void CheckRefusals() const {
    const auto pool = Start(2, 1, 4);
    const auto words = static_cast<int32_t>(shape_.source_words);
    const Sentences bad = {{}, {-1}, {words}, {1, 2, 1 << 30}, std::vector<int32_t>(13, 1)};
    for (const auto& sentence : bad) {
      ExpectThrows<std::invalid_argument>("a bad sentence",
                                          [&] { Translate(pool.get(), {{1}, sentence, {2}}); });
    }
    for (const std::vector<int64_t>& order :
         {std::vector<int64_t>{}, {0}, {0, 0}, {0, 2}, {-1, 0}, {0, 1, 1}}) {
      const auto request = std::make_shared<Request>();
      request->sentences = {{1}, {2}};
      request->order = order;
      ExpectThrows<std::invalid_argument>("a bad order", [&] { pool->Submit(request); });
    }
    if (!Translate(pool.get(), {}).empty()) Fail("no sentences have answers");
    ExpectWhole("after refusals", pool.get(), 4);
    const auto refuse = [&](auto change) {
      SearchOptions search = MakeSearch(4, 8);
      Pool::Options options = MakeOptions(1, 1, 4, kMaxSource);
      change(&search, &options);
      ExpectThrows<std::invalid_argument>("bad options",
                                          [&] { MakePool(writer_, search, options); });
    };
    refuse([](SearchOptions* s, Pool::Options*) { s->beam_size = 0; });
    refuse([](SearchOptions* s, Pool::Options*) { s->num_hypotheses = 5; });
    refuse([](SearchOptions* s, Pool::Options*) { *s = MakeSearch(4, 17); });
    refuse([](SearchOptions* s, Pool::Options*) { *s = MakeSearch(4, 0); });
    refuse([](SearchOptions* s, Pool::Options*) { s->min_length = 9; });
    refuse([](SearchOptions* s, Pool::Options*) { s->divisors.pop_back(); });
    refuse([](SearchOptions*, Pool::Options* o) { o->streams = 0; });
    refuse([](SearchOptions*, Pool::Options* o) { o->threads_per_stream = 0; });
    refuse([](SearchOptions*, Pool::Options* o) { o->stream.batch_size = 0; });
    refuse([](SearchOptions*, Pool::Options* o) { o->stream.max_source = 17; });
  }

  void CheckStartStop() const {
    for (int i = 0; i < 50; ++i) {
      const auto pool = Start(1 + i % 3, 1 + i % 2, 2, i % 5 == 0);
      if (i % 4 == 0) Translate(pool.get(), {sentences_[0]});
    }
  }

  void CheckProfile() const {
    const auto pool = Start(2, 1, 4);
    std::thread caller([&] { ExpectWhole("while profiled", pool.get(), 9); });
    pool->StartProfile();
    ExpectWhole("while profiled", pool.get(), 8);
    const std::string profile = pool->StopProfile();
    caller.join();
    if (profile.find("\"search\": {\"calls\": ") == std::string::npos) Fail(profile);
  }

  Shape shape_;
  small::Model model_;
  SpecWriter writer_;
  Random random_;
  Sentences sentences_;
  Answers expected_;
};

// Each member runs each round once, also after all have gone to sleep.
inline void CheckTeam() {
  for (int size : {1, 2, 3, 5}) {
    std::atomic<int> begun{0};
    ThreadTeam team(size, [&](int) { ++begun; });
    std::vector<int64_t> sums(size, 0);
    constexpr int64_t kRounds = 200;
    for (int64_t round = 1; round <= kRounds; ++round) {
      team.Run([&](int member) { sums[member] += round * (member + 1); });
      if (round % 50 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    for (int member = 0; member < size; ++member) {
      if (sums[member] != kRounds * (kRounds + 1) / 2 * (member + 1)) Fail("a team's member");
    }
    if (begun != size - 1) Fail("the beginning of a team's members");
  }
  for (int i = 0; i < 50; ++i) ThreadTeam(1 + i % 4, [](int) {});
}

// What a member throws, and several at once, ends nobody: it is thrown where the team was called.
inline void CheckTeamFailures() {
  ThreadTeam team(3, [](int) {});
  for (int failing = 0; failing < 8; ++failing) {
    std::atomic<int> done{0};
    const auto work = [&](int member) {
      if ((failing >> member & 1) != 0) throw std::bad_alloc();
      ++done;
    };
    if (failing == 0) {
      team.Run(work);
    } else {
      ExpectThrows<std::bad_alloc>("a member that fails", [&] { team.Run(work); });
    }
    int expected = 3;
    for (int bits = failing; bits != 0; bits &= bits - 1) --expected;
    if (done != expected) Fail("the others of a team are not waited for");
  }
}

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_TESTS_CC_POOL_CHECKS_H_
