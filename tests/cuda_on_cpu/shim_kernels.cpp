/* shim_kernels.cpp - kernels for the self test of the machine (shim.c), right ones and wrong ones. */
#include "kernels/cuda/gpu.h"
#include "tests/cuda_on_cpu/shim_kernels.h"

#include <time.h>

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

static __global__ void many_switches(int n, float *out)
{
    float v = (float)threadIdx.x;
    for (int i = 0; i < n; i++)
        v += __shfl_xor_sync(0xffffffffu, v, 1) * 0.25f;
    out[threadIdx.x] = v;
}
double shim_nanoseconds_a_switch(void)
{
    static float out[1024];
    gq_shim_counts before = gq_shim_count();
    clock_t t = clock();
    gq_shim_launch(nullptr, "many_switches", many_switches, 10, 1024, 0, 100, out);
    cudaStreamSynchronize(nullptr);
    double s = (double)(clock() - t) / CLOCKS_PER_SEC;
    return s * 1e9 / (double)(gq_shim_count().switches - before.switches);
}
