// oneDNN primitives made once per thread and used again.

#include <pthread.h>

#include <memory>
#include <new>
#include <shared_mutex>
#include <unordered_map>

#include "gemm/gemm.h"
#include "gemm/onednn.h"

namespace keras_int8nmt {
namespace onednn {
namespace {

using Tag = dnnl::memory::format_tag;

// Shared by those who create, taken by who forks. Never destroyed: threads may still run when the
// process exits.
std::shared_mutex& Forking() {
  static std::shared_mutex* const lock = [] {
    auto* made = new std::shared_mutex;
    // A child can't unlock it, being another thread than the one that locked it: it gets a new one.
    pthread_atfork([] { Forking().lock(); }, [] { Forking().unlock(); },
                   [] { new (&Forking()) std::shared_mutex; });
    return made;
  }();
  return *lock;
}

// Whoever creates within creating has it already.
thread_local int creating_depth = 0;

struct KeyHash {
  size_t operator()(const Key& key) const {
    uint64_t hash = 0;
    for (int64_t part :
         {key.m, key.k, key.n, static_cast<int64_t>(key.a), static_cast<int64_t>(key.w),
          static_cast<int64_t>(key.c), static_cast<int64_t>(key.epilogue) * 2 + key.relu,
          static_cast<int64_t>(key.threads)}) {
      hash = (hash ^ static_cast<uint64_t>(part)) * 0x9e3779b97f4a7c15u;
      hash ^= hash >> 29;
    }
    return static_cast<size_t>(hash);
  }
};

// Scales of int8 weights per column; ReLU; clip to [-127, 127] for int8 results. Results of type
// uint8 are cut to [0, 255] by the conversion, which is ReLU already.
dnnl::primitive_attr Attributes(const Key& key) {
  dnnl::primitive_attr attributes;
  if (!key.epilogue) return attributes;
  if (key.w == DataType::s8) {
    attributes.set_scales_mask(DNNL_ARG_WEIGHTS, key.n == 1 ? 0 : 1 << 1);
  }
  dnnl::post_ops ops;
  if (key.c == DataType::s8) {
    ops.append_eltwise(dnnl::algorithm::eltwise_clip, key.relu ? 0.0f : -127.0f, 127.0f);
  } else if (key.relu && key.c != DataType::u8) {
    ops.append_eltwise(dnnl::algorithm::eltwise_relu, 0.0f, 0.0f);
  }
  attributes.set_post_ops(ops);
  return attributes;
}

dnnl::matmul::primitive_desc Describe(const Key& key, const dnnl::memory::desc& weights) {
  const dnnl::memory::desc a({key.m, key.k}, key.a, Tag::ab);
  const dnnl::memory::desc c({key.m, key.n}, key.c, Tag::ab);
  const dnnl::memory::desc bias({1, key.n}, DataType::f32, Tag::ab);
  if (!key.epilogue) return {Engine(), a, weights, c};
  return {Engine(), a, weights, bias, c, Attributes(key)};
}

}  // namespace

struct Product::Prepared {
  explicit Prepared(const Key& key)
      : descriptor(Describe(key, PackedDesc(key.k, key.n, key.a, key.w))),
        primitive(descriptor),
        stream(Engine()) {
    Add(DNNL_ARG_SRC, descriptor.src_desc());
    Add(DNNL_ARG_WEIGHTS, descriptor.weights_desc());
    Add(DNNL_ARG_DST, descriptor.dst_desc());
    if (!key.epilogue) return;
    Add(DNNL_ARG_BIAS, descriptor.bias_desc());
    if (key.w == DataType::s8) {
      Add(DNNL_ARG_ATTR_SCALES | DNNL_ARG_WEIGHTS,
          dnnl::memory::desc({key.n}, DataType::f32, Tag::a));
    }
  }

  void Add(int argument, const dnnl::memory::desc& desc) {
    memories[count] = dnnl::memory(desc, Engine(), nullptr);
    arguments[count] = {argument, memories[count].get()};
    ++count;
  }

  dnnl::matmul::primitive_desc descriptor;
  dnnl::matmul primitive;
  dnnl::stream stream;
  dnnl::memory memories[5];
  dnnl_exec_arg_t arguments[5];
  int count = 0;
};

const dnnl::engine& Engine() {
  // Never destroyed: threads may still run when the process exits.
  static const auto* engine = new dnnl::engine(dnnl::engine::kind::cpu, 0);
  return *engine;
}

Creating::Creating() {
  if (creating_depth++ == 0) Forking().lock_shared();
}

Creating::~Creating() {
  if (--creating_depth == 0) Forking().unlock_shared();
}

dnnl::memory::desc PackedDesc(int64_t k, int64_t n, DataType a, DataType w) {
  const Creating creating;
  const DataType c = w == DataType::s8 ? DataType::s32 : DataType::f32;
  const Key key = {64, k, n, a, w, c, false, false, 1};
  return Describe(key, dnnl::memory::desc({k, n}, w, Tag::any)).weights_desc();
}

int64_t NextPiece(int64_t rows) {
  if (rows <= 32) return rows;
  for (int64_t piece : {256, 128, 96, 64, 48}) {
    if (rows >= piece) return piece;
  }
  return 32;
}

int ApplyThreads() { return ApplyThreads(GemmThreads()); }

int ApplyThreads(int wanted) {
  thread_local int applied = 0;
  if (applied != wanted) {
    Library().omp_set_num_threads(wanted);
    applied = wanted;
  }
  return wanted;
}

Product::Product(const Key& key) {
  const Creating creating;
  prepared_ = std::make_unique<Prepared>(key);
}
Product::~Product() {
  const Creating creating;
  prepared_.reset();
}

void Product::Execute(const void* a, const void* body, const float* scales, const float* bias,
                      void* c) {
  const void* handles[] = {a, body, c, bias, scales};
  for (int i = 0; i < prepared_->count; ++i) {
    // oneDNN's handles are not const; it reads the inputs only.
    dnnl::error::wrap_c_api(
        dnnl_memory_set_data_handle(prepared_->memories[i].get(), const_cast<void*>(handles[i])),
        "oneDNN: set_data_handle");
  }
  dnnl::error::wrap_c_api(
      dnnl_primitive_execute(prepared_->primitive.get(), prepared_->stream.get(), prepared_->count,
                             prepared_->arguments),
      "oneDNN: execute");
}

void Execute(const Key& key, const void* a, const void* body, const float* scales,
             const float* bias, void* c) {
  thread_local std::unordered_map<Key, std::unique_ptr<Product>, KeyHash> cache;
  std::unique_ptr<Product>& product = cache[key];
  if (product == nullptr) product = std::make_unique<Product>(key);
  product->Execute(a, body, scales, bias, c);
}

}  // namespace onednn
}  // namespace keras_int8nmt
