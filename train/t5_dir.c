#include "train/t5_dir.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/io.h"
#include "core/json.h"
#include "core/mem.h"
#include "kernels/relative.h"
#include "train/net.h"

enum { CONFIG_MOST = 1 << 20 };                     /* bytes of a config.json                     */

/* ---- config.json ----------------------------------------------------------------------------- */

typedef struct sizes {
    gq_t5_config c;
    bool         t5, gated;                         /* the file speaks of a T5; is_gated_act      */
    char         proj[32], act[32];                 /* feed_forward_proj; dense_act_fn            */
} sizes;

/* False: the key is none of these. */
static bool read_count(gq_json *j, const char *key, gq_t5_config *c)
{
    const struct { const char *key; int *to, least, most; } whole[] = {
        {"d_model", &c->width, 1, 1 << 16},
        {"d_kv", &c->head_width, 1, 1 << 12},
        {"num_heads", &c->heads, 1, 1 << 10},
        {"d_ff", &c->mlp, 1, 1 << 20},
        {"num_layers", &c->layers, 1, GQ_T5_MAX_LAYERS},
        {"num_decoder_layers", &c->decoder_layers, 1, GQ_T5_MAX_LAYERS},
        {"vocab_size", &c->vocab, 1, 1 << 24},
        {"relative_attention_num_buckets", &c->buckets, 4, 64},
        {"relative_attention_max_distance", &c->far, 2, 1 << 20},
    };
    uint64_t v;

    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        if (strcmp(key, whole[i].key) != 0)
            continue;
        if (gq_json_null(j) || !gq_json_u64(j, &v))
            return true;
        if (v < (uint64_t)whole[i].least || v > (uint64_t)whole[i].most)
            gq_json_fail(j, "%s is %llu; it is from %d to %d", key, (unsigned long long)v,
                         whole[i].least, whole[i].most);
        else
            *whole[i].to = (int)v;
        return true;
    }
    return false;
}

static void read_share(gq_json *j, const char *key, double *to)
{
    if (gq_json_double(j, to) && !(*to >= 0 && *to < 1))
        gq_json_fail(j, "%s is %g; it is from 0 to less than 1", key, *to);
}

static void read_key(gq_json *j, const char *key, sizes *s)
{
    char type[32];

    if (!strcmp(key, "layer_norm_epsilon"))
        read_share(j, key, &s->c.eps);
    else if (!strcmp(key, "dropout_rate"))
        read_share(j, key, &s->c.dropout);
    else if (!strcmp(key, "feed_forward_proj"))
        gq_json_string(j, s->proj, sizeof s->proj);
    else if (!strcmp(key, "dense_act_fn"))
        gq_json_string(j, s->act, sizeof s->act);
    else if (!strcmp(key, "is_gated_act"))
        gq_json_bool(j, &s->gated);
    else if (!strcmp(key, "tie_word_embeddings"))
        gq_json_bool(j, &s->c.tied);
    else if (!strcmp(key, "model_type"))
        s->t5 = gq_json_string(j, type, sizeof type) && !strcmp(type, "t5");
    else if (!read_count(j, key, &s->c))
        gq_json_skip(j);
}

/* feed_forward_proj decides where it is given: saved again, some files have another dense_act_fn. With it
 * "gated-gelu" means GELU by tanh. */
static bool find_act(sizes *s)
{
    static const struct { const char *name; gq_act act; } known[] = {
        {"relu", GQ_RELU}, {"gelu", GQ_GELU}, {"gelu_new", GQ_GELU_TANH}, {"gelu_pytorch_tanh", GQ_GELU_TANH}};
    static const char gated[] = "gated-";
    const char       *name = *s->proj ? s->proj : s->act;

    s->c.gated = *s->proj ? !strncmp(name, gated, sizeof gated - 1) : s->gated;
    if (*s->proj && s->c.gated)
        name += sizeof gated - 1;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(name, known[i].name)) {
            s->c.act = *s->proj && s->c.gated && known[i].act == GQ_GELU ? GQ_GELU_TANH : known[i].act;
            return true;
        }
    return false;
}

static gq_status check(const char *path, sizes *s, gq_error *err)
{
    gq_relative r;

    if (!s->t5)
        return gq_fail(err, GQ_EWEIGHTS, "%s: model_type is not 't5'; a directory of a T5 is needed", path);
    if (!find_act(s))
        return gq_fail(err, GQ_EWEIGHTS, "%s: %s is '%s'; relu, gelu and gelu_new are known, and gated-relu, "
                       "gated-gelu", path, *s->proj ? "feed_forward_proj" : "dense_act_fn",
                       *s->proj ? s->proj : s->act);
    if ((int64_t)s->c.heads * s->c.head_width > 1 << 16)
        return gq_fail(err, GQ_EWEIGHTS, "%s: num_heads %d of d_kv %d are more than %d wide", path, s->c.heads,
                       s->c.head_width, 1 << 16);
    if (!gq_relative_set(&r, s->c.buckets, s->c.far, 1) || !gq_relative_set(&r, s->c.buckets, s->c.far, 0))
        return gq_fail(err, GQ_EWEIGHTS, "%s: relative_attention_num_buckets %d do not reach to "
                       "relative_attention_max_distance %d: a multiple of 4, and more than half as far", path,
                       s->c.buckets, s->c.far);
    return GQ_OK;
}

static gq_status read_config(const char *path, gq_t5_config *out, gq_error *err)
{
    sizes     s = {.c = {.width = 512, .head_width = 64, .heads = 8, .mlp = 2048, .layers = 6, .vocab = 32128,
                         .buckets = 32, .far = 128, .eps = 1e-6, .dropout = 0.1, .tied = true},
                   .act = "relu"};
    gq_bytes  text = {0};
    gq_json   j;
    char      key[128];
    gq_status st = gq_read_file(path, CONFIG_MOST, &text, err);

    if (st != GQ_OK)
        return st;
    gq_json_begin(&j, path, text.data, text.size, GQ_EWEIGHTS, err);
    gq_json_object(&j);
    while (gq_json_key(&j, key, sizeof key))
        read_key(&j, key, &s);
    st = gq_json_end(&j);
    gq_bytes_free(&text);
    if (!s.c.decoder_layers)
        s.c.decoder_layers = s.c.layers;
    if (st == GQ_OK)
        st = check(path, &s, err);
    *out = s.c;
    return st;
}

/* ---- sizes ----------------------------------------------------------------------------------- */

/* Rows of the token table in the file; the name is that of whoever saved it. */
static gq_status count_rows(const gq_safetensors *st, gq_t5_config *c, gq_error *err)
{
    static const char *const names[] = {"shared.weight", "encoder.embed_tokens.weight"};
    const char              *file = gq_st_count(st) ? gq_st_at(st, 0)->file : "weights";

    for (size_t i = 0; i < gq_st_count(st); i++)
        for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
            const gq_st_tensor *t = gq_st_at(st, i);
            size_t              n = strlen(t->name), m = strlen(names[k]);
            if (n < m || strcmp(t->name + n - m, names[k]) != 0)
                continue;
            if (t->rank != 2 || t->shape[0] < 1 || t->shape[0] > 1 << 24)
                return gq_fail(err, GQ_EWEIGHTS, "%s: tensor '%s' is no table of tokens", t->file, t->name);
            c->vocab = (int)t->shape[0];
            return GQ_OK;
        }
    return gq_fail(err, GQ_EWEIGHTS, "%s: has no tensor 'shared.weight'; these are not the weights of a T5", file);
}

/* config.json, and the weights, which stay open. */
static gq_status open_weights(const char *dir, gq_t5_config *c, gq_safetensors **st, gq_error *err)
{
    char     *path = gq_path(dir, "config.json");
    gq_status s = path ? GQ_OK : gq_fail(err, GQ_ENOMEM, "out of memory");

    *st = NULL;
    if (s == GQ_OK && !gq_is_dir(dir))
        s = gq_fail(err, GQ_EWEIGHTS, "%s: no such directory; a T5 is one with config.json, model.safetensors and "
                    "spiece.model or tokenizer.json, as published", dir);
    if (s == GQ_OK && !gq_is_file(path))
        s = gq_fail(err, GQ_EWEIGHTS, "%s: is not there; put the config.json of the T5 beside its weights", path);
    if (s == GQ_OK)
        s = read_config(path, c, err);
    if (s == GQ_OK)
        s = gq_safetensors_open(dir, st, err);
    if (s == GQ_OK)
        s = count_rows(*st, c, err);
    gq_free(path);
    return s;
}

gq_status gq_t5_dir_sizes(const char *dir, gq_t5_config *out, gq_error *err)
{
    gq_safetensors *st;
    gq_status       s;

    memset(out, 0, sizeof *out);
    s = open_weights(dir, out, &st, err);
    gq_safetensors_close(st);
    return s;
}

/* ---- the model ------------------------------------------------------------------------------- */

static const gq_t5_config base = {.width = 768, .head_width = 64, .heads = 12, .mlp = 3072, .layers = 12,
                                  .decoder_layers = 12, .vocab = 32128, .buckets = 32, .far = 128, .eps = 1e-6,
                                  .dropout = 0.1, .act = GQ_RELU, .tied = true};

/* "random", "random:SEED"? */
static gq_status find_seed(const char *from, bool *random, uint64_t *seed, gq_error *err)
{
    static const char word[] = "random";
    const char       *at = from + sizeof word - 1;
    char             *end = "";

    *random = !strncmp(from, word, sizeof word - 1) && (!*at || *at == ':');
    *seed = 1;
    if (!*random || !*at)
        return GQ_OK;
    errno = 0;
    *seed = strtoull(++at, &end, 10);
    return *at >= '0' && *at <= '9' && !*end && !errno
               ? GQ_OK
               : gq_fail(err, GQ_EUSAGE, "%s: the seed is a whole number, as in random:1", from);
}

static gq_status start(gq_t5_model *m, const gq_config *c, gq_error *err)
{
    gq_engine_opts o = {.backend = gq_net_backend(c, err), .threads = (int)c->engine.threads};
    gq_status      s = o.backend ? gq_engine_new(&o, &m->engine, err) : GQ_ECONFIG;

    if (s == GQ_OK)
        s = gq_params_new(m->engine, &m->params, err);
    if (s == GQ_OK)
        s = gq_t5_declare(m->params, &m->c, err);
    for (int32_t i = 0; s == GQ_OK && i < m->params->count; i++)
        m->params->param[i].trainable = m->params->param[i].active = false;
    return s == GQ_OK ? gq_params_seal(m->params, false, err) : s;
}

static gq_status load(gq_t5_model *m, const char *dir, const gq_safetensors *st, gq_error *err)
{
    gq_load_report r;
    gq_status      s = gq_hf_load(m->params, GQ_HF_T5, st, &r, err);

    if (s == GQ_OK && r.missing)
        s = gq_fail(err, GQ_EWEIGHTS, "%s: %d tensors of the T5 are missing, the first is '%s': config.json "
                    "(num_layers, feed_forward_proj, tie_word_embeddings) is of another model, or the file is not whole",
                    dir,
                    r.missing, r.first_missing);
    if (s == GQ_OK && r.unexpected)
        s = gq_fail(err, GQ_EWEIGHTS, "%s: %d tensors are no part of the T5 in config.json, the first is '%s': look at "
                    "num_layers, num_decoder_layers and feed_forward_proj", dir, r.unexpected, r.first_unexpected);
    return s;
}

static gq_status open_tokenizer(gq_t5_model *m, const char *path, gq_error *err)
{
    gq_status s = gq_tokenizer_open(path, &m->tokenizer, err);

    if (s != GQ_OK)
        return s;
    if (gq_tokenizer_pad_id(m->tokenizer) != GQ_T5_START)
        return gq_fail(err, GQ_EWEIGHTS, "%s: this is a tokenizer of kind %s; a T5 needs its spiece.model or "
                       "tokenizer.json", path, gq_tokenizer_kind_name(gq_tokenizer_kind(m->tokenizer)));
    if (gq_tokenizer_vocab_size(m->tokenizer) > m->c.vocab)
        return gq_fail(err, GQ_EWEIGHTS, "%s: %d tokens, and the weights have %d rows: they are of two models", path,
                       gq_tokenizer_vocab_size(m->tokenizer), m->c.vocab);
    return GQ_OK;
}

gq_status gq_t5_open(const char *from, const char *tokenizer, const gq_config *c, gq_t5_model **out,
                     gq_error *err)
{
    gq_t5_model    *m = gq_calloc(1, sizeof *m);
    gq_safetensors *st = NULL;
    uint64_t        seed = 0;
    bool            random = false;
    gq_status       s = m ? find_seed(from, &random, &seed, err) : gq_fail(err, GQ_ENOMEM, "out of memory");

    *out = NULL;
    if (s == GQ_OK && random)
        m->c = base;
    else if (s == GQ_OK)
        s = open_weights(from, &m->c, &st, err);
    if (s == GQ_OK && (tokenizer || !random))       /* small, and soon wrong: before the weights  */
        s = open_tokenizer(m, tokenizer ? tokenizer : from, err);
    if (s == GQ_OK)
        s = start(m, c, err);
    if (s == GQ_OK)
        s = random ? gq_params_init(m->params, seed, err) : load(m, from, st, err);
    gq_safetensors_close(st);
    if (s == GQ_OK)
        *out = m;
    else
        gq_t5_close(m);
    return s;
}

void gq_t5_close(gq_t5_model *m)
{
    if (!m)
        return;
    gq_params_free(m->params);
    gq_engine_free(m->engine);
    gq_tokenizer_close(m->tokenizer);
    gq_free(m);
}
