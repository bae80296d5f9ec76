// Depthwise convolutions over a ring of rows that stay in the second cache, in blocks of W channels.
#pragma once

#include "rows.h"

namespace ISA {
namespace {

using triscale::Window;

// Weights (channels, taps) to (blocks, taps, W), zero past the last channel.
inline void block_weights(const float* weight, int channels, int taps, float* to) {
  for (int c = 0; c < round_up(channels, W); ++c)
    for (int t = 0; t < taps; ++t)
      to[(c / W * taps + t) * W + c % W] = c < channels ? weight[c * taps + t] : 0.0f;
}

// Rows of one image in blocks: slot, block, column, lane. Columns outside the image are zero and stay so.
struct Ring {
  float* memory;
  int slots, blocks, columns;
  static std::size_t floats(int slots, int blocks, int columns) {
    return static_cast<std::size_t>(slots) * blocks * columns * W;
  }
  float* row(ptrdiff_t index, int block) const {
    return memory + (static_cast<ptrdiff_t>(index % slots) * blocks + block) * columns * W;
  }
};

// TX outputs of one row and block.
template <int KERNEL, int STRIDE, int TX>
inline void filter(const float* const* rows, const float* weights, int x, Vec (&sum)[TX]) {
#pragma GCC unroll 8
  for (int t = 0; t < TX; ++t) sum[t] = Vec{};
  for (int ky = 0; ky < KERNEL; ++ky) {
    if (!rows[ky]) continue;
    const float* from = rows[ky] + x * STRIDE * W;
    const float* w = weights + ky * KERNEL * W;
#pragma GCC unroll 8
    for (int kx = 0; kx < KERNEL; ++kx) {
      const Vec tap = load(w + kx * W);
#pragma GCC unroll 8
      for (int t = 0; t < TX; ++t) sum[t] += tap * load(from + (t * STRIDE + kx) * W);
    }
  }
}

template <int KERNEL, int STRIDE>
__attribute__((noinline)) void filter_row(const float* const* rows, const float* weights, int width, float* to) {
  constexpr int TX = 7;
  int x = 0;
  for (; x + TX <= width; x += TX) {
    Vec sum[TX];
    filter<KERNEL, STRIDE, TX>(rows, weights, x, sum);
#pragma GCC unroll 8
    for (int t = 0; t < TX; ++t) store(to + (x + t) * W, sum[t]);
  }
  for (; x < width; ++x) {
    Vec sum[1];
    filter<KERNEL, STRIDE, 1>(rows, weights, x, sum);
    store(to + x * W, sum[0]);
  }
}

template <int A>
inline void read_row(const Window& op, const Reading& reading, ptrdiff_t image, ptrdiff_t y, const float* x,
                     const Ring& ring) {
  const int channels = static_cast<int>(op.channels);
  const float* from = x + (image * op.height + y) * op.width * channels;
  row_groups(op.width, channels, [&](ptrdiff_t column, int count, int c, int valid) {
    const ReadingAt at(reading, image, channels, c, valid);
    float* to = ring.row(y, c / W) + op.pad_left * W;
    for (ptrdiff_t i = column; i < column + count; ++i) {
      Vec value = load(from + i * channels + c, valid);
      if (reading.mean) value = activate<A>(at.normalised(value)) * at.factor;
      store(to + i * W, value);
    }
  });
}

template <int KERNEL, int STRIDE>
void depthwise_forward_of(const Team& team, const Window& op, const float* x, const Reading& reading,
                          const float* weight, float* out, float* mean, float* variance) {
  const int channels = static_cast<int>(op.channels), blocks = (channels + W - 1) / W;
  const int out_width = static_cast<int>(op.out_width);
  const int columns = static_cast<int>(larger((out_width - 1) * STRIDE + KERNEL, op.width + op.pad_left));
  const std::size_t weight_floats = static_cast<std::size_t>(blocks) * W * KERNEL * KERNEL;
  float* weights = team.shared(weight_floats + team.parts * Statistics::floats(channels));
  block_weights(weight, channels, KERNEL * KERNEL, weights);
  PerPart<Statistics> statistics;
  parallel(team, [&](int part) {
    const std::size_t ring_floats = Ring::floats(KERNEL, blocks, columns);
    const std::size_t row_floats = static_cast<std::size_t>(out_width) * W;
    float* memory = team.scratch(ring_floats + row_floats);
    std::memset(memory, 0, sizeof(float) * ring_floats);
    const Ring ring{memory, KERNEL, blocks, columns};
    float* result = memory + ring_floats;
    float* own = weights + weight_floats + part * Statistics::floats(channels);
    Statistics& sums = *new (&statistics[part]) Statistics(own, channels);
    const Range range = share(op.images * op.out_height, part, team.parts);
    ptrdiff_t ready = 0;  // rows of this image that have been read
    for (ptrdiff_t index = range.begin; index < range.end; ++index) {
      const ptrdiff_t image = index / op.out_height, y = index % op.out_height;
      const ptrdiff_t first = y * STRIDE - op.pad_top, last = smaller(first + KERNEL, op.height);
      if (index == range.begin || y == 0) ready = larger(first, 0);
      for (; ready < last; ++ready)
        with_activation(reading.activation, [&]<int A>() { read_row<A>(op, reading, image, ready, x, ring); });
      float* to = out + index * out_width * channels;
      for (int block = 0; block < blocks; ++block) {
        const float* rows[KERNEL];
        for (int ky = 0; ky < KERNEL; ++ky)
          rows[ky] = first + ky < 0 || first + ky >= op.height ? nullptr : ring.row(first + ky, block);
        filter_row<KERNEL, STRIDE>(rows, weights + block * KERNEL * KERNEL * W, out_width, result);
        const int c = block * W, valid = least(W, channels - c);
        for (int i = 0; i < out_width; ++i) store(to + i * channels + c, load(result + i * W), valid);
        sums.measure(result, W, out_width, c, valid);
      }
      sums.merge(out_width);
    }
  });
  Statistics::finish(statistics.data(), team.parts, channels, mean, variance);
}

// The gradient of output row y, spread out by the stride: column x * stride + (kernel - 1 - pad_left).
template <int A>
inline void gradient_row(const Window& op, const RawGradient& source, ptrdiff_t image, ptrdiff_t y, const Ring& ring) {
  const int channels = static_cast<int>(op.channels);
  const ptrdiff_t offset = (image * op.out_height + y) * op.out_width * channels;
  row_groups(op.out_width, channels, [&](ptrdiff_t column, int count, int c, int valid) {
    const GradientAt at(source, image, channels, c, valid);
    float* to = ring.row(y, c / W) + (op.kernel - 1 - op.pad_left) * W;
    for (ptrdiff_t i = column; i < column + count; ++i) {
      const ptrdiff_t here = offset + i * channels + c;
      const Vec raw = load(source.raw + here, valid);
      Vec value = at.template inner<A>(load(source.gradient + here, valid), raw);
      if (source.a) value = at.a * value + at.b * (raw - at.reading.mean) + at.d;
      store(to + i * op.stride * W, value);
    }
  });
}

// The row's values and slopes in blocks (block, column, lane).
template <int A>
inline void read_row_with_slopes(const Window& op, const Reading& reading, ptrdiff_t image, ptrdiff_t y, const float* x,
                                 float* values, float* slopes) {
  const int channels = static_cast<int>(op.channels);
  const float* from = x + (image * op.height + y) * op.width * channels;
  row_groups(op.width, channels, [&](ptrdiff_t column, int count, int c, int valid) {
    const ReadingAt at(reading, image, channels, c, valid);
    const ptrdiff_t block = c / W * op.width * W;
    for (ptrdiff_t i = column; i < column + count; ++i) {
      const Activated y = activate_with_slope<A>(at.normalised(load(from + i * channels + c, valid)));
      store(values + block + i * W, y.value);
      store(slopes + block + i * W, y.slope);
    }
  });
}

// For one row of x, one block and one kernel row: sum += weights * g, products += x * g.
template <int KERNEL, int TX>
inline void backward_tile(const float* x, const float* g, const Vec (&weights)[KERNEL], float* sum,
                          Vec (&products)[KERNEL]) {
  Vec gradient[TX + KERNEL - 1], total[TX];
#pragma GCC unroll 16
  for (int i = 0; i < TX + KERNEL - 1; ++i) gradient[i] = load(g + i * W);
#pragma GCC unroll 8
  for (int t = 0; t < TX; ++t) total[t] = load(sum + t * W);
#pragma GCC unroll 8
  for (int t = 0; t < TX; ++t) {
    const Vec value = load(x + t * W);
#pragma GCC unroll 8
    for (int kx = 0; kx < KERNEL; ++kx) {
      const Vec here = gradient[t + KERNEL - 1 - kx];
      total[t] += weights[kx] * here;
      products[kx] += value * here;
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < TX; ++t) store(sum + t * W, total[t]);
}

template <int KERNEL>
__attribute__((noinline)) void backward_row(const float* x, const float* g, const float* weights, int width, float* sum,
                                            float* weight_gradient) {
  constexpr int TX = W == 16 ? 4 : 2;
  Vec w[KERNEL], products[KERNEL];
#pragma GCC unroll 8
  for (int kx = 0; kx < KERNEL; ++kx) {
    w[kx] = load(weights + kx * W);
    products[kx] = load(weight_gradient + kx * W);
  }
  int i = 0;
  for (; i + TX <= width; i += TX) backward_tile<KERNEL, TX>(x + i * W, g + i * W, w, sum + i * W, products);
  for (; i < width; ++i) backward_tile<KERNEL, 1>(x + i * W, g + i * W, w, sum + i * W, products);
#pragma GCC unroll 8
  for (int kx = 0; kx < KERNEL; ++kx) store(weight_gradient + kx * W, products[kx]);
}

template <int KERNEL>
void depthwise_backward_of(const Team& team, const Window& op, const RawGradient& source, const float* x,
                           const Reading& reading, const float* weight, const float* shortcut, float* x_gradient,
                           float* weight_gradient, float* sums) {
  const int channels = static_cast<int>(op.channels), blocks = (channels + W - 1) / W;
  const int width = static_cast<int>(op.width), taps = KERNEL * KERNEL, columns = width + KERNEL - 1;
  const std::size_t weight_floats = static_cast<std::size_t>(blocks) * taps * W;
  const std::size_t sum_floats = 2 * static_cast<std::size_t>(blocks) * W;
  float* weights = team.shared(weight_floats + team.parts * (weight_floats + sum_floats));
  float* gradients = weights + weight_floats;
  float* part_sums = gradients + team.parts * weight_floats;
  block_weights(weight, channels, taps, weights);
  parallel(team, [&](int part) {
    const std::size_t ring_floats = Ring::floats(KERNEL, blocks, columns);
    const std::size_t row_floats = static_cast<std::size_t>(blocks) * width * W;
    float* memory = team.scratch(ring_floats + 2 * row_floats + static_cast<std::size_t>(width) * W);
    std::memset(memory, 0, sizeof(float) * ring_floats);
    const Ring ring{memory, KERNEL, blocks, columns};
    float* values = memory + ring_floats;
    float* slopes = values + row_floats;
    float* total = slopes + row_floats;
    float* products = gradients + part * weight_floats;
    float* first_sum = part_sums + part * sum_floats;
    float* second_sum = first_sum + blocks * W;
    const Range range = share(op.images * op.height, part, team.parts);
    ptrdiff_t ready = 0;
    for (ptrdiff_t index = range.begin; index < range.end; ++index) {
      const ptrdiff_t image = index / op.height, y = index % op.height;
      // Output rows whose window holds row y: out * stride - pad_top <= y <= out * stride - pad_top + kernel - 1.
      const ptrdiff_t reach = y + op.pad_top - (KERNEL - 1);
      const ptrdiff_t first = reach <= 0 ? 0 : (reach + op.stride - 1) / op.stride;
      const ptrdiff_t end = smaller((y + op.pad_top) / op.stride + 1, op.out_height);
      if (index == range.begin || y == 0) ready = first;
      for (; ready < end; ++ready)
        with_activation(source.reading.activation, [&]<int A>() { gradient_row<A>(op, source, image, ready, ring); });
      with_activation(reading.activation,
                      [&]<int A>() { read_row_with_slopes<A>(op, reading, image, y, x, values, slopes); });
      const ptrdiff_t offset = index * width * channels;
      for (int block = 0; block < blocks; ++block) {
        const int c = block * W, valid = least(W, channels - c);
        const ptrdiff_t in_block = static_cast<ptrdiff_t>(block) * width * W;
        std::memset(total, 0, sizeof(float) * width * W);
        for (ptrdiff_t out = first; out < end; ++out) {
          const ptrdiff_t tap = (block * KERNEL + (y + op.pad_top - out * op.stride)) * KERNEL * W;
          backward_row<KERNEL>(values + in_block, ring.row(out, block), weights + tap, width, total, products + tap);
        }
        if (!sums) {
          for (int i = 0; i < width; ++i) {
            const ptrdiff_t here = offset + static_cast<ptrdiff_t>(i) * channels + c;
            Vec value = load(total + i * W);
            if (shortcut) value += load(shortcut + here, valid);
            store(x_gradient + here, value, valid);
          }
          continue;
        }
        const Vec mean = load(reading.mean + c, valid);
        Vec sum{}, centred{};
        for (int i = 0; i < width; ++i) {
          const ptrdiff_t here = offset + static_cast<ptrdiff_t>(i) * channels + c;
          const Vec value = load(total + i * W) * load(slopes + in_block + i * W);
          sum += value;
          centred += value * (load(x + here, valid) - mean);
          store(x_gradient + here, value, valid);
        }
        store(first_sum + c, load(first_sum + c) + sum);
        store(second_sum + c, load(second_sum + c) + centred);
      }
    }
  });
  for (int c = 0; c < channels; ++c) {
    for (int t = 0; t < taps; ++t) {
      float sum = 0;
      for (int part = 0; part < team.parts; ++part)
        sum += gradients[part * weight_floats + (c / W * taps + t) * W + c % W];
      weight_gradient[c * taps + t] = sum;
    }
    if (!sums) continue;
    for (int which = 0; which < 2; ++which) {
      float sum = 0;
      for (int part = 0; part < team.parts; ++part) sum += part_sums[part * sum_floats + which * blocks * W + c];
      sums[which * channels + c] = sum;
    }
  }
}

void depthwise_forward(const Team& team, const Window& op, const float* x, const Reading& reading, const float* weight,
                       float* out, float* mean, float* variance) {
  const auto run = [&]<int KERNEL>() {
    if (op.stride == 1) return depthwise_forward_of<KERNEL, 1>(team, op, x, reading, weight, out, mean, variance);
    return depthwise_forward_of<KERNEL, 2>(team, op, x, reading, weight, out, mean, variance);
  };
  if (op.kernel == 3) return run.template operator()<3>();
  if (op.kernel == 5) return run.template operator()<5>();
  run.template operator()<7>();
}

void depthwise_backward(const Team& team, const Window& op, const RawGradient& source, const float* x,
                        const Reading& reading, const float* weight, const float* shortcut, float* x_gradient,
                        float* weight_gradient, float* sums) {
  const auto run = [&]<int KERNEL>() {
    depthwise_backward_of<KERNEL>(team, op, source, x, reading, weight, shortcut, x_gradient, weight_gradient, sums);
  };
  if (op.kernel == 3) return run.template operator()<3>();
  if (op.kernel == 5) return run.template operator()<5>();
  run.template operator()<7>();
}

}  // namespace
}  // namespace ISA
