/* jsonfile.h - whole JSON files through jansson and core/io.
 *
 * Invariants: files are read with a size limit, duplicate keys are refused, jansson's own depth
 * limit holds; errors name file and line. Files are written whole or not at all, keys in insertion
 * order, so the same object gives the same bytes.
 */
#ifndef GIFQA_DATA_JSONFILE_H
#define GIFQA_DATA_JSONFILE_H

#include <jansson.h>

#include "core/status.h"

/* *out: an object; json_decref() it. GQ_EINPUT when missing or not a JSON object. */
gq_status gq_json_load(const char *path, size_t limit, json_t **out, gq_error *err);
/* Takes over `object`, also on failure; NULL stands for "no memory to build it". */
gq_status gq_json_save(const char *path, json_t *object, gq_error *err);

#endif
