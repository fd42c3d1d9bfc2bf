/* Opening an index of frames: everything but the rows is checked before anything is used. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/mem.h"
#include "data/search_file.h"

static const char *const part_name[GQ_SEARCH_TABLES] = {
    "rows of GIFs", "places of names", "GIFs of blocks", "checksums of rows",
    "checksums of lower halves", "bounds of lower halves"};

static gq_status damaged(const gq_search *x, size_t byte, gq_error *err, const char *what, ...)
    __attribute__((format(printf, 4, 5)));
static gq_status damaged(const gq_search *x, size_t byte, gq_error *err, const char *what, ...)
{
    char    text[160];
    va_list args;

    va_start(args, what);
    vsnprintf(text, sizeof text, what, args);
    va_end(args);
    return gq_fail(err, GQ_EINPUT, "%s: byte %zu: %s; make it again with gifqa-prep index", x->path,
                   byte, text);
}

static gq_status read_head(gq_search *x, const gq_search_head *h, gq_error *err)
{
    static const uint8_t zero[sizeof h->zero];

    if (memcmp(h->magic, GQ_SEARCH_MAGIC, sizeof h->magic) != 0)
        return gq_fail(err, GQ_EINPUT, "%s: this is no index of frames", x->path);
    if (h->version != GQ_SEARCH_VERSION)
        return damaged(x, offsetof(gq_search_head, version), err,
                       "format version %u, this program reads %d", h->version, GQ_SEARCH_VERSION);
    if (h->bf16 > 1)
        return damaged(x, offsetof(gq_search_head, bf16), err, "numbers of kind %u, not 0 or 1",
                       h->bf16);
    if (h->dim < 1 || h->dim > GQ_SEARCH_DIM)
        return damaged(x, offsetof(gq_search_head, dim), err, "rows of %u numbers, not 1 to %d",
                       h->dim, GQ_SEARCH_DIM);
    if (h->group < 1)
        return damaged(x, offsetof(gq_search_head, group), err, "rows of 0 frames");
    if (memcmp(h->zero, zero, sizeof zero) != 0)
        return damaged(x, offsetof(gq_search_head, zero), err, "the end of its head is not zero");
    x->info = (gq_search_info){
        .dim = h->dim, .group = h->group, .bf16 = h->bf16 == 1, .bytes = x->map.size};
    memcpy(x->info.tower, h->tower, sizeof h->tower);
    x->stride = gq_search_stride(h->dim);
    x->planes = h->bf16 ? 1 : 2;
    return GQ_OK;
}

/* Bytes of rows and of each table; false: the counts of the tail do not fill the file exactly. They
 * are at most its size, so sums are small. */
static bool sizes_fit(const gq_search *x, const gq_search_tail *t, size_t *rows,
                      size_t table[GQ_SEARCH_TABLES])
{
    uint64_t most = x->map.size / 8;
    size_t   all = GQ_SEARCH_HEAD + GQ_SEARCH_TAIL;

    if (t->gifs < 1 || t->gifs > most || t->blocks < 1 || t->blocks > most || t->rows < t->gifs ||
        t->blocks > t->gifs || t->name_bytes > x->map.size)
        return false;
    table[GQ_SEARCH_ROW] = table[GQ_SEARCH_NAME] = (size_t)(t->gifs + 1) * 8;
    table[GQ_SEARCH_GIF] = (size_t)(t->blocks + 1) * 8;
    table[GQ_SEARCH_SUM] = (size_t)t->blocks * 8;
    table[GQ_SEARCH_LOW] = table[GQ_SEARCH_SLACK] = x->planes == 2 ? (size_t)t->blocks * 8 : 0;
    for (int i = 0; i < GQ_SEARCH_TABLES; i++)
        all += table[i];
    return gq_mul_size((size_t)t->rows, (size_t)(x->stride * x->planes) * sizeof(uint16_t), rows) &&
           gq_add_size(all, *rows, &all) && gq_add_size(all, (size_t)t->name_bytes, &all) &&
           all == x->map.size;
}

static gq_status read_tail(const gq_search *x, gq_search_tail *t, gq_error *err)
{
    static const uint8_t zero[sizeof t->zero];
    size_t               at = x->map.size - sizeof *t;

    memcpy(t, x->map.data + at, sizeof *t);
    if (memcmp(t->magic, GQ_SEARCH_MAGIC, sizeof t->magic) != 0)
        return damaged(x, at + offsetof(gq_search_tail, magic), err,
                       "its end is not that of an index: it is cut short or damaged");
    if (t->sum != gq_search_tail_sum(t) || memcmp(t->zero, zero, sizeof zero) != 0)
        return damaged(x, at, err, "the checksum of its counts differs: they are damaged");
    return GQ_OK;
}

/* Do n+1 numbers rise from 0 to `end`? Else *wrong is the first that does not. */
static bool rises(const uint64_t *at, uint64_t n, uint64_t end, uint64_t *wrong)
{
    for (*wrong = 0; *wrong < n; ++*wrong)
        if (at[*wrong] >= at[*wrong + 1] || (*wrong == 0 && at[0]))
            return false;
    return at[n] == end;
}

/* Where a number of the tables stands in the file. */
static size_t byte_of(const gq_search *x, const uint64_t *at)
{
    return x->tables_at + (size_t)(at - x->tables) * sizeof *at;
}

static gq_status check_order(const gq_search *x, const gq_search_tail *t, gq_error *err)
{
    const struct { gq_search_table table; uint64_t n, end; } list[] = {
        {GQ_SEARCH_ROW, t->gifs, t->rows},
        {GQ_SEARCH_NAME, t->gifs, t->name_bytes},
        {GQ_SEARCH_GIF, t->blocks, t->gifs}};
    size_t   names_at = (size_t)((const uint8_t *)x->names - x->map.data);
    uint64_t wrong;

    for (int i = 0; i < 3; i++)
        if (!rises(x->table[list[i].table], list[i].n, list[i].end, &wrong))
            return damaged(x, byte_of(x, x->table[list[i].table] + wrong), err,
                           "the table of %s is out of order", part_name[list[i].table]);
    for (uint64_t i = 0; i < t->gifs; i++)
        if (x->names[x->table[GQ_SEARCH_NAME][i + 1] - 1])
            return damaged(x, names_at + (size_t)x->table[GQ_SEARCH_NAME][i + 1] - 1, err,
                           "the name of GIF %llu has no end", (unsigned long long)i);
    for (uint64_t b = 0; x->planes == 2 && b < t->blocks; b++) {
        double slack;
        memcpy(&slack, &x->table[GQ_SEARCH_SLACK][b], sizeof slack);
        if (!(slack >= 0) || !isfinite(slack))
            return damaged(x, byte_of(x, x->table[GQ_SEARCH_SLACK] + b), err,
                           "the bound of block %llu is no length", (unsigned long long)b);
    }
    return GQ_OK;
}

static gq_status read_tables(gq_search *x, gq_error *err)
{
    gq_search_tail t;
    size_t         table[GQ_SEARCH_TABLES], all = 0, rows;
    gq_status      s = read_tail(x, &t, err);

    if (s != GQ_OK)
        return s;
    if (gq_xxh64(x->map.data, GQ_SEARCH_HEAD) != t.head)
        return damaged(x, 0, err, "the checksum of its head differs: it is damaged");
    if (!sizes_fit(x, &t, &rows, table))
        return damaged(x, x->map.size - sizeof t, err,
                       "%llu GIFs, %llu rows and %llu blocks do not fill a file of %zu bytes",
                       (unsigned long long)t.gifs, (unsigned long long)t.rows,
                       (unsigned long long)t.blocks, x->map.size);
    for (int i = 0; i < GQ_SEARCH_TABLES; i++)
        all += table[i];
    x->rows = x->map.data + GQ_SEARCH_HEAD;
    x->tables_at = GQ_SEARCH_HEAD + rows;
    x->names = (const char *)x->map.data + x->tables_at + all;
    x->tables = gq_malloc(all, 1);
    x->squared = gq_malloc((size_t)t.rows, sizeof *x->squared);
    if (!x->tables || !x->squared)
        return gq_fail(err, GQ_ENOMEM, "%s: out of memory for its tables", x->path);
    memcpy(x->tables, x->map.data + x->tables_at, all);
    all = 0;
    for (int i = 0; i < GQ_SEARCH_TABLES; i++, all += table[i - 1]) {
        x->table[i] = x->tables + all / 8;
        if (gq_xxh64(x->table[i], table[i]) != t.table[i])
            return damaged(x, byte_of(x, x->table[i]), err,
                           "the checksum of the table of %s differs: it is damaged", part_name[i]);
    }
    if (gq_xxh64(x->names, (size_t)t.name_bytes) != t.names)
        return damaged(x, x->tables_at + all, err,
                       "the checksum of the names differs: they are damaged");
    x->info.gifs = (int64_t)t.gifs;
    x->info.rows = (int64_t)t.rows;
    x->blocks = (int64_t)t.blocks;
    return check_order(x, &t, err);
}

gq_status gq_search_open(const char *path, gq_search **out, gq_error *err)
{
    gq_search *x = gq_calloc(1, sizeof *x);
    gq_status  s = GQ_OK;

    *out = NULL;
    if (!x || !(x->path = gq_strdup(path)))
        s = gq_fail(err, GQ_ENOMEM, "%s: out of memory", path);
    if (s == GQ_OK)
        s = gq_map_open(path, &x->map, err);
    if (s == GQ_OK && x->map.size < GQ_SEARCH_HEAD + GQ_SEARCH_TAIL)
        s = gq_fail(err, GQ_EINPUT, "%s: this is no index of frames: %zu bytes are too few", path,
                    x->map.size);
    if (s == GQ_OK)
        s = read_head(x, (const gq_search_head *)x->map.data, err);
    if (s == GQ_OK)
        s = read_tables(x, err);
    if (s == GQ_OK)
        *out = x;
    else
        gq_search_close(x);
    return s;
}

void gq_search_close(gq_search *x)
{
    if (!x)
        return;
    gq_map_close(&x->map);
    gq_free(x->tables);
    gq_free(x->squared);
    gq_free(x->path);
    gq_free(x);
}

const gq_search_info *gq_search_about(const gq_search *x)
{
    return &x->info;
}
