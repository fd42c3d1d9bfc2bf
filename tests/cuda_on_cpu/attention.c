/* attention.c - the paths of attention at head widths that the tensor cores take, where tests/ops has odd ones.
 *
 * Every case runs unfused in float, unfused and fused in bf16 and, with one query, as decoding, against ref64 on
 * the inputs as stored. Bounds are derived, first order in the units f = 2^-24 (float) and h = 2^-8 (bf16), half a
 * spacing relative to the number:
 *
 *  s     |s' - s| <= E_ij = (D + 4) f scale sum_d |q_d k_d|: D products and additions, the scale, the base of exp2.
 *  p     exp(s - top) relative: r_ij = E_ij + (|s - lse| + 2 |lse| + 16) f, for the subtraction, the rounding of
 *        its operands, and exp; per tile of 16 keys or more one rescaling, exp and product: 6 f. The maximum itself
 *        cancels. A bias by relative position: (2 |bias| + |s|) f more, for its base and the sum.
 *  P     in a product on the tensor cores: h more (h_P = h fused, 0 else).
 *  sum   of n terms: n f.
 *  o     sum_j Z |v| (h_P + r + n f) + |o| sum_j P (r + n f), and the rounding of the result, h_T |o| (h_T: h in
 *        bf16, f in float).
 *  lse   sum_j P r + n f + 4 f |lse|.
 *
 * Backward is given o and lse of ref64, as stored, and ref64 the same lse.
 *  P     r_ij, and unfused, where P is divided by its sum again: r_ij + sum_j P r + n f + 2 f |lse|, what ref64's sum
 *        itself is off by because lse is rounded.
 *  dP    D f sum_d |do v|.
 *  delta fused: <do, o>, o rounded: sum_d |do o| (h + (D + 4) f + 2 f |lse|). Unfused: sum_j P dP itself:
 *        sum_j P (r + n f) |dP| + P D f sum_d |do v|.
 *  ds    P (r |dP - delta| + err dP + err delta) + 4 f |ds|, and h_P |ds| for the product.
 *  dq    scale sum_j |k| (err ds + (h_P + n f) |ds|) + h_T |dq|; dk likewise over i with q;
 *  dv    sum_i |do| Z (r + h_P + n f) + h_T |dv|;
 *  table sum of err ds + (80 + Tk/256) f |ds|: 64 on a diagonal, 8 diagonals, 5 in the butterfly, then groups of
 *        diagonals in order; sums of doubles; the result is a float;
 *  added to a prior x: h_T |x + d| more in place of the last term.
 * All bounds are multiplied by 1 + 2^-6 for the higher orders.
 */
#include <math.h>

#include "core/bf16.h"
#include "core/mem.h"
#include "core/philox.h"
#include "kernels/relative.h"
#include "tests/cuda_on_cpu/column.h"

static const gq_backend *cuda[2];       /* float, bf16                                            */

enum { AUTO, OWN, CUDNN, UNFUSED, GUARD = 64, RNG_OP = 41, OPERANDS = 3, BUCKETS = 32, FAR = 128 };
enum { NO_TABLE, BACK, BOTH, LAST };

typedef struct attention_case {
    int   B, H, D, Tq, Tk, causal, lengths, visible, wider;        /* Tk 0: self-attention        */
    float p;
    int   forward_only, relative;                                  /* as in T5: NO_TABLE..LAST    */
} attention_case;

static const attention_case cases[] = {
    {1, 1, 64, 1, 0, 1, 0, 0, 0, 0, 0, 0}, {2, 2, 64, 50, 0, 0, 0, 0, 0, 0, 0, 0},
    {1, 2, 64, 77, 0, 1, 0, 0, 0, 0, 0, 0}, {2, 1, 64, 130, 0, 1, 1, 1, 0, 0.1f, 0, 0},
    {2, 2, 64, 32, 50, 0, 0, 0, 0, 0, 0, 0}, {1, 2, 64, 32, 0, 0, 0, 0, 0, 0.2f, 0, 0},
    {2, 1, 64, 70, 130, 0, 1, 1, 8, 0.1f, 0, 0}, {1, 2, 32, 65, 0, 1, 0, 1, 0, 0.3f, 0, 0},
    {2, 1, 128, 40, 0, 0, 1, 0, 0, 0, 0, 0}, {1, 1, 128, 65, 20, 0, 0, 1, 0, 0.1f, 0, 0},
    {1, 1, 64, 64, 64, 0, 0, 1, 0, 0, 0, 0}, {3, 2, 64, 1, 77, 0, 1, 1, 0, 0, 0, 0},
    {2, 1, 64, 1, 1100, 0, 1, 0, 16, 0, 1, 0}, {1, 2, 128, 1, 70, 0, 1, 0, 0, 0, 1, 0},
    {1, 2, 32, 1, 600, 0, 0, 0, 0, 0, 1, 0}, {3, 1, 64, 16, 0, 1, 1, 0, 0, 0, 0, 0},
    {1, 1, 64, 200, 0, 1, 0, 0, 0, 0, 0, 0}, {3, 1, 64, 67, 140, 0, 1, 0, 0, 0.2f, 0, 0},
    {1, 1, 64, 150, 70, 1, 0, 1, 0, 0, 0, 0}, {1, 1, 64, 70, 150, 1, 0, 0, 0, 0, 0, 0},
    {1, 1, 32, 70, 140, 0, 0, 0, 0, 0, 0, 0}, {1, 1, 64, 720, 66, 0, 0, 0, 0, 0, 0, 0},
    {2, 2, 32, 70, 0, 0, 1, 0, 0, 0.1f, 0, BOTH}, {1, 1, 64, 150, 0, 1, 0, 0, 0, 0, 0, BACK},
    {3, 2, 64, 1, 77, 0, 1, 1, 8, 0, 0, LAST}, {2, 1, 64, 1, 600, 0, 1, 0, 0, 0, 1, LAST},
    {1, 2, 128, 1, 70, 0, 0, 0, 0, 0, 1, BACK}, {2, 2, 32, 1, 70, 0, 1, 1, 0, 0, 1, LAST},
    {2, 1, 32, 66, 270, 0, 1, 0, 0, 0, 0, LAST},
};

/* ---- numbers --------------------------------------------------------------------------------- */

static void *room(int64_t n, size_t size)
{
    void *p = gq_calloc((size_t)n + 1, size);
    assert_non_null(p);
    return p;
}

/* Normals as bf16 holds them, so that both types get the same. */
static double *normals(int64_t n, uint32_t stream)
{
    double *x = room(n, sizeof *x);
    for (int64_t i = 0; i < n; i++)
        x[i] = gq_bf16_to_f32(gq_f32_to_bf16((float)gq_normal_at(17, (uint64_t)i, GQ_RNG_TEST + stream, 0)));
    return x;
}

/* ---- one case -------------------------------------------------------------------------------- */

/* All arrays in double; index 0: q source, 1: kv source, 2: table. */
typedef struct problem {
    const attention_case *c;
    int      self, Tk, C, W[2], n[OPERANDS];
    gq_attr  attr;
    int32_t *lengths;
    float   *visible;
    double  *x[OPERANDS], *prior[OPERANDS], *dout, *o, *lse, *d[OPERANDS];       /* o, lse, d: of ref64 */
    double  *o_may, *lse_may, *d_may[OPERANDS];                     /* bounds without the result's rounding */
} problem;

static const int         place[OPERANDS] = {0, 1, 4};               /* in the op's list            */
static const char *const operand_name[OPERANDS] = {"dq source", "dkv", "dtable"};

static problem problem_of(const attention_case *c)
{
    problem p = {.c = c, .self = !c->Tk, .Tk = c->Tk ? c->Tk : c->Tq, .C = c->H * c->D};
    p.W[0] = p.self ? 3 * p.C : p.C;
    p.W[1] = p.self ? 0 : 2 * p.C + c->wider;
    p.attr = (gq_attr){.heads = c->H,
                       .width = p.C,
                       .mask = c->causal ? GQ_MASK_CAUSAL : GQ_MASK_NONE,
                       .p = c->p,
                       .scale = (float)(1 / sqrt(c->D)),
                       .koff = p.self ? p.C : c->wider,
                       .voff = p.self ? 2 * p.C : p.C + c->wider};
    if (c->relative) {
        assert_true(gq_relative_set(&p.attr.rel, BUCKETS, FAR, c->relative == BOTH));
        p.attr.rel.last = c->relative == LAST;
    }
    for (uint32_t k = 0; k < OPERANDS; k++) {
        p.n[k] = k == 2 ? (c->relative ? BUCKETS * c->H : 0) : c->B * (k ? p.Tk : c->Tq) * p.W[k];
        p.x[k] = normals(p.n[k], k);
        p.prior[k] = normals(p.n[k], 10 + k);
        p.d[k] = room(p.n[k], sizeof(double));
        p.d_may[k] = room(p.n[k], sizeof(double));
    }
    p.dout = normals(c->B * c->Tq * p.C, 20);
    p.o = room(c->B * c->Tq * p.C, sizeof(double));
    p.o_may = room(c->B * c->Tq * p.C, sizeof(double));
    p.lse = room(c->B * c->H * c->Tq, sizeof(double));
    p.lse_may = room(c->B * c->H * c->Tq, sizeof(double));
    p.lengths = room(c->B, sizeof *p.lengths);
    p.visible = room(c->B * p.Tk, sizeof *p.visible);
    for (int b = 0; b < c->B; b++)                       /* all keys, none, about 2 in 3          */
        p.lengths[b] = b == 0 ? (c->B == 1 ? p.Tk - p.Tk / 3 : p.Tk) : b == 2 ? 0 : p.Tk - p.Tk / 3;
    for (int i = 0; i < c->B * p.Tk; i++)
        p.visible[i] = gq_philox_at(17, (uint64_t)i, GQ_RNG_TEST + 30, 0) % 4 ? 1 : 0;
    return p;
}

static void drop_problem(problem *p)
{
    double *all[] = {p->dout, p->o, p->lse, p->o_may, p->lse_may};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        gq_free(all[i]);
    for (int k = 0; k < OPERANDS; k++) {
        gq_free(p->x[k]);
        gq_free(p->prior[k]);
        gq_free(p->d[k]);
        gq_free(p->d_may[k]);
    }
    gq_free(p->lengths);
    gq_free(p->visible);
}

/* What lies behind a sequence's length must not be read: k and v are not numbers there. */
static void spoil_hidden(problem *p)
{
    int side = !p->self;
    for (int b = 0; p->c->lengths && b < p->c->B; b++)
        for (int j = p->lengths[b]; j < p->Tk; j++)
            for (int d = 0; d < p->C; d++) {
                double *row = p->x[side] + (b * p->Tk + j) * p->W[side];
                row[p->attr.koff + d] = row[p->attr.voff + d] = NAN;
            }
}

static bool sees(const problem *p, int b, int i, int j)
{
    return !(p->c->causal && j > i) && !(p->c->lengths && j >= p->lengths[b]) &&
           !(p->c->visible && !p->visible[b * p->Tk + j] && !(p->self && i == j));
}

/* ---- running --------------------------------------------------------------------------------- */

typedef struct how_to_run {
    const gq_backend *be;
    int               choice, no_lse;
    uint32_t          wants, acc;
    int               nothing, heads_at_a_time;           /* no dout; 0: as many as temp() says    */
    unsigned          order;
} how_to_run;

static const gq_step_block step = {0x0123456789abcdefu, 7, 3};

static size_t bytes_of(int32_t dtype) { return dtype == GQ_BF16 ? 2 : dtype == GQ_F64 ? 8 : 4; }

/* [shape] of dtype between guards. x NULL: every byte 0xff, which is NaN. */
static gq_buf put(gq_device *d, int32_t dtype, const double *x, int64_t s0, int64_t s1, int64_t s2)
{
    gq_buf         b = {.shape = {s0, s1, s2, 1}, .rank = 3, .dtype = dtype};
    size_t         n = (size_t)gq_size(&b), size = bytes_of(dtype), bytes = n * size;
    unsigned char *host = room((int64_t)(bytes + 2 * GUARD), 1), *p;
    memset(host, 0xa7, bytes + 2 * GUARD);
    memset(host + GUARD, 0xff, bytes);
    for (size_t i = 0; x && i < n; i++) {
        float    f = (float)x[i];
        uint16_t half = gq_f32_to_bf16(f);
        memcpy(host + GUARD + i * size, dtype == GQ_BF16 ? (void *)&half : dtype == GQ_F64 ? (void *)&x[i] : (void *)&f,
               size);
    }
    p = d ? d->alloc(d, bytes + 2 * GUARD) : room((int64_t)(bytes + 2 * GUARD), 1);
    if (d)
        d->upload(d, p, host, bytes + 2 * GUARD);
    else
        memcpy(p, host, bytes + 2 * GUARD);
    gq_free(host);
    b.p = p + GUARD;
    return b;
}

/* Releases; with `to` the content goes there. */
static void take(gq_device *d, gq_buf *b, double *to, const char *what)
{
    size_t         n = (size_t)gq_size(b), size = bytes_of(b->dtype), bytes = n * size + 2 * GUARD;
    unsigned char *host, *base;
    if (!b->p)
        return;
    base = (unsigned char *)b->p - GUARD;
    host = room((int64_t)bytes, 1);
    if (d)
        d->download(d, host, base, bytes);
    else
        memcpy(host, base, bytes);
    for (size_t i = 0; i < GUARD; i++)
        if (host[i] != 0xa7 || host[bytes - 1 - i] != 0xa7)
            fail_msg("%s: wrote outside a buffer", what);
    for (size_t i = 0; to && i < n; i++) {
        const unsigned char *at = host + GUARD + i * size;
        uint16_t             half;
        float                f;
        memcpy(&half, at, 2);
        memcpy(&f, at, 4 < size ? 4 : size);
        if (b->dtype == GQ_F64)
            memcpy(&to[i], at, 8);
        else
            to[i] = b->dtype == GQ_BF16 ? gq_bf16_to_f32(half) : f;
    }
    gq_free(host);
    if (d)
        d->release(d, base);
    else
        gq_free(base);
}

static void put_small(gq_device *d, gq_buf *b, int32_t dtype, const void *x, size_t bytes, int64_t s0, int64_t s1)
{
    *b = (gq_buf){.shape = {s0, s1, 1, 1}, .rank = s1 ? 2 : 1, .dtype = dtype};
    b->shape[1] = s1 ? s1 : 1;
    b->p = d ? d->alloc(d, bytes) : room((int64_t)bytes, 1);
    if (d)
        d->upload(d, b->p, x, bytes);
    else
        memcpy(b->p, x, bytes);
}

static void drop_small(gq_device *d, gq_buf *b)
{
    if (b->p && d)
        d->release(d, b->p);
    else
        gq_free(b->p);
}

/* Operands that both directions have. */
static void put_inputs(const problem *p, const how_to_run *how, gq_call *call)
{
    gq_device *d = how->be->device;
    int64_t    B = p->c->B, n = B * p->Tk;
    call->attr = p->attr;
    call->rng_op = RNG_OP;
    call->acc = how->acc;
    call->step = &step;
    call->in[0] = put(d, how->be->real, p->x[0], B, p->c->Tq, p->W[0]);
    if (!p->self)
        call->in[1] = put(d, how->be->real, p->x[1], B, p->Tk, p->W[1]);
    if (p->c->relative) {
        call->in[4] = put(d, how->be->real, p->x[2], BUCKETS, p->c->H, 1);
        call->in[4].rank = 2;
    }
    if (p->c->lengths)
        put_small(d, &call->in[2], GQ_I32, p->lengths, (size_t)B * 4, B, 0);
    if (p->c->visible && how->be->stat == GQ_F64) {
        double *wide = room(n, sizeof *wide);
        for (int64_t i = 0; i < n; i++)
            wide[i] = p->visible[i];
        put_small(d, &call->in[3], GQ_F64, wide, (size_t)n * 8, B, p->Tk);
        gq_free(wide);
    } else if (p->c->visible) {
        put_small(d, &call->in[3], GQ_F32, p->visible, (size_t)n * 4, B, p->Tk);
    }
}

static void start(const problem *p, const how_to_run *how, gq_call *call, int backward)
{
    const gq_op_kernels *k = &how->be->ops[GQ_OP_SDPA];
    gq_device           *d = how->be->device;
    gq_work              work = {.device = d};
    gq_error             err = {0};
    gq_buf               temp;
    work.temp_bytes = k->temp(call, backward, 1);
    if (how->heads_at_a_time) {
        size_t one = (backward ? 2 : 1) * (size_t)p->c->Tq * (size_t)p->Tk * 4, all = (size_t)(p->c->B * p->c->H) * one;
        size_t table = p->c->relative && backward ? work.temp_bytes - all : 0;
        work.temp_bytes = (size_t)how->heads_at_a_time * one + table;
    }
    temp = put(d, GQ_F32, NULL, (int64_t)(work.temp_bytes + 3) / 4, 1, 1);
    work.temp = temp.p;
    call->work = &work;
    if (d) {
        d->attention(d, how->choice);
        column_order(how->order);
        d->set_step(d, &step);
    }
    (backward ? k->bwd : k->fwd)(call);
    if (d && d->finish(d, &err) != GQ_OK)
        fail_msg("%s", err.text);
    take(d, &temp, NULL, "workspace");
}

static void run_forward(const problem *p, const how_to_run *how, double *o, double *lse)
{
    const attention_case *c = p->c;
    gq_device            *d = how->be->device;
    gq_call               call = {0};
    put_inputs(p, how, &call);
    call.out[0] = put(d, how->be->real, NULL, c->B, c->Tq, p->C);
    if (!how->no_lse)
        call.save[0] = put(d, how->be->stat, NULL, c->B, c->H, c->Tq);
    start(p, how, &call, 0);
    take(d, &call.out[0], o, "o");
    take(d, &call.save[0], lse, "lse");
    for (int k = 0; k < OPERANDS; k++)
        take(d, &call.in[place[k]], NULL, "source");
    drop_small(d, &call.in[2]);
    drop_small(d, &call.in[3]);
}

static void run_backward(const problem *p, const how_to_run *how, double *const din[OPERANDS])
{
    const attention_case *c = p->c;
    gq_device            *d = how->be->device;
    gq_call               call = {0};
    put_inputs(p, how, &call);
    call.out[0] = put(d, how->be->real, p->o, c->B, c->Tq, p->C);
    call.save[0] = put(d, how->be->stat, p->lse, c->B, c->H, c->Tq);
    if (!how->nothing)
        call.dout[0] = put(d, how->be->real, p->dout, c->B, c->Tq, p->C);
    for (int k = 0; k < 2 - p->self; k++)
        if (how->wants >> k & 1)
            call.din[k] = put(d, how->be->real, how->acc >> k & 1 ? p->prior[k] : NULL, c->B, k ? p->Tk : c->Tq,
                              p->W[k]);
    if (p->c->relative && how->wants >> 4 & 1) {
        call.din[4] = put(d, how->be->stat, how->acc >> 4 & 1 ? p->prior[2] : NULL, BUCKETS, c->H, 1);
        call.din[4].rank = 2;
    }
    start(p, how, &call, 1);
    for (int k = 0; k < OPERANDS; k++)
        take(d, &call.din[place[k]], din[k], "gradient");
    take(d, &call.out[0], NULL, "o");
    take(d, &call.save[0], NULL, "lse");
    take(d, &call.dout[0], NULL, "do");
    for (int k = 0; k < OPERANDS; k++)
        take(d, &call.in[place[k]], NULL, "source");
    drop_small(d, &call.in[2]);
    drop_small(d, &call.in[3]);
}

/* ---- bounds: the names of the head comment --------------------------------------------------- */

static const double f = 0x1p-24, h = 0x1p-8, more = 1 + 0x1p-6;

typedef struct pair_terms {             /* of query i and key j                                   */
    double P, Z, r, dP, dP_size, ds, ds_err;
} pair_terms;

typedef struct row_terms {
    int           b, hd, i;
    const double *q, *dout, *o;
    double        lse, scale;
} row_terms;

static const double *column(const problem *p, int off, const row_terms *w, int j)
{
    int side = !p->self;
    return p->x[side] + (w->b * p->Tk + j) * p->W[side] + off + w->hd * p->c->D;
}

static double factor(const problem *p, const row_terms *w, int j)
{
    uint64_t e = (uint64_t)(((int64_t)(w->b * p->c->H + w->hd) * p->c->Tq + w->i) * p->Tk + j);
    if (p->c->p == 0)
        return 1;
    if (gq_u01(gq_philox_at(step.seed, e, RNG_OP, step.step * 64 + step.micro)) < p->c->p)
        return 0;
    return 1 / (1 - (double)p->c->p);
}

/* The entry of the table that is added to the score of key j. */
static int entry(const problem *p, const row_terms *w, int j)
{
    int at = p->attr.rel.last ? p->lengths[w->b] - p->c->Tq + w->i : w->i;
    return gq_relative_bucket(&p->attr.rel, j - at) * p->c->H + w->hd;
}

/* P, r, dP of one row of scores; lse must be known. */
static void row_of(const problem *p, const row_terms *w, pair_terms *t)
{
    for (int j = 0; j < p->Tk; j++) {
        const double *k = column(p, p->attr.koff, w, j), *v = column(p, p->attr.voff, w, j);
        double        s = 0, size = 0, bias = 0;
        t[j] = (pair_terms){0};
        if (!sees(p, w->b, w->i, j))
            continue;
        for (int d = 0; d < p->c->D; d++) {
            s += w->q[d] * k[d];
            size += fabs(w->q[d] * k[d]);
            t[j].dP += w->dout[d] * v[d];
            t[j].dP_size += fabs(w->dout[d] * v[d]);
        }
        if (p->c->relative)
            bias = p->x[2][entry(p, w, j)];
        s = s * w->scale + bias;
        t[j].P = exp(s - w->lse);
        t[j].r = (p->c->D + 4) * f * w->scale * size + (bias != 0 ? (2 * fabs(bias) + fabs(s)) * f : 0) +
                 (fabs(s - w->lse) + 2 * fabs(w->lse) + 16 + (p->Tk / 16 + 1) * 6) * f;
        t[j].Z = t[j].P * factor(p, w, j);
        t[j].dP *= factor(p, w, j);
        t[j].dP_size *= factor(p, w, j);
    }
}

static void next_row(const problem *p, int n, row_terms *w)
{
    const attention_case *c = p->c;
    w->i = n % c->Tq;
    w->hd = n / c->Tq % c->H;
    w->b = n / c->Tq / c->H;
    w->q = p->x[0] + (w->b * c->Tq + w->i) * p->W[0] + p->attr.qoff + w->hd * c->D;
    w->dout = p->dout + (w->b * c->Tq + w->i) * p->C + w->hd * c->D;
    w->o = p->o + (w->b * c->Tq + w->i) * p->C + w->hd * c->D;
    w->lse = p->lse[n];
    w->scale = p->attr.scale;
}

static void bound_forward(problem *p, double h_P)
{
    const attention_case *c = p->c;
    pair_terms           *t = room(p->Tk, sizeof *t);
    row_terms             w;
    for (int n = 0; n < c->B * c->H * c->Tq; n++) {
        double sum = 0;
        next_row(p, n, &w);
        row_of(p, &w, t);
        for (int j = 0; j < p->Tk; j++)
            sum += t[j].P * (t[j].r + p->Tk * f);
        p->lse_may[n] = more * (sum + 4 * f * fabs(w.lse));
        for (int d = 0; d < c->D; d++) {
            double may = fabs(w.o[d]) * sum;
            for (int j = 0; j < p->Tk; j++)
                if (t[j].Z > 0)
                    may += t[j].Z * fabs(column(p, p->attr.voff, &w, j)[d]) * (h_P + t[j].r + p->Tk * f);
            p->o_may[(w.b * c->Tq + w.i) * p->C + w.hd * c->D + d] = more * may;
        }
    }
    gq_free(t);
}

/* ds and its error, of one row */
static void score_gradients(const problem *p, const row_terms *w, double h_P, pair_terms *t)
{
    int    n = p->Tk, D = p->c->D;
    double delta = 0, err = 0, all = 0;
    for (int j = 0; j < n; j++)
        all += t[j].P * t[j].r;
    for (int j = 0; j < n && h_P == 0; j++)
        t[j].r += all + n * f + 2 * f * fabs(w->lse);
    for (int j = 0; j < n; j++) {
        delta += t[j].P * t[j].dP;
        err += t[j].P * ((t[j].r + n * f) * fabs(t[j].dP) + D * f * t[j].dP_size);
    }
    if (h_P > 0) {
        err = 0;
        for (int d = 0; d < D; d++)
            err += fabs(w->dout[d] * w->o[d]) * (h + (D + 4) * f + 2 * f * fabs(w->lse));
    }
    for (int j = 0; j < n; j++) {
        t[j].ds = t[j].P * (t[j].dP - delta);
        t[j].ds_err = (t[j].r + 4 * f) * fabs(t[j].ds) + t[j].P * (D * f * t[j].dP_size + err);
    }
}

static void bound_backward(problem *p, double h_P)
{
    const attention_case *c = p->c;
    pair_terms           *t = room(p->Tk, sizeof *t);
    row_terms             w;
    int                   side = !p->self;
    for (int k = 0; k < OPERANDS; k++)
        memset(p->d_may[k], 0, (size_t)p->n[k] * sizeof(double));
    for (int n = 0; n < c->B * c->H * c->Tq; n++) {
        next_row(p, n, &w);
        row_of(p, &w, t);
        score_gradients(p, &w, h_P, t);
        for (int j = 0; j < p->Tk; j++) {
            int64_t       at = (w.b * p->Tk + j) * p->W[side] + w.hd * c->D;
            const double *k = column(p, p->attr.koff, &w, j);
            double       *dq = p->d_may[0] + (w.q - p->x[0]), *dk = p->d_may[side] + at + p->attr.koff,
                   *dv = p->d_may[side] + at + p->attr.voff;
            if (t[j].P == 0)
                continue;
            if (c->relative)
                p->d_may[2][entry(p, &w, j)] += more * (t[j].ds_err + (80 + p->Tk / 256) * f * fabs(t[j].ds));
            for (int d = 0; d < c->D; d++) {
                double s = more * w.scale;
                dq[d] += s * fabs(k[d]) * (t[j].ds_err + (h_P + p->Tk * f) * fabs(t[j].ds));
                dk[d] += s * fabs(w.q[d]) * (t[j].ds_err + (h_P + c->Tq * f) * fabs(t[j].ds));
                dv[d] += more * fabs(w.dout[d]) * t[j].Z * (t[j].r + h_P + c->Tq * f);
            }
        }
    }
    gq_free(t);
}

/* ---- comparing ------------------------------------------------------------------------------- */

/* got is want (+ prior) within may and the rounding of the result, h_T. */
static void compare(const problem *p, const how_to_run *how, const char *what, int64_t n, const double *got,
                    const double *want, const double *prior, const double *may, double h_T)
{
    for (int64_t i = 0; i < n; i++) {
        double x = want[i] + (prior ? prior[i] : 0), bound = may[i] + h_T * more * (fabs(x) + may[i]) + 0x1p-126;
        if (!(fabs(got[i] - x) <= bound))
            fail_msg("case %d, %s, path %d, acc %u, %s[%ld]: %.9g, not %.9g: bound %.3g", (int)(p->c - cases),
                     how->be->name, how->choice, how->acc, what, (long)i, got[i], x, bound);
    }
}

static void same_bits(const problem *p, const char *what, int64_t n, const double *a, const double *b)
{
    if (memcmp(a, b, (size_t)n * sizeof *a) != 0)
        fail_msg("case %d: %s depends on the order of threads or the room for scores", (int)(p->c - cases), what);
}

static void check_forward(problem *p, how_to_run how, double h_P)
{
    const attention_case *c = p->c;
    int64_t               n = c->B * c->Tq * p->C, rows = c->B * c->H * c->Tq;
    double               *o = room(n, 8), *lse = room(rows, 8), *again = room(n, 8), *lse_again = room(rows, 8);
    double                h_T = how.be->real == GQ_BF16 ? h : f;
    bound_forward(p, h_P);
    run_forward(p, &how, o, lse);
    compare(p, &how, "o", n, o, p->o, NULL, p->o_may, h_T);
    compare(p, &how, "lse", rows, lse, p->lse, NULL, p->lse_may, f);
    for (how.order = 1; how.order <= 2; how.order++) {
        run_forward(p, &how, again, lse_again);
        same_bits(p, "o", n, o, again);
        same_bits(p, "lse", rows, lse, lse_again);
    }
    how.no_lse = 1;
    run_forward(p, &how, again, NULL);
    compare(p, &how, "o without lse", n, again, p->o, NULL, p->o_may, h_T);
    how.order = 5;
    run_forward(p, &how, lse_again = gq_realloc(lse_again, (size_t)n + 1, 8), NULL);
    same_bits(p, "o without lse", n, again, lse_again);
    if (how.choice == UNFUSED) {
        how.heads_at_a_time = 1;
        run_forward(p, &how, again, NULL);
        same_bits(p, "o", n, o, again);
    }
    gq_free(o);
    gq_free(lse);
    gq_free(again);
    gq_free(lse_again);
}

static void check_backward(problem *p, how_to_run how, double h_P)
{
    double   h_T = how.be->real == GQ_BF16 ? h : f, *got[OPERANDS], *again[OPERANDS];
    uint32_t all = (p->self ? 1 : 3) | (p->c->relative ? 16 : 0);
    bound_backward(p, h_P);
    for (int k = 0; k < OPERANDS; k++) {
        got[k] = room(p->n[k], 8);
        again[k] = room(p->n[k], 8);
    }
    for (int turn = 0; turn < 2 + OPERANDS; turn++) {                /* stored, added, one alone   */
        how.wants = turn < 2 ? all : all & 1u << place[turn - 2];
        how.acc = turn == 1 ? all : 0;
        run_backward(p, &how, got);
        for (int k = 0; k < OPERANDS; k++)
            if (how.wants >> place[k] & 1)
                compare(p, &how, operand_name[k], p->n[k], got[k], p->d[k], how.acc ? p->prior[k] : NULL,
                        p->d_may[k], k == 2 ? f : h_T);
    }
    how.wants = all;
    how.acc = 0;
    run_backward(p, &how, got);
    for (how.order = 1; how.order <= 2; how.order++) {
        how.heads_at_a_time = how.choice == UNFUSED;
        run_backward(p, &how, again);
        for (int k = 0; k < OPERANDS; k++)
            same_bits(p, "gradient", p->n[k], got[k], again[k]);
    }
    how.nothing = 1;
    run_backward(p, &how, got);
    for (int k = 0; k < OPERANDS; k++)
        for (int64_t i = 0; i < p->n[k]; i++)
            assert_true(got[k][i] == 0);
    for (int k = 0; k < OPERANDS; k++) {
        gq_free(got[k]);
        gq_free(again[k]);
    }
}

/* What ref64 says; lse as float keeps it, for both. */
static void expect(problem *p)
{
    how_to_run how = {.be = &gq_backend_ref64, .wants = 3 | 16};
    run_forward(p, &how, p->o, p->lse);
    for (int i = 0; i < p->c->B * p->c->H * p->c->Tq; i++)
        p->lse[i] = (float)p->lse[i];
    if (!p->c->forward_only)
        run_backward(p, &how, p->d);
}

static void test_attention(void **state)
{
    static const struct { int bf16, choice; double h_P; } path[] = {
        {0, UNFUSED, 0}, {1, UNFUSED, 0}, {1, AUTO, 0x1p-8}, {0, AUTO, 0}};
    (void)state;
    need_column(cuda);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t k = 0; k < sizeof path / sizeof *path; k++) {
            if (k == 3 && cases[i].Tq > 1)               /* float is fused for decoding only      */
                continue;
            problem    p = problem_of(&cases[i]);
            how_to_run how = {.be = cuda[path[k].bf16], .choice = path[k].choice};
            double     h_P = cases[i].relative ? 0 : path[k].h_P;   /* a table is for the unfused path */
            expect(&p);
            spoil_hidden(&p);
            check_forward(&p, how, h_P);
            if (!cases[i].forward_only)
                check_backward(&p, how, h_P);
            drop_problem(&p);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_attention)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
