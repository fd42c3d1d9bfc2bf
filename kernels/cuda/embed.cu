/* embed.cu - lookups: embed (y = table[ids] + base) and gather_rows (y = x[idx], zeros where idx < 0).
 *
 * Shapes: table or x [V,D], ids [R], y and base [R,D]; sizes in the model: wte [50257,768] with R = 64 x 40
 * token ids, wpe [1024,768] with R = 64 x 296, the visual rows [64 x 256,768]. T = 2 or 4 bytes, G = bytes of
 * the gradient (4 for a parameter). All kernels are bound by memory; roof = copy bandwidth.
 *
 * lookup: reads R (4 + D T) and R D T of base, writes R D T. A warp per row, 16 bytes per lane.
 *
 * scatter: dx[ids[r]] (+)= dy[r], in one launch: reads R D T, writes V D G (what nobody names gets zeros; with "adds"
 *         only the named rows, which are read too), and for embed writes base's gradient, R D T, in the same pass.
 *         Of SETS blocks, block b owns the destinations v with v % SETS = b. It reads all ids (SETS R 4 bytes from
 *         L2: 9 MB for 16 K rows, some 2 us), keeps those of its rows in shared memory in the order of r, and then
 *         a warp per kept row that begins a run (the rows of one id) adds the run's rows in the order of r, in
 *         float, and writes once. So no sort, no counters, no atomics on what is summed, and the bits do not
 *         depend on the number of blocks.
 *          - A run of up to SHORT rows: one warp for the row, SLICES x 16 bytes a lane under way.
 *          - A longer one: a warp per slice of 32 columns x 4 bytes, DEPTH rows under way. L rows take L/16 memory
 *            latencies of about 0.7 us: 1000 padding tokens 45 us, however few bytes they are. That is the price of
 *            row order.
 *         A block that owns more than LISTED rows looks at the ids in memory instead of its list.
 *
 * H200, bf16: gather_rows [16768,768] in 18,432 rows, 54 MB, 24 us (2.2 TB/s); wpe [64,288,768] with base, 58 MB,
 * 59 us (1.0 TB/s). Every block looks at all ids, and a row is one memory latency: more of them under way is what is
 * missing.
 */
#include "kernels/cuda/lanes.h"

namespace {

enum {
    BLOCK = 256, WARPS = BLOCK / 32,
    OWNER = 768, OWNER_WARPS = OWNER / 32,          /* threads of scatter: 80 registers each         */
    SETS = 128,                                     /* a block per multiprocessor (132)              */
    LISTED = 4096,                                  /* rows in a block's list, 32 KB                 */
    SHORT = 4, SLICES = 3,                          /* 3 x 32 lanes x 8 bf16: the model's 768        */
    DEPTH = 16,                                     /* rows of a longer run under way                */
    IDS = 8,                                        /* ids of a thread under way                     */
};

/* ---- forward --------------------------------------------------------------------------------- */

template <class T, int N>
__global__ void lookup(const T *__restrict__ x, const int32_t *__restrict__ ids, const T *__restrict__ base,
                       T *__restrict__ y, int64_t R, int64_t D)
{
    int64_t r = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32;
    if (r >= R)
        return;
    int64_t id = ids[r];
#pragma unroll 4
    for (int64_t d = threadIdx.x % 32 * N; d < D; d += 32 * N) {
        T *to = y + r * D + d;
        if (id < 0) {
            gq_lane_zero<N>(to);
            continue;
        }
        gq_lane<T, N> v = gq_lane_at<N>(x + id * D + d);
        if (base) {
            gq_lane<T, N> b = gq_lane_at<N>(base + r * D + d);
            for (int i = 0; i < N; i++)
                gq_save(&v.x[i], gq_load(v.x[i]) + gq_load(b.x[i]));
        }
        gq_lane_save<N>(to, v);
    }
}

template <class T> void start_lookup(const gq_call *c, int table, const int32_t *ids, const void *base)
{
    constexpr int N = gq_between<T, T>::N;
    const T      *x = (const T *)c->in[table].p, *b = (const T *)base;
    T            *y = (T *)c->out[0].p;
    int64_t       R = gq_rows(&c->out[0]), D = gq_cols(&c->out[0]);
    if (D % N == 0 && gq_aligned16(x) && gq_aligned16(y) && gq_aligned16(b))
        GQ_LAUNCH(gq_cuda_of(c), (lookup<T, N>), gq_blocks(R, WARPS), BLOCK, 0, x, ids, b, y, R, D);
    else
        GQ_LAUNCH(gq_cuda_of(c), (lookup<T, 1>), gq_blocks(R, WARPS), BLOCK, 0, x, ids, b, y, R, D);
}

/* ---- backward -------------------------------------------------------------------------------- */

template <class S, class G> struct scatter_job {
    const int32_t *ids;                             /* [R]; negative: goes nowhere                   */
    int64_t        R, V, D;
    int            sets;                            /* a power of two                                */
    const S       *dy;
    G             *dx;
    S             *base;                            /* gradient of base, or NULL                     */
    bool           adds, base_adds;
};

struct named { int32_t id, r; };

/* What a block chooses from: its list, or all ids. */
struct names {
    const named   *list;                            /* NULL: all ids                                 */
    const int32_t *ids;
    int64_t        n;
    int            sets;
};

__device__ __forceinline__ bool is_mine(int32_t id, int sets)
{
    return ((uint32_t)id & (0x80000000u | (uint32_t)(sets - 1))) == blockIdx.x;
}
/* Entry i, id -1 where there is none. */
__device__ __forceinline__ named name_at(const names &of, int64_t i)
{
    if (i >= of.n)
        return {-1, 0};
    if (of.list)
        return of.list[i];
    return {is_mine(of.ids[i], of.sets) ? of.ids[i] : -1, (int32_t)i};
}

/* This block's rows of ids[lo..hi), in order, to `to` unless it is NULL; how many. A warp. */
__device__ int pick(const int32_t *__restrict__ ids, int64_t lo, int64_t hi, int sets, named *to)
{
    int lane = (int)threadIdx.x % 32, n = 0;
    for (int64_t from = lo; from < hi; from += 32 * IDS) {
        int32_t id[IDS];
#pragma unroll
        for (int u = 0; u < IDS; u++)
            id[u] = from + u * 32 + lane < hi ? ids[from + u * 32 + lane] : -1;
#pragma unroll
        for (int u = 0; u < IDS; u++) {
            unsigned some = __ballot_sync(0xffffffffu, is_mine(id[u], sets));
            if (to && is_mine(id[u], sets))
                to[n + __popc(some & ((1u << lane) - 1))] = {id[u], (int32_t)(from + u * 32 + lane)};
            n += __popc(some);
        }
    }
    return n;
}

/* Whether an entry before `end` has this id. A warp. */
__device__ bool is_named(const names &of, int64_t end, int32_t id)
{
    for (int64_t from = 0; from < end; from += 32) {
        int64_t i = from + threadIdx.x % 32;
        if (__any_sync(0xffffffffu, i < end && name_at(of, i).id == id))
            return true;
    }
    return false;
}

/* Lane first + t gets in *row what the t-th lane of `some` has in r; first + how many. A warp. */
__device__ __forceinline__ int gathered(unsigned some, int32_t r, int first, int32_t *row)
{
    for (; some; some &= some - 1, first++) {
        int32_t next = __shfl_sync(0xffffffffu, r, __ffs((int)some) - 1);
        if ((int)threadIdx.x % 32 == first)
            *row = next;
    }
    return first;
}

/* The rows of the run that begins at entry e, up to SHORT: lane t gets the t-th. How many, or SHORT + 1. */
__device__ int short_run(const names &of, int64_t e, int32_t id, int32_t *row)
{
    int n = 0;
    for (int64_t from = e; from < of.n; from += 32) {
        named    at = name_at(of, from + threadIdx.x % 32);
        unsigned some = __ballot_sync(0xffffffffu, at.id == id);
        if (n + __popc(some) > SHORT)
            return SHORT + 1;
        n = gathered(some, at.r, n, row);
    }
    return n;
}

template <class S, class G, int N>
__device__ void add_row(const scatter_job<S, G> &o, int64_t at, const gq_lane<S, N> &v, float sum[N])
{
    float x[N];
    for (int e = 0; e < N; e++) {
        x[e] = gq_load(v.x[e]);
        sum[e] += x[e];
    }
    if (o.base)
        gq_lane_put<N>(o.base + at, o.base_adds, x);
}

/* n <= SHORT rows, lane t has the t-th: all columns. */
template <class S, class G, int N>
__device__ void sum_short(const scatter_job<S, G> &o, int32_t id, int n, int32_t row)
{
    for (int64_t from = (int64_t)threadIdx.x % 32 * N; from - threadIdx.x % 32 * N < o.D; from += SLICES * 32 * N) {
        float sum[SLICES][N] = {};
        for (int t = 0; t < n; t++) {
            gq_lane<S, N> v[SLICES];
            int64_t       at = (int64_t)__shfl_sync(0xffffffffu, row, t) * o.D + from;
#pragma unroll
            for (int k = 0; k < SLICES; k++)
                if (from + k * 32 * N < o.D)
                    v[k] = gq_lane_at<N>(o.dy + at + k * 32 * N);
#pragma unroll
            for (int k = 0; k < SLICES; k++)
                if (from + k * 32 * N < o.D)
                    add_row<S, G, N>(o, at + k * 32 * N, v[k], sum[k]);
        }
#pragma unroll
        for (int k = 0; k < SLICES; k++)
            if (from + k * 32 * N < o.D)
                gq_lane_put<N>(o.dx + (int64_t)id * o.D + from + k * 32 * N, o.adds, sum[k]);
    }
}

/* All rows of the run that begins at entry e: columns d.. of the lane. */
template <class S, class G, int N>
__device__ void sum_slice(const scatter_job<S, G> &o, const names &of, int64_t e, int32_t id, int64_t d)
{
    float   sum[N] = {};
    int32_t row = 0;
    for (; e < of.n; e += 32) {
        named    at = name_at(of, e + threadIdx.x % 32);
        unsigned some = __ballot_sync(0xffffffffu, at.id == id);
        int      n = gathered(some, at.r, 0, &row);
        for (int t = 0; t < n; t += DEPTH) {
            gq_lane<S, N> v[DEPTH];
#pragma unroll
            for (int u = 0; u < DEPTH; u++) {
                int64_t r = __shfl_sync(0xffffffffu, row, (t + u) % 32);
                if (t + u < n && d < o.D)
                    v[u] = gq_lane_at<N>(o.dy + r * o.D + d);
            }
#pragma unroll
            for (int u = 0; u < DEPTH; u++) {       /* again: registers would not do for addresses  */
                int64_t r = __shfl_sync(0xffffffffu, row, (t + u) % 32);
                if (t + u < n && d < o.D)
                    add_row<S, G, N>(o, r * o.D + d, v[u], sum);
            }
        }
    }
    if (d < o.D)
        gq_lane_put<N>(o.dx + (int64_t)id * o.D + d, o.adds, sum);
}

/* Zeros for the block's destinations that nobody names. */
template <class S, class G, int N> __device__ void zero_unnamed(const scatter_job<S, G> &o, const names &of)
{
    int64_t each = (int64_t)o.sets * OWNER_WARPS;
    for (int64_t v = blockIdx.x + (int64_t)o.sets * (threadIdx.x / 32); v < o.V; v += each)
        if (!is_named(of, of.n, (int32_t)v))
            for (int64_t d = threadIdx.x % 32 * N; d < o.D; d += 32 * N)
                gq_lane_zero<N>(o.dx + v * o.D + d);
}

template <class S, class G, int N> __global__ void __launch_bounds__(OWNER) scatter_rows(const scatter_job<S, G> o)
{
    constexpr int WORD = N == 1 ? 1 : 4 / sizeof(S);
    GQ_SHARED(named, list, [LISTED]);
    GQ_SHARED(int, rows, [OWNER_WARPS]);
    GQ_SHARED(int, longs, [LISTED / SHORT]);        /* where the longer runs of the list begin       */
    GQ_SHARED(int, many, [1]);
    int     warp = threadIdx.x / 32, lane = threadIdx.x % 32, before = 0, all = 0;
    int64_t each = (o.R + OWNER - 1) / OWNER * 32, lo = warp * each, hi = lo + each < o.R ? lo + each : o.R;
    int     n = pick(o.ids, lo, hi, o.sets, NULL);
    if (lane == 0)
        rows[warp] = n;
    if (threadIdx.x == 0)
        many[0] = 0;
    __syncthreads();
    for (int w = 0; w < OWNER_WARPS; w++) {
        before += w < warp ? rows[w] : 0;
        all += rows[w];
    }
    names of = {all <= LISTED ? list : NULL, o.ids, all <= LISTED ? all : o.R, o.sets};
    if (of.list)
        pick(o.ids, lo, hi, o.sets, list + before);
    __syncthreads();
    for (int64_t e = warp; e < of.n; e += OWNER_WARPS) {
        int32_t id = name_at(of, e).id, row = 0;
        if (id < 0 || is_named(of, e, id))
            continue;
        n = short_run(of, e, id, &row);
        if (n <= SHORT)
            sum_short<S, G, N>(o, id, n, row);
        else if (of.list && lane == 0)
            longs[atomicAdd(many, 1)] = (int)e;     /* in any order: each is summed by itself        */
    }
    if (!o.adds)
        zero_unnamed<S, G, N>(o, of);
    __syncthreads();
    int64_t slices = (o.D + 32 * WORD - 1) / (32 * WORD), runs = of.list ? many[0] : o.R;
    for (int64_t w = warp; w < runs * slices; w += OWNER_WARPS) {
        int64_t e = of.list ? longs[w / slices] : w / slices;
        int32_t id = name_at(of, e).id, row = 0;
        if (!of.list && (id < 0 || is_named(of, e, id) || short_run(of, e, id, &row) <= SHORT))
            continue;
        sum_slice<S, G, WORD>(o, of, e, id, (w % slices * 32 + lane) * WORD);
    }
}

template <class S, class G> void start_scatter(const gq_call *c, scatter_job<S, G> o)
{
    constexpr int N = gq_between<S, G>::N;
    gq_cuda      *d = gq_cuda_of(c);
    o.sets = 1;
    while (o.sets < o.V && (o.sets < SETS || o.R / o.sets > LISTED / 2))
        o.sets *= 2;
    if (o.D % N == 0 && gq_aligned16(o.dy) && gq_aligned16(o.dx) && gq_aligned16(o.base))
        GQ_LAUNCH(d, (scatter_rows<S, G, N>), o.sets, OWNER, 0, o);
    else
        GQ_LAUNCH(d, (scatter_rows<S, G, 1>), o.sets, OWNER, 0, o);
}

/* din[k] = (or +=) the rows of dout, each at its id; base: of embed, to be written too. */
void scatter(const gq_call *c, int k, const gq_buf *ids, void *base, bool base_adds)
{
    int64_t R = gq_size(ids), V = gq_rows(&c->in[k]), D = gq_cols(&c->in[k]);
    GQ_REAL2(c->dout[0].dtype, S, c->din[k].dtype, G,
             (start_scatter<S, G>(c, {(const int32_t *)ids->p, R, V, D, 0, (const S *)c->dout[0].p, (G *)c->din[k].p,
                                      (S *)base, gq_adds(c, k), base_adds})));
}

}

extern "C" void gq_cuda_embed_fwd(const gq_call *c)
{
    GQ_REAL(c->out[0].dtype, T, start_lookup<T>(c, 1, (const int32_t *)c->in[0].p, c->in[2].p));
}

extern "C" void gq_cuda_embed_bwd(const gq_call *c)
{
    if (gq_nothing_arrives(c))
        return;
    int64_t n = gq_size(&c->out[0]);
    bool    both = c->din[1].p && c->din[2].dtype == c->dout[0].dtype;     /* in one pass over dout      */
    if (c->din[1].p)
        scatter(c, 1, &c->in[0], both ? c->din[2].p : NULL, gq_adds(c, 2));
    if (c->din[2].p && !both)
        gq_cuda_convert(gq_cuda_of(c), c->din[2].p, c->din[2].dtype, c->dout[0].p, c->dout[0].dtype, n, gq_adds(c, 2));
}

extern "C" void gq_cuda_gather_rows_fwd(const gq_call *c)
{
    GQ_REAL(c->out[0].dtype, T, start_lookup<T>(c, 0, (const int32_t *)c->in[1].p, NULL));
}

extern "C" void gq_cuda_gather_rows_bwd(const gq_call *c)
{
    if (!gq_nothing_arrives(c) && c->din[0].p)
        scatter(c, 0, &c->in[1], NULL, false);
}
