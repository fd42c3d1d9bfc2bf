/* cpu.h - private to kernels/cpu: the kernels of one rung, and how loops over rows are shared among
 * threads.
 *
 * CPU(linear_fwd) is gq_cpu_linear_fwd_avx2 in the files compiled for avx2. Loops are cut into
 * ranges whose size depends on the problem only; sums over rows are carried per range and the
 * partial sums added by index.
 */
#ifndef GIFQA_CPU_CPU_H
#define GIFQA_CPU_CPU_H

#include "kernels/cpu/vec.h"
#include "kernels/kernels.h"

#define CPU(name) GQ_NAME(gq_cpu_##name)

void CPU(linear_fwd)(const gq_call *c);
void CPU(linear_bwd)(const gq_call *c);
void CPU(patch_embed_fwd)(const gq_call *c);
void CPU(patch_embed_bwd)(const gq_call *c);
void CPU(embed_fwd)(const gq_call *c);
void CPU(embed_bwd)(const gq_call *c);
void CPU(layernorm_fwd)(const gq_call *c);
void CPU(layernorm_bwd)(const gq_call *c);
void CPU(add_norm_fwd)(const gq_call *c);
void CPU(add_norm_bwd)(const gq_call *c);
void CPU(sdpa_fwd)(const gq_call *c);
void CPU(sdpa_bwd)(const gq_call *c);
void CPU(glu_fwd)(const gq_call *c);
void CPU(glu_bwd)(const gq_call *c);
void CPU(scale_fwd)(const gq_call *c);
void CPU(scale_bwd)(const gq_call *c);
void CPU(dropout_fwd)(const gq_call *c);
void CPU(dropout_bwd)(const gq_call *c);
void CPU(mask_rows_fwd)(const gq_call *c);
void CPU(mask_rows_bwd)(const gq_call *c);
void CPU(gather_rows_fwd)(const gq_call *c);
void CPU(gather_rows_bwd)(const gq_call *c);
void CPU(concat_rows_fwd)(const gq_call *c);
void CPU(concat_rows_bwd)(const gq_call *c);
void CPU(expand_rows_fwd)(const gq_call *c);
void CPU(expand_rows_bwd)(const gq_call *c);
void CPU(lm_loss_fwd)(const gq_call *c);
void CPU(lm_loss_bwd)(const gq_call *c);
void CPU(mvm_loss_fwd)(const gq_call *c);
void CPU(mvm_loss_bwd)(const gq_call *c);
void CPU(combine_fwd)(const gq_call *c);
void CPU(combine_bwd)(const gq_call *c);
void CPU(kv_append_fwd)(const gq_call *c);

size_t CPU(linear_temp)(const gq_call *c, int backward, int threads);
size_t CPU(patch_embed_temp)(const gq_call *c, int backward, int threads);
size_t CPU(norm_temp)(const gq_call *c, int backward, int threads);
size_t CPU(sdpa_temp)(const gq_call *c, int backward, int threads);
size_t CPU(lm_loss_temp)(const gq_call *c, int backward, int threads);
size_t CPU(mvm_loss_temp)(const gq_call *c, int backward, int threads);

#ifdef GQ_BF16_DOT                           /* linear with operands rounded to bf16                  */
void   CPU(linear_pairs_fwd)(const gq_call *c);
void   CPU(linear_pairs_bwd)(const gq_call *c);
size_t CPU(linear_pairs_temp)(const gq_call *c, int backward, int threads);
#endif
#ifdef GQ_AMX                            /* the same, multiplied by AMX tiles                     */
void   CPU(linear_amx_fwd)(const gq_call *c);
void   CPU(linear_amx_bwd)(const gq_call *c);
size_t CPU(linear_amx_temp)(const gq_call *c, int backward, int threads);
#endif

void   CPU(adamw)(const gq_adamw_call *c, gq_work *work);
double CPU(sumsq)(const void *x, int64_t n, gq_work *work);

/* ---- ranges ---------------------------------------------------------------------------------- */

enum {
    /* elements a range holds at least: smaller ones cost more than they gain */
    RANGE_ELEMENTS = 16384,
    PARTIALS = 64,                      /* most partial sums of one reduction over rows           */
};

typedef void (*range_fn)(const void *ctx, int64_t lo, int64_t hi);   /* [lo, hi) of 0..n          */

typedef struct range_job {
    range_fn    fn;
    const void *ctx;
    int64_t     n, per;                 /* items, items per range                                 */
} range_job;

GQ_INLINE int64_t imin(int64_t a, int64_t b) { return a < b ? a : b; }
GQ_INLINE int64_t imax(int64_t a, int64_t b) { return a > b ? a : b; }

static __attribute__((unused)) void range_tile(void *ctx, int64_t tile, int thread)
{
    const range_job *j = ctx;
    (void)thread;
    j->fn(j->ctx, tile * j->per, imin((tile + 1) * j->per, j->n));
}

/* Items per range when an item has `elements` elements */
GQ_INLINE int64_t range_items(int64_t elements)
{
    return imax(1, RANGE_ELEMENTS / imax(1, elements));
}

/* fn over 0..n in ranges of `per` items */
GQ_INLINE void over(const gq_call *c, int64_t n, int64_t per, range_fn fn, const void *ctx)
{
    range_job j = {fn, ctx, n, per};
    gq_parallel(c->work->pool, (n + per - 1) / per, range_tile, &j);
}

/* Rows per partial sum of a reduction over `rows` rows of `cols` elements: at most PARTIALS of
 * them */
GQ_INLINE int64_t partial_rows(int64_t rows, int64_t cols)
{
    return imax(range_items(cols), (rows + PARTIALS - 1) / PARTIALS);
}

/* ---- workspace ------------------------------------------------------------------------------- */

#define TEMP_ROUND(bytes) (((size_t)(bytes) + 63) / 64 * 64)

/* Takes `count` floats from a workspace that is handed out from the front. */
GQ_INLINE float *temp_floats(char **at, int64_t count)
{
    float *p = (float *)(void *)*at;
    *at += TEMP_ROUND((size_t)count * sizeof(float));
    return p;
}

/* ---- gradients ------------------------------------------------------------------------------- */

GQ_INLINE int adds(const gq_call *c, int k) { return (int)(c->acc >> k & 1u); }

GQ_INLINE vf load_part(const float *p, int64_t left)
{
    return left >= VL ? vload(p) : vload_n(p, left);
}

GQ_INLINE void store_part(float *p, vf v, int64_t left)
{
    if (left >= VL)
        vstore(p, v);
    else
        vstore_n(p, v, left);
}

/* d[0..n) = s or += s; s NULL is zero */
GQ_INLINE void put(float *d, const float *s, int64_t n, int add)
{
    if (!add) {
        if (s)
            memcpy(d, s, (size_t)n * sizeof(float));
        else
            memset(d, 0, (size_t)n * sizeof(float));
    } else if (s) {
        for (int64_t i = 0; i < n; i += VL)
            store_part(d + i, load_part(d + i, n - i) + load_part(s + i, n - i), n - i);
    }
}

typedef struct put_job {
    float       *d;
    const float *s;
    int          add;
} put_job;

static __attribute__((unused)) void put_range(const void *ctx, int64_t lo, int64_t hi)
{
    const put_job *j = ctx;
    put(j->d + lo, j->s ? j->s + lo : NULL, hi - lo, j->add);
}

/* Gradient k of the call receives s (NULL: nothing flows) as it is. */
GQ_INLINE void put_gradient(const gq_call *c, int k, const float *s)
{
    put_job j = {c->din[k].p, s, adds(c, k)};
    if (j.d)
        over(c, gq_size(&c->din[k]), RANGE_ELEMENTS, put_range, &j);
}

/* For ops with one output: when no gradient arrives, none leaves. */
GQ_INLINE int nothing_arrives(const gq_call *c)
{
    if (c->dout[0].p)
        return 0;
    for (int k = 0; k < GQ_MAX_IN; k++)
        put_gradient(c, k, NULL);
    return 1;
}

#endif
