/* Prompts wait in a window until there are enough to sort by length, so that the prompts of a batch
 * need little padding; questions leave in the order in which their candidates came. */
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "data/qagen/neural.h"

typedef struct waiting { /* texts are bytes into the window's                      */
    size_t      gif, answer, prompt;
    size_t      caption;
    gq_category category;
} waiting;

typedef struct place {
    size_t length, at;
} place;

struct gq_asker {
    const gq_neural_form *form;
    gq_neural_model       model;
    gq_pairs             *to;
    waiting              *wait;      /* [window]                                               */
    place                *order;     /* [window]                                               */
    char (*written)[GQ_NEURAL_TEXT]; /* [window]                                           */
    const char   **prompt;           /* [batch]                                            */
    char         **text;             /* [batch]                                            */
    size_t         n;                /* that wait                                          */
    char          *bytes;            /* [room] their texts                                 */
    size_t         used, room;
    size_t         captions;
    size_t         last, first; /* the caption of the latest pair, its first pair         */
    gq_asker_count count;
};

/* What a question about each kind of answer is called; a phrase may say where, when, how. */
static const char *const types[GQ_CATEGORIES] = {"object", "object", "verb", "phrase", "color"};

gq_status gq_asker_new(const gq_neural_form *f, const gq_neural_model *m, gq_pairs *to,
                       gq_asker **out, gq_error *err)
{
    gq_asker *a = gq_calloc(1, sizeof *a);
    *out = NULL;
    if (a) {
        *a = (gq_asker){.form = f, .model = *m, .to = to, .last = SIZE_MAX};
        if (a->model.window < a->model.batch)
            a->model.window = a->model.batch;
        a->wait = gq_malloc(a->model.window, sizeof *a->wait);
        a->order = gq_malloc(a->model.window, sizeof *a->order);
        a->written = gq_malloc(a->model.window, sizeof *a->written);
        a->prompt = gq_malloc(a->model.batch, sizeof *a->prompt);
        a->text = gq_malloc(a->model.batch, sizeof *a->text);
    }
    if (!a || !a->wait || !a->order || !a->written || !a->prompt || !a->text) {
        gq_asker_free(a);
        return gq_fail(err, GQ_ENOMEM, "no memory for the prompts");
    }
    *out = a;
    return GQ_OK;
}

void gq_asker_free(gq_asker *a)
{
    if (!a)
        return;
    gq_free(a->wait);
    gq_free(a->order);
    gq_free(a->written);
    gq_free(a->prompt);
    gq_free(a->text);
    gq_free(a->bytes);
    gq_free(a);
}

const gq_asker_count *gq_asker_counts(const gq_asker *a)
{
    return &a->count;
}

/* ---- the model ------------------------------------------------------------------------------- */

static int by_length(const void *a, const void *b)
{
    const place *x = a, *y = b;
    if (x->length != y->length)
        return x->length < y->length ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

static gq_status write_all(gq_asker *a, gq_error *err)
{
    const gq_neural_model *m = &a->model;
    for (size_t k = 0; k < a->n; k++) {
        const char *prompt = a->bytes + a->wait[k].prompt;
        a->order[k] = (place){m->length ? m->length(m->ctx, prompt) : strlen(prompt), k};
    }
    qsort(a->order, a->n, sizeof *a->order, by_length);
    for (size_t from = 0, n; from < a->n; from += n) {
        n = a->n - from < m->batch ? a->n - from : m->batch;
        for (size_t k = 0; k < n; k++) {
            size_t at = a->order[from + k].at;
            a->prompt[k] = a->bytes + a->wait[at].prompt;
            a->text[k] = a->written[at];
            a->text[k][0] = 0;
        }
        gq_status s = m->generate(m->ctx, a->prompt, n, a->text, err);
        if (s != GQ_OK)
            return s;
        a->count.batches++;
    }
    a->count.prompts += a->n;
    return GQ_OK;
}

/* ---- questions ------------------------------------------------------------------------------- */

static bool asked_before(const gq_asker *a, const char *question)
{
    for (size_t k = a->first; k < gq_pairs_count(a->to); k++)
        if (!strcmp(gq_pairs_at(a->to, k).question, question))
            return true;
    return false;
}

static gq_status take(gq_asker *a, size_t k, gq_error *err)
{
    const waiting *w = &a->wait[k];
    char           question[GQ_NEURAL_QUESTION];
    gq_neural_fate fate = gq_neural_clean(a->form, a->written[k], a->bytes + w->answer, question);
    if (w->caption != a->last) {
        a->last = w->caption;
        a->first = gq_pairs_count(a->to);
    }
    if (fate == GQ_NEURAL_GOOD && asked_before(a, question))
        fate = GQ_NEURAL_AGAIN;
    a->count.fate[fate]++;
    if (fate != GQ_NEURAL_GOOD)
        return GQ_OK;
    return gq_pairs_add(a->to,
                        &(gq_pair){.gif = a->bytes + w->gif,
                                   .question = question,
                                   .answer = a->bytes + w->answer,
                                   .type = types[w->category],
                                   .template = a->form->name,
                                   .candidate = gq_category_name(w->category),
                                   .group = (uint32_t)w->category},
                        err);
}

gq_status gq_asker_finish(gq_asker *a, gq_error *err)
{
    gq_status s = write_all(a, err);
    for (size_t k = 0; k < a->n && s == GQ_OK; k++)
        s = take(a, k, err);
    a->n = a->used = 0;
    return s;
}

/* ---- the window ------------------------------------------------------------------------------ */

static gq_status keep(gq_asker *a, const char *text, size_t *at, gq_error *err)
{
    size_t n = strlen(text) + 1;
    if (a->room - a->used < n) {
        size_t room = 2 * a->room + n;
        char  *bytes = gq_realloc(a->bytes, room, 1);
        if (!bytes)
            return gq_fail(err, GQ_ENOMEM, "no memory for the prompts");
        a->bytes = bytes;
        a->room = room;
    }
    memcpy(a->bytes + a->used, text, n);
    *at = a->used;
    a->used += n;
    return GQ_OK;
}

static gq_status add(gq_asker *a, const char *gif, const gq_caption *c,
                     const gq_candidate *candidate, gq_error *err)
{
    char      prompt[GQ_NEURAL_PROMPT], answer[GQ_NEURAL_TEXT];
    waiting   w = {.caption = a->captions, .category = candidate->category};
    gq_status s = GQ_OK;
    if (!gq_neural_prompt(a->form, c, candidate, prompt) ||
        !gq_caption_text(c, candidate->from, candidate->to, answer, sizeof answer)) {
        a->count.too_long++;
        return GQ_OK;
    }
    if (a->n == a->model.window)
        s = gq_asker_finish(a, err);
    if (s == GQ_OK)
        s = keep(a, gif, &w.gif, err);
    if (s == GQ_OK)
        s = keep(a, answer, &w.answer, err);
    if (s == GQ_OK)
        s = keep(a, prompt, &w.prompt, err);
    if (s == GQ_OK)
        a->wait[a->n++] = w;
    return s;
}

gq_status gq_asker_caption(gq_asker *a, const char *gif, const gq_caption *c, gq_error *err)
{
    gq_candidate list[GQ_CANDIDATES];
    gq_status    s = GQ_OK;
    size_t       n = gq_candidates(c, list);
    for (size_t k = 0; k < n && s == GQ_OK; k++)
        s = add(a, gif, c, &list[k], err);
    a->captions++;
    return s;
}
