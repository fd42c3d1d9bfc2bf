#include "models/beam.h"

#include <math.h>
#include <string.h>

#include "core/mem.h"
#include "models/decode.h"

typedef struct hypothesis {
    int32_t *ids;                                   /* [max_new]                                  */
    int      n;                                     /* tokens, the end token included when ended  */
    bool     ended;
    double   sum, score;                            /* log probability; divided by length^penalty */
} hypothesis;

typedef struct candidate { double sum; int beam; int32_t token; } candidate;

struct gq_beam {
    gq_beam_opts o;
    int          prompt, steps, done;               /* done: hypotheses finished                  */
    bool         over;
    hypothesis  *all;                               /* [3*beams]                                  */
    hypothesis  *open, *next, *finished;            /* [beams] each, in all                       */
    candidate   *best;                              /* [2*beams], best first                      */
    int32_t     *store;                             /* ids of all hypotheses                      */
};

gq_beam *gq_beam_new(const gq_beam_opts *o, int prompt_length)
{
    gq_beam *b = gq_calloc(1, sizeof *b);
    size_t   k = (size_t)o->beams, each = (size_t)o->max_new;

    if (!b)
        return NULL;
    b->o = *o;
    b->prompt = prompt_length;
    b->open = b->all = gq_calloc(3 * k, sizeof *b->all);
    b->best = gq_calloc(2 * k, sizeof *b->best);
    b->store = gq_calloc(3 * k * each, sizeof *b->store);
    if (!b->all || !b->best || !b->store) {
        gq_beam_free(b);
        return NULL;
    }
    b->next = b->open + k;
    b->finished = b->next + k;
    for (size_t i = 0; i < 3 * k; i++)
        b->all[i].ids = b->store + i * each;
    for (size_t i = 1; i < k; i++)
        b->open[i].sum = -1e9;                      /* at first only beam 0 is alive              */
    return b;
}

void gq_beam_free(gq_beam *b)
{
    if (!b)
        return;
    gq_free(b->all);
    gq_free(b->best);
    gq_free(b->store);
    gq_free(b);
}

static double length_factor(const gq_beam *b, int generated)
{
    int length = b->o.legacy_length ? b->prompt + generated - 1 : generated;
    return pow(length > 0 ? length : 1, b->o.length_penalty);
}

static void offer(gq_beam *b, candidate c)
{
    int k = 2 * b->o.beams, at = k;
    while (at > 0 && (b->best[at - 1].beam < 0 || c.sum > b->best[at - 1].sum))
        at--;
    if (at == k)
        return;
    memmove(b->best + at + 1, b->best + at, (size_t)(k - 1 - at) * sizeof *b->best);
    b->best[at] = c;
}

static void collect(gq_beam *b, const float *logits)
{
    int rows = b->steps == 0 ? 1 : b->o.beams;

    for (int i = 0; i < 2 * b->o.beams; i++)
        b->best[i] = (candidate){-INFINITY, -1, 0};
    for (int r = 0; r < rows; r++) {
        const float *x = logits + (size_t)r * (size_t)b->o.stride;
        double       top = x[0], sum = 0.0, norm;
        for (int i = 1; i < b->o.vocab; i++)
            top = x[i] > top ? x[i] : top;
        for (int i = 0; i < b->o.vocab; i++)
            sum += exp(x[i] - top);
        norm = b->open[r].sum - top - log(sum);
        for (int i = 0; i < b->o.vocab; i++)
            if (x[i] + norm > b->best[2 * b->o.beams - 1].sum &&
                (i != b->o.end_id || b->steps >= b->o.min_new) &&
                !gq_decode_repeats(b->o.start, b->open[r].ids, b->open[r].n, b->o.no_repeat, i))
                offer(b, (candidate){x[i] + norm, r, i});
    }
}

static void extend(hypothesis *to, const hypothesis *from, candidate c)
{
    memcpy(to->ids, from->ids, (size_t)from->n * sizeof *to->ids);
    to->ids[from->n] = c.token;
    to->n = from->n + 1;
    to->sum = c.sum;
    to->ended = false;
}

/* A finished hypothesis takes the place of the worst one when there is no free place and it is
 * better. */
static void finish(gq_beam *b, candidate c, bool ended)
{
    double score = c.sum / length_factor(b, b->steps + 1);
    int    at = b->done;

    if (b->done == b->o.beams) {
        at = 0;
        for (int i = 1; i < b->o.beams; i++)
            if (b->finished[i].score < b->finished[at].score)
                at = i;
        if (score <= b->finished[at].score)
            return;
    } else {
        b->done++;
    }
    extend(&b->finished[at], &b->open[c.beam], c);
    b->finished[at].ended = ended;
    b->finished[at].score = score;
}

static bool hopeless(const gq_beam *b)      /* no open beam can still beat the worst finished one */
{
    double best = b->open[0].sum, worst = INFINITY;
    int    length = b->o.early == 2 && b->o.length_penalty > 0 ? b->o.max_new : b->steps;

    if (b->done < b->o.beams)
        return false;
    if (b->o.early == 1)
        return true;
    for (int i = 0; i < b->done; i++)
        worst = fmin(worst, b->finished[i].score);
    return worst >= best / length_factor(b, length);
}

bool gq_beam_step(gq_beam *b, const float *logits, int32_t *token, int *parent)
{
    int         filled = 0;
    bool        last = b->steps + 1 == b->o.max_new;
    hypothesis *t;

    for (int i = 0; i < b->o.beams; i++) {
        token[i] = b->o.end_id;
        parent[i] = i;
    }
    if (b->over)
        return false;
    collect(b, logits);
    for (int rank = 0; rank < 2 * b->o.beams && b->best[rank].beam >= 0; rank++) {
        candidate c = b->best[rank];
        if (c.token == b->o.end_id || last) {
            if (rank < b->o.beams)
                finish(b, c, c.token == b->o.end_id);
        } else if (filled < b->o.beams) {
            extend(&b->next[filled], &b->open[c.beam], c);
            token[filled] = c.token;
            parent[filled++] = c.beam;
        }
    }
    for (int i = filled; i < b->o.beams; i++)
        b->next[i].sum = -1e9;
    t = b->open;
    b->open = b->next;
    b->next = t;
    b->steps++;
    b->over = last || hopeless(b);
    return !b->over;
}

void gq_beam_best(const gq_beam *b, int32_t *ids, int *n, bool *ended, double *logprob)
{
    const hypothesis *h = &b->finished[0];
    for (int i = 1; i < b->done; i++)
        if (b->finished[i].score > h->score)
            h = &b->finished[i];
    *ended = h->ended;
    *n = h->n - h->ended;
    *logprob = h->sum;
    memcpy(ids, h->ids, (size_t)*n * sizeof *ids);
}
