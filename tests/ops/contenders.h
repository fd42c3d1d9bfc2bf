/* contenders.h - the backends of this machine, and how two results are compared. */
#ifndef GIFQA_TESTS_OPS_CONTENDERS_H
#define GIFQA_TESTS_OPS_CONTENDERS_H

#include "tests/ops/ops.h"

typedef struct contender {
    const gq_backend *be;
    double unit, gemm_operand, intermediate;                  /* see number.h                     */
    double added;       /* rounding of a product before it is added to a stored gradient: BF16_ERROR or 0 */
    void (*turn)(int i);                /* a backend whose runs are repeated in another order of its
                                         * threads (i > 0), not with more of them; NULL: with more */
} contender;

static inline int contenders(contender list[8])
{
    static const char *const rungs[] = {"scalar", "avx2", "avx512", "avx512bf16"};
    int n = 0;
    list[n++] = (contender){.be = &gq_backend_ref64, .unit = 0x1p-53};
    list[n++] = (contender){.be = &gq_backend_ref32, .unit = 0x1p-24};
    for (size_t i = 0; i < sizeof rungs / sizeof rungs[0]; i++)
        if (gq_backend_cpu(rungs[i]))
            list[n++] = (contender){.be = gq_backend_cpu(rungs[i]), .unit = 0x1p-24};
    for (size_t i = 0; i < 2; i++) {
        const gq_backend *be = gq_backend_cpu_bf16(i == 0 ? "avx512bf16" : "amx");
        if (be)
            list[n++] = (contender){.be = be, .unit = 0x1p-24, .gemm_operand = BF16_ERROR};
    }
    return n;
}

/* Both sides may be off by the bound; see check.h for float. `type`: what the results are stored as. */
static inline void compare_as(int32_t type, const char *what, int64_t n, const double *got,
                              const double *want, const num *allowed)
{
    for (int64_t i = 0; i < n; i++) {
        double bound = 2 * allowed[i].e;
        bool   good = type == GQ_BF16 ? got[i] >= as_stored(type, want[i] - bound) &&
                                            got[i] <= as_stored(type, want[i] + bound)
                                      : fabs(got[i] - want[i]) <= bound;
        if (!good && !isnan(allowed[i].v))                    /* NaN: left undefined by the contract */
            fail_msg("%s[%lld] of %lld: got %.9g, want %.9g, off by %.3g, may be off by %.3g%s", what,
                     (long long)i, (long long)n, got[i], want[i], got[i] - want[i], bound,
                     type == GQ_BF16 ? " before it is stored as bfloat16" : "");
    }
}

static inline void compare(const char *what, int64_t n, const double *got, const double *want,
                           const num *allowed)
{
    compare_as(GQ_F64, what, n, got, want, allowed);
}

static inline void same_bits(const char *what, int64_t n, const double *a, const double *b)
{
    for (int64_t i = 0; i < n; i++)
        if (memcmp(&a[i], &b[i], sizeof *a) != 0 && !(isnan(a[i]) && isnan(b[i])))
            fail_msg("%s[%lld] differs: %.17g and %.17g", what, (long long)i, a[i], b[i]);
}

#endif
