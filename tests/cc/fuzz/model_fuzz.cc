// The model reader: specs of small models with entries changed, dropped, doubled and renamed. What
// is accepted translates, by a pool or as the rows of an op.
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "../answers.h"
#include "fuzz_input.h"
#include "translate_rows.h"

namespace keras_int8nmt {
namespace {

struct Base {
  explicit Base(const Shape& shape)
      : model(ModelMaker(shape).Make()), writer(model, GemmFor("reference")) {}
  small::Model model;
  SpecWriter writer;
};

Base& BaseOf(int64_t kind) {
  const auto make = [](Precision precision, bool pre_norm, bool integer) {
    Shape shape;
    shape.precision = precision;
    shape.pre_norm = pre_norm;
    shape.integer_norm = shape.integer_softmax = integer;
    if (precision != Precision::kInt8) shape.key_type = shape.value_type = Type::kFloat32;
    return new Base(shape);
  };
  static Base* bases[] = {make(Precision::kInt8, false, false), make(Precision::kInt8, true, true),
                          make(Precision::kMixed, false, false),
                          make(Precision::kFloat, true, false)};
  return *bases[kind];
}

template <class T>
T& Any(FuzzInput* input, std::vector<T>* list) {
  return (*list)[input->Below(static_cast<int64_t>(list->size()))];
}

// Copies of tensors whose numbers are changed.
using Copies = std::vector<std::vector<float>>;

// Whether its dims are those of a tensor, maybe of a smaller one.
bool Sound(const TensorView& view) {
  for (int64_t dim : view.dims) {
    if (dim < 1 || dim > 1 << 20) return false;
  }
  return view.dims.size() <= 2;
}

void ChangeTensor(FuzzInput* input, TensorView* view, Copies* copies) {
  switch (input->Below(5)) {
    case 0:
      // No more than there is memory for.
      if (!view->dims.empty()) {
        int64_t& dim = Any(input, &view->dims);
        const int64_t wanted = input->Whole();
        dim = wanted <= dim || wanted > int64_t{1} << 40 ? wanted : dim;
      }
      break;
    case 1:
      // Types of as many bytes or fewer.
      if (view->type == Type::kFloat32 || input->Maybe()) {
        view->type = static_cast<Type>(input->Of({1, 2, 7, -1}));
      }
      break;
    case 2:
      view->dims.resize(static_cast<size_t>(input->Below(4)), 1);
      break;
    case 3:
      view->dims.insert(view->dims.begin(), input->Of<int64_t>({1, 0, -1}));
      break;
    default:
      if (view->type == Type::kFloat32 && Sound(*view)) {
        const auto* values = static_cast<const float*>(view->data);
        copies->emplace_back(values, values + view->count());
        Any(input, &copies->back()) = input->Number();
        view->data = copies->back().data();
      }
  }
}

void ChangeSetting(FuzzInput* input, Setting* setting) {
  switch (input->Below(5)) {
    case 0:
      setting->whole = input->Whole();
      break;
    case 1:
      setting->number = input->Maybe() ? input->Number() : input->Take<double>();
      break;
    case 2:
      setting->text = input->Of<const char*>({"", "int8", "uint8", "float32", "int8_dynamic",
                                              "relu", "gelu", "norm", "sum", "integer"});
      break;
    case 3:
      setting->kind = static_cast<Setting::Kind>(input->Of({0, 1, 2, 3, -1}));
      break;
    default:
      setting->whole += input->Of({1, -1});
  }
}

void Change(FuzzInput* input, Spec* spec, Copies* copies) {
  const size_t last = spec->tensors.size() - 1;
  const auto place = static_cast<size_t>(input->Below(static_cast<int64_t>(last + 1)));
  switch (input->Below(6)) {
    case 0:
    case 1:
      ChangeSetting(input, &Any(input, &spec->settings));
      break;
    case 2:
    case 3:
      ChangeTensor(input, &spec->tensors[place], copies);
      break;
    case 4:
      std::swap(spec->names[place], spec->names[last]);
      break;
    default:
      if (input->Maybe()) {
        spec->settings.push_back(Any(input, &spec->settings));
        if (input->Maybe()) spec->settings.back().name += "x";
      } else if (last > 0) {
        spec->names.pop_back();
        spec->tensors.pop_back();
      }
  }
}

SearchOptions SearchFrom(FuzzInput* input, int64_t max_length) {
  SearchOptions search = MakeSearch(static_cast<int32_t>(1 + input->Below(4)),
                                    static_cast<int32_t>(std::min<int64_t>(max_length, 5)));
  search.num_hypotheses = static_cast<int32_t>(1 + input->Below(4));
  search.min_length = static_cast<int32_t>(input->Below(7));
  return search;
}

void Translate(FuzzInput* input, const Spec& spec) {
  const bool as_rows = input->Maybe();
  std::unique_ptr<const Model> model = spec.Read(!as_rows);
  // Memory for such a model is nothing that is tested here.
  if (model->max_length > 64 || model->dim > 64) return;
  const SearchOptions search = SearchFrom(input, model->max_length);
  std::vector<int32_t> ids(1 + input->Below(6));
  for (int32_t& id : ids)
    id = static_cast<int32_t>(input->Rarely() ? input->Whole() : input->Below(9));
  if (!as_rows) {
    Pool pool(std::move(model), search, MakeOptions(1, 1, 2, 8));
    keras_int8nmt::Translate(&pool, {ids, {1, 2}});
    return;
  }
  const std::string structure = StructureOf(spec.settings, spec.names);
  RowsToTranslate rows;
  rows.settings = &spec.settings;
  rows.tensor_names = &spec.names;
  rows.tensors = spec.tensors;
  rows.structure = &structure;
  rows.search = search;
  rows.divisors = search.divisors.data();
  rows.num_divisors = static_cast<int64_t>(search.divisors.size());
  rows.ids = ids.data();
  rows.rows = 1;
  rows.columns = static_cast<int64_t>(ids.size());
  TranslateRows(rows);
}

void RunOne(FuzzInput input) {
  Spec spec = BaseOf(input.Below(4)).writer.spec;
  Copies copies;
  copies.reserve(8);
  for (int64_t times = input.Below(5); times > 0; --times) Change(&input, &spec, &copies);
  try {
    Translate(&input, spec);
  } catch (const std::invalid_argument&) {
  } catch (const std::runtime_error&) {
    // NaN, for example.
  }
}

}  // namespace
}  // namespace keras_int8nmt

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  keras_int8nmt::RunOne({data, size});
  return 0;
}
