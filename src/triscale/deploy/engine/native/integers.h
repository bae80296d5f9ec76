// Products of 8-bit or 16-bit integers: inputs rounded pixel by pixel, weights row by row, sums exact, results in float32.
//
// A pixel x becomes q = round((x * balance - low) / scale) in 0..levels, with the low and the scale of that pixel alone, so
// that sum(w * x) = scale * sum(w' * q) + low * sum(w') for the weights w' = w / balance that were rounded beforehand.
// Where a depthwise convolution wrote the integers itself, one range serves all pixels and is part of the weights' scale.
#pragma once

#include "product.h"
#include "rounded.h"

namespace ISA {
namespace {

constexpr std::ptrdiff_t kPixelsAtOnce = 64;  // of a map that are rounded as one item

// Weights of a product: [outputs / 16][inputs / 4][16][4] of 8 bits, or [outputs / 16][inputs / 2][16][2] of 16.
struct RoundedWeights {
  const std::int8_t* values;
  int terms;            // 4 or 2 inputs each, which fill 32 bits
  const float* bias;
  const float* scale;   // of a unit, for each output
  const float* total;   // of the row, for each output
  Bounds bounds;        // of an output
  const float* balance; // for each input

  std::ptrdiff_t block_bytes() const { return std::ptrdiff_t{terms} * 64; }
};

inline bool in_16_bits(const Step& step) { return has(step, triscale::kInt16); }

inline RoundedWeights rounded_weights(const Step& step, const Place& place) {
  const std::ptrdiff_t outputs = std::ptrdiff_t{blocks_of(step.out_channels)} * 16;
  const float* const numbers = place.program->at(step.rounding);
  return {reinterpret_cast<const std::int8_t*>(place.program->weights + step.weights),
          static_cast<int>(triscale::integer_terms(step)),
          place.program->at(step.bias),
          numbers,
          numbers + outputs,
          bounds_of(step.activation),
          numbers + 2 * outputs};
}

constexpr float kOne = 1.0f, kZero = 0.0f;

// Integers whose unit is part of the weights' scale.
inline Rounded with_one_range(std::uint8_t* values, std::ptrdiff_t plane) { return {values, plane, &kOne, &kZero, 0}; }

// The map that a product of integers reads: that of one image, or what is left of every image for the classifier.
struct Source {
  const float* in;
  std::ptrdiff_t pixels, room;  // pixels from one block of channels to the next
};

inline Source source_of(const Step& step, const Place& place) {
  if (step.kind == triscale::Kind::kLinear) return {place.pooled, place.images.count, triscale::kMostImages};
  return {place.arena + step.input, pixels_in(step), pixels_in(step)};
}

// Behind the integers of a map that is rounded pixel by pixel: the scales, then the lows.
inline float* ranges_of(const Step& step, const Place& place, const Source& source) {
  return place.padded + blocks_of(step.in_channels) * source.room * pixel_bytes(in_16_bits(step)) / 4;
}

inline Rounded rounded_pixels(const Step& step, const Place& place) {
  const Source source = source_of(step, place);
  const std::ptrdiff_t plane = source.room * pixel_bytes(in_16_bits(step));
  if (has(step, triscale::kStored))
    return with_one_range(reinterpret_cast<std::uint8_t*>(place.arena + step.input), plane);
  const float* const behind = ranges_of(step, place, source);
  return {reinterpret_cast<std::uint8_t*>(place.padded), plane, behind, behind + source.room, 1};
}

// sum + the four products of bytes in each lane: inputs without a sign, weights with one.
TRISCALE_INLINE IntVec dot4(IntVec sum, IntVec inputs, IntVec weights) {
#if defined(__AVX512VNNI__)
  return reinterpret_cast<IntVec>(_mm512_dpbusd_epi32(reinterpret_cast<__m512i>(sum), reinterpret_cast<__m512i>(inputs),
                                                      reinterpret_cast<__m512i>(weights)));
#else
  unrolled<4>([&](auto i) __attribute__((always_inline)) {
    constexpr int shift = 8 * decltype(i)::value;
    sum += ((inputs >> shift) & 255) * ((weights << (24 - shift)) >> 24);
  });
  return sum;
#endif
}

// sum + the two products of 16-bit integers in each lane.
TRISCALE_INLINE IntVec dot2(IntVec sum, IntVec inputs, IntVec weights) {
#if defined(__AVX512VNNI__)
  return reinterpret_cast<IntVec>(_mm512_dpwssd_epi32(reinterpret_cast<__m512i>(sum), reinterpret_cast<__m512i>(inputs),
                                                      reinterpret_cast<__m512i>(weights)));
#else
  typedef std::uint32_t Wrapping __attribute__((vector_size(W * 4)));  // as the instruction does
  const auto product = [](IntVec a, IntVec b) { return reinterpret_cast<Wrapping>(a) * reinterpret_cast<Wrapping>(b); };
  const IntVec low_input = (inputs << 16) >> 16, low_weight = (weights << 16) >> 16;
  return reinterpret_cast<IntVec>(reinterpret_cast<Wrapping>(sum) + product(low_input, low_weight) +
                                  product(inputs >> 16, weights >> 16));
#endif
}

TRISCALE_INLINE IntVec load_bytes(const void* from) {
  IntVec value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

TRISCALE_INLINE IntVec splat_bytes(const void* from) {
  std::int32_t value;
  std::memcpy(&value, from, sizeof value);
  return IntVec{} + value;
}

// MR pixels, the first one number `pixel`, by NV blocks of outputs.
template <bool Wide, int NV, int MR>
void integer_tile(const Rounded& in, std::ptrdiff_t pixel, const RoundedWeights& weights, int block, float* out,
                  std::ptrdiff_t out_plane) {
  constexpr int kPixel = pixel_bytes(Wide);
  const std::int8_t* weight = weights.values + block * weights.block_bytes();
  const std::ptrdiff_t next_block = weights.block_bytes();
  const std::uint8_t* first = in.values + pixel * kPixel;
  IntVec sum[NV * kSub][MR];
  unrolled<NV * kSub>([&](auto n) __attribute__((always_inline)) {
    unrolled<MR>([&](auto m) __attribute__((always_inline)) { sum[decltype(n)::value][decltype(m)::value] = IntVec{}; });
  });
  for (int rest = weights.terms * 4; rest > 0; rest -= kPixel, first += in.plane) {
    const std::uint8_t* const end = first + (rest < kPixel ? rest : kPixel);
    for (const std::uint8_t* value = first; value != end; value += 4, weight += 64) {
      IntVec factor[NV * kSub];
      unrolled<NV * kSub>([&](auto n) __attribute__((always_inline)) {
        constexpr int v = decltype(n)::value;
        factor[v] = load_bytes(weight + v / kSub * next_block + v % kSub * W * 4);
        if (v % kSub == 0) __builtin_prefetch(weight + v / kSub * next_block + kAhead * 64);
      });
      unrolled<MR>([&](auto m) __attribute__((always_inline)) {
        const IntVec input = splat_bytes(value + decltype(m)::value * kPixel);
        unrolled<NV * kSub>([&](auto n) __attribute__((always_inline)) {
          constexpr int v = decltype(n)::value;
          IntVec& total = sum[v][decltype(m)::value];
          total = Wide ? dot2(total, input, factor[v]) : dot4(total, input, factor[v]);
        });
      });
    }
  }
  unrolled<NV * kSub>([&](auto n) __attribute__((always_inline)) {
    constexpr int v = decltype(n)::value;
    const std::ptrdiff_t output = std::ptrdiff_t{block} * 16 + v * W;
    const Vec bias = load(weights.bias + output), scale = load(weights.scale + output);
    const Vec total = load(weights.total + output);
    unrolled<MR>([&](auto m) __attribute__((always_inline)) {
      const Vec whole = __builtin_convertvector(sum[v][decltype(m)::value], Vec) * scale;
      const std::ptrdiff_t at = (pixel + decltype(m)::value) * in.apart;
      store(out + v / kSub * out_plane + decltype(m)::value * 16 + v % kSub * W,
            weights.bounds.clamp(bias + splat(in.low[at]) * total + splat(in.scale[at]) * whole));
    });
  });
}

using IntegerTile = void (*)(const Rounded& in, std::ptrdiff_t pixel, const RoundedWeights& weights, int block, float* out,
                          std::ptrdiff_t out_plane);

template <bool Wide>
constexpr TileTable<IntegerTile> kIntegerTiles = [] {
  TileTable<IntegerTile> table;
  unrolled<kWidest>([&](auto n) {
    constexpr int width = decltype(n)::value + 1;
    unrolled<kTallest[width - 1]>([&](auto m) {
      table.at[width - 1][decltype(m)::value] = integer_tile<Wide, width, decltype(m)::value + 1>;
    });
  });
  return table;
}();

inline const TileTable<IntegerTile>& integer_tiles(const Step& step) {
  return in_16_bits(step) ? kIntegerTiles<true> : kIntegerTiles<false>;
}

// ---- Rounding of inputs.

// The least lane of each of P vectors, in the first P lanes.
template <int P>
TRISCALE_INLINE Vec least_of_pixels(const Vec (&value)[P]) {
#if defined(__AVX512F__)
  if constexpr (P == 8) {
    // Halves of two vectors become one, and so on, until every lane is of another vector.
    const auto both = [](Vec a, Vec b) __attribute__((always_inline)) {
      return minimum(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
    };
    const auto quarters = [](Vec a, Vec b) __attribute__((always_inline)) {
      return minimum(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
    };
    const Vec a = quarters(both(value[0], value[2]), both(value[4], value[6]));
    const Vec b = quarters(both(value[1], value[3]), both(value[5], value[7]));
    const Vec pairs = minimum(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));  // a, b, a, b in each quarter
    const __m512d wide = _mm512_castps_pd(pairs);
    const Vec whole = minimum(pairs, _mm512_castpd_ps(_mm512_permute_pd(wide, 0x55)));
    return _mm512_maskz_compress_ps(0x3333, whole);
  }
  if constexpr (P == 1) return splat(_mm512_reduce_min_ps(value[0]));
#endif
  Vec result{};
  for (int p = 0; p < P; ++p) {
    result[p] = value[p][0];
    for (int lane = 1; lane < W; ++lane) result[p] = result[p] < value[p][lane] ? result[p] : value[p][lane];
  }
  return result;
}

inline int rounding_items(const Step& step, const Place& place) {
  return static_cast<int>((source_of(step, place).pixels + kPixelsAtOnce - 1) / kPixelsAtOnce);
}

// P pixels side by side from `pixel`, whose blocks lie `plane` floats apart. `factors` are those of
// squeeze-and-excitation, or null.
template <bool Wide, int P>
inline void round_pixels(const float* in, std::ptrdiff_t plane, int blocks, const float* balance, const float* factors,
                         float levels, std::ptrdiff_t pixel, const Rounded& to, float* ranges) {
  constexpr int kPixel = pixel_bytes(Wide);
  const auto balance_of = [&](int channel) __attribute__((always_inline)) {
    return factors ? load(balance + channel) * load(factors + channel) : load(balance + channel);
  };
  Vec low[P] = {}, high[P] = {};
  const float* from = in + pixel * 16;
  for (int channel = 0; channel < blocks * 16; channel += 16, from += plane)
    for (int s = 0; s < 16; s += W) {
      const Vec balanced = balance_of(channel + s);
      unrolled<P>([&](auto p) __attribute__((always_inline)) {
        constexpr int i = decltype(p)::value;
        const Vec now = load(from + i * 16 + s) * balanced;
        low[i] = minimum(low[i], now);
        high[i] = maximum(high[i], now);
      });
    }
  // One lane a pixel: divisions are slow.
  unrolled<P>([&](auto p) __attribute__((always_inline)) { high[decltype(p)::value] = -high[decltype(p)::value]; });
  const Vec lows = least_of_pixels<P>(low), range = -least_of_pixels<P>(high) - lows;
  const Vec one = splat(1.0f), unit = range > 1e-30f ? range / levels : one, inverse = one / unit;
  const Vec shift = -lows * inverse;
  std::memcpy(ranges + pixel, &unit, P * sizeof(float));
  std::memcpy(ranges + plane / 16 + pixel, &lows, P * sizeof(float));
  from = in + pixel * 16;
  std::uint8_t* bytes = to.values + pixel * kPixel;
  for (int channel = 0; channel < blocks * 16; channel += 16, from += plane, bytes += to.plane)
    for (int s = 0; s < 16; s += W) {
      const Vec balanced = balance_of(channel + s);
      unrolled<P>([&](auto p) __attribute__((always_inline)) {
        constexpr int i = decltype(p)::value;
        store_rounded<Wide>(bytes + i * kPixel + s * (kPixel / 16),
                            load(from + i * 16 + s) * balanced * splat(inverse[i]) + splat(shift[i]));
      });
    }
}

template <bool Wide>
inline void round_item(const Step& step, int item, const Place& place) {
  constexpr int kTogether = 8 / kSub;
  const Rounded to = rounded_pixels(step, place);
  const float* const balance = rounded_weights(step, place).balance;
  const float* const factors = has(step, triscale::kScaled) ? place.factors : nullptr;
  const Source source = source_of(step, place);
  const float* const in = source.in;
  const std::ptrdiff_t plane = source.room * 16, first = item * kPixelsAtOnce, rest = source.pixels - first;
  const std::ptrdiff_t end = first + (rest < kPixelsAtOnce ? rest : kPixelsAtOnce);
  const int blocks = blocks_of(step.in_channels);
  const float levels = static_cast<float>(step.levels);
  float* const ranges = ranges_of(step, place, source);
  std::ptrdiff_t pixel = first;
  for (; pixel + kTogether <= end; pixel += kTogether)
    round_pixels<Wide, kTogether>(in, plane, blocks, balance, factors, levels, pixel, to, ranges);
  for (; pixel < end; ++pixel) round_pixels<Wide, 1>(in, plane, blocks, balance, factors, levels, pixel, to, ranges);
}

inline void rounding_work(const Step& step, int item, const Place& place) {
  return in_16_bits(step) ? round_item<true>(step, item, place) : round_item<false>(step, item, place);
}

inline void integer_item(const Step& step, const Cut& cut, int item, const Rounded& in, const Place& place,
                         Destination destination) {
  const RoundedWeights weights = rounded_weights(step, place);
  const TileTable<IntegerTile>& tiles = integer_tiles(step);
  destination.how.activation = beyond_bounds(step.activation);
  product_tiles(cut, item, destination, [&](int block, int blocks, std::ptrdiff_t pixel, int count) {
    tiles.at[blocks - 1][count - 1](in, pixel, weights, block,
                                    destination.out + block * destination.plane + pixel * 16, destination.plane);
  });
}

// A 1x1 convolution or the classifier.
inline void integer_work(const Step& step, int item, const Place& place) {
  const bool linear = step.kind == triscale::Kind::kLinear;
  integer_item(step, linear ? linear_cut(step, place) : conv_cut(step, place.threads), item, rounded_pixels(step, place),
               place, linear ? linear_destination(step, place) : conv_destination(step, place));
}

}  // namespace
}  // namespace ISA
