/* core/json.c: the grammar to the byte, and jansson as the oracle of what is JSON. */
#include "core/json.h"

#include <jansson.h>

#include "support.h"

static gq_status skip_all(const char *text, size_t n, gq_error *err)
{
    gq_json j;
    gq_json_begin(&j, "f.json", text, n, GQ_EINPUT, err);
    gq_json_skip(&j);
    return gq_json_end(&j);
}

static bool jansson_accepts(const char *text, size_t n)
{
    json_error_t e;
    json_t      *v = json_loadb(text, n, JSON_DECODE_ANY, &e);
    json_decref(v);
    return v != NULL;
}

static const char *const samples[] = {
    "{}",
    "[]",
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1.5e+3",
    "-1E-2",
    "\"\"",
    "\"a\\n\\u00e9\\ud83d\\ude00\"",
    "[1,2,[3,{\"a\":[]}]]",
    " { \"a\" : 1 , \"b\" : [ ] } \n",
    "{\"a\":{\"b\":{\"c\":\"\xc3\xa9\"}}}",
    "",
    " ",
    "{",
    "}",
    "[",
    "]",
    "{]",
    "[}",
    "[1,]",
    "{\"a\":1,}",
    "{,}",
    "[,]",
    "{\"a\"}",
    "{\"a\":}",
    "{1:2}",
    "[1 2]",
    "01",
    "+1",
    "1.",
    ".5",
    "1e",
    "1e+",
    "--1",
    "-",
    "tru",
    "nul",
    "True",
    "NaN",
    "Infinity",
    "'a'",
    "\"",
    "\"\\",
    "\"\\x\"",
    "\"\\u12\"",
    "\"\\ud800\"",
    "\"\\ud800x\"",
    "\"\\ud800\\u0041\"",
    "\"\\udc00\"",
    "\"a\nb\"",
    "\"\xff\"",
    "\"\xc0\x80\"",
    "\"\xed\xa0\x80\"",
    "\"\xf4\x90\x80\x80\"",
    "{} {}",
    "1 2",
    "/**/1",
    "[1]x",
    "\xef\xbb\xbf{}",
};

static void grammar(void **state)
{
    int good = 0;
    (void)state;
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        gq_error  err = {0};
        size_t    n = strlen(samples[i]);
        gq_status s = skip_all(samples[i], n, &err);
        if ((s == GQ_OK) != jansson_accepts(samples[i], n))
            fail_msg("sample %zu '%s': %d %s", i, samples[i], (int)s, err.text);
        if (s != GQ_OK && !strstr(err.text, "f.json: byte "))
            fail_msg("sample %zu: '%s'", i, err.text);
        good += s == GQ_OK;
    }
    assert_int_equal(good, 14);
}

/* Every byte of a document replaced by every byte that matters, and every truncation: the same
 * verdict as jansson, except where its limits on numbers are narrower than the grammar's. */
static void mutations(void **state)
{
    static const char doc[] = "{\"a\":[1,-2.5e3,true,null],\"\\u00e9\":{\"x\":\"y\\n\xc3\xa9\"}}";
    static const char bytes[] = "{}[]\",:\\ \t\n\0019-.eEu\x80\xff\xc3tn/";
    char              text[sizeof doc];
    long              differ = 0, cases = 0;
    (void)state;
    for (size_t n = 0; n < sizeof doc - 1; n++)
        assert_int_equal(skip_all(doc, n, NULL) == GQ_OK, jansson_accepts(doc, n));
    for (size_t at = 0; at < sizeof doc - 1; at++)
        for (size_t b = 0; b < sizeof bytes - 1; b++, cases++) {
            memcpy(text, doc, sizeof doc);
            text[at] = bytes[b];
            bool ours = skip_all(text, sizeof doc - 1, NULL) == GQ_OK,
                 theirs = jansson_accepts(text, sizeof doc - 1);
            differ += ours != theirs;
            if (ours != theirs && !strstr(text, "e9") && !strstr(text, "E9"))
                fail_msg("'%s': ours %d, jansson %d", text, ours, theirs);
        }
    print_message("%ld mutations, %ld with another verdict\n", cases, differ);
    assert_true(differ < 5);
}

static void values(void **state)
{
    static const char text[] =
        "{\"n\":18446744073709551615, \"d\":-2.5e-1, \"s\":\"a\\u0041\\/\\t\","
        "\"list\":[3,4], \"yes\": true, \"no\":false, \"nil\":null, \"one\":1, \"rest\":{\"deep\":[[],{}]}}";
    gq_json  j;
    gq_error err = {0};
    char     key[8], s[8] = "";
    uint64_t n = 0, sum = 0, v, one = 0;
    double   d = 0;
    bool     yes = false, no = true, null = false;
    (void)state;
    gq_json_begin(&j, "f", text, sizeof text - 1, GQ_EINPUT, &err);
    gq_json_object(&j);
    while (gq_json_key(&j, key, sizeof key)) {
        if (!strcmp(key, "n"))
            gq_json_u64(&j, &n);
        else if (!strcmp(key, "d"))
            gq_json_double(&j, &d);
        else if (!strcmp(key, "s"))
            gq_json_string(&j, s, sizeof s);
        else if (!strcmp(key, "yes"))
            gq_json_bool(&j, &yes);
        else if (!strcmp(key, "no"))
            gq_json_bool(&j, &no);
        else if (!strcmp(key, "nil"))
            null = gq_json_null(&j);
        else if (!strcmp(key, "one"))
            null = gq_json_null(&j) ? false : gq_json_u64(&j, &one) && null;
        else if (!strcmp(key, "list"))
            for (gq_json_array(&j); gq_json_item(&j);)
                sum += gq_json_u64(&j, &v) ? v : 1000;
        else
            gq_json_skip(&j);
    }
    assert_ok(gq_json_end(&j), &err);
    assert_true(n == UINT64_MAX && d == -0.25 && sum == 7 && one == 1);
    assert_true(yes && !no && null);
    assert_string_equal(s, "aA/\t");
}

static gq_status one_u64(const char *text, gq_error *err)
{
    gq_json  j;
    uint64_t v;
    gq_json_begin(&j, "f", text, strlen(text), GQ_EWEIGHTS, err);
    j.within = "tensor 'x'";
    gq_json_u64(&j, &v);
    return gq_json_end(&j);
}

static void no_bool(void **state)
{
    gq_json  j;
    gq_error err = {0};
    bool     yes;
    (void)state;
    gq_json_begin(&j, "f", " tru", 4, GQ_EWEIGHTS, &err);
    assert_false(gq_json_bool(&j, &yes));
    assert_false(gq_json_null(&j));
    assert_fails(gq_json_end(&j), GQ_EWEIGHTS, &(gq_error){0}, "");
    assert_non_null(strstr(err.text, "f: byte 1: true or false expected, found t"));
}

static void refusals(void **state)
{
    gq_error err;
    gq_json  j;
    char     small[4], deep[300];
    uint64_t v;
    (void)state;
    assert_fails(one_u64("18446744073709551616", &err), GQ_EWEIGHTS, &err,
                 "f: byte 0: tensor 'x': a number beyond");
    assert_fails(one_u64(" 1.0", &err), GQ_EWEIGHTS, &err,
                 "f: byte 1: tensor 'x': a non-negative whole");
    assert_fails(one_u64("-1", &err), GQ_EWEIGHTS, &err, "non-negative");
    assert_fails(one_u64("\"1\"", &err), GQ_EWEIGHTS, &err, "a number expected, found \"");
    gq_error_clear(&err);
    gq_json_begin(&j, "f", "\"abcd\"", 6, GQ_EINPUT, &err);
    assert_false(gq_json_string(&j, small, sizeof small));
    assert_false(gq_json_u64(&j, &v));                       /* sticky */
    assert_fails(gq_json_end(&j), GQ_EINPUT, &(gq_error){0}, "");
    assert_non_null(strstr(err.text, "longer than 3 bytes"));
    memset(deep, '[', sizeof deep);
    assert_fails(skip_all(deep, sizeof deep, &err), GQ_EINPUT, &err, "nested deeper than 64");
    memset(deep, '[', GQ_JSON_DEPTH);
    memset(deep + GQ_JSON_DEPTH, ']', GQ_JSON_DEPTH);
    gq_error_clear(&err);
    assert_ok(skip_all(deep, 2 * GQ_JSON_DEPTH, &err), &err);
    assert_fails(skip_all("\"a\\u0000\"", 9, &err), GQ_EINPUT, &err, "NUL");
}

static void quoting(void **state)
{
    static const char *const texts[] = {"", "plain", "\"\\/\b\f\n\r\t\x01\x1f\x7f",
                                        "\xc3\xa9\xf0\x9f\x98\x80"};
    char quoted[64], back[64];
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        gq_json  j;
        gq_error err = {0};
        size_t   n = gq_json_quote(texts[i], quoted, sizeof quoted);
        assert_int_equal(n, strlen(quoted));
        assert_int_equal(gq_json_quote(texts[i], NULL, 0), n);
        assert_true(jansson_accepts(quoted, n));
        gq_json_begin(&j, "f", quoted, n, GQ_EINPUT, &err);
        gq_json_string(&j, back, sizeof back);
        assert_ok(gq_json_end(&j), &err);
        assert_string_equal(back, texts[i]);
    }
    assert_int_equal(gq_json_quote("abcdef", quoted, 4), 8);
    assert_string_equal(quoted, "\"ab");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grammar), cmocka_unit_test(mutations), cmocka_unit_test(values),
        cmocka_unit_test(no_bool), cmocka_unit_test(refusals), cmocka_unit_test(quoting),
    };
    return cmocka_run_group_tests_name("core/json", tests, NULL, NULL);
}
