/* Writing an index of frames: rows go out block by block, tables stay in memory until the end. */
#include <math.h>
#include <string.h>

#include "core/bf16.h"
#include "core/io.h"
#include "core/mem.h"
#include "data/clipcut.h"
#include "data/search_file.h"

enum { BLOCK_ROWS = 1024 }; /* a block ends with the GIF that fills it: 1 MiB of 512 bf16 */

typedef struct numbers {
    uint64_t *at;
    size_t    n, room;
} numbers;

struct gq_search_writer {
    gq_file       *file;
    char          *path;
    gq_search_head head;
    int64_t        stride;
    uint64_t       rows;
    numbers        table[GQ_SEARCH_TABLES];
    char          *names;
    size_t         name_bytes, name_room;
    uint16_t      *upper, *lower; /* [room, stride] of rows not written yet; lower: floats only */
    size_t         block_rows, upper_room, lower_room;
    double         slack; /* of those rows */
    float         *vectors; /* [vector_room, dim] of the GIF being added */
    size_t         vector_room;
};

/* Makes room for `more` elements behind n; doubling. */
static gq_status reserve(void **at, size_t n, size_t more, size_t size, size_t *room, gq_error *err)
{
    size_t want = 0, twice = *room < 64 ? 64 : *room * 2;
    void  *p = NULL;

    if (gq_add_size(n, more, &want)) {
        if (want <= *room)
            return GQ_OK;
        want = want > twice ? want : twice;
        p = gq_realloc(*at, want, size);
    }
    if (!p)
        return gq_fail(err, GQ_ENOMEM, "out of memory for an index of frames");
    *at = p;
    *room = want;
    return GQ_OK;
}

static gq_status push(numbers *list, uint64_t value, gq_error *err)
{
    gq_status s = reserve((void **)&list->at, list->n, 1, sizeof *list->at, &list->room, err);

    if (s == GQ_OK)
        list->at[list->n++] = value;
    return s;
}

static size_t half_bytes(const gq_search_writer *w)
{
    return (size_t)w->stride * sizeof *w->upper;
}

gq_status gq_search_create(const char *path, const gq_search_opts *o, gq_search_writer **out,
                           gq_error *err)
{
    gq_search_writer *w = NULL;
    gq_status         s = GQ_OK;

    *out = NULL;
    if (o->dim < 1 || o->dim > GQ_SEARCH_DIM || o->group < 1 || o->group > GQ_CLIPCUT_MAX)
        return gq_fail(
            err, GQ_EUSAGE,
            "%s: rows of %lld numbers, %lld frames a row: 1 to %d and 1 to %d are possible", path,
            (long long)o->dim, (long long)o->group, GQ_SEARCH_DIM, GQ_CLIPCUT_MAX);
    w = gq_calloc(1, sizeof *w);
    if (!w || !(w->path = gq_strdup(path)))
        s = gq_fail(err, GQ_ENOMEM, "%s: out of memory", path);
    if (s == GQ_OK) {
        memcpy(w->head.magic, GQ_SEARCH_MAGIC, sizeof w->head.magic);
        memcpy(w->head.tower, o->tower, sizeof w->head.tower);
        w->head.version = GQ_SEARCH_VERSION;
        w->head.bf16 = o->bf16;
        w->head.dim = (uint32_t)o->dim;
        w->head.group = (uint32_t)o->group;
        w->stride = gq_search_stride(o->dim);
        s = gq_atomic_open(path, &w->file, err);
    }
    if (s == GQ_OK)
        s = gq_file_write(w->file, &w->head, sizeof w->head, err);
    if (s == GQ_OK)
        s = push(&w->table[GQ_SEARCH_GIF], 0, err);
    if (s == GQ_OK)
        *out = w;
    else
        gq_search_abort(w);
    return s;
}

static gq_status flush(gq_search_writer *w, gq_error *err)
{
    size_t    bytes = w->block_rows * half_bytes(w);
    uint64_t  slack;
    gq_status s = push(&w->table[GQ_SEARCH_SUM], gq_xxh64(w->upper, bytes), err);

    memcpy(&slack, &w->slack, sizeof slack);
    if (s == GQ_OK)
        s = push(&w->table[GQ_SEARCH_GIF], w->table[GQ_SEARCH_ROW].n, err);
    if (s == GQ_OK)
        s = gq_file_write(w->file, w->upper, bytes, err);
    if (s == GQ_OK && !w->head.bf16)
        s = push(&w->table[GQ_SEARCH_LOW], gq_xxh64(w->lower, bytes), err);
    if (s == GQ_OK && !w->head.bf16)
        s = push(&w->table[GQ_SEARCH_SLACK], slack, err);
    if (s == GQ_OK && !w->head.bf16)
        s = gq_file_write(w->file, w->lower, bytes, err);
    w->block_rows = 0;
    w->slack = 0;
    return s;
}

/* One float in two halves; returns what the upper one lacks. */
static double split(float x, uint16_t *upper, uint16_t *lower)
{
    uint32_t bits, near;
    float    rounded;

    memcpy(&bits, &x, sizeof bits);
    *upper = (uint16_t)((bits + 0x8000) >> 16);
    *lower = (uint16_t)bits;
    near = (uint32_t)*upper << 16;
    memcpy(&rounded, &near, sizeof rounded);
    return (double)x - (double)rounded;
}

/* vectors [n, dim] behind the rows of the block */
static void append(gq_search_writer *w, const float *vectors, size_t n)
{
    size_t dim = w->head.dim, stride = (size_t)w->stride;

    for (size_t r = 0; r < n; r++, vectors += dim) {
        uint16_t *upper = w->upper + w->block_rows * stride,
                 *lower = w->head.bf16 ? NULL : w->lower + w->block_rows * stride;
        double    lacks = 0, d;
        memset(upper, 0, half_bytes(w));
        if (lower)
            memset(lower, 0, half_bytes(w));
        for (size_t i = 0; i < dim; i++) {
            if (lower) {
                d = split(vectors[i], &upper[i], &lower[i]);
                lacks += d * d;
            } else {
                upper[i] = gq_f32_to_bf16(vectors[i]);
            }
        }
        lacks = sqrt(lacks) * (1 + 1e-9); /* its own roundings are below 1e-11 of it */
        w->slack = lacks > w->slack ? lacks : w->slack;
        w->block_rows++;
    }
}

gq_status gq_search_add(gq_search_writer *w, const char *name, const float *frames, int64_t n,
                        gq_error *err)
{
    gq_clipcut_opts o = GQ_CLIPCUT_DEFAULT(1);
    size_t          rows, length = strlen(name) + 1;
    gq_status       s;

    if (n < 1)
        return gq_fail(err, GQ_EINPUT, "%s: no frames", name);
    o.group = w->head.group;
    rows = (size_t)((n - 1) / o.group + 1);
    s = reserve((void **)&w->vectors, 0, rows, w->head.dim * sizeof *w->vectors, &w->vector_room,
                err);
    if (s == GQ_OK)
        s = reserve((void **)&w->upper, w->block_rows, rows, half_bytes(w), &w->upper_room, err);
    if (s == GQ_OK && !w->head.bf16)
        s = reserve((void **)&w->lower, w->block_rows, rows, half_bytes(w), &w->lower_room, err);
    if (s == GQ_OK)
        s = reserve((void **)&w->names, w->name_bytes, length, 1, &w->name_room, err);
    if (s == GQ_OK)
        s = gq_clipcut_vectors(frames, n, w->head.dim, &o, w->vectors, err);
    if (s == GQ_OK)
        s = push(&w->table[GQ_SEARCH_ROW], w->rows, err);
    if (s == GQ_OK)
        s = push(&w->table[GQ_SEARCH_NAME], w->name_bytes, err);
    if (s != GQ_OK)
        return gq_context(err, "%s", name);
    append(w, w->vectors, rows);
    memcpy(w->names + w->name_bytes, name, length);
    w->name_bytes += length;
    w->rows += rows;
    return w->block_rows >= BLOCK_ROWS ? flush(w, err) : GQ_OK;
}

/* Tables and tail. */
static gq_status close_file(gq_search_writer *w, gq_error *err)
{
    gq_search_tail tail = {.gifs = w->table[GQ_SEARCH_ROW].n - 1,
                           .rows = w->rows,
                           .blocks = w->table[GQ_SEARCH_SUM].n,
                           .name_bytes = w->name_bytes,
                           .head = gq_xxh64(&w->head, sizeof w->head),
                           .names = gq_xxh64(w->names, w->name_bytes)};
    gq_status      s = GQ_OK;

    memcpy(tail.magic, GQ_SEARCH_MAGIC, sizeof tail.magic);
    for (int i = 0; s == GQ_OK && i < GQ_SEARCH_TABLES; i++) {
        const numbers *t = &w->table[i];
        tail.table[i] = gq_xxh64(t->n ? t->at : &tail.rows, t->n * sizeof *t->at);
        if (t->n)
            s = gq_file_write(w->file, t->at, t->n * sizeof *t->at, err);
    }
    tail.sum = gq_search_tail_sum(&tail);
    if (s == GQ_OK)
        s = gq_file_write(w->file, w->names, w->name_bytes, err);
    if (s == GQ_OK)
        s = gq_file_write(w->file, &tail, sizeof tail, err);
    if (s == GQ_OK) {
        s = gq_atomic_commit(w->file, err);
        w->file = NULL;
    }
    return s;
}

gq_status gq_search_finish(gq_search_writer *w, gq_error *err)
{
    gq_status s = GQ_OK;

    if (!w->rows)
        s = gq_fail(err, GQ_EINPUT, "%s: an index of no GIFs would find nothing", w->path);
    if (s == GQ_OK && w->block_rows)
        s = flush(w, err);
    if (s == GQ_OK)
        s = push(&w->table[GQ_SEARCH_ROW], w->rows, err);
    if (s == GQ_OK)
        s = push(&w->table[GQ_SEARCH_NAME], w->name_bytes, err);
    if (s == GQ_OK)
        s = close_file(w, err);
    gq_search_abort(w);
    return s;
}

void gq_search_abort(gq_search_writer *w)
{
    if (!w)
        return;
    gq_atomic_abort(w->file);
    gq_free(w->path);
    for (int i = 0; i < GQ_SEARCH_TABLES; i++)
        gq_free(w->table[i].at);
    gq_free(w->names);
    gq_free(w->upper);
    gq_free(w->lower);
    gq_free(w->vectors);
    gq_free(w);
}
