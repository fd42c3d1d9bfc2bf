/* device.cu - one GPU: its stream, its memory, the step block, captured graphs. */
#include "kernels/cuda/cuda.h"

gq_device *gq_cuda_open(int index, gq_error *err)
{
    gq_fail(err, GQ_EBUG, "GPU %d: not built yet", index);
    return NULL;
}

void gq_cuda_fail(gq_cuda *d, cudaError_t code, const char *call, const char *file, int line)
{
    if (d->error.code == GQ_OK)
        gq_fail(&d->error, code == cudaErrorMemoryAllocation ? GQ_ENOMEM : GQ_EBUG, "%s:%d: %s on GPU %d: %s",
                file, line, call, d->index, cudaGetErrorString(code));
}
