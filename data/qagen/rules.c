#include "data/qagen/rules.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "data/qagen/chunk_private.h"
#include "data/qagen/clause.h"
#include "data/qagen/inflect.h"
#include "data/qagen/lexicon.h"
#include "data/qagen/pairs.h"

static const struct {
    const char *name, *type;
} rules[GQ_RULES] = {
#define GQ_RULE_NAMES(name, text, type) {text, type},
    GQ_RULE_LIST(GQ_RULE_NAMES)
#undef GQ_RULE_NAMES
};

const char *gq_rule_name(gq_rule r)
{
    return rules[r].name;
}
const char *gq_rule_type(gq_rule r)
{
    return rules[r].type;
}

typedef struct maker {
    const gq_caption *c;
    gq_clause         s;
    gq_generated     *out;
    size_t            n;
} maker;

/* ---- text ------------------------------------------------------------------------------------ */

typedef struct text {
    char   to[GQ_RULE_QUESTION];
    size_t at;
    bool   full;
} text;

static void put(text *t, const char *word)
{
    size_t n = strlen(word);
    bool   close = t->at == 0 || word[0] == '\'' || word[0] == ',' || !strcmp(word, "n't");
    if (!n || t->full)
        return;
    if (t->at + !close + n + 2 > sizeof t->to) {
        t->full = true;
        return;
    }
    if (!close)
        t->to[t->at++] = ' ';
    memcpy(t->to + t->at, word, n + 1);
    t->at += n;
}

static void put_words(text *t, const gq_caption *c, size_t from, size_t to)
{
    for (size_t k = from; k < to; k++)
        put(t, c->words.word[k]);
}

static void emit(maker *m, gq_rule rule, const char *candidate, text *question, const text *answer)
{
    if (m->n == GQ_RULE_MOST || question->full || answer->full || !answer->at ||
        answer->at >= GQ_RULE_ANSWER ||
        (rule != GQ_RULE_COLOR && gq_pairs_told(question->to, answer->to)))
        return; /* "who hits a man? a man"                                */
    for (size_t k = 0; k < m->n; k++)
        if (!strncmp(m->out[k].question, question->to, question->at) &&
            !strcmp(m->out[k].question + question->at, "?"))
            return; /* two clauses may ask the same                           */
    gq_generated *g = &m->out[m->n++];
    g->rule = rule;
    g->candidate = candidate;
    snprintf(g->question, sizeof g->question, "%.*s?", (int)question->at, question->to);
    snprintf(g->answer, sizeof g->answer, "%.*s", (int)answer->at, answer->to);
}

/* ---- parts of the clause --------------------------------------------------------------------- */

static const gq_chunk *chunk(const maker *m, size_t k)
{
    return &m->c->chunk[k];
}
static const char *word(const maker *m, size_t k)
{
    return m->c->words.word[k];
}
static const char *head(const maker *m, size_t k)
{
    return word(m, chunk(m, k)->head);
}
static const char *first(const maker *m, size_t k)
{
    return k < m->c->chunks ? word(m, chunk(m, k)->from) : "";
}
static bool is_kind(const maker *m, size_t k, gq_chunk_kind kind)
{
    return k < m->c->chunks && chunk(m, k)->kind == kind;
}

/* The word before which chunk k begins; behind the last: the end. */
static size_t word_of(const maker *m, size_t k)
{
    return k < m->c->chunks ? chunk(m, k)->from : m->c->words.n;
}

/* Words [from, to) of a noun phrase; its first word becomes "the" when it is in the list. */
static void put_definite(text *t, const maker *m, const char *replaced, size_t from, size_t to)
{
    bool the = gq_word_among(word(m, from), replaced);
    if (the)
        put(t, "the");
    put_words(t, m->c, from + the, to);
}

static void put_subject(text *t, const maker *m, bool whole)
{
    const gq_chunk *np = chunk(m, m->s.first);
    gq_pos          p = m->c->pos[np->from];
    if ((p == GQ_POS_NN || p == GQ_POS_JJ) && m->c->pos[np->head] == GQ_POS_NN &&
        gq_word_is_living(word(m, np->head)) && strncmp(word(m, np->head), "some", 4) != 0 &&
        strncmp(word(m, np->head), "every", 5) != 0 && strncmp(word(m, np->head), "any", 3) != 0)
        put(t, "the"); /* "man with a hat is dancing"                              */
    put_definite(t, m, " a an some this that these those ", np->from,
                 whole && !m->s.bare ? chunk(m, m->s.behind)->from : chunk(m, m->s.last)->to);
}

static void put_particle(text *t, const maker *m, const gq_clause_verb *v)
{
    put_words(t, m->c, chunk(m, v->chunk)->head + 1, chunk(m, v->chunk)->to);
}

static void put_gerund(text *t, const maker *m, const gq_clause_verb *v)
{
    char form[GQ_WN_WORD];
    if (v->form != GQ_PROGRESSIVE && v->form != GQ_PASSIVE)
        gq_gerund(v->base, form);
    if (v->form == GQ_PASSIVE && chunk(m, v->chunk)->head > chunk(m, v->chunk)->from &&
        !strcmp(word(m, chunk(m, v->chunk)->head - 1u), "being"))
        put(t, "being");
    put(t, v->form == GQ_PROGRESSIVE || v->form == GQ_PASSIVE ? head(m, v->chunk) : form);
    put_particle(t, m, v);
}

static void put_base(text *t, const maker *m, const gq_clause_verb *v)
{
    put(t, v->base);
    put_particle(t, m, v);
}

static bool is_be_form(const gq_clause_verb *v)
{
    return v->form == GQ_PROGRESSIVE || v->form == GQ_PASSIVE || v->form == GQ_COPULA;
}

static const char *auxiliary(const maker *m)
{
    if (m->s.verb.form == GQ_PAST)
        return "did";
    return m->c->pos[chunk(m, m->s.verb.chunk)->head] == GQ_POS_VBZ ? "does" : "do";
}

/* "is the man waving", "does the man wave": what stands behind a question word for another part
 * than the subject. */
static void put_inverted(text *t, const maker *m)
{
    put(t, is_be_form(&m->s.verb) ? m->s.be : auxiliary(m));
    put_subject(t, m, true);
    if (m->s.verb.form == GQ_COPULA)
        return;
    if (is_be_form(&m->s.verb))
        put_gerund(t, m, &m->s.verb);
    else
        put_base(t, m, &m->s.verb);
}

static void put_rest(text *t, const maker *m, const gq_clause_verb *v)
{
    put_words(t, m->c, chunk(m, v->chunk)->to, word_of(m, v->end));
}

/* The last chunk of the noun phrase k with what "of" and "and" join to it, before chunk `end`. */
static size_t phrase_end(const maker *m, size_t k, size_t end)
{
    size_t last = gq_phrase_end(m->c, k);
    while (last + 2 < end && gq_word_among(first(m, last + 1), " and or ") &&
           is_kind(m, last + 2, GQ_CHUNK_NP))
        last = gq_phrase_end(m->c, last + 2);
    return last < end ? last : k;
}

static const char *kind_of(const char *noun)
{
    return gq_word_is_living(noun) ? "living" : "noun";
}

static bool has_noun(const maker *m, size_t k)
{
    return is_kind(m, k, GQ_CHUNK_NP) && gq__is_noun(m->c->pos[chunk(m, k)->head]);
}

/* ---- subject and verb ------------------------------------------------------------------------ */

static void ask_subject(maker *m)
{
    const gq_clause_verb *v = &m->s.verb;
    text                  q = {.at = 0}, a = {.at = 0};
    char                  form[GQ_WN_WORD];
    size_t                from = chunk(m, v->chunk)->to, to = word_of(m, v->end);

    if (v->form == GQ_COPULA && (from == to || is_kind(m, v->chunk + 1, GQ_CHUNK_NP)))
        return;
    for (size_t k = from; k < to; k++)
        if (gq_word_among(word(m, k), " each together themselves another "))
            return; /* "who is talking to each other"                         */
    put(&q, m->s.human ? "who" : "what");
    if (is_be_form(v)) {
        put(&q, gq_word_among(m->s.be, " was were ") ? "was" : "is");
        if (v->form != GQ_COPULA)
            put_gerund(&q, m, v);
    } else {
        gq_third_person(v->base, form);
        put(&q, v->form == GQ_PAST ? head(m, v->chunk) : form);
        put_particle(&q, m, v);
    }
    put_rest(&q, m, v);
    put_definite(&a, m, " this that these those ", chunk(m, m->s.first)->from,
                 chunk(m, m->s.last)->to);
    emit(m, GQ_RULE_SUBJ, m->s.human ? "living" : kind_of(head(m, m->s.first)), &q, &a);
}

/* Is it something that one does? */
static bool is_done(const gq_clause_verb *v)
{
    return v->form != GQ_PASSIVE && v->form != GQ_COPULA &&
           !gq_word_among(v->base, " have be look wear seem appear contain ");
}

static void put_done(text *t, const maker *m)
{
    if (m->s.verb.form == GQ_PROGRESSIVE)
        put_gerund(t, m, &m->s.verb);
    else
        put_base(t, m, &m->s.verb);
    put_rest(t, m, &m->s.verb);
}

/* beside: NULL, or what is done at the same time: "dances while holding a cup". */
static void ask_verb(maker *m, const gq_clause_verb *beside)
{
    const gq_clause_verb *v = &m->s.verb;
    text                  q = {.at = 0}, a = {.at = 0};
    if (!is_done(v))
        return;
    put(&q, "what");
    put(&q, v->form == GQ_PROGRESSIVE ? m->s.be : auxiliary(m));
    put_subject(&q, m, true);
    put(&q, v->form == GQ_PROGRESSIVE ? "doing" : "do");
    if (beside) {
        put(&q, "while");
        put_gerund(&q, m, beside);
        put_rest(&q, m, beside);
    }
    put_done(&a, m);
    emit(m, beside ? GQ_RULE_WHILE : GQ_RULE_VERB, "verb", &q, &a);
}

/* ---- object, place, prepositional object ----------------------------------------------------- */

/* The object: the noun phrase right behind the verb; 0: none to ask for. *last: its end. */
static size_t object_of(const maker *m, size_t *last)
{
    const gq_clause_verb *v = &m->s.verb;
    size_t                k = v->chunk + 1;
    if (k >= v->end || !has_noun(m, k) || is_be_form(v) != (v->form == GQ_PROGRESSIVE) ||
        gq_word_is_time(head(m, k)))
        return 0;
    *last = phrase_end(m, k, v->end);
    if (!strcmp(head(m, k), "thumbs") && !strcmp(first(m, *last + 1), "up"))
        return 0;
    if (*last + 1 < v->end && !is_kind(m, *last + 1, GQ_CHUNK_P) &&
        !is_kind(m, *last + 1, GQ_CHUNK_O))
        return 0; /* two objects, or a verb: "watches a man dance"          */
    return k;
}

static void ask_object(maker *m, size_t k, size_t last)
{
    const gq_clause_verb *v = &m->s.verb;
    text                  q = {.at = 0}, a = {.at = 0};
    if (!k || !strcmp(v->base, "do"))
        return;
    put(&q, gq_word_is_human(head(m, k)) ? "who" : "what");
    put_inverted(&q, m);
    put_words(&q, m->c, chunk(m, last)->to, word_of(m, v->end));
    put_words(&a, m->c, chunk(m, k)->from, chunk(m, last)->to);
    emit(m, GQ_RULE_OBJ, kind_of(head(m, k)), &q, &a);
}

static bool is_place(const maker *m, size_t p)
{
    static const char where[] =
        " in on at inside near behind under beside outside by above below between underneath "
        "against around across beneath among in-front-of ";
    /* "at" says whom or what these are meant for */
    static const char aimed[] = " look stare gaze glare glance peek peer smile laugh point wave "
                                "nod wink pull tug bite chew "
                                "lick sniff scratch paw swat swipe poke kick hit shoot aim throw "
                                "grab bark yell scream shout "
                                "snap clap ";
    const gq_chunk   *c = chunk(m, p);
    if (p > m->s.verb.chunk &&
        ((!strcmp(word(m, c->from), "at") && gq_word_among(m->s.verb.base, aimed)) ||
         (!strcmp(word(m, c->from), "on") &&
          gq_word_among(m->s.verb.base, " chew nibble gnaw suck focus "))))
        return false;
    bool several =
        c->to > c->from + 1 &&
        (gq_word_among(word(m, c->from), " next close inside outside ") ||
         (c->to == c->from + 3 && gq_word_among(word(m, c->from + 1), " front top back ")));
    return (several || (c->to == c->from + 1 && gq_word_among(word(m, c->from), where))) &&
           has_noun(m, p + 1) && (several || gq_word_is_place(head(m, p + 1))) &&
           !(gq_word_among(word(m, c->from), " by at ") && gq_word_is_human(head(m, p + 1)));
}

/* The first preposition behind the verb, or behind its object; 0: none. */
static size_t preposition_of(const maker *m, size_t object, size_t last)
{
    size_t k = object ? last + 1 : m->s.verb.chunk + 1;
    while (k < m->s.verb.end && is_kind(m, k, GQ_CHUNK_O) &&
           m->c->pos[chunk(m, k)->from] == GQ_POS_RB)
        k++;
    return k + 1 < m->s.verb.end && is_kind(m, k, GQ_CHUNK_P) && is_kind(m, k + 1, GQ_CHUNK_NP) ? k
                                                                                                : 0;
}

static void ask_place(maker *m, size_t p)
{
    text   q = {.at = 0}, a = {.at = 0};
    size_t last = phrase_end(m, p + 1, m->s.verb.end);
    if (gq_word_among(word(m, chunk(m, p)->from - 1u), " there here "))
        return;
    put(&q, "where");
    put_inverted(&q, m);
    put_words(&q, m->c, chunk(m, m->s.verb.chunk)->to, chunk(m, p)->from);
    put_words(&a, m->c, chunk(m, p)->from, chunk(m, last)->to);
    emit(m, GQ_RULE_LOC, "phrase", &q, &a);
}

static const char *be_of(const maker *m)
{
    if (is_be_form(&m->s.verb))
        return m->s.be;
    return m->s.verb.form == GQ_PAST ? (m->s.plural ? "were" : "was")
                                     : (m->s.plural ? "are" : "is");
}

/* "a man on a stage sings": where the man is. */
static void ask_place_of_subject(maker *m)
{
    text   q = {.at = 0}, a = {.at = 0};
    size_t p = m->s.last + 1, last;
    if (p + 1 >= m->s.behind || !is_kind(m, p, GQ_CHUNK_P) || !is_place(m, p))
        return;
    last = gq_phrase_end(m->c, p + 1);
    if (gq_word_among(first(m, last + 1), " and or , "))
        return; /* what is joined may be another subject                  */
    put(&q, "where");
    put(&q, be_of(m));
    put_subject(&q, m, false);
    put_words(&a, m->c, chunk(m, p)->from, chunk(m, last)->to);
    emit(m, GQ_RULE_LOC, "phrase", &q, &a);
}

static void ask_prepositional(maker *m, size_t p, bool object)
{
    static const char alone[] =
        " at with to on into for onto from through over against behind past toward towards about ";
    static const char behind_object[] = " at with to into onto through ";
    text              q = {.at = 0}, a = {.at = 0};
    const char       *preposition = first(m, p), *noun = head(m, p + 1);
    if (chunk(m, p)->to != chunk(m, p)->from + 1 || m->s.verb.form == GQ_COPULA ||
        !gq_word_among(preposition, object ? behind_object : alone) || !has_noun(m, p + 1) ||
        gq_word_is_time(noun) ||
        gq_word_among(noun, " side sides hair floor ground music beat back angle ") ||
        (!strcmp(preposition, "with") && gq_word_is_clothing(noun)))
        return;
    size_t last = phrase_end(m, p + 1, m->s.verb.end);
    put(&q, gq_word_is_human(noun) ? "who" : "what");
    put_inverted(&q, m);
    put_words(&q, m->c, chunk(m, m->s.verb.chunk)->to, chunk(m, p)->to);
    put_words(&a, m->c, chunk(m, p + 1)->from, chunk(m, last)->to);
    emit(m, GQ_RULE_PP_OBJ, kind_of(noun), &q, &a);
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* The number of a noun phrase, "two" of "the two men"; the word behind it, 0: none. */
static size_t number_in(const maker *m, size_t k)
{
    size_t at = chunk(m, k)->from;
    if (m->c->pos[at] == GQ_POS_DT)
        at++;
    return at + 1 < chunk(m, k)->to && m->c->pos[at] == GQ_POS_CD &&
                   strcmp(word(m, at), "one") != 0 && m->c->pos[at + 1] != GQ_POS_CD
               ? at + 1
               : 0;
}

static void ask_number_of_subject(maker *m)
{
    const gq_clause_verb *v = &m->s.verb;
    size_t                from = number_in(m, m->s.first);
    text                  q = {.at = 0}, a = {.at = 0};
    gq_pos                p = m->c->pos[chunk(m, v->chunk)->head];
    if (!from || m->s.last != m->s.first || v->form == GQ_COPULA ||
        (is_be_form(v) && gq_word_among(m->s.be, " is was ")) ||
        (v->form == GQ_PRESENT && p == GQ_POS_VBZ))
        return;
    put(&q, "how many");
    put_words(&q, m->c, from, m->s.bare ? chunk(m, m->s.first)->to : chunk(m, m->s.behind)->from);
    if (is_be_form(v)) {
        put(&q, m->s.be);
        put_gerund(&q, m, v);
    } else {
        put(&q, v->form == GQ_PAST ? head(m, v->chunk) : v->base);
        put_particle(&q, m, v);
    }
    put_rest(&q, m, v);
    put(&a, word(m, from - 1));
    emit(m, GQ_RULE_NUMBER, "number", &q, &a);
}

static void ask_number_of_object(maker *m, size_t k, size_t last)
{
    size_t from = k ? number_in(m, k) : 0;
    text   q = {.at = 0}, a = {.at = 0};
    if (!from || last != k)
        return;
    put(&q, "how many");
    put_words(&q, m->c, from, chunk(m, k)->to);
    put_inverted(&q, m);
    put_words(&q, m->c, chunk(m, k)->to, word_of(m, m->s.verb.end));
    put(&a, word(m, from - 1));
    emit(m, GQ_RULE_NUMBER, "number", &q, &a);
}

/* ---- colors ---------------------------------------------------------------------------------- */

static bool once(const maker *m, const char *noun)
{
    char   base[GQ_WN_WORD], other[GQ_WN_WORD];
    size_t times = 0;
    gq_wordnet_noun(noun, base);
    for (size_t k = 0; k < m->c->words.n; k++) {
        gq_wordnet_noun(word(m, k), other);
        times += !strcmp(base, other);
    }
    return times == 1;
}

static void ask_color(maker *m, size_t k)
{
    const gq_chunk *np = chunk(m, k);
    size_t          from = np->from, to;
    text            q = {.at = 0}, a = {.at = 0};
    if (!has_noun(m, k) || gq_word_is_human(head(m, k)) || gq_word_is_color(head(m, k)) ||
        !once(m, head(m, k)))
        return;
    while (from < np->head && !gq_word_is_color(word(m, from)))
        from++;
    for (to = from;
         to < np->head && (gq_word_is_color(word(m, to)) || gq_word_among(word(m, to), " and , "));
         to++)
        ;
    for (size_t w = np->from; w <= np->head; w++)
        if (m->c->pos[w] == GQ_POS_POSS ||
            (w >= to && (gq_word_is_color(word(m, w)) || gq_word_among(word(m, w), " and , "))))
            return;
    if (from == np->head || !gq_word_is_color(word(m, to - 1)))
        return;
    if (from > np->from && gq_word_among(word(m, from - 1), " light dark bright "))
        from--;
    put(&q, "what is the color of the");
    put_words(&q, m->c, to, np->head + 1u);
    put_words(&a, m->c, from, to);
    emit(m, GQ_RULE_COLOR, "color", &q, &a);
}

/* ---- clothes --------------------------------------------------------------------------------- */

/* The noun phrase behind "in", "wearing" and the like, which begin with chunk k; 0: none. */
static size_t worn(const maker *m, size_t k, bool subject)
{
    if (gq_word_among(first(m, k), " who that ") &&
        gq_word_among(first(m, k + 1), " is are was were "))
        k++;
    if (is_kind(m, k, GQ_CHUNK_V) && gq_word_among(head(m, k), " dressed wearing "))
        k += !strcmp(head(m, k), "dressed");
    else if (!is_kind(m, k, GQ_CHUNK_P) ||
             !gq_word_among(first(m, k), subject ? " in with " : " in "))
        return 0;
    return has_noun(m, k + 1) && gq_phrase_end(m->c, k + 1) == k + 1 ? k + 1 : 0;
}

/* Only colors, "all black": where they begin; else the end of the phrase. */
static size_t only_colors(const maker *m, size_t k)
{
    size_t from = chunk(m, k)->from + !strcmp(first(m, k), "all");
    for (size_t w = from; w < chunk(m, k)->to; w++)
        if (!gq_word_is_color(word(m, w)) && strcmp(word(m, w), "and") != 0)
            return chunk(m, k)->to;
    return from;
}

/* What the people of the noun phrase from chunk k to chunk `end` wear; before chunk `limit`. */
static void ask_wear(maker *m, size_t k, size_t end, bool plural, size_t limit)
{
    size_t      w = worn(m, end + 1, k == m->s.first), last = w;
    const char *ask = "what";
    text        q = {.at = 0}, a = {.at = 0};
    if (!w || w >= limit)
        return;
    size_t from = only_colors(m, w);
    if (from < chunk(m, w)->to)
        ask = "what color";
    else if (!gq_word_is_clothing(head(m, w)))
        return;
    else
        from = chunk(m, w)->from;
    while (last + 2 < limit && gq_word_among(first(m, last + 1), " and , ") &&
           has_noun(m, last + 2) && gq_word_is_clothing(head(m, last + 2)))
        last += 2;
    put(&q, ask);
    put(&q, plural ? "are" : "is");
    put_definite(&q, m, " a an some this that these those ", chunk(m, k)->from, chunk(m, end)->to);
    put(&q, "wearing");
    put_words(&a, m->c, from, chunk(m, last)->to);
    emit(m, ask[4] ? GQ_RULE_COLOR : GQ_RULE_WEAR, ask[4] ? "color" : "noun", &q, &a);
}

static void ask_wear_of_subject(maker *m)
{
    if (gq_word_is_living(head(m, m->s.first)) || m->s.human)
        ask_wear(m, m->s.first, m->s.last, m->s.plural, m->s.behind);
}

/* Of people whom the verb brings: "kisses a girl in a red dress". */
static void ask_wear_of_others(maker *m)
{
    for (size_t k = m->s.verb.chunk + 1; k < m->s.verb.end; k++) {
        gq_pos p = has_noun(m, k) ? m->c->pos[chunk(m, k)->from] : GQ_POS_OTHER;
        if ((p == GQ_POS_DT || p == GQ_POS_CD) && gq_word_is_human(head(m, k)) &&
            !gq_word_among(first(m, k), " another each ") && once(m, head(m, k)))
            ask_wear(m, k, k, m->c->pos[chunk(m, k)->head] == GQ_POS_NNS, m->s.verb.end);
    }
}

/* ---- two verbs ------------------------------------------------------------------------------- */

static void ask_while(maker *m)
{
    text q = {.at = 0}, a = {.at = 0};
    if (m->s.verb.form != GQ_PROGRESSIVE || m->s.then)
        return;
    put(&q, "what");
    put(&q, m->s.be);
    put_subject(&q, m, true);
    put(&q, "doing while");
    put_gerund(&q, m, &m->s.verb);
    put_rest(&q, m, &m->s.verb);
    put_gerund(&a, m, &m->s.second);
    put_rest(&a, m, &m->s.second);
    emit(m, GQ_RULE_WHILE, "verb", &q, &a);
}

/* What happens after (before) the one verb: the other. */
static void ask_order(maker *m, gq_rule rule, const gq_clause_verb *known,
                      const gq_clause_verb *asked)
{
    text q = {.at = 0}, a = {.at = 0};
    bool past = m->s.verb.form == GQ_PAST || gq_word_among(m->s.be, " was were ");
    put(&q, "what");
    put(&q, is_be_form(&m->s.verb) ? (past ? "did" : m->s.plural ? "do" : "does") : auxiliary(m));
    put_subject(&q, m, true);
    put(&q, "do");
    put(&q, gq_rule_name(rule));
    put_gerund(&q, m, known);
    put_rest(&q, m, known);
    put_base(&a, m, asked);
    put_rest(&a, m, asked);
    emit(m, rule, "verb", &q, &a);
}

static void ask_orders(maker *m)
{
    static const char lasting[] = " wear have hold sit stand look be seem appear ";
    gq_verb_form      form = m->s.verb.form;
    if (form == GQ_PASSIVE || form == GQ_COPULA || (form == GQ_PROGRESSIVE && !m->s.then) ||
        gq_word_among(m->s.verb.base, lasting) || gq_word_among(m->s.second.base, lasting))
        return;
    ask_order(m, GQ_RULE_AFTER, &m->s.verb, &m->s.second);
    ask_order(m, GQ_RULE_BEFORE, &m->s.second, &m->s.verb);
}

/* ---- all of them ----------------------------------------------------------------------------- */

/* The subject and what stands behind the verb; of the clause's own verb also the verb itself. */
static void ask_parts(maker *m, bool own)
{
    size_t last = 0, object = object_of(m, &last), p = preposition_of(m, object, last);
    ask_subject(m);
    if (own)
        ask_verb(m, NULL);
    ask_object(m, object, last);
    if (p && is_place(m, p))
        ask_place(m, p);
    else if (p)
        ask_prepositional(m, p, object != 0);
    if (own)
        ask_number_of_subject(m);
    ask_number_of_object(m, object, last);
}

/* Does "him" or "it" stand from this word on, before the end of the verb? In a later part of a
 * caption it means somebody whom the question does not name, and so does "his" without a living
 * subject. */
static bool points_back(const maker *m, size_t from, const gq_clause_verb *v)
{
    bool living = m->s.human || gq_word_is_living(head(m, m->s.first));
    for (size_t w = from; w < word_of(m, v->end); w++)
        if ((m->c->pos[w] == GQ_POS_PRP && !strstr(word(m, w), "sel")) ||
            (m->c->pos[w] == GQ_POS_PRPS && !living))
            return true;
    return false;
}

/* With another verb of the same subject in the place of the first. */
static void ask_parts_of(maker *m, const gq_clause_verb *v)
{
    if (points_back(m, chunk(m, v->chunk)->to, v))
        return;
    gq_clause_verb verb = m->s.verb;
    m->s.verb = *v;
    ask_parts(m, false);
    m->s.verb = verb;
}

static void ask_clause(maker *m)
{
    gq_clause inner, whole = m->s;
    ask_parts(m, true);
    ask_place_of_subject(m);
    ask_wear_of_subject(m);
    ask_wear_of_others(m);
    if (m->s.second.chunk) {
        ask_while(m);
        ask_orders(m);
        ask_parts_of(m, &m->s.second);
    }
    if (m->s.beside.chunk)
        ask_verb(m, &m->s.beside);
    if (gq_clause_inner(m->c, &whole, &inner) && !gq_word_among(inner.verb.base, " wear dress ")) {
        m->s = inner;
        ask_parts(m, false);
        m->s = whole;
    }
}

/* May "the man" be said of the subject of a later clause? */
static bool is_one(const maker *m)
{
    const gq_chunk *np = chunk(m, m->s.first);
    return once(m, word(m, np->head)) || gq_word_among(word(m, np->from), " another ") ||
           (np->to > np->from + 2 && !strcmp(word(m, np->from + 1u), "other"));
}

size_t gq_rules(const gq_caption *c, gq_generated *out, const char **why)
{
    maker  m = {.c = c, .out = out};
    size_t next = 0;
    *why = gq_clause_read(c, 0, &m.s);
    if (!*why) {
        ask_clause(&m);
        next = gq_clause_next(c, &m.s);
    }
    for (; next && !gq_clause_read(c, next, &m.s); next = gq_clause_next(c, &m.s))
        if (is_one(&m) && !points_back(&m, c->chunk[m.s.first].from, &m.s.verb))
            ask_clause(&m);
    for (size_t k = 0; k < c->chunks; k++)
        ask_color(&m, k);
    return m.n;
}
