/* compare.h - two sets of tensors, compared name by name and bit by bit. */
#ifndef GIFQA_TRAIN_COMPARE_H
#define GIFQA_TRAIN_COMPARE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/safetensors.h"

typedef enum gq_compare_kind {
    GQ_CMP_EQUAL,                       /* the same bits                                          */
    GQ_CMP_VALUES,                      /* same type and shape, other bits                        */
    GQ_CMP_SHAPE,                       /* other type or shape                                    */
    GQ_CMP_ONLY_A,
    GQ_CMP_ONLY_B,
} gq_compare_kind;

typedef struct gq_compare_row {         /* one tensor name                                        */
    gq_compare_kind     kind;
    const gq_st_tensor *a, *b;          /* borrowed; NULL where it is missing                     */
    uint64_t            elements;       /* that differ in some bit (VALUES)                       */
    uint64_t            first;          /* index of the first of them                             */
    double              max_abs;    /* largest |a - b|, both being numbers; 0 for non-float types */
    uint64_t            nan;            /* differing elements where a or b is not a number        */
} gq_compare_row;

/* Compares two tensors that exist on both sides. */
void gq_compare_tensor(const gq_st_tensor *a, const gq_st_tensor *b, gq_compare_row *out);

/* Calls fn once for every name of a or b: those of a in their order, then those only b has. fn
 * may stop the walk by returning false. Returns how many names differ so far. */
typedef bool (*gq_compare_fn)(void *ctx, const gq_compare_row *row);
uint64_t gq_compare_sets(const gq_safetensors *a, const gq_safetensors *b, gq_compare_fn fn,
                         void *ctx);

#endif
