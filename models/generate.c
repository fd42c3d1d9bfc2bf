#include "models/generate.h"

#include <string.h>

#include "core/io.h"
#include "core/mem.h"

typedef struct prefill {                            /* one recorded prompt pass                   */
    gq_stllm_tape h;
    gq_t          last;                             /* i32 [B]: row of each prompt's last token   */
    gq_t          cache_pos;                        /* i32 [B]: zeros                             */
    gq_t          logits;                           /* [B,V]                                      */
} prefill;

struct gq_generator {
    gq_engine      *engine;
    gq_params      *params;
    gq_stllm_config cfg;
    gq_decode_opts  o;
    int             batch, rows, frames, visual;  /* rows = batch * beams; visual tokens a prompt */
    bool            live;
    int             cap;                            /* positions in the caches                    */
    size_t          row_bytes;                      /* of one row of one layer's cache            */
    char           *prompt_cache, *beam_cache;   /* [layers][B][cap][2C], [layers][rows][cap][2C] */
    char           *spare;                          /* [rows][cap][2C], while beams change places */
    prefill        *pre;                            /* by prompt length                           */
    int             npre;
    gq_tape        *step;
    gq_t            ids, pos, cache_pos, lengths, logits;    /* of the step tape, one row a beam  */
    float          *row;                            /* [rows*V] logits as float                   */
    int32_t        *token;                          /* [rows] fed next                            */
    int            *used;                           /* [B] prompt lengths                         */
};

/* ---- recording ------------------------------------------------------------------------------- */

static void bind_caches(gq_tape *t, gq_generator *g, char *base, int rows, gq_t *cache)
{
    for (int l = 0; l < g->cfg.gpt2.layers; l++)
        cache[l] = gq_extern(t, "cache", g->engine->backend->real, 3,
                             GQ_SHAPE(rows, g->cap, 2 * g->cfg.gpt2.width),
                             base + (size_t)l * (size_t)rows * g->row_bytes);
}

static gq_t head_logits(gq_tape *t, gq_generator *g, gq_t states, gq_t rows)
{
    gq_t x = gq_gather_rows(t, states, rows);
    return gq_linear(t, x, gq_gpt2_head(t, &g->cfg.gpt2), GQ_T_NONE, GQ_NONE, GQ_T_NONE);
}

static gq_status record_prefill(gq_generator *g, int text, prefill *p, gq_error *err)
{
    gq_t         cache[64], x;
    int64_t      b = g->batch;
    gq_gpt2_opts o = {.cache = cache};
    gq_tape     *t;
    gq_status    s = gq_tape_new(g->engine, g->params, "prefill", &t, err);

    if (s != GQ_OK)
        return s;
    memset(p, 0, sizeof *p);
    p->h.tape = t;
    p->h.shape =
        (gq_stllm_shape){.batch = g->batch, .frames = g->frames, .text = text, .live = g->live};
    gq_tape_no_grad(t);
    bind_caches(t, g, g->prompt_cache, g->batch, cache);
    p->h.ids = gq_input(t, "ids", GQ_I32, 2, GQ_SHAPE(b, text));
    p->h.pos = gq_input(t, "pos", GQ_I32, 2, GQ_SHAPE(b, g->visual + text));
    o.pos = p->cache_pos = gq_input(t, "cache_pos", GQ_I32, 1, &b);
    p->last = gq_input(t, "last", GQ_I32, 1, &b);
    x = gq_gpt2_tokens(t, p->h.ids);
    if (g->frames)
        x = gq_concat_rows(t, gq_stllm_visual(t, &g->cfg, &p->h), x);
    x = gq_gpt2_states(t, &g->cfg.gpt2, x, p->h.pos, &o);
    p->logits = head_logits(t, g, x, p->last);
    gq_keep(t, p->logits, "logits");
    s = gq_tape_finish(t, GQ_T_NONE, NULL, err);
    if (s != GQ_OK)
        gq_tape_free(t);
    return s;
}

static gq_status record_step(gq_generator *g, gq_error *err)
{
    gq_t         cache[64], x, all;
    int64_t      r = g->rows;
    gq_gpt2_opts o = {.cache = cache};
    gq_status    s = gq_tape_new(g->engine, g->params, "decode", &g->step, err);

    if (s != GQ_OK)
        return s;
    gq_tape_no_grad(g->step);
    bind_caches(g->step, g, g->beam_cache, g->rows, cache);
    g->ids = gq_input(g->step, "ids", GQ_I32, 2, GQ_SHAPE(r, 1));
    g->pos = gq_input(g->step, "pos", GQ_I32, 2, GQ_SHAPE(r, 1));
    o.pos = g->cache_pos = gq_input(g->step, "cache_pos", GQ_I32, 1, &r);
    o.lengths = g->lengths = gq_input(g->step, "lengths", GQ_I32, 1, &r);
    x = gq_gpt2_states(g->step, &g->cfg.gpt2, gq_gpt2_tokens(g->step, g->ids), g->pos, &o);
    all = gq_reshape(g->step, x, 2, GQ_SHAPE(r, g->cfg.gpt2.width));
    g->logits =
        gq_linear(g->step, all, gq_gpt2_head(g->step, &g->cfg.gpt2), GQ_T_NONE, GQ_NONE, GQ_T_NONE);
    gq_keep(g->step, g->logits, "logits");
    return gq_tape_finish(g->step, GQ_T_NONE, NULL, err);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void free_tapes(gq_generator *g)
{
    for (int i = 0; i < g->npre; i++)
        gq_tape_free(g->pre[i].h.tape);
    g->npre = 0;
    gq_tape_free(g->step);
    g->step = NULL;
    if (g->beam_cache != g->prompt_cache)
        gq_engine_release(g->engine, g->beam_cache);
    gq_engine_release(g->engine, g->prompt_cache);
    gq_engine_release(g->engine, g->spare);
    g->prompt_cache = g->beam_cache = g->spare = NULL;
}

/* Caches for `text` prompt positions and everything that can follow; recorded passes die with the
 * old caches. */
static gq_status make_caches(gq_generator *g, int text, gq_error *err)
{
    size_t layers = (size_t)g->cfg.gpt2.layers;

    free_tapes(g);
    g->cap = g->visual + text + g->o.max_new;
    g->row_bytes =
        (size_t)g->cap * 2 * (size_t)g->cfg.gpt2.width * gq_dtype_size(g->engine->backend->real);
    g->prompt_cache = gq_engine_alloc(g->engine, layers * (size_t)g->batch * g->row_bytes);
    g->beam_cache = g->o.beams > 1
                        ? gq_engine_alloc(g->engine, layers * (size_t)g->rows * g->row_bytes)
                        : g->prompt_cache;
    g->spare = g->o.beams > 1 ? gq_engine_alloc(g->engine, (size_t)g->rows * g->row_bytes) : NULL;
    if (!g->prompt_cache || !g->beam_cache || (g->o.beams > 1 && !g->spare))
        return gq_fail(
            err, GQ_ENOMEM,
            "decoding: no memory for a cache of %d positions: lower decode.beams or the batch",
            g->cap);
    return record_step(g, err);
}

gq_status gq_generator_new(gq_engine *e, gq_params *p, const gq_stllm_config *c, int batch,
                           int frames, bool live, const gq_decode_opts *o, gq_generator **out,
                           gq_error *err)
{
    gq_generator *g = gq_calloc(1, sizeof *g);

    *out = NULL;
    if (!g)
        return gq_fail(err, GQ_ENOMEM, "decoding: out of memory");
    g->engine = e;
    g->params = p;
    g->cfg = *c;
    g->o = *o;
    g->batch = batch;
    g->rows = batch * o->beams;
    g->frames = frames;
    g->visual = frames * c->qformer.queries;
    g->live = live;
    g->row = gq_calloc((size_t)g->rows * (size_t)c->gpt2.vocab, sizeof *g->row);
    g->token = gq_calloc((size_t)g->rows, sizeof *g->token);
    g->used = gq_calloc((size_t)batch, sizeof *g->used);
    if (!g->row || !g->token || !g->used || c->gpt2.layers > 64) {
        gq_generator_free(g);
        return gq_fail(err, GQ_ENOMEM, "decoding: out of memory");
    }
    *out = g;
    return GQ_OK;
}

void gq_generator_free(gq_generator *g)
{
    if (!g)
        return;
    free_tapes(g);
    gq_free(g->pre);
    gq_free(g->row);
    gq_free(g->token);
    gq_free(g->used);
    gq_free(g);
}

static gq_status find_prefill(gq_generator *g, int text, prefill **out, gq_error *err)
{
    prefill  *grown;
    gq_status s = GQ_OK;

    if (g->visual + text + g->o.max_new > g->cfg.gpt2.positions)
        return gq_fail(err, GQ_EINPUT,
                       "%d visual tokens, a question of %d and %d new tokens need more than the %d "
                       "positions of "
                       "GPT-2: shorten the question",
                       g->visual, text, g->o.max_new, g->cfg.gpt2.positions);
    if (g->visual + text + g->o.max_new > g->cap)
        s = make_caches(g, text, err);
    for (int i = 0; s == GQ_OK && i < g->npre; i++)
        if (g->pre[i].h.shape.text == text) {
            *out = &g->pre[i];
            return GQ_OK;
        }
    if (s != GQ_OK)
        return s;
    grown = gq_realloc(g->pre, (size_t)g->npre + 1, sizeof *grown);
    if (!grown)
        return gq_fail(err, GQ_ENOMEM, "decoding: out of memory");
    g->pre = grown;
    s = record_prefill(g, text, &g->pre[g->npre], err);
    if (s == GQ_OK)
        *out = &g->pre[g->npre++];
    return s;
}

/* ---- running --------------------------------------------------------------------------------- */

static void feed_vision(gq_generator *g, prefill *p, const gq_prompt *prompt, int count)
{
    gq_t    x = g->live ? p->h.frames : p->h.features;
    int64_t per = gq_dim(p->h.tape, x, 1) * gq_dim(p->h.tape, x, 2) * (g->live ? 3 : 1) * g->frames;

    for (int b = 0; b < g->batch; b++) {
        const void *v = prompt[b < count ? b : 0].vision;    /* idle rows repeat the first prompt */
        if (g->live)
            memcpy((uint8_t *)gq_data(p->h.tape, x) + b * per, v, (size_t)per);
        else
            gq_put_real(p->h.tape, x, b * per, v, per);
    }
}

static gq_status run_prefill(gq_generator *g, const gq_prompt *prompt, int count, gq_error *err)
{
    int       text = 0, width;
    int32_t  *ids, *pos, *last;
    prefill  *p = NULL;
    gq_status s;

    for (int b = 0; b < count; b++)
        text = prompt[b].n > text ? prompt[b].n : text;
    text = (text + g->o.bucket - 1) / g->o.bucket * g->o.bucket;
    s = find_prefill(g, text, &p, err);
    if (s != GQ_OK)
        return s;
    width = g->visual + text;
    ids = gq_data(p->h.tape, p->h.ids);
    pos = gq_data(p->h.tape, p->h.pos);
    last = gq_data(p->h.tape, p->last);
    if (g->frames)
        feed_vision(g, p, prompt, count);
    for (int b = 0; b < g->batch; b++) {
        const gq_prompt *q = &prompt[b < count ? b : 0];
        for (int j = 0; j < text; j++)
            ids[b * text + j] = j < q->n ? q->ids[j] : g->o.end_id;
        for (int j = 0; j < width; j++)
            pos[b * width + j] = j;
        g->used[b] = g->visual + q->n;
        last[b] = b * width + g->used[b] - 1;
    }
    s = gq_forward(p->h.tape, err);
    if (s == GQ_OK)
        gq_get_real(p->h.tape, p->logits, 0, g->row, (int64_t)g->batch * g->cfg.gpt2.vocab);
    return s;
}

/* Feeds token[] as the step-th new token (from 0) of every row; logits land in g->row. */
static gq_status run_step(void *ctx, int step, gq_error *err)
{
    gq_generator *g = ctx;
    int32_t  *ids = gq_data(g->step, g->ids), *pos = gq_data(g->step, g->pos);
    int32_t  *cache_pos = gq_data(g->step, g->cache_pos), *lengths = gq_data(g->step, g->lengths);
    gq_status s;

    for (int r = 0; r < g->rows; r++) {
        int at = g->used[r / g->o.beams] + step;
        ids[r] = g->token[r];
        pos[r] = cache_pos[r] = at;
        lengths[r] = at + 1;
    }
    s = gq_forward(g->step, err);
    if (s == GQ_OK)
        gq_get_real(g->step, g->logits, 0, g->row, (int64_t)g->rows * g->cfg.gpt2.vocab);
    return s;
}

/* Every beam of a prompt starts from its prompt's cache. */
static void spread_prompts(gq_generator *g)
{
    for (int l = 0; l < g->cfg.gpt2.layers; l++)
        for (int r = 0; r < g->rows; r++)
            gq_engine_copy(
                g->engine, g->beam_cache + ((size_t)l * (size_t)g->rows + (size_t)r) * g->row_bytes,
                g->prompt_cache +
                    ((size_t)l * (size_t)g->batch + (size_t)(r / g->o.beams)) * g->row_bytes,
                g->row_bytes);
}

gq_status gq_generate(gq_generator *g, const gq_prompt *prompt, int count, gq_answer *answer,
                      double seconds[2], gq_error *err)
{
    double      start = gq_now(), middle;
    gq_status   s = run_prefill(g, prompt, count, err);
    gq_decoding d = {.o = &g->o,
                     .engine = g->engine,
                     .batch = g->batch,
                     .lead = 1,
                     .vocab = g->cfg.gpt2.vocab,
                     .start = -1,
                     .row = g->row,
                     .token = g->token,
                     .prompt = g->used,
                     .cache = g->beam_cache,
                     .spare = g->spare,
                     .layers = g->cfg.gpt2.layers,
                     .row_bytes = g->row_bytes,
                     .step = run_step,
                     .ctx = g};

    middle = gq_now();
    if (s == GQ_OK && g->o.beams > 1)
        spread_prompts(g);
    if (s == GQ_OK)
        s = gq_decode(&d, count, answer, err);
    if (seconds) {
        seconds[0] += middle - start;
        seconds[1] += gq_now() - middle;
    }
    return s;
}
