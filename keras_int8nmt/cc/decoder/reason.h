// Why something failed, told without a second failure: memory may be what there is none of.
#ifndef KERAS_INT8NMT_DECODER_REASON_H_
#define KERAS_INT8NMT_DECODER_REASON_H_

#include <exception>
#include <new>
#include <string>

namespace keras_int8nmt {

// What an exception says, in this library's words where it says nothing.
inline const char* WhyOf(const std::exception& error) noexcept {
  return dynamic_cast<const std::bad_alloc*>(&error) == nullptr ? error.what() : "out of memory";
}

class Reason {
 public:
  // Where there is no memory for the text, the reason is that.
  void Set(const char* why, const char* before = "") noexcept {
    none_ = no_memory_ = false;
    try {
      text_ = before;
      text_ += why;
    } catch (const std::exception&) {
      text_.clear();
      no_memory_ = true;
    }
  }

  bool empty() const { return none_; }
  // Stays until the next Set.
  const char* c_str() const { return no_memory_ ? "out of memory" : text_.c_str(); }

 private:
  bool none_ = true, no_memory_ = false;
  std::string text_;
};

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_DECODER_REASON_H_
