// The decoder over the rows of a matrix of token ids, in the calling thread: what the TensorFlow op
// calls. The model comes anew with each call.
#ifndef KERAS_INT8NMT_DECODER_TRANSLATE_ROWS_H_
#define KERAS_INT8NMT_DECODER_TRANSLATE_ROWS_H_

#include <cstdint>
#include <vector>

#include "beam.h"
#include "tape.h"

namespace keras_int8nmt {

struct RowsToTranslate {
  // The model, as `Tape` reads it.
  const std::vector<int64_t>* ints = nullptr;
  const std::vector<float>* floats = nullptr;
  std::vector<TensorView> tensors;

  SearchOptions search;  // without what `divisors` tells
  const float* divisors = nullptr;
  int64_t num_divisors = 0;  // max_length + 1

  const int32_t* ids = nullptr;  // [rows, columns]: sentences, then the model's pad_id
  int64_t rows = 0, columns = 0;
  int64_t batch_size = 1;  // sentences that are computed together, at most
};

struct TranslatedRows {
  std::vector<std::vector<Hypothesis>> results;  // of each row, best first
  int32_t pad_id = 0;
};

// Throws std::invalid_argument for a model, a search or ids that are not as they should be, and
// where a row can't be translated.
TranslatedRows TranslateRows(const RowsToTranslate& rows);

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_DECODER_TRANSLATE_ROWS_H_
