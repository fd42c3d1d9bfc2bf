/* The toy world as real files: GIFs, tables, vocabulary, and world.json that says what was
 * written. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/io.h"
#include "core/mem.h"
#include "data/gifwrite.h"
#include "data/jsonfile.h"
#include "data/world.h"

enum { T = GQ_WORLD_FRAMES, S = GQ_WORLD_SIZE, KINDS = GQ_WORLD_KINDS, SPLITS = GQ_WORLD_SPLITS };
enum { DELAY_CS = 12, DEFAULT_SCALE = 8, MAX_SCALE = 64, MAX_CLIPS = 10000000 };

typedef struct writer {
    const char           *dir;
    const gq_world_files *f;
    gq_world_report      *report;
    gq_ticker             tick;
    uint64_t              done;                  /* clips, all splits */
    uint32_t              scale;
    uint8_t              *large;                 /* u8 [T, S scale, S scale] */
    uint64_t             *id[SPLITS];            /* identities [count], kind in the lowest 3 bits */
} writer;

static void enlarge(const uint8_t *index, uint32_t scale, uint8_t *large)
{
    size_t side = (size_t)S * scale;
    for (int row = 0; row < T * S; row++) {
        uint8_t *to = large + (size_t)row * scale * side;
        for (int x = 0; x < S; x++)
            memset(to + (size_t)x * scale, index[row * S + x], scale);
        for (uint32_t k = 1; k < scale; k++)
            memcpy(to + k * side, to, side);
    }
}

static gq_status write_clip(writer *w, const gq_world_clip *clip, const char *name, gq_error *err)
{
    char        file[32];
    uint32_t    side = S * w->scale;
    gq_bytes    bytes = {0};
    gq_gif_anim anim = {
        side, side, T, w->large, GQ_WORLD_COLORS, (const uint8_t(*)[3])clip->palette, DELAY_CS};

    snprintf(file, sizeof file, "gif/%s", name);
    enlarge(clip->index, w->scale, w->large);
    char *path = gq_path(w->dir, file);
    if (!path)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory for a path", w->dir);
    gq_status s = gq_gif_encode(&anim, &bytes, err);
    if (s == GQ_OK)
        s = gq_write_unsynced(path, bytes.data, bytes.size, err);
    w->report->gif_bytes += bytes.size;
    gq_bytes_free(&bytes);
    gq_free(path);
    return s;
}

static gq_status write_rows(writer *w, gq_world_split split, gq_file *table, gq_error *err)
{
    gq_world_clip clip;
    char          name[24];
    gq_status     s = gq_file_printf(table, err, "gif\tquestion\tanswer\ttype\n");
    for (uint32_t i = 0; s == GQ_OK && i < w->f->count[split]; i++) {
        if (!gq_tick(&w->tick, w->done, 0))
            return gq_fail(err, GQ_ESTOPPED, "%s: stopped after %llu clips", w->dir,
                           (unsigned long long)w->done);
        snprintf(name, sizeof name, "%s-%06u.gif", gq_world_split_name(split), i);
        if ((s = gq_world_sample(&w->f->spec, split, i, &clip, err)) != GQ_OK)
            break;
        if ((s = write_clip(w, &clip, name, err)) != GQ_OK)
            break;
        s = gq_file_printf(table, err, "%s\t%s\t%s\t%s\n", name, clip.question, clip.answer,
                           gq_world_kind_name(clip.kind));
        w->id[split][i] = (clip.identity & ~7ull) | (uint64_t)clip.kind;
        w->done++;
    }
    return s;
}

static gq_status write_split(writer *w, gq_world_split split, gq_error *err)
{
    char     name[16];
    gq_file *table = NULL;
    snprintf(name, sizeof name, "%s.tsv", gq_world_split_name(split));
    char *path = gq_path(w->dir, name);
    w->id[split] = gq_malloc(w->f->count[split], sizeof *w->id[split]);
    if (!path || !w->id[split]) {
        gq_free(path);
        return gq_fail(err, GQ_ENOMEM, "%s: no memory for %u clips", w->dir, w->f->count[split]);
    }
    gq_status s = gq_atomic_open(path, &table, err);
    gq_free(path);
    if (s != GQ_OK)
        return s;
    if ((s = write_rows(w, split, table, err)) != GQ_OK) {
        gq_atomic_abort(table);
        return s;
    }
    return gq_atomic_commit(table, err);
}

static gq_status write_words(const char *dir, gq_error *err)
{
    gq_file *f = NULL;
    char    *path = gq_path(dir, "words.txt");
    if (!path)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory for a path", dir);
    gq_status s = gq_atomic_open(path, &f, err);
    gq_free(path);
    if (s != GQ_OK)
        return s;
    s = gq_file_printf(f, err, "<pad>\n<end>\n<unk>\n");
    for (int i = 0; s == GQ_OK && gq_world_word(i); i++)
        s = gq_file_printf(f, err, "%s\n", gq_world_word(i));
    if (s != GQ_OK) {
        gq_atomic_abort(f);
        return s;
    }
    return gq_atomic_commit(f, err);
}

/* ---- counting identities --------------------------------------------------------------------- */

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static bool contains(const uint64_t *sorted, uint32_t n, uint64_t id)
{
    return n && bsearch(&id, sorted, n, sizeof id, compare_ids);
}

static void count_identities(writer *w)
{
    const uint32_t *n = w->f->count;
    for (int s = 0; s < SPLITS; s++)
        qsort(w->id[s], n[s], sizeof *w->id[s], compare_ids);
    for (int s = 0; s < SPLITS; s++)
        for (uint32_t i = 0; i < n[s]; i++) {
            uint64_t id = w->id[s][i];
            int      kind = (int)(id & 7);
            w->report->samples[s][kind]++;
            w->report->distinct[s][kind] += i == 0 || w->id[s][i - 1] != id;
            w->report->shared[s][kind] +=
                s != GQ_WORLD_TRAIN && contains(w->id[GQ_WORLD_TRAIN], n[0], id);
        }
}

/* ---- world.json ------------------------------------------------------------------------------ */

/* What makes two directories the same world. */
static json_t *identity_json(const gq_world_files *f, uint32_t scale)
{
    json_t *counts = json_object(), *weights = json_object();
    for (int s = 0; s < SPLITS; s++)
        json_object_set_new(counts, gq_world_split_name((gq_world_split)s),
                            json_integer(f->count[s]));
    for (int k = 0; k < KINDS; k++)
        json_object_set_new(weights, gq_world_kind_name((gq_world_kind)k),
                            json_integer(f->spec.weight[k]));
    return json_pack("{s:s, s:I, s:i, s:o, s:o}", "version", GQ_WORLD_VERSION, "seed",
                     (json_int_t)f->spec.seed, "scale", (int)scale, "counts", counts, "weights",
                     weights);
}

static json_t *report_json(const gq_world_report *r)
{
    json_t *splits = json_object();
    for (int s = 0; s < SPLITS; s++) {
        json_t *kinds = json_object();
        for (int k = 0; k < KINDS; k++)
            json_object_set_new(kinds, gq_world_kind_name((gq_world_kind)k),
                                json_pack("{s:i, s:i, s:i}", "samples", (int)r->samples[s][k],
                                          "distinct", (int)r->distinct[s][k], "in_train",
                                          (int)r->shared[s][k]));
        json_object_set_new(splits, gq_world_split_name((gq_world_split)s), kinds);
    }
    return splits;
}

static void report_from_json(const json_t *world, gq_world_report *r)
{
    const json_t *splits = json_object_get(world, "splits");
    for (int s = 0; s < SPLITS; s++)
        for (int k = 0; k < KINDS; k++) {
            const json_t *kinds = json_object_get(splits, gq_world_split_name((gq_world_split)s));
            const json_t *o = json_object_get(kinds, gq_world_kind_name((gq_world_kind)k));
            r->samples[s][k] = (uint32_t)json_integer_value(json_object_get(o, "samples"));
            r->distinct[s][k] = (uint32_t)json_integer_value(json_object_get(o, "distinct"));
            r->shared[s][k] = (uint32_t)json_integer_value(json_object_get(o, "in_train"));
        }
    r->gif_bytes = (uint64_t)json_integer_value(json_object_get(world, "gif_bytes"));
}

static gq_status write_json(writer *w, const char *path, gq_error *err)
{
    gq_status s = gq_sync_all(w->dir, err);          /* world.json vouches for the GIFs */
    if (s != GQ_OK)
        return s;
    gq_json_watch();
    json_t *o = json_pack("{s:s, s:o, s:I, s:o}", "format", "gifqa-world", "world",
                          identity_json(w->f, w->scale), "gif_bytes",
                          (json_int_t)w->report->gif_bytes, "splits", report_json(w->report));
    return gq_json_save(path, gq_json_whole(o), err);
}

/* *same: a complete directory of exactly this world is there already. */
static gq_status look_for_same(const char *path, const gq_world_files *f, uint32_t scale,
                               gq_world_report *r, bool *same, gq_error *err)
{
    json_t *there, *wanted;
    *same = false;
    if (!gq_is_file(path))
        return GQ_OK;
    gq_status s = gq_json_load(path, 1 << 20, &there, err);
    if (s != GQ_OK)
        return s;
    wanted = identity_json(f, scale);
    *same = json_equal(json_object_get(there, "world"), wanted);
    if (*same)
        report_from_json(there, r);
    else
        s = gq_fail(err, GQ_EINPUT,
                    "%s: belongs to another world (seed, counts, scale or version differ); "
                    "choose another directory or remove this one",
                    path);
    json_decref(there);
    json_decref(wanted);
    return s;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static gq_status check(const char *dir, const gq_world_files *f, uint32_t scale, uint64_t *total,
                       gq_error *err)
{
    *total = 0;
    for (int s = 0; s < SPLITS; s++)
        *total += f->count[s];
    if (*total > MAX_CLIPS || f->spec.seed > INT64_MAX)
        return gq_fail(err, GQ_EUSAGE, "%s: a toy world has at most %d clips and a seed below 2^63",
                       dir, MAX_CLIPS);
    if (scale > MAX_SCALE)
        return gq_fail(err, GQ_EUSAGE, "%s: the scale of a toy world is 1..%d, not %u", dir,
                       MAX_SCALE, scale);
    return GQ_OK;
}

static gq_status write_all(writer *w, const char *json, gq_error *err)
{
    char     *gifs = gq_path(w->dir, "gif");
    gq_status s =
        gifs ? gq_mkdirs(gifs, err) : gq_fail(err, GQ_ENOMEM, "%s: no memory for a path", w->dir);
    gq_free(gifs);
    for (int split = 0; s == GQ_OK && split < SPLITS; split++)
        s = write_split(w, (gq_world_split)split, err);
    if (s == GQ_OK)
        s = write_words(w->dir, err);
    if (s != GQ_OK)
        return s;
    count_identities(w);
    if ((s = write_json(w, json, err)) == GQ_OK)
        gq_tick(&w->tick, w->done, 0);
    return s;
}

gq_status gq_world_write(const char *dir, const gq_world_files *f, gq_progress_fn progress,
                         void *ctx, gq_world_report *report, gq_error *err)
{
    gq_world_report unused;
    writer          w = {.dir = dir, .f = f, .report = report ? report : &unused};
    bool            same;
    double          start = gq_now();
    gq_status       s;

    w.scale = f->scale ? f->scale : DEFAULT_SCALE;
    w.tick = (gq_ticker){.fn = progress, .ctx = ctx};
    memset(w.report, 0, sizeof *w.report);
    if ((s = check(dir, f, w.scale, &w.tick.total, err)) != GQ_OK)
        return s;
    char *json = gq_path(dir, "world.json");
    w.large = gq_malloc(GQ_WORLD_PIXELS, (size_t)w.scale * w.scale);
    if (!json || !w.large)
        s = gq_fail(err, GQ_ENOMEM, "%s: no memory for one clip", dir);
    else if ((s = look_for_same(json, f, w.scale, w.report, &same, err)) == GQ_OK && !same)
        s = write_all(&w, json, err);
    w.report->seconds = gq_now() - start;
    for (int k = 0; k < SPLITS; k++)
        gq_free(w.id[k]);
    gq_free(w.large);
    gq_free(json);
    return s;
}
