// The products of a stream: what a Linear needs besides its numbers.
#ifndef KERAS_INT8NMT_DECODER_PRODUCTS_H_
#define KERAS_INT8NMT_DECODER_PRODUCTS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "buffer.h"
#include "gemm/float_gemm.h"
#include "model.h"
#include "thread_team.h"

namespace keras_int8nmt {

// The k best next tokens of each row.
struct BestTokens {
  const float* logits;          // [m, k], descending
  const int32_t* ids;           // [m, k]
  const float* log_sums;        // [m]; 0 where they are not wanted and were not computed
  const float* watched_logits;  // [m]: of the end token
  const uint8_t* finite;        // [m]: 0 where the model gave NaN
};

// Appends the ids that must not come next after a row.
using Forbid = std::function<void(int64_t row, std::vector<int32_t>* ids)>;

class Products {
 public:
  // At most `rows` rows at a time, `best_rows` of them with TopK of k tokens; whether that needs
  // log-sum-exps, and whether it is ever asked to heed what is forbidden.
  Products(const Model& model, int64_t rows, int64_t best_rows, int32_t k, bool log_sums,
           bool filters, ThreadTeam* team);

  // out [m, n] of linear.output; x is float32 or the codes that the product reads. Float buffers on
  // either side have room for FloatProduct::RoundedRows(m) rows.
  void Run(const Linear& linear, const void* x, Type x_type, int64_t m, void* out);

  // The best columns of the output projection; the result stays until the next call.
  BestTokens TopK(const void* x, Type x_type, int64_t m, int32_t forbidden, int32_t watched,
                  const Forbid* forbid);

 private:
  // What a float product is chosen by.
  using Shape = std::vector<int64_t>;  // k, n, relu

  // The codes of x; a dynamic product's scales of rows are in row_scales_ then.
  const void* Codes(const Linear& linear, const void* x, Type x_type, int64_t m);
  // The INT8 product of m rows of codes.
  GemmArgs ArgsOf(const Linear& linear, const void* codes, int64_t m, void* out) const;
  void RunInt8(const Linear& linear, const void* codes, int64_t m, void* out);
  void RunFloat(const Linear& linear, const float* x, int64_t m, void* out);
  void TopKOfProduct(const void* x, Type x_type, int64_t m, int32_t forbidden, int32_t watched);
  void TopKOfLogits(const void* x, Type x_type, int64_t m, int32_t forbidden, int32_t watched,
                    const Forbid* forbid);
  void Heed(const Forbid& forbid, const float* logits, int64_t row, int32_t forbidden);
  void MergeShares(int64_t m, int shares);

  const Model& model_;
  const Kernels& kernels_;
  ThreadTeam* team_;
  int32_t k_;
  int64_t chunks_;
  std::vector<FloatProduct*> float_of_;  // by Linear::index; null for INT8
  std::map<Shape, FloatProduct> float_products_;
  Buffer codes_, row_scales_, floats_, logits_;
  int64_t logits_rows_ = 0;
  // [share, rows, k] and so on.
  std::vector<float> best_, log_sums_, watched_, maxima_, sums_;
  std::vector<int32_t> ids_, counts_, forbidden_ids_;
  std::vector<uint8_t> finite_;
  std::vector<std::pair<float, int32_t>> merged_;
  int64_t best_rows_;
  bool wants_log_sums_;
};

}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_DECODER_PRODUCTS_H_
