#include "train/bleu.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "train/words.h"

/* ---- counting -------------------------------------------------------------------------------------- */

typedef struct token {
    const char *word;                   /* inside the caller's text                               */
    size_t      bytes;
    size_t      place;           /* position in the concatenation hypothesis, reference 0, 1, ... */
} token;

typedef struct gram { uint32_t id[GQ_BLEU_ORDER]; } gram;  /* unused orders are 0; ids start at 1 */

static int by_word(const void *a, const void *b)
{
    const token *x = a, *y = b;
    int          order = memcmp(x->word, y->word, x->bytes < y->bytes ? x->bytes : y->bytes);
    return order ? order : (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static int by_gram(const void *a, const void *b)
{
    const gram *x = a, *y = b;
    for (int i = 0; i < GQ_BLEU_ORDER; i++)
        if (x->id[i] != y->id[i])
            return x->id[i] < y->id[i] ? -1 : 1;
    return 0;
}

static size_t count_tokens(const char *s)
{
    const char *word;
    size_t      n = 0, bytes;
    while (gq_words_next(&s, &word, &bytes))
        n++;
    return n;
}

/* Numbers the words of `n` tokens: ids[place] = 1, 2, ... by byte order, equal words equal numbers. */
static void number_words(token *tokens, size_t n, uint32_t *ids)
{
    uint32_t id = 0;
    qsort(tokens, n, sizeof *tokens, by_word);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || by_word(&tokens[i - 1], &tokens[i]) != 0)
            id++;
        ids[tokens[i].place] = id;
    }
}

static size_t make_grams(const uint32_t *ids, size_t n, int order, gram *out)
{
    if (n < (size_t)order)
        return 0;
    size_t count = n - (size_t)order + 1;
    memset(out, 0, count * sizeof *out);
    for (size_t i = 0; i < count; i++)
        memcpy(out[i].id, ids + i, (size_t)order * sizeof *ids);
    qsort(out, count, sizeof *out, by_gram);
    return count;
}

static size_t run_length(const gram *g, size_t n)
{
    size_t run = 1;
    while (run < n && by_gram(g, g + run) == 0)
        run++;
    return run;
}

/* Raises best[i] to the matches of the run of equal n-grams that starts at hyp[i], within one reference. */
static void match_runs(const gram *hyp, size_t n, const gram *ref, size_t m, size_t *best)
{
    for (size_t i = 0, j = 0; i < n;) {
        size_t run = run_length(hyp + i, n - i), found = 0;
        while (j < m && by_gram(ref + j, hyp + i) < 0)
            j++;
        if (j < m && by_gram(ref + j, hyp + i) == 0)
            found = run_length(ref + j, m - j);
        if (found > run)
            found = run;
        if (found > best[i])
            best[i] = found;
        i += run;
    }
}

typedef struct work {                   /* scratch of one gq_bleu_count(), all owned              */
    size_t   *len;                      /* [1 + n_refs] tokens of hypothesis and references       */
    token    *tokens;                   /* [all tokens]                                           */
    uint32_t *ids;                      /* [all tokens]                                           */
    gram     *hyp, *ref;                /* [all tokens]                                           */
    size_t   *best;                     /* [all tokens]                                           */
} work;

static bool work_fill(work *w, const char *hyp, const char *const *refs, size_t n_refs)
{
    size_t n = 0, bytes;
    w->len = gq_malloc(n_refs + 1, sizeof *w->len);
    if (!w->len)
        return false;
    for (size_t i = 0; i <= n_refs; i++) {
        w->len[i] = count_tokens(i ? refs[i - 1] : hyp);
        n += w->len[i];
    }
    w->tokens = gq_malloc(n, sizeof *w->tokens);
    w->ids = gq_malloc(n, sizeof *w->ids);
    w->hyp = gq_malloc(n, sizeof *w->hyp);
    w->ref = gq_malloc(n, sizeof *w->ref);
    w->best = gq_malloc(n, sizeof *w->best);
    if (!w->tokens || !w->ids || !w->hyp || !w->ref || !w->best)
        return false;
    n = 0;
    for (size_t i = 0; i <= n_refs; i++) {
        const char *p = i ? refs[i - 1] : hyp, *word;
        for (; gq_words_next(&p, &word, &bytes); n++)
            w->tokens[n] = (token){word, bytes, n};
    }
    number_words(w->tokens, n, w->ids);
    return true;
}

static void work_free(work *w)
{
    gq_free(w->len);
    gq_free(w->tokens);
    gq_free(w->ids);
    gq_free(w->hyp);
    gq_free(w->ref);
    gq_free(w->best);
}

static void count_order(const work *w, size_t n_refs, int order, gq_bleu *out)
{
    size_t n = make_grams(w->ids, w->len[0], order, w->hyp), at = w->len[0];
    memset(w->best, 0, n * sizeof *w->best);
    for (size_t r = 1; r <= n_refs; r++) {
        size_t m = make_grams(w->ids + at, w->len[r], order, w->ref);
        match_runs(w->hyp, n, w->ref, m, w->best);
        at += w->len[r];
    }
    for (size_t i = 0; i < n; i++)
        out->match[order - 1] += (int64_t)w->best[i];
    out->total[order - 1] = (int64_t)n;
    out->empty[order - 1] = n == 0;
}

gq_status gq_bleu_count(const char *hyp, const char *const *refs, size_t n_refs, gq_bleu *out,
                        gq_error *err)
{
    work w = {0};
    *out = (gq_bleu){0};
    if (!n_refs)
        return gq_fail(err, GQ_EBUG, "BLEU needs at least one reference");
    if (!work_fill(&w, hyp, refs, n_refs)) {
        work_free(&w);
        return gq_fail(err, GQ_ENOMEM, "out of memory counting n-grams");
    }
    out->hyp_len = (int64_t)w.len[0];
    out->ref_len = (int64_t)w.len[1];
    for (size_t r = 2; r <= n_refs; r++) {
        int64_t len = (int64_t)w.len[r], c = out->hyp_len;
        int64_t now = llabs(len - c), before = llabs(out->ref_len - c);
        if (now < before || (now == before && len < out->ref_len))
            out->ref_len = len;
    }
    for (int order = 1; order <= GQ_BLEU_ORDER; order++)
        count_order(&w, n_refs, order, out);
    work_free(&w);
    return GQ_OK;
}

void gq_bleu_add(gq_bleu *sum, const gq_bleu *one)
{
    for (int i = 0; i < GQ_BLEU_ORDER; i++) {
        sum->match[i] += one->match[i];
        sum->total[i] += one->total[i];
        sum->empty[i] += one->empty[i];
    }
    sum->hyp_len += one->hyp_len;
    sum->ref_len += one->ref_len;
}

/* ---- scoring --------------------------------------------------------------------------------------- */

static double brevity(const gq_bleu *b)
{
    if (b->hyp_len >= b->ref_len && b->hyp_len > 0)
        return 1;
    return b->hyp_len ? exp(1 - (double)b->ref_len / (double)b->hyp_len) : 0;
}

double gq_bleu_nltk(const gq_bleu *b, int order, int method)
{
    double sum = 0, geometric = 1;
    if (b->match[0] == 0)
        return 0;
    for (int i = 0; i < order; i++) {
        double m = (double)b->match[i], t = (double)(b->total[i] + b->empty[i]), p = m / t;
        if (method == 2 && i > 0)
            p = (m + 1) / (t + 1);
        else if (m == 0 && method == 1)
            p = 0.1 / t;
        else if (m == 0 && method == 3)
            p = 1 / ((geometric *= 2) * t);
        else if (m == 0)
            p = DBL_MIN;
        sum += log(p) / order;
    }
    return brevity(b) * exp(sum);
}

double gq_bleu_sacre(const gq_bleu *b, gq_smooth smooth, double value, bool effective)
{
    double sum = 0, geometric = 1;
    int    orders = 0;
    if (b->match[0] == 0)
        return 0;
    for (int i = 0; i < GQ_BLEU_ORDER; i++) {
        double add = smooth == GQ_SMOOTH_ADD && i > 0 ? value : 0;
        double m = (double)b->match[i] + add, t = (double)b->total[i] + add;
        if (t == 0)
            break;
        orders++;
        if (m == 0 && smooth == GQ_SMOOTH_EXP)
            m = 1 / (geometric *= 2);
        else if (m == 0 && smooth == GQ_SMOOTH_FLOOR)
            m = value;
        if (m == 0)
            return 0;
        sum += log(m / t);
    }
    if (orders < GQ_BLEU_ORDER && !effective)
        return 0;
    return 100 * brevity(b) * exp(sum / orders);
}

const char *gq_bleu_signature(bool effective)
{
    return effective ? "nrefs:1|case:lc|eff:yes|tok:13a|smooth:exp"
                     : "nrefs:1|case:lc|eff:no|tok:13a|smooth:exp";
}

double gq_bleu_coco(const gq_bleu *b, int order)
{
    const double tiny = 1e-15, small = 1e-9;                 /* the reference's own guards        */
    double       product = 1, ratio = ((double)b->hyp_len + tiny) / ((double)b->ref_len + small);
    for (int i = 0; i < order; i++)
        product *= ((double)b->match[i] + tiny) / ((double)b->total[i] + small);
    double score = pow(product, 1.0 / order);
    return ratio < 1 ? score * exp(1 - 1 / ratio) : score;
}
