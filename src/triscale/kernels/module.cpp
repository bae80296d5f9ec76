// Python's view of the kernels: shapes are checked here, types and layout by nanobind.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <optional>
#include <stdexcept>
#include <string>

#include "pool.h"
#include "team.h"
#include "training.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace portable { extern const triscale::Kernels kernels; }
namespace avx2 { extern const triscale::Kernels kernels; }
namespace avx512 { extern const triscale::Kernels kernels; }

namespace triscale {
namespace {

template <int Axes>
using Array = nb::ndarray<float, nb::ndim<Axes>, nb::c_contig, nb::device::cpu>;
template <int Axes>
using MaybeArray = std::optional<Array<Axes>>;
using Map = Array<4>;  // images, height, width, channels

const Kernels* choose() {
#if defined(TRISCALE_X86)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    return &avx512::kernels;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &avx2::kernels;
#endif
  return &portable::kernels;
}

const Kernels* chosen = choose();

void select(const std::string& name) {
  for (const Kernels* known : {
           &portable::kernels,
#if defined(TRISCALE_X86)
           &avx2::kernels, &avx512::kernels,
#endif
       })
    if (name == known->name) {
      chosen = known;
      return;
    }
  throw nb::value_error(("no kernels for the instruction set " + name).c_str());
}

template <typename T>
void check(const char* name, const T& array, std::initializer_list<std::size_t> shape) {
  std::size_t axis = 0;
  for (const std::size_t size : shape) {
    if (array.shape(axis) != size)
      throw nb::value_error((std::string(name) + ": axis " + std::to_string(axis) + " has " +
                             std::to_string(array.shape(axis)) + ", not " + std::to_string(size))
                                .c_str());
    ++axis;
  }
}

template <typename T>
float* pointer(const std::optional<T>& array) {
  return array ? array->data() : nullptr;
}

template <typename T>
void check(const char* name, const std::optional<T>& array, std::initializer_list<std::size_t> shape) {
  if (array) check(name, *array, shape);
}

Reading reading_of(const MaybeArray<2>& affine, int activation, const MaybeArray<2>& factor, std::size_t images,
                   std::size_t channels) {
  check("affine", affine, {3, channels});
  check("factor", factor, {images, channels});
  if (!affine && (activation || factor)) throw nb::value_error("affine: needed by an activation or a factor");
  Reading reading;
  if (affine) {
    reading.mean = affine->data();
    reading.scale = reading.mean + channels;
    reading.beta = reading.scale + channels;
  }
  reading.activation = activation;
  reading.factor = pointer(factor);
  return reading;
}

// The arguments that make a RawGradient, as Python gives them.
struct GradientSource {
  Map gradient, raw;
  Array<2> affine;
  int activation;
  MaybeArray<2> factor, addend, coefficients;
  MaybeArray<1> image_factor;

  RawGradient source(const std::size_t (&shape)[4]) const {
    const std::size_t images = shape[0], channels = shape[3];
    check("gradient", gradient, {images, shape[1], shape[2], channels});
    check("raw", raw, {images, shape[1], shape[2], channels});
    check("addend", addend, {images, channels});
    check("coefficients", coefficients, {3, channels});
    check("image_factor", image_factor, {images});
    RawGradient result;
    result.gradient = gradient.data();
    result.raw = raw.data();
    result.reading = reading_of(affine, activation, factor, images, channels);
    result.image_factor = pointer(image_factor);
    result.addend = pointer(addend);
    if (coefficients) {
      result.a = coefficients->data();
      result.b = result.a + channels;
      result.d = result.b + channels;
    }
    return result;
  }
};

Rows rows_of(const Map& map) {
  return {static_cast<std::ptrdiff_t>(map.shape(0)), static_cast<std::ptrdiff_t>(map.shape(1) * map.shape(2))};
}

Pointwise pointwise_of(const Map& x, const Array<2>& weight) {
  check("weight", weight, {weight.shape(0), x.shape(3)});
  return {rows_of(x), static_cast<int>(x.shape(3)), static_cast<int>(weight.shape(0))};
}

Window window_of(const Map& x, const Map& out, const Array<3>& weight, int stride, int top, int left) {
  const int kernel = static_cast<int>(weight.shape(1));
  check("weight", weight, {x.shape(3), weight.shape(2), weight.shape(1)});
  check("out", out, {x.shape(0), out.shape(1), out.shape(2), x.shape(3)});
  const auto fits = [&](std::size_t size, std::size_t out_size, int pad) {
    const std::ptrdiff_t last = static_cast<std::ptrdiff_t>(out_size - 1) * stride - pad;
    return out_size > 0 && pad >= 0 && pad < kernel && last < static_cast<std::ptrdiff_t>(size);
  };
  if (kernel != 3 && kernel != 5 && kernel != 7) throw nb::value_error("weight: the kernel must be 3, 5 or 7");
  if (stride != 1 && stride != 2) throw nb::value_error("stride: must be 1 or 2");
  if (!fits(x.shape(1), out.shape(1), top) || !fits(x.shape(2), out.shape(2), left))
    throw nb::value_error("out: its windows lie outside the padded map");
  const auto size = [](std::size_t value) { return static_cast<std::ptrdiff_t>(value); };
  return {size(x.shape(0)),   size(x.shape(1)),   size(x.shape(2)), size(x.shape(3)),
          size(out.shape(1)), size(out.shape(2)), kernel,           stride,
          top,                left};
}

void pointwise_forward(int threads, const Map& x, const MaybeArray<2>& affine, int activation,
                       const MaybeArray<2>& factor, const Array<2>& weight, const Map& out, const Array<2>& statistics) {
  const Pointwise op = pointwise_of(x, weight);
  check("out", out, {x.shape(0), x.shape(1), x.shape(2), weight.shape(0)});
  check("statistics", statistics, {2, weight.shape(0)});
  const Reading reading = reading_of(affine, activation, factor, x.shape(0), x.shape(3));
  nb::gil_scoped_release released;
  chosen->pointwise_forward(team(threads), op, x.data(), reading, weight.data(), out.data(), statistics.data(),
                            statistics.data() + op.outputs);
}

void pointwise_backward(int threads, const GradientSource& source, const Map& x, const MaybeArray<2>& affine,
                        int activation, const MaybeArray<2>& factor, const Array<2>& weight,
                        const std::optional<Map>& shortcut, const Map& x_gradient, const Array<2>& weight_gradient,
                        const MaybeArray<3>& sums) {
  const Pointwise op = pointwise_of(x, weight);
  const RawGradient gradient = source.source({x.shape(0), x.shape(1), x.shape(2), weight.shape(0)});
  const Reading reading = reading_of(affine, activation, factor, x.shape(0), x.shape(3));
  check("shortcut", shortcut, {x.shape(0), x.shape(1), x.shape(2), x.shape(3)});
  check("x_gradient", x_gradient, {x.shape(0), x.shape(1), x.shape(2), x.shape(3)});
  check("weight_gradient", weight_gradient, {weight.shape(0), weight.shape(1)});
  check("sums", sums, {5, x.shape(0), x.shape(3)});
  if (affine.has_value() != sums.has_value()) throw nb::value_error("sums: go with affine");
  nb::gil_scoped_release released;
  chosen->pointwise_backward(team(threads), op, gradient, x.data(), reading, weight.data(), pointer(shortcut),
                             x_gradient.data(), weight_gradient.data(), pointer(sums));
}

void depthwise_forward(int threads, const Map& x, const MaybeArray<2>& affine, int activation, const Array<3>& weight,
                       int stride, int top, int left, const Map& out, const Array<2>& statistics) {
  const Window op = window_of(x, out, weight, stride, top, left);
  check("statistics", statistics, {2, x.shape(3)});
  const Reading reading = reading_of(affine, activation, std::nullopt, x.shape(0), x.shape(3));
  nb::gil_scoped_release released;
  chosen->depthwise_forward(team(threads), op, x.data(), reading, weight.data(), out.data(), statistics.data(),
                            statistics.data() + op.channels);
}

void depthwise_backward(int threads, const GradientSource& source, const Map& x, const MaybeArray<2>& affine,
                        int activation, const Array<3>& weight, int stride, int top, int left,
                        const std::optional<Map>& shortcut, const Map& x_gradient, const Array<3>& weight_gradient,
                        const MaybeArray<2>& sums) {
  const Window op = window_of(x, source.raw, weight, stride, top, left);
  const RawGradient gradient = source.source({x.shape(0), source.raw.shape(1), source.raw.shape(2), x.shape(3)});
  const Reading reading = reading_of(affine, activation, std::nullopt, x.shape(0), x.shape(3));
  check("shortcut", shortcut, {x.shape(0), x.shape(1), x.shape(2), x.shape(3)});
  check("x_gradient", x_gradient, {x.shape(0), x.shape(1), x.shape(2), x.shape(3)});
  check("weight_gradient", weight_gradient, {weight.shape(0), weight.shape(1), weight.shape(2)});
  check("sums", sums, {2, x.shape(3)});
  if (affine.has_value() != sums.has_value()) throw nb::value_error("sums: go with affine");
  if (affine && shortcut) throw nb::value_error("shortcut: belongs to a map that is read as it is");
  nb::gil_scoped_release released;
  chosen->depthwise_backward(team(threads), op, gradient, x.data(), reading, weight.data(), pointer(shortcut),
                             x_gradient.data(), weight_gradient.data(), pointer(sums));
}

void pool(int threads, const Map& x, const Array<2>& affine, int activation, const Array<2>& sums) {
  check("sums", sums, {x.shape(0), x.shape(3)});
  const Reading reading = reading_of(affine, activation, std::nullopt, x.shape(0), x.shape(3));
  nb::gil_scoped_release released;
  chosen->pool(team(threads), rows_of(x), static_cast<int>(x.shape(3)), x.data(), reading, sums.data());
}

void statistics(int threads, const Map& x, const Array<2>& out) {
  check("out", out, {2, x.shape(3)});
  nb::gil_scoped_release released;
  chosen->statistics(team(threads), rows_of(x), static_cast<int>(x.shape(3)), x.data(), out.data(),
                     out.data() + x.shape(3));
}

void normalise(int threads, const Map& x, const Array<2>& affine, int activation, const MaybeArray<1>& image_factor,
               const std::optional<Map>& shortcut, const Map& out) {
  check("image_factor", image_factor, {x.shape(0)});
  check("shortcut", shortcut, {x.shape(0), x.shape(1), x.shape(2), x.shape(3)});
  check("out", out, {x.shape(0), x.shape(1), x.shape(2), x.shape(3)});
  const Reading reading = reading_of(affine, activation, std::nullopt, x.shape(0), x.shape(3));
  nb::gil_scoped_release released;
  chosen->normalise(team(threads), rows_of(x), static_cast<int>(x.shape(3)), x.data(), reading, pointer(image_factor),
                    pointer(shortcut), out.data());
}

void gradient_sums(int threads, const GradientSource& source, const Array<2>& sums) {
  const Map& x = source.raw;
  check("sums", sums, {2, x.shape(3)});
  const RawGradient gradient = source.source({x.shape(0), x.shape(1), x.shape(2), x.shape(3)});
  nb::gil_scoped_release released;
  chosen->gradient_sums(team(threads), rows_of(x), static_cast<int>(x.shape(3)), gradient, sums.data());
}

void raw_gradient(int threads, const GradientSource& source, const Map& out) {
  const Map& x = source.raw;
  check("out", out, {x.shape(0), x.shape(1), x.shape(2), x.shape(3)});
  const RawGradient gradient = source.source({x.shape(0), x.shape(1), x.shape(2), x.shape(3)});
  nb::gil_scoped_release released;
  chosen->raw_gradient(team(threads), rows_of(x), static_cast<int>(x.shape(3)), gradient, out.data());
}

nb::ndarray<nb::pytorch, float, nb::ndim<4>> empty_map(std::size_t images, std::size_t height, std::size_t width,
                                                       std::size_t channels) {
  void* memory = take(images * height * width * channels * sizeof(float));
  nb::capsule owner(memory, [](void* held) noexcept { give_back(held); });
  return {memory, {images, height, width, channels}, owner};
}

}  // namespace
}  // namespace triscale

NB_MODULE(_native, module) {
  using namespace triscale;
  nb::class_<GradientSource>(module, "GradientSource")
      .def(
          "__init__",
          [](GradientSource* self, Map gradient, Map raw, Array<2> affine, int activation, MaybeArray<2> factor,
             MaybeArray<2> addend, MaybeArray<1> image_factor, MaybeArray<2> coefficients) {
            new (self) GradientSource{gradient, raw, affine, activation, factor, addend, coefficients, image_factor};
          },
          "gradient"_a.noconvert(), "raw"_a.noconvert(), "affine"_a.noconvert(), "activation"_a, "factor"_a.noconvert().none() = nb::none(),
          "addend"_a.noconvert().none() = nb::none(), "image_factor"_a.noconvert().none() = nb::none(),
          "coefficients"_a.noconvert().none() = nb::none());
  module.def("pointwise_forward", &triscale::pointwise_forward, "threads"_a, "x"_a.noconvert(), "affine"_a.noconvert().none(), "activation"_a,
             "factor"_a.noconvert().none(), "weight"_a.noconvert(), "out"_a.noconvert(), "statistics"_a.noconvert());
  module.def("pointwise_backward", &triscale::pointwise_backward, "threads"_a, "source"_a, "x"_a.noconvert(), "affine"_a.noconvert().none(),
             "activation"_a, "factor"_a.noconvert().none(), "weight"_a.noconvert(), "shortcut"_a.noconvert().none(), "x_gradient"_a.noconvert(), "weight_gradient"_a.noconvert(),
             "sums"_a.noconvert().none());
  module.def("depthwise_forward", &triscale::depthwise_forward, "threads"_a, "x"_a.noconvert(), "affine"_a.noconvert().none(), "activation"_a,
             "weight"_a.noconvert(), "stride"_a, "top"_a, "left"_a, "out"_a.noconvert(), "statistics"_a.noconvert());
  module.def("depthwise_backward", &triscale::depthwise_backward, "threads"_a, "source"_a, "x"_a.noconvert(), "affine"_a.noconvert().none(),
             "activation"_a, "weight"_a.noconvert(), "stride"_a, "top"_a, "left"_a, "shortcut"_a.noconvert().none(), "x_gradient"_a.noconvert(),
             "weight_gradient"_a.noconvert(), "sums"_a.noconvert().none());
  module.def("pool", &triscale::pool, "threads"_a, "x"_a.noconvert(), "affine"_a.noconvert(), "activation"_a, "sums"_a.noconvert());
  module.def("statistics", &triscale::statistics, "threads"_a, "x"_a.noconvert(), "out"_a.noconvert());
  module.def("normalise", &triscale::normalise, "threads"_a, "x"_a.noconvert(), "affine"_a.noconvert(), "activation"_a, "image_factor"_a.noconvert().none(),
             "shortcut"_a.noconvert().none(), "out"_a.noconvert());
  module.def("gradient_sums", &triscale::gradient_sums, "threads"_a, "source"_a, "sums"_a.noconvert());
  module.def("raw_gradient", &triscale::raw_gradient, "threads"_a, "source"_a, "out"_a.noconvert());
  module.def("empty_map", &triscale::empty_map, "images"_a, "height"_a, "width"_a, "channels"_a);
  module.def("release_kept", &triscale::release_kept);
  module.def("kept_bytes", &triscale::kept_bytes);
  module.def("has_threads", &triscale::has_threads);
  module.def("instruction_set", [] { return triscale::chosen->name; });
  module.def("select_instruction_set", &triscale::select, "name"_a);
}
