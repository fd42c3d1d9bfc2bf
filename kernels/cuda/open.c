/* open.c - gq_backend_cuda(): the CUDA column is a library of its own, opened when a GPU is asked for.
 *
 * The toolkit's objects register their kernels before main() and cannot survive a failed allocation
 * there; programs that run on the CPU have none of that. Part of libgifqa, in every build. */
#include <dlfcn.h>

#include "kernels/kernels.h"

const gq_backend *gq_backend_cuda(int index, int bf16, gq_error *err)
{
#ifdef GQ_CUDA_MODULE
    typedef const gq_backend *open_column(int index, int bf16, gq_error *err);
    static open_column *column;
    void               *library, *found;

    if (!column) {
        library = dlopen(GQ_CUDA_MODULE, RTLD_NOW | RTLD_LOCAL);
        if (!library) {
            gq_fail(err, GQ_EUSAGE, "no GPU: " GQ_CUDA_MODULE ", a part of gifqa, cannot be opened: %s", dlerror());
            return NULL;
        }
        found = dlsym(library, "gq_backend_cuda");
        if (!found) {
            gq_fail(err, GQ_EUSAGE, "no GPU: " GQ_CUDA_MODULE " is not a part of gifqa");
            return NULL;
        }
        __builtin_memcpy(&column, &found, sizeof column);
    }
    return column(index, bf16, err);
#else
    (void)index;
    (void)bf16;
    gq_fail(err, GQ_EUSAGE,
            "this build of gifqa has no GPU backend: configure with the CUDA toolkit (-DGIFQA_CUDA=ON)");
    return NULL;
#endif
}
