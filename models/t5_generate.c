#include "models/t5_generate.h"

#include <string.h>

#include "core/io.h"
#include "core/mem.h"

typedef struct encoding {                           /* one recorded pass over sources             */
    gq_tape *tape;
    int      length;
    gq_t     ids, lengths, zeros;                   /* i32 [B,S], [B], [B]                        */
} encoding;

struct gq_t5_generator {
    gq_engine     *engine;
    gq_params     *params;
    gq_t5_config   cfg;
    gq_decode_opts o;
    int            batch, rows;                     /* rows = batch * beams                       */
    int            cap;                             /* longest source the cross caches hold       */
    size_t         self_bytes, cross_bytes;         /* of one row of one layer                    */
    char          *self, *spare, *cross;            /* [layers][rows][max_new][2I], [rows][..], [layers][B][cap][2I] */
    encoding      *enc;                             /* by length                                  */
    int            nenc;
    gq_tape       *step;
    gq_t           ids, pos, lengths, source, logits;        /* of the step                       */
    float         *row;                             /* [rows*V] logits as float                   */
    int32_t       *token;                           /* [rows] fed next                            */
    int           *one;                             /* [B]: a target's prompt is START            */
};

/* ---- recording ------------------------------------------------------------------------------- */

static void bind(gq_tape *t, const gq_t5_generator *g, char *base, int rows, int positions, size_t row_bytes,
                 gq_t *cache)
{
    int64_t width = 2 * (int64_t)g->cfg.heads * g->cfg.head_width;
    for (int l = 0; l < g->cfg.decoder_layers; l++)
        cache[l] = gq_extern(t, "cache", g->engine->backend->real, 3, GQ_SHAPE(rows, positions, width),
                             base + (size_t)l * (size_t)rows * row_bytes);
}

static gq_status record_encoding(gq_t5_generator *g, int length, encoding *e, gq_error *err)
{
    gq_t      cross[GQ_T5_MAX_LAYERS], memory;
    int64_t   b = g->batch;
    gq_status s = gq_tape_new(g->engine, g->params, "encode", &e->tape, err);

    if (s != GQ_OK)
        return s;
    e->length = length;
    gq_tape_no_grad(e->tape);
    bind(e->tape, g, g->cross, g->batch, g->cap, g->cross_bytes, cross);
    e->ids = gq_input(e->tape, "ids", GQ_I32, 2, GQ_SHAPE(b, length));
    e->lengths = gq_input(e->tape, "lengths", GQ_I32, 1, &b);
    e->zeros = gq_input(e->tape, "zeros", GQ_I32, 1, &b);
    memory = gq_t5_encode(e->tape, &g->cfg, e->ids, e->lengths, 0.0);
    gq_t5_remember(e->tape, &g->cfg, memory, e->zeros, cross);
    s = gq_tape_finish(e->tape, GQ_T_NONE, NULL, err);
    if (s != GQ_OK)
        gq_tape_free(e->tape);
    return s;
}

static gq_status record_step(gq_t5_generator *g, gq_error *err)
{
    gq_t        self[GQ_T5_MAX_LAYERS], cross[GQ_T5_MAX_LAYERS], states;
    gq_t5_cache k = {.self = self, .cross = cross, .beams = g->o.beams};
    int64_t     r = g->rows, b = g->batch;
    gq_status   s = gq_tape_new(g->engine, g->params, "decode", &g->step, err);

    if (s != GQ_OK)
        return s;
    gq_tape_no_grad(g->step);
    bind(g->step, g, g->self, g->rows, g->o.max_new, g->self_bytes, self);
    bind(g->step, g, g->cross, g->batch, g->cap, g->cross_bytes, cross);
    g->ids = gq_input(g->step, "ids", GQ_I32, 2, GQ_SHAPE(r, 1));
    k.pos = g->pos = gq_input(g->step, "pos", GQ_I32, 1, &r);
    k.lengths = g->lengths = gq_input(g->step, "lengths", GQ_I32, 1, &r);
    k.source = g->source = gq_input(g->step, "source", GQ_I32, 1, &b);
    states = gq_t5_step(g->step, &g->cfg, g->ids, &k);
    g->logits = gq_linear(g->step, states, gq_t5_head(g->step, &g->cfg), GQ_T_NONE, GQ_NONE, GQ_T_NONE);
    gq_keep(g->step, g->logits, "logits");
    return gq_tape_finish(g->step, GQ_T_NONE, NULL, err);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void free_caches(gq_t5_generator *g)
{
    for (int i = 0; i < g->nenc; i++)
        gq_tape_free(g->enc[i].tape);
    g->nenc = 0;
    gq_tape_free(g->step);
    g->step = NULL;
    gq_engine_release(g->engine, g->self);
    gq_engine_release(g->engine, g->spare);
    gq_engine_release(g->engine, g->cross);
    g->self = g->spare = g->cross = NULL;
    g->cap = 0;
}

/* Caches for sources of up to `length`; recorded passes die with the old ones. */
static gq_status make_caches(gq_t5_generator *g, int length, gq_error *err)
{
    size_t    layers = (size_t)g->cfg.decoder_layers, rows = (size_t)g->rows;
    size_t    width = 2 * (size_t)(g->cfg.heads * g->cfg.head_width) * gq_dtype_size(g->engine->backend->real);
    gq_status s;

    free_caches(g);
    g->self_bytes = (size_t)g->o.max_new * width;
    g->cross_bytes = (size_t)length * width;
    g->self = gq_engine_alloc(g->engine, layers * rows * g->self_bytes);
    g->spare = g->o.beams > 1 ? gq_engine_alloc(g->engine, rows * g->self_bytes) : NULL;
    g->cross = gq_engine_alloc(g->engine, layers * (size_t)g->batch * g->cross_bytes);
    if (!g->self || !g->cross || (g->o.beams > 1 && !g->spare)) {
        free_caches(g);
        return gq_fail(err, GQ_ENOMEM, "decoding: no memory for caches of %d source and %d new tokens of %d texts: "
                       "lower the batch or the beams", length, g->o.max_new, g->batch);
    }
    g->cap = length;
    s = record_step(g, err);
    if (s != GQ_OK)
        free_caches(g);
    return s;
}

gq_status gq_t5_generator_new(gq_engine *e, gq_params *p, const gq_t5_config *c, int batch, const gq_decode_opts *o,
                              gq_t5_generator **out, gq_error *err)
{
    gq_t5_generator *g = gq_calloc(1, sizeof *g);

    *out = NULL;
    if (!g)
        return gq_fail(err, GQ_ENOMEM, "decoding: out of memory");
    *g = (gq_t5_generator){.engine = e, .params = p, .cfg = *c, .o = *o, .batch = batch, .rows = batch * o->beams};
    g->row = gq_calloc((size_t)g->rows * (size_t)c->vocab, sizeof *g->row);
    g->token = gq_calloc((size_t)g->rows, sizeof *g->token);
    g->one = gq_calloc((size_t)batch, sizeof *g->one);
    if (!g->row || !g->token || !g->one) {
        gq_t5_generator_free(g);
        return gq_fail(err, GQ_ENOMEM, "decoding: out of memory");
    }
    for (int b = 0; b < batch; b++)
        g->one[b] = 1;
    *out = g;
    return GQ_OK;
}

void gq_t5_generator_free(gq_t5_generator *g)
{
    if (!g)
        return;
    free_caches(g);
    gq_free(g->enc);
    gq_free(g->row);
    gq_free(g->token);
    gq_free(g->one);
    gq_free(g);
}

static gq_status find_encoding(gq_t5_generator *g, int length, encoding **out, gq_error *err)
{
    encoding *grown;
    gq_status s = length > g->cap ? make_caches(g, length, err) : GQ_OK;

    for (int i = 0; s == GQ_OK && i < g->nenc; i++)
        if (g->enc[i].length == length) {
            *out = &g->enc[i];
            return GQ_OK;
        }
    if (s != GQ_OK)
        return s;
    grown = gq_realloc(g->enc, (size_t)g->nenc + 1, sizeof *grown);
    if (!grown)
        return gq_fail(err, GQ_ENOMEM, "decoding: out of memory");
    g->enc = grown;
    s = record_encoding(g, length, &g->enc[g->nenc], err);
    if (s == GQ_OK)
        *out = &g->enc[g->nenc++];
    return s;
}

/* ---- running --------------------------------------------------------------------------------- */

static gq_status encode(gq_t5_generator *g, const gq_source *source, int count, gq_error *err)
{
    int       length = 1;
    int32_t  *ids, *lengths;
    encoding *e = NULL;
    gq_status s;

    for (int b = 0; b < count; b++)
        length = source[b].n > length ? source[b].n : length;
    length = (length + g->o.bucket - 1) / g->o.bucket * g->o.bucket;
    s = find_encoding(g, length, &e, err);
    if (s != GQ_OK)
        return s;
    ids = gq_data(e->tape, e->ids);
    lengths = gq_data(e->tape, e->lengths);
    for (int b = 0; b < g->batch; b++) {
        const gq_source *from = &source[b < count ? b : 0];  /* idle rows repeat the first source */
        for (int j = 0; j < length; j++)
            ids[b * length + j] = j < from->n ? from->ids[j] : GQ_T5_START;
        lengths[b] = from->n;
        ((int32_t *)gq_data(e->tape, e->zeros))[b] = 0;
        ((int32_t *)gq_data(g->step, g->source))[b] = from->n;
    }
    return gq_forward(e->tape, err);
}

/* Feeds token[] at place `at` of every row. */
static gq_status run_step(gq_t5_generator *g, int at, gq_error *err)
{
    gq_status s;

    for (int r = 0; r < g->rows; r++) {
        ((int32_t *)gq_data(g->step, g->ids))[r] = g->token[r];
        ((int32_t *)gq_data(g->step, g->pos))[r] = at;
        ((int32_t *)gq_data(g->step, g->lengths))[r] = at + 1;
    }
    s = gq_forward(g->step, err);
    if (s == GQ_OK)
        gq_get_real(g->step, g->logits, 0, g->row, (int64_t)g->rows * g->cfg.vocab);
    return s;
}

static gq_status next(void *ctx, int step, gq_error *err)
{
    return run_step(ctx, step + 1, err);
}

gq_status gq_t5_generate(gq_t5_generator *g, const gq_source *source, int count, gq_answer *answer, double seconds[2],
                         gq_error *err)
{
    double      start = gq_now(), middle;
    gq_status   s = encode(g, source, count, err);
    gq_decoding d = {.o = &g->o,
                     .engine = g->engine,
                     .batch = g->batch,
                     .lead = g->o.beams,
                     .vocab = g->cfg.vocab,
                     .start = GQ_T5_START,
                     .row = g->row,
                     .token = g->token,
                     .prompt = g->one,
                     .cache = g->self,
                     .spare = g->spare,
                     .layers = g->cfg.decoder_layers,
                     .row_bytes = g->self_bytes,
                     .step = next,
                     .ctx = g};

    middle = gq_now();
    for (int r = 0; r < g->rows; r++)
        g->token[r] = GQ_T5_START;
    if (s == GQ_OK)
        s = run_step(g, 0, err);
    if (s == GQ_OK)
        s = gq_decode(&d, count, answer, err);
    if (seconds) {
        seconds[0] += middle - start;
        seconds[1] += gq_now() - middle;
    }
    return s;
}
