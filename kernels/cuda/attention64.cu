/* attention64.cu - fused attention at head width 64, where a warpgroup's product fits: bf16, any mask, dropout.
 *
 * A block is one warpgroup and works on tiles of 64 rows: one product is 64 x 64 x 64, on sm_90a four wgmma that take
 * their operands out of shared memory without passing registers, elsewhere 4 x 32 mma.sync behind ldmatrix.
 *
 * kernel forward      o [B,Tq,C] and lse [B,H,Tq], for more than 32 queries (fewer: attention.cu). A block owns 64
 *                     queries of a head and goes over the keys in tiles, in order, the next one's copies under way,
 *                     with an online softmax. Moves 2 D (2 Tq + 2 Tk) + 4 Tq bytes per head (what the query tiles of
 *                     a head read again comes out of L2: they are neighbours in the grid), 4 Tq Tk D operations,
 *                     half when causal: at 288 queries and keys as many microseconds of copies as of exp2 and
 *                     products, so the roof is copy bandwidth up to there.
 * kernel gradients    all of the backward of a head in one block: every operand comes from memory once, P is computed
 *                     once (5 products), and nothing is added by two blocks. For each tile of 64 keys, in order: for
 *                     each tile of queries that sees it, in order: s^T = k q^T and dP^T = v do^T, out of which P^T
 *                     and ds^T are left operands as they are; dv += P^T do, dk += ds^T q in registers; ds^T goes
 *                     through shared memory (where do was) and dq += ds k, which between two key tiles waits in shared
 *                     memory as floats. Moves 2 D (5 Tq + 3 Tk) + 4 Tq bytes per head (do of the deltas and of the
 *                     tiles is read at the same time), 10 Tq Tk D operations. Roof: copy bandwidth.
 * Reductions: the tensor core's over 16, in order; tiles in order; a row's sum in the forward in each lane over its
 * keys in order, then the butterfly of 4 lanes; delta: each lane its 8 columns in order, then the butterfly of 8.
 *
 * gradients needs 32 KB for one pair of tiles, 48 KB for more, 8 bytes per query and, if there are several key tiles,
 * 4 KB for each 16 queries that see more than one: up to about 600 queries where a block may have 227 KB.
 * attention_bwd.cu does what is larger.
 *
 * Rounding as in attention.cu and attention_bwd.cu. On sm_90a: forward 109 registers, 24 KB for one key tile, else
 * 40 KB, four blocks per multiprocessor; gradients 235, two (288 causal queries: 106.5 KB), and where one tile of
 * each is all, 128, four. No spills. H200, forward and backward, 64 x 296 causal, 12 heads: 190 us (cuDNN 278);
 * 64 x 50: 22 us (56).
 */
#include "kernels/cuda/attention.h"

namespace {

enum { D = 64, TILE = 64, THREADS = 128, CELLS = TILE * D };
enum { MOST_QUERIES = 1 << 14 };        /* of gradients, which counts its bytes in an int         */

#ifdef GQ_WGMMA
enum { ALONE_BLOCKS = 4 };              /* on a multiprocessor                                    */
#else
enum { ALONE_BLOCKS = 3 };              /* operands in registers                                  */
#endif

const float LOG2_E = 1.44269504088896340736f, LN_2 = 0.69314718055994530942f;

__host__ __device__ inline int tiles(int n) { return (n + TILE - 1) / TILE; }

/* ---- products of a warpgroup: sums are 16 rows of each warp ------------------------------------
 * They are started here; the caller brackets them with gq_wgmma_begin and _commit, _wait and _take. */

/* sums = x y^T */
__device__ __forceinline__ void rows_by_rows(float sums[D / 8][4], gq_bf16 *x, gq_bf16 *y)
{
#ifdef GQ_WGMMA
    uint64_t a = gq_wgmma_tile(x), b = gq_wgmma_tile(y);
#pragma unroll
    for (int step = 0; step < D / 16; step++)
        gq_wgmma<false, false>(sums, a + 2 * step, b + 2 * step, step > 0);
#else
    gq_multiply_rows<D, TILE / 8>(sums, x, (int)threadIdx.x / 32 * 16, y);
#endif
}

/* sums += a y, a: 64 columns of left operands */
__device__ __forceinline__ void add_by_columns(float sums[D / 8][4], const uint32_t a[TILE / 16][4], gq_bf16 *y)
{
#ifdef GQ_WGMMA
    uint64_t b = gq_wgmma_tile(y);
#pragma unroll
    for (int step = 0; step < TILE / 16; step++)
        gq_wgmma<true>(sums, a[step], b + 128 * step, true);
#else
#pragma unroll
    for (int step = 0; step < TILE / 16; step++)
        gq_add_step<D>(sums, a[step], y, step);
#endif
}

/* sums += x^T y */
__device__ __forceinline__ void add_columns_by_columns(float sums[D / 8][4], gq_bf16 *x, gq_bf16 *y)
{
#ifdef GQ_WGMMA
    uint64_t a = gq_wgmma_tile(x), b = gq_wgmma_tile(y);
#pragma unroll
    for (int step = 0; step < TILE / 16; step++)
        gq_wgmma<true, true>(sums, a + 128 * step, b + 128 * step, true);
#else
    int l = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
#pragma unroll
    for (int step = 0; step < TILE / 16; step++) {
        uint32_t a[4];
        gq_ldmatrix_x4_trans(a, gq_tile_at<D>(x, 16 * step + l / 16 * 8 + l % 8, 2 * warp + l / 8 % 2));
        gq_add_step<D>(sums, a, y, step);
    }
#endif
}

/* ---- forward --------------------------------------------------------------------------------- */

struct row_state {                      /* of a lane's two rows: maximum, its part of the sum     */
    float top[2], sum[2];
};

/* Scores become exp2(scale (score - top)), hidden ones zero; what was summed under the old maximum is rescaled. scale
 * is positive. PLAIN: nothing is hidden; else sees: for both rows, shifted by the lane's first column. */
template <bool PLAIN>
__device__ __forceinline__ void softmax_tile(float s[TILE / 8][4], float o[D / 8][4], row_state &r,
                                             const uint64_t sees[2], float scale)
{
#pragma unroll
    for (int row = 0; row < 2; row++) {
        float top = r.top[row], base, shrink, sum = 0;
#pragma unroll
        for (int n = 0; n < TILE / 8; n++)
#pragma unroll
            for (int c = 0; c < 2; c++) {
                float *x = &s[n][2 * row + c];
                if (!PLAIN)
                    *x = sees[row] >> (8 * n + c) & 1 ? *x : -INFINITY;
                top = fmaxf(top, *x);
            }
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
        base = top == -INFINITY ? 0.0f : -top * scale;    /* no key seen so far: all exp are 0    */
        shrink = gq_exp2(fmaf(r.top[row], scale, base));
#pragma unroll
        for (int n = 0; n < TILE / 8; n++)
#pragma unroll
            for (int c = 0; c < 2; c++) {
                float *x = &s[n][2 * row + c];
                *x = gq_exp2(fmaf(*x, scale, base));
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

size_t forward_bytes(const gq_attention *a) { return (size_t)(a->Tk > TILE ? 5 : 3) * CELLS * sizeof(gq_bf16); }

__global__ void __launch_bounds__(THREADS, 4) forward(gq_attention a)
{
    GQ_DYNAMIC_TILES(gq_bf16, qs);
    int      b = (int)blockIdx.z, h = (int)blockIdx.y, pair = b * a.H + h, warp = (int)threadIdx.x / 32;
    int      lane = (int)threadIdx.x % 32, g = lane / 4, t = lane % 4;
    int      i0 = (int)(gridDim.x - 1 - blockIdx.x) * TILE;         /* the longest first          */
    int      i = i0 + 16 * warp + g, seen = gq_attention_keys(a, b);
    int      keys = a.causal && i0 + TILE < seen ? i0 + TILE : seen, count = tiles(keys);
    gq_bf16 *kv = qs + CELLS;           /* pairs of a key and a value tile                        */
    const gq_bf16 *q = (const gq_bf16 *)a.q + (int64_t)b * a.Tq * a.wq + a.qoff + h * D;
    const gq_bf16 *k = (const gq_bf16 *)a.kv + (int64_t)b * a.Tk * a.wk + a.koff + h * D;
    const gq_bf16 *v = (const gq_bf16 *)a.kv + (int64_t)b * a.Tk * a.wk + a.voff + h * D;
    float          o[D / 8][4] = {};
    row_state      r = {{-INFINITY, -INFINITY}, {0, 0}};

    if (count > 0) {
        gq_tile_copy<D, TILE, THREADS>(qs, q, a.wq, i0, a.Tq);
        gq_tile_copy<D, TILE, THREADS>(kv, k, a.wk, 0, keys);
        gq_tile_copy<D, TILE, THREADS>(kv + CELLS, v, a.wk, 0, keys);
    }
    gq_copy_commit();
    for (int tile = 0; tile < count; tile++) {
        int      j0 = tile * TILE;
        gq_bf16 *ks = kv + tile % 2 * 2 * CELLS, *next = kv + (tile + 1) % 2 * 2 * CELLS;
        float    s[TILE / 8][4];
        uint32_t P[TILE / 16][4];
        uint64_t sees[2] = {};
        gq_copy_wait<0>();
        gq_wgmma_publish();
        __syncthreads();                /* the tile is here, and nobody reads the one before      */
        if (tile + 1 < count) {
            gq_tile_copy<D, TILE, THREADS>(next, k, a.wk, j0 + TILE, keys);
            gq_tile_copy<D, TILE, THREADS>(next + CELLS, v, a.wk, j0 + TILE, keys);
        }
        gq_copy_commit();
        gq_wgmma_begin();
        rows_by_rows(s, qs, ks);
        gq_wgmma_commit();
        gq_wgmma_wait<0>();
        gq_wgmma_take(s);
        if (!a.visible && j0 + TILE <= seen && (!a.causal || j0 + TILE <= i0 + 1)) {
            softmax_tile<true>(s, o, r, sees, a.scale * LOG2_E);
        } else {
            uint64_t shown = gq_keys_shown(a, b, seen, j0);
            sees[0] = gq_query_sees(a, shown, seen, i, j0) >> (2 * t);
            sees[1] = gq_query_sees(a, shown, seen, i + 8, j0) >> (2 * t);
            softmax_tile<false>(s, o, r, sees, a.scale * LOG2_E);
        }
        if (a.p > 0.0f)
            gq_drop_tile(s, a, (uint64_t)(((int64_t)pair * a.Tq + i) * a.Tk + j0 + 2 * t));
#pragma unroll
        for (int step = 0; step < TILE / 16; step++)
            gq_sums_as_a(P[step], s[2 * step], s[2 * step + 1]);
        gq_wgmma_begin();
        add_by_columns(o, P, ks + CELLS);
        gq_wgmma_commit();
        gq_wgmma_wait<0>();
        gq_wgmma_take(o);
    }
    float inverse[2];
#pragma unroll
    for (int row = 0; row < 2; row++) {
        float sum = r.sum[row];
        sum += __shfl_xor_sync(0xffffffffu, sum, 1);
        sum += __shfl_xor_sync(0xffffffffu, sum, 2);
        inverse[row] = sum == 0.0f ? 0.0f : (a.p > 0.0f ? a.keep : 1.0f) / sum;
        if (a.lse && t == 0 && i + 8 * row < a.Tq)
            a.lse[(int64_t)pair * a.Tq + i + 8 * row] =
                sum == 0.0f ? 0.0f : (r.top[row] * (a.scale * LOG2_E) + log2f(sum)) * LN_2;
    }
    __syncthreads();                    /* nobody reads the queries any more                      */
    gq_rows_store<D>((gq_bf16 *)a.o + (int64_t)b * a.Tq * a.C + h * D, a.C, i0 + 16 * warp, a.Tq, false, o, inverse[0],
                     inverse[1], qs + 16 * warp * D);
}

/* ---- backward -------------------------------------------------------------------------------- */

/* Shared memory of `gradients`, in bytes from its begin: k, v; pairs of a query tile and its do; dq between key tiles,
 * 16 queries after 16 from `first` on; (lse log2 e, delta) of each query. */
struct room {
    int held, rows, bytes, first;
};
__host__ __device__ inline room room_of(const gq_attention &a)
{
    int  cell = CELLS * (int)sizeof(gq_bf16), groups = (a.Tq + 15) / 16;
    room r;
    r.first = a.Tk <= TILE || !a.dq ? groups : a.causal ? TILE / 16 : 0;
    r.held = (a.Tk <= TILE && a.Tq <= TILE ? 4 : 6) * cell;
    r.rows = r.held + (groups > r.first ? groups - r.first : 0) * 16 * D * (int)sizeof(float);
    r.bytes = r.rows + tiles(a.Tq) * TILE * (int)sizeof(float2);
    return r;
}

/* rows[i]: (lse log2 e, delta) of query i, and (inf, 0), which makes P zero, up to the end of the last tile. 8 lanes
 * per query, BATCH queries of a lane in flight. */
__device__ __forceinline__ void take_deltas(float2 *rows, const gq_attention &a, int pair, const gq_bf16 *o,
                                            const gq_bf16 *d_o)
{
    enum { BATCH = 8, STRIDE = THREADS / 8 };
    int piece = (int)threadIdx.x % 8, end = tiles(a.Tq) * TILE;
    for (int i0 = (int)threadIdx.x / 8; i0 < end; i0 += BATCH * STRIDE) {
        gq_pack<gq_bf16> x[BATCH], y[BATCH];
        float            lse[BATCH];
#pragma unroll
        for (int n = 0; n < BATCH; n++) {
            int i = i0 + n * STRIDE;
            if (i < a.Tq) {
                x[n] = gq_load16(o + (int64_t)i * a.C + 8 * piece);
                y[n] = gq_load16(d_o + (int64_t)i * a.C + 8 * piece);
                lse[n] = a.lse[(int64_t)pair * a.Tq + i];
            }
        }
#pragma unroll
        for (int n = 0; n < BATCH; n++) {
            int   i = i0 + n * STRIDE;
            float sum = 0;
            if (i < a.Tq) {
#pragma unroll
                for (int e = 0; e < 8; e++)
                    sum = fmaf(gq_load(x[n].x[e]), gq_load(y[n].x[e]), sum);
            }
            sum += __shfl_xor_sync(0xffffffffu, sum, 4);
            sum += __shfl_xor_sync(0xffffffffu, sum, 2);
            sum += __shfl_xor_sync(0xffffffffu, sum, 1);
            if (piece == 0 && i < end)
                rows[i] = i < a.Tq ? make_float2(lse[n] * LOG2_E, sum) : make_float2(INFINITY, 0);
        }
    }
}

/* Left operands P keep / (1-p) and ds out of s and dP, of the lane's two keys; rows: of the lane's first query. */
template <bool PLAIN>
__device__ __forceinline__ void key_scores(uint32_t P[TILE / 16][4], uint32_t ds[TILE / 16][4],
                                           const float s[TILE / 8][4], const float dp[TILE / 8][4], const float2 *rows,
                                           const uint64_t sees[2], uint32_t kept, float scale, float keep)
{
#pragma unroll
    for (int n = 0; n < TILE / 8; n++) {
        float4 r = *(const float4 *)&rows[8 * n];
        float  p[4], d[4];
#pragma unroll
        for (int x = 0; x < 4; x++) {
            float lse = x % 2 ? r.z : r.x, delta = x % 2 ? r.w : r.y;
            p[x] = gq_exp2(fmaf(s[n][x], scale, -lse));
            if (PLAIN) {
                d[x] = p[x] * (dp[n][x] - delta);
            } else {
                bool stays = kept >> (4 * n + x) & 1;
                p[x] = sees[x / 2] >> (8 * n + x % 2) & 1 ? p[x] : 0.0f;
                d[x] = p[x] * ((stays ? dp[n][x] * keep : 0.0f) - delta);
                p[x] = stays ? p[x] * keep : 0.0f;
            }
        }
        P[n / 2][n % 2 * 2] = gq_bf16x2(p[0], p[1]);
        P[n / 2][n % 2 * 2 + 1] = gq_bf16x2(p[2], p[3]);
        ds[n / 2][n % 2 * 2] = gq_bf16x2(d[0], d[1]);
        ds[n / 2][n % 2 * 2 + 1] = gq_bf16x2(d[2], d[3]);
    }
}

/* One tile of keys with one of queries. */
struct pair_of_tiles {
    gq_bf16      *ks, *vs, *qs, *gs;
    const float2 *rows;                 /* of the query tile                                      */
    int           pair, b, keys, i0, j0;
};

/* P and ds of it, and what they add to dk and dv; do may be overwritten behind a barrier.
 * UNDER_WAY 1: dk is not there yet; 0: it is, for fewer registers. */
template <int UNDER_WAY>
__device__ __forceinline__ void add_key_gradients(float dk[D / 8][4], float dv[D / 8][4], uint32_t ds[TILE / 16][4],
                                                  const gq_attention &a, const pair_of_tiles &w)
{
    int      lane = (int)threadIdx.x % 32, g = lane / 4, t = lane % 4, j = w.j0 + (int)threadIdx.x / 32 * 16 + g;
    bool     plain = !a.visible && a.p == 0.0f && w.j0 + TILE <= w.keys && (!a.causal || w.i0 > w.j0);
    uint32_t P[TILE / 16][4], kept = 0xffffffffu;
    uint64_t sees[2] = {};
    float    s[TILE / 8][4], dp[TILE / 8][4];

    if (a.p > 0.0f)                     /* not beside the products: registers                     */
        kept = gq_kept_of_keys<TILE>(a, w.pair, w.i0 + 2 * t, j);
    gq_wgmma_begin();
    rows_by_rows(s, w.ks, w.qs);
    rows_by_rows(dp, w.vs, w.gs);
    gq_wgmma_commit();
    gq_wgmma_wait<0>();
    gq_wgmma_take(s);
    gq_wgmma_take(dp);
    if (plain) {
        key_scores<true>(P, ds, s, dp, w.rows + 2 * t, sees, kept, a.scale * LOG2_E, a.keep);
    } else {
        sees[0] = gq_queries_see(a, w.b, w.keys, j, w.i0) >> (2 * t);
        sees[1] = gq_queries_see(a, w.b, w.keys, j + 8, w.i0) >> (2 * t);
        key_scores<false>(P, ds, s, dp, w.rows + 2 * t, sees, kept, a.scale * LOG2_E, a.keep);
    }
    if (a.dkv) {
        gq_wgmma_take(dv);
        gq_wgmma_take(dk);
        gq_wgmma_begin();
        add_by_columns(dv, P, w.gs);
        gq_wgmma_commit();
        add_by_columns(dk, ds, w.qs);
        gq_wgmma_commit();
        gq_wgmma_wait<UNDER_WAY>();
        gq_wgmma_take(dv);
        if (UNDER_WAY == 0)
            gq_wgmma_take(dk);
    }
}

/* ds^T of all warps to the tile where do was. */
__device__ __forceinline__ void share_scores(gq_bf16 *tile, const uint32_t ds[TILE / 16][4])
{
    int lane = (int)threadIdx.x % 32, g = lane / 4, t = lane % 4, row = (int)threadIdx.x / 32 * 16 + g;
#pragma unroll
    for (int n = 0; n < TILE / 8; n++) {
        *(uint32_t *)(gq_tile_at<D>(tile, row, n) + 2 * t) = ds[n / 2][n % 2 * 2];
        *(uint32_t *)(gq_tile_at<D>(tile, row + 8, n) + 2 * t) = ds[n / 2][n % 2 * 2 + 1];
    }
}

/* ALONE: no more than one tile of queries and of keys. */
template <bool ALONE> __global__ void __launch_bounds__(THREADS, ALONE ? ALONE_BLOCKS : 2) gradients(gq_attention a)
{
    GQ_DYNAMIC_TILES(gq_bf16, ks);
    gq_bf16 *vs = ks + CELLS, *pairs = vs + CELLS;
    room     r = room_of(a);
    float2  *rows = (float2 *)((char *)ks + r.rows);
    int      b = (int)blockIdx.y, h = (int)blockIdx.x, pair = b * a.H + h;
    int      warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    int      keys = gq_attention_keys(a, b), nq = ALONE ? 1 : tiles(a.Tq), nk = ALONE ? 1 : tiles(a.Tk);
    int      mine = 16 * warp, turn = 0;
    int      seen = a.causal && nq < tiles(keys) ? nq : tiles(keys);         /* key tiles that a query sees */
    int64_t  at = (int64_t)b * a.Tq * a.C + h * D, kat = (int64_t)b * a.Tk * a.wk + h * D;
    int64_t  qat = (int64_t)b * a.Tq * a.wq + a.qoff + h * D;
    const gq_bf16 *q = (const gq_bf16 *)a.q + qat, *d_o = (const gq_bf16 *)a.d_o + at;
    const gq_bf16 *k = (const gq_bf16 *)a.kv + kat + a.koff, *v = (const gq_bf16 *)a.kv + kat + a.voff;

    if (seen > 0) {
        gq_tile_copy<D, TILE, THREADS>(ks, k, a.wk, 0, keys);
        gq_tile_copy<D, TILE, THREADS>(vs, v, a.wk, 0, keys);
        gq_tile_copy<D, TILE, THREADS>(pairs, q, a.wq, 0, a.Tq);
        gq_tile_copy<D, TILE, THREADS>(pairs + CELLS, d_o, a.C, 0, a.Tq);
    }
    gq_copy_commit();
    take_deltas(rows, a, pair, (const gq_bf16 *)a.o + at, d_o);
    for (int tile = 0; tile < nk; tile++) {
        float dk[D / 8][4] = {}, dv[D / 8][4] = {};
        int   first = a.causal ? tile : 0;
        for (int qt = tile < seen ? first : nq; qt < nq; qt++, turn ^= 1) {
            gq_bf16      *qs = pairs + turn * 2 * CELLS, *other = pairs + (turn ^ 1) * 2 * CELLS;
            pair_of_tiles w = {ks, vs, qs, qs + CELLS, rows + qt * TILE, pair, b, keys, qt * TILE, tile * TILE};
            int           next = qt + 1 < nq ? qt + 1 : tile + 1 < seen ? (a.causal ? tile + 1 : 0) : nq;
            uint32_t      ds[TILE / 16][4];
            gq_copy_wait<0>();
            gq_wgmma_publish();
            __syncthreads();            /* the tiles are here, and nobody reads the pair before   */
            if (next < nq) {
                gq_tile_copy<D, TILE, THREADS>(other, q, a.wq, next * TILE, a.Tq);
                gq_tile_copy<D, TILE, THREADS>(other + CELLS, d_o, a.C, next * TILE, a.Tq);
            }
            gq_copy_commit();
            add_key_gradients<ALONE ? 0 : 1>(dk, dv, ds, a, w);
            if (!a.dq) {
                gq_wgmma_wait<0>();
                gq_wgmma_take(dk);
                continue;
            }
            bool    starts = tile == 0, ends = a.causal && qt < seen ? tile == qt : tile == seen - 1;
            float   dq[D / 8][4] = {};
            float4 *held = (float4 *)((char *)ks + r.held) + (4 * qt + warp - r.first) * (16 * D / 4) + lane;
            bool    there = 64 * qt + mine < a.Tq;
            __syncthreads();            /* nobody reads do any more                               */
            share_scores(w.gs, ds);
            gq_wgmma_publish();
            if (!starts && there)
#pragma unroll
                for (int n = 0; n < D / 8; n++)
                    *(float4 *)dq[n] = held[32 * n];
            __syncthreads();
            gq_wgmma_begin();
            add_columns_by_columns(dq, w.gs, ks);
            gq_wgmma_commit();
            gq_wgmma_wait<0>();
            gq_wgmma_take(dk);
            gq_wgmma_take(dq);
            if (ends) {
                __syncthreads();        /* nobody reads ds any more                               */
                gq_rows_store<D>((gq_bf16 *)a.dq + qat, a.wq, w.i0 + mine, a.Tq, a.addq, dq, a.scale, a.scale,
                                 w.gs + mine * D);
            } else if (there) {
#pragma unroll
                for (int n = 0; n < D / 8; n++)
                    held[32 * n] = *(float4 *)dq[n];
            }
        }
        __syncthreads();                /* nobody reads the keys and values any more              */
        if (a.dkv) {
            gq_bf16 *to = (gq_bf16 *)a.dkv + kat;
            gq_rows_store<D>(to + a.koff, a.wk, tile * TILE + mine, a.Tk, a.addkv, dk, a.scale, a.scale, ks + mine * D);
            gq_rows_store<D>(to + a.voff, a.wk, tile * TILE + mine, a.Tk, a.addkv, dv, 1, 1, vs + mine * D);
            __syncthreads();
        }
        if (tile + 1 < seen) {
            gq_tile_copy<D, TILE, THREADS>(ks, k, a.wk, (tile + 1) * TILE, keys);
            gq_tile_copy<D, TILE, THREADS>(vs, v, a.wk, (tile + 1) * TILE, keys);
        }
        gq_copy_commit();
    }
    if (a.dq && seen == 0) {            /* no query sees a key                                    */
        float zero[D / 8][4] = {};
        for (int qt = 0; qt < nq; qt++)
            gq_rows_store<D>((gq_bf16 *)a.dq + qat, a.wq, qt * TILE + mine, a.Tq, a.addq, zero, 1, 1, ks + mine * D);
    }
}

}  // namespace

bool gq_attention64_fwd(gq_cuda *d, const gq_attention *a)
{
    if (a->D != D || a->Tq <= 32 || !(a->scale > 0))
        return false;
    GQ_LAUNCH(d, forward, dim3((unsigned)tiles(a->Tq), (unsigned)a->H, (unsigned)a->B), dim3(THREADS), forward_bytes(a),
              *a);
    return true;
}

bool gq_attention64_bwd(gq_cuda *d, const gq_attention *a)
{
    if (a->D != D || a->Tq > MOST_QUERIES || (size_t)room_of(*a).bytes > d->shared_bytes)
        return false;
    dim3   heads((unsigned)a->H, (unsigned)a->B);
    size_t bytes = (size_t)room_of(*a).bytes;
    if (a->Tq <= TILE && a->Tk <= TILE)
        GQ_LAUNCH(d, gradients<true>, heads, dim3(THREADS), bytes, *a);
    else
        GQ_LAUNCH(d, gradients<false>, heads, dim3(THREADS), bytes, *a);
    return true;
}
