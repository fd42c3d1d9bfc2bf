/* A T5 that a person names: sizes from config.json and the weights, every way in which a directory can be wrong, text
 * for text in batches of any size. */
#include "t5_made.h"

#include "core/safetensors.h"
#include "train/t5_dir.h"
#include "train/t5_text.h"

static char dir[128];

static int make(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "%s", gq_scratch());
    return 0;
}

static int clear(void **state)
{
    (void)state;
    gq_remove_tree(dir, NULL);
    return 0;
}

static const char *at(const char *name)
{
    static char paths[4][256];
    static int  next;
    char       *path = paths[next++ & 3];
    snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

static const gq_config *machine(void)
{
    static gq_config  c;
    static bool       made;
    const char *const set[] = {"engine.threads=2", "engine.device=cpu"};
    gq_error          err = {0};
    if (!made)
        assert_ok(gq_config_load(NULL, set, 2, &c, NULL, &err), &err);
    made = true;
    return &c;
}

static gq_t5_config tied_sizes(void)
{
    gq_t5_config c = made_t5_sizes;
    c.tied = true;
    c.gated = false;
    c.act = GQ_RELU;
    c.width = 24;
    c.heads = 3;
    c.head_width = 8;
    c.decoder_layers = 2;
    return c;
}

/* ---- sizes ----------------------------------------------------------------------------------- */

static void sizes(void **state)
{
    gq_t5_config c, want = tied_sizes();
    gq_error     err = {0};
    (void)state;
    made_t5_random(at("sizes"), &want, 1);
    assert_ok(gq_t5_dir_sizes(at("sizes"), &c, &err), &err);
    want.dropout = 0.1;
    assert_memory_equal(&c, &want, offsetof(gq_t5_config, eps));
    assert_true(c.eps == want.eps && c.dropout == want.dropout && c.act == GQ_RELU && !c.gated && c.tied);

    fix_text(at("sizes"), "config.json", "{\"model_type\":\"t5\",\"num_layers\":4,\"num_decoder_layers\":null}");
    assert_ok(gq_t5_dir_sizes(at("sizes"), &c, &err), &err);  /* transformers' defaults             */
    assert_true(c.width == 512 && c.head_width == 64 && c.heads == 8 && c.mlp == 2048 && c.layers == 4 &&
                c.decoder_layers == 4 && c.buckets == 32 && c.far == 128 && c.eps == 1e-6 && c.tied && !c.gated &&
                c.act == GQ_RELU);
    assert_int_equal(c.vocab, MADE_ROWS);                    /* not 32128: the file's              */
}

static void activations(void **state)
{
    static const struct { const char *more; gq_act act; bool gated; } list[] = {
        {",\"feed_forward_proj\":\"relu\"", GQ_RELU, false},
        {",\"feed_forward_proj\":\"gelu\"", GQ_GELU, false},
        {",\"feed_forward_proj\":\"gelu_new\"", GQ_GELU_TANH, false},
        {",\"feed_forward_proj\":\"gated-relu\"", GQ_RELU, true},
        {",\"feed_forward_proj\":\"gated-gelu\"", GQ_GELU_TANH, true},
        {",\"feed_forward_proj\":\"gated-gelu\",\"dense_act_fn\":\"gelu\",\"is_gated_act\":true", GQ_GELU_TANH, true},
        {",\"feed_forward_proj\":\"\",\"dense_act_fn\":\"gelu\",\"is_gated_act\":true", GQ_GELU, true},
        {",\"feed_forward_proj\":\"\",\"dense_act_fn\":\"gelu_new\",\"is_gated_act\":false", GQ_GELU_TANH, false},
    };
    gq_t5_config c;
    gq_error     err = {0};
    (void)state;
    made_t5_random(at("acts"), &made_t5_sizes, 1);
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        made_config(at("acts"), &made_t5_sizes, list[i].more);
        assert_ok(gq_t5_dir_sizes(at("acts"), &c, &err), &err);
        if (c.act != list[i].act || c.gated != list[i].gated)
            fail_msg("%s: act %d, gated %d", list[i].more, (int)c.act, c.gated);
    }
}

/* ---- what is wrong --------------------------------------------------------------------------- */

static void wrong_configs(void **state)
{
    static const struct { const char *more, *needle; } list[] = {
        {",\"model_type\":\"bert\"", "config.json: model_type is not 't5'"},
        {",\"d_model\":0", "d_model is 0; it is from 1 to 65536"},
        {",\"d_model\":70000", "d_model is 70000"},
        {",\"d_model\":\"x\"", "config.json: byte "},
        {",\"d_model\":1.5", "config.json: byte "},
        {",\"num_layers\":65", "num_layers is 65; it is from 1 to 64"},
        {",\"num_decoder_layers\":0", "num_decoder_layers is 0"},
        {",\"d_kv\":4096,\"num_heads\":17", "num_heads 17 of d_kv 4096"},
        {",\"relative_attention_num_buckets\":6", "relative_attention_num_buckets 6 do not reach"},
        {",\"relative_attention_max_distance\":4", "do not reach to relative_attention_max_distance 4"},
        {",\"dropout_rate\":1", "dropout_rate is 1; it is from 0 to less than 1"},
        {",\"layer_norm_epsilon\":-1", "layer_norm_epsilon is -1"},
        {",\"feed_forward_proj\":\"gated-silu\"", "feed_forward_proj is 'gated-silu'; relu, gelu"},
        {",\"tie_word_embeddings\":1", "true or false expected, found 1"},
        {",", "config.json: byte "},
    };
    gq_t5_config c;
    gq_error     err = {0};
    (void)state;
    made_t5_random(at("wrong"), &made_t5_sizes, 1);
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        made_config(at("wrong"), &made_t5_sizes, list[i].more);
        assert_fails(gq_t5_dir_sizes(at("wrong"), &c, &err), GQ_EWEIGHTS, &err, list[i].needle);
        assert_non_null(strstr(err.text, at("wrong/config.json")));
    }
    assert_fails(gq_t5_dir_sizes(at("none"), &c, &err), GQ_EWEIGHTS, &err, "none: no such directory; a T5 is one with");
    unlink(at("wrong/config.json"));
    assert_fails(gq_t5_dir_sizes(at("wrong"), &c, &err), GQ_EWEIGHTS, &err, "config.json: is not there; put");
}

static void refused(const char *name, gq_status code, const char *needle)
{
    gq_t5_model *m = NULL;
    gq_error     err = {0};
    assert_fails(gq_t5_open(name, NULL, machine(), &m, &err), code, &err, needle);
    assert_null(m);
}

static void wrong_files(void **state)
{
    gq_st_tensor      t = {.name = "lm_head.weight", .dtype = GQ_ST_F32, .rank = 1, .shape = {1}};
    gq_st_writer     *w;
    gq_t5_config      c = made_t5_sizes;
    gq_error          err = {0};
    (void)state;
    made_t5_random(at("files"), &c, 1);

    unlink(at("files/spiece.model"));
    refused(at("files"), GQ_EWEIGHTS, "spiece.model");
    fix_text(at("files"), "spiece.model", "\x0a\x7f");
    refused(at("files"), GQ_EINPUT, "spiece.model");
    unlink(at("files/spiece.model"));
    fix_write(at("files"), FIX_GPT2);
    refused(at("files"), GQ_EWEIGHTS, "this is a tokenizer of kind gpt2; a T5 needs its spiece.model");
    made_pieces(at("files"));

    c.layers = 2;                                           /* more of them than the file has     */
    made_config(at("files"), &c, "");
    refused(at("files"), GQ_EWEIGHTS, "tensors of the T5 are missing, the first is 'encoder.block.1.");
    made_t5_random(at("files"), &c, 1);
    c.layers = 1;                                           /* fewer                              */
    made_config(at("files"), &c, "");
    refused(at("files"), GQ_EWEIGHTS, "are no part of the T5 in config.json, the first is 'encoder.block.1.");
    c.layers = 2;
    c.tied = true;
    made_t5_random(at("files"), &c, 1);
    c.tied = false;                                         /* a head that is not there           */
    made_config(at("files"), &c, "");
    refused(at("files"), GQ_EWEIGHTS, "1 tensors of the T5 are missing, the first is 'lm_head.weight'");
    c.width = 48;
    made_config(at("files"), &c, "");
    refused(at("files"), GQ_EWEIGHTS, "the model wants");
    unlink(at("files/model.safetensors"));
    refused(at("files"), GQ_EWEIGHTS, "files: holds neither model.safetensors nor");
    assert_ok(gq_st_writer_open(at("files/model.safetensors"), &t, 1, NULL, 0, &w, &err), &err);
    assert_ok(gq_st_put(w, t.name, &(float){1}, 4, &err), &err);
    assert_ok(gq_st_commit(w, &err), &err);
    refused(at("files"), GQ_EWEIGHTS, "model.safetensors: has no tensor 'shared.weight'");
    fix_text(at("files"), "model.safetensors", "{\"model_type\":\"t5\"}");
    refused(at("files"), GQ_EWEIGHTS, "model.safetensors");
    refused("random:", GQ_EUSAGE, "random:: the seed is a whole number");
    refused("random:1x", GQ_EUSAGE, "random:1x: the seed");
    refused("random:-1", GQ_EUSAGE, "the seed");
    refused("randomly", GQ_EWEIGHTS, "randomly: no such directory");
}

/* A tokenizer of another model: more tokens than rows. */
static void too_many_tokens(void **state)
{
    gq_t5_config c = tied_sizes();
    (void)state;
    c.vocab = MADE_ROWS - 1;
    made_t5_random(at("rows"), &c, 1);
    refused(at("rows"), GQ_EWEIGHTS, "rows: 165 tokens, and the weights have 164 rows");
}

/* ---- weights --------------------------------------------------------------------------------- */

static void expect_weights(const char *path, const gq_t5_config *c, uint64_t seed)
{
    made_t5      want = made_open(c, seed);
    gq_t5_model *m;
    gq_error     err = {0};
    float        a[64], b[64];

    assert_ok(gq_t5_open(path, NULL, machine(), &m, &err), &err);
    assert_int_equal(m->c.vocab, c->vocab);
    assert_int_equal(m->params->count, want.p->count);
    for (int32_t i = 0; i < want.p->count; i++) {
        gq_param *q = &want.p->param[i], *r = gq_params_find(m->params, q->name);
        int64_t   n = q->n < 64 ? q->n : 64;
        assert_non_null(r);
        assert_int_equal(q->n, r->n);
        gq_param_get_f32(want.p, q, q->n - n, a, n);
        gq_param_get_f32(m->params, r, q->n - n, b, n);
        assert_memory_equal(a, b, (size_t)n * sizeof *a);
    }
    gq_t5_close(m);
    gq_params_free(want.p);
    gq_engine_free(want.e);
}

/* Tied and not; more rows than config.json says; a shard's index; the tied table under a second name. */
static void weights(void **state)
{
    gq_t5_config c = tied_sizes();
    char         index[8192];
    size_t       n = 0;
    gq_safetensors *st;
    gq_error     err = {0};
    (void)state;
    made_t5_random(at("untied"), &made_t5_sizes, 5);
    expect_weights(at("untied"), &made_t5_sizes, 5);
    c.vocab = MADE_ROWS + 2;
    made_t5_random(at("tied"), &c, 6);
    made_config(at("tied"), &c, ",\"vocab_size\":32128");
    expect_weights(at("tied"), &c, 6);

    assert_ok(gq_safetensors_open(at("tied"), &st, &err), &err);
    n += (size_t)snprintf(index, sizeof index, "{\"metadata\":{},\"weight_map\":{");
    for (size_t i = 0; i < gq_st_count(st); i++)
        n += (size_t)snprintf(index + n, sizeof index - n, "%s\"%s\":\"part.safetensors\"", i ? "," : "",
                              gq_st_at(st, i)->name);
    snprintf(index + n, sizeof index - n, "}}");
    gq_safetensors_close(st);
    assert_int_equal(rename(at("tied/model.safetensors"), at("tied/part.safetensors")), 0);
    fix_text(at("tied"), "model.safetensors.index.json", index);
    expect_weights(at("tied"), &c, 6);
}

/* ---- text ------------------------------------------------------------------------------------ */

enum { ROOM = 256, MOST = 8 };

static void write_all(gq_t5_model *m, int batch, int beams, const char *const *prompt, char text[MOST][ROOM])
{
    gq_decode_opts d = {.max_new = 8, .beams = beams, .length_penalty = 1};
    gq_t5_writer  *w;
    gq_error       err = {0};

    assert_ok(gq_t5_writer_new(m, batch, &d, false, &w, &err), &err);
    for (int from = 0; from < MOST; from += batch) {
        char  *to[MOST];
        size_t n = (size_t)(MOST - from < batch ? MOST - from : batch);
        for (size_t k = 0; k < n; k++)
            to[k] = text[(size_t)from + k];
        assert_ok(gq_t5_write(w, prompt + from, n, to, ROOM, &err), &err);
    }
    gq_t5_writer_free(w);
}

static const char *const prompts[MOST] = {
    "a dog", "the cat sleeps on the couch", "dog", "answer: a red ball context: a dog chases the red ball.", "",
    "zebra crossing quickly", "a man on a black horse runs", "what is the mouse?"};

/* Nonsense, and the same nonsense in batches of any size, greedily and by beams. */
static void batches(void **state)
{
    static char  one[MOST][ROOM], many[MOST][ROOM];
    gq_t5_config c = made_t5_sizes;
    gq_t5_model *m;
    gq_error     err = {0};
    int          different = 0;
    (void)state;
    c.heads = 5;
    c.head_width = 26;
    c.decoder_layers = 2;
    made_t5_random(at("batches"), &c, 3);
    assert_ok(gq_t5_open(at("batches"), NULL, machine(), &m, &err), &err);
    for (int beams = 1; beams <= 3; beams += 2) {
        write_all(m, 1, beams, prompts, one);
        for (int batch = 3; batch <= 8; batch += 5) {
            write_all(m, batch, beams, prompts, many);
            for (int k = 0; k < MOST; k++)
                assert_string_equal(one[k], many[k]);
        }
        for (int k = 1; k < MOST; k++)
            different += strcmp(one[k], one[0]) != 0;
    }
    assert_true(different > 4);                     /* the prompts are read                       */
    gq_t5_close(m);
}

/* Set by hand it asks for what the prompt has most often; text is cut at a whole character. */
static void asks(void **state)
{
    static char   text[MOST][ROOM];
    gq_decode_opts d = {.max_new = 8, .beams = 1, .length_penalty = 1};
    char           small[7], *to = small;
    gq_t5_writer  *w;
    gq_t5_model   *m;
    gq_error       err = {0};
    (void)state;
    made_t5_asker(at("asks"));
    assert_ok(gq_t5_open(at("asks"), NULL, machine(), &m, &err), &err);
    write_all(m, 3, 1, prompts, text);
    assert_string_equal(text[0], "what is pet?");
    assert_string_equal(text[1], "what is rest?");
    assert_string_equal(text[2], "what is pet?");
    assert_string_equal(text[3], "what is toy?");
    assert_string_equal(text[6], "what is tint?");
    assert_ok(gq_t5_writer_new(m, 1, &d, false, &w, &err), &err);
    assert_ok(gq_t5_write(w, prompts, 1, &to, sizeof small, &err), &err);
    assert_string_equal(small, "what i");
    assert_int_equal(gq_t5_length(w, "a dog"), 3);
    assert_int_equal(gq_t5_length(w, ""), 1);
    gq_t5_writer_free(w);
    gq_t5_close(m);
}

/* "<extra_id_0>" is one token where special tokens are asked for, and pieces where not. */
static void special_tokens(void **state)
{
    gq_decode_opts d = {.max_new = 2, .beams = 1, .length_penalty = 1};
    size_t         n[2];
    gq_t5_model   *m;
    gq_error       err = {0};
    (void)state;
    made_t5_asker(at("special"));
    assert_ok(gq_t5_open(at("special"), NULL, machine(), &m, &err), &err);
    for (int special = 0; special < 2; special++) {
        gq_t5_writer *w;
        assert_ok(gq_t5_writer_new(m, 1, &d, special, &w, &err), &err);
        n[special] = gq_t5_length(w, "a <extra_id_0>");
        gq_t5_writer_free(w);
    }
    assert_int_equal(n[1], 3);
    assert_true(n[0] > 3);
    gq_t5_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),       cmocka_unit_test(activations),     cmocka_unit_test(wrong_configs),
        cmocka_unit_test(wrong_files), cmocka_unit_test(too_many_tokens), cmocka_unit_test(weights),
        cmocka_unit_test(batches),     cmocka_unit_test(asks),            cmocka_unit_test(special_tokens),
    };
    return cmocka_run_group_tests_name("train/t5_dir", tests, make, clear);
}
