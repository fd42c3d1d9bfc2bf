/* machine.h - private to the library cuda_on_cpu: between the fibres (shim.cpp) and the runtime (runtime.cpp). */
#ifndef GIFQA_TESTS_SHIM_MACHINE_H
#define GIFQA_TESTS_SHIM_MACHINE_H

#include "tests/cuda_on_cpu/shim.h"
#include "tests/cuda_on_cpu/shim_api.h"

enum { GQ_SHIM_THREADS = 1024, GQ_SHIM_STATIC_BYTES = 48 * 1024, GQ_SHIM_SHARED_BYTES = 227 * 1024 };

/* What memory holds at first (of shared memory one of several, shim.cpp): NaN as float and as either bf16, large as an integer */
constexpr uint32_t GQ_SHIM_POISON = 0x7fa57fa5u;
void gq_shim_poison(void *p, size_t bytes);

extern gq_shim_counts gq_shim_counted;

/* Notes a fault or aborts with it. */
void gq_shim_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* false: there was a fault, and it was noted */
bool gq_shim_grid(const char *name, dim3 grid, dim3 block, size_t bytes, void (*call)(const void *), const void *args);

#endif
