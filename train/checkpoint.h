/* checkpoint.h - the directory protocol of checkpoints: they appear whole, verified, or not at all.
 *
 *   RUN/checkpoints/step-00001200/     complete: MANIFEST.json has size and SHA-256 of each file
 *                   .tmp-1200-4711/    being written by process 4711
 *                   .old-00001200/     the former one of that step, while a new one takes its place
 *                   .bad-step-...      was broken when it was looked at; kept for the user to see
 *                   .aside-step-...    set aside by gq_ckpt_set_aside(); never looked at again
 *                   .trash-...         being deleted
 *                   LATEST             name of the newest; a hint for people, never needed
 *
 * Invariants: whoever changes anything here holds the lock of the run directory, so every .tmp and
 * .trash found at start is a leftover. Order is by step number, never by time. The files of a
 * checkpoint are written through core/io.h (gq_write_file, gq_st_writer), which syncs each and
 * compares what reads back with what was written; only then is the directory renamed to its final
 * name. The manifest ends in its own SHA-256 and holds no time or host: the same state gives the
 * same bytes. What the files hold is the caller's business.
 */
#ifndef GIFQA_TRAIN_CHECKPOINT_H
#define GIFQA_TRAIN_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

#define GQ_CKPT_NONE UINT64_MAX         /* "no such step"                                         */

enum { GQ_CKPT_FORMAT = 1, GQ_CKPT_FILES_MAX = 32, GQ_CKPT_NAME_MAX = 64 };

typedef struct gq_ckpt_file {
    char     name[GQ_CKPT_NAME_MAX];    /* plain name inside the checkpoint                       */
    uint64_t bytes;
    uint8_t  sha256[32];
} gq_ckpt_file;

typedef struct gq_ckpt_manifest {
    uint64_t     step;
    int          count;                 /* files, sorted by name                                  */
    uint64_t     bytes;                 /* sum over the files                                     */
    gq_ckpt_file file[GQ_CKPT_FILES_MAX];
} gq_ckpt_manifest;

/* ---- writing --------------------------------------------------------------------------------- */

typedef struct gq_ckpt gq_ckpt;         /* one being written                                      */

/* bytes: what the files will need, about. Twice that must be free (leftovers are removed first
 * if not), else GQ_EDISK with both numbers before anything is written. */
gq_status   gq_ckpt_begin(const char *run_dir, uint64_t step, uint64_t bytes, gq_ckpt **out,
                          gq_error *err);
const char *gq_ckpt_dir(const gq_ckpt *c);                 /* write the files into this directory */
/* Manifest of what is on disk, sync, rename, LATEST. Frees c, also when it fails; then nothing is
 * left of it and what was there before is untouched. *out (may be NULL): what was written. */
gq_status   gq_ckpt_commit(gq_ckpt *c, gq_ckpt_manifest *out, gq_error *err);
void        gq_ckpt_abort(gq_ckpt *c);                       /* NULL allowed                      */

/* Deletes all but the newest `keep_last` (at least 1) and `best_step` (or GQ_CKPT_NONE). Before
 * anything goes, one that stays must be healthy: `verified_step`, which the caller has just
 * committed or loaded, or else the newest one that verifies, which then also stays. */
gq_status gq_ckpt_rotate(const char *run_dir, int keep_last, uint64_t best_step,
                         uint64_t verified_step, gq_error *err);

/* ---- reading --------------------------------------------------------------------------------- */

typedef struct gq_ckpt_found {
    char    *path;                      /* newest healthy one, owned: gq_free(); NULL: none       */
    uint64_t step;                      /* GQ_CKPT_NONE: none                                     */
    int      broken;                    /* newer ones that did not verify                         */
    char     notes[2048];               /* a line for each of them: name, reason, new name        */
} gq_ckpt_found;

/* The newest healthy checkpoint of a run; none is no error. repair: the caller holds the lock,
 * so broken ones are renamed to .bad-*; without it nothing is changed (for readers). A
 * checkpoint that could not be read for another reason than damage (permission) is noted and
 * passed over, never renamed. An I/O error is returned as GQ_EDISK: the next try may succeed, and
 * steps must not be done again, nor an older answer be given, because of it. */
gq_status gq_ckpt_find(const char *run_dir, bool repair, gq_ckpt_found *out, gq_error *err);

/* Compares everything in a checkpoint with its manifest; GQ_EWEIGHTS names the first file that
 * differs and how. *out may be NULL. */
gq_status gq_ckpt_verify(const char *dir, gq_ckpt_manifest *out, gq_error *err);
gq_status gq_ckpt_manifest_read(const char *dir, gq_ckpt_manifest *out,
                                gq_error *err); /* files unread */

/* Steps of all complete checkpoints, ascending, not verified. *steps is the caller's: gq_free(). */
gq_status gq_ckpt_list(const char *run_dir, uint64_t **steps, size_t *count, gq_error *err);
char     *gq_ckpt_step_path(const char *run_dir,
                            uint64_t    step); /* owned by the caller; NULL: no memory */

/* ---- housekeeping, under the lock ------------------------------------------------------------ */

/* At start: removes leftovers and finishes an interrupted replacement. Missing directories are
 * fine. */
gq_status gq_ckpt_clean(const char *run_dir, gq_error *err);
/* Renames every checkpoint newer than `step` to .aside-*: after a resume from an older one they
 * belong to another history. *count (may be NULL): how many. */
gq_status gq_ckpt_set_aside(const char *run_dir, uint64_t step, int *count, gq_error *err);

#endif
