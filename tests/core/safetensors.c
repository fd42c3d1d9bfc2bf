/* core/safetensors.c: the published case files, own round trips, every truncation and bit flip
 * of a small file, and the float conversions against a formula of their own. */
#include "core/safetensors.h"

#include <fcntl.h>

#include "core/io.h"
#include "core/mem.h"
#include "support.h"

static const char *dir;                 /* scratch                                                */

static int make_dir(void **state)
{
    static char path[64];
    (void)state;
    snprintf(path, sizeof path, "%s", gq_scratch());
    dir = path;
    return 0;
}

static int drop_dir(void **state)
{
    (void)state;
    return gq_remove_tree(dir, NULL) == GQ_OK ? 0 : -1;
}

static const char *in_dir(const char *name)
{
    static char paths[4][256];
    static int  next;
    char       *p = paths[next++ & 3];
    snprintf(p, sizeof paths[0], "%s/%s", dir, name);
    return p;
}

static void put_file(const char *path, const void *data, size_t n)
{
    gq_error err = {0};
    assert_ok(gq_write_file(path, data, n, &err), &err);
}

/* A file with this header (padded by nothing) and `data_bytes` bytes of data 0, 1, 2, ... */
static const char *file_of(const char *header, size_t data_bytes)
{
    size_t   n = strlen(header), total = 8 + n + data_bytes;
    uint8_t *all = gq_malloc(total, 1);
    assert_non_null(all);
    for (int i = 0; i < 8; i++)
        all[i] = (uint8_t)(n >> 8 * i);
    memcpy(all + 8, header, n);
    for (size_t i = 0; i < data_bytes; i++)
        all[8 + n + i] = (uint8_t)i;
    put_file(in_dir("case.safetensors"), all, total);
    gq_free(all);
    return in_dir("case.safetensors");
}

static gq_status open_close(const char *path, gq_error *err)
{
    gq_safetensors *st;
    gq_status       s = gq_safetensors_open(path, &st, err);
    if (s == GQ_OK)
        gq_safetensors_close(st);
    else
        assert_null(st);
    return s;
}

/* ---- the published cases --------------------------------------------------------------------- */

/* What our text must say for the error classes of the reference library. */
static const struct { const char *class, *needle; } classes[] = {
    {"InvalidOffset", "overlaps"},         {"MetadataIncompleteBuffer", "after the last tensor"},
    {"HeaderTooLarge", "the limit is"},    {"InvalidHeaderLength", "truncated"},
    {"InvalidHeaderDeserialization", "byte 9"}, {"ValidationOverflow", "beyond 64 bits"},
};

static void check_case(const char *path, const char *name, const char *expected)
{
    gq_error  err = {0};
    gq_status s = open_close(path, &err);
    if (strcmp(expected, "ok") == 0) {
        if (s != GQ_OK)
            fail_msg("%s: %s", name, err.text);
        return;
    }
    if (s != GQ_EWEIGHTS || !strstr(err.text, name))
        fail_msg("%s: status %d, '%s'", name, (int)s, err.text);
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (strcmp(classes[i].class, expected) == 0) {
            if (!strstr(err.text, classes[i].needle))
                fail_msg("%s: '%s' lacks '%s'", name, err.text, classes[i].needle);
            return;
        }
    fail_msg("%s: class %s is new", name, expected);
}

static void published_cases(void **state)
{
    const char *cases = need_shared("data/safetensors_cases");
    char       *table = gq_path(cases, "expect.tsv"), *save, *line;
    gq_bytes    text;
    gq_error    err = {0};
    int         seen = 0;
    (void)state;

    assert_ok(gq_read_file(table, 1 << 20, &text, &err), &err);
    for (line = strtok_r((char *)text.data, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save)) {
        char name[128], expected[128];
        if (*line == '#' || sscanf(line, "%127[^\t]\t%127[^\t]", name, expected) != 2)
            continue;
        char *path = gq_path(cases, name);
        check_case(path, name, expected);
        gq_free(path);
        seen++;
    }
    assert_true(seen >= 13);
    gq_bytes_free(&text);
    gq_free(table);
}

static void published_contents(void **state)
{
    const char         *cases = need_shared("data/safetensors_cases");
    gq_safetensors     *st;
    const gq_st_tensor *t;
    gq_error            err = {0};
    float               values[6];
    (void)state;

    char *path = gq_path(cases, "ok_forced_alignment.safetensors");
    assert_ok(gq_safetensors_open(path, &st, &err), &err);
    assert_int_equal(gq_st_count(st), 1);
    assert_non_null(t = gq_st_find(st, "attn0"));
    assert_int_equal(t->rank, 4);
    assert_int_equal(t->shape[3], 3);
    assert_ok(gq_st_read_f32(t, values, &err), &err);
    for (int i = 0; i < 6; i++)
        assert_true(values[i] == (float)i);
    gq_safetensors_close(st);
    gq_free(path);

    path = gq_path(cases, "ok_metadata_only.safetensors");
    assert_ok(gq_safetensors_open(path, &st, &err), &err);
    assert_int_equal(gq_st_count(st), 0);
    assert_string_equal(gq_st_metadata(st, "framework"), "pt");
    assert_null(gq_st_metadata(st, "format"));
    gq_safetensors_close(st);
    gq_free(path);

    path = gq_path(cases, "real_encodec_jfk-codes.safetensors");
    assert_ok(gq_safetensors_open(path, &st, &err), &err);
    assert_non_null(t = gq_st_find(st, "codes"));
    assert_int_equal(t->dtype, GQ_ST_I64);
    assert_int_equal(t->count, 1656);
    assert_int_equal(t->bytes, 13248);
    assert_fails(gq_st_read_f32(t, values, &err), GQ_EWEIGHTS, &err,
                 "is I64, a float type is needed");
    gq_safetensors_close(st);
    gq_free(path);
}

/* ---- refusals of our own --------------------------------------------------------------------- */

#define T(dtype, shape, from, to) \
    "{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" #from "," #to "]}"

static const struct { const char *header; size_t data; const char *needle;
} refusals[] = {
    {"{\"a\":" T("F32", "1", 0, 4) ",\"a\":" T("F32", "1", 4, 8) "}", 8, "tensor 'a': given twice"},
    {"{\"a\":" T("F32", "1", 0, 4) ",\"b\":" T("F32", "1", 8, 12) "}", 12,
     "tensor 'b': a hole of 4 bytes"},
    {"{\"a\":" T("F32", "1", 4, 8) "}", 8, "tensor 'a': a hole of 4 bytes"},
    {"{\"a\":" T("F32", "2", 0, 8) ",\"b\":" T("F32", "1", 4, 8) "}", 8, "tensor 'b': overlaps"},
    {"{\"a\":" T("F32", "1", 0, 4) "}", 3,
     "tensor 'a': ends at byte 4 of the data, the file has 3"},
    {"{\"a\":" T("F32", "1", 0, 4) "}", 5, "1 bytes after the last tensor"},
    {"{}", 1, "1 bytes after the last tensor"},
    {"{\"a\":" T("F32", "1", 0, 5) "}", 5, "1 elements of F32 need 4 bytes, data_offsets hold 5"},
    {"{\"a\":" T("F32", "1", 4, 0) "}", 4, "run backwards"},
    {"{\"a\":" T("Q4", "1", 0, 4) "}", 4, "tensor 'a': type 'Q4' is not known"},
    {"{\"a\":" T("F32", "1,1,1,1,1,1,1,1,1", 0, 4) "}", 4, "tensor 'a': more than 8 dimensions"},
    {"{\"a\":" T("F32", "4294967296,4294967296", 0, 0) "}", 0,
     "tensor 'a': the product of its shape"},
    {"{\"a\":" T("F64", "4611686018427387904", 0, 0) "}", 0, "tensor 'a': its size in bytes"},
    {"{\"a\":" T("F32", "18446744073709551616", 0, 0) "}", 0, "beyond 64 bits"},
    {"{\"a\":" T("F32", "-1", 0, 4) "}", 4, "tensor 'a': a non-negative whole number"},
    {"{\"a\":" T("F32", "1.0", 0, 4) "}", 4, "tensor 'a': a non-negative whole number"},
    {"{\"a\":" T("F32", "1e0", 0, 4) "}", 4, "tensor 'a': a non-negative whole number"},
    {"{\"a\":" T("F32", "01", 0, 4) "}", 4, "leading zero"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "tensor 'a': 'data_offsets' is missing"},
    {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
     "tensor 'a': 'dtype' given twice"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1}}", 4,
     "unknown key 'x'"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "two whole numbers"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,4]}}", 4, "two whole numbers"},
    {"{\"a\":[]}", 0, "tensor 'a': an object '{' expected"},
    {"{\"a\":" T("F32", "1", 0, 4) ",}", 4, "a string expected"},
    {"{\"a\":" T("F32", "1", 0, 4) "}x", 4, "the end of the text expected"},
    {"{\"a\":" T("F32", "1", 0, 4), 4, "',' or '}'"},
    {" {}", 0, "does not start with '{'"},
    {"[]", 0, "does not start with '{'"},
    {"", 0, "does not start with '{'"},
    {"{\"\\u0000\":" T("F32", "1", 0, 4) "}", 4, "NUL"},
    {"{\"\\ud800\":" T("F32", "1", 0, 4) "}", 4, "surrogate"},
    {"{\"\xff\":" T("F32", "1", 0, 4) "}", 4, "invalid UTF-8"},
    {"{\"a\tb\":" T("F32", "1", 0, 4) "}", 4, "control character"},
    {"{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0, "__metadata__: a key given twice"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "__metadata__ given twice"},
    {"{\"__metadata__\":{\"a\":1}}", 0, "a string expected"},
    {"{\"\\u001b[31m\":" T("F32", "1", 0, 5) "}", 5, "tensor '\\x1b[31m'"},
};

static void own_refusals(void **state)
{
    gq_error err;
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        const char *path = file_of(refusals[i].header, refusals[i].data);
        assert_fails(open_close(path, &err), GQ_EWEIGHTS, &err, refusals[i].needle);
        assert_non_null(strstr(err.text, "case.safetensors"));
    }
    assert_fails(open_close(in_dir("nothing.safetensors"), &err), GQ_EWEIGHTS, &err,
                 "nothing.safetensors");
    put_file(in_dir("short"), "1234567", 7);
    assert_fails(open_close(in_dir("short"), &err), GQ_EWEIGHTS, &err, "7 bytes");
    put_file(in_dir("lfs"), "version https://git-lfs.github.com/spec/v1\noid", 46);
    assert_fails(open_close(in_dir("lfs"), &err), GQ_EWEIGHTS, &err, "git lfs pull");
}

static void names_and_zero_sizes(void **state)
{
    gq_safetensors *st;
    gq_error        err = {0};
    (void)state;
    const char *path =
        file_of("{\"e\":" T("F32", "0", 4, 4) ",\"\\u00e9\\ud83d\\ude00/\\\"\":" T(
                    "U8", "4", 0, 4) ",\"d\":" T("F32", "0,7", 0, 0) ",\"f\":" T("BOOL", "", 4,
                                                                                 5) "} \r\n\t",
                5);
    assert_ok(gq_safetensors_open(path, &st, &err), &err);
    assert_int_equal(gq_st_count(st), 4);
    assert_non_null(gq_st_find(st, "\xc3\xa9\xf0\x9f\x98\x80/\""));
    assert_int_equal(gq_st_find(st, "d")->count, 0);
    assert_int_equal(gq_st_find(st, "f")->count, 1);
    assert_int_equal(*(const uint8_t *)gq_st_find(st, "f")->data, 4);
    assert_string_equal(gq_st_at(st, 0)->name, "d");
    assert_string_equal(gq_st_at(st, 3)->name, "f");
    assert_null(gq_st_at(st, 4));
    assert_null(gq_st_find(st, "g"));
    gq_safetensors_close(st);
}

/* ---- round trips ----------------------------------------------------------------------------- */

static const gq_st_tensor plan[] = {
    {.name = "w", .dtype = GQ_ST_F32, .rank = 2, .shape = {3, 5}},
    {.name = "empty", .dtype = GQ_ST_F16, .rank = 1, .shape = {0}},
    {.name = "odd \"name\"\n", .dtype = GQ_ST_U8, .rank = 1, .shape = {7}},
    {.name = "scalar", .dtype = GQ_ST_F64, .rank = 0},
};

static void write_plan(const char *path)
{
    const gq_st_meta meta[] = {{"step", "12"}, {"note", "a\\b"}};
    float            w[15];
    double           s = -0.5;
    gq_st_writer    *out;
    gq_error         err = {0};

    for (int i = 0; i < 15; i++)
        w[i] = (float)i * 0.25f;
    assert_ok(gq_st_writer_open(path, plan, 4, meta, 2, &out, &err), &err);
    assert_ok(gq_st_put(out, "w", w, 16, &err), &err);
    assert_ok(gq_st_put(out, "w", w + 4, 44, &err), &err);
    assert_ok(gq_st_put(out, "odd \"name\"\n", "1234567", 7, &err), &err);
    assert_ok(gq_st_put(out, "scalar", &s, 8, &err), &err);
    assert_int_equal(gq_st_file_size(out) % 8, (60 + 7 + 8) % 8);
    uint64_t size = gq_st_file_size(out);
    assert_ok(gq_st_commit(out, &err), &err);
    gq_bytes b;
    assert_ok(gq_read_file(path, 1 << 20, &b, &err), &err);
    assert_int_equal(b.size, size);
    gq_bytes_free(&b);
}

static void round_trip(void **state)
{
    gq_safetensors *st;
    gq_error        err = {0};
    gq_bytes        a, b;
    float           w[15];
    double          s;
    (void)state;

    write_plan(in_dir("a.safetensors"));
    write_plan(in_dir("b.safetensors"));
    assert_ok(gq_read_file(in_dir("a.safetensors"), 1 << 20, &a, &err), &err);
    assert_ok(gq_read_file(in_dir("b.safetensors"), 1 << 20, &b, &err), &err);
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
    gq_bytes_free(&a);
    gq_bytes_free(&b);

    assert_ok(gq_safetensors_open(in_dir("a.safetensors"), &st, &err), &err);
    assert_int_equal(gq_st_count(st), 4);
    for (size_t i = 0; i < 4; i++) {
        const gq_st_tensor *t = gq_st_find(st, plan[i].name);
        assert_non_null(t);
        assert_int_equal(t->dtype, plan[i].dtype);
        assert_int_equal(t->rank, plan[i].rank);
        assert_memory_equal(t->shape, plan[i].shape, sizeof t->shape);
    }
    assert_ok(gq_st_read_f32(gq_st_find(st, "w"), w, &err), &err);
    for (int i = 0; i < 15; i++)
        assert_true(w[i] == (float)i * 0.25f);
    gq_st_tensor some = gq_st_slice(gq_st_find(st, "w"), 4, 3);
    assert_true(some.rank == 1 && some.count == 3 && some.shape[0] == 3 && some.bytes == 12);
    assert_ok(gq_st_read_f32(&some, w, &err), &err);
    assert_true(w[0] == 1.0f && w[2] == 1.5f && w[3] == 0.75f);
    assert_memory_equal(gq_st_find(st, "odd \"name\"\n")->data, "1234567", 7);
    assert_ok(gq_st_read_f64(gq_st_find(st, "scalar"), &s, &err), &err); /* unaligned in the file */
    assert_true(s == -0.5);
    assert_string_equal(gq_st_metadata(st, "note"), "a\\b");
    gq_safetensors_close(st);
}

static void writer_mistakes(void **state)
{
    gq_st_writer *w;
    gq_error      err = {0};
    gq_st_tensor  two[2] = {plan[0], plan[0]}, bad = plan[0];
    uint8_t       data[64] = {0};
    const char   *path = in_dir("wrong.safetensors");
    (void)state;

    assert_fails(gq_st_writer_open(path, two, 2, NULL, 0, &w, &err), GQ_EBUG, &err,
                 "declared twice");
    bad.name = "\xc0";
    assert_fails(gq_st_writer_open(path, &bad, 1, NULL, 0, &w, &err), GQ_EBUG, &err, "cannot name");
    bad = plan[0];
    bad.shape[0] = bad.shape[1] = UINT64_MAX / 2;
    assert_fails(gq_st_writer_open(path, &bad, 1, NULL, 0, &w, &err), GQ_EBUG, &err,
                 "beyond 64 bits");
    gq_error_clear(&err);
    assert_ok(gq_st_writer_open(path, plan, 4, NULL, 0, &w, &err), &err);
    assert_fails(gq_st_put(w, "scalar", data, 8, &err), GQ_EBUG, &err, "'w' is due");
    assert_fails(gq_st_put(w, "w", data, 61, &err), GQ_EBUG, &err, "60 are left");
    assert_fails(gq_st_commit(w, &err), GQ_EBUG, &err, "60 bytes are missing");
    assert_false(gq_is_file(path));
}

static void files_without_tensors(void **state)
{
    gq_st_writer   *w;
    gq_safetensors *st;
    gq_error        err = {0};
    (void)state;
    assert_ok(gq_st_writer_open(in_dir("none.safetensors"), NULL, 0, NULL, 0, &w, &err), &err);
    assert_int_equal(gq_st_file_size(w), 16);
    assert_ok(gq_st_commit(w, &err), &err);
    assert_ok(gq_safetensors_open(in_dir("none.safetensors"), &st, &err), &err);
    assert_int_equal(gq_st_count(st), 0);
    gq_safetensors_close(st);
}

/* ---- shards ---------------------------------------------------------------------------------- */

static void one_tensor(const char *path, const char *name, float value)
{
    gq_st_tensor  t = {.name = name, .dtype = GQ_ST_F32, .rank = 0};
    gq_st_writer *w;
    gq_error      err = {0};
    assert_ok(gq_st_writer_open(path, &t, 1, NULL, 0, &w, &err), &err);
    assert_ok(gq_st_put(w, name, &value, sizeof value, &err), &err);
    assert_ok(gq_st_commit(w, &err), &err);
}

static void index_is(const char *json)
{
    put_file(in_dir("model.safetensors.index.json"), json, strlen(json));
}

static void sharded(void **state)
{
    gq_safetensors *st;
    gq_error        err = {0};
    float           v;
    (void)state;

    gq_remove_tree(in_dir("model.safetensors"), NULL);
    assert_fails(open_close(dir, &err), GQ_EWEIGHTS, &err, "holds neither model.safetensors nor");
    gq_error_clear(&err);
    one_tensor(in_dir("model-00001-of-00002.safetensors"), "a", 1);
    one_tensor(in_dir("model-00002-of-00002.safetensors"), "b", 2);
    index_is(
        "{\"metadata\":{\"total_size\":8,\"deep\":[1,[true,null,{\"x\":-1.5e3}]]},\"weight_map\":"
        "{\"b\":\"model-00002-of-00002.safetensors\",\"a\":\"model-00001-of-00002.safetensors\"}}");
    assert_ok(gq_safetensors_open(dir, &st, &err), &err);
    assert_int_equal(gq_st_count(st), 2);
    assert_ok(gq_st_read_f32(gq_st_find(st, "b"), &v, &err), &err);
    assert_true(v == 2);
    assert_string_equal(gq_st_at(st, 0)->name, "a");
    gq_safetensors_close(st);

    index_is("{\"weight_map\":{\"c\":\"model-00001-of-00002.safetensors\"}}");
    assert_fails(open_close(dir, &err), GQ_EWEIGHTS, &err, "tensor 'c': is not in model-00001");
    index_is("{\"weight_map\":{\"a\":\"../model-00001-of-00002.safetensors\"}}");
    assert_fails(open_close(dir, &err), GQ_EWEIGHTS, &err, "beside it");
    index_is("{\"weight_map\":{\"a\":\"..\"}}");
    assert_fails(open_close(dir, &err), GQ_EWEIGHTS, &err, "beside it");
    index_is("{\"weight_map\":{\"a\":\"gone.safetensors\"}}");
    assert_fails(open_close(dir, &err), GQ_EWEIGHTS, &err, "gone.safetensors: cannot open");
    index_is("{\"weight_map\":{\"a\":\"model-00001-of-00002.safetensors\",\"a\":\"model-00001-of-"
             "00002.safetensors\"}}");
    assert_fails(open_close(dir, &err), GQ_EWEIGHTS, &err, "given twice in weight_map");
    index_is("{\"weight_map\":{}}");
    assert_fails(open_close(dir, &err), GQ_EWEIGHTS, &err, "no weight_map");
    index_is("{\"weight_map\":{\"a\":\"model-00001-of-00002.safetensors\"}");
    assert_fails(open_close(dir, &err), GQ_EWEIGHTS, &err, "index.json: byte");
    one_tensor(in_dir("model-00002-of-00002.safetensors"), "a", 3);
    index_is("{\"weight_map\":{\"a\":\"model-00002-of-00002.safetensors\",\"b\":\"model-00001-of-"
             "00002.safetensors\"}}");
    assert_fails(open_close(dir, &err), GQ_EWEIGHTS, &err, "given twice, also in ");

    gq_error_clear(&err);
    one_tensor(in_dir("model.safetensors"), "only", 5);      /* the single file wins */
    assert_ok(gq_safetensors_open(dir, &st, &err), &err);
    assert_non_null(gq_st_find(st, "only"));
    gq_safetensors_close(st);
}

/* ---- damage ---------------------------------------------------------------------------------- */

/* Whatever is accepted must be safe to read to the last byte. */
static void touch_all(const gq_safetensors *st)
{
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < gq_st_count(st); i++) {
        const gq_st_tensor *t = gq_st_at(st, i);
        assert_ptr_equal(gq_st_find(st, t->name), t);
        for (size_t k = 0; k < t->bytes; k++)
            sum = (uint8_t)(sum + ((const uint8_t *)t->data)[k]);
    }
}

/* Without truncating to nothing first, which ext4 answers with a flush to the disk. */
static void in_place(const char *path, const uint8_t *data, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, n, 0), n);
    assert_int_equal(ftruncate(fd, (off_t)n), 0);
    close(fd);
}

static void damage(void **state)
{
    gq_error        err = {0};
    gq_bytes        good;
    gq_safetensors *st;
    size_t          header, accepted = 0, flips = 0;
    const char     *path = in_dir("damaged.safetensors");
    (void)state;

    write_plan(in_dir("good.safetensors"));
    assert_ok(gq_read_file(in_dir("good.safetensors"), 1 << 20, &good, &err), &err);
    header = 8 + (size_t)good.data[0] + ((size_t)good.data[1] << 8);
    for (size_t n = 0; n < good.size; n++) {                 /* every truncation is refused */
        in_place(path, good.data, n);
        assert_fails(open_close(path, &err), GQ_EWEIGHTS, &err, "damaged.safetensors");
    }
    for (size_t bit = 0; bit < header * 8; bit++) {          /* flips: refused, or read safely */
        good.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        in_place(path, good.data, good.size);
        gq_error_clear(&err);
        if (gq_safetensors_open(path, &st, &err) == GQ_OK) {
            touch_all(st);
            gq_safetensors_close(st);
            accepted++;
        } else {
            assert_int_equal(err.code, GQ_EWEIGHTS);
        }
        good.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        flips++;
    }
    /* what gets through: letters inside names and metadata, pad spaces as other white space */
    assert_true(accepted < flips / 5);
    gq_bytes_free(&good);
}

static void no_memory(void **state)
{
    gq_error  err;
    uint64_t  n = 0;
    gq_status s;
    (void)state;
    write_plan(in_dir("good.safetensors"));
    do {
        gq_error_clear(&err);
        gq_mem_fail_at(++n, false);
        s = open_close(in_dir("good.safetensors"), &err);
        gq_mem_fail_at(0, false);
        if (s != GQ_OK)
            assert_int_equal(s, GQ_ENOMEM);
    } while (s != GQ_OK);
    assert_true(n > 4);
    n = 0;
    do {
        gq_st_writer *w;
        gq_error_clear(&err);
        gq_mem_fail_at(++n, false);
        s = gq_st_writer_open(in_dir("new.safetensors"), plan, 4, NULL, 0, &w, &err);
        gq_mem_fail_at(0, false);
        if (s == GQ_OK)
            gq_st_abort(w);
        else
            assert_int_equal(s, GQ_ENOMEM);
    } while (s != GQ_OK);
    assert_true(n > 8);
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* The definition: sign * 2^(e-bias) * 1.m, or 2^(1-bias) * 0.m */
static double by_definition(uint32_t bits, int exponent_bits, int mantissa_bits)
{
    int bias = (1 << (exponent_bits - 1)) - 1,
        e = (int)(bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
    double m = ldexp((double)(bits & ((1u << mantissa_bits) - 1)), -mantissa_bits);
    double v = e == (1 << exponent_bits) - 1 ? (m != 0 ? NAN : INFINITY)
               : e ? ldexp(1 + m, e - bias) : ldexp(m, 1 - bias);
    return bits >> (exponent_bits + mantissa_bits) & 1 ? -v : v;
}

static void small_floats(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 65536; i++) {
        float  h = gq_f16_to_f32((uint16_t)i), b = gq_bf16_to_f32((uint16_t)i);
        double want_h = by_definition(i, 5, 10), want_b = by_definition(i, 8, 7);
        if (isnan(want_h) ? !isnan(h) : (double)h != want_h)
            fail_msg("f16 %04x: %.9g, want %.17g", i, (double)h, want_h);
        if (isnan(want_b) ? !isnan(b) : (double)b != want_b)
            fail_msg("bf16 %04x: %.9g, want %.17g", i, (double)b, want_b);
        assert_int_equal(signbit(h) != 0, i >> 15);
        assert_int_equal(signbit(b) != 0, i >> 15);
    }
    assert_true(gq_f16_to_f32(0x3c01) == 1.0009765625f);     /* 1 + 2^-10 */
    assert_true(gq_bf16_to_f32(0x4049) == 3.140625f);
}

static void conversions(void **state)
{
    gq_safetensors *st;
    gq_error        err = {0};
    float           f[4];
    double          d[4];
    (void)state;
    /* data bytes 0, 1, 2, ...: halves 0x0100, 0x0302; at 4: bf16 0x0504, 0x0706; at 8: a double */
    const char *path =
        file_of("{\"h\":" T("F16", "2", 0, 4) ",\"b\":" T("BF16", "2", 4, 8) ",\"d\":" T(
                    "F64", "1", 8, 16) ",\"f\":" T("F32", "1", 16, 20) "}",
                20);
    assert_ok(gq_safetensors_open(path, &st, &err), &err);
    assert_ok(gq_st_read_f32(gq_st_find(st, "h"), f, &err), &err);
    assert_true((double)f[0] == by_definition(0x0100, 5, 10) &&
                (double)f[1] == by_definition(0x0302, 5, 10));
    assert_ok(gq_st_read_f64(gq_st_find(st, "b"), d, &err), &err);
    assert_true(d[0] == by_definition(0x0504, 8, 7) && d[1] == by_definition(0x0706, 8, 7));
    assert_ok(gq_st_read_f64(gq_st_find(st, "d"), d, &err), &err);
    assert_true(d[0] == ldexp(1 + ldexp(0xe0d0c0b0a0908, -52), 0x0f0 - 1023));
    assert_ok(gq_st_read_f32(gq_st_find(st, "d"), f, &err), &err);
    assert_true(f[0] == 0.0f);
    assert_ok(gq_st_read_f64(gq_st_find(st, "f"), d, &err), &err);
    assert_true(d[0] == by_definition(0x13121110, 8, 23));
    gq_safetensors_close(st);
}

/* Opening must not be quadratic: 400 tensors at once, and a crowd of 100,000 in reasonable time. */
static void many_tensors(void **state)
{
    enum { MANY = 100000 };
    gq_st_tensor   *t = gq_calloc(MANY, sizeof *t);
    char(*names)[24] = gq_malloc(MANY, 24);
    gq_st_writer   *w;
    gq_safetensors *st;
    gq_error        err = {0};
    (void)state;

    assert_true(t && names);
    for (int n = 400; n <= MANY; n += MANY - 400) {
        for (int i = 0; i < n; i++) {
            snprintf(names[i], 24, "h.%d.w", (int)((unsigned)i * 7919u % (unsigned)n));
            t[i] = (gq_st_tensor){.name = names[i], .dtype = GQ_ST_U8, .rank = 1, .shape = {1}};
        }
        assert_ok(gq_st_writer_open(in_dir("many"), t, (size_t)n, NULL, 0, &w, &err), &err);
        for (int i = 0; i < n; i++)
            assert_ok(gq_st_put(w, names[i], &(uint8_t){(uint8_t)i}, 1, &err), &err);
        assert_ok(gq_st_commit(w, &err), &err);
        double start = gq_now();
        assert_ok(gq_safetensors_open(in_dir("many"), &st, &err), &err);
        double seconds = gq_now() - start;
        assert_int_equal(*(const uint8_t *)gq_st_find(st, names[n / 2])->data, (uint8_t)(n / 2));
        gq_safetensors_close(st);
        print_message("%d tensors opened in %.1f ms\n", n, 1e3 * seconds);
        assert_true(seconds < (n == 400 ? 0.25 : 10));
    }
    gq_free(t);
    gq_free(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_cases),  cmocka_unit_test(published_contents),
        cmocka_unit_test(own_refusals),     cmocka_unit_test(names_and_zero_sizes),
        cmocka_unit_test(round_trip),       cmocka_unit_test(writer_mistakes),
        cmocka_unit_test(files_without_tensors), cmocka_unit_test(sharded),
        cmocka_unit_test(damage),           cmocka_unit_test(no_memory),
        cmocka_unit_test(small_floats),     cmocka_unit_test(conversions),
        cmocka_unit_test(many_tensors),
    };
    return cmocka_run_group_tests_name("core/safetensors", tests, make_dir, drop_dir);
}
