#include "pool.h"

#include <cstdlib>
#include <list>
#include <mutex>
#include <new>
#include <unordered_map>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace triscale {
namespace {

constexpr std::size_t kHugePage = 2 << 20;

struct Block {
  void* memory;
  std::size_t bytes;
};

struct Pool {
  std::mutex mutex;
  std::list<Block> kept;  // the oldest first
  std::unordered_map<void*, std::size_t> used;
  std::size_t kept_bytes = 0, used_bytes = 0, most_used_bytes = 0;
};

Pool& pool() {
  static Pool* const instance = new Pool;  // never destroyed: tensors may outlive everything
  return *instance;
}

void* allocate(std::size_t bytes) {
  void* memory = std::aligned_alloc(bytes >= 2 * kHugePage ? kHugePage : 64, bytes);
#if defined(__linux__)
  if (memory && bytes >= 2 * kHugePage) madvise(memory, bytes, MADV_HUGEPAGE);
#endif
  return memory;
}

void drop_oldest(Pool& all) {
  all.kept_bytes -= all.kept.front().bytes;
  std::free(all.kept.front().memory);
  all.kept.pop_front();
}

}  // namespace

void* take(std::size_t bytes) {
  const std::size_t step = bytes >= 2 * kHugePage ? kHugePage : 4096;
  bytes = (bytes + step - 1) / step * step;
  Pool& all = pool();
  const std::lock_guard lock(all.mutex);
  auto best = all.kept.end();
  for (auto block = all.kept.begin(); block != all.kept.end(); ++block)
    if (block->bytes >= bytes && block->bytes <= 2 * bytes && (best == all.kept.end() || block->bytes < best->bytes))
      best = block;
  Block found{};
  if (best != all.kept.end()) {
    found = *best;
    all.kept_bytes -= found.bytes;
    all.kept.erase(best);
  } else {
    const std::size_t most = all.used_bytes + bytes > all.most_used_bytes ? all.used_bytes + bytes : all.most_used_bytes;
    while (!all.kept.empty() && all.kept_bytes + all.used_bytes + bytes > most) drop_oldest(all);
    found = {allocate(bytes), bytes};
    while (!found.memory && !all.kept.empty()) {
      drop_oldest(all);
      found.memory = allocate(bytes);
    }
    if (!found.memory) throw std::bad_alloc();
  }
  all.used.emplace(found.memory, found.bytes);
  all.used_bytes += found.bytes;
  if (all.used_bytes > all.most_used_bytes) all.most_used_bytes = all.used_bytes;
  return found.memory;
}

void give_back(void* memory) noexcept {
  Pool& all = pool();
  const std::lock_guard lock(all.mutex);
  const auto found = all.used.find(memory);
  const std::size_t bytes = found->second;
  all.used.erase(found);
  all.used_bytes -= bytes;
  all.kept.push_back({memory, bytes});
  all.kept_bytes += bytes;
}

void release_kept() {
  Pool& all = pool();
  const std::lock_guard lock(all.mutex);
  while (!all.kept.empty()) drop_oldest(all);
  all.most_used_bytes = all.used_bytes;
}

std::size_t kept_bytes() {
  Pool& all = pool();
  const std::lock_guard lock(all.mutex);
  return all.kept_bytes;
}

}  // namespace triscale
