// Memory for feature maps that is kept for the next one: fresh pages from the system cost more than the work on them.
#pragma once

#include <cstddef>

namespace triscale {

// At least `bytes` bytes, 64-byte aligned, on huge pages where the system has them. Throws std::bad_alloc.
void* take(std::size_t bytes);
void give_back(void* memory) noexcept;

// Returns what is kept to the system. What is held exceeds the most that was in use at once by a quarter at most, unless
// pieces in use keep more from being returned.
void release_kept();
std::size_t kept_bytes();

}  // namespace triscale
