// Depthwise convolution, a row of outputs at a time.
#pragma once

#include "rounded.h"

namespace ISA {
namespace {

#if defined(__AVX512F__)
constexpr int kLongest = 14;  // outputs in registers
#else
constexpr int kLongest = 8;
#endif

// What a row of outputs of one block reads: `rows[tap]` for the taps begin..end that lie on the map.
struct Window {
  const float* const* rows;
  int begin, end, kernel, stride;
  const float* weights;  // [kernel][kernel][16]
  const float* bias;
  Bounds bounds;          // of outputs that are floats
  const float* ceilings;  // of those that are integers; they are at least 0
};

// What an output is written as, and the bytes of one block of one pixel.
enum class Form { kFloats, kBytes, kWords };

constexpr int bytes_of(Form form) { return form == Form::kFloats ? 64 : form == Form::kBytes ? 16 : 32; }

// M outputs, S pixels of the input apart; `at` is the first one's first column, left..right the taps that lie on the map.
template <Form F, int M, int S>
void depthwise_tile(const Window& window, std::ptrdiff_t at, int left, int right, std::uint8_t* out) {
  for (int s = 0; s < kSub; ++s) {
    Vec sum[M];
    const Vec start = load(window.bias + s * W);
    unrolled<M>([&](auto m) __attribute__((always_inline)) { sum[decltype(m)::value] = start; });
    for (int y = window.begin; y < window.end; ++y) {
      const float* in = window.rows[y] + (at + left) * 16 + s * W;
      const float* weight = window.weights + (y * window.kernel + left) * 16 + s * W;
      for (int x = left; x < right; ++x, in += 16, weight += 16) {
        const Vec factor = load(weight);
        unrolled<M>([&](auto m) __attribute__((always_inline)) {
          sum[decltype(m)::value] += load(in + decltype(m)::value * S * 16) * factor;
        });
      }
    }
    const Vec ceiling = F == Form::kFloats ? Vec{} : load(window.ceilings + s * W);
    unrolled<M>([&](auto m) __attribute__((always_inline)) {
      constexpr int i = decltype(m)::value;
      std::uint8_t* const to = out + i * bytes_of(F) + s * W * (bytes_of(F) / 16);
      if constexpr (F == Form::kFloats)
        store(reinterpret_cast<float*>(to), window.bounds.clamp(sum[i]));
      else
        store_rounded<F == Form::kWords>(to, minimum(ceiling, maximum(sum[i], Vec{})));
    });
  }
}

using DepthwiseTile = void (*)(const Window& window, std::ptrdiff_t at, int left, int right, std::uint8_t* out);

struct DepthwiseTable {
  DepthwiseTile at[2][kLongest] = {};  // [stride - 1][outputs - 1]
};

template <Form F>
constexpr DepthwiseTable kDepthwiseTiles = [] {
  DepthwiseTable table;
  unrolled<kLongest>([&](auto m) {
    constexpr int count = decltype(m)::value;
    table.at[0][count] = depthwise_tile<F, count + 1, 1>;
    table.at[1][count] = depthwise_tile<F, count + 1, 2>;
  });
  return table;
}();

// How a row of `count` outputs is cut: those whose windows reach over an edge one by one, the others into tiles.
// `pad` columns of zeros come before the `width` pixels of a row, and as many as needed behind.
struct Line {
  int width, pad, count, begin, end, parts;
  Parts lengths;
};

inline Line line_of(int kernel, int stride, int width, int pad, int count) {
  int begin = (pad + stride - 1) / stride;
  if (begin > count) begin = count;
  int end = width + pad >= kernel ? (width + pad - kernel) / stride + 1 : 0;
  end = end > count ? count : end < begin ? begin : end;
  const int most = stride <= 2 ? kLongest : 1, parts = (end - begin + most - 1) / most;
  return {width, pad, count, begin, end, parts, Parts(end - begin, parts ? parts : 1)};
}

template <Form F>
inline void depthwise_row(const Window& window, const Line& line, std::uint8_t* out) {
  const int stride = window.stride, kernel = window.kernel;
  const auto edge = [&](int x) {
    const int at = x * stride - line.pad, left = at < 0 ? -at : 0;
    const int right = at + kernel > line.width ? line.width - at : kernel;
    depthwise_tile<F, 1, 1>(window, at, left, right, out + x * bytes_of(F));
  };
  for (int x = 0; x < line.begin; ++x) edge(x);
  const DepthwiseTile* const tiles = kDepthwiseTiles<F>.at[stride == 2];
  for (int part = 0, x = line.begin; part < line.parts; ++part) {
    const int length = static_cast<int>(line.lengths.length(part));
    tiles[length - 1](window, std::ptrdiff_t{x} * stride - line.pad, 0, kernel, out + x * bytes_of(F));
    x += length;
  }
  for (int x = line.end; x < line.count; ++x) edge(x);
}

}  // namespace
}  // namespace ISA
