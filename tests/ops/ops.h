/* ops.h - the table of op tests: for every op its cases (odd shapes, attributes, absent operands)
 * and its formulas.
 *
 * A new op needs one row here: a function that describes case number i or says that there is none,
 * and the two functions of formulas.h. check_row() fails the test program for an op of
 * core/oplist.h without one.
 */
#ifndef GIFQA_TESTS_OPS_OPS_H
#define GIFQA_TESTS_OPS_OPS_H

#include "tests/ops/formulas.h"

#define COUNT(table) ((int)(sizeof(table) / sizeof(table)[0]))

static inline bool linear_case(int i, op_case *c)
{
    static const struct { int rows, K, N, act, bias, residual, large; } t[] = {
        {1, 1, 1, GQ_NONE, 0, 0, 0},         {3, 5, 7, GQ_NONE, 1, 0, 0},
        {7, 3, 2, GQ_GELU, 1, 0, 0},         {5, 17, 9, GQ_GELU_TANH, 1, 1, 0},
        {4, 6, 11, GQ_QUICK_GELU, 0, 1, 0},  {6, 4, 3, GQ_RELU, 1, 0, 0},
        {2, 33, 31, GQ_NONE, 0, 1, 0},       {9, 2, 5, GQ_GELU_TANH, 0, 0, 0},
        {65, 33, 49, GQ_GELU_TANH, 1, 1, 1}, {131, 67, 70, GQ_GELU, 1, 0, 1},
        {2, 1031, 5, GQ_NONE, 1, 0, 1},      {97, 9, 301, GQ_QUICK_GELU, 1, 1, 1},
    };
    if (i >= COUNT(t))
        return false;
    c->in[0] = t[i].rows % 2 ? reals(FILL_NORMAL, 2, t[i].rows, t[i].K, 1)
                             : reals(FILL_NORMAL, 3, 2, t[i].rows / 2, t[i].K);
    c->in[1] = parameters(FILL_NORMAL, 2, t[i].N, t[i].K);
    c->out[0] = c->in[0];
    c->out[0].shape[c->out[0].rank - 1] = t[i].N;
    if (t[i].bias)
        c->in[2] = parameters(t[i].act == GQ_RELU ? FILL_FAR : FILL_NORMAL, 1, t[i].N, 1);
    if (t[i].residual)
        c->in[3] = c->out[0];
    if (t[i].act != GQ_NONE)
        c->save[0] = c->out[0];
    c->attr.act = t[i].act;
    c->wants = 15;
    c->gives = 1;
    c->rough = t[i].large;
    return true;
}

static inline bool patch_embed_case(int i, op_case *c)
{
    static const struct { int B, S, p, D, cls, pos; } t[] = {
        {1, 2, 2, 1, 0, 0},   {2, 6, 3, 5, 1, 1},   {3, 4, 2, 7, 0, 1},
        {1, 15, 5, 33, 1, 0}, {2, 16, 4, 19, 1, 1},
        {2, 16, 8, 16, 1, 1},
    };
    int64_t tokens;
    if (i >= COUNT(t))
        return false;
    tokens = (t[i].S / t[i].p) * (t[i].S / t[i].p) + t[i].cls;
    c->in[0] = (operand){.rank = 4, .dtype = GQ_U8, .how = FILL_PIXEL,
                         .shape = {t[i].B, t[i].S, t[i].S, 3}};
    c->in[1] = parameters(FILL_NORMAL, 2, t[i].D, 3 * t[i].p * t[i].p);
    if (t[i].cls)
        c->in[2] = parameters(FILL_NORMAL, 1, t[i].D, 1);
    if (t[i].pos)
        c->in[3] = parameters(FILL_NORMAL, 2, tokens, t[i].D);
    c->out[0] = reals(FILL_NORMAL, 3, t[i].B, tokens, t[i].D);
    c->attr = (gq_attr){.patch = t[i].p, .mean = {0.48145466f, 0.4578275f, 0.40821073f},
                        .std = {0.26862954f, 0.26130258f, 0.27577711f}};
    c->wants = 14;
    c->gives = 1;
    return true;
}

static inline bool embed_case(int i, op_case *c)
{
    static const struct { int a, b, V, D, base; } t[] = {
        {1, 1, 1, 1, 0}, {3, 5, 4, 7, 1}, {2, 3, 50, 17, 0}, {11, 13, 6, 33, 1}, {5, 9, 6, 264, 1},
    };
    if (i >= COUNT(t))
        return false;
    c->in[0] = ints(FILL_INDEX, t[i].V, 2, t[i].a, t[i].b);
    c->in[1] = parameters(FILL_NORMAL, 2, t[i].V, t[i].D);
    c->out[0] = reals(FILL_NORMAL, 3, t[i].a, t[i].b, t[i].D);
    if (t[i].base)
        c->in[2] = c->out[0];
    c->wants = 6;
    c->gives = 1;
    c->rough = count(&c->out[0]) > 2000;
    return true;
}

static inline bool layernorm_case(int i, op_case *c)
{
    static const struct { int rows, D, bias; float eps; fill how; } t[] = {
        {1, 2, 1, 1e-5f, FILL_NORMAL},     {5, 7, 0, 1e-5f, FILL_NORMAL},
        {4, 33, 1, 1e-12f, FILL_NORMAL},   {3, 16, 1, 0.1f, FILL_FAR},
        {7, 9, 1, 1e-5f, FILL_EQUAL_ROWS}, {67, 131, 1, 1e-5f, FILL_NORMAL},
    };
    if (i >= COUNT(t))
        return false;
    c->in[0] = reals(t[i].how, 2, t[i].rows, t[i].D, 1);
    c->in[1] = parameters(FILL_GAIN, 1, t[i].D, 1);
    if (t[i].bias)
        c->in[2] = parameters(FILL_NORMAL, 1, t[i].D, 1);
    c->out[0] = c->in[0];
    c->save[0] = c->save[1] = stats(FILL_NORMAL, 1, t[i].rows, 1, 1);
    c->attr.eps = t[i].eps;
    c->wants = 7;
    c->gives = 1;
    c->rough = t[i].how == FILL_EQUAL_ROWS || t[i].D == 2 || t[i].rows > 50;
    return true;
}

static inline bool add_norm_case(int i, op_case *c)
{
    static const struct { int rows, D, bias, gives; } t[] = {
        {1, 3, 1, 3}, {5, 7, 0, 3}, {4, 33, 1, 2}, {6, 17, 1, 1}, {63, 65, 1, 3},
    };
    if (i >= COUNT(t))
        return false;
    c->in[0] = c->in[1] = reals(FILL_NORMAL, 2, t[i].rows, t[i].D, 1);
    c->in[2] = parameters(FILL_GAIN, 1, t[i].D, 1);
    if (t[i].bias)
        c->in[3] = parameters(FILL_NORMAL, 1, t[i].D, 1);
    c->out[0] = c->out[1] = c->in[0];
    c->save[0] = c->save[1] = stats(FILL_NORMAL, 1, t[i].rows, 1, 1);
    c->attr.eps = 1e-5f;
    c->wants = 15;
    c->gives = (uint32_t)t[i].gives;
    c->rough = t[i].rows > 50;
    return true;
}

/* Tk 0: self-attention on packed q, k, v columns. `wider`: columns of the kv source that nobody
 * reads. */
static inline bool sdpa_case(int i, op_case *c)
{
    static const struct {
        int   B, H, Tq, Tk, C, mask, hi_length, visible, wider;
        float p;
        int   large;
    } t[] = {
        {1, 1, 1, 0, 1, GQ_MASK_NONE, 0, 0, 0, 0, 0},
        {2, 3, 5, 0, 9, GQ_MASK_CAUSAL, 0, 0, 0, 0, 0},
        {1, 2, 7, 0, 10, GQ_MASK_NONE, 8, 0, 0, 0, 0},
        {3, 2, 4, 0, 6, GQ_MASK_CAUSAL, 5, 1, 0, 0, 0},
        {2, 2, 5, 0, 6, GQ_MASK_CAUSAL, 0, 1, 0, 0.3f, 0},
        {2, 1, 6, 0, 5, GQ_MASK_NONE, 0, 1, 0, 0, 0},
        {2, 3, 3, 5, 9, GQ_MASK_NONE, 0, 0, 0, 0, 0},
        {2, 2, 1, 7, 6, GQ_MASK_NONE, 8, 0, 3, 0, 0},
        {4, 2, 4, 3, 10, GQ_MASK_NONE, 4, 1, 1, 0.25f, 0},
        {1, 2, 9, 0, 34, GQ_MASK_CAUSAL, 0, 0, 0, 0.1f, 0},
        {2, 3, 67, 0, 57, GQ_MASK_CAUSAL, 0, 0, 0, 0, 1},
        {1, 2, 33, 71, 128, GQ_MASK_NONE, 72, 0, 0, 0, 1},
        {1, 3, 130, 0, 24, GQ_MASK_NONE, 131, 1, 0, 0.2f, 1},
    };
    int64_t C, Tk;
    if (i >= COUNT(t))
        return false;
    C = t[i].C;
    Tk = t[i].Tk ? t[i].Tk : t[i].Tq;
    c->in[0] = reals(FILL_NORMAL, 3, t[i].B, t[i].Tq, t[i].Tk ? C : 3 * C);
    if (t[i].Tk)
        c->in[1] = reals(FILL_NORMAL, 3, t[i].B, Tk, 2 * C + t[i].wider);
    if (t[i].hi_length)
        c->in[2] = ints(FILL_INDEX, t[i].hi_length, 1, t[i].B, 1);
    if (t[i].visible)
        c->in[3] = stats(FILL_BITS, 2, t[i].B, Tk, 1);
    c->out[0] = reals(FILL_NORMAL, 3, t[i].B, t[i].Tq, C);
    c->save[0] = stats(FILL_NORMAL, 3, t[i].B, t[i].H, t[i].Tq);
    c->attr = (gq_attr){.heads = t[i].H,
                        .width = (int32_t)C,
                        .mask = t[i].mask,
                        .p = t[i].p,
                        .scale = (float)(1 / sqrt((double)C / t[i].H)),
                        .koff = t[i].Tk ? t[i].wider : (int32_t)C,
                        .voff = (int32_t)(t[i].Tk ? C + t[i].wider : 2 * C)};
    c->wants = t[i].Tk ? 3 : 1;
    c->gives = 1;
    c->rough = t[i].large;
    return true;
}

static inline bool dropout_case(int i, op_case *c)
{
    static const struct { int rows, D; float p; } t[] = {
        {1, 1, 0.5f}, {3, 7, 0.1f}, {5, 33, 0.9f}, {67, 129, 0.25f},
    };
    if (i >= COUNT(t))
        return false;
    c->in[0] = c->out[0] = reals(FILL_NORMAL, 2, t[i].rows, t[i].D, 1);
    c->attr.p = t[i].p;
    c->wants = c->gives = 1;
    c->rough = count(&c->out[0]) > 2000;
    return true;
}

static inline bool mask_rows_case(int i, op_case *c)
{
    static const struct { int B, T, D, each; fill how; } t[] = {
        {1, 1, 1, 0, FILL_NORMAL},
        {2, 3, 5, 0, FILL_BITS},
        {3, 1, 17, 1, FILL_NORMAL},
        {7, 9, 33, 0, FILL_NORMAL},
        {2, 3, 264, 0, FILL_NORMAL},
        {3, 1, 136, 1, FILL_NORMAL},
    };
    if (i >= COUNT(t))
        return false;
    c->in[0] = c->out[0] = reals(FILL_NORMAL, 3, t[i].B, t[i].T, t[i].D);
    c->in[1] = t[i].each ? stats(t[i].how, 3, t[i].B, t[i].T, t[i].D)
                         : stats(t[i].how, 2, t[i].B, t[i].T, 1);
    c->wants = c->gives = 1;
    return true;
}

static inline bool gather_rows_case(int i, op_case *c)
{
    static const struct { int n, D, a, b; } t[] = {
        {1, 1, 1, 1}, {4, 7, 3, 5}, {9, 17, 2, 2}, {67, 33, 11, 13}, {13, 264, 3, 7},
    };
    if (i >= COUNT(t))
        return false;
    c->in[0] = reals(FILL_NORMAL, 2, t[i].n, t[i].D, 1);
    c->in[1] = ints(FILL_INDEX_OR_NONE, t[i].n, 2, t[i].a, t[i].b);
    c->out[0] = reals(FILL_NORMAL, 3, t[i].a, t[i].b, t[i].D);
    c->wants = c->gives = 1;
    c->rough = count(&c->out[0]) > 5000;
    return true;
}

static inline bool concat_rows_case(int i, op_case *c)
{
    static const struct { int B, N, P, D; } t[] = {
        {1, 1, 1, 1}, {3, 2, 5, 7}, {2, 9, 1, 33}, {5, 11, 13, 17}, {3, 2, 5, 16}, {2, 33, 2, 264},
    };
    if (i >= COUNT(t))
        return false;
    c->in[0] = reals(FILL_NORMAL, 3, t[i].B, t[i].N, t[i].D);
    c->in[1] = reals(FILL_NORMAL, 3, t[i].B, t[i].P, t[i].D);
    c->out[0] = reals(FILL_NORMAL, 3, t[i].B, t[i].N + t[i].P, t[i].D);
    c->wants = 3;
    c->gives = 1;
    c->rough = count(&c->out[0]) > 5000;
    return true;
}

static inline bool expand_rows_case(int i, op_case *c)
{
    static const struct { int B, n, D, parameter; } t[] = {
        {1, 1, 1, 0}, {3, 2, 7, 1}, {5, 9, 33, 0}, {4, 3, 17, 1}, {19, 2, 264, 1}, {3, 2, 16, 0},
    };
    if (i >= COUNT(t))
        return false;
    c->in[0] = reals(FILL_NORMAL, 2, t[i].n, t[i].D, 1);
    c->in[0].parameter = t[i].parameter;
    c->out[0] = reals(FILL_NORMAL, 3, t[i].B, t[i].n, t[i].D);
    c->attr.width = t[i].B;                                  /* how the tape tells the shape rule */
    c->wants = c->gives = 1;
    c->rough = count(&c->out[0]) > 5000;
    return true;
}

static inline bool lm_loss_case(int i, op_case *c)
{
    static const struct { int n, D, V, R; fill how; } t[] = {
        {1, 1, 1, 1, FILL_NORMAL},      {5, 7, 11, 9, FILL_NORMAL},
        {3, 4, 33, 8, FILL_NORMAL},     {4, 3, 40, 12, FILL_SMALL_INT},
        {40, 17, 67, 128, FILL_NORMAL}, {11, 5, 37, 131, FILL_NORMAL},
        {7, 9, 301, 259, FILL_NORMAL},  {4, 3, 600, 12, FILL_SMALL_INT},
        {6, 8, 33, 1100, FILL_NORMAL},
    };
    if (i >= COUNT(t))
        return false;
    c->in[0] = reals(t[i].how, 2, t[i].n, t[i].D, 1);
    c->in[1] = parameters(t[i].how, 2, t[i].V, t[i].D);
    c->in[2] = ints(FILL_INDEX, t[i].n, 1, t[i].R, 1);
    c->in[3] = ints(FILL_LABEL, t[i].V, 1, t[i].R, 1);
    c->in[4] = stats(FILL_POSITIVE, 1, 1, 1, 1);
    c->out[0] = stats(FILL_NORMAL, 1, 1, 1, 1);
    c->out[1] = stats(FILL_NORMAL, 2, t[i].R, 2, 1);
    c->save[0] = stats(FILL_NORMAL, 1, t[i].R, 1, 1);
    c->save[1] = stats(FILL_NORMAL, 2, t[i].R < GQ_LM_CHUNK ? t[i].R : GQ_LM_CHUNK, t[i].V, 1);
    c->wants = 3;
    c->gives = 1;
    c->rough = t[i].R > 100;
    return true;
}

static inline bool mvm_loss_case(int i, op_case *c)
{
    static const struct { int R, D, kind; fill how; } t[] = {
        {1, 1, GQ_MVM_SSE, FILL_NORMAL},     {5, 7, GQ_MVM_SSE, FILL_NORMAL},
        {5, 7, GQ_MVM_MSE, FILL_NORMAL},     {6, 9, GQ_MVM_COS, FILL_NORMAL},
        {7, 33, GQ_MVM_COS, FILL_ZERO_ROWS}, {67, 65, GQ_MVM_MSE, FILL_ZERO_ROWS},
        {67, 65, GQ_MVM_COS, FILL_NORMAL},   {5, 9, GQ_MVM_COS, FILL_TINY_ROWS},
        {9, 264, GQ_MVM_COS, FILL_NORMAL},   {9, 264, GQ_MVM_SSE, FILL_ZERO_ROWS},
    };
    if (i >= COUNT(t))
        return false;
    c->in[0] = reals(t[i].how, 2, t[i].R, t[i].D, 1);
    c->in[1] = reals(FILL_NORMAL, 2, t[i].R, t[i].D, 1);
    c->in[2] = stats(i % 2 && t[i].how == FILL_NORMAL ? FILL_BITS : FILL_NORMAL, 1, t[i].R, 1, 1);
    c->in[3] = stats(FILL_POSITIVE, 1, 1, 1, 1);
    c->out[0] = stats(FILL_NORMAL, 1, 1, 1, 1);
    c->attr.kind = t[i].kind;
    c->wants = c->gives = 1;
    c->rough = t[i].kind == GQ_MVM_COS && t[i].how != FILL_NORMAL;
    return true;
}

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

static inline bool kv_append_case(int i, op_case *c)
{
    static const struct { int B, T, cap, C, hi; fill how; } t[] = {
        {1, 1, 1, 1, 1, FILL_INDEX}, {3, 2, 9, 5, 8, FILL_INDEX}, {2, 7, 7, 33, 1, FILL_INDEX},
        {4, 3, 5, 2, 5, FILL_LAST},  {3, 2, 5, 264, 5, FILL_INDEX},
    };
    if (i >= COUNT(t))
        return false;
    c->in[0] = reals(FILL_NORMAL, 3, t[i].B, t[i].T, 3 * t[i].C);
    c->in[1] = c->out[0] = reals(FILL_NORMAL, 3, t[i].B, t[i].cap, 2 * t[i].C);
    c->in[2] = ints(t[i].how, t[i].hi, 1, t[i].B, 1);
    c->attr = (gq_attr){.width = t[i].C, .koff = t[i].C, .voff = 2 * t[i].C};
    c->in_place = 1;
    return true;
}

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

static inline bool next_case(gq_op op, int i, op_case *c)
{
    *c = (op_case){.op = op};
    if (!op_rows[op].describe(i, c))
        return false;
    snprintf(c->name, sizeof c->name, "%s case %d", op_names[op], i);
    for (int k = 0; k < GQ_MAX_IN; k++)
        if (!c->in[k].rank)
            c->wants &= ~(1u << k);
    return true;
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
