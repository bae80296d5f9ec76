#include "pool.h"

#include <cstdlib>
#include <iterator>
#include <map>
#include <mutex>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace triscale {
namespace {

constexpr std::size_t kHugePage = 2 << 20;
constexpr std::size_t kStep = 4096;

// A piece of a segment; pieces of one segment lie side by side and free neighbours are merged.
struct Piece {
  std::size_t bytes;
  char* segment;
  bool used;
};

struct Pool {
  std::mutex mutex;
  std::map<char*, Piece> pieces;  // by address
  std::size_t held_bytes = 0, used_bytes = 0, most_used_bytes = 0;
};

using Place = std::map<char*, Piece>::iterator;

Pool& pool() {
  static Pool* const instance = new Pool;  // never destroyed: tensors may outlive everything
  return *instance;
}

char* allocate(std::size_t bytes) {
  const bool huge = bytes >= 2 * kHugePage;
  auto* memory = static_cast<char*>(std::aligned_alloc(huge ? kHugePage : kStep, bytes));
#if defined(__linux__)
  if (memory && huge) madvise(memory, bytes, MADV_HUGEPAGE);
#endif
  return memory;
}

// Returns segments nothing lies in to the system, until no more than `most` bytes are held.
void shrink(Pool& all, std::size_t most) {
  for (Place place = all.pieces.begin(); place != all.pieces.end() && all.held_bytes > most;) {
    const Place next = std::next(place);
    const bool whole = place->first == place->second.segment &&
                       (next == all.pieces.end() || next->second.segment != place->second.segment);
    if (whole && !place->second.used) {
      all.held_bytes -= place->second.bytes;
      std::free(place->second.segment);
      all.pieces.erase(place);
    }
    place = next;
  }
}

Place smallest_that_fits(Pool& all, std::size_t bytes) {
  Place best = all.pieces.end();
  for (Place place = all.pieces.begin(); place != all.pieces.end(); ++place)
    if (!place->second.used && place->second.bytes >= bytes &&
        (best == all.pieces.end() || place->second.bytes < best->second.bytes))
      best = place;
  return best;
}

Place new_segment(Pool& all, std::size_t bytes) {
  const std::size_t most = all.most_used_bytes + all.most_used_bytes / 4;
  shrink(all, most > bytes ? most - bytes : 0);
  char* memory = allocate(bytes);
  if (!memory) {
    shrink(all, 0);
    memory = allocate(bytes);
  }
  if (!memory) throw std::bad_alloc();
  all.held_bytes += bytes;
  return all.pieces.emplace(memory, Piece{bytes, memory, false}).first;
}

Place merge_with_next(Pool& all, Place place) {
  const Place next = std::next(place);
  if (next == all.pieces.end() || next->second.used || next->second.segment != place->second.segment) return place;
  place->second.bytes += next->second.bytes;
  all.pieces.erase(next);
  return place;
}

}  // namespace

void* take(std::size_t bytes) {
  const std::size_t step = bytes >= 2 * kHugePage ? kHugePage : kStep;
  bytes = bytes == 0 ? step : (bytes + step - 1) / step * step;
  Pool& all = pool();
  const std::lock_guard lock(all.mutex);
  Place place = smallest_that_fits(all, bytes);
  if (place == all.pieces.end()) place = new_segment(all, bytes);
  Piece& piece = place->second;
  if (piece.bytes > bytes) {
    all.pieces.emplace(place->first + bytes, Piece{piece.bytes - bytes, piece.segment, false});
    piece.bytes = bytes;
  }
  piece.used = true;
  all.used_bytes += bytes;
  if (all.used_bytes > all.most_used_bytes) all.most_used_bytes = all.used_bytes;
  return place->first;
}

void give_back(void* memory) noexcept {
  Pool& all = pool();
  const std::lock_guard lock(all.mutex);
  const Place place = all.pieces.find(static_cast<char*>(memory));
  all.used_bytes -= place->second.bytes;
  place->second.used = false;
  merge_with_next(all, place);
  if (place == all.pieces.begin()) return;
  const Place before = std::prev(place);
  if (!before->second.used) merge_with_next(all, before);
}

void release_kept() {
  Pool& all = pool();
  const std::lock_guard lock(all.mutex);
  shrink(all, 0);
  all.most_used_bytes = all.used_bytes;
}

std::size_t kept_bytes() {
  Pool& all = pool();
  const std::lock_guard lock(all.mutex);
  return all.held_bytes - all.used_bytes;
}

}  // namespace triscale
