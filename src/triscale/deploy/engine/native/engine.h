// Runs packed networks.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "crew.h"
#include "kernels.h"
#include "program.h"

namespace triscale {

// The kernels of an instruction set, or the best ones of this machine for an empty name; null where it has none such.
const Kernels* kernels_of(const std::string& name);

// Names of the instruction sets that this machine has, the best one first.
std::vector<std::string> instruction_sets();

// Floating-point operations a second of `threads` that multiply and add in registers alone for `seconds`: the fastest
// of several stretches.
double peak_flops(const Kernels& kernels, int threads, double seconds);

// May be called from several threads at a time: each call takes a context of its own, made when none is idle.
class Engine {
 public:
  // Throws std::runtime_error for a damaged program or an instruction set that this machine lacks.
  Engine(std::unique_ptr<Bytes> bytes, int threads, const std::string& instruction_set);
  ~Engine();

  const Program& program() const { return program_; }
  const Kernels& kernels() const { return *kernels_; }
  int threads() const { return threads_; }

  // Logits [count][outputs] of `images`. `step_seconds`, where given, holds one sum for each step, which is added to.
  void run(const Images& images, float* logits, double* step_seconds = nullptr);

  // Bytes that one context takes, for one image at a time.
  std::size_t context_bytes() const;

 private:
  struct Context;
  struct Sizes {
    std::size_t padded = 0, scaled = 0, channels = 0, scratch = 0, pooled = 0, logits = 0;
    std::size_t place() const;
  };

  std::unique_ptr<Context> take();
  void give_back(std::unique_ptr<Context> context);
  Place place_in(float* memory, const Images& images, int threads, Context& context) const;
  void perform(const Step& step, Context& context, const Place& place, float* scratch) const;
  void features(Context& context, Place place, int member, double* step_seconds) const;

  Program program_;
  const Kernels* kernels_;
  int threads_;
  Sizes sizes_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Context>> idle_;
};

}  // namespace triscale
