/* Pairs gathered, balanced and written: the table reads back, and no answer has more than its share
 * of a template, whatever the answers are. */
#include "reading.h"

#include "core/mem.h"
#include "core/philox.h"
#include "data/qagen/captions.h"
#include "data/qagen/pairs.h"
#include "data/qagen/rules.h"
#include "data/table.h"

static void articles(void **state)
{
    (void)state;
    assert_string_equal(gq_pairs_answer("a man"), "man");
    assert_string_equal(gq_pairs_answer("an ape"), "ape");
    assert_string_equal(gq_pairs_answer("the man"), "man");
    assert_string_equal(gq_pairs_answer("another man"), "another man");
    assert_true(gq_pairs_told("who hits a man?", "the man"));
    assert_true(gq_pairs_told("man, who is it?", "a man"));
    assert_false(gq_pairs_told("who hits a woman?", "a man"));
    assert_false(gq_pairs_told("who hits mankind?", "man"));
    assert_false(gq_pairs_told("who is it?", ""));
}

/* ---- shares ---------------------------------------------------------------------------------- */

enum { ANSWERS = 8192 };

typedef struct tally {                  /* of one group                                           */
    char   answer[ANSWERS][64];
    size_t made[ANSWERS], kept[ANSWERS], answers;
} tally;

static size_t index_of(tally *t, const char *answer)
{
    size_t k = 0;
    while (k < t->answers && strcmp(t->answer[k], answer) != 0)
        k++;
    if (k == t->answers) {
        assert_true(k < ANSWERS && strlen(answer) < sizeof t->answer[0]);
        strcpy(t->answer[t->answers++], answer);
        t->made[k] = t->kept[k] = 0;
    }
    return k;
}

/* Of each answer at most the limit is kept; the limit holds the share or is 1; one more would not. */
static void check_share(const tally *t, double share, const gq_cap_count *count)
{
    size_t made = 0, kept = 0, limit = 0, most = 0, next = 0;
    for (size_t k = 0; k < t->answers; k++) {
        made += t->made[k];
        kept += t->kept[k];
        limit = t->kept[k] > limit ? t->kept[k] : limit;
        most = t->made[k] > most ? t->made[k] : most;
    }
    assert_int_equal(count->made, made);
    assert_int_equal(count->kept, kept);
    assert_int_equal(count->answers, t->answers);
    assert_int_equal(count->most, most);
    assert_int_equal(count->most_kept, limit);
    if (!made)
        return;
    assert_true(limit == 1 || (double)limit <= share * (double)kept);
    for (size_t k = 0; k < t->answers; k++) {
        assert_int_equal(t->kept[k], t->made[k] < limit ? t->made[k] : limit);
        next += t->made[k] < limit + 1 ? t->made[k] : limit + 1;
    }
    assert_true(limit == most || (double)(limit + 1) > share * (double)next);
}

/* Rows of the written table, by template ("0", "1", ...) and answer. */
static void read_back(const char *path, tally *t, size_t *rows)
{
    static const gq_table_column columns[] = {
        {"template", NULL, 64, false}, {"answer", NULL, GQ_TABLE_ANSWER, false},
        {"gif", NULL, 64, false},      {"question", NULL, GQ_TABLE_QUESTION, false},
        {"generator", NULL, 16, false}};
    static const gq_table_form form = {columns, 5, true, false, false};
    gq_table                  *table;
    const char                *cell[5];
    uint64_t                   line;
    gq_error                   err = {0};
    assert_ok(gq_table_open_form(path, &form, NULL, NULL, &table, &err), &err);
    for (*rows = 0; gq_table_fields(table, &line, cell, &err) == GQ_OK && cell[0]; ++*rows) {
        tally *of = &t[atoi(cell[0])];
        of->kept[index_of(of, gq_pairs_answer(cell[1]))]++;
        assert_string_equal(cell[4], "rules");
    }
    assert_int_equal(err.code, GQ_OK);
    gq_table_close(table);
}

static const char *const numbers[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"};

/* Answers of all kinds of frequencies, with and without articles: the share holds for each. */
static void random_shares(void **state)
{
    (void)state;
    static tally             t[3];
    static const char *const articles[] = {"", "a ", "the "};
    for (uint32_t round = 0; round < 60; round++) {
        gq_pairs    *p;
        gq_cap_count count[3];
        gq_error     err = {0};
        size_t       rows, n = gq_philox_at(1, round, GQ_RNG_SHUFFLE, 0) % 1500;
        double       share = (1 + gq_philox_at(2, round, GQ_RNG_SHUFFLE, 0) % 60) / 100.0;
        uint32_t     kinds = 1 + gq_philox_at(3, round, GQ_RNG_SHUFFLE, 0) % 40;
        for (int g = 0; g < 3; g++)
            t[g].answers = 0;
        assert_ok(gq_pairs_new("rules", &p, &err), &err);
        for (size_t k = 0; k < n; k++) {
            uint32_t r = gq_philox_at(4, k + ((uint64_t)round << 32), GQ_RNG_SHUFFLE, 0);
            uint32_t of = r % kinds * (r >> 8 & 15) / 16, group = r >> 16 & 3 ? r >> 18 & 1 : 2;
            char     answer[32], gif[32];
            snprintf(answer, sizeof answer, "%sthing %u", articles[(r >> 24) % 3], of);
            snprintf(gif, sizeof gif, "g%zu", k / 3);
            assert_ok(gq_pairs_add(p, &(gq_pair){gif, "what is it?", answer, "object",
                                                 numbers[group], "noun", group}, &err), &err);
            t[group].made[index_of(&t[group], gq_pairs_answer(answer))]++;
        }
        assert_ok(gq_pairs_balance(p, share, 3, count, &err), &err);
        assert_ok(gq_pairs_write(p, scratch("q.tsv"), &err), &err);
        read_back(scratch("q.tsv"), t, &rows);
        assert_int_equal(rows, count[0].kept + count[1].kept + count[2].kept);
        for (int g = 0; g < 3; g++)
            check_share(&t[g], share, &count[g]);
        gq_pairs_free(p);
    }
}

/* The captions at hand and the default share: it holds for every template, and three questions a
 * caption are left. */
static void captions_at_hand(void **state)
{
    (void)state;
    const char         *path = need_shared("data/tgif/descriptions.tsv"), *why;
    static tally        t[GQ_RULES];
    static gq_caption   c;
    static gq_generated list[GQ_RULE_MOST];
    gq_cap_count        count[GQ_RULES];
    gq_captions        *captions;
    gq_captions_row     row;
    gq_pairs           *p;
    gq_error            err = {0};
    size_t              rows, n = 0;
    need_reader();
    assert_ok(gq_captions_open(path, &captions, &err), &err);
    assert_ok(gq_pairs_new("rules", &p, &err), &err);
    while (gq_captions_next(captions, &row, &err) == GQ_OK && row.gif) {
        n++;
        size_t made = gq_chunker_read(&the_reader()->chunker, row.text, &c)
                          ? gq_rules(&c, list, &why)
                          : 0;
        for (size_t k = 0; k < made; k++) {
            gq_rule r = list[k].rule;
            if (r != GQ_RULE_COLOR)
                assert_false(gq_pairs_told(list[k].question, list[k].answer));
            if (strlen(list[k].answer) >= sizeof t[0].answer[0])
                continue; /* too long to be said often                             */
            t[r].made[index_of(&t[r], gq_pairs_answer(list[k].answer))]++;
            assert_ok(gq_pairs_add(p, &(gq_pair){row.gif, list[k].question, list[k].answer,
                                                 gq_rule_type(r), numbers[r], list[k].candidate,
                                                 (uint32_t)r}, &err), &err);
        }
    }
    assert_ok(gq_pairs_balance(p, 0.2, GQ_RULES, count, &err), &err);
    assert_ok(gq_pairs_write(p, scratch("q.tsv"), &err), &err);
    read_back(scratch("q.tsv"), t, &rows);
    for (int r = 0; r < GQ_RULES; r++)
        check_share(&t[r], 0.2, &count[r]);
    assert_true(rows >= 3 * n);
    gq_pairs_free(p);
    gq_captions_close(captions);
}

/* ---- what is kept ---------------------------------------------------------------------------- */

/* Of an answer with too many questions those of GIFs with few stay. */
static void few_stay(void **state)
{
    (void)state;
    gq_pairs    *p;
    gq_cap_count count[2];
    gq_error     err = {0};
    gq_bytes     b;
    assert_ok(gq_pairs_new("rules", &p, &err), &err);
    for (int k = 0; k < 12; k++) { /* two questions a GIF; of the last two, one      */
        char gif[16];
        snprintf(gif, sizeof gif, "gif%d.", k);
        assert_ok(gq_pairs_add(p, &(gq_pair){gif, "how many?", "two", "number", "number", "number",
                                             0}, &err), &err);
        if (k < 10)
            assert_ok(gq_pairs_add(p, &(gq_pair){gif, "who?", gif, "subject", "subj", "living", 1},
                                   &err), &err);
    }
    for (int k = 0; k < 2; k++)
        assert_ok(gq_pairs_add(p, &(gq_pair){"other", "how many?", k ? "four" : "three", "number",
                                             "number", "number", 0}, &err), &err);
    assert_ok(gq_pairs_balance(p, 0.5, 2, count, &err), &err);
    assert_int_equal(count[0].kept, 4);
    assert_ok(gq_pairs_write(p, scratch("few.tsv"), &err), &err);
    assert_ok(gq_read_file(scratch("few.tsv"), 1 << 16, &b, &err), &err);
    assert_non_null(strstr((char *)b.data, "gif10.\thow many?\ttwo\tnumber\tnumber\tnumber\trules\n"));
    assert_non_null(strstr((char *)b.data, "gif11.\thow many?"));
    assert_null(strstr((char *)b.data, "gif3.\thow many?"));
    assert_non_null(strstr((char *)b.data, "gif3.\twho?"));
    gq_bytes_free(&b);
    gq_pairs_free(p);
    gq_pairs_free(NULL);
}

static void memory_runs_out(void **state)
{
    (void)state;
    bool done = false;
    for (uint64_t at = 1; !done; at++) {
        gq_pairs    *p = NULL;
        gq_cap_count count[1];
        gq_error     err = {0};
        gq_mem_fail_at(at, false);
        gq_status s = gq_pairs_new("rules", &p, &err);
        for (int k = 0; k < 5000 && s == GQ_OK; k++)
            s = gq_pairs_add(p, &(gq_pair){"g", "what is it?", "a hat", "o", "0", "noun", 0}, &err);
        if (s == GQ_OK)
            s = gq_pairs_balance(p, 1, 1, count, &err);
        gq_mem_fail_at(0, false);
        gq_pairs_free(p);
        assert_true(s == GQ_OK || s == GQ_ENOMEM);
        done = s == GQ_OK;
        assert_true(!done || at > 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(articles), cmocka_unit_test(random_shares),
        cmocka_unit_test(captions_at_hand), cmocka_unit_test(few_stay),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests_name("data/qagen/pairs", tests, read_scratch_begin,
                                       read_scratch_end);
}
