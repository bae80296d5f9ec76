// Depthwise convolution, a row of outputs at a time.
#pragma once

#include "tile.h"

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
};

// M outputs, S pixels of the input apart; `at` is the first one's first column, left..right the taps that lie on the map.
template <int M, int S>
void depthwise_tile(const Window& window, std::ptrdiff_t at, int left, int right, float* out) {
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
    unrolled<M>([&](auto m) __attribute__((always_inline)) {
      store(out + decltype(m)::value * 16 + s * W, sum[decltype(m)::value]);
    });
  }
}

using DepthwiseTile = void (*)(const Window& window, std::ptrdiff_t at, int left, int right, float* out);

struct DepthwiseTable {
  DepthwiseTile at[2][kLongest] = {};  // [stride - 1][outputs - 1]
};

constexpr DepthwiseTable kDepthwiseTiles = [] {
  DepthwiseTable table;
  unrolled<kLongest>([&](auto m) {
    constexpr int count = decltype(m)::value;
    table.at[0][count] = depthwise_tile<count + 1, 1>;
    table.at[1][count] = depthwise_tile<count + 1, 2>;
  });
  return table;
}();

// `count` outputs from rows of `width` pixels, `pad` columns of zeros before them and as many as needed behind.
inline void depthwise_row(const Window& window, int width, int pad, int count, float* out) {
  const int stride = window.stride, kernel = window.kernel;
  const auto edge = [&](int x) {
    const int at = x * stride - pad, left = at < 0 ? -at : 0;
    depthwise_tile<1, 1>(window, at, left, at + kernel > width ? width - at : kernel, out + x * 16);
  };
  int begin = (pad + stride - 1) / stride;
  if (begin > count) begin = count;
  int end = width + pad >= kernel ? (width + pad - kernel) / stride + 1 : 0;
  end = end > count ? count : end < begin ? begin : end;
  for (int x = 0; x < begin; ++x) edge(x);
  const int most = stride <= 2 ? kLongest : 1;
  const int parts = (end - begin + most - 1) / most;
  const DepthwiseTile* const tiles = kDepthwiseTiles.at[stride == 2];
  for (int part = 0; part < parts; ++part) {
    const int x = begin + static_cast<int>(part_begin(end - begin, parts, part));
    const int next = begin + static_cast<int>(part_begin(end - begin, parts, part + 1));
    tiles[next - x - 1](window, std::ptrdiff_t{x} * stride - pad, 0, kernel, out + x * 16);
  }
  for (int x = end; x < count; ++x) edge(x);
}

}  // namespace
}  // namespace ISA
