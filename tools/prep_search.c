/* gifqa-prep index, search: frames of many GIFs in one file, and those nearest to a text. */
#include <string.h>

#include "core/io.h"
#include "core/mem.h"
#include "data/search.h"
#include "data/shard.h"
#include "data/table.h"
#include "tools/cli_cache.h"
#include "tools/prep.h"

static const char  *out, *config, *device, *weights, *tokenizer, *index_path;
static int64_t      group = 1, k = 10, each = 1, threads;
static bool         f32, json;
static gq_cli_list  sets;
static gq_cli_cache cache = GQ_CLI_CACHE;

#define OPTIONS_OF_CLIP                                                                            \
    {"weights", 0,     GQ_CLI_TEXT,                                                                \
     &weights,  "DIR", "model.safetensors, config.json, vocabulary; or random:SEED",               \
     0,         0},                                                                                \
        {"tokenizer", 0,     GQ_CLI_TEXT,                                                          \
         &tokenizer,  "DIR", "CLIP's vocabulary, if not beside the weights",                       \
         0,           0},                                                                          \
        {"config", 0, GQ_CLI_TEXT, &config, "FILE", "a configuration with other sizes or limits",  \
         0,        0},                                                                             \
        {"set", 0, GQ_CLI_LIST, &sets, "KEY=VALUE", "change one of its keys", 0, 0},               \
        GQ_CLI_DEVICE(device)

/* ---- index ----------------------------------------------------------------------------------- */

static const gq_cli_option index_options[] = {
    {"out", 'o', GQ_CLI_TEXT, &out, "FILE", "the index", 0, 0},
    {"group", 0, GQ_CLI_INT, &group, "N", "consecutive frames that are one row: 1", 1,
     GQ_CLIPCUT_MAX},
    {"float", 0, GQ_CLI_FLAG, &f32, NULL, "store floats; bfloat16 needs half the space", 0,
     0},
    OPTIONS_OF_CLIP,
    GQ_CLI_CACHE_OPTIONS(cache),
    {"json", 0, GQ_CLI_FLAG, &json, NULL, "the result as one JSON object", 0, 0},
};
static const gq_cli_program indexer = {
    .name = "gifqa-prep index",
    .summary = "an index of the frames of all GIFs of a directory or a data set, for gifqa-prep "
               "search",
    .usage = "DIR -o FILE [options]",
    .examples = "gifqa-prep index gifs -o index.bin --weights clip\n"
                "gifqa-prep index shards/train -o index.bin      # built with --all-frames",
    .options = index_options,
    .n_options = sizeof index_options / sizeof *index_options,
    .least = 1,
    .most = 1,
    .notes = "Files named *.gif; those that cannot be read are told and left out.\n"
             "Exit codes: 0 done, 2 usage, 3 configuration, 4 no GIF could be read, 5 weights,\n"
             "6 disk or memory, 75 stopped (with the cache the next run goes on from there).",
};

typedef struct indexing {
    gq_config        *c;
    gq_retriever     *r;
    gq_search_writer *w;
    char            **names; /* [n] of the directory */
    size_t            n;
    uint64_t          gifs, frames, bad;
} indexing;

/* Both towers for both commands: frames that no text could be compared with are of no use. */
static gq_status open_clip(gq_config **c, gq_retriever **r, gq_error *err)
{
    char                 vocabulary[GQ_PATH_MAX + 32];
    gq_prep_clip_options from = {
        .config = config, .weights = weights, .device = device, .sets = &sets};
    gq_status s;

    snprintf(vocabulary, sizeof vocabulary, "model.tokenizer.clip=%s", tokenizer ? tokenizer : "");
    from.more = tokenizer ? vocabulary : NULL;
    s = gq_prep_clip_config(&from, true, c, err);
    return s == GQ_OK ? gq_retriever_open(*c, r, NULL, err) : s;
}

/* What is wrong with one GIF is no failure of the index; what is wrong with the machine is. */
static gq_status add_gif(indexing *x, const char *dir, const char *name, gq_error *err)
{
    gq_retrieve_seconds unread = {0};
    const gq_frame_set *set;
    gq_origin           origin;
    gq_bytes            bytes = {0};
    gq_error            why = {0};
    char               *path = gq_path(dir, name);
    gq_status           s = GQ_OK;

    if (!path)
        return gq_fail(err, GQ_ENOMEM, "%s: out of memory", name);
    s = gq_gif_read(path, gq_retriever_limits(x->c).max_bytes, &bytes, &why);
    if (s == GQ_OK)
        s = gq_retriever_recall(x->r, &(gq_gif_bytes){bytes.data, bytes.size, path}, &set, &origin,
                                &unread, &why);
    if (s == GQ_OK)
        s = gq_search_add(x->w, name, set->embed, set->n, &why);
    if (s == GQ_OK) {
        x->gifs++;
        x->frames += (uint64_t)set->n;
    } else if (s == GQ_EINPUT) {
        gq_cli_warn(indexer.name, "%s; left out", why.text);
        x->bad++;
        s = GQ_OK;
    } else {
        *err = why;
    }
    gq_bytes_free(&bytes);
    gq_free(path);
    return s;
}

static bool is_gif(const char *name)
{
    size_t n = strlen(name);
    return n > 4 && !strcasecmp(name + n - 4, ".gif");
}

static gq_status add_all(indexing *x, const char *dir, gq_error *err)
{
    gq_cli_progress show = {.what = indexer.name, .unit = "GIFs"};
    double           start = gq_now();
    uint64_t         total = 0, done = 0;
    gq_status        s = GQ_OK;

    for (size_t i = 0; i < x->n; i++)
        total += is_gif(x->names[i]);
    for (size_t i = 0; s == GQ_OK && i < x->n; i++) {
        double seconds;
        if (!is_gif(x->names[i]))
            continue;
        s = add_gif(x, dir, x->names[i], err);
        seconds = gq_now() - start + 1e-9;
        done++;
        if (s == GQ_OK && !gq_cli_progress_show(&show, &(gq_progress){.done = done,
                                                              .total = total,
                                                              .rejected = x->bad,
                                                              .rate = (double)done / seconds,
                                                              .eta_s = (double)(total - done) *
                                                                       seconds / (double)done}))
            s = gq_fail(err, GQ_ESTOPPED, "stopped after %llu of %llu GIFs",
                        (unsigned long long)done, (unsigned long long)total);
    }
    gq_cli_progress_end(&show);
    return s;
}

/* ---- of shards ------------------------------------------------------------------------------- */

/* A data set that was built with --all-frames holds the embeddings: no CLIP is needed. */
static gq_status add_shards(indexing *x, const gq_dataset *d, gq_error *err)
{
    gq_shard_cursor *c = NULL;
    float           *all = NULL;
    char             before[GQ_TABLE_GIF + 1] = "";
    gq_shard_gif     gif;
    gq_status        s = gq_shard_cursor_new(d, &c, err);

    for (int64_t g = 0; s == GQ_OK && g < gq_dataset_gifs(d); g++) {
        gq_dataset_gif(d, g, &gif);
        if (!strcmp(gif.name, before))           /* another choice of its frames */
            continue;
        snprintf(before, sizeof before, "%s", gif.name);
        float *more = gq_realloc(all, (size_t)gif.pooled_n * (size_t)gq_dataset_meta(d)->pooled,
                                 sizeof *all);
        if (!more) {
            s = gq_fail(err, GQ_ENOMEM, "%s: no memory for %d frames", gif.name, gif.pooled_n);
            break;
        }
        all = more;
        s = gq_dataset_pooled(d, c, g, all, err);
        if (s == GQ_OK)
            s = gq_search_add(x->w, gif.name, all, gif.pooled_n, err);
        x->gifs++;
        x->frames += (uint64_t)gif.pooled_n;
        if (s == GQ_OK && gq_prep_stopping())
            s = gq_fail(err, GQ_ESTOPPED, "stopped after %llu GIFs", (unsigned long long)x->gifs);
    }
    gq_free(all);
    gq_shard_cursor_free(c);
    return s;
}

static gq_status index_shards(indexing *x, const char *dir, gq_error *err)
{
    gq_search_opts       o = {.group = group, .bf16 = !f32};
    gq_dataset          *d = NULL;
    gq_status            s = gq_dataset_open(dir, &d, err);
    const gq_shard_meta *m = s == GQ_OK ? gq_dataset_meta(d) : NULL;

    if (s == GQ_OK && !m->pooled)
        s = gq_fail(err, GQ_EINPUT,
                    "%s: holds no embeddings of all frames; build it with --all-frames", dir);
    for (size_t i = 0; s == GQ_OK && i < sizeof o.tower; i++) {
        unsigned byte;
        if (sscanf(m->pooled_tower + 2 * i, "%2x", &byte) != 1)
            s = gq_fail(err, GQ_EINPUT, "%s: its tower is '%s': refused", dir, m->pooled_tower);
        o.tower[i] = s == GQ_OK ? (uint8_t)byte : 0;
    }
    if (s == GQ_OK) {
        o.dim = m->pooled;
        s = gq_search_create(out, &o, &x->w, err);
    }
    if (s == GQ_OK)
        s = add_shards(x, d, err);
    gq_dataset_close(d);
    return s;
}

static bool is_data_set(const char *dir)
{
    char *path = gq_path(dir, "MANIFEST.json");
    bool  is = path && gq_is_file(path);
    gq_free(path);
    return is;
}

static gq_status index_gifs(indexing *x, const char *dir, gq_error *err)
{
    gq_search_opts o = {.group = group, .bf16 = !f32};
    gq_status      s = gq_list_dir(dir, &x->names, &x->n, err);

    if (s == GQ_OK)
        s = open_clip(&x->c, &x->r, err);
    if (s == GQ_OK)
        s = gq_retriever_cache(x->r, gq_cli_cache_dir(&cache), gq_cli_cache_bytes(&cache), err);
    if (s == GQ_OK)
        s = gq_retriever_tower(x->r, o.tower, err);
    if (s != GQ_OK)
        return s;
    o.dim = gq_retriever_clip(x->r)->proj;
    s = gq_search_create(out, &o, &x->w, err);
    if (s == GQ_OK)
        s = add_all(x, dir, err);
    gq_cli_cache_warn(indexer.name, gq_retriever_note(x->r));
    return s;
}

static gq_status make_index(indexing *x, const char *dir, gq_error *err)
{
    gq_status s = is_data_set(dir) ? index_shards(x, dir, err) : index_gifs(x, dir, err);
    if (s == GQ_OK) {
        s = gq_search_finish(x->w, err);
        x->w = NULL;
    }
    return s;
}

int gq_prep_index(int argc, char **argv)
{
    indexing    x = {0};
    gq_cli_list rest;
    gq_error    err = {0};
    int         code = gq_cli_parse(&indexer, argc, argv, &rest);
    gq_status   s;

    if (code != GQ_CLI_GO)
        return code;
    if (!out)
        return gq_cli_usage(indexer.name, "-o FILE is missing");
    gq_prep_catch_signals();
    s = make_index(&x, rest.item[0], &err);
    gq_search_abort(x.w);
    gq_retriever_close(x.r);
    gq_free(x.c);
    for (size_t i = 0; i < x.n; i++)
        gq_free(x.names[i]);
    gq_free(x.names);
    if (s == GQ_OK && json)
        s = gq_cli_json(json_pack("{s:b, s:o, s:I, s:I, s:I}", "ok", 1, "index", gq_cli_string(out),
                                  "gifs", (json_int_t)x.gifs, "frames", (json_int_t)x.frames, "bad",
                                  (json_int_t)x.bad),
                        &err);
    else if (s == GQ_OK)
        printf("%s: %llu GIFs, %llu frames\n", out, (unsigned long long)x.gifs,
               (unsigned long long)x.frames);
    return s == GQ_OK ? 0 : gq_cli_fail(indexer.name, &err, json);
}

/* ---- search ---------------------------------------------------------------------------------- */

static const gq_cli_option search_options[] = {
    {"index", 'i', GQ_CLI_TEXT, &index_path, "FILE", "made by gifqa-prep index", 0, 0},
    {"hits", 'k', GQ_CLI_INT, &k, "N", "lines to show: 10", 1, GQ_SEARCH_HITS},
    {"each", 0, GQ_CLI_INT, &each, "N", "most lines of one GIF: 1", 1, GQ_SEARCH_HITS},
    OPTIONS_OF_CLIP,
    {"threads", 0, GQ_CLI_INT, &threads, "N", "threads (default: all cores)", 1, 256},
    {"json", 0, GQ_CLI_FLAG, &json, NULL, "hits and seconds as one JSON object", 0, 0},
};
static const gq_cli_program searcher = {
    .name = "gifqa-prep search",
    .summary = "the frames of many GIFs that lie nearest to a text",
    .usage = "TEXT -i INDEX [options]",
    .examples = "gifqa-prep search \"a dog catching a frisbee\" -i index.bin --weights clip",
    .options = search_options,
    .n_options = sizeof search_options / sizeof *search_options,
    .least = 1,
    .most = 1,
    .notes =
        "Lines: GIF, frame, L2 distance of unit vectors, by tabs; nearest first. The search is "
        "exact.\n"
        "Exit codes: 0 done, 2 usage, 3 configuration, 4 the index is damaged or of another "
        "CLIP,\n5 weights or vocabulary, 6 memory.",
};

typedef struct searching {
    gq_config    *c;
    gq_retriever *r;
    gq_search    *x;
    gq_pool      *pool;
    float        *query; /* [dim] */
    gq_search_hit hit[GQ_SEARCH_HITS];
    int64_t       n;
    double        seconds; /* of the search alone */
} searching;

static gq_status same_tower(searching *w, gq_error *err)
{
    uint8_t   tower[GQ_SEARCH_TOWER];
    gq_status s = gq_retriever_tower(w->r, tower, err);

    if (s == GQ_OK && (memcmp(tower, gq_search_about(w->x)->tower, sizeof tower) != 0 ||
                       gq_search_about(w->x)->dim != gq_retriever_clip(w->r)->proj))
        s = gq_fail(err, GQ_EINPUT,
                    "%s: made with another CLIP; make it again with these --weights", index_path);
    return s;
}

static gq_status find(searching *w, const char *text, gq_error *err)
{
    gq_retrieve_seconds unread = {0};
    bool                cut = false;
    double              start;
    gq_status           s = gq_search_open(index_path, &w->x, err);

    if (s == GQ_OK)
        s = open_clip(&w->c, &w->r, err);
    if (s == GQ_OK)
        s = same_tower(w, err);
    if (s == GQ_OK)
        s = gq_pool_new(threads ? (int)threads : gq_cpu_count(), &w->pool, err);
    if (s != GQ_OK)
        return s;
    w->query = gq_malloc((size_t)gq_retriever_clip(w->r)->proj, sizeof *w->query);
    if (!w->query)
        return gq_fail(err, GQ_ENOMEM, "out of memory");
    s = gq_retriever_question(w->r, text, w->query, &cut, &unread, err);
    start = gq_now();
    if (s == GQ_OK)
        s = gq_search_find(w->x, w->pool, w->query, k, each, w->hit, &w->n, err);
    w->seconds = gq_now() - start;
    if (cut)
        gq_cli_warn(searcher.name, "the text is longer than CLIP reads; its end was left out");
    if (s == GQ_OK && w->c->model.init == GQ_CFG_INIT_RANDOM)
        gq_cli_warn(searcher.name, "random weights: the hits mean nothing");
    return s;
}

static gq_status show_hits(const searching *w, const char *text, gq_error *err)
{
    json_t *hits = json ? json_array() : NULL;

    for (int64_t i = 0; i < w->n; i++) {
        const gq_search_hit *h = &w->hit[i];
        if (json) {
            json_array_append_new(hits, json_pack("{s:o, s:I, s:f}", "gif", gq_cli_string(h->gif),
                                                  "frame", (json_int_t)h->frame, "distance",
                                                  h->distance));
            continue;
        }
        gq_cli_show(stdout, h->gif);
        printf("\t%lld\t%.4f\n", (long long)h->frame, h->distance);
    }
    if (!json)
        return GQ_OK;
    return gq_cli_json(
        json_pack("{s:b, s:o, s:I, s:I, s:f, s:o}", "ok", 1, "text", gq_cli_string(text), "gifs",
                  (json_int_t)gq_search_about(w->x)->gifs, "rows",
                  (json_int_t)gq_search_about(w->x)->rows, "seconds", w->seconds, "hits", hits),
        err);
}

int gq_prep_search(int argc, char **argv)
{
    static searching w;
    gq_cli_list      rest;
    gq_error         err = {0};
    int              code = gq_cli_parse(&searcher, argc, argv, &rest);
    gq_status        s;

    if (code != GQ_CLI_GO)
        return code;
    if (!index_path)
        return gq_cli_usage(searcher.name, "-i INDEX is missing");
    if (!rest.item[0][strspn(rest.item[0], " \t\r\n")])
        return gq_cli_usage(searcher.name, "the text is empty");
    s = find(&w, rest.item[0], &err);
    if (s == GQ_OK)
        s = show_hits(&w, rest.item[0], &err);
    gq_pool_free(w.pool);
    gq_retriever_close(w.r);
    gq_search_close(w.x);
    gq_free(w.c);
    gq_free(w.query);
    return s == GQ_OK ? 0 : gq_cli_fail(searcher.name, &err, json);
}
