// The spec of a model as SavedModels of release 0.1.0 hold it: whole numbers, floats and tensors in
// one fixed order, with a mark before each part. Here it gets names; nothing else knows of it.
#ifndef KERAS_INT8NMT_DECODER_POSITIONAL_SPEC_H_
#define KERAS_INT8NMT_DECODER_POSITIONAL_SPEC_H_

#include <cstdint>
#include <string>
#include <vector>

#include "model_reader.h"

namespace keras_int8nmt {

struct NamedSpec {
  std::vector<Setting> settings;
  std::vector<std::string> tensor_names;  // in the order of the tensors
};

// Throws std::invalid_argument where the two lists are no such spec. What the numbers mean together
// is checked by whoever reads the names.
NamedSpec NamePositionalSpec(const std::vector<int64_t>& ints, const std::vector<float>& floats);

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_DECODER_POSITIONAL_SPEC_H_
