/* lt_on_host.h - what a C test sees of the matrix products of the CUDA column on the host: gemm.cu over
 * the stand-in for cuBLASLt (lt_on_host.cpp), part of the library cuda_on_cpu. Devices are the ->device of
 * gq_backend_on_host(); buffers are in its memory; errors show at its finish(). */
#ifndef GIFQA_TESTS_LT_ON_HOST_H
#define GIFQA_TESTS_LT_ON_HOST_H

#include "kernels/cuda/gemm.h"
#include "tests/cuda_on_cpu/shim_api.h"

#ifdef __cplusplus
extern "C" {
#endif

GQ_SHIM_API void gq_lt_test_gemm(gq_device *d, const gq_gemm *g, const void *a, const void *b, void *out, void *bias,
                                 void *aux, const void *addend);
GQ_SHIM_API bool gq_lt_test_has(gq_device *d, const gq_gemm *g);
GQ_SHIM_API void gq_lt_test_tune(gq_device *d, bool on);
GQ_SHIM_API uint64_t gq_lt_test_descriptor_calls(gq_device *d);
GQ_SHIM_API void gq_lt_test_count(gq_device *d, size_t *plans, size_t *choices);
/* The text into what is at `text`; its length without the NUL, or 0: no memory, no room. */
GQ_SHIM_API size_t gq_lt_test_choices(gq_device *d, char *text, size_t room);
GQ_SHIM_API gq_status gq_lt_test_choices_take(gq_device *d, const char *text, gq_error *err);
/* Forgets plans and choices, as a new process would. */
GQ_SHIM_API gq_status gq_lt_test_reopen(gq_device *d, gq_error *err);

/* The n-th call of the library that returns a status fails (1: the next); 0: none does. */
GQ_SHIM_API void gq_lt_on_host_fail(int n);
/* The algorithms (1..) that the library offers, and the one that the last product used. Number 3 is
 * refused by its check; with `offers` 0 no product is possible. */
GQ_SHIM_API void gq_lt_on_host_offer(int offers);
GQ_SHIM_API int  gq_lt_on_host_used(void);
/* Descriptors, layouts, preferences and handles that are alive. */
GQ_SHIM_API int  gq_lt_on_host_alive(void);

#ifdef __cplusplus
}
#endif
#endif
