// Threads and memory that the kernels borrow.
#pragma once

#include "training.h"

namespace triscale {

// Up to `threads` parts on the threads of the OpenMP runtime that this process has loaded (torch's); one without it.
Team team(int threads);

bool has_threads();

}  // namespace triscale
