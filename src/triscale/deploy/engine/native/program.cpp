#include "program.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#else
#include <cstdlib>
#include <fstream>
#include <new>
#endif

namespace triscale {
namespace {

constexpr char kMagic[8] = {'T', 'R', 'I', 'P', 'A', 'C', 'K', '\n'};
constexpr char kAppended[8] = {'T', 'R', 'I', 'P', 'E', 'N', 'D', '\n'};
constexpr std::uint32_t kLargestSide = 1 << 15, kLargestChannels = 1 << 16, kLargestKernel = 63, kMostSteps = 1 << 16;
constexpr std::uint64_t kLargestArena = std::uint64_t{1} << 34;  // floats

[[noreturn]] void damaged(const std::string& what) { throw std::runtime_error("not a whole packed model: " + what); }

std::uint32_t crc32(const unsigned char* data, std::size_t size) {
  static const auto tables = [] {
    std::array<std::array<std::uint32_t, 256>, 8> made{};
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
      std::uint32_t value = byte;
      for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ (value & 1 ? 0xEDB88320u : 0u);
      made[0][byte] = value;
    }
    for (std::size_t table = 1; table < 8; ++table)
      for (std::uint32_t byte = 0; byte < 256; ++byte)
        made[table][byte] = (made[table - 1][byte] >> 8) ^ made[0][made[table - 1][byte] & 255];
    return made;
  }();
  std::uint32_t value = ~0u;
  for (; size >= 8; data += 8, size -= 8) {
    std::uint32_t low, high;
    std::memcpy(&low, data, 4);
    std::memcpy(&high, data + 4, 4);
    low ^= value;
    value = tables[7][low & 255] ^ tables[6][low >> 8 & 255] ^ tables[5][low >> 16 & 255] ^ tables[4][low >> 24] ^
            tables[3][high & 255] ^ tables[2][high >> 8 & 255] ^ tables[1][high >> 16 & 255] ^ tables[0][high >> 24];
  }
  for (; size; ++data, --size) value = (value >> 8) ^ tables[0][(value ^ *data) & 255];
  return ~value;
}

std::uint64_t padded(std::uint32_t channels) { return std::uint64_t{kBlock} * blocks_of(channels); }

// What a step may read and write, checked against what there is.
class Check {
 public:
  Check(const Header& header, const std::vector<Step>& steps) : header_(header), steps_(steps) {}

  void all() {
    const std::size_t count = steps_.size();
    const bool linear = count && steps_.back().kind == Kind::kLinear;
    mean_ = count - (linear ? 2 : 1);
    if (count < (linear ? 2u : 1u) || steps_[mean_].kind != Kind::kMean) damaged("it does not end with a mean");
    for (number_ = 0; number_ < count; ++number_) one(steps_[number_]);
    const Step& last = steps_.back();
    need(last.out_channels == header_.outputs, "outputs");
  }

 private:
  void need(bool holds, const char* what) const {
    if (!holds) damaged("step " + std::to_string(number_) + " has impossible " + what);
  }
  void map(std::uint64_t offset, std::uint32_t channels, std::uint32_t height, std::uint32_t width) const {
    // Every factor is bounded, so the product cannot overflow.
    const std::uint64_t floats = padded(channels) * height * width;
    need(offset % kBlock == 0 && offset <= header_.arena_floats && floats <= header_.arena_floats - offset, "places");
  }
  void weights(std::uint64_t offset, std::uint64_t floats) const {
    need(offset % 64 == 0 && offset <= header_.weight_bytes && floats <= (header_.weight_bytes - offset) / 4,
         "weights");
  }
  void product(std::uint64_t weight, std::uint64_t bias, std::uint64_t inner, std::uint32_t outputs) const {
    weights(weight, inner * padded(outputs));
    weights(bias, padded(outputs));
  }
  // The product of `step`, in floats or in integers.
  void pointwise(const Step& step) const {
    if (!is_rounded(step)) return product(step.weights, step.bias, step.in_channels, step.out_channels);
    need(!(has(step, kInt8) && has(step, kInt16)) && step.levels >= 1 && step.levels <= (has(step, kInt8) ? 255u : 32767u),
         "settings");
    static_assert(std::uint64_t{kLargestChannels} * 255 * 128 < 1u << 31, "sums of bytes fit into 32 bits");
    product(step.weights, step.bias, integer_terms(step), step.out_channels);
    weights(step.rounding, 2 * padded(step.out_channels) + padded(step.in_channels));
  }
  void window(const Step& step) const {
    need(step.kernel >= 1 && step.kernel <= kLargestKernel && step.stride >= 1 && step.stride <= kLargestKernel,
         "kernels");
    axis(step.in_height, step.out_height, step.pad_top, step);
    axis(step.in_width, step.out_width, step.pad_left, step);
  }
  void axis(std::uint32_t in, std::uint32_t out, std::uint32_t pad, const Step& step) const {
    // Every window meets the map, and none needs more zeros behind it than a kernel holds.
    const std::uint64_t last = std::uint64_t{out - 1} * step.stride;
    need(pad < step.kernel && last < std::uint64_t{in} + pad, "windows");
  }
  void pixels(const Step& step) const {
    need(number_ == 0, "order");
    need(step.in_channels == header_.channels && step.in_height == header_.height && step.in_width == header_.width,
         "pixels");
    weights(step.weights2, padded(step.in_channels));
    weights(step.bias2, padded(step.in_channels));
  }
  void same_size(const Step& step) const {
    need(step.in_height == step.out_height && step.in_width == step.out_width && step.in_channels == step.out_channels,
         "sizes");
  }

  void one(const Step& step) const {
    const auto side = [](std::uint32_t size) { return size >= 1 && size <= kLargestSide; };
    const auto width = [](std::uint32_t count) { return count >= 1 && count <= kLargestChannels; };
    need(side(step.in_height) && side(step.in_width) && side(step.out_height) && side(step.out_width) &&
             width(step.in_channels) && width(step.out_channels),
         "sizes");
    need(step.activation <= 3 && step.after <= 3 && step.flags < 256, "settings");
    need((step.kind == Kind::kMean) == (number_ == mean_) && (step.kind == Kind::kLinear) == (number_ > mean_),
         "order");
    const bool reads_map = step.kind != Kind::kImage && step.kind != Kind::kStem && step.kind != Kind::kLinear &&
                           step.kind != Kind::kExcite;
    const bool writes_map = reads_map ? step.kind != Kind::kMean && step.kind != Kind::kSums
                                      : step.kind == Kind::kImage || step.kind == Kind::kStem;
    need(number_ > 0 || !reads_map, "order");
    if (reads_map) map(step.input, step.in_channels, step.in_height, step.in_width);
    if (writes_map) map(step.output, step.out_channels, step.out_height, step.out_width);
    if (has(step, kResidual)) {
      need(step.kind == Kind::kConv || step.kind == Kind::kStem, "settings");
      map(step.residual, step.out_channels, step.out_height, step.out_width);
    }
    need(!has(step, kScaled) || (step.kind == Kind::kConv && step.kernel == 1 && step.stride == 1), "settings");
    const bool plain = step.kind == Kind::kConv && step.kernel == 1 && step.stride == 1;
    need(is_rounded(step) || (step.levels == 0 && step.rounding == 0), "settings");
    const bool stem = step.kind == Kind::kStem && has(step, kInt16);
    need(!is_rounded(step) || plain || stem || step.kind == Kind::kExpandDepthwise || step.kind == Kind::kLinear,
         "settings");
    need(!has(step, kStored) || (is_rounded(step) && plain && !has(step, kScaled)), "settings");
    const bool depthwise = step.kind == Kind::kDepthwise || step.kind == Kind::kExpandDepthwise;
    need(!stores_integers(step) || (depthwise && !has(step, kSummed)), "settings");
    switch (step.kind) {
      case Kind::kImage:
        same_size(step);
        return pixels(step);
      case Kind::kStem:
        pixels(step);
        window(step);
        if (is_rounded(step)) return pointwise(step);
        return product(step.weights, step.bias, std::uint64_t{step.kernel} * step.kernel * step.in_channels,
                       step.out_channels);
      case Kind::kConv:
        window(step);
        if (is_rounded(step)) return pointwise(step);
        return product(step.weights, step.bias, std::uint64_t{step.kernel} * step.kernel * step.in_channels,
                       step.out_channels);
      case Kind::kExpandDepthwise:
        pointwise(step);
        [[fallthrough]];
      case Kind::kDepthwise:
        need(step.kind == Kind::kExpandDepthwise || step.in_channels == step.out_channels, "sizes");
        window(step);
        if (stores_integers(step)) weights(step.bias2, 2 * padded(step.out_channels));
        return product(step.weights2, step.bias2, std::uint64_t{step.kernel} * step.kernel, step.out_channels);
      case Kind::kSums:
        return same_size(step);
      case Kind::kExcite: {
        need(number_ > 0 && has(steps_[number_ - 1], kSummed) &&
                 steps_[number_ - 1].out_channels == step.in_channels && width(step.squeezed),
             "order");
        same_size(step);
        const Step& before = steps_[number_ - 1];
        need(before.kind == Kind::kSums || before.kind == Kind::kDepthwise || before.kind == Kind::kExpandDepthwise,
             "order");
        product(step.weights, step.bias, step.in_channels, step.squeezed);
        return product(step.weights2, step.bias2, step.squeezed, step.in_channels);
      }
      case Kind::kMaxPool:
        need(step.in_channels == step.out_channels, "sizes");
        return window(step);
      case Kind::kMean:
        need(step.in_channels == step.out_channels, "sizes");
        return;
      case Kind::kLinear:
        need(step.in_channels == steps_[mean_].out_channels && pixels_in(step) == 1 && pixels_out(step) == 1,
             "sizes");
        return pointwise(step);
    }
    need(false, "kinds");
  }

  const Header& header_;
  const std::vector<Step>& steps_;
  std::size_t number_ = 0, mean_ = 0;
};

}  // namespace

#if defined(__unix__) || defined(__APPLE__)
Bytes::Bytes(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) throw std::runtime_error("cannot open it: " + std::string(std::strerror(errno)));
  struct stat status;
  const bool known = fstat(file, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0;
  mapped_size_ = known ? static_cast<std::size_t>(status.st_size) : 0;
  void* memory = known ? mmap(nullptr, mapped_size_, PROT_READ, MAP_PRIVATE, file, 0) : MAP_FAILED;
  close(file);
  if (memory == MAP_FAILED) damaged("it is empty, or no file");
  data_ = mapped_ = static_cast<const unsigned char*>(memory);
  size_ = mapped_size_;
}

Bytes::~Bytes() {
  if (mapped_) munmap(const_cast<unsigned char*>(mapped_), mapped_size_);
}
#else
Bytes::Bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) throw std::runtime_error("cannot open it");
  mapped_size_ = size_ = static_cast<std::size_t>(file.tellg());
  auto* memory = static_cast<unsigned char*>(::operator new(size_, std::align_val_t{64}));
  file.seekg(0).read(reinterpret_cast<char*>(memory), static_cast<std::streamsize>(size_));
  data_ = mapped_ = memory;
}

Bytes::~Bytes() {
  if (mapped_) ::operator delete(const_cast<unsigned char*>(mapped_), std::align_val_t{64});
}
#endif

Bytes::Bytes(const void* data, std::size_t size) : data_(static_cast<const unsigned char*>(data)), size_(size) {}

void Bytes::keep_appended() {
  std::uint64_t size;
  constexpr std::size_t kEnd = sizeof kAppended + sizeof size;
  const bool marked = size_ >= kEnd && std::memcmp(data_ + size_ - sizeof kAppended, kAppended, sizeof kAppended) == 0;
  if (!marked) throw std::runtime_error("no network was appended to this library; name a packed file");
  std::memcpy(&size, data_ + size_ - kEnd, sizeof size);
  if (size > size_ - kEnd) damaged("its size is impossible");
  data_ += size_ - kEnd - size;
  size_ = size;
}

Program::Program(std::unique_ptr<Bytes> given) : bytes(std::move(given)) {
  const unsigned char* data = bytes->data();
  const std::size_t size = bytes->size();
  if (size < sizeof(Header) || std::memcmp(data, kMagic, sizeof kMagic) != 0) damaged("it does not begin like one");
  std::memcpy(&header, data, sizeof header);
  if (header.version != kVersion)
    damaged("its version is " + std::to_string(header.version) + ", this engine reads " + std::to_string(kVersion) +
            "; pack it again");
  const std::uint64_t rest = size - sizeof(Header);
  if (header.steps < 1 || header.steps > kMostSteps || header.weight_bytes > rest || header.weight_bytes % 64 ||
      header.description_bytes > rest ||
      std::uint64_t{header.steps} * sizeof(Step) + header.weight_bytes + header.description_bytes != rest)
    damaged("its parts do not add up to its size");
  if (header.arena_floats > kLargestArena || header.channels < 1 || header.channels > kLargestChannels ||
      header.height < 1 || header.height > kLargestSide || header.width < 1 || header.width > kLargestSide)
    damaged("its sizes are impossible");
  if (crc32(data + sizeof(Header), rest) != header.checksum) damaged("its checksum differs");
  steps.resize(header.steps);
  std::memcpy(steps.data(), data + sizeof(Header), steps.size() * sizeof(Step));
  weights = data + sizeof(Header) + steps.size() * sizeof(Step);
  if (reinterpret_cast<std::uintptr_t>(weights) % 64) damaged("it does not begin at a multiple of 64 bytes");
  description.assign(reinterpret_cast<const char*>(weights + header.weight_bytes), header.description_bytes);
  Check(header, steps).all();
}

}  // namespace triscale
