/* Recording, planning and its errors: what a tape refuses and how it says so, where tensors lie,
 * what happens when memory runs out. Bitwise promises are in tests/core/bitwise.c. */
#include "tiny.h"

#include "core/ops.h"

typedef struct lab {                    /* an engine with a few parameters and an open tape */
    gq_engine *e;
    gq_params *p;
    gq_tape   *t;
} lab;

static lab open_lab(const gq_backend *backend)
{
    static const struct { const char *name; int rank; int64_t shape[2];
    } declared[] = {
        {"w", 2, {4, 3}}, {"b", 1, {4}},      {"table", 2, {7, 3}},
        {"g", 1, {3}},    {"qkv", 2, {9, 3}}, {"frozen", 2, {4, 3}},
    };
    lab      l = {0};
    gq_error err = {0};

    assert_ok(gq_engine_new(&(gq_engine_opts){.backend = backend, .threads = 1}, &l.e, &err), &err);
    assert_ok(gq_params_new(l.e, &l.p, &err), &err);
    for (size_t i = 0; i < sizeof declared / sizeof *declared; i++)
        assert_ok(gq_params_add(l.p, declared[i].name, (gq_init){0}, declared[i].rank,
                                declared[i].shape, &err),
                  &err);
    gq_params_find(l.p, "frozen")->trainable = false;
    assert_ok(gq_params_seal(l.p, true, &err), &err);
    tiny_randomize(l.p, 0.5);
    assert_ok(gq_tape_new(l.e, l.p, "lab", &l.t, &err), &err);
    return l;
}

static void close_lab(lab *l)
{
    gq_tape_free(l->t);
    gq_params_free(l->p);
    gq_engine_free(l->e);
}

/* Finishing must fail with all of these in the text, then the lab is closed. */
static void expect_refusal(lab *l, gq_t loss, gq_status want, int line, const char *a,
                           const char *b, const char *c)
{
    char     place[600];
    gq_error err = {0};

    snprintf(place, sizeof place, "%s:%d: ", __FILE__, line);
    assert_fails(gq_tape_finish(l->t, loss, NULL, &err), want, &err, line ? place : "");
    for (int i = 0; i < 3; i++) {
        const char *needle = (const char *[]){a, b, c}[i];
        if (needle && !strstr(err.text, needle))
            fail_msg("'%s' is not in '%s'", needle, err.text);
    }
    close_lab(l);
}

/* ---- errors ---------------------------------------------------------------------------------- */

static void first_error_stays(void **state)
{
    lab  l = open_lab(&gq_backend_ref64);
    gq_t x = gq_input_real(l.t, "x", 2, (int64_t[]){2, 5}), y, z;
    int  line;

    (void)state;
    line = __LINE__ + 1;
    y = gq_linear(l.t, x, gq_p(l.t, "w"), GQ_T_NONE, GQ_NONE, GQ_T_NONE);
    assert_int_equal(y.i, 0);
    z = gq_layernorm(l.t, y, gq_p(l.t, "g"), GQ_T_NONE, 1e-5);       /* cascades silently */
    assert_int_equal(z.i, 0);
    gq_dropout(l.t, x, 1.5);                                         /* wrong as well, but later */
    assert_int_equal(gq_p(l.t, "absent").i, 0);
    assert_int_equal(gq_input_real(l.t, "y", 1, (int64_t[]){2}).i, 0);
    gq_segment(l.t, "s");
    gq_keep(l.t, z, "z");
    expect_refusal(&l, z, GQ_ECONFIG, line, "linear 'w'", "[2,5]", "[4,3]");
}

static void errors_say_what_and_where(void **state)
{
    gq_t x, q;
    int  line;
    lab  l = open_lab(&gq_backend_ref64);

    (void)state;
    assert_int_equal(gq_p(l.t, "h.%d.%s", 3, "w").i, 0);
    expect_refusal(&l, GQ_T_NONE, GQ_ECONFIG, 0, "no parameter 'h.3.w'", NULL, NULL);

    l = open_lab(&gq_backend_ref64);
    x = gq_input_real(l.t, "x", 2, (int64_t[]){2, 3});
    line = __LINE__ + 1;
    gq_linear(l.t, x, gq_p(l.t, "w"), gq_p(l.t, "g"), GQ_NONE, GQ_T_NONE);
    expect_refusal(&l, GQ_T_NONE, GQ_ECONFIG, line, "linear 'w'", "[4,3]", "bias is [3]");

    l = open_lab(&gq_backend_ref64);
    x = gq_input_real(l.t, "x", 3, (int64_t[]){2, 5, 9});
    line = __LINE__ + 1;
    gq_sdpa(l.t, x, GQ_T_NONE, &(gq_sdpa_opts){.heads = 2});
    expect_refusal(&l, GQ_T_NONE, GQ_ECONFIG, line, "sdpa 'x'", "width 3", "2 heads");

    for (int64_t rows = 1; rows <= 66; rows += rows == 1 ? 32 : 33) {
        l = open_lab(&gq_backend_ref64);
        x = gq_input_real(l.t, "x", 3, (int64_t[]){2, 5, 9});
        q = gq_input_real(l.t, "rel", 2, (int64_t[]){rows, 1});
        line = __LINE__ + 1;
        gq_sdpa(l.t, x, GQ_T_NONE, &(gq_sdpa_opts){.heads = 1, .table = q, .far = 128});
        expect_refusal(&l, GQ_T_NONE, GQ_ECONFIG, line, "sdpa 'x'", ",1]", "cannot be buckets");
    }

    l = open_lab(&gq_backend_ref64);
    x = gq_input_real(l.t, "x", 3, (int64_t[]){2, 5, 3});
    q = gq_input_real(l.t, "y", 3, (int64_t[]){2, 5, 4});
    line = __LINE__ + 1;
    gq_concat_rows(l.t, x, q);
    expect_refusal(&l, GQ_T_NONE, GQ_ECONFIG, line, "concat_rows 'y'", "[2,5,3]", "[2,5,4]");

    l = open_lab(&gq_backend_ref64);
    line = __LINE__ + 1;
    gq_reshape(gq__at(l.t, __FILE__, line), gq_p(l.t, "w"), 1, (int64_t[]){13});
    expect_refusal(&l, GQ_T_NONE, GQ_ECONFIG, line, "reshape 'w'", "[4,3]", "[13]");

    l = open_lab(&gq_backend_ref64);
    gq_input_real(l.t, "huge", 3, (int64_t[]){1 << 30, 1 << 30, 1 << 30});
    expect_refusal(&l, GQ_T_NONE, GQ_ECONFIG, 0, "'huge'", "dimension 1", NULL);
}

/* A loss must be a scalar that depends on something trained. */
static void losses_that_cannot_be(void **state)
{
    lab  l = open_lab(&gq_backend_ref64);
    gq_t x = gq_input_real(l.t, "x", 2, (int64_t[]){2, 3}), y;

    (void)state;
    y = gq_linear(l.t, x, gq_p(l.t, "w"), GQ_T_NONE, GQ_NONE, GQ_T_NONE);
    expect_refusal(&l, y, GQ_EBUG, 0, "not a scalar", "lab", NULL);

    l = open_lab(&gq_backend_ref64);
    x = gq_input_real(l.t, "x", 1, (int64_t[]){1});
    y = gq_combine(l.t, 1, &x, (double[]){2.0});
    expect_refusal(&l, y, GQ_ECONFIG, 0, "depends on no trained parameter", "lab", NULL);
}

static void missing_backward(void **state)
{
    gq_backend broken = gq_backend_ref64;
    gq_t       x, y;
    gq_error   err = {0};
    int        line;
    lab        l;

    (void)state;
    broken.name = "half-made";
    broken.ops[GQ_OP_LAYERNORM].bwd = NULL;
    l = open_lab(&broken);
    x = gq_input_real(l.t, "x", 2, (int64_t[]){2, 3});
    line = __LINE__ + 1;
    y = gq_layernorm(l.t, x, gq_p(l.t, "g"), GQ_T_NONE, 1e-5);
    assert_int_equal(y.i, 0);
    expect_refusal(&l, GQ_T_NONE, GQ_ECONFIG, line, "layernorm 'g'", "half-made", "no backward");

    /* where no gradient is wanted the op may be used: a tape without gradients, a pause,
     * constant operands */
    for (int way = 0; way < 3; way++) {
        l = open_lab(&broken);
        if (way == 0)
            gq_tape_no_grad(l.t);
        if (way == 1)
            gq_grad_pause(l.t, true);
        x = gq_input_real(l.t, "x", 2, (int64_t[]){2, 3});
        y = gq_layernorm(l.t, x,
                         way == 2 ? gq_input_real(l.t, "gain", 1, (int64_t[]){3}) : gq_p(l.t, "g"),
                         GQ_T_NONE, 1e-5);
        assert_int_not_equal(y.i, 0);
        assert_ok(gq_tape_finish(l.t, GQ_T_NONE, NULL, &err), &err);
        assert_ok(gq_forward(l.t, &err), &err);
        close_lab(&l);
    }
}

static void missing_kernel(void **state)
{
    gq_backend broken = gq_backend_ref32;
    gq_t       x;
    int        line;
    lab        l;

    (void)state;
    broken.name = "no-linear";
    broken.ops[GQ_OP_LINEAR] = (gq_op_kernels){0};
    l = open_lab(&broken);
    x = gq_input_real(l.t, "x", 2, (int64_t[]){2, 3});
    line = __LINE__ + 1;
    gq_linear(l.t, x, gq_p(l.t, "w"), GQ_T_NONE, GQ_NONE, GQ_T_NONE);
    expect_refusal(&l, GQ_T_NONE, GQ_ECONFIG, line, "no-linear", "no kernel for op linear", NULL);
}

/* Decoding has no backward at all: on a path that needs a gradient it is an error, whatever the
 * backend. */
static void decoding_op_on_a_gradient_path(void **state)
{
    static double cache[2 * 4 * 6];
    gq_t          x, c, pos;
    int           line;
    lab           l = open_lab(&gq_backend_ref64);

    (void)state;
    x = gq_input_real(l.t, "x", 3, (int64_t[]){2, 1, 3});
    x = gq_linear(l.t, x, gq_p(l.t, "qkv"), GQ_T_NONE, GQ_NONE, GQ_T_NONE);
    c = gq_extern(l.t, "cache", GQ_F64, 3, (int64_t[]){2, 4, 6}, cache);
    pos = gq_input(l.t, "pos", GQ_I32, 1, (int64_t[]){2});
    line = __LINE__ + 1;
    gq_kv_append(l.t, x, c, pos, 3, 6, 3);
    expect_refusal(&l, GQ_T_NONE, GQ_ECONFIG, line, "kv_append", "no backward", NULL);
}

static void same_tensor_twice(void **state)
{
    gq_t     x, y;
    gq_error err = {0};
    int      line;
    lab      l = open_lab(&gq_backend_ref64);

    (void)state;
    x = gq_linear(l.t, gq_input_real(l.t, "x", 2, (int64_t[]){2, 3}), gq_p(l.t, "w"), GQ_T_NONE,
                  GQ_NONE, GQ_T_NONE);
    line = __LINE__ + 1;
    gq_add_norm(l.t, x, x, gq_p(l.t, "b"), GQ_T_NONE, 1e-5, NULL);
    expect_refusal(&l, GQ_T_NONE, GQ_ECONFIG, line, "add_norm", "0 and 1", "same tensor");

    l = open_lab(&gq_backend_ref64);           /* once with gradient, once detached: well defined */
    x = gq_linear(l.t, gq_input_real(l.t, "x", 2, (int64_t[]){2, 3}), gq_p(l.t, "w"), GQ_T_NONE,
                  GQ_NONE, GQ_T_NONE);
    y = gq_add_norm(l.t, x, gq_stop_grad(l.t, x), gq_p(l.t, "b"), GQ_T_NONE, 1e-5, NULL);
    assert_int_not_equal(y.i, 0);
    assert_ok(gq_tape_finish(l.t, GQ_T_NONE, NULL, &err), &err);
    close_lab(&l);
}

static void finished_tapes_are_closed(void **state)
{
    lab      l = open_lab(&gq_backend_ref64);
    gq_t     x = gq_input_real(l.t, "x", 2, (int64_t[]){2, 3});
    gq_error err = {0};

    (void)state;
    assert_fails(gq_forward(l.t, &err), GQ_EBUG, &err, "not finished");
    gq_linear(l.t, x, gq_p(l.t, "w"), GQ_T_NONE, GQ_NONE, GQ_T_NONE);
    gq_error_clear(&err);
    assert_ok(gq_tape_finish(l.t, GQ_T_NONE, NULL, &err), &err);
    assert_int_equal(gq_linear(l.t, x, gq_p(l.t, "w"), GQ_T_NONE, GQ_NONE, GQ_T_NONE).i, 0);
    assert_non_null(strstr(l.t->err.text, "finished"));
    assert_fails(gq_backward(l.t, false, &err), GQ_EBUG, &err, "no loss");
    close_lab(&l);
}

/* ---- indices from data ----------------------------------------------------------------------- */

/* Runs with one index at `value`; it must fail and name the input, or run. */
static void try_index(gq_tape *t, gq_t idx, int64_t at, int32_t value, bool ok, const char *name)
{
    int32_t *p = gq_data(t, idx), old = p[at];
    char     want[64];
    gq_error err = {0};

    p[at] = value;
    snprintf(want, sizeof want, "element %lld of '%s' is %d", (long long)at, name, value);
    if (ok)
        assert_ok(gq_forward(t, &err), &err);
    else {
        assert_fails(gq_forward(t, &err), GQ_EINPUT, &err, want);
        assert_non_null(strstr(err.text, __FILE__));
    }
    p[at] = old;
}

static void indices_out_of_range(void **state)
{
    lab      l = open_lab(&gq_backend_ref64);
    gq_t     ids = gq_input(l.t, "ids", GQ_I32, 2, (int64_t[]){2, 5});
    gq_t     rows = gq_input(l.t, "rows", GQ_I32, 1, (int64_t[]){4});
    gq_t     labels = gq_input(l.t, "labels", GQ_I32, 1, (int64_t[]){4});
    gq_t     len = gq_input(l.t, "len", GQ_I32, 1, (int64_t[]){2});
    gq_t     pick = gq_input(l.t, "pick", GQ_I32, 1, (int64_t[]){3});
    gq_t     inv = gq_input_stat(l.t, "inv", 1, (int64_t[]){1}), x;
    gq_error err = {0};

    (void)state;
    gq_tape_no_grad(l.t);
    x = gq_embed(l.t, ids, gq_p(l.t, "table"), GQ_T_NONE);
    gq_sdpa(l.t, gq_linear(l.t, x, gq_p(l.t, "qkv"), GQ_T_NONE, GQ_NONE, GQ_T_NONE), GQ_T_NONE,
            &(gq_sdpa_opts){.heads = 1, .lengths = len});
    gq_gather_rows(l.t, x, pick);
    gq_lm_loss(l.t, x, gq_p(l.t, "table"), rows, labels, inv, NULL);
    assert_ok(gq_tape_finish(l.t, GQ_T_NONE, NULL, &err), &err);
    assert_ok(gq_forward(l.t, &err), &err);
    try_index(l.t, ids, 9, 6, true, "ids");
    try_index(l.t, ids, 9, 7, false, "ids");
    try_index(l.t, ids, 0, -1, false, "ids");
    try_index(l.t, ids, 3, INT32_MIN, false, "ids");
    try_index(l.t, len, 1, 5, true, "len");
    try_index(l.t, len, 1, 6, false, "len");
    try_index(l.t, pick, 2, -1, true, "pick");
    try_index(l.t, pick, 2, -2, false, "pick");
    try_index(l.t, pick, 2, 10, false, "pick");
    try_index(l.t, rows, 3, 9, true, "rows");
    try_index(l.t, rows, 3, 10, false, "rows");
    try_index(l.t, labels, 0, -100, true, "labels");
    try_index(l.t, labels, 0, 7, false, "labels");
    try_index(l.t, labels, 0, INT32_MAX, false, "labels");
    close_lab(&l);
}

/* -100 is the only negative label: any other would be read as a row of logits. */
static void negative_labels(void **state)
{
    lab      l = open_lab(&gq_backend_ref64);
    gq_t     x = gq_input_real(l.t, "x", 2, (int64_t[]){2, 3});
    gq_t     rows = gq_input(l.t, "rows", GQ_I32, 1, (int64_t[]){1});
    gq_t     labels = gq_input(l.t, "labels", GQ_I32, 1, (int64_t[]){1});
    gq_t     inv = gq_input_stat(l.t, "inv", 1, (int64_t[]){1});
    gq_error err = {0};

    (void)state;
    gq_tape_no_grad(l.t);
    gq_lm_loss(l.t, x, gq_p(l.t, "table"), rows, labels, inv, NULL);
    assert_ok(gq_tape_finish(l.t, GQ_T_NONE, NULL, &err), &err);
    try_index(l.t, labels, 0, -1, false, "labels");
    try_index(l.t, labels, 0, -99, false, "labels");
    try_index(l.t, labels, 0, -101, false, "labels");
    close_lab(&l);
}

/* ---- planning -------------------------------------------------------------------------------- */

/* A model of memory, 64 bytes a cell: which tensor wrote each cell last. Every read of the
 * schedule must find its own tensor there; nothing of the planner's own lifetimes is used. */
typedef struct shadow { const gq_tape *t; int32_t *owner; size_t cells; } shadow;

static int32_t act_tensor(const gq_tape *t, int32_t i)    /* its root when it lies in ACT, else 0 */
{
    const gq_tensor *x;
    i = t->tensor[i].root;
    x = &t->tensor[i];
    return i && !(x->flags & (GQ_TF_PARAM | GQ_TF_INPUT | GQ_TF_EXTERN)) ? i : 0;
}

static void touch(shadow *s, int32_t i, bool write, int32_t entry)
{
    const gq_tensor *x;
    if ((i = act_tensor(s->t, i)) == 0)
        return;
    x = &s->t->tensor[i];
    for (size_t c = x->offset / 64; c < (x->offset + x->bytes + 63) / 64; c++) {
        assert_true(c < s->cells);
        if (write)
            s->owner[c] = i;
        else if (s->owner[c] != i)
            fail_msg("entry %d of '%s' reads tensor %d where tensor %d lies", entry, s->t->name, i,
                     s->owner[c]);
    }
}

static void shadow_forward(shadow *s, const gq_node *n, int32_t e)
{
    for (int k = 0; k < n->nin; k++)
        touch(s, n->in[k], false, e);
    for (int k = 0; k < n->nout; k++)
        touch(s, n->out[k], true, e);
    for (int k = 0; k < n->nsave; k++)
        touch(s, n->save[k], true, e);
    for (int k = 0; k < n->nin; k++)                /* nothing written lies over what was read */
        touch(s, n->in[k], false, e);
    for (int k = 0; k < n->nout; k++)
        touch(s, n->out[k], false, e);
}

static void shadow_backward(shadow *s, const gq_node *n, const gq_call *c, int32_t e)
{
    const gq_op_rule *rule = gq_op_table[n->op].rule;

    for (int pass = 0; pass < 2; pass++) {
        for (int k = 0; k < n->nin; k++)
            if (rule->bwd_in >> k & 1)
                touch(s, n->in[k], false, e);
        for (int k = 0; k < n->nout; k++) {
            if (rule->bwd_out >> k & 1)
                touch(s, n->out[k], false, e);
            if (c->dout[k].p)
                touch(s, s->t->tensor[n->out[k]].grad, false, e);
        }
        for (int k = 0; k < n->nsave; k++)
            touch(s, n->save[k], false, e);
        for (int k = 0; k < n->nin; k++)
            if (c->din[k].p)
                touch(s, s->t->tensor[s->t->tensor[n->in[k]].root].grad,
                      pass == 0 && !(n->acc >> k & 1), e);
    }
}

static void check_memory(const gq_tape *t)
{
    shadow s = {.t = t, .cells = t->act_bytes / 64};

    s.owner = calloc(s.cells, sizeof *s.owner);
    assert_non_null(s.owner);
    for (int32_t e = 0; e < t->nentry; e++) {
        const gq_node *n = &t->node[t->entry[e].node];
        if (e == t->forward_entries)
            touch(&s, t->tensor[t->tensor[t->loss].root].grad, true, e);
        if (t->entry[e].phase == GQ_BACKWARD)
            shadow_backward(&s, n, &t->call[t->entry[e].node], e);
        else
            shadow_forward(&s, n, e);
    }
    for (int32_t i = 1; i < t->ntensor; i++)        /* kept tensors are still there */
        if (t->tensor[i].flags & GQ_TF_KEEP)
            touch(&s, i, false, t->nentry);
    free(s.owner);
}

static void no_two_tensors_share_live_memory(void **state)
{
    static const gq_plan_opts plans[] = {{0}, {.separate = true}, {.policy = GQ_SEGMENT},
                                         {.policy = GQ_SEGMENT, .separate = true}};
    size_t act[4];

    (void)state;
    for (int k = 0; k < 4; k++)
        for (int masked = 0; masked < 2; masked++) {
            tiny          m;
            gq_stllm_tape h;
            tiny_config(&m);
            m.live = true;
            m.model.gpt2.dropout = m.model.qformer.dropout = 0.1;
            m.model.gpt2.layers = 4;
            tiny_open(&m, &gq_backend_ref32, 1);
            tiny_record(&m, masked, plans[k], &h);
            check_memory(h.tape);
            act[k] = h.tape->act_bytes;
            gq_tape_free(h.tape);
            tiny_close(&m);
        }
    print_message("ACT bytes: keep %zu, separate %zu, segment %zu\n", act[0], act[1], act[2]);
    assert_true(act[0] < act[1] * 2 / 3);           /* reuse must be worth its planner */
    assert_true(act[2] < act[0]);
}

static void inference_saves_nothing(void **state)
{
    tiny           m;
    gq_stllm_tape  h;
    gq_stllm_shape shape;
    gq_error       err = {0};
    size_t         trained;

    (void)state;
    tiny_config(&m);
    tiny_open(&m, &gq_backend_ref32, 1);
    tiny_record(&m, false, (gq_plan_opts){0}, &h);
    trained = h.tape->act_bytes;
    gq_tape_free(h.tape);
    tiny_shape(&m, false, &shape);
    shape.train = false;
    assert_ok(gq_stllm_record(m.e, m.p, &m.model, &shape, &(gq_plan_opts){0}, false, &h, &err),
              &err);
    check_memory(h.tape);
    assert_int_equal(h.tape->nentry, h.tape->nnode);
    assert_true(h.tape->act_bytes < trained / 3);
    for (int32_t i = 0; i < h.tape->nnode; i++)
        if (h.tape->node[i].op != GQ_OP_LM_LOSS)
            assert_int_equal(h.tape->node[i].nsave, 0);
    gq_tape_free(h.tape);
    tiny_close(&m);
}

/* y = x W^T twice over: 2 * rows * in * out multiplications and additions, twice that again in
 * backward. */
static void cost_of_a_known_tape(void **state)
{
    lab      l = open_lab(&gq_backend_ref32);
    gq_t     x, y, loss;
    gq_cost  c;
    gq_error err = {0};
    char     text[512];

    (void)state;
    x = gq_linear(l.t, gq_input_real(l.t, "x", 2, (int64_t[]){5, 3}), gq_p(l.t, "w"), GQ_T_NONE,
                  GQ_NONE, GQ_T_NONE);
    y = gq_input_real(l.t, "y", 2, (int64_t[]){5, 4});
    loss = gq_mvm_loss(l.t, x, y, gq_input_stat(l.t, "u", 1, (int64_t[]){5}),
                       gq_input_stat(l.t, "inv", 1, (int64_t[]){1}), GQ_MVM_SSE);
    assert_ok(gq_tape_finish(l.t, loss, NULL, &err), &err);
    c = gq_tape_cost(l.t);
    assert_int_equal((int)c.fwd_flops, 2 * 5 * 3 * 4);
    assert_int_equal((int)c.bwd_flops, 2 * 5 * 3 * 4);    /* the input needs no gradient: dW only */
    gq_tape_line(l.t, 0, text, sizeof text);
    assert_non_null(strstr(text, "linear"));
    assert_non_null(strstr(text, "[5,4]"));
    assert_non_null(strstr(text, "tape.c:"));
    close_lab(&l);
}

#ifdef GIFQA_CHECKED
static void overrun(const gq_call *c)          /* the reference's layernorm, and one element more */
{
    gq_backend_ref64.ops[GQ_OP_LAYERNORM].fwd(c);
    ((double *)c->out[0].p)[gq_size(&c->out[0])] = 1.0;
}

static void half_done(const gq_call *c)        /* leaves the last element of the output unwritten */
{
    double last = ((double *)c->out[0].p)[gq_size(&c->out[0]) - 1];
    gq_backend_ref64.ops[GQ_OP_LAYERNORM].fwd(c);
    ((double *)c->out[0].p)[gq_size(&c->out[0]) - 1] = last;
}

static gq_status run_norm(gq_kernel kernel, double *last, gq_error *err)
{
    gq_backend broken = gq_backend_ref64;
    gq_t       x, y;
    gq_status  s;
    lab        l;

    broken.ops[GQ_OP_LAYERNORM].fwd = kernel;
    l = open_lab(&broken);
    x = gq_input_real(l.t, "x", 2, (int64_t[]){2, 3});
    y = gq_layernorm(l.t, x, gq_p(l.t, "g"), GQ_T_NONE, 1e-5);
    gq_keep(l.t, y, "y");
    assert_ok(gq_tape_finish(l.t, GQ_T_NONE, NULL, err), err);
    s = gq_forward(l.t, err);
    *last = ((double *)gq_data(l.t, y))[5];
    close_lab(&l);
    return s;
}
#endif

/* Checked builds: a kernel that writes past its output is named, and one that forgets an element
 * leaves a NaN there. */
static void checked_builds_catch_kernels(void **state)
{
    (void)state;
#ifdef GIFQA_CHECKED
    double   last;
    gq_error err = {0};
    assert_fails(run_norm(overrun, &last, &err), GQ_EBUG, &err, "layernorm wrote past the end");
    assert_ok(run_norm(half_done, &last, &err), &err);
    assert_true(isnan(last));
#else
    skip();
#endif
}

/* ---- out of memory --------------------------------------------------------------------------- */

/* Everything from an engine to a finished tape; the first failure is passed on, and all is
 * freed. */
static gq_status build_all(tiny *m, gq_plan_opts plan, gq_error *err)
{
    gq_stllm_shape shape;
    gq_stllm_tape  h = {0};
    gq_status      s =
        gq_engine_new(&(gq_engine_opts){.backend = &gq_backend_ref32, .threads = 2}, &m->e, err);

    m->p = NULL;
    if (s == GQ_OK)
        s = gq_params_new(m->e, &m->p, err);
    if (s == GQ_OK)
        s = gq_stllm_declare(m->p, &m->model, err);
    if (s == GQ_OK)
        s = gq_params_seal(m->p, true, err);
    tiny_shape(m, true, &shape);
    if (s == GQ_OK)
        s = gq_stllm_record(m->e, m->p, &m->model, &shape, &plan, true, &h, err);
    if (s == GQ_OK)
        s = gq_tape_profile(h.tape, true, err);
    gq_tape_free(h.tape);
    gq_params_free(m->p);
    gq_engine_free(m->e);
    return s;
}

static void every_allocation_may_fail(void **state)
{
    tiny m;
    int  failures = 0;

    (void)state;
    tiny_config(&m);
    m.live = true;
    m.model.clip.layers = m.model.gpt2.layers = m.model.qformer.layers = 1;
    tiny_samples(&m);
    for (int variant = 0; variant < 2; variant++)
        for (uint64_t n = 1;; n++) {
            gq_error  err = {0};
            gq_status s;
            gq_mem_fail_at(n, variant == 1);
            s = build_all(&m, (gq_plan_opts){.policy = variant ? GQ_KEEP : GQ_SEGMENT}, &err);
            gq_mem_fail_at(0, false);
            if (s == GQ_OK)
                break;
            if (s != GQ_ENOMEM)
                fail_msg("allocation %llu: got %d: %s", (unsigned long long)n, (int)s, err.text);
            if (!strstr(err.text, "memory"))
                fail_msg("allocation %llu: '%s'", (unsigned long long)n, err.text);
            failures++;
        }
    print_message("%d failed allocations survived\n", failures);
    assert_true(failures > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_error_stays),
        cmocka_unit_test(errors_say_what_and_where),
        cmocka_unit_test(losses_that_cannot_be),
        cmocka_unit_test(missing_backward),
        cmocka_unit_test(missing_kernel),
        cmocka_unit_test(decoding_op_on_a_gradient_path),
        cmocka_unit_test(same_tensor_twice),
        cmocka_unit_test(finished_tapes_are_closed),
        cmocka_unit_test(indices_out_of_range),
        cmocka_unit_test(negative_labels),
        cmocka_unit_test(no_two_tensors_share_live_memory),
        cmocka_unit_test(inference_saves_nothing),
        cmocka_unit_test(cost_of_a_known_tape),
        cmocka_unit_test(checked_builds_catch_kernels),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
