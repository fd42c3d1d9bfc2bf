/* Published names: what is saved loads again with the same bits, files look as Hugging Face
 * writes them, and everything that does not fit is refused or reported by name. */
#include "tiny.h"

#include "models/hf.h"

typedef struct family { gq_hf_family f; const char *file; } family;

static const family families[] = {
    {GQ_HF_CLIP, "clip.safetensors"},
    {GQ_HF_QFORMER, "qformer.safetensors"},
    {GQ_HF_GPT2, "gpt2.safetensors"},
    {GQ_HF_STLLM, "stllm.safetensors"},
};

static const char *in_dir(const char *dir, const char *file)
{
    static char path[4][256];
    static int  next;
    char       *p = path[next++ & 3];
    snprintf(p, sizeof path[0], "%s/%s", dir, file);
    return p;
}

/* tiny.h's model with every switch that adds parameters. */
static void full_config(tiny *m)
{
    tiny_config(m);
    m->model.clip.text = true;
    m->model.clip.proj = 6;
    m->model.clip.text_width = 12;
    m->model.clip.text_layers = 2;
    m->model.clip.text_heads = 2;
    m->model.clip.text_mlp = 20;
    m->model.clip.vocab = 31;
    m->model.clip.context = 7;
}

static void remove_files(const char *dir)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        unlink(in_dir(dir, families[i].file));
    unlink(in_dir(dir, "x.safetensors"));
    assert_int_equal(rmdir(dir), 0);
}

static gq_safetensors *open_st(const char *path)
{
    gq_safetensors *st;
    gq_error        err = {0};
    assert_ok(gq_safetensors_open(path, &st, &err), &err);
    return st;
}

/* Writes tensors of zeros; a NULL name ends the list. */
typedef struct spec { const char *name; gq_st_dtype dtype; int rank; uint64_t shape[4]; } spec;

static void write_spec(const char *path, const spec *s)
{
    gq_st_tensor  t[96] = {0};
    gq_st_writer *w;
    size_t        n = 0;
    gq_error      err = {0};

    for (; s[n].name; n++) {
        t[n] = (gq_st_tensor){.name = s[n].name, .dtype = s[n].dtype, .rank = s[n].rank};
        memcpy(t[n].shape, s[n].shape, sizeof s[n].shape);
    }
    assert_ok(gq_st_writer_open(path, t, n, NULL, 0, &w, &err), &err);
    for (size_t i = 0; i < n; i++) {
        size_t bytes = gq_st_dtype_size(s[i].dtype);
        for (int d = 0; d < s[i].rank; d++)
            bytes *= s[i].shape[d];
        char *zero = calloc(bytes, 1);
        assert_ok(gq_st_put(w, s[i].name, zero, bytes, &err), &err);
        free(zero);
    }
    assert_ok(gq_st_commit(w, &err), &err);
}

static gq_status save(gq_params *p, gq_hf_family f, const char *path, gq_error *err)
{
    return gq_hf_save(p, f, &(gq_hf_source){gq_hf_from_params, p}, path, err);
}

/* ---- round trip ------------------------------------------------------------------------------ */

/* wide: tensors of several tiles of the loader, the last ones not whole, in three threads */
static void same_bits(const gq_backend *backend, const gq_backend *other, bool wide)
{
    const char *dir = gq_scratch();
    tiny        a, b;
    int         matched = 0;
    gq_error    err = {0};

    full_config(&a);
    if (wide) {
        a.model.gpt2.width = 146;
        a.model.gpt2.mlp = 203;
        a.model.gpt2.vocab = 301;
    }
    b = a;
    tiny_open(&a, backend, 1);
    tiny_open(&b, other, wide ? 3 : 1);
    for (int32_t i = 0; i < b.p->count; i++)        /* nothing of a may be there before */
        memset(gq_param_data(b.p, &b.p->param[i]), 0,
               (size_t)b.p->param[i].n * gq_dtype_size(other->real));
    for (size_t k = 0; k < sizeof families / sizeof *families; k++) {
        const char     *path = in_dir(dir, families[k].file);
        gq_load_report  r;
        gq_safetensors *st;
        assert_ok(save(a.p, families[k].f, path, &err), &err);
        st = open_st(path);
        assert_ok(gq_hf_load(b.p, families[k].f, st, &r, &err), &err);
        assert_int_equal(r.missing + r.unexpected, 0);
        assert_string_equal(r.first_missing, "");
        assert_string_equal(gq_st_metadata(st, "format"), "pt");
        matched += r.matched;
        gq_safetensors_close(st);
    }
    assert_int_equal(matched, a.p->count);       /* every parameter belongs to exactly one family */
    for (int32_t i = 0; i < a.p->count; i++) {
        const gq_param *p = &a.p->param[i], *q = &b.p->param[i];
        assert_true(q->loaded);
        for (int64_t j = 0; j < p->n; j++)
            if (tiny_value(a.e, gq_param_data(a.p, p), j) !=
                tiny_value(b.e, gq_param_data(b.p, q), j))
                fail_msg("%s[%lld] differs", p->name, (long long)j);
    }
    tiny_close(&a);
    tiny_close(&b);
    remove_files(dir);
}

static void saved_is_loaded_bit_for_bit(void **state)
{
    (void)state;
    same_bits(&gq_backend_ref32, &gq_backend_ref32, false);
    same_bits(&gq_backend_ref64, &gq_backend_ref32, false);         /* values are float32 in both */
    same_bits(&gq_backend_ref32, &gq_backend_ref64, false);
    same_bits(&gq_backend_ref32, &gq_backend_ref32, true);
}

/* A model that loads what another saved computes the same bits. */
static void saved_model_computes_the_same(void **state)
{
    const char   *dir = gq_scratch();
    tiny          a, b;
    gq_stllm_tape ha, hb;
    gq_error      err = {0};

    (void)state;
    full_config(&a);
    full_config(&b);
    a.live = b.live = true;
    tiny_open(&a, &gq_backend_ref32, 1);
    tiny_open(&b, &gq_backend_ref32, 1);
    tiny_randomize(b.p, 0.1);
    for (size_t k = 0; k < sizeof families / sizeof *families; k++) {
        gq_load_report  r;
        gq_safetensors *st;
        assert_ok(save(a.p, families[k].f, in_dir(dir, families[k].file), &err), &err);
        st = open_st(in_dir(dir, families[k].file));
        assert_ok(gq_hf_load(b.p, families[k].f, st, &r, &err), &err);
        gq_safetensors_close(st);
    }
    tiny_record(&a, true, (gq_plan_opts){0}, &ha);
    tiny_record(&b, true, (gq_plan_opts){0}, &hb);
    tiny_step(&ha, false);
    tiny_step(&hb, false);
    assert_true(gq_scalar(ha.tape, ha.loss) == gq_scalar(hb.tape, hb.loss));
    assert_memory_equal(a.p->grad.base, b.p->grad.base, tiny_gradient_bytes(a.p));
    gq_tape_free(ha.tape);
    gq_tape_free(hb.tape);
    tiny_close(&a);
    tiny_close(&b);
    remove_files(dir);
}

/* ---- the files ------------------------------------------------------------------------------- */

static void expect_shape(gq_safetensors *st, const char *name, int rank, uint64_t a, uint64_t b,
                         uint64_t c, uint64_t d)
{
    const gq_st_tensor *t = gq_st_find(st, name);
    const uint64_t      want[] = {a, b, c, d};
    if (!t)
        fail_msg("no '%s'", name);
    assert_int_equal(t->dtype, GQ_ST_F32);
    assert_int_equal(t->rank, rank);
    for (int i = 0; i < rank; i++)
        assert_int_equal(t->shape[i], want[i]);
}

static float at(gq_safetensors *st, const char *name, uint64_t i)
{
    const gq_st_tensor *t = gq_st_find(st, name);
    float               v;
    assert_true(t && i < t->count);
    memcpy(&v, (const char *)t->data + i * sizeof v, sizeof v);
    return v;
}

static float ours(tiny *m, const char *name, int64_t i)
{
    float v;
    gq_param_get_f32(m->p, gq_params_find(m->p, name), i, &v, 1);
    return v;
}

static void published_names_shapes_and_transposes(void **state)
{
    const char     *dir = gq_scratch();
    gq_safetensors *st;
    tiny            m;
    gq_error        err = {0};

    (void)state;
    full_config(&m);
    tiny_open(&m, &gq_backend_ref32, 1);
    for (size_t k = 0; k < sizeof families / sizeof *families; k++)
        assert_ok(save(m.p, families[k].f, in_dir(dir, families[k].file), &err), &err);

    st = open_st(in_dir(dir, "gpt2.safetensors"));
    assert_int_equal(gq_st_count(st), 2 + 2 * 12 + 2);
    assert_null(gq_st_find(st, "lm_head.weight"));  /* tied */
    expect_shape(st, "wte.weight", 2, TINY_VOCAB, 14, 0, 0);
    expect_shape(st, "h.1.attn.c_attn.weight", 2, 14, 42, 0, 0);     /* Conv1D: [in,out] */
    expect_shape(st, "h.1.mlp.c_proj.weight", 2, 30, 14, 0, 0);
    assert_true(at(st, "h.1.attn.c_attn.weight", 3 * 42 + 40) ==
                ours(&m, "gpt2.h.1.attn.qkv.w", 40 * 14 + 3));
    assert_true(at(st, "h.0.ln_2.bias", 5) == ours(&m, "gpt2.h.0.ln_2.b", 5));
    gq_safetensors_close(st);

    st = open_st(in_dir(dir, "clip.safetensors"));
    expect_shape(st, "vision_model.embeddings.patch_embedding.weight", 4, 8, 3, 2, 2);
    expect_shape(st, "logit_scale", 0, 0, 0, 0, 0);
    expect_shape(st, "vision_model.encoder.layers.2.self_attn.k_proj.weight", 2, 8, 8, 0, 0);
    expect_shape(st, "text_projection.weight", 2, 6, 12, 0, 0);
    assert_true(at(st, "vision_model.encoder.layers.2.self_attn.k_proj.weight", 9) ==
                ours(&m, "clip.v.h.2.attn.qkv.w", 64 + 9));
    assert_true(at(st, "text_model.encoder.layers.1.self_attn.v_proj.bias", 4) ==
                ours(&m, "clip.t.h.1.attn.qkv.b", 24 + 4));
    gq_safetensors_close(st);

    st = open_st(in_dir(dir, "qformer.safetensors"));
    expect_shape(st, "query_tokens", 3, 1, TINY_QUERIES, 12, 0);
    expect_shape(st, "qformer.encoder.layer.2.crossattention.attention.value.weight", 2, 12, 10, 0,
                 0);
    assert_null(gq_st_find(st, "qformer.encoder.layer.1.crossattention.attention.value.weight"));
    assert_true(at(st, "qformer.encoder.layer.2.crossattention.attention.value.weight", 7) ==
                ours(&m, "qformer.h.2.cross.kv.w", 120 + 7));
    gq_safetensors_close(st);

    st = open_st(in_dir(dir, "stllm.safetensors"));
    expect_shape(st, "bridge.weight", 2, 10, 8, 0, 0);
    expect_shape(st, "bridge_ln.bias", 1, 10, 0, 0, 0);
    expect_shape(st, "mvm_predictor_ln.weight", 1, 14, 0, 0, 0);
    assert_int_equal(gq_st_count(st), 10);
    gq_safetensors_close(st);
    tiny_close(&m);
    remove_files(dir);
}

/* ---- refusals and reports -------------------------------------------------------------------- */

/* One GPT-2 block of width 2 with 3 words and 4 positions; 16 tensors as published. */
static const spec GPT[] = {
    {"wte.weight", GQ_ST_F32, 2, {3, 2}},
    {"wpe.weight", GQ_ST_F32, 2, {4, 2}},
    {"h.0.ln_1.weight", GQ_ST_F32, 1, {2}},
    {"h.0.ln_1.bias", GQ_ST_F32, 1, {2}},
    {"h.0.attn.c_attn.weight", GQ_ST_F32, 2, {2, 6}},
    {"h.0.attn.c_attn.bias", GQ_ST_F32, 1, {6}},
    {"h.0.attn.c_proj.weight", GQ_ST_F32, 2, {2, 2}},
    {"h.0.attn.c_proj.bias", GQ_ST_F32, 1, {2}},
    {"h.0.ln_2.weight", GQ_ST_F32, 1, {2}},
    {"h.0.ln_2.bias", GQ_ST_F32, 1, {2}},
    {"h.0.mlp.c_fc.weight", GQ_ST_F32, 2, {2, 8}},
    {"h.0.mlp.c_fc.bias", GQ_ST_F32, 1, {8}},
    {"h.0.mlp.c_proj.weight", GQ_ST_F32, 2, {8, 2}},
    {"h.0.mlp.c_proj.bias", GQ_ST_F32, 1, {2}},
    {"ln_f.weight", GQ_ST_F32, 1, {2}},
    {"ln_f.bias", GQ_ST_F32, 1, {2}},
};
enum { GPT_TENSORS = sizeof GPT / sizeof *GPT };

static gq_params *open_gpt(bool tied)
{
    gq_gpt2_config c = {.width = 2,
                        .layers = 1,
                        .heads = 1,
                        .mlp = 8,
                        .vocab = 3,
                        .positions = 4,
                        .bias = true,
                        .tied = tied};
    gq_engine     *e;
    gq_params     *p;
    gq_error       err = {0};
    assert_ok(
        gq_engine_new(&(gq_engine_opts){.backend = &gq_backend_ref32, .threads = 1}, &e, &err),
        &err);
    assert_ok(gq_params_new(e, &p, &err), &err);
    assert_ok(gq_gpt2_declare(p, &c, &err), &err);
    assert_ok(gq_params_seal(p, false, &err), &err);
    assert_int_equal(gq_params_init(p, 1, NULL), GQ_OK);
    return p;
}

/* Writes s, loads it into a GPT-2 and passes on what happened. */
static gq_status load_spec(const spec *s, bool tied, gq_load_report *r, gq_error *err)
{
    const char     *dir = gq_scratch();
    char            path[128];
    gq_safetensors *st;
    gq_params      *p = open_gpt(tied);
    gq_engine      *e = p->engine;
    gq_status       status;

    snprintf(path, sizeof path, "%s/x.safetensors", dir);
    write_spec(path, s);
    st = open_st(path);
    status = gq_hf_load(p, GQ_HF_GPT2, st, r, err);
    for (int32_t i = 0, loaded = 0; status == GQ_OK && i <= p->count; i++) {
        if (i == p->count)
            assert_int_equal(loaded, r->matched);
        else
            loaded += p->param[i].loaded;
    }
    gq_safetensors_close(st);
    gq_params_free(p);
    gq_engine_free(e);
    unlink(path);
    rmdir(dir);
    return status;
}

static void change(spec *s, const char *name, spec to)
{
    for (; s->name; s++)
        if (strcmp(s->name, name) == 0) {
            *s = to;
            return;
        }
    fail_msg("no '%s'", name);
}

static void take_away(spec *s, const char *name)
{
    for (; s->name; s++)
        if (strcmp(s->name, name) == 0) {
            do
                s[0] = s[1];
            while ((s++)->name);
            return;
        }
    fail_msg("no '%s'", name);
}

static void wrong_shapes_are_refused(void **state)
{
    static const struct { const char *name; spec to; const char *a, *b;
    } bad[] = {
        {"wte.weight", {"wte.weight", GQ_ST_F32, 2, {4, 2}}, "is [4,2]", "wants [3,2]"},
        {"h.0.attn.c_attn.weight",
         {"h.0.attn.c_attn.weight", GQ_ST_F32, 2, {6, 2}},
         "is [6,2]",
         "wants [2,6]"},
        {"h.0.mlp.c_fc.bias", {"h.0.mlp.c_fc.bias", GQ_ST_F32, 1, {7}}, "is [7]", "wants [8]"},
        {"ln_f.weight", {"ln_f.weight", GQ_ST_F32, 2, {2, 2}}, "is [2,2]", "wants [2]"},
        {"ln_f.weight", {"ln_f.weight", GQ_ST_F32, 0, {0}}, "is []", "wants [2]"},
        {"wpe.weight", {"wpe.weight", GQ_ST_F32, 3, {2, 2, 2}}, "is [2,2,2]", "wants [4,2]"},
        {"wpe.weight", {"wpe.weight", GQ_ST_F32, 1, {8}}, "is [8]", "wants [4,2]"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        spec           s[GPT_TENSORS + 1] = {0};
        gq_load_report r;
        gq_error       err = {0};
        memcpy(s, GPT, sizeof GPT);
        change(s, bad[i].name, bad[i].to);
        assert_fails(load_spec(s, true, &r, &err), GQ_EWEIGHTS, &err, bad[i].name);
        if (!strstr(err.text, bad[i].a) || !strstr(err.text, bad[i].b) ||
            !strstr(err.text, "x.safetensors"))
            fail_msg("'%s'", err.text);
    }
}

static void other_types(void **state)
{
    spec           s[GPT_TENSORS + 1] = {0};
    gq_load_report r;
    gq_error       err = {0};

    (void)state;
    memcpy(s, GPT, sizeof GPT);
    s[0].dtype = GQ_ST_F16;                         /* halves and doubles are converted */
    s[1].dtype = GQ_ST_BF16;
    s[2].dtype = GQ_ST_F64;
    assert_ok(load_spec(s, true, &r, &err), &err);
    assert_int_equal(r.matched, 16);
    s[3].dtype = GQ_ST_I32;                         /* integers are not weights */
    assert_fails(load_spec(s, true, &r, &err), GQ_EWEIGHTS, &err, "h.0.ln_1.bias");
}

static void missing_tensors_are_reported(void **state)
{
    spec           s[GPT_TENSORS + 1] = {0};
    gq_load_report r;
    gq_error       err = {0};

    (void)state;
    memcpy(s, GPT, sizeof GPT);
    take_away(s, "h.0.mlp.c_fc.bias");
    take_away(s, "h.0.ln_2.weight");
    assert_ok(load_spec(s, true, &r, &err), &err);
    assert_int_equal(r.matched, 14);
    assert_int_equal(r.missing, 2);
    assert_int_equal(r.unexpected, 0);
    assert_string_equal(r.first_missing, "h.0.ln_2.weight");
    s[0].name = NULL;                               /* an empty file */
    assert_ok(load_spec(s, true, &r, &err), &err);
    assert_int_equal(r.matched, 0);
    assert_int_equal(r.missing, 16);
    assert_string_equal(r.first_missing, "wte.weight");
}

static void unexpected_tensors_are_reported(void **state)
{
    spec           s[GPT_TENSORS + 8] = {0};
    gq_load_report r;
    gq_error       err = {0};

    (void)state;
    memcpy(s, GPT, sizeof GPT);
    s[GPT_TENSORS] = (spec){"h.1.ln_1.weight", GQ_ST_F32, 1, {2}};   /* the file has a layer more */
    s[GPT_TENSORS + 1] = (spec){"h.1.ln_1.bias", GQ_ST_F32, 1, {2}};
    s[GPT_TENSORS + 2] = (spec){"h.0.attn.bias", GQ_ST_F32, 4, {1, 1, 4, 4}};      /* old buffers */
    s[GPT_TENSORS + 3] = (spec){"h.0.attn.masked_bias", GQ_ST_F32, 0, {0}};
    s[GPT_TENSORS + 4] = (spec){"lm_head.weight", GQ_ST_F32, 2, {3, 2}};         /* the tied head */
    /* another tower */
    s[GPT_TENSORS + 5] = (spec){"vision_model.post_layernorm.weight", GQ_ST_F32, 1, {2}};
    assert_ok(load_spec(s, true, &r, &err), &err);
    assert_int_equal(r.matched, 16);
    assert_int_equal(r.unexpected, 2);
    assert_string_equal(r.first_unexpected, "h.1.ln_1.weight");
    assert_int_equal(r.missing, 0);
}

static void heads_tied_and_not(void **state)
{
    spec           s[GPT_TENSORS + 2] = {0};
    gq_load_report r;
    gq_error       err = {0};

    (void)state;
    memcpy(s, GPT, sizeof GPT);
    /* a head of its own is wanted, the file is tied */
    assert_ok(load_spec(s, false, &r, &err), &err);
    assert_int_equal(r.missing, 1);
    assert_string_equal(r.first_missing, "lm_head.weight");
    s[GPT_TENSORS] = (spec){"lm_head.weight", GQ_ST_F32, 2, {3, 2}};
    assert_ok(load_spec(s, false, &r, &err), &err);
    assert_int_equal(r.matched, 17);
    assert_int_equal(r.missing + r.unexpected, 0);
}

static void prefixes(void **state)
{
    static const char *const prefix[] = {"transformer.", "language_model.transformer.", "model."};
    static char              names[GPT_TENSORS][96];

    (void)state;
    for (int k = 0; k < 3; k++) {
        spec           s[GPT_TENSORS + 1] = {0};
        gq_load_report r;
        gq_error       err = {0};
        memcpy(s, GPT, sizeof GPT);
        for (int i = 0; i < GPT_TENSORS; i++) {
            snprintf(names[i], sizeof names[i], "%s%s", prefix[k], GPT[i].name);
            s[i].name = names[i];
        }
        assert_ok(load_spec(s, true, &r, &err), &err);
        assert_int_equal(r.matched, 16);
        assert_int_equal(r.missing + r.unexpected, 0);
    }
}

/* Query, key and value are three tensors of a file and one parameter of ours: two thirds are not
 * loaded. */
static void a_missing_third_is_named(void **state)
{
    const char     *dir = gq_scratch();
    gq_safetensors *st;
    tiny            m;
    gq_load_report  r;
    gq_hf_part      part[3];
    gq_param       *q;
    spec            s[80] = {0};
    static char     names[80][160];
    int             n = 0;
    gq_error        err = {0};

    (void)state;
    full_config(&m);
    tiny_open(&m, &gq_backend_ref32, 1);
    for (int32_t i = 0; i < m.p->count; i++) {
        int parts = gq_hf_parts(GQ_HF_QFORMER, &m.p->param[i], part);
        for (int k = 0; k < parts; k++) {
            if (strstr(part[k].name, "layer.1.attention.attention.key.weight"))
                continue;
            snprintf(names[n], sizeof names[n], "%s", part[k].name);
            s[n] = (spec){names[n], GQ_ST_F32, part[k].rank, {0}};
            for (int d = 0; d < part[k].rank; d++)
                s[n].shape[d] = (uint64_t)part[k].shape[d];
            n++;
        }
    }
    write_spec(in_dir(dir, "x.safetensors"), s);
    st = open_st(in_dir(dir, "x.safetensors"));
    assert_ok(gq_hf_load(m.p, GQ_HF_QFORMER, st, &r, &err), &err);
    assert_int_equal(r.missing, 1);
    assert_string_equal(r.first_missing, "qformer.encoder.layer.1.attention.attention.key.weight");
    q = gq_params_find(m.p, "qformer.h.1.self.qkv.w");
    assert_false(q->loaded);                        /* so that initialisation fills it whole */
    assert_true(gq_params_find(m.p, "qformer.h.1.self.qkv.b")->loaded);
    gq_safetensors_close(st);
    tiny_close(&m);
    remove_files(dir);
}

/* ---- out of memory --------------------------------------------------------------------------- */

static void every_allocation_may_fail(void **state)
{
    const char     *dir = gq_scratch(), *path;
    gq_safetensors *st;
    tiny            m;
    gq_load_report  r;
    int             failures = 0;

    (void)state;
    full_config(&m);
    m.model.gpt2.layers = 1;
    tiny_open(&m, &gq_backend_ref32, 1);
    path = in_dir(dir, "gpt2.safetensors");
    for (uint64_t n = 1;; n++) {
        gq_error  err = {0};
        gq_status s;
        gq_mem_fail_at(n, false);
        s = save(m.p, GQ_HF_GPT2, path, &err);
        gq_mem_fail_at(0, false);
        if (s == GQ_OK)
            break;
        assert_int_equal(s, GQ_ENOMEM);
        assert_true(err.text[0]);
        assert_int_not_equal(access(path, F_OK), 0);                 /* no half-written file */
        failures++;
    }
    assert_true(failures > 10);
    st = open_st(path);
    for (uint64_t n = 1;; n++) {
        gq_error  err = {0};
        gq_status s;
        gq_mem_fail_at(n, false);
        s = gq_hf_load(m.p, GQ_HF_GPT2, st, &r, &err);
        gq_mem_fail_at(0, false);
        if (s == GQ_OK)
            break;
        assert_int_equal(s, GQ_ENOMEM);
        failures++;
    }
    assert_true(failures > 30);
    assert_int_equal(r.missing, 0);
    gq_safetensors_close(st);
    tiny_close(&m);
    remove_files(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(saved_is_loaded_bit_for_bit),
        cmocka_unit_test(saved_model_computes_the_same),
        cmocka_unit_test(published_names_shapes_and_transposes),
        cmocka_unit_test(wrong_shapes_are_refused),
        cmocka_unit_test(other_types),
        cmocka_unit_test(missing_tensors_are_reported),
        cmocka_unit_test(unexpected_tensors_are_reported),
        cmocka_unit_test(heads_tied_and_not),
        cmocka_unit_test(prefixes),
        cmocka_unit_test(a_missing_third_is_named),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
