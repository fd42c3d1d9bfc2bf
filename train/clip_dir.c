#include "train/clip_dir.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "core/io.h"
#include "core/json.h"
#include "core/mem.h"

enum { CONFIG_MOST = 1 << 20 };                     /* bytes of a config.json */

typedef struct tower { uint64_t width, layers, heads, mlp, image, patch, vocab, context; } tower;

typedef struct sizes {
    tower    vision, text;
    uint64_t proj;
    double   eps;
    char     act[32];
    bool     clip;                                  /* the file speaks of a CLIP */
} sizes;

static void read_tower(gq_json *j, tower *t, sizes *s)
{
    const struct { const char *key; uint64_t *to; } whole[] = {
        {"hidden_size", &t->width},         {"num_hidden_layers", &t->layers},
        {"num_attention_heads", &t->heads}, {"intermediate_size", &t->mlp},
        {"image_size", &t->image},          {"patch_size", &t->patch},
        {"vocab_size", &t->vocab},          {"max_position_embeddings", &t->context},
    };
    char key[64];

    gq_json_object(j);
    while (gq_json_key(j, key, sizeof key)) {
        uint64_t *to = NULL;
        for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
            to = !strcmp(key, whole[i].key) ? whole[i].to : to;
        if (to)
            gq_json_u64(j, to);
        else if (!strcmp(key, "hidden_act"))
            gq_json_string(j, s->act, sizeof s->act);
        else if (!strcmp(key, "layer_norm_eps"))
            gq_json_double(j, &s->eps);
        else
            gq_json_skip(j);
    }
}

static gq_status read_config(const char *path, const gq_bytes *text, sizes *s, gq_error *err)
{
    gq_json j;
    char    key[64], type[64];

    gq_json_begin(&j, path, text->data, text->size, GQ_EWEIGHTS, err);
    gq_json_object(&j);
    while (gq_json_key(&j, key, sizeof key)) {
        if (!strcmp(key, "vision_config")) {
            read_tower(&j, &s->vision, s);
        } else if (!strcmp(key, "text_config")) {
            read_tower(&j, &s->text, s);
        } else if (!strcmp(key, "projection_dim")) {
            gq_json_u64(&j, &s->proj);
        } else if (!strcmp(key, "model_type")) {
            gq_json_string(&j, type, sizeof type);
            s->clip = !strcmp(type, "clip");
        } else {
            gq_json_skip(&j);
        }
    }
    return gq_json_end(&j);
}

static void add(gq_clip_sizes *out, const char *key, uint64_t value)
{
    snprintf(out->key[out->n++], sizeof out->key[0], "clip.%s=%llu", key,
             (unsigned long long)value);
}

static void tell(const sizes *s, const char *act, gq_clip_sizes *out)
{
    out->n = 0;
    snprintf(out->key[out->n++], sizeof out->key[0], "clip.preset=custom");
    add(out, "image_size", s->vision.image);
    add(out, "patch", s->vision.patch);
    add(out, "width", s->vision.width);
    add(out, "layers", s->vision.layers);
    add(out, "heads", s->vision.heads);
    add(out, "mlp", s->vision.mlp);
    add(out, "text_width", s->text.width);
    add(out, "text_layers", s->text.layers);
    add(out, "text_heads", s->text.heads);
    add(out, "text_mlp", s->text.mlp);
    add(out, "vocab", s->text.vocab);
    add(out, "context", s->text.context);
    add(out, "proj", s->proj);
    snprintf(out->key[out->n++], sizeof out->key[0], "clip.act=%s", act);
    snprintf(out->key[out->n++], sizeof out->key[0], "clip.ln_eps=%.9g", s->eps);
}

/* our name of transformers' hidden_act, NULL: not one of CLIP's */
static const char *act_name(const char *theirs)
{
    if (!strcmp(theirs, "quick_gelu") || !strcmp(theirs, "gelu"))
        return theirs;
    return !strcmp(theirs, "gelu_new") || !strcmp(theirs, "gelu_pytorch_tanh") ? "gelu_tanh" : NULL;
}

gq_status gq_clip_dir_sizes(const char *dir, gq_clip_sizes *out, gq_error *err)
{
    sizes s = {
        .vision = {.width = 768, .layers = 12, .heads = 12, .mlp = 3072, .image = 224, .patch = 32},
        .text =
            {.width = 512, .layers = 12, .heads = 8, .mlp = 2048, .vocab = 49408, .context = 77},
        .proj = 512,
        .eps = 1e-5,
        .act = "quick_gelu"};
    gq_bytes  text = {0};
    char     *path = gq_path(dir, "config.json");
    gq_status st = path ? GQ_OK : gq_fail(err, GQ_ENOMEM, "out of memory");

    memset(out, 0, sizeof *out);
    if (st == GQ_OK && gq_is_file(path)) {
        st = gq_read_file(path, CONFIG_MOST, &text, err);
        if (st == GQ_OK)
            st = read_config(path, &text, &s, err);
        if (st == GQ_OK && !s.clip)
            st = gq_fail(err, GQ_EWEIGHTS,
                         "%s: model_type is not 'clip'; a CLIP directory is needed", path);
        if (st == GQ_OK && !act_name(s.act))
            st = gq_fail(err, GQ_EWEIGHTS,
                         "%s: hidden_act '%s' is not known; quick_gelu, gelu and gelu_new are",
                         path, s.act);
        if (st == GQ_OK)
            tell(&s, act_name(s.act), out);
        gq_bytes_free(&text);
    }
    gq_free(path);
    return st;
}

void gq_clip_weights_of(const char *weights, gq_clip_weights *out)
{
    static const char random[] = "random";
    size_t            n = sizeof random - 1, room = sizeof out->key[0];

    out->random = strncmp(weights, random, n) == 0 && (!weights[n] || weights[n] == ':');
    snprintf(out->key[0], room, "model.init=%s", out->random ? random : "weights");
    out->n = 1;
    if (!out->random)
        snprintf(out->key[out->n++], room, "model.weights.clip=%s", weights);
    else if (weights[n])
        snprintf(out->key[out->n++], room, "model.seed=%s", weights + n + 1);
}
