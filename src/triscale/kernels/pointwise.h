// 1x1 convolutions as matrix products, with what surrounds them done while rows are in the cache.
#pragma once

#include "rows.h"

namespace ISA {
namespace {

using triscale::Pointwise;

// Tiles of MR rows by NV vectors stay in registers: 32 of them with AVX-512, else 16.
#if defined(__AVX512F__)
constexpr int kRowsOf[4] = {0, 14, 14, 9};
#else
constexpr int kRowsOf[4] = {0, 8, 6, 4};
#endif
constexpr int kSlack = 16;  // rows past the last that a tile may touch

inline int next_vectors(int left) { return left == 1 || left == 3 ? left : 2; }

// body.operator()<vectors>(first vector) over all vectors of a row.
template <typename Body>
inline void column_blocks(int columns, const Body& body) {
  const int vectors = (columns + W - 1) / W;
  for (int first = 0; first < vectors;) {
    const int count = next_vectors(vectors - first);
    if (count == 1) body.template operator()<1>(first);
    if (count == 2) body.template operator()<2>(first);
    if (count == 3) body.template operator()<3>(first);
    first += count;
  }
}

// Matrix (depth, columns), element (k, n) at from[k * row + n * column], to blocks of whole vectors.
inline void pack(const float* from, int depth, int columns, ptrdiff_t row, ptrdiff_t column, float* to) {
  column_blocks(columns, [&]<int NV>(int first) {
    float* block = to + static_cast<ptrdiff_t>(first) * W * depth;
    const int valid = least(NV * W, columns - first * W);
    const float* origin = from + first * W * column;
    for (int k = 0; k < depth; ++k) {
      for (int n = 0; n < valid; ++n) block[k * NV * W + n] = origin[k * row + n * column];
      for (int n = valid; n < NV * W; ++n) block[k * NV * W + n] = 0.0f;
    }
  });
}

inline std::size_t packed_floats(int depth, int columns) {
  return static_cast<std::size_t>(depth) * round_up(columns, W);
}

template <int NV, int MR>
inline void store_tile(const Vec (&sum)[MR][NV], float* to, ptrdiff_t stride, int rows, int columns,
                       const float* addend) {
  if (rows == MR && columns >= NV * W && !addend) {
#pragma GCC unroll 16
    for (int r = 0; r < MR; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) store(to + r * stride + v * W, sum[r][v]);
    return;
  }
#pragma GCC unroll 16
  for (int r = 0; r < MR; ++r) {
    if (r >= rows) break;
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) {
      const int valid = columns - v * W;
      if (valid <= 0) break;
      Vec value = sum[r][v];
      if (addend) value += load(addend + r * stride + v * W, valid);
      store(to + r * stride + v * W, value, valid);
    }
  }
}

// to (rows, columns) = a (rows, depth) b (depth, columns) [+ addend].
template <int NV, int MR>
__attribute__((noinline)) void multiply_tile(int depth, const float* a, ptrdiff_t stride, const float* b, float* to,
                                             ptrdiff_t to_stride, int rows, int columns, const float* addend) {
  Vec sum[MR][NV] = {};
  for (int k = 0; k < depth; ++k) {
    Vec column[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) column[v] = load(b + (k * NV + v) * W);
#pragma GCC unroll 16
    for (int r = 0; r < MR; ++r) {
      const Vec value = splat(a[r * stride + k]);
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) sum[r][v] += value * column[v];
    }
  }
  store_tile<NV, MR>(sum, to, to_stride, rows, columns, addend);
}

// The same over a chunk of rows; `a` may be read up to kSlack rows past the last.
inline void multiply(int rows, int depth, int columns, const float* a, ptrdiff_t stride, const float* packed, float* to,
                     const float* addend) {
  column_blocks(columns, [&]<int NV>(int first) {
    constexpr int MR = kRowsOf[NV];
    const int at = first * W;
    for (int row = 0; row < rows; row += MR)
      multiply_tile<NV, MR>(depth, a + row * stride, stride, packed + static_cast<ptrdiff_t>(at) * depth,
                            to + static_cast<ptrdiff_t>(row) * columns + at, columns, least(MR, rows - row),
                            least(NV * W, columns - at),
                            addend ? addend + static_cast<ptrdiff_t>(row) * columns + at : nullptr);
  });
}

// sum (MR, NV) += g^T x over rows; g's columns are broadcast.
template <int NV, int MR>
__attribute__((noinline)) void outer_tile(int rows, const float* g, ptrdiff_t g_stride, const float* x,
                                          ptrdiff_t x_stride, float* to) {
  Vec sum[MR][NV] = {};
  for (int row = 0; row < rows; ++row) {
    Vec column[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) column[v] = load(x + row * x_stride + v * W);
#pragma GCC unroll 16
    for (int r = 0; r < MR; ++r) {
      const Vec value = splat(g[row * g_stride + r]);
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) sum[r][v] += value * column[v];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < MR; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) {
      float* at = to + r * x_stride + v * W;
      store(at, load(at) + sum[r][v]);
    }
  }
}

// to (outputs + kSlack, padded inputs) += g^T x; g (rows, outputs) may be read kSlack floats past its end.
inline void outer(int rows, int outputs, int inputs, const float* g, const float* x, ptrdiff_t x_stride, float* to) {
  column_blocks(inputs, [&]<int NV>(int first) {
    constexpr int MR = kRowsOf[NV];
    for (int output = 0; output < outputs; output += MR)
      outer_tile<NV, MR>(rows, g + output, outputs, x + first * W, x_stride, to + output * x_stride + first * W);
  });
}

// Rows that stay in a core's second cache together with what is computed from them.
inline int chunk_rows(int width) {
  const int rows = (16 << 10) / width;
  return rows < 28 ? 28 : rows > 252 ? 252 : rows / 14 * 14;
}

template <int A>
inline void read_rows(const Reading& reading, const Rows& rows, Range range, int channels, const float* x, float* to,
                      ptrdiff_t stride) {
  by_image(range, rows.pixels, [&](ptrdiff_t image, ptrdiff_t begin, ptrdiff_t count) {
    const float* from = x + begin * channels;
    float* out = to + (begin - range.begin) * stride;
    row_groups(count, channels, [&](ptrdiff_t row, int height, int c, int valid) {
      const ReadingAt at(reading, image, channels, c, valid);
      for (ptrdiff_t r = row; r < row + height; ++r) {
        const Vec value = activate<A>(at.normalised(load(from + r * channels + c, valid))) * at.factor;
        store(out + r * stride + c, value);
      }
    });
  });
}

inline void copy_rows(ptrdiff_t rows, int channels, const float* x, float* to, ptrdiff_t stride) {
  for (ptrdiff_t r = 0; r < rows; ++r)
    for (int c = 0; c < channels; c += W) store(to + r * stride + c, load(x + r * channels + c, channels - c));
}

void pointwise_forward(const Team& team, const Pointwise& op, const float* x, const Reading& reading,
                       const float* weight, float* out, float* mean, float* variance) {
  const int K = op.inputs, N = op.outputs, stride = round_up(K, W), chunk = chunk_rows(stride + N);
  const std::size_t packed_size = packed_floats(K, N);
  float* packed = team.shared(packed_size + team.parts * Statistics::floats(N));
  pack(weight, K, N, 1, K, packed);
  PerPart<Statistics> statistics;
  parallel(team, [&](int part) {
    const std::size_t rows_floats = static_cast<std::size_t>(chunk + kSlack) * stride;
    float* buffer = team.scratch(rows_floats);
    std::memset(buffer, 0, sizeof(float) * rows_floats);
    Statistics& sums = *new (&statistics[part]) Statistics(packed + packed_size + part * Statistics::floats(N), N);
    const Range range = share(op.rows.total(), part, team.parts);
    for (ptrdiff_t begin = range.begin; begin < range.end; begin += chunk) {
      const int rows = least(chunk, range.end - begin);
      if (reading.mean)
        with_activation(reading.activation, [&]<int A>() {
          read_rows<A>(reading, op.rows, {begin, begin + rows}, K, x, buffer, stride);
        });
      else
        copy_rows(rows, K, x + begin * K, buffer, stride);
      multiply(rows, K, N, buffer, stride, packed, out + begin * N, nullptr);
      sums.add(out + begin * N, N, rows);
    }
  });
  Statistics::finish(statistics.data(), team.parts, N, mean, variance);
}

template <int A>
inline void gradient_rows(const RawGradient& source, const Rows& rows, Range range, int channels, float* to,
                          ptrdiff_t stride) {
  by_image(range, rows.pixels, [&](ptrdiff_t image, ptrdiff_t begin, ptrdiff_t count) {
    const float* from = source.gradient + begin * channels;
    const float* raw = source.raw + begin * channels;
    float* out = to + (begin - range.begin) * stride;
    row_groups(count, channels, [&](ptrdiff_t row, int height, int c, int valid) {
      const GradientAt at(source, image, channels, c, valid);
      for (ptrdiff_t r = row; r < row + height; ++r) {
        const Vec x = load(raw + r * channels + c, valid);
        Vec value = at.template inner<A>(load(from + r * channels + c, valid), x);
        if (source.a) value = at.a * value + at.b * (x - at.reading.mean) + at.d;
        store(out + r * stride + c, value, valid);
      }
    });
  });
}

// The reading's values to `to`, and the five sums of pointwise_backward.
template <int A>
inline void read_and_sum(const Reading& reading, const Rows& rows, Range range, int channels, const float* x,
                         const float* gradient, float* to, ptrdiff_t stride, const ImageSums& sums) {
  by_image(range, rows.pixels, [&](ptrdiff_t image, ptrdiff_t begin, ptrdiff_t count) {
    const float* from = x + begin * channels;
    const float* g = gradient + begin * channels;
    float* out = to + (begin - range.begin) * stride;
    float* total = sums.at(image);
    const ptrdiff_t plane = sums.stride(image);
    row_groups(count, channels, [&](ptrdiff_t row, int height, int c, int valid) {
      const ReadingAt at(reading, image, channels, c, valid);
      Vec gy{}, gs{}, s{}, gsx{}, sx{};
      for (ptrdiff_t r = row; r < row + height; ++r) {
        const Vec centred = load(from + r * channels + c, valid) - at.mean;
        const Vec gradient_here = load(g + r * channels + c, valid);
        const Activated y = activate_with_slope<A>(centred * at.scale + at.beta);
        store(out + r * stride + c, y.value * at.factor);
        const Vec sloped = gradient_here * y.slope;
        gy += gradient_here * y.value;
        gs += sloped;
        s += y.slope;
        gsx += sloped * centred;
        sx += y.slope * centred;
      }
      float* here = total + c;
      add_to(here, gy, valid);
      add_to(here + plane, gs, valid);
      add_to(here + 2 * plane, s, valid);
      add_to(here + 3 * plane, gsx, valid);
      add_to(here + 4 * plane, sx, valid);
    });
  });
}

// out = sum of the parts' matrices (rows, stride), without the padding, in the parts' order.
inline void reduce(const Team& team, const float* matrices, std::size_t size, int rows, int columns, int stride,
                   float* out) {
  parallel(team, [&](int part) {
    const Range range = share(rows, part, team.parts);
    for (ptrdiff_t r = range.begin; r < range.end; ++r)
      for (int c = 0; c < columns; c += W) {
        const int valid = least(W, columns - c);
        Vec sum = load(matrices + r * stride + c, valid);
        for (int other = 1; other < team.parts; ++other) sum += load(matrices + other * size + r * stride + c, valid);
        store(out + r * columns + c, sum, valid);
      }
  });
}

void pointwise_backward(const Team& team, const Pointwise& op, const RawGradient& source, const float* x,
                        const Reading& reading, const float* weight, const float* shortcut, float* x_gradient,
                        float* weight_gradient, float* sums) {
  const int K = op.inputs, N = op.outputs, stride = round_up(K, W), chunk = chunk_rows(stride + N);
  const std::size_t matrix = static_cast<std::size_t>(N + kSlack) * stride;
  const std::size_t head = ImageSums::floats(K, 5);
  const std::size_t packed_size = packed_floats(N, K);
  float* packed = team.shared(packed_size + team.parts * (matrix + head));
  float* matrices = packed + packed_size;
  float* heads = matrices + team.parts * matrix;
  pack(weight, N, K, K, 1, packed);
  PerPart<ImageSums> image_sums;
  parallel(team, [&](int part) {
    const std::size_t x_floats = static_cast<std::size_t>(chunk) * stride;
    const std::size_t g_floats = static_cast<std::size_t>(chunk + kSlack) * N + 64;
    float* rows_of_x = team.scratch(x_floats + g_floats);
    float* rows_of_g = rows_of_x + x_floats;
    std::memset(rows_of_g, 0, sizeof(float) * g_floats);
    const Range range = share(op.rows.total(), part, team.parts);
    const ImageSums& by = *new (&image_sums[part]) ImageSums(sums, heads + part * head, range, op.rows, K);
    for (ptrdiff_t begin = range.begin; begin < range.end; begin += chunk) {
      const int rows = least(chunk, range.end - begin);
      const Range here{begin, begin + rows};
      with_activation(source.reading.activation,
                      [&]<int A>() { gradient_rows<A>(source, op.rows, here, N, rows_of_g, N); });
      multiply(rows, N, K, rows_of_g, N, packed, x_gradient + begin * K, shortcut ? shortcut + begin * K : nullptr);
      if (sums)
        with_activation(reading.activation, [&]<int A>() {
          read_and_sum<A>(reading, op.rows, here, K, x, x_gradient, rows_of_x, stride, by);
        });
      else
        copy_rows(rows, K, x + begin * K, rows_of_x, stride);
      outer(rows, N, K, rows_of_g, rows_of_x, stride, matrices + part * matrix);
    }
  });
  reduce(team, matrices, matrix, N, K, stride, weight_gradient);
  if (sums)
    for (int part = 0; part < team.parts; ++part) image_sums[part].finish(5);
}

}  // namespace
}  // namespace ISA
