// The decoder over the rows of a matrix of token ids, in the calling thread: what the TensorFlow op
// calls. The model comes anew with each call.
#ifndef KERAS_INT8NMT_DECODER_TRANSLATE_ROWS_H_
#define KERAS_INT8NMT_DECODER_TRANSLATE_ROWS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "beam.h"
#include "model_reader.h"

namespace keras_int8nmt {

struct RowsToTranslate {
  // The model, as `ModelReader` reads it.
  const std::vector<Setting>* settings = nullptr;
  const std::vector<std::string>* tensor_names = nullptr;
  std::vector<TensorView> tensors;
  // Equal for specs that differ in floats and in what is in the tensors alone; see StructureOf.
  const std::string* structure = nullptr;

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

// What a stream allocates and prepares for, as a text: whole numbers, words and names.
std::string StructureOf(const std::vector<Setting>& settings,
                        const std::vector<std::string>& tensor_names);

// Throws std::invalid_argument for a model, a search or ids that are not as they should be, and
// where a row can't be translated.
TranslatedRows TranslateRows(const RowsToTranslate& rows);

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_DECODER_TRANSLATE_ROWS_H_
