/* sdpa.cu - attention: which path computes it, and the unfused path.
 *
 *   s_ij = scale <q_i, k_j> + bias_ij;  P = softmax of s over what query i sees;  Z_ij = P_ij keep_ij / (1-p)
 *   o_i = sum_j Z_ij v_j;   dP_ij = <do_i, v_j> keep_ij / (1-p);   ds_ij = P_ij (dP_ij - sum_k P_ik dP_ik)
 *   dq_i = scale sum_j ds_ij k_j;   dk_j = scale sum_i ds_ij q_i;   dv_j = sum_i Z_ij do_i
 *
 * Paths: one query without gradient (decode.cu), fused on the tensor cores (attention.cu, attention_bwd.cu),
 * cuDNN where it is linked and asked for, and the unfused one below. That one takes every head width, mask and
 * type, is all there is for fp32, and is what the others are compared with on the GPU. It writes the scores of
 * as many heads to scratch memory as there is room for, and asks for no more than SCORE_BYTES.
 * Biases by relative position (bias_ij is an entry of their table) are for decoding and the unfused path: T5, which
 * has them, asks questions about some captions at a time and is not what a step of training spends its time on.
 *
 * kernel product    D[m,n] = alpha A[m,k] B[k,n] (+ D) for `pairs` heads, operands anywhere in packed rows.
 *                   Moves 4 (m k ceil(n/64) + k n ceil(m/64)) + m n bytes; roof: the float units (no tensor
 *                   cores: the fp32 backend promises float products). 64x64 of D per block of 256 threads, 4x4
 *                   per thread, k in steps of 16 through shared memory, summed in the order of k.
 * kernel softmax    scores [rows,Tk] -> Z in place, lse; one warp per row, three passes over 4 Tk bytes, the
 *                   second and third out of the cache; roof: copy bandwidth. A lane takes j = lane, lane+32, ..
 *                   in order, then the butterfly. With a table the first pass adds the biases, whose rows are
 *                   found by comparing integers.
 * kernel softmax_backward   s -> Z and dP -> ds in place; as softmax.
 * kernel table_parts   ds [pairs,Tq,Tk] -> what TABLE_ROWS queries of a head have for each row of the table: reads
 *                   4 Tq Tk bytes per head; roof: copy bandwidth. A thread adds a diagonal, all of whose scores have
 *                   the same row, in the order of queries; neighbours read neighbours. TABLE_THREADS diagonals at a
 *                   time are then added up by a warp for each row: a lane's in order, the butterfly, and what was
 *                   there before.
 * kernel table_gradient   parts [rows,H][B, ranges of queries] -> the table's gradient, a block per entry, in the
 *                   order of gq_sum_in_order (eight.h). There are parts of all heads: how many are worked on at a
 *                   time does not matter.
 */
#include "kernels/cuda/attention.h"
#include "kernels/cuda/eight.h"
#include "kernels/cuda/lanes.h"

namespace {

enum {
    TILE = 64, STEP = 16, PRODUCT_THREADS = 256, ROW_WARPS = 4, MOST_PAIRS = 65535,
    TABLE_THREADS = 256, TABLE_WARPS = TABLE_THREADS / 32, TABLE_ROWS = 64,
    MOST_BUCKETS = 128,                               /* of kernels/relative.h                    */
};

const size_t SCORE_BYTES = (size_t)64 << 20;      /* of one score matrix, unless a single head needs more */

/* An operand of `product`: element (row, col) of pair (b, h), the l-th of its chunk. */
struct operand {
    void   *p;
    int64_t row, col;                   /* strides; one of them is 1                              */
    int64_t per_b, per_h, per_chunk;
};

struct product_job {
    operand a, b, d;
    int32_t m, n, k, H, first;          /* first: pair of blockIdx.z == 0                         */
    float   alpha;
    int32_t adds;
    const int32_t *lengths;             /* k counts keys: those from lengths[b] on are left out. NULL: all */
};

template <class T> __device__ __forceinline__ T *pair_of(const operand &x, const product_job &j)
{
    int pair = j.first + (int)blockIdx.z;
    return (T *)x.p + pair / j.H * x.per_b + pair % j.H * x.per_h + blockIdx.z * x.per_chunk;
}

/* to[k][i] = x(i0 + i, k0 + k), zeros outside; neighbours in memory are read by neighbouring threads. */
template <class T>
__device__ __forceinline__ void take_tile(float4 (*to)[TILE / 4 + 1], const T *x, int64_t along, int64_t step, int i0,
                                          int n, int k0, int K)
{
    for (int e = (int)threadIdx.x; e < TILE * STEP; e += PRODUCT_THREADS) {
        int i = step == 1 ? e / STEP : e % TILE, k = step == 1 ? e % STEP : e / TILE;
        ((float *)to[k])[i] = i0 + i < n && k0 + k < K ? gq_load(x[(i0 + i) * along + (k0 + k) * step]) : 0.0f;
    }
}

template <class A, class B, class D> __global__ void __launch_bounds__(PRODUCT_THREADS) product(product_job j)
{
    GQ_SHARED(float4, as, [STEP][TILE / 4 + 1]);
    GQ_SHARED(float4, bs, [STEP][TILE / 4 + 1]);
    const A *a = pair_of<const A>(j.a, j);
    const B *b = pair_of<const B>(j.b, j);
    D       *d = pair_of<D>(j.d, j);
    int      m0 = (int)blockIdx.y * TILE, n0 = (int)blockIdx.x * TILE, K = j.k;
    int      tm = (int)threadIdx.x / 16 * 4, tn = (int)threadIdx.x % 16 * 4;
    float    sum[4][4] = {};

    if (j.lengths) {
        int keys = j.lengths[(j.first + (int)blockIdx.z) / j.H];
        K = keys < 0 ? 0 : keys < K ? keys : K;
    }
    for (int k0 = 0; k0 < K; k0 += STEP) {
        take_tile(as, a, j.a.row, j.a.col, m0, j.m, k0, K);
        take_tile(bs, b, j.b.col, j.b.row, n0, j.n, k0, K);
        __syncthreads();
#pragma unroll
        for (int k = 0; k < STEP; k++) {
            float4 x = as[k][tm / 4], y = bs[k][tn / 4];
            float  xs[4] = {x.x, x.y, x.z, x.w}, ys[4] = {y.x, y.y, y.z, y.w};
#pragma unroll
            for (int r = 0; r < 4; r++)
#pragma unroll
                for (int c = 0; c < 4; c++)
                    sum[r][c] = fmaf(xs[r], ys[c], sum[r][c]);
        }
        __syncthreads();
    }
#pragma unroll
    for (int r = 0; r < 4; r++)
#pragma unroll
        for (int c = 0; c < 4; c++)
            if (m0 + tm + r < j.m && n0 + tn + c < j.n)
                gq_put(&d[(m0 + tm + r) * j.d.row + (n0 + tn + c) * j.d.col], j.adds, j.alpha * sum[r][c]);
}

/* The row of scores that a warp owns. */
struct score_row {
    int     b, i, keys;
    int64_t pair, at;                   /* at: of the row's first element in the chunk            */
    bool    there;
};

__device__ __forceinline__ score_row row_of(const gq_attention &a, int first, int pairs)
{
    int64_t   n = (int64_t)blockIdx.x * ROW_WARPS + threadIdx.x / 32;
    score_row r;
    r.there = n < (int64_t)pairs * a.Tq;
    n = r.there ? n : 0;
    r.pair = first + n / a.Tq;
    r.b = (int)(r.pair / a.H);
    r.i = (int)(n % a.Tq);
    r.keys = gq_attention_keys(a, r.b);
    r.at = n * a.Tk;
    return r;
}

/* What the score of key j gets added where there is a table. */
template <class T>
__device__ __forceinline__ float bias_of(const gq_attention &a, const gq_attention_table &t, const score_row &r, int j)
{
    return gq_attention_bias<T>(a, t, (int)(r.pair % a.H), j - gq_attention_first(a, t, r.b) - r.i);
}

/* What dropout multiplies a probability with. */
__device__ __forceinline__ float factor_of(const gq_attention &a, const score_row &r, int j)
{
    if (a.p == 0.0f)
        return 1;
    return gq_attention_keeps(a, r.pair, r.i, j, a.step->seed, gq_attention_word(a)) ? a.keep : 0.0f;
}

template <class T>
__global__ void __launch_bounds__(ROW_WARPS * 32)
softmax(gq_attention a, gq_attention_table t, float *scores, int first, int pairs)
{
    score_row r = row_of(a, first, pairs);
    float    *s = scores + r.at, top = -INFINITY, sum = 0;
    int       lane = (int)threadIdx.x % 32;

    if (!r.there)
        return;                         /* the whole warp                                         */
    for (int j = lane; j < a.Tk; j += 32)
        if (gq_attention_sees(a, r.b, r.keys, r.i, j)) {
            if (t.p)
                s[j] += bias_of<T>(a, t, r, j);
            top = fmaxf(top, s[j]);
        }
    top = gq_warp_max(top);
    top = top == -INFINITY ? 0.0f : top;
    for (int j = lane; j < a.Tk; j += 32) {
        float e = gq_attention_sees(a, r.b, r.keys, r.i, j) ? expf(s[j] - top) : 0.0f;
        s[j] = e;
        sum += e;
    }
    sum = gq_warp_sum(sum);
    float each = sum == 0.0f ? 0.0f : 1.0f / sum;
    for (int j = lane; j < a.Tk; j += 32)
        s[j] *= factor_of(a, r, j) * each;
    if (a.lse && lane == 0)
        a.lse[r.pair * a.Tq + r.i] = sum == 0.0f ? 0.0f : top + logf(sum);
}

/* The probabilities are divided by their sum once more, as in kernels/cpu/sdpa.c: exp(s - lse) is off by what
 * rounding lse cost, the same factor for all keys of a query, which would leave a sum of ds that is not zero. */
template <class T>
__global__ void __launch_bounds__(ROW_WARPS * 32)
softmax_backward(gq_attention a, gq_attention_table t, float *scores, float *grads, int first, int pairs)
{
    score_row r = row_of(a, first, pairs);
    float    *s = scores + r.at, *ds = grads + r.at, lse, sum = 0, mean = 0;
    int       lane = (int)threadIdx.x % 32;

    if (!r.there)
        return;
    lse = a.lse[r.pair * a.Tq + r.i];
    for (int j = lane; j < a.Tk; j += 32) {
        float e = 0, dp;
        if (gq_attention_sees(a, r.b, r.keys, r.i, j))
            e = expf((t.p ? s[j] + bias_of<T>(a, t, r, j) : s[j]) - lse);
        dp = e == 0.0f ? 0.0f : ds[j];
        dp *= factor_of(a, r, j);
        s[j] = e;
        ds[j] = dp;
        sum += e;
        mean = fmaf(e, dp, mean);
    }
    sum = gq_warp_sum(sum);
    float each = sum == 0.0f ? 0.0f : 1.0f / sum;
    mean = gq_warp_sum(mean) * each;
    for (int j = lane; j < a.Tk; j += 32) {
        float e = s[j] * each;
        ds[j] = e * (ds[j] - mean);
        s[j] = e * factor_of(a, r, j);
    }
}

/* ---- the gradient of the table --------------------------------------------------------------- */

/* Block (x, y): queries [TABLE_ROWS x, ..) of the y-th pair from `first` on; grads: ds of those pairs. */
__global__ void __launch_bounds__(TABLE_THREADS)
table_parts(gq_attention a, gq_attention_table t, const float *__restrict__ grads, float *parts, int first)
{
    GQ_SHARED(float, of_diagonal, [TABLE_THREADS]);
    GQ_SHARED(int, row_of_diagonal, [TABLE_THREADS]);
    GQ_SHARED(float, sums, [MOST_BUCKETS]);
    int          pair = first + (int)blockIdx.y, b = pair / a.H, h = pair % a.H, lane = (int)threadIdx.x % 32;
    int          i0 = (int)blockIdx.x * TABLE_ROWS, end = i0 + TABLE_ROWS < a.Tq ? i0 + TABLE_ROWS : a.Tq;
    int          at = gq_attention_first(a, t, b);
    const float *ds = grads + (int64_t)blockIdx.y * a.Tq * a.Tk;

    if (threadIdx.x < MOST_BUCKETS)
        sums[threadIdx.x] = 0;
    for (int lowest = 1 - end; lowest < a.Tk - i0; lowest += TABLE_THREADS) {
        int   r = lowest + (int)threadIdx.x, from = i0 < -r ? -r : i0, to = end < a.Tk - r ? end : a.Tk - r;
        float sum = 0;
#pragma unroll 8
        for (int i = from; i < to; i++)
            sum += ds[(int64_t)i * a.Tk + i + r];
        __syncthreads();                              /* the diagonals before were added          */
        of_diagonal[threadIdx.x] = sum;
        row_of_diagonal[threadIdx.x] = gq_relative_bucket(&t.rel, r - at);
        __syncthreads();
        for (int n = (int)threadIdx.x / 32; n < t.rows; n += TABLE_WARPS) {
            float more = 0;
#pragma unroll
            for (int k = lane; k < TABLE_THREADS; k += 32)
                more += row_of_diagonal[k] == n ? of_diagonal[k] : 0.0f;
            more = gq_warp_sum(more);
            if (lane == 0)
                sums[n] += more;
        }
    }
    __syncthreads();
    if ((int)threadIdx.x < t.rows)
        parts[(((int64_t)threadIdx.x * a.H + h) * a.B + b) * gridDim.x + blockIdx.x] = sums[threadIdx.x];
}

/* terms: parts of an entry */
template <class G>
__global__ void __launch_bounds__(GQ_SUM_THREADS) table_gradient(const float *parts, int64_t terms, G *d, bool adds)
{
    double sum = gq_sum_in_order(parts + blockIdx.x * terms, terms, 1);
    if (threadIdx.x == 0)
        gq_put(d + blockIdx.x, adds, (float)sum);
}

int64_t table_terms(const gq_attention *a) { return (int64_t)a->B * gq_blocks(a->Tq, TABLE_ROWS); }

/* Bytes in front of the score matrices. */
size_t table_bytes(const gq_attention *a, const gq_attention_table *t)
{
    return ((size_t)t->rows * (size_t)a->H * (size_t)table_terms(a) * sizeof(float) + 255) / 256 * 256;
}

void finish_table(gq_cuda *d, const gq_attention *a, const gq_attention_table *t, const float *parts)
{
    GQ_REAL(t->d_type, G, GQ_LAUNCH(d, table_gradient<G>, dim3((unsigned)(t->rows * a->H)), dim3(GQ_SUM_THREADS), 0,
                                    parts, table_terms(a), (G *)t->d, t->adds != 0));
}

/* ---- operands of the products ---------------------------------------------------------------- */

int64_t score_count(const gq_attention *a) { return (int64_t)a->Tq * a->Tk; }

/* Bytes of score matrices for which there is to be room, `matrices` of them. */
size_t score_bytes(const gq_attention *a, int matrices)
{
    size_t one = (size_t)score_count(a) * sizeof(float), all = one * (size_t)a->B * (size_t)a->H;
    return (size_t)matrices * (all <= SCORE_BYTES ? all : one < SCORE_BYTES ? SCORE_BYTES / one * one : one);
}

/* Heads that are worked on at a time: as many as there is room for. */
int chunk_of(const gq_attention *a, int matrices, size_t bytes)
{
    int64_t pairs = (int64_t)a->B * a->H;
    int64_t fit = (int64_t)(bytes / ((size_t)matrices * (size_t)score_count(a) * sizeof(float)));
    pairs = pairs < MOST_PAIRS ? pairs : (int64_t)MOST_PAIRS;
    return (int)(fit < pairs ? fit : pairs);
}

/* Columns from `off` on of a source [B,T,w], or of a gradient like it. */
operand columns(const gq_attention *a, const void *p, int64_t T, int64_t w, int64_t off, size_t size)
{
    return {(char *)const_cast<void *>(p) + off * size, w, 1, T * w, a->D, 0};
}

operand turned(operand x)
{
    int64_t row = x.row;
    x.row = x.col;
    x.col = row;
    return x;
}

operand scores_of(const gq_attention *a, float *p) { return {p, a->Tk, 1, 0, 0, score_count(a)}; }

template <class A, class B, class D> void multiply(gq_cuda *d, const product_job &j, int pairs)
{
    GQ_LAUNCH(d, (product<A, B, D>), dim3(gq_blocks(j.n, TILE), gq_blocks(j.m, TILE), (unsigned)pairs),
              dim3(PRODUCT_THREADS), 0, j);
}

dim3 row_blocks(const gq_attention *a, int pairs) { return dim3(gq_blocks((int64_t)pairs * a->Tq, ROW_WARPS)); }

/* ---- the unfused path ------------------------------------------------------------------------ */

template <class T>
void unfused_forward(gq_cuda *d, const gq_attention *a, const gq_attention_table *t, const gq_work *work)
{
    float  *scores = (float *)work->temp;
    size_t  z = sizeof(T);
    operand q = columns(a, a->q, a->Tq, a->wq, a->qoff, z), k = columns(a, a->kv, a->Tk, a->wk, a->koff, z),
            v = columns(a, a->kv, a->Tk, a->wk, a->voff, z), o = columns(a, a->o, a->Tq, a->C, 0, z),
            s = scores_of(a, scores);
    int     pairs = a->B * a->H, chunk = chunk_of(a, 1, work->temp_bytes);

    for (int first = 0; first < pairs; first += chunk) {
        int n = first + chunk < pairs ? chunk : pairs - first;
        multiply<T, T, float>(d, {q, turned(k), s, a->Tq, a->Tk, a->D, a->H, first, a->scale, 0, NULL}, n);
        GQ_LAUNCH(d, softmax<T>, row_blocks(a, n), dim3(ROW_WARPS * 32), 0, *a, *t, scores, first, n);
        multiply<float, T, T>(d, {s, v, o, a->Tq, a->D, a->Tk, a->H, first, 1, 0, a->lengths}, n);
    }
}

/* G: type of a source's gradient. */
template <class T, class G>
void query_gradient(gq_cuda *d, const gq_attention *a, const operand &ds, int first, int n)
{
    operand k = columns(a, a->kv, a->Tk, a->wk, a->koff, sizeof(T)),
            dq = columns(a, a->dq, a->Tq, a->wq, a->qoff, sizeof(G));
    multiply<float, T, G>(d, {ds, k, dq, a->Tq, a->D, a->Tk, a->H, first, a->scale, a->addq, a->lengths}, n);
}

template <class T, class G>
void key_gradients(gq_cuda *d, const gq_attention *a, const operand &Z, const operand &ds, int first, int n)
{
    operand q = columns(a, a->q, a->Tq, a->wq, a->qoff, sizeof(T)),
            g = columns(a, a->d_o, a->Tq, a->C, 0, sizeof(T)),
            dk = columns(a, a->dkv, a->Tk, a->wk, a->koff, sizeof(G)),
            dv = columns(a, a->dkv, a->Tk, a->wk, a->voff, sizeof(G));
    multiply<float, T, G>(d, {turned(ds), q, dk, a->Tk, a->D, a->Tq, a->H, first, a->scale, a->addkv, NULL}, n);
    multiply<float, T, G>(d, {turned(Z), g, dv, a->Tk, a->D, a->Tq, a->H, first, 1, a->addkv, NULL}, n);
}

template <class T>
void unfused_backward(gq_cuda *d, const gq_attention *a, const gq_attention_table *t, const gq_work *work)
{
    size_t  z = sizeof(T), taken = t->d ? table_bytes(a, t) : 0;
    float  *parts = (float *)work->temp, *scores = parts + taken / sizeof(float);
    operand q = columns(a, a->q, a->Tq, a->wq, a->qoff, z), k = columns(a, a->kv, a->Tk, a->wk, a->koff, z),
            v = columns(a, a->kv, a->Tk, a->wk, a->voff, z), g = columns(a, a->d_o, a->Tq, a->C, 0, z);
    int     pairs = a->B * a->H, chunk = chunk_of(a, 2, work->temp_bytes - taken);
    float  *grads = scores + chunk * score_count(a);
    operand s = scores_of(a, scores), ds = scores_of(a, grads);

    for (int first = 0; first < pairs; first += chunk) {
        int n = first + chunk < pairs ? chunk : pairs - first;
        multiply<T, T, float>(d, {q, turned(k), s, a->Tq, a->Tk, a->D, a->H, first, a->scale, 0, NULL}, n);
        multiply<T, T, float>(d, {g, turned(v), ds, a->Tq, a->Tk, a->D, a->H, first, 1, 0, NULL}, n);
        GQ_LAUNCH(d, softmax_backward<T>, row_blocks(a, n), dim3(ROW_WARPS * 32), 0, *a, *t, scores, grads, first, n);
        if (t->d)
            GQ_LAUNCH(d, table_parts, dim3(gq_blocks(a->Tq, TABLE_ROWS), (unsigned)n), dim3(TABLE_THREADS), 0, *a, *t,
                      grads, parts, first);
        if (a->dq)
            GQ_REAL(a->dq_type, G, query_gradient<T, G>(d, a, ds, first, n));
        if (a->dkv)
            GQ_REAL(a->dkv_type, G, key_gradients<T, G>(d, a, s, ds, first, n));
    }
    if (t->d)
        finish_table(d, a, t, parts);
}

/* ---- the gradients' other columns ------------------------------------------------------------ */

/* Do `count` ranges of C columns at `at` cover a row of W columns exactly once? */
bool cover_once(const int32_t *at, int count, int64_t C, int64_t W)
{
    for (int i = 0; i < count; i++)
        for (int j = i + 1; j < count; j++)
            if (at[i] < at[j] + C && at[j] < at[i] + C)
                return false;
    return count * C == W;
}

/* What no column range of attention writes, or two write, starts at zero and is added to. */
void clear_gradients(const gq_call *c, gq_attention *a)
{
    const int32_t at[3] = {a->qoff, a->koff, a->voff};
    if (a->dq && !a->addq && !cover_once(at, a->self ? 3 : 1, a->C, a->wq)) {
        gq_cuda_zero(c, &c->din[0]);
        a->addq = 1;
        a->addkv |= a->self;
    }
    if (a->dkv && !a->self && !a->addkv && !cover_once(at + 1, 2, a->C, a->wk)) {
        gq_cuda_zero(c, &c->din[1]);
        a->addkv = 1;
    }
}

size_t larger(size_t a, size_t b) { return a > b ? a : b; }

}  // namespace

gq_attention gq_attention_of(const gq_call *c)
{
    const gq_buf *qs = &c->in[0], *ks = c->in[1].rank ? &c->in[1] : qs;
    gq_attention  a = {};
    a.q = qs->p;
    a.kv = ks->p;
    a.o = c->out[0].p;
    a.d_o = c->dout[0].p;
    a.self = ks == qs;
    a.dq = c->din[0].p;
    a.dkv = a.self ? a.dq : c->din[1].p;
    a.dq_type = c->din[0].dtype;
    a.dkv_type = a.self ? a.dq_type : c->din[1].dtype;
    a.addq = c->acc & 1;
    a.addkv = a.self ? a.addq : c->acc >> 1 & 1;
    a.lse = (float *)c->save[0].p;
    a.lengths = (const int32_t *)c->in[2].p;
    a.visible = (const float *)c->in[3].p;
    a.wq = qs->shape[2];
    a.wk = ks->shape[2];
    a.B = (int32_t)qs->shape[0];
    a.H = c->attr.heads;
    a.Tq = (int32_t)qs->shape[1];
    a.Tk = (int32_t)ks->shape[1];
    a.C = c->attr.width;
    a.D = a.C / a.H;
    a.qoff = c->attr.qoff;
    a.koff = c->attr.koff;
    a.voff = c->attr.voff;
    a.causal = c->attr.mask == GQ_MASK_CAUSAL;
    a.rng_op = c->rng_op;
    a.scale = c->attr.scale;
    a.p = c->attr.p;
    a.keep = 1 / (1 - a.p);
    return a;
}

gq_attention_table gq_attention_table_of(const gq_call *c)
{
    gq_attention_table t = {};
    if (c->in[4].rank == 0)
        return t;
    t.p = c->in[4].p;
    t.d = c->din[4].p;
    t.rows = (int32_t)c->in[4].shape[0];
    t.d_type = c->din[4].dtype;
    t.adds = gq_adds(c, 4);
    t.rel = c->attr.rel;
    return t;
}

void gq_cuda_sdpa_fwd(const gq_call *c)
{
    gq_cuda           *d = gq_cuda_of(c);
    gq_attention       a = gq_attention_of(c);
    gq_attention_table t = gq_attention_table_of(c);
    a.step = d->step;
    if (d->attention != GQ_ATTENTION_UNFUSED && gq_attention_decode_has(c))
        gq_attention_decode(d, c->in[0].dtype, &a, &t, c->work->temp);
    else if (d->attention == GQ_ATTENTION_CUDNN && gq_cuda_cudnn_sdpa_fwd(c))
        return;
    else if (d->attention != GQ_ATTENTION_UNFUSED && gq_attention_fused_has(c, false))
        gq_attention_fused_fwd(d, &a);
    else
        GQ_REAL(c->in[0].dtype, T, unfused_forward<T>(d, &a, &t, c->work));
}

void gq_cuda_sdpa_bwd(const gq_call *c)
{
    gq_cuda           *d = gq_cuda_of(c);
    gq_attention       a = gq_attention_of(c);
    gq_attention_table t = gq_attention_table_of(c);
    a.step = d->step;
    if (gq_nothing_arrives(c) || (!a.dq && !a.dkv && !t.d))
        return;
    if (d->attention == GQ_ATTENTION_CUDNN && gq_cuda_cudnn_sdpa_bwd(c))
        return;
    clear_gradients(c, &a);
    if (d->attention != GQ_ATTENTION_UNFUSED && gq_attention_fused_has(c, true))
        gq_attention_fused_bwd(d, &a, c->work->temp);
    else
        GQ_REAL(c->in[0].dtype, T, unfused_backward<T>(d, &a, &t, c->work));
}

/* Which path runs may depend on addresses and on the device's setting, neither of which is known here: room for
 * the largest one. */
size_t gq_cuda_sdpa_temp(const gq_call *c, int backward, int threads)
{
    gq_attention       a = gq_attention_of(c);
    gq_attention_table t = gq_attention_table_of(c);
    return backward ? larger(table_bytes(&a, &t) + score_bytes(&a, 2), gq_attention_fused_temp(&a))
                    : larger(score_bytes(&a, 1), gq_attention_decode_temp(&a));
}
