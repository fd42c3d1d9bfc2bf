/* jsonfile.h - JSON through jansson, whole files through core/io.
 *
 * Invariants: files are read with a size limit, duplicate keys are refused, jansson's own depth
 * limit holds; errors name file and line. Files are written whole or not at all, keys in insertion
 * order, so the same object gives the same bytes.
 */
#ifndef GIFQA_DATA_JSONFILE_H
#define GIFQA_DATA_JSONFILE_H

#include <jansson.h>

#include "core/status.h"

/* Any value, from memory. GQ_EINPUT: *at says what is wrong; GQ_ENOMEM, which jansson alone would
 * not always tell apart from that. *out: json_decref() it; NULL unless GQ_OK. */
gq_status gq_json_parse(const char *text, size_t bytes, json_t **out, json_error_t *at);
/* Around the building of an object, where jansson leaves out what it has no memory for: watch,
 * build, and take the object through whole(), which is NULL (the object freed) when something is
 * missing. For each thread by itself. */
void    gq_json_watch(void);
json_t *gq_json_whole(json_t *object);
/* *out: an object; json_decref() it. GQ_EINPUT when missing or not a JSON object. */
gq_status gq_json_load(const char *path, size_t limit, json_t **out, gq_error *err);
/* Takes over `object`, also on failure; NULL stands for "no memory to build it". */
gq_status gq_json_save(const char *path, json_t *object, gq_error *err);

/* Files that vouch for others vouch for themselves as well: their last member, "seal", is the
 * SHA-256 of every byte before it. What was changed, truncated or written by hand is GQ_EINPUT. */
gq_status gq_json_save_sealed(const char *path, json_t *object, gq_error *err); /* not empty      */
gq_status gq_json_load_sealed(const char *path, size_t limit, json_t **out, gq_error *err);
enum { GQ_JSON_SEAL = 80 };             /* bytes of the end of such a file                        */
/* The end for these bytes: a comma, the seal, the closing brace. */
void gq_json_seal(const void *text, size_t bytes, char end[GQ_JSON_SEAL + 1]);

#endif
