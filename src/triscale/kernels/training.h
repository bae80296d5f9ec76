// What the training kernels compute, and the table through which the module calls those of this machine.
//
// Feature maps are channels-last: (images, height, width, channels), dense. A "raw" map is a convolution's output
// before its batch norm; norm and activation are applied by whoever reads it, so nothing between two convolutions is
// stored. Mean and variance arrays have one float a channel.
#pragma once

#include <cstddef>

namespace triscale {

// y = activation((x - mean) * scale + beta), times a factor for each image and channel. Null pointers leave a step out.
struct Reading {
  const float* mean = nullptr;
  const float* scale = nullptr;
  const float* beta = nullptr;
  int activation = 0;
  const float* factor = nullptr;  // (images, channels)
};

// Gradient with respect to a raw map x, given `gradient` with respect to what its reader made of it:
//   inner = (gradient * factor + addend) * activation'((x - mean) * scale + beta)
//   a * inner + b * (x - mean) + d
// factor and addend: (images, channels); image_factor, in factor's place: (images).
struct RawGradient {
  const float* gradient = nullptr;
  const float* raw = nullptr;
  Reading reading;
  const float* image_factor = nullptr;
  const float* addend = nullptr;
  const float* a = nullptr;  // null: 1, 0, 0
  const float* b = nullptr;
  const float* d = nullptr;
};

constexpr int kMostThreads = 256;

struct Rows {
  std::ptrdiff_t images = 0;
  std::ptrdiff_t pixels = 0;  // of one image
  std::ptrdiff_t total() const { return images * pixels; }
};

struct Window {
  std::ptrdiff_t images, height, width, channels, out_height, out_width;
  int kernel, stride, pad_top, pad_left;
};

struct Pointwise {
  Rows rows;
  int inputs, outputs;  // channels
};

// Threads and memory that a kernel may use.
struct Team {
  int parts;
  void (*run)(void (*body)(void*, int part), void* context, int parts);
  float* (*scratch)(std::size_t floats);  // of the calling thread; 64-byte aligned; valid until its next call
  float* (*shared)(std::size_t floats);   // of the whole call, zeroed
};

struct Kernels {
  const char* name;
  // out = reading(x) W^T, and the statistics of out.
  void (*pointwise_forward)(const Team&, const Pointwise&, const float* x, const Reading&, const float* weight,
                            float* out, float* mean, float* variance);
  // x_gradient = raw_gradient W [+ shortcut], weight_gradient = raw_gradient^T reading(x). sums, where given, is
  // (5, images, inputs): over each image, of G y', s', G s', G s' c, s' c with G = x_gradient, y' the activation's
  // value, s' its slope and c = x - mean. Order: G y', G s', s', G s' c, s' c.
  void (*pointwise_backward)(const Team&, const Pointwise&, const RawGradient&, const float* x, const Reading&,
                             const float* weight, const float* shortcut, float* x_gradient, float* weight_gradient,
                             float* sums);
  // weight: (channels, kernel, kernel).
  void (*depthwise_forward)(const Team&, const Window&, const float* x, const Reading&, const float* weight, float* out,
                            float* mean, float* variance);
  // x_gradient is with respect to (x - mean) * scale + beta. sums: (2, channels), of x_gradient and x_gradient * (x - mean).
  void (*depthwise_backward)(const Team&, const Window&, const RawGradient&, const float* x, const Reading&,
                             const float* weight, const float* shortcut, float* x_gradient, float* weight_gradient,
                             float* sums);
  // sums (images, channels) of reading(x).
  void (*pool)(const Team&, const Rows&, int channels, const float* x, const Reading&, float* sums);
  // Mean and biased variance of x by channel.
  void (*statistics)(const Team&, const Rows&, int channels, const float* x, float* mean, float* variance);
  // out = reading(x) [* factor of the image] [+ shortcut].
  void (*normalise)(const Team&, const Rows&, int channels, const float* x, const Reading&, const float* image_factor,
                    const float* shortcut, float* out);
  // sums (2, channels): of inner and inner * (x - mean).
  void (*gradient_sums)(const Team&, const Rows&, int channels, const RawGradient&, float* sums);
  // out = the raw gradient.
  void (*raw_gradient)(const Team&, const Rows&, int channels, const RawGradient&, float* out);
};

}  // namespace triscale
