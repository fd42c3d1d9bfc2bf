#include "data/qagen/wordnet.h"

#include <stdio.h>
#include <string.h>

#include "data/qagen/wordnet_table.h"

bool gq_wordnet_present(void)
{
    return gq__wordnet_words > 0;
}

unsigned gq_wordnet_find(const char *word, unsigned *noun)
{
    if (noun)
        *noun = 0;
    for (uint32_t k = gq__wordnet_hash(word); gq__wordnet_words; k++) {
        uint32_t row = gq__wordnet_slots[k & (GQ__WORDNET_SLOTS - 1)];
        if (!row)
            break;
        const gq__wordnet_row *r = &gq__wordnet_rows[row - 1];
        if (!strcmp(word, gq__wordnet_text + r->at)) {
            if (noun)
                *noun = r->noun;
            return r->parts;
        }
    }
    return 0;
}

/* ---- base forms ------------------------------------------------------------------------------ */

static const char *exception(const gq__wordnet_pair *pair, size_t n, const char *form)
{
    size_t low = 0;
    while (low < n) {
        size_t k = low + (n - low) / 2;
        int    order = strcmp(form, pair[k].form);
        if (!order)
            return pair[k].lemma;
        if (order < 0)
            n = k;
        else
            low = k + 1;
    }
    return NULL;
}

typedef struct ending {
    const char *from, *to;
} ending;

/* WordNet's rules of detachment (morphy), in its order. */
static const ending noun_endings[] = {{"s", ""},      {"ses", "s"},   {"xes", "x"},   {"zes", "z"},
                                      {"ches", "ch"}, {"shes", "sh"}, {"men", "man"}, {"ies", "y"}};
static const ending verb_endings[] = {{"s", ""},   {"ies", "y"}, {"es", "e"},  {"es", ""},
                                      {"ed", "e"}, {"ed", ""},   {"ing", "e"}, {"ing", ""}};

static bool detach(const char *word, size_t n, const ending *e, unsigned part, char *out)
{
    size_t from = strlen(e->from);
    if (n <= from || strcmp(word + n - from, e->from) != 0)
        return false;
    snprintf(out, GQ_WN_WORD, "%.*s%s", (int)(n - from), word, e->to);
    return gq_wordnet_find(out, NULL) & part;
}

/* A doubled consonant before -ed and -ing that the base has once: "jogging". */
static bool undouble(const char *word, size_t n, char *out)
{
    size_t cut = n > 5 && !strcmp(word + n - 3, "ing")  ? 3
                 : n > 4 && !strcmp(word + n - 2, "ed") ? 2
                                                        : 0;
    if (!cut || word[n - cut - 1] != word[n - cut - 2])
        return false;
    snprintf(out, GQ_WN_WORD, "%.*s", (int)(n - cut - 1), word);
    return gq_wordnet_find(out, NULL) & GQ_WN_VERB;
}

static bool base(const char *word, unsigned part, char out[GQ_WN_WORD])
{
    bool          verb = part == GQ_WN_VERB;
    size_t        n = strlen(word);
    const ending *e = verb ? verb_endings : noun_endings;
    const char   *odd = verb ? exception(gq__wordnet_verbs, gq__wordnet_verbs_pairs, word)
                             : exception(gq__wordnet_nouns, gq__wordnet_nouns_pairs, word);
    if (n < GQ_WN_WORD - 2) {
        if (odd)
            return snprintf(out, GQ_WN_WORD, "%s", odd), true;
        for (size_t k = 0; k < 8; k++)
            if (!(verb == 0 && k == 0 && n > 1 && word[n - 2] == 's') &&
                detach(word, n, &e[k], part, out))
                return true;
        if (verb && undouble(word, n, out))
            return true;
    }
    snprintf(out, GQ_WN_WORD, "%s", word);
    return gq_wordnet_find(out, NULL) & part;
}

bool gq_wordnet_noun(const char *word, char out[GQ_WN_WORD])
{
    return base(word, GQ_WN_NOUN, out);
}
bool gq_wordnet_verb(const char *word, char out[GQ_WN_WORD])
{
    return base(word, GQ_WN_VERB, out);
}
