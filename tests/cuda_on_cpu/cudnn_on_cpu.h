/* cudnn_on_cpu.h - cuDNN's place in the machine that runs CUDA kernels on the host.
 *
 * A plan is its graph, and running it computes the graph node by node with the meaning cuDNN's
 * documentation gives the nodes. What cuDNN leaves open is made to show: rows and columns beyond the
 * lengths given to a product become NaN. It is not there unless a test says so: the tests of the op
 * are of the own kernels.
 */
#ifndef GIFQA_TESTS_CUDNN_ON_CPU_H
#define GIFQA_TESTS_CUDNN_ON_CPU_H

#include "tests/cuda_on_cpu/shim_api.h"

#ifdef __cplusplus
extern "C" {
#endif
/* From the next device on: is cuDNN there? */
GQ_SHIM_API void gq_shim_cudnn(int there);

/* One direction of sdpa by kernels/cuda/cudnn_sdpa.cu, on a device of its own, and the wait for it; buffers are in
 * the host's memory. 1: done; 0: it is not for cuDNN; negative with an error: it failed. twice: once more, captured. */
GQ_SHIM_API int gq_shim_cudnn_sdpa(const gq_call *c, int backward, int twice, gq_error *err);
#ifdef __cplusplus
}
#endif
#endif
