/* attention.h - private to the attention of kernels/cuda: what its paths share.
 *
 *   sdpa.cu           picks the path; the unfused path (any head width, mask and type)
 *   attention.cu      own fused forward, bf16, tensor cores
 *   attention_bwd.cu  its backward
 *   attention64.cu    both at head width 64, for most sizes
 *   decode.cu         one query on a key/value cache, without gradient
 */
#ifndef GIFQA_KERNELS_CUDA_ATTENTION_H
#define GIFQA_KERNELS_CUDA_ATTENTION_H

#include "kernels/cuda/cuda.h"
#include "kernels/relative.h"

/* One attention, as kernels get it (by value). A "pair" is one head of one sequence: b * H + h. */
typedef struct gq_attention {
    const void    *q, *kv;              /* sources; kv == q in self-attention                     */
    void          *o;                   /* [B,Tq,C]                                               */
    const void    *d_o;                 /* backward: gradient of o                                */
    void          *dq, *dkv;            /* gradients of the sources, NULL: unwanted               */
    float         *lse;                 /* [B,H,Tq]; forward: NULL when nobody wants it           */
    const int32_t *lengths;             /* [B] or NULL                                            */
    const float   *visible;             /* [B,Tk] or NULL                                         */
    const gq_step_block *step;
    int64_t        wq, wk;              /* columns of the sources                                 */
    int32_t        B, H, Tq, Tk, D, C;  /* D: head width, C = H * D                               */
    int32_t        qoff, koff, voff;
    int32_t        causal, self, addq, addkv;
    int32_t        dq_type, dkv_type;   /* gq_dtype                                               */
    uint32_t       rng_op;
    float          scale, p, keep;      /* keep = 1 / (1 - p)                                     */
} gq_attention;

gq_attention gq_attention_of(const gq_call *c);

/* The biases by relative position, beside it. Only the unfused path and decoding know them. */
typedef struct gq_attention_table {
    const void *p;                      /* [rows,H] of the backend's real; NULL: there are none   */
    void       *d;                      /* its gradient; NULL: unwanted                           */
    int32_t     rows, d_type, adds;
    gq_relative rel;
} gq_attention_table;

gq_attention_table gq_attention_table_of(const gq_call *c);

/* ---- what a query sees ----------------------------------------------------------------------- */

/* Keys of sequence b before its length. */
static __device__ __forceinline__ int gq_attention_keys(const gq_attention &a, int b)
{
    if (!a.lengths)
        return a.Tk;
    int n = a.lengths[b];
    return n < 0 ? 0 : n < a.Tk ? n : a.Tk;
}

/* `keys` is gq_attention_keys(a, b). */
static __device__ __forceinline__ bool gq_attention_sees(const gq_attention &a, int b, int keys, int i, int j)
{
    return j < keys && !(a.causal && j > i) &&
           (!a.visible || a.visible[(int64_t)b * a.Tk + j] != 0 || (a.self && i == j));
}

/* ---- biases by relative position ------------------------------------------------------------- */

/* The position of query 0 of sequence b. */
static __device__ __forceinline__ int gq_attention_first(const gq_attention &a, const gq_attention_table &t, int b)
{
    return t.rel.last ? a.lengths[b] - a.Tq : 0;
}
/* What the score of head h gets added where the key's position is the query's plus r. */
template <class T>
static __device__ __forceinline__ float gq_attention_bias(const gq_attention &a, const gq_attention_table &t, int h,
                                                          int r)
{
    return gq_load(((const T *)t.p)[gq_relative_bucket(&t.rel, r) * a.H + h]);
}

/* ---- dropout on the probabilities ------------------------------------------------------------ */

/* The step word of the draws. */
static __device__ __forceinline__ uint32_t gq_attention_word(const gq_attention &a)
{
    return a.step->step * 64u + a.step->micro;
}
/* Is this element kept, whose block is x? */
static __device__ __forceinline__ uint32_t gq_attention_kept(const gq_attention &a, const gq_philox &x, uint32_t at)
{
    uint32_t low = at & 1 ? x.w[1] : x.w[0], high = at & 1 ? x.w[3] : x.w[2];
    return gq_u01(at & 2 ? high : low) >= a.p;
}
static __device__ __forceinline__ bool gq_attention_keeps(const gq_attention &a, int64_t pair, int i, int j,
                                                          uint64_t seed, uint32_t word)
{
    uint64_t e = (uint64_t)((pair * a.Tq + i) * a.Tk + j);
    return gq_attention_kept(a, gq_philox_block(seed, e >> 2, a.rng_op, word), (uint32_t)e & 3);
}
/* Bits 0 and 1: are elements e and e + 1 kept? */
static __device__ __forceinline__ uint32_t gq_attention_keeps2(const gq_attention &a, uint64_t e, uint64_t seed,
                                                               uint32_t word)
{
    gq_philox x = gq_philox_block(seed, e >> 2, a.rng_op, word);
    uint32_t  kept = gq_attention_kept(a, x, (uint32_t)e & 3);
    if ((e & 3) == 3)
        x = gq_philox_block(seed, (e >> 2) + 1, a.rng_op, word);
    return kept | gq_attention_kept(a, x, (uint32_t)(e + 1) & 3) << 1;
}

/* Bit 4n+x: is the probability of sum x of product n kept, of 64 keys? e: element of the lane's first sum. */
static __device__ __forceinline__ uint32_t gq_kept_of_queries(const gq_attention &a, uint64_t e)
{
    uint64_t seed = a.step->seed;
    uint32_t word = gq_attention_word(a), kept = 0;
#pragma unroll 1
    for (int n = 0; n < 8; n++) {
        kept |= gq_attention_keeps2(a, e + 8 * n, seed, word) << (4 * n);
        kept |= gq_attention_keeps2(a, e + 8 * (uint64_t)a.Tk + 8 * n, seed, word) << (4 * n + 2);
    }
    return kept;
}

/* Zeros where dropout drops, 16 rows of 64 keys of a warp; e: element of the lane's first score. */
static __device__ __forceinline__ void gq_drop_tile(float s[8][4], const gq_attention &a, uint64_t e)
{
    uint32_t kept = gq_kept_of_queries(a, e);
#pragma unroll
    for (int n = 0; n < 8; n++)
#pragma unroll
        for (int x = 0; x < 4; x++)
            s[n][x] = kept >> (4 * n + x) & 1 ? s[n][x] : 0.0f;
}

/* As gq_kept_of_queries, with keys as rows: each lane has keys j and j + 8 and queries from i on. */
template <int QUERIES>
static __device__ __forceinline__ uint32_t gq_kept_of_keys(const gq_attention &a, int pair, int i, int j)
{
    uint64_t seed = a.step->seed;
    uint32_t word = gq_attention_word(a), kept = 0;
#pragma unroll 1
    for (int n = 0; n < QUERIES / 2; n++)
        kept |= (uint32_t)gq_attention_keeps(a, pair, i + n / 4 * 8 + n % 2, j + n % 4 / 2 * 8, seed, word) << n;
    return kept;
}

/* ---- tiles of bf16 in shared memory ----------------------------------------------------------
 * Rows of D elements; the 16-byte pieces of a row are permuted by its number so that the eight rows of an
 * ldmatrix, and the pieces a copy writes, fall into different banks. */

template <int D> static __device__ __forceinline__ gq_bf16 *gq_tile_at(gq_bf16 *tile, int row, int piece)
{
    return tile + row * D + (piece ^ (D >= 64 ? row & 7 : row >> 1 & 3)) * 8;
}

/* Starts copying rows [row0, row0 + ROWS) of src; zeros for those from `rows` on. */
template <int D, int ROWS, int THREADS>
static __device__ __forceinline__ void gq_tile_copy(gq_bf16 *tile, const gq_bf16 *src, int64_t stride, int row0,
                                                    int rows)
{
    constexpr int STEP = THREADS / (D / 8);           /* rows between the pieces of a thread      */
    static_assert(ROWS % STEP == 0, "all threads copy as many");
    int            first = (int)threadIdx.x / (D / 8), piece = (int)threadIdx.x % (D / 8);
    const gq_bf16 *from = src + (row0 + first) * stride + piece * 8;
#pragma unroll
    for (int row = first; row < first + ROWS; row += STEP, from += STEP * stride) {
        bool there = row0 + row < rows;
        gq_copy16(gq_tile_at<D>(tile, row, piece), there ? from : src, there);
    }
}

/* Operand a of a product: rows [row, row+16), columns [16 step, 16 step + 16). */
template <int D> static __device__ __forceinline__ void gq_tile_a(uint32_t a[4], gq_bf16 *tile, int row, int step)
{
    int l = (int)threadIdx.x % 32;
    gq_ldmatrix_x4(a, gq_tile_at<D>(tile, row + l % 16, 2 * step + l / 16));
}
/* Operand b for two products: tile is [n][k], n in [row, row+8) is b[0..1], in [row+8, row+16) b[2..3]. */
template <int D> static __device__ __forceinline__ void gq_tile_b(uint32_t b[4], gq_bf16 *tile, int row, int step)
{
    int l = (int)threadIdx.x % 32;
    gq_ldmatrix_x4(b, gq_tile_at<D>(tile, row + l % 8 + l / 16 * 8, 2 * step + l / 8 % 2));
}
/* The same where tile is [k][n]: k in [row, row+16), n in [16 step, 16 step + 8) is b[0..1], the next 8 b[2..3]. */
template <int D>
static __device__ __forceinline__ void gq_tile_b_turned(uint32_t b[4], gq_bf16 *tile, int row, int step)
{
    int l = (int)threadIdx.x % 32;
    gq_ldmatrix_x4_trans(b, gq_tile_at<D>(tile, row + l % 16, 2 * step + l / 16));
}

/* Operand a out of the sums of two neighbouring products, rounded to bf16. */
static __device__ __forceinline__ void gq_sums_as_a(uint32_t a[4], const float left[4], const float right[4])
{
    a[0] = gq_bf16x2(left[0], left[1]);
    a[1] = gq_bf16x2(left[2], left[3]);
    a[2] = gq_bf16x2(right[0], right[1]);
    a[3] = gq_bf16x2(right[2], right[3]);
}

/* A warp's 16 rows of sums to global rows [row0, ..), those below `rows`: `even` times the lane's first row, `odd`
 * times its second. room: 16 rows of shared memory that only this warp uses. */
template <int D>
static __device__ __forceinline__ void gq_rows_store(gq_bf16 *dst, int64_t stride, int row0, int rows, bool adds,
                                                     const float sums[D / 8][4], float even, float odd, gq_bf16 *room)
{
    int l = (int)threadIdx.x % 32, g = l / 4, t = l % 4;
    if (adds) {                         /* prior and sum are added before they are rounded        */
#pragma unroll
        for (int n = 0; n < D / 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                if (row0 + g + e / 2 * 8 < rows)
                    gq_put(&dst[(row0 + g + e / 2 * 8) * stride + 8 * n + 2 * t + e % 2], true,
                           sums[n][e] * (e < 2 ? even : odd));
        return;
    }
    __syncwarp();
#pragma unroll
    for (int n = 0; n < D / 8; n++) {
        *(uint32_t *)(gq_tile_at<D>(room, g, n) + 2 * t) = gq_bf16x2(sums[n][0] * even, sums[n][1] * even);
        *(uint32_t *)(gq_tile_at<D>(room, g + 8, n) + 2 * t) = gq_bf16x2(sums[n][2] * odd, sums[n][3] * odd);
    }
    __syncwarp();
#pragma unroll
    for (int n = 0; n < D / 16; n++) {
        int row = (l + 32 * n) / (D / 8), piece = l % (D / 8);
        if (row0 + row < rows)
            gq_save16(dst + (row0 + row) * stride + piece * 8, gq_load16(gq_tile_at<D>(room, row, piece)));
    }
}

/* sums[16 rows of x from `row`][8 N rows of y] = x y^T; both tiles are [rows][D]. */
template <int D, int N>
static __device__ __forceinline__ void gq_multiply_rows(float sums[N][4], gq_bf16 *x, int row, gq_bf16 *y)
{
#pragma unroll
    for (int n = 0; n < N; n++)
        sums[n][0] = sums[n][1] = sums[n][2] = sums[n][3] = 0;
#pragma unroll
    for (int step = 0; step < D / 16; step++) {
        uint32_t a[4];
        gq_tile_a<D>(a, x, row, step);
#pragma unroll
        for (int n = 0; n < N / 2; n++) {
            uint32_t b[4];
            gq_tile_b<D>(b, y, 16 * n, step);
            gq_mma_16816(sums[2 * n], a, b);
            gq_mma_16816(sums[2 * n + 1], a, b + 2);
        }
    }
}
/* One warp: sums[16][D] += a y[16 step .. 16 step + 16)[D] */
template <int D>
static __device__ __forceinline__ void gq_add_step(float sums[D / 8][4], const uint32_t a[4], gq_bf16 *y, int step)
{
#pragma unroll
    for (int n = 0; n < D / 16; n++) {
        uint32_t b[4];
        gq_tile_b_turned<D>(b, y, 16 * step, n);
        gq_mma_16816(sums[2 * n], a, b);
        gq_mma_16816(sums[2 * n + 1], a, b + 2);
    }
}
/* One warp: sums[16][D] += x[16][8 N] y[8 N][D]; x is rounded to bf16. */
template <int D, int N>
static __device__ __forceinline__ void gq_add_product(float sums[D / 8][4], const float x[N][4], gq_bf16 *y)
{
#pragma unroll
    for (int k = 0; k < N / 2; k++) {
        uint32_t a[4];
        gq_sums_as_a(a, x[2 * k], x[2 * k + 1]);
        gq_add_step<D>(sums, a, y, k);
    }
}

/* Which keys [j0, j0 + 64) of sequence b are shown to all queries: before the length and not hidden. */
static __device__ __forceinline__ uint64_t gq_keys_shown(const gq_attention &a, int b, int keys, int j0)
{
    int      j = j0 + (int)threadIdx.x % 32;
    bool     low = j < keys, high = j + 32 < keys;
    uint64_t shown;
    if (a.visible) {
        low = low && a.visible[(int64_t)b * a.Tk + j] != 0;
        high = high && a.visible[(int64_t)b * a.Tk + j + 32] != 0;
    }
    shown = __ballot_sync(0xffffffffu, high);
    return shown << 32 | __ballot_sync(0xffffffffu, low);
}
/* The bits of that tile that query i sees: shown, or itself; nothing after itself with the causal mask. */
static __device__ __forceinline__ uint64_t gq_query_sees(const gq_attention &a, uint64_t shown, int keys, int i,
                                                         int j0)
{
    int at = i - j0;
    if (a.self && i < keys && at >= 0 && at < 64)
        shown |= 1ull << at;
    if (a.causal && at < 63)
        shown &= at < 0 ? 0 : (2ull << at) - 1;
    return shown;
}

/* The bits of queries [i0, i0 + 64) that see key j. */
static __device__ __forceinline__ uint64_t gq_queries_see(const gq_attention &a, int b, int keys, int j, int i0)
{
    int at = j - i0;
    if (j >= keys)
        return 0;
    if (a.visible && a.visible[(int64_t)b * a.Tk + j] == 0)
        return a.self && at >= 0 && at < 64 ? 1ull << at : 0;
    if (a.causal && at > 0)
        return at < 64 ? ~0ull << at : 0;
    return ~0ull;
}

/* ---- the paths ------------------------------------------------------------------------------- */

/* Does the fused kernel apply: bf16, no table, head width 32, 64 or 128, everything on 16 bytes? */
bool gq_attention_fused_has(const gq_call *c, bool backward);
void gq_attention_fused_fwd(gq_cuda *d, const gq_attention *a);
/* Does attention64.cu take it? Then it is launched; what gq_attention_fused_has() takes otherwise, the other two do. */
bool gq_attention64_fwd(gq_cuda *d, const gq_attention *a);
bool gq_attention64_bwd(gq_cuda *d, const gq_attention *a);
/* temp: gq_attention_fused_temp() bytes. The gradients' other columns are the caller's. */
void   gq_attention_fused_bwd(gq_cuda *d, const gq_attention *a, void *temp);
size_t gq_attention_fused_temp(const gq_attention *a);

/* One query per sequence, no dropout, lse not wanted, head width 32, 64 or 128, keys and values on 16 bytes. */
bool   gq_attention_decode_has(const gq_call *c);
void   gq_attention_decode(gq_cuda *d, int32_t real, const gq_attention *a, const gq_attention_table *t, void *temp);
size_t gq_attention_decode_temp(const gq_attention *a);

#endif
