#include "train/t5_text.h"

#include <string.h>

#include "core/mem.h"

enum { BUCKET = 8 };                    /* lengths that are recorded: padding costs, and so does a recording */

struct gq_t5_writer {
    gq_t5_model     *model;
    gq_t5_generator *generator;
    int              batch;
    unsigned         flags;             /* of encoding                                            */
    gq_source       *source;            /* [batch]                                                */
    gq_answer       *answer;            /* [batch]                                                */
    int32_t        **ids;               /* [batch] [room]                                         */
    size_t          *room;              /* [batch]                                                */
    int32_t         *written;           /* [batch * max_new]                                      */
    double           seconds[2];
};

gq_status gq_t5_writer_new(gq_t5_model *m, int batch, const gq_decode_opts *o, bool special,
                           gq_t5_writer **out, gq_error *err)
{
    gq_t5_writer  *w = gq_calloc(1, sizeof *w);
    gq_decode_opts own = *o;
    size_t         n = (size_t)batch;

    *out = NULL;
    if (w) {
        *w = (gq_t5_writer){.model = m, .batch = batch, .flags = GQ_TOK_FRAME | (special ? GQ_TOK_SPECIAL : 0u)};
        w->source = gq_calloc(n, sizeof *w->source);
        w->answer = gq_calloc(n, sizeof *w->answer);
        w->ids = gq_calloc(n, sizeof *w->ids);
        w->room = gq_calloc(n, sizeof *w->room);
        w->written = gq_calloc(n * (size_t)o->max_new, sizeof *w->written);
    }
    if (!w || !w->source || !w->answer || !w->ids || !w->room || !w->written) {
        gq_t5_writer_free(w);
        return gq_fail(err, GQ_ENOMEM, "no memory for batches of %d prompts", batch);
    }
    for (int k = 0; k < batch; k++)
        w->answer[k].ids = w->written + k * o->max_new;
    own.bucket = BUCKET;
    own.end_id = gq_tokenizer_end_id(m->tokenizer);
    own.tokens = gq_tokenizer_vocab_size(m->tokenizer);
    gq_status s = gq_t5_generator_new(m->engine, m->params, &m->c, batch, &own, &w->generator, err);
    if (s == GQ_OK)
        *out = w;
    else
        gq_t5_writer_free(w);
    return s;
}

void gq_t5_writer_free(gq_t5_writer *w)
{
    if (!w)
        return;
    gq_t5_generator_free(w->generator);
    for (int k = 0; k < w->batch && w->ids; k++)
        gq_free(w->ids[k]);
    gq_free(w->source);
    gq_free(w->answer);
    gq_free(w->ids);
    gq_free(w->room);
    gq_free(w->written);
    gq_free(w);
}

size_t gq_t5_length(const gq_t5_writer *w, const char *prompt)
{
    size_t n = 0;
    return gq_tokenizer_encode(w->model->tokenizer, prompt, strlen(prompt), w->flags, NULL, 0, &n, NULL) == GQ_OK
               ? n
               : 0;
}

static gq_status encode(gq_t5_writer *w, size_t k, const char *prompt, gq_error *err)
{
    size_t    n, length = strlen(prompt);
    gq_status s = gq_tokenizer_encode(w->model->tokenizer, prompt, length, w->flags, w->ids[k], w->room[k], &n, err);

    if (s == GQ_OK && n > w->room[k]) {
        int32_t *grown = gq_realloc(w->ids[k], n, sizeof *grown);
        if (!grown)
            return gq_fail(err, GQ_ENOMEM, "no memory for a prompt of %zu tokens", n);
        w->ids[k] = grown;
        w->room[k] = n;
        s = gq_tokenizer_encode(w->model->tokenizer, prompt, length, w->flags, grown, n, &n, err);
    }
    w->source[k] = (gq_source){w->ids[k], (int)n};
    return s;
}

static gq_status decode(gq_t5_writer *w, size_t k, char *text, size_t room, gq_error *err)
{
    char     *all;
    size_t    n;
    gq_status s = gq_tokenizer_decode(w->model->tokenizer, w->answer[k].ids, (size_t)w->answer[k].n,
                                      GQ_TOK_SKIP | GQ_TOK_REPAIR, &all, &n, err);

    if (s != GQ_OK)
        return s;
    if (n >= room)
        for (n = room - 1; n > 0 && ((unsigned char)all[n] & 0xC0) == 0x80;)
            n--;
    memcpy(text, all, n);
    text[n] = 0;
    gq_free(all);
    return GQ_OK;
}

gq_status gq_t5_write(gq_t5_writer *w, const char *const *prompt, size_t n, char *const *text, size_t room,
                      gq_error *err)
{
    gq_status s = GQ_OK;

    for (size_t k = 0; s == GQ_OK && k < n; k++)
        s = encode(w, k, prompt[k], err);
    if (s == GQ_OK)
        s = gq_t5_generate(w->generator, w->source, (int)n, w->answer, w->seconds, err);
    for (size_t k = 0; s == GQ_OK && k < n; k++)
        s = decode(w, k, text[k], room, err);
    return s;
}

void gq_t5_seconds(const gq_t5_writer *w, double out[2])
{
    memcpy(out, w->seconds, sizeof w->seconds);
}
