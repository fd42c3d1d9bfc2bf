/* column.h - which CUDA column a test is about. Some tests of this folder are compiled twice: for the
 * column that the host runs (shim_api.h), and with GQ_TEST_ON_GPU as tests/gpu_* for that of the first
 * GPU, where they skip on a machine without one.
 */
#ifndef GIFQA_TESTS_COLUMN_H
#define GIFQA_TESTS_COLUMN_H

#include "kernels/kernels.h"
#include "tests/support.h"

#ifndef GQ_TEST_ON_GPU
#include "tests/cuda_on_cpu/shim_api.h"
#endif

/* The order in which threads run; a GPU has its own, another one every time. */
static inline void column_order(unsigned seed)
{
#ifdef GQ_TEST_ON_GPU
    (void)seed;
#else
    gq_shim_order(seed);
#endif
}

/* First in a test: the column for float and for bfloat16; where there is no GPU the test is skipped. */
static inline void need_column(const gq_backend *be[2])
{
    gq_error err = {0};
    for (int bf16 = 0; bf16 < 2; bf16++) {
#ifdef GQ_TEST_ON_GPU
        be[bf16] = gq_backend_cuda(0, bf16, &err);
        if (!be[bf16]) {
            print_message("skipped: %s\n", err.text);
            skip();
        }
#else
        be[bf16] = gq_backend_on_host(bf16, &err);
        if (!be[bf16])
            fail_msg("%s", err.text);
#endif
    }
}

#endif
