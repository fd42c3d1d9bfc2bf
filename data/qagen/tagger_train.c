#include "data/qagen/tagger_private.h"

#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "core/philox.h"
#include "data/qagen/wordnet.h"

/* Training goes on with a word until its tag leads by this much: mistakes alone would leave the
 * weights of a treebank that is nearly learnt after three passes where they are. */
enum { MARGIN = 30 };

/* A feature gets a row when it first takes part in a correction; most never do. */
typedef struct row {
    uint32_t hash;
    int32_t  weight[GQ_TAGS];
    int64_t  past[GQ_TAGS]; /* sum of (moment of the change x change)                 */
} row;

typedef struct training {
    gq_tagger    *t;     /* names of the tags                                      */
    uint8_t      *truth; /* [words] tags of the treebank                           */
    gq__tag_word *look;  /* [words]                                                */
    row          *rows;
    uint32_t      used, room;
    uint32_t     *slot; /* [slots] row + 1                                        */
    uint32_t      slots;
    int64_t       now; /* words tagged so far: the moment                        */
} training;

/* ---- rows ------------------------------------------------------------------------------------ */

static uint32_t *find(const training *g, uint32_t hash)
{
    for (uint32_t k = hash;; k++) {
        uint32_t *s = &g->slot[k & (g->slots - 1)];
        if (!*s || g->rows[*s - 1].hash == hash)
            return s;
    }
}

static bool grow(training *g)
{
    uint32_t  slots = g->slots ? 2 * g->slots : 1u << 14;
    row      *rows = gq_realloc(g->rows, slots / 2, sizeof *rows);
    uint32_t *slot = gq_calloc(slots, sizeof *slot);
    g->rows = rows ? rows : g->rows;
    if (!rows || !slot) {
        gq_free(slot);
        return false;
    }
    gq_free(g->slot);
    g->slot = slot;
    g->slots = slots;
    g->room = slots / 2;
    for (uint32_t r = 0; r < g->used; r++)
        *find(g, g->rows[r].hash) = r + 1;
    return true;
}

static row *row_of(training *g, uint32_t hash)
{
    uint32_t *s = find(g, hash);
    if (!*s) {
        if (g->used == g->room) {
            if (!grow(g))
                return NULL;
            s = find(g, hash);
        }
        memset(&g->rows[g->used], 0, sizeof *g->rows);
        g->rows[g->used].hash = hash;
        *s = ++g->used;
    }
    return &g->rows[*s - 1];
}

/* ---- learning -------------------------------------------------------------------------------- */

/* The tag that would win, and in *rival the one that does when the truth has MARGIN less. */
static int guess(const training *g, const uint32_t *feature, int n, int truth, int *rival)
{
    int32_t score[GQ_TAGS] = {0};
    int     best = 0, tags = g->t->tags;
    for (int k = 0; k < n; k++) {
        uint32_t r = *find(g, feature[k]);
        if (r)
            for (int j = 0; j < GQ_TAGS; j++)
                score[j] += g->rows[r - 1].weight[j];
    }
    for (int k = 1; k < tags; k++)
        if (score[k] > score[best])
            best = k;
    score[truth] -= MARGIN;
    *rival = truth;
    for (int k = 0; k < tags; k++)
        if (score[k] > score[*rival])
            *rival = k;
    return best;
}

static bool correct(training *g, const uint32_t *feature, int n, int truth, int guessed)
{
    for (int k = 0; k < n; k++) {
        row *r = row_of(g, feature[k]);
        if (!r)
            return false;
        r->weight[truth]++;
        r->past[truth] += g->now;
        r->weight[guessed]--;
        r->past[guessed] -= g->now;
    }
    return true;
}

/* *wrong grows by the mistakes; false: no memory. */
static bool learn_sentence(training *g, size_t from, size_t n, uint64_t *wrong)
{
    int          before = GQ__NO_TAG, before_that = GQ__NO_TAG;
    gq__tag_word outside, at[5];
    uint32_t     feature[GQ__FEATURES];

    gq__tag_look(NULL, &outside);
    for (size_t k = 0; k < n; k++) {
        for (size_t j = 0; j < 5; j++)
            at[j] = k + j >= 2 && k + j - 2 < n ? g->look[from + k + j - 2] : outside;
        int count = gq__tag_features(at, before, before_that, feature);
        if (g->used == 0 && !grow(g))
            return false;
        int rival, truth = g->truth[from + k], guessed = guess(g, feature, count, truth, &rival);
        g->now++;
        *wrong += guessed != truth;
        if (rival != truth && !correct(g, feature, count, truth, rival))
            return false;
        before_that = before;
        before = guessed;
    }
    return true;
}

/* The same order on every machine: sentences shuffled by (epoch, position). */
static void shuffle(size_t *order, size_t n, int epoch)
{
    for (size_t k = 0; k < n; k++)
        order[k] = k;
    for (size_t k = n; k > 1; k--) {
        size_t other = gq_philox_at(0, k, GQ_RNG_SHUFFLE, (uint32_t)epoch) % k, was = order[other];
        order[other] = order[k - 1];
        order[k - 1] = was;
    }
}

static gq_status learn(training *g, const gq_treebank *bank, const gq_tagger_plan *plan,
                       gq_tagger_epoch_fn each, void *ctx, gq_error *err)
{
    size_t   *order = gq_malloc(bank->sentences, sizeof *order);
    gq_status s = order ? GQ_OK : gq_fail(err, GQ_ENOMEM, "no memory to train a tagger");
    for (int epoch = 0; epoch < plan->epochs && s == GQ_OK; epoch++) {
        uint64_t wrong = 0;
        shuffle(order, bank->sentences, epoch);
        for (size_t k = 0; k < bank->sentences && s == GQ_OK; k++) {
            size_t from = bank->first[order[k]], to = bank->first[order[k] + 1];
            if (!learn_sentence(g, from, to - from, &wrong))
                s = gq_fail(err, GQ_ENOMEM, "no memory for the weights of a tagger");
        }
        if (s == GQ_OK && each)
            s = each(ctx, epoch + 1, bank->words, wrong, err);
    }
    gq_free(order);
    return s;
}

/* ---- the model ------------------------------------------------------------------------------- */

static int by_hash(const void *a, const void *b)
{
    uint32_t x = ((const row *)a)->hash, y = ((const row *)b)->hash;
    return (x > y) - (x < y);
}

/* Mean over all moments, times the number of moments. */
static int64_t mean(const training *g, const row *r, int tag)
{
    return r->weight[tag] * (g->now + 1) - r->past[tag];
}

static int64_t largest_mean(const training *g)
{
    int64_t most = 1;
    for (uint32_t r = 0; r < g->used; r++)
        for (int k = 0; k < g->t->tags; k++)
            if (llabs(mean(g, &g->rows[r], k)) > most)
                most = llabs(mean(g, &g->rows[r], k));
    return most;
}

/* Rows and weights of the model: means become 16 bits wide, the largest 32767, and those nearer to
 * zero than `prune` thousandths of it go. Counts them, and stores them where there is room. */
static void keep_weights(const training *g, int64_t most, int prune)
{
    gq_tagger *t = g->t;
    t->rows = t->weights = 0;
    for (uint32_t r = 0; r < g->used; r++) {
        uint32_t before = t->weights;
        for (int k = 0; k < t->tags; k++) {
            int64_t m = mean(g, &g->rows[r], k);
            int16_t value = (int16_t)((m * 32767 + (m < 0 ? -most : most) / 2) / most);
            if (!value || llabs(m) < most / 1000 * prune)
                continue;
            if (t->weight)
                t->weight[t->weights] = (gq__tag_weight){value, (uint16_t)k};
            t->weights++;
        }
        if (t->weights == before)
            continue;
        if (t->row)
            t->row[t->rows] = (gq__tag_row){g->rows[r].hash, t->weights};
        t->rows++;
    }
}

static gq_status finish(training *g, int prune, gq_error *err)
{
    gq_tagger *t = g->t;
    int64_t    most = largest_mean(g);
    qsort(g->rows, g->used, sizeof *g->rows, by_hash);
    keep_weights(g, most, prune);
    t->row = gq_malloc(t->rows, sizeof *t->row);
    t->weight = gq_malloc(t->weights, sizeof *t->weight);
    if (!t->row || !t->weight)
        return gq_fail(err, GQ_ENOMEM, "no memory for the tagger");
    keep_weights(g, most, prune);
    return gq__tagger_index(t, err);
}

/* ---- tags of a treebank ---------------------------------------------------------------------- */

static const char *folded(const char *tag, bool fold)
{
    return fold && !strcmp(tag, "NNP") ? "NN" : fold && !strcmp(tag, "NNPS") ? "NNS" : tag;
}

static gq_status take_tag(gq_tagger *t, const gq_conllu_word *w, bool fold, uint8_t *out,
                          gq_error *err)
{
    const char *name = folded(w->xpos, fold);
    int         tag = gq_tagger_tag(t, name);
    if (!strcmp(name, "_") || strlen(name) > GQ_TAG_NAME)
        return gq_fail(err, GQ_EINPUT, "line %llu: '%s' has no tag in column 5 (XPOS)",
                       (unsigned long long)w->line, w->form);
    if (tag < 0) {
        if (t->tags == GQ_TAGS)
            return gq_fail(err, GQ_EINPUT,
                           "line %llu: '%s' is one tag more than the %d a tagger has",
                           (unsigned long long)w->line, name, GQ_TAGS);
        tag = t->tags++;
        strcpy(t->name[tag], name);
    }
    *out = (uint8_t)tag;
    return GQ_OK;
}

gq_status gq_tagger_train(const gq_treebank *bank, const gq_tagger_plan *plan,
                          gq_tagger_epoch_fn each, void *ctx, gq_tagger **out, gq_error *err)
{
    training  g = {.t = gq_calloc(1, sizeof *g.t),
                   .truth = gq_malloc(bank->words, 1),
                   .look = gq_malloc(bank->words, sizeof *g.look)};
    gq_status s = GQ_OK;

    *out = NULL;
    if (!g.t || !g.truth || !g.look)
        s = gq_fail(err, GQ_ENOMEM, "no memory to train a tagger");
    for (size_t k = 0; k < bank->words && s == GQ_OK; k++) {
        s = take_tag(g.t, &bank->word[k], plan->fold, &g.truth[k], err);
        gq__tag_look(bank->word[k].form, &g.look[k]);
    }
    if (s == GQ_OK) {
        g.t->wordnet = gq_wordnet_present();
        s = learn(&g, bank, plan, each, ctx, err);
    }
    if (s == GQ_OK)
        s = finish(&g, plan->prune, err);
    gq_free(g.truth);
    gq_free(g.look);
    gq_free(g.rows);
    gq_free(g.slot);
    if (s == GQ_OK)
        *out = g.t;
    else
        gq_tagger_free(g.t);
    return s;
}

void gq_tagger_measure(const gq_tagger *t, const gq_treebank *bank, bool fold, gq_tagger_score *out)
{
    const char *word[GQ_CONLLU_WORDS];
    uint8_t     tag[GQ_CONLLU_WORDS];
    *out = (gq_tagger_score){0};
    for (size_t k = 0; k < bank->sentences; k++) {
        size_t from = bank->first[k], n = bank->first[k + 1] - from;
        for (size_t j = 0; j < n; j++)
            word[j] = bank->word[from + j].form;
        gq_tagger_run(t, word, n, tag);
        for (size_t j = 0; j < n; j++) {
            int truth = gq_tagger_tag(t, folded(bank->word[from + j].xpos, fold));
            out->words++;
            out->right += truth == tag[j];
            if (truth < 0)
                out->strange++;
            else
                out->confused[truth][tag[j]]++;
        }
    }
}
