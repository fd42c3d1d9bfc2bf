/* ops.h - the table of op tests: for every op its cases (odd shapes, attributes, absent operands)
 * and its formulas.
 *
 * A new op needs one row here: a table of shapes and a function that makes a description of one,
 * and the two functions of formulas.h. check_row() fails the test program for an op of
 * core/oplist.h without one.
 */
#ifndef GIFQA_TESTS_OPS_OPS_H
#define GIFQA_TESTS_OPS_OPS_H

#include "kernels/relative.h"
#include "tests/ops/formulas.h"

#define COUNT(table) ((int)(sizeof(table) / sizeof(table)[0]))

/* Case i of an op is shape i of its table, made into a description by <op>_of(). */
#define CASES(op)                                                                                  \
    static inline bool op##_case(int i, op_case *c)                                                \
    {                                                                                              \
        if (i >= COUNT(op##_shapes))                                                               \
            return false;                                                                          \
        op##_of(&op##_shapes[i], c);                                                               \
        return true;                                                                               \
    }

typedef struct linear_shape { int rows, K, N, act, bias, residual, large; } linear_shape;

static inline void linear_of(const linear_shape *t, op_case *c)
{
    c->in[0] = t->rows % 2 ? reals(FILL_NORMAL, 2, t->rows, t->K, 1)
                           : reals(FILL_NORMAL, 3, 2, t->rows / 2, t->K);
    c->in[1] = parameters(FILL_NORMAL, 2, t->N, t->K);
    c->out[0] = c->in[0];
    c->out[0].shape[c->out[0].rank - 1] = t->N;
    if (t->bias)
        c->in[2] = parameters(t->act == GQ_RELU ? FILL_FAR : FILL_NORMAL, 1, t->N, 1);
    if (t->residual)
        c->in[3] = c->out[0];
    if (t->act != GQ_NONE)
        c->save[0] = c->out[0];
    c->attr.act = t->act;
    c->wants = 15;
    c->gives = 1;
    c->rough = t->large;
}

static const linear_shape linear_shapes[] = {
    {1, 1, 1, GQ_NONE, 0, 0, 0},         {3, 5, 7, GQ_NONE, 1, 0, 0},
    {7, 3, 2, GQ_GELU, 1, 0, 0},         {5, 17, 9, GQ_GELU_TANH, 1, 1, 0},
    {4, 6, 11, GQ_QUICK_GELU, 0, 1, 0},  {6, 4, 3, GQ_RELU, 1, 0, 0},
    {2, 33, 31, GQ_NONE, 0, 1, 0},       {9, 2, 5, GQ_GELU_TANH, 0, 0, 0},
    {65, 33, 49, GQ_GELU_TANH, 1, 1, 1}, {131, 67, 70, GQ_GELU, 1, 0, 1},
    {2, 1031, 5, GQ_NONE, 1, 0, 1},      {97, 9, 301, GQ_QUICK_GELU, 1, 1, 1},
};
CASES(linear)

typedef struct patch_embed_shape { int B, S, p, D, cls, pos; } patch_embed_shape;

static inline void patch_embed_of(const patch_embed_shape *t, op_case *c)
{
    int64_t tokens = (t->S / t->p) * (t->S / t->p) + t->cls;
    c->in[0] = (operand){.rank = 4, .dtype = GQ_U8, .how = FILL_PIXEL,
                         .shape = {t->B, t->S, t->S, 3}};
    c->in[1] = parameters(FILL_NORMAL, 2, t->D, 3 * t->p * t->p);
    if (t->cls)
        c->in[2] = parameters(FILL_NORMAL, 1, t->D, 1);
    if (t->pos)
        c->in[3] = parameters(FILL_NORMAL, 2, tokens, t->D);
    c->out[0] = reals(FILL_NORMAL, 3, t->B, tokens, t->D);
    c->attr = (gq_attr){.patch = t->p, .mean = {0.48145466f, 0.4578275f, 0.40821073f},
                        .std = {0.26862954f, 0.26130258f, 0.27577711f}};
    c->wants = 14;
    c->gives = 1;
}

static const patch_embed_shape patch_embed_shapes[] = {
    {1, 2, 2, 1, 0, 0},   {2, 6, 3, 5, 1, 1},   {3, 4, 2, 7, 0, 1},
    {1, 15, 5, 33, 1, 0}, {2, 16, 4, 19, 1, 1},
    {2, 16, 8, 16, 1, 1},
};
CASES(patch_embed)

typedef struct embed_shape { int a, b, V, D, base; } embed_shape;

static inline void embed_of(const embed_shape *t, op_case *c)
{
    c->in[0] = ints(FILL_INDEX, t->V, 2, t->a, t->b);
    c->in[1] = parameters(FILL_NORMAL, 2, t->V, t->D);
    c->out[0] = reals(FILL_NORMAL, 3, t->a, t->b, t->D);
    if (t->base)
        c->in[2] = c->out[0];
    c->wants = 6;
    c->gives = 1;
    c->rough = count(&c->out[0]) > 2000;
}

static const embed_shape embed_shapes[] = {
    {1, 1, 1, 1, 0}, {3, 5, 4, 7, 1}, {2, 3, 50, 17, 0}, {11, 13, 6, 33, 1}, {5, 9, 6, 264, 1},
};
CASES(embed)

typedef struct layernorm_shape { int rows, D, bias; float eps; fill how; int rms; } layernorm_shape;

static inline void layernorm_of(const layernorm_shape *t, op_case *c)
{
    c->in[0] = reals(t->how, 2, t->rows, t->D, 1);
    c->in[1] = parameters(FILL_GAIN, 1, t->D, 1);
    if (t->bias)
        c->in[2] = parameters(FILL_NORMAL, 1, t->D, 1);
    c->out[0] = c->in[0];
    c->save[0] = c->save[1] = stats(FILL_NORMAL, 1, t->rows, 1, 1);
    c->attr.eps = t->eps;
    c->attr.rms = t->rms;
    c->wants = 7;
    c->gives = 1;
    c->rough = (t->how == FILL_EQUAL_ROWS && !t->rms) || t->D == 2 || t->rows > 50;
}

static const layernorm_shape layernorm_shapes[] = {
    {1, 2, 1, 1e-5f, FILL_NORMAL, 0},     {5, 7, 0, 1e-5f, FILL_NORMAL, 0},
    {4, 33, 1, 1e-12f, FILL_NORMAL, 0},   {3, 16, 1, 0.1f, FILL_FAR, 0},
    {7, 9, 1, 1e-5f, FILL_EQUAL_ROWS, 0}, {67, 131, 1, 1e-5f, FILL_NORMAL, 0},
    {5, 33, 0, 1e-6f, FILL_NORMAL, 1}, {3, 7, 1, 0.1f, FILL_FAR, 1},
    {6, 9, 0, 1e-6f, FILL_EQUAL_ROWS, 1}, {65, 129, 0, 1e-6f, FILL_NORMAL, 1},
};
CASES(layernorm)

typedef struct add_norm_shape { int rows, D, bias, gives, rms; } add_norm_shape;

static inline void add_norm_of(const add_norm_shape *t, op_case *c)
{
    c->in[0] = c->in[1] = reals(FILL_NORMAL, 2, t->rows, t->D, 1);
    c->in[2] = parameters(FILL_GAIN, 1, t->D, 1);
    if (t->bias)
        c->in[3] = parameters(FILL_NORMAL, 1, t->D, 1);
    c->out[0] = c->out[1] = c->in[0];
    c->save[0] = c->save[1] = stats(FILL_NORMAL, 1, t->rows, 1, 1);
    c->attr.eps = 1e-5f;
    c->attr.rms = t->rms;
    c->wants = 15;
    c->gives = (uint32_t)t->gives;
    c->rough = t->rows > 50;
}

static const add_norm_shape add_norm_shapes[] = {
    {1, 3, 1, 3, 0}, {5, 7, 0, 3, 0}, {4, 33, 1, 2, 0}, {6, 17, 1, 1, 0}, {63, 65, 1, 3, 0},
    {5, 33, 0, 3, 1}, {4, 7, 0, 2, 1}, {3, 65, 1, 1, 1}, {66, 31, 0, 3, 1},
};
CASES(add_norm)

enum { NO_TABLE, BACK, BOTH, LAST };                                  /* sdpa: whose buckets      */

/* Tk 0: self-attention on packed q, k, v columns. `wider`: columns of the kv source that nobody
 * reads. */
typedef struct sdpa_shape {
    int   B, H, Tq, Tk, C, mask, hi_length, visible, wider;
    float p;
    int   large, relative, buckets, far;                      /* relative: NO_TABLE..LAST         */
} sdpa_shape;

static inline void sdpa_of(const sdpa_shape *t, op_case *c)
{
    int64_t C = t->C, Tk = t->Tk ? t->Tk : t->Tq;
    c->in[0] = reals(FILL_NORMAL, 3, t->B, t->Tq, t->Tk ? C : 3 * C);
    if (t->Tk)
        c->in[1] = reals(FILL_NORMAL, 3, t->B, Tk, 2 * C + t->wider);
    if (t->hi_length)
        c->in[2] = ints(FILL_INDEX, t->hi_length, 1, t->B, 1);
    if (t->visible)
        c->in[3] = stats(FILL_BITS, 2, t->B, Tk, 1);
    c->out[0] = reals(FILL_NORMAL, 3, t->B, t->Tq, C);
    c->save[0] = stats(FILL_NORMAL, 3, t->B, t->H, t->Tq);
    c->attr = (gq_attr){.heads = t->H,
                        .width = (int32_t)C,
                        .mask = t->mask,
                        .p = t->p,
                        .scale = (float)(1 / sqrt((double)C / t->H)),
                        .koff = t->Tk ? t->wider : (int32_t)C,
                        .voff = (int32_t)(t->Tk ? C + t->wider : 2 * C)};
    c->wants = t->Tk ? 3 : 1;
    if (t->relative) {
        c->in[4] = parameters(FILL_NORMAL, 2, t->buckets, t->H);
        c->wants |= 16;
        c->far = t->far;
        assert_true(gq_relative_set(&c->attr.rel, t->buckets, t->far, t->relative == BOTH));
        c->attr.rel.last = t->relative == LAST;
    }
    c->gives = 1;
    c->rough = t->large;
}

static const sdpa_shape sdpa_shapes[] = {
    {1, 1, 1, 0, 1, GQ_MASK_NONE, 0, 0, 0, 0, 0, 0, 0, 0},
    {2, 3, 5, 0, 9, GQ_MASK_CAUSAL, 0, 0, 0, 0, 0, 0, 0, 0},
    {1, 2, 7, 0, 10, GQ_MASK_NONE, 8, 0, 0, 0, 0, 0, 0, 0},
    {3, 2, 4, 0, 6, GQ_MASK_CAUSAL, 5, 1, 0, 0, 0, 0, 0, 0},
    {2, 2, 5, 0, 6, GQ_MASK_CAUSAL, 0, 1, 0, 0.3f, 0, 0, 0, 0},
    {2, 1, 6, 0, 5, GQ_MASK_NONE, 0, 1, 0, 0, 0, 0, 0, 0},
    {2, 3, 3, 5, 9, GQ_MASK_NONE, 0, 0, 0, 0, 0, 0, 0, 0},
    {2, 2, 1, 7, 6, GQ_MASK_NONE, 8, 0, 3, 0, 0, 0, 0, 0},
    {4, 2, 4, 3, 10, GQ_MASK_NONE, 4, 1, 1, 0.25f, 0, 0, 0, 0},
    {1, 2, 9, 0, 34, GQ_MASK_CAUSAL, 0, 0, 0, 0.1f, 0, 0, 0, 0},
    {2, 3, 67, 0, 57, GQ_MASK_CAUSAL, 0, 0, 0, 0, 1, 0, 0, 0},
    {1, 2, 33, 71, 128, GQ_MASK_NONE, 72, 0, 0, 0, 1, 0, 0, 0},
    {1, 3, 130, 0, 24, GQ_MASK_NONE, 131, 1, 0, 0.2f, 1, 0, 0, 0},
    {2, 2, 7, 0, 6, GQ_MASK_CAUSAL, 0, 0, 0, 0, 0, BACK, 4, 5},
    {3, 3, 6, 0, 9, GQ_MASK_NONE, 7, 0, 0, 0.2f, 0, BOTH, 8, 4},
    {2, 2, 3, 5, 6, GQ_MASK_NONE, 6, 1, 1, 0, 0, BOTH, 4, 2},
    {3, 2, 1, 9, 10, GQ_MASK_NONE, 10, 0, 0, 0, 0, LAST, 6, 8},
    {2, 1, 2, 7, 4, GQ_MASK_NONE, 8, 0, 0, 0, 0, LAST, 4, 6},
    {2, 3, 67, 0, 57, GQ_MASK_CAUSAL, 0, 0, 0, 0, 1, BACK, 32, 128},
    {1, 2, 150, 0, 24, GQ_MASK_NONE, 151, 0, 0, 0.1f, 1, BOTH, 32, 128},
    {1, 2, 33, 71, 128, GQ_MASK_NONE, 72, 0, 0, 0, 1, BOTH, 32, 60},
};
CASES(sdpa)

typedef struct glu_shape { int rows, F, act; } glu_shape;

static inline void glu_of(const glu_shape *t, op_case *c)
{
    c->in[0] = reals(t->act == GQ_RELU ? FILL_FAR : FILL_NORMAL, 2, t->rows, 2 * t->F, 1);
    c->out[0] = reals(FILL_NORMAL, 2, t->rows, t->F, 1);
    c->attr.act = t->act;
    c->wants = c->gives = 1;
    c->rough = t->rows > 50;
}

static const glu_shape glu_shapes[] = {
    {1, 1, GQ_GELU_TANH}, {5, 7, GQ_GELU_TANH}, {3, 33, GQ_GELU},      {4, 16, GQ_QUICK_GELU},
    {7, 9, GQ_RELU},      {2, 5, GQ_NONE},      {67, 71, GQ_GELU_TANH}, {3, 264, GQ_GELU_TANH},
};
CASES(glu)

typedef struct scale_shape { int rows, D; float s; } scale_shape;

static inline void scale_of(const scale_shape *t, op_case *c)
{
    c->in[0] = c->out[0] = reals(FILL_NORMAL, 2, t->rows, t->D, 1);
    c->attr.scale = t->s;
    c->wants = c->gives = 1;
}

static const scale_shape scale_shapes[] = {
    {1, 1, 0.5f}, {5, 7, -3.0f}, {11, 33, 0.0360843918f}, {3, 264, 0.1f},
};
CASES(scale)

typedef struct dropout_shape { int rows, D; float p; } dropout_shape;

static inline void dropout_of(const dropout_shape *t, op_case *c)
{
    c->in[0] = c->out[0] = reals(FILL_NORMAL, 2, t->rows, t->D, 1);
    c->attr.p = t->p;
    c->wants = c->gives = 1;
    c->rough = count(&c->out[0]) > 2000;
}

static const dropout_shape dropout_shapes[] = {
    {1, 1, 0.5f}, {3, 7, 0.1f}, {5, 33, 0.9f}, {67, 129, 0.25f},
};
CASES(dropout)

typedef struct mask_rows_shape { int B, T, D, each; fill how; } mask_rows_shape;

static inline void mask_rows_of(const mask_rows_shape *t, op_case *c)
{
    c->in[0] = c->out[0] = reals(FILL_NORMAL, 3, t->B, t->T, t->D);
    c->in[1] = t->each ? stats(t->how, 3, t->B, t->T, t->D)
                       : stats(t->how, 2, t->B, t->T, 1);
    c->wants = c->gives = 1;
}

static const mask_rows_shape mask_rows_shapes[] = {
    {1, 1, 1, 0, FILL_NORMAL},
    {2, 3, 5, 0, FILL_BITS},
    {3, 1, 17, 1, FILL_NORMAL},
    {7, 9, 33, 0, FILL_NORMAL},
    {2, 3, 264, 0, FILL_NORMAL},
    {3, 1, 136, 1, FILL_NORMAL},
};
CASES(mask_rows)

typedef struct gather_rows_shape { int n, D, a, b; } gather_rows_shape;

static inline void gather_rows_of(const gather_rows_shape *t, op_case *c)
{
    c->in[0] = reals(FILL_NORMAL, 2, t->n, t->D, 1);
    c->in[1] = ints(FILL_INDEX_OR_NONE, t->n, 2, t->a, t->b);
    c->out[0] = reals(FILL_NORMAL, 3, t->a, t->b, t->D);
    c->wants = c->gives = 1;
    c->rough = count(&c->out[0]) > 5000;
}

static const gather_rows_shape gather_rows_shapes[] = {
    {1, 1, 1, 1}, {4, 7, 3, 5}, {9, 17, 2, 2}, {67, 33, 11, 13}, {13, 264, 3, 7},
};
CASES(gather_rows)

typedef struct concat_rows_shape { int B, N, P, D; } concat_rows_shape;

static inline void concat_rows_of(const concat_rows_shape *t, op_case *c)
{
    c->in[0] = reals(FILL_NORMAL, 3, t->B, t->N, t->D);
    c->in[1] = reals(FILL_NORMAL, 3, t->B, t->P, t->D);
    c->out[0] = reals(FILL_NORMAL, 3, t->B, t->N + t->P, t->D);
    c->wants = 3;
    c->gives = 1;
    c->rough = count(&c->out[0]) > 5000;
}

static const concat_rows_shape concat_rows_shapes[] = {
    {1, 1, 1, 1}, {3, 2, 5, 7}, {2, 9, 1, 33}, {5, 11, 13, 17}, {3, 2, 5, 16}, {2, 33, 2, 264},
};
CASES(concat_rows)

typedef struct expand_rows_shape { int B, n, D, parameter; } expand_rows_shape;

static inline void expand_rows_of(const expand_rows_shape *t, op_case *c)
{
    c->in[0] = reals(FILL_NORMAL, 2, t->n, t->D, 1);
    c->in[0].parameter = t->parameter;
    c->out[0] = reals(FILL_NORMAL, 3, t->B, t->n, t->D);
    c->attr.width = t->B;                                  /* how the tape tells the shape rule */
    c->wants = c->gives = 1;
    c->rough = count(&c->out[0]) > 5000;
}

static const expand_rows_shape expand_rows_shapes[] = {
    {1, 1, 1, 0}, {3, 2, 7, 1}, {5, 9, 33, 0}, {4, 3, 17, 1}, {19, 2, 264, 1}, {3, 2, 16, 0},
};
CASES(expand_rows)

typedef struct lm_loss_shape { int n, D, V, R; fill how; } lm_loss_shape;

static inline void lm_loss_of(const lm_loss_shape *t, op_case *c)
{
    c->in[0] = reals(t->how, 2, t->n, t->D, 1);
    c->in[1] = parameters(t->how, 2, t->V, t->D);
    c->in[2] = ints(FILL_INDEX, t->n, 1, t->R, 1);
    c->in[3] = ints(FILL_LABEL, t->V, 1, t->R, 1);
    c->in[4] = stats(FILL_POSITIVE, 1, 1, 1, 1);
    c->out[0] = stats(FILL_NORMAL, 1, 1, 1, 1);
    c->out[1] = stats(FILL_NORMAL, 2, t->R, 2, 1);
    c->save[0] = stats(FILL_NORMAL, 1, t->R, 1, 1);
    c->save[1] = stats(FILL_NORMAL, 2, t->R < GQ_LM_CHUNK ? t->R : GQ_LM_CHUNK, t->V, 1);
    c->wants = 3;
    c->gives = 1;
    c->rough = t->R > 100;
}

static const lm_loss_shape lm_loss_shapes[] = {
    {1, 1, 1, 1, FILL_NORMAL},      {5, 7, 11, 9, FILL_NORMAL},
    {3, 4, 33, 8, FILL_NORMAL},     {4, 3, 40, 12, FILL_SMALL_INT},
    {40, 17, 67, 128, FILL_NORMAL}, {11, 5, 37, 131, FILL_NORMAL},
    {7, 9, 301, 259, FILL_NORMAL},  {4, 3, 600, 12, FILL_SMALL_INT},
    {6, 8, 33, 1100, FILL_NORMAL},
};
CASES(lm_loss)

typedef struct mvm_loss_shape { int R, D, kind; fill how, weights; } mvm_loss_shape;

static inline void mvm_loss_of(const mvm_loss_shape *t, op_case *c)
{
    c->in[0] = reals(t->how, 2, t->R, t->D, 1);
    c->in[1] = reals(FILL_NORMAL, 2, t->R, t->D, 1);
    c->in[2] = stats(t->weights, 1, t->R, 1, 1);
    c->in[3] = stats(FILL_POSITIVE, 1, 1, 1, 1);
    c->out[0] = stats(FILL_NORMAL, 1, 1, 1, 1);
    c->attr.kind = t->kind;
    c->wants = c->gives = 1;
    c->rough = t->kind == GQ_MVM_COS && t->how != FILL_NORMAL;
}

static const mvm_loss_shape mvm_loss_shapes[] = {
    {1, 1, GQ_MVM_SSE, FILL_NORMAL, FILL_NORMAL},
    {5, 7, GQ_MVM_SSE, FILL_NORMAL, FILL_BITS},
    {5, 7, GQ_MVM_MSE, FILL_NORMAL, FILL_NORMAL},
    {6, 9, GQ_MVM_COS, FILL_NORMAL, FILL_BITS},
    {7, 33, GQ_MVM_COS, FILL_ZERO_ROWS, FILL_NORMAL},
    {67, 65, GQ_MVM_MSE, FILL_ZERO_ROWS, FILL_NORMAL},
    {67, 65, GQ_MVM_COS, FILL_NORMAL, FILL_NORMAL},
    {5, 9, GQ_MVM_COS, FILL_TINY_ROWS, FILL_NORMAL},
    {9, 264, GQ_MVM_COS, FILL_NORMAL, FILL_NORMAL},
    {9, 264, GQ_MVM_SSE, FILL_ZERO_ROWS, FILL_NORMAL},
};
CASES(mvm_loss)

static inline bool combine_case(int i, op_case *c)
{
    if (i >= 4)
        return false;
    for (int k = 0; k <= i; k++)
        c->in[k] = stats(FILL_NORMAL, 1, 1, 1, 1);
    c->out[0] = c->in[0];
    c->attr = (gq_attr){.w = {1, 0.25f, -3, 0.1f}};
    c->wants = 15;
    c->gives = 1;
    return true;
}

typedef struct kv_append_shape { int B, T, cap, C, hi; fill how; } kv_append_shape;

static inline void kv_append_of(const kv_append_shape *t, op_case *c)
{
    c->in[0] = reals(FILL_NORMAL, 3, t->B, t->T, 3 * t->C);
    c->in[1] = c->out[0] = reals(FILL_NORMAL, 3, t->B, t->cap, 2 * t->C);
    c->in[2] = ints(t->how, t->hi, 1, t->B, 1);
    c->attr = (gq_attr){.width = t->C, .koff = t->C, .voff = 2 * t->C};
    c->in_place = 1;
}

static const kv_append_shape kv_append_shapes[] = {
    {1, 1, 1, 1, 1, FILL_INDEX}, {3, 2, 9, 5, 8, FILL_INDEX}, {2, 7, 7, 33, 1, FILL_INDEX},
    {4, 3, 5, 2, 5, FILL_LAST},  {3, 2, 5, 264, 5, FILL_INDEX},
};
CASES(kv_append)

/* ---- the table ------------------------------------------------------------------------------- */

typedef struct op_row {
    bool (*describe)(int i, op_case *c);                      /* false: there is no case i        */
    void (*values)(const op_case *, const values *, estimate *);
    void (*gradients)(const op_case *, const values *, estimate *);       /* NULL: no backward    */
} op_row;

#define ROW(op) {op##_case, op##_values, op##_gradients}
static const op_row op_rows[GQ_OP_COUNT] = {
    [GQ_OP_LINEAR] = ROW(linear),           [GQ_OP_PATCH_EMBED] = ROW(patch_embed),
    [GQ_OP_EMBED] = ROW(embed),             [GQ_OP_LAYERNORM] = ROW(layernorm),
    [GQ_OP_ADD_NORM] = ROW(add_norm),       [GQ_OP_SDPA] = ROW(sdpa),
    [GQ_OP_GLU] = ROW(glu),                 [GQ_OP_SCALE] = ROW(scale),
    [GQ_OP_DROPOUT] = ROW(dropout),         [GQ_OP_MASK_ROWS] = ROW(mask_rows),
    [GQ_OP_COMBINE] = ROW(combine),         [GQ_OP_GATHER_ROWS] = ROW(gather_rows),
    [GQ_OP_CONCAT_ROWS] = ROW(concat_rows), [GQ_OP_LM_LOSS] = ROW(lm_loss),
    [GQ_OP_EXPAND_ROWS] = ROW(expand_rows), [GQ_OP_MVM_LOSS] = ROW(mvm_loss),
    [GQ_OP_KV_APPEND] = {kv_append_case, kv_append_values, NULL},
};
#undef ROW

static const char *const op_names[GQ_OP_COUNT] = {
#define NAME(id, name, lo, hi, out, save, flags, doc) name,
    GQ_OPS(NAME)
#undef NAME
};
static const uint32_t op_flags[GQ_OP_COUNT] = {
#define FLAGS(id, name, lo, hi, out, save, flags, doc) flags,
    GQ_OPS(FLAGS)
#undef FLAGS
};

static inline const op_row *check_row(gq_op op)
{
    const op_row *row = &op_rows[op];
    if (!row->describe || !row->values || (!row->gradients && !(op_flags[op] & GQ_OP_NOGRAD)))
        fail_msg("op '%s' has no row in tests/ops/ops.h: write its cases there and its formulas in "
                 "formulas.h",
                 op_names[op]);
    return row;
}

/* Case i of a table. `kind`: how its name calls it. */
static inline bool case_of(gq_op op, bool (*describe)(int, op_case *), const char *kind, int i, op_case *c)
{
    *c = (op_case){.op = op};
    if (!describe(i, c))
        return false;
    snprintf(c->name, sizeof c->name, "%s %s %d", op_names[op], kind, i);
    for (int k = 0; k < GQ_MAX_IN; k++)
        if (!c->in[k].rank)
            c->wants &= ~(1u << k);
    return true;
}

static inline bool next_case(gq_op op, int i, op_case *c)
{
    return case_of(op, op_rows[op].describe, "case", i, c);
}

static inline estimate estimate_of(const op_case *c)
{
    estimate to = {0};
    for (int k = 0; k < GQ_MAX_IN; k++)
        to.din[k] = c->wants >> k & 1 ? nums(count(&c->in[k])) : NULL;
    for (int k = 0; k < GQ_MAX_OUT; k++)
        to.out[k] = c->out[k].rank ? nums(count(&c->out[k])) : NULL;
    for (int k = 0; k < GQ_MAX_SAVE; k++)
        to.save[k] = c->save[k].rank ? nums(count(&c->save[k])) : NULL;
    return to;
}

/* One cmocka test per op, the op number being its state: `RUN_PER_OP(test)` in main. */
#define RUN_PER_OP(group, test)                                                                    \
    do {                                                                                           \
        for (int op_ = 0; op_ < GQ_OP_COUNT; op_++)                                                \
            (group)[op_] =                                                                         \
                (struct CMUnitTest){op_names[op_], test, NULL, NULL, (void *)(intptr_t)op_};       \
    } while (0)

#endif
