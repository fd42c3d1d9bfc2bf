/* Nearest spelling, text made safe to show, and patterns over parameter names. */
#include "support.h"

#include "core/params.h"
#include "core/text.h"

static void globs(void **state)
{
    (void)state;
    assert_true(gq_glob("gpt2.*", "gpt2.h.0.ln_1.g"));
    assert_true(gq_glob("*.ln_?.g", "gpt2.h.0.ln_1.g"));
    assert_true(gq_glob("qformer.h.*.cross.kv.w", "qformer.h.11.cross.kv.w"));
    assert_true(gq_glob("*", ""));
    assert_true(gq_glob("", ""));
    assert_true(gq_glob("a*b*c", "aXbXbYc"));
    assert_false(gq_glob("a*b*c", "aXbXbY"));
    assert_false(gq_glob("gpt2.*", "gpt2"));
    assert_false(gq_glob("?", ""));
    assert_false(gq_glob("", "a"));
    assert_false(gq_glob("proj.w", "proj.wx"));
}

static void edit_distances(void **state)
{
    (void)state;
    assert_int_equal(gq_edit_distance("kitten", "sitting"), 3);
    assert_int_equal(gq_edit_distance("batch", "bacth"), 1);
    assert_int_equal(gq_edit_distance("", "abc"), 3);
    assert_int_equal(gq_edit_distance("abc", ""), 3);
    assert_int_equal(gq_edit_distance("same", "same"), 0);
}

static void printable(void **state)
{
    char buf[32];
    (void)state;
    assert_string_equal(gq_printable("a\x1b[31mb\n", 8, buf, sizeof buf), "a\\x1b[31mb\\x0a");
    assert_string_equal(gq_printable("\xc3\xa9\xff\xe2\x80\xae", 6, buf, sizeof buf),
                        "\xc3\xa9\\xff\\xe2\\x80\\xae");
    assert_string_equal(gq_printable("0123456789", 10, buf, 8), "0123...");
    assert_string_equal(gq_printable("0123456", 7, buf, 8), "0123456");
}

static void utf8(void **state)
{
    static const struct { const char *bytes; size_t n; uint32_t code;
    } cases[] = {
        {"a", 1, 'a'},
        {"\xc3\xa9", 2, 0xE9},
        {"\xe2\x82\xac", 3, 0x20AC},
        {"\xf0\x9f\x98\xba", 4, 0x1F63A},
        {"\x80", 0, 0},
        {"\xc0\x80", 0, 0},
        {"\xc3", 0, 0},
        {"\xc3(", 0, 0},
        {"\xe0\x80\x80", 0, 0},
        {"\xed\xa0\x80", 0, 0},
        {"\xf4\x90\x80\x80", 0, 0},
        {"\xf8\x88\x80\x80\x80", 0, 0},
        {"", 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t code = 0;
        assert_int_equal(gq_utf8_next(cases[i].bytes, strlen(cases[i].bytes), &code), cases[i].n);
        if (cases[i].n)
            assert_int_equal(code, cases[i].code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(globs),
        cmocka_unit_test(edit_distances),
        cmocka_unit_test(printable),
        cmocka_unit_test(utf8),
    };
    return cmocka_run_group_tests_name("core/text", tests, NULL, NULL);
}
