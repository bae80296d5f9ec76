// The engine for C.
#include <dlfcn.h>

#include <cstring>
#include <exception>
#include <memory>
#include <stdexcept>

#include "engine.h"
#include "triscale.h"

#define TRISCALE_EXPORT extern "C" __attribute__((visibility("default")))

struct triscale_model {
  triscale::Engine engine;
};

namespace {

// Where this library lies.
std::string own_path() {
  Dl_info found;
  if (!dladdr(reinterpret_cast<const void*>(&own_path), &found) || !found.dli_fname)
    throw std::runtime_error("cannot find this library's own file; name a packed one");
  return found.dli_fname;
}

int run(triscale_model* model, const std::uint8_t* bytes, const float* floats, std::size_t count, float* logits) {
  const triscale::Header& header = model->engine.program().header;
  const std::size_t pixels = std::size_t{header.channels} * header.height * header.width;
  constexpr std::size_t kAtOnce = 1 << 20;  // a count that an int holds
  try {
    for (std::size_t done = 0; done < count; done += kAtOnce) {
      const std::size_t now = count - done < kAtOnce ? count - done : kAtOnce;
      model->engine.run({bytes ? bytes + done * pixels : nullptr, floats ? floats + done * pixels : nullptr,
                         static_cast<int>(now)},
                        logits + done * header.outputs);
    }
  } catch (const std::exception&) {
    return -1;
  }
  return 0;
}

}  // namespace

TRISCALE_EXPORT triscale_model* triscale_open(const char* path, int threads, char* error, std::size_t error_size) {
  std::string reason = "out of memory";
  try {
    if (threads < 1 || threads > 1024) throw std::runtime_error("threads: 1 to 1024");
    auto bytes = std::make_unique<triscale::Bytes>(path ? std::string(path) : own_path());
    if (!path) bytes->keep_appended();
    return new triscale_model{triscale::Engine(std::move(bytes), threads, "")};
  } catch (const std::runtime_error& problem) {
    reason = problem.what();
  } catch (const std::exception&) {
  }
  if (error && error_size) {
    const std::size_t length = reason.size() < error_size - 1 ? reason.size() : error_size - 1;
    std::memcpy(error, reason.data(), length);
    error[length] = 0;
  }
  return nullptr;
}

TRISCALE_EXPORT std::size_t triscale_channels(const triscale_model* model) {
  return model->engine.program().header.channels;
}
TRISCALE_EXPORT std::size_t triscale_height(const triscale_model* model) {
  return model->engine.program().header.height;
}
TRISCALE_EXPORT std::size_t triscale_width(const triscale_model* model) { return model->engine.program().header.width; }
TRISCALE_EXPORT std::size_t triscale_outputs(const triscale_model* model) {
  return model->engine.program().header.outputs;
}

TRISCALE_EXPORT const char* triscale_description(const triscale_model* model) {
  return model->engine.program().description.data();
}
TRISCALE_EXPORT std::size_t triscale_description_size(const triscale_model* model) {
  return model->engine.program().description.size();
}

TRISCALE_EXPORT int triscale_run_bytes(triscale_model* model, const std::uint8_t* images, std::size_t count,
                                       float* logits) {
  return run(model, images, nullptr, count, logits);
}

TRISCALE_EXPORT int triscale_run_floats(triscale_model* model, const float* images, std::size_t count, float* logits) {
  return run(model, nullptr, images, count, logits);
}

TRISCALE_EXPORT void triscale_close(triscale_model* model) { delete model; }
