#include "crew.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace triscale {
namespace {

constexpr int kSpins = 2000;  // then others may have the core: more threads than cores must not starve each other

inline void pause() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

}  // namespace

Crew::Crew(int size) : size_(size) {
  try {
    for (int member = 1; member < size; ++member) threads_.emplace_back([this, member] { work(member); });
  } catch (...) {
    {
      const std::lock_guard lock(mutex_);
      ends_ = true;
      call_.fetch_add(1);
    }
    called_.notify_all();
    for (std::thread& thread : threads_) thread.join();
    throw;
  }
}

Crew::~Crew() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
    call_.fetch_add(1);
  }
  called_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Crew::run(const std::function<void(int)>& job) {
  alone_ = 0;
  next_.store(0);
  if (size_ == 1) return job(0);
  {
    const std::lock_guard lock(mutex_);
    job_ = &job;
    busy_.store(size_ - 1);
    call_.fetch_add(1);
  }
  called_.notify_all();
  job(0);
  for (int spin = 0; busy_.load(std::memory_order_acquire) > 0; ++spin) {
    if (spin < kSpins) {
      pause();
      continue;
    }
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return busy_.load() == 0; });
  }
}

void Crew::work(int member) {
  unsigned seen = 0;
  for (;;) {
    for (int spin = 0; spin < kSpins && call_.load(std::memory_order_acquire) == seen; ++spin) pause();
    {
      std::unique_lock lock(mutex_);
      called_.wait(lock, [&] { return call_.load() != seen; });
      seen = call_.load();
      if (ends_) return;
    }
    (*job_)(member);
    if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      const std::lock_guard lock(mutex_);
      done_.notify_one();
    }
  }
}

void Crew::wait() {
  if (size_ == 1) {
    alone_ = 0;
    return;
  }
  const unsigned part = part_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) == size_ - 1) {
    arrived_.store(0, std::memory_order_relaxed);
    next_.store(0, std::memory_order_relaxed);
    part_.store(part + 1, std::memory_order_release);
    return;
  }
  for (int spin = 0; part_.load(std::memory_order_acquire) == part; ++spin) {
    if (spin < kSpins)
      pause();
    else
      std::this_thread::yield();
  }
}

}  // namespace triscale
