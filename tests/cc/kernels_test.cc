// Every kernel of every instruction set of this CPU against the reference, bit for bit, and the
// reference itself against double precision.
//
// Inputs end at an unmapped page, so that a read past the end stops the program. With
// KERAS_INT8NMT_ISA set, only that set is tested; exit status 77 where this CPU lacks it.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "cache_checks.h"
#include "check.h"
#include "inputs.h"
#include "int8.h"
#include "integer_checks.h"
#include "reference_checks.h"

namespace keras_int8nmt {
namespace {

const Type kTypes[] = {Type::kFloat32, Type::kInt8, Type::kUint8};
const Activation kActivations[] = {Activation::kNone, Activation::kRelu, Activation::kGelu,
                                   Activation::kGeluTanh, Activation::kSwish};
const int64_t kSizes[] = {1,  2,  3,  7,  8,   9,   15,  16,  17,  31,  32,  33,  48,  63,  64,
                          65, 79, 80, 81, 127, 128, 129, 255, 256, 257, 511, 512, 513, 1000};

const Kernels* reference;  // the plain loops
const Kernels* tested;     // the set under test

// Runs f(kernels, out) for the reference and the set under test and compares `bytes` of output.
template <class F>
void Compare(const std::string& what, size_t bytes, bool floats, F f) {
  Guarded<uint8_t> expected(bytes), actual(bytes);
  f(*reference, expected.data());
  f(*tested, actual.data());
  for (size_t i = 0; i < bytes; i += floats ? 4 : 1) {
    if (floats) {
      float e, a;
      std::memcpy(&e, expected.data() + i, 4);
      std::memcpy(&a, actual.data() + i, 4);
      if (std::memcmp(&e, &a, 4) == 0 || (std::isnan(e) && std::isnan(a))) continue;
      Fail(what + ", " + tested->isa + ": at " + std::to_string(i / 4) + ": expected " +
           std::to_string(e) + ", was " + std::to_string(a));
    } else {
      if (expected[i] == actual[i]) continue;
      Fail(what + ", " + tested->isa + ": at " + std::to_string(i) + ": expected byte " +
           std::to_string(expected[i]) + ", was " + std::to_string(actual[i]));
    }
    return;
  }
}

void TestQuantize(int64_t n) {
  for (Type type : kTypes) {
    const Guarded<float> x = Filled<float>(n, AnyFloat);
    const Output output = MakeOutput(type, Integer(0, 1) == 0 ? 1.0f : 31.7f);
    const bool floats = type == Type::kFloat32;
    if (!floats) {
      Compare("quantize " + std::to_string(n), n, false,
              [&](const Kernels& k, void* out) { k.quantize(x.data(), n, output, out); });
      const Guarded<int8_t> q = Filled<int8_t>(n, [] { return Integer(-128, 127); });
      Compare("dequantize " + std::to_string(n), 4 * n, true, [&](const Kernels& k, void* out) {
        k.dequantize(q.data(), type, n, 0.0173f, output.zero_point, static_cast<float*>(out));
      });
    }
    for (Activation activation : kActivations) {
      Compare(
          "finish " + std::to_string(n), n * TypeBytes(type), floats,
          [&](const Kernels& k, void* out) { k.finish(x.data(), 1, n, activation, output, out); });
    }
  }
}

// Rows of ordinary numbers, of zeros, of numbers too small for a scale, and of special ones.
void TestRows(int64_t n) {
  const int64_t rows = 5;
  Guarded<float> x = Normal(rows * n);
  const float tiny[] = {0.0f, kLeastRowMaximum, 1e-41f};
  for (int64_t i = 0; i < n; ++i) {
    x[n + i] = Integer(0, 1) == 0 ? 0.0f : -tiny[Integer(0, 2)];
    x[2 * n + i] = AnyFloat();
    x[3 * n + i] = static_cast<float>(Integer(-254, 254)) * 0.5f;
  }
  x[3 * n + n / 2] = -127.0f;  // so that the scale is 1 and halves are ties
  x[4 * n + Integer(0, static_cast<int32_t>(n) - 1)] = std::nanf("");
  const std::string what = "quantize_rows " + std::to_string(n);
  Compare(what, rows * n, false, [&](const Kernels& k, void* out) {
    Guarded<float> inverses(rows);
    k.quantize_rows(x.data(), rows, n, static_cast<int8_t*>(out), inverses.data());
  });
  Compare(what + " scales", rows * 4, true, [&](const Kernels& k, void* out) {
    Guarded<int8_t> codes(rows * n);
    k.quantize_rows(x.data(), rows, n, codes.data(), static_cast<float*>(out));
  });
  const Guarded<float> scales = Filled<float>(rows, [] { return Uniform(0.01f, 1.0f); });
  const Guarded<float> bias = Normal(n);
  for (Type type : kTypes) {
    for (Activation activation : kActivations) {
      Epilogue epilogue;
      epilogue.bias = bias.data();
      epilogue.row_scales = scales.data();
      epilogue.activation = activation;
      epilogue.output = MakeOutput(type, 12.3f);
      Compare("finish_rows " + std::to_string(n), rows * n * TypeBytes(type),
              type == Type::kFloat32, [&](const Kernels& k, void* out) {
                const void* y = x.data();
                if (type == Type::kFloat32) y = std::memcpy(out, y, rows * n * 4);
                k.finish_rows(static_cast<const float*>(y), rows, n, epilogue, out);
              });
    }
  }
}

void TestEpilogue(int64_t n) {
  const int64_t rows = Integer(1, 4);
  const Guarded<int32_t> acc =
      Filled<int32_t>(rows * n, [] { return Integer(-60000000, 60000000); });
  const Guarded<float> scales = Filled<float>(n, [] { return Uniform(1e-8f, 1e-6f); });
  const Guarded<float> bias = Normal(n);
  const Guarded<float> row_scales = Filled<float>(rows, [] { return Uniform(0.5f, 2.0f); });
  for (Type type : kTypes) {
    for (Activation activation : kActivations) {
      Epilogue epilogue;
      if (Integer(0, 1) == 0) epilogue.row_scales = row_scales.data();
      epilogue.scales = scales.data();
      epilogue.bias = bias.data();
      epilogue.activation = activation;
      epilogue.output = MakeOutput(type, 12.3f);
      Compare("epilogue " + std::to_string(n), rows * n * TypeBytes(type), type == Type::kFloat32,
              [&](const Kernels& k, void* out) { k.epilogue(acc.data(), rows, n, epilogue, out); });
    }
  }
}

void TestLayerNorm(int64_t columns) {
  const int64_t rows = Integer(1, 5);
  const auto number = Integer(0, 5) == 0 ? AnyFloat : [] { return Uniform(-3.0f, 3.0f); };
  const Guarded<float> x = Filled<float>(rows * columns, number);
  const Guarded<float> residual = Normal(rows * columns);
  const Guarded<float> gamma = Normal(columns), beta = Normal(columns);
  for (int variant = 0; variant < 48; ++variant) {
    const Type type = kTypes[variant % 3];
    const bool carry_sum = variant / 3 % 2 == 1;
    const float* other = variant / 6 % 2 == 1 ? residual.data() : nullptr;
    const Output output = MakeOutput(type, 40.0f);
    const auto run = [&](const Kernels& k, float* carry, void* out) {
      const auto norm = variant / 24 == 1 ? k.integer_layer_norm : k.layer_norm;
      norm(x.data(), other, gamma.data(), beta.data(), rows, columns, 1e-6f, carry_sum, carry,
           output, out);
    };
    Guarded<float> carry(rows * columns);
    float* kept = variant / 12 % 2 == 1 ? carry.data() : nullptr;
    const std::string what = "layer_norm " + std::to_string(columns);
    Compare(what, rows * columns * TypeBytes(type), type == Type::kFloat32,
            [&](const Kernels& k, void* out) { run(k, kept, out); });
    Compare(what + " carry", rows * columns * 4, true,
            [&](const Kernels& k, void* out) { run(k, static_cast<float*>(out), nullptr); });
  }
}

void TestFloatProduct(int64_t n) {
  const int64_t m = Integer(1, 9), k = Integer(0, 3) == 0 ? 1 : Integer(2, 80);
  const int64_t panels = (n + kFloatPanel - 1) / kFloatPanel;
  const auto number = Integer(0, 5) == 0 ? AnyFloat : [] { return Uniform(-3.0f, 3.0f); };
  const Guarded<float> a = Filled<float>(m * k, number), bias = Normal(n);
  const Guarded<float> weights = Normal(panels * k * kFloatPanel);
  FloatProductArgs args;
  args.a = a.data();
  args.m = m;
  args.k = k;
  args.n = n;
  args.panels = weights.data();
  args.bias = bias.data();
  args.relu = Integer(0, 1) == 0;
  args.first_panel = Integer(0, 2) == 0 ? panels / 2 : 0;
  args.last_panel = panels;
  Compare("float_product " + std::to_string(n), m * n * 4, true,
          [&](const Kernels& kernels, void* out) {
            FloatProductArgs own = args;
            own.out = static_cast<float*>(out);
            kernels.float_product(own);
          });
}

void TestEmbedding(int64_t columns) {
  const int32_t words = 50;
  const Guarded<int8_t> table = Bytes(words * columns);
  const Guarded<float> scales = Filled<float>(words, [] { return Uniform(0.001f, 0.1f); });
  const Guarded<int32_t> ids = Filled<int32_t>(9, [=] { return Integer(0, words - 1); });
  Compare("embedding " + std::to_string(columns), 9 * columns * 4, true,
          [&](const Kernels& k, void* out) {
            k.embedding(table.data(), columns, scales.data(), ids.data(), 9, 22.627417f,
                        static_cast<float*>(out));
          });
}

void TestTopKOf(const Guarded<float>& logits, int64_t rows, int64_t columns, int32_t k,
                int32_t forbidden) {
  const std::string what = "top_k " + std::to_string(k) + " of " + std::to_string(columns);
  bool fine[2];
  for (int part = 0; part < 3; ++part) {
    const int64_t bytes = rows * (part == 2 ? 1 : k) * 4;
    Compare(what, bytes, part != 1, [&](const Kernels& kernels, void* out) {
      Guarded<float> best(rows * k), log_sums(rows);
      Guarded<int32_t> ids(rows * k);
      const bool ok = kernels.top_k(logits.data(), rows, columns, k, forbidden, best.data(),
                                    ids.data(), log_sums.data());
      fine[&kernels == tested] = ok;
      const void* results[] = {best.data(), ids.data(), log_sums.data()};
      if (ok) std::memcpy(out, results[part], bytes);
    });
  }
  if (fine[0] != fine[1]) Fail(what + ", " + tested->isa + ": NaN told by one only");
}

void TestTopK(int64_t columns) {
  const int64_t rows = Integer(1, 3);
  const float step = Integer(0, 1) == 0 ? 1.0f : 1000.0f;  // coarse steps give many ties
  Guarded<float> logits =
      Filled<float>(rows * columns, [=] { return std::rint(Uniform(-5.0f, 5.0f) * step) / step; });
  const int32_t forbidden = Integer(0, 1) == 0 ? -1 : Integer(0, static_cast<int32_t>(columns) - 1);
  const int64_t most = columns - (forbidden >= 0);
  for (int64_t k : {int64_t{1}, int64_t{2}, int64_t{8}, most}) {
    if (k < 1 || k > most || k > 300) continue;
    TestTopKOf(logits, rows, columns, static_cast<int32_t>(k), forbidden);
  }
  if (most < 1) return;
  logits[Integer(0, static_cast<int32_t>(rows * columns) - 1)] =
      -std::numeric_limits<float>::infinity();
  TestTopKOf(logits, rows, columns, 1, forbidden);
  logits[Integer(0, static_cast<int32_t>(rows * columns) - 1)] = std::nanf("");
  TestTopKOf(logits, rows, columns, 1, forbidden);
}

void TestAttention(const AttentionCase& c, const AttentionData& data) {
  const int64_t outputs = c.batch * c.rows * c.heads * c.value_dim;
  Compare("attention " + std::to_string(c.rows) + " x " + std::to_string(c.keys) + " dim " +
              std::to_string(c.head_dim),
          outputs * TypeBytes(c.type), c.type == Type::kFloat32, [&](const Kernels& k, void* out) {
            AttentionArgs args = data.args;
            args.context = out;
            args.integer_softmax = c.integer_softmax;
            k.attention(args);
          });
}

void TestAttentions() {
  for (int64_t keys : {1, 2, 3, 4, 5, 15, 16, 17, 31, 33, 64, 100, 256}) {
    for (int64_t rows : {1, 2, 3, 4, 5, 7, 9}) {
      const int32_t dims[] = {64, 64, 32, 80, 1, 7, 16, 128, 65};
      const int32_t dim = dims[Integer(0, 8)], value_dim = dims[Integer(0, 8)];
      const AttentionCase c = {Integer(1, 3),
                               rows,
                               keys,
                               Integer(1, 3),
                               dim,
                               value_dim,
                               Integer(0, 2) == 0,
                               Integer(0, 2) == 0,
                               kTypes[Integer(0, 2)],
                               Integer(0, 1) == 0,
                               Integer(0, 1) == 0};
      TestAttention(c, AttentionData(c));
    }
  }
}

// Scores that are no numbers: some, and all of a row.
void TestAttentionsWithoutNumbers() {
  const float none[] = {-INFINITY, INFINITY, NAN};
  for (int64_t keys : {2, 3, 17, 45, 64}) {
    for (int share : {2, 1}) {
      for (float other : none) {
        const AttentionCase c = {1, 4, keys, 2, 16, 32, false, false, Type::kFloat32, false, true};
        AttentionData data(c);
        const int64_t count = data.bias_batch * data.bias_heads * data.bias_rows * keys;
        for (int64_t i = 0; i < count; ++i) {
          if (Integer(1, share) == 1) data.bias[i] = share == 1 ? other : none[Integer(0, 2)];
        }
        TestAttention(c, data);
      }
    }
  }
}

void TestGather() {
  for (size_t bytes : {1, 3, 4, 8, 12, 16, 32, 63, 64, 65, 128, 512, 1000, 200000}) {
    const int64_t outer = 3, rows = 20, count = 33;
    const Guarded<int8_t> x = Bytes(outer * rows * bytes);
    Guarded<int32_t> indices = Filled<int32_t>(outer * count, [=] { return Integer(0, rows - 1); });
    for (int i = 0; i < 20; ++i) indices[i] = i;
    Guarded<int8_t> out(outer * count * bytes);
    GatherRows(x.data(), outer, rows, indices.data(), count, bytes, out.data());
    for (int64_t i = 0; i < outer * count; ++i) {
      const int8_t* row = x.data() + (i / count * rows + indices[i]) * bytes;
      if (std::memcmp(out.data() + i * bytes, row, bytes) != 0) {
        Fail("gather of rows of " + std::to_string(bytes) + " bytes");
      }
    }
  }
}

void TestCaches() {
  for (int round = 0; round < 60; ++round) {
    CacheCase c;
    c.rows = Integer(1, 9);
    c.slots = round % 4 == 0 ? 1 : Integer(2, 6);
    c.length = Integer(1, 70);
    c.heads = Integer(1, 3);
    c.head_dim = Integer(0, 1) == 0 ? 64 : Integer(1, 40);
    c.value_dim = Integer(0, 1) == 0 ? 64 : Integer(1, 140);
    c.key_type = Integer(0, 2) == 0 ? Type::kFloat32 : Type::kInt8;
    c.value_type = Integer(0, 2) == 0 ? Type::kFloat32 : Type::kInt8;
    c.out_type = kTypes[Integer(0, 2)];
    c.integer_softmax = Integer(0, 1) == 0;
    const CacheData data(c);
    const bool int8_values = c.value_type == Type::kInt8;
    const Output output = MakeOutput(c.out_type, int8_values ? Uniform(0.001f, 0.01f) : 60.0f);
    Compare("cached_attention " + std::to_string(c.length) + " of " + std::to_string(c.head_dim),
            c.rows * c.heads * c.value_dim * TypeBytes(c.out_type), c.out_type == Type::kFloat32,
            [&](const Kernels& kernels, void* out) { data.Run(kernels, output, out); });
  }
}

void TestEmpty() {
  const Output output = MakeOutput(Type::kInt8, 1.0f);
  tested->quantize(nullptr, 0, output, nullptr);
  tested->quantize_rows(nullptr, 0, 5, nullptr, nullptr);
  tested->finish_rows(nullptr, 0, 5, Epilogue(), nullptr);
  tested->finish(nullptr, 0, 5, Activation::kGelu, output, nullptr);
  tested->embedding(nullptr, 5, nullptr, nullptr, 0, 1.0f, nullptr);
  tested->attention(AttentionArgs());
  tested->float_product(FloatProductArgs());
  if (!tested->top_k(nullptr, 0, 5, 1, -1, nullptr, nullptr, nullptr)) Fail("top_k of no rows");
}

void TestSet(const Kernels* kernels) {
  tested = kernels;
  TestEmpty();
  for (int round = 0; round < 2; ++round) {
    for (int64_t n : kSizes) {
      TestQuantize(n);
      TestEpilogue(n);
      TestRows(n);
      TestLayerNorm(n);
      TestEmbedding(n);
      TestFloatProduct(n);
      TestTopK(n);
    }
    TestTopK(5000);
    TestQuantize(20000);
    TestAttentions();
    TestAttentionsWithoutNumbers();
    TestCaches();
  }
}

}  // namespace
}  // namespace keras_int8nmt

int main() {
  using namespace keras_int8nmt;
  reference = KernelsFor("reference");
  TestReference(*reference);
  TestReferenceIntegers();
  for (bool integer : {false, true}) TestReferenceCache(*reference, integer);
  TestGather();
  if (KernelsFor("unknown") != nullptr) Fail("an unknown set was found");
  const char* only = std::getenv("KERAS_INT8NMT_ISA");
  std::string ran, skipped;
  const char* const sets[] = {
#define INSTRUCTION_SET(name, table, cpu, flags, supported) #name,
#include "instruction_sets.def"
#undef INSTRUCTION_SET
  };
  for (const char* isa : sets) {
    if (only != nullptr && std::strcmp(only, isa) != 0) continue;
    const Kernels* kernels = KernelsFor(isa);
    (kernels == nullptr ? skipped : ran) += std::string(" ") + isa;
    if (kernels == nullptr) continue;
    TestSet(kernels);
    if (only != nullptr && &ActiveKernels() != kernels) Fail("KERAS_INT8NMT_ISA is not heeded");
  }
  std::printf("ran:%s; skipped:%s\n", ran.empty() ? " none" : ran.c_str(),
              skipped.empty() ? " none" : skipped.c_str());
  if (Failures() != 0) return 1;
  return ran.empty() ? 77 : 0;
}
