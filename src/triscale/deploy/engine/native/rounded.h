// Pixels of a map as integers of 8 or 16 bits.
#pragma once

#include "activation.h"

namespace ISA {
namespace {

constexpr int pixel_bytes(bool wide) { return wide ? 32 : 16; }  // of one block of channels

// A map as [channels / 16][pixels][16], and what its integers stand for.
struct Rounded {
  std::uint8_t* values;
  std::ptrdiff_t plane;  // bytes from one block of channels to the next
  const float* scale;    // a pixel's unit
  const float* low;      // what its 0 is
  std::ptrdiff_t apart;  // from one pixel's scale and low to the next one's
};

template <bool Wide>
TRISCALE_INLINE void store_rounded(std::uint8_t* to, Vec value) {
#if defined(__AVX512F__)
  const __m512i whole = _mm512_cvtps_epi32(value);
  if constexpr (Wide)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtusepi32_epi16(whole));
  else
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtusepi32_epi8(whole));
#else
  const Vec shifted = value + splat(12582912.0f);  // 1.5 * 2^23: the integer is in the low bits
  const IntVec whole = reinterpret_cast<IntVec>(shifted) & 0xffff;
  for (int lane = 0; lane < W; ++lane) {
    const std::uint16_t now = static_cast<std::uint16_t>(whole[lane]);
    std::memcpy(to + lane * (Wide ? 2 : 1), &now, Wide ? 2 : 1);  // the low byte comes first
  }
#endif
}

}  // namespace
}  // namespace ISA
