/* dispatch.c - which rung this machine gets. Compiled once, for the baseline instruction set. */
#include <stdbool.h>
#include <string.h>

#ifdef GQ_HAVE_AMX
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

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

#ifdef GQ_HAVE_AMX
/* Linux saves tiles only for a process that asked. Its consent holds for every thread and may be
 * asked for again, so nothing is remembered here. */
static bool has_amx(void)
{
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18, AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24 };
    unsigned a, b, c, d;
    return has_avx512bf16() && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & AMX_BF16) &&
           (d & AMX_TILE) && syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
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
    {0},
};

static const rung bf16_rungs[] = {
#ifdef GQ_HAVE_AMX
    {"amx", &gq_backend_cpu_amx_avx512bf16, has_amx},
#endif
#ifdef GQ_HAVE_X86_RUNGS
    {"avx512bf16", &gq_backend_cpu_pairs_avx512bf16, has_avx512bf16},
#endif
    {0},
};

static const gq_backend *choose(const rung *r, const char *name)
{
    bool any = !name || strcmp(name, "auto") == 0;
    for (; r->name; r++)
        if ((any || strcmp(name, r->name) == 0) && r->supported())
            return r->backend;
    return NULL;
}

const gq_backend *gq_backend_cpu(const char *name) { return choose(rungs, name); }
const gq_backend *gq_backend_cpu_bf16(const char *name) { return choose(bf16_rungs, name); }
