/* lm_loss.cu - cross entropy of the rows that have a label.
 *
 * z = hidden[rows] wte^T; lse_r = log sum_v exp z_rv; nll_r = lse_r - z_r,label; loss = inv_denom sum_r nll_r.
 * Backward: dz = (exp(z - lse) - onehot) inv_denom dloss; dhidden[rows] += dz wte, dwte += dz^T hidden[rows].
 *
 * Logits are made PIECE rows at a time: one product reads all of wte (2 V D bytes in bf16, 77 MB for GPT-2),
 * so a piece has as many rows as make the tensor cores, not that reading, the limit (about 200 on a Hopper).
 * Their gradients are kept, in the backend's type, for GROUP rows, because the product for dwte reads and
 * writes 8 V D bytes of float sums whatever its number of rows. With at most GQ_LM_CHUNK rows the logits are
 * those of the save buffer, and backward uses them again; more rows are a matter of temp, where rows are
 * padded to 16 bytes (V = 50257 is odd, and a product whose rows are not aligned takes a slower kernel).
 *
 *   gather          [count,D] <- hidden [n,D] by index, zeros in rows not counted: reads and writes
 *                   count D sizeof(T). A block per row. Copy bandwidth.
 *   row_losses      a block per row of z [count,V] float: one pass, reads 4 V per row. Each thread keeps the
 *                   largest logit so far and the sum of exponentials relative to it; pairs are merged by a
 *                   butterfly in the warp, then by one over the warps. L2 bandwidth (a piece has 51 MB).
 *   add_losses      loss <- stats [R,2] by one block, runs of rows added by index in double.
 *   dlogits         [count,V] T <- z, lse: reads 4 V, writes V sizeof(T) per row. Copy bandwidth.
 *   scatter         dhidden <- dx [R,D] float: the block of the first row r that names a hidden row adds all
 *                   rows that name it, by index; rows not named were filled with zeros. Moves
 *                   R D (4 + 2 sizeof(T)), and R^2 index comparisons per 512 columns.
 *
 * row_losses and dlogits read single floats: neighbouring threads read neighbouring elements, full lines
 * whatever the alignment of the row, and the order of the sums does not depend on it.
 * Reductions: fixed by R, V and D. H200, 384 x 50257 x 768: 425 us forward, 765 backward.
 */
#include "kernels/cuda/eight.h"
#include "kernels/cuda/lanes.h"

namespace {

enum {
    NOT_COUNTED = -100,
    PIECE = 256,                        /* rows whose logits are in memory together               */
    GROUP = 1024,                       /* rows whose gradients of logits are                     */
    AHEAD = 8,                          /* loads of a thread under way                            */
    MOST_THREADS = 1024,
    COPY_THREADS = 128,
};

/* ---- rows ------------------------------------------------------------------------------------ */

/* U: one element of T, or 16 bytes; width: a row in U */
template <class U>
__global__ void gather(const U *hidden, const int32_t *rows, const int32_t *labels, int64_t width, U *x)
{
    int64_t r = blockIdx.x;
    bool    counted = labels[r] != NOT_COUNTED;
    const U *from = hidden + rows[r] * width;
    for (int64_t i = threadIdx.x; i < width; i += blockDim.x)
        x[r * width + i] = counted ? from[i] : U();
}

/* dh[rows[r]] += sum of dx over the rows that name the same hidden row, in order */
template <class G>
__global__ void __launch_bounds__(COPY_THREADS)
    scatter(const float *dx, int64_t D, const int32_t *rows, const int32_t *labels, int64_t R, G *dh)
{
    enum { WARPS = COPY_THREADS / 32, COLUMNS = 4 };
    GQ_SHARED(unsigned, named, [WARPS]);
    int64_t r = blockIdx.x, column = (int64_t)blockIdx.y * COPY_THREADS * COLUMNS + threadIdx.x;
    int32_t row = rows[r];
    float   sum[COLUMNS] = {};
    if (labels[r] == NOT_COUNTED)
        return;
    for (int64_t base = 0; base < R; base += COPY_THREADS) {
        int64_t  j = base + threadIdx.x;
        unsigned mask = __ballot_sync(0xffffffffu, j < R && rows[j] == row && labels[j] != NOT_COUNTED);
        if (threadIdx.x % 32 == 0)
            named[threadIdx.x / 32] = mask;
        __syncthreads();
        for (int64_t w = 0, found = base; w < WARPS; w++, found += 32) {
            mask = named[w];
            for (int b = 0; b < 32 && mask >> b != 0; b++) {
                if (!(mask >> b & 1u))
                    continue;
                if (found + b < r)      /* that row's block does it                               */
                    return;
                for (int k = 0; k < COLUMNS; k++)
                    if (column + k * COPY_THREADS < D)
                        sum[k] += dx[(found + b) * D + column + k * COPY_THREADS];
            }
        }
        __syncthreads();
    }
    for (int k = 0; k < COLUMNS; k++)
        if (column + k * COPY_THREADS < D)
            gq_put(dh + row * D + column + k * COPY_THREADS, true, sum[k]);
}

/* ---- losses ---------------------------------------------------------------------------------- */

/* Of some logits: the largest, the lowest index that has it, the sum of exp(z - top). */
struct running { float top, sum; int at; };

static __device__ __forceinline__ running merged(running a, running b)
{
    running m = b.top > a.top || (b.top == a.top && b.at < a.at) ? b : a;
    if (m.top != -INFINITY)             /* else nothing has been seen, and sum is 0               */
        m.sum = a.sum * expf(a.top - m.top) + b.sum * expf(b.top - m.top);
    return m;
}

static __device__ __forceinline__ running merged_in_warp(running a)
{
    for (int o = 16; o > 0; o >>= 1) {
        running b;
        b.top = __shfl_xor_sync(0xffffffffu, a.top, o);
        b.sum = __shfl_xor_sync(0xffffffffu, a.sum, o);
        b.at = __shfl_xor_sync(0xffffffffu, a.at, o);
        a = merged(a, b);
    }
    return a;
}

/* This thread's share of a row: elements threadIdx.x, + blockDim.x, ... */
static __device__ __forceinline__ running share_of(const float *z, int V)
{
    running a = {-INFINITY, 0.0f, INT32_MAX};
    for (int first = threadIdx.x; first < V; first += AHEAD * blockDim.x) {
        float x[AHEAD], before = a.top;
#pragma unroll
        for (int k = 0; k < AHEAD; k++) {
            int v = first + k * (int)blockDim.x;
            x[k] = v < V ? z[v] : -INFINITY;
        }
#pragma unroll
        for (int k = 0; k < AHEAD; k++)
            if (x[k] > a.top) {
                a.top = x[k];
                a.at = first + k * (int)blockDim.x;
            }
        if (a.top == -INFINITY)
            continue;
        a.sum *= expf(before - a.top);
#pragma unroll
        for (int k = 0; k < AHEAD; k++)
            a.sum += expf(x[k] - a.top);
    }
    return a;
}

__global__ void __launch_bounds__(MOST_THREADS)
    row_losses(const float *z, int64_t ld, int V, const int32_t *labels, float *stats, float *lse)
{
    GQ_SHARED(running, warp, [32]);
    int     r = blockIdx.x, label = labels[r];
    running a = {-INFINITY, 0.0f, INT32_MAX};
    z += r * ld;
    if (label == NOT_COUNTED) {
        if (threadIdx.x == 0) {
            stats[2 * r] = stats[2 * r + 1] = 0;
            if (lse)
                lse[r] = 0;
        }
        return;
    }
    running mine = merged_in_warp(share_of(z, V));
    if (threadIdx.x % 32 == 0)
        warp[threadIdx.x / 32] = mine;
    __syncthreads();
    if (threadIdx.x >= 32)
        return;
    if (threadIdx.x < blockDim.x / 32)
        a = warp[threadIdx.x];
    a = merged_in_warp(a);
    if (threadIdx.x == 0) {
        double l = (double)a.top + log((double)a.sum);
        stats[2 * r] = (float)(l - (double)z[label]);
        stats[2 * r + 1] = a.at == label;
        if (lse)
            lse[r] = (float)l;
    }
}

__global__ void __launch_bounds__(GQ_SUM_THREADS)
    add_losses(const float *stats, int64_t R, const float *inv_denom, float *loss)
{
    double sum = gq_sum_in_order(stats, R, 2);
    if (threadIdx.x == 0)
        *loss = (float)(sum * (double)*inv_denom);
}

/* ---- gradients of logits --------------------------------------------------------------------- */

enum { DLOGITS_THREADS = 256, DLOGITS_COLUMNS = 4 * DLOGITS_THREADS };

template <class T>
__global__ void __launch_bounds__(DLOGITS_THREADS)
    dlogits(const float *z, int64_t ldz, int V, const int32_t *labels, const float *lse, const float *inv_denom,
            const float *dloss, T *dl, int64_t ldl)
{
    int   r = blockIdx.y, label = labels[r], first = blockIdx.x * DLOGITS_COLUMNS + threadIdx.x;
    float factor = *inv_denom * *dloss, l = lse[r];
    z += r * ldz;
    dl += r * ldl;
#pragma unroll
    for (int v = first; v < first + DLOGITS_COLUMNS; v += DLOGITS_THREADS)
        if (v < V)
            gq_save(dl + v, label == NOT_COUNTED ? 0.0f : (expf(z[v] - l) - (float)(v == label)) * factor);
}

/* ---- plan ------------------------------------------------------------------------------------ */

/* Sizes of a call and where in temp its parts lie. */
struct plan {
    int64_t R, V, D, piece, group, ldz, ldl;
    int32_t real;
    bool    kept;                       /* logits are in the save buffer                          */
    size_t  x, z, dl, dx, bytes;
};

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t up_to(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

static size_t place(plan *p, int64_t bytes)
{
    size_t at = p->bytes;
    p->bytes += (size_t)up_to(bytes, 64);
    return at;
}

static plan plan_of(const gq_call *c, bool backward)
{
    plan p = {};
    p.R = gq_size(&c->in[2]);
    p.V = c->in[1].shape[0];
    p.D = gq_cols(&c->in[1]);
    p.real = c->in[0].dtype;
    p.kept = c->save[1].p && p.R <= GQ_LM_CHUNK;
    p.piece = smaller(p.R, PIECE);
    p.group = backward ? smaller(p.R, GROUP) : p.piece;
    p.ldz = p.kept ? p.V : up_to(p.V, 4);
    p.ldl = up_to(p.V, 8);
    int64_t real = (int64_t)gq_dtype_bytes(p.real);
    p.x = place(&p, p.group * p.D * real);
    p.z = place(&p, p.kept ? 0 : p.piece * p.ldz * 4);
    if (backward) {
        p.dl = place(&p, p.group * p.ldl * real);
        p.dx = place(&p, p.R * p.D * 4);
    }
    return p;
}

static char *at(const gq_call *c, size_t offset) { return (char *)c->work->temp + offset; }

static float *logits_at(const gq_call *c, const plan *p)
{
    return p->kept ? (float *)c->save[1].p : (float *)at(c, p->z);
}

static const int32_t *rows_of(const gq_call *c, int64_t first) { return (const int32_t *)c->in[2].p + first; }
static const int32_t *labels_of(const gq_call *c, int64_t first) { return (const int32_t *)c->in[3].p + first; }

/* Hidden rows [first, first + count) of the labelled ones into temp. */
static void gather_rows(const gq_call *c, const plan *p, int64_t first, int64_t count)
{
    gq_cuda       *d = gq_cuda_of(c);
    size_t         size = gq_dtype_bytes(p->real), row = (size_t)p->D * size;
    void          *x = at(c, p->x);
    const void    *h = c->in[0].p;
    const int32_t *rows = rows_of(c, first), *labels = labels_of(c, first);
    unsigned       blocks = (unsigned)count;
    if (gq_aligned16(h) && row % 16 == 0)
        GQ_LAUNCH(d, gather<uint4>, blocks, COPY_THREADS, 0, (const uint4 *)h, rows, labels, (int64_t)(row / 16),
                  (uint4 *)x);
    else
        GQ_REAL(p->real, T, GQ_LAUNCH(d, gather<T>, blocks, COPY_THREADS, 0, (const T *)h, rows, labels, p->D, (T *)x));
}

static gq_gemm product(const plan *p, int64_t m, int64_t n, int64_t k)
{
    gq_gemm g = {};
    g.m = m;
    g.n = n;
    g.k = k;
    g.ldb = g.ldd = p->D;
    g.batch = 1;
    g.type_ab = p->real;
    g.type_d = GQ_F32;
    g.alpha = 1;
    return g;
}

/* z [count,V] of gathered rows x */
static void make_logits(const gq_call *c, const plan *p, const void *x, int64_t count)
{
    gq_gemm g = product(p, count, p->V, p->D);
    g.lda = p->D;
    g.tb = 1;
    g.ldd = p->ldz;
    gq_cuda_gemm(gq_cuda_of(c), &g, x, c->in[1].p, logits_at(c, p), NULL, NULL);
}

/* ---- backward, one group --------------------------------------------------------------------- */

static void group_dlogits(const gq_call *c, const plan *p, int64_t first, int64_t count)
{
    gq_cuda     *d = gq_cuda_of(c);
    const float *lse = (const float *)c->save[0].p, *inv_denom = (const float *)c->in[4].p,
                *dloss = (const float *)c->dout[0].p;
    size_t       size = gq_dtype_bytes(p->real);
    for (int64_t r = 0; r < count; r += p->piece) {
        int64_t n = smaller(p->piece, count - r);
        dim3    grid(gq_blocks(p->V, DLOGITS_COLUMNS), (unsigned)n);
        if (!p->kept)
            make_logits(c, p, at(c, p->x) + (size_t)(r * p->D) * size, n);
        GQ_REAL(p->real, T,
                GQ_LAUNCH(d, dlogits<T>, grid, DLOGITS_THREADS, 0, logits_at(c, p), p->ldz, (int)p->V,
                          labels_of(c, first + r), lse + first + r, inv_denom, dloss,
                          (T *)at(c, p->dl) + r * p->ldl, p->ldl));
    }
}

static void group_products(const gq_call *c, const plan *p, int64_t first, int64_t count)
{
    gq_cuda *d = gq_cuda_of(c);
    if (c->din[0].p) {
        gq_gemm g = product(p, count, p->D, p->V);
        g.lda = p->ldl;
        gq_cuda_gemm(d, &g, at(c, p->dl), c->in[1].p, (float *)at(c, p->dx) + first * p->D, NULL, NULL);
    }
    if (c->din[1].p) {
        gq_gemm g = product(p, p->V, p->D, count);
        g.lda = p->ldl;
        g.ta = 1;
        g.type_d = c->din[1].dtype;
        g.beta = first > 0 || gq_adds(c, 1) ? 1.0f : 0.0f;
        gq_cuda_gemm(d, &g, at(c, p->dl), at(c, p->x), c->din[1].p, NULL, NULL);
    }
}

} // namespace

/* ---- the column ------------------------------------------------------------------------------ */

extern "C" void gq_cuda_lm_loss_fwd(const gq_call *c)
{
    gq_cuda *d = gq_cuda_of(c);
    plan     p = plan_of(c, false);
    float   *stats = (float *)c->out[1].p, *lse = (float *)c->save[0].p;
    unsigned threads = (unsigned)smaller(up_to((p.V + 15) / 16, 32), MOST_THREADS);
    for (int64_t r = 0; r < p.R; r += p.piece) {
        int64_t n = smaller(p.piece, p.R - r);
        gather_rows(c, &p, r, n);
        make_logits(c, &p, at(c, p.x), n);
        GQ_LAUNCH(d, row_losses, (unsigned)n, threads, 0, logits_at(c, &p), p.ldz, (int)p.V, labels_of(c, r),
                  stats + 2 * r, lse ? lse + r : NULL);
    }
    GQ_LAUNCH(d, add_losses, 1, GQ_SUM_THREADS, 0, stats, p.R, (const float *)c->in[4].p, (float *)c->out[0].p);
}

extern "C" void gq_cuda_lm_loss_bwd(const gq_call *c)
{
    gq_cuda *d = gq_cuda_of(c);
    plan     p = plan_of(c, true);
    if (gq_nothing_arrives(c))
        return;
    for (int64_t r = 0; r < p.R; r += p.group) {
        int64_t n = smaller(p.group, p.R - r);
        gather_rows(c, &p, r, n);
        group_dlogits(c, &p, r, n);
        group_products(c, &p, r, n);
    }
    if (!c->din[0].p)
        return;
    if (!gq_adds(c, 0))
        gq_cuda_zero(c, &c->din[0]);
    dim3 grid((unsigned)p.R, gq_blocks(p.D, 4 * COPY_THREADS));
    GQ_REAL(c->din[0].dtype, G, GQ_LAUNCH(d, scatter<G>, grid, COPY_THREADS, 0, (const float *)at(c, p.dx), p.D,
                                          rows_of(c, 0), labels_of(c, 0), p.R, (G *)c->din[0].p));
}

extern "C" size_t gq_cuda_lm_loss_temp(const gq_call *c, int backward, int threads)
{
    (void)threads;
    return plan_of(c, backward != 0).bytes;
}
