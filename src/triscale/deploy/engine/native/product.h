// Dense convolutions: 1x1 straight from the map, others from a copy with zeros around; the classifier.
#pragma once

#include <cstring>

#include "activation.h"
#include "kernels.h"

namespace ISA {
namespace {

using triscale::Place;
using triscale::Step;
using triscale::blocks_of;
using triscale::is_rounded;
using triscale::needs_rounding;

constexpr std::ptrdiff_t kInputFloats = 64 << 10;  // of the input that one pass over the weights reads: a share of L2
constexpr int kRun = 48;                           // pixels, about, that wait in L1 for their activation

inline Finish finish_of(const Step& step) {
  return {static_cast<int>(step.activation), static_cast<int>(step.after)};
}

// Pixels of one product, cut into chunks by groups of output blocks: the items of its step.
struct Cut {
  std::ptrdiff_t pixels, chunks;
  int blocks, width, groups;
};

inline Cut cut_of(const int* tallest, std::ptrdiff_t pixels, std::ptrdiff_t floats_a_pixel, int blocks, int threads) {
  Cut cut{pixels, 0, blocks, tile_width(tallest, pixels, blocks), 0};
  cut.groups = (blocks + cut.width - 1) / cut.width;
  std::ptrdiff_t most = kInputFloats / floats_a_pixel;
  if (most < tallest[0]) most = tallest[0];
  cut.chunks = (pixels + most - 1) / most;
  // Enough items for all threads, as long as each has a few tiles to do.
  while (threads > 1 && cut.chunks * cut.groups < 4 * threads && pixels / (cut.chunks + 1) >= 2 * tallest[cut.width - 1])
    ++cut.chunks;
  return cut;
}

// What a finished product is added to and where it goes, for one block of outputs.
struct Destination {
  float* out;
  std::ptrdiff_t plane;
  const float* residual;  // null: none
  Finish how;

  void finish_pixels(int block, int blocks, std::ptrdiff_t begin, std::ptrdiff_t end) const {
    if (how.none() && !residual) return;
    for (int b = block; b < block + blocks; ++b) {
      const std::ptrdiff_t at = b * plane + begin * 16;
      finish(how, out + at, out + at, static_cast<int>(end - begin), residual ? residual + at : nullptr, nullptr);
    }
  }
};

// Runs `tile_at(begin, count)` over nearly equal tiles of the pixels begin..end, and finishes them while they are hot.
template <typename TileAt>
inline void tiles_of(const int* tallest, std::ptrdiff_t begin, std::ptrdiff_t end, int block, int blocks,
                     const Destination& destination, const TileAt& tile_at) {
  const std::ptrdiff_t total = end - begin, parts = (total + tallest[blocks - 1] - 1) / tallest[blocks - 1];
  const Parts lengths(total, parts);
  std::ptrdiff_t unfinished = begin;
  for (std::ptrdiff_t part = 0, at = begin; part < parts; ++part) {
    tile_at(at, static_cast<int>(lengths.length(part)));
    at += lengths.length(part);
    if (at - unfinished < kRun && at < end) continue;
    destination.finish_pixels(block, blocks, unfinished, at);
    unfinished = at;
  }
}

// Runs `tile_at(block, blocks, pixel, count)` over the tiles of the item `item`, and finishes them.
template <typename TileAt>
inline void product_tiles(const Cut& cut, int item, const Destination& destination, const TileAt& tile_at) {
  const std::ptrdiff_t chunk = item / cut.groups;
  const int block = item % cut.groups * cut.width;
  const int blocks = block + cut.width <= cut.blocks ? cut.width : cut.blocks - block;
  tiles_of(kTallest, part_begin(cut.pixels, cut.chunks, chunk), part_begin(cut.pixels, cut.chunks, chunk + 1), block,
           blocks, destination, [&](std::ptrdiff_t pixel, int count) { tile_at(block, blocks, pixel, count); });
}

// The item `item` of a product whose pixels lie side by side.
inline void product_item(const Cut& cut, int item, const float* in, std::ptrdiff_t in_plane, int inner,
                         const float* weights, const float* bias, const Destination& destination) {
  product_tiles(cut, item, destination, [&](int block, int blocks, std::ptrdiff_t pixel, int count) {
    kTiles.at[blocks - 1][count - 1](in + pixel * 16, in_plane, inner, weights + std::ptrdiff_t{block} * inner * 16,
                                     bias + block * 16, destination.out + block * destination.plane + pixel * 16,
                                     destination.plane);
  });
}

// ---- 1x1 convolutions, and others.

inline bool is_plain(const Step& step) { return step.kernel == 1 && step.stride == 1; }

inline bool scales_weights(const Step& step) {
  return pixels_in(step) > static_cast<std::ptrdiff_t>(step.out_channels);
}

inline bool needs_zeros(const Step& step) {
  return padded_height(step) != static_cast<std::ptrdiff_t>(step.in_height) ||
         padded_width(step) != static_cast<std::ptrdiff_t>(step.in_width);
}

inline Cut conv_cut(const Step& step, int threads) {
  const std::ptrdiff_t floats = std::ptrdiff_t{blocks_of(step.in_channels)} * 16 * step.stride * step.stride;
  return cut_of(is_plain(step) ? kTallest : kTallestApart, pixels_out(step), floats, blocks_of(step.out_channels),
                threads);
}

inline Destination conv_destination(const Step& step, const Place& place) {
  return {place.arena + step.output, pixels_out(step) * 16,
          has(step, triscale::kResidual) ? place.arena + step.residual : nullptr, finish_of(step)};
}

inline int conv_phases(const Step& step) {
  return has(step, triscale::kScaled) || needs_rounding(step) || needs_zeros(step) ? 2 : 1;
}

inline int conv_items(const Step& step, int phase, const Place& place) {
  if (phase == 0 && conv_phases(step) == 2)
    return has(step, triscale::kScaled) && scales_weights(step) ? blocks_of(step.out_channels)
                                                                : blocks_of(step.in_channels);
  const Cut cut = conv_cut(step, place.threads);
  return static_cast<int>(cut.chunks) * cut.groups;
}

// The weights of one block of outputs, times the factors of their inputs.
inline void scale_weights(const Step& step, int block, const Place& place) {
  const std::ptrdiff_t begin = std::ptrdiff_t{block} * step.in_channels * 16;
  const float* from = place.program->at(step.weights) + begin;
  float* to = place.scaled + begin;
  for (std::uint32_t input = 0; input < step.in_channels; ++input) {
    const Vec factor = splat(place.factors[input]);
    for (int s = 0; s < 16; s += W, from += W, to += W) store(to, load(from) * factor);
  }
}

inline void scale_map(const Step& step, int block, const Place& place) {
  float* value = place.arena + step.input + block * pixels_in(step) * 16;
  for (std::ptrdiff_t pixel = 0; pixel < pixels_in(step); ++pixel)
    for (int s = 0; s < 16; s += W, value += W) store(value, load(value) * load(place.factors + block * 16 + s));
}

inline void copy_with_zeros(const Step& step, int block, const Place& place) {
  const std::ptrdiff_t height = padded_height(step), width = padded_width(step);
  const std::ptrdiff_t in_width = step.in_width, right = width - in_width - step.pad_left;
  const float* from = place.arena + step.input + block * pixels_in(step) * 16;
  float* to = place.padded + block * height * width * 16;
  const auto zeros = [&](std::ptrdiff_t pixels) {
    std::memset(to, 0, pixels * 16 * sizeof(float));
    to += pixels * 16;
  };
  zeros(step.pad_top * width);
  for (std::uint32_t row = 0; row < step.in_height; ++row, from += in_width * 16) {
    zeros(step.pad_left);
    std::memcpy(to, from, in_width * 16 * sizeof(float));
    to += in_width * 16;
    zeros(right);
  }
  zeros((height - step.in_height - step.pad_top) * width);
}

inline void conv_of_taps(const Step& step, int item, const Place& place, float* scratch) {
  const Cut cut = conv_cut(step, place.threads);
  const std::ptrdiff_t chunk = item / cut.groups;
  const int block = item % cut.groups * cut.width;
  const int blocks = block + cut.width <= cut.blocks ? cut.width : cut.blocks - block;
  const int kernel = static_cast<int>(step.kernel), channels = static_cast<int>(step.in_channels);
  const std::ptrdiff_t width = padded_width(step), plane = padded_height(step) * width * 16;
  const float* const in = needs_zeros(step) ? place.padded : place.arena + step.input;
  auto* const taps = reinterpret_cast<std::ptrdiff_t*>(scratch);
  for (int y = 0; y < kernel; ++y)
    for (int x = 0; x < kernel; ++x) taps[y * kernel + x] = (y * width + x) * 16;
  const float* const weights =
      place.program->at(step.weights) + std::ptrdiff_t{block} * channels * kernel * kernel * 16;
  const float* const bias = place.program->at(step.bias) + block * 16;
  const Destination destination = conv_destination(step, place);
  const std::ptrdiff_t out_width = step.out_width;
  tiles_of(kTallestApart, part_begin(cut.pixels, cut.chunks, chunk), part_begin(cut.pixels, cut.chunks, chunk + 1),
           block, blocks, destination, [&](std::ptrdiff_t pixel, int count) {
             const float* pixels[kMostPixels];
             for (int m = 0; m < count; ++m) {
               const std::ptrdiff_t y = (pixel + m) / out_width, x = (pixel + m) % out_width;
               pixels[m] = in + (y * width + x) * step.stride * 16;
             }
             kTilesOfTaps.at[blocks - 1][count - 1](pixels, plane, channels, taps, kernel * kernel, weights, bias,
                                                    destination.out + block * destination.plane + pixel * 16,
                                                    destination.plane);
           });
}

inline void conv_work(const Step& step, int phase, int item, const Place& place, float* scratch) {
  if (phase == 0 && conv_phases(step) == 2) {
    if (!has(step, triscale::kScaled)) return copy_with_zeros(step, item, place);
    return scales_weights(step) ? scale_weights(step, item, place) : scale_map(step, item, place);
  }
  if (!is_plain(step)) return conv_of_taps(step, item, place, scratch);
  const bool scaled = has(step, triscale::kScaled) && scales_weights(step);
  product_item(conv_cut(step, place.threads), item, place.arena + step.input, pixels_in(step) * 16,
               static_cast<int>(step.in_channels), scaled ? place.scaled : place.program->at(step.weights),
               place.program->at(step.bias), conv_destination(step, place));
}

// ---- The classifier, for all images at once.

inline Cut linear_cut(const Step& step, const Place& place) {
  return cut_of(kTallest, place.images.count, 1, blocks_of(step.out_channels), 1);
}

inline Destination linear_destination(const Step& step, const Place& place) {
  return {place.logits, std::ptrdiff_t{triscale::kMostImages} * 16, nullptr, finish_of(step)};
}

inline void linear_work(const Step& step, int item, const Place& place) {
  const Destination destination = linear_destination(step, place);
  product_item(linear_cut(step, place), item, place.pooled, destination.plane, static_cast<int>(step.in_channels),
               place.program->at(step.weights), place.program->at(step.bias), destination);
}

}  // namespace
}  // namespace ISA
