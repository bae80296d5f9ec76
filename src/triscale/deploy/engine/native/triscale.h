/* Runs one network that Triscale packed. No Python, no other library. Safe to call from several threads at a time. */
#ifndef TRISCALE_H
#define TRISCALE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct triscale_model triscale_model;

/* Opens a packed file, or for NULL the network that was exported with this library.
 * `threads` work on one call. Returns NULL where that fails, and writes the reason to `error` (`error_size` bytes with
 * the final zero; may be NULL). */
triscale_model *triscale_open(const char *path, int threads, char *error, size_t error_size);

/* Shape of an image, and how many numbers a run gives for each. */
size_t triscale_channels(const triscale_model *model);
size_t triscale_height(const triscale_model *model);
size_t triscale_width(const triscale_model *model);
size_t triscale_outputs(const triscale_model *model);

/* JSON in UTF-8 of triscale_description_size bytes, without a final zero: the network, how images are cropped and
 * resized before a run ("preprocessing"), and the names of the outputs ("class_names"). It lives as long as the model. */
const char *triscale_description(const triscale_model *model);
size_t triscale_description_size(const triscale_model *model);

/* Logits [count][outputs] of images [count][height][width][channels], bytes 0..255. Returns 0, or -1 where memory ran
 * out. */
int triscale_run_bytes(triscale_model *model, const uint8_t *images, size_t count, float *logits);

/* The same for normalised images [count][channels][height][width]. */
int triscale_run_floats(triscale_model *model, const float *images, size_t count, float *logits);

void triscale_close(triscale_model *model);

#ifdef __cplusplus
}
#endif
#endif
