#include "train/metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "core/philox.h"
#include "train/bleu.h"
#include "train/words.h"

/* ---- single answers -------------------------------------------------------------------------------- */

/* F1 of two bags of words: two unigram counts give overlap and both lengths. */
static gq_status bag_f1(const char *answer, const char *ref, double *f1, gq_error *err)
{
    gq_bleu   b;
    gq_status rc = gq_bleu_count(answer, &ref, 1, &b, err);
    if (rc != GQ_OK)
        return rc;
    if (!b.hyp_len || !b.ref_len)
        *f1 = b.hyp_len == b.ref_len;
    else
        *f1 = 2.0 * (double)b.match[0] / (double)(b.hyp_len + b.ref_len);
    return GQ_OK;
}

static gq_status match_one(const char *strict, const char *squad, const char *ref, gq_match *best,
                           gq_error *err)
{
    char     *ref_strict = gq_words_strict(ref), *ref_squad = gq_words_squad(ref);
    gq_status rc;
    double    f1 = 0;
    if (ref_strict && ref_squad) {
        rc = bag_f1(squad, ref_squad, &f1, err);
        best->exact |= strcmp(strict, ref_strict) == 0;
        best->normalised |= strcmp(squad, ref_squad) == 0;
        best->f1 = fmax(best->f1, f1);
    } else {
        rc = gq_fail(err, GQ_ENOMEM, "out of memory comparing answers");
    }
    gq_free(ref_strict);
    gq_free(ref_squad);
    return rc;
}

gq_status gq_match_answer(const char *answer, const char *const *refs, size_t n_refs, gq_match *out,
                          gq_error *err)
{
    char     *strict = gq_words_strict(answer), *squad = NULL;
    gq_status rc = GQ_OK;
    *out = (gq_match){0};
    /* A generated text goes on after its end token; what follows is no part of the answer in any form. */
    squad = strict ? gq_words_squad(strict) : NULL;
    if (!strict || !squad)
        rc = gq_fail(err, GQ_ENOMEM, "out of memory comparing answers");
    for (size_t i = 0; rc == GQ_OK && i < n_refs; i++)
        rc = match_one(strict, squad, refs[i], out, err);
    gq_free(strict);
    gq_free(squad);
    return rc;
}

/* ---- the scorer ------------------------------------------------------------------------------------ */

typedef struct item {
    size_t   type;                      /* index into names                                       */
    gq_match match;
    double   sentence;                  /* sentence BLEU, 0..1                                    */
    gq_bleu  bleu;                      /* counts on gq_words_bleu() tokens                       */
} item;

struct gq_scorer {
    item  *items;                       /* [n], room for `room`                                   */
    size_t n, room;
    char **names;                       /* [n_names] types in order of appearance; names[0] = ""  */
    size_t n_names;
};

const char *gq_metric_name(gq_metric m)
{
    static const char *const names[GQ_METRICS] = {
        "exact_match", "exact_match_normalised", "token_f1", "bleu1",
        "bleu2",       "sentence_bleu",          "sacrebleu"};
    return m < GQ_METRICS ? names[m] : "";
}

gq_scorer *gq_scorer_new(void) { return gq_calloc(1, sizeof(gq_scorer)); }

void gq_scorer_free(gq_scorer *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n_names; i++)
        gq_free(s->names[i]);
    gq_free(s->names);
    gq_free(s->items);
    gq_free(s);
}

/* Index of a type name, added when new; SIZE_MAX: no memory. Types are few, so a line of them is enough. */
static size_t find_type(gq_scorer *s, const char *type)
{
    for (size_t i = 0; i < s->n_names; i++)
        if (strcmp(s->names[i], type) == 0)
            return i;
    char **names = gq_realloc(s->names, s->n_names + 1, sizeof *names);
    if (!names)
        return SIZE_MAX;
    s->names = names;
    names[s->n_names] = gq_strdup(type);
    return names[s->n_names] ? s->n_names++ : SIZE_MAX;
}

static gq_status count_bleu(const char *answer, const char *const *refs, size_t n_refs,
                            gq_bleu *out, gq_error *err)
{
    gq_status rc = GQ_OK;
    char     *strict = gq_words_strict(answer), *hyp = strict ? gq_words_bleu(strict) : NULL;
    char    **tokens = gq_calloc(n_refs, sizeof *tokens);
    bool      all = hyp && tokens;
    for (size_t i = 0; all && i < n_refs; i++) {
        tokens[i] = gq_words_bleu(refs[i]);
        all = tokens[i] != NULL;
    }
    if (all)
        rc = gq_bleu_count(hyp, (const char *const *)tokens, n_refs, out, err);
    else
        rc = gq_fail(err, GQ_ENOMEM, "out of memory splitting answers into words");
    for (size_t i = 0; tokens && i < n_refs; i++)
        gq_free(tokens[i]);
    gq_free(tokens);
    gq_free(hyp);
    gq_free(strict);
    return rc;
}

gq_status gq_scorer_add(gq_scorer *s, const char *type, const char *answer, const char *const *refs,
                        size_t n_refs, gq_error *err)
{
    item      it = {0};
    gq_status rc = gq_match_answer(answer, refs, n_refs, &it.match, err);
    if (rc == GQ_OK)
        rc = count_bleu(answer, refs, n_refs, &it.bleu, err);
    if (rc != GQ_OK)
        return rc;
    it.sentence = gq_bleu_sacre(&it.bleu, GQ_SMOOTH_EXP, 0, true) / 100;
    if (s->n == s->room) {
        size_t room = s->room ? s->room * 2 : 64;
        item  *items = gq_realloc(s->items, room, sizeof *items);
        if (!items)
            return gq_fail(err, GQ_ENOMEM, "out of memory for answer %zu", s->n + 1);
        s->items = items;
        s->room = room;
    }
    it.type = s->n_names ? 0 : find_type(s, "");           /* the first name stands for "no type" */
    if (it.type == 0 && type)
        it.type = find_type(s, type);
    if (it.type == SIZE_MAX)
        return gq_fail(err, GQ_ENOMEM, "out of memory for question type '%s'", type ? type : "");
    s->items[s->n++] = it;
    return GQ_OK;
}

/* ---- rows ------------------------------------------------------------------------------------------ */

typedef struct sums {
    size_t  n, exact, normalised;
    double  f1, sentence;
    gq_bleu bleu;
} sums;

static void add_item(sums *a, const item *it)
{
    a->n++;
    a->exact += it->match.exact;
    a->normalised += it->match.normalised;
    a->f1 += it->match.f1;
    a->sentence += it->sentence;
    gq_bleu_add(&a->bleu, &it->bleu);
}

static void values(const sums *a, double v[GQ_METRICS])
{
    double n = (double)a->n;
    if (!a->n) {
        for (int m = 0; m < GQ_METRICS; m++)
            v[m] = NAN;
        return;
    }
    v[GQ_METRIC_EXACT] = (double)a->exact / n;
    v[GQ_METRIC_NORMALISED] = (double)a->normalised / n;
    v[GQ_METRIC_F1] = a->f1 / n;
    v[GQ_METRIC_SENTENCE] = a->sentence / n;
    v[GQ_METRIC_BLEU1] = gq_bleu_nltk(&a->bleu, 1, 0);
    v[GQ_METRIC_BLEU2] = gq_bleu_nltk(&a->bleu, 2, 0);
    v[GQ_METRIC_SACRE] = gq_bleu_sacre(&a->bleu, GQ_SMOOTH_EXP, 0, false);
}

typedef struct boot {
    uint64_t seed;
    uint32_t resamples;
    double   confidence;
    double  *drawn;                     /* [GQ_METRICS][resamples], owned                         */
    size_t  *member;               /* [answers of the scorer] indices of one row's answers, owned */
} boot;

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The q-quantile of sorted values, linear between neighbours. */
static double quantile(const double *v, size_t n, double q)
{
    double at = q * (double)(n - 1), below = floor(at);
    size_t i = (size_t)below;
    return i + 1 < n ? v[i] + (at - below) * (v[i + 1] - v[i]) : v[n - 1];
}

/* Resamples the answers of one row with replacement; draw (resample, place) is one element of the row's stream. */
static void intervals(const gq_scorer *s, const boot *b, uint32_t index, gq_score_row *row)
{
    double v[GQ_METRICS];
    for (uint32_t r = 0; r < b->resamples; r++) {
        sums a = {0};
        for (size_t i = 0; i < row->n; i++) {
            uint32_t pick = gq_below_at(b->seed, (uint64_t)r * row->n + i, GQ_RNG_BOOT + index, 0,
                                        (uint32_t)row->n);
            add_item(&a, &s->items[b->member[pick]]);
        }
        values(&a, v);
        for (int m = 0; m < GQ_METRICS; m++)
            b->drawn[(size_t)m * b->resamples + r] = v[m];
    }
    for (int m = 0; m < GQ_METRICS; m++) {
        double *d = b->drawn + (size_t)m * b->resamples, tail = (1 - b->confidence) / 2;
        qsort(d, b->resamples, sizeof *d, by_value);
        row->low[m] = quantile(d, b->resamples, tail);
        row->high[m] = quantile(d, b->resamples, 1 - tail);
    }
}

/* One row: all answers when type is 0, else those of names[type]. */
static void fill_row(const gq_scorer *s, const boot *b, size_t type, uint32_t index,
                     gq_score_row *row)
{
    sums a = {0};
    for (size_t i = 0; i < s->n; i++) {
        if (type && s->items[i].type != type)
            continue;
        b->member[a.n] = i;
        add_item(&a, &s->items[i]);
    }
    row->n = a.n;
    values(&a, row->value);
    memcpy(row->low, row->value, sizeof row->value);
    memcpy(row->high, row->value, sizeof row->value);
    if (b->resamples && a.n)
        intervals(s, b, index, row);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const gq_score_row *)a)->type, ((const gq_score_row *)b)->type);
}

static gq_status name_rows(const gq_scorer *s, gq_score_table *out, gq_error *err)
{
    out->n_rows = s->n_names ? s->n_names : 1;
    out->rows = gq_calloc(out->n_rows, sizeof *out->rows);
    for (size_t i = 0; out->rows && i < out->n_rows; i++) {
        out->rows[i].type = gq_strdup(s->n_names ? s->names[i] : "");
        if (!out->rows[i].type)
            return gq_fail(err, GQ_ENOMEM, "out of memory for the table of scores");
        out->rows[i].n = i;                                  /* which type, until it is counted   */
    }
    if (!out->rows)
        return gq_fail(err, GQ_ENOMEM, "out of memory for the table of scores");
    qsort(out->rows, out->n_rows, sizeof *out->rows, by_name);
    return GQ_OK;
}

gq_status gq_scorer_table(const gq_scorer *s, uint64_t seed, uint32_t resamples, double confidence,
                          gq_score_table *out, gq_error *err)
{
    boot b = {.seed = seed, .resamples = resamples, .confidence = confidence};
    *out = (gq_score_table){0};
    if (!(confidence > 0 && confidence < 1))
        return gq_fail(err, GQ_EUSAGE, "confidence %g is not between 0 and 1", confidence);
    if (s->n > UINT32_MAX)
        return gq_fail(err, GQ_EUSAGE, "%zu answers; the intervals take at most 2^32 - 1", s->n);
    b.drawn = gq_malloc(resamples, GQ_METRICS * sizeof *b.drawn);
    b.member = gq_malloc(s->n, sizeof *b.member);
    gq_status rc = b.drawn && b.member ? name_rows(s, out, err)
                                       : gq_fail(err, GQ_ENOMEM, "out of memory for the intervals");
    for (size_t i = 0; rc == GQ_OK && i < out->n_rows; i++)
        fill_row(s, &b, out->rows[i].n, (uint32_t)i, &out->rows[i]);
    gq_free(b.drawn);
    gq_free(b.member);
    if (rc != GQ_OK)
        gq_score_table_free(out);
    return rc;
}

void gq_score_table_free(gq_score_table *t)
{
    for (size_t i = 0; t->rows && i < t->n_rows; i++)
        gq_free((char *)t->rows[i].type);
    gq_free(t->rows);
    *t = (gq_score_table){0};
}

/* ---- baselines ------------------------------------------------------------------------------------- */

typedef struct answer {
    char  *type, *text;                 /* owned; text in strict form                             */
    size_t count;
} answer;

typedef struct answers {
    answer *a;                          /* [n] sorted by type, then text; room for `room`         */
    size_t  n, room;
} answers;

struct gq_tally {
    answers of_type;                    /* one entry for each different (type, text)              */
    answers of_all;                     /* one for each different text; type is ""                */
};

gq_tally *gq_tally_new(void) { return gq_calloc(1, sizeof(gq_tally)); }

static void answers_free(answers *t)
{
    for (size_t i = 0; i < t->n; i++) {
        gq_free(t->a[i].type);
        gq_free(t->a[i].text);
    }
    gq_free(t->a);
}

void gq_tally_free(gq_tally *t)
{
    if (!t)
        return;
    answers_free(&t->of_type);
    answers_free(&t->of_all);
    gq_free(t);
}

/* Where (type, text) is or belongs; "" as text gives the first of the type. */
static size_t place(const answers *t, const char *type, const char *text)
{
    size_t low = 0, high = t->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int    order = strcmp(t->a[mid].type, type);
        if (!order)
            order = strcmp(t->a[mid].text, text);
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static bool make_room(answers *t)
{
    if (t->n < t->room)
        return true;
    size_t  room = t->room ? t->room * 2 : 64;
    answer *bigger = gq_realloc(t->a, room, sizeof *bigger);
    if (!bigger)
        return false;
    t->a = bigger;
    t->room = room;
    return true;
}

static bool count_answer(answers *t, const char *type, const char *text)
{
    size_t at = place(t, type, text);
    if (at < t->n && strcmp(t->a[at].type, type) == 0 && strcmp(t->a[at].text, text) == 0) {
        t->a[at].count++;
        return true;
    }
    answer fresh = {gq_strdup(type), gq_strdup(text), 1};
    if (!fresh.type || !fresh.text || !make_room(t)) {
        gq_free(fresh.type);
        gq_free(fresh.text);
        return false;
    }
    memmove(t->a + at + 1, t->a + at, (t->n - at) * sizeof *t->a);
    t->a[at] = fresh;
    t->n++;
    return true;
}

gq_status gq_tally_add(gq_tally *t, const char *type, const char *text, gq_error *err)
{
    char *strict = gq_words_strict(text);
    bool  ok = strict && count_answer(&t->of_all, "", strict) &&
              count_answer(&t->of_type, type ? type : "", strict);
    gq_free(strict);
    return ok ? GQ_OK : gq_fail(err, GQ_ENOMEM, "out of memory counting answers");
}

/* The entries of one type (NULL: of all): first index, and how many. */
static const answer *of_type(const gq_tally *t, const char *type, size_t *n)
{
    const answers *list = type ? &t->of_type : &t->of_all;
    const char    *name = type ? type : "";
    size_t         first = place(list, name, ""), end = first;
    while (end < list->n && strcmp(list->a[end].type, name) == 0)
        end++;
    *n = end - first;
    return list->a ? list->a + first : NULL;
}

const char *gq_tally_majority(const gq_tally *t, const char *type)
{
    size_t        n, best = 0;
    const answer *a = of_type(t, type, &n);
    for (size_t i = 1; i < n; i++)
        if (a[i].count > a[best].count)
            best = i;
    return n ? a[best].text : "";
}

double gq_tally_chance(const gq_tally *t, const char *type)
{
    size_t n;
    of_type(t, type, &n);
    return n ? 1.0 / (double)n : 0;
}
