/* config_load.h - what a load keeps while it runs, private to train/config*.c.
 *
 * Invariants: `from` has one entry a row of gq_keys and says who set the key last; problems beyond GQ_PROBLEMS_MAX are
 * only counted, so that hostile input cannot make reporting slow.
 */
#ifndef GIFQA_TRAIN_CONFIG_LOAD_H
#define GIFQA_TRAIN_CONFIG_LOAD_H

#include "train/config_table.h"

enum { GQ_KEYS_MAX = 256 };             /* rows of the table; checked on load                     */

typedef struct gq_place {
    int         line, column;           /* in the file; 0: set by an override, or not set         */
    const char *override;               /* "a.b=c"; NULL: not by an override                      */
} gq_place;

typedef struct gq_config_loader {
    gq_config   *c;
    const char  *name;                  /* of the file, for messages                              */
    gq_problems *problems;
    gq_place     from[GQ_KEYS_MAX];     /* by row of gq_keys                                      */
    gq_status    status;                /* GQ_OK, or what stops the load at once (memory)         */
} gq_config_loader;

/* Adds a problem; `at` NULL: the file as a whole. */
void gq_problem_add(gq_config_loader *l, const gq_place *at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Did the file or an override set it? */
bool gq_config_given(const gq_config_loader *l, const char *key);
/* Adds a problem at the place of a key: "file:3:5: clip.heads: ..." */
void gq_problem_key(gq_config_loader *l, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Resolves "0 = from ..." keys, then checks what spans keys. */
void gq_config_resolve(gq_config_loader *l);
void gq_config_check(gq_config_loader *l);

#endif
