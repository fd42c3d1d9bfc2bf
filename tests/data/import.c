/* The importers of TGIF and TGIF-QA: small files with all quirks of the published ones, what is
 * refused and that nothing stays behind then, and the published files themselves where they are. */
#include "scratch.h"

#include "core/mem.h"
#include "core/philox.h"
#include "data/import.h"
#include "data/table.h"

static const char *put(const char *name, const char *text)
{
    return scratch_put(name, text, strlen(text));
}

/* A file's text; static, two in rotation. */
static const char *get(const char *name)
{
    static char text[2][1 << 16];
    static int  next;
    char       *to = text[next++ & 1];
    gq_bytes    b;
    gq_error    err = {0};
    assert_ok(gq_read_file(scratch(name), sizeof text[0] - 1, &b, &err), &err);
    memcpy(to, b.data, b.size + 1);
    gq_bytes_free(&b);
    return to;
}

static gq_status import_qa(const char *const *file, size_t n, bool whole, gq_tgifqa_report *r,
                           gq_error *err)
{
    return gq_import_tgifqa(&(gq_tgifqa_opts){file, n, whole, scratch("out")}, r, err);
}

/* No table, and no unfinished one. */
static void nothing_in(const char *name)
{
    char   **names;
    size_t   n = 0;
    gq_error err = {0};
    if (!gq_is_dir(scratch(name)))
        return;
    assert_ok(gq_list_dir(scratch(name), &names, &n, &err), &err);
    for (size_t k = 0; k < n; k++)
        gq_free(names[k]);
    gq_free(names);
    assert_int_equal(n, 0);
}

static void fresh(void)
{
    gq_error err = {0};
    assert_ok(gq_remove_tree(scratch("out"), &err), &err);
}

static gq_status stop(void *ctx, uint64_t line, const char *reason, gq_error *err)
{
    return gq_fail(err, GQ_EINPUT, "%s:%llu: %s", (const char *)ctx, (unsigned long long)line,
                   reason);
}

/* ---- texts ----------------------------------------------------------------------------------- */

static void rep_comes_back(void **state)
{
    (void)state;
    static const struct { const char *text, *want; } cases[] = {
        {"FRAMEQAorter", "reporter"},     {"two fiFRAMEQAlaces .", "two fireplaces ."},
        {"the cat pCOUNT ?", "the cat prep ?"}, {"COUNTtile COUNTed", "reptile reped"},
        {"pACTIONare, TRANSlace", "prepare, replace"}, {"xFRAMEQAFRAMEQAx", "xreprepx"},
        {"ACTION COUNT 3 TRANS.", "ACTION COUNT 3 TRANS."}, {"", ""}, {"FRAMEQ", "FRAMEQ"},
        {"TRAN\xC3\xA9 TRANS\xC3\xA9", "TRAN\xC3\xA9 TRANS\xC3\xA9"}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        char text[64];
        strcpy(text, cases[k].text);
        assert_int_equal(gq_tgif_repair(text), strcmp(cases[k].text, cases[k].want) != 0);
        assert_string_equal(text, cases[k].want);
    }
}

/* ---- questions ------------------------------------------------------------------------------- */

#define FRAME_HEAD "gif_name\tquestion\tanswer\ttype\tvid_id\tkey\tdescription\r\n"
#define COUNT_HEAD "gif_name\tquestion\tanswer\tvid_id\tkey\r\n"
#define CHOICE_HEAD "gif_name\tquestion\ta1\ta2\ta3\ta4\ta5\tanswer\tvid_id\tkey\r\n"
#define OUT_HEAD                                                                                   \
    "gif\tquestion\tanswer\ttype\ta1\ta2\ta3\ta4\ta5\tchoice\tvid_id\tkey\tdescription\n"

static const char frame_test[] = FRAME_HEAD
    "t1\twhere is the fiFRAMEQAlace ?\troom\t3\tFRAMEQA7\t11\ta fiFRAMEQAlace in a room .\r\n"
    "t1\twhat is it ?\tcat\t0\tFRAMEQA8\t11\ta \"big\" cat .\r\n";
static const char trans_test[] = CHOICE_HEAD
    "t2\tWhat does it do before jump ?\tup\tdown\t\"say \"\"no\"\"\"\tleft\tright\t2\tTRANS1\t12"
    "\r\n";
static const char count_test[] = COUNT_HEAD "t3\tHow many times ?\t10\tCOUNT1\t13\r\n";
static const char action_train[] = CHOICE_HEAD
    "a\tWhat does it do 3 times ?\tv\tw\tx\ty\tz\t4\tACTION2\t21\r\n"
    "t2\tWhat does it do 2 times ?\tv\tw\tx\ty\tz\t0\tACTION3\t12\r\n";
static const char count_train[] = COUNT_HEAD "a\tHow often to pCOUNTare ?\t0\tCOUNT2\t21\r\n";
static const char count_total[] = COUNT_HEAD "a\tHow often to pCOUNTare ?\t0\tCOUNT2\t21\r\n"
                                             "b\tHow often ?\t2\tCOUNT3\t22\r\n"
                                             "t3\tHow many times ?\t10\tCOUNT1\t13\r\n"
                                             "t1\tHow many ?\t4\tCOUNT4\t11\r\n";

static void all_kinds_become_two_tables(void **state)
{
    (void)state;
    gq_tgifqa_report r;
    gq_error         err = {0};
    const char      *file[] = {put("Total_count_question.csv", count_total),
                               put("Train_action_question.csv", action_train),
                               put("Train_count_question.csv", count_train),
                               put("Test_count_question.csv", count_test),
                               put("Test_frameqa_question.csv", frame_test),
                               put("test_transition_question.csv", trans_test)};
    fresh();
    assert_ok(import_qa(file, 6, false, &r, &err), &err);
    assert_string_equal(
        get("out/test.tsv"),
        OUT_HEAD "t3\tHow many times ?\t10\tcount\t\t\t\t\t\t\tCOUNT1\t13\t\n"
                 "t1\twhere is the fireplace ?\troom\tframeqa-location\t\t\t\t\t\t\tFRAMEQA7\t11\t"
                 "a fireplace in a room .\n"
                 "t1\twhat is it ?\tcat\tframeqa-object\t\t\t\t\t\t\tFRAMEQA8\t11\t"
                 "a \"big\" cat .\n"
                 "t2\tWhat does it do before jump ?\tsay \"no\"\ttransition\tup\tdown\tsay \"no\"\t"
                 "left\tright\t2\tTRANS1\t12\t\n");
    assert_string_equal(get("out/train.tsv"),
                        OUT_HEAD
                        "a\tWhat does it do 3 times ?\tz\taction\tv\tw\tx\ty\tz\t4\tACTION2\t21\t\n"
                        "a\tHow often to prepare ?\t0\tcount\t\t\t\t\t\t\tCOUNT2\t21\t\n"
                        "b\tHow often ?\t2\tcount\t\t\t\t\t\t\tCOUNT3\t22\t\n");
    const gq_tgifqa_count total = r.count[GQ_TGIFQA_COUNT][GQ_TGIFQA_TOTAL];
    assert_int_equal(total.rows, 4);
    assert_int_equal(total.known, 2);
    assert_int_equal(total.overlap, 1);          /* t1 is in Test_frameqa */
    assert_int_equal(total.written, 1);
    const gq_tgifqa_count action = r.count[GQ_TGIFQA_ACTION][GQ_TGIFQA_TRAIN];
    assert_int_equal(action.rows, 2);
    assert_int_equal(action.overlap, 1);
    assert_int_equal(action.written, 1);
    const gq_tgifqa_count frame = r.count[GQ_TGIFQA_FRAMEQA][GQ_TGIFQA_TEST];
    assert_int_equal(frame.rows, 2);
    assert_int_equal(frame.gifs, 1);
    assert_int_equal(frame.repaired, 1);
    assert_int_equal(r.frame[GQ_TGIFQA_TEST][3], 1);
    assert_int_equal(r.frame[GQ_TGIFQA_TEST][0], 1);
}

/* The tables are what gifqa-prep build reads; columns that it has no use for are passed over. */
static void a_build_reads_them(void **state)
{
    (void)state;
    gq_table *t;
    gq_row    row;
    gq_error  err = {0};
    all_kinds_become_two_tables(NULL);
    assert_ok(gq_table_open(scratch("out/test.tsv"), stop, "test.tsv", &t, &err), &err);
    for (int k = 0; k < 4; k++)
        assert_ok(gq_table_next(t, &row, &err), &err);
    assert_string_equal(row.gif, "t2");
    assert_string_equal(row.answer, "say \"no\"");
    assert_string_equal(row.type, "transition");
    assert_ok(gq_table_next(t, &row, &err), &err);
    assert_null(row.gif);
    gq_table_close(t);
}

static void what_is_not_as_published_is_refused(void **state)
{
    (void)state;
    static const struct { const char *name, *text, *why; } cases[] = {
        {"Test_a.csv", FRAME_HEAD "g\tq\ta\t4\tFRAMEQA1\t1\td\r\n",
         "Test_a.csv:2: type is no number from 0 to 3"},
        {"Test_a.csv", FRAME_HEAD "g\tq\ta\t0\tFRAMEQA1\t1\td\r\ng\tq\ta\t0\tFRAMEQA1\t1\td\r\n",
         ":3: this vid_id is there twice"},
        {"Test_a.csv", COUNT_HEAD "g\tq\ta\tFRAMEQA1\t1\r\n", ":2: type is empty; frameqa has it"},
        {"Test_a.csv", COUNT_HEAD "g\tq\t11\tCOUNT1\t1\r\n",
         ":2: answer is no number from 0 to 10"},
        {"Test_a.csv", COUNT_HEAD "g\tq\t-1\tCOUNT1\t1\r\n", ":2: answer is no number"},
        {"Test_a.csv", COUNT_HEAD "g\tq\t3 \tCOUNT\t1\r\n", ":2: vid_id is none of"},
        {"Test_a.csv", COUNT_HEAD "g\tq\t3\tCOUNT1x\t1\r\n", ":2: vid_id is none of"},
        {"Test_a.csv", COUNT_HEAD "g\tq\t3\tCOUNT1\tk\r\n", ":2: key is no number"},
        {"Test_a.csv", COUNT_HEAD "g\tq\t3\tCOUNT1\t1\r\ng\tq\t3\tACTION1\t1\r\n",
         ":3: another kind"},
        {"Test_a.csv", COUNT_HEAD "g\tq\t3\tACTION1\t1\r\n", ":2: a1 is empty; action has it"},
        {"Test_a.csv", CHOICE_HEAD "g\tq\ta\tb\tc\td\te\t5\tTRANS1\t1\r\n",
         ":2: answer is no number from 0 to 4"},
        {"Test_a.csv", CHOICE_HEAD "g\tq\ta\tb\tc\td\t\t1\tTRANS1\t1\r\n", ":2: a5 is empty"},
        {"Test_a.csv", COUNT_HEAD "g\tq\t3\tCOUNT1\r\n", ":2: 4 fields, the header has 5"},
        {"Test_a.csv", COUNT_HEAD "g\t\xFF\t3\tCOUNT1\t1\r\n", ":2: question is not UTF-8"},
        {"Test_a.csv", COUNT_HEAD "g\tq\t3\tCOUNT1\t1\r\n\tq\t3\tCOUNT2\t1\r\n",
         ":3: gif_name is empty"},
        {"Test_a.csv", COUNT_HEAD, "has no row"},
        {"Test_a.csv", "gif_name,question\n", "no column 'gif_name'"},
        {"Test_a.csv", "gif_name\tquestion\tanswer\tkey\r\n", "no column 'vid_id'"},
        {"Total_a.csv", COUNT_HEAD "g\tq\t3\tCOUNT1\t1\r\n", "name Test_count_question.csv too"},
        {"a_Test.csv", COUNT_HEAD "g\tq\t3\tCOUNT1\t1\r\n", "is called Train_, Test_ or Total_"}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        gq_tgifqa_report r;
        gq_error         err = {0};
        const char      *file[] = {put("Test_good.csv", trans_test),
                                   put(cases[k].name, cases[k].text)};
        bool             clash = strstr(cases[k].text, "TRANS") != NULL;
        fresh();
        assert_fails(import_qa(file + clash, 2 - clash, false, &r, &err), GQ_EINPUT, &err,
                     cases[k].why);
        nothing_in("out");
    }
    gq_tgifqa_report r;
    gq_error         err = {0};
    const char *twice[] = {put("Test_a.csv", count_test), put("Test_b.csv", count_test)};
    assert_fails(import_qa(twice, 2, false, &r, &err), GQ_EINPUT, &err,
                 "Test_b.csv: there is another Test file of count");
    assert_fails(import_qa(twice, 1, true, &r, &err), GQ_EINPUT, &err,
                 "Test file of count: 1 rows; the published one has 3554");
    assert_fails(import_qa((const char *[]){scratch("Test_none.csv")}, 1, false, &r, &err),
                 GQ_EINPUT, &err, "Test_none.csv");
    nothing_in("out");
}

/* A failed import leaves the tables of the one before; a table that would not fit the new one is
 * not left beside it. */
static void older_tables_stay_or_are_named(void **state)
{
    (void)state;
    gq_tgifqa_report r;
    gq_error         err = {0};
    char             before[4096];
    all_kinds_become_two_tables(NULL);
    snprintf(before, sizeof before, "%s", get("out/test.tsv"));
    const char *bad[] = {put("Test_count_question.csv", COUNT_HEAD "g\tq\t99\tCOUNT1\t1\r\n"),
                         scratch("Train_count_question.csv")};
    assert_fails(import_qa(bad, 2, false, &r, &err), GQ_EINPUT, &err, ":2: answer is no number");
    assert_string_equal(get("out/test.tsv"), before);
    put("Test_count_question.csv", count_test);
    assert_fails(import_qa(bad, 1, false, &r, &err), GQ_EINPUT, &err,
                 "train.tsv: is there from another import");
    assert_string_equal(get("out/test.tsv"), before);
    assert_ok(import_qa(bad, 2, false, &r, &err), &err);
    assert_string_equal(get("out/test.tsv"),
                        OUT_HEAD "t3\tHow many times ?\t10\tcount\t\t\t\t\t\t\tCOUNT1\t13\t\n");
}

/* ---- there and back -------------------------------------------------------------------------- */

/* Random rows as TGIF-QA would have written them. */
static void random_text(uint64_t seed, uint64_t row, uint32_t c, char text[24])
{
    static const char letters[] = "ab \"',?.";
    uint32_t          n = gq_philox_at(seed, row * 64 + c, GQ_RNG_TEST, 0) % 12;
    char             *p = text;
    if (gq_philox_at(seed, row * 64 + c, GQ_RNG_TEST, 1) % 4 == 0)
        *p++ = '"';
    *p++ = 'x';
    for (uint32_t i = 0; i < n; i++)
        *p++ = letters[gq_philox_at(seed, (row * 64 + c) * 32 + i, GQ_RNG_TEST, 2) %
                       (sizeof letters - 1)];
    *p++ = 'z';
    *p = 0;
}

enum { ROWS = 12, CELLS = 10 };

static void write_random(uint64_t seed, const char *name, bool choices)
{
    static const char *const heads[2][CELLS] = {
        {"gif_name", "question", "answer", "type", "vid_id", "key", "description"},
        {"gif_name", "question", "a1", "a2", "a3", "a4", "a5", "answer", "vid_id", "key"}};
    gq_error err = {0};
    gq_file *f;
    int      n = choices ? 10 : 7, id = choices ? 8 : 4;
    assert_ok(gq_atomic_open(scratch(name), &f, &err), &err);
    assert_ok(gq_table_put(f, heads[choices], n, &err), &err);
    for (uint32_t r = 0; r < ROWS; r++) {
        char        text[CELLS][24];
        const char *cell[CELLS];
        for (int c = 0; c < n; c++) {
            random_text(seed, r, (uint32_t)c, text[c]);
            cell[c] = text[c];
        }
        snprintf(text[id], sizeof text[0], "%s%u", choices ? "ACTION" : "FRAMEQA", r);
        snprintf(text[id + 1], sizeof text[0], "%u", 100 + r);
        snprintf(text[choices ? 7 : 3], sizeof text[0], "%u", r % 4);
        assert_ok(gq_table_put(f, cell, n, &err), &err);
    }
    assert_ok(gq_atomic_commit(f, &err), &err);
}

/* Out of an imported table, TGIF-QA's files again. */
static void write_back(const char *table, const char *frames, const char *choices)
{
    static const gq_table_column columns[] = {
        {"gif", NULL, 99, false},   {"question", NULL, 99, false}, {"answer", NULL, 99, false},
        {"type", NULL, 99, false},  {"a1", NULL, 99, true},        {"a2", NULL, 99, true},
        {"a3", NULL, 99, true},     {"a4", NULL, 99, true},        {"a5", NULL, 99, true},
        {"choice", NULL, 99, true}, {"vid_id", NULL, 99, false},   {"key", NULL, 99, false},
        {"description", NULL, 99, true}};
    static const gq_table_form form = {.columns = columns, .n = 13, .tabs = true};
    static const char *const head[2][CELLS] = {
        {"gif_name", "question", "answer", "type", "vid_id", "key", "description"},
        {"gif_name", "question", "a1", "a2", "a3", "a4", "a5", "answer", "vid_id", "key"}};
    const char *c[13];
    gq_table   *t;
    gq_file    *f[2];
    gq_error    err = {0};
    uint64_t    line;
    assert_ok(gq_atomic_open(scratch(frames), &f[0], &err), &err);
    assert_ok(gq_atomic_open(scratch(choices), &f[1], &err), &err);
    assert_ok(gq_table_put(f[0], head[0], 7, &err), &err);
    assert_ok(gq_table_put(f[1], head[1], 10, &err), &err);
    assert_ok(gq_table_open_form(scratch(table), &form, stop, (void *)(uintptr_t)table, &t, &err),
              &err);
    for (;;) {
        char sort[2] = "0";
        assert_ok(gq_table_fields(t, &line, c, &err), &err);
        if (!c[0])
            break;
        for (int k = 0; k < GQ_TGIFQA_FRAMES; k++)
            if (strcmp(c[3], gq_tgifqa_frame_type(k)) == 0)
                sort[0] = (char)('0' + k);
        if (*c[9])
            assert_ok(gq_table_put(f[1], (const char *[]){c[0], c[1], c[4], c[5], c[6], c[7], c[8],
                                                          c[9], c[10], c[11]}, 10, &err), &err);
        else
            assert_ok(gq_table_put(f[0], (const char *[]){c[0], c[1], c[2], sort, c[10], c[11],
                                                          c[12]}, 7, &err), &err);
    }
    gq_table_close(t);
    assert_ok(gq_atomic_commit(f[0], &err), &err);
    assert_ok(gq_atomic_commit(f[1], &err), &err);
}

static void there_and_back_is_identity(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        gq_tgifqa_report r;
        gq_error         err = {0};
        char             first[1 << 14];
        const char      *file[] = {scratch("Test_f.csv"), scratch("Test_c.csv")};
        write_random(seed, "Test_f.csv", false);
        write_random(seed + 100, "Test_c.csv", true);
        fresh();
        assert_ok(import_qa(file, 2, false, &r, &err), &err);
        assert_int_equal(r.count[GQ_TGIFQA_ACTION][GQ_TGIFQA_TEST].written, ROWS);
        snprintf(first, sizeof first, "%s", get("out/test.tsv"));
        char f[1 << 14], c[1 << 14];
        snprintf(f, sizeof f, "%s", get("Test_f.csv"));
        snprintf(c, sizeof c, "%s", get("Test_c.csv"));
        write_back("out/test.tsv", "Test_f.csv", "Test_c.csv");
        assert_string_equal(get("Test_f.csv"), f);
        assert_string_equal(get("Test_c.csv"), c);
        assert_ok(import_qa(file, 2, false, &r, &err), &err);
        assert_string_equal(get("out/test.tsv"), first);
    }
}

static void every_failed_allocation_is_clean(void **state)
{
    (void)state;
    gq_status s = GQ_ENOMEM;
    for (uint64_t n = 1; s != GQ_OK; n++) {
        const char      *file[] = {put("Test_count_question.csv", count_test),
                                   put("Train_action_question.csv", action_train)};
        gq_tgifqa_report r;
        gq_error         err = {0};
        fresh();
        gq_mem_fail_at(n, n % 2);
        s = import_qa(file, 2, false, &r, &err);
        gq_mem_fail_at(0, false);
        if (s != GQ_OK && s != GQ_ENOMEM)
            fail_msg("allocation %llu: %d %s", (unsigned long long)n, (int)s, err.text);
        assert_true(n < 500);
        if (s != GQ_OK && gq_is_file(scratch("out/train.tsv")))
            fail_msg("allocation %llu: train.tsv in spite of it", (unsigned long long)n);
    }
}

/* ---- captions -------------------------------------------------------------------------------- */

#define URL(name) "https://38.media.tumblr.com/9f6c/" name ".gif"

static gq_tgif_opts captions_opts(void)
{
    static const char *tests[1];
    tests[0] = put("Test_count.csv", COUNT_HEAD "q1\tq\t2\tCOUNT1\t1\r\nq2\tq\t2\tCOUNT2\t2\r\n");
    put("tgif.tsv", URL("a") "\ta man, \"glaring\".\n" URL("q1") "\tone\n" URL("a") "\ta Man\n"
                    URL("v") "\t\"quoted\"\n" URL("q2") "\ttwo\n" URL("q1") "\tthree\n"
                    URL("t") "\tfour\n" URL("none") "\tfive\n");
    return (gq_tgif_opts){.captions = scratch("tgif.tsv"),
                          .list = {put("train.txt", URL("a") "\n" URL("q1") "\n" URL("b") "\n"),
                                   put("val.txt", URL("v") "\n" URL("v") "\n"),
                                   put("test.txt", URL("t") "\r\n" URL("q2"))},
                          .tests = tests,
                          .n_tests = 1,
                          .out = scratch("captions.tsv")};
}

static void captions_get_their_splits(void **state)
{
    (void)state;
    gq_tgif_report r;
    gq_error       err = {0};
    gq_tgif_opts   o = captions_opts();
    assert_ok(gq_import_tgif(&o, &r, &err), &err);
    assert_string_equal(get("captions.tsv"),
                        "gif\tdescription\tsplit\turl\n"
                        "a\ta man, \"glaring\".\ttrain\t" URL("a") "\n"
                        "a\ta Man\ttrain\t" URL("a") "\n"
                        "v\t\"\"\"quoted\"\"\"\tval\t" URL("v") "\n"
                        "q2\ttwo\ttest\t" URL("q2") "\n"
                        "t\tfour\ttest\t" URL("t") "\n");
    assert_int_equal(r.split[GQ_TGIF_TRAIN].listed, 3);
    assert_int_equal(r.split[GQ_TGIF_TRAIN].sentences, 4);
    assert_int_equal(r.split[GQ_TGIF_TRAIN].gifs, 2);
    assert_int_equal(r.split[GQ_TGIF_TRAIN].dropped, 2);
    assert_int_equal(r.split[GQ_TGIF_TRAIN].dropped_gifs, 1);
    assert_int_equal(r.split[GQ_TGIF_VAL].listed, 1);
    assert_int_equal(r.split[GQ_TGIF_TEST].sentences, 2);
    assert_int_equal(r.split[GQ_TGIF_TEST].dropped, 0);
    assert_int_equal(r.split[GQ_TGIF_UNLISTED].dropped, 1);
    assert_int_equal(r.tests, 2);
}

static void wrong_captions_are_refused(void **state)
{
    (void)state;
    gq_tgif_report r;
    gq_error       err = {0};
    gq_tgif_opts   o = captions_opts();
#define REFUSED(why)                                                                               \
    do {                                                                                           \
        assert_ok(gq_remove_tree(scratch("captions.tsv"), &err), &err);                             \
        assert_fails(gq_import_tgif(&o, &r, &err), GQ_EINPUT, &err, why);                          \
        assert_false(gq_is_file(scratch("captions.tsv")));                                          \
    } while (0)
    o.whole = true;
    REFUSED("tgif.tsv: 8 sentences; the published file has 125782");
    o.whole = false;
    o.list[GQ_TGIF_TRAIN] = NULL;
    REFUSED("no list of train, and that of val has 1 GIFs of 10708");
    o = captions_opts();
    put("test.txt", URL("t") "\n" URL("a") "\n");
    REFUSED("test.txt:2: this GIF is in the list of train too");
    o = captions_opts();
    put("val.txt", "tumblr_x\n");
    REFUSED("val.txt:1: this is no URL of a GIF");
    put("val.txt", "http://x/.gif\n");
    REFUSED("val.txt:1: this is no URL of a GIF");
    put("val.txt", "");
    REFUSED("val.txt: has no row");
    o = captions_opts();
    put("tgif.tsv", URL("a") "\tone\n" URL("a") "\n");
    REFUSED("tgif.tsv:2: 1 fields, there should be 2");
    put("tgif.tsv", URL("a") "\tone\ttwo\n");
    REFUSED("tgif.tsv:1: 3 fields, there should be 2");
    put("tgif.tsv", URL("a") "\tone\n" URL("a") "\t \n");
    REFUSED("tgif.tsv:2: sentence is empty");
    put("tgif.tsv", "");
    REFUSED("tgif.tsv: has no row");
    o = captions_opts();
    put("Test_count.csv", "question\n");
    REFUSED("no column 'gif_name'");
}

/* Lists of the published lengths: then the rest is training. */
static void without_its_list_train_is_the_rest(void **state)
{
    (void)state;
    static const char *const names[] = {"train.txt", "val.txt", "test.txt"};
    gq_tgif_report r;
    gq_error       err = {0};
    gq_tgif_opts   o = captions_opts();
    for (int k = GQ_TGIF_VAL; k <= GQ_TGIF_TEST; k++) {
        gq_file *f;
        assert_ok(gq_atomic_open(scratch(names[k]), &f, &err), &err);
        for (uint32_t i = 0; i < gq_tgif_published[k]; i++)
            assert_ok(gq_file_printf(f, &err, URL("%c%u") "\n", i ? 'n' : names[k][0],
                                     i ? i + 100000 * (uint32_t)k : 7), &err);
        assert_ok(gq_atomic_commit(f, &err), &err);
    }
    put("tgif.tsv", URL("v7") "\tone\n" URL("t7") "\ttwo\n" URL("z") "\tthree\n");
    o.list[GQ_TGIF_TRAIN] = NULL;
    assert_ok(gq_import_tgif(&o, &r, &err), &err);
    assert_string_equal(get("captions.tsv"), "gif\tdescription\tsplit\turl\n"
                                             "v7\tone\tval\t" URL("v7") "\n"
                                             "t7\ttwo\ttest\t" URL("t7") "\n"
                                             "z\tthree\ttrain\t" URL("z") "\n");
}

/* ---- the published files --------------------------------------------------------------------- */

/* Rows of a table as a build reads it; no bad one. */
static int rows_of(const char *name)
{
    gq_table *t;
    gq_row    row;
    gq_error  err = {0};
    int       rows = -1;
    assert_ok(gq_table_open(scratch(name), stop, (void *)(uintptr_t)name, &t, &err), &err);
    do {
        assert_ok(gq_table_next(t, &row, &err), &err);
        rows++;
    } while (row.gif);
    gq_table_close(t);
    return rows;
}

/* 70 % of the GIFs of the published files, other rows unchanged. */
static void real_questions(void **state)
{
    (void)state;
    static const char *const names[] = {"Test_frameqa", "Test_count", "Test_action",
                                        "Test_transition", "Train_count", "Train_action"};
    static const struct {
        gq_tgifqa_kind kind;
        gq_tgifqa_part part;
        uint32_t       rows, repaired, overlap;
    } want[] = {{GQ_TGIFQA_FRAMEQA, GQ_TGIFQA_TEST, 9736, 22, 0},
                {GQ_TGIFQA_COUNT, GQ_TGIFQA_TEST, 2530, 0, 0},
                {GQ_TGIFQA_ACTION, GQ_TGIFQA_TEST, 1617, 0, 0},
                {GQ_TGIFQA_TRANSITION, GQ_TGIFQA_TEST, 4378, 0, 0},
                {GQ_TGIFQA_COUNT, GQ_TGIFQA_TRAIN, 18813, 6, 28},
                {GQ_TGIFQA_ACTION, GQ_TGIFQA_TRAIN, 14322, 0, 284}};
    const char      *from = need_shared("data/tgif/qa");
    const char      *file[6];
    char             path[6][512];
    gq_tgifqa_report r;
    gq_error         err = {0};
    fresh();
    for (int k = 0; k < 6; k++) {
        snprintf(path[k], sizeof path[k], "%s/%s_question.tsv", from, names[k]);
        file[k] = path[k];
    }
    assert_ok(import_qa(file, 6, false, &r, &err), &err);
    for (int k = 0; k < 6; k++) {
        gq_tgifqa_count c = r.count[want[k].kind][want[k].part];
        assert_int_equal(c.rows, want[k].rows);
        assert_int_equal(c.repaired, want[k].repaired);
        assert_int_equal(c.overlap, want[k].overlap);
        assert_int_equal(c.written, c.rows - c.overlap);
    }
    assert_int_equal(rows_of("out/test.tsv"), 9736 + 2530 + 1617 + 4378);
    assert_int_equal(rows_of("out/train.tsv"), 18813 - 28 + 14322 - 284);
}

static void real_captions(void **state)
{
    (void)state;
    gq_tgif_report r;
    gq_error       err = {0};
    gq_tgif_opts   o = {.captions = need_shared("data/tgif/tgif-v1.0.sample10.tsv"),
                        .list = {NULL, need_shared("data/tgif/val_urls.txt"),
                                 need_shared("data/tgif/test_urls.txt")},
                        .out = scratch("captions.tsv")};
    /* the ten rows' own URLs stand in for the list of train, which is not to be had */
    gq_bytes b;
    assert_ok(gq_read_file(o.captions, 1 << 20, &b, &err), &err);
    char train[4096] = "", *rest = (char *)b.data, *line;
    while ((line = strsep(&rest, "\n")) && *line)
        snprintf(train + strlen(train), sizeof train - strlen(train), "%.*s\n",
                 (int)strcspn(line, "\t"), line);
    gq_bytes_free(&b);
    o.list[GQ_TGIF_TRAIN] = put("train.txt", train);
    assert_ok(gq_import_tgif(&o, &r, &err), &err);
    assert_int_equal(r.split[GQ_TGIF_TRAIN].sentences, 10);
    assert_int_equal(r.split[GQ_TGIF_VAL].listed, 1500);
    assert_int_equal(r.split[GQ_TGIF_TEST].listed, 1500);
    assert_non_null(strstr(get("captions.tsv"), "\ta man is glaring, and"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rep_comes_back),
        cmocka_unit_test(all_kinds_become_two_tables),
        cmocka_unit_test(a_build_reads_them),
        cmocka_unit_test(what_is_not_as_published_is_refused),
        cmocka_unit_test(older_tables_stay_or_are_named),
        cmocka_unit_test(there_and_back_is_identity),
        cmocka_unit_test(every_failed_allocation_is_clean),
        cmocka_unit_test(captions_get_their_splits),
        cmocka_unit_test(wrong_captions_are_refused),
        cmocka_unit_test(without_its_list_train_is_the_rest),
        cmocka_unit_test(real_questions),
        cmocka_unit_test(real_captions),
    };
    return cmocka_run_group_tests(tests, scratch_begin, scratch_end);
}
