// Passes over one map: pooling, normalisation and its gradient.
#pragma once

#include "pointwise.h"

namespace ISA {
namespace {

void pool(const Team& team, const Rows& rows, int channels, const float* x, const Reading& reading, float* sums) {
  const std::size_t head = ImageSums::floats(channels, 1);
  float* heads = team.shared(team.parts * head);
  PerPart<ImageSums> image_sums;
  parallel(team, [&](int part) {
    const Range range = share(rows.total(), part, team.parts);
    const ImageSums& by = *new (&image_sums[part]) ImageSums(sums, heads + part * head, range, rows, channels);
    by_image(range, rows.pixels, [&](ptrdiff_t image, ptrdiff_t begin, ptrdiff_t count) {
      const float* from = x + begin * channels;
      float* total = by.at(image);
      with_activation(reading.activation, [&]<int A>() {
        row_groups(count, channels, [&](ptrdiff_t row, int height, int c, int valid) {
          const ReadingAt at(reading, image, channels, c, valid);
          Vec sum{};
          for (ptrdiff_t r = row; r < row + height; ++r)
            sum += activate<A>(at.normalised(load(from + r * channels + c, valid)));
          add_to(total + c, sum, valid);
        });
      });
    });
  });
  for (int part = 0; part < team.parts; ++part) image_sums[part].finish(1);
}

void statistics(const Team& team, const Rows& rows, int channels, const float* x, float* mean, float* variance) {
  float* memory = team.shared(team.parts * Statistics::floats(channels));
  PerPart<Statistics> parts;
  parallel(team, [&](int part) {
    Statistics& sums = *new (&parts[part]) Statistics(memory + part * Statistics::floats(channels), channels);
    const Range range = share(rows.total(), part, team.parts);
    constexpr int kChunk = 32;
    for (ptrdiff_t begin = range.begin; begin < range.end; begin += kChunk)
      sums.add(x + begin * channels, channels, least(kChunk, range.end - begin));
  });
  Statistics::finish(parts.data(), team.parts, channels, mean, variance);
}

void normalise(const Team& team, const Rows& rows, int channels, const float* x, const Reading& reading,
               const float* image_factor, const float* shortcut, float* out) {
  parallel(team, [&](int part) {
    by_image(share(rows.total(), part, team.parts), rows.pixels, [&](ptrdiff_t image, ptrdiff_t begin, ptrdiff_t count) {
      const ptrdiff_t offset = begin * channels;
      const Vec factor = splat(image_factor ? image_factor[image] : 1.0f);
      with_activation(reading.activation, [&]<int A>() {
        row_groups(count, channels, [&](ptrdiff_t row, int height, int c, int valid) {
          const ReadingAt at(reading, image, channels, c, valid);
          for (ptrdiff_t r = row; r < row + height; ++r) {
            const ptrdiff_t here = offset + r * channels + c;
            Vec value = activate<A>(at.normalised(load(x + here, valid))) * factor;
            if (shortcut) value += load(shortcut + here, valid);
            store(out + here, value, valid);
          }
        });
      });
    });
  });
}

void gradient_sums(const Team& team, const Rows& rows, int channels, const RawGradient& source, float* sums) {
  const std::size_t size = 2 * static_cast<std::size_t>(channels);
  float* memory = team.shared(team.parts * size);
  parallel(team, [&](int part) {
    float* total = memory + part * size;
    by_image(share(rows.total(), part, team.parts), rows.pixels, [&](ptrdiff_t image, ptrdiff_t begin, ptrdiff_t count) {
      const ptrdiff_t offset = begin * channels;
      with_activation(source.reading.activation, [&]<int A>() {
        row_groups(count, channels, [&](ptrdiff_t row, int height, int c, int valid) {
          const GradientAt at(source, image, channels, c, valid);
          Vec sum{}, centred{};
          for (ptrdiff_t r = row; r < row + height; ++r) {
            const ptrdiff_t here = offset + r * channels + c;
            const Vec raw = load(source.raw + here, valid);
            const Vec value = at.template inner<A>(load(source.gradient + here, valid), raw);
            sum += value;
            centred += value * (raw - at.reading.mean);
          }
          add_to(total + c, sum, valid);
          add_to(total + channels + c, centred, valid);
        });
      });
    });
  });
  for (std::size_t i = 0; i < size; ++i) {
    float sum = 0;
    for (int part = 0; part < team.parts; ++part) sum += memory[part * size + i];
    sums[i] = sum;
  }
}

void raw_gradient(const Team& team, const Rows& rows, int channels, const RawGradient& source, float* out) {
  parallel(team, [&](int part) {
    const Range range = share(rows.total(), part, team.parts);
    if (range.begin == range.end) return;
    with_activation(source.reading.activation, [&]<int A>() {
      gradient_rows<A>(source, rows, range, channels, out + range.begin * channels, channels);
    });
  });
}

}  // namespace
}  // namespace ISA
