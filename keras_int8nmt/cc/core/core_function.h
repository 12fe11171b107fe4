// A function of the core library as another library calls it.
//
// No exception passes from one to the other: each has a C++ runtime of its own. What is thrown
// below is caught there, told, and thrown again by the caller's runtime.
#ifndef KERAS_INT8NMT_CORE_CORE_FUNCTION_H_
#define KERAS_INT8NMT_CORE_CORE_FUNCTION_H_

#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

namespace keras_int8nmt {

// How a call ended.
struct Failure {
  enum Kind { kNone, kMemory, kInvalidArgument, kOther };
  Kind kind = kNone;
  std::string why;

  // Keeps what was caught.
  void Keep(Kind of, const char* what) noexcept {
    kind = of;
    try {
      why = what;
    } catch (const std::exception&) {
      kind = kMemory;
    }
  }

  // Throws what was caught, if anything was.
  void Check() const {
    if (kind == kMemory) throw std::bad_alloc();
    if (kind == kInvalidArgument) throw std::invalid_argument(why);
    if (kind == kOther) throw std::runtime_error(why);
  }
};

// What a call gives: a value, a reference or nothing.
template <class R>
struct Result {
  R value{};
  template <class F>
  void Set(F f) {
    value = f();
  }
  R Take() { return std::move(value); }
};
template <class R>
struct Result<R&> {
  R* value = nullptr;
  template <class F>
  void Set(F f) {
    value = &f();
  }
  R& Take() { return *value; }
};
template <>
struct Result<void> {
  template <class F>
  void Set(F f) {
    f();
  }
  void Take() {}
};

template <class F>
class CoreFunction;
template <class R, class... A>
class CoreFunction<R(A...)> {
 public:
  // F for others to call; made in the core.
  template <R (*F)(A...)>
  static CoreFunction Of() {
    return CoreFunction(&Run<F>);
  }

  R operator()(A... arguments) const {
    Failure failure;
    Result<R> result;
    run_(&failure, &result, arguments...);
    failure.Check();
    return result.Take();
  }

 private:
  using Runner = void (*)(Failure* failure, Result<R>* result, A... arguments);

  explicit CoreFunction(Runner run) : run_(run) {}

  template <R (*F)(A...)>
  static void Run(Failure* failure, Result<R>* result, A... arguments) {
    try {
      result->Set([&]() -> R { return F(arguments...); });
    } catch (const std::bad_alloc&) {
      failure->kind = Failure::kMemory;
    } catch (const std::invalid_argument& error) {
      failure->Keep(Failure::kInvalidArgument, error.what());
    } catch (const std::exception& error) {
      failure->Keep(Failure::kOther, error.what());
    }
  }

  Runner run_;
};

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_CORE_CORE_FUNCTION_H_
