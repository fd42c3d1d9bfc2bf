#include "train/compare.h"

#include <math.h>
#include <string.h>

enum { PIECE = 4096 };                  /* elements converted at a time                           */


/* `n` elements from number `from` on, as a tensor */
static gq_st_tensor part(const gq_st_tensor *t, uint64_t from, uint64_t n)
{
    gq_st_tensor p = *t;
    size_t       size = gq_st_dtype_size(t->dtype);
    p.data = (const uint8_t *)t->data + from * size;
    p.count = n;
    p.bytes = (size_t)n * size;
    return p;
}

static void compare_piece(const gq_st_tensor *a, const gq_st_tensor *b, uint64_t from,
                          gq_compare_row *out)
{
    double         x[PIECE], y[PIECE];
    size_t         size = gq_st_dtype_size(a->dtype);
    const uint8_t *p = a->data, *q = b->data;
    bool numbers = gq_st_read_f64(a, x, NULL) == GQ_OK && gq_st_read_f64(b, y, NULL) == GQ_OK;

    for (uint64_t i = 0; i < a->count; i++, p += size, q += size) {
        if (memcmp(p, q, size) == 0)
            continue;
        if (out->elements++ == 0)
            out->first = from + i;
        if (!numbers)
            continue;
        double d = fabs(x[i] - y[i]);
        if (isnan(x[i]) || isnan(y[i]))
            out->nan++;
        else if (d > out->max_abs)
            out->max_abs = d;
    }
}

void gq_compare_tensor(const gq_st_tensor *a, const gq_st_tensor *b, gq_compare_row *out)
{
    *out = (gq_compare_row){.kind = GQ_CMP_SHAPE, .a = a, .b = b};
    if (a->dtype != b->dtype || a->rank != b->rank ||
        memcmp(a->shape, b->shape, sizeof a->shape[0] * (size_t)a->rank) != 0)
        return;
    out->kind = GQ_CMP_EQUAL;
    for (uint64_t at = 0; at < a->count; at += PIECE) {
        uint64_t     n = a->count - at < PIECE ? a->count - at : PIECE;
        gq_st_tensor pa = part(a, at, n), pb = part(b, at, n);
        if (memcmp(pa.data, pb.data, pa.bytes) != 0)
            compare_piece(&pa, &pb, at, out);
    }
    if (out->elements)
        out->kind = GQ_CMP_VALUES;
}

uint64_t gq_compare_sets(const gq_safetensors *a, const gq_safetensors *b, gq_compare_fn fn,
                         void *ctx)
{
    uint64_t       differ = 0;
    gq_compare_row row;
    for (size_t i = 0; i < gq_st_count(a); i++) {
        const gq_st_tensor *x = gq_st_at(a, i), *y = gq_st_find(b, x->name);
        if (y)
            gq_compare_tensor(x, y, &row);
        else
            row = (gq_compare_row){.kind = GQ_CMP_ONLY_A, .a = x};
        differ += row.kind != GQ_CMP_EQUAL;
        if (!fn(ctx, &row))
            return differ;
    }
    for (size_t i = 0; i < gq_st_count(b); i++) {
        const gq_st_tensor *y = gq_st_at(b, i);
        if (gq_st_find(a, y->name))
            continue;
        row = (gq_compare_row){.kind = GQ_CMP_ONLY_B, .b = y};
        differ++;
        if (!fn(ctx, &row))
            return differ;
    }
    return differ;
}
