/* Candidates against labels made by hand: candidates.tsv beside this file has, for 150 captions of
 * TGIF-QA drawn at random, the line in descriptions.tsv and the words [from, to) of what is right
 * in each category. The captions themselves may not be part of the project.
 *
 * How the labels were made: one reader went through what an earlier version of the program found,
 * took out what was wrong and put in what was missing; so they lean towards the program where a
 * caption can be read in two ways. */
#include "reading.h"

#include "core/mem.h"
#include "data/qagen/candidates.h"
#include "data/qagen/captions.h"

enum { LINES = 1 << 14 };

static const gq_table_column columns[] = {
    {"line", NULL, 16, false},  {"gif", NULL, 64, false},  {"living", NULL, 256, true},
    {"noun", NULL, 256, true},  {"verb", NULL, 256, true}, {"phrase", NULL, 256, true},
    {"color", NULL, 256, true},
};
static const gq_table_form form = {columns, 2 + GQ_CATEGORIES, true, false, true};

static char *caption[LINES]; /* by line                                                */

static gq_status none(void *ctx, uint64_t line, const char *reason, gq_error *err)
{
    (void)ctx;
    return gq_fail(err, GQ_EINPUT, "line %llu: %s", (unsigned long long)line, reason);
}

static void load(const char *path)
{
    gq_captions    *c;
    gq_captions_row row;
    gq_error        err = {0};
    assert_ok(gq_captions_open(path, &c, &err), &err);
    while (gq_captions_next(c, &row, &err) == GQ_OK && row.gif)
        if (row.line < LINES)
            caption[row.line] = gq_strdup(row.text);
    gq_captions_close(c);
}

typedef struct tally {
    int found, right, labelled;
} tally;

/* Does the list "0-2 5-8" have this range? */
static bool labelled(const char *list, const gq_candidate *c)
{
    char        range[16];
    const char *p;
    size_t      n = (size_t)sprintf(range, "%d-%d", c->from, c->to);
    for (p = list; (p = strstr(p, range)); p++)
        if ((p == list || p[-1] == ' ') && (p[n] == ' ' || !p[n]))
            return true;
    return false;
}

static int ranges(const char *list)
{
    int n = 0;
    for (const char *p = list; (p = strchr(p, '-')); p++)
        n++;
    return n;
}

static void compare(const char *const *cell, tally *t)
{
    static gq_caption   c;
    static gq_candidate list[GQ_CANDIDATES];
    long                line = atol(cell[0]);
    assert_true(line > 0 && line < LINES && caption[line]);
    read_words(caption[line], &c);
    size_t n = gq_candidates(&c, list);
    for (size_t k = 0; k < n; k++) {
        t[list[k].category].found++;
        t[list[k].category].right += labelled(cell[2 + list[k].category], &list[k]);
    }
    for (int k = 0; k < GQ_CATEGORIES; k++)
        t[k].labelled += ranges(cell[2 + k]);
}

static void precision_and_recall(void **state)
{
    (void)state;
    const char *path = need_shared("data/tgif/descriptions.tsv"), *cell[2 + GQ_CATEGORIES];
    gq_table   *table;
    tally       t[GQ_CATEGORIES] = {{0}};
    uint64_t    line;
    int         captions = 0;
    gq_error    err = {0};
    need_reader();
    load(path);
    assert_ok(gq_table_open_form(GQ_SOURCE_DIR "/tests/data/qagen/candidates.tsv", &form, none,
                                 NULL, &table, &err),
              &err);
    while (gq_table_fields(table, &line, cell, &err) == GQ_OK && cell[0]) {
        compare(cell, t);
        captions++;
    }
    assert_int_equal(captions, 150);
    for (int k = 0; k < GQ_CATEGORIES; k++) {
        print_message("%-7s precision %.1f %%, recall %.1f %%: %d found, %d right, %d labelled\n",
                      gq_category_name((gq_category)k), 100.0 * t[k].right / t[k].found,
                      100.0 * t[k].right / t[k].labelled, t[k].found, t[k].right, t[k].labelled);
        assert_true(t[k].right * 100 >= t[k].found * 95);
        assert_true(t[k].right * 100 >= t[k].labelled * 95);
    }
    gq_table_close(table);
    for (int k = 0; k < LINES; k++)
        gq_free(caption[k]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(precision_and_recall)};
    return cmocka_run_group_tests_name("data/qagen/candidates", tests, read_begin, read_end);
}
