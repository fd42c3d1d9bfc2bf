/* JSON files: what is refused and how it is said, and files that vouch for themselves. */
#include "support.h"

#include "core/io.h"
#include "data/jsonfile.h"

static const char *file_of(const char *dir)
{
    static char path[300];
    snprintf(path, sizeof path, "%s/x.json", dir);
    return path;
}

static gq_status load_text(const char *path, const char *text, size_t bytes, gq_error *err)
{
    json_t   *got = NULL;
    gq_error  put = {0};
    assert_ok(gq_write_file(path, text, bytes, &put), &put);
    gq_status s = gq_json_load(path, 1 << 20, &got, err);
    assert_true((s == GQ_OK) == (got != NULL));
    json_decref(got);
    return s;
}

static void what_is_not_json(void **state)
{
    static const struct { const char *text; size_t bytes; const char *says; } bad[] = {
        {"{\"a\": 1\0}", 9, "byte 7 is NUL"},        /* jansson alone reads this one              */
        {"\0{\"a\": 1}", 9, "byte 0 is NUL"},
        {"{\"a\": \"b\0c\"}", 12, "is NUL"},
        {"{\"a\": 1, \"a\": 2}", 16, "not JSON"},
        {"{\"a\": 1", 7, "not JSON"},
        {"[1, 2]", 6, "not a JSON object"},
        {"", 0, "not JSON"},
    };
    const char *dir = gq_scratch(), *path = file_of(dir);
    gq_error    err = {0};
    (void)state;

    assert_ok(load_text(path, "{\"a\": 1}", 8, &err), &err);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_fails(load_text(path, bad[i].text, bad[i].bytes, &err), GQ_EINPUT, &err,
                     bad[i].says);
        assert_non_null(strstr(err.text, path));
    }
    assert_ok(gq_remove_tree(dir, &err), &err);
}

/* Every truncation and every flipped bit of a sealed file is noticed. */
static void seals(void **state)
{
    const char *dir = gq_scratch(), *path = file_of(dir);
    gq_error    err = {0};
    gq_bytes    b;
    json_t     *got = NULL;
    (void)state;

    assert_ok(gq_json_save_sealed(path, json_pack("{s:i,s:s}", "next", 7, "name", "x"), &err),
              &err);
    assert_ok(gq_json_load_sealed(path, 1 << 20, &got, &err), &err);
    assert_int_equal(json_integer_value(json_object_get(got, "next")), 7);
    json_decref(got);
    assert_ok(gq_read_file(path, 1 << 20, &b, &err), &err);
    for (size_t n = 0; n < b.size; n++) {
        assert_ok(gq_write_file(path, b.data, n, &err), &err);
        assert_fails(gq_json_load_sealed(path, 1 << 20, &got, &err), GQ_EINPUT, &err, "checksum");
        for (int bit = 0; bit < 8; bit++) {
            b.data[n] ^= (uint8_t)(1 << bit);
            assert_ok(gq_write_file(path, b.data, b.size, &err), &err);
            assert_fails(gq_json_load_sealed(path, 1 << 20, &got, &err), GQ_EINPUT, &err,
                         "checksum");
            b.data[n] ^= (uint8_t)(1 << bit);
        }
        gq_error_clear(&err);
    }
    gq_bytes_free(&b);
    assert_ok(gq_remove_tree(dir, &err), &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_json),
        cmocka_unit_test(seals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
