/* Metrics against NLTK and sacreBLEU (tests/reference/metrics.json), published cases and hand-computed values. */
#include "train/metrics.h"

#include <jansson.h>

#include "core/mem.h"
#include "support.h"
#include "train/bleu.h"
#include "train/words.h"

static void near(double got, double want, double tolerance, const char *what)
{
    if (!(fabs(got - want) <= tolerance * fmax(1, fabs(want))))
        fail_msg("%s: got %.12g, want %.12g", what, got, want);
}

static gq_bleu count(const char *hyp, const char *ref)
{
    gq_error err = {0};
    gq_bleu  b;
    assert_ok(gq_bleu_count(hyp, &ref, 1, &b, &err), &err);
    return b;
}

/* ---- the golden table: one row per pair, to the printed digits -------------------------------------- */

typedef struct golden {
    const char *hyp, *ref;
    double      nltk4[3];               /* methods 1, 2, 3                                        */
    double      bleu1, effective;       /* NLTK-1; sacreBLEU with effective order                 */
    double      coco[4];
} golden;

static const golden table[] = {
    {"a man", "a man", {.3162, .7071, .5946}, 1, 100, {1, 1, .0100, .0010}},
    {"a man", "a woman", {.1495, .5000, .2973}, .5, 50, {.5, 0, 0, 0}},
    {"dancing", "dancing", {.1778, .5946, .3536}, 1, 100, {1, .0010, .0001, 0}},
    {"a man", "man", {.1495, .5000, .2973}, .5, 50, {.5, 0, 0, 0}},
    {"a man",
     "a man in a black shirt",
     {.0428, .0957, .0805},
     .1353,
     13.5335,
     {.1353, .1353, .0014, .0001}},
    {"in a box", "in a red box", {.1905, .4578, .3583}, .7165, 45.1386, {.7165, .5067, 0, 0}},
    {"black", "white", {0, 0, 0}, 0, 0, {0, 0, 0, 0}},
    {"a young man", "a man", {.1351, .4855, .2686}, .6667, 34.6681, {.6667, 0, 0, 0}},
};
enum { ROWS = sizeof table / sizeof *table };

static void test_golden_rows(void **state)
{
    (void)state;
    for (int i = 0; i < ROWS; i++) {
        const golden *g = &table[i];
        gq_bleu       b = count(g->hyp, g->ref);
        for (int m = 1; m <= 3; m++)
            near(gq_bleu_nltk(&b, 4, m), g->nltk4[m - 1], 5.1e-5, g->hyp);
        assert_true(gq_bleu_nltk(&b, 4, 0) < 1e-70);
        near(gq_bleu_nltk(&b, 1, 0), g->bleu1, 5.1e-5, g->hyp);
        near(gq_bleu_sacre(&b, GQ_SMOOTH_EXP, 0, true), g->effective, 5.1e-5, g->hyp);
        near(gq_bleu_sacre(&b, GQ_SMOOTH_EXP, 0, false), 0, 0, g->hyp);
        for (int n = 1; n <= 4; n++)
            near(gq_bleu_coco(&b, n), g->coco[n - 1], 5.1e-5, g->hyp);
    }
}

static void test_golden_corpus(void **state)
{
    (void)state;
    gq_bleu sum = {0};
    for (int i = 0; i < ROWS; i++) {
        gq_bleu b = count(table[i].hyp, table[i].ref);
        gq_bleu_add(&sum, &b);
    }
    assert_int_equal(sum.hyp_len, 16);
    assert_int_equal(sum.ref_len, 19);
    assert_true(gq_bleu_nltk(&sum, 4, 0) < 1e-70);
    near(gq_bleu_nltk(&sum, 4, 1), .0638, 5.1e-5, "NLTK-4 method 1");
    near(gq_bleu_nltk(&sum, 1, 0), .6218, 5.1e-5, "BLEU-1");
    near(gq_bleu_sacre(&sum, GQ_SMOOTH_EXP, 0, false), 0, 0, "sacreBLEU");
    near(100.0 * (double)sum.match[0] / (double)sum.total[0], 75, 1e-12, "p1");
    near(100.0 * (double)sum.match[1] / (double)sum.total[1], 37.5, 1e-12, "p2");
    assert_int_equal(sum.match[2], 0);
    assert_int_equal(sum.total[2], 2);                       /* exp smoothing makes 25.0 of 0 / 2 */
    assert_int_equal(sum.total[3], 0);
    near(gq_bleu_coco(&sum, 1), .6218, 5.1e-5, "COCO 1");
    near(gq_bleu_coco(&sum, 2), .4397, 5.1e-5, "COCO 2");
    near(gq_bleu_coco(&sum, 3) / 4.3e-6, 1, 0.02, "COCO 3");
    near(gq_bleu_coco(&sum, 4) / 2.9e-6, 1, 0.02, "COCO 4");
}

/* ---- published cases -------------------------------------------------------------------------------- */

static const char *str(json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

static double num(json_t *o, const char *key) { return json_number_value(json_object_get(o, key)); }

static json_t *load(const char *path)
{
    json_error_t e;
    json_t      *root = json_load_file(path, 0, &e);
    if (!root)
        fail_msg("%s:%d: %s", path, e.line, e.text);
    return root;
}

static double corpus_case(json_t *c)
{
    gq_error  err = {0};
    gq_bleu   sum = {0}, one;
    json_t   *hyps = json_object_get(c, "hyps"), *streams = json_object_get(c, "ref_streams");
    bool      is_13a = strcmp(str(c, "tokenize"), "13a") == 0;
    size_t    n_refs = json_array_size(streams);
    assert_true(n_refs > 0 && n_refs <= 4);
    for (size_t i = 0; i < json_array_size(hyps); i++) {
        char *text[5];
        for (size_t k = 0; k <= n_refs; k++) {
            json_t     *list = k ? json_array_get(streams, k - 1) : hyps;
            const char *s = json_string_value(json_array_get(list, i));
            text[k] = is_13a ? gq_words_13a(s) : gq_strdup(s);
        }
        assert_ok(gq_bleu_count(text[0], (const char *const *)(text + 1), n_refs, &one, &err),
                  &err);
        gq_bleu_add(&sum, &one);
        for (size_t k = 0; k <= n_refs; k++)
            gq_free(text[k]);
    }
    bool exp_smooth = strcmp(str(c, "smooth"), "exp") == 0;
    return gq_bleu_sacre(&sum, exp_smooth ? GQ_SMOOTH_EXP : GQ_SMOOTH_NONE, 0, false);
}

static void counts_case(json_t *c)
{
    gq_bleu b = {0};
    json_t *ladder = json_object_get(c, "bleu_1_to_4");
    for (size_t i = 0; i < GQ_BLEU_ORDER; i++) {
        b.match[i] = json_integer_value(json_array_get(json_object_get(c, "correct"), i));
        b.total[i] = json_integer_value(json_array_get(json_object_get(c, "total"), i));
    }
    b.hyp_len = json_integer_value(json_object_get(c, "sys_len"));
    b.ref_len = json_integer_value(json_object_get(c, "ref_len"));
    if (!ladder) {
        near(gq_bleu_sacre(&b, GQ_SMOOTH_NONE, 0, false) / 100, num(c, "score"), 1e-8,
             "from counts");
        return;
    }
    for (int n = 1; n <= GQ_BLEU_ORDER; n++) {
        double want = json_number_value(json_array_get(ladder, (size_t)n - 1));
        near(gq_bleu_nltk(&b, n, 0), want, 5.1e-4, "TGIF paper, NLTK");
        near(gq_bleu_coco(&b, n), want, 5.1e-4, "TGIF paper, COCO");
    }
}

static void test_published(void **state)
{
    (void)state;
    const char *path = need_shared("data/metrics/bleu_cases.json");
    json_t     *root = load(path), *c;
    size_t      i, done = 0;
    json_array_foreach(json_object_get(root, "corpus"), i, c) {
        if (strcmp(str(c, "tokenize"), "intl") == 0)      /* a tokeniser that gifqa does not have */
            continue;
        near(corpus_case(c), num(c, "score"), 1e-7, "published corpus");
        done++;
    }
    assert_int_equal(done, 4);
    json_array_foreach(json_object_get(root, "raw_floor_001"), i, c) {
        gq_bleu sum = {0};
        for (size_t k = 0; k < json_array_size(json_object_get(c, "hyps")); k++) {
            gq_bleu b = count(json_string_value(json_array_get(json_object_get(c, "hyps"), k)),
                              json_string_value(json_array_get(json_object_get(c, "refs"), k)));
            gq_bleu_add(&sum, &b);
        }
        near(gq_bleu_sacre(&sum, GQ_SMOOTH_FLOOR, 0.01, true) / 100, num(c, "score"), 1e-9,
             "floor");
    }
    json_array_foreach(json_object_get(root, "statistics"), i, c) {
        gq_bleu b = count(str(c, "hyp"), str(c, "ref"));
        for (size_t k = 0; k < GQ_BLEU_ORDER; k++) {
            assert_int_equal(b.match[k],
                             json_integer_value(json_array_get(json_object_get(c, "correct"), k)));
            assert_int_equal(b.total[k],
                             json_integer_value(json_array_get(json_object_get(c, "total"), k)));
        }
        near(gq_bleu_sacre(&b, GQ_SMOOTH_FLOOR, 0.1, false) / 100,
             num(c, "score_floor_default_0_1"), 1e-9, "floor");
        near(gq_bleu_sacre(&b, GQ_SMOOTH_FLOOR, 0, false) / 100, num(c, "score_floor_0"), 1e-9,
             "floor 0");
    }
    json_array_foreach(json_object_get(root, "from_counts"), i, c)
        counts_case(c);
    json_decref(root);
}

/* ---- NLTK, sacreBLEU and the SQuAD rule, run on many texts ------------------------------------------ */

static void same_form(char *got, const char *want, const char *what)
{
    if (!got || strcmp(got, want) != 0)
        fail_msg("%s: got '%s', want '%s'", what, got ? got : "(no memory)", want);
    gq_free(got);
}

static void compare_nltk(const gq_bleu *b, json_t *orders, const char *what)
{
    for (int order = 1; order <= GQ_BLEU_ORDER; order++)
        for (int method = 0; method < 4; method++) {
            json_t *row = json_array_get(orders, (size_t)order - 1);
            near(gq_bleu_nltk(b, order, method),
                 json_number_value(json_array_get(row, (size_t)method)), 1e-12, what);
        }
}

static void test_reference(void **state)
{
    (void)state;
    json_t  *root = load(GQ_SOURCE_DIR "/tests/reference/metrics.json"), *c;
    gq_error err = {0};
    gq_bleu  sum = {0};
    size_t   i;
    json_array_foreach(json_object_get(root, "cases"), i, c) {
        const char *hyp = str(c, "hyp"), *ref = str(c, "ref");
        gq_match    m;
        same_form(gq_words_13a(hyp), str(c, "tok13a"), "13a");
        same_form(gq_words_bleu(hyp), str(c, "bleu_tokens"), "lower-case 13a");
        same_form(gq_words_bleu(ref), str(c, "ref_tokens"), "lower-case 13a");
        same_form(gq_words_strict(hyp), str(c, "strict"), "strict");
        same_form(gq_words_squad(hyp), str(c, "squad"), "SQuAD");
        assert_ok(gq_match_answer(hyp, &ref, 1, &m, &err), &err);
        near(m.f1, num(c, "f1"), 1e-12, hyp);
        gq_bleu b = count(str(c, "bleu_tokens"), str(c, "ref_tokens"));
        compare_nltk(&b, json_object_get(c, "nltk"), hyp);
        near(gq_bleu_sacre(&b, GQ_SMOOTH_EXP, 0, false),
             json_number_value(json_array_get(json_object_get(c, "sacre"), 0)), 1e-12, hyp);
        near(gq_bleu_sacre(&b, GQ_SMOOTH_EXP, 0, true),
             json_number_value(json_array_get(json_object_get(c, "sacre"), 1)), 1e-12, hyp);
        gq_bleu_add(&sum, &b);
    }
    assert_true(i >= 60);
    json_t *corpus = json_object_get(root, "corpus"), *sacre = json_object_get(corpus, "sacre");
    compare_nltk(&sum, json_object_get(corpus, "nltk"), "corpus");
    near(gq_bleu_sacre(&sum, GQ_SMOOTH_NONE, 0, false), num(sacre, "none"), 1e-12, "none");
    near(gq_bleu_sacre(&sum, GQ_SMOOTH_FLOOR, 0.1, false), num(sacre, "floor"), 1e-12, "floor");
    near(gq_bleu_sacre(&sum, GQ_SMOOTH_ADD, 1, false), num(sacre, "add-k"), 1e-12, "add-k");
    near(gq_bleu_sacre(&sum, GQ_SMOOTH_EXP, 0, false), num(sacre, "exp"), 1e-12, "exp");
    json_decref(root);
}

/* ---- forms ------------------------------------------------------------------------------------------ */

static void test_forms(void **state)
{
    (void)state;
    same_form(gq_words_strict("  A Man\twalks \n and more"), "a man walks", "newline cuts");
    same_form(gq_words_strict("\n a cat<|endoftext|> dog\n"), "a cat", "end token cuts");
    same_form(gq_words_strict("a\nb<|endoftext|>"), "a", "the first of both cuts");
    same_form(gq_words_strict("\xff\xc3 A"), "\xff\xc3 a", "invalid bytes stay");
    same_form(gq_words_squad("The man, a  \"cat\"; an ant. theatre a"), "man cat ant theatre",
              "articles");
    same_form(gq_words_coco("A man, in a box . don't !!"), "a man in a box don't", "COCO");
    same_form(gq_words_13a(""), "", "empty");
    same_form(gq_words_13a("\xe3\x80\x80"), "", "white space only");
    assert_string_equal(gq_bleu_signature(false), "nrefs:1|case:lc|eff:no|tok:13a|smooth:exp");
}

static void test_match(void **state)
{
    (void)state;
    gq_error    err = {0};
    gq_match    m;
    const char *refs[] = {"a woman", "The Man."};
    assert_ok(gq_match_answer(" the man.\nQuestion: x", refs, 2, &m, &err), &err);
    assert_true(m.exact && m.normalised && m.f1 == 1);
    assert_ok(gq_match_answer("man", refs, 2, &m, &err), &err);
    assert_true(!m.exact && m.normalised && m.f1 == 1);
    assert_ok(gq_match_answer("old man", refs, 2, &m, &err), &err);
    assert_true(!m.exact && !m.normalised);
    near(m.f1, 2.0 / 3, 1e-15, "F1");
    assert_ok(gq_match_answer("", refs, 2, &m, &err), &err);
    assert_true(!m.exact && !m.normalised && m.f1 == 0);
}

static void test_multiple_references(void **state)
{
    (void)state;
    gq_error    err = {0};
    gq_bleu     b;
    const char *refs[] = {"the cat", "a b c d the the", "x y z"};
    assert_ok(gq_bleu_count("the the the cat", refs, 3, &b, &err), &err);
    assert_int_equal(b.match[0], 3);                      /* "the" at most twice in one reference */
    assert_int_equal(b.match[1], 2);                         /* "the cat" and "the the" once each */
    assert_int_equal(b.ref_len, 3);                          /* 3 is closer to 4 than 2 and 6     */
    assert_ok(gq_bleu_count("a b c d", (const char *[]){"1 2 3 4 5", "1 2 3"}, 2, &b, &err), &err);
    assert_int_equal(b.ref_len, 3);                          /* equally close: the shorter        */
}

/* ---- the scorer ------------------------------------------------------------------------------------- */

static void add(gq_scorer *s, const char *type, const char *answer, const char *ref)
{
    gq_error err = {0};
    assert_ok(gq_scorer_add(s, type, answer, &ref, 1, &err), &err);
}

static gq_scorer *small_set(void)
{
    gq_scorer *s = gq_scorer_new();
    for (int i = 0; i < 25; i++) {
        add(s, "shape", i % 5 ? "square" : "circle", "circle");
        add(s, "colour", "The red", i % 2 ? "red" : "the blue one");
    }
    add(s, NULL, "a man", "a man");
    return s;
}

static void test_table(void **state)
{
    (void)state;
    gq_error       err = {0};
    gq_score_table t;
    gq_scorer     *s = small_set();
    assert_ok(gq_scorer_table(s, 1, 0, 0.95, &t, &err), &err);
    assert_int_equal(t.n_rows, 3);
    assert_string_equal(t.rows[0].type, "");
    assert_string_equal(t.rows[1].type, "colour");
    assert_string_equal(t.rows[2].type, "shape");
    assert_int_equal(t.rows[0].n, 51);
    assert_int_equal(t.rows[1].n, 25);
    near(t.rows[2].value[GQ_METRIC_EXACT], 0.2, 1e-15, "shape");
    near(t.rows[1].value[GQ_METRIC_EXACT], 0, 0, "colour strict");
    near(t.rows[1].value[GQ_METRIC_NORMALISED], 12.0 / 25, 1e-15, "colour normalised");
    near(t.rows[1].value[GQ_METRIC_F1], 12.0 / 25, 1e-15, "colour F1");
    near(t.rows[0].value[GQ_METRIC_EXACT], 6.0 / 51, 1e-15, "all");
    /* colour: matches 12 ("red") + 13 ("the") of 50 words, 12 + 39 reference words */
    near(t.rows[1].value[GQ_METRIC_BLEU1], 25.0 / 50 * exp(1 - 51.0 / 50), 1e-12, "colour BLEU-1");
    assert_memory_equal(t.rows[1].low, t.rows[1].value, sizeof t.rows[1].value);
    gq_score_table_free(&t);
    gq_scorer_free(s);
}

static void test_intervals(void **state)
{
    (void)state;
    gq_error       err = {0};
    gq_score_table t, again, other;
    gq_scorer     *s = small_set();
    assert_ok(gq_scorer_table(s, 1, 4000, 0.93, &t, &err), &err);
    assert_ok(gq_scorer_table(s, 1, 4000, 0.93, &again, &err), &err);
    assert_ok(gq_scorer_table(s, 2, 4000, 0.93, &other, &err), &err);
    for (size_t i = 0; i < t.n_rows; i++) {
        assert_memory_equal(t.rows[i].low, again.rows[i].low, sizeof t.rows[i].low);
        assert_memory_equal(t.rows[i].high, again.rows[i].high, sizeof t.rows[i].high);
        for (int m = 0; m < GQ_METRICS; m++)
            assert_true(t.rows[i].low[m] <= t.rows[i].value[m] &&
                        t.rows[i].value[m] <= t.rows[i].high[m]);
    }
    assert_true(memcmp(t.rows[0].low, other.rows[0].low, sizeof t.rows[0].low) != 0);
    /* exact match of "shape" is Binomial(25, 0.2) / 25: P(<= 1) = .027, P(<= 2) = .098, P(<= 8) = .953,
     * P(<= 9) = .983, so its 3.5 % and 96.5 % quantiles are 2/25 and 9/25 */
    near(t.rows[2].low[GQ_METRIC_EXACT], 2.0 / 25, 1e-12, "low");
    near(t.rows[2].high[GQ_METRIC_EXACT], 9.0 / 25, 1e-12, "high");
    gq_score_table_free(&t);
    gq_score_table_free(&again);
    gq_score_table_free(&other);
    assert_fails(gq_scorer_table(s, 1, 10, 1.0, &t, &err), GQ_EUSAGE, &err, "confidence 1");
    gq_scorer_free(s);
}

static void test_empty_scorer(void **state)
{
    (void)state;
    gq_error       err = {0};
    gq_score_table t;
    gq_scorer     *s = gq_scorer_new();
    assert_ok(gq_scorer_table(s, 1, 100, 0.95, &t, &err), &err);
    assert_int_equal(t.n_rows, 1);
    assert_int_equal(t.rows[0].n, 0);
    for (int m = 0; m < GQ_METRICS; m++) {
        assert_true(isnan(t.rows[0].value[m]));
        assert_true(strlen(gq_metric_name((gq_metric)m)) > 0);
    }
    gq_score_table_free(&t);
    gq_scorer_free(s);
}

static void test_tally(void **state)
{
    (void)state;
    gq_error  err = {0};
    gq_tally *t = gq_tally_new();
    const char *rows[][2] = {{"colour", "red"}, {"colour", "Blue "}, {"colour", "blue"},
                             {"count", "two"},  {"count", "one"},    {"count", "red"},
                             {"", "red"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_ok(gq_tally_add(t, rows[i][0], rows[i][1], &err), &err);
    assert_string_equal(gq_tally_majority(t, "colour"), "blue");
    assert_string_equal(gq_tally_majority(t, "count"), "one");           /* all once: byte order  */
    assert_string_equal(gq_tally_majority(t, NULL), "red");
    assert_string_equal(gq_tally_majority(t, "shape"), "");
    near(gq_tally_chance(t, "colour"), 1.0 / 2, 1e-15, "colour");
    near(gq_tally_chance(t, "count"), 1.0 / 3, 1e-15, "count");
    near(gq_tally_chance(t, NULL), 1.0 / 4, 1e-15, "all");
    assert_true(gq_tally_chance(t, "shape") == 0);
    gq_tally_free(t);
    gq_tally_free(NULL);
}

/* every allocation fails once: an error or success, never a leak or a crash */
static void test_no_memory(void **state)
{
    (void)state;
    for (uint64_t n = 1; n < 80; n++) {
        gq_error       err = {0};
        gq_score_table t = {0};
        const char    *ref = "a red cat";
        gq_mem_fail_at(n, false);
        gq_scorer *s = gq_scorer_new();
        gq_tally  *y = gq_tally_new();
        gq_status  rc =
            s && y ? gq_scorer_add(s, "colour", "the red cat, 5.", &ref, 1, &err) : GQ_ENOMEM;
        if (rc == GQ_OK)
            rc = gq_scorer_table(s, 1, 5, 0.9, &t, &err);
        if (rc == GQ_OK)
            rc = gq_tally_add(y, "colour", ref, &err);
        gq_mem_fail_at(0, false);
        assert_true(rc == GQ_OK || rc == GQ_ENOMEM);
        if (n == 1)
            assert_int_equal(rc, GQ_ENOMEM);
        gq_score_table_free(&t);
        gq_scorer_free(s);
        gq_tally_free(y);
    }
}

/* a hostile text: many tokens, all equal or all different, must not take quadratic time */
static void test_long_text(void **state)
{
    (void)state;
    enum { N = 40000 };
    char  *same = gq_calloc(N, 8), *different = gq_calloc(N, 12);
    size_t at = 0;
    for (int i = 0; i < N; i++) {
        memcpy(same + (size_t)i * 2, "a ", 2);
        at += (size_t)snprintf(different + at, 12, "%d ", i);
    }
    gq_bleu b = count(same, same);
    assert_int_equal(b.match[3], N - 3);
    b = count(different, different);
    assert_int_equal(b.match[3], N - 3);
    b = count(same, different);
    assert_int_equal(b.match[0], 0);
    gq_free(same);
    gq_free(different);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_rows),    cmocka_unit_test(test_golden_corpus),
        cmocka_unit_test(test_published),      cmocka_unit_test(test_reference),
        cmocka_unit_test(test_forms),          cmocka_unit_test(test_match),
        cmocka_unit_test(test_multiple_references), cmocka_unit_test(test_table),
        cmocka_unit_test(test_intervals),      cmocka_unit_test(test_empty_scorer),
        cmocka_unit_test(test_tally),          cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_long_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
