#include "data/search.h"

#include <math.h>
#include <string.h>

#include "core/io.h"
#include "core/mem.h"
#include "data/search_file.h"

#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif
#define INTO_CLONES static inline __attribute__((always_inline))

#pragma GCC diagnostic ignored "-Wpsabi" /* no vector crosses a call: all of it is inlined */

enum { WIDE = 16, AT_ONCE = 2 }; /* floats of a vector; sums that overlap */
typedef float    vf __attribute__((vector_size(64)));
typedef uint32_t vu __attribute__((vector_size(64)));
typedef uint16_t vh __attribute__((vector_size(32)));

typedef struct candidate {
    float   squared;
    int64_t row;
} candidate;
typedef struct best {
    candidate *at;
    int64_t    n, most;
} best; /* nearest first */

struct gq_search {
    gq_map          map;
    char           *path;
    gq_search_info  info;
    int64_t         stride, blocks, longest; /* rows of the largest block */
    const uint8_t  *rows;
    const uint64_t *row, *name, *gif, *sum; /* [gifs+1], [gifs+1], [blocks+1], [blocks] */
    const char     *names;
    uint64_t       *tables; /* the four, aligned */
};

/* ---- opening --------------------------------------------------------------------------------- */

static gq_status damaged(const gq_search *x, const char *what, gq_error *err)
{
    return gq_fail(err, GQ_EINPUT, "%s: %s; make it again with gifqa-prep index", x->path, what);
}

static gq_status read_head(gq_search *x, const gq_search_head *h, gq_error *err)
{
    static const uint8_t zero[sizeof h->zero];

    if (memcmp(h->magic, GQ_SEARCH_MAGIC, sizeof h->magic) != 0)
        return gq_fail(err, GQ_EINPUT, "%s: this is no index of frames", x->path);
    if (h->version != GQ_SEARCH_VERSION)
        return gq_fail(err, GQ_EINPUT, "%s: format version %u, this program reads %d",
                       x->path, h->version, GQ_SEARCH_VERSION);
    if (h->bf16 > 1 || h->dim < 1 || h->dim > GQ_SEARCH_DIM || h->group < 1 ||
        memcmp(h->zero, zero, sizeof zero) != 0)
        return damaged(x, "its head is damaged", err);
    x->info = (gq_search_info){
        .dim = h->dim, .group = h->group, .bf16 = h->bf16 == 1, .bytes = x->map.size};
    memcpy(x->info.tower, h->tower, sizeof h->tower);
    x->stride = gq_search_stride(h->dim);
    return GQ_OK;
}

static size_t row_bytes(const gq_search *x)
{
    return (size_t)x->stride * (x->info.bf16 ? sizeof(uint16_t) : sizeof(float));
}

/* Do the counts of the tail fill the file exactly? counts are at most its size, so sums are small. */
static bool sizes_fit(const gq_search *x, const gq_search_tail *t, size_t table[4])
{
    uint64_t most = x->map.size / 8;
    size_t   rows, all = GQ_SEARCH_HEAD + GQ_SEARCH_TAIL;

    if (t->gifs < 1 || t->gifs > most || t->blocks < 1 || t->blocks > most || t->rows < t->gifs ||
        t->blocks > t->gifs || t->name_bytes > x->map.size)
        return false;
    table[0] = table[1] = (size_t)(t->gifs + 1) * 8;
    table[2] = (size_t)(t->blocks + 1) * 8;
    table[3] = (size_t)t->blocks * 8;
    for (int i = 0; i < 4; i++)
        all += table[i];
    return gq_mul_size((size_t)t->rows, row_bytes(x), &rows) && gq_add_size(all, rows, &all) &&
           gq_add_size(all, (size_t)t->name_bytes, &all) && all == x->map.size;
}

/* Do n+1 numbers rise from 0 to `end`? */
static bool rises(const uint64_t *at, uint64_t n, uint64_t end)
{
    for (uint64_t i = 0; i < n; i++)
        if (at[i] >= at[i + 1])
            return false;
    return at[0] == 0 && at[n] == end;
}

static gq_status read_tables(gq_search *x, gq_error *err)
{
    gq_search_head head;
    gq_search_tail t;
    size_t         table[5], all;
    const uint8_t *at;
    uint8_t        sum[16];

    memcpy(&head, x->map.data, sizeof head);
    memcpy(&t, x->map.data + x->map.size - sizeof t, sizeof t);
    if (memcmp(t.magic, GQ_SEARCH_MAGIC, sizeof t.magic) != 0 || !sizes_fit(x, &t, table))
        return damaged(x, "it is cut short or damaged", err);
    table[4] = (size_t)t.name_bytes;
    all = table[0] + table[1] + table[2] + table[3];
    x->rows = x->map.data + GQ_SEARCH_HEAD;
    at = x->rows + (size_t)t.rows * row_bytes(x);
    x->names = (const char *)at + all;
    x->tables = gq_malloc(all, 1);
    if (!x->tables)
        return gq_fail(err, GQ_ENOMEM, "%s: out of memory for its tables", x->path);
    memcpy(x->tables, at, all);
    x->row = x->tables;
    x->name = x->row + t.gifs + 1;
    x->gif = x->name + t.gifs + 1;
    x->sum = x->gif + t.blocks + 1;
    gq__search_sum(&head, (const void *[]){x->row, x->name, x->gif, x->sum, x->names}, table, &t,
                   sum);
    if (memcmp(sum, t.sum, sizeof sum) != 0)
        return damaged(x, "its tables are damaged", err);
    if (!rises(x->row, t.gifs, t.rows) || !rises(x->name, t.gifs, t.name_bytes) ||
        !rises(x->gif, t.blocks, t.gifs))
        return damaged(x, "its tables are out of order", err);
    for (uint64_t i = 0; i < t.gifs; i++)
        if (x->names[x->name[i + 1] - 1])
            return damaged(x, "its names have no ends", err);
    x->info.gifs = (int64_t)t.gifs;
    x->info.rows = (int64_t)t.rows;
    x->blocks = (int64_t)t.blocks;
    return GQ_OK;
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
        s = gq_fail(err, GQ_EINPUT, "%s: this is no index of frames", path);
    if (s == GQ_OK)
        s = read_head(x, (const gq_search_head *)x->map.data, err);
    if (s == GQ_OK)
        s = read_tables(x, err);
    for (int64_t b = 0; s == GQ_OK && b < x->blocks; b++) {
        int64_t n = (int64_t)(x->row[x->gif[b + 1]] - x->row[x->gif[b]]);
        x->longest = n > x->longest ? n : x->longest;
    }
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
    gq_free(x->path);
    gq_free(x);
}

const gq_search_info *gq_search_about(const gq_search *x)
{
    return &x->info;
}

/* ---- distances ------------------------------------------------------------------------------- */

INTO_CLONES vf load(const uint8_t *row, int64_t i, bool bf16)
{
    vf v;
    vh half;

    if (bf16) {
        memcpy(&half, row + i * (int64_t)sizeof(uint16_t), sizeof half);
        return (vf)(__builtin_convertvector(half, vu) << 16);
    }
    memcpy(&v, row + i * (int64_t)sizeof(float), sizeof v);
    return v;
}

INTO_CLONES void squares(const uint8_t *rows, int64_t n, int64_t stride, const float *query,
                         bool bf16, float *out)
{
    int64_t bytes = stride * (int64_t)(bf16 ? sizeof(uint16_t) : sizeof(float));

    for (int64_t r = 0; r < n; r++, rows += bytes) {
        vf    sum[AT_ONCE] = {{0}};
        float lane[WIDE];
        for (int64_t i = 0; i < stride; i += AT_ONCE * WIDE)
            for (int j = 0; j < AT_ONCE; j++) {
                vf d = load(rows, i + j * WIDE, bf16) -
                       load((const uint8_t *)query, i + j * WIDE, false);
                sum[j] += d * d;
            }
        sum[0] += sum[1];
        memcpy(lane, &sum[0], sizeof lane);
        for (int half = WIDE / 2; half; half /= 2)
            for (int i = 0; i < half; i++)
                lane[i] += lane[i + half];
        out[r] = lane[0];
    }
}

CLONES static void squares_f32(const uint8_t *rows, int64_t n, int64_t stride, const float *query,
                               float *out)
{
    squares(rows, n, stride, query, false, out);
}

CLONES static void squares_bf16(const uint8_t *rows, int64_t n, int64_t stride, const float *query,
                                float *out)
{
    squares(rows, n, stride, query, true, out);
}

/* ---- search ---------------------------------------------------------------------------------- */

static bool nearer(candidate a, candidate b)
{
    return a.squared < b.squared || (a.squared == b.squared && a.row < b.row);
}

/* Takes c if it is among the nearest; a list that is full loses its last. */
static void offer(best *b, candidate c)
{
    int64_t i = b->n;

    if (b->n == b->most && !nearer(c, b->at[b->n - 1]))
        return;
    if (b->n == b->most)
        i--;
    else
        b->n++;
    for (; i > 0 && nearer(c, b->at[i - 1]); i--)
        b->at[i] = b->at[i - 1];
    b->at[i] = c;
}

typedef struct seeker { /* one thread's */
    best    all, one;   /* of everything it saw; of one GIF */
    float  *squared;    /* [longest] */
    int64_t bad;        /* the first block with a wrong checksum; blocks: none */
} seeker;

typedef struct scan {
    const gq_search *x;
    const float     *query; /* [stride], of length one */
    seeker          *by;    /* [threads] */
} scan;

static void scan_block(void *ctx, int64_t b, int thread)
{
    const scan      *c = ctx;
    const gq_search *x = c->x;
    seeker          *by = &c->by[thread];
    uint64_t         first = x->row[x->gif[b]], end = x->row[x->gif[b + 1]];
    const uint8_t   *rows = x->rows + (size_t)first * row_bytes(x);

    if (gq_xxh64(rows, (size_t)(end - first) * row_bytes(x)) != x->sum[b]) {
        by->bad = b < by->bad ? b : by->bad;
        return;
    }
    (x->info.bf16 ? squares_bf16 : squares_f32)(rows, (int64_t)(end - first), x->stride, c->query,
                                                by->squared);
    for (uint64_t g = x->gif[b]; g < x->gif[b + 1]; g++) {
        by->one.n = 0;
        for (uint64_t r = x->row[g]; r < x->row[g + 1]; r++)
            offer(&by->one, (candidate){by->squared[r - first], (int64_t)r});
        for (int64_t i = 0; i < by->one.n; i++)
            offer(&by->all, by->one.at[i]);
    }
}

static gq_status unit(const gq_search *x, const float *query, float *out, gq_error *err)
{
    double sum = 0;

    for (int64_t d = 0; d < x->info.dim; d++)
        sum += (double)query[d] * (double)query[d];
    if (!isfinite(sum) || sum == 0)
        return gq_fail(err, GQ_ENUMERIC,
                       "the query's embedding has no direction; the CLIP weights are damaged or of "
                       "another model");
    for (int64_t d = 0; d < x->info.dim; d++)
        out[d] = (float)((double)query[d] / sqrt(sum));
    return GQ_OK;
}

/* The GIF of a row, by bisection. */
static int64_t gif_of(const gq_search *x, int64_t row)
{
    int64_t lo = 0, hi = x->info.gifs; /* row[lo] <= row < row[hi] */

    while (hi - lo > 1) {
        int64_t mid = lo + (hi - lo) / 2;
        if (x->row[mid] <= (uint64_t)row)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

static void report(const gq_search *x, const best *b, gq_search_hit *hit)
{
    for (int64_t i = 0; i < b->n; i++) {
        int64_t g = gif_of(x, b->at[i].row);
        hit[i] = (gq_search_hit){.gif = x->names + x->name[g],
                                 .row = b->at[i].row,
                                 .frame = (b->at[i].row - (int64_t)x->row[g]) * x->info.group,
                                 .distance = sqrt((double)b->at[i].squared)};
    }
}

static gq_status seekers(const scan *c, int threads, int64_t k, int64_t each, gq_error *err)
{
    for (int t = 0; t < threads; t++) {
        seeker *by = &c->by[t];
        by->bad = c->x->blocks;
        by->all = (best){.at = gq_malloc((size_t)k, sizeof(candidate)), .most = k};
        by->one = (best){.at = gq_malloc((size_t)each, sizeof(candidate)), .most = each};
        by->squared = gq_malloc((size_t)c->x->longest, sizeof *by->squared);
        if (!by->all.at || !by->one.at || !by->squared)
            return gq_fail(err, GQ_ENOMEM, "%s: out of memory for a search", c->x->path);
    }
    return GQ_OK;
}

/* Everything into the first thread's list. */
static gq_status merge(const scan *c, int threads, gq_error *err)
{
    int64_t bad = c->x->blocks;

    for (int t = 0; t < threads; t++) {
        bad = c->by[t].bad < bad ? c->by[t].bad : bad;
        for (int64_t i = 0; t && i < c->by[t].all.n; i++)
            offer(&c->by[0].all, c->by[t].all.at[i]);
    }
    if (bad < c->x->blocks)
        return gq_fail(err, GQ_EINPUT,
                       "%s: rows %llu to %llu are damaged; make it again with gifqa-prep index",
                       c->x->path, (unsigned long long)c->x->row[c->x->gif[bad]],
                       (unsigned long long)c->x->row[c->x->gif[bad + 1]] - 1);
    return GQ_OK;
}

gq_status gq_search_find(gq_search *x, gq_pool *pool, const float *query, int64_t k, int64_t each,
                         gq_search_hit *hit, int64_t *n, gq_error *err)
{
    int       threads = gq_pool_size(pool);
    float    *q;
    scan      c = {.x = x};
    gq_status s;

    *n = 0;
    if (k < 1 || k > GQ_SEARCH_HITS || each < 1 || each > GQ_SEARCH_HITS)
        return gq_fail(err, GQ_EUSAGE, "%lld hits, %lld of one GIF: 1 to %d can be found",
                       (long long)k, (long long)each, GQ_SEARCH_HITS);
    c.query = q = gq_calloc((size_t)x->stride, sizeof *q);
    c.by = gq_calloc((size_t)threads, sizeof *c.by);
    s = q && c.by ? unit(x, query, q, err)
                  : gq_fail(err, GQ_ENOMEM, "%s: out of memory for a search", x->path);
    if (s == GQ_OK)
        s = seekers(&c, threads, k, each, err);
    if (s == GQ_OK) {
        gq_parallel(pool, x->blocks, scan_block, &c);
        s = merge(&c, threads, err);
    }
    if (s == GQ_OK) {
        report(x, &c.by[0].all, hit);
        *n = c.by[0].all.n;
    }
    for (int t = 0; c.by && t < threads; t++) {
        gq_free(c.by[t].all.at);
        gq_free(c.by[t].one.at);
        gq_free(c.by[t].squared);
    }
    gq_free(c.by);
    gq_free(q);
    return s;
}
