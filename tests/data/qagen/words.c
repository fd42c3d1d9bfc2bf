/* Captions as words: marks, clitics, case; typed text and tokenised text give the same words. */
#include "support.h"

#include "data/qagen/words.h"

static const char *split(const char *caption)
{
    static char     out[2048];
    static gq_words w;
    assert_true(gq_words_split(caption, &w));
    out[0] = 0;
    for (size_t k = 0; k < w.n; k++)
        sprintf(out + strlen(out), "%s%s", k == 0 ? "" : w.glued[k] ? "~" : " ", w.word[k]);
    return out;
}

static void captions(void **state)
{
    (void)state;
    assert_string_equal(split("A man is glaring, and someone appears."),
                        "a man is glaring~, and someone appears~.");
    assert_string_equal(split("a man is glaring , and someone appears ."),
                        "a man is glaring , and someone appears .");
    assert_string_equal(split("the cat's paw doesn't move"), "the cat~'s paw does~n't move");
    assert_string_equal(split("the cat 's paw does n't move"), "the cat 's paw does n't move");
    assert_string_equal(split("a t-shirt, 3.5 m \"long\" (red)!?"),
                        "a t-shirt~, 3.5 m \"~long~\" (~red~)~!~?");
    assert_string_equal(split("  \t a\n"), "a");
    assert_string_equal(split(""), "");
    assert_string_equal(split("... ' 's"), ".~.~. ' 's");
    assert_string_equal(split("the girls' hands; they're 'happy'"),
                        "the girls~' hands~; they~'re 'happy~'");
    assert_string_equal(split("\xC3\x89t\xC3\xA9"), "\xC3\x89t\xC3\xA9");
}

static void limits(void **state)
{
    (void)state;
    static gq_words w;
    char            many[2 * GQ_WORDS + 3] = "", *p = many;
    for (int k = 0; k < GQ_WORDS; k++)
        p += sprintf(p, "a ");
    assert_true(gq_words_split(many, &w));
    assert_int_equal(w.n, GQ_WORDS);
    strcpy(p, "b");
    assert_false(gq_words_split(many, &w));
    char longer[GQ_WORDS_TEXT + 1];
    memset(longer, 'x', sizeof longer);
    longer[GQ_WORDS_TEXT - 1] = 0;
    assert_true(gq_words_split(longer, &w));
    longer[GQ_WORDS_TEXT - 1] = 'x';
    longer[GQ_WORDS_TEXT] = 0;
    assert_false(gq_words_split(longer, &w));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(captions), cmocka_unit_test(limits)};
    return cmocka_run_group_tests_name("data/qagen/words", tests, NULL, NULL);
}
