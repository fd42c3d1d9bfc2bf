/* Writes one shard: rows go to disk as they come, the small arrays wait in memory until the end. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/bf16.h"
#include "core/io.h"
#include "core/mem.h"
#include "data/shard_private.h"

typedef struct pile {                   /* a growing array */
    uint8_t *data;
    size_t   size, room;                /* bytes */
} pile;

typedef struct texts { pile flat, off; } texts;              /* off: i64, without the last one */

typedef struct rowset {
    gq_h5_rows *rows;                   /* NULL: not stored */
    pile        hash;                   /* u64 per row */
    gq_row_form form;
} rowset;

struct gq_shard_writer {
    char         *part, *path;          /* file being written, final name */
    int           number;
    gq_shard_meta meta;
    gq_h5        *f;
    rowset        set[GQ_SETS];
    uint16_t     *half;                 /* [T, N, D], one GIF's tokens as bfloat16 */
    uint8_t      *block;                /* [64, P] vectors as stored, that wait for their row */
    int64_t       pooled;               /* vectors so far */
    int64_t       pooled_at;            /* first one of the last GIF that had its own */
    int32_t       pooled_n;             /* and how many those are */
    gq_packer    *packer;               /* NULL: rows are stored as they are */
    int64_t       gifs, questions;
    pile          frame_idx, delay_cs, n_frames, wh, flags, sha256, all_at, all_n;
    texts         name;
    pile          qa_gif, qa_type;
    texts         q_tok, a_tok, q_text, a_text;
};

static gq_status grow(gq_shard_writer *w, pile *p, const void *data, size_t bytes, gq_error *err)
{
    if (p->room - p->size < bytes) {
        size_t   room = p->room + p->room / 2 + bytes + 4096;
        uint8_t *more = gq_realloc(p->data, room, 1);
        if (!more)
            return gq_fail(err, GQ_ENOMEM, "%s: no memory for %zu bytes of text and numbers",
                           w->path, room);
        p->data = more;
        p->room = room;
    }
    if (bytes)
        memcpy(p->data + p->size, data, bytes);
    p->size += bytes;
    return GQ_OK;
}

static gq_status grow_text(gq_shard_writer *w, texts *t, size_t unit, const void *data, size_t n,
                           gq_error *err)
{
    int64_t   at = (int64_t)(t->flat.size / unit);
    gq_status s = grow(w, &t->off, &at, sizeof at, err);
    return s == GQ_OK ? grow(w, &t->flat, data, n * unit, err) : s;
}

static void writer_free(gq_shard_writer *w)
{
    pile *all[] = {&w->frame_idx,   &w->delay_cs,   &w->n_frames,    &w->wh,
                   &w->flags,       &w->sha256,     &w->name.flat,   &w->name.off,
                   &w->qa_gif,      &w->qa_type,    &w->q_tok.flat,  &w->q_tok.off,
                   &w->a_tok.flat,  &w->a_tok.off,  &w->q_text.flat, &w->q_text.off,
                   &w->a_text.flat, &w->a_text.off, &w->all_at,      &w->all_n};
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        gq_free(all[k]->data);
    for (int k = 0; k < GQ_SETS; k++)
        gq_free(w->set[k].hash.data);
    gq_free(w->block);
    gq_free(w->half);
    gq__packer_free(w->packer);
    gq_free(w->part);
    gq_free(w->path);
    gq_free(w);
}

void gq_shard_writer_abort(gq_shard_writer *w)
{
    if (!w)
        return;
    for (int k = 0; k < GQ_SETS; k++)
        gq_h5_rows_end(w->set[k].rows, NULL);
    gq_h5_close(w->f);
    unlink(w->part);
    writer_free(w);
}

static gq_status begin_rows(gq_shard_writer *w, gq_error *err)
{
    gq_h5_type  type;
    gq_h5_shape row;
    gq_status   s = GQ_OK;
    for (int k = 0; s == GQ_OK && k < GQ_SETS; k++) {
        rowset            *set = &w->set[k];
        const gq_row_form *f = &set->form;
        gq_shard_form(&w->meta, (gq_set_id)k, &type, &row);
        if (!f->bytes)
            continue;
        s = gq_h5_rows_begin(w->f, gq_set_name[k], type, &row, f->pack, f->stride, &set->rows, err);
        if (s == GQ_OK)
            s = gq_h5_rows_put_text(set->rows, "stored", gq__codec_note(f->pack), err);
    }
    return s;
}

static gq_status writer_buffers(gq_shard_writer *w, gq_error *err)
{
    const gq_shard_meta *m = &w->meta;
    const gq_row_form   *forms[GQ_SETS];
    gq_h5_type           type;
    gq_h5_shape          row;
    for (int k = 0; k < GQ_SETS; k++) {
        w->set[k].form = gq_shard_form(m, (gq_set_id)k, &type, &row);
        forms[k] = &w->set[k].form;
    }
    w->half = m->bf16 ? gq_malloc(gq_shard_token_count(m), sizeof *w->half) : NULL;
    w->block = m->pooled ? gq_malloc(forms[GQ_SET_POOLED]->bytes, 1) : NULL;
    if ((m->bf16 && !w->half) || (m->pooled && !w->block))
        return gq_fail(err, GQ_ENOMEM, "%s: no memory to write a shard", w->path);
    return gq__packer_new(forms, GQ_SETS, true, &w->packer, err);
}

gq_status gq_shard_writer_open(const char *dir, int number, const gq_shard_meta *meta,
                               gq_shard_writer **out, gq_error *err)
{
    char      name[32], part[40];
    gq_status s;
    *out = NULL;
    if ((s = gq_shard_check_meta(meta, dir, GQ_EUSAGE, err)) != GQ_OK)
        return s;
    gq_shard_writer *w = gq_calloc(1, sizeof *w);
    if (!w)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory to write a shard", dir);
    snprintf(name, sizeof name, "shard-%05d.h5", number);
    snprintf(part, sizeof part, "%s.part", name);
    w->number = number;
    w->meta = *meta;
    w->path = gq_path(dir, name);
    w->part = gq_path(dir, part);
    s = w->path && w->part ? writer_buffers(w, err)
                           : gq_fail(err, GQ_ENOMEM, "%s: no memory to write a shard", dir);
    if (s != GQ_OK) {
        writer_free(w);
        return s;
    }
    if ((s = gq_h5_create(w->part, &w->f, err)) == GQ_OK)
        s = begin_rows(w, err);
    if (s != GQ_OK) {
        gq_shard_writer_abort(w);
        return s;
    }
    *out = w;
    return GQ_OK;
}

/* ---- adding ---------------------------------------------------------------------------------- */

static void narrow(uint16_t *to, const float *from, size_t n)
{
    for (size_t k = 0; k < n; k++)
        to[k] = gq_f32_to_bf16(from[k]);
}

static gq_status add_row(gq_shard_writer *w, rowset *set, const void *data, gq_error *err)
{
    const void *stored = data;
    size_t      bytes = set->form.bytes;
    gq_status   s = GQ_OK;
    if (w->packer)
        s = gq__pack(w->packer, &set->form, data, &stored, &bytes, w->path, err);
    if (s != GQ_OK)
        return s;
    uint64_t hash = gq_xxh64(stored, bytes);
    s = gq_h5_rows_add(set->rows, stored, bytes, err);
    return s == GQ_OK ? grow(w, &set->hash, &hash, sizeof hash, err) : s;
}

static gq_status check_gif(const gq_shard_writer *w, const gq_shard_gif *g, bool frames,
                           bool tokens, gq_error *err)
{
    if (frames != (w->meta.size > 0) || tokens != (w->meta.tokens > 0))
        return gq_fail(err, GQ_EUSAGE,
                       "%s: '%s' comes %s frames and %s features, the shard stores otherwise",
                       w->path, g->name, frames ? "with" : "without", tokens ? "with" : "without");
    if (!*g->name || strlen(g->name) > 4096)
        return gq_fail(err, GQ_EUSAGE, "%s: a GIF's name has 1..4096 bytes", w->path);
    bool same = g->pooled_n == GQ_SHARD_POOLED_SAME && w->pooled_n;
    if (w->meta.pooled ? !same && g->pooled_n < 1 : g->pooled_n != 0)
        return gq_fail(err, GQ_EUSAGE, "%s: '%s' comes with %d vectors of its frames", w->path,
                       g->name, g->pooled_n);
    for (int t = 0; t < w->meta.keyframes; t++)
        if (g->frame_idx[t] < 0 || g->frame_idx[t] >= g->n_frames ||
            (t && g->frame_idx[t] < g->frame_idx[t - 1]))
            return gq_fail(err, GQ_EUSAGE,
                           "%s: keyframe %d of '%s' is frame %d of %d: not in order or not there",
                           w->path, t, g->name, g->frame_idx[t], g->n_frames);
    return w->gifs < INT32_MAX
               ? GQ_OK
               : gq_fail(err, GQ_EUSAGE, "%s: too many GIFs for one shard", w->path);
}

static gq_status write_block(gq_shard_writer *w, gq_error *err)
{
    return add_row(w, &w->set[GQ_SET_POOLED], w->block, err);
}

/* Vectors go into the block at hand; a full one is a row. */
static gq_status add_pooled(gq_shard_writer *w, const gq_shard_gif *g, gq_error *err)
{
    size_t    p = (size_t)w->meta.pooled, number = w->set[GQ_SET_POOLED].form.element;
    gq_status s = GQ_OK;
    if (!p)
        return GQ_OK;
    if (g->pooled_n != GQ_SHARD_POOLED_SAME) {
        w->pooled_at = w->pooled;
        w->pooled_n = g->pooled_n;
    }
    for (int32_t i = 0; s == GQ_OK && i < g->pooled_n; i++) {
        uint8_t *to = w->block + (size_t)(w->pooled % GQ_SHARD_BLOCK) * p * number;
        if (w->meta.bf16)
            narrow((uint16_t *)(void *)to, g->pooled + (size_t)i * p, p);
        else
            memcpy(to, g->pooled + (size_t)i * p, p * number);
        if (++w->pooled % GQ_SHARD_BLOCK == 0)
            s = write_block(w, err);
    }
    if (s == GQ_OK)
        s = grow(w, &w->all_at, &w->pooled_at, sizeof w->pooled_at, err);
    return s == GQ_OK ? grow(w, &w->all_n, &w->pooled_n, sizeof w->pooled_n, err) : s;
}

gq_status gq_shard_add_gif(gq_shard_writer *w, const gq_shard_gif *g, const uint8_t *frames,
                           const float *tokens, int32_t *index, gq_error *err)
{
    size_t    t = (size_t)w->meta.keyframes, n = gq_shard_token_count(&w->meta);
    uint16_t  wh[2] = {g->width, g->height};
    gq_status s = check_gif(w, g, frames, tokens, err);
    if (s == GQ_OK && frames)
        s = add_row(w, &w->set[GQ_SET_FRAMES], frames, err);
    if (s == GQ_OK && tokens) {
        if (w->half)
            narrow(w->half, tokens, n);
        s = add_row(w, &w->set[GQ_SET_TOKENS], w->half ? (const void *)w->half : tokens, err);
    }
    if (s != GQ_OK || (s = add_pooled(w, g, err)) != GQ_OK ||
        (s = grow(w, &w->frame_idx, g->frame_idx, t * sizeof *g->frame_idx, err)) != GQ_OK ||
        (s = grow(w, &w->delay_cs, g->delay_cs, t * sizeof *g->delay_cs, err)) != GQ_OK ||
        (s = grow(w, &w->n_frames, &g->n_frames, sizeof g->n_frames, err)) != GQ_OK ||
        (s = grow(w, &w->wh, wh, sizeof wh, err)) != GQ_OK ||
        (s = grow(w, &w->flags, &g->flags, sizeof g->flags, err)) != GQ_OK ||
        (s = grow(w, &w->sha256, g->sha256, sizeof g->sha256, err)) != GQ_OK ||
        (s = grow_text(w, &w->name, 1, g->name, strlen(g->name), err)) != GQ_OK)
        return s;
    *index = (int32_t)w->gifs++;
    return GQ_OK;
}

gq_status gq_shard_add_qa(gq_shard_writer *w, const gq_qa *q, gq_error *err)
{
    gq_status s;
    if (q->gif < 0 || q->gif >= w->gifs || q->type < 0 || q->type >= w->meta.ntypes || q->nq < 0 ||
        q->na < 0)
        return gq_fail(err, GQ_EUSAGE, "%s: question %lld: GIF %d or type %d does not exist",
                       w->path, (long long)w->questions, q->gif, q->type);
    if ((s = grow(w, &w->qa_gif, &q->gif, sizeof q->gif, err)) != GQ_OK ||
        (s = grow(w, &w->qa_type, &q->type, sizeof q->type, err)) != GQ_OK ||
        (s = grow_text(w, &w->q_tok, sizeof *q->q_ids, q->q_ids, (size_t)q->nq, err)) != GQ_OK ||
        (s = grow_text(w, &w->a_tok, sizeof *q->a_ids, q->a_ids, (size_t)q->na, err)) != GQ_OK ||
        (s = grow_text(w, &w->q_text, 1, q->question, strlen(q->question), err)) != GQ_OK ||
        (s = grow_text(w, &w->a_text, 1, q->answer, strlen(q->answer), err)) != GQ_OK)
        return s;
    w->questions++;
    return GQ_OK;
}

/* ---- finishing ------------------------------------------------------------------------------- */

static gq_status put(gq_shard_writer *w, const char *name, gq_h5_type type, uint64_t n,
                     uint64_t columns, const pile *p, gq_error *err)
{
    gq_h5_shape shape = {columns > 1 ? 2 : 1, {n, columns}};
    return gq_h5_put_array(w->f, name, type, &shape, p->data, err);
}

static gq_status put_texts(gq_shard_writer *w, const char *flat, const char *off, gq_h5_type type,
                           int64_t n, texts *t, gq_error *err)
{
    int64_t   end = (int64_t)(t->flat.size / gq_h5_size(type));
    gq_status s = grow(w, &t->off, &end, sizeof end, err);
    if (s == GQ_OK)
        s = put(w, flat, type, (uint64_t)end, 1, &t->flat, err);
    return s == GQ_OK ? put(w, off, GQ_H5_I64, (uint64_t)n + 1, 1, &t->off, err) : s;
}

static gq_status put_arrays(gq_shard_writer *w, gq_error *err)
{
    uint64_t  g = (uint64_t)w->gifs, q = (uint64_t)w->questions, t = (uint64_t)w->meta.keyframes;
    gq_h5_shape per_frame = {2, {g, t}};         /* two axes also when T is 1 */
    gq_status s;
    for (int k = 0; k < GQ_SETS; k++) {
        rowset *set = &w->set[k];
        uint64_t n = set->hash.size / sizeof(uint64_t);
        if (set->rows &&
            (s = put(w, gq_set_hash_name[k], GQ_H5_U64, n, 1, &set->hash, err)) != GQ_OK)
            return s;
    }
    if (w->meta.pooled &&
        ((s = put(w, "gif/pooled_at", GQ_H5_I64, g, 1, &w->all_at, err)) != GQ_OK ||
         (s = put(w, "gif/pooled_n", GQ_H5_I32, g, 1, &w->all_n, err)) != GQ_OK))
        return s;
    if ((s = gq_h5_put_array(w->f, "gif/frame_idx", GQ_H5_I32, &per_frame, w->frame_idx.data,
                             err)) != GQ_OK ||
        (s = gq_h5_put_array(w->f, "gif/delay_cs", GQ_H5_U16, &per_frame, w->delay_cs.data, err)) !=
            GQ_OK ||
        (s = put(w, "gif/n_frames", GQ_H5_I32, g, 1, &w->n_frames, err)) != GQ_OK ||
        (s = put(w, "gif/wh", GQ_H5_U16, g, 2, &w->wh, err)) != GQ_OK ||
        (s = put(w, "gif/flags", GQ_H5_U32, g, 1, &w->flags, err)) != GQ_OK ||
        (s = put(w, "gif/sha256", GQ_H5_U8, g, 32, &w->sha256, err)) != GQ_OK ||
        (s = put_texts(w, "gif/name", "gif/name_off", GQ_H5_U8, w->gifs, &w->name, err)) != GQ_OK ||
        (s = put(w, "qa/gif", GQ_H5_I32, q, 1, &w->qa_gif, err)) != GQ_OK ||
        (s = put(w, "qa/type", GQ_H5_I32, q, 1, &w->qa_type, err)) != GQ_OK ||
        (s = put_texts(w, "qa/q_tok", "qa/q_off", GQ_H5_I32, w->questions, &w->q_tok, err)) !=
            GQ_OK ||
        (s = put_texts(w, "qa/a_tok", "qa/a_off", GQ_H5_I32, w->questions, &w->a_tok, err)) !=
            GQ_OK ||
        (s = put_texts(w, "qa/q_text", "qa/q_text_off", GQ_H5_U8, w->questions, &w->q_text, err)) !=
            GQ_OK ||
        (s = put_texts(w, "qa/a_text", "qa/a_text_off", GQ_H5_U8, w->questions, &w->a_text, err)) !=
            GQ_OK)
        return s;
    return gq_shard_put_meta(w->f, &w->meta, g, q, err);
}

/* libhdf5 reports success on a full disk, so nothing counts until it was read again. */
static gq_status read_back(const gq_shard_writer *w, gq_shard_entry *e, gq_error *err)
{
    gq_shard *s = NULL;
    gq_status st = gq_shard_open(w->part, NULL, &s, err);
    if (st != GQ_OK)
        return st;
    if (s->gifs != w->gifs || s->questions != w->questions)
        st = gq_fail(err, GQ_EDISK, "%s: holds %lld GIFs after %lld were written", w->part,
                     (long long)s->gifs, (long long)w->gifs);
    for (int k = 0; st == GQ_OK && k < GQ_SETS; k++)
        if (s->set[k].rows && memcmp(s->set[k].hash, w->set[k].hash.data, w->set[k].hash.size))
            st = gq_fail(err, GQ_EDISK, "%s: other checksums on disk than were written", w->part);
    if (st == GQ_OK)
        st = gq_shard_rows(s, err);
    if (st == GQ_OK)
        st = gq_shard_map(s, e, err);
    gq_shard_free(s);
    return st;
}

static gq_status describe(const gq_shard_writer *w, gq_shard_entry *e, gq_error *err)
{
    uint8_t   hash[32];
    gq_status s = gq_sha256_file(w->part, &e->bytes, hash, err);
    snprintf(e->file, sizeof e->file, "shard-%05d.h5", w->number);
    gq_hex(hash, sizeof hash, e->sha256);
    e->gifs = (uint32_t)w->gifs;
    e->questions = (uint32_t)w->questions;
    return s;
}

gq_status gq_shard_writer_close(gq_shard_writer *w, gq_shard_entry *entry, gq_error *err)
{
    memset(entry, 0, sizeof *entry);
    size_t    rest = (size_t)(w->pooled % GQ_SHARD_BLOCK);
    gq_status s = GQ_OK;
    if (rest) {
        size_t vector = w->set[GQ_SET_POOLED].form.bytes / GQ_SHARD_BLOCK;
        memset(w->block + rest * vector, 0, (GQ_SHARD_BLOCK - rest) * vector);
        s = write_block(w, err);
    }
    if (s == GQ_OK)
        s = put_arrays(w, err);
    for (int k = 0; k < GQ_SETS; k++) {
        gq_status end = gq_h5_rows_end(w->set[k].rows, err);
        s = s == GQ_OK ? end : s;
    }
    gq_status closed = gq_h5_finish(w->f, err);
    s = s == GQ_OK ? closed : s;
    w->f = NULL;
    if (s == GQ_OK)
        s = read_back(w, entry, err);
    if (s == GQ_OK)
        s = describe(w, entry, err);
    if (s == GQ_OK)
        s = gq_rename(w->part, w->path, err);
    if (s != GQ_OK)
        unlink(w->part);
    writer_free(w);
    return s;
}
