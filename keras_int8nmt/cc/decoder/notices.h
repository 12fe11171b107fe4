// Tells a loop of events which requests are over: a descriptor to wait at, and their tags.
#ifndef KERAS_INT8NMT_DECODER_NOTICES_H_
#define KERAS_INT8NMT_DECODER_NOTICES_H_

#include <cstdint>
#include <vector>

namespace keras_int8nmt {

// Not safe from several threads at once.
class Notices {
 public:
  Notices() = default;
  ~Notices();
  Notices(const Notices&) = delete;
  Notices& operator=(const Notices&) = delete;

  // Readable while Take would find something. Throws std::runtime_error where the system has none.
  int Descriptor();
  // Makes room for one more tag, so that Put needs no memory.
  void Expect();
  // One for each Expect.
  void Put(int64_t tag) noexcept;
  // Writes the tags that were put, `most` of them; returns how many.
  int64_t Take(int64_t* tags, int64_t most) noexcept;

 private:
  void Wake() noexcept;

  int reading_ = -1, writing_ = -1;
  int64_t expected_ = 0;  // and not yet taken
  std::vector<int64_t> tags_;
};

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_DECODER_NOTICES_H_
