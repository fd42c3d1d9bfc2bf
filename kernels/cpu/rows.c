/* rows.c - moving and masking rows: concat_rows, expand_rows, mask_rows, dropout, kv_append. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/rng.h"

/* ---- concat_rows: per sequence na elements of a, then nb of b -------------------------------- */

typedef struct concat_job {
    const gq_call *c;
    int64_t na, nb;
} concat_job;

static void concat_forward(const void *ctx, int64_t lo, int64_t hi)
{
    const concat_job *j = ctx;
    const float *a = j->c->in[0].p, *b = j->c->in[1].p;
    float       *y = j->c->out[0].p;
    for (int64_t s = lo; s < hi; s++) {
        put(y + s * (j->na + j->nb), a + s * j->na, j->na, 0);
        put(y + s * (j->na + j->nb) + j->na, b + s * j->nb, j->nb, 0);
    }
}

static void concat_backward(const void *ctx, int64_t lo, int64_t hi)
{
    const concat_job *j = ctx;
    const float *dy = j->c->dout[0].p;
    float       *da = j->c->din[0].p, *db = j->c->din[1].p;
    for (int64_t s = lo; s < hi; s++) {
        if (da)
            put(da + s * j->na, dy + s * (j->na + j->nb), j->na, adds(j->c, 0));
        if (db)
            put(db + s * j->nb, dy + s * (j->na + j->nb) + j->na, j->nb, adds(j->c, 1));
    }
}

static void concat(const gq_call *c, range_fn fn)
{
    int64_t    B = c->in[0].shape[0];
    concat_job j = {c, gq_size(&c->in[0]) / imax(B, 1), gq_size(&c->in[1]) / imax(B, 1)};
    over(c, B, range_items(j.na + j.nb), fn, &j);
}

void CPU(concat_rows_fwd)(const gq_call *c)
{
    concat(c, concat_forward);
}

void CPU(concat_rows_bwd)(const gq_call *c)
{
    if (!nothing_arrives(c))
        concat(c, concat_backward);
}

/* ---- expand_rows ----------------------------------------------------------------------------- */

static void expand_forward(const void *ctx, int64_t lo, int64_t hi)
{
    const gq_call *c = ctx;
    int64_t        n = gq_size(&c->in[0]);
    for (int64_t b = lo; b < hi; b++)
        put((float *)c->out[0].p + b * n, c->in[0].p, n, 0);
}

static void expand_backward(const void *ctx, int64_t lo, int64_t hi)
{
    const gq_call *c = ctx;
    const float   *dy = c->dout[0].p;
    float         *dx = c->din[0].p;
    int64_t        n = gq_size(&c->in[0]);
    if (!adds(c, 0))
        put(dx + lo, NULL, hi - lo, 0);
    for (int64_t b = 0; b < c->out[0].shape[0]; b++)
        put(dx + lo, dy + b * n + lo, hi - lo, 1);
}

void CPU(expand_rows_fwd)(const gq_call *c)
{
    over(c, c->out[0].shape[0], range_items(gq_size(&c->in[0])), expand_forward, c);
}

void CPU(expand_rows_bwd)(const gq_call *c)
{
    if (!nothing_arrives(c) && c->din[0].p)
        over(c, gq_size(&c->in[0]), range_items(c->out[0].shape[0]), expand_backward, c);
}

/* ---- mask_rows ------------------------------------------------------------------------------- */

typedef struct mask_job {
    const float *x, *u;
    float       *y;
    int64_t      n;                     /* columns                                                */
    int          add, whole;            /* whole: u has a factor per element                      */
} mask_job;

static void mask_range(const void *ctx, int64_t lo, int64_t hi)
{
    const mask_job *j = ctx;
    for (int64_t r = lo; r < hi; r++)
        for (int64_t i = 0; i < j->n; i += VL) {
            int64_t left = j->n - i, at = r * j->n + i;
            vf      v = load_part(j->x + at, left) *
                   (j->whole ? load_part(j->u + at, left) : vset(j->u[r]));
            store_part(j->y + at, j->add ? load_part(j->y + at, left) + v : v, left);
        }
}

static void mask(const gq_call *c, const float *x, float *y, int add)
{
    mask_job j = {
        x, c->in[1].p, y, gq_cols(&c->in[0]), add, gq_size(&c->in[1]) == gq_size(&c->in[0])};
    over(c, gq_rows(&c->in[0]), range_items(j.n), mask_range, &j);
}

void CPU(mask_rows_fwd)(const gq_call *c)
{
    mask(c, c->in[0].p, c->out[0].p, 0);
}

void CPU(mask_rows_bwd)(const gq_call *c)
{
    if (!nothing_arrives(c) && c->din[0].p)
        mask(c, c->dout[0].p, c->din[0].p, adds(c, 0));
}

/* ---- dropout --------------------------------------------------------------------------------- */

typedef struct drop_job {
    const gq_call *c;
    const float   *x;
    float         *y;
    int            add;
} drop_job;

static void drop_range(const void *ctx, int64_t lo, int64_t hi)
{
    enum { PIECE = 1024 };              /* factors at a time, in L1                               */
    const drop_job *j = ctx;
    float factor[PIECE];
    for (int64_t p = lo; p < hi; p += PIECE) {
        int64_t n = imin(PIECE, hi - p);
        drop_factors(factor, n, (uint64_t)p, j->c);
        for (int64_t i = 0; i < n; i += VL) {
            vf f = load_part(factor + i, n - i), v = load_part(j->x + p + i, n - i) * f;
            v = vselect(f == 0.0f, vset(0.0f), v);                 /* a dropped infinity leaves 0 */
            store_part(j->y + p + i, j->add ? load_part(j->y + p + i, n - i) + v : v, n - i);
        }
    }
}

void CPU(dropout_fwd)(const gq_call *c)
{
    drop_job j = {c, c->in[0].p, c->out[0].p, 0};
    over(c, gq_size(&c->in[0]), RANGE_ELEMENTS, drop_range, &j);
}

void CPU(dropout_bwd)(const gq_call *c)
{
    drop_job j = {c, c->dout[0].p, c->din[0].p, adds(c, 0)};
    if (!nothing_arrives(c) && j.y)
        over(c, gq_size(&c->in[0]), RANGE_ELEMENTS, drop_range, &j);
}

/* ---- kv_append ------------------------------------------------------------------------------- */

void CPU(kv_append_fwd)(const gq_call *c)
{
    const float   *qkv = c->in[0].p;
    const int32_t *pos = c->in[2].p;
    float         *cache = c->in[1].p;
    int64_t        B = c->in[0].shape[0], T = c->in[0].shape[1], W = c->in[0].shape[2];
    int64_t        cap = c->in[1].shape[1], C = c->attr.width;
    for (int64_t b = 0; b < B; b++)
        for (int64_t t = 0; t < T && pos[b] + t < cap; t++) {
            const float *from = qkv + (b * T + t) * W;
            float       *to = cache + (b * cap + pos[b] + t) * 2 * C;
            put(to, from + c->attr.koff, C, 0);
            put(to + C, from + c->attr.voff, C, 0);
        }
}
