/* attention.cu - fused attention forward: bf16, head width 32, 64 or 128, tensor cores, any mask, dropout. More than
 * 32 queries of head width 64 are attention64.cu's.
 *
 * kernel forward    o [B,Tq,C] and lse [B,H,Tq] of q [B,Tq,..], k and v [B,Tk,..]: bf16 rows of D per head.
 *                   Moves 2 D (2 Tq + 2 Tk ceil(Tq/64)) + 4 Tq bytes per head for 4 Tq Tk D operations (half with
 *                   the causal mask). The query tiles of a head are neighbours in the grid, so that K and V come
 *                   out of L2 after the first: with the tiles of all heads behind each other a batch of 64 read
 *                   them from memory every time. From memory 110 to 270 operations per byte at 50 to 300 keys: the
 *                   roof is the tensor cores, and in practice the 16 exp per clock, 1 for each 4 D operations, and
 *                   the ldmatrix bandwidth: a warp of 16 rows gets two products out of each, half of what mma.sync
 *                   could do.
 *                   A block owns 16 queries per warp of one head, 4 warps (2 when that is all queries), and goes
 *                   over the keys in tiles of 64 in order, the next tile's copies under way; a query tile's keys
 *                   end at its diagonal or at the sequence's length. Scores never leave registers.
 *                   Softmax is online: per row a maximum, a sum and D running sums, rescaled per tile.
 *                   Reductions: the tensor core's over D and over 16 keys, tiles in order; a row's sum in each
 *                   lane over its keys in order, then the butterfly of 4 lanes.
 *
 * P is rounded to bf16 for its product with V; its sum and lse are of the float values. The factor 1/(1-p) of
 * dropout is applied once, to o. Head 64, 32 queries: 155 registers, 36 KB of shared memory, six blocks per
 * multiprocessor; per warp and key tile 64 products, 36 ldmatrix, 34 exp2, no spills. H200, 512 x 12 heads, 32
 * queries on 32 and 50 keys: 37 us each, 2.8 and 3.5 TB/s, of 4.0 that a copy has.
 */
#include "kernels/cuda/attention.h"

namespace {

enum { KEYS = 64, MOST_BLOCKS = 65535 };                     /* the latter in y and z of a grid     */

const float LOG2_E = 1.44269504088896340736f, LN_2 = 0.69314718055994530942f;

template <int D, int WARPS> constexpr size_t shared_bytes()
{
    return (size_t)(16 * WARPS + 4 * KEYS) * D * sizeof(gq_bf16);
}

struct row_state {                      /* of a lane's two rows: scaled maximum, its part of the sum */
    float top[2], sum[2];
};

/* s = q k^T for 16 queries and KEYS keys */
template <int D>
__device__ __forceinline__ void scores(float s[KEYS / 8][4], const uint32_t q[D / 16][4], gq_bf16 *keys)
{
#pragma unroll
    for (int n = 0; n < KEYS / 8; n++)
        s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0;
#pragma unroll
    for (int step = 0; step < D / 16; step++)
#pragma unroll
        for (int n = 0; n < KEYS / 16; n++) {
            uint32_t b[4];
            gq_tile_b<D>(b, keys, 16 * n, step);
            gq_mma_16816(s[2 * n], q[step], b);
            gq_mma_16816(s[2 * n + 1], q[step], b + 2);
        }
}

/* Scores become exp2(scaled score - top), hidden ones zero; what was summed under the old maximum is rescaled.
 * sees: for both rows, shifted by the lane's first column. */
template <int D>
__device__ __forceinline__ void softmax_tile(float s[KEYS / 8][4], float o[D / 8][4], row_state &r,
                                             const uint64_t sees[2], float scale)
{
#pragma unroll
    for (int row = 0; row < 2; row++) {
        float top = r.top[row], base, shrink, sum = 0;
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
            for (int c = 0; c < 2; c++) {
                float *x = &s[n][2 * row + c];
                *x = sees[row] >> (8 * n + c) & 1 ? *x * scale : -INFINITY;
                top = fmaxf(top, *x);
            }
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
        base = top == -INFINITY ? 0.0f : top;             /* no key seen so far: all exp are 0    */
        shrink = exp2f(r.top[row] - base);
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
            for (int c = 0; c < 2; c++) {
                float *x = &s[n][2 * row + c];
                *x = exp2f(*x - base);
                sum += *x;
            }
        r.sum[row] = fmaf(r.sum[row], shrink, sum);
        r.top[row] = top;
#pragma unroll
        for (int n = 0; n < D / 8; n++) {
            o[n][2 * row] *= shrink;
            o[n][2 * row + 1] *= shrink;
        }
    }
}

template <int D, int WARPS> __global__ void __launch_bounds__(WARPS * 32) forward(gq_attention a)
{
    constexpr int QUERIES = 16 * WARPS, THREADS = 32 * WARPS;
    GQ_DYNAMIC(gq_bf16, tiles);
    gq_bf16 *qs = tiles, *ks = qs + QUERIES * D, *vs = ks + 2 * KEYS * D;
    int      b = (int)blockIdx.z, h = (int)blockIdx.y, pair = b * a.H + h, warp = (int)threadIdx.x / 32;
    int      lane = (int)threadIdx.x % 32, g = lane / 4, t = lane % 4;
    int      i0 = (int)(gridDim.x - 1 - blockIdx.x) * QUERIES;      /* the longest first          */
    int      i = i0 + 16 * warp + g, seen = gq_attention_keys(a, b);
    int      keys = a.causal && i0 + QUERIES < seen ? i0 + QUERIES : seen;
    int      last = keys > 0 ? (keys - 1) / KEYS : 0;
    const gq_bf16 *q = (const gq_bf16 *)a.q + (int64_t)b * a.Tq * a.wq + a.qoff + h * D;
    const gq_bf16 *k = (const gq_bf16 *)a.kv + (int64_t)b * a.Tk * a.wk + a.koff + h * D;
    const gq_bf16 *v = (const gq_bf16 *)a.kv + (int64_t)b * a.Tk * a.wk + a.voff + h * D;
    uint32_t  qa[D / 16][4];
    float     s[KEYS / 8][4], o[D / 8][4] = {};
    row_state r = {{-INFINITY, -INFINITY}, {0, 0}};

    gq_tile_copy<D, QUERIES, THREADS>(qs, q, a.wq, i0, a.Tq);
    gq_tile_copy<D, KEYS, THREADS>(ks, k, a.wk, 0, keys);
    gq_copy_commit();
    gq_tile_copy<D, KEYS, THREADS>(vs, v, a.wk, 0, keys);
    gq_copy_commit();
    for (int tile = 0; tile <= last; tile++) {
        int      j0 = tile * KEYS, now = tile % 2 * KEYS * D, next = (KEYS - tile % 2 * KEYS) * D;
        uint64_t shown, sees[2];
        gq_copy_wait<1>();              /* the keys are here; the values may be under way         */
        __syncthreads();                /* and nobody reads the tile before any more              */
        if (tile < last)
            gq_tile_copy<D, KEYS, THREADS>(ks + next, k, a.wk, j0 + KEYS, keys);
        gq_copy_commit();
        if (tile < last)
            gq_tile_copy<D, KEYS, THREADS>(vs + next, v, a.wk, j0 + KEYS, keys);
        gq_copy_commit();
        if (tile == 0)
#pragma unroll
            for (int step = 0; step < D / 16; step++)
                gq_tile_a<D>(qa[step], qs, 16 * warp, step);
        scores<D>(s, qa, ks + now);
        shown = gq_keys_shown(a, b, seen, j0);
        sees[0] = gq_query_sees(a, shown, seen, i, j0) >> (2 * t);
        sees[1] = gq_query_sees(a, shown, seen, i + 8, j0) >> (2 * t);
        softmax_tile<D>(s, o, r, sees, a.scale * LOG2_E);
        if (a.p > 0.0f)
            gq_drop_tile(s, a, (uint64_t)(((int64_t)pair * a.Tq + i) * a.Tk + j0 + 2 * t));
        gq_copy_wait<2>();              /* the values                                             */
        __syncthreads();
        gq_add_product<D, KEYS / 8>(o, s, vs + now);
    }
    float inverse[2];
#pragma unroll
    for (int row = 0; row < 2; row++) {
        float sum = r.sum[row];
        sum += __shfl_xor_sync(0xffffffffu, sum, 1);
        sum += __shfl_xor_sync(0xffffffffu, sum, 2);
        inverse[row] = sum == 0.0f ? 0.0f : (a.p > 0.0f ? a.keep : 1.0f) / sum;
        if (a.lse && t == 0 && i + 8 * row < a.Tq)
            a.lse[(int64_t)pair * a.Tq + i + 8 * row] = sum == 0.0f ? 0.0f : (r.top[row] + log2f(sum)) * LN_2;
    }
    gq_rows_store<D>((gq_bf16 *)a.o + (int64_t)b * a.Tq * a.C + h * D, a.C, i0 + 16 * warp, a.Tq, false, o, inverse[0],
                     inverse[1], qs + 16 * warp * D);
}

template <int D> void run(gq_cuda *d, const gq_attention *a)
{
    unsigned H = (unsigned)a->H, B = (unsigned)a->B;
    if (a->Tq <= 32)
        GQ_LAUNCH(d, (forward<D, 2>), dim3(1, H, B), dim3(64), (shared_bytes<D, 2>()), *a);
    else
        GQ_LAUNCH(d, (forward<D, 4>), dim3(gq_blocks(a->Tq, 64), H, B), dim3(128), (shared_bytes<D, 4>()), *a);
}

}  // namespace

bool gq_attention_fused_has(const gq_call *c, bool backward)
{
    gq_attention a = gq_attention_of(c);
    bool         has = c->in[0].dtype == GQ_BF16 && !c->in[4].p && (a.D == 32 || a.D == 64 || a.D == 128) &&
               gq_aligned16(a.q) && gq_aligned16(a.kv) && gq_aligned16(a.o) &&
               (a.wq | a.wk | a.qoff | a.koff | a.voff) % 8 == 0 && a.B <= MOST_BLOCKS && a.H <= MOST_BLOCKS;
    if (backward)
        has = has && gq_aligned16(a.d_o) && (!a.dq || (a.dq_type == GQ_BF16 && gq_aligned16(a.dq))) &&
              (!a.dkv || (a.dkv_type == GQ_BF16 && gq_aligned16(a.dkv)));
    return has;
}

void gq_attention_fused_fwd(gq_cuda *d, const gq_attention *a)
{
    if (gq_attention64_fwd(d, a))
        return;
    if (a->D == 32)
        run<32>(d, a);
    else if (a->D == 64)
        run<64>(d, a);
    else
        run<128>(d, a);
}
