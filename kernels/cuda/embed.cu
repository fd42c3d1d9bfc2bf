/* embed.cu - lookups: embed (y = table[ids] + base) and gather_rows (y = x[idx], zeros where idx < 0).
 *
 * Shapes: table or x [V,D], ids [R], y and base [R,D]; sizes in the model: wte [50257,768] with R = 64 x 40
 * token ids, wpe [1024,768] with R = 64 x 296, the visual rows [64 x 256,768]. T = 2 or 4 bytes, G = bytes of
 * the gradient (4 for a parameter). All kernels are bound by memory; roof = copy bandwidth.
 *
 * lookup: reads R (4 + D T) and R D T of base, writes R D T. A warp per row, 16 bytes per lane.
 *
 * Backward, dx[ids[r]] += dy[r]: repeats are added in the order of r, without atomics:
 *  - cudaMemsetAsync, unless the gradient is added to: writes V D G (wte: 154 MB). Rows that are named are
 *    written once more; finding the others first would cost a pass over V and save at most R/V of it.
 *  - sort_tiles: a block makes keys (id, r) of TILE rows and sorts them in shared memory by a bitonic network.
 *    R (4 + 8) bytes, log2(TILE) (log2(TILE) + 1) / 2 = 66 steps between barriers: bound by latency, not bytes.
 *  - merge_tiles, only when R > TILE: keys differ, so a key's place is its place in its tile plus, for
 *    every other tile, the keys there that are smaller: a binary search each, in L1/L2. 16 R bytes of memory and
 *    11 (R/TILE - 1) dependent steps per row: 77 for 16 K rows (some 5 us), 341 for 64 K (some 20 us, where the
 *    pass over dy takes 30).
 *  - sum_rows: a warp per sorted position and slice of columns; it returns unless its position begins a
 *    run of one id, else it adds the run's rows in order in float, 128 bytes of a lane under way (16 rows of
 *    bf16 for a float table), and writes once. Reads R D T, writes D G per distinct id.
 * A run of L rows takes L/16 memory latencies of about 0.7 us: 1000 padding tokens 45 us, however few bytes
 * they are. That is the price of row order. Not measured on a GPU.
 */
#include "kernels/cuda/lanes.h"

namespace {

enum { BLOCK = 256, WARPS = BLOCK / 32, TILE = 2048 };
constexpr uint32_t NOWHERE = 0xffffffffu;           /* id of rows that go nowhere: sorts last        */

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

/* ---- order: the rows by (id, r) -------------------------------------------------------------- */

__device__ __forceinline__ uint32_t id_of(uint64_t key) { return (uint32_t)(key >> 32); }

/* span: a power of two, TILE or, of a single tile, at least R */
__global__ void sort_tiles(const int32_t *ids, int64_t R, int span, uint64_t *keys)
{
    GQ_SHARED(uint64_t, key, [TILE]);
    int64_t first = (int64_t)blockIdx.x * TILE;
    int     lane = (int)threadIdx.x, threads = (int)blockDim.x;
    for (int i = lane; i < span; i += threads) {
        int64_t  r = first + i;
        uint32_t id = r < R && ids[r] >= 0 ? (uint32_t)ids[r] : NOWHERE;
        key[i] = r < R ? (uint64_t)id << 32 | (uint64_t)r : ~(uint64_t)0;
    }
    for (int run = 2; run <= span; run *= 2)
        for (int apart = run / 2; apart > 0; apart /= 2) {
            __syncthreads();
            for (int pair = lane; pair < span / 2; pair += threads) {
                int      low = 2 * pair - (pair & (apart - 1)), high = low + apart;
                uint64_t a = key[low], b = key[high];
                if ((a > b) == ((low & run) == 0)) {
                    key[low] = b;
                    key[high] = a;
                }
            }
        }
    __syncthreads();
    for (int i = lane; i < span && first + i < R; i += threads)
        keys[first + i] = key[i];
}

/* How many of key[0..n), ascending, are below k. */
__device__ __forceinline__ int64_t below(const uint64_t *key, int64_t n, uint64_t k)
{
    int64_t low = 0;
    while (n > 0) {
        int64_t half = n / 2;
        bool    right = key[low + half] < k;
        low = right ? low + half + 1 : low;
        n = right ? n - half - 1 : half;
    }
    return low;
}

__global__ void merge_tiles(const uint64_t *keys, int64_t R, uint64_t *sorted)
{
    int64_t i = (int64_t)blockIdx.x * BLOCK + threadIdx.x, own = i / TILE, place = i % TILE;
    if (i >= R)
        return;
    for (int64_t tile = 0; tile * TILE < R; tile++)
        if (tile != own) {
            int64_t first = tile * TILE, end = first + TILE;
            place += below(keys + first, (end < R ? end : R) - first, keys[i]);
        }
    sorted[place] = keys[i];
}

/* ---- backward -------------------------------------------------------------------------------- */

template <class S, class G, int N>
__global__ void __launch_bounds__(BLOCK, 3)
sum_rows(const uint64_t *__restrict__ keys, int64_t R, const S *__restrict__ dy, int64_t D, int64_t slices,
         G *__restrict__ dx, bool adds)
{
    constexpr int DEPTH = N == 1 ? 8 : 128 / (N * sizeof(S));          /* rows under way: 32 registers */
    int64_t  w = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32, i = w / slices;
    int      lane = (int)threadIdx.x % 32;
    int64_t  d = (w % slices * 32 + lane) * N;
    if (i >= R)
        return;                                     /* as the next one: the whole warp               */
    uint64_t key = i + lane < R ? keys[i + lane] : ~(uint64_t)0;
    uint32_t id = __shfl_sync(0xffffffffu, id_of(key), 0), before = i > 0 ? id_of(keys[i - 1]) : NOWHERE;
    if (id == NOWHERE || id == before)
        return;
    float sum[N] = {};
    for (;;) {
        unsigned mine = __ballot_sync(0xffffffffu, id_of(key) == id);      /* which of 32 positions are of this run */
        for (int t = 0; t < 32 && mine >> t & 1u; t += DEPTH) {
            gq_lane<S, N> v[DEPTH];
#pragma unroll
            for (int u = 0; u < DEPTH; u++) {
                uint32_t r = __shfl_sync(0xffffffffu, (uint32_t)key, t + u);
                if (mine >> (t + u) & 1u && d < D)
                    v[u] = gq_lane_at<N>(dy + (int64_t)r * D + d);
            }
#pragma unroll
            for (int u = 0; u < DEPTH; u++)
                if (mine >> (t + u) & 1u && d < D)
                    for (int e = 0; e < N; e++)
                        sum[e] += gq_load(v[u].x[e]);
        }
        if (mine != 0xffffffffu)
            break;
        i += 32;
        key = i + lane < R ? keys[i + lane] : ~(uint64_t)0;
    }
    if (d < D)
        gq_lane_put<N>(dx + (int64_t)id * D + d, adds, sum);
}

template <class S, class G, int N>
void start_sum_as(const gq_call *c, const uint64_t *keys, int64_t R, const S *dy, int64_t D, G *dx, bool adds)
{
    int64_t slices = (D + 32 * N - 1) / (32 * N);
    GQ_LAUNCH(gq_cuda_of(c), (sum_rows<S, G, N>), gq_blocks(R * slices, WARPS), BLOCK, 0, keys, R, dy, D, slices, dx,
              adds);
}

template <class S, class G> void start_sum(const gq_call *c, int k, const uint64_t *keys, int64_t R)
{
    constexpr int N = gq_between<S, G>::N;
    const S      *dy = (const S *)c->dout[0].p;
    G            *dx = (G *)c->din[k].p;
    int64_t       D = gq_cols(&c->in[k]);
    if (D % N == 0 && gq_aligned16(dy) && gq_aligned16(dx))
        start_sum_as<S, G, N>(c, keys, R, dy, D, dx, gq_adds(c, k));
    else
        start_sum_as<S, G, 1>(c, keys, R, dy, D, dx, gq_adds(c, k));
}

/* din[k] = (or +=) the rows of dout, each at its id */
void scatter(const gq_call *c, int k, const int32_t *ids, int64_t R)
{
    gq_cuda  *d = gq_cuda_of(c);
    uint64_t *keys = (uint64_t *)c->work->temp;
    int       span = 2;
    if (!gq_adds(c, k))
        gq_cuda_zero(c, &c->din[k]);
    while (span < TILE && span < R)
        span *= 2;
    GQ_LAUNCH(d, sort_tiles, gq_blocks(R, TILE), span < 64 ? 32 : span / 2, 0, ids, R, span, keys);
    if (R > TILE) {
        GQ_LAUNCH(d, merge_tiles, gq_blocks(R, BLOCK), BLOCK, 0, keys, R, keys + R);
        keys += R;
    }
    GQ_REAL2(c->dout[0].dtype, S, c->din[k].dtype, G, (start_sum<S, G>(c, k, keys, R)));
}

size_t scatter_temp(int64_t R) { return (size_t)R * sizeof(uint64_t) * (R > TILE ? 2 : 1); }

}

extern "C" void gq_cuda_embed_fwd(const gq_call *c)
{
    GQ_REAL(c->out[0].dtype, T, start_lookup<T>(c, 1, (const int32_t *)c->in[0].p, c->in[2].p));
}

extern "C" void gq_cuda_embed_bwd(const gq_call *c)
{
    if (gq_nothing_arrives(c))
        return;
    if (c->din[1].p)
        scatter(c, 1, (const int32_t *)c->in[0].p, gq_size(&c->in[0]));
    int64_t n = gq_size(&c->out[0]);
    if (c->din[2].p)                                /* one row of n: a copy                          */
        gq_cuda_sum_over(gq_cuda_of(c), c->dout[0].dtype, c->dout[0].p, 1, n, n, c->din[2].p, c->din[2].dtype,
                         gq_adds(c, 2));
}

extern "C" size_t gq_cuda_embed_temp(const gq_call *c, int backward, int threads)
{
    return backward ? scatter_temp(gq_size(&c->in[0])) : 0;
}

extern "C" void gq_cuda_gather_rows_fwd(const gq_call *c)
{
    GQ_REAL(c->out[0].dtype, T, start_lookup<T>(c, 0, (const int32_t *)c->in[1].p, NULL));
}

extern "C" void gq_cuda_gather_rows_bwd(const gq_call *c)
{
    if (!gq_nothing_arrives(c) && c->din[0].p)
        scatter(c, 0, (const int32_t *)c->in[1].p, gq_size(&c->in[1]));
}

extern "C" size_t gq_cuda_gather_rows_temp(const gq_call *c, int backward, int threads)
{
    return backward ? scatter_temp(gq_size(&c->in[1])) : 0;
}
