/* ops.h - the ops as a model author sees them. Shapes are documented in kernels/kernels.h, one
 * paragraph an op.
 *
 * Every function is wrapped by a macro of the same name that notes the model's file and line.
 * Optional operands are GQ_T_NONE. All return handle 0 after an error (sticky, reported by
 * gq_tape_finish()).
 */
#ifndef GIFQA_CORE_OPS_H
#define GIFQA_CORE_OPS_H

#include "core/tape.h"

/* Whose buckets (kernels/relative.h): keys before the query only; before and after; before, of queries
 * that are the last positions of `lengths` (decoding over a cache). */
typedef enum gq_rel { GQ_REL_BACK, GQ_REL_BOTH, GQ_REL_LAST } gq_rel;

typedef struct gq_sdpa_opts {
    int     heads;
    gq_mask mask;
    double  scale;                      /* 0: 1/sqrt(head width)                                  */
    int     width;            /* C; 0: a third of the source (packed qkv) or the q source's width */
    int     qoff, koff, voff;    /* first columns; all 0 means 0, C, 2C (self) or 0, 0, C (cross) */
    gq_t    lengths;                    /* i32 [B] or none                                        */
    gq_t    visible;                    /* real [B,Tk] or none                                    */
    gq_t    table;                      /* real [buckets,heads] or none: bias by relative position */
    gq_rel  relative;                   /* of the table                                           */
    int     far;                        /* of the table: distances from here on share a bucket    */
    double  dropout;
} gq_sdpa_opts;

typedef struct gq_pixels { int patch; float mean[3], std[3]; } gq_pixels;

gq_t gq__linear(gq_tape *t, gq_t x, gq_t w, gq_t bias, gq_act act, gq_t residual);
gq_t gq__patch_embed(gq_tape *t, gq_t frames, gq_t w, gq_t cls, gq_t pos, const gq_pixels *o);
gq_t gq__embed(gq_tape *t, gq_t ids, gq_t table, gq_t base);
gq_t gq__layernorm(gq_tape *t, gq_t x, gq_t gain, gq_t bias, double eps);
gq_t gq__add_norm(gq_tape *t, gq_t a, gq_t b, gq_t gain, gq_t bias, double eps, gq_t *sum);   /* sum may be NULL */
gq_t gq__rmsnorm(gq_tape *t, gq_t x, gq_t gain, double eps);
gq_t gq__add_rmsnorm(gq_tape *t, gq_t a, gq_t b, gq_t gain, double eps, gq_t *sum);        /* sum may be NULL */
gq_t gq__glu(gq_tape *t, gq_t u, gq_act act);
gq_t gq__scale(gq_tape *t, gq_t x, double s);
gq_t gq__sdpa(gq_tape *t, gq_t q, gq_t kv, const gq_sdpa_opts *o);               /* kv none: self */
gq_t gq__dropout(gq_tape *t, gq_t x, double p);                               /* p == 0: x itself */
gq_t gq__mask_rows(gq_tape *t, gq_t x, gq_t u);
gq_t gq__gather_rows(gq_tape *t, gq_t x, gq_t idx);
gq_t gq__concat_rows(gq_tape *t, gq_t a, gq_t b);
gq_t gq__expand_rows(gq_tape *t, gq_t x, int64_t batch);
gq_t gq__lm_loss(gq_tape *t, gq_t hidden, gq_t wte, gq_t rows, gq_t labels, gq_t inv_denom, gq_t *stats);
gq_t gq__mvm_loss(gq_tape *t, gq_t h, gq_t teacher, gq_t u, gq_t inv_denom, gq_mvm_kind kind);
gq_t gq__combine(gq_tape *t, int n, const gq_t *loss, const double *weight);
void gq__kv_append(gq_tape *t, gq_t qkv, gq_t cache, gq_t pos, int koff, int voff, int width);

#define GQ_HERE(t) gq__at((t), __FILE__, __LINE__)
#define gq_linear(t, ...)      gq__linear(GQ_HERE(t), __VA_ARGS__)
#define gq_patch_embed(t, ...) gq__patch_embed(GQ_HERE(t), __VA_ARGS__)
#define gq_embed(t, ...)       gq__embed(GQ_HERE(t), __VA_ARGS__)
#define gq_layernorm(t, ...)   gq__layernorm(GQ_HERE(t), __VA_ARGS__)
#define gq_add_norm(t, ...)    gq__add_norm(GQ_HERE(t), __VA_ARGS__)
#define gq_rmsnorm(t, ...)     gq__rmsnorm(GQ_HERE(t), __VA_ARGS__)
#define gq_add_rmsnorm(t, ...) gq__add_rmsnorm(GQ_HERE(t), __VA_ARGS__)
#define gq_glu(t, ...)         gq__glu(GQ_HERE(t), __VA_ARGS__)
#define gq_scale(t, ...)       gq__scale(GQ_HERE(t), __VA_ARGS__)
#define gq_sdpa(t, ...)        gq__sdpa(GQ_HERE(t), __VA_ARGS__)
#define gq_dropout(t, ...)     gq__dropout(GQ_HERE(t), __VA_ARGS__)
#define gq_mask_rows(t, ...)   gq__mask_rows(GQ_HERE(t), __VA_ARGS__)
#define gq_gather_rows(t, ...) gq__gather_rows(GQ_HERE(t), __VA_ARGS__)
#define gq_concat_rows(t, ...) gq__concat_rows(GQ_HERE(t), __VA_ARGS__)
#define gq_expand_rows(t, ...) gq__expand_rows(GQ_HERE(t), __VA_ARGS__)
#define gq_lm_loss(t, ...)     gq__lm_loss(GQ_HERE(t), __VA_ARGS__)
#define gq_mvm_loss(t, ...)    gq__mvm_loss(GQ_HERE(t), __VA_ARGS__)
#define gq_combine(t, ...)     gq__combine(GQ_HERE(t), __VA_ARGS__)
#define gq_kv_append(t, ...)   gq__kv_append(GQ_HERE(t), __VA_ARGS__)

#endif
