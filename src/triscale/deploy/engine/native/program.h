// A packed network: a header, steps in the order they run, weights, and a description for people and for Python.
//
// Feature maps are floats in blocks of 16 channels, [channels / 16][height * width][16]; the lanes that no channel
// fills are zero. Maps of integers lie in the place of floats. Weights of a product are [outputs / 16][inner][16];
// integers are [outputs / 16][inner / 4][16][4] or, of 16 bits, [outputs / 16][inner / 2][16][2].
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace triscale {

constexpr int kBlock = 16;
constexpr std::uint32_t kVersion = 3;
constexpr int kMostImages = 32;  // that share one pass of the classifier's weights

enum class Kind : std::uint32_t {
  kImage = 1,        // pixels to a feature map
  kStem,             // dense convolution that reads pixels
  kConv,             // dense convolution, 1x1 too
  kDepthwise,
  kExpandDepthwise,  // 1x1, activation, depthwise: the wide map between them is never whole
  kSums,             // sums over the pixels of each channel
  kExcite,           // those sums to one factor a channel
  kMaxPool,
  kMean,
  kLinear,
};

enum Flag : std::uint32_t {
  kScaled = 1,    // the input is multiplied by what kExcite made
  kResidual = 2,  // a map is added after the activation
  kSummed = 4,    // the sums of the output are wanted
  kInt8 = 8,      // the 1x1 convolution multiplies 8-bit integers
  kInt16 = 16,    // the same with 16 bits; the first convolution too
  kStored = 32,   // its input was written as integers
  kStores8 = 64,  // a depthwise convolution writes 8-bit integers
  kStores16 = 128,
};

struct Step {
  Kind kind;
  std::uint32_t activation;  // of the first convolution
  std::uint32_t after;       // of the depthwise convolution, or of the sum with the residual
  std::uint32_t kernel, stride, pad_top, pad_left;
  std::uint32_t in_channels, out_channels;
  std::uint32_t squeezed;  // kExcite: channels between its two products
  std::uint32_t in_height, in_width, out_height, out_width;
  std::uint32_t flags;
  std::uint32_t levels;  // of a rounded input: the largest integer
  std::uint64_t input, output, residual;                 // in the arena, in floats
  std::uint64_t weights, bias, weights2, bias2;  // in the weights, in bytes; ceilings of integers are behind bias2
  std::uint64_t rounding;  // of integers: scales and totals of outputs, balance of inputs, as floats
};
static_assert(sizeof(Step) == 128);

struct Header {
  char magic[8];
  std::uint32_t version, steps;
  std::uint32_t channels, height, width, outputs;  // of an image; logits, or features where there is no classifier
  std::uint64_t arena_floats, weight_bytes, description_bytes;
  std::uint32_t checksum;  // CRC-32 of all that follows the header
  char unused[68];
};
static_assert(sizeof(Header) == 128);

inline int blocks_of(std::uint32_t channels) { return static_cast<int>((channels + kBlock - 1) / kBlock); }
inline std::ptrdiff_t pixels_in(const Step& step) { return std::ptrdiff_t{step.in_height} * step.in_width; }
inline std::ptrdiff_t pixels_out(const Step& step) { return std::ptrdiff_t{step.out_height} * step.out_width; }
inline bool has(const Step& step, Flag flag) { return (step.flags & flag) != 0; }

inline bool is_rounded(const Step& step) { return has(step, kInt8) || has(step, kInt16); }
inline bool needs_rounding(const Step& step) { return is_rounded(step) && !has(step, kStored); }
inline bool stores_integers(const Step& step) { return has(step, kStores8) || has(step, kStores16); }
// 32-bit lanes that the inputs of one integer product fill.
inline std::uint32_t integer_terms(const Step& step) {
  const std::uint32_t inner = step.in_channels * (step.kind == Kind::kStem ? step.kernel * step.kernel : 1);
  return has(step, kInt16) ? (inner + 1) / 2 : (inner + 3) / 4;
}

// Rows and columns of zeros that kernels of `step` read below and to the right of its input.
inline std::ptrdiff_t reach(std::uint32_t out, std::uint32_t in, std::uint32_t pad, const Step& step) {
  const std::ptrdiff_t end = std::ptrdiff_t{out - 1} * step.stride + step.kernel - pad;
  return end > std::ptrdiff_t{in} ? end - in : 0;
}
inline std::ptrdiff_t padded_height(const Step& step) {
  return step.pad_top + std::ptrdiff_t{step.in_height} + reach(step.out_height, step.in_height, step.pad_top, step);
}
inline std::ptrdiff_t padded_width(const Step& step) {
  return step.pad_left + std::ptrdiff_t{step.in_width} + reach(step.out_width, step.in_width, step.pad_left, step);
}

// Bytes of a file, mapped, or of memory that somebody else holds.
class Bytes {
 public:
  Bytes(const std::string& path);  // throws std::runtime_error
  Bytes(const void* data, std::size_t size);
  ~Bytes();
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;

  // Leaves only what was appended to a library: packed bytes, their size and a mark. Throws where nothing was.
  void keep_appended();

  const unsigned char* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  const unsigned char* data_;
  std::size_t size_;
  const unsigned char* mapped_ = nullptr;
  std::size_t mapped_size_ = 0;
};

struct Program {
  std::unique_ptr<Bytes> bytes;
  Header header;
  std::vector<Step> steps;
  const unsigned char* weights;
  std::string description;

  // Throws std::runtime_error, in one line, for anything that a run could not be trusted with.
  explicit Program(std::unique_ptr<Bytes> bytes);

  const float* at(std::uint64_t offset) const { return reinterpret_cast<const float*>(weights + offset); }
};

}  // namespace triscale
