// Kernels without sums: quantize, dequantize, embedding, epilogue, finish; and how results are
// written.
#ifndef KERAS_INT8NMT_KERNELS_SIMD_ELEMENTWISE_H_
#define KERAS_INT8NMT_KERNELS_SIMD_ELEMENTWISE_H_

#include <type_traits>

#include "int8.h"
#include "row_scale.h"
#include "simd/vector_math.h"
#include "simd/vectors.h"

namespace keras_int8nmt {
namespace {

// Writes y to out[i ...] as an Output says.
struct FloatWriter {
  float* out;
  template <class Lanes>
  INLINE void operator()(int64_t i, Floats y, Lanes lanes) const {
    Store(out + i, y, lanes);
  }
};
struct ByteWriter {
  uint8_t* out;
  Floats scale, zero_point;
  float low, high;
  template <class Lanes>
  INLINE void operator()(int64_t i, Floats y, Lanes lanes) const {
    const Floats value = Rint(y * scale) + zero_point;
    StoreBytes(out + i, ToInts(Clamp(value, low, high)), lanes);
  }
};

// f(the writer for `output`).
template <class F>
void WithWriter(const Output& output, void* out, F f) {
  if (output.type == Type::kFloat32) return f(FloatWriter{static_cast<float*>(out)});
  const bool is_signed = output.type == Type::kInt8;
  f(ByteWriter{static_cast<uint8_t*>(out), Set(output.scale),
               Set(static_cast<float>(output.zero_point)), is_signed ? -127.0f : 0.0f,
               is_signed ? 127.0f : 255.0f});
}

// Of a long formula each result waits for so many steps that a CPU has only two or three of them in
// work; so rounding, which would make it longer, comes after it, a block at a time.
template <class Function, class Writer>
void FinishInBlocks(const float* y, int64_t n, Function function, Writer writer) {
  constexpr int64_t kBlock = 512;
  alignas(64) float block[kBlock];
  for (int64_t start = 0; start < n; start += kBlock) {
    const int64_t count = n - start < kBlock ? n - start : kBlock;
    ForVectors(count, [&](int64_t i, auto lanes) {
      Store(block + i, function.Apply(Load(y + start + i, lanes)), lanes);
    });
    // By value: bytes that are written may change anything that has an address.
    ForVectors(count, [=, from = &block[0]](int64_t i, auto lanes) {
      writer(start + i, Load(from + i, lanes), lanes);
    });
  }
}

void Finish(const float* y, int64_t rows, int64_t n, Activation activation, const Output& output,
            void* out) {
  WithActivation(activation, [&](auto function) {
    WithWriter(output, out, [&](auto writer) {
      constexpr bool kRounds = !std::is_same_v<std::decay_t<decltype(writer)>, FloatWriter>;
      if constexpr (kRounds && IsLong<std::decay_t<decltype(function)>>::value) {
        FinishInBlocks(y, rows * n, function, writer);
      } else {
        ForVectors(rows * n, [=](int64_t i, auto lanes) {
          writer(i, function.Apply(Load(y + i, lanes)), lanes);
        });
      }
    });
  });
}

void Quantize(const float* x, size_t n, const Output& output, void* q) {
  Finish(x, 1, static_cast<int64_t>(n), Activation::kNone, output, q);
}

void QuantizeRows(const float* x, int64_t rows, int64_t columns, int8_t* q, float* inverses) {
  for (int64_t r = 0; r < rows; ++r, x += columns, q += columns) {
    Floats largest = Set(0.0f);
    Mask nan = NoLanes();
    ForVectors(columns, [&](int64_t i, auto lanes) {
      const Floats value = Load(x + i, lanes);
      // Max gives its second operand when one is NaN.
      largest = Max(Abs(value), largest);
      nan = nan | Unordered(value, value);
    });
    const RowScale row = RowScaleOf(Bits(nan) != 0 ? __builtin_nanf("") : LargestLane(largest));
    inverses[r] = row.inverse;
    Output output;
    output.type = Type::kInt8;
    output.scale = row.scale;
    Quantize(x, static_cast<size_t>(columns), output, q);
  }
}

template <class T>
void DequantizeAs(const T* q, size_t n, float inv_scale, int32_t zero_point, float* x) {
  const Ints zero = SetInt(zero_point);
  const Floats scale = Set(inv_scale);
  ForVectors(static_cast<int64_t>(n), [&](int64_t i, auto lanes) {
    Store(x + i, ToFloats(LoadWidened(q + i, lanes) - zero) * scale, lanes);
  });
}

void Dequantize(const void* q, Type type, size_t n, float inv_scale, int32_t zero_point, float* x) {
  if (type == Type::kInt8) {
    DequantizeAs(static_cast<const int8_t*>(q), n, inv_scale, zero_point, x);
  } else {
    DequantizeAs(static_cast<const uint8_t*>(q), n, inv_scale, zero_point, x);
  }
}

void Embedding(const int8_t* table, int64_t columns, const float* inv_scales,
               const int32_t* indices, int64_t count, float multiplier, float* out) {
  const Floats factor = Set(multiplier);
  for (int64_t r = 0; r < count; ++r) {
    const int8_t* row = table + indices[r] * columns;
    const Floats scale = Set(inv_scales[indices[r]]);
    float* target = out + r * columns;
    ForVectors(columns, [&](int64_t i, auto lanes) {
      Store(target + i, (ToFloats(LoadWidened(row + i, lanes)) * scale) * factor, lanes);
    });
  }
}

// value(row, place, column, lanes) is what a result is before the bias; then comes all the rest.
template <class Value>
void FinishWith(int64_t rows, int64_t n, const Epilogue& epilogue, void* out, Value value) {
  WithActivation(epilogue.activation, [&](auto function) {
    WithWriter(epilogue.output, out, [&](auto writer) {
      for (int64_t row = 0, start = 0; row < rows; ++row, start += n) {
        ForVectors(n, [&](int64_t i, auto lanes) {
          const Floats y = value(row, start + i, i, lanes) + Load(epilogue.bias + i, lanes);
          writer(start + i, function.Apply(y), lanes);
        });
      }
    });
  });
}

void FinishRows(const float* y, int64_t rows, int64_t n, const Epilogue& epilogue, void* out) {
  const float* scales = epilogue.row_scales;
  FinishWith(rows, n, epilogue, out, [&](int64_t row, int64_t place, int64_t, auto lanes) {
    return Load(y + place, lanes) * Set(scales[row]);
  });
}

void ApplyEpilogue(const int32_t* acc, int64_t rows, int64_t n, const Epilogue& epilogue,
                   void* out) {
  const auto product = [&](int64_t, int64_t place, int64_t column, auto lanes) {
    return ToFloats(Load(acc + place, lanes)) * Load(epilogue.scales + column, lanes);
  };
  if (epilogue.row_scales == nullptr) return FinishWith(rows, n, epilogue, out, product);
  const float* scales = epilogue.row_scales;
  FinishWith(rows, n, epilogue, out, [&](int64_t row, int64_t place, int64_t i, auto lanes) {
    return product(row, place, i, lanes) * Set(scales[row]);
  });
}

}  // namespace
}  // namespace keras_int8nmt

#endif  // KERAS_INT8NMT_KERNELS_SIMD_ELEMENTWISE_H_
