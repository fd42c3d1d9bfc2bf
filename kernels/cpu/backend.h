/* backend.h - the backends of all rungs; which of them are built depends on the compiler's target.
 * Private. */
#ifndef GIFQA_CPU_BACKEND_H
#define GIFQA_CPU_BACKEND_H

#include "kernels/kernels.h"

extern const gq_backend gq_backend_cpu_scalar, gq_backend_cpu_avx2, gq_backend_cpu_avx512,
    gq_backend_cpu_avx512bf16;
extern const gq_backend gq_backend_cpu_pairs_avx512bf16,            /* linear with bf16 operands  */
    gq_backend_cpu_amx_avx512bf16;                                  /* the same by AMX tiles      */

#endif
