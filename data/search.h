/* search.h - which frames of many GIFs lie nearest to a vector: one file, exact search.
 *
 * An index holds a row for each group of consecutive frames of each GIF: the vector that CLIP-Cut
 * gives a group (data/clipcut.h: unit vectors, their mean, of length one again), as float or
 * rounded to bfloat16. A float is stored in two halves: U, the upper 16 bits of (bits + 0x8000),
 * which is the nearest bfloat16, and L, its lower 16 bits; the bits are 65536 U + L, L with a sign.
 * The file, little-endian:
 *
 *   0     "GQFRAMES", u32 version 2, u32 0 (float) or 1 (bfloat16), u32 dim, u32 frames of a group
 *   24    tower, 16 bytes: who made the embeddings; zeros up to 64
 *   64    for each block of n rows: U [n, stride], floats also L [n, stride]; stride = dim rounded
 *         up to 32 with zeros
 *         u64 row[gifs + 1]       the first row of each GIF, then rows
 *         u64 name[gifs + 1]      where its name begins, then bytes of all names
 *         u64 gif[blocks + 1]     the first GIF of each block, then gifs
 *         u64 sum[blocks]         XXH3 of U of each block
 *         floats: u64 low[blocks] XXH3 of L; double slack[blocks], the largest |x - U(x)| of rows
 *         names, a NUL behind each
 *   -128  u64 gifs, rows, blocks, bytes of names; XXH3 of the head, of each of the six tables (of
 *         nothing, for those that are not there), of the names; XXH3 of the tail so far;
 *         "GQFRAMES", zeros
 *
 * Search maps the file and reads the upper halves of every row: blocks of whole GIFs are tiles for
 * the threads, each is compared with its checksum while it is in the cache. Reading memory is what
 * takes the time. The distance to U(x) is that to x up to slack, and the float sum is that of U(x)
 * up to its rounding, so both give bounds of every distance; only rows whose lower bound is not
 * beyond the k-th upper one are read whole, and their distances are sums of double. With floats
 * that is half of the file and the rows that matter.
 *
 * Invariants: what is found are the nearest of all rows as they are stored, by distances summed in
 * double in index order, ties to the lower row: the same hits, to the bit, for any number of
 * threads and on any machine. Nothing in the file is trusted: what is not exactly this is GQ_EINPUT, with
 * the byte or the rows where it is not. Ownership: what open functions return is the caller's;
 * strings of hits are the index's. One thread at a time per writer and per index.
 */
#ifndef GIFQA_DATA_SEARCH_H
#define GIFQA_DATA_SEARCH_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "core/threads.h"

enum {
    GQ_SEARCH_TOWER = 16,               /* bytes */
    GQ_SEARCH_HITS = 1024,              /* most hits, and most of one GIF */
    GQ_SEARCH_DIM = 65536,              /* largest dim */
};

/* ---- writing ---- */

typedef struct gq_search_writer gq_search_writer;

typedef struct gq_search_opts {
    int64_t dim;                        /* 1..GQ_SEARCH_DIM */
    int64_t group;                      /* frames of a row, 1..GQ_CLIPCUT_MAX */
    bool    bf16;
    uint8_t tower[GQ_SEARCH_TOWER];
} gq_search_opts;

/* The file appears with gq_search_finish(), which frees w; gq_search_abort() leaves none. */
gq_status gq_search_create(const char *path, const gq_search_opts *o, gq_search_writer **out,
                           gq_error *err);
/* frames [n, dim], any length but zero; names of GIFs need not differ. */
gq_status gq_search_add(gq_search_writer *w, const char *name, const float *frames, int64_t n,
                        gq_error *err);
gq_status gq_search_finish(gq_search_writer *w, gq_error *err);
void      gq_search_abort(gq_search_writer *w);              /* NULL allowed */

/* ---- searching ---- */

typedef struct gq_search gq_search;

typedef struct gq_search_info {
    int64_t  dim, group, gifs, rows;
    uint64_t bytes;                     /* of the file */
    bool     bf16;
    uint8_t  tower[GQ_SEARCH_TOWER];
} gq_search_info;

typedef struct gq_search_hit {
    const char *gif;
    int64_t     row;                    /* of the index */
    int64_t     frame;                  /* of the GIF: the first one of the group */
    double      distance;               /* L2 of unit vectors; cosine = 1 - distance^2 / 2 */
} gq_search_hit;

/* Reads and checks everything but the rows. Memory: the tables, and 4 bytes a row. */
gq_status gq_search_open(const char *path, gq_search **out, gq_error *err);
void      gq_search_close(gq_search *x);                     /* NULL allowed */
const gq_search_info *gq_search_about(const gq_search *x);
/* The k nearest rows to query [dim] (any length but zero), of each GIF its `each` nearest at most
 * (both 1..GQ_SEARCH_HITS), nearest first. hit has room for k; *n says how many there are. Damaged
 * rows are GQ_EINPUT. */
gq_status gq_search_find(gq_search *x, gq_pool *pool, const float *query, int64_t k, int64_t each,
                         gq_search_hit *hit, int64_t *n, gq_error *err);

#endif
