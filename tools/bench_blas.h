/* bench_blas.h - an OpenBLAS of this machine, opened at run time: gifqa neither needs nor links
 * one. */
#ifndef GIFQA_TOOLS_BENCH_BLAS_H
#define GIFQA_TOOLS_BENCH_BLAS_H

#include <stdbool.h>

#include "core/status.h"

enum { BENCH_ROW_MAJOR = 101, BENCH_PLAIN = 111, BENCH_TRANSPOSED = 112 };    /* of cblas.h       */

typedef struct bench_blas {
    void *library;                      /* NULL: not open                                         */
    void (*sgemm)(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a,
                  int lda, const float *b, int ldb, float beta, float *c, int ldc);
    void (*set_threads)(int);
    char core[64];                      /* the kernels it chose, "SkylakeX"                       */
    char config[256];                   /* version and build options                              */
} bench_blas;

/* path: a library file or name; NULL: libopenblas.so.0. Not there, or not an OpenBLAS:
 * GQ_EINPUT. */
gq_status bench_blas_open(bench_blas *b, const char *path, gq_error *err);
void      bench_blas_close(bench_blas *b);

#endif
