// Which cores go together: the threads of a stream share their data, so they stay on one node.
#ifndef KERAS_INT8NMT_DECODER_TOPOLOGY_H_
#define KERAS_INT8NMT_DECODER_TOPOLOGY_H_

#include <string>
#include <vector>

namespace keras_int8nmt {

struct Core {
  int number = 0;
  int node = 0;  // of memory
  int uses = 0;  // threads of ours that are on it already
};

// Cores for `streams` times `threads` threads, those of a stream side by side and on one node if
// any node has as many left. The least used come first; of nodes that are alike, the one with the
// most cores left, so that streams share the memory's bandwidth. Each core once; none where there
// are fewer than asked for.
std::vector<int> ChooseCores(std::vector<Core> cores, int streams, int threads);

// The numbers in a list of the kernel's, such as "0-3,8,10-11"; what is no list gives none.
std::vector<int> ParseCpuList(const std::string& list);

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_DECODER_TOPOLOGY_H_
