/* The tagger: it learns what can be learnt, twice the same; its file is checked; the one that comes
 * with gifqa reaches its accuracy on text it has not seen. */
#include "support.h"

#include "core/io.h"
#include "core/mem.h"
#include "data/qagen/tagger.h"
#include "data/qagen/wordnet.h"

static const char          *dir;
static gq_treebank          bank;
static const gq_tagger_plan plan = {.epochs = 5, .prune = 0, .fold = true};

static const char *path_of(const char *name)
{
    static char path[2][256];
    static int  next;
    next = !next;
    snprintf(path[next], sizeof path[next], "%s/%s", dir, name);
    return path[next];
}

/* A language in which only the word in front tells a noun from a verb. */
static int begin(void **state)
{
    (void)state;
    static const char *const word[] = {"The", "walk", "they", "walk", "John", "walks"};
    static const char *const tag[] = {"DT", "NN", "PRP", "VBP", "NNP", "VBZ"};
    char                     text[16384], *p = text;
    gq_error                 err = {0};
    dir = gq_scratch();
    for (int s = 0; s < 60; s++) {
        int from = 2 * (s % 3), k;
        for (k = 0; k < 2; k++)
            p += sprintf(p, "%d\t%s\t_\tX\t%s\t_\t_\t_\t_\t_\n", k + 1, word[from + k],
                         tag[from + k]);
        p += sprintf(p, "\n");
    }
    assert_ok(gq_write_file(path_of("toy.conllu"), text, (size_t)(p - text), &err), &err);
    assert_ok(gq_conllu_read(path_of("toy.conllu"), &bank, &err), &err);
    return 0;
}

static int end(void **state)
{
    (void)state;
    gq_treebank_free(&bank);
    return gq_remove_tree(dir, NULL) == GQ_OK ? 0 : -1;
}

static const char *tags_of(const gq_tagger *t, size_t n, const char *const *word)
{
    static char out[256];
    uint8_t     tag[16];
    out[0] = 0;
    gq_tagger_run(t, word, n, tag);
    for (size_t k = 0; k < n; k++)
        strcat(strcat(out, gq_tagger_name(t, tag[k])), " ");
    return out;
}
#define TAGS(t, n, ...) tags_of(t, n, (const char *const[]){__VA_ARGS__})

static void context_decides(void **state)
{
    (void)state;
    gq_tagger *t;
    gq_error   err = {0};
    assert_ok(gq_tagger_train(&bank, &plan, NULL, NULL, &t, &err), &err);
    assert_string_equal(TAGS(t, 2, "the", "walk"), "DT NN ");
    assert_string_equal(TAGS(t, 2, "THEY", "Walk"), "PRP VBP ");
    assert_string_equal(TAGS(t, 2, "john", "walks"), "NN VBZ "); /* names are nouns             */
    assert_int_equal(gq_tagger_tag(t, "NNP"), -1);
    assert_string_equal(tags_of(t, 0, NULL), "");
    gq_tagger_free(t);
    assert_ok(gq_tagger_train(&bank, &(gq_tagger_plan){5, 0, false}, NULL, NULL, &t, &err), &err);
    assert_string_equal(TAGS(t, 2, "john", "walks"), "NNP VBZ ");
    gq_tagger_score score;
    gq_tagger_measure(t, &bank, false, &score);
    assert_int_equal(score.words, 120);
    assert_int_equal(score.right, 120);
    gq_tagger_measure(t, &bank, true, &score); /* a tagger of names asked without them */
    assert_int_equal(score.right, 100);
    assert_int_equal(score.strange, 0);
    gq_tagger_free(t);
}

static gq_bytes trained(void)
{
    gq_tagger *t;
    gq_bytes   b;
    gq_error   err = {0};
    assert_ok(gq_tagger_train(&bank, &plan, NULL, NULL, &t, &err), &err);
    assert_ok(gq_tagger_save(t, path_of("model"), &err), &err);
    gq_tagger_free(t);
    assert_ok(gq_read_file(path_of("model"), 1 << 20, &b, &err), &err);
    return b;
}

static void the_same_bytes_again(void **state)
{
    (void)state;
    gq_bytes   a = trained(), b = trained();
    gq_tagger *t;
    gq_error   err = {0};
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
    gq_bytes_free(&b);
    assert_ok(gq_tagger_load(path_of("model"), &t, &err), &err);
    assert_string_equal(TAGS(t, 2, "they", "walk"), "PRP VBP ");
    assert_ok(gq_tagger_save(t, path_of("again"), &err), &err);
    gq_tagger_free(t);
    assert_ok(gq_read_file(path_of("again"), 1 << 20, &b, &err), &err);
    assert_memory_equal(a.data, b.data, a.size);
    gq_bytes_free(&a);
    gq_bytes_free(&b);
}

static void damaged_files_are_refused(void **state)
{
    (void)state;
    gq_bytes   b = trained();
    gq_tagger *t = NULL;
    gq_error   err;
    for (size_t k = 0; k < b.size; k++) {
        err = (gq_error){0};
        b.data[k] ^= 0x20;
        assert_int_equal(gq_tagger_read(b.data, b.size, "m", &t, &err), GQ_EWEIGHTS);
        assert_null(t);
        b.data[k] ^= 0x20;
        assert_int_equal(gq_tagger_read(b.data, k, "m", &t, &err), GQ_EWEIGHTS);
    }
    /* with a checksum that is right the sizes are looked at all the same */
    static const struct {
        size_t      at;
        uint8_t     value;
        const char *why;
    } wrong[] = {
        {8, 9, "a tagger of version 9"}, {16, 0, "its sizes do not fit"},
        {16, 65, "sizes do not"},        {20, 255, "its sizes do not fit"},
        {27, 128, "sizes do not"},       {32, 0, "name of a tag"},
        {12, 2, "sizes do not"},
    };
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
        uint8_t was = b.data[wrong[k].at];
        b.data[wrong[k].at] = wrong[k].value;
        gq_xxh128(b.data, b.size - 16, b.data + b.size - 16);
        assert_fails(gq_tagger_read(b.data, b.size, "m", &t, &err), GQ_EWEIGHTS, &err,
                     wrong[k].why);
        b.data[wrong[k].at] = was;
    }
    gq_bytes_free(&b);
    assert_fails(gq_tagger_load(path_of("none"), &t, &err), GQ_EWEIGHTS, &err, "no such file");
}

static gq_status stop(void *ctx, int epoch, uint64_t words, uint64_t wrong, gq_error *err)
{
    (void)ctx, (void)wrong;
    assert_int_equal(words, 120);
    return epoch == 2 ? gq_fail(err, GQ_ESTOPPED, "enough") : GQ_OK;
}

static void training_ends_early(void **state)
{
    (void)state;
    gq_tagger  *t;
    gq_error    err = {0};
    const char *xpos = bank.word[7].xpos;
    assert_int_equal(gq_tagger_train(&bank, &plan, stop, NULL, &t, &err), GQ_ESTOPPED);
    assert_null(t);
    bank.word[7].xpos = "_";
    assert_fails(gq_tagger_train(&bank, &plan, NULL, NULL, &t, &err), GQ_EINPUT, &err,
                 "line 11: 'walk' has no tag");
    bank.word[7].xpos = xpos;
    for (uint64_t n = 1;; n++) {
        err = (gq_error){0};
        gq_mem_fail_at(n, true);
        gq_status s = gq_tagger_train(&bank, &plan, NULL, NULL, &t, &err);
        gq_mem_fail_at(0, false);
        if (s == GQ_OK)
            break;
        assert_int_equal(s, GQ_ENOMEM);
    }
    gq_tagger_free(t);
}

static void the_english_one(void **state)
{
    (void)state;
    const char     *path = need_shared("data/text/ewt/en_ewt-ud-test.conllu.gz");
    gq_treebank     test;
    gq_tagger      *t;
    gq_tagger_score score;
    gq_error        err = {0};
    if (!gq_wordnet_present())
        skip();
    assert_ok(gq_tagger_load(GQ_SOURCE_DIR "/data/qagen/english/english.tagger", &t, &err), &err);
    assert_ok(gq_conllu_read(path, &test, &err), &err);
    gq_tagger_measure(t, &test, true, &score);
    assert_int_equal(score.words, 25094);
    assert_true(score.right * 1000 >= score.words * 960);
    gq_treebank_free(&test);
    gq_tagger_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(context_decides),           cmocka_unit_test(the_same_bytes_again),
        cmocka_unit_test(damaged_files_are_refused), cmocka_unit_test(training_ends_early),
        cmocka_unit_test(the_english_one),
    };
    return cmocka_run_group_tests_name("data/qagen/tagger", tests, begin, end);
}
