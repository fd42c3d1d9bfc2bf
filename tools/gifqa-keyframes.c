/* gifqa-keyframes: the frames of a GIF nearest to a question, as a table, as JSON, as a picture. */
#include <string.h>

#include "core/io.h"
#include "core/mem.h"
#include "data/png.h"
#include "data/strip.h"
#include "tools/cli_cache.h"
#include "tools/cli_cut.h"
#include "train/clip_dir.h"
#include "train/retrieve.h"

typedef struct options {
    const char *strip, *weights, *tokenizer, *preset, *config, *device, *description;
    int64_t     k, threads;             /* -1: not given */
    gq_cli_list set;
    bool        json;
} options;

static options      opt = {.k = -1, .threads = -1};
static gq_cli_cache cache = GQ_CLI_CACHE;
static gq_cli_cut   cut = GQ_CLI_CUT;

static const gq_cli_option table[] = {
    {"frames", 'k', GQ_CLI_INT, &opt.k, "N", "frames to choose (default 3)", 1, GQ_CLIPCUT_MAX},
    GQ_CLI_CUT_OPTIONS(cut),
    {"description", 0, GQ_CLI_TEXT, &opt.description, "TEXT", NULL, 0, 0},
    {"strip", 'o', GQ_CLI_TEXT, &opt.strip, "FILE.png",
     "draw the chosen frames, their scores and a timeline", 0, 0},
    {"weights", 0, GQ_CLI_TEXT, &opt.weights, "DIR",
     "model.safetensors, config.json, vocabulary; or random:SEED", 0, 0},
    {"tokenizer", 0, GQ_CLI_TEXT, &opt.tokenizer, "DIR",
     "CLIP's vocabulary, if it is not beside the weights", 0, 0},
    {"preset", 0, GQ_CLI_TEXT, &opt.preset, "NAME",
     "vit_b32, vit_b16, vit_l14 (default: what DIR says)", 0, 0},
    {"config", 0, GQ_CLI_TEXT, &opt.config, "FILE",
     "a configuration with other sizes, limits or groups", 0, 0},
    {"set", 0, GQ_CLI_LIST, &opt.set, "KEY=VALUE", "change one of its keys: clipcut.group=1", 0, 0},
    GQ_CLI_DEVICE(opt.device),
    {"threads", 0, GQ_CLI_INT, &opt.threads, "N", "threads (default: all cores)", 1, 256},
    GQ_CLI_CACHE_OPTIONS(cache),
    {"json", 0, GQ_CLI_FLAG, &opt.json, NULL,
     "frames, groups, distances, seconds as one JSON object", 0, 0},
};

static const gq_cli_program program = {
    .name = "gifqa-keyframes",
    .summary = "the frames of a GIF that lie nearest to a question (CLIP-Cut)",
    .usage = "[options] GIF QUESTION",
    .examples =
        "gifqa-keyframes cat.gif \"what is it licking?\" -k 3 -o strip.png --weights clip\n"
        "gifqa-keyframes cat.gif \"where is it?\" --json --weights random:1 --tokenizer clip",
    .options = table,
    .n_options = sizeof table / sizeof *table,
    .least = 2,
    .most = 2,
    .notes =
        "\nThree consecutive frames are a group; the nearest groups give their best frames.\n"
        "--description TEXT is an ablation: frames nearest to it and the question.\n"
        "Distance: L2 between CLIP embeddings of length one, 0 the same, 1.41 unrelated.\n"
        "Exit codes: 2 usage, 3 configuration, 4 GIF, 5 weights or vocabulary, 6 memory\n"
        "or disk, 7 numbers. The directory 'clip' stands for a download of\n"
        "openai/clip-vit-base-patch32: model.safetensors, config.json, vocab.json, merges.txt.",
};

typedef struct work {                   /* everything one run makes */
    gq_config           cfg;
    gq_retriever       *retriever;
    gq_bytes            gif;
    const gq_frame_set *frames;         /* the retriever's */
    gq_origin           origin;         /* of the embeddings */
    gq_clipcut          cut;
    float              *question;       /* [dim] */
    double             *appears;        /* [frames + 1] seconds */
    gq_retrieve_seconds seconds;
    double              open, draw;     /* seconds */
} work;

/* ---- configuration --------------------------------------------------------------------------- */

typedef struct overrides {
    size_t      n;
    const char *item[GQ_CLIP_SIZES + GQ_CLIP_WEIGHTS + GQ_CLI_LIST_MAX + 4];
    char        text[4][GQ_PATH_MAX + 64];          /* those made here */
    size_t      used;
} overrides;

static void override(overrides *o, const char *key, const char *value)
{
    char *text = o->text[o->used++];
    snprintf(text, sizeof o->text[0], "%s=%s", key, value);
    o->item[o->n++] = text;
}

static void override_int(overrides *o, const char *key, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    if (value >= 0)
        override(o, key, text);
}

static gq_status configure(gq_config *cfg, gq_error *err)
{
    static overrides       o;
    static gq_clip_weights weights;
    gq_clip_sizes          sizes = {0};
    gq_status              s = GQ_OK;

    if (!opt.config && !opt.preset && opt.weights && gq_is_dir(opt.weights))
        s = gq_clip_dir_sizes(opt.weights, &sizes, err);
    for (int i = 0; i < sizes.n; i++)
        o.item[o.n++] = sizes.key[i];
    if (opt.preset)
        override(&o, "clip.preset", opt.preset);
    if (opt.weights)
        gq_clip_weights_of(opt.weights, &weights);
    for (int i = 0; i < weights.n; i++)
        o.item[o.n++] = weights.key[i];
    if (opt.tokenizer)
        override(&o, "model.tokenizer.clip", opt.tokenizer);
    override_int(&o, "clipcut.k", opt.k);
    override_int(&o, "engine.threads", opt.threads);
    gq_cli_rung(&opt.set);
    gq_cli_device(&opt.set, opt.device);
    if (s == GQ_OK)
        s = gq_cli_cut_set(&cut, &opt.set, err);
    for (size_t i = 0; i < opt.set.n; i++)
        o.item[o.n++] = opt.set.item[i];
    if (s == GQ_OK)
        s = gq_config_load(opt.config, o.item, o.n, cfg, NULL, err);
    if (s != GQ_OK)
        return s;
    /* random is the default of the key: here only whoever says so gets it */
    if (cfg->model.init == GQ_CFG_INIT_WEIGHTS ? !*cfg->model.weights.clip : !opt.weights)
        return gq_fail(
            err, GQ_EWEIGHTS,
            "no CLIP: give --weights DIR with model.safetensors, config.json, vocab.json "
            "and merges.txt as published (openai/clip-vit-base-patch32), or try the program with "
            "--weights random:1");
    if (cfg->model.init == GQ_CFG_INIT_RANDOM && !*cfg->model.tokenizer.clip)
        return gq_fail(
            err, GQ_EWEIGHTS,
            "no vocabulary: random weights come without one; give --tokenizer DIR with "
            "vocab.json and merges.txt, tokenizer.json, or bpe_simple_vocab_16e6.txt.gz");
    return GQ_OK;
}

/* ---- work ------------------------------------------------------------------------------------ */

/* When each frame appears. Browsers show frames without delay, or with 1/100 s, for 1/10 s. */
static gq_status time_frames(work *w, gq_error *err)
{
    double t = 0.0;

    w->appears = gq_malloc((size_t)w->frames->n + 1, sizeof *w->appears);
    if (!w->appears)
        return gq_fail(err, GQ_ENOMEM, "out of memory");
    for (int64_t f = 0; f < w->frames->n; f++) {
        w->appears[f] = t;
        t += (w->frames->delay_cs[f] > 1 ? w->frames->delay_cs[f] : 10) / 100.0;
    }
    w->appears[w->frames->n] = t;
    return GQ_OK;
}

static void warn(const work *w, const char *gif, bool too_long)
{
    if (w->cfg.model.init == GQ_CFG_INIT_RANDOM)
        gq_cli_warn(program.name, "random weights: the choice means nothing");
    if (opt.description)
        gq_cli_cut_warn(program.name);
    if (too_long)
        gq_cli_warn(program.name, "the question is longer than %lld tokens; its end was left out",
                    (long long)w->cfg.clip.context);
    if (w->frames->flags & (GQ_GIF_TRUNCATED | GQ_GIF_DAMAGED))
        gq_cli_warn(program.name, "%s: the file is %s; only what is there was read", gif,
                    w->frames->flags & GQ_GIF_DAMAGED ? "damaged" : "cut short");
    if (w->frames->flags & GQ_GIF_FRAME_LIMIT)
        gq_cli_warn(program.name, "%s: only the first %lld frames were read (data.limits.frames)",
                    gif, (long long)w->frames->n);
    gq_cli_cache_warn(program.name, gq_retriever_note(w->retriever));
}

/* A picture that has no place to go is found before the work, not after it. */
static gq_status check_strip(gq_error *err)
{
    const char *slash = opt.strip ? strrchr(opt.strip, '/') : NULL;
    char       *dir = slash ? gq_strndup(opt.strip, (size_t)(slash - opt.strip) + 1) : NULL;
    gq_status   s = GQ_OK;

    if (slash && !dir)
        s = gq_fail(err, GQ_ENOMEM, "out of memory");
    else if (dir && !gq_is_dir(dir))
        s = gq_fail(err, GQ_EDISK, "%s: there is no directory %s; make it first", opt.strip, dir);
    gq_free(dir);
    return s;
}

/* Opens and reads everything; the GIF first, because weights take long. */
static gq_status prepare(work *w, const char *gif, gq_error *err)
{
    gq_gif_limits  limits = gq_retriever_limits(&w->cfg);
    gq_gif_summary summary;
    double         start;
    gq_status      s = check_strip(err);

    if (s == GQ_OK)
        s = gq_gif_read(gif, limits.max_bytes, &w->gif, err);
    if (s == GQ_OK)
        s = gq_gif_count(w->gif.data, w->gif.size, gif, &limits, &summary, err);
    start = gq_now();
    if (s == GQ_OK)
        s = gq_retriever_open(&w->cfg, &w->retriever, NULL, err);
    if (s == GQ_OK)
        s = gq_retriever_cache(w->retriever, gq_cli_cache_dir(&cache), gq_cli_cache_bytes(&cache),
                               err);
    w->open = gq_now() - start;
    return s;
}

static gq_status choose(work *w, const char *gif, const char *question, gq_error *err)
{
    gq_gif_bytes bytes = {w->gif.data, w->gif.size, gif};
    bool         too_long = false;
    char        *text = gq_clipcut_text(question, opt.description);
    gq_status    s = text ? GQ_OK : gq_fail(err, GQ_ENOMEM, "out of memory");

    w->question = gq_calloc((size_t)w->cfg.clip.proj, sizeof *w->question);
    if (!w->question)
        s = gq_fail(err, GQ_ENOMEM, "out of memory");
    if (s == GQ_OK)
        s = gq_retriever_question(w->retriever, text, w->question, &too_long, &w->seconds, err);
    gq_free(text);
    if (s == GQ_OK)
        s = gq_retriever_recall(w->retriever, &bytes, &w->frames, &w->origin, &w->seconds, err);
    if (s == GQ_OK)
        s = gq_retriever_select(w->retriever, w->frames, w->question, &w->cut, &w->seconds, err);
    if (s == GQ_OK)
        s = time_frames(w, err);
    if (s == GQ_OK)
        warn(w, gif, too_long);
    return s;
}

static gq_status draw(work *w, const char *gif, const char *question, gq_error *err)
{
    gq_strip strip = {
        .title = question, .cut = &w->cut, .group = w->cfg.clipcut.group, .seconds = w->appears};
    gq_gif_limits limits = gq_retriever_limits(&w->cfg);
    gq_picture    picture;
    double        start = gq_now();
    gq_status     s = gq_strip_draw(&strip, w->gif.data, w->gif.size, gif, &limits, &picture, err);

    if (s != GQ_OK)
        return s;
    s = gq_png_write(opt.strip, picture.rgb, picture.width, picture.height, 3, err);
    gq_free(picture.rgb);
    w->draw = gq_now() - start;
    return s;
}

static void release(work *w)
{
    gq_retriever_close(w->retriever);
    gq_bytes_free(&w->gif);
    gq_clipcut_free(&w->cut);
    gq_free(w->question);
    gq_free(w->appears);
}

/* ---- results --------------------------------------------------------------------------------- */

static json_t *reals(const double *x, int64_t n)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < n; i++)
        json_array_append_new(list, json_real(x[i]));
    return list;
}

/* {"frames":[..],"groups":[..],"distances":[..],..}: parallel lists of the chosen frames */
static void put_picks(json_t *o, const work *w)
{
    json_t *frames = json_array(), *groups = json_array(), *distances = json_array(),
           *near = json_array(), *times = json_array();

    for (int64_t i = 0; i < w->cut.k; i++) {
        const gq_clipcut_pick *p = &w->cut.pick[i];
        json_array_append_new(frames, json_integer(p->frame));
        json_array_append_new(groups, json_integer(p->group));
        json_array_append_new(distances, json_real(p->distance));
        json_array_append_new(near, json_real(p->group_distance));
        json_array_append_new(times, json_real(w->appears[p->frame]));
    }
    json_object_set_new(o, "frames", frames);
    json_object_set_new(o, "groups", groups);
    json_object_set_new(o, "distances", distances);
    json_object_set_new(o, "group_distances", near);
    json_object_set_new(o, "times", times);
}

static gq_status print_json(const work *w, const char *gif, const char *question, gq_error *err)
{
    const gq_retrieve_seconds *t = &w->seconds;
    json_t                    *o = json_object(), *all, *seconds;

    json_object_set_new(o, "ok", json_true());
    json_object_set_new(o, "gif", gq_cli_string(gif));
    json_object_set_new(o, "question", gq_cli_string(question));
    json_object_set_new(o, "description",
                        opt.description ? gq_cli_string(opt.description) : json_null());
    json_object_set_new(o, "mode", json_string(gq_cli_cut_mode(w->cfg.clipcut.mode)));
    json_object_set_new(o, "apart", json_integer(w->cfg.clipcut.apart));
    json_object_set_new(o, "embeddings", json_string(gq_cli_origin(w->origin)));
    put_picks(o, w);
    all = json_pack("{s:I, s:I, s:I, s:I, s:I, s:b, s:o, s:o}", "frames", (json_int_t)w->cut.frames,
                    "groups", (json_int_t)w->cut.groups, "group", (json_int_t)w->cfg.clipcut.group,
                    "width", (json_int_t)w->frames->width, "height", (json_int_t)w->frames->height,
                    "normalized", w->cfg.clipcut.normalize, "frame_distances",
                    reals(w->cut.frame_distance, w->cut.frames), "group_distances",
                    reals(w->cut.group_distance, w->cut.groups));
    seconds = json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "open", w->open, "decode",
                        t->decode, "preprocess", t->preprocess, "clip_vision", t->vision, "cache",
                        t->recall, "clip_text", t->text, "select", t->select, "draw", w->draw);
    if (json_object_set_new(o, "all", all) || json_object_set_new(o, "seconds", seconds) ||
        (opt.strip && json_object_set_new(o, "strip", gq_cli_string(opt.strip)))) {
        json_decref(o);
        o = NULL;
    }
    return gq_cli_json(o, err);
}

static const char *plural(int64_t n) { return n == 1 ? "" : "s"; }

static void print_table(const work *w, const char *gif, const char *question)
{
    const gq_retrieve_seconds *t = &w->seconds;

    gq_cli_show(stdout, gif);
    printf(": %lld frame%s of %u x %u, %lld group%s of %lld\n", (long long)w->cut.frames,
           plural(w->cut.frames), w->frames->width, w->frames->height, (long long)w->cut.groups,
           plural(w->cut.groups), (long long)w->cfg.clipcut.group);
    gq_cli_show(stdout, question);
    printf("\n%8s %8s %8s %10s %10s\n", "frame", "time", "group", "distance", "of group");
    for (int64_t i = 0; i < w->cut.k; i++) {
        const gq_clipcut_pick *p = &w->cut.pick[i];
        printf("%8lld %7.2fs %8lld %10.4f %10.4f\n", (long long)p->frame, w->appears[p->frame],
               (long long)p->group, p->distance, p->group_distance);
    }
    fprintf(
        stderr,
        "open %.2f s, decode %.2f s, preprocess %.2f s, CLIP frames %.2f s%s, question %.2f s%s\n",
        w->open, t->decode, t->preprocess, t->vision,
        w->origin == GQ_FROM_DISK ? " (GIF known)" : "", t->text,
        opt.strip ? "; strip written" : "");
}

int main(int argc, char **argv)
{
    static work w;
    gq_cli_list rest;
    gq_error    err = {0};
    gq_status   s;
    int         code;

    gq_cli_begin();
    code = gq_cli_parse(&program, argc, argv, &rest);
    if (code == GQ_CLI_GO && !rest.item[1][strspn(rest.item[1], " \t\r\n")])
        code = gq_cli_usage(program.name, "the question is empty");
    if (code != GQ_CLI_GO)
        return gq_cli_end(program.name, code);
    s = configure(&w.cfg, &err);
    if (s == GQ_OK)
        s = prepare(&w, rest.item[0], &err);
    if (s == GQ_OK)
        s = choose(&w, rest.item[0], rest.item[1], &err);
    if (s == GQ_OK && opt.strip)
        s = draw(&w, rest.item[0], rest.item[1], &err);
    if (s == GQ_OK && opt.json)
        s = print_json(&w, rest.item[0], rest.item[1], &err);
    else if (s == GQ_OK)
        print_table(&w, rest.item[0], rest.item[1]);
    release(&w);
    code = s == GQ_OK ? 0 : gq_cli_fail(program.name, &err, opt.json);
    return gq_cli_end(program.name, code);
}
