// Drives a fuzz target where there is no libFuzzer: runs a corpus, then mutations of it.
//
// Usage: TARGET_fuzz [--seconds=N] [--runs=N] [--seed=N] [--crash=FILE] CORPUS...
// (folders or files). Whatever kills the process leaves the input that did in FILE.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" __attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)());

namespace {

using Bytes = std::vector<uint8_t>;

constexpr size_t kMostBytes = 512;

const Bytes* current = nullptr;
std::string crash_file = "crash";

// No allocation: the heap may be what is broken.
void KeepInput() {
  const Bytes* input = current;
  current = nullptr;
  if (input == nullptr) return;
  const int file = open(crash_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (file < 0 || write(file, input->data(), input->size()) < 0) return;
  close(file);
}

void OnSignal(int signal) {
  KeepInput();
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void Run(const Bytes& input) {
  current = &input;
  // Of its exact size, so that a sanitizer sees a byte too much.
  const Bytes copy(input);
  LLVMFuzzerTestOneInput(copy.data(), copy.size());
  current = nullptr;
}

void Read(const std::string& path, std::vector<Bytes>* corpus) {
  struct stat about;
  if (stat(path.c_str(), &about) != 0) {
    std::fprintf(stderr, "there is no %s\n", path.c_str());
    std::exit(2);
  }
  if (S_ISDIR(about.st_mode)) {
    DIR* folder = opendir(path.c_str());
    while (const dirent* entry = readdir(folder)) {
      if (entry->d_name[0] != '.') Read(path + "/" + entry->d_name, corpus);
    }
    closedir(folder);
    return;
  }
  std::ifstream file(path, std::ios::binary);
  corpus->emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

Bytes Mutated(const std::vector<Bytes>& corpus, std::mt19937* random) {
  const auto below = [&](size_t count) { return count == 0 ? 0 : (*random)() % count; };
  Bytes input = corpus[below(corpus.size())];
  for (size_t times = 1 + below(6); times > 0; --times) {
    const size_t at = below(input.size() + 1);
    switch (below(6)) {
      case 0:
        if (at < input.size()) input[at] = static_cast<uint8_t>(below(256));
        break;
      case 1:
        if (at < input.size()) input[at] ^= static_cast<uint8_t>(1u << below(8));
        break;
      case 2:
        for (size_t i = below(8) + 1; i > 0; --i) {
          input.insert(input.begin() + static_cast<std::ptrdiff_t>(at),
                       static_cast<uint8_t>(below(256)));
        }
        break;
      case 3:
        input.resize(at);
        break;
      case 4: {
        const Bytes& other = corpus[below(corpus.size())];
        const size_t from = below(other.size() + 1);
        input.resize(at);
        input.insert(input.end(), other.begin() + static_cast<std::ptrdiff_t>(from), other.end());
        break;
      }
      default:
        for (size_t i = at; i < input.size() && i < at + 4; ++i) {
          input[i] = static_cast<uint8_t>(below(2) * 255);
        }
    }
  }
  if (input.size() > kMostBytes) input.resize(kMostBytes);
  return input;
}

bool Option(const std::string& word, const char* name, std::string* value) {
  const std::string before = std::string("--") + name + "=";
  if (word.compare(0, before.size(), before) != 0) return false;
  *value = word.substr(before.size());
  return true;
}

}  // namespace

int main(int count, char** words) {
  std::string seconds = "0", runs = "1000000000", seed = "1";
  std::vector<Bytes> corpus;
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    if (Option(word, "seconds", &seconds) || Option(word, "runs", &runs) ||
        Option(word, "seed", &seed) || Option(word, "crash", &crash_file)) {
      continue;
    }
    Read(word, &corpus);
  }
  for (int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) std::signal(signal, OnSignal);
  if (__sanitizer_set_death_callback != nullptr) __sanitizer_set_death_callback(&KeepInput);
  for (const Bytes& input : corpus) Run(input);
  if (corpus.empty()) corpus.push_back({});
  std::mt19937 random(static_cast<uint32_t>(std::stoul(seed)));
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(std::stod(seconds));
  const auto most = std::stoll(runs);
  long long done = 0;
  for (; done < most && Clock::now() < end; ++done) Run(Mutated(corpus, &random));
  std::printf("ran %zu inputs of the corpus and %lld of their mutations\n", corpus.size(), done);
  return 0;
}
