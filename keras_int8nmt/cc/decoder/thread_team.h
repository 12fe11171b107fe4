// The threads of one stream that share each large product: they spin while there is work and sleep
// when there is none.
#ifndef KERAS_INT8NMT_DECODER_THREAD_TEAM_H_
#define KERAS_INT8NMT_DECODER_THREAD_TEAM_H_

#include <atomic>
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace keras_int8nmt {

class ThreadTeam {
 public:
  // `begin(i)` runs first in member i (1 and up), for example to pin it; it throws nothing. Member
  // 0 is whoever calls Run.
  ThreadTeam(int size, const std::function<void(int)>& begin);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const { return static_cast<int>(threads_.size()) + 1; }

  // f(i) once in each member; when all are done it returns, or throws what one of them has thrown.
  template <class F>
  void Run(const F& f) {
    if (threads_.empty()) return f(0);
    Start(&Call<F>, &f);
    RunMember(0);
    Wait();
  }

 private:
  template <class F>
  static void Call(const void* f, int member) {
    (*static_cast<const F*>(f))(member);
  }
  void Start(void (*call)(const void*, int), const void* f);
  void RunMember(int member) noexcept;
  void Wait();
  void Work(int member);
  void Stop();

  void (*call_)(const void*, int) = nullptr;
  const void* argument_ = nullptr;
  std::atomic<uint64_t> round_{0};  // counts the calls of Run
  std::atomic<int> busy_{0};
  std::atomic<int> asleep_{0};
  std::atomic<bool> stop_{false};
  std::atomic<bool> failed_{false};  // whether somebody has written failure_
  std::exception_ptr failure_;
  std::mutex lock_;
  std::condition_variable wake_;
  std::vector<std::thread> threads_;
};

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_DECODER_THREAD_TEAM_H_
