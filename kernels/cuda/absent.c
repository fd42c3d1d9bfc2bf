/* absent.c - gq_backend_cuda() of a build without the CUDA toolkit. */
#include "kernels/kernels.h"

const gq_backend *gq_backend_cuda(int index, int bf16, gq_error *err)
{
    (void)index;
    (void)bf16;
    gq_fail(err, GQ_EUSAGE,
            "this build of gifqa has no GPU backend: configure with the CUDA toolkit (-DGIFQA_CUDA=ON)");
    return NULL;
}
