/* The Unicode helpers against published examples and Python's unicodedata. */
#include <time.h>

#include "core/mem.h"
#include "data/unicode.h"
#include "support.h"

static void ill_formed_parts(void **state)
{
    /* The Unicode Standard 15, tables 3-8 to 3-11, and ends of text. */
    static const char *const cases[][2] = {
        {"\xC0\xAF\xE0\x80\xBF\xF0\x81\x82"
         "A",
         "\xEF\xBF\xBD|\xEF\xBF\xBD|\xEF\xBF\xBD|\xEF\xBF\xBD|\xEF\xBF\xBD|"
         "\xEF\xBF\xBD|\xEF\xBF\xBD|\xEF\xBF\xBD|A"},
        {"\xED\xA0\x80\xED\xBF\xBF\xED\xAF"
         "A",
         "\xEF\xBF\xBD|\xEF\xBF\xBD|\xEF\xBF\xBD|\xEF\xBF\xBD|\xEF\xBF\xBD|"
         "\xEF\xBF\xBD|\xEF\xBF\xBD|\xEF\xBF\xBD|A"},
        {"\xF4\x91\x92\x93\xFF"
         "A\x80\xBF"
         "B",
         "\xEF\xBF\xBD|\xEF\xBF\xBD|\xEF\xBF\xBD|\xEF\xBF\xBD|\xEF\xBF\xBD|A|"
         "\xEF\xBF\xBD|\xEF\xBF\xBD|B"},
        {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF"
         "A",
         "\xEF\xBF\xBD|\xEF\xBF\xBD|\xEF\xBF\xBD|\xEF\xBF\xBD|A"},
        {"\xF0\x9F\x98", "\xEF\xBF\xBD"},
        {"\xF0\x9F\x98\x80z\xC3", "\xF0\x9F\x98\x80|z|\xEF\xBF\xBD"},
        {"\xF4\x8F\xBF\xBF\xED\x9F\xBF\xEE\x80\x80", "\xF4\x8F\xBF\xBF|\xED\x9F\xBF|\xEE\x80\x80"},
    };
    gq_error err = { 0 };
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *text = cases[i][0], *want = cases[i][1];
        char       *fixed, plain[64] = "";
        size_t      len;
        for (size_t k = 0, n = 0; want[k]; k++)
            if (want[k] != '|')
                plain[n++] = want[k];
        assert_ok(gq_utf8_repair(text, strlen(text), &fixed, &len, &err), &err);
        assert_string_equal(fixed, plain);
        assert_int_equal(len, strlen(plain));
        assert_true(gq_utf8_valid(fixed, len));
        assert_int_equal(gq_utf8_valid(text, strlen(text)), strcmp(text, plain) == 0);
        gq_free(fixed);
    }
}

static void every_scalar_value(void **state)
{
    uint32_t cp, back;
    char     bytes[4];
    (void)state;
    for (cp = 0; cp < 0x110000; cp++) {
        if (cp >= 0xD800 && cp < 0xE000)
            continue;
        size_t n = gq_utf8_put(cp, bytes);
        assert_int_equal(gq_utf8_read(bytes, n, &back), n);
        assert_int_equal(back, cp);
    }
}

/* Counts by Python 3.11 unicodedata (Unicode 14): the tables here may only have grown since. */
static void classes(void **state)
{
    size_t letters = 0, numbers = 0, spaces = 0;
    (void)state;
    for (uint32_t cp = 0; cp < 0x110000; cp++) {
        letters += gq_is_letter(cp);
        numbers += gq_is_number(cp);
        spaces += gq_is_space(cp);
        assert_true(gq_is_letter(cp) + gq_is_number(cp) + gq_is_space(cp) <= 1);
    }
    assert_in_range(letters, 131756, 146756);
    assert_in_range(numbers, 1791, 2291);
    assert_int_equal(spaces, 25);
    assert_true(gq_is_letter(0xAA) && gq_is_letter(0x2B0) && gq_is_letter(0x4E00) &&
                gq_is_letter(0x1C5));
    assert_true(gq_is_number(0x660) && gq_is_number(0xBD) && gq_is_number(0x2167) &&
                !gq_is_number(0x4E00));
    assert_false(gq_is_space(0x1C) || gq_is_space(0x180E) || gq_is_space(0x200B));
}

static void lower_case(void **state)
{
    static const uint32_t pairs[][2] = {
        {'A', 'a'},       {'Z', 'z'},         {'[', '['},     {0xC0, 0xE0},  {0xD7, 0xD7},
        {0x1C5, 0x1C6},   {0x3A3, 0x3C3},     {0x1E9E, 0xDF}, {0x212A, 'k'}, {0x2167, 0x2177},
        {0x24B6, 0x24D0}, {0x10400, 0x10428}, {0xDF, 0xDF}};
    uint32_t              out[2];
    size_t                i;
    (void)state;
    for (i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        assert_int_equal(gq_lower(pairs[i][0], out), 1);
        assert_int_equal(out[0], pairs[i][1]);
    }
    assert_int_equal(gq_lower(0x130, out), 2);
    assert_int_equal(out[0], 'i');
    assert_int_equal(out[1], 0x307);
}

/* Texts and their NFC by Python's unicodedata.normalize: reordering, exclusions, Hangul,
 * singletons, stacks. */
static void composition(void **state)
{
    static const uint32_t cases[][2][12] = {
        { { 0x65, 0x301 }, { 0xe9 } },
        { { 0x65, 0x323, 0x301 }, { 0x1eb9, 0x301 } },
        { { 0x65, 0x301, 0x323 }, { 0x1eb9, 0x301 } },
        { { 0x61, 0x300, 0x301, 0x323, 0x302 }, { 0x1ea1, 0x300, 0x301, 0x302 } },
        { { 0x344 }, { 0x308, 0x301 } },
        { { 0x958 }, { 0x915, 0x93c } },
        { { 0xfb47 }, { 0x5e7, 0x5bc } },
        { { 0x5e7, 0x5bc }, { 0x5e7, 0x5bc } },
        { { 0x1100, 0x1161, 0x11a8 }, { 0xac01 } },
        { { 0xac00, 0x11a8 }, { 0xac01 } },
        { { 0xac01, 0x11a8 }, { 0xac01, 0x11a8 } },
        { { 0x212b }, { 0xc5 } },
        { { 0x212a }, { 0x4b } },
        { { 0x2126 }, { 0x3a9 } },
        { { 0x71, 0x307, 0x323 }, { 0x71, 0x323, 0x307 } },
        { { 0x1e69 }, { 0x1e69 } },
        { { 0x73, 0x307, 0x323 }, { 0x1e69 } },
        { { 0xfb2, 0xf71, 0xf80 }, { 0xfb2, 0xf71, 0xf80 } },
        { { 0x1d15e }, { 0x1d157, 0x1d165 } },
        { { 0xb47, 0xb3e }, { 0xb4b } },
        { { 0xc46, 0xc56 }, { 0xc48 } },
        { { 0x1025, 0x102e }, { 0x1026 } },
        { { 0x61, 0x315, 0x300, 0x5ae, 0x62 }, { 0xe0, 0x5ae, 0x315, 0x62 } },
        { { 0x41, 0x30a, 0x301 }, { 0x1fa } },
        { { 0xf900 }, { 0x8c48 } },
        { { 0x301, 0x65 }, { 0x301, 0x65 } },
        { { 0x3b9, 0x308, 0x301 }, { 0x390 } },
        { { 0x1fbe }, { 0x3b9 } },
        { { 0x110a5, 0x110ba }, { 0x110ab } },
        { { 0x9c7, 0x334, 0x9be }, { 0x9c7, 0x334, 0x9be } },
    };
    gq_error err = { 0 };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char      text[64];
        size_t    len = 0, n, want = 0;
        uint32_t *got;
        for (const uint32_t *p = cases[i][0]; *p; p++)
            len += gq_utf8_put(*p, text + len);
        while (cases[i][1][want])
            want++;
        assert_ok(gq_text_nfc(text, len, &got, &n, &err), &err);
        assert_int_equal(n, want);
        assert_memory_equal(got, cases[i][1], n * sizeof *got);
        gq_free(got);
    }
}

static void endless_marks(void **state)
{
    const size_t n = 1 << 20;
    char        *text = gq_malloc(n, 1);
    uint32_t    *got;
    size_t       count, i;
    gq_error     err = { 0 };
    clock_t      start = clock();
    (void)state;
    for (i = 0; i < n; i++)                         /* U+0301 (230) and U+0323 (220) in turn      */
        text[i] = "\xCC\x81\xCC\xA3"[i % 4];
    assert_ok(gq_text_nfc(text, n, &got, &count, &err), &err);
    assert_int_equal(count, n / 2);
    for (i = 0; i < count; i++)
        assert_int_equal(got[i], i < count / 2 ? 0x323 : 0x301);
    /* by swapping neighbours: minutes */
    assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 3);
    gq_free(got);
    gq_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ill_formed_parts), cmocka_unit_test(every_scalar_value),
        cmocka_unit_test(classes),          cmocka_unit_test(lower_case),
        cmocka_unit_test(composition),      cmocka_unit_test(endless_marks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
