/* The largest share of an answer: it holds, as much as can be is kept, the same rows each time. */
#include "support.h"

#include "core/mem.h"
#include "data/qagen/cap.h"

enum { MOST = 400 };
static gq_cap_row   row[MOST];
static bool         keep[MOST], again[MOST];
static gq_cap_count count[2];

static size_t fill(size_t at, uint32_t template, const char *answer, size_t times)
{
    while (times--)
        row[at++] = (gq_cap_row){template, answer, 1};
    return at;
}

static void shares(void **state)
{
    (void)state;
    gq_error err = {0};
    size_t   n = fill(0, 0, "two", 100);
    n = fill(n, 0, "three", 20);
    n = fill(n, 0, "four", 20);
    n = fill(n, 1, "a man", 5);
    n = fill(n, 1, "a cat", 5);
    assert_ok(gq_cap(row, n, 0.5, 2, keep, count, &err), &err);
    assert_int_equal(count[0].made, 140);
    assert_int_equal(count[0].kept, 80);
    assert_int_equal(count[0].answers, 3);
    assert_int_equal(count[0].most, 100);
    assert_int_equal(count[0].most_kept, 40);
    assert_int_equal(count[1].kept, 10);
    size_t kept = 0;
    for (size_t k = 0; k < n; k++)
        kept += keep[k];
    assert_int_equal(kept, 90);
    assert_ok(gq_cap(row, n, 0.5, 2, again, count, &err), &err);
    assert_memory_equal(keep, again, n);
    assert_false(keep[0] && keep[1] && keep[2] && keep[3] && keep[4] && keep[5] && keep[6] &&
                 keep[7] && keep[8] && keep[9]); /* not simply the first ones             */
    /* three answers cannot each have a fifth: each once */
    assert_ok(gq_cap(row, n, 0.2, 2, keep, count, &err), &err);
    assert_int_equal(count[0].kept, 3);
    assert_int_equal(count[1].kept, 2);
    assert_ok(gq_cap(row, n, 1.0, 2, keep, count, &err), &err);
    assert_int_equal(count[0].kept + count[1].kept, n);
    assert_ok(gq_cap(row, 0, 0.2, 2, keep, count, &err), &err);
    assert_int_equal(count[0].made, 0);
}

static void memory_runs_out(void **state)
{
    (void)state;
    gq_error err = {0};
    gq_mem_fail_at(1, false);
    assert_int_equal(gq_cap(row, 10, 0.2, 2, keep, count, &err), GQ_ENOMEM);
    gq_mem_fail_at(0, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(shares), cmocka_unit_test(memory_runs_out)};
    return cmocka_run_group_tests_name("data/qagen/cap", tests, NULL, NULL);
}
