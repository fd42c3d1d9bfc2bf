/* The reader of treebanks: words, what it skips, and each way to break the format with its line. */
#include "scratch.h"

#include "core/mem.h"
#include "data/qagen/conllu.h"

static const char *put(const char *text, size_t n)
{
    return scratch_put("t.conllu", text, n);
}

/* "form/upos/xpos@line form/...; " of all sentences. */
static const char *read_text(const char *text)
{
    static char out[4096];
    gq_treebank t;
    gq_error    err = {0};
    size_t      at = 0;
    assert_ok(gq_conllu_read(put(text, strlen(text)), &t, &err), &err);
    for (size_t s = 0; s < t.sentences; s++) {
        for (size_t k = t.first[s]; k < t.first[s + 1]; k++)
            at += (size_t)snprintf(out + at, sizeof out - at, "%s/%s/%s@%llu ", t.word[k].form,
                                   t.word[k].upos, t.word[k].xpos,
                                   (unsigned long long)t.word[k].line);
        at += (size_t)snprintf(out + at, sizeof out - at, ";");
    }
    assert_int_equal(t.first[t.sentences], t.words);
    gq_treebank_free(&t);
    return out;
}

#define REST "\t_\t_\t_\t_\t_\n"

static void words_are_read(void **state)
{
    (void)state;
    assert_string_equal(read_text("# text = a cat\n\n\n# more\n1\ta\t_\tDET\tDT" REST
                                  "2\tcat\tcat\tNOUN\tNN" REST "\n1\tgo\t_\tVERB\tVB" REST),
                        "a/DET/DT@5 cat/NOUN/NN@6 ;go/VERB/VB@8 ;");
    assert_string_equal(read_text("\xEF\xBB\xBF# x\r\n1\ta\t_\tDET\tDT\t_\t_\t_\t_\t_\r\n\r\n"),
                        "a/DET/DT@2 ;");
    assert_string_equal(read_text("0.1\tx\t_\t_\t_" REST "1-2\tdon't\t_\t_\t_" REST
                                  "1\tdo\t_\tAUX\tVBP" REST "2\tn't\t_\tPART\tRB" REST
                                  "2.1\ty\t_\t_\t_" REST "3\t\xC3\xA9\t_\tX\t_" REST "\n"),
                        "do/AUX/VBP@3 n't/PART/RB@4 \xC3\xA9/X/_@6 ;");
}

static void damage_has_a_line(void **state)
{
    (void)state;
    gq_treebank t;
    gq_error    err;
#define W(id, form) id "\t" form "\t_\tNOUN\tNN" REST
#define REFUSED(text, why)                                                                         \
    do {                                                                                           \
        assert_fails(gq_conllu_read(put(text, sizeof text - 1), &t, &err), GQ_EINPUT, &err, why);  \
        assert_null(t.word);                                                                       \
    } while (0)
    REFUSED("", "there is no sentence");
    REFUSED("# only a comment\n", "there is no sentence");
    REFUSED("1\ta\tb\n", "t.conllu:1: 3 columns between tabs, not 10");
    REFUSED("1\ta\t_\tX\tX\t_\t_\t_\t_\t_\t_\n", "t.conllu:1: 11 columns");
    REFUSED(W("1", "a") W("3", "b"), "t.conllu:2: word 3 follows word 1");
    REFUSED(W("2", "a"), "t.conllu:1: word 2 follows word 0");
    REFUSED("\n\n" W("x", "a"), "t.conllu:3: column 1 is neither");
    REFUSED(W("-1", "a"), "column 1 is neither");
    REFUSED(W("1:2", "a"), "column 1 is neither");
    REFUSED(W("1-2x", "a"), "column 1 is neither");
    REFUSED(W("99999999", "a"), "column 1 is neither");
    REFUSED(W("1.1", "a"), "t.conllu:1: empty node 1.1 stands behind word 0");
    REFUSED(W("2-3", "a") W("1", "a"), "t.conllu:1: multiword token 2-3 stands before word 1");
    REFUSED(W("1-2", "a") W("1-2", "a"), "t.conllu:2: multiword token 1-2 stands before word 1");
    REFUSED(W("1-3", "a") W("1", "a") W("2", "a") "\n",
            "t.conllu:4: the sentence ends with word 2");
    REFUSED(W("1", ""), "t.conllu:1: column 2 has 0 bytes");
    REFUSED(W("1", "\xFF"), "t.conllu:1: column 2 is not UTF-8");
    REFUSED(W("1", "a\0b"), "t.conllu:1: there is a NUL byte");
    REFUSED(W("1", "a") "# in between\n", "t.conllu:2: a comment inside a sentence");
    REFUSED(W("0.1", "a") "\n", "t.conllu:2: a sentence without words");
    assert_fails(gq_conllu_read("/nowhere/x.conllu", &t, &err), GQ_EINPUT, &err,
                 "/nowhere/x.conllu");
}

static void lengths_are_limited(void **state)
{
    (void)state;
    enum { LINES = GQ_CONLLU_WORDS + 1, LINE = 40 };
    char       *text = gq_malloc(LINES, LINE + GQ_CONLLU_FORM), *p = text;
    gq_treebank t;
    gq_error    err = {0};
    for (int k = 1; k < LINES; k++)
        p += sprintf(p, "%d\ta\t_\tX\tX" REST, k);
    assert_ok(gq_conllu_read(put(text, (size_t)(p - text)), &t, &err), &err);
    assert_int_equal(t.words, GQ_CONLLU_WORDS);
    gq_treebank_free(&t);
    p += sprintf(p, "%d\ta\t_\tX\tX" REST, LINES);
    assert_fails(gq_conllu_read(put(text, (size_t)(p - text)), &t, &err), GQ_EINPUT, &err,
                 "t.conllu:1025: a sentence of more than 1024 words");
    memset(text, 'a', GQ_CONLLU_FORM + 8);
    memcpy(text, "1\t", 2);
    memcpy(text + 2 + GQ_CONLLU_FORM + 1, "\t_\tX\tX" REST, sizeof "\t_\tX\tX" REST);
    assert_fails(gq_conllu_read(put(text, strlen(text)), &t, &err), GQ_EINPUT, &err,
                 "column 2 has 1024 bytes");
    gq_free(text);
}

static void the_english_web_treebank(void **state)
{
    (void)state;
    const char *path = need_shared("data/text/ewt/en_ewt-ud-dev.conllu.gz");
    gq_treebank t;
    gq_error    err = {0};
    assert_ok(gq_conllu_read(path, &t, &err), &err);
    assert_int_equal(t.sentences, 2001);
    assert_int_equal(t.words, 25147);
    gq_treebank_free(&t);
}

static void memory_runs_out(void **state)
{
    (void)state;
    static const char text[] = W("1", "a") W("2", "b") "\n" W("1", "c");
    const char       *path = put(text, sizeof text - 1);
    gq_treebank       t;
    for (uint64_t n = 1;; n++) {
        gq_error err = {0};
        gq_mem_fail_at(n, true);
        gq_status s = gq_conllu_read(path, &t, &err);
        gq_mem_fail_at(0, false);
        if (s == GQ_OK) {
            assert_true(n > 2);
            break;
        }
        assert_int_equal(s, GQ_ENOMEM);
    }
    gq_treebank_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_read),      cmocka_unit_test(damage_has_a_line),
        cmocka_unit_test(lengths_are_limited), cmocka_unit_test(the_english_web_treebank),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests_name("data/qagen/conllu", tests, scratch_begin, scratch_end);
}
