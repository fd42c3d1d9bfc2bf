/* What the tables say of words, and base forms. */
#include "support.h"

#include "data/qagen/wordnet.h"

static void classes(void **state)
{
    (void)state;
    static const struct {
        const char *word;
        unsigned class;
    } nouns[] = {
        {"man", GQ_WN_PERSON | GQ_WN_LIVING},
        {"cat", GQ_WN_ANIMAL | GQ_WN_LIVING},
        {"person", 3 | GQ_WN_LIVING},
        {"shirt", GQ_WN_ARTIFACT | GQ_WN_CLOTHING},
        {"boot", GQ_WN_ARTIFACT | GQ_WN_CLOTHING},
        {"couch", GQ_WN_ARTIFACT},
        {"park", GQ_WN_LOCATION},
        {"hand", GQ_WN_BODY},
        {"tree", GQ_WN_PLANT},
        {"day", GQ_WN_TIME},
        {"crowd", GQ_WN_GROUP},
    };
    if (!gq_wordnet_present())
        skip();
    for (size_t k = 0; k < sizeof nouns / sizeof *nouns; k++) {
        unsigned class;
        assert_true(gq_wordnet_find(nouns[k].word, &class) & GQ_WN_NOUN);
        assert_int_equal(class, nouns[k].class);
    }
    assert_int_equal(gq_wordnet_find("walk", NULL), GQ_WN_NOUN | GQ_WN_VERB);
    assert_int_equal(gq_wordnet_find("red", NULL), GQ_WN_NOUN | GQ_WN_ADJ);
    assert_int_equal(gq_wordnet_find("quickly", NULL), GQ_WN_ADV);
    unsigned class = 1;
    assert_int_equal(gq_wordnet_find("xyzzy", &class), 0);
    assert_int_equal(class, 0);
    assert_int_equal(gq_wordnet_find("", NULL), 0);
}

static void bases(void **state)
{
    (void)state;
    static const struct {
        bool        verb;
        const char *form, *base;
    } known[] = {
        {true, "walks", "walk"},     {true, "walking", "walk"}, {true, "taking", "take"},
        {true, "jogging", "jog"},    {true, "tries", "try"},    {true, "ran", "run"},
        {true, "is", "be"},          {true, "sitting", "sit"},  {true, "hug", "hug"},
        {true, "kisses", "kiss"},    {true, "lying", "lie"},    {true, "chopped", "chop"},
        {false, "men", "man"},       {false, "dogs", "dog"},    {false, "boxes", "box"},
        {false, "babies", "baby"},   {false, "glass", "glass"}, {false, "children", "child"},
        {false, "dresses", "dress"}, {false, "women", "woman"},
    };
    char out[GQ_WN_WORD];
    if (!gq_wordnet_present())
        skip();
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        assert_true((known[k].verb ? gq_wordnet_verb : gq_wordnet_noun)(known[k].form, out));
        assert_string_equal(out, known[k].base);
    }
    assert_false(gq_wordnet_verb("xyzzies", out));
    assert_string_equal(out, "xyzzies");
    char longer[200];
    memset(longer, 's', sizeof longer);
    longer[199] = 0;
    assert_false(gq_wordnet_noun(longer, out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(classes), cmocka_unit_test(bases)};
    return cmocka_run_group_tests_name("data/qagen/wordnet", tests, NULL, NULL);
}
