/* shim_kernels.cpp - kernels for the self test of the machine (shim.c), right ones and wrong ones. */
#include "tests/cuda_on_cpu/shim_kernels.h"
#include "kernels/cuda/cuda.h"

#include <time.h>

/* ---- barriers, shuffles, votes ----------------------------------------------------------------- */

static __global__ void block_sums(const float *x, int without, float *out)
{
    GQ_SHARED(float, part, [256]);
    unsigned t = threadIdx.x;
    part[t] = x[blockIdx.x * 256 + t];
    if (without != 1)
        __syncthreads();
    for (unsigned s = 128; s > 0; s >>= 1) {
        if (t < s)
            part[t] += part[t + s];
        if (without != 2)
            __syncthreads();
    }
    if (t == 0)
        out[blockIdx.x] = part[0];
}
int shim_block_sums(const float *x, int blocks, int without, float *out)
{
    gq_shim_launch(nullptr, "block_sums", block_sums, dim3((unsigned)blocks), 256, 0, x, without, out);
    return cudaStreamSynchronize(nullptr);
}

static __global__ void shuffles(const float *x, float *out, double *wide, uint32_t *votes)
{
    int   t = (int)threadIdx.x, lane = t % 32;
    float v = x[t];
    out[0 * 64 + t] = __shfl_sync(0xffffffffu, v, 5);
    out[1 * 64 + t] = __shfl_sync(0xffffffffu, v, lane + 1, 8);
    out[2 * 64 + t] = __shfl_xor_sync(0xffffffffu, v, 9);
    out[3 * 64 + t] = __shfl_xor_sync(0xffffffffu, v, 8, 8);
    out[4 * 64 + t] = __shfl_up_sync(0xffffffffu, v, 3);
    out[5 * 64 + t] = __shfl_down_sync(0xffffffffu, v, 3);
    out[6 * 64 + t] = __shfl_down_sync(0xffffffffu, v, 5, 16);
    out[7 * 64 + t] = gq_warp_sum(v);
    wide[t] = __shfl_xor_sync(0xffffffffu, (double)v / 3, 1);
    wide[64 + t] = (double)__shfl_xor_sync(0xffffffffu, ((uint64_t)t << 40) + 1, 2);
    votes[t] = __ballot_sync(0xffffffffu, v > 0.5f);
    votes[64 + t] = (uint32_t)__any_sync(0xffffffffu, t == 40);
    votes[128 + t] = (uint32_t)__all_sync(0xffffffffu, t < 40);
}
int shim_shuffles(const float *x, float *out, double *wide, uint32_t *votes)
{
    gq_shim_launch(nullptr, "shuffles", shuffles, 1, 64, 0, x, out, wide, votes);
    return cudaStreamSynchronize(nullptr);
}

static __global__ void order_seen(unsigned *next, uint64_t *sum)
{
    sum[0] += (uint64_t)atomicAdd(next, 1u) * (blockIdx.x * 64 + threadIdx.x);
    __syncthreads();
    sum[0] += (uint64_t)atomicAdd(next, 1u) * (blockIdx.x * 64 + threadIdx.x);
}
uint64_t shim_order_seen(void)
{
    unsigned next = 0;
    uint64_t sum = 0;
    gq_shim_launch(nullptr, "order_seen", order_seen, dim3(2, 2), 64, 0, &next, &sum);
    cudaStreamSynchronize(nullptr);
    return sum;
}

/* ---- tensor cores, copies ---------------------------------------------------------------------- */

static __global__ void product(const uint16_t *a, const uint16_t *b, bool b_is_kn, float *out)
{
    GQ_DYNAMIC(uint16_t, tile);
    uint16_t *bt = tile + 16 * 24;       /* rows of 24 elements: 48 bytes                         */
    uint32_t  ra[4], rb[4];
    float     d[2][4] = {{0, 0, 0, 0}, {0, 0, 0, 0}};
    int       l = (int)threadIdx.x;
    for (int i = l; i < 256; i += 32) {
        tile[i / 16 * 24 + i % 16] = a[i];
        bt[i / 16 * 24 + i % 16] = b[i];
    }
    __syncwarp();
    gq_ldmatrix_x4(ra, tile + l % 16 * 24 + l / 16 * 8);
    if (b_is_kn)
        gq_ldmatrix_x4_trans(rb, bt + l % 16 * 24 + l / 16 * 8);
    else
        gq_ldmatrix_x4(rb, bt + (l % 8 + l / 16 * 8) * 24 + l / 8 % 2 * 8);
    for (int half = 0; half < 2; half++) {
        gq_mma_16816(d[half], ra, rb + 2 * half);
        for (int i = 0; i < 4; i++)
            out[(l / 4 + i / 2 * 8) * 16 + half * 8 + l % 4 * 2 + i % 2] = d[half][i];
    }
}
int shim_product(const uint16_t *a, const uint16_t *b_kn, const uint16_t *b_nk, float *out_kn, float *out_nk)
{
    gq_shim_launch(nullptr, "product", product, 1, 32, 2 * 16 * 24 * 2, a, b_kn, true, out_kn);
    gq_shim_launch(nullptr, "product", product, 1, 32, 2 * 16 * 24 * 2, a, b_nk, false, out_nk);
    return cudaStreamSynchronize(nullptr);
}

static __global__ void copies(const float *x, float *out)
{
    GQ_SHARED(float4, to, [64]);
    int    t = (int)threadIdx.x;
    float *mine = reinterpret_cast<float *>(&to[t]), *next = reinterpret_cast<float *>(&to[32 + t]);
    gq_copy16(&to[t], x + 4 * t, true);
    gq_copy_commit();
    gq_copy16(&to[32 + t], x + 128 + 4 * t, t < 16);
    gq_copy_commit();
    out[4 * t] = mine[0];
    gq_copy_wait<1>();
    for (int i = 0; i < 4; i++)
        out[128 + 4 * t + i] = i < 3 ? mine[i] : next[0];
    gq_copy_wait<0>();
    for (int i = 0; i < 4; i++)
        out[256 + 4 * t + i] = next[i];
    gq_copy16(&to[t], x, true);
    out[384 + t] = mine[0];
    gq_copy_commit();
    gq_copy_wait<0>();
}
int shim_copies(const float *x, float *out)
{
    gq_shim_launch(nullptr, "copies", copies, 1, 32, 0, x, out);
    return cudaStreamSynchronize(nullptr);
}

/* ---- shared memory, mistakes ------------------------------------------------------------------- */

static __global__ void uninitialised(float *out, int32_t *word)
{
    GQ_SHARED(float, a, [32]);
    GQ_SHARED(gq_bf16, b, [33]);
    GQ_DYNAMIC(float, c);
    out[0] = a[31];
    memcpy(word, &a[31], sizeof *word);
    out[1] = gq_load(b[32]);
    out[2] = c[99];
    __syncthreads();
    a[threadIdx.x] = c[threadIdx.x] = 1;
    b[threadIdx.x + 1] = gq_to_bf16(1);
}
int shim_uninitialised(float *out, int32_t *word)
{
    gq_shim_launch(nullptr, "uninitialised", uninitialised, 2, 32, 400, out, word);
    return cudaStreamSynchronize(nullptr);
}

static __device__ void collective_of_some(shim_mistake wrong, int t)
{
    if (wrong == SHIM_BARRIER_OF_SOME) {
        if (t < 40)
            __syncthreads();
        __syncwarp();
    }
    if (wrong == SHIM_TWO_BARRIERS) {
        if (t < 32)
            __syncthreads();
        else
            __syncthreads();
    }
    if (wrong == SHIM_SHUFFLE_OF_SOME && t % 32 < 30)
        __shfl_xor_sync(0xffffffffu, t, 1);
    if (wrong == SHIM_TWO_COLLECTIVES) {
        if (t % 2)
            __shfl_xor_sync(0xffffffffu, t, 1);
        else
            __syncwarp();
    }
    if (wrong == SHIM_PART_MASK)
        __syncwarp(0xffffu);
}
static __global__ void mistake(shim_mistake wrong, int one)
{
    GQ_SHARED(float, before, [32]);
    GQ_SHARED(float, part, [32]);
    int    t = (int)threadIdx.x;
    float *p = part;
    before[t % 32] = part[t % 32] = 0;
    collective_of_some(wrong, t);
    if (wrong == SHIM_OVER_STATIC)
        p[31 + one] = 1;
    if (wrong == SHIM_UNDER_STATIC)
        p[-one] = 1;
    if (wrong >= SHIM_OVER_DYNAMIC && wrong <= SHIM_NO_DYNAMIC) {
        GQ_DYNAMIC(float, tile);
        if (wrong == SHIM_OVER_DYNAMIC)
            tile[24 + one] = 1;
        if (wrong == SHIM_UNDER_DYNAMIC)
            tile[-one] = 1;
    }
    uint32_t r[4];
    if (wrong == SHIM_ROW_NOT_SHARED)
        gq_ldmatrix_x4(r, p + 32);
    if (wrong == SHIM_COPY_UNALIGNED)
        gq_copy16(p + one, nullptr, false);
}
int shim_wrong(shim_mistake wrong)
{
    size_t bytes = wrong == SHIM_OVER_DYNAMIC || wrong == SHIM_UNDER_DYNAMIC ? 100
                   : wrong == SHIM_MUCH_SHARED                               ? 227 * 1024
                                                                             : 0;
    if (bytes > 48 * 1024)
        cudaFuncSetAttribute(mistake, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
    gq_shim_launch(nullptr, "mistake", mistake, dim3(1, 2), 64, bytes, wrong, 1);
    return cudaStreamSynchronize(nullptr);
}

/* ---- the runtime ------------------------------------------------------------------------------- */

#define MUST(x) do { if (!(x)) return __LINE__; } while (0)

static __global__ void twice(float *x, int n)
{
    int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < n)
        x[i] *= 2;
}

int shim_launch_limits(void)
{
    static float x[64];
    gq_shim_launch(nullptr, "twice", twice, 1, 1056, 0, x, 64);
    MUST(cudaGetLastError() == cudaErrorInvalidConfiguration);
    gq_shim_launch(nullptr, "twice", twice, dim3(0), 64, 0, x, 64);
    MUST(cudaGetLastError() == cudaErrorInvalidConfiguration);
    gq_shim_launch(nullptr, "twice", twice, dim3(1, 65536), 64, 0, x, 64);
    MUST(cudaGetLastError() == cudaErrorInvalidConfiguration);
    gq_shim_launch(nullptr, "twice", twice, 1, 64, 48 * 1024 + 4, x, 64);
    MUST(cudaGetLastError() == cudaErrorInvalidValue);
    MUST(cudaFuncSetAttribute(twice, cudaFuncAttributeMaxDynamicSharedMemorySize, 227 * 1024 + 1) ==
         cudaErrorInvalidValue);
    MUST(cudaGetLastError() == cudaErrorInvalidValue && cudaGetLastError() == cudaSuccess);
    MUST(cudaFuncSetAttribute(twice, cudaFuncAttributeMaxDynamicSharedMemorySize, 227 * 1024) == cudaSuccess);
    gq_shim_launch(nullptr, "twice", twice, 1, 64, 227 * 1024, x, 64);
    MUST(cudaGetLastError() == cudaSuccess && cudaStreamSynchronize(nullptr) == cudaSuccess);
    return 0;
}

int shim_streams(void)
{
    float       *x = nullptr, *locked = nullptr, host[64], ms = -1;
    cudaStream_t a, b;
    cudaEvent_t  e, f;
    MUST(cudaMalloc(&x, sizeof host) == cudaSuccess && cudaMallocHost(&locked, sizeof host) == cudaSuccess);
    MUST(cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking) == cudaSuccess && cudaStreamCreate(&b) == cudaSuccess);
    MUST(cudaEventCreate(&e) == cudaSuccess && cudaEventCreateWithFlags(&f, cudaEventDisableTiming) == cudaSuccess);
    for (int i = 0; i < 64; i++)
        host[i] = locked[i] = (float)i;

    /* pageable memory is taken at once, page-locked memory when its turn comes */
    MUST(cudaMemcpyAsync(x, host, sizeof host, cudaMemcpyHostToDevice, a) == cudaSuccess);
    host[1] = -1;
    gq_shim_launch(a, "twice", twice, 1, 64, 0, x, 64);
    MUST(cudaMemcpyAsync(host, x, sizeof host, cudaMemcpyDeviceToHost, a) == cudaSuccess);
    MUST(host[1] == 2 && host[63] == 126);
    MUST(cudaMemcpyAsync(x, locked, sizeof host, cudaMemcpyHostToDevice, a) == cudaSuccess);
    locked[1] = 10;
    gq_shim_launch(a, "twice", twice, 1, 64, 0, x, 64);

    /* b waits for what a does before e, not for more; a copy to page-locked memory is not done before a wait */
    MUST(cudaEventRecord(e, a) == cudaSuccess && cudaEventElapsedTime(&ms, e, e) == cudaErrorNotReady);
    gq_shim_launch(a, "twice", twice, 1, 64, 0, x, 64);
    MUST(cudaStreamWaitEvent(b, e, 0) == cudaSuccess);
    MUST(cudaMemcpyAsync(locked, x, sizeof host, cudaMemcpyDeviceToHost, b) == cudaSuccess && locked[1] == 10);
    MUST(cudaStreamSynchronize(b) == cudaSuccess && locked[1] == 20);
    MUST(cudaEventRecord(f, a) == cudaSuccess && cudaEventSynchronize(f) == cudaSuccess);
    MUST(cudaMemcpy(host, x, sizeof host, cudaMemcpyDeviceToHost) == cudaSuccess && host[1] == 40);
    MUST(cudaEventElapsedTime(&ms, e, f) == cudaSuccess && ms >= 0);

    MUST(cudaGetLastError() == cudaErrorNotReady);
    MUST(cudaEventDestroy(e) == cudaSuccess && cudaEventDestroy(f) == cudaSuccess);
    MUST(cudaStreamDestroy(a) == cudaSuccess && cudaStreamDestroy(b) == cudaSuccess &&
         cudaStreamDestroy(b) != cudaSuccess);
    MUST(cudaFree(x) == cudaSuccess && cudaFreeHost(locked) == cudaSuccess && cudaFree(nullptr) == cudaSuccess);
    cudaGetLastError();
    return 0;
}

static int captured(cudaStream_t s, cudaStream_t side, cudaEvent_t e, float *x, float *locked, cudaGraph_t *graph)
{
    cudaStreamCaptureStatus status;
    MUST(cudaStreamBeginCapture(s, cudaStreamCaptureModeGlobal) == cudaSuccess);
    MUST(cudaStreamIsCapturing(s, &status) == cudaSuccess && status == cudaStreamCaptureStatusActive);
    MUST(cudaMemcpyAsync(x, locked, 64 * sizeof *x, cudaMemcpyHostToDevice, s) == cudaSuccess);
    gq_shim_launch(s, "twice", twice, 1, 64, 0, x, 64);
    MUST(cudaEventRecord(e, s) == cudaSuccess && cudaStreamWaitEvent(side, e, 0) == cudaSuccess);
    gq_shim_launch(side, "twice", twice, 1, 64, 0, x, 32);
    MUST(cudaEventRecord(e, side) == cudaSuccess && cudaStreamWaitEvent(s, e, 0) == cudaSuccess);
    gq_shim_host(s, [=] { locked[0] += 1; });
    MUST(cudaStreamEndCapture(s, graph) == cudaSuccess);
    MUST(cudaStreamIsCapturing(side, &status) == cudaSuccess && status == cudaStreamCaptureStatusNone);
    return 0;
}
int shim_graphs(void)
{
    float          *x = nullptr, *locked = nullptr, *more = nullptr, host[64];
    cudaStream_t    s, side;
    cudaEvent_t     e;
    cudaGraph_t     graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    MUST(cudaMalloc(&x, sizeof host) == cudaSuccess && cudaMallocHost(&locked, sizeof host) == cudaSuccess);
    MUST(cudaStreamCreate(&s) == cudaSuccess && cudaStreamCreate(&side) == cudaSuccess &&
         cudaEventCreate(&e) == cudaSuccess);
    for (int i = 0; i < 64; i++)
        locked[i] = (float)i;
    int line = captured(s, side, e, x, locked, &graph);
    if (line)
        return line;
    MUST(cudaGraphInstantiate(&exec, graph, 0) == cudaSuccess && cudaGraphDestroy(graph) == cudaSuccess);
    MUST(cudaStreamSynchronize(s) == cudaSuccess && locked[0] == 0);         /* nothing was done      */
    MUST(cudaGraphLaunch(exec, s) == cudaSuccess && locked[0] == 0);         /* nor yet               */
    MUST(cudaMemcpyAsync(host, x, sizeof host, cudaMemcpyDeviceToHost, s) == cudaSuccess);
    MUST(locked[0] == 1 && host[1] == 4 && host[33] == 66);
    locked[1] = 100;
    MUST(cudaGraphLaunch(exec, s) == cudaSuccess && cudaGraphLaunch(exec, s) == cudaSuccess);
    MUST(cudaMemcpyAsync(host, x, sizeof host, cudaMemcpyDeviceToHost, s) == cudaSuccess);
    MUST(locked[0] == 3 && host[0] == 8 && host[1] == 400);

    /* what may not be done during a capture ends it */
    for (int what = 0; what < 4; what++) {
        MUST(cudaStreamBeginCapture(s, cudaStreamCaptureModeGlobal) == cudaSuccess);
        MUST((what == 0   ? cudaStreamSynchronize(s)
              : what == 1 ? cudaMalloc(&more, 4)
              : what == 2 ? cudaFree(x)
                          : cudaMemcpy(host, x, 4, cudaMemcpyDeviceToHost)) == cudaErrorStreamCaptureUnsupported);
        MUST(cudaStreamEndCapture(s, &graph) == cudaErrorStreamCaptureInvalidated && !graph && !more);
    }
    /* but in another stream it does not wait for, where the mode leaves that to the caller */
    MUST(cudaStreamBeginCapture(s, cudaStreamCaptureModeRelaxed) == cudaSuccess);
    MUST(cudaStreamSynchronize(side) == cudaSuccess && cudaStreamSynchronize(s) == cudaErrorStreamCaptureUnsupported);
    MUST(cudaStreamEndCapture(s, &graph) == cudaErrorStreamCaptureInvalidated);
    cudaGetLastError();
    MUST(cudaGraphExecDestroy(exec) == cudaSuccess && cudaEventDestroy(e) == cudaSuccess);
    MUST(cudaStreamDestroy(s) == cudaSuccess && cudaStreamDestroy(side) == cudaSuccess);
    MUST(cudaFree(x) == cudaSuccess && cudaFreeHost(locked) == cudaSuccess);
    return 0;
}

static __global__ void write_at(unsigned char *p, long i) { p[i] = 1; }
static __global__ void read_first(const float *p, float *out) { out[0] = p[0]; }

int shim_memory(void)
{
    gq_shim_counts before = gq_shim_count(), now;
    unsigned char *p = nullptr, *q = nullptr;
    float         *x = nullptr, out = 0;
    size_t         room, total, less;
    MUST(cudaMemGetInfo(&room, &total) == cudaSuccess && cudaMalloc(&p, 1000) == cudaSuccess);
    MUST(cudaMemGetInfo(&less, &total) == cudaSuccess && less < room);
    gq_shim_fail_malloc(2);
    MUST(cudaMalloc(&x, 64) == cudaSuccess && cudaMalloc(&q, 64) == cudaErrorMemoryAllocation && !q);
    MUST(cudaMalloc(&q, total) == cudaErrorMemoryAllocation && cudaMalloc(&q, 64) == cudaSuccess);
    MUST(((uintptr_t)p | (uintptr_t)q | (uintptr_t)x) % 256 == 0);
    now = gq_shim_count();
    MUST(now.device_blocks == before.device_blocks + 3 && now.mallocs == before.mallocs + 5);
    gq_shim_launch(nullptr, "read_first", read_first, 1, 32, 0, x, &out);
    MUST(cudaStreamSynchronize(nullptr) == cudaSuccess && out != out);
    MUST(cudaFree(x) == cudaSuccess && cudaFree(q) == cudaSuccess &&
         cudaFree(p + 1) != cudaSuccess && cudaFreeHost(p) != cudaSuccess);
    cudaGetLastError();
#ifndef __SANITIZE_ADDRESS__             /* it ends the program at the access                     */
    gq_shim_launch(nullptr, "write_at", write_at, 1, 32, 0, p, 1000L);
    MUST(cudaStreamSynchronize(nullptr) == cudaSuccess && !gq_shim_fault());
    MUST(cudaFree(p) == cudaSuccess && gq_shim_fault());
#else
    gq_shim_launch(nullptr, "write_at", write_at, 1, 32, 0, p, 999L);
    MUST(cudaFree(p) == cudaSuccess && !gq_shim_fault());
#endif
    MUST(gq_shim_count().device_bytes == before.device_bytes &&
         gq_shim_count().device_blocks == before.device_blocks);
    return 0;
}
const char *shim_device_block(void)
{
    char *p = nullptr;
    return cudaMalloc(&p, 64) == cudaSuccess ? p : nullptr;
}

template <class T, int N> static __global__ void filled(T *out, T value)
{
    GQ_SHARED(T, part, [N]);
    for (int i = (int)threadIdx.x; i < N; i += (int)blockDim.x)
        part[i] = value;
    __syncthreads();
    for (int i = (int)threadIdx.x; i < N; i += (int)blockDim.x)
        out[i] = part[N - 1 - i];
}
template <class T, int N> static int filled_launched(T value)
{
    T       out[N];
    gq_cuda d = {};
    GQ_LAUNCH(&d, (filled<T, N>), 1, 32, 0, out, value);
    GQ_LAUNCH(&d, (filled<T, N>), dim3(0), 32, 0, out, value);
    MUST(cudaStreamSynchronize(nullptr) == cudaSuccess && d.launches == 1 && d.error.code == GQ_OK);
    for (int i = 0; i < N; i++)
        MUST(out[i] == value);
    return 0;
}
int shim_templates(void)
{
    int line = filled_launched<float, 40>(1.5f);
    return line ? line : filled_launched<int, 7>(3);
}

static __global__ void many_switches(int n, float *out)
{
    float v = (float)threadIdx.x;
    for (int i = 0; i < n; i++)
        v += __shfl_xor_sync(0xffffffffu, v, 1) * 0.25f;
    out[threadIdx.x] = v;
}
double shim_nanoseconds_a_switch(void)
{
    static float   out[1024];
    gq_shim_counts before = gq_shim_count();
    clock_t        t = clock();
    gq_shim_launch(nullptr, "many_switches", many_switches, 10, 1024, 0, 100, out);
    cudaStreamSynchronize(nullptr);
    double seconds = (double)(clock() - t) / CLOCKS_PER_SEC;
    return seconds * 1e9 / (double)(gq_shim_count().switches - before.switches);
}
