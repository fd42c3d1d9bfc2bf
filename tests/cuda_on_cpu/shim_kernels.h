/* shim_kernels.h - what shim.c calls of shim_kernels.cpp: small kernels with known results. Each host function starts
 * its kernel, waits, and returns what cudaStreamSynchronize() said. */
#ifndef GIFQA_TESTS_SHIM_KERNELS_H
#define GIFQA_TESTS_SHIM_KERNELS_H

#include "tests/cuda_on_cpu/shim_api.h"

#ifdef __cplusplus
extern "C" {
#endif

/* out[blocks] = sums of x[blocks * 256]; without: no barrier at that step (0: all are there) */
GQ_SHIM_API int shim_block_sums(const float *x, int blocks, int without, float *out);
GQ_SHIM_API double shim_nanoseconds_a_switch(void);

#ifdef __cplusplus
}
#endif
#endif
