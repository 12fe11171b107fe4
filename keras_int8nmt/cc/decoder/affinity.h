// Which cores a pool's threads run on.
#ifndef KERAS_INT8NMT_DECODER_AFFINITY_H_
#define KERAS_INT8NMT_DECODER_AFFINITY_H_

#include <vector>

namespace keras_int8nmt {

// Takes the cores that this process may use, those with the fewest of our threads first, for each
// stream as many as it has threads, side by side and on one memory node where that is possible.
// None where there are too few, and none where some would be left: other processes would choose the
// same ones, so a part of the machine is left to the system's scheduler. To be given back by
// ReleaseCores.
std::vector<int> TakeCores(int streams, int threads);
void ReleaseCores(const std::vector<int>& cores);

// Pins the calling thread to `count` cores, and with it the threads that it will make.
void PinTo(const int* cores, int count) noexcept;

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_DECODER_AFFINITY_H_
