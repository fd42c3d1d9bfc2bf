#include "data/qagen/chunk_private.h"

#include <string.h>

#include "data/qagen/lexicon.h"

static const struct {
    const char *name, *tag;
} poses[GQ_POS_COUNT] = {
#define GQ_POS_NAMES(name, tag) {#name, tag},
    GQ_POS_LIST(GQ_POS_NAMES)
#undef GQ_POS_NAMES
};

const char *gq_pos_name(gq_pos p)
{
    return poses[p].tag;
}

const char *gq_chunk_name(gq_chunk_kind k)
{
    static const char *const name[] = {"NP", "V", "P", "O"};
    return name[k];
}

void gq_chunker_begin(gq_chunker *c, const gq_tagger *tagger)
{
    c->tagger = tagger;
    for (int t = 0; t < gq_tagger_tags(tagger); t++) {
        const char *name = gq_tagger_name(tagger, t);
        c->pos[t] = !strcmp(name, "NNP")    ? GQ_POS_NN
                    : !strcmp(name, "NNPS") ? GQ_POS_NNS
                    : !strcmp(name, "RBS")  ? GQ_POS_RBR
                                            : GQ_POS_OTHER;
        for (int p = 0; p < GQ_POS_OTHER; p++)
            if (!strcmp(name, poses[p].tag))
                c->pos[t] = (gq_pos)p;
    }
}

/* ---- noun phrases ---------------------------------------------------------------------------- */

static gq_pos pos(const gq_caption *c, size_t k)
{
    return k < c->words.n ? c->pos[k] : GQ_POS_STOP;
}
static const char *word(const gq_caption *c, size_t k)
{
    return k < c->words.n ? c->words.word[k] : "";
}

static bool is_adjective(gq_pos p)
{
    return p == GQ_POS_JJ || p == GQ_POS_JJR || p == GQ_POS_JJS;
}
static bool names(gq_pos p)
{
    return gq__is_noun(p) || is_adjective(p);
}

/* May word k stand within a noun phrase that began at `from`, before its noun? */
static bool modifies(const gq_caption *c, size_t from, size_t k)
{
    gq_pos last = k > from ? c->pos[k - 1] : GQ_POS_OTHER;
    bool   opened = k > from &&
                  (last == GQ_POS_DT || last == GQ_POS_PRPS || last == GQ_POS_POSS ||
                   is_adjective(last) || (last == GQ_POS_CD && strcmp(word(c, k - 1), "one") != 0));
    switch (c->pos[k]) {
    case GQ_POS_DT:
    case GQ_POS_PDT:
    case GQ_POS_PRPS:
        return k == from || last == GQ_POS_PDT ||
               (last == GQ_POS_DT && k == from + 1 && strcmp(word(c, from), "all") == 0);
    case GQ_POS_CD:
        return k == from || opened || last == GQ_POS_DT;
    case GQ_POS_JJ:
    case GQ_POS_JJR:
    case GQ_POS_JJS:
        return k == from || !gq__is_noun(last) || names(pos(c, k + 1));
    case GQ_POS_NN:
    case GQ_POS_NNS:
        return true;
    case GQ_POS_VBG:
    case GQ_POS_VBN:
        return opened && names(pos(c, k + 1));
    case GQ_POS_RB:
        return is_adjective(pos(c, k + 1)) &&
               (k == from ? gq__is_noun(pos(c, k + 2)) : !gq__is_noun(last));
    case GQ_POS_CC:
        return is_adjective(last) && is_adjective(pos(c, k + 1)) && names(pos(c, k + 2));
    case GQ_POS_COMMA:
        return is_adjective(last) && is_adjective(pos(c, k + 1)) && names(pos(c, k + 2));
    case GQ_POS_HYPH:
        return k > from && names(pos(c, k + 1));
    case GQ_POS_POSS:
        return gq__is_noun(last) &&
               (names(pos(c, k + 1)) || pos(c, k + 1) == GQ_POS_CD || pos(c, k + 1) == GQ_POS_VBG);
    default:
        return false;
    }
}

/* The end of the noun phrase that begins at `from`, and its head; 0: there is none. */
static size_t noun_phrase(const gq_caption *c, size_t from, size_t *head)
{
    size_t k = from, end = 0;
    *head = from;
    if (c->pos[from] == GQ_POS_PRP || c->pos[from] == GQ_POS_EX)
        return from + 1;
    for (; k < c->words.n && modifies(c, from, k); k++)
        if (gq__is_noun(c->pos[k])) {
            end = k + 1;
            *head = k;
        }
    if (end)
        return end;
    /* without a noun: "one", "another", "the other", "in red" */
    if (k > from && (c->pos[from] == GQ_POS_DT || c->pos[from] == GQ_POS_CD) &&
        (is_adjective(c->pos[k - 1]) || k == from + 1) && strcmp(word(c, from), "a") != 0) {
        *head = k - 1;
        return k;
    }
    return 0;
}

/* ---- verbs and prepositions ------------------------------------------------------------------ */

static size_t skip_adverbs(const gq_caption *c, size_t k)
{
    while (pos(c, k) == GQ_POS_RB)
        k++;
    return k;
}

static bool is(const char *w, const char *a, const char *b, const char *d)
{
    return !strcmp(w, a) || !strcmp(w, b) || !strcmp(w, d);
}

/* May the verb at k, in this form, be helped by the auxiliary at `aux`? */
static bool helped(const gq_caption *c, size_t aux, size_t k)
{
    const char *w = word(c, aux);
    gq_pos      p = pos(c, k);
    if (c->pos[aux] == GQ_POS_MD || c->pos[aux] == GQ_POS_TO || is(w, "do", "does", "did"))
        return p == GQ_POS_VB || p == GQ_POS_VBP;
    if (gq__is_be(w))
        return p == GQ_POS_VBG || p == GQ_POS_VBN;
    return is(w, "has", "have", "had") && p == GQ_POS_VBN;
}

static size_t verb_group(const gq_caption *c, size_t from, size_t *head)
{
    size_t k = from;
    *head = from;
    if (c->pos[from] == GQ_POS_TO) {
        size_t next = skip_adverbs(c, from + 1);
        if (pos(c, next) != GQ_POS_VB && pos(c, next) != GQ_POS_VBP)
            return 0;
        k = *head = next;
    } else if (c->pos[from] != GQ_POS_MD && !gq__is_verb(c->pos[from])) {
        return 0;
    }
    for (size_t next; (next = skip_adverbs(c, k + 1)) < c->words.n && helped(c, k, next); k = next)
        *head = next;
    if (pos(c, k + 1) == GQ_POS_RP)
        k++;
    else if (pos(c, k + 1) == GQ_POS_IN && gq__is_verb(c->pos[k]) &&
             (pos(c, k + 2) == GQ_POS_STOP || pos(c, k + 2) == GQ_POS_CC ||
              pos(c, k + 2) == GQ_POS_COMMA) &&
             strcmp(word(c, k + 1), "as") && strcmp(word(c, k + 1), "while"))
        k++; /* "looks around ." */
    return k + 1;
}

static const char *const several[][4] = {
    {"in", "front", "of"}, {"on", "top", "of"},  {"in", "back", "of"}, {"next", "to"},
    {"out", "of"},         {"close", "to"},      {"along", "with"},    {"away", "from"},
    {"up", "to"},          {"because", "of"},    {"instead", "of"},    {"off", "of"},
    {"inside", "of"},      {"outside", "of"},    {"ahead", "of"},      {"in", "between"},
    {"down", "to"},        {"together", "with"}, {"across", "from"},   {"up", "and", "down"},
};

/* Words of the preposition at `from`; 0: there is none. */
static size_t preposition(const gq_caption *c, size_t from)
{
    static const char clauses[] =
        " while as because if that since so though although until whether than ";
    const char *w = word(c, from);
    for (size_t s = 0; s < sizeof several / sizeof *several; s++) {
        size_t n = 0;
        while (n < 4 && several[s][n] && !strcmp(word(c, from + n), several[s][n]))
            n++;
        if (n > 1 && (n == 4 || !several[s][n]))
            return n;
    }
    if (c->pos[from] == GQ_POS_TO)
        return 1;
    if (c->pos[from] == GQ_POS_RB &&
        gq_word_among(w, " down up along around across over through off in on ") &&
        (pos(c, from + 1) == GQ_POS_DT || pos(c, from + 1) == GQ_POS_PRPS))
        return 1; /* "ride their bicycles down a road" */
    if (c->pos[from] != GQ_POS_IN && c->pos[from] != GQ_POS_RP)
        return 0;
    return !gq_word_among(w, clauses);
}

/* ---- the caption ----------------------------------------------------------------------------- */

static void add(gq_caption *c, gq_chunk_kind kind, size_t from, size_t to, size_t head)
{
    c->chunk[c->chunks++] = (gq_chunk){kind, (uint8_t)from, (uint8_t)to, (uint8_t)head};
}

static void make_chunks(gq_caption *c)
{
    c->chunks = 0;
    for (size_t k = 0, to, head; k < c->words.n; k = to) {
        if ((to = preposition(c, k)))
            to += k;
        if (to > k + 1)
            add(c, GQ_CHUNK_P, k, to, k);
        else if ((to = noun_phrase(c, k, &head)))
            add(c, GQ_CHUNK_NP, k, to, head);
        else if ((to = verb_group(c, k, &head)))
            add(c, GQ_CHUNK_V, k, to, head);
        else if (preposition(c, k))
            add(c, GQ_CHUNK_P, k, to = k + 1, k);
        else
            add(c, GQ_CHUNK_O, k, to = k + 1, k);
    }
}

bool gq_chunker_read(const gq_chunker *chunker, const char *text, gq_caption *out)
{
    uint8_t tag[GQ_WORDS];
    out->chunks = 0;
    if (!gq_words_split(text, &out->words) || !out->words.n)
        return false;
    gq_tagger_run(chunker->tagger, out->words.word, out->words.n, tag);
    for (size_t k = 0; k < out->words.n; k++) {
        out->pos[k] = chunker->pos[tag[k]];
        out->repaired[k] = false;
    }
    gq__repair(out);
    make_chunks(out);
    return true;
}

bool gq_caption_text(const gq_caption *c, size_t from, size_t to, char *out, size_t room)
{
    size_t at = 0;
    out[0] = 0;
    for (size_t k = from; k < to; k++) {
        const char *w = c->words.word[k];
        gq_pos      p = c->pos[k];
        bool        close = k == from || p == GQ_POS_COMMA || p == GQ_POS_STOP || w[0] == '\'' ||
                     !strcmp(w, "n't") || (c->words.glued[k] && p == GQ_POS_HYPH);
        size_t n = strlen(w);
        if (at + !close + n + 1 > room)
            return false;
        if (!close)
            out[at++] = ' ';
        memcpy(out + at, w, n + 1);
        at += n;
    }
    return true;
}

/* ---- looking at chunks ----------------------------------------------------------------------- */

bool gq__is_kind(const gq_caption *c, size_t k, gq_chunk_kind kind)
{
    return k < c->chunks && c->chunk[k].kind == kind;
}

const char *gq__first(const gq_caption *c, size_t k)
{
    return k < c->chunks ? c->words.word[c->chunk[k].from] : "";
}

bool gq__is_other(const gq_caption *c, size_t k, const char *list)
{
    return gq__is_kind(c, k, GQ_CHUNK_O) && gq_word_among(gq__first(c, k), list);
}

bool gq__is_finite(const gq_caption *c, size_t k)
{
    if (!gq__is_kind(c, k, GQ_CHUNK_V))
        return false;
    gq_pos p = c->pos[c->chunk[k].from];
    return p == GQ_POS_VBZ || p == GQ_POS_VBP || p == GQ_POS_VBD || p == GQ_POS_MD;
}
