#include "data/build.h"

#include <stdio.h>
#include <string.h>

#include "core/mem.h"
#include "data/build_private.h"
#include "data/prompt.h"

enum { AHEAD = 4 };

typedef struct build {
    const gq_build_opts *o;
    gq_build_opts        own;           /* *o with defaults filled in */
    gq_build_report     *report;
    gq_shard_meta        meta;
    gq_items             items;
    gq_manifest          manifest;
    char                 id[65];        /* hash of everything the result depends on */
    gq_append           *rejects;
    char                *rejects_path;
    uint32_t             bad;           /* rows and GIFs, all */
    uint32_t             bad_before;    /* of them, before this shard */
    char                 first_bad[320];
    bool                 own_tokenizer; /* <out>/tokenizer was not there before */
    gq_shard_writer     *writer;        /* NULL between shards */
    uint32_t             in_shard, per_shard;    /* GIFs */
    uint32_t             cut_questions, cut_answers;     /* of this shard */
    gq_worked           *worked;        /* [ahead] */
    int                  ahead;         /* GIFs read in parallel */
    uint32_t             at;            /* first item of those */
    float               *tokens;        /* [T,N,D] */
    bool                 has_pooled;    /* the vectors of this GIF are in this shard */
    gq_prompt_form       form;
    gq_prompt_ids        question, answer;       /* of the row at hand */
    gq_ticker            tick;
} build;

/* ---- rejects --------------------------------------------------------------------------------- */

static gq_status check_bad(build *b, gq_error *err)
{
    if (b->bad <= b->o->max_bad)
        return GQ_OK;
    return gq_fail(err, GQ_EINPUT,
                   "%s: %u bad rows and GIFs, more than data.max_bad = %u; see %s; the last: %s",
                   b->o->table, b->bad, b->o->max_bad, b->rejects_path, b->first_bad);
}

static gq_status reject_row(build *b, const gq_item *it, const gq_item_row *row, const char *reason,
                            gq_error *err)
{
    snprintf(b->first_bad, sizeof b->first_bad, "line %llu: %.280s", (unsigned long long)row->line,
             reason);
    return gq_reject(b->rejects, b->items.texts.base + it->name, row->line, reason, err);
}

/* A bad GIF takes all its rows with it and counts once. */
static gq_status reject_item(build *b, const gq_item *it, const char *reason, gq_error *err)
{
    gq_status s = GQ_OK;
    b->bad++;
    b->report->bad_gifs++;
    for (uint32_t r = it->first; s == GQ_OK && r != UINT32_MAX; r = b->items.row[r].next)
        s = reject_row(b, it, &b->items.row[r], reason, err);
    return s == GQ_OK ? check_bad(b, err) : s;
}

static gq_status reopen_rejects(build *b, gq_error *err)
{
    gq_status s = gq_append_close(b->rejects, err);      /* syncs */
    b->rejects = NULL;
    return s == GQ_OK ? gq_append_open(b->rejects_path, &b->rejects, err) : s;
}

/* ---- text ------------------------------------------------------------------------------------ */

static gq_status encode_row(build *b, const gq_item *it, const gq_item_row *row, gq_qa *qa,
                            gq_error *err)
{
    const char *context =
        b->o->context ? b->o->context(b->o->ctx, b->items.texts.base + it->name) : "";
    gq_status s;
    qa->question = b->items.texts.base + row->question;
    qa->answer = b->items.texts.base + row->answer;
    qa->type = row->type;
    s = gq_prompt_question(&b->form, b->o->tokenizer, qa->question, context, &b->question, err);
    if (s == GQ_OK)
        s = gq_prompt_answer(&b->form, b->o->tokenizer, qa->answer, &b->answer, err);
    if (s != GQ_OK)
        return s;
    qa->q_ids = b->question.ids;
    qa->nq = b->question.n;
    qa->a_ids = b->answer.ids;
    qa->na = b->answer.n;
    return GQ_OK;
}

/* ---- shards ---------------------------------------------------------------------------------- */

static void report_shard(gq_build_report *r, const gq_shard_entry *e)
{
    r->gifs += e->gifs;
    r->questions += e->questions;
    r->cut_questions += e->cut_questions;
    r->cut_answers += e->cut_answers;
    r->bytes += e->bytes;
}

static gq_status finish_shard(build *b, uint32_t next, gq_error *err)
{
    gq_shard_entry   e;
    gq_shard_writer *w = b->writer;
    b->writer = NULL;
    gq_status s = gq_shard_writer_close(w, &e, err);
    if (s == GQ_OK)
        s = reopen_rejects(b, err);
    if (s != GQ_OK)
        return s;
    e.next = next;
    e.rejects = b->bad - b->bad_before;
    e.rejects_bytes = gq_append_size(b->rejects);
    e.cut_questions = b->cut_questions;
    e.cut_answers = b->cut_answers;
    b->bad_before = b->bad;
    b->in_shard = b->cut_questions = b->cut_answers = 0;
    if ((s = gq_manifest_add(&b->manifest, &e, err)) != GQ_OK)
        return s;
    b->report->shards++;
    report_shard(b->report, &e);
    return gq_manifest_save(b->o->out, &b->manifest, err);
}

/* The vectors of all frames, once a GIF. What is wrong with the GIF stays in w->err: it is left out. */
static gq_status add_vectors(build *b, gq_worked *w, gq_shard_gif *gif, gq_error *err)
{
    gq_gif_file file = {gif->name, w->bytes.data, w->bytes.size, w->frames};
    gif->pooled_n = GQ_SHARD_POOLED_SAME;
    if (b->has_pooled)
        return GQ_OK;
    gq_status s = b->o->all_frames(b->o->ctx, &file, &gif->pooled, &gif->pooled_n, &w->err);
    b->has_pooled = s == GQ_OK;
    return s == GQ_OK ? s : gq_fail(err, s, "%s", w->err.text);
}

/* What is in w->choice becomes a row of the shard. */
static gq_status add_gif(build *b, const gq_item *it, gq_worked *w, int32_t *index, gq_error *err)
{
    gq_status    s = GQ_OK;
    gq_shard_gif gif = {.name = b->items.texts.base + it->name,
                        .n_frames = (int32_t)w->frames,
                        .width = (uint16_t)w->width,
                        .height = (uint16_t)w->height,
                        .flags = w->flags,
                        .frame_idx = w->choice.frame,
                        .delay_cs = w->choice.delay_cs};
    memcpy(gif.sha256, w->sha256, sizeof gif.sha256);
    if (b->o->all_frames)               /* first: a bad GIF opens no shard                        */
        s = add_vectors(b, w, &gif, err);
    if (s == GQ_OK && !b->writer)
        s = gq_shard_writer_open(b->o->out, b->manifest.count, &b->meta, &b->writer, err);
    if (s == GQ_OK && b->o->features)
        s = b->o->features(b->o->ctx, w->choice.pixels, b->tokens, err);
    if (s == GQ_OK)
        s = gq_shard_add_gif(b->writer, &gif, b->o->store_frames ? w->choice.pixels : NULL,
                             b->o->features ? b->tokens : NULL, index, err);
    b->in_shard += s == GQ_OK;
    return s;
}

static gq_status add_row(build *b, const gq_item *it, const gq_item_row *row, int32_t gif,
                         gq_error *err)
{
    gq_qa     qa = {.gif = gif};
    gq_error  why = {0};
    gq_status s = encode_row(b, it, row, &qa, &why);
    if (s == GQ_OK) {
        b->cut_questions += b->question.cut;
        b->cut_answers += b->answer.cut;
        return gq_shard_add_qa(b->writer, &qa, err);
    }
    if (s != GQ_EINPUT)
        return gq_fail(err, s, "%s", why.text);
    b->bad++;
    b->report->bad_rows++;
    s = reject_row(b, it, row, why.text, err);
    return s == GQ_OK ? check_bad(b, err) : s;
}

/* ---- one GIF --------------------------------------------------------------------------------- */

/* Without a chooser: everything that needs no order. */
static void work(void *ctx, int64_t tile, int thread)
{
    build     *b = ctx;
    gq_worked *w = &b->worked[tile];
    (void)thread;
    gq_error_clear(&w->err);
    if (b->at + (uint64_t)tile >= b->items.items)
        return;
    const char *name = b->items.texts.base + b->items.item[b->at + (uint32_t)tile].name;
    if (b->o->context) {
        gq_worked_text(w, b->o, name, &w->err);
        return;
    }
    if (gq_worked_open(w, b->o, name, &w->err) != GQ_OK || b->o->choose)
        return;
    gq_frames_evenly(w->frames, b->o->keyframes, w->choice.frame);
    gq_worked_decode(w, b->o, name, &w->err);
}

/* Every question may get frames of its own; equal choices are stored once. */
static gq_status commit_chosen(build *b, const gq_item *it, gq_worked *w, gq_error *err)
{
    size_t         t = (size_t)b->o->keyframes;
    const char    *name = b->items.texts.base + it->name;
    gq_gif_file    file = {name, w->bytes.data, w->bytes.size, w->frames};
    int32_t       *seen = gq_malloc(it->rows, t * sizeof *seen),
            *index = gq_malloc(it->rows, sizeof *index);
    uint32_t       choices = 0, k;
    gq_status      s =
        seen && index ? GQ_OK : gq_fail(err, GQ_ENOMEM, "%s: no memory for its questions", name);
    for (uint32_t r = it->first; s == GQ_OK && r != UINT32_MAX; r = b->items.row[r].next) {
        const gq_item_row *row = &b->items.row[r];
        int32_t           *frame = seen + choices * t;
        gq_error_clear(&w->err);
        s = b->o->choose(b->o->ctx, &file, b->items.texts.base + row->choice, b->o->keyframes, frame,
                         &w->err);
        for (k = 0;
             s == GQ_OK && k < choices && memcmp(seen + k * t, frame, t * sizeof *frame) != 0; k++)
            continue;
        if (s == GQ_OK && k == choices) {
            memcpy(w->choice.frame, frame, t * sizeof *frame);
            if ((s = gq_worked_decode(w, b->o, name, &w->err)) == GQ_OK &&
                (s = add_gif(b, it, w, &index[choices], err)) == GQ_OK)
                choices++;
        }
        if (w->err.code == GQ_EINPUT) {          /* no frames for it: this row only */
            b->bad++;
            b->report->bad_rows++;
            if ((s = reject_row(b, it, row, w->err.text, err)) == GQ_OK)
                s = check_bad(b, err);
        } else if (w->err.code != GQ_OK) {
            s = gq_fail(err, w->err.code, "%s", w->err.text);
        } else if (s == GQ_OK) {
            s = add_row(b, it, row, index[k], err);
        }
    }
    gq_free(seen);
    gq_free(index);
    return s;
}

static gq_status commit(build *b, uint32_t i, gq_worked *w, gq_error *err)
{
    const gq_item *it = &b->items.item[i];
    int32_t        index;
    gq_status      s;
    b->has_pooled = false;
    if (w->err.code == GQ_EINPUT)
        s = reject_item(b, it, w->err.text, err);
    else if (w->err.code != GQ_OK)
        s = gq_fail(err, w->err.code, "%s", w->err.text);
    else if (b->o->choose)
        s = commit_chosen(b, it, w, err);
    else if ((s = add_gif(b, it, w, &index, err)) == GQ_OK)
        for (uint32_t r = it->first; s == GQ_OK && r != UINT32_MAX; r = b->items.row[r].next)
            s = add_row(b, it, &b->items.row[r], index, err);
    else if (w->err.code == GQ_EINPUT) { /* not all of its frames can be read                     */
        gq_error_clear(err);
        s = reject_item(b, it, w->err.text, err);
    }
    if (s == GQ_OK && b->in_shard >= b->per_shard)
        s = finish_shard(b, i + 1, err);
    return s;
}

/* What begin_anew() made, without a shard: it must not stand in the way of a corrected build. The
 * list of rejects stays, it says what to correct. */
static gq_status discard(const build *b, bool tokenizer, gq_error *err)
{
    static const char *const made[] = {"MANIFEST.json", "tokenizer"};
    gq_status                s = GQ_OK;
    for (int k = 0; s == GQ_OK && k < 1 + tokenizer; k++) {
        char *path = gq_path(b->o->out, made[k]);
        s = path ? gq_remove_tree(path, err)
                 : gq_fail(err, GQ_ENOMEM, "%s: no memory for a path", b->o->out);
        gq_free(path);
    }
    return s;
}

static gq_status work_through(build *b, gq_error *err)
{
    uint32_t  n = b->items.items;
    gq_status s = GQ_OK;
    b->tick.total = n;
    b->tick.skipped = b->at;
    for (; s == GQ_OK && b->at < n; b->at += (uint32_t)b->ahead) {
        gq_parallel(b->o->context ? NULL : b->o->pool, b->ahead, work, b);
        for (int k = 0; s == GQ_OK && k < b->ahead && b->at + (uint32_t)k < n; k++) {
            if (!gq_tick(&b->tick, b->at + (uint32_t)k, b->bad))
                return gq_fail(err, GQ_ESTOPPED,
                               "%s: stopped; %d shards are finished, run it again to continue",
                               b->o->out, b->manifest.count);
            s = commit(b, b->at + (uint32_t)k, &b->worked[k], err);
        }
    }
    if (s == GQ_OK && b->writer)
        s = finish_shard(b, n, err);
    if (s != GQ_OK)
        return s;
    gq_tick(&b->tick, n, b->bad);
    if (!b->manifest.count && (s = discard(b, b->own_tokenizer, err)) != GQ_OK)
        return s;
    if (!b->manifest.count)
        return gq_fail(err, GQ_EINPUT, "%s: none of its %u GIFs could be used; see %s", b->o->table,
                       n, b->rejects_path);
    b->manifest.complete = true;
    return gq_manifest_save(b->o->out, &b->manifest, err);
}

/* ---- what it is made from -------------------------------------------------------------------- */

static void describe_text(build *b)
{
    const gq_build_opts *o = b->o;
    gq_shard_meta       *m = &b->meta;
    uint8_t              hash[32];
    snprintf(m->prompt, sizeof m->prompt, "%s", o->template);
    snprintf(m->answer_prefix, sizeof m->answer_prefix, "%s", o->answer_prefix);
    snprintf(m->tokenizer, sizeof m->tokenizer, "%s",
             gq_tokenizer_kind_name(gq_tokenizer_kind(o->tokenizer)));
    gq_tokenizer_hash(o->tokenizer, hash);
    gq_hex(hash, sizeof hash, m->tokenizer_sha256);
}

static void describe(build *b)
{
    const gq_build_opts *o = b->o;
    gq_shard_meta       *m = &b->meta;
    m->keyframes = o->keyframes;
    m->size = o->store_frames ? o->size : 0;
    m->tokens = o->features ? o->tokens : 0;
    m->width = o->features ? o->width : 0;
    m->pooled = o->all_frames ? o->pooled : 0;
    m->bf16 = (o->features || o->all_frames) && o->bf16;
    snprintf(m->pooled_tower, sizeof m->pooled_tower, "%s", o->all_frames ? o->pooled_tower : "");
    m->codec = o->codec;
    snprintf(m->source, sizeof m->source, "%s", o->source ? o->source : "");
    if (!o->context) {                  /* of a set of texts nothing was chosen or resized        */
        snprintf(m->sampler, sizeof m->sampler, "%s", o->choose ? o->chooser : "evenly");
        snprintf(m->preprocess, sizeof m->preprocess, "%s, short side %d, centre",
                 o->filter == GQ_NEAREST ? "nearest" : "pil-bicubic-a-0.5", o->size);
        snprintf(m->matte, sizeof m->matte, "#%02x%02x%02x", o->matte[0], o->matte[1], o->matte[2]);
        snprintf(m->features, sizeof m->features, "%s", o->features ? o->tower : "");
    }
    describe_text(b);
}

/* The same id: the same shards. */
static void identify(build *b)
{
    const gq_build_opts *o = b->o;
    const gq_gif_limits *l = &o->limits;
    char                 text[4096], table[65];
    uint8_t              hash[32];
    gq_hex(b->items.table_sha256, 32, table);
    int n = snprintf(
        text, sizeof text, "%d|%s|%s|T%d S%d f%d|%d %d %d %d %d|%u|%d %d|%llu %u %llu %u %g|%u|",
        GQ_SHARD_VERSION, table, o->context ? o->contexts_sha256 : o->gifs, o->keyframes, o->size,
        (int)o->filter, b->meta.size, b->meta.tokens, b->meta.width, b->meta.bf16, (int)b->meta.codec, b->per_shard,
        o->max_question, o->max_answer, (unsigned long long)l->max_bytes, l->max_side,
        (unsigned long long)l->max_pixels_total, l->max_frames, l->max_seconds, b->meta.ntypes);
    if (n > 0 && n < (int)sizeof text)
        snprintf(text + n, sizeof text - (size_t)n, "%s|%s|%s|%s|%s|%s|%s", b->meta.sampler,
                 b->meta.matte, b->meta.features, b->meta.prompt, b->meta.answer_prefix,
                 b->meta.tokenizer_sha256, b->meta.source);
    n = (int)strlen(text);
    if (b->meta.pooled)
        snprintf(text + n, sizeof text - (size_t)n, "|%d %s", b->meta.pooled, b->meta.pooled_tower);
    gq_sha256(text, strlen(text), hash);
    gq_hex(hash, sizeof hash, b->id);
}

static gq_status check_opts(const gq_build_opts *o, gq_error *err)
{
    if (!o->store_frames && !o->features && !o->context)
        return gq_fail(err, GQ_EUSAGE, "%s: a dataset needs frames or features", o->out);
    if (o->context && (o->store_frames || o->features || o->choose || o->all_frames ||
                       o->keyframes != 1))
        return gq_fail(err, GQ_EUSAGE, "%s: a set of texts has no frames", o->out);
    if (o->context && !o->contexts_sha256)
        return gq_fail(err, GQ_EUSAGE, "%s: contexts without their hash cannot be told apart",
                       o->out);
    if (o->keyframes < 1 || o->keyframes > 4096 || o->size < 1 || o->size > 4096)
        return gq_fail(err, GQ_EUSAGE, "%s: %d frames of %d pixels", o->out, o->keyframes, o->size);
    if (o->max_question < 1 || o->max_answer < 1)
        return gq_fail(err, GQ_EUSAGE, "%s: at least one token of question and answer is kept",
                       o->out);
    if (strlen(o->template) >= sizeof((gq_shard_meta *)0)->prompt ||
        strlen(o->answer_prefix) >= sizeof((gq_shard_meta *)0)->answer_prefix)
        return gq_fail(err, GQ_EUSAGE, "%s: the template of questions or answers is too long",
                       o->out);
    if (!o->context && !gq_is_dir(o->gifs))
        return gq_fail(err, GQ_EINPUT, "%s: is not a directory of GIFs", o->gifs);
    return GQ_OK;
}

static size_t row_bytes(const gq_shard_meta *m)
{
    return gq_shard_frame_bytes(m) + gq_shard_token_count(m) * (m->bf16 ? 2 : 4);
}

/* Better now than after an hour. */
static gq_status check_space(const build *b, gq_error *err)
{
    uint64_t  free_bytes, need = (uint64_t)(b->items.items - b->at) * row_bytes(&b->meta);
    gq_status s = gq_free_space(b->o->out, &free_bytes, err);
    if (s != GQ_OK || b->o->codec != GQ_CODEC_NONE || need <= free_bytes)
        return s;
    return gq_fail(err, GQ_EDISK, "%s: %u GIFs need about %llu MiB, %llu MiB are free", b->o->out,
                   b->items.items, (unsigned long long)(need >> 20),
                   (unsigned long long)(free_bytes >> 20));
}

/* What a killed builder left; the lock is ours. */
static gq_status sweep(const char *dir, gq_error *err)
{
    char     *tokenizer = gq_path(dir, "tokenizer");
    gq_status s = tokenizer ? gq_refuse_link(tokenizer, err)
                            : gq_fail(err, GQ_ENOMEM, "%s: no memory for a path", dir);
    if (s == GQ_OK)
        s = gq_sweep(dir, ".h5.part", err);
    if (s == GQ_OK && gq_is_dir(tokenizer))
        s = gq_sweep(tokenizer, NULL, err);
    gq_free(tokenizer);
    return s;
}

/* ---- beginning, again or anew ---------------------------------------------------------------- */

static gq_status begin_anew(build *b, gq_error *err)
{
    gq_items  again;
    char     *dir = gq_path(b->o->out, "tokenizer");
    b->own_tokenizer = dir && !gq_is_dir(dir);
    gq_status s = dir ? gq_tokenizer_save(b->o->tokenizer, dir, err)
                      : gq_fail(err, GQ_ENOMEM, "%s: no memory for a path", b->o->out);
    gq_free(dir);
    if (s == GQ_OK)
        s = gq_append_truncate(b->rejects, 0, err);
    if (s == GQ_OK)
        s = gq_append_line(b->rejects, "file\tline\treason", err);
    if (s == GQ_OK && b->items.bad_rows) { /* its first reading, to know what it is, was silent */
        gq_shard_meta unused = b->meta;
        if ((s = gq_items_read(b->o, &unused, b->rejects, &again, err)) == GQ_OK)
            gq_items_free(&again);
        snprintf(b->first_bad, sizeof b->first_bad, "a row of the table");
    }
    snprintf(b->manifest.build, sizeof b->manifest.build, "%s", b->id);
    return s == GQ_OK ? gq_manifest_save(b->o->out, &b->manifest, err) : s;
}

static gq_status continue_after(build *b, gq_error *err)
{
    const gq_shard_entry *last = &b->manifest.shard[b->manifest.count - 1];
    if (last->next > b->items.items)
        return gq_fail(err, GQ_EINPUT, "%s/MANIFEST.json: names GIF %u of %u; remove the directory",
                       b->o->out, last->next, b->items.items);
    for (int k = 0; k < b->manifest.count; k++) {
        const gq_shard_entry *e = &b->manifest.shard[k];
        b->report->bad_gifs += e->rejects;
        report_shard(b->report, e);
    }
    b->bad += b->report->bad_gifs;
    b->report->shards = b->report->continued = (uint32_t)b->manifest.count;
    b->report->already = b->manifest.complete;
    b->at = last->next;
    return b->manifest.complete ? GQ_OK : gq_append_truncate(b->rejects, last->rejects_bytes, err);
}

static gq_status begin(build *b, gq_error *err)
{
    char     *path = gq_path(b->o->out, "MANIFEST.json");
    gq_status s = path ? GQ_OK : gq_fail(err, GQ_ENOMEM, "%s: no memory for a path", b->o->out);
    if (s == GQ_OK && gq_is_file(path))
        s = gq_manifest_load(b->o->out, &b->manifest, err);
    gq_free(path);
    if (s != GQ_OK)
        return s;
    bool other = *b->manifest.build && strcmp(b->manifest.build, b->id) != 0;
    if (other && b->manifest.count)
        return gq_fail(
            err, GQ_EINPUT,
            "%s: holds another dataset (table, options or vocabulary differ); choose another "
            "directory or remove this one",
            b->o->out);
    if (other && (s = discard(b, true, err)) != GQ_OK)
        return s;
    b->bad = b->report->bad_rows = b->items.bad_rows;
    s = b->manifest.count ? continue_after(b, err) : begin_anew(b, err);
    b->bad_before = b->bad;
    return s == GQ_OK ? check_bad(b, err) : s;
}

static gq_status make_buffers(build *b, gq_error *err)
{
    gq_status s = GQ_OK;
    int       ahead = b->o->pool && !b->o->choose ? AHEAD * gq_pool_size(b->o->pool) : 1;
    b->worked = gq_calloc((size_t)ahead, sizeof *b->worked);
    b->tokens =
        b->o->features ? gq_malloc(gq_shard_token_count(&b->meta), sizeof *b->tokens) : NULL;
    if (!b->worked || (b->o->features && !b->tokens))
        return gq_fail(err, GQ_ENOMEM, "%s: no memory to build it", b->o->out);
    for (; s == GQ_OK && b->ahead < ahead; b->ahead += s == GQ_OK)
        s = gq_worked_init(&b->worked[b->ahead], b->o, err);
    return s;
}

static gq_status run(build *b, gq_error *err)
{
    gq_status s;
    describe(b);
    if ((s = gq_items_read(b->o, &b->meta, NULL, &b->items, err)) != GQ_OK)
        return s;
    uint64_t limit = b->o->shard_bytes ? b->o->shard_bytes : 1ull << 30,
             bytes = row_bytes(&b->meta);
    uint32_t most = gq_shard_most_gifs(b->o->codec);
    uint64_t per = bytes ? limit / bytes : most;
    b->per_shard = per < 1 ? 1 : per > most ? most : (uint32_t)per;
    identify(b);
    b->rejects_path = gq_path(b->o->out, "rejects.tsv");
    if (!b->rejects_path)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory for a path", b->o->out);
    if ((s = gq_append_open(b->rejects_path, &b->rejects, err)) != GQ_OK ||
        (s = begin(b, err)) != GQ_OK || b->manifest.complete)
        return s;
    if ((s = check_space(b, err)) != GQ_OK || (s = make_buffers(b, err)) != GQ_OK)
        return s;
    return work_through(b, err);
}

gq_status gq_build(const gq_build_opts *o, gq_build_report *report, gq_error *err)
{
    gq_build_report unused;
    build           b = {.own = *o, .report = report ? report : &unused};
    gq_lock        *lock = NULL;
    double          start = gq_now();
    b.o = &b.own;
    if (!b.own.limits.max_bytes)
        b.own.limits = gq_gif_limits_default();
    b.form = (gq_prompt_form){o->template, o->answer_prefix, o->max_question, o->max_answer};
    b.tick = (gq_ticker){.fn = o->progress, .ctx = o->progress_ctx};
    memset(b.report, 0, sizeof *b.report);
    gq_status s = check_opts(o, err);
    if (s == GQ_OK)
        s = gq_mkdirs(o->out, err);
    if (s != GQ_OK)
        return s;
    char *path = gq_path(o->out, ".lock");
    s = path ? gq_lock_take(path, &lock, err)
             : gq_fail(err, GQ_ENOMEM, "%s: no memory for a path", o->out);
    if (s == GQ_OK)
        s = sweep(o->out, err);
    if (s == GQ_OK)
        s = run(&b, err);
    gq_shard_writer_abort(b.writer);
    gq_status closed = gq_append_close(b.rejects, err);
    for (int k = 0; k < b.ahead; k++)
        gq_worked_free(&b.worked[k]);
    gq_free(b.worked);
    gq_free(b.tokens);
    gq_prompt_ids_free(&b.question);
    gq_prompt_ids_free(&b.answer);
    gq_free(b.rejects_path);
    gq_items_free(&b.items);
    gq_manifest_free(&b.manifest);
    gq_lock_release(lock);
    gq_free(path);
    b.report->seconds = gq_now() - start;
    return s == GQ_OK ? closed : s;
}
