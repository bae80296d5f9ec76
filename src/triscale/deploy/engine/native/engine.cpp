#include "engine.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <new>
#include <stdexcept>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace portable { extern const triscale::Kernels engine_kernels; }
namespace avx2 { extern const triscale::Kernels engine_kernels; }
namespace avx512 { extern const triscale::Kernels engine_kernels; }
namespace avx512vnni { extern const triscale::Kernels engine_kernels; }

namespace triscale {
namespace {

std::vector<const Kernels*> known_kernels() {
  std::vector<const Kernels*> known;
#if defined(TRISCALE_X86)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    if (__builtin_cpu_supports("avx512vnni")) known.push_back(&avx512vnni::engine_kernels);
    known.push_back(&avx512::engine_kernels);
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) known.push_back(&avx2::engine_kernels);
#endif
  known.push_back(&portable::engine_kernels);
  return known;
}

// Zeros, on huge pages where there are such. Pages are taken when they are first written, so that a program which asks
// for more than it uses costs nothing.
class Memory {
 public:
  explicit Memory(std::size_t floats) : bytes_(std::max<std::size_t>(floats * sizeof(float), 1)) {
#if defined(__unix__) || defined(__APPLE__)
    void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
#if defined(__linux__)
    madvise(memory, bytes_, MADV_HUGEPAGE);
#endif
#else
    void* memory = ::operator new(bytes_, std::align_val_t{64});
    std::memset(memory, 0, bytes_);
#endif
    data_ = static_cast<float*>(memory);
  }
  ~Memory() {
#if defined(__unix__) || defined(__APPLE__)
    munmap(data_, bytes_);
#else
    ::operator delete(data_, std::align_val_t{64});
#endif
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  float* data() const { return data_; }

 private:
  std::size_t bytes_;
  float* data_;
};

// Numbers too small to be normal count as zero while this lives: arithmetic on them is many times slower.
class FlushDenormals {
 public:
#if defined(__x86_64__)
  FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
  ~FlushDenormals() { _mm_setcsr(before_); }

 private:
  unsigned before_;
#elif defined(__aarch64__)
  FlushDenormals() {
    asm volatile("mrs %0, fpcr" : "=r"(before_));
    asm volatile("msr fpcr, %0" : : "r"(before_ | (1ull << 24)));
  }
  ~FlushDenormals() { asm volatile("msr fpcr, %0" : : "r"(before_)); }

 private:
  unsigned long long before_;
#endif
};

std::size_t whole_lines(std::size_t floats) { return (floats + 15) / 16 * 16; }

}  // namespace

const Kernels* kernels_of(const std::string& name) {
  for (const Kernels* known : known_kernels())
    if (name.empty() || name == known->name) return known;
  return nullptr;
}

std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
  for (const Kernels* known : known_kernels()) names.emplace_back(known->name);
  return names;
}

double peak_flops(const Kernels& kernels, int threads, double seconds) {
  using Clock = std::chrono::steady_clock;
  Crew crew(threads);
  std::vector<double> fastest(threads, 0.0);
  crew.run([&](int member) {
    crew.wait();
    const auto begin = Clock::now();
    for (auto now = begin; std::chrono::duration<double>(now - begin).count() < seconds;) {
      const double done = kernels.flops_in_registers();
      const auto after = Clock::now();
      fastest[member] = std::max(fastest[member], done / std::chrono::duration<double>(after - now).count());
      now = after;
    }
  });
  double total = 0.0;
  for (const double each : fastest) total += each;
  return total;
}

struct Engine::Context {
  explicit Context(int threads) : crew(threads) {}

  Crew crew;
  std::vector<std::unique_ptr<Memory>> scratch;  // of each thread
  std::unique_ptr<Memory> ends;                  // pooled features and logits of up to kMostImages images
  std::vector<std::unique_ptr<Memory>> places;   // the first for all threads, then one each once batches need them
};

std::size_t Engine::Sizes::place() const { return padded + scaled + 3 * channels; }

Engine::Engine(std::unique_ptr<Bytes> bytes, int threads, const std::string& instruction_set)
    : program_(std::move(bytes)), kernels_(kernels_of(instruction_set)), threads_(threads) {
  if (!kernels_) throw std::runtime_error("this machine has no instruction set " + instruction_set);
  for (const Step& step : program_.steps) {
    const std::size_t in = 16 * std::size_t(blocks_of(step.in_channels)), out = 16 * std::size_t(blocks_of(step.out_channels));
    sizes_.channels = std::max({sizes_.channels, in, out, 16 * std::size_t(blocks_of(step.squeezed))});
    sizes_.scratch = std::max(sizes_.scratch, whole_lines(kernels_->scratch_floats(step)));
    if (step.kind == Kind::kLinear) {
      if (is_rounded(step)) sizes_.padded = std::max(sizes_.padded, in * kMostImages);
    } else if (step.kind == Kind::kStem || step.kind == Kind::kConv || is_rounded(step)) {
      const std::size_t channels = step.kind == Kind::kStem ? step.in_channels : in;
      const std::size_t floats = channels * std::size_t(padded_height(step)) * std::size_t(padded_width(step));
      sizes_.padded = std::max(sizes_.padded, whole_lines(floats));
    }
    if (has(step, kScaled)) sizes_.scaled = std::max(sizes_.scaled, out * step.in_channels);
    if (step.kind == Kind::kMean) sizes_.pooled = in * kMostImages;
    if (step.kind == Kind::kLinear) sizes_.logits = out * kMostImages;
  }
  give_back(take());  // so that the first call is as fast as the others, and too little memory shows now
}

Engine::~Engine() = default;

std::size_t Engine::context_bytes() const {
  return 4 * (program_.header.arena_floats + sizes_.place() + (threads_ - 1) * sizes_.channels +
              threads_ * sizes_.scratch + sizes_.pooled + sizes_.logits);
}

std::unique_ptr<Engine::Context> Engine::take() {
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      std::unique_ptr<Context> context = std::move(idle_.back());
      idle_.pop_back();
      return context;
    }
  }
  auto context = std::make_unique<Context>(threads_);
  for (int thread = 0; thread < threads_; ++thread)
    context->scratch.push_back(std::make_unique<Memory>(sizes_.scratch));
  context->ends = std::make_unique<Memory>(sizes_.pooled + sizes_.logits);
  context->places.push_back(std::make_unique<Memory>(program_.header.arena_floats + sizes_.place() +
                                                     (threads_ - 1) * sizes_.channels));
  return context;
}

void Engine::give_back(std::unique_ptr<Context> context) {
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(context));
}

Place Engine::place_in(float* memory, const Images& images, int threads, Context& context) const {
  Place place{};
  place.program = &program_;
  place.images = images;
  place.threads = threads;
  const auto next = [&](std::size_t floats) {
    float* const begin = memory;
    memory += floats;
    return begin;
  };
  place.arena = next(whole_lines(program_.header.arena_floats));
  place.padded = next(sizes_.padded);
  place.scaled = next(sizes_.scaled);
  place.factors = next(sizes_.channels);
  place.squeezed = next(sizes_.channels);
  place.sums = next(sizes_.channels * threads);
  place.pooled = context.ends->data();
  place.logits = place.pooled + sizes_.pooled;
  place.most_channels = sizes_.channels;
  return place;
}

// One step, by one of the threads that share the place.
void Engine::perform(const Step& step, Context& context, const Place& place, float* scratch) const {
  const int phases = kernels_->phases(step);
  for (int phase = 0; phase < phases; ++phase) {
    const int items = kernels_->items(step, phase, place);
    if (place.threads == 1) {
      for (int item = 0; item < items; ++item) kernels_->work(step, phase, item, place, scratch);
      continue;
    }
    for (int item = context.crew.take(); item < items; item = context.crew.take())
      kernels_->work(step, phase, item, place, scratch);
    context.crew.wait();
  }
}

// All steps of one image but the classifier, by thread `member` of those that share the place.
void Engine::features(Context& context, Place place, int member, double* step_seconds) const {
  using Clock = std::chrono::steady_clock;
  float* const scratch = context.scratch[member]->data();
  for (std::size_t number = 0; number < program_.steps.size(); ++number) {
    const Step& step = program_.steps[number];
    if (step.kind == Kind::kLinear) return;
    const auto begin = step_seconds ? Clock::now() : Clock::time_point{};
    perform(step, context, place, scratch);
    if (step_seconds && member == 0)
      step_seconds[number] += std::chrono::duration<double>(Clock::now() - begin).count();
  }
}

void Engine::run(const Images& all, float* logits, double* step_seconds) {
  struct Held {
    Engine& engine;
    std::unique_ptr<Context> context;
    ~Held() { engine.give_back(std::move(context)); }
  } held{*this, take()};
  Context& context = *held.context;
  const Step& last = program_.steps.back();
  const bool linear = last.kind == Kind::kLinear;
  const std::size_t outputs = program_.header.outputs;
  const std::size_t pixels = std::size_t{program_.header.height} * program_.header.width * program_.header.channels;
  // A thread for each image needs no waiting, but a place for each thread.
  const bool apart = threads_ > 1 && all.count >= threads_ && !step_seconds;
  if (apart && context.places.size() == 1)
    for (int thread = 0; thread < threads_; ++thread)
      context.places.push_back(std::make_unique<Memory>(whole_lines(program_.header.arena_floats) + sizes_.place()));
  for (int done = 0; done < all.count; done += kMostImages) {
    Images images{all.bytes ? all.bytes + done * pixels : nullptr, all.floats ? all.floats + done * pixels : nullptr,
                  std::min(kMostImages, all.count - done)};
    const Place shared = place_in(context.places[0]->data(), images, threads_, context);
    context.crew.run([&](int member) {
      const FlushDenormals flushed;
      if (apart) {
        Place place = place_in(context.places[member + 1]->data(), images, 1, context);
        while ((place.image = context.crew.take()) < images.count) features(context, place, member, nullptr);
        context.crew.wait();
      } else {
        Place place = shared;
        for (place.image = 0; place.image < images.count; ++place.image)
          features(context, place, member, step_seconds);
      }
      if (!linear) return;
      const auto begin = std::chrono::steady_clock::now();
      perform(last, context, shared, context.scratch[member]->data());
      if (step_seconds && member == 0)
        step_seconds[program_.steps.size() - 1] +=
            std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    });
    const float* const from = linear ? shared.logits : shared.pooled;
    for (int image = 0; image < images.count; ++image)
      for (std::size_t output = 0; output < outputs; ++output)
        logits[(done + image) * outputs + output] = from[(output / 16 * kMostImages + image) * 16 + output % 16];
  }
}

}  // namespace triscale
