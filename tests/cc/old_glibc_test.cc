// A library like ours for an old glibc: what it takes of a newer one is cc/glibc/newer.cc's, and
// must do what the C++ runtime expects of it.
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <fstream>
#include <mutex>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>

namespace {

bool ok = true;

void Check(bool condition, const char* what) {
  if (condition) return;
  std::printf("wrong: %s\n", what);
  ok = false;
}

void Deep(int depth) {
  if (depth == 0) throw std::runtime_error("thrown");
  std::string kept = "unwound";
  Deep(depth - 1);
}

int Catch() {
  try {
    Deep(20);
  } catch (const std::runtime_error& error) {
    return std::string(error.what()) == "thrown";
  }
  return 0;
}

// Whether it waited, and how long.
std::cv_status Wait(std::chrono::milliseconds time, std::chrono::milliseconds* waited) {
  std::mutex mutex;
  std::condition_variable condition;
  std::unique_lock<std::mutex> hold(mutex);
  const auto begin = std::chrono::steady_clock::now();
  const std::cv_status status = condition.wait_for(hold, time);
  *waited = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() -
                                                                  begin);
  return status;
}

}  // namespace

extern "C" int old_glibc_checks(const char* file) {
  Check(Catch(), "an exception of this thread");
  int caught = 0;
  std::thread([&caught] { caught = Catch(); }).join();
  Check(caught == 1, "an exception of another thread");

  std::chrono::milliseconds waited;
  Check(Wait(std::chrono::milliseconds(30), &waited) == std::cv_status::timeout, "a time-out");
  Check(waited.count() >= 30, "a time-out before its time");
  Check(Wait(std::chrono::milliseconds(-5), &waited) == std::cv_status::timeout,
        "a time in the past");
  // Woken after a second at most, to look at the clock again.
  Check(Wait(std::chrono::seconds(3600), &waited) == std::cv_status::no_timeout, "a long wait");
  Check(waited.count() >= 900, "a long wait that is short");

  std::mutex mutex;
  std::condition_variable condition;
  bool told = false;
  std::thread teller([&] {
    std::lock_guard<std::mutex> hold(mutex);
    told = true;
    condition.notify_all();
  });
  std::unique_lock<std::mutex> hold(mutex);
  Check(condition.wait_for(hold, std::chrono::seconds(60), [&] { return told; }), "being told");
  hold.unlock();
  teller.join();

  std::ifstream in(file);
  std::string word;
  in >> word;
  Check(word == "word", "reading a file");
  Check(in.seekg(0, std::ios::end).tellg() == 5, "the size of a file");

  std::random_device random;
  const unsigned first = random();
  bool changes = false;
  for (int i = 0; i < 8; ++i) changes |= random() != first;
  Check(changes, "random numbers");
  return ok ? 0 : 1;
}
