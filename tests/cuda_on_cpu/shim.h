/* shim.h - the GPU for the host compiler: what kernels/cuda/gpu.h offers to a kernel, by fibres.
 *
 * A block's threads are fibres of one OS thread; blocks run one after the other. A fibre runs until it
 * meets a barrier or a warp collective: one warp goes as far as it gets, then the next. Any two accesses
 * that nothing orders are therefore made in either order under some gq_shim_order(), and what the GPU
 * does seldom happens here at once. Before a block its shared memory is full of signalling NaNs, as are
 * the 16 bytes of a gq_copy16 until the thread has waited for it.
 *
 * __shared__ is not there on purpose (GQ_SHARED, GQ_DYNAMIC), nor are float atomics.
 */
#ifndef GIFQA_TESTS_SHIM_H
#define GIFQA_TESTS_SHIM_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <tuple>

#include "tests/cuda_on_cpu/runtime.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n)    __attribute__((aligned(n)))

/* ---- types ----------------------------------------------------------------------------------- */

#define GQ_SHIM_VECTOR(type, name)                                                                 \
    struct alignas(2 * sizeof(type)) name##2 { type x, y; };                                       \
    struct name##3 { type x, y, z; };                                                              \
    struct alignas(4 * sizeof(type) < 16 ? 4 * sizeof(type) : 16) name##4 { type x, y, z, w; };    \
    static inline name##2 make_##name##2(type x, type y) { return {x, y}; }                        \
    static inline name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; }             \
    static inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
GQ_SHIM_VECTOR(float, float)
GQ_SHIM_VECTOR(double, double)
GQ_SHIM_VECTOR(int, int)
GQ_SHIM_VECTOR(unsigned, uint)
GQ_SHIM_VECTOR(unsigned short, ushort)
#undef GQ_SHIM_VECTOR

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned vx = 1, unsigned vy = 1, unsigned vz = 1) : x(vx), y(vy), z(vz) {}
};

extern uint3 threadIdx, blockIdx;
extern dim3  blockDim, gridDim;

/* ---- arithmetic ------------------------------------------------------------------------------ */

static inline uint32_t __float_as_uint(float v) { uint32_t u; memcpy(&u, &v, 4); return u; }
static inline float    __uint_as_float(uint32_t u) { float v; memcpy(&v, &u, 4); return v; }
static inline int      __float_as_int(float v) { int u; memcpy(&u, &v, 4); return u; }
static inline float    __int_as_float(int u) { float v; memcpy(&v, &u, 4); return v; }
static inline float    rsqrtf(float v) { return 1.0f / sqrtf(v); }
template <class T> static inline T __ldg(const T *p) { return *p; }
static inline int      atomicAdd(int *p, int v) { int old = *p; *p = (int)((unsigned)old + (unsigned)v); return old; }
static inline unsigned atomicAdd(unsigned *p, unsigned v) { unsigned old = *p; *p = old + v; return old; }

/* ---- collectives (shim.cpp) ------------------------------------------------------------------
 * The line is the caller's: threads of a block that meet in different lines are a fault.         */

void __syncthreads(int line = __builtin_LINE());
void __syncwarp(unsigned mask = 0xffffffffu, int line = __builtin_LINE());

typedef enum gq_shim_kind { GQ_SHIM_NONE, GQ_SHIM_SYNCTHREADS, GQ_SHIM_SYNCWARP, GQ_SHIM_SHFL, GQ_SHIM_SHFL_XOR,
                            GQ_SHIM_SHFL_UP, GQ_SHIM_SHFL_DOWN, GQ_SHIM_BALLOT, GQ_SHIM_ANY, GQ_SHIM_ALL,
                            GQ_SHIM_MMA, GQ_SHIM_LDMATRIX, GQ_SHIM_LDMATRIX_TRANS } gq_shim_kind;
/* The value that shuffle `kind` brings to this lane; the mask with the lanes whose bit is set. */
uint64_t gq_shim_shuffle(gq_shim_kind kind, unsigned mask, uint64_t bits, int by, int width, int line);
unsigned gq_shim_vote(gq_shim_kind kind, unsigned mask, bool yes, int line);

template <class T>
static inline T gq_shim_shuffled(gq_shim_kind kind, unsigned mask, T v, int by, int width, int line)
{
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles move 4 or 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &v, sizeof v);
    bits = gq_shim_shuffle(kind, mask, bits, by, width, line);
    memcpy(&v, &bits, sizeof v);
    return v;
}
template <class T>
static inline T __shfl_sync(unsigned mask, T v, int lane, int width = 32, int line = __builtin_LINE())
{
    return gq_shim_shuffled(GQ_SHIM_SHFL, mask, v, lane, width, line);
}
template <class T>
static inline T __shfl_xor_sync(unsigned mask, T v, int bits, int width = 32, int line = __builtin_LINE())
{
    return gq_shim_shuffled(GQ_SHIM_SHFL_XOR, mask, v, bits, width, line);
}
template <class T>
static inline T __shfl_up_sync(unsigned mask, T v, unsigned by, int width = 32, int line = __builtin_LINE())
{
    return gq_shim_shuffled(GQ_SHIM_SHFL_UP, mask, v, (int)by, width, line);
}
template <class T>
static inline T __shfl_down_sync(unsigned mask, T v, unsigned by, int width = 32, int line = __builtin_LINE())
{
    return gq_shim_shuffled(GQ_SHIM_SHFL_DOWN, mask, v, (int)by, width, line);
}
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline unsigned __ballot_sync(unsigned mask, int yes, int line = __builtin_LINE())
{
    return gq_shim_vote(GQ_SHIM_BALLOT, mask, yes != 0, line);
}
static inline int __any_sync(unsigned mask, int yes, int line = __builtin_LINE())
{
    return gq_shim_vote(GQ_SHIM_ANY, mask, yes != 0, line) != 0;
}
static inline int __all_sync(unsigned mask, int yes, int line = __builtin_LINE())
{
    return gq_shim_vote(GQ_SHIM_ALL, mask, yes != 0, line) == 0xffffffffu;
}

/* ---- shared memory --------------------------------------------------------------------------- */

/* The same address for all threads of a block that come with this key. */
void *gq_shim_shared(const void *key, const char *name, size_t bytes, size_t align);
void *gq_shim_dynamic(size_t align);

#define GQ_SHARED(type, name, extent)                                                              \
    static const char name##_key = 0;                                                              \
    typedef type name##_type extent;                                                               \
    name##_type &name =                                                                            \
        *static_cast<name##_type *>(gq_shim_shared(&name##_key, #name, sizeof(name##_type), alignof(name##_type)))
#define GQ_DYNAMIC(type, name) type *name = static_cast<type *>(gq_shim_dynamic(alignof(type)))

/* ---- tensor cores and asynchronous copies: as in gpu.h --------------------------------------- */

void gq_mma_16816(float d[4], const uint32_t a[4], const uint32_t b[2], int line = __builtin_LINE());
void gq_ldmatrix_x4(uint32_t r[4], const void *row, int line = __builtin_LINE());
void gq_ldmatrix_x4_trans(uint32_t r[4], const void *row, int line = __builtin_LINE());
void gq_shim_copy16(void *shared, uint4 data, int line);
static inline void gq_copy16(void *shared, const void *src, bool there, int line = __builtin_LINE())
{
    gq_shim_copy16(shared, there ? *static_cast<const uint4 *>(src) : uint4{0, 0, 0, 0}, line);
}
void gq_copy_commit();
void gq_shim_copy_wait(int groups);
template <int N> static inline void gq_copy_wait() { gq_shim_copy_wait(N); }

/* ---- launches -------------------------------------------------------------------------------- */

/* call(args) is one thread of the kernel; drop(args) frees what was made for this launch. */
void gq_shim_start(cudaStream_t s, const char *name, const void *kernel, dim3 grid, dim3 block, size_t bytes,
                   const void *args, void (*call)(const void *), void (*drop)(const void *));

/* kernel<<<grid, block, bytes, s>>>(a...): cudaGetLastError() tells whether it may start. */
template <class... P, class... A>
static inline void gq_shim_launch(cudaStream_t s, const char *name, void (*kernel)(P...), dim3 grid, dim3 block,
                                  size_t bytes, A... a)
{
    typedef std::tuple<void (*)(P...), P...> args;
    gq_shim_start(
        s, name, reinterpret_cast<const void *>(kernel), grid, block, bytes,
        new args(kernel, static_cast<P>(a)...),
        [](const void *p) {
            std::apply([](auto k, auto... v) { k(v...); }, *static_cast<const args *>(p));
        },
        [](const void *p) { delete static_cast<const args *>(p); });
}

/* Host code in the order of a stream, captured like a launch: f() is called when its turn comes. For what a
 * library does on a GPU (cuBLASLt). */
void gq_shim_host_start(cudaStream_t s, const void *f, void (*call)(const void *), void (*drop)(const void *));
template <class F> static inline void gq_shim_host(cudaStream_t s, F f)
{
    gq_shim_host_start(s, new F(f), [](const void *p) { (*static_cast<const F *>(p))(); },
                       [](const void *p) { delete static_cast<const F *>(p); });
}

#endif
