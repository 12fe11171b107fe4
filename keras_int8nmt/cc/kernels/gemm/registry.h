// A table of back ends of one kind, and the choice among them.
#ifndef KERAS_INT8NMT_KERNELS_GEMM_REGISTRY_H_
#define KERAS_INT8NMT_KERNELS_GEMM_REGISTRY_H_

#include <cstdint>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace keras_int8nmt {

template <class Backend>
struct BackendRow {
  int32_t id;  // what packed weights name it by: it is never given to another
  std::string name;
  const Backend& (*get)();  // throws std::runtime_error that says why it can't run here
  bool by_default;          // whether it is taken where nobody asks for another
};

// Rows are added before threads read the table.
template <class Backend>
class BackendTable {
 public:
  using Row = BackendRow<Backend>;

  // The best first. The variable of the environment names the one to take.
  BackendTable(const char* variable, std::vector<Row> rows) : variable_(variable) {
    for (Row& row : rows) Add(std::move(row));
  }

  // Throws std::invalid_argument where name or id is taken.
  void Add(Row row) {
    for (const Row& other : rows_) {
      if (other.name == row.name || other.id == row.id) {
        throw std::invalid_argument("the back end '" + row.name + "' (" + std::to_string(row.id) +
                                    ") has the name or the number of '" + other.name + "'");
      }
    }
    rows_.push_back(std::move(row));
  }

  // Null for an id that no row has.
  const Row* Find(int32_t id) const {
    for (const Row& row : rows_) {
      if (row.id == id) return &row;
    }
    return nullptr;
  }

  const Row* Find(const std::string& name) const {
    for (const Row& row : rows_) {
      if (row.name == name) return &row;
    }
    return nullptr;
  }

  // The name that the environment asks for; empty where it leaves the choice.
  std::string Asked() const {
    const char* name = std::getenv(variable_.c_str());
    return name == nullptr || std::string(name) == "auto" ? "" : name;
  }

  // Throws std::runtime_error that names the choices for an unknown or absent one.
  const Backend& Get(const std::string& name) const {
    const Row* row = Find(name);
    if (row == nullptr) {
      throw std::runtime_error(variable_ + ": unknown back end '" + name + "'; choose one of " +
                               Choices());
    }
    try {
      return row->get();
    } catch (const std::exception& error) {
      throw std::runtime_error(variable_ + ": the back end '" + name + "' is not available here: " +
                               error.what() + "; choose one of " + Choices());
    }
  }

  // What the environment names; for nothing or "auto" the first that is taken by default and can
  // run here.
  const Backend& Choose() const {
    const std::string name = Asked();
    if (!name.empty()) return Get(name);
    std::string reasons;
    for (const Row& row : rows_) {
      if (!row.by_default) continue;
      try {
        return row.get();
      } catch (const std::exception& error) {
        // oneDNN's own is no std::runtime_error.
        reasons += " " + row.name + ": " + error.what() + ";";
      }
    }
    throw std::runtime_error(variable_ + ": no back end can run here:" + reasons);
  }

 private:
  std::string Choices() const {
    std::string names = "auto";
    for (const Row& row : rows_) names += ", " + row.name;
    return names;
  }

  std::string variable_;
  std::vector<Row> rows_;
};

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_GEMM_REGISTRY_H_
