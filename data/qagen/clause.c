#include "data/qagen/clause.h"

#include <stdio.h>
#include <string.h>

#include "data/qagen/candidates.h"
#include "data/qagen/chunk_private.h"
#include "data/qagen/lexicon.h"

enum { LONG_SUBJECT = 10 }; /* words; longer ones are not repeated in questions       */

static bool starts_participle(const gq_caption *c, size_t k)
{
    return gq__is_kind(c, k, GQ_CHUNK_V) &&
           (c->pos[c->chunk[k].from] == GQ_POS_VBG || c->pos[c->chunk[k].from] == GQ_POS_VBN);
}

/* ---- the verb -------------------------------------------------------------------------------- */

static const char *form_of(const gq_caption *c, gq_clause_verb *v, bool continued)
{
    const gq_chunk *g = &c->chunk[v->chunk];
    const char     *verb = c->words.word[g->head], *start = c->words.word[g->from];
    gq_pos          p = c->pos[g->head];

    if (!gq_word_is_verb(verb, v->base))
        return "the verb is not known";
    if (g->from == g->head) {
        if (gq__is_be(verb))
            v->form = GQ_COPULA;
        else if (p == GQ_POS_VBG && continued)
            v->form = GQ_PROGRESSIVE;
        else if (p == GQ_POS_VBZ || p == GQ_POS_VBP || (p == GQ_POS_VB && continued))
            v->form = GQ_PRESENT;
        else if (p == GQ_POS_VBD)
            v->form = GQ_PAST;
        else
            return "the verb is not finite";
        return NULL;
    }
    if (!gq_word_among(start, " is are was were 's 're "))
        return "a verb group of another kind than is + -ing";
    if (p == GQ_POS_VBG)
        v->form = GQ_PROGRESSIVE;
    else if (p == GQ_POS_VBN)
        v->form = GQ_PASSIVE;
    else
        return "a verb group of another kind than is + -ing";
    for (size_t k = g->from + 1; k < g->head; k++)
        if (c->pos[k] != GQ_POS_RB || !strcmp(c->words.word[k], "not") ||
            !strcmp(c->words.word[k], "n't"))
            return "a negated or longer verb group";
    return NULL;
}

/* The chunk where the verb of a second phrase with the same subject stands, from chunk k on, which
 * is "and", "," or "then"; 0: what follows is something else. */
static size_t joined_verb(const gq_caption *c, size_t k, bool *then)
{
    bool joins = false;
    *then = false;
    for (; gq__is_kind(c, k, GQ_CHUNK_O); k++) {
        if (gq_word_among(gq__first(c, k), " and , then but "))
            joins = true;
        else if (c->pos[c->chunk[k].from] != GQ_POS_RB)
            return 0;
        *then |= !strcmp(gq__first(c, k), "then");
    }
    return joins && gq__is_kind(c, k, GQ_CHUNK_V) ? k : 0;
}

/* Does a new clause begin with the noun phrase k: does a finite verb follow it? */
static bool new_clause(const gq_caption *c, size_t k)
{
    if (!gq__is_kind(c, k, GQ_CHUNK_NP))
        return false;
    k = gq_phrase_end(c, k) + 1;
    while (gq__is_kind(c, k, GQ_CHUNK_P) && gq__is_kind(c, k + 1, GQ_CHUNK_NP))
        k = gq_phrase_end(c, k + 1) + 1;
    return gq__is_finite(c, k) || starts_participle(c, k);
}

/* Where what belongs to the verb ends. *second: a verb with the same subject stands there. False: a
 * verb inside that makes it something else. */
static bool end_of(const gq_caption *c, gq_clause_verb *v, size_t *second, bool *then)
{
    size_t k = v->chunk + 1;
    *second = 0;
    for (; k < c->chunks; k++) {
        if (gq__is_other(c, k,
                     " while as when until which who that where because since so if than "
                     "whose . ; : ! ? ( "))
            break;
        if (gq__is_other(c, k, " and , then but or ")) {
            if ((*second = joined_verb(c, k, then)) || new_clause(c, k + 1) ||
                !gq__is_kind(c, k + 1, GQ_CHUNK_NP) || gq__is_other(c, k, " , then "))
                break;
        } else if (gq__is_finite(c, k)) {
            return false;
        }
    }
    v->end = k;
    return true;
}

/* ---- the subject ----------------------------------------------------------------------------- */

static bool ends_modifiers(const gq_caption *c, size_t k)
{
    return gq__is_other(c, k, " . while as ");
}

/* Walks over what stands between the subject and its verb; the chunk of the verb, 0: none. */
static size_t find_verb(const gq_caption *c, gq_clause *out)
{
    bool relative = false;
    for (size_t k = out->last + 1; k < c->chunks && !ends_modifiers(c, k); k++) {
        if (gq__is_finite(c, k)) {
            if (!relative)
                return k;
            relative = false; /* the verb of "who is wearing ..."                       */
        } else if (gq__is_kind(c, k, GQ_CHUNK_O)) {
            out->bare |= !gq__is_other(c, k, " and ");
            relative |= gq__is_other(c, k, " who that which whose ");
        } else if (gq__is_kind(c, k, GQ_CHUNK_V)) {
            out->bare |= !starts_participle(c, k);
        }
    }
    return 0;
}

/* Nouns that go with a plural verb as well. */
static bool is_group(const char *noun)
{
    return gq_word_among(
        noun, " group bunch couple pair lot crowd trio gang team row line number band family "
              "audience police duo crew class set herd flock pack majority ");
}

static bool is_plural(const gq_caption *c, const gq_clause *out)
{
    static const char many[] = " people men women children police mice feet both they some many ";
    const gq_chunk   *np = &c->chunk[0];
    for (size_t k = 1; k <= out->last; k++)
        if (gq__is_other(c, k, " and "))
            return true;
    return c->pos[np->head] == GQ_POS_NNS || gq_word_among(c->words.word[np->head], many) ||
           (c->pos[np->from] == GQ_POS_CD && strcmp(c->words.word[np->from], "one") != 0);
}

static bool is_human(const gq_caption *c, const gq_clause *out)
{
    const char *noun = c->words.word[c->chunk[0].head];
    if (is_group(noun) && !strcmp(gq__first(c, 1), "of") && out->last >= 2)
        noun = c->words.word[c->chunk[out->last].head];
    return gq_word_is_human(noun);
}

static const char *read_subject(const gq_caption *c, gq_clause *out)
{
    const char *start = gq__first(c, 0);
    if (!gq__is_kind(c, 0, GQ_CHUNK_NP))
        return "no noun phrase stands first";
    if (c->pos[0] == GQ_POS_EX || gq_word_among(start, " this it that these those "))
        return "the subject is this, it or there";
    if (!gq__is_noun(c->pos[c->chunk[0].head]))
        return "the subject has no noun";
    out->last = gq_phrase_end(c, 0);
    while (gq__is_other(c, out->last + 1, " and ") && gq__is_kind(c, out->last + 2, GQ_CHUNK_NP))
        out->last = gq_phrase_end(c, out->last + 2);
    return NULL;
}

/* A caption without a finite verb, "a man dancing": its participle is the verb. */
static size_t participle_verb(const gq_caption *c, const gq_clause *out)
{
    for (size_t k = out->last + 1; k < c->chunks && !ends_modifiers(c, k); k++)
        if (gq__is_kind(c, k, GQ_CHUNK_V))
            return c->pos[c->chunk[k].head] == GQ_POS_VBG && c->chunk[k].from == c->chunk[k].head
                       ? k
                       : 0;
        else if (gq__is_kind(c, k, GQ_CHUNK_O))
            return 0;
    return 0;
}

static void set_number(const gq_caption *c, gq_clause *out)
{
    const char *aux = c->words.word[c->chunk[out->verb.chunk].from];
    gq_pos      p = c->pos[c->chunk[out->verb.chunk].from];
    out->plural = is_plural(c, out);
    out->human = is_human(c, out);
    if (gq_word_among(aux, " is are was were "))
        out->be = aux;
    else if (p == GQ_POS_VBZ || p == GQ_POS_VBP)
        out->be = p == GQ_POS_VBZ ? "is" : "are";
    else
        out->be = out->plural ? "are" : "is";
}

const char *gq_clause_read(const gq_caption *c, gq_clause *out)
{
    size_t      second;
    const char *why;
    *out = (gq_clause){0};
    if ((why = read_subject(c, out)))
        return why;
    bool bare_participle = !(out->verb.chunk = find_verb(c, out));
    if (bare_participle && !(out->verb.chunk = participle_verb(c, out)))
        return "no verb belongs to the subject";
    if ((why = form_of(c, &out->verb, bare_participle)))
        return why;
    set_number(c, out);
    if (!out->plural && gq_word_among(out->be, " are were ") &&
        !is_group(c->words.word[c->chunk[0].head]))
        return "the verb is plural, the subject is not";
    out->bare |= c->chunk[out->verb.chunk].from - c->chunk[0].from > LONG_SUBJECT;
    if (!end_of(c, &out->verb, &second, &out->then))
        return "a second finite verb stands inside";
    if (second) {
        bool   ignored;
        size_t third;
        out->second.chunk = second;
        if (form_of(c, &out->second, out->verb.form != GQ_PAST) ||
            out->second.form != out->verb.form || !end_of(c, &out->second, &third, &ignored))
            out->second.chunk = 0;
    }
    return NULL;
}
