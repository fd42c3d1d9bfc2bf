/* fuzz_import.c - any bytes as a published file of TGIF or TGIF-QA; the first byte says which: a
 * Test, Train or Total file beside a good Test file, sentences, or a list of a split. What is accepted
 * is counted row for row, and the tables that come out can be read whole; what is refused leaves no
 * table. */
#include "fuzz.h"

#include "core/io.h"
#include "data/import.h"
#include "data/table.h"
#include "train/benchmark.h"

static const char test_file[] = "gif_name\tquestion\tanswer\tvid_id\tkey\r\nt\tq\t2\tCOUNT1\t1\r\n";
static const char sentences[] = "http://x/t.gif\ta cat\nhttp://x/u.gif\ta dog\n";
static const char list_file[] = "http://x/u.gif\n";

static gq_status no_bad_row(void *ctx, uint64_t line, const char *reason, gq_error *err)
{
    return gq_fail(err, GQ_EINPUT, "%s:%llu: %s", (const char *)ctx, (unsigned long long)line,
                   reason);
}

/* fz_path() for longer than four calls. */
static const char *path_of(const char *name, char to[512])
{
    snprintf(to, 512, "%s", fz_path(name));
    return to;
}

/* Rows of a written table that has the columns gif and `second`. */
static uint32_t rows_of(const char *path, const char *second)
{
    const gq_table_column columns[] = {{"gif", NULL, GQ_TABLE_GIF, false},
                                       {second, NULL, GQ_TABLE_QUESTION, false}};
    const gq_table_form   form = {.columns = columns, .n = 2, .tabs = true};
    const char           *cell[2];
    gq_error              err = {0};
    gq_table             *t;
    uint64_t              line;
    uint32_t              rows = 0;
    must(gq_table_open_form(path, &form, no_bad_row, (void *)(uintptr_t)path, &t, &err) == GQ_OK,
         "%s", err.text);
    while (gq_table_fields(t, &line, cell, &err) == GQ_OK && cell[0])
        rows++;
    must(!err.code, "%s", err.text);
    gq_table_close(t);
    return rows;
}

/* Evaluation reads what was imported. */
static void check_benchmark(const char *path, uint32_t rows)
{
    gq_benchmark      *b;
    gq_bench_baselines r;
    gq_error           err = {0};
    must(gq_benchmark_open(path, &b, &err) == GQ_OK, "%s", err.text);
    must(gq_benchmark_rows(b) == rows, "%zu rows, %u", gq_benchmark_rows(b), rows);
    must(gq_bench_baseline(b, b, &r, &err) == GQ_OK, "%s", err.text);
    gq_benchmark_close(b);
}

static void check_questions(const uint8_t *data, size_t size, int part)
{
    char             name[32];
    gq_tgifqa_report r;
    gq_error         err = {0};
    uint32_t         written[2] = {0};
    char             path[3][512];
    const char      *out = path_of("out", path[0]), *test = path_of("out/test.tsv", path[1]),
                    *train = path_of("out/train.tsv", path[2]);
    snprintf(name, sizeof name, "%s_any.csv", gq_tgifqa_part_name((gq_tgifqa_part)part));
    const char *file[] = {fz_put("Test_good.csv", test_file, sizeof test_file - 1),
                          fz_put(name, data, size)};
    must(gq_remove_tree(out, NULL) == GQ_OK, "%s", out);
    gq_status s = gq_import_tgifqa(&(gq_tgifqa_opts){file, 2, false, out}, &r, &err);
    if (s != GQ_OK) {
        fz_refused(s, &err, GQ_EINPUT);
        must(!gq_is_file(test) && !gq_is_file(train), "a table in spite of '%s'", err.text);
        return;
    }
    for (int k = 0; k < GQ_TGIFQA_KINDS; k++)
        for (int p = 0; p < GQ_TGIFQA_PARTS; p++) {
            gq_tgifqa_count c = r.count[k][p];
            must(c.rows == c.overlap + c.known + c.written && c.repaired <= c.rows &&
                     c.gifs <= c.rows, "%u rows, %u, %u, %u", c.rows, c.overlap, c.known, c.written);
            written[p != GQ_TGIFQA_TEST] += c.written;
        }
    must(rows_of(test, "answer") == written[0], "%u rows to test", written[0]);
    check_benchmark(test, written[0]);
    if (part != GQ_TGIFQA_TEST)
        must(rows_of(train, "answer") == written[1], "%u rows to train", written[1]);
}

static void check_captions(const uint8_t *data, size_t size, bool list)
{
    gq_tgif_report r;
    gq_error       err = {0};
    uint32_t       kept = 0;
    char           path[512];
    const char    *out = path_of("captions.tsv", path);
    const char    *tests[] = {fz_put("Test_good.csv", test_file, sizeof test_file - 1)};
    gq_tgif_opts   o = {.captions = fz_put("s.tsv", list ? (const void *)sentences : data,
                                           list ? sizeof sentences - 1 : size),
                        .tests = tests, .n_tests = 1, .out = out};
    o.list[GQ_TGIF_TRAIN] = fz_put("list.txt", list ? data : (const void *)list_file,
                                   list ? size : sizeof list_file - 1);
    must(gq_remove_tree(out, NULL) == GQ_OK, "%s", out);
    gq_status s = gq_import_tgif(&o, &r, &err);
    if (s != GQ_OK) {
        fz_refused(s, &err, GQ_EINPUT);
        must(!gq_is_file(out), "a table in spite of '%s'", err.text);
        return;
    }
    for (int k = 0; k < GQ_TGIF_SPLITS; k++) {
        must(r.split[k].dropped <= r.split[k].sentences &&
                 r.split[k].dropped_gifs <= r.split[k].gifs, "split %d", k);
        kept += r.split[k].sentences - r.split[k].dropped;
    }
    must(rows_of(out, "description") == kept, "%u captions", kept);
}

/* A repaired text is shorter, any other is as it was. */
static void check_repair(const uint8_t *data, size_t size)
{
    char   text[256];
    size_t n = size < sizeof text - 1 ? size : sizeof text - 1;
    memcpy(text, data, n);
    text[n] = 0;
    n = strlen(text);
    bool changed = gq_tgif_repair(text);
    must(changed == (strlen(text) < n), "%zu bytes, %zu", n, strlen(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    int what = data[0] % 5;
    if (what < GQ_TGIFQA_PARTS)
        check_questions(data + 1, size - 1, what);
    else
        check_captions(data + 1, size - 1, what == 4);
    check_repair(data, size);
    return 0;
}
