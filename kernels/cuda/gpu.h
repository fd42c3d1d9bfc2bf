/* gpu.h - all that a CUDA kernel may use of the machine: the one launch, the one header with PTX.
 *
 * Every .cu file of this folder is compiled twice: by nvcc for the GPU, and by the host C++ compiler
 * with GQ_ON_HOST, where tests/cuda_on_cpu/shim.h stands in for the machine and runs every thread as
 * a fibre. What the shim offers is what a kernel may use:
 *   threadIdx blockIdx blockDim gridDim, __syncthreads, __syncwarp, __shfl_sync, __shfl_xor_sync,
 *   __shfl_down_sync, __shfl_up_sync, __ballot_sync, __any_sync, __all_sync, __popc, __ffs, __ldg, atomicAdd on
 *   int and unsigned (never on floats: sums have a fixed order), __float_as_uint, __uint_as_float,
 *   rsqrtf, float2/float4/int4/uint2/uint4 with make_*, the maths of <math.h>, and the names below.
 * A warp collective takes the full mask and all 32 lanes; block sizes are multiples of 32.
 *
 * Rules of all kernels
 *  - bf16 is storage: arithmetic and statistics are float. T is float or gq_bf16; gq_load/gq_save
 *    convert.
 *  - 16-byte accesses where the address and the row length allow (gq_aligned16), else one element at a time.
 *  - No float atomics; the shape of every reduction depends on the operands alone, never on the
 *    number of multiprocessors.
 *  - Indices are 64-bit where a tensor may have more than 2^31 elements.
 */
#ifndef GIFQA_KERNELS_CUDA_GPU_H
#define GIFQA_KERNELS_CUDA_GPU_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef GQ_ON_HOST
#include "tests/cuda_on_cpu/shim.h"
#else
#include <cuda_runtime.h>
#endif

#include "core/philox.h"

/* ---- storage --------------------------------------------------------------------------------- */

struct gq_bf16 { uint16_t bits; };

static __device__ __forceinline__ float gq_load(float x) { return x; }
static __device__ __forceinline__ float gq_load(gq_bf16 x) { return __uint_as_float((uint32_t)x.bits << 16); }

/* Round to nearest, ties to even; NaN stays NaN. */
static __device__ __forceinline__ gq_bf16 gq_to_bf16(float v)
{
    gq_bf16 r;
#ifndef GQ_ON_HOST                           /* one instruction where the lines below are seven          */
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r.bits) : "f"(v));
#else
    uint32_t u = __float_as_uint(v);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        r.bits = (uint16_t)(u >> 16 | 0x40u);
    else
        r.bits = (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
#endif
    return r;
}
static __device__ __forceinline__ void gq_save(float *p, float v) { *p = v; }
static __device__ __forceinline__ void gq_save(gq_bf16 *p, float v) { *p = gq_to_bf16(v); }
/* d = v, or d += v: how every gradient is written. */
template <class T> static __device__ __forceinline__ void gq_put(T *p, bool adds, float v)
{
    gq_save(p, adds ? gq_load(*p) + v : v);
}

/* a b rounded by itself: nvcc would fuse it with the sum that follows. */
static __device__ __forceinline__ float gq_product(float a, float b)
{
#ifdef GQ_ON_HOST
    return a * b;
#else
    return __fmul_rn(a, b);
#endif
}

/* The compiler is to take *v for another value from here on. */
static __device__ __forceinline__ void gq_opaque(uint32_t *v)
{
#ifndef GQ_ON_HOST
    asm("" : "+r"(*v));
#endif
}
static __device__ __forceinline__ void gq_opaque(uint16_t *v)
{
#ifndef GQ_ON_HOST
    asm("" : "+h"(*v));
#endif
}

/* 16 bytes of T: 4 floats or 8 bf16. */
template <class T> struct alignas(16) gq_pack {
    static constexpr int N = 16 / sizeof(T);
    T x[N];
};
template <class T> static __device__ __forceinline__ gq_pack<T> gq_load16(const T *p)
{
    return *reinterpret_cast<const gq_pack<T> *>(p);
}
template <class T> static __device__ __forceinline__ void gq_save16(T *p, const gq_pack<T> &v)
{
    *reinterpret_cast<gq_pack<T> *>(p) = v;
}
static inline bool gq_aligned16(const void *p) { return ((uintptr_t)p & 15) == 0; }

/* ---- shared memory ---------------------------------------------------------------------------
 * GQ_SHARED(float, part, [32]);   static: __shared__ float part[32]
 * GQ_DYNAMIC(float, tile);        the launch's dynamic bytes, 16-byte aligned, as float *tile   */
#ifndef GQ_ON_HOST
#define GQ_SHARED(type, name, extent) __shared__ type name extent
#define GQ_DYNAMIC(type, name)                                                                     \
    extern __shared__ __align__(16) unsigned char gq_dynamic_bytes[];                              \
    type *name = reinterpret_cast<type *>(gq_dynamic_bytes)
/* For the operands of gq_wgmma: begins on 1,024 bytes. */
#define GQ_DYNAMIC_TILES(type, name)                                                               \
    extern __shared__ __align__(1024) unsigned char gq_dynamic_tiles[];                            \
    type *name = reinterpret_cast<type *>(gq_dynamic_tiles)
#else
#define GQ_DYNAMIC_TILES GQ_DYNAMIC
#endif

/* ---- reductions ------------------------------------------------------------------------------ */

static __device__ __forceinline__ float gq_warp_sum(float v)
{
    for (int o = 16; o > 0; o >>= 1)
        v += __shfl_xor_sync(0xffffffffu, v, o);
    return v;
}
static __device__ __forceinline__ float gq_warp_max(float v)
{
    for (int o = 16; o > 0; o >>= 1)
        v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, o));
    return v;
}

/* ---- tensor cores and asynchronous copies (sm_80 and later) ---------------------------------- */

#ifndef GQ_ON_HOST
/* d += a b: one warp, m16n8k16, row-major a, column-major b, bf16 operands, float sums. Fragments as in
 * the PTX manual: lane l, g = l/4, t = l%4. a[0]: (row g, cols 2t,2t+1); a[1]: row g+8; a[2]: cols +8;
 * a[3]: row g+8, cols +8. b[0]: (rows 2t,2t+1, col g); b[1]: rows +8. d[0],d[1]: (row g, cols 2t,2t+1);
 * d[2],d[3]: row g+8. The lower 16 bits hold the lower index. */
static __device__ __forceinline__ void gq_mma_16816(float d[4], const uint32_t a[4], const uint32_t b[2])
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/* Four (two) 8x8 matrices of 16-bit elements from shared memory: lane l gives the address of row l%8 of
 * matrix l/8 (16 bytes, aligned) and gets in r[i] the elements 2t, 2t+1 of row g of matrix i. _trans: of the transposed. */
static __device__ __forceinline__ void gq_ldmatrix_x4(uint32_t r[4], const void *row)
{
    uint32_t s = (uint32_t)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(s) : "memory");
}
static __device__ __forceinline__ void gq_ldmatrix_x4_trans(uint32_t r[4], const void *row)
{
    uint32_t s = (uint32_t)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(s) : "memory");
}
/* 16 bytes to shared memory without passing a register; zeros when !there (src is not read). */
static __device__ __forceinline__ void gq_copy16(void *shared, const void *src, bool there)
{
    uint32_t s = (uint32_t)__cvta_generic_to_shared(shared);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(s), "l"(src), "r"(there ? 16 : 0) : "memory");
}
static __device__ __forceinline__ void gq_copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/* Until at most N of this thread's committed groups are under way; a barrier must follow before others read. */
template <int N> static __device__ __forceinline__ void gq_copy_wait()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}
#endif

/* ---- the tensor cores of sm_90a ---------------------------------------------------------------
 * GQ_WGMMA: they are there. Not on other GPUs nor in the shim; who uses them has the same product by gq_mma_16816.
 *
 * Operands in shared memory are tiles of 64 bf16 columns, rows of 128 bytes behind each other, whose 16-byte pieces
 * are permuted by (row & 7) and which begin on 1,024 bytes. */
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define GQ_WGMMA 1

/* A tile as operand. 8 rows further are 1,024 bytes, both where k runs along a row and, "turned", down the rows.
 * 16 of k further: 32 bytes, or turned 2,048; descriptors count in 16 bytes. */
static __device__ __forceinline__ uint64_t gq_wgmma_tile(const void *tile)
{
    uint64_t at = (uint32_t)__cvta_generic_to_shared(tile) >> 4 & 0x3fff;
    return at | (uint64_t)1 << 16 | (uint64_t)(1024 >> 4) << 32 | (uint64_t)1 << 62;
}
#define GQ_WGMMA_SUMS(d)                                                                           \
    "+f"(d[0][0]), "+f"(d[0][1]), "+f"(d[0][2]), "+f"(d[0][3]), "+f"(d[1][0]), "+f"(d[1][1]),      \
        "+f"(d[1][2]), "+f"(d[1][3]), "+f"(d[2][0]), "+f"(d[2][1]), "+f"(d[2][2]), "+f"(d[2][3]),  \
        "+f"(d[3][0]), "+f"(d[3][1]), "+f"(d[3][2]), "+f"(d[3][3]), "+f"(d[4][0]), "+f"(d[4][1]),  \
        "+f"(d[4][2]), "+f"(d[4][3]), "+f"(d[5][0]), "+f"(d[5][1]), "+f"(d[5][2]), "+f"(d[5][3]),  \
        "+f"(d[6][0]), "+f"(d[6][1]), "+f"(d[6][2]), "+f"(d[6][3]), "+f"(d[7][0]), "+f"(d[7][1]),  \
        "+f"(d[7][2]), "+f"(d[7][3])
#define GQ_WGMMA_START                                                                             \
    "{\n.reg .pred adds;\n"                                                                        \
    "setp.ne.b32 adds, %32, 0;\n"                                                                  \
    "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, "  \
    "%13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
/* Starts d (+)= a b for a warpgroup: 64 x 64 sums, k of 16; warp w has rows [16 w, 16 w + 16) of d and, where a is in
 * registers, of a, both as in gq_mma_16816 with columns [8 n, 8 n + 8) in d[n]. */
template <bool A_TURNED, bool B_TURNED>
static __device__ __forceinline__ void gq_wgmma(float d[8][4], uint64_t a, uint64_t b, bool adds)
{
    asm volatile(GQ_WGMMA_START "%33, %34, adds, 1, 1, %35, %36;\n}"
                 : GQ_WGMMA_SUMS(d)
                 : "r"((int)adds), "l"(a), "l"(b), "n"((int)A_TURNED), "n"((int)B_TURNED)
                 : "memory");
}
template <bool B_TURNED>
static __device__ __forceinline__ void gq_wgmma(float d[8][4], const uint32_t a[4], uint64_t b, bool adds)
{
    asm volatile(GQ_WGMMA_START "{%33, %34, %35, %36}, %37, adds, 1, 1, %38;\n}"
                 : GQ_WGMMA_SUMS(d)
                 : "r"((int)adds), "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"((int)B_TURNED)
                 : "memory");
}
#endif

/* Before the first product of a batch, and after its registers were written. */
static __device__ __forceinline__ void gq_wgmma_begin()
{
#ifdef GQ_WGMMA
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}
static __device__ __forceinline__ void gq_wgmma_commit()
{
#ifdef GQ_WGMMA
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}
/* Until at most N committed batches are under way. */
template <int N> static __device__ __forceinline__ void gq_wgmma_wait()
{
#ifdef GQ_WGMMA
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
#endif
}
/* Sums are what they are from here on: the compiler does not know that a product goes on behind its instruction. */
static __device__ __forceinline__ void gq_wgmma_take(float d[8][4])
{
#ifdef GQ_WGMMA
    asm volatile("" : GQ_WGMMA_SUMS(d)::"memory");
#endif
}
/* What this thread wrote to shared memory will be seen by products that are started behind a barrier. */
static __device__ __forceinline__ void gq_wgmma_publish()
{
#ifdef GQ_WGMMA
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

/* 2^x; no denormals. */
static __device__ __forceinline__ float gq_exp2(float x)
{
#ifdef GQ_ON_HOST
    return exp2f(x);
#else
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#endif
}

static __device__ __forceinline__ uint32_t gq_bf16x2(float lower, float upper)
{
#ifndef GQ_ON_HOST                           /* one instruction, the same rounding                      */
    uint32_t both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(upper), "f"(lower));
    return both;
#else
    return (uint32_t)gq_to_bf16(lower).bits | (uint32_t)gq_to_bf16(upper).bits << 16;
#endif
}

#endif
