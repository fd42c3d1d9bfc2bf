/* relative.h - T5's buckets of relative positions (Raffel et al. 2020): which row of the bias table a
 * (query, key) pair reads. Shared by core/ops/sdpa.c, which lays the buckets out, and all backends.
 *
 * With r = key - query: one-sided buckets see only how far back a key is, d = max(0, -r). Two-sided
 * ones (`both`) take d = |r| and give keys after the query the upper half of the rows. Distances below
 * `exact` have a row each; the rest of a side's n rows grow by equal ratios up to `far`, and the last
 * one holds everything beyond:
 *   row = d < exact ? d : min(n - 1, exact + floor(ln(d/exact) / ln(far/exact) * (n - exact)))
 * The logarithms are taken once, on the host: kernels compare integers.
 */
#ifndef GIFQA_KERNELS_RELATIVE_H
#define GIFQA_KERNELS_RELATIVE_H

#include <math.h>

#include "kernels/kernels.h"

#ifdef __CUDACC__
#define GQ_RELATIVE __host__ __device__ static inline
#else
#define GQ_RELATIVE static inline
#endif

/* r = key position - query position */
GQ_RELATIVE int32_t gq_relative_bucket(const gq_relative *rel, int32_t r)
{
    int32_t d = r < 0 ? -r : rel->both ? r : 0, row = d;
    if (d >= rel->exact) {
        row = rel->exact;
        for (int32_t k = 0; k < rel->edges && d >= rel->edge[k]; k++)
            row++;
    }
    return rel->both && r > 0 ? row + rel->exact + rel->edges + 1 : row;
}

/* Lays out `buckets` rows, even and 4..64 in all (two-sided: at most 128), the last from about `far` on.
 * Returns 0 where that cannot be. */
static inline int gq_relative_set(gq_relative *rel, int buckets, int far, int both)
{
    int n = both ? buckets / 2 : buckets, exact = n / 2;
    int most = (int)(sizeof rel->edge / sizeof *rel->edge);

    if (buckets < 4 || buckets % (both ? 4 : 2) != 0 || n - exact - 1 > most || far <= exact)
        return 0;
    rel->both = both;
    rel->exact = exact;
    rel->edges = n - exact - 1;
    for (int k = 0, d = exact; k < rel->edges; k++) {
        /* an edge is where the ratio reaches a whole step; a hair less than one counts, for the
         * powers that are whole in theory and not in arithmetic */
        while (log((double)d / exact) / log((double)far / exact) * (n - exact) < k + 1 - 1e-9)
            d++;
        rel->edge[k] = d;
    }
    return 1;
}

#endif
