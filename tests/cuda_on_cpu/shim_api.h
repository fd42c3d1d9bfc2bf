/* shim_api.h - what a C test sees of the library cuda_on_cpu: the CUDA column run by the host.
 *
 * The .cu files of kernels/cuda, compiled by the host's C++ compiler; every GPU thread is a fibre.
 * Nothing else of that library is visible: its gq_cuda_* and cuda* are not those of a GPU build.
 *
 * As on a GPU, work that was started is not done before somebody waits (a download, finish()): a
 * test that forgets to wait sees what was there before.
 *
 * Faults are what a GPU would not forgive: a barrier or warp collective that not all threads reach,
 * writes beyond shared or device memory, too much shared memory. A fault prints kernel, block and
 * thread and aborts; inside gq_shim_catch(1) it ends its launch and its text is kept.
 */
#ifndef GIFQA_TESTS_SHIM_API_H
#define GIFQA_TESTS_SHIM_API_H

#ifdef __cplusplus
extern "C" {
#endif
#include "kernels/kernels.h"

#define GQ_SHIM_API __attribute__((visibility("default")))

/* The CUDA backend on this machine's CPU; NULL with an error. It belongs to the process. */
GQ_SHIM_API const gq_backend *gq_backend_on_host(int bf16, gq_error *err);

/* The order in which the threads of a block and the blocks of a grid run. 0: by index; else a
 * permutation made from the seed, another one after every barrier: a result that depends on the
 * seed has a missing barrier. What shared memory holds at first depends on it, too: NaN with 0, else
 * one of four words, drawn for each block. */
GQ_SHIM_API void gq_shim_order(unsigned seed);

/* The n-th cudaMalloc or cudaMallocHost from now fails (1: the next one); 0: none does. */
GQ_SHIM_API void gq_shim_fail_malloc(int n);

/* The device's memory from now on, in bytes; 0: as much as there can be, 8 GiB. */
GQ_SHIM_API void gq_shim_memory(size_t bytes);

GQ_SHIM_API void        gq_shim_catch(int on);
/* The first fault since the last call, NULL: none. Valid until the next fault. */
GQ_SHIM_API const char *gq_shim_fault(void);

typedef struct gq_shim_counts {
    uint64_t launches, blocks, switches;   /* kernels and their blocks that ran, changes of fibre */
    uint64_t syncs;                        /* host calls that waited for a stream                 */
    uint64_t mallocs, device_blocks;       /* calls of cudaMalloc; blocks not freed yet           */
    uint64_t device_bytes;                 /* of these blocks                                     */
} gq_shim_counts;
GQ_SHIM_API gq_shim_counts gq_shim_count(void);

#ifdef __cplusplus
}
#endif
#endif
