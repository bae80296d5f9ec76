// Vectors of as many floats as the instruction set of this translation unit holds.
//
// Every file that includes this is compiled once for each instruction set, with ISA naming the namespace. Nothing here
// or there may come from a standard template: the linker would keep one copy of it, perhaps one that this machine
// cannot run.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace ISA {
namespace {

#if defined(__AVX512F__)
constexpr int W = 16;
#elif defined(__AVX2__)
constexpr int W = 8;
#else
constexpr int W = 4;
#endif

typedef float Vec __attribute__((vector_size(W * 4)));
typedef std::int32_t IntVec __attribute__((vector_size(W * 4)));
typedef float Unaligned __attribute__((vector_size(W * 4), aligned(4), may_alias));

inline Vec load(const float* from) { return *reinterpret_cast<const Unaligned*>(from); }
inline void store(float* to, Vec value) { *reinterpret_cast<Unaligned*>(to) = value; }

inline Vec splat(float value) {
#if defined(__AVX512F__)
  return _mm512_set1_ps(value);
#elif defined(__AVX2__)
  return _mm256_set1_ps(value);
#else
  return Vec{value, value, value, value};
#endif
}

// The first `count` lanes; the others are zero.
inline Vec load(const float* from, int count) {
  if (count >= W) return load(from);
#if defined(__AVX512F__)
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), from);
#else
  Vec value{};
  std::memcpy(&value, from, sizeof(float) * count);
  return value;
#endif
}

inline void store(float* to, Vec value, int count) {
  if (count >= W) return store(to, value);
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1u << count) - 1), value);
#else
  std::memcpy(to, &value, sizeof(float) * count);
#endif
}

inline Vec minimum(Vec a, Vec b) { return a < b ? a : b; }
inline Vec maximum(Vec a, Vec b) { return a > b ? a : b; }

inline Vec reciprocal(Vec x) {
#if defined(__AVX512F__)
  Vec guess = _mm512_rcp14_ps(x);
  return guess + guess * (1.0f - x * guess);  // 14 bits, then 24
#else
  return 1.0f / x;
#endif
}

// e^x within 2 units in the last place, for |x| <= 87; larger x count as 87.
inline Vec exponential(Vec x) {
  x = minimum(maximum(x, splat(-87.0f)), splat(87.0f));
  const Vec shifter = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  const Vec shifted = x * 1.44269504f + shifter;
  const Vec whole = shifted - shifter;
  Vec rest = x - whole * 0.693359375f;  // ln 2 in two parts
  rest = rest + whole * 2.12194440e-4f;
  Vec sum = splat(1.9875691500e-4f);
  sum = sum * rest + 1.3981999507e-3f;
  sum = sum * rest + 8.3334519073e-3f;
  sum = sum * rest + 4.1665795894e-2f;
  sum = sum * rest + 1.6666665459e-1f;
  sum = sum * rest + 5.0000001201e-1f;
  sum = sum * (rest * rest) + rest + 1.0f;
  const IntVec exponent = (reinterpret_cast<IntVec>(shifted) - reinterpret_cast<IntVec>(shifter)) << 23;
  return reinterpret_cast<Vec>(reinterpret_cast<IntVec>(sum) + exponent);
}

inline Vec sigmoid(Vec x) { return reciprocal(1.0f + exponential(-x)); }

enum Activation : int { kIdentity = 0, kSilu = 1, kRelu = 2, kRelu6 = 3 };

struct Activated {
  Vec value;
  Vec slope;
};

template <int A>
inline Vec activate(Vec x) {
  if constexpr (A == kSilu) return x * sigmoid(x);
  if constexpr (A == kRelu) return maximum(x, Vec{});
  if constexpr (A == kRelu6) return minimum(maximum(x, Vec{}), splat(6.0f));
  return x;
}

template <int A>
inline Activated activate_with_slope(Vec x) {
  const Vec one = splat(1.0f);
  if constexpr (A == kSilu) {
    const Vec s = sigmoid(x);
    return {x * s, s + x * s * (1.0f - s)};
  }
  if constexpr (A == kRelu) return {maximum(x, Vec{}), x > Vec{} ? one : Vec{}};
  if constexpr (A == kRelu6) return {activate<A>(x), ((x > Vec{}) & (x < splat(6.0f))) != 0 ? one : Vec{}};
  return {x, one};
}

// Calls `body` with the activation as a compile-time constant.
template <typename Body>
inline void with_activation(int activation, const Body& body) {
  switch (activation) {
    case kSilu: return body.template operator()<kSilu>();
    case kRelu: return body.template operator()<kRelu>();
    case kRelu6: return body.template operator()<kRelu6>();
    default: return body.template operator()<kIdentity>();
  }
}

}  // namespace
}  // namespace ISA
