#include "data/convert.h"

#include <stdio.h>
#include <string.h>

#include "core/io.h"
#include "core/mem.h"
#include "data/tokenizer.h"

enum { REJECTS_MAX = 1 << 28 };         /* bytes of rejects.tsv */

typedef struct convert {
    const char        *from, *out;
    gq_shard_codec     codec;
    gq_manifest        source, made;
    gq_convert_report *report;
    gq_ticker          tick;
    uint64_t           done;            /* GIFs in finished shards, then one by one */
    gq_dataset        *d;               /* one shard of `from` */
    gq_shard_cursor   *c;
    uint8_t           *frames;
    float             *tokens;
    float             *pooled;          /* of the GIF with most frames */
    int64_t            shared;          /* first vector of the GIF before; -1: none */
} convert;

/* ---- one shard ------------------------------------------------------------------------------- */

static void close_source(convert *v)
{
    gq_shard_cursor_free(v->c);
    gq_dataset_close(v->d);
    gq_free(v->frames);
    gq_free(v->tokens);
    gq_free(v->pooled);
    v->pooled = NULL;
    v->c = NULL;
    v->d = NULL;
    v->frames = NULL;
    v->tokens = NULL;
}

static gq_status open_source(convert *v, int k, gq_error *err)
{
    char     *path = gq_path(v->from, v->source.shard[k].file);
    gq_status s = path ? gq_dataset_open(path, &v->d, err)
                       : gq_fail(err, GQ_ENOMEM, "%s: no memory for a path", v->from);
    gq_free(path);
    if (s == GQ_OK)
        s = gq_shard_cursor_new(v->d, &v->c, err);
    if (s != GQ_OK)
        return s;
    const gq_shard_meta *m = gq_dataset_meta(v->d);
    v->frames = m->size ? gq_malloc(gq_shard_frame_bytes(m), 1) : NULL;
    v->tokens = m->tokens ? gq_malloc(gq_shard_token_count(m), sizeof *v->tokens) : NULL;
    size_t most = 0;
    for (int64_t g = 0; g < gq_dataset_gifs(v->d); g++) {
        gq_shard_gif gif;
        gq_dataset_gif(v->d, g, &gif);
        most = (size_t)gif.pooled_n > most ? (size_t)gif.pooled_n : most;
    }
    v->pooled = most ? gq_malloc(most * (size_t)m->pooled, sizeof *v->pooled) : NULL;
    if ((m->size && !v->frames) || (m->tokens && !v->tokens) || (most && !v->pooled))
        return gq_fail(err, GQ_ENOMEM, "%s: no memory for one GIF", v->from);
    return GQ_OK;
}

/* The vectors of all frames, once for GIFs that share them. */
static gq_status read_pooled(convert *v, int64_t g, gq_shard_gif *gif, gq_error *err)
{
    if (!v->pooled)
        return GQ_OK;
    bool same = gif->pooled_at == v->shared;
    v->shared = gif->pooled_at;
    gif->pooled = v->pooled;
    if (same)
        gif->pooled_n = GQ_SHARD_POOLED_SAME;
    return same ? GQ_OK : gq_dataset_pooled(v->d, v->c, g, v->pooled, err);
}

static gq_status add_gif(convert *v, gq_shard_writer *w, int64_t g, gq_error *err)
{
    gq_shard_gif gif;
    int32_t      index;
    gq_status    s = GQ_OK;
    gq_dataset_gif(v->d, g, &gif);
    if (v->frames)
        s = gq_dataset_frames(v->d, v->c, g, v->frames, err);
    if (s == GQ_OK && v->tokens)
        s = gq_dataset_tokens(v->d, v->c, g, v->tokens, err);
    if (s == GQ_OK)
        s = read_pooled(v, g, &gif, err);
    if (s == GQ_OK)
        s = gq_shard_add_gif(w, &gif, v->frames, v->tokens, &index, err);
    if (s == GQ_OK && !gq_tick(&v->tick, ++v->done, 0))
        s = gq_fail(err, GQ_ESTOPPED,
                    "%s: stopped; %d shards are finished, run it again to continue", v->out,
                    v->made.count);
    return s;
}

/* GIFs [from, to) of the open shard, with their questions. */
static gq_status write_part(convert *v, int64_t from, int64_t to, gq_shard_entry *e, gq_error *err)
{
    gq_shard_meta    m = *gq_dataset_meta(v->d);
    gq_shard_writer *w;
    m.codec = v->codec;
    v->shared = -1;
    gq_status s = gq_shard_writer_open(v->out, v->made.count, &m, &w, err);
    if (s != GQ_OK)
        return s;
    for (int64_t g = from; s == GQ_OK && g < to; g++)
        s = add_gif(v, w, g, err);
    for (int64_t i = 0; s == GQ_OK && i < gq_dataset_count(v->d); i++) {
        gq_qa qa;
        gq_dataset_qa(v->d, i, &qa);
        if (qa.gif < from || qa.gif >= to)
            continue;
        qa.gif -= (int32_t)from;
        s = gq_shard_add_qa(w, &qa, err);
    }
    if (s == GQ_OK)
        return gq_shard_writer_close(w, e, err);
    gq_shard_writer_abort(w);
    return s;
}

static uint32_t lesser(uint32_t a, uint32_t b) { return a < b ? a : b; }

/* What the build counted stays counted: with the last part, as far as it has questions. */
static void inherit(gq_shard_entry *e, gq_shard_entry *left, bool last)
{
    e->next = left->next;
    e->rejects = last ? left->rejects : 0;
    e->rejects_bytes = left->rejects_bytes;
    e->cut_questions = lesser(left->cut_questions, e->questions);
    e->cut_answers = lesser(left->cut_answers, e->questions);
    left->cut_questions -= e->cut_questions;
    left->cut_answers -= e->cut_answers;
}

/* One shard of `from`, of which `skip` GIFs are there already, as one or more. */
static gq_status convert_shard(convert *v, int k, int64_t skip, gq_error *err)
{
    gq_shard_entry left = v->source.shard[k], e;
    int64_t        most = gq_shard_most_gifs(v->codec);
    gq_status      s = open_source(v, k, err);
    for (int64_t at = skip; s == GQ_OK && at < left.gifs;) {
        int64_t to = at + most < left.gifs ? at + most : left.gifs;
        s = write_part(v, at, to, &e, err);
        if (s == GQ_OK) {
            inherit(&e, &left, to == left.gifs);
            s = gq_manifest_add(&v->made, &e, err);
        }
        if (s == GQ_OK)
            s = gq_manifest_save(v->out, &v->made, err);
        at = to;
    }
    close_source(v);
    return s;
}

/* ---- beginning and end ----------------------------------------------------------------------- */

/* What comes along besides shards. */
static gq_status copy_rest(const convert *v, gq_error *err)
{
    char      *from = gq_path(v->from, "rejects.tsv"), *to = gq_path(v->out, "rejects.tsv");
    char      *tok_from = gq_path(v->from, "tokenizer"), *tok_to = gq_path(v->out, "tokenizer");
    gq_bytes   b;
    gq_status  s = from && to && tok_from && tok_to
                       ? GQ_OK
                       : gq_fail(err, GQ_ENOMEM, "%s: no memory for a path", v->out);
    if (s == GQ_OK && gq_is_file(from) && (s = gq_read_file(from, REJECTS_MAX, &b, err)) == GQ_OK) {
        s = gq_write_file(to, b.data, b.size, err);
        gq_bytes_free(&b);
    }
    if (s == GQ_OK && gq_is_dir(tok_from)) {
        gq_tokenizer *tok = NULL;
        s = gq_tokenizer_open(tok_from, &tok, err);
        if (s == GQ_OK)
            s = gq_tokenizer_save(tok, tok_to, err);
        gq_tokenizer_close(tok);
    }
    gq_free(from);
    gq_free(to);
    gq_free(tok_from);
    gq_free(tok_to);
    return s;
}

/* The same id: the same shards. It is that of no build, so that none continues here. */
static void identify(const convert *v, char id[65])
{
    char    text[256] = "";
    uint8_t hash[32];
    if (v->source.count)
        snprintf(text, sizeof text, "converted to %s from %s %s", gq_shard_codec_name[v->codec],
                 v->source.build, v->source.shard[v->source.count - 1].sha256);
    gq_sha256(text, strlen(text), hash);
    gq_hex(hash, sizeof hash, id);
}

static gq_status begin(convert *v, gq_error *err)
{
    char      id[65], *path = gq_path(v->out, "MANIFEST.json");
    gq_status s = path ? GQ_OK : gq_fail(err, GQ_ENOMEM, "%s: no memory for a path", v->out);
    identify(v, id);
    if (s == GQ_OK && gq_is_file(path))
        s = gq_manifest_load(v->out, &v->made, err);
    gq_free(path);
    if (s == GQ_OK && (v->made.count || *v->made.build) && strcmp(v->made.build, id) != 0)
        s = gq_fail(err, GQ_EINPUT,
                    "%s: holds another dataset; choose another directory or remove this one",
                    v->out);
    snprintf(v->made.build, sizeof v->made.build, "%s", id);
    for (int k = 0; s == GQ_OK && k < v->made.count; k++)
        v->done += v->made.shard[k].gifs;
    v->report->continued = (uint32_t)v->made.count;
    return s == GQ_OK && !v->made.complete ? gq_sweep(v->out, ".h5.part", err) : s;
}

static gq_status run(convert *v, gq_error *err)
{
    int64_t   skip;
    gq_status s = gq_manifest_load(v->from, &v->source, err);
    if (s == GQ_OK && !v->source.complete)
        s = gq_fail(err, GQ_EINPUT, "%s: is not finished; run the same gifqa-prep build again",
                    v->from);
    if (s == GQ_OK)
        s = begin(v, err);
    if (s != GQ_OK)
        return s;
    for (int k = 0; k < v->source.count; k++) {
        v->tick.total += v->source.shard[k].gifs;
        v->report->from_bytes += v->source.shard[k].bytes;
    }
    v->tick.skipped = skip = (int64_t)v->done;
    if (!v->made.complete)
        s = copy_rest(v, err);
    for (int k = 0; s == GQ_OK && !v->made.complete && k < v->source.count; k++) {
        int64_t n = v->source.shard[k].gifs;
        if (skip < n)
            s = convert_shard(v, k, skip, err);
        skip = skip < n ? 0 : skip - n;
    }
    if (s == GQ_OK && !v->made.complete) {
        v->made.complete = true;
        s = gq_manifest_save(v->out, &v->made, err);
    }
    return s;
}

gq_status gq_convert(const char *from, const char *out, gq_shard_codec codec,
                     gq_progress_fn progress, void *ctx, gq_convert_report *report, gq_error *err)
{
    gq_convert_report unused;
    convert           v = {.from = from,
                           .out = out,
                           .codec = codec,
                           .report = report ? report : &unused,
                           .tick = {.fn = progress, .ctx = ctx}};
    gq_lock          *lock = NULL;
    double            start = gq_now();
    memset(v.report, 0, sizeof *v.report);
    if (gq_shard_codec_lack(codec))
        return gq_fail(err, GQ_EUSAGE, "%s: %s", out, gq_shard_codec_lack(codec));
    gq_status s = gq_mkdirs(out, err);
    char     *path = s == GQ_OK ? gq_path(out, ".lock") : NULL;
    if (s == GQ_OK)
        s = path ? gq_lock_take(path, &lock, err)
                 : gq_fail(err, GQ_ENOMEM, "%s: no memory for a path", out);
    if (s == GQ_OK)
        s = run(&v, err);
    gq_lock_release(lock);
    gq_free(path);
    for (int k = 0; k < v.made.count; k++) {
        v.report->gifs += v.made.shard[k].gifs;
        v.report->questions += v.made.shard[k].questions;
        v.report->bytes += v.made.shard[k].bytes;
    }
    v.report->shards = (uint32_t)v.made.count;
    v.report->seconds = gq_now() - start;
    gq_manifest_free(&v.source);
    gq_manifest_free(&v.made);
    return s;
}
