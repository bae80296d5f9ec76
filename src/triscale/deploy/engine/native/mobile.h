// Depthwise convolutions, alone and behind the 1x1 convolution that widens their input, and squeeze-and-excitation.
#pragma once

#include "depthwise.h"
#include "integers.h"

namespace ISA {
namespace {

constexpr int kLargestKernel = 63;

// Rows of the widened map that are made at a time: enough pixels for whole tiles, few enough for L1. Products of
// integers, whose weights take a quarter, go straight to their row.
inline int rows_at_once(const Step& step) {
  if (is_rounded(step)) return 1;
  const std::uint32_t rows = (kRun + step.in_width - 1) / step.in_width;
  return static_cast<int>(rows < step.in_height ? rows : step.in_height);
}

inline int ring_rows(const Step& step) { return static_cast<int>(step.kernel) - 1 + rows_at_once(step); }

inline bool widens(const Step& step) { return step.kind == triscale::Kind::kExpandDepthwise; }

// Items: groups of blocks by bands of rows; one band where the groups alone occupy all threads.
struct Bands {
  int blocks, width, groups, bands;
};

inline Bands bands_of(const Step& step, int threads) {
  Bands bands{blocks_of(step.out_channels), 1, 0, 1};
  if (widens(step))
    bands.width = tile_width(kTallest, std::ptrdiff_t{rows_at_once(step)} * step.in_width, bands.blocks);
  bands.groups = (bands.blocks + bands.width - 1) / bands.width;
  if (bands.groups < 6 * threads && bands.groups % threads && step.out_height >= 2u * threads) bands.bands = threads;
  return bands;
}

inline int depthwise_phases(const Step& step) { return needs_rounding(step) ? 2 : 1; }

inline int depthwise_items(const Step& step, int phase, const Place& place) {
  if (phase + 1 < depthwise_phases(step)) return rounding_items(step, place);
  const Bands bands = bands_of(step, place.threads);
  return bands.groups * bands.bands;
}

inline std::size_t ring_floats(const Step& step) {
  return std::size_t(ring_rows(step)) * (std::size_t(padded_width(step)) * 16);
}

inline std::size_t wide_floats(const Step& step) {
  if (is_rounded(step)) return 0;
  return std::size_t(rows_at_once(step)) * (std::size_t{step.in_width} * 16);
}

inline std::size_t depthwise_scratch(const Step& step) {
  return widens(step) ? bands_of(step, 1).width * (ring_floats(step) + wide_floats(step)) : 0;
}

// The taps of row `y` of the outputs that lie on the map.
struct Taps {
  int top, begin, end;
};

inline Taps taps_of(const Step& step, int y) {
  const int kernel = static_cast<int>(step.kernel), height = static_cast<int>(step.in_height);
  const int top = y * static_cast<int>(step.stride) - static_cast<int>(step.pad_top);
  return {top, top < 0 ? -top : 0, top + kernel > height ? height - top : kernel};
}

// One row of outputs of one block, its activation and its sums, from the input's `rows` under each tap.
inline void depthwise_out(const Step& step, int block, int y, const Taps& taps, const float* const* rows,
                          const Line& line, const Place& place, float* sums) {
  const int kernel = static_cast<int>(step.kernel), count = static_cast<int>(step.out_width);
  const Window window{rows,
                      taps.begin,
                      taps.end,
                      kernel,
                      static_cast<int>(step.stride),
                      place.program->at(step.weights2) + std::ptrdiff_t{block} * kernel * kernel * 16,
                      place.program->at(step.bias2) + block * 16,
                      bounds_of(step.after),
                      place.program->at(step.bias2) + (blocks_of(step.out_channels) + block) * 16};
  const std::ptrdiff_t pixel = block * pixels_out(step) + std::ptrdiff_t{y} * count;
  auto* const bytes = reinterpret_cast<std::uint8_t*>(place.arena + step.output);
  if (has(step, triscale::kStores8))
    return depthwise_row<Form::kBytes>(window, line, bytes + pixel * bytes_of(Form::kBytes));
  if (has(step, triscale::kStores16))
    return depthwise_row<Form::kWords>(window, line, bytes + pixel * bytes_of(Form::kWords));
  depthwise_row<Form::kFloats>(window, line, bytes + pixel * bytes_of(Form::kFloats));
  float* const out = place.arena + step.output + pixel * 16;
  const int left = beyond_bounds(step.after);
  if (left != kIdentity || sums) finish({left, 0}, out, out, count, nullptr, sums);
}

inline Line line_of(const Step& step, std::ptrdiff_t width, int pad) {
  return line_of(static_cast<int>(step.kernel), static_cast<int>(step.stride), static_cast<int>(width), pad,
                 static_cast<int>(step.out_width));
}

// The rows of one band of one group, from the map as it is.
inline void depthwise_band(const Step& step, int block, int begin, int end, const Place& place, float* sums) {
  const std::ptrdiff_t width = step.in_width;
  const float* const in = place.arena + step.input + block * pixels_in(step) * 16;
  const Line line = line_of(step, width, static_cast<int>(step.pad_left));
  const float* rows[kLargestKernel];
  for (int y = begin; y < end; ++y) {
    const Taps taps = taps_of(step, y);
    for (int tap = taps.begin; tap < taps.end; ++tap) rows[tap] = in + (taps.top + tap) * width * 16;
    depthwise_out(step, block, y, taps, rows, line, place, sums);
  }
}

// One row of the widened map by integers, for `blocks` blocks.
inline void widened_row(const Step& step, int block, int blocks, int row, const Place& place, float* out,
                        std::ptrdiff_t plane) {
  const Rounded in = rounded_pixels(step, place);
  const RoundedWeights weights = rounded_weights(step, place);
  const TileTable<IntegerTile>& tiles = integer_tiles(step);
  const std::ptrdiff_t width = step.in_width;
  tiles_of(kTallest, 0, width, 0, blocks, {out, plane, nullptr, {beyond_bounds(step.activation), 0}},
           [&](std::ptrdiff_t pixel, int count) {
             tiles.at[blocks - 1][count - 1](in, row * width + pixel, weights, block, out + pixel * 16, plane);
           });
}

// The same for `blocks` blocks of a map that is made from a narrower one on the way, a few rows at a time. A ring keeps
// what the next row of windows needs, with zeros on both sides.
inline void widened_band(const Step& step, int block, int blocks, int begin, int end, const Place& place, float* sums,
                         float* scratch) {
  const int kernel = static_cast<int>(step.kernel), stride = static_cast<int>(step.stride);
  const int top = static_cast<int>(step.pad_top), height = static_cast<int>(step.in_height);
  const std::ptrdiff_t width = step.in_width, padded = padded_width(step), left = step.pad_left;
  const int ring = ring_rows(step), at_once = rows_at_once(step);
  const std::ptrdiff_t wide_plane = wide_floats(step), ring_plane = ring_floats(step);
  float* const wide = scratch;
  float* const rings = scratch + blocks * wide_plane;
  const auto place_of = [&](int b, int row) { return rings + b * ring_plane + row % ring * padded * 16; };
  for (int b = 0; b < blocks; ++b)
    for (int row = 0; row < ring; ++row) {
      float* const at = place_of(b, row);
      std::memset(at, 0, left * 16 * sizeof(float));
      std::memset(at + (left + width) * 16, 0, (padded - left - width) * 16 * sizeof(float));
    }
  const int inner = static_cast<int>(step.in_channels);
  const float* const weights = place.program->at(step.weights) + std::ptrdiff_t{block} * inner * 16;
  const float* const bias = place.program->at(step.bias) + block * 16;
  const int first = begin * stride > top ? begin * stride - top : 0;
  const int last = (end - 1) * stride - top + kernel < height ? (end - 1) * stride - top + kernel : height;
  const auto widen = [&](int next, int rows) {
    if (is_rounded(step)) return widened_row(step, block, blocks, next, place, place_of(0, next) + left * 16, ring_plane);
    const float* const in = place.arena + step.input + next * width * 16;
    tiles_of(kTallest, 0, rows * width, 0, blocks, {wide, wide_plane, nullptr, {}},
             [&](std::ptrdiff_t pixel, int count) {
               kTiles.at[blocks - 1][count - 1](in + pixel * 16, pixels_in(step) * 16, inner, weights, bias,
                                                wide + pixel * 16, wide_plane);
             });
    for (int b = 0; b < blocks; ++b)
      for (int row = 0; row < rows; ++row)
        finish({static_cast<int>(step.activation), 0}, wide + b * wide_plane + row * width * 16,
               place_of(b, next + row) + left * 16, static_cast<int>(width), nullptr, nullptr);
  };
  const Line line = line_of(step, padded, 0);
  const float* under[kLargestKernel];
  int next = first, y = begin;
  while (y < end) {
    const int rows = at_once < last - next ? at_once : last - next;
    widen(next, rows);
    next += rows;
    for (; y < end && (next == last || y * stride - top + kernel <= next); ++y) {
      const Taps taps = taps_of(step, y);
      for (int b = 0; b < blocks; ++b) {
        for (int tap = taps.begin, at = (taps.top + tap) % ring; tap < taps.end; ++tap, at = at + 1 < ring ? at + 1 : 0)
          under[tap] = rings + b * ring_plane + at * padded * 16;
        depthwise_out(step, block + b, y, taps, under, line, place, sums ? sums + b * 16 : nullptr);
      }
    }
  }
}

inline void depthwise_work(const Step& step, int phase, int item, const Place& place, float* scratch) {
  if (phase + 1 < depthwise_phases(step)) return rounding_work(step, item, place);
  const Bands bands = bands_of(step, place.threads);
  const int band = item % bands.bands, block = item / bands.bands * bands.width;
  const int blocks = block + bands.width <= bands.blocks ? bands.width : bands.blocks - block;
  const int begin = static_cast<int>(part_begin(step.out_height, bands.bands, band));
  const int end = static_cast<int>(part_begin(step.out_height, bands.bands, band + 1));
  float* sums = nullptr;
  if (has(step, triscale::kSummed)) {
    sums = place.sums + band * place.most_channels + block * 16;
    std::memset(sums, 0, blocks * 16 * sizeof(float));
  }
  if (widens(step)) return widened_band(step, block, blocks, begin, end, place, sums, scratch);
  depthwise_band(step, block, begin, end, place, sums);
}

// ---- Squeeze-and-excitation.

inline void sums_work(const Step& step, int block, const Place& place) {
  const float* const in = place.arena + step.input + block * pixels_in(step) * 16;
  for (int s = 0; s < 16; s += W) {
    Vec sum{};
    for (std::ptrdiff_t pixel = 0; pixel < pixels_in(step); ++pixel) sum += load(in + pixel * 16 + s);
    store(place.sums + block * 16 + s, sum);
  }
}

// One block of outputs of a product with one pixel, in four sums, whose additions need not wait for each other.
inline void vector_product(const float* in, int inner, const float* weights, const float* bias, float* out) {
  for (int s = 0; s < 16; s += W) {
    Vec sum[4] = {load(bias + s), Vec{}, Vec{}, Vec{}};
    int i = 0;
    for (; i + 4 <= inner; i += 4)
      unrolled<4>([&](auto k) __attribute__((always_inline)) {
        sum[decltype(k)::value] += splat(in[i + decltype(k)::value]) * load(weights + (i + decltype(k)::value) * 16 + s);
      });
    for (; i < inner; ++i) sum[0] += splat(in[i]) * load(weights + i * 16 + s);
    store(out + s, (sum[0] + sum[1]) + (sum[2] + sum[3]));
  }
}

inline int excite_items(const Step& step, int phase) {
  return blocks_of(phase == 1 ? step.squeezed : step.in_channels);
}

// The mean of each channel; a product with an activation; a product with a sigmoid.
inline void excite_work(const Step& step, int phase, int block, const Place& place) {
  const Step& before = (&step)[-1];
  if (phase == 0) {
    const int bands = before.kind == triscale::Kind::kSums ? 1 : bands_of(before, place.threads).bands;
    for (int s = 0; s < 16; s += W) {
      Vec sum{};
      for (int band = 0; band < bands; ++band) sum += load(place.sums + band * place.most_channels + block * 16 + s);
      store(place.factors + block * 16 + s, sum * splat(1.0f / static_cast<float>(pixels_out(before))));
    }
    return;
  }
  const bool first = phase == 1;
  const int inner = static_cast<int>(first ? step.in_channels : step.squeezed);
  float* const out = (first ? place.squeezed : place.sums) + block * 16;
  vector_product(first ? place.factors : place.squeezed, inner,
                 place.program->at(first ? step.weights : step.weights2) + std::ptrdiff_t{block} * inner * 16,
                 place.program->at(first ? step.bias : step.bias2) + block * 16, out);
  if (first) return finish({static_cast<int>(step.activation), 0}, out, out, 1, nullptr, nullptr);
  for (int s = 0; s < 16; s += W) store(place.factors + block * 16 + s, sigmoid(load(out + s)));
}

}  // namespace
}  // namespace ISA
