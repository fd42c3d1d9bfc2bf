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

static bool has_base(const char *word, const char *base)
{
    char own[GQ_WN_WORD];
    return gq_word_is_verb(word, own) && !strcmp(own, base);
}

static const char *form_of(const gq_caption *c, gq_clause_verb *v, bool continued)
{
    const gq_chunk *g = &c->chunk[v->chunk];
    const char     *verb = c->words.word[g->head], *start = c->words.word[g->from];
    gq_pos          p = c->pos[g->head];

    if (!gq_word_is_verb(verb, v->base))
        return "the verb is not known";
    if ((g->from && has_base(c->words.word[g->from - 1], v->base)) ||
        (g->to < c->words.n && has_base(c->words.word[g->to], v->base)))
        return "the verb stands there twice";
    if (g->from == g->head) {
        if (gq__is_be(verb))
            v->form = GQ_COPULA;
        else if (p == GQ_POS_VBG && continued && strcmp(verb, v->base) != 0)
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
        if ((c->pos[k] != GQ_POS_RB && (p != GQ_POS_VBN || strcmp(c->words.word[k], "being"))) ||
            !strcmp(c->words.word[k], "not") || !strcmp(c->words.word[k], "n't"))
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

/* Where what belongs to the verb ends, at chunk k or behind it. *second: a verb with the same
 * subject stands there. False: a verb inside that makes it something else. */
static bool end_from(const gq_caption *c, size_t k, gq_clause_verb *v, size_t *second, bool *then)
{
    *second = 0;
    for (; k < c->chunks; k++) {
        if (gq__is_other(c, k,
                         " while as when until which who that where because since so if than "
                         "whose . ; : ! ? ( "))
            break;
        if (gq__is_other(c, k, " and ") &&
            gq_word_among(gq__first(c, k + 1), " forth down out over again around ")) {
            k++; /* "back and forth"                                       */
        } else if (gq__is_other(c, k, " or ") && starts_participle(c, k + 1)) {
            k++; /* "making or fixing"                                     */
        } else if (gq__is_other(c, k, " and , then but or ")) {
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

static bool end_of(const gq_caption *c, gq_clause_verb *v, size_t *second, bool *then)
{
    return end_from(c, v->chunk + 1, v, second, then);
}

/* ---- the subject ----------------------------------------------------------------------------- */

static bool ends_modifiers(const gq_caption *c, size_t k)
{
    return gq__is_other(c, k, " . while as ");
}

/* "two women together one is ...": is the noun phrase before chunk k another subject? */
static bool other_subject(const gq_caption *c, size_t last, size_t k)
{
    return k > last + 2 && gq__is_kind(c, k - 1, GQ_CHUNK_NP) &&
           (gq__is_kind(c, k - 2, GQ_CHUNK_NP) ||
            (gq__is_kind(c, k - 2, GQ_CHUNK_O) && c->pos[c->chunk[k - 2].from] == GQ_POS_RB));
}

/* Walks over what stands between the subject and its verb; the chunk of the verb, 0: none. */
static size_t find_verb(const gq_caption *c, gq_clause *out)
{
    bool relative = false;
    for (size_t k = out->last + 1; k < c->chunks && !ends_modifiers(c, k); k++) {
        if (gq__is_finite(c, k)) {
            if (!relative)
                return other_subject(c, out->last, k) ? 0 : k;
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
    const gq_chunk   *np = &c->chunk[out->first];
    for (size_t k = out->first + 1; k <= out->last; k++)
        if (gq__is_other(c, k, " and "))
            return true;
    return c->pos[np->head] == GQ_POS_NNS || gq_word_among(c->words.word[np->head], many) ||
           (c->pos[np->from] == GQ_POS_CD && strcmp(c->words.word[np->from], "one") != 0);
}

static bool is_human(const gq_caption *c, const gq_clause *out)
{
    const char *noun = c->words.word[c->chunk[out->first].head];
    if (is_group(noun) && !strcmp(gq__first(c, out->first + 1), "of") && out->last > out->first + 1)
        noun = c->words.word[c->chunk[out->last].head];
    return gq_word_is_human(noun);
}

/* "there is a man ...", "this is a man ...": the chunk of the man; 0: the caption begins otherwise,
 * or what is presented is "a view of" something. */
static size_t presented(const gq_caption *c)
{
    if (!gq__is_kind(c, 0, GQ_CHUNK_NP) || gq__is_noun(c->pos[c->chunk[0].head]) ||
        !gq_word_among(gq__first(c, 0), " there this that it these those here ") ||
        !gq__is_kind(c, 1, GQ_CHUNK_V) || c->chunk[1].to != c->chunk[1].from + 1 ||
        !gq__is_be(gq__first(c, 1)) || !gq__is_kind(c, 2, GQ_CHUNK_NP))
        return 0;
    const char *noun = c->words.word[c->chunk[2].head];
    return gq_word_is_living(noun) || gq_phrase_end(c, 2) == 2 ? 2 : 0;
}

static const char *read_subject(const gq_caption *c, size_t at, gq_clause *out)
{
    if (!gq__is_kind(c, at, GQ_CHUNK_NP))
        return "no noun phrase stands first";
    if (!gq__is_noun(c->pos[c->chunk[at].head]))
        return c->pos[c->chunk[at].from] == GQ_POS_EX ||
                       gq_word_among(gq__first(c, at), " this it that these those ")
                   ? "the subject is this, it or there"
                   : "the subject has no noun";
    if (gq_word_is_picture(c->words.word[c->chunk[at].head]))
        return "the subject is a picture";
    out->first = at;
    out->last = gq_phrase_end(c, at);
    while (gq__is_other(c, out->last + 1, " and ") && gq__is_kind(c, out->last + 2, GQ_CHUNK_NP))
        out->last = gq_phrase_end(c, out->last + 2);
    return NULL;
}

/* The participle that is the verb of a subject without a finite one, "a man dancing"; 0: none. */
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

/* The verb of "who waves" right behind the subject; 0: none. */
static size_t relative_verb(const gq_caption *c, const gq_clause *out)
{
    return gq__is_other(c, out->last + 1, " who that which ") && gq__is_finite(c, out->last + 2)
               ? out->last + 2
               : 0;
}

static void set_number(const gq_caption *c, gq_clause *out)
{
    const char *aux = gq__first(c, out->verb.chunk);
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

static const char *check_number(const gq_caption *c, const gq_clause *s)
{
    return !s->plural && gq_word_among(s->be, " are were ") &&
                   !is_group(c->words.word[c->chunk[s->first].head])
               ? "the verb is plural, the subject is not"
               : NULL;
}

static bool finds_verb(const gq_caption *c, bool shown, gq_clause *out, bool *participle)
{
    *participle = false;
    if (shown && (out->verb.chunk = relative_verb(c, out))) {
        out->behind = out->last + 1;
        return true;
    }
    out->verb.chunk = shown ? 0 : find_verb(c, out);
    *participle = !out->verb.chunk;
    if (*participle)
        out->verb.chunk = participle_verb(c, out);
    out->behind = out->verb.chunk;
    return out->verb.chunk;
}

/* "snapping her fingers dancing": the one participle ends before the next. */
static void end_participle(const gq_caption *c, gq_clause_verb *v)
{
    for (size_t k = v->chunk + 2; k < v->end; k++)
        if (starts_participle(c, k))
            v->end = k;
}

/* "while V-ing" at chunk k. */
static void read_beside(const gq_caption *c, size_t k, gq_clause *out)
{
    size_t second;
    bool   then;
    if (!gq__is_other(c, k, " while ") || !starts_participle(c, k + 1))
        return;
    out->beside.chunk = k + 1;
    if (form_of(c, &out->beside, true) || out->beside.form != GQ_PROGRESSIVE ||
        !end_of(c, &out->beside, &second, &then))
        out->beside.chunk = 0;
}

/* "lighting and smoking a cigarette": has the verb nothing of its own though it needs something? */
static bool shares_object(const gq_caption *c, const gq_clause *s, size_t second)
{
    const gq_chunk *verb = &c->chunk[s->verb.chunk];
    return verb->to == verb->head + 1 && second == s->verb.chunk + 2 &&
           s->verb.end == s->verb.chunk + 1 &&
           gq_word_among(s->verb.base, " light make take hold put bring give pick open close push "
                                       "pull hit throw catch grab wear cut touch lift use show ");
}

const char *gq_clause_read(const gq_caption *c, size_t at, gq_clause *out)
{
    size_t      second, shown = at ? 0 : presented(c);
    bool        participle;
    const char *why;
    *out = (gq_clause){0};
    if ((why = read_subject(c, shown ? shown : at, out)))
        return why;
    if (!finds_verb(c, shown, out, &participle) || (participle && at))
        return shown ? "the subject is this, it or there" : "no verb belongs to the subject";
    if ((why = form_of(c, &out->verb, participle)))
        return why;
    set_number(c, out);
    if ((why = check_number(c, out)))
        return why;
    out->bare |= c->chunk[out->behind].from - c->chunk[out->first].from > LONG_SUBJECT;
    if (!end_of(c, &out->verb, &second, &out->then))
        return "a second finite verb stands inside";
    if (second && shares_object(c, out, second)) {
        bool   ignored;
        size_t more;
        if (out->verb.form != GQ_PROGRESSIVE ||
            !end_from(c, second + 1, &out->verb, &more, &ignored))
            return "its object stands behind another verb";
        second = 0;
    }
    if (participle)
        end_participle(c, &out->verb);
    if (second) {
        bool   ignored;
        size_t third;
        out->second.chunk = second;
        if (form_of(c, &out->second, out->verb.form != GQ_PAST) ||
            out->second.form != out->verb.form || !end_of(c, &out->second, &third, &ignored))
            out->second.chunk = 0;
    } else {
        read_beside(c, out->verb.end, out);
    }
    return NULL;
}

/* "and stares stared": a verb that was taken for a noun. */
static bool is_doubtful(const gq_caption *c, size_t k)
{
    char        base[GQ_WN_WORD];
    const char *noun = c->words.word[c->chunk[k].head];
    return c->chunk[k].to == c->chunk[k].from + 1 && c->pos[c->chunk[k].head] == GQ_POS_NNS &&
           !gq_word_is_living(noun) && gq_word_is_verb(noun, base) && strcmp(base, noun) != 0;
}

size_t gq_clause_next(const gq_caption *c, const gq_clause *s)
{
    size_t k = s->beside.chunk ? s->beside.end : s->second.chunk ? s->second.end : s->verb.end;
    bool   joins = false;
    for (; gq__is_other(c, k, " and while as but when , "); k++)
        joins |= !gq__is_other(c, k, " , ");
    return joins && gq__is_kind(c, k, GQ_CHUNK_NP) && c->pos[c->chunk[k].from] != GQ_POS_PRPS &&
                   !gq_word_is_time(c->words.word[c->chunk[k].head]) && !is_doubtful(c, k)
               ? k
               : 0;
}

bool gq_clause_inner(const gq_caption *c, const gq_clause *s, gq_clause *out)
{
    *out = (gq_clause){.first = s->first, .last = s->last, .behind = s->last + 1, .bare = true};
    size_t k = relative_verb(c, s);
    out->verb.chunk = k ? k : s->last + 1;
    out->verb.end = s->verb.chunk;
    if (s->behind <= out->behind || (!k && !starts_participle(c, out->verb.chunk)) ||
        form_of(c, &out->verb, true) || out->verb.form == GQ_PASSIVE)
        return false;
    set_number(c, out);
    for (k = out->verb.chunk + 1; k < out->verb.end; k++)
        if (gq__is_kind(c, k, GQ_CHUNK_O) || gq__is_kind(c, k, GQ_CHUNK_V))
            return false;
    return !check_number(c, out);
}
