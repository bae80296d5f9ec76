// Passes over the rows (pixels) of channels-last maps, statistics, and sums by image.
#pragma once

#include <new>

#include "training.h"
#include "vector.h"

namespace ISA {
namespace {

using std::ptrdiff_t;
using triscale::RawGradient;
using triscale::Reading;
using triscale::Rows;
using triscale::Team;

constexpr int kGroup = 8;  // rows read side by side: each is one stream of memory

inline ptrdiff_t smaller(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
inline ptrdiff_t larger(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }
inline int least(ptrdiff_t a, ptrdiff_t b) { return static_cast<int>(a < b ? a : b); }
inline int round_up(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

struct Range {
  ptrdiff_t begin, end;
};

inline Range share(ptrdiff_t total, int part, int parts) {
  return {total * part / parts, total * (part + 1) / parts};
}

// Runs body(part) for every part, on the team's threads.
template <typename Body>
void parallel(const Team& team, const Body& body) {
  team.run([](void* context, int part) { (*static_cast<const Body*>(context))(part); },
           const_cast<void*>(static_cast<const void*>(&body)), team.parts);
}

// body(first row, rows, first channel, channels) over groups of rows, every channel of a group in turn.
template <typename Body>
inline void row_groups(ptrdiff_t rows, int channels, const Body& body) {
  for (ptrdiff_t row = 0; row < rows; row += kGroup)
    for (int channel = 0; channel < channels; channel += W)
      body(row, least(kGroup, rows - row), channel, least(W, channels - channel));
}

// body(image, first row, rows) over the parts of [begin, end) that lie in one image.
template <typename Body>
inline void by_image(Range range, ptrdiff_t pixels, const Body& body) {
  while (range.begin < range.end) {
    const ptrdiff_t image = range.begin / pixels;
    const ptrdiff_t end = smaller((image + 1) * pixels, range.end);
    body(image, range.begin, end - range.begin);
    range.begin = end;
  }
}

// A Reading at one vector of channels of one image.
struct ReadingAt {
  Vec mean{}, scale{}, beta{}, factor{};
  ReadingAt(const Reading& reading, ptrdiff_t image, int channels, int channel, int count) {
    scale = factor = splat(1.0f);
    if (reading.mean) {
      mean = load(reading.mean + channel, count);
      scale = load(reading.scale + channel, count);
      beta = load(reading.beta + channel, count);
    }
    if (reading.factor) factor = load(reading.factor + image * channels + channel, count);
  }
  Vec normalised(Vec x) const { return (x - mean) * scale + beta; }
};

// A RawGradient likewise.
struct GradientAt {
  ReadingAt reading;
  Vec factor{}, addend{}, a{}, b{}, d{};
  GradientAt(const RawGradient& source, ptrdiff_t image, int channels, int channel, int count)
      : reading(source.reading, image, channels, channel, count) {
    factor = source.image_factor ? splat(source.image_factor[image]) : reading.factor;
    if (source.addend) addend = load(source.addend + image * channels + channel, count);
    if (source.a) {
      a = load(source.a + channel, count);
      b = load(source.b + channel, count);
      d = load(source.d + channel, count);
    }
  }
  template <int A>
  Vec inner(Vec gradient, Vec raw) const {
    Vec value = gradient * factor + addend;
    if constexpr (A != kIdentity) value = value * activate_with_slope<A>(reading.normalised(raw)).slope;
    return value;
  }
};

// Mean and sum of squared deviations by channel, of rows that arrive in chunks (Chan et al. 1979).
struct Statistics {
  double count = 0;
  double* mean;
  double* squares;
  float* chunk;  // 2 x channels
  int channels;

  static std::size_t floats(int channels) { return 6 * static_cast<std::size_t>(round_up(channels, 16)); }
  // In memory that is zero.
  Statistics(float* memory, int channels) : channels(channels) {
    const int padded = round_up(channels, 16);
    mean = reinterpret_cast<double*>(memory);
    squares = mean + padded;
    chunk = memory + 4 * padded;
  }
  // `rows` rows of one vector of channels, `stride` floats apart.
  void measure(const float* x, ptrdiff_t stride, int rows, int channel, int valid) const {
    Vec sums[2] = {};
    int row = 0;
    for (; row + 2 <= rows; row += 2) {
      sums[0] += load(x + row * stride, valid);
      sums[1] += load(x + (row + 1) * stride, valid);
    }
    if (row < rows) sums[0] += load(x + row * stride, valid);
    const Vec centre = (sums[0] + sums[1]) * (1.0f / static_cast<float>(rows));
    Vec squared[2] = {};
    for (row = 0; row + 2 <= rows; row += 2) {
      const Vec first = load(x + row * stride, valid) - centre;
      const Vec second = load(x + (row + 1) * stride, valid) - centre;
      squared[0] += first * first;
      squared[1] += second * second;
    }
    if (row < rows) {
      const Vec last = load(x + row * stride, valid) - centre;
      squared[0] += last * last;
    }
    store(chunk + channel, centre, valid);
    store(chunk + round_up(channels, 16) + channel, squared[0] + squared[1], valid);
  }
  // Takes in what `measure` found for every channel over `rows` rows.
  void merge(int rows) {
    const double total = count + rows, share = rows / total, weight = count * share;
    const float* centres = chunk;
    const float* deviations = chunk + round_up(channels, 16);
    for (int channel = 0; channel < channels; ++channel) {
      const double difference = centres[channel] - mean[channel];
      mean[channel] += difference * share;
      squares[channel] += deviations[channel] + difference * difference * weight;
    }
    count = total;
  }
  void add(const float* x, ptrdiff_t stride, int rows) {
    if (rows == 0) return;
    for (int channel = 0; channel < channels; channel += W)
      measure(x + channel, stride, rows, channel, least(W, channels - channel));
    merge(rows);
  }
  // Results of all parts together, in their order.
  static void finish(const Statistics* parts, int count, int channels, float* mean, float* variance) {
    for (int channel = 0; channel < channels; ++channel) {
      double total = 0, centre = 0, squares = 0;
      for (int part = 0; part < count; ++part) {
        const Statistics& other = parts[part];
        if (other.count == 0) continue;
        const double difference = other.mean[channel] - centre, sum = total + other.count;
        centre += difference * (other.count / sum);
        squares += other.squares[channel] + difference * difference * (total * other.count / sum);
        total = sum;
      }
      mean[channel] = static_cast<float>(centre);
      variance[channel] = static_cast<float>(squares / total);
    }
  }
};

// Sums by image and channel in `planes` planes. The image that another part began is kept apart and added at the end.
struct ImageSums {
  float* memory;
  float* head;
  ptrdiff_t head_image = -1;
  ptrdiff_t plane, head_plane;
  int channels;

  static std::size_t floats(int channels, int planes) { return static_cast<std::size_t>(planes) * channels; }
  ImageSums(float* memory, float* head, Range range, const Rows& rows, int channels)
      : memory(memory), head(head), plane(rows.images * channels), head_plane(channels), channels(channels) {
    if (range.begin < range.end && range.begin % rows.pixels) head_image = range.begin / rows.pixels;
  }
  float* at(ptrdiff_t image) const { return image == head_image ? head : memory + image * channels; }
  ptrdiff_t stride(ptrdiff_t image) const { return image == head_image ? head_plane : plane; }
  void finish(int planes) const {
    if (head_image < 0) return;
    for (int p = 0; p < planes; ++p)
      for (int c = 0; c < channels; ++c)
        memory[p * plane + head_image * channels + c] += head[p * head_plane + c];
  }
};

inline void add_to(float* sum, Vec value, int count) { store(sum, load(sum, count) + value, count); }

// Memory for objects that are made one a part.
template <typename T>
struct PerPart {
  alignas(T) unsigned char memory[sizeof(T) * triscale::kMostThreads];
  T& operator[](int part) { return reinterpret_cast<T*>(memory)[part]; }
  T* data() { return reinterpret_cast<T*>(memory); }
};

}  // namespace
}  // namespace ISA
