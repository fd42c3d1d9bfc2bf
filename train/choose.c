#include "train/choose.h"

#include <string.h>

#include "core/mem.h"
#include "data/prompt.h"
#include "train/evaluate.h"
#include "train/feed.h"

struct gq_chooser {
    gq_net             *net;
    const gq_dataset   *data;
    const gq_tokenizer *tok;
    gq_prompt_form      form;
    gq_shard_cursor    *cursor;
    bool                live;
    int32_t             gif;            /* whose vision is there, -1 none                         */
    void               *vision;         /* one sample's                                           */
    gq_prompt_ids       answer[GQ_CHOOSE_MAX];
};

void gq_chooser_free(gq_chooser *c)
{
    if (!c)
        return;
    for (int i = 0; i < GQ_CHOOSE_MAX; i++)
        gq_prompt_ids_free(&c->answer[i]);
    gq_shard_cursor_free(c->cursor);
    gq_free(c->vision);
    gq_free(c);
}

gq_status gq_chooser_new(gq_net *n, const gq_dataset *d, const gq_tokenizer *tok, gq_chooser **out,
                         gq_error *err)
{
    const gq_shard_meta *m = gq_dataset_meta(d);
    gq_chooser          *c = gq_calloc(1, sizeof *c);
    size_t               bytes = 0;
    gq_status            s;
    *out = NULL;
    if (!c)
        return gq_fail(err, GQ_ENOMEM, "choices: out of memory");
    c->net = n;
    c->data = d;
    c->tok = tok;
    c->gif = -1;
    c->form = (gq_prompt_form){.answer_prefix = m->answer_prefix,
                               .max_answer = (int32_t)n->cfg.prompt.max_answer_tokens};
    s = gq_data_fits(&n->cfg, d, &c->live, err);
    if (s == GQ_OK)
        bytes = c->live ? gq_shard_frame_bytes(m) : gq_shard_token_count(m) * sizeof(float);
    if (s == GQ_OK && !(c->vision = gq_malloc(1, bytes + 1)))                /* +1: texts have none */
        s = gq_fail(err, GQ_ENOMEM, "choices: out of memory");
    if (s == GQ_OK)
        s = gq_shard_cursor_new(d, &c->cursor, err);
    if (s == GQ_OK)
        *out = c;
    else
        gq_chooser_free(c);
    return s;
}

static gq_status look(gq_chooser *c, int32_t gif, gq_error *err)
{
    gq_status s;
    if (c->gif == gif || c->net->cfg.model.kind == GQ_CFG_KIND_T5)
        return GQ_OK;
    c->gif = -1;
    s = c->live ? gq_dataset_frames(c->data, c->cursor, gif, c->vision, err)
                : gq_dataset_tokens(c->data, c->cursor, gif, c->vision, err);
    if (s == GQ_OK)
        c->gif = gif;
    return s;
}

/* One pass: the same GIF and question n times, each with another answer. */
static gq_status pass(gq_chooser *c, const gq_sample *sample, int n, double *logprob, int *tokens,
                      gq_error *err)
{
    gq_feed_opts   o = {.inv_lm = 1.0, .end_id = gq_tokenizer_end_id(c->tok)};
    gq_stllm_shape shape;
    gq_pass       *h;
    float          stats[2];
    gq_feed_shape(&c->net->cfg, sample, n, c->live, false, false, NULL, &shape);
    gq_status s = gq_net_pass(c->net, &shape, &h, err);
    if (s != GQ_OK)
        return s;
    gq_feed_pass(&c->net->cfg, sample, NULL, NULL, &o, h);
    s = gq_forward(h->tape, err);
    for (int i = 0, row = 0; s == GQ_OK && i < n; i++) {
        tokens[i] = sample[i].na + 1;
        logprob[i] = 0.0;
        for (int k = 0; k < tokens[i]; k++, row++) {
            gq_get_real(h->tape, h->stats, 2 * row, stats, 2);
            logprob[i] -= stats[0];
        }
    }
    return s;
}

gq_status gq_chooser_score(gq_chooser *c, int64_t question, const char *const *answer, int n,
                           double *logprob, int *tokens, gq_error *err)
{
    gq_sample sample[GQ_CHOOSE_MAX];
    gq_qa     qa;
    gq_status s = n >= 1 && n <= GQ_CHOOSE_MAX
                      ? GQ_OK
                      : gq_fail(err, GQ_EUSAGE, "%d answers to choose from", n);
    if (s != GQ_OK)
        return s;
    gq_dataset_qa(c->data, question, &qa);
    s = look(c, qa.gif, err);
    for (int i = 0; s == GQ_OK && i < n; i++) {
        s = gq_prompt_answer(&c->form, c->tok, answer[i], &c->answer[i], err);
        sample[i] = (gq_sample){.vision = c->vision,
                                .question = qa.q_ids,
                                .nq = qa.nq,
                                .answer = c->answer[i].ids,
                                .na = c->answer[i].n,
                                .index = question};
    }
    return s == GQ_OK ? pass(c, sample, n, logprob, tokens, err) : s;
}
