#include "data/qagen/triples.h"

#include <stdio.h>
#include <string.h>

#include "data/qagen/candidates.h"
#include "data/qagen/chunk_private.h"
#include "data/qagen/lexicon.h"
#include "data/qagen/wordnet.h"

enum { LIST = 6 }; /* joined noun phrases; further ones are left out         */

typedef struct phrase {
    size_t from, to; /* words                                                  */
    size_t head;     /* the word that says what it is: in "group of men", men  */
} phrase;

typedef struct phrases {
    phrase at[LIST];
    size_t n;
} phrases;

typedef struct reader {
    const gq_caption *c;
    gq_triple        *out;
    size_t            n;
    phrases           subject;   /* of the clause                                  */
    phrases           actor;     /* of the verb at hand: those, or a phrase inside */
    phrases           before;    /* the latest noun phrases                        */
    bool              seen;      /* the clause has verbs                           */
    bool              finite;    /* one of them is its own                         */
    bool              relative;  /* "who" stands before                            */
    bool              joined;    /* "and", ",", "while" stand before               */
    bool              verb;      /* there is a verb at hand, and it is             */
    bool              passive;   /* ... in a passive, "be kissed", without which   */
    bool              silent;    /* ... in no triple yet                           */
    char              base[GQ_TRIPLE_TEXT], active[GQ_TRIPLE_TEXT]; /* ... this    */
} reader;

/* ---- noun phrases ---------------------------------------------------------------------------- */

static const char *word(const reader *r, size_t k)
{
    return r->c->words.word[k];
}

/* The phrase at chunk k; *end: its last chunk. */
static phrase phrase_at(const reader *r, size_t k, size_t *end)
{
    const gq_chunk *first = &r->c->chunk[k];
    *end = gq_phrase_end(r->c, k);
    phrase p = {first->from, r->c->chunk[*end].to, first->head};
    if (gq_word_is_living(word(r, first->head)) && *end > k &&
        gq_word_is_living(word(r, r->c->chunk[*end].head)))
        p.head = r->c->chunk[*end].head;
    if (p.from + 1 < p.to && gq_word_among(word(r, p.from), " a an the "))
        p.from++;
    return p;
}

static void add(phrases *list, phrase p)
{
    if (list->n < LIST)
        list->at[list->n++] = p;
}

static bool living(const reader *r, const phrases *list)
{
    return list->n && gq_word_is_living(word(r, list->at[list->n - 1].head));
}

/* Does a clause of its own begin with the noun phrase k, which "and" or "while" joins? */
static bool new_clause(const reader *r, size_t k)
{
    size_t       end;
    const phrase p = phrase_at(r, k, &end);
    size_t       next = end + 1;
    while (gq__is_kind(r->c, next, GQ_CHUNK_P) && gq__is_kind(r->c, next + 1, GQ_CHUNK_NP))
        next = gq_phrase_end(r->c, next + 1) + 1;
    bool alive = gq_word_is_living(word(r, p.head));
    if (gq__is_finite(r->c, next))
        return r->finite || gq__is_other(r->c, k - 1, " then ") || (!r->seen && alive);
    return gq__is_kind(r->c, next, GQ_CHUNK_V) && alive;
}

/* "and", "," or both, before a noun phrase at or behind chunk k: where that is; 0: nowhere. */
static size_t joined_phrase(const reader *r, size_t k)
{
    size_t start = k;
    while (gq__is_other(r->c, k, " and , or "))
        k++;
    return k > start && gq__is_kind(r->c, k, GQ_CHUNK_NP) ? k : 0;
}

/* Noun phrases from chunk k on, joined; the chunk behind them. */
static size_t read_phrases(const reader *r, size_t k, bool subjects, phrases *list)
{
    size_t end;
    list->n = 0;
    add(list, phrase_at(r, k, &end));
    for (size_t next; (next = joined_phrase(r, end + 1));) {
        if (!subjects && new_clause(r, next))
            break;
        add(list, phrase_at(r, next, &end));
    }
    return end + 1;
}

/* ---- whom "he" means ------------------------------------------------------------------------- */

static const char men[] = " man men boy boys guy guys father dad gentleman actor king prince "
                          "husband brother male dude policeman ";
static const char women[] = " woman women girl girls lady ladies mother mom actress queen princess "
                            "wife sister female bride ";

/* Can the pronoun mean it? */
static bool means(const reader *r, const char *pronoun, const phrase *p)
{
    const char *noun = word(r, p->head), *first = word(r, p->from);
    bool        human = gq_word_is_human(noun);
    if (!strcmp(pronoun, "it"))
        return !human;
    if (!strcmp(pronoun, "they"))
        return r->c->pos[p->head] == GQ_POS_NNS || gq_word_among(noun, " people couple group ") ||
               (r->c->pos[p->from] == GQ_POS_CD && strcmp(first, "one") != 0);
    return human && !gq_word_among(noun, strcmp(pronoun, "he") ? men : women);
}

/* The first noun phrase before the pronoun that can be meant; the pronoun itself without one. */
static phrase person(const reader *r, phrase pronoun)
{
    const char *w = word(r, pronoun.head);
    if (!gq_word_among(w, " he she it they "))
        return pronoun;
    for (size_t k = 0, end; k < r->c->chunks && r->c->chunk[k].from < pronoun.from; k = end + 1) {
        end = k;
        if (!gq__is_kind(r->c, k, GQ_CHUNK_NP))
            continue;
        phrase p = phrase_at(r, k, &end);
        if (gq__is_noun(r->c->pos[p.head]) && means(r, w, &p))
            return p;
    }
    return pronoun;
}

static void begin_clause(reader *r, const phrases *subjects)
{
    r->subject = *subjects;
    for (size_t k = 0; k < r->subject.n; k++)
        r->subject.at[k] = person(r, r->subject.at[k]);
    r->actor = r->before = r->subject;
    r->seen = r->finite = r->verb = r->relative = false;
}

/* ---- triples --------------------------------------------------------------------------------- */

static void emit(reader *r, const phrase *subject, const char *verb, const char *preposition,
                 const phrase *object)
{
    if (r->n == GQ_TRIPLES)
        return;
    gq_triple *t = &r->out[r->n];
    t->object[0] = 0;
    int n = snprintf(t->predicate, sizeof t->predicate, "%s%s%s", verb, *preposition ? " " : "",
                     preposition);
    r->n += n < (int)sizeof t->predicate &&
            gq_caption_text(r->c, subject->from, subject->to, t->subject, sizeof t->subject) &&
            (!object ||
             gq_caption_text(r->c, object->from, object->to, t->object, sizeof t->object));
}

static void emit_all(reader *r, const char *preposition, const phrases *objects)
{
    for (size_t s = 0; s < r->actor.n; s++)
        for (size_t o = 0; o < objects->n; o++)
            emit(r, &r->actor.at[s], r->base, preposition, &objects->at[o]);
    r->silent = false;
}

/* The verb at hand is done: without an object it is a triple all the same. */
static void end_verb(reader *r)
{
    for (size_t s = 0; r->verb && r->silent && s < r->actor.n; s++)
        emit(r, &r->actor.at[s], r->base, "", NULL);
    r->verb = false;
}

/* "is kissed by a woman": a woman, kiss. */
static void emit_turned(reader *r, const phrases *agents)
{
    for (size_t a = 0; a < agents->n; a++)
        for (size_t s = 0; s < r->actor.n; s++)
            emit(r, &agents->at[a], r->active, "", &r->actor.at[s]);
    r->silent = false;
}

/* ---- verbs ----------------------------------------------------------------------------------- */

static void append(char to[GQ_TRIPLE_TEXT], const char *text)
{
    size_t n = strlen(to);
    snprintf(to + n, GQ_TRIPLE_TEXT - n, "%s%s", n ? " " : "", text);
}

/* Base, or as it stands, and particle of the group k, behind what is in `to` already. */
static void append_verb(const reader *r, size_t k, bool as_it_stands, char to[GQ_TRIPLE_TEXT])
{
    const gq_chunk *g = &r->c->chunk[k];
    char            base[GQ_WN_WORD];
    const char     *verb = word(r, g->head);
    if (gq__is_be(verb))
        verb = "be";
    else if (!as_it_stands && gq_word_is_verb(verb, base))
        verb = base;
    append(to, verb);
    for (size_t w = g->head + 1u; w < g->to; w++)
        append(to, word(r, w));
}

/* "tries to open", "starts dancing": does the group k go on with the verb at hand? */
static bool continues(const reader *r, size_t k)
{
    if (!r->verb || !r->silent || r->joined || !gq__is_kind(r->c, k - 1, GQ_CHUNK_V))
        return false;
    gq_pos p = r->c->pos[r->c->chunk[k].from];
    return p == GQ_POS_TO ||
           (p == GQ_POS_VBG &&
            gq_word_among(r->base, " start begin keep stop continue finish try enjoy "));
}

/* Who does what the group k says. */
static void choose_actor(reader *r, size_t k)
{
    gq_pos p = r->c->pos[r->c->chunk[k].from];
    bool   inside = k && r->seen && !r->joined && gq__is_kind(r->c, k - 1, GQ_CHUNK_NP);
    bool   told = gq_word_among(r->base, " get make let ask tell force help teach cause want ");
    if (r->relative) {
        const gq_chunk *who = &r->c->chunk[k - 1];
        r->actor = strcmp(word(r, who->from), "who") || living(r, &r->before) ? r->before
                                                                              : r->subject;
    } else if (gq__is_finite(r->c, k)) {
        if (r->joined && r->seen && !r->finite)
            return; /* "a man who wears a hat and smiles ..."                */
        r->actor = r->subject;
        r->finite = true;
    } else if (inside && (p != GQ_POS_TO || told) &&
               (p == GQ_POS_VBN || living(r, &r->before))) {
        r->actor = r->before; /* "sits on a horse eating hay", "gets a man to dance"    */
    }
}

/* "there is a man dancing", "this is a cat that runs": the man, the cat begin a clause. The chunk
 * behind them; 0: this is something else. */
static size_t presented(reader *r, size_t k)
{
    const gq_chunk *g = &r->c->chunk[k];
    phrases         list;
    if (r->subject.n != 1 || r->seen || g->from != g->head || !gq__is_be(word(r, g->head)))
        return 0;
    const char *who = word(r, r->subject.at[0].head);
    size_t      of = !strcmp(gq__first(r->c, k + 1), "of") && gq_word_is_picture(who);
    if (!gq__is_kind(r->c, k + of + 1, GQ_CHUNK_NP) ||
        (!of && !gq_word_among(who, " there this that it these those here ")))
        return 0;
    k = read_phrases(r, k + of + 1, true, &list);
    begin_clause(r, &list);
    return k;
}

/* The group k; the chunk behind it. */
static size_t read_verb(reader *r, size_t k)
{
    const gq_chunk *g = &r->c->chunk[k];
    gq_pos          p = r->c->pos[g->from];
    size_t          next = presented(r, k);
    if (next)
        return next;
    if (continues(r, k)) {
        if (p == GQ_POS_TO)
            append(r->base, "to");
        append_verb(r, k, p == GQ_POS_VBG, r->base);
        return k + 1;
    }
    end_verb(r);
    choose_actor(r, k);
    r->relative = false;
    r->seen = r->verb = r->silent = true;
    r->passive = r->c->pos[g->head] == GQ_POS_VBN &&
                 (g->from == g->head || gq__is_be(word(r, g->from)) || p == GQ_POS_MD);
    r->base[0] = r->active[0] = 0;
    for (size_t w = g->from; w < g->head; w++)
        if (gq_word_among(word(r, w), " not n't "))
            append(r->base, "not");
    snprintf(r->active, sizeof r->active, "%s", r->base);
    append_verb(r, k, false, r->active);
    if (r->passive)
        append(r->base, "be");
    append_verb(r, k, r->passive, r->base);
    return k + 1;
}

/* ---- what follows verbs ---------------------------------------------------------------------- */

static bool is_time(const reader *r, const phrase *p)
{
    const char *noun = word(r, p->head);
    return (gq_word_is_time(noun) && !gq_word_is_place(noun)) ||
           gq_word_among(noun, " time times while ");
}

/* Noun phrases at chunk k right behind the verb; the chunk behind them. */
static size_t read_object(reader *r, size_t k)
{
    static const char giving[] = " give show hand throw offer feed teach send pass bring buy ";
    phrases           list, to;
    k = read_phrases(r, k, false, &list);
    if (is_time(r, &list.at[0]))
        return k;
    r->before = list;
    if (gq_word_among(r->base, giving) && gq__is_kind(r->c, k, GQ_CHUNK_NP)) {
        to = list;
        k = read_phrases(r, k, false, &list);
        emit_all(r, "", &list);
        emit_all(r, "to", &to);
        r->before = list;
        return k;
    }
    emit_all(r, "", &list);
    return k;
}

/* "turns around and ...": the chunk k right behind the verb may belong to it. */
static void read_particle(reader *r, size_t k)
{
    static const char particles[] =
        " around up down away off out back over forward backwards ";
    if (r->verb && r->silent && k && gq__is_kind(r->c, k - 1, GQ_CHUNK_V) &&
        gq_word_among(gq__first(r->c, k), particles)) {
        append(r->base, gq__first(r->c, k));
        append(r->active, gq__first(r->c, k));
    }
}

/* "kisses a girl in a hat": the hat is the girl's; "a car without a roof". */
static bool belongs_to_noun(const reader *r, size_t k, const char *preposition,
                            const phrases *objects)
{
    bool none = !strcmp(preposition, "without") ||
                (!strcmp(preposition, "with") && !strcmp(gq__first(r->c, k + 1), "no"));
    return !strcmp(preposition, "of") || (none && k && gq__is_kind(r->c, k - 1, GQ_CHUNK_NP)) ||
           (!r->silent && gq_word_among(preposition, " in with ") && living(r, &r->before) &&
            gq_word_is_clothing(word(r, objects->at[0].head)));
}

/* "while" at chunk k; the chunk behind it. */
static size_t read_while(reader *r, size_t k)
{
    end_verb(r);
    r->actor = r->subject;
    r->joined = true;
    return k + 1;
}

/* "arm in arm", "side by side" at chunk k: the chunk behind it; 0: something else stands there. */
static size_t read_twice(const reader *r, size_t k)
{
    const gq_chunk *a = &r->c->chunk[k];
    return gq__is_kind(r->c, k + 1, GQ_CHUNK_P) && gq__is_kind(r->c, k + 2, GQ_CHUNK_NP) &&
                   a->to == a->from + 1 && r->c->chunk[k + 2].to == r->c->chunk[k + 2].from + 1 &&
                   !strcmp(word(r, a->from), gq__first(r->c, k + 2))
               ? k + 3
               : 0;
}

/* The preposition (or "as") at chunk k with what it brings; the chunk behind. */
static size_t read_preposition(reader *r, size_t k)
{
    const gq_chunk *p = &r->c->chunk[k];
    char            text[GQ_TRIPLE_TEXT];
    phrases         list = {.n = 0};
    size_t          next = k + 1;
    if (gq__is_kind(r->c, next, GQ_CHUNK_NP)) {
        next = read_phrases(r, next, false, &list);
    } else if (gq__is_kind(r->c, next, GQ_CHUNK_O) && gq_word_is_color(gq__first(r->c, next))) {
        const gq_chunk *color = &r->c->chunk[next++];
        add(&list, (phrase){color->from, color->to, color->head});
    } else {
        if (gq__is_kind(r->c, next, GQ_CHUNK_V))
            r->joined = true; /* "by pulling ..."                                       */
        else
            read_particle(r, k);
        return next;
    }
    if (!gq_caption_text(r->c, p->from, p->to, text, sizeof text))
        return next;
    if (!strcmp(text, "whilst"))
        return read_while(r, k);
    if (r->verb && r->passive && !strcmp(text, "by"))
        emit_turned(r, &list);
    else if (r->verb && !is_time(r, &list.at[0]) && !belongs_to_noun(r, k, text, &list))
        emit_all(r, text, &list);
    r->before = list;
    r->joined = false;
    return next;
}

/* A noun phrase at chunk k that is no object and behind no preposition; the chunk behind it. */
static size_t read_noun(reader *r, size_t k)
{
    phrases list;
    size_t  next = read_twice(r, k);
    if (next)
        return next;
    if (!r->subject.n || (r->joined && r->seen && new_clause(r, k))) {
        end_verb(r);
        k = read_phrases(r, k, true, &list);
        begin_clause(r, &list);
        return k;
    }
    if (r->verb && r->silent && !r->joined)
        return read_object(r, k);
    k = read_phrases(r, k, false, &list);
    if (!r->seen && r->joined && living(r, &list)) /* "a man in a hat and a woman"        */
        for (size_t s = 0; s < list.n; s++)
            add(&r->subject, list.at[s]);
    r->before = list;
    return k;
}

/* A word in no chunk; the chunk behind it, or behind what it brings. */
static size_t read_other(reader *r, size_t k)
{
    const char *w = gq__first(r->c, k);
    gq_pos      p = r->c->pos[r->c->chunk[k].from];
    if (gq_word_among(w, " . ; : ! ? ")) {
        end_verb(r);
        begin_clause(r, &(phrases){.n = 0});
    } else if (gq_word_among(w, " and , or but then ")) {
        r->joined = true;
    } else if (gq_word_among(w, " while as when because so until ")) {
        if (!strcmp(w, "as") && r->verb && gq__is_kind(r->c, k + 1, GQ_CHUNK_NP) &&
            !new_clause(r, k + 1))
            return read_preposition(r, k);
        return read_while(r, k);
    } else if (gq_word_among(w, " who that which ")) {
        r->relative = true;
    } else if (r->verb && r->silent && !strcmp(r->base, "be") &&
               (p == GQ_POS_JJ || p == GQ_POS_JJR)) {
        phrases list = {.n = 0};
        add(&list, (phrase){r->c->chunk[k].from, r->c->chunk[k].to, r->c->chunk[k].head});
        emit_all(r, "", &list);
    } else {
        read_particle(r, k);
    }
    return k + 1;
}

size_t gq_triples(const gq_caption *c, gq_triple *out)
{
    reader r = {.c = c, .out = out};
    for (size_t k = 0, next; k < c->chunks; k = next) {
        switch (c->chunk[k].kind) {
        case GQ_CHUNK_V:
            next = read_verb(&r, k);
            r.joined = false;
            break;
        case GQ_CHUNK_NP:
            next = read_noun(&r, k);
            r.joined = false;
            break;
        case GQ_CHUNK_P:
            next = read_preposition(&r, k);
            break;
        default:
            next = read_other(&r, k);
        }
    }
    end_verb(&r);
    return r.n;
}
