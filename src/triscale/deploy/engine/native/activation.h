// Activations, sums with a residual and sums over pixels, in one pass over values that are still in the cache.
#pragma once

#include "tile.h"

namespace ISA {
namespace {

// x * sigmoid(x) for U vectors at a time, whose steps interleave. Off by at most 3e-6 of the value.
template <int U>
TRISCALE_INLINE void silu(Vec (&x)[U]) {
#if defined(__AVX512F__)
  // 2^f on 0..1 by the polynomial of degree 4 with the least relative error; reduce and scalef split and join the exponent.
  Vec t[U], p[U];
  unrolled<U>([&](auto i) __attribute__((always_inline)) {
    constexpr int u = decltype(i)::value;
    t[u] = x[u] * splat(-1.44269504f);
    const Vec f = _mm512_reduce_ps(t[u], 0x09);  // t - floor(t)
    p[u] = splat(0.0135341679f) * f + splat(0.0520114606f);
    p[u] = p[u] * f + splat(0.241442757f);
    p[u] = p[u] * f + splat(0.693003834f);
    p[u] = p[u] * f + splat(1.00000259f);
    p[u] = splat(1.0f) + static_cast<Vec>(_mm512_scalef_ps(p[u], t[u]));  // 2^floor(t) * p
  });
  unrolled<U>([&](auto i) __attribute__((always_inline)) { x[decltype(i)::value] /= p[decltype(i)::value]; });
#else
  unrolled<U>([&](auto i) __attribute__((always_inline)) {
    x[decltype(i)::value] = activate<kSilu>(x[decltype(i)::value]);
  });
#endif
}

template <int A, int U>
TRISCALE_INLINE void activate_all(Vec (&x)[U]) {
  if constexpr (A == kSilu) return silu<U>(x);
  unrolled<U>([&](auto i) __attribute__((always_inline)) {
    x[decltype(i)::value] = activate<A>(x[decltype(i)::value]);
  });
}

// Where an activation cuts values off; it does nothing else, unless it is SiLU.
struct Bounds {
  float least = -__builtin_inff();
  float most = __builtin_inff();

  TRISCALE_INLINE Vec clamp(Vec x) const { return minimum(splat(most), maximum(splat(least), x)); }  // keeps NaN
};

inline Bounds bounds_of(std::uint32_t activation) {
  if (activation == kRelu) return {0.0f};
  if (activation == kRelu6) return {0.0f, 6.0f};
  return {};
}

// What is left of an activation behind its bounds.
inline int beyond_bounds(std::uint32_t activation) { return activation == kSilu ? kSilu : kIdentity; }

// What follows the sums of a product: after(activation(x) + residual).
struct Finish {
  int activation = 0;
  int after = 0;
  bool none() const { return activation == kIdentity && after == kIdentity; }
};

// `count` pixels of one block from `in` to `to`, which may be `in`; `residual` and `sums` (16 floats, added to) may be null.
template <int A, bool Residual, bool Sums>
inline void finish_run(const float* in, float* to, int count, const float* residual, int after, float* sums) {
  Vec total[kSub];
  if constexpr (Sums)
    unrolled<kSub>([&](auto s) __attribute__((always_inline)) {
      total[decltype(s)::value] = load(sums + decltype(s)::value * W);
    });
  const auto some = [&](auto pixels) __attribute__((always_inline)) {
    constexpr int U = decltype(pixels)::value * kSub;
    Vec x[U];
    unrolled<U>([&](auto i) __attribute__((always_inline)) {
      x[decltype(i)::value] = load(in + decltype(i)::value * W);
    });
    activate_all<A>(x);
    if constexpr (Residual) {
      unrolled<U>([&](auto i) __attribute__((always_inline)) {
        x[decltype(i)::value] += load(residual + decltype(i)::value * W);
      });
      if (after != kIdentity)
        with_activation(after, [&]<int B>() __attribute__((always_inline)) { activate_all<B>(x); });
      residual += U * W;
    }
    unrolled<U>([&](auto i) __attribute__((always_inline)) {
      constexpr int u = decltype(i)::value;
      if constexpr (Sums) total[u % kSub] += x[u];
      store(to + u * W, x[u]);
    });
    in += U * W;
    to += U * W;
  };
  constexpr int kAtOnce = 8 / kSub;
  for (; count >= kAtOnce; count -= kAtOnce) some(Constant<kAtOnce>{});
  for (; count > 0; --count) some(Constant<1>{});
  if constexpr (Sums)
    unrolled<kSub>([&](auto s) __attribute__((always_inline)) {
      store(sums + decltype(s)::value * W, total[decltype(s)::value]);
    });
}

inline void finish(Finish how, const float* in, float* to, int count, const float* residual, float* sums) {
  with_activation(how.activation, [&]<int A>() {
    if (residual) return finish_run<A, true, false>(in, to, count, residual, how.after, nullptr);
    if (sums) return finish_run<A, false, true>(in, to, count, nullptr, 0, sums);
    finish_run<A, false, false>(in, to, count, nullptr, 0, nullptr);
  });
}

}  // namespace
}  // namespace ISA
