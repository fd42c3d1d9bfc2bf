#include "tools/bench_blas.h"

#include <dlfcn.h>
#include <string.h>

#include "core/text.h"

static void text_of(void *library, const char *symbol, char *out, size_t size)
{
    char *(*get)(void) = NULL;
    void *p = dlsym(library, symbol);

    memcpy(&get, &p, sizeof get); /* ISO C has no cast from object to function pointer      */
    if (get)
        gq_printable(get(), strlen(get()), out, size);
}

gq_status bench_blas_open(bench_blas *b, const char *path, gq_error *err)
{
    void *sgemm, *threads;

    memset(b, 0, sizeof *b);
    if (!path)
        path = "libopenblas.so.0";
    b->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!b->library)
        return gq_fail(err, GQ_EINPUT, "%s", dlerror());
    sgemm = dlsym(b->library, "cblas_sgemm");
    threads = dlsym(b->library, "openblas_set_num_threads");
    if (!sgemm || !threads) {
        bench_blas_close(b);
        return gq_fail(err, GQ_EINPUT, "%s: not an OpenBLAS with cblas_sgemm", path);
    }
    memcpy(&b->sgemm, &sgemm, sizeof sgemm);
    memcpy(&b->set_threads, &threads, sizeof threads);
    text_of(b->library, "openblas_get_corename", b->core, sizeof b->core);
    text_of(b->library, "openblas_get_config", b->config, sizeof b->config);
    return GQ_OK;
}

void bench_blas_close(bench_blas *b)
{
    if (b->library)
        dlclose(b->library);
    b->library = NULL;
}
