/* clipcut_on_cpu.h - kernels/cuda/clipcut.h of the library cuda_on_cpu, under names of its own. */
#ifndef GIFQA_TESTS_CLIPCUT_ON_CPU_H
#define GIFQA_TESTS_CLIPCUT_ON_CPU_H

#include "kernels/cuda/clipcut.h"
#include "tests/cuda_on_cpu/shim_api.h"

#ifdef __cplusplus
extern "C" {
#endif
GQ_SHIM_API size_t gq_shim_clipcut_temp(int64_t n, int64_t dim, int32_t group);
GQ_SHIM_API void   gq_shim_clipcut(gq_device *device, const gq_cuda_clipcut_call *c);
#ifdef __cplusplus
}
#endif
#endif
