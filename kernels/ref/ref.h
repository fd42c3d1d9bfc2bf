/* ref.h - private to kernels/ref: the reference kernels, which are the specification of every op.
 *
 * One scalar loop per formula, no threads, no tricks. Every file is compiled twice, with
 * GQ_REF_REAL = float (GQ_REF_NAME = ref32) and double (ref64): buffers hold `real`, every sum is
 * carried in double and rounded once, when it is stored. The operands of each op are documented in
 * kernels/kernels.h; the formulas are here.
 *
 * REF(linear_fwd) is gq_ref32_linear_fwd in one compilation and gq_ref64_linear_fwd in the other.
 */
#ifndef GIFQA_KERNELS_REF_H
#define GIFQA_KERNELS_REF_H

#include <math.h>
#include <string.h>

#include "core/philox.h"
#include "kernels/kernels.h"

#ifndef GQ_REF_REAL
#error "compile kernels/ref with GQ_REF_REAL and GQ_REF_NAME, see kernels/kernels.cmake"
#endif

typedef GQ_REF_REAL real;

#define REF_PASTE(name, function) gq_##name##_##function
#define REF_EXPAND(name, function) REF_PASTE(name, function)
#define REF(function) REF_EXPAND(GQ_REF_NAME, function)

void REF(linear_fwd)(const gq_call *c);
void REF(linear_bwd)(const gq_call *c);
void REF(patch_embed_fwd)(const gq_call *c);
void REF(patch_embed_bwd)(const gq_call *c);
void REF(embed_fwd)(const gq_call *c);
void REF(embed_bwd)(const gq_call *c);
void REF(layernorm_fwd)(const gq_call *c);
void REF(layernorm_bwd)(const gq_call *c);
void REF(add_norm_fwd)(const gq_call *c);
void REF(add_norm_bwd)(const gq_call *c);
void REF(sdpa_fwd)(const gq_call *c);
void REF(sdpa_bwd)(const gq_call *c);
void REF(glu_fwd)(const gq_call *c);
void REF(glu_bwd)(const gq_call *c);
void REF(scale_fwd)(const gq_call *c);
void REF(scale_bwd)(const gq_call *c);
void REF(dropout_fwd)(const gq_call *c);
void REF(dropout_bwd)(const gq_call *c);
void REF(mask_rows_fwd)(const gq_call *c);
void REF(mask_rows_bwd)(const gq_call *c);
void REF(gather_rows_fwd)(const gq_call *c);
void REF(gather_rows_bwd)(const gq_call *c);
void REF(concat_rows_fwd)(const gq_call *c);
void REF(concat_rows_bwd)(const gq_call *c);
void REF(expand_rows_fwd)(const gq_call *c);
void REF(expand_rows_bwd)(const gq_call *c);
void REF(lm_loss_fwd)(const gq_call *c);
void REF(lm_loss_bwd)(const gq_call *c);
void REF(mvm_loss_fwd)(const gq_call *c);
void REF(mvm_loss_bwd)(const gq_call *c);
void REF(combine_fwd)(const gq_call *c);
void REF(combine_bwd)(const gq_call *c);
void REF(kv_append_fwd)(const gq_call *c);

size_t REF(linear_temp)(const gq_call *c, int backward, int threads);
size_t REF(embed_temp)(const gq_call *c, int backward, int threads);
size_t REF(gather_rows_temp)(const gq_call *c, int backward, int threads);
size_t REF(sdpa_temp)(const gq_call *c, int backward, int threads);
size_t REF(lm_loss_temp)(const gq_call *c, int backward, int threads);

void   REF(adamw)(const gq_adamw_call *c, gq_work *work);
double REF(sumsq)(const void *x, int64_t n, gq_work *work);

/* ---- helpers --------------------------------------------------------------------------------- */

/* Is gradient k added to what is there (bit k of acc), or stored over it? */
static inline int ref_adds(const gq_call *c, int k) { return c->acc >> k & 1; }

/* The one way a gradient is written. */
static inline void ref_put(real *d, int adds, double v) { *d = (real)(adds ? *d + v : v); }

/* A gradient that arrives; an absent one is zero. */
static inline double ref_get(const real *d, int64_t i) { return d ? (double)d[i] : 0.0; }

/* dx[idx[r]] += dy[r] with the rows added in order: the backward of every lookup. Rows of dx that
 * no index names get zero. dx is [n,D], dy is [R,D] or absent; sum: scratch [D]. */
static inline void ref_scatter_rows(real *dx, int adds, int64_t n, int64_t D, const int32_t *idx,
                                    int64_t R, const real *dy, double *sum)
{
    for (int64_t i = 0; i < n; i++) {
        for (int64_t d = 0; d < D; d++)
            sum[d] = 0;
        for (int64_t r = 0; r < R; r++)
            if (idx[r] == i)
                for (int64_t d = 0; d < D; d++)
                    sum[d] += ref_get(dy, r * D + d);
        for (int64_t d = 0; d < D; d++)
            ref_put(&dx[i * D + d], adds, sum[d]);
    }
}

/* The activations of linear and glu, and their slopes (ref32 and ref64 share linear.c's). */
double REF(act_value)(int act, double x);
double REF(act_slope)(int act, double x);

/* Is this element kept by dropout with probability p? The draw is a pure function of its arguments
 * (core/philox.h). */
static inline int ref_keeps(const gq_call *c, uint64_t element)
{
    return gq_u01(gq_philox_at(c->step->seed, element, c->rng_op, gq_step_word(c))) >= c->attr.p;
}

#endif
