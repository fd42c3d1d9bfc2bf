/* attention_bwd.cu - backward of the fused attention: no atomics, two kernels that each own what they write.
 * What attention64.cu does not take comes here.
 *
 *   P_ij = exp(scale <q_i, k_j> - lse_i);  delta_i = <do_i, o_i>;  ds_ij = P_ij (<do_i, v_j> keep_ij / (1-p) - delta_i)
 *   dq_i = scale sum_j ds_ij k_j;  dk_j = scale sum_i ds_ij q_i;  dv_j = sum_i P_ij keep_ij / (1-p) do_i
 *
 * kernel query_gradient   a block owns 16 queries per warp of one head, as the forward, and goes over the keys
 *                         it sees in tiles of 64, in order. Writes dq and, for the other kernel,
 *                         (lse log2 e, delta) of its queries. Moves 2 D (4 Tq + 2 Tk ceil(Tq/64)) + 12 Tq bytes
 *                         per head, 6 Tq Tk D operations.
 * kernel key_gradients    a block owns 16 keys per warp of one head and goes over the queries that see them in
 *                         tiles of 32, in order: dk, dv. All products are transposed (keys are the rows), so
 *                         that P^T and ds^T are operands without passing shared memory. Moves
 *                         2 D (4 Tk + 2 Tq ceil(Tk/64)) + 8 Tq bytes per head, 8 Tq Tk D operations.
 * In both the tiles of a head are neighbours in the grid, so that what they share comes out of L2.
 * Seven products instead of the five of a kernel that adds dq with atomics or through memory: the price of one
 * fixed order. Attention is below 3 % of a step's operations. Roof as in attention.cu.
 * Reductions: the tensor core's over 16, then tiles in order; delta: each lane its 8 columns in order, then the
 * butterfly.
 *
 * P and ds are rounded to bf16 for the products. P is not divided by its sum again as kernels/cpu/sdpa.c does: the
 * float lse makes a row's P wrong by a factor of 1 + 5e-7, while delta comes from an o rounded to bf16, which
 * already leaves a sum of ds of up to 2^-8 sum |do_i o_i|: thousands of times more. fp32 goes the unfused way, which
 * does divide.
 * Head 64: query_gradient 212 registers, 48.5 KB, two blocks per multiprocessor; key_gradients 163, 32.5 KB, three.
 */
#include "kernels/cuda/attention.h"

namespace {

enum { KEYS = 64, QUERIES = 32 };       /* tiles that are gone over                               */

const float LOG2_E = 1.44269504088896340736f;

/* Rows per head of `rows`: (lse log2 e, delta) of each query, padded with (inf, 0), which makes P zero. */
__host__ __device__ inline int padded(int Tq) { return (Tq + QUERIES - 1) / QUERIES * QUERIES; }

template <int D, int WARPS> constexpr size_t query_bytes()
{
    return (size_t)(2 * 16 * WARPS + 4 * KEYS) * D * sizeof(gq_bf16) + 16 * WARPS * sizeof(float2);
}
template <int D, int WARPS> constexpr size_t key_bytes()
{
    return (size_t)(2 * 16 * WARPS + 4 * QUERIES) * D * sizeof(gq_bf16) + 2 * QUERIES * sizeof(float2);
}

/* ---- dq -------------------------------------------------------------------------------------- */

/* rows[0..16) of the warp: (lse log2 e, delta) of queries from i0 on; do is in `grads`, o in memory. */
template <int D>
__device__ __forceinline__ void take_rows(float2 *rows, const gq_attention &a, int pair, int i0, gq_bf16 *grads,
                                          const gq_bf16 *o)
{
    constexpr int PIECES = D / 8;
    int           lane = (int)threadIdx.x % 32, piece = lane % PIECES;
#pragma unroll
    for (int row = lane / PIECES; row < 16; row += 32 / PIECES) {
        int   i = i0 + row;
        float sum = 0;
        if (i < a.Tq) {
            gq_pack<gq_bf16> x = gq_load16(o + (int64_t)i * a.C + 8 * piece),
                             y = gq_load16(gq_tile_at<D>(grads, row, piece));
#pragma unroll
            for (int e = 0; e < 8; e++)
                sum = fmaf(gq_load(x.x[e]), gq_load(y.x[e]), sum);
        }
#pragma unroll
        for (int by = PIECES / 2; by > 0; by >>= 1)
            sum += __shfl_xor_sync(0xffffffffu, sum, by);
        if (piece == 0)
            rows[row] = i < a.Tq ? make_float2(a.lse[(int64_t)pair * a.Tq + i] * LOG2_E, sum)
                                 : make_float2(INFINITY, 0);
    }
}

/* dp becomes ds, of the lane's two queries. */
__device__ __forceinline__ void query_scores(float dp[KEYS / 8][4], const float s[KEYS / 8][4], const float2 row[2],
                                             const uint64_t sees[2], uint32_t kept, float scale, float keep)
{
#pragma unroll
    for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
        for (int x = 0; x < 4; x++) {
            float2 r = row[x / 2];
            float  p = sees[x / 2] >> (8 * n + x % 2) & 1 ? exp2f(fmaf(s[n][x], scale, -r.x)) : 0.0f;
            dp[n][x] = p * ((kept >> (4 * n + x) & 1 ? dp[n][x] * keep : 0.0f) - r.y);
        }
}

template <int D, int WARPS>
__global__ void __launch_bounds__(WARPS * 32, D > 32 ? 2 : 3) query_gradient(gq_attention a, float2 *all_rows)
{
    constexpr int OWN = 16 * WARPS, THREADS = 32 * WARPS;
    GQ_DYNAMIC(gq_bf16, tiles);
    gq_bf16 *qs = tiles, *gs = qs + OWN * D, *ks = gs + OWN * D, *vs = ks + 2 * KEYS * D;
    int      b = (int)blockIdx.z, h = (int)blockIdx.y, pair = b * a.H + h, warp = (int)threadIdx.x / 32;
    int      lane = (int)threadIdx.x % 32, g = lane / 4, t = lane % 4;
    int      i0 = (int)(gridDim.x - 1 - blockIdx.x) * OWN, mine = 16 * warp, i = i0 + mine + g;
    int      seen = gq_attention_keys(a, b), keys = a.causal && i0 + OWN < seen ? i0 + OWN : seen;
    int      count = a.dq ? (keys + KEYS - 1) / KEYS : 0;
    float2  *rows = (float2 *)(vs + 2 * KEYS * D) + mine;
    int64_t  at = (int64_t)b * a.Tq * a.C + h * D;
    const gq_bf16 *k = (const gq_bf16 *)a.kv + (int64_t)b * a.Tk * a.wk + a.koff + h * D;
    const gq_bf16 *v = (const gq_bf16 *)a.kv + (int64_t)b * a.Tk * a.wk + a.voff + h * D;
    int64_t        qat = (int64_t)b * a.Tq * a.wq + a.qoff + h * D;
    float          dq[D / 8][4] = {};

    gq_tile_copy<D, OWN, THREADS>(qs, (const gq_bf16 *)a.q + qat, a.wq, i0, a.Tq);
    gq_tile_copy<D, OWN, THREADS>(gs, (const gq_bf16 *)a.d_o + at, a.C, i0, a.Tq);
    gq_copy_commit();
    if (count > 0) {
        gq_tile_copy<D, KEYS, THREADS>(ks, k, a.wk, 0, keys);
        gq_tile_copy<D, KEYS, THREADS>(vs, v, a.wk, 0, keys);
    }
    gq_copy_commit();
    gq_copy_wait<1>();
    __syncthreads();
    take_rows<D>(rows, a, pair, i0 + mine, gs + mine * D, (const gq_bf16 *)a.o + at);
    __syncwarp();
    if (lane < 16 && i0 + mine + lane < padded(a.Tq))
        all_rows[(int64_t)pair * padded(a.Tq) + i0 + mine + lane] = rows[lane];
    float2 row[2] = {rows[g], rows[g + 8]};
    for (int tile = 0; tile < count; tile++) {
        int      j0 = tile * KEYS, now = tile % 2 * KEYS * D, next = KEYS * D - now;
        float    s[KEYS / 8][4], dp[KEYS / 8][4];
        uint64_t shown, sees[2];
        uint32_t kept = 0xffffffffu;
        gq_copy_wait<0>();
        __syncthreads();                /* the tile is here, and nobody reads the one before any more */
        if (tile + 1 < count) {
            gq_tile_copy<D, KEYS, THREADS>(ks + next, k, a.wk, j0 + KEYS, keys);
            gq_tile_copy<D, KEYS, THREADS>(vs + next, v, a.wk, j0 + KEYS, keys);
        }
        gq_copy_commit();
        gq_multiply_rows<D, KEYS / 8>(s, qs, mine, ks + now);
        gq_multiply_rows<D, KEYS / 8>(dp, gs, mine, vs + now);
        shown = gq_keys_shown(a, b, seen, j0);
        sees[0] = gq_query_sees(a, shown, seen, i, j0) >> (2 * t);
        sees[1] = gq_query_sees(a, shown, seen, i + 8, j0) >> (2 * t);
        if (a.p > 0.0f)
            kept = gq_kept_of_queries(a, (uint64_t)(((int64_t)pair * a.Tq + i) * a.Tk + j0 + 2 * t));
        query_scores(dp, s, row, sees, kept, a.scale * LOG2_E, a.keep);
        gq_add_product<D, KEYS / 8>(dq, dp, ks + now);
    }
    if (a.dq)
        gq_rows_store<D>((gq_bf16 *)a.dq + qat, a.wq, i0 + mine, a.Tq, a.addq, dq, a.scale, a.scale, qs + mine * D);
}

/* ---- dk, dv ---------------------------------------------------------------------------------- */

/* s becomes P keep / (1-p), dp becomes ds, of the lane's two keys. rows: of the lane's first query. */
__device__ __forceinline__ void key_scores(float s[QUERIES / 8][4], float dp[QUERIES / 8][4], const float2 *rows,
                                           const uint32_t sees[2], uint32_t kept, float scale, float keep)
{
#pragma unroll
    for (int n = 0; n < QUERIES / 8; n++)
#pragma unroll
        for (int x = 0; x < 4; x++) {
            float2 r = rows[8 * n + x % 2];
            float  p = sees[x / 2] >> (8 * n + x % 2) & 1 ? exp2f(fmaf(s[n][x], scale, -r.x)) : 0.0f;
            bool   stays = kept >> (4 * n + x) & 1;
            dp[n][x] = p * ((stays ? dp[n][x] * keep : 0.0f) - r.y);
            s[n][x] = stays ? p * keep : 0.0f;
        }
}

/* Queries [i0, i0 + QUERIES) and their gradients and rows. */
template <int D, int THREADS>
__device__ __forceinline__ void copy_queries(gq_bf16 *qs, gq_bf16 *gs, float2 *rows, const gq_attention &a,
                                             const gq_bf16 *q, const gq_bf16 *d_o, const float2 *from, int i0)
{
    gq_tile_copy<D, QUERIES, THREADS>(qs, q, a.wq, i0, a.Tq);
    gq_tile_copy<D, QUERIES, THREADS>(gs, d_o, a.C, i0, a.Tq);
    if (threadIdx.x < QUERIES / 2)
        gq_copy16(rows + 2 * threadIdx.x, from + i0 + 2 * threadIdx.x, true);
}

template <int D, int WARPS>
__global__ void __launch_bounds__(WARPS * 32, D > 64 ? 2 : 3) key_gradients(gq_attention a, const float2 *all_rows)
{
    constexpr int OWN = 16 * WARPS, THREADS = 32 * WARPS;
    GQ_DYNAMIC(gq_bf16, tiles);
    gq_bf16 *ks = tiles, *vs = ks + OWN * D, *qs = vs + OWN * D, *gs = qs + 2 * QUERIES * D;
    float2  *rows = (float2 *)(gs + 2 * QUERIES * D);
    int      b = (int)blockIdx.z, h = (int)blockIdx.y, pair = b * a.H + h, warp = (int)threadIdx.x / 32;
    int      lane = (int)threadIdx.x % 32, g = lane / 4, t = lane % 4;
    int      j0 = (int)blockIdx.x * OWN, mine = 16 * warp, j = j0 + mine + g, keys = gq_attention_keys(a, b);
    int      first = a.causal ? j0 / QUERIES * QUERIES : 0, count = (a.Tq - first + QUERIES - 1) / QUERIES;
    int64_t  kat = (int64_t)b * a.Tk * a.wk + h * D;
    const gq_bf16 *q = (const gq_bf16 *)a.q + (int64_t)b * a.Tq * a.wq + a.qoff + h * D;
    const gq_bf16 *d_o = (const gq_bf16 *)a.d_o + (int64_t)b * a.Tq * a.C + h * D;
    const float2  *from = all_rows + (int64_t)pair * padded(a.Tq);
    float          dk[D / 8][4] = {}, dv[D / 8][4] = {};

    count = j0 < keys ? count : 0;
    if (count > 0) {
        gq_tile_copy<D, OWN, THREADS>(ks, (const gq_bf16 *)a.kv + kat + a.koff, a.wk, j0, keys);
        gq_tile_copy<D, OWN, THREADS>(vs, (const gq_bf16 *)a.kv + kat + a.voff, a.wk, j0, keys);
        copy_queries<D, THREADS>(qs, gs, rows, a, q, d_o, from, first);
    }
    gq_copy_commit();
    for (int tile = 0; tile < count; tile++) {
        int      i0 = first + tile * QUERIES, now = tile % 2 * QUERIES, next = QUERIES - now;
        float    s[QUERIES / 8][4], dp[QUERIES / 8][4];
        uint32_t kept = 0xffffffffu, sees[2];
        gq_copy_wait<0>();
        __syncthreads();                /* the tile is here, and nobody reads the one before any more */
        if (tile + 1 < count)
            copy_queries<D, THREADS>(qs + next * D, gs + next * D, rows + next, a, q, d_o, from, i0 + QUERIES);
        gq_copy_commit();
        gq_multiply_rows<D, QUERIES / 8>(s, ks, mine, qs + now * D);
        gq_multiply_rows<D, QUERIES / 8>(dp, vs, mine, gs + now * D);
        sees[0] = (uint32_t)gq_queries_see(a, b, keys, j, i0) >> (2 * t);
        sees[1] = (uint32_t)gq_queries_see(a, b, keys, j + 8, i0) >> (2 * t);
        if (a.p > 0.0f)
            kept = gq_kept_of_keys<QUERIES>(a, pair, i0 + 2 * t, j);
        key_scores(s, dp, rows + now + 2 * t, sees, kept, a.scale * LOG2_E, a.keep);
        gq_add_product<D, QUERIES / 8>(dv, s, gs + now * D);
        gq_add_product<D, QUERIES / 8>(dk, dp, qs + now * D);
    }
    gq_bf16 *to = (gq_bf16 *)a.dkv + kat;
    gq_rows_store<D>(to + a.koff, a.wk, j0 + mine, a.Tk, a.addkv, dk, a.scale, a.scale, ks + mine * D);
    gq_rows_store<D>(to + a.voff, a.wk, j0 + mine, a.Tk, a.addkv, dv, 1, 1, ks + mine * D);
}

/* ---- launches -------------------------------------------------------------------------------- */

template <int D> void run(gq_cuda *d, const gq_attention *a, float2 *rows)
{
    unsigned H = (unsigned)a->H, B = (unsigned)a->B;
    if (a->Tq <= 32)
        GQ_LAUNCH(d, (query_gradient<D, 2>), dim3(1, H, B), dim3(64), (query_bytes<D, 2>()), *a, rows);
    else
        GQ_LAUNCH(d, (query_gradient<D, 4>), dim3(gq_blocks(a->Tq, 64), H, B), dim3(128), (query_bytes<D, 4>()), *a,
                  rows);
    if (!a->dkv)
        return;
    if (a->Tk <= 32)
        GQ_LAUNCH(d, (key_gradients<D, 2>), dim3(1, H, B), dim3(64), (key_bytes<D, 2>()), *a, rows);
    else
        GQ_LAUNCH(d, (key_gradients<D, 4>), dim3(gq_blocks(a->Tk, 64), H, B), dim3(128), (key_bytes<D, 4>()), *a,
                  rows);
}

}  // namespace

void gq_attention_fused_bwd(gq_cuda *d, const gq_attention *a, void *temp)
{
    if (gq_attention64_bwd(d, a))
        return;
    if (a->D == 32)
        run<32>(d, a, (float2 *)temp);
    else if (a->D == 64)
        run<64>(d, a, (float2 *)temp);
    else
        run<128>(d, a, (float2 *)temp);
}

size_t gq_attention_fused_temp(const gq_attention *a)
{
    return (size_t)a->B * (size_t)a->H * (size_t)padded(a->Tq) * sizeof(float2);
}
