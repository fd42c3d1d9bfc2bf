/* GPT-2 against transformers (tests/reference: hidden states, logits, loss, every gradient),
 * against two published checkpoints with their own numbers, and decoding with a key/value cache
 * against the full pass.
 *
 * Bounds relative to the largest magnitude of a tensor: ref64 against float32 storage 1e-6,
 * float32 backends 1e-5. */
#include "parity.h"

#include <jansson.h>
#include <openssl/evp.h>

#include "models/gpt2.h"

typedef struct net {
    gq_engine     *e;
    gq_params     *p;
    gq_gpt2_config c;
} net;

static void open_net(net *n, const gq_backend *backend, const gq_gpt2_config *c)
{
    gq_error err = {0};
    n->c = *c;
    assert_ok(gq_engine_new(&(gq_engine_opts){.backend = backend, .threads = 2}, &n->e, &err),
              &err);
    assert_ok(gq_params_new(n->e, &n->p, &err), &err);
    assert_ok(gq_gpt2_declare(n->p, c, &err), &err);
    assert_ok(gq_params_seal(n->p, true, &err), &err);
}

static void close_net(net *n)
{
    gq_params_free(n->p);
    gq_engine_free(n->e);
}

static gq_safetensors *open_file(const char *path)
{
    gq_safetensors *st;
    gq_error        err = {0};
    assert_ok(gq_safetensors_open(path, &st, &err), &err);
    return st;
}

/* ---- one recorded pass: states, logits and, with labels, the loss ---------------------------- */

typedef struct pass {
    gq_tape *t;
    gq_t     ids, pos, rows, labels, inv, states, logits, loss;
    int      batch, length;
} pass;

static void open_pass(net *n, pass *s, int batch, int length, bool train)
{
    int64_t  r = (int64_t)batch * length;
    gq_error err = {0};

    memset(s, 0, sizeof *s);
    s->batch = batch;
    s->length = length;
    assert_ok(gq_tape_new(n->e, n->p, "gpt2", &s->t, &err), &err);
    if (!train)
        gq_tape_no_grad(s->t);
    s->ids = gq_input(s->t, "ids", GQ_I32, 2, GQ_SHAPE(batch, length));
    s->pos = gq_input(s->t, "pos", GQ_I32, 2, GQ_SHAPE(batch, length));
    s->states =
        gq_gpt2_states(s->t, &n->c, gq_gpt2_tokens(s->t, s->ids), s->pos, &(gq_gpt2_opts){0});
    s->logits =
        gq_linear(s->t, s->states, gq_gpt2_head(s->t, &n->c), GQ_T_NONE, GQ_NONE, GQ_T_NONE);
    if (train) {
        s->rows = gq_input(s->t, "rows", GQ_I32, 1, &r);
        s->labels = gq_input(s->t, "labels", GQ_I32, 1, &r);
        s->inv = gq_input_stat(s->t, "inv", 1, GQ_SHAPE(1));
        s->loss = gq_lm_loss(s->t, s->states, gq_gpt2_head(s->t, &n->c), s->rows, s->labels, s->inv,
                             NULL);
    }
    gq_keep(s->t, s->logits, "logits");
    gq_keep(s->t, s->states, "states");
    gq_keep(s->t, s->loss, "loss");
    assert_ok(gq_tape_finish(s->t, s->loss, &(gq_plan_opts){.separate = train}, &err), &err);
    for (int64_t i = 0; i < r; i++)
        ((int32_t *)gq_data(s->t, s->pos))[i] = (int32_t)(i % length);
}

static void run(gq_tape *t)
{
    gq_error err = {0};
    assert_ok(gq_forward(t, &err), &err);
}

static int argmax(const gq_engine *e, const void *logits, int64_t first, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        if (parity_value(e, logits, first + i) > parity_value(e, logits, first + best))
            best = i;
    return best;
}

/* ---- transformers' GPT2LMHeadModel ----------------------------------------------------------- */

static const gq_gpt2_config TINY = {.width = 16,
                                    .layers = 2,
                                    .heads = 2,
                                    .mlp = 64,
                                    .vocab = 37,
                                    .positions = 24,
                                    .ln_eps = 1e-5,
                                    .act = GQ_GELU_TANH,
                                    .bias = true,
                                    .tied = true};

/* Rows of valid tokens only: what padding sees is its own business. */
static void expect_rows(gq_safetensors *st, gq_tape *t, gq_t x, const char *name, double bound)
{
    static const int lengths[3] = {11, 7, 2};
    int64_t          d = gq_dim(t, x, 2);
    double          *got = parity_get(t, x), *want = parity_read(st, name, 33 * d);
    double           scale = bound * parity_largest(want, 33 * d);
    for (int b = 0; b < 3; b++)
        parity_close(got + b * 11 * d, want + b * 11 * d, lengths[b] * d, scale, name);
    free(got);
    free(want);
}

static void fill_targets(pass *s, gq_safetensors *st)
{
    const int32_t *targets = gq_st_find(st, "in.targets")->data;
    int            count = 0;

    memcpy(gq_data(s->t, s->ids), gq_st_find(st, "in.ids")->data, 33 * sizeof(int32_t));
    for (int i = 0; i < 33; i++) {
        ((int32_t *)gq_data(s->t, s->rows))[i] = i;
        ((int32_t *)gq_data(s->t, s->labels))[i] = targets[i] < 0 ? -100 : targets[i];
        count += targets[i] >= 0;
    }
    if (s->t->engine->backend->real == GQ_F64)
        *(double *)gq_data(s->t, s->inv) = 1.0 / count;
    else
        *(float *)gq_data(s->t, s->inv) = 1.0f / (float)count;
}

static void transformers(const gq_backend *backend)
{
    gq_safetensors *st = open_file(FIXTURE("gpt2_tiny.safetensors"));
    gq_load_report  r;
    net             n;
    pass            s;
    double          loss, *want, bound = backend->real == GQ_F64 ? 1e-6 : 1e-5;
    gq_error        err = {0};

    open_net(&n, backend, &TINY);
    assert_ok(gq_hf_load(n.p, GQ_HF_GPT2, st, &r, &err), &err);
    assert_int_equal(r.matched, n.p->count);
    assert_int_equal(r.missing, 0);
    open_pass(&n, &s, 3, 11, true);
    fill_targets(&s, st);
    run(s.t);
    expect_rows(st, s.t, parity_stream(s.t, "gpt2.h.0.ln_1.g", NULL), "out.hidden.0", bound);
    expect_rows(st, s.t, parity_stream(s.t, "gpt2.h.1.ln_1.g", NULL), "out.hidden.1", bound);
    expect_rows(st, s.t, s.states, "out.hidden.2", bound);
    expect_rows(st, s.t, s.logits, "out.logits", bound);
    want = parity_read(st, "out.loss", 1);
    loss = gq_scalar(s.t, s.loss);
    /* eps and scale are floats */
    if (fabs(loss - *want) > (backend->real == GQ_F64 ? 1e-9 : bound) * *want)
        fail_msg("loss: got %.15g, want %.15g", loss, *want);
    assert_ok(gq_backward(s.t, false, &err), &err);
    assert_int_equal(parity_gradients(n.p, st, bound), 28);
    free(want);
    gq_tape_free(s.t);
    close_net(&n);
    gq_safetensors_close(st);
}

static void transformers_in_double(void **state)
{
    (void)state;
    transformers(&gq_backend_ref64);
}

static void transformers_in_float(void **state)
{
    (void)state;
    transformers(&gq_backend_ref32);
    if (gq_backend_cpu(NULL))
        transformers(gq_backend_cpu(NULL));
}

/* ---- published checkpoints with [out,in] linears --------------------------------------------- */

/* Copies transformer.<theirs> into a parameter of ours; absent biases stay zero. */
static void put(net *n, gq_safetensors *st, const char *ours, const char *theirs)
{
    gq_param           *q = gq_params_find(n->p, ours);
    const gq_st_tensor *t = gq_st_find(st, theirs);
    float              *x;
    gq_error            err = {0};

    if (!t)
        return;
    assert_non_null(q);
    assert_int_equal(t->count, q->n);
    x = malloc(t->count * sizeof *x);
    assert_ok(gq_st_read_f32(t, x, &err), &err);
    gq_param_set_f32(n->p, q, 0, x, q->n);
    q->loaded = true;
    free(x);
}

static void put_checkpoint(net *n, gq_safetensors *st)
{
    static const struct { const char *ours, *theirs;
    } parts[] = {
        {"ln_1.g", "ln_1.weight"},
        {"ln_1.g", "ln_1.gamma"},
        {"ln_1.b", "ln_1.bias"},
        {"attn.qkv.w", "attn.c_attn.weight"},
        {"attn.out.w", "attn.c_proj.weight"},
        {"attn.out.b", "attn.c_proj.bias"},
        {"ln_2.g", "ln_2.weight"},
        {"ln_2.g", "ln_2.gamma"},
        {"ln_2.b", "ln_2.bias"},
        {"mlp.fc1.w", "mlp.c_fc.weight"},
        {"mlp.fc1.b", "mlp.c_fc.bias"},
        {"mlp.fc2.w", "mlp.c_proj.weight"},
        {"mlp.fc2.b", "mlp.c_proj.bias"},
    };
    char ours[64], theirs[96];

    put(n, st, "gpt2.wte", "transformer.wte.weight");
    put(n, st, "gpt2.wpe", "transformer.wpe.weight");
    put(n, st, "gpt2.ln_f.g", "transformer.ln_f.weight");
    put(n, st, "gpt2.ln_f.g", "transformer.ln_f.gamma");
    put(n, st, "gpt2.ln_f.b", "transformer.ln_f.bias");
    if (!n->c.tied)
        put(n, st, "gpt2.head.w", "lm_head.weight");
    for (int l = 0; l < n->c.layers; l++)
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
            snprintf(ours, sizeof ours, "gpt2.h.%d.%s", l, parts[i].ours);
            snprintf(theirs, sizeof theirs, "transformer.h.%d.%s", l, parts[i].theirs);
            put(n, st, ours, theirs);
        }
}

/* The stored safetensors lacks the attention biases; the authors' own JSON has every tensor as
 * base64 of float32. */
static void put_sort_biases(net *n)
{
    json_t *j =
        json_load_file(gq_shared("data/weights/gpt_nano_sort/gpt-nano-sort-model.json"), 0, NULL);
    char    ours[64], theirs[96];

    assert_non_null(j);
    for (int l = 0; l < n->c.layers; l++) {
        unsigned char raw[147 * 4];
        float         x[144];
        const char   *text;
        snprintf(ours, sizeof ours, "gpt2.h.%d.attn.qkv.b", l);
        snprintf(theirs, sizeof theirs, "transformer.h.%d.attn.c_attn.bias", l);
        text = json_string_value(json_object_get(json_object_get(j, theirs), "data"));
        assert_non_null(text);
        assert_int_equal(strlen(text), 768);
        assert_int_equal(EVP_DecodeBlock(raw, (const unsigned char *)text, 768), 576);
        memcpy(x, raw, sizeof x);
        gq_param_set_f32(n->p, gq_params_find(n->p, ours), 0, x, 144);
        gq_params_find(n->p, ours)->loaded = true;
    }
    json_decref(j);
}

static const gq_gpt2_config SORT = {.width = 48,
                                    .layers = 3,
                                    .heads = 3,
                                    .mlp = 192,
                                    .vocab = 3,
                                    .positions = 11,
                                    .ln_eps = 1e-5,
                                    .act = GQ_GELU_TANH,
                                    .bias = true,
                                    .tied = false};

static void open_sort(net *n, const gq_backend *backend, gq_safetensors *st)
{
    open_net(n, backend, &SORT);
    put_checkpoint(n, st);
    put_sort_biases(n);
    for (int32_t i = 0; i < n->p->count; i++)
        if (!n->p->param[i].loaded)
            fail_msg("'%s' was not filled", n->p->param[i].name);
}

/* Absolute bound, as published. */
static void expect_published(gq_safetensors *st, gq_tape *t, gq_t x, const char *name, double bound)
{
    int64_t n = (int64_t)(t->tensor[x.i].bytes / gq_dtype_size(t->tensor[x.i].dtype));
    double *got = parity_get(t, x), *want = parity_read(st, name, n);
    parity_close(got, want, n, bound, name);
    free(got);
    free(want);
}

/* q, k, v are stored [3,3,11,16] per head; ours are columns of one tensor [3,11,144]. */
static void expect_heads(gq_safetensors *st, const double *qkv, const char *name, int part,
                         double bound)
{
    double *want = parity_read(st, name, 3 * 3 * 11 * 16);
    for (int b = 0; b < 3; b++)
        for (int h = 0; h < 3; h++)
            for (int i = 0; i < 11; i++)
                parity_close(qkv + (b * 11 + i) * 144 + part * 48 + h * 16,
                             want + ((b * 3 + h) * 11 + i) * 16, 16, bound, name);
    free(want);
}

/* Probabilities from q, k and the saved log of the sum: exp(q.k / sqrt(16) - lse), 0 after the
 * query. */
static void expect_attention(gq_safetensors *st, gq_tape *t, const double *qkv, double bound)
{
    const gq_node *n = parity_node(t, GQ_OP_SDPA, 0, "");
    double        *lse, *want = parity_read(st, "attSm", 3 * 3 * 11 * 11);

    assert_non_null(n);
    assert_int_equal(n->nsave, 1);
    lse = parity_get(t, (gq_t){n->save[0]});
    for (int b = 0; b < 3; b++)
        for (int h = 0; h < 3; h++)
            for (int i = 0; i < 11; i++)
                for (int j = 0; j < 11; j++) {
                    const double *q = qkv + (b * 11 + i) * 144 + h * 16;
                    const double *k = qkv + (b * 11 + j) * 144 + 48 + h * 16;
                    double        score = 0.0, got;
                    for (int d = 0; d < 16; d++)
                        score += q[d] * k[d];
                    got = j > i ? 0.0 : exp(score / 4.0 - lse[(b * 3 + h) * 11 + i]);
                    parity_close(&got, &want[((b * 3 + h) * 11 + i) * 11 + j], 1, bound, "attSm");
                }
    free(lse);
    free(want);
}

static void published_activations_of(net *n, gq_safetensors *st, double bound)
{
    const gq_st_tensor *idx = gq_st_find(st, "idx");
    pass                s;
    gq_t                normed;
    double             *qkv;
    gq_tape            *t;

    open_pass(n, &s, 3, 11, true);
    t = s.t;
    for (int i = 0; i < 33; i++) {
        int64_t v;
        memcpy(&v, (const char *)idx->data + i * 8, 8);
        ((int32_t *)gq_data(t, s.ids))[i] = (int32_t)v;
    }
    run(t);
    expect_published(st, t, parity_stream(t, "gpt2.h.0.ln_1.g", &normed), "x", bound);
    expect_published(st, t, normed, "ln1", bound);
    expect_published(st, t, parity_linear(t, "gpt2.h.0.attn.qkv.w"), "qkv", bound);
    qkv = parity_get(t, parity_linear(t, "gpt2.h.0.attn.qkv.w"));
    for (int part = 0; part < 3; part++)
        expect_heads(st, qkv, (const char *[]){"q", "k", "v"}[part], part, bound);
    expect_attention(st, t, qkv, bound);
    expect_published(st, t, (gq_t){parity_node(t, GQ_OP_LINEAR, 1, "gpt2.h.0.attn.out.w")->in[0]},
                     "y", bound);
    expect_published(st, t, parity_linear(t, "gpt2.h.0.attn.out.w"), "yProj", bound);
    expect_published(st, t, parity_stream(t, "gpt2.h.0.ln_2.g", &normed), "attnResid", bound);
    expect_published(st, t, normed, "ln2", bound);
    expect_published(st, t, (gq_t){parity_node(t, GQ_OP_LINEAR, 1, "gpt2.h.0.mlp.fc1.w")->save[0]},
                     "fc", bound);
    expect_published(st, t, parity_linear(t, "gpt2.h.0.mlp.fc1.w"), "gelu", bound);
    expect_published(st, t, parity_linear(t, "gpt2.h.0.mlp.fc2.w"), "mlp", bound);
    expect_published(st, t, parity_stream(t, "gpt2.h.1.ln_1.g", NULL), "mlpResid", bound);
    expect_published(st, t, parity_stream(t, "gpt2.h.1.ln_1.g", NULL), "block0", bound);
    expect_published(st, t, parity_stream(t, "gpt2.h.2.ln_1.g", NULL), "block1", bound);
    expect_published(st, t, parity_stream(t, "gpt2.ln_f.g", NULL), "block2", bound);
    expect_published(st, t, s.states, "ln_f", bound);
    expect_published(st, t, s.logits, "lm_head", bound);
    free(qkv);
    gq_tape_free(t);
}

/* 2e-6 in double: the file was computed in float32. Float32 backends have an error of their own
 * beside the file's. */
static void published_activations(void **state)
{
    const char     *dir = need_shared("data/weights/gpt_nano_sort/partials.safetensors");
    gq_safetensors *partials = open_file(dir);
    gq_safetensors *weights = open_file(gq_shared("data/weights/gpt_nano_sort/model.safetensors"));
    net             n;

    (void)state;
    for (int b = 0; b < 3; b++) {
        const gq_backend *backend = b == 0   ? &gq_backend_ref64
                                    : b == 1 ? &gq_backend_ref32
                                             : gq_backend_cpu(NULL);
        if (!backend)
            continue;
        open_sort(&n, backend, weights);
        published_activations_of(&n, partials, b == 0 ? 2e-6 : 1e-5);
        close_net(&n);
    }
    gq_safetensors_close(partials);
    gq_safetensors_close(weights);
}

static void sorted(const int32_t *in, int32_t *out)
{
    int k = 0;
    for (int v = 0; v < 3; v++)
        for (int i = 0; i < 6; i++)
            if (in[i] == v)
                out[k++] = v;
}

/* Fed its own sorted answer, the network must say each letter of it: by induction that is greedy
 * generation. */
static void all_inputs_are_sorted(void **state)
{
    gq_safetensors *st = open_file(need_shared("data/weights/gpt_nano_sort/model.safetensors"));
    net             n;
    pass            s;
    int32_t        *ids, answer[6];

    (void)state;
    open_sort(&n, gq_backend_cpu(NULL) ? gq_backend_cpu(NULL) : &gq_backend_ref32, st);
    open_pass(&n, &s, 729, 11, false);
    ids = gq_data(s.t, s.ids);
    for (int b = 0; b < 729; b++) {
        for (int i = 0, v = b; i < 6; i++, v /= 3)
            ids[b * 11 + i] = v % 3;
        sorted(ids + b * 11, answer);
        memcpy(ids + b * 11 + 6, answer, 5 * sizeof *answer);
    }
    run(s.t);
    for (int b = 0; b < 729; b++) {
        sorted(ids + b * 11, answer);
        for (int i = 0; i < 6; i++)
            assert_int_equal(argmax(n.e, gq_data(s.t, s.logits), (b * 11 + 5 + i) * 3, 3),
                             answer[i]);
    }
    gq_tape_free(s.t);
    close_net(&n);
    gq_safetensors_close(st);
}

/* ---- decoding with a key/value cache --------------------------------------------------------- */

/* Prefill of `length` rows a sample, then tapes of one new row that share the caches. */
typedef struct decoder {
    pass    prefill, step;
    gq_t    at[2], lengths;             /* where new rows go; how many keys a step sees */
    double *cache[8];                   /* [batch,cap,2C] a layer, room for double */
} decoder;

static void open_decode_pass(net *n, decoder *d, pass *s, int batch, int length, int cap, bool step)
{
    gq_gpt2_opts o = {0};
    gq_t         cache[8];
    gq_error     err = {0};

    memset(s, 0, sizeof *s);
    s->batch = batch;
    s->length = length;
    assert_ok(gq_tape_new(n->e, n->p, step ? "step" : "prefill", &s->t, &err), &err);
    gq_tape_no_grad(s->t);
    s->ids = gq_input(s->t, "ids", GQ_I32, 2, GQ_SHAPE(batch, length));
    s->pos = gq_input(s->t, "pos", GQ_I32, 2, GQ_SHAPE(batch, length));
    o.pos = d->at[step] = gq_input(s->t, "at", GQ_I32, 1, GQ_SHAPE(batch));
    if (step)
        o.lengths = d->lengths = gq_input(s->t, "lengths", GQ_I32, 1, GQ_SHAPE(batch));
    for (int l = 0; l < n->c.layers; l++)
        cache[l] = gq_extern(s->t, "cache", n->e->backend->real, 3,
                             GQ_SHAPE(batch, cap, 2 * n->c.width), d->cache[l]);
    o.cache = cache;
    s->states = gq_gpt2_states(s->t, &n->c, gq_gpt2_tokens(s->t, s->ids), s->pos, &o);
    s->logits =
        gq_linear(s->t, s->states, gq_gpt2_head(s->t, &n->c), GQ_T_NONE, GQ_NONE, GQ_T_NONE);
    gq_keep(s->t, s->logits, "logits");
    assert_ok(gq_tape_finish(s->t, GQ_T_NONE, NULL, &err), &err);
}

static void open_decoder(net *n, decoder *d, int batch, int length, int cap)
{
    memset(d, 0, sizeof *d);
    for (int l = 0; l < n->c.layers; l++)
        d->cache[l] = calloc((size_t)(batch * cap * 2 * n->c.width), sizeof(double));
    open_decode_pass(n, d, &d->prefill, batch, length, cap, false);
    open_decode_pass(n, d, &d->step, batch, 1, cap, true);
}

static void close_decoder(decoder *d)
{
    gq_tape_free(d->prefill.t);
    gq_tape_free(d->step.t);
    for (int l = 0; l < 8; l++)
        free(d->cache[l]);
}

/* Greedy answers of `count` tokens: the logits of each are left in out[batch,count,vocab]. */
static void decode(net *n, decoder *d, const int32_t *prompts, int length, int count,
                   int32_t *answer, double *out)
{
    int v = n->c.vocab, batch = d->prefill.batch;

    for (int b = 0; b < batch; b++)
        for (int j = 0; j < length; j++) {
            ((int32_t *)gq_data(d->prefill.t, d->prefill.ids))[b * length + j] =
                prompts[b * length + j];
            ((int32_t *)gq_data(d->prefill.t, d->prefill.pos))[b * length + j] = j;
        }
    for (int k = 0; k < count; k++) {
        pass *s = k ? &d->step : &d->prefill;
        for (int b = 0; k && b < batch; b++) {
            ((int32_t *)gq_data(s->t, s->ids))[b] = answer[b * count + k - 1];
            ((int32_t *)gq_data(s->t, s->pos))[b] = length + k - 1;
            ((int32_t *)gq_data(s->t, d->at[1]))[b] = length + k - 1;
            ((int32_t *)gq_data(s->t, d->lengths))[b] = length + k;
        }
        run(s->t);
        for (int b = 0; b < batch; b++) {
            const void *logits = gq_data(s->t, s->logits);
            int64_t     first = (int64_t)(k ? b : b * length + length - 1) * v;
            answer[b * count + k] = argmax(n->e, logits, first, v);
            for (int i = 0; i < v; i++)
                out[(b * count + k) * v + i] = parity_value(n->e, logits, first + i);
        }
    }
}

/* The 200 published inputs through the cache: their outputs, and the last step's logits to the
 * digits that are given. */
static void published_greedy_answers(void **state)
{
    gq_safetensors *st = open_file(need_shared("data/weights/gpt_nano_sort/model.safetensors"));
    FILE           *f = fopen(gq_shared("data/weights/gpt_nano_sort/greedy_200.tsv"), "r");
    static int32_t  prompts[200 * 6], want[200 * 6], got[200 * 6];
    static double   last[200][3], out[200 * 6 * 3];
    char            line[200], in[8], answer[8];
    int             rows = 0, ok;
    net             n;
    decoder         d;

    (void)state;
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        if (line[0] == '#')
            continue;
        assert_int_equal(sscanf(line, "%6s %6s %d %lf %lf %lf", in, answer, &ok, &last[rows][0],
                                &last[rows][1], &last[rows][2]),
                         6);
        for (int i = 0; i < 6; i++) {
            prompts[rows * 6 + i] = in[i] - 'A';
            want[rows * 6 + i] = answer[i] - 'A';
        }
        rows++;
    }
    fclose(f);
    assert_int_equal(rows, 200);
    for (int b = 0; b < 2; b++) {
        const gq_backend *backend = b == 0 ? &gq_backend_ref64 : gq_backend_cpu(NULL);
        if (!backend)
            continue;
        open_sort(&n, backend, st);
        open_decoder(&n, &d, 200, 6, 11);
        decode(&n, &d, prompts, 6, 6, got, out);
        assert_memory_equal(got, want, sizeof want);
        for (int r = 0; r < 200; r++)
            parity_close(&out[(r * 6 + 5) * 3], last[r], 3, b ? 1e-5 : 1e-6, "last logits");
        close_decoder(&d);
        close_net(&n);
    }
    gq_safetensors_close(st);
}

/* Every logit of a cached decode is that of the full pass over the same tokens. */
static void cached_decode_is_the_full_pass(void **state)
{
    enum { B = 3, LENGTH = 5, COUNT = 9, T = LENGTH + COUNT };
    gq_safetensors *st = open_file(FIXTURE("gpt2_tiny.safetensors"));

    (void)state;
    for (int k = 0; k < 3; k++) {
        const gq_backend *backend = k == 0   ? &gq_backend_ref64
                                    : k == 1 ? &gq_backend_ref32
                                             : gq_backend_cpu(NULL);
        int32_t           prompts[B * LENGTH], answer[B * COUNT];
        double            out[B * COUNT * 37];
        gq_load_report    r;
        gq_error          err = {0};
        net               n;
        decoder           d;
        pass              s;
        if (!backend)
            continue;
        open_net(&n, backend, &TINY);
        assert_ok(gq_hf_load(n.p, GQ_HF_GPT2, st, &r, &err), &err);
        for (int i = 0; i < B * LENGTH; i++)
            prompts[i] = (i * 11 + 3) % 37;
        open_decoder(&n, &d, B, LENGTH, T + 2);
        decode(&n, &d, prompts, LENGTH, COUNT, answer, out);
        open_pass(&n, &s, B, T, false);
        for (int b = 0; b < B; b++) {
            memcpy((int32_t *)gq_data(s.t, s.ids) + b * T, prompts + b * LENGTH,
                   LENGTH * sizeof *prompts);
            memcpy((int32_t *)gq_data(s.t, s.ids) + b * T + LENGTH, answer + b * COUNT,
                   COUNT * sizeof *answer);
        }
        run(s.t);
        double *full = parity_get(s.t, s.logits);
        for (int b = 0; b < B; b++)
            parity_close(out + b * COUNT * 37, full + (b * T + LENGTH - 1) * 37, COUNT * 37,
                         k ? 1e-5 : 1e-12, "cached logits");
        free(full);
        gq_tape_free(s.t);
        close_decoder(&d);
        close_net(&n);
    }
    gq_safetensors_close(st);
}

/* ---- GPT by hand: no biases, erf GELU, tied head --------------------------------------------- */

static const gq_gpt2_config HAND = {.width = 16,
                                    .layers = 2,
                                    .heads = 2,
                                    .mlp = 64,
                                    .vocab = 32,
                                    .positions = 8,
                                    .ln_eps = 1e-5,
                                    .act = GQ_GELU,
                                    .bias = false,
                                    .tied = true};

static int64_t read_i64(const gq_st_tensor *t, int64_t i)
{
    int64_t v;
    memcpy(&v, (const char *)t->data + i * 8, 8);
    return v;
}

static void golden_logits_of(net *n, double bound)
{
    gq_safetensors *st =
        open_file(gq_shared("data/weights/gpt_by_hand_words/golden_logits.safetensors"));
    pass            s;

    open_pass(n, &s, 32, 8, false);
    for (int i = 0; i < 256; i++)
        ((int32_t *)gq_data(s.t, s.ids))[i] = (int32_t)read_i64(gq_st_find(st, "idx"), i);
    run(s.t);
    parity_tensor(st, s.t, s.logits, "logits", bound);
    gq_tape_free(s.t);
    gq_safetensors_close(st);
}

/* Mean over all windows of 8 tokens of val.bin. */
static void golden_loss_of(net *n, const json_t *golden, double bound)
{
    FILE    *f = fopen(gq_shared("data/weights/gpt_by_hand_words/val.bin"), "rb");
    uint16_t text[1000];
    int      tokens;
    int      windows =
        (int)json_integer_value(json_object_get(json_object_get(golden, "ours"), "windows"));
    double want =
        json_number_value(json_object_get(json_object_get(golden, "ours"), "val_loss_all_windows"));
    double   got;
    pass     s;

    assert_non_null(f);
    tokens = (int)fread(text, sizeof *text, 1000, f);
    fclose(f);
    assert_true(windows > 300 && windows + 8 < tokens);
    open_pass(n, &s, windows, 8, true);
    for (int i = 0; i < windows * 8; i++) {
        ((int32_t *)gq_data(s.t, s.ids))[i] = text[i / 8 + i % 8];
        ((int32_t *)gq_data(s.t, s.labels))[i] = text[i / 8 + i % 8 + 1];
        ((int32_t *)gq_data(s.t, s.rows))[i] = i;
    }
    if (n->e->backend->real == GQ_F64)
        *(double *)gq_data(s.t, s.inv) = 1.0 / (windows * 8);
    else
        *(float *)gq_data(s.t, s.inv) = 1.0f / (float)(windows * 8);
    run(s.t);
    got = gq_scalar(s.t, s.loss);
    if (!(fabs(got - want) <= bound))
        fail_msg("loss of %d windows: got %.12g, want %.12g", windows, got, want);
    gq_tape_free(s.t);
}

/* The window is the last 8 tokens, with positions from 0: the pass runs anew for every token. */
static void golden_continuations_of(net *n, const json_t *golden)
{
    const json_t *list = json_object_get(golden, "greedy");
    pass          s;

    assert_true(json_array_size(list) > 3);
    open_pass(n, &s, 1, 8, false);
    for (size_t k = 0; k < json_array_size(list); k++) {
        const json_t *prompt = json_object_get(json_array_get(list, k), "prompt");
        const json_t *want = json_object_get(json_array_get(list, k), "greedy");
        int           text[64], count = (int)json_array_size(prompt);
        for (int i = 0; i < count; i++)
            text[i] = (int)json_integer_value(json_array_get(prompt, (size_t)i));
        assert_true(count + json_array_size(want) < 64);
        for (size_t i = 0; i < json_array_size(want); i++, count++) {
            int first = count > 8 ? count - 8 : 0, seen = count - first;
            for (int j = 0; j < 8; j++)
                ((int32_t *)gq_data(s.t, s.ids))[j] = j < seen ? text[first + j] : 0;
            run(s.t);
            text[count] = argmax(n->e, gq_data(s.t, s.logits), (seen - 1) * 32, 32);
            assert_int_equal(text[count], json_integer_value(json_array_get(want, i)));
        }
    }
    gq_tape_free(s.t);
}

static void gpt_by_hand(void **state)
{
    gq_safetensors *st = open_file(need_shared("data/weights/gpt_by_hand_words/model.safetensors"));
    json_t         *golden =
        json_load_file(gq_shared("data/weights/gpt_by_hand_words/golden.json"), 0, NULL);
    net             n;

    (void)state;
    assert_non_null(golden);
    for (int b = 0; b < 3; b++) {
        const gq_backend *backend = b == 0   ? &gq_backend_ref64
                                    : b == 1 ? &gq_backend_ref32
                                             : gq_backend_cpu(NULL);
        if (!backend)
            continue;
        open_net(&n, backend, &HAND);
        put_checkpoint(&n, st);
        golden_logits_of(&n, b ? 1e-5 : 1e-6);
        golden_loss_of(&n, golden, b ? 1e-5 : 1e-9);
        golden_continuations_of(&n, golden);
        close_net(&n);
    }
    json_decref(golden);
    gq_safetensors_close(st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transformers_in_double),
        cmocka_unit_test(transformers_in_float),
        cmocka_unit_test(published_activations),
        cmocka_unit_test(all_inputs_are_sorted),
        cmocka_unit_test(published_greedy_answers),
        cmocka_unit_test(cached_decode_is_the_full_pass),
        cmocka_unit_test(gpt_by_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
