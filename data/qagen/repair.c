#include <string.h>

#include "data/qagen/chunk_private.h"
#include "data/qagen/lexicon.h"
#include "data/qagen/wordnet.h"

static bool in(const char *word, const char *const *list)
{
    for (; *list; list++)
        if (!strcmp(word, *list))
            return true;
    return false;
}
#define IN(word, ...) in(word, (const char *const[]){__VA_ARGS__, NULL})

static const char *word(const gq_caption *c, size_t k)
{
    return k < c->words.n ? c->words.word[k] : "";
}
static gq_pos pos(const gq_caption *c, size_t k)
{
    return k < c->words.n ? c->pos[k] : GQ_POS_STOP;
}

static void set(gq_caption *c, size_t k, gq_pos p)
{
    c->repaired[k] |= c->pos[k] != p;
    c->pos[k] = p;
}

bool gq__is_noun(gq_pos p)
{
    return p == GQ_POS_NN || p == GQ_POS_NNS;
}
bool gq__is_verb(gq_pos p)
{
    return p >= GQ_POS_VB && p <= GQ_POS_VBZ;
}

bool gq__is_be(const char *w)
{
    return IN(w, "is", "are", "was", "were", "be", "been", "being", "am", "'s", "'re", "'m");
}

static bool ends_in(const char *w, const char *end)
{
    size_t n = strlen(w), m = strlen(end);
    return n > m && !strcmp(w + n - m, end);
}

/* A gerund of a verb that WordNet knows; "ceiling" and "building" are nouns first. */
static bool is_gerund(const char *w)
{
    char base[GQ_WN_WORD];
    return ends_in(w, "ing") && gq_wordnet_verb(w, base) && strcmp(base, w) != 0;
}

/* A third person: "walks", not "glasses" and not "glass". */
static bool is_third(const char *w)
{
    char base[GQ_WN_WORD];
    return ends_in(w, "s") && !ends_in(w, "ss") && gq_wordnet_verb(w, base) &&
           strcmp(base, w) != 0 && !gq_word_is_clothing(w);
}

static bool is_base(const char *w)
{
    char base[GQ_WN_WORD];
    return gq_wordnet_verb(w, base) && !strcmp(base, w);
}

/* "trees" in "grass and trees", not "smiles". */
static bool is_thing(const char *w)
{
    char base[GQ_WN_WORD];
    unsigned class;
    gq_wordnet_noun(w, base);
    gq_wordnet_find(base, &class);
    switch (class & GQ_WN_CLASS) {
    case GQ_WN_ANIMAL:
    case GQ_WN_ARTIFACT:
    case GQ_WN_BODY:
    case GQ_WN_OBJECT:
    case GQ_WN_PERSON:
    case GQ_WN_PLANT:
        return true;
    default:
        return false;
    }
}

/* Is the first noun of the caption, before word k, a plural? */
static bool starts_plural(const gq_caption *c, size_t k)
{
    for (size_t j = 0; j < k; j++)
        if (gq__is_noun(c->pos[j]))
            return c->pos[j] == GQ_POS_NNS || IN(c->words.word[j], "people", "men", "women");
    return false;
}

/* What follows a verb and seldom a noun that ends a subject. */
static bool after_verb(const gq_caption *c, size_t k)
{
    if (IN(word(c, k), "something", "someone", "somebody"))
        return true;
    switch (pos(c, k)) {
    case GQ_POS_COMMA:
    case GQ_POS_DT:
    case GQ_POS_PRPS:
    case GQ_POS_PRP:
    case GQ_POS_TO:
    case GQ_POS_RP:
    case GQ_POS_RB:
    case GQ_POS_STOP:
    case GQ_POS_CC:
    case GQ_POS_CD:
    case GQ_POS_PDT:
        return true;
    case GQ_POS_IN:
        return strcmp(word(c, k), "of") != 0;
    default:
        return false;
    }
}

/* Is there a finite verb in words [from, to)? */
static bool finite_in(const gq_caption *c, size_t from, size_t to)
{
    for (size_t k = from; k < to; k++)
        if (c->pos[k] == GQ_POS_VBZ || c->pos[k] == GQ_POS_VBP || c->pos[k] == GQ_POS_VBD ||
            c->pos[k] == GQ_POS_MD || (gq__is_be(word(c, k)) && c->pos[k] != GQ_POS_POSS))
            return true;
    return false;
}

/* The first word of the clause that word k stands in, as far as words alone tell. */
static size_t clause_of(const gq_caption *c, size_t k)
{
    while (k > 0 && c->pos[k - 1] != GQ_POS_CC && c->pos[k - 1] != GQ_POS_COMMA &&
           !IN(word(c, k - 1), "while", "as", "then", "when", "until"))
        k--;
    return k;
}

static bool pos_before(const gq_caption *c, size_t k, gq_pos p)
{
    while (k-- > 0)
        if (c->pos[k] == p)
            return true;
    return false;
}

/* The word before k that is no adverb; SIZE_MAX: none. */
static size_t before(const gq_caption *c, size_t k)
{
    while (k-- > 0)
        if (c->pos[k] != GQ_POS_RB)
            return k;
    return SIZE_MAX;
}

/* ---- rules, each for one word ---------------------------------------------------------------- */

static void repair_fixed(gq_caption *c, size_t k)
{
    const char *w = word(c, k);
    if (k && IN(w, "all", "both", "each") && gq__is_be(word(c, k - 1)) && is_gerund(word(c, k + 1)))
        set(c, k, GQ_POS_RB); /* "are all dancing" */
    else if (IN(w, "another", "both", "all", "each", "some", "every", "no", "any") &&
             c->pos[k] != GQ_POS_PDT)
        set(c, k, GQ_POS_DT);
    else if (!strcmp(w, "and") || !strcmp(w, "or") || !strcmp(w, "but") || !strcmp(w, "&"))
        set(c, k, GQ_POS_CC);
    else if (IN(w, "while", "as", "because", "until", "with", "into", "onto", "of"))
        set(c, k, GQ_POS_IN);
    else if (gq__is_noun(c->pos[k]) && IN(w, "up", "down", "off", "out", "away"))
        set(c, k, GQ_POS_RB);
    else if (!strcmp(w, "like") && k &&
             (gq__is_be(word(c, k - 1)) || IN(word(c, k - 1), "look", "looks", "looking")))
        set(c, k, GQ_POS_IN);
    else if (gq_word_is_color(w))
        set(c, k,
            gq__is_noun(pos(c, k + 1)) || pos(c, k + 1) == GQ_POS_JJ ||
                    pos(c, k + 1) == GQ_POS_CC || pos(c, k + 1) == GQ_POS_VBG ||
                    pos(c, k + 1) == GQ_POS_VBN || gq_word_is_color(word(c, k + 1))
                ? GQ_POS_JJ
                : GQ_POS_NN);
}

static void repair_clitic(gq_caption *c, size_t k)
{
    const char *w = word(c, k);
    if (strcmp(w, "'s") && strcmp(w, "'re"))
        return;
    size_t b = before(c, k);
    bool   pronoun = b != SIZE_MAX &&
                   (c->pos[b] == GQ_POS_PRP || c->pos[b] == GQ_POS_EX || c->pos[b] == GQ_POS_WP ||
                    c->pos[b] == GQ_POS_WDT || IN(word(c, b), "there", "that", "it", "who"));
    bool verb = is_gerund(word(c, k + 1)) || pos(c, k + 1) == GQ_POS_DT;
    set(c, k, pronoun || verb ? GQ_POS_VBZ : GQ_POS_POSS);
}

static void repair_gerund(gq_caption *c, size_t k)
{
    size_t b = before(c, k);
    if (c->pos[k] == GQ_POS_VBG || !is_gerund(word(c, k)) || b == SIZE_MAX)
        return;
    if (IN(word(c, k), "wearing", "holding") && c->pos[b] != GQ_POS_DT &&
        c->pos[b] != GQ_POS_PRPS && c->pos[b] != GQ_POS_POSS)
        set(c, k, GQ_POS_VBG);
    else if (gq__is_be(word(c, b)) && c->pos[b] != GQ_POS_POSS)
        set(c, k, GQ_POS_VBG);
    else if (c->pos[b] == GQ_POS_CC && b && c->pos[b - 1] == GQ_POS_VBG)
        set(c, k, GQ_POS_VBG); /* "dancing and holding cups" */
    else if ((c->pos[b] == GQ_POS_CC || c->pos[b] == GQ_POS_COMMA) &&
             pos_before(c, k, GQ_POS_VBG) && !gq__is_noun(pos(c, k + 1)))
        set(c, k, GQ_POS_VBG);
    else if (gq__is_noun(c->pos[b]) && b + 1 == k && gq_word_is_living(word(c, b)) &&
             gq__is_noun(pos(c, k + 1)))
        set(c, k, GQ_POS_VBG); /* "a man wearing shirt" */
    else if (gq__is_noun(c->pos[b]) && after_verb(c, k + 1) && pos(c, k + 1) != GQ_POS_STOP &&
             pos(c, k + 1) != GQ_POS_CC)
        set(c, k, GQ_POS_VBG);
}

static void repair_finite(gq_caption *c, size_t k)
{
    size_t      b = before(c, k);
    const char *w = word(c, k);
    gq_pos      p = c->pos[k], q = b == SIZE_MAX ? GQ_POS_OTHER : c->pos[b];
    if (b == SIZE_MAX)
        return;
    if ((p == GQ_POS_NN || p == GQ_POS_NNS) && is_third(w)) {
        bool subject = q == GQ_POS_PRP || q == GQ_POS_WDT || q == GQ_POS_WP ||
                       !strcmp(word(c, b), "then") || (k && !strcmp(word(c, k - 1), "then"));
        bool one = k > 1 && !strcmp(word(c, k - 1), "one") &&
                   (c->pos[k - 2] == GQ_POS_CC || c->pos[k - 2] == GQ_POS_COMMA ||
                    gq__is_noun(c->pos[k - 2])) &&
                   after_verb(c, k + 1); /* "and one smiles" */
        bool things =
            b && gq__is_noun(c->pos[b - 1]) && pos(c, k + 1) == GQ_POS_STOP && is_thing(w);
        bool joined = q == GQ_POS_CC && pos_before(c, k, GQ_POS_VBZ) && !things &&
                      (after_verb(c, k + 1) || c->pos[b ? b - 1 : 0] == GQ_POS_VBZ);
        bool sure =
            gq__is_noun(q) && IN(w, "wears", "holds", "puts", "sits", "stands", "eats", "sings",
                                 "opens", "gets", "makes", "takes", "gives", "goes");
        bool late = q == GQ_POS_COMMA && !finite_in(c, 0, c->words.n) && after_verb(c, k + 1);
        bool first = q == GQ_POS_NN && !finite_in(c, clause_of(c, k), k) && after_verb(c, k + 1) &&
                     !finite_in(c, k + 1, c->words.n < k + 3 ? c->words.n : k + 3) &&
                     !(is_thing(w) && pos(c, k + 1) == GQ_POS_CC);
        bool only = q == GQ_POS_NNS && !finite_in(c, 0, c->words.n) && after_verb(c, k + 1);
        bool dressed = b && gq_word_is_color(word(c, b)) &&
                       IN(word(c, b - 1), "in", "all", "wearing") && !finite_in(c, 0, c->words.n) &&
                       (after_verb(c, k + 1) || gq__is_noun(pos(c, k + 1)));
        if (dressed)
            set(c, b, GQ_POS_NN); /* "a person in black jumps on ..." */
        late |= dressed;
        if (subject || joined || first || only || late || sure || one)
            set(c, k, GQ_POS_VBZ);
    } else if (p == GQ_POS_VB && (q == GQ_POS_NNS || q == GQ_POS_PRP)) {
        set(c, k, GQ_POS_VBP);
    } else if (p == GQ_POS_VB && q != GQ_POS_TO && q != GQ_POS_MD && q != GQ_POS_CC &&
               !finite_in(c, 0, c->words.n)) {
        set(c, k, GQ_POS_VBP); /* "two woman make faces", "two men lounging lift ..." */
    } else if (p == GQ_POS_NN && q == GQ_POS_NNS && is_base(w) && after_verb(c, k + 1) &&
               !finite_in(c, clause_of(c, k), k)) {
        set(c, k, GQ_POS_VBP); /* "two people dance and wave" */
    } else if (p == GQ_POS_NN && q == GQ_POS_NN && !finite_in(c, 0, c->words.n) &&
               after_verb(c, k + 1) && is_base(w) && starts_plural(c, k) &&
               pos_before(c, k, GQ_POS_IN)) {
        set(c, k, GQ_POS_VBP); /* "two men in army gear walk across ..." */
    } else if ((p == GQ_POS_VBD || p == GQ_POS_VBN) &&
               ((q == GQ_POS_IN && (gq__is_noun(pos(c, k + 1)) || pos(c, k + 1) == GQ_POS_JJ)) ||
                (q == GQ_POS_COMMA && b && c->pos[b - 1] == GQ_POS_JJ &&
                 gq__is_noun(pos(c, k + 1))))) {
        set(c, k, GQ_POS_JJ); /* "with gelled hair", "in a black, hooded sweatshirt" */
    } else if (p == GQ_POS_VBD && gq__is_be(word(c, b)) && c->pos[b] != GQ_POS_POSS) {
        set(c, k, GQ_POS_VBN);
    } else if (p == GQ_POS_VBN && (gq__is_noun(q) || q == GQ_POS_PRP) &&
               !finite_in(c, 0, c->words.n) &&
               !IN(w, "dressed", "covered", "filled", "called", "made", "seen")) {
        set(c, k, GQ_POS_VBD);
    }
}

/* "two woman", "three young man" */
static void repair_number(gq_caption *c, size_t k)
{
    size_t b = k - (k > 1 && c->pos[k - 1] == GQ_POS_JJ);
    if (!IN(word(c, k), "man", "woman") || !b || c->pos[b - 1] != GQ_POS_CD ||
        !strcmp(word(c, b - 1), "one") || (b > 1 && IN(word(c, b - 2), "a", "an")) ||
        gq__is_noun(pos(c, k + 1)))
        return;
    c->words.word[k] = word(c, k)[0] == 'm' ? "men" : "women";
    set(c, k, GQ_POS_NNS);
}

void gq__repair(gq_caption *c)
{
    for (size_t k = 0; k < c->words.n; k++) {
        repair_fixed(c, k);
        repair_number(c, k);
        repair_clitic(c, k);
        repair_gerund(c, k);
        repair_finite(c, k);
    }
}
