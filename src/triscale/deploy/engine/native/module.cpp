// Python's view of the engine.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <stdexcept>

#include "engine.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace triscale {
namespace {

using Bytes4 = nb::ndarray<const std::uint8_t, nb::ndim<4>, nb::c_contig, nb::device::cpu>;
using Floats4 = nb::ndarray<const float, nb::ndim<4>, nb::c_contig, nb::device::cpu>;
using Logits = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Seconds = nb::ndarray<double, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Packed = nb::ndarray<const std::uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

// The engine and the array its weights lie in, if not in a mapped file.
struct Held {
  std::optional<Packed> array;
  std::unique_ptr<Engine> engine;
};

std::unique_ptr<Engine> made(std::unique_ptr<Bytes> bytes, int threads, const std::string& instruction_set) {
  if (threads < 1 || threads > 1024) throw nb::value_error("threads: 1 to 1024");
  try {
    return std::make_unique<Engine>(std::move(bytes), threads, instruction_set);
  } catch (const std::runtime_error& error) {
    throw nb::value_error(error.what());
  }
}

std::unique_ptr<Bytes> mapped(const std::string& path) {
  try {
    return std::make_unique<Bytes>(path);
  } catch (const std::runtime_error& error) {
    throw nb::value_error(error.what());
  }
}

void run(Held& held, const Images& images, std::size_t channels, std::size_t height, std::size_t width,
         const Logits& logits, const std::optional<Seconds>& seconds) {
  const Header& header = held.engine->program().header;
  if (channels != header.channels || height != header.height || width != header.width)
    throw nb::value_error("images: their shape differs from the program's");
  if (logits.shape(0) != static_cast<std::size_t>(images.count) || logits.shape(1) != header.outputs)
    throw nb::value_error("logits: their shape does not fit the images");
  if (seconds && seconds->shape(0) != held.engine->program().steps.size())
    throw nb::value_error("seconds: one for each step");
  nb::gil_scoped_release released;
  held.engine->run(images, logits.data(), seconds ? seconds->data() : nullptr);
}

}  // namespace
}  // namespace triscale

NB_MODULE(_engine, module) {
  using namespace triscale;
  module.attr("VERSION") = kVersion;
  module.def("instruction_sets", &instruction_sets);
  module.def(
      "peak_flops",
      [](int threads, double seconds, const std::string& instruction_set) {
        const Kernels* kernels = kernels_of(instruction_set);
        if (!kernels) throw nb::value_error(("this machine has no instruction set " + instruction_set).c_str());
        if (threads < 1 || threads > 1024 || !(seconds > 0 && seconds <= 60))
          throw nb::value_error("threads: 1 to 1024; seconds: above 0, up to 60");
        nb::gil_scoped_release released;
        return peak_flops(*kernels, threads, seconds);
      },
      "threads"_a, "seconds"_a, "instruction_set"_a = "");
  nb::class_<Held>(module, "Engine")
      .def_static(
          "of_array",
          [](Packed packed, int threads, const std::string& instruction_set) {
            auto bytes = std::make_unique<Bytes>(packed.data(), packed.shape(0));
            return Held{packed, made(std::move(bytes), threads, instruction_set)};
          },
          "packed"_a.noconvert(), "threads"_a, "instruction_set"_a)
      .def_static(
          "of_file",
          [](const std::string& path, int threads, const std::string& instruction_set) {
            return Held{std::nullopt, made(mapped(path), threads, instruction_set)};
          },
          "path"_a, "threads"_a, "instruction_set"_a)
      .def(
          "run_bytes",
          [](Held& held, Bytes4 images, Logits logits, std::optional<Seconds> seconds) {
            run(held, {images.data(), nullptr, static_cast<int>(images.shape(0))}, images.shape(3), images.shape(1),
                images.shape(2), logits, seconds);
          },
          "images"_a.noconvert(), "logits"_a.noconvert(), "seconds"_a.none() = nb::none())
      .def(
          "run_floats",
          [](Held& held, Floats4 images, Logits logits, std::optional<Seconds> seconds) {
            run(held, {nullptr, images.data(), static_cast<int>(images.shape(0))}, images.shape(1), images.shape(2),
                images.shape(3), logits, seconds);
          },
          "images"_a.noconvert(), "logits"_a.noconvert(), "seconds"_a.none() = nb::none())
      .def_prop_ro("instruction_set", [](const Held& held) { return std::string(held.engine->kernels().name); })
      .def_prop_ro("threads", [](const Held& held) { return held.engine->threads(); })
      .def_prop_ro("image_shape",
                   [](const Held& held) {
                     const Header& header = held.engine->program().header;
                     return nb::make_tuple(header.channels, header.height, header.width);
                   })
      .def_prop_ro("outputs", [](const Held& held) { return held.engine->program().header.outputs; })
      .def_prop_ro("context_bytes", [](const Held& held) { return held.engine->context_bytes(); })
      .def_prop_ro("description", [](const Held& held) {
        const std::string& text = held.engine->program().description;
        return nb::bytes(text.data(), text.size());
      });
}
