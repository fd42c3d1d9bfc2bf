/* The search of data/search.h: all rows by their upper halves, then those that matter whole. */
#include <math.h>
#include <string.h>

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
    double  key; /* squared distance, or a bound of a distance */
    int64_t row;
} candidate;
typedef struct best {
    candidate *at;
    int64_t    n, most;
} best; /* smallest key first */

/* ---- distances ------------------------------------------------------------------------------- */

INTO_CLONES vf widen(const uint16_t *row)
{
    vh half;

    memcpy(&half, row, sizeof half);
    return (vf)(__builtin_convertvector(half, vu) << 16);
}

/* Squared distances of n rows of upper halves to the query, in float. */
CLONES static void squares(const uint16_t *rows, int64_t n, int64_t stride, const float *query,
                           float *out)
{
    for (int64_t r = 0; r < n; r++, rows += stride) {
        vf    sum[AT_ONCE] = {{0}};
        float lane[WIDE];
        for (int64_t i = 0; i < stride; i += AT_ONCE * WIDE)
            for (int j = 0; j < AT_ONCE; j++) {
                vf q, d;
                memcpy(&q, query + i + j * WIDE, sizeof q);
                d = widen(rows + i + j * WIDE) - q;
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

/* Of one row, whole; lower is NULL when there are no lower halves. */
static double squared_exactly(const uint16_t *upper, const uint16_t *lower, int64_t dim,
                              const double *query)
{
    double sum = 0;

    for (int64_t i = 0; i < dim; i++) {
        uint32_t bits = (uint32_t)upper[i] << 16;
        float    x;
        double   d;
        if (lower)
            bits += (uint32_t)(int32_t)(int16_t)lower[i];
        memcpy(&x, &bits, sizeof x);
        d = (double)x - query[i];
        sum += d * d;
    }
    return sum;
}

/* ---- bounds ---------------------------------------------------------------------------------- */

typedef struct seeker { /* one thread's */
    best    all, one;   /* of everything it saw; of one GIF */
    int64_t bad;        /* the first block with a wrong checksum; blocks: none */
} seeker;

typedef struct scan {
    gq_search *x;
    float     *near;     /* [stride] the query, of length one, rounded to float */
    double    *query;    /* [dim] as it is */
    seeker    *by;       /* [threads] */
    double     rounding; /* of a sum of squares, as a share of it */
    double     off;      /* |query - near|, and what is below every other bound */
    double     bound;    /* this many are at least so near as are wanted */
} scan;

/* A sum of squares in float is off by `rounding` of itself at most: each term has three roundings
 * (the difference's counts twice), then there are stride / 32 additions in each of 32 places and
 * five to add those up, each of 2^-24; twice that many leave room for the roundings of the bounds
 * themselves. Numbers below float's normal ones may be lost: less than 1e-15 of a distance. */
static void set_bounds(scan *c)
{
    double off = 0;

    c->rounding = 2 * (double)(c->x->stride / GQ_SEARCH_LANES + 8) * 0x1p-24;
    for (int64_t i = 0; i < c->x->info.dim; i++) {
        double d = c->query[i] - (double)c->near[i];
        off += d * d;
    }
    c->off = sqrt(off) * (1 + 1e-9) + 1e-15;
}

static double slack_of(const scan *c, int64_t block)
{
    double slack = 0;

    if (c->x->planes == 2)
        memcpy(&slack, &c->x->table[GQ_SEARCH_SLACK][block], sizeof slack);
    return slack + c->off;
}

/* The distance is no larger when its float sum is `squared`. */
static double largest(const scan *c, int64_t block, double squared)
{
    return sqrt(squared * (1 + c->rounding)) + slack_of(c, block);
}

/* With a larger float sum the distance is larger than this. */
static double limit(const scan *c, int64_t block, double distance)
{
    double d = distance + slack_of(c, block);
    return d * d / (1 - c->rounding) * (1 + 1e-12);
}

/* ---- search ---------------------------------------------------------------------------------- */

static bool nearer(candidate a, candidate b)
{
    return a.key < b.key || (a.key == b.key && a.row < b.row);
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

static void block_of(const gq_search *x, int64_t b, int64_t *first, int64_t *n,
                     const uint16_t **upper)
{
    *first = (int64_t)x->table[GQ_SEARCH_ROW][x->table[GQ_SEARCH_GIF][b]];
    *n = (int64_t)x->table[GQ_SEARCH_ROW][x->table[GQ_SEARCH_GIF][b + 1]] - *first;
    *upper = (const uint16_t *)x->rows + *first * x->stride * x->planes;
}

/* Is what is hashed what was written? Else the block is remembered. */
static bool sound(const gq_search *x, const uint16_t *rows, int64_t n, gq_search_table table,
                  int64_t b, seeker *by)
{
    if (gq_xxh64(rows, (size_t)(n * x->stride) * sizeof *rows) == x->table[table][b])
        return true;
    by->bad = b < by->bad ? b : by->bad;
    return false;
}

/* The nearest of rows [row, end) by their float sums, into by->one. */
static void nearest_of(const gq_search *x, int64_t row, int64_t end, seeker *by)
{
    by->one.n = 0;
    for (int64_t r = row; r < end; r++)
        offer(&by->one, (candidate){(double)x->squared[r], r});
}

/* Float sums of a block; of its rows that may be reported, upper bounds of the distance. */
static void scan_block(void *ctx, int64_t b, int thread)
{
    const scan      *c = ctx;
    const gq_search *x = c->x;
    const uint64_t  *row = x->table[GQ_SEARCH_ROW];
    seeker          *by = &c->by[thread];
    const uint16_t  *upper;
    int64_t          first, n;

    block_of(x, b, &first, &n, &upper);
    if (!sound(x, upper, n, GQ_SEARCH_SUM, b, by))
        return;
    squares(upper, n, x->stride, c->near, x->squared + first);
    for (uint64_t g = x->table[GQ_SEARCH_GIF][b]; g < x->table[GQ_SEARCH_GIF][b + 1]; g++) {
        nearest_of(x, (int64_t)row[g], (int64_t)row[g + 1], by);
        for (int64_t i = 0; i < by->one.n; i++)
            offer(&by->all,
                  (candidate){largest(c, b, by->one.at[i].key), by->one.at[i].row});
    }
}

static bool any_within(const float *squared, int64_t n, double most)
{
    int64_t within = 0;
    for (int64_t i = 0; i < n; i++)
        within += (double)squared[i] <= most;
    return within > 0;
}

/* Exact distances of the rows of a block that could be among the nearest. */
static void refine_block(void *ctx, int64_t b, int thread)
{
    const scan      *c = ctx;
    const gq_search *x = c->x;
    const uint64_t  *row = x->table[GQ_SEARCH_ROW];
    seeker          *by = &c->by[thread];
    const uint16_t  *upper, *lower;
    int64_t          first, n;

    block_of(x, b, &first, &n, &upper);
    lower = x->planes == 2 ? upper + n * x->stride : NULL;
    if (!any_within(x->squared + first, n, limit(c, b, c->bound)) ||
        (lower && !sound(x, lower, n, GQ_SEARCH_LOW, b, by)))
        return;
    for (uint64_t g = x->table[GQ_SEARCH_GIF][b]; g < x->table[GQ_SEARCH_GIF][b + 1]; g++) {
        double bound = c->bound;
        nearest_of(x, (int64_t)row[g], (int64_t)row[g + 1], by);
        if (by->one.n == by->one.most) /* so many of this GIF are at least so near */
            bound = fmin(bound, largest(c, b, by->one.at[by->one.n - 1].key));
        bound = limit(c, b, bound);
        by->one.n = 0;
        for (int64_t r = (int64_t)row[g]; r < (int64_t)row[g + 1]; r++) {
            int64_t at = (r - first) * x->stride;
            if ((double)x->squared[r] <= bound)
                offer(&by->one, (candidate){squared_exactly(upper + at, lower ? lower + at : NULL,
                                                            x->info.dim, c->query),
                                            r});
        }
        for (int64_t i = 0; i < by->one.n; i++)
            offer(&by->all, by->one.at[i]);
    }
}

static gq_status unit(scan *c, const float *query, gq_error *err)
{
    double sum = 0;

    for (int64_t d = 0; d < c->x->info.dim; d++)
        sum += (double)query[d] * (double)query[d];
    if (!isfinite(sum) || sum == 0)
        return gq_fail(err, GQ_ENUMERIC,
                       "the query's embedding has no direction; the CLIP weights are damaged or of "
                       "another model");
    for (int64_t d = 0; d < c->x->info.dim; d++) {
        c->query[d] = (double)query[d] / sqrt(sum);
        c->near[d] = (float)c->query[d];
    }
    return GQ_OK;
}

/* The GIF of a row, by bisection. */
static int64_t gif_of(const gq_search *x, int64_t row)
{
    int64_t lo = 0, hi = x->info.gifs; /* row[lo] <= row < row[hi] */

    while (hi - lo > 1) {
        int64_t mid = lo + (hi - lo) / 2;
        if (x->table[GQ_SEARCH_ROW][mid] <= (uint64_t)row)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

static void report(const gq_search *x, const best *b, gq_search_hit *hit)
{
    for (int64_t i = 0; i < b->n; i++) {
        int64_t g = gif_of(x, b->at[i].row), first = (int64_t)x->table[GQ_SEARCH_ROW][g];
        hit[i] = (gq_search_hit){.gif = x->names + x->table[GQ_SEARCH_NAME][g],
                                 .row = b->at[i].row,
                                 .frame = (b->at[i].row - first) * x->info.group,
                                 .distance = sqrt(b->at[i].key)};
    }
}

static gq_status seekers(const scan *c, int threads, int64_t k, int64_t each, gq_error *err)
{
    for (int t = 0; t < threads; t++) {
        seeker *by = &c->by[t];
        by->bad = c->x->blocks;
        by->all = (best){.at = gq_malloc((size_t)k, sizeof(candidate)), .most = k};
        by->one = (best){.at = gq_malloc((size_t)each, sizeof(candidate)), .most = each};
        if (!by->all.at || !by->one.at)
            return gq_fail(err, GQ_ENOMEM, "%s: out of memory for a search", c->x->path);
    }
    return GQ_OK;
}

/* Runs `work` over all blocks; then everything is in the first thread's list. */
static gq_status all_blocks(scan *c, gq_pool *pool, gq_tile_fn work, gq_error *err)
{
    const gq_search *x = c->x;
    int              threads = gq_pool_size(pool);
    int64_t          bad = x->blocks, first, n;
    const uint16_t  *upper;

    for (int t = 0; t < threads; t++)
        c->by[t].all.n = 0;
    gq_parallel(pool, x->blocks, work, c);
    for (int t = 0; t < threads; t++) {
        bad = c->by[t].bad < bad ? c->by[t].bad : bad;
        for (int64_t i = 0; t && i < c->by[t].all.n; i++)
            offer(&c->by[0].all, c->by[t].all.at[i]);
    }
    if (bad == x->blocks)
        return GQ_OK;
    block_of(x, bad, &first, &n, &upper);
    return gq_fail(err, GQ_EINPUT,
                   "%s: rows %lld to %lld, from byte %zu on, are damaged; make it again with "
                   "gifqa-prep index",
                   x->path, (long long)first, (long long)(first + n - 1),
                   (size_t)((const uint8_t *)upper - x->map.data));
}

static gq_status find(scan *c, gq_pool *pool, int64_t k, gq_error *err)
{
    const best *all = &c->by[0].all;
    gq_status   s;

    set_bounds(c);
    s = all_blocks(c, pool, scan_block, err);
    if (s != GQ_OK)
        return s;
    c->bound = all->n == k ? all->at[k - 1].key : (double)INFINITY;
    return all_blocks(c, pool, refine_block, err);
}

gq_status gq_search_find(gq_search *x, gq_pool *pool, const float *query, int64_t k, int64_t each,
                         gq_search_hit *hit, int64_t *n, gq_error *err)
{
    int       threads = gq_pool_size(pool);
    scan      c = {.x = x};
    gq_status s;

    *n = 0;
    if (k < 1 || k > GQ_SEARCH_HITS || each < 1 || each > GQ_SEARCH_HITS)
        return gq_fail(err, GQ_EUSAGE, "%lld hits, %lld of one GIF: 1 to %d can be found",
                       (long long)k, (long long)each, GQ_SEARCH_HITS);
    c.near = gq_calloc((size_t)x->stride, sizeof *c.near);
    c.query = gq_calloc((size_t)x->info.dim, sizeof *c.query);
    c.by = gq_calloc((size_t)threads, sizeof *c.by);
    s = c.near && c.query && c.by
            ? unit(&c, query, err)
            : gq_fail(err, GQ_ENOMEM, "%s: out of memory for a search", x->path);
    if (s == GQ_OK)
        s = seekers(&c, threads, k, each, err);
    if (s == GQ_OK)
        s = find(&c, pool, k, err);
    if (s == GQ_OK) {
        report(x, &c.by[0].all, hit);
        *n = c.by[0].all.n;
    }
    for (int t = 0; c.by && t < threads; t++) {
        gq_free(c.by[t].all.at);
        gq_free(c.by[t].one.at);
    }
    gq_free(c.by);
    gq_free(c.near);
    gq_free(c.query);
    return s;
}
