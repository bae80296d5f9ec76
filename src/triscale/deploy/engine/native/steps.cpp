// All steps, compiled once for each instruction set.
#include <cstring>

#include "kernels.h"
#include "mobile.h"
#include "stem.h"

namespace ISA {
namespace {

using triscale::Kind;

void image_work(const Step& step, int block, const Place& place) {
  float* to = place.arena + step.output + block * pixels_out(step) * 16;
  std::memset(to, 0, pixels_out(step) * 16 * sizeof(float));
  const std::uint32_t first = static_cast<std::uint32_t>(block) * 16;
  for (std::ptrdiff_t pixel = 0; pixel < pixels_out(step); ++pixel, to += 16)
    for (std::uint32_t lane = 0; lane < 16 && first + lane < step.in_channels; ++lane)
      to[lane] = normalised(place, step, pixel, first + lane);
}

void max_pool_work(const Step& step, int block, const Place& place) {
  const int kernel = static_cast<int>(step.kernel), stride = static_cast<int>(step.stride);
  const int height = static_cast<int>(step.in_height), width = static_cast<int>(step.in_width);
  const float* const in = place.arena + step.input + block * pixels_in(step) * 16;
  float* out = place.arena + step.output + block * pixels_out(step) * 16;
  for (int y = 0; y < static_cast<int>(step.out_height); ++y)
    for (int x = 0; x < static_cast<int>(step.out_width); ++x, out += 16) {
      const int top = y * stride - static_cast<int>(step.pad_top), left = x * stride - static_cast<int>(step.pad_left);
      for (int s = 0; s < 16; s += W) {
        Vec largest = splat(-__builtin_inff());
        for (int row = top < 0 ? 0 : top; row < top + kernel && row < height; ++row)
          for (int column = left < 0 ? 0 : left; column < left + kernel && column < width; ++column)
            largest = maximum(largest, load(in + (std::ptrdiff_t{row} * width + column) * 16 + s));
        store(out + s, largest);
      }
    }
}

void mean_work(const Step& step, int block, const Place& place) {
  const float* const in = place.arena + step.input + block * pixels_in(step) * 16;
  for (int s = 0; s < 16; s += W) {
    Vec sum{};
    for (std::ptrdiff_t pixel = 0; pixel < pixels_in(step); ++pixel) sum += load(in + pixel * 16 + s);
    store(place.pooled + (std::ptrdiff_t{block} * triscale::kMostImages + place.image) * 16 + s,
          sum * splat(1.0f / static_cast<float>(pixels_in(step))));
  }
}

bool rounds_in(const Step& step, int phase) { return needs_rounding(step) && phase == 0; }

int phases(const Step& step) {
  switch (step.kind) {
    case Kind::kStem: return 2;
    case Kind::kConv: return conv_phases(step);
    case Kind::kDepthwise:
    case Kind::kExpandDepthwise: return depthwise_phases(step);
    case Kind::kExcite: return 3;
    case Kind::kLinear: return needs_rounding(step) ? 2 : 1;
    default: return 1;
  }
}

int items(const Step& step, int phase, const Place& place) {
  switch (step.kind) {
    case Kind::kStem: return stem_items(step, phase);
    case Kind::kConv: return rounds_in(step, phase) ? rounding_items(step, place) : conv_items(step, phase, place);
    case Kind::kDepthwise:
    case Kind::kExpandDepthwise: return depthwise_items(step, phase, place);
    case Kind::kExcite: return excite_items(step, phase);
    case Kind::kLinear: return rounds_in(step, phase) ? rounding_items(step, place) : linear_cut(step, place).groups;
    default: return blocks_of(step.out_channels);
  }
}

void work(const Step& step, int phase, int item, const Place& place, float* scratch) {
  switch (step.kind) {
    case Kind::kImage: return image_work(step, item, place);
    case Kind::kStem: return stem_work(step, phase, item, place, scratch);
    case Kind::kConv:
      if (rounds_in(step, phase)) return rounding_work(step, item, place);
      if (is_rounded(step)) return integer_work(step, item, place);
      return conv_work(step, phase, item, place, scratch);
    case Kind::kDepthwise:
    case Kind::kExpandDepthwise: return depthwise_work(step, phase, item, place, scratch);
    case Kind::kSums: return sums_work(step, item, place);
    case Kind::kExcite: return excite_work(step, phase, item, place);
    case Kind::kMaxPool: return max_pool_work(step, item, place);
    case Kind::kMean: return mean_work(step, item, place);
    case Kind::kLinear:
      if (rounds_in(step, phase)) return rounding_work(step, item, place);
      return is_rounded(step) ? integer_work(step, item, place) : linear_work(step, item, place);
  }
}

std::size_t scratch_floats(const Step& step) {
  switch (step.kind) {
    case Kind::kStem: return stem_scratch(step);
    case Kind::kConv: return std::size_t{2} * step.kernel * step.kernel;  // where its taps are
    case Kind::kDepthwise:
    case Kind::kExpandDepthwise: return depthwise_scratch(step);
    default: return 0;
  }
}

double flops_in_registers() {
#if defined(__AVX512F__)
  constexpr int kSums = 24;  // in flight, so that none waits for the one before
#else
  constexpr int kSums = 12;
#endif
  constexpr int kRounds = 20000;
  Vec sum[kSums];
  unrolled<kSums>([&](auto i) __attribute__((always_inline)) { sum[decltype(i)::value] = splat(decltype(i)::value); });
  const Vec factor = splat(0.5f), term = splat(1.0f);
  for (int round = 0; round < kRounds; ++round) {
    unrolled<kSums>([&](auto i) __attribute__((always_inline)) {
      sum[decltype(i)::value] = sum[decltype(i)::value] * factor + term;
    });
    asm volatile("" ::: "memory");  // every round is done
  }
  Vec total{};
  unrolled<kSums>([&](auto i) __attribute__((always_inline)) { total += sum[decltype(i)::value]; });
  float stored[W];
  store(stored, total);
  asm volatile("" : : "r"(stored) : "memory");
  return 2.0 * W * kSums * kRounds;
}

constexpr const char* name_of() {
#define TRISCALE_TEXT(name) TRISCALE_TEXT_OF(name)
#define TRISCALE_TEXT_OF(name) #name
  return TRISCALE_TEXT(ISA);
}

}  // namespace

extern const triscale::Kernels engine_kernels;
const triscale::Kernels engine_kernels = {name_of(), phases, items, work, scratch_floats, flops_in_registers};

}  // namespace ISA
