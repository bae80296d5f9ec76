// Compiled once for each instruction set, under the namespace that ISA names.
#include "depthwise.h"
#include "elementwise.h"
#include "pointwise.h"

#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)

namespace ISA {

extern const triscale::Kernels kernels;
const triscale::Kernels kernels = {
    .name = TEXT(ISA),
    .pointwise_forward = pointwise_forward,
    .pointwise_backward = pointwise_backward,
    .depthwise_forward = depthwise_forward,
    .depthwise_backward = depthwise_backward,
    .pool = pool,
    .statistics = statistics,
    .normalise = normalise,
    .gradient_sums = gradient_sums,
    .raw_gradient = raw_gradient,
};

}  // namespace ISA
