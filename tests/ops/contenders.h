/* contenders.h - the backends of this machine, and how two results are compared. */
#ifndef GIFQA_TESTS_OPS_CONTENDERS_H
#define GIFQA_TESTS_OPS_CONTENDERS_H

#include "tests/ops/ops.h"

typedef struct contender {
    const gq_backend *be;
    double unit, gemm_operand;
} contender;

static inline int contenders(contender list[8])
{
    static const char *const rungs[] = {"scalar", "avx2", "avx512", "avx512bf16"};
    int n = 0;
    list[n++] = (contender){&gq_backend_ref64, 0x1p-53, 0};
    list[n++] = (contender){&gq_backend_ref32, 0x1p-24, 0};
    for (size_t i = 0; i < sizeof rungs / sizeof rungs[0]; i++)
        if (gq_backend_cpu(rungs[i]))
            list[n++] = (contender){gq_backend_cpu(rungs[i]), 0x1p-24, 0};
    for (size_t i = 0; i < 2; i++) {                          /* 8 bits of significand            */
        const gq_backend *be = gq_backend_cpu_bf16(i == 0 ? "avx512bf16" : "amx");
        if (be)
            list[n++] = (contender){be, 0x1p-24, 0x1p-9};
    }
    return n;
}

/* Both sides may be off by the bound; see cpu_vs_ref.c for float. */
static inline void compare(const char *what, int64_t n, const double *got, const double *want,
                           const num *allowed)
{
    for (int64_t i = 0; i < n; i++) {
        double bound = 2 * allowed[i].e;
        if (isnan(allowed[i].v))                              /* left undefined by the contract   */
            continue;
        if (!(fabs(got[i] - want[i]) <= bound))
            fail_msg("%s[%lld] of %lld: got %.9g, want %.9g, off by %.3g, may be off by %.3g", what,
                     (long long)i, (long long)n, got[i], want[i], got[i] - want[i], bound);
    }
}

static inline void same_bits(const char *what, int64_t n, const double *a, const double *b)
{
    for (int64_t i = 0; i < n; i++)
        if (memcmp(&a[i], &b[i], sizeof *a) != 0 && !(isnan(a[i]) && isnan(b[i])))
            fail_msg("%s[%lld] differs: %.17g and %.17g", what, (long long)i, a[i], b[i]);
}

#endif
