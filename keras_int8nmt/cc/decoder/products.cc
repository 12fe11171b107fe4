#include "products.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace keras_int8nmt {
namespace {

// Where logits must be written, that many rows at a time.
constexpr int64_t kLogitsRows = 128;
// Below this many multiplications a product is faster on one thread.
constexpr int64_t kWorthSharing = 100000;

Activation AfterFloat(const Linear& linear) {
  // ReLU is done by the product.
  return linear.activation == Activation::kRelu ? Activation::kNone : linear.activation;
}

// Whether the k best columns can be had without the others.
bool HasTopK(const Linear& linear) {
  return linear.int8 ? linear.packed.backend->top_k != nullptr : FloatProduct::HasTopK();
}

bool NeedsFinish(const Linear& linear) {
  return AfterFloat(linear) != Activation::kNone || linear.output.type != Type::kFloat32;
}

}  // namespace

Products::Products(const Model& model, int64_t rows, int64_t best_rows, int32_t k, bool log_sums,
                   bool filters, ThreadTeam* team)
    : model_(model),
      kernels_(ActiveKernels()),
      team_(team),
      k_(k),
      best_rows_(best_rows),
      wants_log_sums_(log_sums) {
  int64_t codes = 0, floats = 0;
  float_of_.resize(model.Linears().size());
  for (const Linear* linear : model.Linears()) {
    if (linear->int8) {
      codes = std::max(codes, rows * linear->k);
      continue;
    }
    // A model that is INT8 throughout leaves OpenMP alone.
    if (float_products_.empty()) SetFloatThreads(team->size());
    const bool relu = linear->activation == Activation::kRelu;
    const Shape shape = {linear->k, linear->n, relu};
    auto found = float_products_.find(shape);
    if (found == float_products_.end()) {
      found = float_products_.emplace(shape, FloatProduct(linear->k, linear->n, relu, team->size()))
                  .first;
    }
    float_of_[linear->index] = &found->second;
    if (NeedsFinish(*linear)) {
      floats = std::max(floats, FloatProduct::RoundedRows(rows) * linear->n);
    }
  }
  codes_ = Buffer(codes);
  row_scales_ = Buffer(rows * sizeof(float));
  floats_ = Buffer(floats * sizeof(float));
  const Linear& last = model.projection;
  if (filters || !HasTopK(last)) {
    logits_rows_ = std::min(kLogitsRows, FloatProduct::RoundedRows(best_rows));
    logits_ = Buffer(FloatProduct::RoundedRows(logits_rows_) * last.n * sizeof(float));
  }
  chunks_ = (last.n + kLogSumChunk - 1) / kLogSumChunk;
  const int64_t shares = team->size();
  best_.resize(shares * best_rows * k);
  ids_.resize(shares * best_rows * k);
  counts_.resize(shares * best_rows);
  finite_.resize(shares * best_rows);
  log_sums_.resize(best_rows);
  watched_.resize(best_rows);
  maxima_.resize(best_rows * chunks_);
  sums_.resize(best_rows * chunks_);
  merged_.reserve(shares * k);
}

const void* Products::Codes(const Linear& linear, const void* x, Type x_type, int64_t m) {
  if (linear.dynamic) {
    kernels_.quantize_rows(static_cast<const float*>(x), m, linear.k, codes_.as<int8_t>(),
                           row_scales_.as<float>());
    return codes_.as();
  }
  if (x_type != Type::kFloat32) return x;
  kernels_.quantize(static_cast<const float*>(x), m * linear.k, linear.input, codes_.as());
  return codes_.as();
}

void Products::Run(const Linear& linear, const void* x, Type x_type, int64_t m, void* out) {
  if (m == 0) return;
  if (linear.int8) {
    RunInt8(linear, Codes(linear, x, x_type, m), m, out);
  } else {
    RunFloat(linear, static_cast<const float*>(x), m, out);
  }
}

GemmArgs Products::ArgsOf(const Linear& linear, const void* codes, int64_t m, void* out) const {
  GemmArgs args;
  args.a = codes;
  args.a_type = linear.dynamic ? Type::kInt8 : linear.input.type;
  args.m = m;
  args.weights = linear.packed;
  args.epilogue.scales = linear.scales;
  args.epilogue.bias = linear.bias;
  args.epilogue.activation = linear.activation;
  args.epilogue.output = linear.output;
  if (linear.dynamic) args.epilogue.row_scales = row_scales_.as<float>();
  args.out = out;
  return args;
}

void Products::RunInt8(const Linear& linear, const void* codes, int64_t m, void* out) {
  const GemmBackend& gemm = *linear.packed.backend;
  const GemmArgs whole = ArgsOf(linear, codes, m, out);
  if (team_->size() == 1 || !gemm.shares || m * linear.k * linear.n < kWorthSharing) {
    gemm.multiply(whole);
    return;
  }
  team_->Run([&](int member) {
    GemmArgs args = whole;
    args.share = {member, team_->size()};
    gemm.multiply(args);
  });
}

void Products::RunFloat(const Linear& linear, const float* x, int64_t m, void* out) {
  FloatProduct& product = *float_of_[linear.index];
  const bool finish = NeedsFinish(linear);
  float* y = finish ? floats_.as<float>() : static_cast<float*>(out);
  if (team_->size() == 1 || !product.shares() || m * linear.k * linear.n < kWorthSharing) {
    product.Run(x, m, linear.packed_float, linear.bias, y);
  } else {
    team_->Run([&](int member) {
      product.Run(x, m, linear.packed_float, linear.bias, y, {member, team_->size()});
    });
  }
  if (!finish) return;
  kernels_.finish(floats_.as<float>(), m, linear.n, AfterFloat(linear), linear.output, out);
}

BestTokens Products::TopK(const void* x, Type x_type, int64_t m, int32_t forbidden, int32_t watched,
                          const Forbid* forbid) {
  if (logits_rows_ > 0) {
    TopKOfLogits(x, x_type, m, forbidden, watched, forbid);
  } else {
    TopKOfProduct(x, x_type, m, forbidden, watched);
  }
  return {best_.data(), ids_.data(), log_sums_.data(), watched_.data(), finite_.data()};
}

void Products::TopKOfProduct(const void* x, Type x_type, int64_t m, int32_t forbidden,
                             int32_t watched) {
  const Linear& last = model_.projection;
  const int shares = team_->size();
  const void* inputs = last.int8 ? Codes(last, x, x_type, m) : x;
  team_->Run([&](int member) {
    const int64_t first = member * best_rows_;
    const ProductTopK result = {k_,
                                forbidden,
                                watched,
                                best_.data() + first * k_,
                                ids_.data() + first * k_,
                                counts_.data() + first,
                                watched_.data(),
                                maxima_.data(),
                                wants_log_sums_ ? sums_.data() : nullptr,
                                finite_.data() + first};
    const Share share = {member, shares};
    if (!last.int8) {
      float_of_[last.index]->TopK(static_cast<const float*>(inputs), m, last.packed_float,
                                  last.bias, share, result);
      return;
    }
    GemmArgs args = ArgsOf(last, inputs, m, nullptr);
    args.share = share;
    last.packed.backend->top_k(args, result);
  });
  if (shares > 1) MergeShares(m, shares);
  for (int64_t r = 0; r < m; ++r) {
    const float* maxima = &maxima_[r * chunks_];
    if (!wants_log_sums_) {
      if (std::isinf(*std::max_element(maxima, maxima + chunks_))) finite_[r] = 0;
    } else if (!kernels_.log_sum(maxima, &sums_[r * chunks_], chunks_, &log_sums_[r])) {
      finite_[r] = 0;
    }
  }
}

// The lists of all shares into the first one. A later share has higher ids, so it loses ties.
void Products::MergeShares(int64_t m, int shares) {
  std::vector<std::pair<float, int32_t>>& all = merged_;
  for (int64_t r = 0; r < m; ++r) {
    all.clear();
    for (int s = 0; s < shares; ++s) {
      const int64_t row = s * best_rows_ + r;
      finite_[r] &= finite_[row];
      for (int32_t i = 0; i < counts_[row]; ++i) {
        all.emplace_back(best_[row * k_ + i], ids_[row * k_ + i]);
      }
    }
    std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
      return a.first > b.first || (a.first == b.first && a.second < b.second);
    });
    for (int32_t i = 0; i < k_ && i < static_cast<int32_t>(all.size()); ++i) {
      best_[r * k_ + i] = all[i].first;
      ids_[r * k_ + i] = all[i].second;
    }
  }
}

void Products::TopKOfLogits(const void* x, Type x_type, int64_t m, int32_t forbidden,
                            int32_t watched, const Forbid* forbid) {
  const Linear& last = model_.projection;
  const size_t x_bytes = x_type == Type::kFloat32 ? sizeof(float) : 1;
  for (int64_t first = 0; first < m; first += logits_rows_) {
    const int64_t rows = std::min(logits_rows_, m - first);
    Run(last, static_cast<const char*>(x) + first * last.k * x_bytes, x_type, rows, logits_.as());
    for (int64_t i = 0; i < rows; ++i) {
      const float* logits = logits_.as<float>() + i * last.n;
      const int64_t r = first + i;
      finite_[r] = kernels_.top_k(logits, 1, last.n, k_, forbidden, &best_[r * k_], &ids_[r * k_],
                                  &log_sums_[r]);
      watched_[r] = logits[watched];
      if (forbid != nullptr && finite_[r] != 0) Heed(*forbid, logits, r, forbidden);
    }
  }
}

// Chooses again where one of the best is forbidden. Filters change no probability: the log-sum-exp
// is that of all logits, as far as the graph engine has it then.
void Products::Heed(const Forbid& forbid, const float* logits, int64_t row, int32_t forbidden) {
  forbidden_ids_.clear();
  forbid(row, &forbidden_ids_);
  const auto is_forbidden = [this](int32_t id) {
    return std::find(forbidden_ids_.begin(), forbidden_ids_.end(), id) != forbidden_ids_.end();
  };
  float* best = &best_[row * k_];
  int32_t* ids = &ids_[row * k_];
  if (std::none_of(ids, ids + k_, is_forbidden)) return;
  log_sums_[row] = best[0] - (best[0] - log_sums_[row]);
  forbidden_ids_.push_back(forbidden);
  std::sort(forbidden_ids_.begin(), forbidden_ids_.end());
  std::vector<std::pair<float, int32_t>>& all = merged_;
  all.clear();
  for (int32_t id = 0; id < model_.projection.n; ++id) {
    if (std::binary_search(forbidden_ids_.begin(), forbidden_ids_.end(), id)) continue;
    all.emplace_back(logits[id], id);
  }
  const size_t count = std::min(all.size(), static_cast<size_t>(k_));
  std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(count), all.end(),
                    [](const auto& a, const auto& b) {
                      return a.first > b.first || (a.first == b.first && a.second < b.second);
                    });
  for (size_t i = 0; i < static_cast<size_t>(k_); ++i) {
    best[i] = i < count ? all[i].first : -std::numeric_limits<float>::infinity();
    ids[i] = i < count ? all[i].second : 0;
  }
}

}  // namespace keras_int8nmt
