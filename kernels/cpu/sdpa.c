/* sdpa.c - attention, one head of one sequence at a time, queries in blocks of NR.
 *
 * Scores are kept transposed, [keys][queries]: a vector holds one key's scores for VL queries, so
 * the softmax runs down the columns without any sum across lanes, and what it leaves is already in
 * the layout both products want.
 *
 *   forward    S^T = K Q^T;  P = exp(scale S + bias - max);  o = (P keep) V / sum
 *   backward   P = exp(scale S + bias - lse);  dP^T = V dO^T;
 *              db = P (dP keep - sum_k P dP keep);  ds = scale db;
 *              dq = ds K;  dk = ds^T Q;  dv = (P keep)^T dO;  dtable = db summed by bucket
 *
 * The bias of (query i, key k) depends on i - k alone. Per head the table is spread over `cells`,
 * one for each i - k, from 1 - Tk on: what key k adds to a vector of queries is a vector of cells.
 * Gradients are summed by cell first, then the cells of each bucket.
 *
 * Scratch is per thread; a head is computed wholly by one thread, so nothing depends on the pool.
 */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/pack.h"
#include "kernels/cpu/rng.h"
#include "kernels/cpu/tile.h"
#include "kernels/relative.h"

enum { GROUP_FLOPS = 400000 };          /* heads are handed out in groups of at least this work   */

typedef struct sdpa_job {
    const gq_call *c;
    int64_t B, H, Tq, Tk, w, wp;        /* w: columns of a head; wp: rounded up to vectors        */
    int64_t wq, wk;                     /* row lengths of the q and kv sources                    */
    const float *q, *kv;
    float  *dq, *dkv;                   /* backward, NULL: unwanted                               */
    int     addq, addkv, self;
    int64_t group;                      /* heads per tile                                         */
    int64_t scratch;                    /* floats per thread                                      */
    int64_t rows, cells;                /* of the table and of what it is spread over, 0: none    */
    int64_t sums;                       /* floats of `partial`, before the threads' scratch       */
    float  *partial;                    /* [B*H][rows] gradients of the table, NULL: unwanted     */
} sdpa_job;

typedef struct head {                   /* one head of one sequence, and this thread's scratch    */
    const sdpa_job *j;
    int64_t b, h, keys;                 /* keys: those before lengths[b]                          */
    const float *shown;                 /* visible[b], NULL: all                                  */
    float  *K, *V;                      /* [Tk+MR][wp] copies, zero beyond w                      */
    float  *P, *dP;                     /* [Tk+MR][NR]                                            */
    float  *QT, *dOT;                   /* [w][NR] transposed query block                         */
    float  *Q, *dO;                     /* [NR][wp] query block                                   */
    float  *keep, *keepT;               /* dropout factors [NR][Tk] and [Tk][NR]                  */
    float  *bias, *dbias;               /* [cells], NULL: no table                                */
} head;

/* Lays out one thread's scratch; with base NULL only its size in floats matters. */
static int64_t lay_out(const sdpa_job *j, int backward, float *base, head *o)
{
    int64_t at = 0, keys = (j->Tk + MR) * j->wp, scores = (j->Tk + MR) * NR, w = j->w * NR,
            block = NR * j->wp;
    struct { float **p; int64_t n; } part[] = {
        {&o->K, keys}, {&o->V, keys}, {&o->P, scores}, {&o->QT, w},
        {&o->keep, j->c->attr.p > 0 ? scores : 0}, {&o->keepT, j->c->attr.p > 0 ? scores : 0},
        {&o->dP, backward ? scores : 0}, {&o->dOT, backward ? w : 0}, {&o->Q, backward ? block : 0},
        {&o->dO, backward ? block : 0}, {&o->bias, j->cells}, {&o->dbias, backward ? j->cells : 0},
    };
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        *part[i].p = base && part[i].n ? base + at : NULL;
        at += (part[i].n + 15) / 16 * 16;
    }
    return at;
}

static sdpa_job job_of(const gq_call *c, int backward)
{
    const gq_buf *ks = c->in[1].p ? &c->in[1] : &c->in[0];
    sdpa_job      j = {.c = c,
                       .B = c->in[0].shape[0],
                       .H = c->attr.heads,
                       .Tq = c->in[0].shape[1],
                       .Tk = ks->shape[1],
                       .w = c->attr.width / c->attr.heads,
                       .wq = c->in[0].shape[2],
                       .wk = ks->shape[2],
                       .q = c->in[0].p,
                       .kv = ks->p,
                       .self = !c->in[1].p};
    head          none;
    if (c->in[4].p) {
        j.rows = c->in[4].shape[0];
        j.cells = (j.Tq + NR - 1) / NR * NR + j.Tk;
        j.sums = backward ? (j.B * j.H * j.rows + 15) / 16 * 16 : 0;
    }
    j.wp = (j.w + VL - 1) / VL * VL;
    j.group = imax(1, GROUP_FLOPS / imax(1, (backward ? 10 : 4) * j.Tq * j.Tk * j.w));
    j.scratch = lay_out(&j, backward, NULL, &none);
    return j;
}

/* C = A B (+ C): m x n of it, `cols` <= n columns stored; see tile.h for how A is read */
static void product(int by_row, int64_t m, int64_t n, int64_t k, const float *a, int64_t as,
                    const float *b, int64_t bs, float *c, int64_t ldc, int64_t cols, int add)
{
    for (int64_t jj = 0; jj < n; jj += NR)
        for (int64_t i = 0; i < m; i += MR) {
            int64_t  rows = imin(MR, m - i);
            tile_job t = {.a = by_row ? a + i * as : a + i, .as = as, .b = b + jj, .bs = bs, .k = k,
                          .c = c + i * ldc + jj, .ldc = ldc, .ldi = ldc, .lo = 0, .hi = (int)rows,
                          .cols = imin(NR, cols - jj)};
            t.init = add ? t.c : NULL;
            tile_kernels[by_row][n - jj > VL][(rows + MR_STEP - 1) / MR_STEP - 1](&t);
        }
}

static void copy_rows(float *dst, const float *src, int64_t ld, int64_t rows, int64_t w, int64_t wp)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < wp; i += VL)
            vstore(dst + r * wp + i,
                   i + VL <= w ? vload(src + r * ld + i) : vload_n(src + r * ld + i, w - i));
}

/* [queries][w] to [w][NR], zeros where there is no query */
static void turn_block(float *dst, const float *src, int64_t ld, int64_t queries, int64_t w)
{
    for (int64_t i = 0; i < queries; i += VL)
        pack_turn(dst + i, NR, VL, src + i * ld, ld, queries - i, w);
}

/* ---- the table of relative positions --------------------------------------------------------- */

/* Smallest distance of row `row` of one side */
static int64_t first_distance(const gq_relative *rel, int64_t row)
{
    return row <= rel->exact ? row : rel->edge[row - rel->exact - 1];
}

static int64_t first_distance_after(const gq_relative *rel, int64_t row)
{
    return row < rel->exact + rel->edges ? first_distance(rel, row + 1) : INT32_MAX;
}

/* The cells [lo, hi) whose bucket is `row`. `here` is the cell of a key at its query; a key d
 * positions before the query is d cells further on, a key after it as many back. */
static void cells_of_row(const head *o, int64_t row, int64_t *lo, int64_t *hi)
{
    const sdpa_job    *j = o->j;
    const gq_relative *rel = &j->c->attr.rel;
    const int32_t     *lengths = j->c->in[2].p;
    int64_t            side = rel->exact + rel->edges + 1, after = row >= side;
    int64_t            from = first_distance(rel, row - after * side);
    int64_t            to = first_distance_after(rel, row - after * side);
    int64_t            here = j->Tk - 1 - (rel->last ? lengths[o->b] - j->Tq : 0);
    *lo = after ? here - to + 1 : here + from;
    *hi = after ? here - imax(from, 1) + 1 : here + to;
    if (!rel->both && row == 0)
        *lo = 0;                        /* keys after the query, too                              */
    *lo = imin(imax(*lo, 0), j->cells);
    *hi = imax(*lo, imin(*hi, j->cells));
}

static void spread_table(const head *o)
{
    const float *table = (const float *)o->j->c->in[4].p + o->h;
    for (int64_t row = 0, lo, hi; row < o->j->rows; row++) {
        cells_of_row(o, row, &lo, &hi);
        for (int64_t x = lo; x < hi; x++)
            o->bias[x] = table[row * o->j->H];
    }
}

/* The gradients of the table in this head, from those of the cells */
static void gather_table(const head *o)
{
    float *to = o->j->partial + (o->b * o->j->H + o->h) * o->j->rows;
    for (int64_t row = 0, lo, hi; row < o->j->rows; row++) {
        float sum = 0;
        cells_of_row(o, row, &lo, &hi);
        for (int64_t x = lo; x < hi; x++)
            sum += o->dbias[x];
        to[row] = sum;
    }
}

/* The cells of query i and key 0; those of key k are k before. cells: bias or dbias, NULL: none */
GQ_INLINE float *cells_at(const head *o, float *cells, int64_t i)
{
    return cells ? cells + i + o->j->Tk - 1 : NULL;
}

/* ---- heads ----------------------------------------------------------------------------------- */

/* Where the keys and values of this head are, but for koff and voff */
static const float *place_head(head *o, int64_t index)
{
    const sdpa_job *j = o->j;
    const int32_t  *lengths = j->c->in[2].p;
    o->b = index / j->H;
    o->h = index % j->H;
    o->keys = lengths ? imax(0, imin(j->Tk, lengths[o->b])) : j->Tk;
    o->shown = j->c->in[3].p ? (const float *)j->c->in[3].p + o->b * j->Tk : NULL;
    return j->kv + o->b * j->Tk * j->wk + o->h * j->w;
}

static void take_head(head *o, int64_t index)
{
    const sdpa_job *j = o->j;
    const float    *kv = place_head(o, index);
    copy_rows(o->K, kv + j->c->attr.koff, j->wk, o->keys, j->w, j->wp);
    copy_rows(o->V, kv + j->c->attr.voff, j->wk, o->keys, j->w, j->wp);
    if (o->bias)
        spread_table(o);
}

GQ_INLINE vi queries_from(int64_t i)
{
    vi query = {0};
    for (int l = 0; l < VL; l++)
        query[l] = (int32_t)i + l;
    return query;
}

/* Which of the VL queries from `i` on see key k */
GQ_INLINE vi visible(const head *o, int64_t i, int64_t k)
{
    vi query = queries_from(i), see;
    see = query >= (o->j->c->attr.mask == GQ_MASK_CAUSAL ? (int32_t)k : INT32_MIN);
    if (o->shown && o->shown[k] == 0)
        see &= query == (o->j->self ? (int32_t)k : -1);
    return see;
}

/* Does key k need a mask for the queries from i on? */
GQ_INLINE int masked(const head *o, int64_t i, int64_t k)
{
    return (o->j->c->attr.mask == GQ_MASK_CAUSAL && k > i) || (o->shown && o->shown[k] == 0);
}

/* Keys the queries i..i+n-1 can see at all */
static int64_t reach(const head *o, int64_t i, int64_t n)
{
    return o->j->c->attr.mask == GQ_MASK_CAUSAL ? imin(o->keys, i + n) : o->keys;
}

/* Dropout factors of queries i..i+n-1, transposed. */
static void draw(const head *o, int64_t i, int64_t n)
{
    const sdpa_job *j = o->j;
    for (int64_t r = 0; r < n; r++)
        drop_factors(o->keep + r * j->Tk, j->Tk,
                     (uint64_t)(((o->b * j->H + o->h) * j->Tq + i + r) * j->Tk), j->c);
    turn_block(o->keepT, o->keep, j->Tk, n, j->Tk);
}

/* ---- forward --------------------------------------------------------------------------------- */

/* Softmax down the columns of VL queries at p: leaves exp(scale s - max), gives their inverse sums
 * and lse. */
static void softmax(const head *o, float *p, const float *keep, int64_t i, int64_t keys,
                    float *inverse, float *lse)
{
    vf top = vset(-__builtin_inff()), sum = {0}, scale = vset(o->j->c->attr.scale);
    const float *bias = cells_at(o, o->bias, i);
    for (int64_t k = 0; k < keys; k++) {
        vf t = vload(p + k * NR) * scale;
        if (bias)
            t += vload(bias - k);
        if (masked(o, i, k))
            t = vselect(visible(o, i, k), t, vset(-__builtin_inff()));
        vstore(p + k * NR, t);
        top = vmax(t, top);
    }
    top = vselect(top == -__builtin_inff(), vset(0.0f), top);
    for (int64_t k = 0; k < keys; k++) {
        vf e = vexp(vload(p + k * NR) - top);
        sum += e;
        vstore(p + k * NR, keep ? e * vload(keep + k * NR) : e);
    }
    vi none = sum == 0.0f;
    vstore(inverse, vselect(none, vset(0.0f), 1.0f / sum));
    vstore(lse, vselect(none, vset(0.0f), top + vlog(sum)));
}

static void forward_block(const head *o, int64_t i)
{
    const sdpa_job *j = o->j;
    const gq_call  *c = j->c;
    int64_t         n = imin(NR, j->Tq - i), lanes = n > VL ? NR : VL, keys = reach(o, i, n);
    float          *out = (float *)c->out[0].p + (o->b * j->Tq + i) * c->attr.width + o->h * j->w;
    float          *saved = c->save[0].p, inverse[2 * GQ_VLEN], lse[2 * GQ_VLEN];
    turn_block(o->QT, j->q + (o->b * j->Tq + i) * j->wq + c->attr.qoff + o->h * j->w, j->wq, n,
               j->w);
    product(1, keys, lanes, j->w, o->K, j->wp, o->QT, NR, o->P, NR, lanes, 0);
    if (c->attr.p > 0)
        draw(o, i, n);
    for (int64_t v = 0; v < lanes; v += VL)
        softmax(o, o->P + v, c->attr.p > 0 ? o->keepT + v : NULL, i + v, keys, inverse + v,
                lse + v);
    product(0, n, j->wp, keys, o->P, NR, o->V, j->wp, out, c->attr.width, j->w, 0);
    for (int64_t r = 0; r < n; r++) {
        float *row = out + r * c->attr.width;
        for (int64_t x = 0; x < j->w; x += VL)
            store_part(row + x, load_part(row + x, j->w - x) * inverse[r], j->w - x);
    }
    if (saved)
        put(saved + (o->b * j->H + o->h) * j->Tq + i, lse, n, 0);
}

/* ---- few queries: decoding ------------------------------------------------------------------- */

/* Copies and blocks are for many queries: fewer read keys and values where they lie. */
static int few_queries(const sdpa_job *j)
{
    const gq_call *c = j->c;
    return j->Tq <= VL / 2 && c->attr.p == 0 && c->attr.mask != GQ_MASK_CAUSAL && !c->in[3].p;
}

/* p[0..keys) = scale q.k + bias, the largest of which is returned; behind them to a whole vector -inf */
static float scores_of(const head *o, const float *q, const float *K, int64_t i, float *p)
{
    const sdpa_job *j = o->j;
    const float    *table = j->rows ? (const float *)j->c->in[4].p + o->h : NULL;
    const int32_t  *lengths = j->c->in[2].p;
    int64_t         at = i + (j->rows && j->c->attr.rel.last ? lengths[o->b] - j->Tq : 0);
    float           top = -__builtin_inff();
    for (int64_t k = 0; k < o->keys; k++) {
        vf sum = {0};
        for (int64_t x = 0; x < j->w; x += VL)
            sum = vfma(load_part(q + x, j->w - x), load_part(K + k * j->wk + x, j->w - x), sum);
        p[k] = vsum(sum) * j->c->attr.scale;
        if (table)
            p[k] += table[gq_relative_bucket(&j->c->attr.rel, (int32_t)(k - at)) * j->H];
        top = p[k] > top ? p[k] : top;
    }
    for (int64_t k = o->keys; k % VL; k++)
        p[k] = -__builtin_inff();
    return top;
}

static void one_query(const head *o, const float *K, const float *V, int64_t i)
{
    const sdpa_job *j = o->j;
    const gq_call  *c = j->c;
    const float    *q = j->q + (o->b * j->Tq + i) * j->wq + c->attr.qoff + o->h * j->w;
    float          *out = (float *)c->out[0].p + (o->b * j->Tq + i) * c->attr.width + o->h * j->w;
    float          *saved = c->save[0].p, *p = o->P, top = scores_of(o, q, K, i, p), all;
    vf              sum = {0};
    for (int64_t k = 0; k < o->keys; k += VL) {
        vf e = vexp(vload(p + k) - top);
        vstore(p + k, e);
        sum += e;
    }
    all = vsum(sum);
    for (int64_t x = 0; x < j->w; x += VL) {
        vf y = {0};
        for (int64_t k = 0; k < o->keys; k++)
            y = vfma(vset(p[k]), load_part(V + k * j->wk + x, j->w - x), y);
        store_part(out + x, all > 0 ? y * (1.0f / all) : y, j->w - x);
    }
    if (saved) {
        float lse[GQ_VLEN];
        vstore(lse, all > 0 ? top + vlog(vset(all)) : vset(0.0f));
        put(saved + (o->b * j->H + o->h) * j->Tq + i, lse, 1, 0);
    }
}

static void few_tile(void *ctx, int64_t tile, int thread)
{
    const sdpa_job *j = ctx;
    head            o = {.j = j};
    lay_out(j, 0, (float *)j->c->work->temp + thread * j->scratch, &o);
    for (int64_t x = tile * j->group; x < imin((tile + 1) * j->group, j->B * j->H); x++) {
        const float *kv = place_head(&o, x);
        for (int64_t i = 0; i < j->Tq; i++)
            one_query(&o, kv + j->c->attr.koff, kv + j->c->attr.voff, i);
    }
}

/* ---- forward, whole -------------------------------------------------------------------------- */

static void forward_tile(void *ctx, int64_t tile, int thread)
{
    const sdpa_job *j = ctx;
    head            o = {.j = j};
    lay_out(j, 0, (float *)j->c->work->temp + thread * j->scratch, &o);
    for (int64_t x = tile * j->group; x < imin((tile + 1) * j->group, j->B * j->H); x++) {
        take_head(&o, x);
        for (int64_t i = 0; i < j->Tq; i += NR)
            forward_block(&o, i);
    }
}

void CPU(sdpa_fwd)(const gq_call *c)
{
    sdpa_job j = job_of(c, 0);
    gq_parallel(c->work->pool, (j.B * j.H + j.group - 1) / j.group, few_queries(&j) ? few_tile : forward_tile,
                &j);
}

/* ---- backward -------------------------------------------------------------------------------- */

/* Sums of gradients by cell, `db` is those of one more key. From key to key a cell moves one lane
 * up; in the last lane it has all that these queries give. */
GQ_INLINE vf add_diagonal(float *cell, vf diagonal, vf db)
{
    diagonal = vpush(diagonal) + db;
    cell[VL - 1] += diagonal[VL - 1];
    return diagonal;
}

/* P and dP of VL queries become P keep and ds, in place; db goes to the cells. The probabilities are
 * divided by their sum once more: exp(scale S - lse) is off by what rounding lse cost, the same
 * factor for all keys of a query, which would leave a sum of ds that is not zero. */
static void score_gradients(const head *o, float *p, float *dp, const float *keep, int64_t i,
                            int64_t keys, vf lse)
{
    vf scale = vset(o->j->c->attr.scale), mean = {0}, sum = {0};
    const float *bias = cells_at(o, o->bias, i);
    for (int64_t k = 0; k < keys; k++) {
        vf t = bias ? vload(p + k * NR) * scale + vload(bias - k) - lse
                    : vfma(vload(p + k * NR), scale, -lse);
        vf e = vexp(t), d = vload(dp + k * NR);
        if (masked(o, i, k))
            e = vselect(visible(o, i, k), e, vset(0.0f));
        if (keep) {
            d *= vload(keep + k * NR);
            vstore(dp + k * NR, d);
        }
        vstore(p + k * NR, e);
        sum += e;
        mean = vfma(e, d, mean);
    }
    vf inverse = vselect(sum == 0.0f, vset(0.0f), 1.0f / sum);
    vf diagonal = {0};
    vi real = queries_from(i) < (int32_t)o->j->Tq;
    float *cell = cells_at(o, o->dbias, i);
    mean *= inverse;
    for (int64_t k = 0; k < keys; k++) {
        vf e = vload(p + k * NR) * inverse, db = e * (vload(dp + k * NR) - mean);
        vstore(dp + k * NR, db * scale);
        vstore(p + k * NR, keep ? e * vload(keep + k * NR) : e);
        if (cell)
            diagonal = add_diagonal(cell - k, diagonal, vselect(real, db, vset(0.0f)));
    }
    for (int64_t l = 0; cell && l < VL - 1; l++)
        cell[l - keys + 1] += diagonal[l];
}

/* Queries i.. of a head. The last block of a head comes first: it sees every key, and stores the
 * keys' gradients where the others then add theirs. */
static void backward_block(const head *o, int64_t i, int addkv)
{
    const sdpa_job *j = o->j;
    const gq_call  *c = j->c;
    int64_t         n = imin(NR, j->Tq - i), lanes = n > VL ? NR : VL, keys = reach(o, i, n),
            C = c->attr.width;
    int64_t         qat = (o->b * j->Tq + i) * j->wq + c->attr.qoff + o->h * j->w;
    const float    *dout = (const float *)c->dout[0].p + (o->b * j->Tq + i) * C + o->h * j->w;
    const float    *lse = (const float *)c->save[0].p + (o->b * j->H + o->h) * j->Tq + i;
    turn_block(o->QT, j->q + qat, j->wq, n, j->w);
    turn_block(o->dOT, dout, C, n, j->w);
    product(1, keys, lanes, j->w, o->K, j->wp, o->QT, NR, o->P, NR, lanes, 0);
    product(1, keys, lanes, j->w, o->V, j->wp, o->dOT, NR, o->dP, NR, lanes, 0);
    if (c->attr.p > 0)
        draw(o, i, n);
    for (int64_t v = 0; v < lanes; v += VL)
        score_gradients(o, o->P + v, o->dP + v, c->attr.p > 0 ? o->keepT + v : NULL, i + v, keys,
                        load_part(lse + v, n - v));
    if (j->dq)
        product(0, n, j->wp, keys, o->dP, NR, o->K, j->wp, j->dq + qat, j->wq, j->w, j->addq);
    if (j->dkv) {
        float *d = j->dkv + o->b * j->Tk * j->wk + o->h * j->w;
        copy_rows(o->Q, j->q + qat, j->wq, n, j->w, j->wp);
        copy_rows(o->dO, dout, C, n, j->w, j->wp);
        product(1, keys, j->wp, n, o->dP, NR, o->Q, j->wp, d + c->attr.koff, j->wk, j->w, addkv);
        product(1, keys, j->wp, n, o->P, NR, o->dO, j->wp, d + c->attr.voff, j->wk, j->w, addkv);
    }
}

/* Keys beyond the length of the sequence have no gradient. */
static void clear_hidden(const head *o)
{
    const sdpa_job *j = o->j;
    for (int64_t k = o->keys; k < j->Tk; k++) {
        float *d = j->dkv + (o->b * j->Tk + k) * j->wk + o->h * j->w;
        put(d + j->c->attr.koff, NULL, j->w, 0);
        put(d + j->c->attr.voff, NULL, j->w, 0);
    }
}

static void backward_tile(void *ctx, int64_t tile, int thread)
{
    const sdpa_job *j = ctx;
    head            o = {.j = j};
    int64_t         last = (j->Tq - 1) / NR * NR;
    lay_out(j, 1, (float *)j->c->work->temp + j->sums + thread * j->scratch, &o);
    if (!j->partial)
        o.dbias = NULL;
    for (int64_t x = tile * j->group; x < imin((tile + 1) * j->group, j->B * j->H); x++) {
        take_head(&o, x);
        if (j->dkv && !j->addkv)
            clear_hidden(&o);
        if (o.dbias)
            memset(o.dbias, 0, (size_t)j->cells * sizeof(float));
        for (int64_t i = last; i >= 0; i -= NR)
            backward_block(&o, i, j->addkv || i < last);
        if (o.dbias)
            gather_table(&o);
    }
}

/* The heads' gradients of the table, added over the sequences in their order */
static void put_table(const sdpa_job *j)
{
    float *d = j->c->din[4].p;
    for (int64_t e = 0; e < j->rows * j->H; e++) {
        float sum = 0;
        for (int64_t b = 0; b < j->B; b++)
            sum += j->partial[(b * j->H + e % j->H) * j->rows + e / j->H];
        d[e] = adds(j->c, 4) ? d[e] + sum : sum;
    }
}

/* Do `count` ranges of C columns at `at` cover a row of W columns exactly once? */
static int cover_once(const int32_t *at, int count, int64_t C, int64_t W)
{
    for (int a = 0; a < count; a++)
        for (int b = a + 1; b < count; b++)
            if (at[a] < at[b] + C && at[b] < at[a] + C)
                return 0;
    return count * C == W;
}

void CPU(sdpa_bwd)(const gq_call *c)
{
    sdpa_job       j = job_of(c, 1);
    const int32_t  at[3] = {c->attr.qoff, c->attr.koff, c->attr.voff};
    if (nothing_arrives(c))
        return;
    j.dq = c->din[0].p;
    j.dkv = j.self ? j.dq : c->din[1].p;
    j.addq = adds(c, 0);
    j.addkv = j.self ? j.addq : adds(c, 1);
    if (!j.addq && !cover_once(at, j.self ? 3 : 1, c->attr.width, j.wq)) {
        put_gradient(c, 0, NULL);
        j.addq = 1;
        j.addkv = j.self ? 1 : j.addkv;
    }
    if (!j.self && !j.addkv && !cover_once(at + 1, 2, c->attr.width, j.wk)) {
        put_gradient(c, 1, NULL);
        j.addkv = 1;
    }
    j.partial = c->din[4].p ? c->work->temp : NULL;
    gq_parallel(c->work->pool, (j.B * j.H + j.group - 1) / j.group, backward_tile, &j);
    if (j.partial)
        put_table(&j);
}

size_t CPU(sdpa_temp)(const gq_call *c, int backward, int threads)
{
    sdpa_job j = job_of(c, backward);
    return (size_t)(j.sums + j.scratch * (threads > 1 ? threads : 1)) * sizeof(float);
}
