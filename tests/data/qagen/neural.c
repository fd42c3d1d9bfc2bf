/* Questions from a language model, with a callback in its place: prompts of each form, what is made
 * of what it writes, batches by length, rows in the order of the candidates. */
#include "reading.h"

#include "core/mem.h"
#include "data/qagen/neural.h"

static const gq_neural_form *the_form(const char *name)
{
    static gq_neural_form f;
    assert_true(gq_neural_form_named(name, &f));
    return &f;
}

/* ---- prompts --------------------------------------------------------------------------------- */

static void prompts(void **state)
{
    (void)state;
    static const char *const want[][2] = {
        {"qg-ap", "answer: his hand  context: a man is waving his hand."},
        {"qg-prepend", "answer: his hand  context: a man is waving his hand."},
        {"qg-hl", "generate question: a man is waving <hl> his hand <hl> ."},
        {"squad-v1", "context: a man is waving his hand. answer: his hand"},
    };
    static gq_caption c;
    static char       out[GQ_NEURAL_PROMPT];
    size_t            known = 0;
    need_reader();
    read_words("A man is waving his hand .", &c);
    const gq_candidate hand = {GQ_NOUN, 4, 6, 5}, man = {GQ_LIVING, 0, 2, 1};
    for (; gq_neural_form_known(known); known++) {
        assert_string_equal(gq_neural_form_known(known)->name, want[known][0]);
        assert_true(gq_neural_prompt(gq_neural_form_known(known), &c, &hand, out));
        assert_string_equal(out, want[known][1]);
    }
    assert_int_equal(known, sizeof want / sizeof *want);
    assert_true(gq_neural_prompt(the_form("qg-hl"), &c, &man, out));
    assert_string_equal(out, "generate question:  <hl> a man <hl> is waving his hand.");
    assert_string_equal(the_form("qg-ap")->prefix, "question: ");
    assert_int_equal(the_form("squad-v1")->beams, 5);
    assert_int_equal(the_form("squad-v1")->no_repeat_ngram, 2);
    gq_neural_form f;
    assert_false(gq_neural_form_named("qg", &f));
}

/* A caption of the greatest length, many times: no room is a result, not a crash. */
static void prompts_have_an_end(void **state)
{
    (void)state;
    static gq_caption c;
    static char       out[GQ_NEURAL_PROMPT], text[GQ_WORDS_TEXT];
    gq_neural_form    f = *the_form("qg-ap");
    const gq_candidate first = {GQ_NOUN, 0, 1, 0};
    need_reader();
    memset(text, 'x', 2000);
    read_words(text, &c);
    assert_true(gq_neural_prompt(&f, &c, &first, out));
    assert_int_equal(strlen(out), strlen("answer:   context: ") + 2 * 2000);
    for (int places = 1; places < 8; places++) {
        strcat(f.prompt, "{answer}{context}");
        bool fits = strlen("answer:   context: ") + 2 * 2000 * (size_t)(places + 1) < sizeof out;
        assert_int_equal(gq_neural_prompt(&f, &c, &first, out), fits);
    }
}

/* ---- forms in files -------------------------------------------------------------------------- */

static const char *file(const char *text)
{
    return scratch_put("form.json", text, strlen(text));
}

static void files(void **state)
{
    (void)state;
    gq_neural_form f;
    gq_error       err = {0};
    assert_ok(gq_neural_form_load(file("{\"like\": \"squad-v1\", \"beams\": 2}"), &f, &err), &err);
    assert_string_equal(f.name, "squad-v1");
    assert_string_equal(f.prompt, the_form("squad-v1")->prompt);
    assert_int_equal(f.beams, 2);
    assert_int_equal(f.no_repeat_ngram, 2);
    assert_ok(gq_neural_form_load(
                  file("{\"name\": \"mine\", \"prompt\": \"{left}[{answer}]{right}\","
                       "\"prefix\": \"Q:\", \"max_length\": 20, \"no_repeat_ngram\": 3,"
                       "\"length_penalty\": 1.5}"),
                  &f, &err), &err);
    assert_string_equal(f.name, "mine");
    assert_string_equal(f.prefix, "Q:");
    assert_int_equal(f.beams, 1);
    assert_int_equal(f.max_length, 20);
    assert_int_equal(f.no_repeat_ngram, 3);
    assert_true(f.length_penalty == 1.5);

    static const struct { const char *text, *why; } bad[] = {
        {"{", "form.json: byte"},
        {"{}", "form.json: the prompt has no {answer}"},
        {"{\"prompt\": \"{answer}\"}", "the prompt has no {context}, nor {left} and {right}"},
        {"{\"prompt\": \"{answer} {left}\"}", "the prompt has no {context}"},
        {"{\"prompt\": \"{answer} {context} {question}\"}", "and no other {"},
        {"{\"like\": \"qg\"}", "no form is called 'qg'"},
        {"{\"beams\": 2, \"like\": \"qg-ap\"}", "'like' stands before"},
        {"{\"like\": \"qg-ap\", \"beam\": 2}", "a form has no 'beam'"},
        {"{\"like\": \"qg-ap\", \"beams\": 0}", "beams is a number from 1 to 64"},
        {"{\"like\": \"qg-ap\", \"max_length\": 513}", "max_length is a number from 1 to 512"},
        {"{\"like\": \"qg-ap\", \"length_penalty\": 11}", "length_penalty is a number"},
        {"{\"like\": \"qg-ap\", \"name\": \"\"}", "name is empty"},
        {"{\"like\": \"qg-ap\"} x", "form.json: byte"},
    };
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++)
        assert_fails(gq_neural_form_load(file(bad[k].text), &f, &err), GQ_EINPUT, &err, bad[k].why);
    assert_string_equal(f.name, "mine");         /* what was read last and was good */
}

/* ---- what comes back ------------------------------------------------------------------------- */

static void answers(void **state)
{
    (void)state;
    static const struct {
        const char    *written, *answer;
        gq_neural_fate fate;
        const char    *question;
    } cases[] = {
        {"question: What is he waving?", "his hand", GQ_NEURAL_GOOD, "what is he waving?"},
        {" question:What  is\n it ? question: Who?", "his hand", GQ_NEURAL_GOOD, "what is it?"},
        {"Who is dancing?", "a man", GQ_NEURAL_GOOD, "who is dancing?"},
        {"", "a man", GQ_NEURAL_EMPTY, NULL},
        {"question: ", "a man", GQ_NEURAL_EMPTY, NULL},
        {" ? ", "a man", GQ_NEURAL_EMPTY, NULL},
        {"question: what is it", "a man", GQ_NEURAL_NO_QUESTION, NULL},
        {"why?", "a man", GQ_NEURAL_NO_QUESTION, NULL},
        {"Who is the Man on stage?", "a man", GQ_NEURAL_TOLD, NULL},
        {"who is the human on stage?", "a man", GQ_NEURAL_GOOD, "who is the human on stage?"},
        {"what do manly men do to a woman-man?", "the man", GQ_NEURAL_TOLD, NULL},
        {"what is on a hill?", "on a hill", GQ_NEURAL_TOLD, NULL},
        {"what is on a hilly road?", "on a hill", GQ_NEURAL_GOOD, "what is on a hilly road?"},
    };
    char out[GQ_NEURAL_QUESTION];
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        if (gq_neural_clean(the_form("qg-ap"), cases[k].written, cases[k].answer, out) !=
            cases[k].fate)
            fail_msg("'%s' is not %s", cases[k].written, gq_neural_fate_name(cases[k].fate));
        if (cases[k].question)
            assert_string_equal(out, cases[k].question);
    }
    /* the longest question that is kept, and one byte more */
    static char text[GQ_NEURAL_TEXT];
    size_t      most = GQ_NEURAL_QUESTION - 2;
    memset(text, 'x', most);
    text[1] = ' ';
    text[most] = '?';
    assert_int_equal(gq_neural_clean(the_form("qg-hl"), text, "y", out), GQ_NEURAL_GOOD);
    assert_int_equal(strlen(out), most + 1);
    text[most] = 'x';
    text[most + 1] = '?';
    assert_int_equal(gq_neural_clean(the_form("qg-hl"), text, "y", out), GQ_NEURAL_LONG);
}

/* ---- a model that is none -------------------------------------------------------------------- */

typedef struct fake {
    size_t batch, calls, prompts;
    size_t fail_at;                     /* this call fails; 0: none                               */
    bool   unsorted;
} fake;

static size_t words_in(void *ctx, const char *prompt)
{
    size_t n = 1;
    (void)ctx;
    for (; *prompt; prompt++)
        n += *prompt == ' ';
    return n;
}

/* "what about PROMPT?" with the answer's words backwards, so that it does not tell them. */
static gq_status fake_generate(void *ctx, const char *const *prompt, size_t n, char *const *text,
                               gq_error *err)
{
    fake *f = ctx;
    if (++f->calls == f->fail_at)
        return gq_fail(err, GQ_ENUMERIC, "the model is tired");
    assert_in_range(n, 1, f->batch);
    for (size_t k = 0; k < n; k++) {
        size_t length = words_in(NULL, prompt[k]), at = 0;
        f->unsorted |= k && length < words_in(NULL, prompt[k - 1]);
        at += (size_t)sprintf(text[k], "question: what about ");
        for (size_t p = strlen(prompt[k]); p-- > 0;)
            text[k][at++] = prompt[k][p];
        sprintf(text[k] + at, "?");
    }
    f->prompts += n;
    return GQ_OK;
}

static const char *const captions[] = {
    "a man in a black hat is waving his hand and smiling .", "dogs run .",
    "two girls are sitting on a red couch in front of a window .", "a cat sleeps .",
};
enum { CAPTIONS = sizeof captions / sizeof *captions };

static gq_status ask_all(const gq_neural_form *form, fake *f, size_t batch, size_t window,
                         gq_pairs *pairs, gq_asker_count *count, gq_error *err)
{
    static gq_caption c;
    gq_asker         *a;
    f->batch = batch;
    gq_neural_model m = {fake_generate, words_in, f, batch, window};
    gq_status       s = gq_asker_new(form, &m, pairs, &a, err);
    for (size_t k = 0; k < CAPTIONS && s == GQ_OK; k++)
        s = gq_asker_caption(a, k % 2 ? "odd" : "even", read_words(captions[k], &c), err);
    if (s == GQ_OK)
        s = gq_asker_finish(a, err);
    if (s == GQ_OK)
        *count = *gq_asker_counts(a);
    gq_asker_free(a);
    return s;
}

/* Rows are those of one prompt at a time, whatever the batches and windows are. */
static void batches(void **state)
{
    (void)state;
    static const size_t sizes[][2] = {{1, 1}, {1, 7}, {2, 5}, {4, 4}, {3, 100}, {64, 8}};
    gq_pairs       *one = NULL, *pairs;
    gq_asker_count  count;
    gq_error        err = {0};
    need_reader();
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        fake f = {0};
        assert_ok(gq_pairs_new("t5", &pairs, &err), &err);
        assert_ok(ask_all(the_form("qg-ap"), &f, sizes[k][0], sizes[k][1], pairs, &count, &err),
                  &err);
        assert_false(f.unsorted);
        assert_int_equal(f.prompts, count.prompts);
        assert_int_equal(f.calls, count.batches);
        assert_int_equal(count.fate[GQ_NEURAL_GOOD], gq_pairs_count(pairs));
        if (k) {
            assert_int_equal(gq_pairs_count(pairs), gq_pairs_count(one));
            for (size_t r = 0; r < gq_pairs_count(pairs); r++) {
                gq_pair got = gq_pairs_at(pairs, r), want = gq_pairs_at(one, r);
                assert_string_equal(got.gif, want.gif);
                assert_string_equal(got.question, want.question);
                assert_string_equal(got.answer, want.answer);
            }
            gq_pairs_free(pairs);
        } else {
            one = pairs;
        }
        if (sizes[k][0] == 3)                    /* one window: no batch but the last is short */
            assert_int_equal(count.batches, (count.prompts + 2) / 3);
    }
    gq_pairs_free(one);
}

static void rows(void **state)
{
    (void)state;
    gq_pairs      *pairs;
    gq_asker_count count;
    gq_cap_count   cap[GQ_CATEGORIES];
    gq_error       err = {0};
    gq_bytes       b;
    fake           f = {0};
    const char    *path = scratch("qa.tsv");
    need_reader();
    assert_ok(gq_pairs_new("t5", &pairs, &err), &err);
    assert_ok(ask_all(the_form("squad-v1"), &f, 4, 16, pairs, &count, &err), &err);
    assert_ok(gq_pairs_balance(pairs, 1, GQ_CATEGORIES, cap, &err), &err);
    assert_ok(gq_pairs_write(pairs, path, &err), &err);
    assert_ok(gq_read_file(path, 1 << 20, &b, &err), &err);
    static const char start[] =
        "gif\tquestion\tanswer\ttype\ttemplate\tcandidate\tgenerator\n"
        "even\twhat about nam a :rewsna .gnilims dna dnah sih gnivaw si tah kcalb a ni nam a "
        ":txetnoc?\ta man\tobject\tsquad-v1\tliving\tt5\n";
    assert_memory_equal(b.data, start, sizeof start - 1);
    assert_non_null(strstr((char *)b.data, "\tdogs\tobject\tsquad-v1\tliving\tt5\n"));
    assert_non_null(strstr((char *)b.data, "\tblack\tcolor\tsquad-v1\tcolor\tt5\n"));
    assert_non_null(strstr((char *)b.data, "\ton a red couch\tphrase\tsquad-v1\tphrase\tt5\n"));
    assert_non_null(strstr((char *)b.data, "\tsleeps\tverb\tsquad-v1\tverb\tt5\n"));
    gq_bytes_free(&b);
    gq_pairs_free(pairs);
}

static gq_status always_the_same(void *ctx, const char *const *prompt, size_t n, char *const *text,
                                 gq_error *err)
{
    (void)ctx, (void)prompt, (void)err;
    for (size_t k = 0; k < n; k++)
        strcpy(text[k], "question: what is this hat?");
    return GQ_OK;
}

/* One answer a caption at most to one question; the hat is told by it. */
static void repeated(void **state)
{
    (void)state;
    static gq_caption c;
    gq_asker         *a;
    gq_pairs         *pairs;
    gq_error          err = {0};
    gq_neural_model   m = {always_the_same, NULL, NULL, 2, 3};
    need_reader();
    assert_ok(gq_pairs_new("t5", &pairs, &err), &err);
    assert_ok(gq_asker_new(the_form("qg-ap"), &m, pairs, &a, &err), &err);
    for (int k = 0; k < 2; k++)
        assert_ok(gq_asker_caption(a, "g", read_words("a hat is on the couch of a man .", &c),
                                   &err), &err);
    assert_ok(gq_asker_finish(a, &err), &err);
    const gq_asker_count *n = gq_asker_counts(a);
    assert_int_equal(n->fate[GQ_NEURAL_GOOD], 2);
    assert_int_equal(n->fate[GQ_NEURAL_TOLD], 2);
    assert_int_equal(n->fate[GQ_NEURAL_AGAIN], n->prompts - 4);
    assert_int_equal(gq_pairs_count(pairs), 2);
    assert_string_not_equal(gq_pairs_at(pairs, 0).answer, "a hat");
    gq_asker_free(a);
    gq_pairs_free(pairs);
}

static void failures(void **state)
{
    (void)state;
    gq_pairs      *pairs;
    gq_asker_count count;
    gq_error       err = {0};
    fake           f = {.fail_at = 2};
    need_reader();
    assert_ok(gq_pairs_new("t5", &pairs, &err), &err);
    assert_fails(ask_all(the_form("qg-ap"), &f, 2, 8, pairs, &count, &err), GQ_ENUMERIC, &err,
                 "the model is tired");
    gq_pairs_free(pairs);
    bool done = false;
    for (uint64_t k = 1; !done; k++) {
        fake     g = {0};
        gq_error e = {0};
        pairs = NULL;
        gq_mem_fail_at(k, false);
        gq_status s = gq_pairs_new("t5", &pairs, &e);
        if (s == GQ_OK)
            s = ask_all(the_form("qg-ap"), &g, 2, 8, pairs, &count, &e);
        gq_mem_fail_at(0, false);
        gq_pairs_free(pairs);
        assert_true(s == GQ_OK || s == GQ_ENOMEM);
        done = s == GQ_OK;
        assert_true(!done || k > 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prompts),  cmocka_unit_test(prompts_have_an_end),
        cmocka_unit_test(files),    cmocka_unit_test(answers),
        cmocka_unit_test(batches),  cmocka_unit_test(rows),
        cmocka_unit_test(repeated), cmocka_unit_test(failures),
    };
    return cmocka_run_group_tests_name("data/qagen/neural", tests, read_scratch_begin,
                                       read_scratch_end);
}
