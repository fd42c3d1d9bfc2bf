/* adamw.cu - the optimiser: AdamW on one tensor, the sum of squares of an arena, and the whole update of a
 * step without the host.
 *
 * g' = g gscale; m = b1 m + (1-b1) g'; v = b2 v + (1-b2) g'^2; w -= lr (m/c1 / (sqrt(v/c2) + eps) + decay w),
 * where w is the float master (or w itself where there is none), which is then rounded into w.
 *
 *   adamw_tensor, adamw_parts   one thread does eight neighbours at a time, in units of eight from the base of
 *             the arena: 16-byte accesses, single elements only where a part begins or ends within eight. Per
 *             parameter with a master 4+4+4+4 bytes read (g, m, v, master) and 4+4+4+2 written (m, v, master, w
 *             in bf16), 30 together; 28 in float without master. Copy bandwidth. A block does CHUNK elements of
 *             one part.
 *   square_chunks   partial [n/NORM_CHUNK] double <- x: reads 4 bytes per element. Copy bandwidth. Which thread
 *             squares which element is fixed by its index; a tree adds up the threads.
 *   add_squares, finish_norm    one block, partial sums by index.
 *   make_table      one launch over all parts needs to know the part of a block: CHUNK-element pieces of all
 *             parts, listed by one block per part (it adds up the pieces of those before it), 16 bytes each.
 * An update is four launches: square_chunks, finish_norm, make_table, adamw_parts. Whether the gradients are
 * finite and how they are clipped is decided in finish_norm and read by adamw_parts. Reductions depend on n
 * alone. H200: 34 bytes an element with the norm at 4.0 TB/s, 98 % of a copy.
 */
#include "kernels/cuda/eight.h"
#include "kernels/cuda/lanes.h"

namespace {

enum {
    NORM_CHUNK = 65536,
    CHUNK = 16384,
    THREADS = 256,
};

/* ---- AdamW on a range ------------------------------------------------------------------------ */

/* e1 = 1-b1, e2 = 1-b2; rate = lr/c1; root = 1/sqrt(c2); keep = lr * decay */
struct adam { float b1, b2, e1, e2, gscale, rate, root, eps, keep; };

/* Bases of the arenas; master NULL: w itself */
template <class T> struct arenas {
    T           *w;
    float       *master, *m, *v;
    const float *g;
};

template <bool WIDE, class T>
static __device__ __forceinline__ void eight_steps(const adam &a, const arenas<T> &x, int64_t at, int64_t n)
{
    float w[8], g[8], m[8], v[8];
    if (x.master)
        gq_load8<WIDE>(x.master + at, n, w);
    else
        gq_load8<WIDE>(x.w + at, n, w);
    gq_load8<WIDE>(x.g + at, n, g);
    gq_load8<WIDE>(x.m + at, n, m);
    gq_load8<WIDE>(x.v + at, n, v);
#pragma unroll
    for (int k = 0; k < 8; k++) {
        float grad = g[k] * a.gscale;
        m[k] = a.b1 * m[k] + a.e1 * grad;
        v[k] = a.b2 * v[k] + a.e2 * grad * grad;
        w[k] = w[k] - a.keep * w[k] - a.rate * m[k] / (sqrtf(v[k]) * a.root + a.eps);
    }
    gq_save8<WIDE>(x.m + at, n, m);
    gq_save8<WIDE>(x.v + at, n, v);
    if (x.master)
        gq_save8<WIDE>(x.master + at, n, w);
    gq_save8<WIDE>(x.w + at, n, w);
}

/* Elements [lo, hi), by one block. wide: all bases are 16-byte aligned */
template <class T>
static __device__ __forceinline__ void steps(const adam &a, const arenas<T> &x, int64_t lo, int64_t hi, bool wide)
{
    for (int64_t at = (lo / 8 + threadIdx.x) * 8; at < hi; at += THREADS * 8) {
        if (wide && at >= lo && at + 8 <= hi) {
            eight_steps<true>(a, x, at, 8);
        } else {
            int64_t first = at < lo ? lo : at, end = at + 8 < hi ? at + 8 : hi;
            eight_steps<false>(a, x, first, end - first);
        }
    }
}

template <class T>
__global__ void __launch_bounds__(THREADS) adamw_tensor(adam a, arenas<T> x, int64_t n, bool wide)
{
    int64_t lo = (int64_t)blockIdx.x * CHUNK, hi = lo + CHUNK < n ? lo + CHUNK : n;
    steps(a, x, lo, hi, wide);
}

template <class T> static arenas<T> arenas_of(void *w, void *master, void *g, void *m, void *v)
{
    arenas<T> x = {(T *)w, (float *)master, (float *)m, (float *)v, (const float *)g};
    return x;
}

static bool all_aligned(const void *w, const void *master, const void *g, const void *m, const void *v)
{
    return gq_aligned16(w) && gq_aligned16(master) && gq_aligned16(g) && gq_aligned16(m) && gq_aligned16(v);
}

/* ---- sum of squares -------------------------------------------------------------------------- */

/* WIDE: x is 16-byte aligned */
template <bool WIDE>
__global__ void __launch_bounds__(THREADS) square_chunks(const float *x, int64_t n, double *partial)
{
    GQ_SHARED(double, sum, [THREADS]);
    int64_t first = (int64_t)blockIdx.x * NORM_CHUNK;
    double  s = 0;
#pragma unroll 2
    for (int64_t i = first + threadIdx.x * 8; i < first + NORM_CHUNK && i < n; i += THREADS * 8) {
        float v[8];
        if (WIDE && i + 8 <= n)
            gq_load8<true>(x + i, 8, v);
        else
            gq_load8<false>(x + i, n - i, v);
#pragma unroll
        for (int k = 0; k < 8; k++)
            s += (double)v[k] * (double)v[k];
    }
    sum[threadIdx.x] = s;
    for (unsigned half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half)
            sum[threadIdx.x] += sum[threadIdx.x + half];
    }
    if (threadIdx.x == 0)
        partial[blockIdx.x] = sum[0];
}

__global__ void __launch_bounds__(GQ_SUM_THREADS) add_squares(const double *partial, int64_t chunks, double *total)
{
    double sum = gq_sum_in_order(partial, chunks, 1);
    if (threadIdx.x == 0)
        *total = sum;
}

static void start_squares(gq_cuda *d, const void *x, int64_t n, double *partial)
{
    unsigned blocks = gq_blocks(n, NORM_CHUNK);
    if (gq_aligned16(x))
        GQ_LAUNCH(d, square_chunks<true>, blocks, THREADS, 0, (const float *)x, n, partial);
    else
        GQ_LAUNCH(d, square_chunks<false>, blocks, THREADS, 0, (const float *)x, n, partial);
}

/* ---- the update ------------------------------------------------------------------------------ */

struct verdict { float gscale; int32_t applies; };

__global__ void __launch_bounds__(GQ_SUM_THREADS)
    finish_norm(const double *partial, int64_t chunks, const gq_update_scalars *s, const float *loss,
                double *norm, int32_t *halted, verdict *to)
{
    double sum = gq_sum_in_order(partial, chunks, 1);
    if (threadIdx.x != 0)
        return;
    double total = sqrt(sum), scale = s->clip > 0 ? (double)s->clip / (total + 1e-6) : 1.0;
    *norm = total;
    to->gscale = (float)(scale < 1 ? scale : 1.0);
    if (!isfinite(total) || (loss && !isfinite(*loss)))
        *halted = 1;
    to->applies = *halted ? 0 : 1;
}

struct piece { int64_t first; int32_t n, part; };       /* of one part; n 0: none             */

static __device__ __forceinline__ int64_t pieces_of(const gq_update_part *p) { return (p->n + CHUNK - 1) / CHUNK; }

/* Block p lists the pieces of part p after those of the parts before it; block `parts` the rest, which are none. */
__global__ void __launch_bounds__(THREADS)
    make_table(const gq_update_part *part, int32_t parts, piece *table, int64_t most)
{
    GQ_SHARED(int64_t, before, [THREADS]);
    int32_t p = (int32_t)blockIdx.x;
    int64_t sum = 0;
    for (int32_t q = (int32_t)threadIdx.x; q < p; q += THREADS)
        sum += pieces_of(&part[q]);
    before[threadIdx.x] = sum;
    for (unsigned half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half)
            before[threadIdx.x] += before[threadIdx.x + half];
    }
    __syncthreads();
    int64_t count = p < parts ? pieces_of(&part[p]) : most - before[0];
    for (int64_t j = threadIdx.x; j < count; j += THREADS) {
        piece to = {0, 0, 0};
        if (p < parts) {
            int64_t left = part[p].n - j * CHUNK;
            to.first = part[p].first + j * CHUNK;
            to.n = left < CHUNK ? (int32_t)left : CHUNK;
            to.part = p;
        }
        table[before[0] + j] = to;
    }
}

template <class T>
__global__ void __launch_bounds__(THREADS)
    adamw_parts(arenas<T> x, const piece *table, const gq_update_part *part, const gq_update_scalars *scalars,
                const verdict *v, bool wide)
{
    piece p = table[blockIdx.x];
    if (p.n == 0 || !v->applies)
        return;
    gq_update_scalars s = *scalars;
    float             lr = s.lr * part[p.part].lr_mult;
    adam a = {s.beta1,   s.beta2,         1 - s.beta1, 1 - s.beta2,             v->gscale,
              lr / s.c1, 1 / sqrtf(s.c2), s.eps,       lr * part[p.part].decay};
    steps(a, x, p.first, p.first + p.n, wide);
}

/* Where in temp the parts of an update lie, and how many pieces there are at most. */
struct plan { size_t partial, table, bytes; int64_t chunks, most; };

static plan plan_of(int64_t n, int32_t parts)
{
    plan p = {};
    p.chunks = (n + NORM_CHUNK - 1) / NORM_CHUNK;
    p.most = n / CHUNK + parts;         /* every part may end with a piece that is not full       */
    p.partial = 64;                     /* the verdict                                            */
    p.table = p.partial + ((size_t)p.chunks * sizeof(double) + 63) / 64 * 64;
    p.bytes = p.table + (size_t)p.most * sizeof(piece);
    return p;
}

} // namespace

/* ---- the column ------------------------------------------------------------------------------ */

extern "C" void gq_cuda_adamw(const gq_adamw_call *c, gq_work *work)
{
    gq_cuda *d = reinterpret_cast<gq_cuda *>(work->device);
    bool     wide = all_aligned(c->w, c->master, c->g, c->m, c->v);
    adam a = {(float)c->beta1, (float)c->beta2, (float)(1 - c->beta1), (float)(1 - c->beta2), (float)c->gscale,
              (float)(c->lr / c->c1), (float)(1 / sqrt(c->c2)), (float)c->eps, (float)(c->lr * c->decay)};
    GQ_REAL(c->real, T, GQ_LAUNCH(d, adamw_tensor<T>, gq_blocks(c->n, CHUNK), THREADS, 0, a,
                                  arenas_of<T>(c->w, c->master, c->g, c->m, c->v), c->n, wide));
}

/* Waits for the result. Its partial sums are in memory of its own, taken and given back here: it may be
 * called with any workspace, and outside of steps only. */
extern "C" double gq_cuda_sumsq(const void *x, int64_t n, gq_work *work)
{
    gq_cuda *d = reinterpret_cast<gq_cuda *>(work->device);
    int64_t  chunks = (n + NORM_CHUNK - 1) / NORM_CHUNK;
    double   total = NAN, *partial = (double *)work->device->alloc(work->device, (size_t)(chunks + 1) * sizeof(double));
    if (!partial) {
        gq_cuda_fail(d, cudaErrorMemoryAllocation, "sum of squares", __FILE__, __LINE__);
        return total;
    }
    start_squares(d, x, n, partial + 1);
    GQ_LAUNCH(d, add_squares, 1, GQ_SUM_THREADS, 0, partial + 1, chunks, partial);
    work->device->download(work->device, &total, partial, sizeof total);
    work->device->release(work->device, partial);
    return total;
}

extern "C" void gq_cuda_update(const gq_update_call *c, gq_work *work)
{
    gq_cuda *d = reinterpret_cast<gq_cuda *>(work->device);
    plan     p = plan_of(c->n, c->parts);
    char    *temp = (char *)work->temp;
    verdict *v = (verdict *)temp;
    double  *partial = (double *)(temp + p.partial);
    piece   *table = (piece *)(temp + p.table);
    bool     wide = all_aligned(c->w, c->master, c->g, c->m, c->v);
    start_squares(d, c->g, c->n, partial);
    GQ_LAUNCH(d, finish_norm, 1, GQ_SUM_THREADS, 0, partial, p.chunks, c->scalars, (const float *)c->loss, c->norm, c->halted,
              v);
    GQ_LAUNCH(d, make_table, (unsigned)c->parts + 1, THREADS, 0, c->part, c->parts, table, p.most);
    GQ_REAL(c->real, T, GQ_LAUNCH(d, adamw_parts<T>, (unsigned)p.most, THREADS, 0,
                                  arenas_of<T>(c->w, c->master, c->g, c->m, c->v), table, c->part, c->scalars, v,
                                  wide));
}

extern "C" size_t gq_cuda_update_temp(int64_t n, int32_t parts) { return plan_of(n, parts).bytes; }
