#include "team.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>

#if defined(__unix__) || defined(__APPLE__)
#include <dlfcn.h>
#endif

namespace triscale {
namespace {

// A second OpenMP runtime beside torch's would put twice as many threads as cores to work, so none is linked.
struct OpenMP {
  void (*parallel)(void (*)(void*), void*, unsigned threads, unsigned flags) = nullptr;
  int (*thread)() = nullptr;
  int (*threads)() = nullptr;
};

const OpenMP& openmp() {
  static const OpenMP found = [] {
    OpenMP runtime;
#if defined(__unix__) || defined(__APPLE__)
    const auto find = [](auto& function, const char* name) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(RTLD_DEFAULT, name));
    };
    find(runtime.parallel, "GOMP_parallel");
    find(runtime.thread, "omp_get_thread_num");
    find(runtime.threads, "omp_get_num_threads");
    if (!runtime.thread || !runtime.threads) runtime.parallel = nullptr;
#endif
    return runtime;
  }();
  return found;
}

struct Task {
  void (*body)(void*, int);
  void* context;
  int parts;
};

void run_share(void* memory) {
  const Task& task = *static_cast<Task*>(memory);
  // The runtime may give fewer threads than asked for.
  for (int part = openmp().thread(); part < task.parts; part += openmp().threads()) task.body(task.context, part);
}

void run(void (*body)(void*, int), void* context, int parts) {
  Task task{body, context, parts};
  if (parts > 1 && openmp().parallel) return openmp().parallel(run_share, &task, static_cast<unsigned>(parts), 0);
  for (int part = 0; part < parts; ++part) body(context, part);
}

// Memory that grows and is kept: fresh pages cost more than the work on them.
class Buffer {
 public:
  float* floats(std::size_t count) {
    if (count > size_) {
      memory_.reset();
      size_ = 0;
      const std::size_t bytes = (count * sizeof(float) + 63) / 64 * 64;
      memory_.reset(static_cast<float*>(std::aligned_alloc(64, bytes)));
      if (!memory_) throw std::bad_alloc();
      size_ = count;
    }
    return memory_.get();
  }

 private:
  struct Free {
    void operator()(float* memory) const { std::free(memory); }
  };
  std::unique_ptr<float, Free> memory_;
  std::size_t size_ = 0;
};

float* scratch(std::size_t floats) {
  thread_local Buffer buffer;
  return buffer.floats(floats);
}

float* shared(std::size_t floats) {
  thread_local Buffer buffer;
  float* memory = buffer.floats(floats);
  std::memset(memory, 0, floats * sizeof(float));
  return memory;
}

}  // namespace

bool has_threads() { return openmp().parallel != nullptr; }

Team team(int threads) {
  const int parts = has_threads() ? std::clamp(threads, 1, kMostThreads) : 1;
  return {parts, run, scratch, shared};
}

}  // namespace triscale
