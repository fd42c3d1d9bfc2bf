/* core/mem.c: overflow, zero sizes, counting and fault injection. */
#include "core/mem.h"

#include "support.h"

static void sizes(void **state)
{
    size_t out;
    (void)state;
    assert_true(gq_mul_size(1u << 20, 1u << 20, &out) && out == (size_t)1 << 40);
    assert_false(gq_mul_size(SIZE_MAX / 2, 3, &out));
    assert_true(gq_add_size(SIZE_MAX - 1, 1, &out) && out == SIZE_MAX);
    assert_false(gq_add_size(SIZE_MAX, 1, &out));
    volatile size_t huge = SIZE_MAX / 2;                /* volatile: the compiler must not see it */
    assert_null(gq_malloc(huge, 3));
    assert_null(gq_calloc(huge, 3));
    void *p = gq_malloc(1, 1);
    assert_null(gq_realloc(p, huge, 3));
    gq_free(p);                                              /* still valid */
}

static void zero_bytes_is_a_pointer(void **state)
{
    (void)state;
    void *p[] = {gq_malloc(0, 8), gq_malloc(8, 0),        gq_calloc(0, 8),
                 gq_calloc(8, 0), gq_realloc(NULL, 0, 1), gq_aligned(64, 0)};
    for (size_t i = 0; i < sizeof p / sizeof *p; i++) {
        assert_non_null(p[i]);
        gq_free(p[i]);
    }
    gq_free(NULL);
}

static void contents(void **state)
{
    (void)state;
    uint8_t *z = gq_calloc(1000, 3);
    assert_non_null(z);
    for (int i = 0; i < 3000; i++)
        assert_int_equal(z[i], 0);
    z[2999] = 7;
    z = gq_realloc(z, 5000, 3);
    assert_non_null(z);
    assert_int_equal(z[2999], 7);
    gq_free(z);
    for (size_t a = 8; a <= 4096; a *= 2) {
        void *p = gq_aligned(a, 100);
        assert_int_equal((uintptr_t)p % a, 0);
        gq_free(p);
    }
    char *s = gq_strdup("abc"), *t = gq_strndup("abcdef", 2), *u = gq_strndup("ab", 9);
    assert_string_equal(s, "abc");
    assert_string_equal(t, "ab");
    assert_string_equal(u, "ab");
    gq_free(s);
    gq_free(t);
    gq_free(u);
}

/* Which of the next six allocations fail, as bits. */
static unsigned failures(void)
{
    unsigned bits = 0;
    for (int i = 0; i < 6; i++) {
        void *p = i == 1   ? gq_calloc(1, 1)
                  : i == 2 ? gq_realloc(NULL, 1, 1)
                  : i == 3 ? gq_aligned(16, 1)
                  : i == 4 ? gq_strdup("")
                           : gq_malloc(1, 1);
        bits |= (unsigned)!p << i;
        gq_free(p);
    }
    return bits;
}

static void faults(void **state)
{
    (void)state;
    uint64_t before = gq_mem_count();
    assert_int_equal(failures(), 0);
    assert_int_equal(gq_mem_count() - before, 6);
    for (unsigned n = 1; n <= 6; n++) {
        gq_mem_fail_at(n, false);
        assert_int_equal(failures(), 1u << (n - 1));
        assert_int_equal(failures(), 0);                     /* once only */
        gq_mem_fail_at(n, true);
        assert_int_equal(failures(), 0x3fu & ~((1u << (n - 1)) - 1));
        assert_int_equal(failures(), 0x3f);
        gq_mem_fail_at(0, false);
        assert_int_equal(failures(), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),
        cmocka_unit_test(zero_bytes_is_a_pointer),
        cmocka_unit_test(contents),
        cmocka_unit_test(faults),
    };
    return cmocka_run_group_tests_name("core/mem", tests, NULL, NULL);
}
