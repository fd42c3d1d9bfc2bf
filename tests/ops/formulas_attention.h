/* formulas_attention.h - the part of formulas.h about sdpa, which includes it behind dropout_factor(). */
#ifndef GIFQA_TESTS_OPS_FORMULAS_ATTENTION_H
#define GIFQA_TESTS_OPS_FORMULAS_ATTENTION_H

typedef struct attention {
    int64_t B, H, Tq, Tk, C, Wq, Wk, width;
    const double *q, *kv, *lengths, *visible, *table;
    int self;
} attention;

static inline attention attention_of(const op_case *c, const values *v)
{
    int            self = v->in[1] == NULL;
    const operand *kv = &c->in[self ? 0 : 1];
    return (attention){c->in[0].shape[0],
                       c->attr.heads,
                       c->in[0].shape[1],
                       kv->shape[1],
                       c->attr.width,
                       c->in[0].shape[2],
                       kv->shape[2],
                       c->attr.width / c->attr.heads,
                       v->in[0],
                       v->in[self ? 0 : 1],
                       v->in[2],
                       v->in[3],
                       v->in[4],
                       self};
}

static inline int sees(const op_case *c, const attention *a, int64_t b, int64_t i, int64_t j)
{
    int in_time = c->attr.mask != GQ_MASK_CAUSAL || j <= i;
    int in_length = !a->lengths || (double)j < a->lengths[b];
    int shown = !a->visible || a->visible[b * a->Tk + j] != 0 || (a->self && i == j);
    return in_time && in_length && shown;
}

/* Flat positions of column d of head h: of query i, key j, value j. */
static inline int64_t q_at(const op_case *c, const attention *a, int64_t b, int64_t h, int64_t i,
                           int64_t d)
{
    return (b * a->Tq + i) * a->Wq + c->attr.qoff + h * a->width + d;
}
static inline int64_t k_at(const op_case *c, const attention *a, int64_t b, int64_t h, int64_t j,
                           int64_t d)
{
    return (b * a->Tk + j) * a->Wk + c->attr.koff + h * a->width + d;
}
static inline int64_t v_at(const op_case *c, const attention *a, int64_t b, int64_t h, int64_t j,
                           int64_t d)
{
    return (b * a->Tk + j) * a->Wk + c->attr.voff + h * a->width + d;
}

/* Row of the table of relative positions for (i, j): the formula of T5 as it was published, with
 * 1e-9 for the powers that are whole numbers in theory. */
static inline int64_t table_row(const op_case *c, const attention *a, int64_t b, int64_t i, int64_t j)
{
    int64_t at = c->attr.rel.last ? (int64_t)a->lengths[b] - a->Tq + i : i, r = j - at;
    int64_t rows = c->in[4].shape[0], n = c->attr.rel.both ? rows / 2 : rows, exact_rows = n / 2;
    int64_t d = c->attr.rel.both ? llabs(r) : r < 0 ? -r : 0, row = d;
    if (d >= exact_rows) {
        double ratio = log((double)d / (double)exact_rows) / log((double)c->far / (double)exact_rows);
        row = exact_rows + (int64_t)(ratio * (double)(n - exact_rows) + 1e-9);
        row = row < n - 1 ? row : n - 1;
    }
    return c->attr.rel.both && r > 0 ? n + row : row;
}

static inline num scaled_score(const op_case *c, const attention *a, int64_t b, int64_t h,
                               int64_t i, int64_t j)
{
    sum s = {0};
    for (int64_t d = 0; d < a->width; d++)
        sum_add(&s, mul(exact(a->q[q_at(c, a, b, h, i, d)]), exact(a->kv[k_at(c, a, b, h, j, d)])));
    num score = mul(sum_of(&s), exact(c->attr.scale));
    return a->table ? add(score, exact(a->table[table_row(c, a, b, i, j) * a->H + h])) : score;
}

static inline num attention_factor(const op_case *c, const attention *a, int64_t b, int64_t h,
                                   int64_t i, int64_t j)
{
    return c->attr.p > 0 ? dropout_factor(c, ((b * a->H + h) * a->Tq + i) * a->Tk + j) : exact(1);
}

/* exp(s_j - max) of query i; a blockwise softmax rescales once per block (of 16 keys or more): one
 * exp and one product each. Returns the largest score; *total = the sum. */
static inline double unscaled_softmax(const op_case *c, const attention *a, int64_t b, int64_t h,
                                      int64_t i, num *p, num *total)
{
    double top = -INFINITY;
    sum    s = {0};
    for (int64_t j = 0; j < a->Tk; j++) {
        p[j] = sees(c, a, b, i, j) ? scaled_score(c, a, b, h, i, j) : exact(-INFINITY);
        top = fmax(top, p[j].v);
    }
    for (int64_t j = 0; j < a->Tk; j++) {
        if (!sees(c, a, b, i, j)) {
            p[j] = exact(0);
            continue;
        }
        p[j] = exponential(sub(p[j], exact(top)));
        p[j].e += (double)(a->Tk / 16 + 1) * (FUNCTION_UNITS + 2) * unit * p[j].v;
        sum_add(&s, p[j]);
    }
    *total = sum_of(&s);
    return top;
}

static inline void sdpa_values(const op_case *c, const values *v, estimate *to)
{
    attention a = attention_of(c, v);
    num      *p = nums(a.Tk), total;
    for (int64_t n = 0; n < a.B * a.H * a.Tq; n++) {
        int64_t i = n % a.Tq, h = n / a.Tq % a.H, b = n / a.Tq / a.H;
        double  top = unscaled_softmax(c, &a, b, h, i, p, &total);
        int     any = total.v > 0;
        to->save[0][n] = any ? add(exact(top), logarithm(total)) : exact(0);
        for (int64_t d = 0; d < a.width; d++) {
            sum s = {0};
            for (int64_t j = 0; j < a.Tk; j++)
                if (p[j].v > 0)
                    sum_add(&s, mul(kept(mul(p[j], attention_factor(c, &a, b, h, i, j))),
                                    exact(a.kv[v_at(c, &a, b, h, j, d)])));
            to->out[0][(b * a.Tq + i) * a.C + h * a.width + d] =
                any ? quotient(sum_of(&s), total) : exact(0);
        }
    }
}

/* What <do_i, o_i> may be off because o was stored as bfloat16 (see number.h). */
static inline double stored_output_error(const values *v, int64_t first, int64_t width)
{
    double sum_of_sizes = 0;
    for (int64_t d = first; intermediate > 0 && v->dout[0] && d < first + width; d++)
        sum_of_sizes += fabs(v->dout[0][d] * v->out[0][d]);
    return intermediate * sum_of_sizes;
}

/* P, P times the dropout factor, and ds of one head, all [Tq,Tk]. The sums of delta_i = <do_i, o_i>
 * and of sum_j P dP are the same number; the second has the larger bound and covers both, but for
 * the rounding of o. lse is the stored one. */
static inline void score_estimates(const op_case *c, const values *v, const attention *a, int64_t b,
                                   int64_t h, num *Z, num *ds)
{
    for (int64_t i = 0; i < a->Tq; i++) {
        sum delta = {0};
        num lse = stored(v->save[0][(b * a->H + h) * a->Tq + i]);
        for (int64_t j = 0; j < a->Tk; j++) {
            num P = exact(0), f = attention_factor(c, a, b, h, i, j);
            sum dZ = {0};
            if (sees(c, a, b, i, j))
                P = exponential(sub(scaled_score(c, a, b, h, i, j), lse));
            for (int64_t d = 0; v->dout[0] && d < a->width; d++)
                sum_add(&dZ, mul(exact(v->dout[0][(b * a->Tq + i) * a->C + h * a->width + d]),
                                 exact(a->kv[v_at(c, a, b, h, j, d)])));
            Z[i * a->Tk + j] = P;
            ds[i * a->Tk + j] = mul(sum_of(&dZ), f);
            sum_add(&delta, mul(P, ds[i * a->Tk + j]));
        }
        delta.n += a->width;
        delta.e += stored_output_error(v, (b * a->Tq + i) * a->C + h * a->width, a->width);
        for (int64_t j = 0; j < a->Tk; j++) {
            num *P = &Z[i * a->Tk + j], *s = &ds[i * a->Tk + j];
            *s = kept(mul(*P, sub(*s, sum_of(&delta))));
            *P = kept(mul(*P, attention_factor(c, a, b, h, i, j)));
        }
    }
}

static inline void sdpa_gradients(const op_case *c, const values *v, estimate *to)
{
    attention a = attention_of(c, v);
    num      *Z = nums(a.Tq * a.Tk), *ds = nums(a.Tq * a.Tk), *dkv = to->din[a.self ? 0 : 1];
    num       scale = exact(c->attr.scale);
    int64_t   entries = to->din[4] ? count(&c->in[4]) : 0;
    sum      *dtable = sums(entries + 1);
    for (int64_t n = 0; n < a.B * a.H; n++) {
        int64_t h = n % a.H, b = n / a.H;
        score_estimates(c, v, &a, b, h, Z, ds);
        for (int64_t e = 0; e < a.Tq * a.Tk && entries; e++)
            if (sees(c, &a, b, e / a.Tk, e % a.Tk))
                sum_add(&dtable[table_row(c, &a, b, e / a.Tk, e % a.Tk) * a.H + h], ds[e]);
        for (int64_t i = 0; i < a.Tq; i++)
            for (int64_t d = 0; d < a.width; d++) {
                sum s = {0};
                for (int64_t j = 0; j < a.Tk; j++)
                    sum_add(&s, mul(ds[i * a.Tk + j], exact(a.kv[k_at(c, &a, b, h, j, d)])));
                to->din[0][q_at(c, &a, b, h, i, d)] = mul(scale, sum_of(&s));
            }
        for (int64_t j = 0; j < a.Tk; j++)
            for (int64_t d = 0; d < a.width; d++) {
                sum sk = {0}, sv = {0};
                for (int64_t i = 0; i < a.Tq; i++) {
                    double dy = v->dout[0] ? v->dout[0][(b * a.Tq + i) * a.C + h * a.width + d] : 0;
                    sum_add(&sk, mul(ds[i * a.Tk + j], exact(a.q[q_at(c, &a, b, h, i, d)])));
                    sum_add(&sv, mul(Z[i * a.Tk + j], exact(dy)));
                }
                dkv[k_at(c, &a, b, h, j, d)] = mul(scale, sum_of(&sk));
                dkv[v_at(c, &a, b, h, j, d)] = sum_of(&sv);
            }
    }
    for (int64_t e = 0; e < entries; e++)
        to->din[4][e] = sum_of(&dtable[e]);
    to->terms[0] = to->terms[1] = a.Tq > a.Tk ? a.Tq : a.Tk;
    to->terms[4] = a.B * a.Tq * a.Tk;
}

#endif
