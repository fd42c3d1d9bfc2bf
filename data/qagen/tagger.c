#include "data/qagen/tagger_private.h"

#include <string.h>

#include "core/mem.h"
#include "data/qagen/wordnet.h"

/* ---- features -------------------------------------------------------------------------------- */

static uint32_t mix(uint32_t h, uint32_t x)
{
    h = (h ^ x) * 0x9E3779B1u;
    return h ^ (h >> 15);
}

static uint32_t hash_bytes(const char *p, size_t n)
{
    uint32_t h = 2166136261u;
    for (size_t k = 0; k < n; k++)
        h = (h ^ (uint8_t)p[k]) * 16777619u;
    return mix(h, (uint32_t)n);
}

enum { DIGIT = 1, HYPHEN = 2, MARK = 4, LETTER = 8, BEYOND = 16 };

static uint32_t shape_of(const char *p, size_t n)
{
    uint32_t shape = 0;
    for (size_t k = 0; k < n; k++)
        shape |= p[k] >= '0' && p[k] <= '9'   ? DIGIT
                 : p[k] >= 'a' && p[k] <= 'z' ? LETTER
                 : p[k] & 0x80                ? BEYOND
                 : p[k] == '-'                ? HYPHEN
                                              : MARK;
    return shape;
}

/* What WordNet says of the form, and of what it may be an inflected form of. */
static uint32_t parts_of(const char *word, unsigned *noun)
{
    char     base[GQ_WN_WORD];
    uint32_t parts = gq_wordnet_find(word, noun);
    parts |= (uint32_t)gq_wordnet_noun(word, base) << 4;
    return parts | (uint32_t)gq_wordnet_verb(word, base) << 5;
}

void gq__tag_look(const char *word, gq__tag_word *out)
{
    char   low[GQ_CONLLU_FORM + 1];
    size_t n = 0;
    if (!word) {
        *out = (gq__tag_word){.word = 1};
        return;
    }
    for (; word[n] && n < sizeof low - 1; n++)
        low[n] = (char)(word[n] >= 'A' && word[n] <= 'Z' ? word[n] | 32 : word[n]);
    low[n] = 0;
    out->word = hash_bytes(low, n);
    for (size_t k = 0; k < 4; k++)
        out->end[k] = k < n ? hash_bytes(low + n - k - 1, k + 1) : out->word;
    for (size_t k = 0; k < 3; k++)
        out->begin[k] = k < n ? hash_bytes(low, k + 1) : out->word;
    out->shape = shape_of(low, n);
    out->noun = 0;
    out->parts = out->shape == LETTER ? parts_of(low, &out->noun) : 64;
}

int gq__tag_features(const gq__tag_word at[5], int before, int before_that,
                     uint32_t out[GQ__FEATURES])
{
    const gq__tag_word *w = &at[2];
    uint32_t            one = (uint32_t)before + 1, two = (uint32_t)before_that + 1;
    uint32_t            pair = one << 8 | two;
    int                 n = 0;
#define FEATURE(a) out[n] = mix(mix(0xA5u + (uint32_t)n * 0x01000193u, (a)), 7), n++
#define FEATURE2(a, b) out[n] = mix(mix(0xA5u + (uint32_t)n * 0x01000193u, (a)), (b)), n++
    FEATURE(0);
    FEATURE(w->word);
    FEATURE(w->end[0]);
    FEATURE(w->end[1]);
    FEATURE(w->end[2]);
    FEATURE(w->end[3]);
    FEATURE(w->begin[0]);
    FEATURE(w->begin[1]);
    FEATURE(w->begin[2]);
    FEATURE2(w->shape, w->parts);
    FEATURE(one);
    FEATURE(pair);
    FEATURE2(one, w->word);
    FEATURE2(pair, w->word);
    FEATURE2(one, w->end[2]);
    FEATURE2(one, w->parts);
    FEATURE2(one, at[3].word);
    FEATURE2(one, at[3].parts);
    FEATURE(at[1].word);
    FEATURE(at[1].end[2]);
    FEATURE(at[0].word);
    FEATURE(at[3].word);
    FEATURE(at[3].end[2]);
    FEATURE(at[3].end[1]);
    FEATURE(at[4].word);
    FEATURE2(at[1].word, w->word);
    FEATURE2(w->word, at[3].word);
    FEATURE2(at[0].word, at[1].word);
    FEATURE2(at[3].word, at[4].word);
    FEATURE2(at[1].word, at[3].word);
    FEATURE2(w->parts, at[3].parts);
    FEATURE2(mix(w->parts, at[3].parts), at[4].parts);
    FEATURE2(mix(w->parts, at[1].parts), at[3].parts);
    FEATURE2(w->end[1], at[3].parts);
    FEATURE2(mix(pair, w->parts), at[3].parts);
    FEATURE2(at[1].parts, w->end[2]);
    FEATURE2(mix(one, w->end[1]), at[3].parts);
    FEATURE2(w->begin[2], w->end[1]);
    FEATURE2(w->noun, w->parts);
    FEATURE2(mix(one, w->parts), w->noun);
#undef FEATURE
#undef FEATURE2
    return n;
}

/* ---- tagging --------------------------------------------------------------------------------- */

static void add_weights(const gq_tagger *t, uint32_t hash, int32_t *score)
{
    for (uint32_t k = hash;; k++) {
        const gq__tag_slot *s = &t->slot[k & (t->slots - 1)];
        if (!s->to)
            return;
        if (s->hash == hash) {
            for (uint32_t w = s->from; w < s->to; w++)
                score[t->weight[w].tag] += t->weight[w].value;
            return;
        }
    }
}

static int best_tag(const gq_tagger *t, const gq__tag_word at[5], int before, int before_that)
{
    uint32_t feature[GQ__FEATURES];
    int32_t  score[GQ_TAGS] = {0};
    int      n = gq__tag_features(at, before, before_that, feature), best = 0;
    for (int k = 0; k < n; k++) /* each look-up would wait for memory by itself           */
        __builtin_prefetch(&t->slot[feature[k] & (t->slots - 1)]);
    for (int k = 0; k < n; k++)
        add_weights(t, feature[k], score);
    for (int k = 1; k < t->tags; k++)
        if (score[k] > score[best])
            best = k;
    return best;
}

void gq_tagger_run(const gq_tagger *t, const char *const *word, size_t n, uint8_t *tag)
{
    gq__tag_word at[5];
    int          before = GQ__NO_TAG, before_that = GQ__NO_TAG;
    for (int k = 0; k < 4; k++)
        gq__tag_look(k >= 2 && (size_t)k - 2 < n ? word[k - 2] : NULL, &at[k]);
    for (size_t k = 0; k < n; k++) {
        gq__tag_look(k + 2 < n ? word[k + 2] : NULL, &at[4]);
        tag[k] = (uint8_t)best_tag(t, at, before, before_that);
        before_that = before;
        before = tag[k];
        memmove(at, at + 1, 4 * sizeof *at);
    }
}

/* ---- what a model says of itself ------------------------------------------------------------- */

int gq_tagger_tags(const gq_tagger *t)
{
    return t->tags;
}
const char *gq_tagger_name(const gq_tagger *t, int tag)
{
    return t->name[tag];
}
size_t gq_tagger_weights(const gq_tagger *t)
{
    return t->weights;
}

int gq_tagger_tag(const gq_tagger *t, const char *name)
{
    for (int k = 0; k < t->tags; k++)
        if (!strcmp(t->name[k], name))
            return k;
    return -1;
}

gq_status gq__tagger_index(gq_tagger *t, gq_error *err)
{
    for (t->slots = 64; t->slots < 2 * t->rows; t->slots *= 2)
        ;
    t->slot = gq_calloc(t->slots, sizeof *t->slot);
    if (!t->slot)
        return gq_fail(err, GQ_ENOMEM, "no memory for the tagger");
    for (uint32_t r = 0; r < t->rows; r++) {
        uint32_t k = t->row[r].hash & (t->slots - 1);
        while (t->slot[k].to)
            k = (k + 1) & (t->slots - 1);
        t->slot[k] = (gq__tag_slot){t->row[r].hash, r ? t->row[r - 1].end : 0, t->row[r].end};
    }
    return GQ_OK;
}

void gq_tagger_free(gq_tagger *t)
{
    if (!t)
        return;
    gq_free(t->row);
    gq_free(t->weight);
    gq_free(t->slot);
    gq_free(t);
}
