/* Sets of names against a plain list, and with memory that runs out. */
#include "support.h"

#include "core/mem.h"
#include "data/names.h"

enum { MANY = 20000 };

static const char *name_of(uint32_t k)
{
    static char text[32];
    snprintf(text, sizeof text, "n%u%s", k, k % 3 ? "" : "-long-name");
    return text;
}

static void many_names(void **state)
{
    (void)state;
    gq_names *n = gq_names_new();
    assert_non_null(n);
    assert_null(gq_names_find(n, "n0"));
    for (uint32_t k = 0; k < MANY; k++) {
        uint32_t *number = gq_names_add(n, name_of(k));
        assert_int_equal(*number, 0);
        *number = k + 7;
    }
    assert_int_equal(*gq_names_add(n, ""), 0);
    for (uint32_t k = 0; k < MANY; k++) {
        assert_int_equal(*gq_names_find(n, name_of(k)), k + 7);
        assert_int_equal(*gq_names_add(n, name_of(k)), k + 7);
    }
    assert_null(gq_names_find(n, name_of(MANY)));
    assert_non_null(gq_names_find(n, ""));
    gq_names_free(n);
    gq_names_free(NULL);
}

/* Whichever allocation fails, what was in the set still is. */
static void memory_runs_out(void **state)
{
    (void)state;
    for (uint64_t at = 1;; at++) {
        gq_mem_fail_at(0, false);
        gq_names *n = gq_names_new();
        uint32_t  k, failed = 0;
        gq_mem_fail_at(at, false);
        for (k = 0; k < 3000; k++)
            if (!gq_names_add(n, name_of(k))) {
                failed++;
                assert_null(gq_names_find(n, name_of(k)));
                assert_non_null(gq_names_add(n, name_of(k)));
            }
        gq_mem_fail_at(0, false);
        for (k = 0; k < 3000; k++)
            assert_non_null(gq_names_find(n, name_of(k)));
        gq_names_free(n);
        if (!failed)
            return;
        assert_true(at < 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_names),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
