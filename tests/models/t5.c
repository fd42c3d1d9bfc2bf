/* T5 against transformers (tests/reference/t5.py: states, logits, loss, every gradient; greedy and beam search of
 * generate()), batches against single texts, and published names both ways.
 *
 * Bounds relative to the largest magnitude of a tensor, as in gpt2.c: ref64 against float32 storage 1e-6, float32
 * backends 1e-5. */
#include "parity.h"

#include <jansson.h>

#include "models/t5_generate.h"

static const gq_t5_config V10 = {.width = 16, .head_width = 6, .heads = 3, .mlp = 40, .layers = 2, .decoder_layers = 3,
                                 .vocab = 37, .buckets = 8, .far = 12, .eps = 1e-6, .act = GQ_RELU, .tied = true};
static const gq_t5_config V11 = {.width = 24, .head_width = 8, .heads = 2, .mlp = 20, .layers = 2, .decoder_layers = 2,
                                 .vocab = 37, .buckets = 32, .far = 128, .eps = 1e-6, .act = GQ_GELU_TANH,
                                 .gated = true};

enum { B = 3, S = 13, T = 9, VOCAB = 37 };
static const int target_lengths[B] = {9, 4, 1};

typedef struct net {
    gq_engine    *e;
    gq_params    *p;
    gq_t5_config  c;
    gq_safetensors *st;
} net;

static void open_net(net *n, const gq_backend *backend, const gq_t5_config *c, const char *file, bool train)
{
    gq_load_report r;
    gq_error       err = {0};

    *n = (net){.c = *c};
    assert_ok(gq_engine_new(&(gq_engine_opts){.backend = backend, .threads = 2}, &n->e, &err), &err);
    assert_ok(gq_params_new(n->e, &n->p, &err), &err);
    assert_ok(gq_t5_declare(n->p, c, &err), &err);
    assert_ok(gq_params_seal(n->p, train, &err), &err);
    if (!file)
        return;
    assert_ok(gq_safetensors_open(file, &n->st, &err), &err);
    assert_ok(gq_hf_load(n->p, GQ_HF_T5, n->st, &r, &err), &err);
    assert_int_equal(r.matched, n->p->count);
    assert_int_equal(r.missing, 0);
}

static void close_net(net *n)
{
    gq_safetensors_close(n->st);
    gq_params_free(n->p);
    gq_engine_free(n->e);
}

static void put_scalar(gq_tape *t, gq_t x, double v)
{
    if (t->engine->backend->stat == GQ_F64)
        *(double *)gq_data(t, x) = v;
    else
        *(float *)gq_data(t, x) = (float)v;
}

/* ---- one training step ----------------------------------------------------------------------- */

/* Writes the fixture's texts; rows: flat places of the labels. Returns how many there are. */
static int fill_texts(const net *n, gq_t5_tape *h)
{
    const int32_t *labels = gq_st_find(n->st, "in.labels")->data;
    int32_t       *target = gq_data(h->tape, h->target), *rows = gq_data(h->tape, h->rows),
                  *to = gq_data(h->tape, h->labels);
    int            count = 0;

    memcpy(gq_data(h->tape, h->source), gq_st_find(n->st, "in.source")->data, B * S * sizeof(int32_t));
    memcpy(gq_data(h->tape, h->lengths), gq_st_find(n->st, "in.lengths")->data, B * sizeof(int32_t));
    for (int i = 0; i < B * T; i++) {
        target[i] = i % T == 0 || labels[i - 1] < 0 ? 0 : labels[i - 1];
        rows[i] = i;
        to[i] = labels[i];
        count += labels[i] >= 0;
    }
    return count;
}

/* Logits of valid positions: what padding sees is its own business. */
static void expect_logits(const net *n, gq_t5_tape *h, double bound)
{
    gq_t     states = (gq_t){parity_node(h->tape, GQ_OP_LM_LOSS, 1, n->c.tied ? "t5.shared" : "t5.head.w")->in[0]};
    double  *x = parity_get(h->tape, states), *want = parity_read(n->st, "out.logits", B * T * VOCAB), got;
    double   scale = bound * parity_largest(want, B * T * VOCAB);
    gq_param *head = gq_params_find(n->p, n->c.tied ? "t5.shared" : "t5.head.w");

    for (int b = 0; b < B; b++)
        for (int i = b * T; i < b * T + target_lengths[b]; i++)
            for (int v = 0; v < VOCAB; v++) {
                got = 0;
                for (int d = 0; d < n->c.width; d++)
                    got += x[i * n->c.width + d] *
                           parity_value(n->e, gq_param_data(n->p, head), (int64_t)v * n->c.width + d);
                parity_close(&got, &want[i * VOCAB + v], 1, scale, "out.logits");
            }
    free(x);
    free(want);
}

static void expect_encoder(const net *n, gq_t5_tape *h, double bound)
{
    const int32_t *lengths = gq_st_find(n->st, "in.lengths")->data;
    int64_t        C = n->c.width;
    gq_t           normed;
    double        *got, *want = parity_read(n->st, "out.encoder", B * S * C);

    parity_stream(h->tape, "t5.enc.ln_f.g", &normed);
    got = parity_get(h->tape, normed);
    for (int b = 0; b < B; b++)
        parity_close(got + b * S * C, want + b * S * C, lengths[b] * C, bound * parity_largest(want, B * S * C),
                     "out.encoder");
    free(got);
    free(want);
}

static void step(const gq_backend *backend, const gq_t5_config *c, const char *file, int gradients)
{
    double      bound = backend->real == GQ_F64 ? 1e-6 : 1e-5, loss, *want;
    gq_t5_shape shape = {.batch = B, .source = S, .target = T, .labels = B * T, .train = true};
    gq_t5_tape  h;
    net         n;
    gq_error    err = {0};

    open_net(&n, backend, c, file, true);
    assert_ok(gq_t5_record(n.e, n.p, &n.c, &shape, &(gq_plan_opts){.separate = true}, &h, &err), &err);
    put_scalar(h.tape, h.inv_lm, 1.0 / fill_texts(&n, &h));
    assert_ok(gq_forward(h.tape, &err), &err);
    expect_encoder(&n, &h, bound);
    expect_logits(&n, &h, bound);
    want = parity_read(n.st, "out.loss", 1);
    loss = gq_scalar(h.tape, h.lm_loss);
    if (fabs(loss - *want) > (backend->real == GQ_F64 ? 1e-7 : bound) * *want)       /* eps is a float  */
        fail_msg("loss: got %.15g, want %.15g", loss, *want);
    assert_ok(gq_backward(h.tape, false, &err), &err);
    assert_int_equal(parity_gradients(n.p, n.st, bound), gradients);
    free(want);
    gq_tape_free(h.tape);
    close_net(&n);
}

static void steps(const gq_backend *backend)
{
    step(backend, &V10, FIXTURE("t5_tiny_v10.safetensors"), 60);
    step(backend, &V11, FIXTURE("t5_tiny_v11.safetensors"), 52);
}

static void step_in_double(void **state)
{
    (void)state;
    steps(&gq_backend_ref64);
}

static void step_in_float(void **state)
{
    (void)state;
    steps(&gq_backend_ref32);
    if (gq_backend_cpu(NULL))
        steps(gq_backend_cpu(NULL));
}

/* ---- generate() ------------------------------------------------------------------------------ */

static json_t *cases_of(json_t **root)
{
    json_error_t e;
    *root = json_load_file(FIXTURE("t5_tiny_generate.json"), 0, &e);
    assert_non_null(*root);
    return json_object_get(*root, "cases");
}

/* The end token is likelier in the fixture: random weights would seldom say it. */
static void push_end(net *n, double times)
{
    gq_param *q = gq_params_find(n->p, n->c.tied ? "t5.shared" : "t5.head.w");
    float     x[64];

    gq_param_get_f32(n->p, q, n->c.width, x, n->c.width);
    for (int d = 0; d < n->c.width; d++)
        x[d] *= (float)times;
    gq_param_set_f32(n->p, q, n->c.width, x, n->c.width);
}

static void open_pair(net pair[2], const gq_backend *backend, json_t *root)
{
    open_net(&pair[0], backend, &V10, FIXTURE("t5_tiny_v10.safetensors"), false);
    open_net(&pair[1], backend, &V11, FIXTURE("t5_tiny_v11.safetensors"), false);
    for (int i = 0; i < 2; i++)
        push_end(&pair[i], json_number_value(json_object_get(root, "end_row_times")));
}

static int integer(json_t *o, const char *key, int fallback)
{
    json_t *v = json_object_get(o, key);
    return json_is_integer(v) ? (int)json_integer_value(v) : fallback;
}

static gq_decode_opts options(json_t *c)
{
    json_t *penalty = json_object_get(c, "length_penalty");
    return (gq_decode_opts){.max_new = integer(c, "max_new_tokens", 0),
                            .min_new = integer(c, "min_new_tokens", 0),
                            .no_repeat = integer(c, "no_repeat_ngram_size", 0),
                            .beams = integer(c, "num_beams", 1),
                            .length_penalty = penalty ? json_number_value(penalty) : 1.0,
                            .early = json_is_true(json_object_get(c, "early_stopping")) ? GQ_EARLY_TRUE
                                                                                        : GQ_EARLY_FALSE,
                            .end_id = 1,
                            .bucket = 4};
}

static int ids_of(json_t *list, int32_t *ids)
{
    size_t  i;
    json_t *v;
    json_array_foreach(list, i, v)
        ids[i] = (int32_t)json_integer_value(v);
    return (int)json_array_size(list);
}

static void expect_answer(json_t *c, int number, const gq_decode_opts *o, gq_answer *a, double bound)
{
    int32_t want[16];
    int     length = a->n, n = ids_of(json_object_get(c, "generated"), want);
    json_t *score = json_object_get(c, "score");

    if (a->ended)
        a->ids[length++] = o->end_id;
    if (length != n || memcmp(a->ids, want, (size_t)n * sizeof *want) != 0)
        fail_msg("case %d: %d tokens, first %d; want %d, first %d", number, length, a->ids[0], n, want[0]);
    if (json_is_number(score)) {
        double got = a->logprob / pow(length, o->length_penalty);
        if (fabs(got - json_number_value(score)) > bound)
            fail_msg("case %d: score %.9g, want %.9g", number, got, json_number_value(score));
    }
}

static bool is_v10(json_t *c)
{
    return strcmp(json_string_value(json_object_get(c, "model")), "t5_tiny_v10") == 0;
}

static void single(const gq_backend *backend, double bound)
{
    json_t *root, *cases = cases_of(&root), *c;
    net     pair[2];
    size_t  i;

    open_pair(pair, backend, root);
    assert_true(json_array_size(cases) >= 120);
    json_array_foreach(cases, i, c) {
        net             *n = &pair[!is_v10(c)];
        gq_decode_opts   o = options(c);
        int32_t          source[32], out[16];
        gq_answer        a = {.ids = out};
        gq_source        s = {source, ids_of(json_object_get(c, "source"), source)};
        gq_t5_generator *g;
        gq_error         err = {0};
        assert_ok(gq_t5_generator_new(n->e, n->p, &n->c, 1, &o, &g, &err), &err);
        assert_ok(gq_t5_generate(g, &s, 1, &a, NULL, &err), &err);
        expect_answer(c, (int)i, &o, &a, bound);
        gq_t5_generator_free(g);
    }
    for (int k = 0; k < 2; k++)
        close_net(&pair[k]);
    json_decref(root);
}

/* float32 log probabilities of up to 11 tokens of magnitude 10: 11 * 10 * 6e-8, and as much again for the states */
static void generate_in_double(void **state)
{
    (void)state;
    single(&gq_backend_ref64, 1e-5);
}

static void generate_in_float(void **state)
{
    (void)state;
    if (gq_backend_cpu(NULL))
        single(gq_backend_cpu(NULL), 1e-4);
}

static bool same_search(json_t *a, json_t *b)
{
    gq_decode_opts x = options(a), y = options(b);
    return is_v10(a) == is_v10(b) && x.min_new == y.min_new && x.no_repeat == y.no_repeat && x.beams == y.beams &&
           x.length_penalty == y.length_penalty && x.early == y.early;
}

/* All sources of a search as one batch, padded to the longest, two runs with the same caches. */
static void batches_answer_as_singles(void **state)
{
    json_t    *root, *cases = cases_of(&root), *c, *d;
    const gq_backend *backend = gq_backend_cpu(NULL) ? gq_backend_cpu(NULL) : &gq_backend_ref32;
    net        pair[2];
    size_t     i, j;

    (void)state;
    open_pair(pair, backend, root);
    json_array_foreach(cases, i, c) {
        net             *n = &pair[!is_v10(c)];
        gq_decode_opts   o = options(c);
        int32_t          source[8][32], out[8][16];
        gq_source        s[8];
        gq_answer        a[8];
        int              of[8], count = 0;
        gq_t5_generator *g;
        gq_error         err = {0};
        json_array_foreach(cases, j, d)
            if (same_search(c, d) && count < 8) {
                s[count] = (gq_source){source[count], ids_of(json_object_get(d, "source"), source[count])};
                a[count] = (gq_answer){.ids = out[count]};
                of[count++] = (int)j;
            }
        if (of[0] != (int)i)
            continue;                               /* this search was looked at                  */
        assert_ok(gq_t5_generator_new(n->e, n->p, &n->c, 8, &o, &g, &err), &err);
        assert_ok(gq_t5_generate(g, s, 1, a, NULL, &err), &err);          /* shorter caches first */
        for (int again = 0; again < 2; again++) {
            assert_ok(gq_t5_generate(g, s, count, a, NULL, &err), &err);
            for (int k = 0; k < count; k++)
                expect_answer(json_array_get(cases, (size_t)of[k]), of[k], &o, &a[k], 1e-4);
        }
        gq_t5_generator_free(g);
    }
    for (int k = 0; k < 2; k++)
        close_net(&pair[k]);
    json_decref(root);
}

/* ---- names ----------------------------------------------------------------------------------- */

/* What is saved has the published names and loads again with the same bits; a file that keeps the token table
 * under the encoder's name is understood. */
static void saved_and_loaded(void **state)
{
    char         path[300];
    const char  *dir = gq_scratch();
    gq_hf_source from = {gq_hf_from_params, NULL};
    gq_error     err = {0};

    (void)state;
    snprintf(path, sizeof path, "%s/t5.safetensors", dir);
    for (int i = 0; i < 2; i++) {
        const gq_t5_config *c = i ? &V11 : &V10;
        net                 a, b;
        open_net(&a, &gq_backend_ref32, c, NULL, false);
        assert_ok(gq_params_init(a.p, 7, &err), &err);
        from.ctx = a.p;
        assert_ok(gq_hf_save(a.p, GQ_HF_T5, &from, path, &err), &err);
        open_net(&b, &gq_backend_ref32, c, path, false);
        assert_int_equal(gq_st_count(b.st), i ? 52 : 60);
        for (int32_t q = 0; q < a.p->count; q++)
            assert_memory_equal(gq_param_data(a.p, &a.p->param[q]), gq_param_data(b.p, &b.p->param[q]),
                                (size_t)a.p->param[q].n * sizeof(float));
        close_net(&a);
        close_net(&b);
    }
    unlink(path);
    rmdir(dir);
}

/* Parameters of t5-base, flan-t5-base and flan-t5-large, as published. */
static void published_sizes(void **state)
{
    static const struct { gq_t5_config c; int64_t n; } model[] = {
        {{.width = 768, .head_width = 64, .heads = 12, .mlp = 3072, .layers = 12, .decoder_layers = 12, .vocab = 32128,
          .buckets = 32, .far = 128, .tied = true}, 222903552},
        {{.width = 768, .head_width = 64, .heads = 12, .mlp = 2048, .layers = 12, .decoder_layers = 12, .vocab = 32128,
          .buckets = 32, .far = 128, .gated = true}, 247577856},
        {{.width = 1024, .head_width = 64, .heads = 16, .mlp = 2816, .layers = 24, .decoder_layers = 24, .vocab = 32128,
          .buckets = 32, .far = 128, .gated = true}, 783150080},
    };
    (void)state;
    for (size_t i = 0; i < sizeof model / sizeof *model; i++) {
        gq_engine *e;
        gq_params *p;
        int64_t    n = 0;
        gq_error   err = {0};
        assert_ok(gq_engine_new(&(gq_engine_opts){.backend = &gq_backend_ref32, .threads = 1}, &e, &err), &err);
        assert_ok(gq_params_new(e, &p, &err), &err);
        assert_ok(gq_t5_declare(p, &model[i].c, &err), &err);
        for (int32_t q = 0; q < p->count; q++)
            n += p->param[q].n;
        assert_int_equal(n, model[i].n);
        gq_params_free(p);
        gq_engine_free(e);
    }
}

/* Queries of a packed matrix start smaller than keys and values: nothing divides T5's scores. */
static void first_values(void **state)
{
    net       n;
    double    sum[3] = {0};
    gq_error  err = {0};

    (void)state;
    open_net(&n, &gq_backend_ref64, &V11, NULL, false);
    assert_ok(gq_params_init(n.p, 3, &err), &err);
    gq_param *q = gq_params_find(n.p, "t5.dec.h.1.attn.qkv.w");
    for (int64_t i = 0; i < q->n; i++) {
        double x = parity_value(n.e, gq_param_data(n.p, q), i);
        sum[i / (q->n / 3)] += x * x / (double)(q->n / 3);
    }
    /* 384 squares of normals: their mean is off by sqrt(2/384) = 7 % at one standard deviation; five are allowed */
    for (int k = 0; k < 3; k++)
        assert_true(fabs(sum[k] * V11.width * (k ? 1 : V11.head_width) - 1) < 0.37);
    close_net(&n);
}

/* A run of tokens that would come twice is refused, at every length, also right after itself. */
static void repeats(void **state)
{
    static const int32_t ids[] = {4, 5, 6, 4, 5};
    (void)state;
    assert_true(gq_decode_repeats(-1, ids, 5, 3, 6));
    assert_true(gq_decode_repeats(-1, ids, 5, 2, 6));
    assert_false(gq_decode_repeats(-1, ids, 5, 2, 4));
    assert_true(gq_decode_repeats(-1, ids, 5, 1, 4));
    assert_false(gq_decode_repeats(-1, ids, 5, 1, 7));
    assert_false(gq_decode_repeats(-1, ids, 5, 0, 4));
    assert_false(gq_decode_repeats(-1, ids, 5, 6, 4));
    assert_false(gq_decode_repeats(-1, ids, 0, 1, 4));
    assert_true(gq_decode_repeats(-1, (const int32_t[]){9, 9}, 2, 2, 9));
    assert_false(gq_decode_repeats(-1, (const int32_t[]){9}, 1, 2, 9));
    assert_true(gq_decode_repeats(9, (const int32_t[]){9}, 1, 2, 9));
    assert_false(gq_decode_repeats(8, (const int32_t[]){9}, 1, 2, 9));
    assert_true(gq_decode_repeats(9, NULL, 0, 1, 9));
    assert_true(gq_decode_repeats(8, (const int32_t[]){9, 7, 8}, 3, 2, 9));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(step_in_double),      cmocka_unit_test(step_in_float),
        cmocka_unit_test(generate_in_double),  cmocka_unit_test(generate_in_float),
        cmocka_unit_test(batches_answer_as_singles), cmocka_unit_test(saved_and_loaded),
        cmocka_unit_test(published_sizes),     cmocka_unit_test(first_values),
        cmocka_unit_test(repeats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
