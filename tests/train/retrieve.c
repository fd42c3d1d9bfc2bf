/* Retrieval from real GIF bytes: the vision tower against transformers in float64
 * (tests/reference/towers.py), batches against single frames, the padded question against the full
 * context, kept features against computed ones. */
#include "data/tok_fixture.h"

#include "core/safetensors.h"
#include "data/gifwrite.h"
#include "data/image.h"
#include "train/clip_dir.h"
#include "train/retrieve.h"

#include <sys/wait.h>

#define FIXTURE GQ_SOURCE_DIR "/tests/reference/clip_tiny.safetensors"
#define TINY                                                                                       \
    "clip.image_size=16", "clip.patch=8", "clip.width=24", "clip.layers=3", "clip.heads=3",        \
        "clip.text_width=16", "clip.text_layers=2", "clip.text_heads=2", "clip.vocab=600",         \
        "clip.context=41", "clip.proj=20", "clip.preset=custom", "engine.threads=2",               \
        "model.init=random"
#define LIST(...)                                                                                  \
    (const char *const[]){__VA_ARGS__}, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)

static const char *vocab;               /* directory of a small CLIP vocabulary, 530 tokens */

static gq_config *configured(const char *const *set, size_t n)
{
    static gq_config c;
    gq_error         err = {0};

    assert_ok(gq_config_load(NULL, set, n, &c, NULL, &err), &err);
    if (!*c.model.tokenizer.clip)
        snprintf(c.model.tokenizer.clip, sizeof c.model.tokenizer.clip, "%s", vocab);
    return &c;
}

static gq_retriever *opened(const char *const *set, size_t n)
{
    gq_retriever *r;
    gq_error      err = {0};

    assert_ok(gq_retriever_open(configured(set, n), &r, NULL, &err), &err);
    return r;
}

static gq_gif_bytes bytes_of(const gq_bytes *b)
{
    return (gq_gif_bytes){b->data, b->size, "test.gif"};
}

/* n frames of w x h with moving stripes of 64 colours */
static gq_bytes striped(uint32_t n, uint32_t w, uint32_t h)
{
    uint8_t  palette[64][3], *frames = malloc((size_t)n * w * h);
    gq_bytes out;
    gq_error err = {0};

    for (uint32_t i = 0; i < 64; i++)
        memcpy(palette[i], (uint8_t[]){(uint8_t)(i * 4), (uint8_t)(255 - i * 3), (uint8_t)(i * i)},
               3);
    for (uint32_t f = 0; f < n; f++)
        for (uint32_t i = 0; i < w * h; i++)
            frames[f * w * h + i] = (uint8_t)((i % w * (f + 1) + i / w * (f % 5) + 7 * f) & 63);
    assert_ok(gq_gif_encode(&(gq_gif_anim){w, h, n, frames, 64, (const uint8_t(*)[3])palette, 5},
                            &out, &err),
              &err);
    free(frames);
    return out;
}

static gq_frame_set all_frames(gq_retriever *r, const gq_bytes *gif, size_t feature_bytes)
{
    gq_gif_bytes        b = bytes_of(gif);
    gq_frame_set        f;
    gq_retrieve_seconds t = {0};
    gq_error            err = {0};

    assert_ok(gq_retriever_frames(r, &b, feature_bytes, &f, &t, &err), &err);
    assert_true(t.decode > 0 && t.preprocess > 0 && t.vision > 0 && t.text == 0 && t.select == 0);
    return f;
}

/* ---- the published model --------------------------------------------------------------------- */

/* One 12x12 RGB picture as a GIF of one frame: it has at most 144 colours. */
static gq_bytes picture_gif(const uint8_t *rgb)
{
    uint8_t  palette[144][3], index[144];
    uint32_t colors = 0;
    gq_bytes out;
    gq_error err = {0};

    for (int i = 0; i < 144; i++) {
        uint32_t c = 0;
        while (c < colors && memcmp(palette[c], rgb + 3 * i, 3) != 0)
            c++;
        if (c == colors)
            memcpy(palette[colors++], rgb + 3 * i, 3);
        index[i] = (uint8_t)c;
    }
    assert_ok(
        gq_gif_encode(&(gq_gif_anim){12, 12, 1, index, colors, (const uint8_t(*)[3])palette, 0},
                      &out, &err),
        &err);
    return out;
}

/* Largest difference relative to the largest magnitude of the rows; the promise is 1e-5. */
static void assert_near(const float *got, const float *want, size_t n)
{
    double worst = 0, scale = 0;
    for (size_t i = 0; i < n; i++) {
        worst = fmax(worst, fabs((double)got[i] - (double)want[i]));
        scale = fmax(scale, fabs((double)want[i]));
    }
    if (!(worst <= 1e-5 * scale))
        fail_msg("off by %g of %g", worst, scale);
}

static float *tensor(const gq_safetensors *st, const char *name)
{
    const gq_st_tensor *t = gq_st_find(st, name);
    float              *x;
    gq_error            err = {0};

    assert_non_null(t);
    x = malloc((size_t)t->count * sizeof *x);
    assert_ok(gq_st_read_f32(t, x, &err), &err);
    return x;
}

static void equals_transformers(const char *feature, const char *hidden)
{
    enum { TOKENS = 10, WIDTH = 16, PROJ = 12 };
    gq_retriever   *r = opened(LIST("clip.image_size=12", "clip.patch=4", "clip.width=16",
                                    "clip.layers=3", "clip.heads=2", "clip.mlp=40", "clip.proj=12",
                                    "clip.text=false", "clip.preset=custom", "engine.threads=1",
                                    feature, "model.init=weights", "model.weights.clip=" FIXTURE));
    gq_safetensors *st;
    gq_error        err = {0};
    float          *embeds, *states;

    assert_ok(gq_safetensors_open(FIXTURE, &st, &err), &err);
    embeds = tensor(st, "out.vision.projected");
    states = tensor(st, hidden);
    for (int f = 0; f < 3; f++) {
        gq_bytes gif =
            picture_gif((const uint8_t *)gq_st_find(st, "in.frames")->data + f * 12 * 12 * 3);
        gq_frame_set set = all_frames(r, &gif, 1 << 20);
        assert_int_equal(set.n, 1);
        assert_int_equal(set.dim, PROJ);
        assert_near(set.embed, embeds + f * PROJ, PROJ);
        assert_near(set.feature, states + (size_t)f * TOKENS * WIDTH, (size_t)TOKENS * WIDTH);
        gq_frame_set_free(&set);
        gq_bytes_free(&gif);
    }
    free(embeds);
    free(states);
    gq_safetensors_close(st);
    gq_retriever_close(r);
}

static void frames_equal_transformers(void **state)
{
    (void)state;
    equals_transformers("clip.feature=hidden[-2]", "out.vision.hidden.2");
    equals_transformers("clip.feature=hidden[-1]", "out.vision.hidden.3");
}

/* ---- batches --------------------------------------------------------------------------------- */

static void a_frame_does_not_know_its_batch(void **state)
{
    static const char *const backends[] = {"engine.backend=ref", "engine.backend=cpu"};
    gq_error                 err = {0};
    (void)state;

    for (int b = 0; b < 2; b++) {
        gq_retriever *r = opened(LIST(TINY, backends[b]));
        gq_bytes      gif = striped(45, 22, 18);            /* passes of 32 and 13 */
        gq_frame_set  all = all_frames(r, &gif, 1 << 20);
        gq_gif_bytes  bytes = bytes_of(&gif);
        size_t        width = 5 * 24;

        assert_int_equal(all.n, 45);
        assert_int_equal(all.width, 22);
        assert_int_equal(all.height, 18);
        assert_non_null(all.feature);
        for (int64_t f = 0; f < all.n; f++) {               /* alone */
            float               feature[5 * 24];
            gq_retrieve_seconds t = {0};
            assert_int_equal(all.delay_cs[f], 5);
            assert_ok(gq_retriever_fetch(r, &bytes, NULL, &f, 1, NULL, feature, &t, &err), &err);
            assert_memory_equal(feature, all.feature + (size_t)f * width, sizeof feature);
        }
        gq_frame_set_free(&all);
        gq_bytes_free(&gif);
        gq_retriever_close(r);
    }
}

static void memory_for_features_is_a_limit(void **state)
{
    gq_retriever *r = opened(LIST(TINY));
    gq_bytes      gif = striped(70, 16, 16);
    gq_frame_set  kept = all_frames(r, &gif, 1 << 20), none = all_frames(r, &gif, 0),
                  few = all_frames(r, &gif, 66 * 5 * 24 * sizeof(float));
    (void)state;

    assert_non_null(kept.feature);
    assert_null(none.feature);
    assert_null(few.feature);
    assert_memory_equal(kept.embed, none.embed, 70 * 20 * sizeof(float));
    assert_memory_equal(kept.embed, few.embed, 70 * 20 * sizeof(float));
    gq_frame_set_free(&kept);
    gq_frame_set_free(&none);
    gq_frame_set_free(&few);
    gq_bytes_free(&gif);
    gq_retriever_close(r);
}

static void chosen_frames_are_those_of_the_gif(void **state)
{
    static const int64_t want[] = {0, 3, 3, 11, 19, 19};
    enum { K = 6, IMAGE = 16 * 16 * 3, STATES = 5 * 24 };
    gq_retriever       *r = opened(LIST(TINY));
    gq_bytes            gif = striped(20, 40, 30);
    gq_gif_bytes        bytes = bytes_of(&gif);
    gq_frame_set        all = all_frames(r, &gif, 1 << 20);
    gq_gif_clip         clip;
    gq_retrieve_seconds t = {0};
    gq_error            err = {0};
    uint8_t             pixels[K * IMAGE], expect[IMAGE];
    float               kept[K * STATES], computed[K * STATES], seen[K * STATES];
    (void)state;

    assert_ok(gq_gif_load_rgb(gif.data, gif.size, "x", NULL, NULL, 0, NULL, 1 << 20, &clip, &err),
              &err);
    assert_ok(gq_retriever_fetch(r, &bytes, &all, want, K, pixels, kept, &t, &err), &err);
    assert_ok(gq_retriever_fetch(r, &bytes, NULL, want, K, NULL, computed, &t, &err), &err);
    assert_memory_equal(kept, computed, sizeof kept);
    t.vision = 0;
    assert_ok(gq_retriever_features(r, pixels, K, seen, &t, &err), &err);
    assert_memory_equal(kept, seen, sizeof kept);
    assert_true(t.vision > 0);
    for (int i = 0; i < K; i++) {
        assert_ok(gq_image_preprocess(clip.rgb + (size_t)want[i] * 40 * 30 * 3, 40, 30, 16,
                                      GQ_BICUBIC, expect, &err),
                  &err);
        assert_memory_equal(pixels + i * IMAGE, expect, IMAGE);
    }
    assert_fails(gq_retriever_fetch(r, &bytes, NULL, (int64_t[]){4, 20}, 2, pixels, NULL, &t, &err),
                 GQ_EINPUT, &err, "no frame 20, only 20");
    assert_fails(gq_retriever_fetch(r, &bytes, NULL, (int64_t[]){4, 3}, 2, pixels, NULL, &t, &err),
                 GQ_EBUG, &err, "order");
    gq_gif_clip_free(&clip);
    gq_frame_set_free(&all);
    gq_bytes_free(&gif);
    gq_retriever_close(r);
}

/* ---- GIFs seen before ------------------------------------------------------------------------ */

static void recalled(gq_retriever *r, const gq_bytes *gif, const gq_frame_set *want, gq_origin from)
{
    gq_gif_bytes        bytes = bytes_of(gif);
    const gq_frame_set *f;
    gq_origin           got;
    gq_retrieve_seconds t = {0};
    gq_error            err = {0};

    assert_ok(gq_retriever_recall(r, &bytes, &f, &got, &t, &err), &err);
    assert_int_equal(got, from);
    assert_int_equal(t.vision > 0, from == GQ_COMPUTED);
    assert_true(t.recall > 0);
    if (!want)
        return;
    assert_true(f->n == want->n && f->dim == want->dim && f->width == want->width &&
                f->height == want->height && f->flags == want->flags);
    assert_memory_equal(f->embed, want->embed, (size_t)(f->n * f->dim) * sizeof(float));
    assert_memory_equal(f->delay_cs, want->delay_cs, (size_t)f->n * sizeof(int32_t));
}

static void opened_with_cache(const char *dir, gq_retriever **r, const char *const *set, size_t n)
{
    gq_error err = {0};
    *r = opened(set, n);
    assert_ok(gq_retriever_cache(*r, dir, 1 << 20, &err), &err);
}

/* Computed, remembered and read are the same bits; whatever changes the numbers is another GIF. */
static void known_gifs_are_the_same_bits(void **state)
{
    static const char *const other[] = {"model.seed=2",         "image.filter=nearest",
                                        "engine.backend=ref",   "data.limits.frames=30",
                                        "image.mean=[0,0,0]",   "clip.heads=2",
                                        "clip.act=gelu",        "clip.ln_eps=0.001"};
    gq_bytes      gif = striped(37, 22, 18), one = striped(36, 22, 18);
    gq_retriever *r = opened(LIST(TINY));
    gq_frame_set  want = all_frames(r, &gif, 0);
    const char   *dir = strdup(gq_scratch());
    (void)state;

    recalled(r, &gif, &want, GQ_COMPUTED);
    recalled(r, &gif, &want, GQ_FROM_MEMORY);
    recalled(r, &one, NULL, GQ_COMPUTED);
    recalled(r, &gif, &want, GQ_FROM_MEMORY);
    gq_retriever_close(r);
    opened_with_cache(dir, &r, LIST(TINY));
    recalled(r, &gif, &want, GQ_COMPUTED);
    assert_string_equal(gq_retriever_note(r), "");
    gq_retriever_close(r);
    opened_with_cache(dir, &r, LIST(TINY, "engine.threads=1", "clipcut.group=2"));
    recalled(r, &gif, &want, GQ_FROM_DISK);
    recalled(r, &gif, &want, GQ_FROM_MEMORY);
    recalled(r, &one, NULL, GQ_COMPUTED);
    gq_retriever_close(r);
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        opened_with_cache(dir, &r, LIST(TINY, other[i]));
        recalled(r, &gif, NULL, GQ_COMPUTED);
        gq_retriever_close(r);
    }
    opened_with_cache(dir, &r, LIST(TINY));
    recalled(r, &gif, &want, GQ_FROM_DISK);
    gq_retriever_close(r);
    gq_remove_tree(dir, NULL);
    free((char *)dir);
    gq_frame_set_free(&want);
    gq_bytes_free(&gif);
    gq_bytes_free(&one);
}

/* Bytes by which the peak of a child process rises while it walks a GIF of n frames. */
static int64_t growth(gq_retriever *r, uint32_t n)
{
    gq_bytes gif = striped(n, 300, 200);        /* 240,000 bytes a frame as RGBA */
    int64_t  rise = -1;
    int      to[2], status;
    pid_t    child;

    assert_int_equal(pipe(to), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        gq_gif_bytes        bytes = bytes_of(&gif);
        gq_retrieve_seconds t = {0};
        gq_frame_set        f;
        uint64_t            before = gq_rss_peak();
        bool good = gq_retriever_frames(r, &bytes, 0, &f, &t, NULL) == GQ_OK && f.n == n;
        rise = good ? (int64_t)(gq_rss_peak() - before) : -1;
        _exit(write(to[1], &rise, sizeof rise) == sizeof rise ? 0 : 1);
    }
    assert_int_equal(read(to[0], &rise, sizeof rise), sizeof rise);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(to[0]);
    close(to[1]);
    gq_bytes_free(&gif);
    return rise;
}

/* 270 frames more are 65 MB of pixels and 22 kB of embeddings. One thread: a child has only its
 * own. */
static void memory_does_not_grow_with_frames(void **state)
{
    gq_retriever *r = opened(LIST(TINY, "engine.threads=1"));
    int64_t       few = growth(r, 30), many = growth(r, 300);
    (void)state;

    assert_true(few >= 0 && many >= 0);
    if (many - few > 4 << 20)
        fail_msg("30 frames: %lld bytes, 300 frames: %lld bytes", (long long)few, (long long)many);
    gq_retriever_close(r);
}

/* ---- question -------------------------------------------------------------------------------- */

/* The text tower over the whole context at once, by hand. */
static void full_context(const gq_config *c, const char *question, float *embed)
{
    gq_engine      *e;
    gq_params      *p;
    gq_tape        *t;
    gq_tokenizer   *tok;
    gq_stllm_config m;
    gq_error        err = {0};
    int32_t         ids[41] = {0}, pos[41], end;
    gq_t            ids_t, pos_t, end_t, out;
    size_t          n;

    gq_net_model(c, &m);
    assert_ok(
        gq_engine_new(&(gq_engine_opts){.backend = &gq_backend_ref32, .threads = 1}, &e, &err),
        &err);
    assert_ok(gq_params_new(e, &p, &err), &err);
    assert_ok(gq_clip_declare(p, &m.clip, &err), &err);
    assert_ok(gq_params_seal(p, false, &err), &err);
    assert_int_equal(gq_params_init(p, c->model.seed, NULL), GQ_OK);
    assert_ok(gq_tokenizer_open(vocab, &tok, &err), &err);
    assert_ok(gq_tokenizer_encode(tok, question, strlen(question), GQ_TOK_FRAME | GQ_TOK_TRUNCATE,
                                  ids, 41, &n, &err),
              &err);
    assert_int_equal(ids[0], gq_tokenizer_begin_id(tok));
    for (end = 0; ids[end] != gq_tokenizer_end_id(tok); end++)
        ;
    assert_ok(gq_tape_new(e, p, "oracle", &t, &err), &err);
    gq_tape_no_grad(t);
    ids_t = gq_input(t, "ids", GQ_I32, 2, GQ_SHAPE(1, 41));
    pos_t = gq_input(t, "pos", GQ_I32, 2, GQ_SHAPE(1, 41));
    end_t = gq_input(t, "end", GQ_I32, 1, GQ_SHAPE(1));
    out = gq_clip_text(t, &m.clip, ids_t, pos_t, end_t);
    gq_keep(t, out, "out");
    assert_ok(gq_tape_finish(t, GQ_T_NONE, &(gq_plan_opts){0}, &err), &err);
    for (int i = 0; i < 41; i++)
        pos[i] = i;
    memcpy(gq_data(t, ids_t), ids, sizeof ids);
    memcpy(gq_data(t, pos_t), pos, sizeof pos);
    memcpy(gq_data(t, end_t), &end, sizeof end);
    assert_ok(gq_forward(t, &err), &err);
    gq_get_real(t, out, 0, embed, 20);
    gq_tape_free(t);
    gq_tokenizer_close(tok);
    gq_params_free(p);
    gq_engine_free(e);
}

static void questions_equal_the_full_context(void **state)
{
    static const struct { const char *text; bool cut; } cases[] = {
        {"", false},
        {"the", false},
        {"abab in the ring", false},
        {"a question of some more letters", false},
        {"a question that has many more letters than there are places for tokens in this tiny "
         "model",
         true},
        {"the", false},                     /* a pass used before */
        {"<|endoftext|> is no end", false}, /* text cannot write the token */
    };
    gq_retriever *r = opened(LIST(TINY, "engine.backend=ref"));
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gq_retrieve_seconds t = {0};
        gq_error            err = {0};
        float               got[20], want[20];
        bool                cut = !cases[i].cut;
        assert_ok(gq_retriever_question(r, cases[i].text, got, &cut, &t, &err), &err);
        assert_int_equal(cut, cases[i].cut);
        assert_true(t.text > 0);
        full_context(configured(LIST(TINY)), cases[i].text, want);
        assert_near(got, want, 20);
    }
    gq_retriever_close(r);
}

/* ---- choice ---------------------------------------------------------------------------------- */

static void choice_follows_the_configuration(void **state)
{
    gq_retriever *r = opened(LIST(TINY, "clipcut.k=5", "clipcut.group=2", "clipcut.normalize=false",
                                  "clipcut.reduce=max"));
    gq_bytes            gif = striped(23, 16, 16);
    gq_frame_set        f = all_frames(r, &gif, 0);
    gq_retrieve_seconds t = {0};
    gq_error            err = {0};
    gq_clipcut_opts     o = {.k = 5, .group = 2, .normalize = false, .reduce = GQ_CLIPCUT_MAXIMUM};
    gq_clipcut          got, want;
    float               q[20];
    (void)state;

    assert_ok(gq_retriever_question(r, "where is it?", q, NULL, &t, &err), &err);
    assert_ok(gq_retriever_select(r, &f, q, &got, &t, &err), &err);
    assert_ok(gq_clipcut_select(f.embed, f.n, f.dim, q, &o, &want, &err), &err);
    assert_int_equal(got.k, 5);
    assert_memory_equal(got.pick, want.pick, 5 * sizeof *got.pick);
    gq_clipcut_free(&got);
    gq_clipcut_free(&want);
    gq_frame_set_free(&f);
    gq_bytes_free(&gif);
    gq_retriever_close(r);
}

static void a_net_lends_its_towers(void **state)
{
    const gq_config    *c;
    gq_bytes            gif = striped(3, 16, 16);
    gq_retriever       *own = opened(LIST(TINY)), *lent;
    gq_net             *net;
    gq_net_report       report;
    gq_error            err = {0};
    gq_frame_set        a, b;
    (void)state;

    c = configured(LIST(TINY, "gpt2.preset=custom", "gpt2.width=8", "gpt2.layers=1", "gpt2.heads=1",
                        "gpt2.vocab=40", "gpt2.positions=512", "qformer.width=8",
                        "qformer.layers=1", "qformer.heads=1", "qformer.mlp=8",
                        "qformer.encoder_width=8"));
    assert_ok(gq_net_open(c, GQ_NET_INFER, true, &net, &report, &err), &err);
    assert_ok(gq_retriever_share(net, &lent, &err), &err);
    a = all_frames(own, &gif, 0);
    b = all_frames(lent, &gif, 0);
    assert_memory_equal(a.embed, b.embed, 3 * 20 * sizeof(float));
    gq_frame_set_free(&a);
    gq_frame_set_free(&b);
    gq_retriever_close(lent);
    gq_net_close(net);
    gq_retriever_close(own);
    gq_bytes_free(&gif);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void refuse(const char *const *set, size_t n, gq_status want, const char *needle)
{
    gq_retriever *r;
    gq_error      err = {0};

    assert_fails(gq_retriever_open(configured(set, n), &r, NULL, &err), want, &err, needle);
    assert_null(r);
}

static void refuses_wrong_files(void **state)
{
    const char *gpt2 = gq_scratch();
    char        dir[2][128];
    gq_config  *c;
    gq_error    err = {0};
    gq_retriever *r;
    (void)state;

    snprintf(dir[0], sizeof dir[0], "model.tokenizer.clip=%s", gpt2);
    fix_write(gpt2, FIX_GPT2);
    refuse(LIST(TINY, "clip.vocab=500"), GQ_EWEIGHTS, "do not fit the 500 rows of clip.vocab");
    refuse(LIST(TINY, dir[0]), GQ_EWEIGHTS, "GPT-2's vocabulary");
    refuse(LIST(TINY, "model.tokenizer.clip=/nowhere/at/all"), GQ_EWEIGHTS, "/nowhere/at/all");
    refuse(LIST(TINY, "model.init=weights"), GQ_EWEIGHTS, "model.weights.clip is not set");
    refuse(LIST(TINY, "model.init=weights", "model.weights.clip=/nowhere.safetensors"), GQ_EWEIGHTS,
           "/nowhere.saf");
    refuse(LIST(TINY, "model.init=weights", "model.weights.clip=" FIXTURE), GQ_EWEIGHTS,
           "clip_tiny.safetensors");
    c = configured(LIST(TINY));
    *c->model.tokenizer.clip = 0;
    assert_fails(gq_retriever_open(c, &r, NULL, &err), GQ_EWEIGHTS, &err,
                 "model.tokenizer.clip is not set");
    c->model.init = GQ_CFG_INIT_WEIGHTS; /* beside the weights, whose directory has none */
    strcpy(c->model.weights.clip, FIXTURE);
    assert_fails(gq_retriever_open(c, &r, NULL, &err), GQ_EWEIGHTS, &err, "tests/reference");
    gq_remove_tree(gpt2, NULL);
}

static void refuses_wrong_input(void **state)
{
    gq_retriever       *r = opened(LIST(TINY, "data.limits.side=40"));
    gq_retriever       *blind = opened(LIST(TINY, "clip.text=false"));
    gq_bytes            gif = striped(2, 41, 16);
    gq_gif_bytes        bytes = bytes_of(&gif);
    gq_frame_set        f;
    gq_retrieve_seconds t = {0};
    gq_error            err = {0};
    float               q[20];
    (void)state;

    assert_fails(gq_retriever_frames(r, &bytes, 0, &f, &t, &err), GQ_EINPUT, &err, "test.gif");
    assert_null(f.embed);
    bytes.size = 20;
    assert_fails(gq_retriever_frames(r, &bytes, 0, &f, &t, &err), GQ_EINPUT, &err, "test.gif");
    assert_fails(gq_retriever_question(blind, "what?", q, NULL, &t, &err), GQ_ECONFIG, &err,
                 "clip.text");
    gq_bytes_free(&gif);
    gq_retriever_close(r);
    gq_retriever_close(blind);
}

/* ---- config.json ----------------------------------------------------------------------------- */

static void expect_size(const gq_clip_sizes *s, const char *want)
{
    for (int i = 0; i < s->n; i++)
        if (!strcmp(s->key[i], want))
            return;
    fail_msg("'%s' is missing", want);
}

static void show_difference(void *ctx, const char *key, const char *a, const char *b)
{
    (void)ctx;
    print_message("%s: %s, preset has %s\n", key, a, b);
}

static void sizes_come_from_config_json(void **state)
{
    static const char published[] = "{\"architectures\":[\"CLIPModel\"],\"model_type\":\"clip\","
                                    "\"projection_dim\":768,\"logit_scale_init_value\":2.6592,"
                                    "\"text_config\":{\"hidden_size\":768,\"intermediate_size\":"
                                    "3072,\"num_attention_heads\":12,\"label2id\":{\"a\":0}},"
                                    "\"text_config_dict\":null,\"vision_config\":{\"hidden_size\":"
                                    "1024,\"intermediate_size\":4096,"
                                    "\"num_hidden_layers\":24,\"num_attention_heads\":16,\"patch_"
                                    "size\":14,\"hidden_act\":\"quick_gelu\"}}";
    static const char *const want[] = {
        "clip.preset=custom",  "clip.image_size=224", "clip.patch=14",      "clip.width=1024",
        "clip.layers=24",      "clip.heads=16",       "clip.mlp=4096",      "clip.text_width=768",
        "clip.text_layers=12", "clip.text_heads=12",  "clip.text_mlp=3072", "clip.vocab=49408",
        "clip.context=77",     "clip.proj=768",       "clip.act=quick_gelu"};
    const char   *dir = gq_scratch(), *all[GQ_CLIP_SIZES];
    gq_clip_sizes s;
    gq_config    *from_file, preset;
    gq_error      err = {0};
    (void)state;

    assert_ok(gq_clip_dir_sizes(dir, &s, &err), &err);
    assert_int_equal(s.n, 0);
    fix_text(dir, "config.json", published);
    assert_ok(gq_clip_dir_sizes(dir, &s, &err), &err);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        expect_size(&s, want[i]);
    for (int i = 0; i < s.n; i++)
        all[i] = s.key[i];
    preset = *configured(LIST("clip.preset=vit_l14"));
    from_file = configured(all, (size_t)s.n);
    from_file->clip.preset = preset.clip.preset;
    assert_int_equal(gq_config_diff(from_file, &preset, show_difference, NULL), 0);
    fix_text(dir, "config.json", "{\"model_type\":\"gpt2\"}");
    assert_fails(gq_clip_dir_sizes(dir, &s, &err), GQ_EWEIGHTS, &err, "not 'clip'");
    fix_text(dir, "config.json",
             "{\"model_type\":\"clip\",\"vision_config\":{\"hidden_act\":\"relu\"}}");
    assert_fails(gq_clip_dir_sizes(dir, &s, &err), GQ_EWEIGHTS, &err, "'relu'");
    fix_text(dir, "config.json",
             "{\"model_type\":\"clip\",\"vision_config\":{\"hidden_size\":-1}}");
    assert_fails(gq_clip_dir_sizes(dir, &s, &err), GQ_EWEIGHTS, &err, "config.json: byte");
    gq_remove_tree(dir, NULL);
}

static int make_vocab(void **state)
{
    (void)state;
    vocab = strdup(gq_scratch());
    fix_write(vocab, FIX_CLIP);
    return 0;
}

static int drop_vocab(void **state)
{
    (void)state;
    gq_remove_tree(vocab, NULL);
    free((char *)vocab);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_equal_transformers),
        cmocka_unit_test(a_frame_does_not_know_its_batch),
        cmocka_unit_test(memory_for_features_is_a_limit),
        cmocka_unit_test(known_gifs_are_the_same_bits),
        cmocka_unit_test(memory_does_not_grow_with_frames),
        cmocka_unit_test(chosen_frames_are_those_of_the_gif),
        cmocka_unit_test(questions_equal_the_full_context),
        cmocka_unit_test(choice_follows_the_configuration),
        cmocka_unit_test(a_net_lends_its_towers),
        cmocka_unit_test(refuses_wrong_files),
        cmocka_unit_test(refuses_wrong_input),
        cmocka_unit_test(sizes_come_from_config_json),
    };
    return cmocka_run_group_tests(tests, make_vocab, drop_vocab);
}
