/* shim_kernels.h - what shim.c calls of shim_kernels.cpp. Each function starts a kernel, waits, and returns what
 * cudaStreamSynchronize() said, unless another meaning is given. */
#ifndef GIFQA_TESTS_SHIM_KERNELS_H
#define GIFQA_TESTS_SHIM_KERNELS_H

#include "tests/cuda_on_cpu/shim_api.h"

#ifdef __cplusplus
extern "C" {
#endif

/* out[blocks] = sums of x[blocks * 256]; without: that barrier is left out (0: none) */
GQ_SHIM_API int shim_block_sums(const float *x, int blocks, int without, float *out);

/* Row r of out[SHIM_SHUFFLES][64]: what shuffle r brought to 64 threads that have x[64] */
enum { SHIM_SHUFFLES = 8, SHIM_VOTES = 3 };
GQ_SHIM_API int shim_shuffles(const float *x, float *out, double *wide, uint32_t *votes);

/* out[16,16] = a[16,16] b[16,16]; b is [k,n] in b_kn and [n,k] in b_nk; the two ways to load it */
GQ_SHIM_API int shim_product(const uint16_t *a, const uint16_t *b_kn, const uint16_t *b_nk,
                             float *out_kn, float *out_nk);

/* out[4][128]: two groups of copies of x[256] (the last 64 are not there), read after waiting for none, one,
 * both; what a later copy to the first place leaves */
GQ_SHIM_API int shim_copies(const float *x, float *out);

/* out[3]: an uninitialised float of static shared memory, a bf16, a float of dynamic; word: the first as an integer */
GQ_SHIM_API int shim_uninitialised(float *out, int32_t *word);

/* Kernels with one mistake each; `wrong` names it. */
typedef enum shim_mistake {
    SHIM_RIGHT, SHIM_BARRIER_OF_SOME, SHIM_TWO_BARRIERS, SHIM_SHUFFLE_OF_SOME, SHIM_TWO_COLLECTIVES, SHIM_PART_MASK,
    SHIM_OVER_STATIC, SHIM_UNDER_STATIC, SHIM_OVER_DYNAMIC, SHIM_UNDER_DYNAMIC, SHIM_NO_DYNAMIC, SHIM_MUCH_SHARED,
    SHIM_ROW_NOT_SHARED, SHIM_COPY_UNALIGNED, SHIM_MISTAKES
} shim_mistake;
GQ_SHIM_API int shim_wrong(shim_mistake wrong);

/* These return 0 or the line of shim_kernels.cpp that failed. */
GQ_SHIM_API int shim_launch_limits(void);
GQ_SHIM_API int shim_streams(void);
GQ_SHIM_API int shim_graphs(void);
GQ_SHIM_API int shim_memory(void);
GQ_SHIM_API int shim_templates(void);

/* The sum of thread numbers in the order in which threads and blocks ran, times position: differs between orders. */
GQ_SHIM_API uint64_t shim_order_seen(void);

/* Device memory that the host must not touch; NULL: none. */
GQ_SHIM_API const char *shim_device_block(void);

GQ_SHIM_API double shim_nanoseconds_a_switch(void);

#ifdef __cplusplus
}
#endif
#endif
