// Which groups of a panel may be summed in 16 bits before they are widened.
#ifndef KERAS_INT8NMT_KERNELS_GEMM_GROUP_PAIRS_H_
#define KERAS_INT8NMT_KERNELS_GEMM_GROUP_PAIRS_H_

#include <cstdint>

namespace keras_int8nmt {
namespace panels {

// How much each sum of 16 bits can hold, and what a group of weights can add to it whatever the
// inputs are: two groups may share sums where no load of both together is above the limit.
//
// Inputs are at most 255 where weights are narrow, and then what is above and what is below zero
// add up each by itself: 255 * 128 < 2^15. With wide weights the sizes of inputs are at most 128
// and their signs any: 128 * 255 < 2^15, a weight w counting as w or ~w, whichever is larger.
struct GroupLoads {
  static constexpr int kNarrowLimit = 128, kWideLimit = 255;
  // Of a group of 4 rows by `columns`, packed column by column.
  static int64_t Count(int64_t columns, bool narrow) { return narrow ? 4 * columns : 2 * columns; }
  static void Find(const int8_t* group, int64_t columns, bool narrow, uint8_t* loads);
};

// The groups of a panel in the order in which they are to be summed: two by two those that may
// share sums, then the others. Every group is there once; in their own order, and none in a pair,
// where pairs would be less than half of them, since sums without any pair are a little faster
// then.
//
// Args:
//   loads: [groups, count], as GroupLoads gives them.
//   order: [groups], written.
// Returns how many pairs there are.
int64_t PairGroups(const uint8_t* loads, int64_t groups, int64_t count, int limit, int32_t* order);

}  // namespace panels
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_GEMM_GROUP_PAIRS_H_
