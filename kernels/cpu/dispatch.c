/* dispatch.c - which rung this machine gets. Compiled once, for the baseline instruction set. */
#include <stdbool.h>
#include <string.h>

#include "kernels/cpu/backend.h"

#ifdef GQ_HAVE_X86_RUNGS
static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

static bool has_avx512bf16(void)
{
    return has_avx512() && __builtin_cpu_supports("avx512bf16");
}
#endif

static bool has_baseline(void)
{
    return true;
}

typedef struct rung {
    const char       *name;
    const gq_backend *backend;
    bool            (*supported)(void);
} rung;

static const rung rungs[] = {           /* best first                                             */
#ifdef GQ_HAVE_X86_RUNGS
    {"avx512bf16", &gq_backend_cpu_avx512bf16, has_avx512bf16},
    {"avx512", &gq_backend_cpu_avx512, has_avx512},
    {"avx2", &gq_backend_cpu_avx2, has_avx2},
#endif
    {"scalar", &gq_backend_cpu_scalar, has_baseline},
};

const gq_backend *gq_backend_cpu(const char *name)
{
    bool any = !name || strcmp(name, "auto") == 0;
    for (size_t i = 0; i < sizeof rungs / sizeof *rungs; i++)
        if ((any || strcmp(name, rungs[i].name) == 0) && rungs[i].supported())
            return rungs[i].backend;
    return NULL;
}

const gq_backend *gq_backend_cpu_bf16(void)
{
#ifdef GQ_HAVE_X86_RUNGS
    if (has_avx512bf16())
        return &gq_backend_cpu_pairs_avx512bf16;
#endif
    return NULL;
}
