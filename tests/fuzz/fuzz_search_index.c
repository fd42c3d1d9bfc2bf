/* fuzz_search_index.c - any bytes as an index of frames. The first byte: 1 mends the checksums, so
 * that what lies behind them is reached; 2 more GIFs than one, 4 more rows of one GIF are wanted.
 * What is accepted names GIFs of the file, in order of distance, each no more often than was asked
 * for, and its distances are those of the rows as the target itself reads them. */
#include "fuzz.h"

#include <math.h>

#include "data/search_file.h"

enum { DIM = 4096, HITS = 8 };

/* Offset of table t, from the counts of the tail; false: they make no sense. */
static bool table_at(const gq_search_head *h, const gq_search_tail *t, size_t size, int table,
                     size_t *at, size_t *bytes)
{
    uint64_t n[GQ_SEARCH_TABLES] = {t->gifs + 1, t->gifs + 1, t->blocks + 1, t->blocks,
                                    t->blocks,   t->blocks};
    size_t   row = (size_t)gq_search_stride(h->dim) * (h->bf16 ? 2 : 4);

    if (t->gifs > size || t->blocks > size || t->rows > size || h->dim > DIM)
        return false;
    *at = GQ_SEARCH_HEAD + row * t->rows;
    for (int i = 0; i <= table; i++) {
        *bytes = h->bf16 && i >= GQ_SEARCH_LOW ? 0 : n[i] * 8;
        *at += i < table ? *bytes : 0;
    }
    return *at + *bytes <= size;
}

static uint64_t at64(const uint8_t *data, size_t at)
{
    uint64_t v;
    memcpy(&v, data + at, sizeof v);
    return v;
}

/* The sums of the blocks. */
static void mend_rows(uint8_t *data, const gq_search_head *h, const gq_search_tail *t, size_t size)
{
    size_t row, gif, sum, low, n, half = (size_t)gq_search_stride(h->dim) * 2;

    if (!table_at(h, t, size, GQ_SEARCH_ROW, &row, &n) ||
        !table_at(h, t, size, GQ_SEARCH_GIF, &gif, &n) ||
        !table_at(h, t, size, GQ_SEARCH_SUM, &sum, &n) ||
        !table_at(h, t, size, GQ_SEARCH_LOW, &low, &n))
        return;
    for (size_t b = 0; b < t->blocks; b++) {
        uint64_t g = at64(data, gif + 8 * b), end = at64(data, gif + 8 * b + 8), first, rows, hash;
        if (g > t->gifs || end > t->gifs)
            return;
        first = at64(data, row + 8 * g);
        rows = at64(data, row + 8 * end) - first;
        if (first > t->rows || rows > t->rows - first)
            return;
        uint8_t *upper = data + GQ_SEARCH_HEAD + first * half * (h->bf16 ? 1 : 2);
        hash = gq_xxh64(upper, rows * half);
        memcpy(data + sum + 8 * b, &hash, sizeof hash);
        hash = gq_xxh64(upper + rows * half, h->bf16 ? 0 : rows * half);
        if (!h->bf16)
            memcpy(data + low + 8 * b, &hash, sizeof hash);
    }
}

static void mend(uint8_t *data, size_t size)
{
    gq_search_head h;
    gq_search_tail t;
    size_t         at = GQ_SEARCH_HEAD, bytes = 0;

    if (size < GQ_SEARCH_HEAD + GQ_SEARCH_TAIL)
        return;
    memcpy(&h, data, sizeof h);
    memcpy(&t, data + size - sizeof t, sizeof t);
    mend_rows(data, &h, &t, size);
    t.head = gq_xxh64(&h, sizeof h);
    for (int i = 0; i < GQ_SEARCH_TABLES; i++)
        if (table_at(&h, &t, size, i, &at, &bytes))
            t.table[i] = gq_xxh64(data + at, bytes);
    if (at + bytes <= size && t.name_bytes <= size - at - bytes)
        t.names = gq_xxh64(data + at + bytes, t.name_bytes);
    t.sum = gq_search_tail_sum(&t);
    memcpy(data + size - sizeof t, &t, sizeof t);
}

/* |row - query| of a file that was accepted. */
static double distance(const uint8_t *data, size_t size, int64_t row, const double *query)
{
    gq_search_head h;
    gq_search_tail t;
    size_t         rows, gif, n, half, block = 0;
    uint64_t       first, end;
    double         sum = 0;

    memcpy(&h, data, sizeof h);
    memcpy(&t, data + size - sizeof t, sizeof t);
    half = (size_t)gq_search_stride(h.dim) * 2;
    must(table_at(&h, &t, size, GQ_SEARCH_ROW, &rows, &n), "no table");
    must(table_at(&h, &t, size, GQ_SEARCH_GIF, &gif, &n), "no table");
    do {
        first = at64(data, rows + 8 * at64(data, gif + 8 * block));
        end = at64(data, rows + 8 * at64(data, gif + 8 * ++block));
    } while ((uint64_t)row >= end);
    for (uint32_t d = 0; d < h.dim; d++) {
        const uint8_t *u = data + GQ_SEARCH_HEAD + first * half * (h.bf16 ? 1 : 2) +
                           ((uint64_t)row - first) * half + 2 * d,
                      *l = u + (end - first) * half;
        uint32_t bits = (uint32_t)(u[0] | u[1] << 8) << 16;
        float    x;
        if (!h.bf16)
            bits += (uint32_t)(l[0] | l[1] << 8) - (l[1] & 0x80 ? 0x10000u : 0);
        memcpy(&x, &bits, sizeof x);
        sum += ((double)x - query[d]) * ((double)x - query[d]);
    }
    return sqrt(sum);
}

static void check_hits(const uint8_t *data, size_t size, gq_search *x, int64_t k, int64_t each)
{
    const gq_search_info *about = gq_search_about(x);
    float                 query[DIM];
    double                whole[DIM], length = 0;
    gq_search_hit         hit[HITS];
    gq_error              err = {0};
    int64_t               n;
    gq_status             s;

    if (about->dim > DIM)
        return;
    for (int64_t d = 0; d < about->dim; d++) {
        query[d] = (float)(1.0 / (double)(d + 1));
        length += (double)query[d] * (double)query[d];
    }
    for (int64_t d = 0; d < about->dim; d++)
        whole[d] = (double)query[d] / sqrt(length);
    s = gq_search_find(x, NULL, query, k, each, hit, &n, &err);
    if (s != GQ_OK) {
        fz_refused(s, &err, GQ_EINPUT);
        return;
    }
    must(n >= 0 && n <= k, "%d hits", (int)n);
    for (int64_t i = 0, same = 0; i < n; i++) {
        double d;
        must(hit[i].row >= 0 && hit[i].row < about->rows && hit[i].frame >= 0, "row %lld",
             (long long)hit[i].row);
        must(strlen(hit[i].gif) < size, "a name");
        d = distance(data, size, hit[i].row, whole);
        must(isnan(d) || fabs(d - hit[i].distance) <= 1e-12 * d, "row %lld: %.17g, not %.17g",
             (long long)hit[i].row, hit[i].distance, d);
        must(i == 0 || !(hit[i].distance < hit[i - 1].distance), "hit %d is nearer", (int)i);
        for (int64_t j = same = 0; j < i; j++) {
            must(hit[j].row != hit[i].row, "row %lld twice", (long long)hit[i].row);
            same += hit[j].gif == hit[i].gif;
        }
        must(same < each, "%d rows of one GIF", (int)same + 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gq_search  *x;
    gq_error    err = {0};
    uint8_t    *copy;
    const char *path;
    gq_status   s;

    if (!size)
        return 0;
    copy = malloc(size);
    must(copy, "memory");
    memcpy(copy, data + 1, size - 1);
    if (data[0] & 1)
        mend(copy, size - 1);
    path = fz_put("index.bin", copy, size - 1);
    s = gq_search_open(path, &x, &err);
    if (s == GQ_OK)
        check_hits(copy, size - 1, x, data[0] & 2 ? HITS : 1, data[0] & 4 ? 3 : 1);
    else
        fz_refused(s, &err, GQ_EINPUT);
    must(s == GQ_OK || !x, "open in spite of '%s'", err.text);
    gq_search_close(x);
    free(copy);
    return 0;
}
