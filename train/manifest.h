/* manifest.h - MANIFEST.json of a checkpoint as text; private to train/checkpoint*.c.
 *
 * The file's last line is its own checksum: "manifest_sha256" over all bytes before that line.
 */
#ifndef GIFQA_TRAIN_MANIFEST_H
#define GIFQA_TRAIN_MANIFEST_H

#include "train/checkpoint.h"

#define GQ_CKPT_MANIFEST "MANIFEST.json"

/* Sizes and hashes of all files in `dir` as they are on disk now. */
gq_status gq_manifest_make(const char *dir, uint64_t step, gq_ckpt_manifest *out, gq_error *err);
gq_status gq_manifest_write(const char *dir, const gq_ckpt_manifest *m, gq_error *err);

#endif
