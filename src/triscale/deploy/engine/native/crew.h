// Threads that walk through the same work together and wait for each other after every part of it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace triscale {

class Crew {
 public:
  explicit Crew(int size);
  ~Crew();
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  int size() const { return size_; }

  // Runs job(0), ... job(size - 1), each on a thread of its own, the first on the caller's.
  void run(const std::function<void(int)>& job);

  // Inside a job: the next item that no thread has taken; at the end of a part all threads call `wait`.
  int take() { return size_ == 1 ? alone_++ : next_.fetch_add(1, std::memory_order_relaxed); }
  void wait();

 private:
  void work(int member);

  const int size_;
  int alone_ = 0;
  alignas(64) std::atomic<int> next_{0};
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<unsigned> part_{0};
  alignas(64) std::atomic<unsigned> call_{0};
  std::atomic<int> busy_{0};
  const std::function<void(int)>* job_ = nullptr;
  bool ends_ = false;
  std::mutex mutex_;
  std::condition_variable called_, done_;
  std::vector<std::thread> threads_;
};

}  // namespace triscale
