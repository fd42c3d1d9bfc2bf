#include "models/decode.h"

#include <math.h>
#include <string.h>

#include "core/mem.h"
#include "models/beam.h"

bool gq_decode_repeats(int32_t start, const int32_t *ids, int n, int length, int32_t token)
{
    int first = start < 0 ? 0 : -1;                 /* ids[-1] stands for start                   */

    for (int i = first; length > 0 && i + length <= n; i++) {
        int same = 0;                               /* of the run from i and the last one         */
        while (same < length - 1 &&
               (i + same < 0 ? start : ids[i + same]) == ids[n - (length - 1) + same])
            same++;
        if (same == length - 1 && (i + same < 0 ? start : ids[i + same]) == token)
            return true;
    }
    return false;
}

/* Ids that may be chosen are [0, this). */
static int choices(const gq_decoding *d)
{
    return d->o->tokens > 0 && d->o->tokens < d->vocab ? d->o->tokens : d->vocab;
}

/* ---- greedy ---------------------------------------------------------------------------------- */

/* Index of the largest logit among [0,n) that may follow the answer, lowest index on ties, and its log
 * probability. without: -1 where the end token may come. */
static int32_t best_token(const gq_decoding *d, const float *x, const gq_answer *a, int32_t without,
                          double *logprob)
{
    int     n = choices(d);
    int32_t best = -1;
    double  top = x[0], sum = 0.0;

    for (int32_t i = 0; i < n; i++) {
        top = x[i] > top ? x[i] : top;
        if ((best < 0 || x[i] > x[best]) && i != without &&
            !gq_decode_repeats(d->start, a->ids, a->n, d->o->no_repeat, i))
            best = i;
    }
    best = best < 0 ? d->o->end_id : best;          /* everything would repeat                    */
    for (int i = 0; i < n; i++)
        sum += exp((double)x[i] - top);
    *logprob = (double)x[best] - top - log(sum);
    return best;
}

static gq_status greedy(const gq_decoding *d, int count, gq_answer *answer, gq_error *err)
{
    int       open = count;
    gq_status s = GQ_OK;

    for (int step = 0; s == GQ_OK && open > 0; step++) {
        size_t stride = (size_t)(step == 0 ? d->lead : 1) * (size_t)d->vocab;
        for (int b = 0; b < d->batch; b++) {
            gq_answer *a = &answer[b < count ? b : 0];
            double     logprob;
            int32_t    id;
            if (b >= count || a->ended || a->n >= d->o->max_new) {
                d->token[b] = d->o->end_id;         /* nobody reads what follows                  */
                continue;
            }
            id = best_token(d, d->row + (size_t)b * stride, a, step < d->o->min_new ? d->o->end_id : -1,
                            &logprob);
            d->token[b] = id;
            a->logprob += logprob;
            if (id == d->o->end_id)
                a->ended = true;
            else
                a->ids[a->n++] = id;
            open -= a->ended || a->n == d->o->max_new;
        }
        if (open > 0)
            s = d->step(d->ctx, step, err);
    }
    return s;
}

/* ---- beam search ----------------------------------------------------------------------------- */

/* Row r of every cache becomes what row parent[r] was. */
static void reorder(const gq_decoding *d, const int *parent)
{
    int  rows = d->batch * d->o->beams;
    bool moved = false;

    for (int r = 0; r < rows; r++)
        moved |= parent[r] != r;
    for (int l = 0; moved && l < d->layers; l++) {
        char *base = d->cache + (size_t)l * (size_t)rows * d->row_bytes;
        gq_engine_copy(d->engine, d->spare, base, (size_t)rows * d->row_bytes);
        for (int r = 0; r < rows; r++)
            if (parent[r] != r)
                gq_engine_copy(d->engine, base + (size_t)r * d->row_bytes,
                               d->spare + (size_t)parent[r] * d->row_bytes, d->row_bytes);
    }
}

static gq_status beam_search(const gq_decoding *d, int count, gq_answer *answer, gq_error *err)
{
    gq_beam_opts o = {.beams = d->o->beams,
                      .max_new = d->o->max_new,
                      .min_new = d->o->min_new,
                      .no_repeat = d->o->no_repeat,
                      .start = d->start,
                      .vocab = choices(d),
                      .stride = d->vocab,
                      .end_id = d->o->end_id,
                      .length_penalty = d->o->length_penalty,
                      .legacy_length = d->o->legacy_length,
                      .early = (int)d->o->early};
    int          rows = d->batch * o.beams, open = count;
    gq_beam    **beam = gq_calloc((size_t)count, sizeof *beam);
    int         *parent = gq_calloc((size_t)rows, sizeof *parent);
    gq_status    s = beam && parent ? GQ_OK : gq_fail(err, GQ_ENOMEM, "decoding: out of memory");

    for (int b = 0; s == GQ_OK && b < count; b++)
        if (!(beam[b] = gq_beam_new(&o, d->prompt[b])))
            s = gq_fail(err, GQ_ENOMEM, "decoding: out of memory");
    for (int step = 0; s == GQ_OK && open > 0; step++) {
        open = 0;
        for (int r = 0; r < rows; r++)
            parent[r] = r;
        for (int b = 0; b < count; b++) {
            size_t first = (size_t)b * (size_t)(step == 0 ? d->lead : o.beams) * (size_t)o.stride;
            if (gq_beam_step(beam[b], d->row + first, d->token + b * o.beams, parent + b * o.beams))
                open++;
            for (int i = 0; i < o.beams; i++)
                parent[b * o.beams + i] += b * o.beams;
        }
        if (open > 0) {
            reorder(d, parent);
            s = d->step(d->ctx, step, err);
        }
    }
    for (int b = 0; b < count && beam; b++) {
        if (s == GQ_OK)
            gq_beam_best(beam[b], answer[b].ids, &answer[b].n, &answer[b].ended, &answer[b].logprob);
        gq_beam_free(beam[b]);
    }
    gq_free(beam);
    gq_free(parent);
    return s;
}

gq_status gq_decode(const gq_decoding *d, int count, gq_answer *answer, gq_error *err)
{
    for (int b = 0; b < count; b++) {
        answer[b].n = 0;
        answer[b].ended = false;
        answer[b].logprob = 0.0;
    }
    return d->o->beams > 1 ? beam_search(d, count, answer, err) : greedy(d, count, answer, err);
}
