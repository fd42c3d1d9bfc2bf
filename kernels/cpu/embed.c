/* embed.c - lookups: embed and gather_rows. Backward adds rows in order; threads own columns, so no
 * sum is shared. */
#include "kernels/cpu/cpu.h"

enum { COLUMN_BLOCK = 64 };             /* columns a backward range owns                          */

typedef struct lookup_job {
    const float   *x, *base;            /* table [V,D]; base [rows,D], NULL: none                 */
    const int32_t *ids;                 /* [rows]; below 0: a row of zeros                        */
    const float   *dy;                  /* [rows,D]                                               */
    float         *y;                   /* forward [rows,D]; backward [V,D]                       */
    int64_t        rows, n;             /* n: columns                                             */
} lookup_job;

static void lookup_rows(const void *ctx, int64_t lo, int64_t hi)
{
    const lookup_job *j = ctx;
    int64_t n = j->n;
    for (int64_t r = lo; r < hi; r++) {
        put(j->y + r * n, j->ids[r] < 0 ? NULL : j->x + j->ids[r] * n, n, 0);
        if (j->base)
            put(j->y + r * n, j->base + r * n, n, 1);
    }
}

static void scatter_columns(const void *ctx, int64_t lo, int64_t hi)
{
    const lookup_job *j = ctx;
    int64_t first = lo * COLUMN_BLOCK, count = imin(hi * COLUMN_BLOCK, j->n) - first;
    for (int64_t r = 0; r < j->rows; r++)
        if (j->ids[r] >= 0)
            put(j->y + j->ids[r] * j->n + first, j->dy + r * j->n + first, count, 1);
}

/* din[k] = (or +=) the rows of dy, each at its id */
static void scatter(const gq_call *c, int k, const int32_t *ids, int64_t rows)
{
    lookup_job j = {
        .ids = ids, .dy = c->dout[0].p, .y = c->din[k].p, .rows = rows, .n = gq_cols(&c->in[k])};
    int64_t    blocks = (j.n + COLUMN_BLOCK - 1) / COLUMN_BLOCK;
    if (!adds(c, k))
        put_gradient(c, k, NULL);
    over(c, blocks, range_items(rows * COLUMN_BLOCK), scatter_columns, &j);
}

void CPU(embed_fwd)(const gq_call *c)
{
    lookup_job j = {.x = c->in[1].p, .base = c->in[2].p, .ids = c->in[0].p, .y = c->out[0].p,
                    .rows = gq_size(&c->in[0]), .n = gq_cols(&c->in[1])};
    over(c, j.rows, range_items(j.n), lookup_rows, &j);
}

void CPU(embed_bwd)(const gq_call *c)
{
    if (nothing_arrives(c))
        return;
    if (c->din[1].p)
        scatter(c, 1, c->in[0].p, gq_size(&c->in[0]));
    put_gradient(c, 2, c->dout[0].p);
}

void CPU(gather_rows_fwd)(const gq_call *c)
{
    lookup_job j = {.x = c->in[0].p,
                    .ids = c->in[1].p,
                    .y = c->out[0].p,
                    .rows = gq_size(&c->in[1]),
                    .n = gq_cols(&c->in[0])};
    over(c, j.rows, range_items(j.n), lookup_rows, &j);
}

void CPU(gather_rows_bwd)(const gq_call *c)
{
    if (!nothing_arrives(c) && c->din[0].p)
        scatter(c, 0, c->in[1].p, gq_size(&c->in[1]));
}
