/* Writing an index of frames: rows go out block by block, tables stay in memory until the end. */
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
    numbers        row, name, gif, sum; /* the tables of the file */
    char          *names;
    size_t         name_bytes, name_room;
    uint8_t       *block; /* [block_room, stride] rows not written yet */
    size_t         block_rows, block_room;
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

static size_t row_bytes(const gq_search_writer *w)
{
    return (size_t)w->stride * (w->head.bf16 ? sizeof(uint16_t) : sizeof(float));
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
        s = push(&w->gif, 0, err);
    if (s == GQ_OK)
        *out = w;
    else
        gq_search_abort(w);
    return s;
}

static gq_status flush(gq_search_writer *w, gq_error *err)
{
    size_t    bytes = w->block_rows * row_bytes(w);
    gq_status s = push(&w->sum, gq_xxh64(w->block, bytes), err);

    if (s == GQ_OK)
        s = push(&w->gif, w->row.n, err);
    if (s == GQ_OK)
        s = gq_file_write(w->file, w->block, bytes, err);
    w->block_rows = 0;
    return s;
}

/* vectors [n, dim] behind the rows of the block */
static void append(gq_search_writer *w, const float *vectors, size_t n)
{
    size_t dim = w->head.dim, bytes = row_bytes(w);

    for (size_t r = 0; r < n; r++, vectors += dim) {
        uint8_t *to = w->block + w->block_rows++ * bytes;
        memset(to, 0, bytes);
        if (!w->head.bf16)
            memcpy(to, vectors, dim * sizeof *vectors);
        for (size_t d = 0; w->head.bf16 && d < dim; d++) {
            uint16_t half = gq_f32_to_bf16(vectors[d]);
            memcpy(to + d * sizeof half, &half, sizeof half);
        }
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
        s = reserve((void **)&w->block, w->block_rows, rows, row_bytes(w), &w->block_room, err);
    if (s == GQ_OK)
        s = reserve((void **)&w->names, w->name_bytes, length, 1, &w->name_room, err);
    if (s == GQ_OK)
        s = gq_clipcut_vectors(frames, n, w->head.dim, &o, w->vectors, err);
    if (s == GQ_OK)
        s = push(&w->row, w->rows, err);
    if (s == GQ_OK)
        s = push(&w->name, w->name_bytes, err);
    if (s != GQ_OK)
        return gq_context(err, "%s", name);
    append(w, w->vectors, rows);
    memcpy(w->names + w->name_bytes, name, length);
    w->name_bytes += length;
    w->rows += rows;
    return w->block_rows >= BLOCK_ROWS ? flush(w, err) : GQ_OK;
}

void gq__search_sum(const gq_search_head *head, const void *const part[5], const size_t bytes[5],
                    const gq_search_tail *tail, uint8_t sum[16])
{
    uint8_t sums[7][16];

    gq_xxh128(head, sizeof *head, sums[0]);
    for (int i = 0; i < 5; i++)
        gq_xxh128(part[i], bytes[i], sums[1 + i]);
    gq_xxh128(tail, 4 * sizeof tail->gifs, sums[6]);
    gq_xxh128(sums, sizeof sums, sum);
}

/* Tables and tail. */
static gq_status close_file(gq_search_writer *w, gq_error *err)
{
    const void    *part[5] = {w->row.at, w->name.at, w->gif.at, w->sum.at, w->names};
    const size_t   bytes[5] = {w->row.n * sizeof *w->row.at, w->name.n * sizeof *w->name.at,
                               w->gif.n * sizeof *w->gif.at, w->sum.n * sizeof *w->sum.at,
                               w->name_bytes};
    gq_search_tail tail = {
        .gifs = w->row.n - 1, .rows = w->rows, .blocks = w->sum.n, .name_bytes = w->name_bytes};
    gq_status s = GQ_OK;

    memcpy(tail.magic, GQ_SEARCH_MAGIC, sizeof tail.magic);
    gq__search_sum(&w->head, part, bytes, &tail, tail.sum);
    for (int i = 0; s == GQ_OK && i < 5; i++)
        s = gq_file_write(w->file, part[i], bytes[i], err);
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
        s = push(&w->row, w->rows, err);
    if (s == GQ_OK)
        s = push(&w->name, w->name_bytes, err);
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
    gq_free(w->row.at);
    gq_free(w->name.at);
    gq_free(w->gif.at);
    gq_free(w->sum.at);
    gq_free(w->names);
    gq_free(w->block);
    gq_free(w->vectors);
    gq_free(w);
}
