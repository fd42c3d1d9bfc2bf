#include "data/qagen/cap.h"

#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "core/philox.h"

typedef struct item {
    const gq_cap_row *row;
    size_t            at; /* in the caller's rows                                   */
    uint32_t          random;
} item;

static int by_answer(const void *a, const void *b)
{
    const item *x = a, *y = b;
    if (x->row->template != y->row->template)
        return x->row->template <y->row->template ? -1 : 1;
    int order = strcmp(x->row->answer, y->row->answer);
    if (order)
        return order;
    if (x->row->siblings != y->row->siblings)
        return x->row->siblings < y->row->siblings ? -1 : 1;
    if (x->random != y->random)
        return x->random < y->random ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

/* Items from k on with the same template and answer. */
static size_t run_of(const item *list, size_t n, size_t k)
{
    size_t end = k + 1;
    while (end < n && list[end].row->template == list[k].row->template &&
           !strcmp(list[end].row->answer, list[k].row->answer))
        end++;
    return end - k;
}

/* Rows that are kept of items [0, n) of one template when each answer has at most `limit`. */
static size_t kept_with(const item *list, size_t n, size_t limit)
{
    size_t kept = 0;
    for (size_t k = 0, run; k < n; k += run) {
        run = run_of(list, n, k);
        kept += run < limit ? run : limit;
    }
    return kept;
}

/* What is kept grows ever slower with the limit, so once the limit is too large it stays so. */
static size_t find_limit(const item *list, size_t n, double share)
{
    size_t low = 1, high = n; /* low: kept or the least there is                        */
    while (low < high) {
        size_t limit = low + (high - low + 1) / 2;
        if ((double)limit <= share * (double)kept_with(list, n, limit))
            low = limit;
        else
            high = limit - 1;
    }
    return low;
}

static void cap_template(const item *list, size_t n, double share, bool *keep, gq_cap_count *count)
{
    size_t most = 0;
    for (size_t k = 0, run; k < n; k += run) {
        run = run_of(list, n, k);
        most = run > most ? run : most;
        count->answers++;
    }
    size_t limit = (double)most <= share * (double)n ? most : find_limit(list, n, share);
    for (size_t k = 0, run; k < n; k += run) {
        run = run_of(list, n, k);
        for (size_t j = 0; j < run && j < limit; j++)
            keep[list[k + j].at] = true;
    }
    count->made = n;
    count->kept = kept_with(list, n, limit);
    count->most = most;
    count->most_kept = most < limit ? most : limit;
}

gq_status gq_cap(const gq_cap_row *row, size_t n, double share, uint32_t templates, bool *keep,
                 gq_cap_count *count, gq_error *err)
{
    item *list = gq_malloc(n, sizeof *list);
    if (!list)
        return gq_fail(err, GQ_ENOMEM, "no memory to balance the answers");
    for (size_t k = 0; k < n; k++) {
        list[k] = (item){&row[k], k, gq_philox_at(0, k, GQ_RNG_SHUFFLE, 0)};
        keep[k] = false;
    }
    qsort(list, n, sizeof *list, by_answer);
    memset(count, 0, templates * sizeof *count);
    for (size_t k = 0, end; k < n; k = end) {
        for (end = k + 1; end < n && list[end].row->template == list[k].row->template; end++)
            ;
        cap_template(list + k, end - k, share, keep, &count[list[k].row->template]);
    }
    gq_free(list);
    return GQ_OK;
}
