/* Captions read: tags after repair, chunks, candidates. */
#include "reading.h"

#include "data/qagen/candidates.h"

static const gq_caption *read_caption(const char *text)
{
    static gq_caption c;
    read_words(text, &c);
    size_t at = 0;
    for (size_t k = 0; k < c.chunks; k++) { /* no gaps, heads inside                          */
        assert_int_equal(c.chunk[k].from, at);
        at = c.chunk[k].to;
        assert_true(c.chunk[k].head >= c.chunk[k].from && c.chunk[k].head < at);
    }
    assert_int_equal(at, c.words.n);
    return &c;
}

static const char *chunks(const char *text)
{
    static char       out[4096];
    const gq_caption *c = read_caption(text);
    out[0] = 0;
    for (size_t k = 0; k < c->chunks; k++) {
        char words[512];
        assert_true(gq_caption_text(c, c->chunk[k].from, c->chunk[k].to, words, sizeof words));
        sprintf(out + strlen(out), "%s%s:%s", k ? " " : "", gq_chunk_name(c->chunk[k].kind), words);
    }
    return out;
}

static const char *candidates(const char *text)
{
    static char         out[4096];
    static gq_candidate list[GQ_CANDIDATES];
    const gq_caption   *c = read_caption(text);
    size_t              n = gq_candidates(c, list);
    out[0] = 0;
    for (size_t k = 0; k < n; k++) {
        char words[512];
        assert_true(gq_caption_text(c, list[k].from, list[k].to, words, sizeof words));
        sprintf(out + strlen(out), "%s%c:%s", k ? ", " : "", gq_category_name(list[k].category)[0],
                words);
    }
    return out;
}

static void phrases(void **state)
{
    (void)state;
    need_reader();
    assert_string_equal(
        chunks("A man in a black hat is putting his hand into his pocket."),
        "NP:a man P:in NP:a black hat V:is putting NP:his hand P:into NP:his pocket O:.");
    assert_string_equal(chunks("the woman's dog sits in front of the old couch ."),
                        "NP:the woman's dog V:sits P:in front of NP:the old couch O:.");
    assert_string_equal(chunks("two young men were quickly taking off their shoes"),
                        "NP:two young men V:were quickly taking off NP:their shoes");
    assert_string_equal(chunks("a girl tries to climb a tree and he laughs ."),
                        "NP:a girl V:tries V:to climb NP:a tree O:and NP:he V:laughs O:.");
    assert_string_equal(chunks("a smiling woman is dancing while a band plays"),
                        "NP:a smiling woman V:is dancing O:while NP:a band V:plays");
}

static void repairs(void **state)
{
    (void)state;
    need_reader();
    const gq_caption *c = read_caption("a man in a black coat waves and walks backward .");
    assert_string_equal(gq_pos_name(c->pos[6]), "VBZ");
    assert_string_equal(gq_pos_name(c->pos[8]), "VBZ");
    c = read_caption("there 's a boy singing .");
    assert_string_equal(gq_pos_name(c->pos[1]), "VBZ");
    c = read_caption("the boy 's hand is red .");
    assert_string_equal(gq_pos_name(c->pos[2]), "POS");
}

static void five_categories(void **state)
{
    (void)state;
    need_reader();
    assert_string_equal(
        candidates("a man with large lips and a black and white scarf is taking off his glasses ."),
        "l:a man, n:large lips, n:a black and white scarf, n:his glasses, v:taking off, "
        "p:with large lips and a black and white scarf, c:black and white");
    assert_string_equal(candidates("a group of people watch a puppy on the grass ."),
                        "l:a group of people, l:a puppy, n:the grass, v:watch, p:on the grass");
    assert_string_equal(candidates("a boy is on a horse and a girl laughs ."),
                        "l:a boy, l:a horse, l:a girl, v:laughs, p:on a horse");
}

static void limits(void **state)
{
    (void)state;
    static gq_caption c;
    char              many[4 * GQ_WORDS] = "";
    need_reader();
    assert_false(gq_chunker_read(&the_reader()->chunker, "  ", &c));
    for (int k = 0; k < GQ_WORDS; k++)
        strcat(many, k % 2 ? "red " : "a ");
    read_caption(many);
    candidates("red red red red red red red red red red red red red red red");
    strcat(many, "x");
    assert_false(gq_chunker_read(&the_reader()->chunker, many, &c));
    char              small[8];
    const gq_caption *k = read_caption("a man");
    assert_true(gq_caption_text(k, 0, 2, small, 6));
    assert_false(gq_caption_text(k, 0, 2, small, 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(phrases), cmocka_unit_test(repairs),
                                       cmocka_unit_test(five_categories), cmocka_unit_test(limits)};
    return cmocka_run_group_tests_name("data/qagen/chunk", tests, read_begin, read_end);
}
