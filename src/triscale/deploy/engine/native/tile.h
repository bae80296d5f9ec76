// A tile of a product in registers: MR pixels by NV blocks of 16 outputs.
#pragma once

#include <cstddef>

#include "vector.h"

#define TRISCALE_INLINE __attribute__((always_inline)) inline

namespace ISA {
namespace {

constexpr int kSub = 16 / W;   // vectors in a block of 16 channels
constexpr int kAhead = 32;      // terms: how far ahead of their use weights are fetched

#if defined(__AVX512F__)
constexpr int kWidest = 4;                        // blocks of outputs in a tile
constexpr int kTallest[kWidest] = {28, 14, 9, 6};  // pixels in a tile of 1, 2, 3 and 4 blocks: what 32 registers hold
constexpr int kTallestApart[kWidest] = {9, 9, 9, 6};  // where every pixel takes an address register
#elif defined(__AVX2__)
constexpr int kWidest = 1;
constexpr int kTallest[kWidest] = {6};
constexpr int kTallestApart[kWidest] = {6};
#else
constexpr int kWidest = 1;
constexpr int kTallest[kWidest] = {3};
constexpr int kTallestApart[kWidest] = {3};
#endif

template <int I>
struct Constant {
  static constexpr int value = I;
};
template <int... I>
struct Indices {};
template <int N, int... I>
struct Counted : Counted<N - 1, N - 1, I...> {};
template <int... I>
struct Counted<0, I...> {
  using type = Indices<I...>;
};

// Calls body(Constant<0>), ... body(Constant<N - 1>): unrolled by name, since GCC keeps arrays in registers only then.
template <int N, typename Body>
TRISCALE_INLINE constexpr void unrolled(const Body& body) {
  const auto all = [&]<int... I>(Indices<I...>) __attribute__((always_inline)) { (body(Constant<I>{}), ...); };
  all(typename Counted<N>::type{});
}

// One term of the inner sum for all MR x NV vectors.
template <int NV, int MR, typename Input>
TRISCALE_INLINE void add_term(Vec (&sum)[NV * kSub][MR], const float* weights, std::ptrdiff_t next_block,
                              const Input& input) {
  Vec weight[NV * kSub];
  unrolled<NV * kSub>([&](auto n) __attribute__((always_inline)) {
    constexpr int v = decltype(n)::value;
    weight[v] = load(weights + v / kSub * next_block + v % kSub * W);
    if (v % kSub == 0) __builtin_prefetch(weights + v / kSub * next_block + kAhead * 16);
  });
  unrolled<MR>([&](auto m) __attribute__((always_inline)) {
    const Vec value = splat(input(m));
    unrolled<NV * kSub>([&](auto n) __attribute__((always_inline)) {
      sum[decltype(n)::value][decltype(m)::value] += value * weight[decltype(n)::value];
    });
  });
}

template <int NV, int MR>
TRISCALE_INLINE void begin_sums(Vec (&sum)[NV * kSub][MR], const float* bias) {
  unrolled<NV * kSub>([&](auto n) __attribute__((always_inline)) {
    const Vec start = load(bias + decltype(n)::value * W);
    unrolled<MR>([&](auto m) __attribute__((always_inline)) { sum[decltype(n)::value][decltype(m)::value] = start; });
  });
}

template <int NV, int MR>
TRISCALE_INLINE void store_sums(const Vec (&sum)[NV * kSub][MR], float* out, std::ptrdiff_t out_plane) {
  unrolled<NV * kSub>([&](auto n) __attribute__((always_inline)) {
    constexpr int v = decltype(n)::value;
    unrolled<MR>([&](auto m) __attribute__((always_inline)) {
      store(out + v / kSub * out_plane + decltype(m)::value * 16 + v % kSub * W, sum[v][decltype(m)::value]);
    });
  });
}

// out[block][m] = bias + sum over `inner` inputs of in[input / 16][m][input % 16] * weights[block][input].
// The pixels lie side by side; `in_plane` and `out_plane` are floats from one block of channels to the next.
template <int NV, int MR>
void tile(const float* in, std::ptrdiff_t in_plane, int inner, const float* weights, const float* bias, float* out,
          std::ptrdiff_t out_plane) {
  const std::ptrdiff_t next_block = std::ptrdiff_t{inner} * 16;
  Vec sum[NV * kSub][MR];
  begin_sums<NV, MR>(sum, bias);
  for (; inner > 0; inner -= 16, in += in_plane) {
    const int count = inner < 16 ? inner : 16;
    const float* const end = in + count;
    for (const float* value = in; value != end; ++value, weights += 16)
      add_term<NV, MR>(sum, weights, next_block,
                       [&](auto m) __attribute__((always_inline)) { return value[decltype(m)::value * 16]; });
  }
  store_sums<NV, MR>(sum, out, out_plane);
}

// The same over the taps of a kernel, for pixels anywhere: `pixels` points at each one's first tap, `taps` says how many
// floats farther the others lie.
template <int NV, int MR>
void tile_of_taps(const float* const* pixels, std::ptrdiff_t in_plane, int channels, const std::ptrdiff_t* taps,
                  int tap_count, const float* weights, const float* bias, float* out, std::ptrdiff_t out_plane) {
  const std::ptrdiff_t next_block = std::ptrdiff_t{channels} * tap_count * 16;
  Vec sum[NV * kSub][MR];
  begin_sums<NV, MR>(sum, bias);
  const float* base[MR];
  unrolled<MR>([&](auto m) __attribute__((always_inline)) { base[decltype(m)::value] = pixels[decltype(m)::value]; });
  std::ptrdiff_t plane = 0;
  for (; channels > 0; channels -= 16, plane += in_plane) {
    const int count = channels < 16 ? channels : 16;
    for (int tap = 0; tap < tap_count; ++tap) {
      const std::ptrdiff_t begin = plane + taps[tap], end = begin + count;
      for (std::ptrdiff_t at = begin; at != end; ++at, weights += 16)
        add_term<NV, MR>(sum, weights, next_block,
                         [&](auto m) __attribute__((always_inline)) { return base[decltype(m)::value][at]; });
    }
  }
  store_sums<NV, MR>(sum, out, out_plane);
}

using Tile = void (*)(const float* in, std::ptrdiff_t in_plane, int inner, const float* weights, const float* bias,
                      float* out, std::ptrdiff_t out_plane);
using TileOfTaps = void (*)(const float* const* pixels, std::ptrdiff_t in_plane, int channels,
                            const std::ptrdiff_t* taps, int tap_count, const float* weights, const float* bias,
                            float* out, std::ptrdiff_t out_plane);

constexpr int kMostPixels = kTallest[0];

template <typename Function>
struct TileTable {
  Function at[kWidest][kMostPixels] = {};  // [blocks - 1][pixels - 1]
};

constexpr TileTable<Tile> kTiles = [] {
  TileTable<Tile> table;
  unrolled<kWidest>([&](auto n) {
    constexpr int width = decltype(n)::value + 1;
    unrolled<kTallest[width - 1]>([&](auto m) {
      table.at[width - 1][decltype(m)::value] = tile<width, decltype(m)::value + 1>;
    });
  });
  return table;
}();

constexpr TileTable<TileOfTaps> kTilesOfTaps = [] {
  TileTable<TileOfTaps> table;
  unrolled<kWidest>([&](auto n) {
    constexpr int width = decltype(n)::value + 1;
    unrolled<kTallestApart[width - 1]>([&](auto m) {
      table.at[width - 1][decltype(m)::value] = tile_of_taps<width, decltype(m)::value + 1>;
    });
  });
  return table;
}();

// Cycles, about, that tiles of `width` blocks take for one term of `pixels` pixels by `blocks` blocks.
inline double tile_cost(const int* tallest, int width, int pixels, int blocks) {
  const int tiles = (pixels + tallest[width - 1] - 1) / tallest[width - 1];
  const auto term = [&](int blocks_now) {
    // Products, unless loads or, where few sums are in flight, their latency take longer.
    const double rows = static_cast<double>(pixels) / tiles, products = rows * blocks_now * kSub;
    const double loads = rows * 0.5 + blocks_now * kSub;
    return tiles * (products > loads ? (products > 8 ? products : 8) : (loads > 8 ? loads : 8));
  };
  const int rest = blocks % width;
  return blocks / width * term(width) + (rest ? term(rest) : 0.0);
}

// Blocks of outputs that a tile takes: the cheapest width.
inline int tile_width(const int* tallest, std::ptrdiff_t pixels, int blocks) {
  const int count = pixels < 4096 ? static_cast<int>(pixels) : 4096;
  int best = 1;
  for (int width = 2; width <= kWidest && width <= blocks; ++width)
    if (tile_cost(tallest, width, count, blocks) < tile_cost(tallest, best, count, blocks)) best = width;
  return best;
}

// Nearly equal parts of `total`. Divides once: in a loop over rows of a few tiles, divisions are what takes the time.
struct Parts {
  std::ptrdiff_t size, rest;

  Parts(std::ptrdiff_t total, std::ptrdiff_t parts) : size(total / parts), rest(total % parts) {}
  std::ptrdiff_t begin(std::ptrdiff_t number) const { return size * number + (number < rest ? number : rest); }
  std::ptrdiff_t length(std::ptrdiff_t number) const { return size + (number < rest); }
};

inline std::ptrdiff_t part_begin(std::ptrdiff_t total, std::ptrdiff_t parts, std::ptrdiff_t number) {
  return Parts(total, parts).begin(number);
}

}  // namespace
}  // namespace ISA
