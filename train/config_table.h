/* config_table.h - the key table as data, private to train/config*.c.
 *
 * Invariants: gq_keys is in the order of config_keys.h; a key's value lives at `offset` in gq_config (in an item for
 * the fields of a list). Conversion between text and value goes through this file only, in both directions, and does
 * not depend on the process locale.
 */
#ifndef GIFQA_TRAIN_CONFIG_TABLE_H
#define GIFQA_TRAIN_CONFIG_TABLE_H

#include "train/config.h"

typedef enum gq_cfg_type {
    GQ_TYPE_SECTION, GQ_TYPE_BOOL, GQ_TYPE_MAYBE, GQ_TYPE_INT, GQ_TYPE_UINT, GQ_TYPE_SIZE, GQ_TYPE_REAL, GQ_TYPE_ENUM,
    GQ_TYPE_AMOUNT, GQ_TYPE_STR,        /* these are one scalar                                   */
    GQ_TYPE_REAL3, GQ_TYPE_STRS, GQ_TYPE_MIX, GQ_TYPE_LIST
} gq_cfg_type;

typedef struct gq_key gq_key;
struct gq_key {
    const char        *name;            /* "train.batch"; of a field: "match"                     */
    gq_cfg_type        type;
    size_t             offset;          /* bytes, in gq_config or in the item                     */
    const char        *def;             /* YAML text; NULL: must be given; "unset": GQ_UNSET      */
    double             lo, hi;          /* inclusive range of numbers                             */
    const char        *unit;            /* "" when a number is a number                           */
    const char        *doc;
    const char *const *names;           /* ENUM: YAML names by value, NULL at the end             */
    size_t             size;            /* bytes of a string with NUL; of an item (LIST)          */
    size_t             max;             /* items of STRS, MIX, LIST                               */
    const gq_key      *fields;          /* LIST: of an item                                       */
    size_t             n_fields;
};

extern const gq_key gq_keys[];
extern const size_t gq_n_keys;

/* A string that grows; failed: memory ran out, the text is incomplete. */
typedef struct gq_text {
    char  *p;                           /* NUL-terminated after the first addition; gq_free       */
    size_t n, cap;                      /* bytes used, held                                       */
    bool   failed;
} gq_text;
void gq_text_add(gq_text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

const gq_key *gq_key_find(const char *name, size_t len);     /* keys and sections; NULL: none     */
/* The key or section that `name` most likely means, or NULL. */
const gq_key *gq_key_nearest(const char *name);
bool          gq_key_is_scalar(const gq_key *k);
size_t        gq_key_count(const gq_key *k, const void *at); /* items of STRS, MIX, LIST          */
char         *gq_key_item(const gq_key *k, void *at, size_t i);           /* item i of STRS, LIST */

/* Text to value. `plain` is false for quoted text, which only strings and names accept. On failure `why` says what
 * was found and what is expected, without place and key. */
bool gq_key_set(const gq_key *k, void *at, const char *text, bool plain, char why[GQ_PROBLEM_TEXT]);
/* A number by the rules of a REAL key; used for the elements of REAL3 and MIX as well. */
bool gq_key_real(const gq_key *k, double *out, const char *text, bool plain, char why[GQ_PROBLEM_TEXT]);
/* Value to text that gq_key_set() and the YAML reader give the same value for; lists in flow style. */
void gq_key_format(const gq_key *k, const void *at, gq_text *out);
void gq_key_format_item(const gq_key *k, const void *at, size_t i, gq_text *out);  /* one of LIST */
void gq_text_real(gq_text *out, double v);             /* the shortest text that reads back equal */
void gq_text_quoted(gq_text *out, const char *s);            /* double-quoted YAML                */
/* "integer", "one of zero, drop", "number": for messages and documents. */
void gq_key_type_text(const gq_key *k, gq_text *out);
void gq_key_default_text(const gq_key *k, gq_text *out);

#endif
