#include "notices.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>

namespace keras_int8nmt {
namespace {

bool Prepare(int descriptor) {
  return fcntl(descriptor, F_SETFL, O_NONBLOCK) != -1 &&
         fcntl(descriptor, F_SETFD, FD_CLOEXEC) != -1;
}

}  // namespace

Notices::~Notices() {
  for (const int descriptor : {reading_, writing_}) {
    if (descriptor >= 0) close(descriptor);
  }
}

int Notices::Descriptor() {
  if (reading_ >= 0) return reading_;
  int ends[2];
  if (pipe(ends) != 0) {
    throw std::runtime_error(std::string("a pipe can't be opened: ") + std::strerror(errno));
  }
  if (!Prepare(ends[0]) || !Prepare(ends[1])) {
    const std::string why = std::strerror(errno);
    close(ends[0]);
    close(ends[1]);
    throw std::runtime_error("a pipe can't be set up: " + why);
  }
  reading_ = ends[0];
  writing_ = ends[1];
  if (!tags_.empty()) Wake();
  return reading_;
}

// There is never more than this one byte in the pipe, so it has room.
void Notices::Wake() noexcept {
  const char byte = 0;
  while (writing_ >= 0 && write(writing_, &byte, 1) < 0 && errno == EINTR) {
  }
}

void Notices::Expect() {
  if (static_cast<size_t>(expected_) >= tags_.capacity()) {
    tags_.reserve(std::max<size_t>(16, 2 * tags_.capacity()));
  }
  ++expected_;
}

void Notices::Put(int64_t tag) noexcept {
  tags_.push_back(tag);
  if (tags_.size() == 1) Wake();
}

int64_t Notices::Take(int64_t* tags, int64_t most) noexcept {
  const int64_t count = std::min(most, static_cast<int64_t>(tags_.size()));
  if (count <= 0) return 0;
  std::copy_n(tags_.begin(), count, tags);
  tags_.erase(tags_.begin(), tags_.begin() + count);
  expected_ -= count;
  if (tags_.empty()) {
    char byte = 0;
    while (reading_ >= 0 && read(reading_, &byte, 1) < 0 && errno == EINTR) {
    }
  }
  return count;
}

}  // namespace keras_int8nmt
