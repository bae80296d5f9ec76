// The first convolution: few channels, so that its windows are copied side by side and become one product.
#pragma once

#include "integers.h"

namespace ISA {
namespace {

inline std::ptrdiff_t stem_rows(const Step& step) { return (kRun + step.out_width - 1) / step.out_width; }

inline int stem_items(const Step& step, int phase) {
  if (phase == 0) return static_cast<int>(padded_height(step));
  return static_cast<int>((step.out_height + stem_rows(step) - 1) / stem_rows(step));
}

inline float normalised(const Place& place, const Step& step, std::ptrdiff_t pixel, std::uint32_t channel) {
  const std::ptrdiff_t pixels = pixels_in(step), image = place.image * pixels * step.in_channels;
  if (place.images.floats) return place.images.floats[image + channel * pixels + pixel];
  const float value = place.images.bytes[image + pixel * step.in_channels + channel];
  return value * place.program->at(step.weights2)[channel] + place.program->at(step.bias2)[channel];
}

// A normalised value as the product reads it: as it is, or in units of 16-bit integers.
struct AsFloat {
  using Value = float;
  explicit AsFloat(const Step&, const Place&) {}
  float scale() const { return 1.0f; }
  float operator()(float value) const { return value; }
};

struct AsWord {
  using Value = std::int16_t;
  float units, most;
  AsWord(const Step& step, const Place& place)
      : units(rounded_weights(step, place).balance[0]), most(static_cast<float>(step.levels)) {}
  float scale() const { return units; }
  std::int16_t operator()(float value) const {
    value = value < most ? value : most;
    value = (value > -most ? value : -most) + 12582912.0f;  // 1.5 * 2^23: the integer is in the low bits
    std::int32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return static_cast<std::int16_t>(bits);
  }
};

// One row of the image as [width][channels], with zeros around.
template <typename As>
inline void stem_row(const Step& step, int row, const Place& place) {
  using Value = typename As::Value;
  const As as(step, place);
  const std::ptrdiff_t channels = step.in_channels, width = padded_width(step), in_width = step.in_width;
  Value* to = reinterpret_cast<Value*>(place.padded) + row * width * channels;
  const std::ptrdiff_t y = row - std::ptrdiff_t{step.pad_top};
  std::memset(to, 0, width * channels * sizeof(Value));
  if (y < 0 || y >= step.in_height) return;
  to += step.pad_left * channels;
  if (place.images.bytes && channels == 3) {
    const std::uint8_t* from = place.images.bytes + (place.image * pixels_in(step) + y * in_width) * 3;
    const float* const scale = place.program->at(step.weights2);
    const float* const shift = place.program->at(step.bias2);
    float scales[3 * W], shifts[3 * W];
    for (int i = 0; i < 3 * W; ++i) scales[i] = scale[i % 3] * as.scale(), shifts[i] = shift[i % 3] * as.scale();
    std::ptrdiff_t i = 0;
    for (; i + 3 * W <= in_width * 3; i += 3 * W)
      for (int v = 0; v < 3 * W; ++v) to[i + v] = as(from[i + v] * scales[v] + shifts[v]);
    for (; i < in_width * 3; ++i) to[i] = as(from[i] * scales[i % 3] + shifts[i % 3]);
    return;
  }
  for (std::ptrdiff_t x = 0; x < in_width; ++x)
    for (std::uint32_t c = 0; c < step.in_channels; ++c)
      *to++ = as(normalised(place, step, y * in_width + x, c) * as.scale());
}

// The windows of the output rows first..last, [inner / 16][pixels][16] floats.
inline void copy_windows(const Step& step, std::ptrdiff_t first, std::ptrdiff_t last, const float* image, float* windows) {
  const std::ptrdiff_t channels = step.in_channels, width = padded_width(step), out_width = step.out_width;
  const std::ptrdiff_t plane = (last - first) * out_width * 16;
  const int line = static_cast<int>(step.kernel * channels);
  for (std::uint32_t tap = 0; tap < step.kernel; ++tap)
    for (int done = 0, now = 0; done < line; done += now) {
      // As many as fit into what is left of a block.
      const int at = static_cast<int>(tap) * line + done;
      now = 16 - at % 16 < line - done ? 16 - at % 16 : line - done;
      if (now > W) now = W;
      float* to = windows + at / 16 * plane + at % 16;
      for (std::ptrdiff_t y = first; y < last; ++y) {
        const float* from = image + (y * step.stride + tap) * width * channels + done;
        for (std::ptrdiff_t x = 0; x < out_width; ++x, to += 16, from += step.stride * channels)
          store(to, load(from, now), now);
      }
    }
}

// Where a block of 16 values of a window takes some of its lanes from: one row of the image under that window.
struct Piece {
  std::ptrdiff_t row, from;  // of lane 0, which may lie before the window
  int begin, end;            // lanes
};

// `count` windows in a row, `apart` values from one to the next; what they hold already stays where `more` says so.
inline void copy_pieces(const Piece* pieces, int parts, const std::int16_t* image, std::ptrdiff_t row_values,
                        std::ptrdiff_t apart, std::ptrdiff_t count, bool more, std::int16_t* to) {
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  const auto copy = [&](auto number) __attribute__((always_inline)) {
    constexpr int P = decltype(number)::value;
    __mmask16 lanes[P];
    const std::int16_t* from[P];
    unrolled<P>([&](auto p) __attribute__((always_inline)) {
      const Piece& piece = pieces[decltype(p)::value];
      lanes[decltype(p)::value] = static_cast<__mmask16>((1u << piece.end) - (1u << piece.begin));
      from[decltype(p)::value] = image + piece.row * row_values + piece.from;
    });
    for (std::ptrdiff_t x = 0; x < count; ++x, to += 16) {
      auto* const at = reinterpret_cast<__m256i*>(to);
      __m256i value = more ? _mm256_loadu_si256(at) : _mm256_setzero_si256();
      unrolled<P>([&](auto p) __attribute__((always_inline)) {
        constexpr int i = decltype(p)::value;
        value = _mm256_or_si256(value, _mm256_maskz_loadu_epi16(lanes[i], from[i] + x * apart));
      });
      _mm256_storeu_si256(at, value);
    }
  };
  if (parts == 1) return copy(Constant<1>{});
  if (parts == 2) return copy(Constant<2>{});
  return copy(Constant<3>{});
#else
  for (std::ptrdiff_t x = 0; x < count; ++x, to += 16) {
    if (!more) std::memset(to, 0, 16 * sizeof *to);
    for (int p = 0; p < parts; ++p)
      for (int lane = pieces[p].begin; lane < pieces[p].end; ++lane)
        to[lane] = image[pieces[p].row * row_values + pieces[p].from + x * apart + lane];
  }
#endif
}

// The same as 16-bit integers.
inline void copy_windows(const Step& step, std::ptrdiff_t first, std::ptrdiff_t last, const std::int16_t* image,
                         std::int16_t* windows) {
  constexpr int kTogether = 3;
  const int line = static_cast<int>(step.kernel * step.in_channels), inner = line * static_cast<int>(step.kernel);
  const std::ptrdiff_t row_values = padded_width(step) * step.in_channels, apart = step.stride * step.in_channels;
  for (int block = 0; block < inner; block += 16) {
    const int end = block + 16 < inner ? block + 16 : inner;
    bool more = false;
    for (int at = block; at < end;) {
      Piece pieces[kTogether];
      int parts = 0;
      for (; parts < kTogether && at < end; ++parts) {
        const int tap = at / line, next = (tap + 1) * line < end ? (tap + 1) * line : end;
        pieces[parts] = {tap, block - tap * line, at - block, next - block};
        at = next;
      }
      for (std::ptrdiff_t y = first; y < last; ++y)
        copy_pieces(pieces, parts, image + y * step.stride * row_values, row_values, apart, step.out_width, more,
                    windows + (block / 16 * (last - first) + (y - first)) * step.out_width * 16);
      more = true;
    }
  }
}

inline void stem_product(const Step& step, int item, const Place& place, float* scratch) {
  const std::ptrdiff_t out_width = step.out_width, first = item * stem_rows(step);
  const std::ptrdiff_t last = first + stem_rows(step) < step.out_height ? first + stem_rows(step) : step.out_height;
  const std::ptrdiff_t pixels = (last - first) * out_width;
  const int inner = static_cast<int>(step.kernel * step.kernel * step.in_channels), blocks = blocks_of(step.out_channels);
  Destination destination = conv_destination(step, place);
  destination.out += first * out_width * 16;
  if (destination.residual) destination.residual += first * out_width * 16;
  Cut cut{pixels, 1, blocks, tile_width(kTallest, pixels, blocks), 0};
  cut.groups = (blocks + cut.width - 1) / cut.width;
  if (!is_rounded(step)) {
    copy_windows(step, first, last, place.padded, scratch);
    for (int group = 0; group < cut.groups; ++group)
      product_item(cut, group, scratch, pixels * 16, inner, place.program->at(step.weights),
                   place.program->at(step.bias), destination);
    return;
  }
  auto* const windows = reinterpret_cast<std::int16_t*>(scratch);
  copy_windows(step, first, last, reinterpret_cast<const std::int16_t*>(place.padded), windows);
  const Rounded in = with_one_range(reinterpret_cast<std::uint8_t*>(windows), pixels * pixel_bytes(true));
  for (int group = 0; group < cut.groups; ++group) integer_item(step, cut, group, in, place, destination);
}

inline void stem_work(const Step& step, int phase, int item, const Place& place, float* scratch) {
  if (phase == 1) return stem_product(step, item, place, scratch);
  return is_rounded(step) ? stem_row<AsWord>(step, item, place) : stem_row<AsFloat>(step, item, place);
}

inline std::size_t stem_scratch(const Step& step) {
  const std::size_t inner = std::size_t{step.kernel} * step.kernel * step.in_channels;
  return (inner + 15) / 16 * 16 * (static_cast<std::size_t>(stem_rows(step)) * step.out_width + 1);
}

}  // namespace
}  // namespace ISA
