#include "data/qagen/candidates.h"

#include <string.h>

#include "data/qagen/chunk_private.h"
#include "data/qagen/lexicon.h"

const char *gq_category_name(gq_category c)
{
    static const char *const name[] = {"living", "noun", "verb", "phrase", "color"};
    return name[c];
}

static const char *head_of(const gq_caption *c, size_t k)
{
    return c->words.word[c->chunk[k].head];
}

static bool is_word(const gq_caption *c, size_t k, const char *word)
{
    return k < c->chunks && c->chunk[k].to == c->chunk[k].from + 1 &&
           !strcmp(c->words.word[c->chunk[k].from], word);
}

/* Nouns that count or cut what "of" brings. */
static bool measures(const char *noun)
{
    static const char list[] =
        " group bunch couple pair lot lots crowd set row line piece pieces team trio kind sort "
        "type "
        "number load pile herd flock bottle glass cup can bowl plate pack bit part majority swarm "
        "stack bag box bucket series gang stream cloud ";
    return gq_word_among(noun, list);
}

size_t gq_phrase_end(const gq_caption *c, size_t k)
{
    while (is_word(c, k + 1, "of") && gq__is_kind(c, k + 2, GQ_CHUNK_NP))
        k += 2;
    return k;
}

/* ---- categories ------------------------------------------------------------------------------ */

typedef struct collector {
    const gq_caption *c;
    gq_candidate     *out;
    size_t            n;
} collector;

static void add(collector *o, gq_category category, size_t from, size_t to, size_t head)
{
    if (o->n < GQ_CANDIDATES)
        o->out[o->n++] = (gq_candidate){category, (uint8_t)from, (uint8_t)to, (uint8_t)head};
}

/* Noun phrases with a noun in them; living: those, else the others. */
static void collect_nouns(collector *o, bool living)
{
    const gq_caption *c = o->c;
    for (size_t k = 0; k < c->chunks; k++) {
        if (c->chunk[k].kind != GQ_CHUNK_NP)
            continue;
        size_t end = k, head = k;
        if (measures(head_of(c, k))) {
            end = gq_phrase_end(c, k);
            head = end;
        }
        const char *noun = head_of(c, head);
        if (!gq_word_among(noun, " one ones ") && gq__is_noun(c->pos[c->chunk[head].head]) &&
            !(gq_word_is_color(noun) && c->chunk[head].to == c->chunk[head].from + 1) &&
            gq_word_is_living(noun) == living)
            add(o, living ? GQ_LIVING : GQ_NOUN, c->chunk[k].from, c->chunk[end].to,
                c->chunk[head].head);
        k = end;
    }
}

static void collect_verbs(collector *o)
{
    const gq_caption *c = o->c;
    for (size_t k = 0; k < c->chunks; k++) {
        const gq_chunk *v = &c->chunk[k];
        if (v->kind == GQ_CHUNK_V && !gq__is_be(c->words.word[v->head]))
            add(o, GQ_VERB, v->head, v->to, v->head);
    }
}

static bool verb_before(const gq_caption *c, size_t k)
{
    while (k-- > 0)
        if (c->chunk[k].kind == GQ_CHUNK_V)
            return true;
    return false;
}

/* Over ", NP and NP" behind the noun phrase k, unless a second clause begins there: a verb follows,
 * and there was one before. */
static size_t coordinated(const gq_caption *c, size_t k)
{
    size_t end = k;
    for (size_t j = k + 1; j + 1 < c->chunks; j += 2) {
        if (!(is_word(c, j, "and") || is_word(c, j, ",") || is_word(c, j, "or")) ||
            !gq__is_kind(c, j + 1, GQ_CHUNK_NP) || c->pos[c->chunk[j + 1].head] == GQ_POS_PRP)
            break;
        size_t last = gq_phrase_end(c, j + 1);
        if (gq__is_kind(c, last + 1, GQ_CHUNK_V) && verb_before(c, k))
            break;
        if (is_word(c, j, "and") || is_word(c, j, "or"))
            end = last;
        j += last - (j + 1);
    }
    return end;
}

static void collect_phrases(collector *o)
{
    const gq_caption *c = o->c;
    for (size_t k = 0; k + 1 < c->chunks; k++) {
        if (c->chunk[k].kind != GQ_CHUNK_P || is_word(c, k, "of") ||
            !gq__is_kind(c, k + 1, GQ_CHUNK_NP))
            continue;
        size_t end = coordinated(c, gq_phrase_end(c, k + 1));
        add(o, GQ_PHRASE, c->chunk[k].from, c->chunk[end].to, c->chunk[k].from);
    }
}

static void collect_colors(collector *o)
{
    const gq_caption *c = o->c;
    const gq_words   *w = &c->words;
    for (size_t k = 0; k < w->n; k++) {
        size_t to = k + 1;
        if (!gq_word_is_color(w->word[k]))
            continue;
        while (to < w->n && (gq_word_is_color(w->word[to]) ||
                             (to + 1 < w->n && gq_word_is_color(w->word[to + 1]) &&
                              (!strcmp(w->word[to], "and") || !strcmp(w->word[to], ",")))))
            to++;
        add(o, GQ_COLOR, k, to, k);
        k = to;
    }
}

size_t gq_candidates(const gq_caption *c, gq_candidate *out)
{
    collector o = {.c = c, .out = out};
    collect_nouns(&o, true);
    collect_nouns(&o, false);
    collect_verbs(&o);
    collect_phrases(&o);
    collect_colors(&o);
    return o.n;
}
