/* Tables: columns, quoting, line ends, limits; each bad row with its line and reason, and the
 * rows around it intact. */
#include "scratch.h"

#include "core/mem.h"
#include "core/philox.h"
#include "data/table.h"

typedef struct notes { char text[4096]; } notes;

static gq_status note(void *ctx, uint64_t line, const char *reason, gq_error *err)
{
    (void)err;
    notes *l = ctx;
    size_t n = strlen(l->text);
    snprintf(l->text + n, sizeof l->text - n, "%llu: %s\n", (unsigned long long)line, reason);
    return GQ_OK;
}

static gq_status stop(void *ctx, uint64_t line, const char *reason, gq_error *err)
{
    (void)ctx;
    return gq_fail(err, GQ_EINPUT, "stopped at %llu: %s", (unsigned long long)line, reason);
}

/* All rows as "line|gif|question|answer|type\n", then the bad ones as "line: reason\n". */
static const char *read_bytes(const char *name, const void *data, size_t n)
{
    static char out[8192];
    notes        bad = {""};
    gq_error    err = {0};
    gq_table   *t;
    gq_row      r;
    size_t      at = 0;
    out[0] = 0;
    assert_ok(gq_table_open(scratch_put(name, data, n), note, &bad, &t, &err), &err);
    for (;;) {
        assert_ok(gq_table_next(t, &r, &err), &err);
        if (!r.gif)
            break;
        at += (size_t)snprintf(out + at, sizeof out - at, "%llu|%s|%s|%s|%s\n",
                               (unsigned long long)r.line, r.gif, r.question, r.answer, r.type);
    }
    snprintf(out + at, sizeof out - at, "%s", bad.text);
    gq_table_close(t);
    return out;
}

static const char *read_text(const char *name, const char *text)
{
    return read_bytes(name, text, strlen(text));
}

static void columns_in_any_order(void **state)
{
    (void)state;
    assert_string_equal(
        read_text("a.tsv",
                  "gif\tquestion\tanswer\ttype\nx.gif\twhat?\tcat\tobject\ny.gif\twhy?\tno\t\n"),
        "2|x.gif|what?|cat|object\n3|y.gif|why?|no|\n");
    assert_string_equal(
        read_text("a.tsv",
                  "key\tanswer\tgif_name\tquestion\r\n7\tcat\tx\twhat?\r\n\r\n8\tdog\ty\twho?"),
        "2|x|what?|cat|\n4|y|who?|dog|\n");
    assert_string_equal(read_text("a.csv", "answer,gif,question\ncat,x.gif,what?\n"),
                        "2|x.gif|what?|cat|\n");
    assert_string_equal(
        read_text(
            "a.TXT",
            "\xEF\xBB\xBFgif\tquestion\tanswer\n x \t a  b \tc\t\n\xC3\xA9\t\xE2\x82\xAC?\tok\n"),
        "3|\xC3\xA9|\xE2\x82\xAC?|ok|\n2: 4 fields, the header has 3\n");
    assert_string_equal(
        read_text("a.jsonl",
                  "{\"gif\":\"x\",\"question\":\"a \\u00e9\\n?\",\"n\":[1,{}],\"answer\":\"b\"}\n\n"
                  "{\"type\":\"t\",\"answer\":\"b\",\"gif\":\"y\",\"question\":\"q\"}"),
        "1|x|a \xC3\xA9\n?|b|\n3|y|q|b|t\n");
}

static void quotes(void **state)
{
    (void)state;
    assert_string_equal(read_text("q.csv",
                                  "gif,question,answer\r\nx,\"a, "
                                  "\"\"b\"\"\",c\r\n\"y\",\"two\r\nlines\",\"\"\"d\"\"\"\r\n"
                                  "z,5\" tall,e\r\n"),
                        "2|x|a, \"b\"|c|\n3|y|two\r\nlines|\"d\"|\n5|z|5\" tall|e|\n");
    /* an open quote costs one row, not the rest of the file */
    assert_string_equal(
        read_text("q.csv", "gif,question,answer\nx,\"a,b\ny,c,d\nz,\"e\"f,g\nw,h,i\n"),
        "3|y|c|d|\n5|w|h|i|\n2: text after a closing quote\n4: text after a closing quote\n");
    assert_string_equal(read_text("q.csv", "gif,question,answer\nx,\"a,b\ny,c,d\n"),
                        "3|y|c|d|\n2: a quote is not closed\n");
    /* TSV: quotes around a whole field are quotes, all others are text (TGIF-QA has such) */
    assert_string_equal(
        read_text(
            "q.tsv",
            "gif\tquestion\tanswer\nx\t\"say \"\"hi\"\"\"\tb\ny\t\"open\tb\nz\t\"a\" and \"b\"\tc\n"
            "w\tin \"the\" middle\t\"\"\n"),
        "2|x|say \"hi\"|b|\n3|y|\"open|b|\n4|z|\"a\" and \"b\"|c|\n5: answer is empty\n");
}

static void bad_rows_are_named_and_skipped(void **state)
{
    (void)state;
    static const char text[] = "gif\tquestion\tanswer\n\tq\ta\nx\t "
                               "\ta\nx\tq\t\xFF\xFE\nx\tq\0r\ta\nx\tq\nx\tq\ta\tb\n\nok\tq\ta\n";
    assert_string_equal(read_bytes("b.tsv", text, sizeof text - 1),
                        "9|ok|q|a|\n2: gif is empty\n3: question is empty\n4: answer is not "
                        "UTF-8\n5: question has a NUL byte\n"
                        "6: 2 fields, the header has 3\n7: 4 fields, the header has 3\n");
    const char *json = read_text(
        "b.jsonl", "{\"gif\":\"x\",\"question\":\"q\"}\n{\"gif\":\"x\",\"gif\":\"y\"}\nnot json\n"
                   "{\"gif\":\"x\",\"question\":\"q\",\"answer\":3}\n"
                   "{\"gif\":\"x\",\"question\":\"q\",\"answer\":\"a\"} x\n"
                   "{\"gif\":\"ok\",\"question\":\"q\",\"answer\":\"a\"}\n");
    assert_memory_equal(json, "6|ok|q|a|\n1: answer is empty\n2: ", 30);
    assert_non_null(strstr(json, "there twice"));
    for (int line = 3; line < 6; line++) {
        char want[16];
        snprintf(want, sizeof want, "\n%d: ", line);
        assert_non_null(strstr(json, want));
    }
    gq_table *t;
    gq_row    r;
    gq_error  err = {0};
    assert_ok(gq_table_open(scratch_put("b.tsv", text, sizeof text - 1), stop, NULL, &t, &err), &err);
    assert_fails(gq_table_next(t, &r, &err), GQ_EINPUT, &err, "stopped at 2: gif is empty");
    gq_table_close(t);
}

static void lengths_are_limited(void **state)
{
    (void)state;
    size_t n = 0, size = 2u << 20;
    char  *big = gq_malloc(size + 20000, 1);
    n += (size_t)sprintf(big, "gif\tquestion\tanswer\n1\t");
    memset(big + n, 'a', GQ_TABLE_QUESTION);
    n += GQ_TABLE_QUESTION;
    n += (size_t)sprintf(big + n, "\tx\n2\t");
    memset(big + n, 'a', GQ_TABLE_QUESTION + 1);
    n += GQ_TABLE_QUESTION + 1;
    n += (size_t)sprintf(big + n, "\tx\n3\tq\t");
    memset(big + n, 'a', GQ_TABLE_ANSWER + 1);
    n += GQ_TABLE_ANSWER + 1;
    n += (size_t)sprintf(big + n, "\n4\tq\t");
    memset(big + n, 'a', size);
    n += size;
    n += (size_t)sprintf(big + n, "\nok\tq\ta\n");
    const char *got = read_bytes("l.tsv", big, n);
    assert_memory_equal(got, "2|1|aaaa", 8);
    assert_non_null(strstr(got, "\n6|ok|q|a|\n3: question has 4097 bytes, more than 4096\n4: "
                                "answer has 1025 bytes, more than "
                                "1024\n5: longer than 1 MiB\n"));
    gq_free(big);
}

static void headers_are_checked(void **state)
{
    (void)state;
    gq_table *t;
    gq_error  err;
#define REFUSED(name, text, why)                                                                   \
    assert_fails(gq_table_open(scratch_put(name, text, sizeof text - 1), NULL, NULL, &t, &err), GQ_EINPUT, \
                 &err, why)
    REFUSED("h.tsv", "gif\tquestion\n", "h.tsv:1: the header has no column 'answer'");
    REFUSED("h.tsv", "gif,question,answer\n", "separated by tabs");
    REFUSED("h.csv", "gif\tquestion\tanswer\n", "separated by commas");
    REFUSED("h.txt", "gif,question,answer\n", "this one has commas: such a table is named .csv");
    REFUSED("h.csv", "gif\tquestion\tanswer\n", "this one has tabs: such a table is named .tsv");
    REFUSED("h.tsv", "gif, or not\tquestion\n", "separated by tabs");
    REFUSED("h.tsv", "gif\tgif\tquestion\tanswer\n", "'gif' twice");
    REFUSED("h.tsv", "", "no column 'gif'");
    REFUSED("h.tsv", "\xFF\xFEg\0i\0f\0", "UTF-16");
    REFUSED("h.doc", "gif\tquestion\tanswer\n", "ends in .tsv");
    REFUSED("h.csv", "gif,\"question,answer\n", "quote is not closed");
    assert_fails(gq_table_open("/nowhere/x.tsv", NULL, NULL, &t, &err), GQ_EINPUT, &err,
                 "/nowhere/x.tsv");
}

/* What a CSV writer wrote comes back, whatever the text is. */
static void csv_round_trip(void **state)
{
    (void)state;
    static const char alphabet[] = "ab,\"\n\r \tc";
    for (uint32_t seed = 0; seed < 300; seed++) {
        char  field[3][32], csv[512] = "gif,question,answer\r\n", want[256];
        char *p = csv + strlen(csv);
        for (uint32_t k = 0; k < 3; k++) {
            uint32_t n = 1 + gq_philox_at(seed, k, GQ_RNG_TEST, 0) % 9;
            field[k][0] = (char)('A' + (int)k);
            for (uint32_t i = 1; i < n; i++)
                field[k][i] = alphabet[gq_philox_at(seed, k * 32 + i, GQ_RNG_TEST, 1) %
                                       (sizeof alphabet - 1)];
            field[k][n] = 'Z';
            field[k][n + 1] = 0;
            *p++ = '"';
            for (const char *c = field[k]; *c; c++) {
                if (*c == '"')
                    *p++ = '"';
                *p++ = *c;
            }
            *p++ = '"';
            *p++ = k < 2 ? ',' : '\n';
        }
        *p = 0;
        snprintf(want, sizeof want, "2|%s|%s|%s|\n", field[0], field[1], field[2]);
        assert_string_equal(read_text("r.csv", csv), want);
    }
}

/* Any bytes: rows or reasons, and an end. */
static void any_bytes_are_read(void **state)
{
    (void)state;
    static const char *const names[] = {"f.tsv", "f.csv", "f.jsonl"};
    static const char        parts[] = "\t,\"\n\r{}:[]gif\0\xC3\xFF\\u ";
    for (uint32_t seed = 0; seed < 1500; seed++) {
        char     data[256] = "gif\tquestion\tanswer\n";
        size_t   n = seed % 3 ? 20 : 0;
        notes     bad = {""};
        gq_error err = {0};
        gq_table *t;
        gq_row    r;
        if (seed % 3 == 1)
            memcpy(data, "gif,question,answer\n", 20);
        for (uint32_t k = 0; k < 200; k++)
            data[n++] = parts[gq_philox_at(seed, k, GQ_RNG_TEST, 2) % (sizeof parts - 1)];
        if (gq_table_open(scratch_put(names[seed % 3 == 0   ? 2
                                    : seed % 3 == 1 ? 1
                                                    : 0],
                              data, n),
                          note, &bad, &t, &err) != GQ_OK)
            continue;
        do
            assert_ok(gq_table_next(t, &r, &err), &err);
        while (r.gif);
        gq_table_close(t);
    }
}

static void real_tgif_qa_tables_are_read_whole(void **state)
{
    (void)state;
    const char *path = need_shared("data/gif/tgif_resources_qa.tsv");
    notes        bad = {""};
    gq_error    err = {0};
    gq_table   *t;
    gq_row      r;
    int         rows = 0;
    assert_ok(gq_table_open(path, note, &bad, &t, &err), &err);
    do {
        assert_ok(gq_table_next(t, &r, &err), &err);
        rows += r.gif != NULL;
    } while (r.gif);
    assert_string_equal(bad.text, "");
    assert_true(rows > 0);
    gq_table_close(t);
}

/* ---- other tables ---------------------------------------------------------------------------- */

static const gq_table_column three[] = {
    {"url", NULL, 64, false}, {"text", "sentence", 64, false}, {"note", NULL, 8, true}};

/* All rows of "o.csv" as "line|field|...\n", then the bad ones. */
static const char *read_form(const gq_table_form *form, const char *text)
{
    static char out[4096];
    const char *cell[3];
    notes       bad = {""};
    gq_error    err = {0};
    gq_table   *t;
    uint64_t    line;
    size_t      at = 0;
    assert_ok(gq_table_open_form(scratch_put("o.csv", text, strlen(text)), form, note, &bad, &t, &err),
              &err);
    for (;;) {
        assert_ok(gq_table_fields(t, &line, cell, &err), &err);
        if (!cell[0])
            break;
        at += (size_t)snprintf(out + at, sizeof out - at, "%llu", (unsigned long long)line);
        for (int c = 0; c < form->n; c++)
            at += (size_t)snprintf(out + at, sizeof out - at, "|%s", cell[c]);
        at += (size_t)snprintf(out + at, sizeof out - at, "\n");
    }
    snprintf(out + at, sizeof out - at, "%s", bad.text);
    gq_table_close(t);
    return out;
}

static void other_columns(void **state)
{
    (void)state;
    gq_table_form form = {.columns = three, .n = 3, .tabs = true};
    gq_table     *t;
    gq_error      err = {0};
    assert_string_equal(
        read_form(&form, "sentence\tid\turl\r\na b\t1\tx\r\n\"c, \"\"d\"\"\"\t2\ty\r\n"
                         "\t3\tz\r\n"),
        "2|x|a b|\n3|y|c, \"d\"|\n4: text is empty\n");
    assert_string_equal(read_form(&form, "note\turl\ttext\n\ta\tb\n123456789\ta\tb\n"),
                        "2|a|b|\n3: note has 9 bytes, more than 8\n");
    assert_fails(gq_table_open_form(scratch_put("o.csv", "url,text\n", 9), &form, NULL, NULL, &t, &err),
                 GQ_EINPUT, &err,
                 "no column 'url'; it should be url, text and perhaps note, separated by tabs");
    form = (gq_table_form){.columns = three, .n = 2, .tabs = true, .headless = true, .plain = true};
    assert_string_equal(read_form(&form, "u\t\"all of it\"\n\nv\n# w\tz\tz\nx\ty"),
                        "1|u|\"all of it\"\n5|x|y\n3: 1 fields, there should be 2\n"
                        "4: 3 fields, there should be 2\n");
    assert_string_equal(read_form(&form, ""), "");
}

/* A text without white space at its ends, of what separates and quotes. */
static void awkward_text(uint32_t seed, uint32_t k, char text[40])
{
    static const char alphabet[] = "ab\"\",\t\r '#";
    uint32_t          n = gq_philox_at(seed, k, GQ_RNG_TEST, 4) % 12;
    char             *p = text;
    if (gq_philox_at(seed, k, GQ_RNG_TEST, 5) % 2)
        *p++ = '"';
    *p++ = 'x';
    for (uint32_t i = 0; i < n; i++)
        *p++ = alphabet[gq_philox_at(seed, 64 * k + i, GQ_RNG_TEST, 6) % (sizeof alphabet - 1)];
    strcpy(p, gq_philox_at(seed, k, GQ_RNG_TEST, 7) % 2 ? "\"" : "\xC3\xA9");
}

/* What gq_table_put() writes comes back, whatever the text is. */
static void what_is_put_is_read(void **state)
{
    (void)state;
    enum { PUT = 400 };
    const gq_table_form form = {.columns = three, .n = 2, .tabs = true, .headless = true};
    static char         text[PUT][2][40];
    const char         *cell[2];
    const char         *path = scratch("put.tsv");
    uint64_t            line;
    gq_error            err = {0};
    gq_table           *t;
    gq_file            *f;
    assert_ok(gq_atomic_open(path, &f, &err), &err);
    for (uint32_t k = 0; k < PUT; k++) {
        awkward_text(k, 0, text[k][0]);
        awkward_text(k, 1, text[k][1]);
        assert_ok(gq_table_put(f, (const char *[]){text[k][0], text[k][1]}, 2, &err), &err);
    }
    assert_fails(gq_table_put(f, (const char *[]){"two\nlines", "b"}, 2, &err), GQ_EINPUT, &err,
                 "two lines");
    gq_error_clear(&err);
    assert_ok(gq_atomic_commit(f, &err), &err);
    assert_ok(gq_table_open_form(path, &form, stop, NULL, &t, &err), &err);
    for (uint32_t k = 0; k < PUT; k++) {
        assert_ok(gq_table_fields(t, &line, cell, &err), &err);
        assert_int_equal(line, k + 1);
        assert_string_equal(cell[0], text[k][0]);
        assert_string_equal(cell[1], text[k][1]);
    }
    assert_ok(gq_table_fields(t, &line, cell, &err), &err);
    assert_null(cell[0]);
    gq_table_close(t);
}

static void the_example_is_a_table(void **state)
{
    (void)state;
    const char *got = read_text("e.tsv", gq_table_example);
    assert_memory_equal(got, "2|cat.gif|what is the cat licking?|paw|action\n", 46);
    assert_null(strstr(got, ": "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_in_any_order),
        cmocka_unit_test(quotes),
        cmocka_unit_test(bad_rows_are_named_and_skipped),
        cmocka_unit_test(lengths_are_limited),
        cmocka_unit_test(headers_are_checked),
        cmocka_unit_test(csv_round_trip),
        cmocka_unit_test(any_bytes_are_read),
        cmocka_unit_test(real_tgif_qa_tables_are_read_whole),
        cmocka_unit_test(other_columns),
        cmocka_unit_test(what_is_put_is_read),
        cmocka_unit_test(the_example_is_a_table),
    };
    return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}
