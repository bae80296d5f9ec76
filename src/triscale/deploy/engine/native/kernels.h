// What one instruction set offers: the work of every step, cut into items that threads take one after another.
#pragma once

#include <cstddef>
#include <cstdint>

#include "program.h"

namespace triscale {

// One batch of images: bytes [image][height][width][channel], or normalised floats [image][channel][height][width].
struct Images {
  const std::uint8_t* bytes = nullptr;
  const float* floats = nullptr;
  int count = 0;
};

// Where one image is worked on. Threads that share an image share all but `scratch`.
struct Place {
  const Program* program;
  Images images;
  int image;         // which of them
  int threads;       // that share this place
  float* arena;
  float* padded;     // a copy of one map with zeros around
  float* scaled;     // one product's weights times the factors of its inputs
  float* sums;       // [threads][most channels]
  float* factors;    // [most channels]
  float* squeezed;   // [most channels]
  float* pooled;     // [features / 16][kMostImages][16]
  float* logits;     // [outputs / 16][kMostImages][16]
  std::size_t most_channels;
};

struct Kernels {
  const char* name;
  // A step is done in phases, one after another, each of `items` items that do not depend on each other.
  int (*phases)(const Step& step);
  int (*items)(const Step& step, int phase, const Place& place);
  void (*work)(const Step& step, int phase, int item, const Place& place, float* scratch);
  std::size_t (*scratch_floats)(const Step& step);
  // Multiplies and adds in registers alone, and returns how many of both: what nothing on this machine can exceed.
  double (*flops_in_registers)();
};

}  // namespace triscale
