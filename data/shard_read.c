/* One open shard: arrays in memory, rows by pread. No lock, no libhdf5 after opening. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/io.h"
#include "core/mem.h"
#include "data/shard_private.h"
#include "data/unicode.h"

struct gq_shard_cursor {
    uint8_t   *stored; /* [room], one chunk as it lies in the file; NULL: never packed */
    size_t     room;                    /* bytes */
    gq_packer *packer;                  /* NULL: never packed */
    void      *block;                   /* one row of GQ_SET_POOLED; NULL: there are none */
};

/* ---- cursor ---------------------------------------------------------------------------------- */

static size_t largest_chunk(const gq_rowset *set)
{
    size_t most = 0;
    for (int64_t i = 0; i < set->rows; i++)
        if (set->chunk[i].bytes > most)
            most = (size_t)set->chunk[i].bytes;
    return most;
}

/* Unpackers for what any of the shards holds. */
static gq_status open_packer(const gq_shard *const *shard, int count, gq_packer **out,
                             gq_error *err)
{
    const gq_row_form **forms = gq_malloc(GQ_SETS * (size_t)count, sizeof *forms);
    if (!forms)
        return gq_fail(err, GQ_ENOMEM, "no memory to read shards");
    for (int k = 0; k < GQ_SETS * count; k++)
        forms[k] = &shard[k / GQ_SETS]->set[k % GQ_SETS].form;
    gq_status s = gq__packer_new(forms, GQ_SETS * count, false, out, err);
    gq_free(forms);
    return s;
}

gq_status gq_shard_cursor_for(const gq_shard *const *shard, int count, gq_shard_cursor **out,
                              gq_error *err)
{
    gq_shard_cursor *c = *out = gq_calloc(1, sizeof *c);
    size_t           block = 0;
    if (!c)
        return gq_fail(err, GQ_ENOMEM, "no memory to read shards");
    for (int k = 0; k < count; k++) {
        const gq_rowset *set = shard[k]->set;
        for (int j = 0; j < GQ_SETS; j++) {
            size_t most = largest_chunk(&set[j]);
            c->room = most > c->room ? most : c->room;
        }
        if (set[GQ_SET_POOLED].rows && set[GQ_SET_POOLED].form.bytes > block)
            block = set[GQ_SET_POOLED].form.bytes;
    }
    gq_status s = open_packer(shard, count, &c->packer, err);
    if (s == GQ_OK && ((c->packer && !(c->stored = gq_malloc(c->room, 1))) ||
                       (block && !(c->block = gq_malloc(block, 1)))))
        s = gq_fail(err, GQ_ENOMEM, "no memory to unpack shards");
    if (s != GQ_OK) {
        gq_shard_cursor_free(c);
        *out = NULL;
    }
    return s;
}

void gq_shard_cursor_free(gq_shard_cursor *c)
{
    if (!c)
        return;
    gq__packer_free(c->packer);
    gq_free(c->stored);
    gq_free(c->block);
    gq_free(c);
}

/* ---- rows ------------------------------------------------------------------------------------ */

static gq_status read_at(const gq_shard *s, uint64_t at, void *dst, size_t bytes, gq_error *err)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t n = pread(s->fd, (uint8_t *)dst + done, bytes - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return gq_fail(err, errno == EIO ? GQ_EDISK : GQ_EINPUT,
                           "%s: cannot read at byte %llu: %s", s->path,
                           (unsigned long long)(at + done), strerror(errno));
        if (n == 0)
            return gq_fail(err, GQ_EINPUT, "%s: ends at byte %llu, it was cut while in use",
                           s->path, (unsigned long long)(at + done));
        done += (size_t)n;
    }
    return GQ_OK;
}

/* What is wrong with a row. */
static gq_status row_fail(const gq_shard *s, gq_set_id set, int64_t row, gq_error *err,
                          const char *what)
{
    const char *gif =
        set == GQ_SET_POOLED ? "vectors of 64 frames" : s->name.text + s->name.off[row];
    return gq_fail(err, GQ_EINPUT, "%s: %s: row %lld (%s): %s; build it again", s->path,
                   s->set[set].name, (long long)row, gif, what);
}

gq_status gq_shard_row(const gq_shard *s, gq_set_id id, int64_t row, gq_shard_cursor *c, void *dst,
                       gq_error *err)
{
    const gq_rowset *set = &s->set[id];
    gq_h5_chunk      chunk = set->chunk[row];
    size_t           n = (size_t)chunk.bytes;
    bool             packed = set->form.pack != GQ_H5_PLAIN;
    void            *stored = packed ? c->stored : dst;
    const char      *why;
    gq_status        st = read_at(s, chunk.at, stored, n, err);
    if (st != GQ_OK)
        return st;
    if (gq_xxh64(stored, n) != set->hash[row])
        return row_fail(s, id, row, err, "the checksum differs, the file is damaged");
    if (packed && (why = gq__unpack(c->packer, &set->form, stored, n, dst))) {
        char text[160];
        snprintf(text, sizeof text, "cannot be unpacked to %zu bytes: %s", set->form.bytes, why);
        return row_fail(s, id, row, err, text);
    }
    return GQ_OK;
}

gq_status gq_shard_rows(const gq_shard *s, gq_error *err)
{
    gq_shard_cursor *c = NULL;
    size_t           bytes = 0;
    for (int k = 0; k < GQ_SETS; k++)
        bytes = s->set[k].form.bytes > bytes ? s->set[k].form.bytes : bytes;
    void *row = gq_malloc(bytes, 1);
    if (!row)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory for one row", s->path);
    gq_status st = gq_shard_cursor_for(&s, 1, &c, err);
    for (int k = 0; k < GQ_SETS; k++)
        for (int64_t i = 0; st == GQ_OK && i < s->set[k].rows; i++)
            st = gq_shard_row(s, (gq_set_id)k, i, c, row, err);
    gq_shard_cursor_free(c);
    gq_free(row);
    return st;
}

void gq_shard_widen(const uint16_t *half, float *dst, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        uint16_t h;
        memcpy(&h, half + k, sizeof h);
        uint32_t u = (uint32_t)h << 16;
        memcpy(dst + k, &u, sizeof u);
    }
}

gq_status gq_shard_pooled(const gq_shard *s, int64_t gif, gq_shard_cursor *c, float *dst,
                          gq_error *err)
{
    size_t    p = (size_t)s->meta.pooled;
    int64_t   at = s->pooled_at[gif], end = at + s->pooled_n[gif];
    gq_status st = GQ_OK;
    while (st == GQ_OK && at < end) {
        int64_t block = at / GQ_SHARD_BLOCK, last = (block + 1) * GQ_SHARD_BLOCK;
        size_t  from = (size_t)(at % GQ_SHARD_BLOCK) * p;
        size_t  n = (size_t)((end < last ? end : last) - at) * p;
        if ((st = gq_shard_row(s, GQ_SET_POOLED, block, c, c->block, err)) != GQ_OK)
            break;
        if (s->meta.bf16)
            gq_shard_widen((uint16_t *)c->block + from, dst, n);
        else
            memcpy(dst, (float *)c->block + from, n * sizeof *dst);
        dst += n;
        at = end < last ? end : last;
    }
    return st;
}

/* ---- what is not in a chunk ------------------------------------------------------------------ */

static gq_status hash_extents(const gq_shard *s, const gq_shard_entry *e, uint64_t *hash,
                              gq_error *err)
{
    enum { PIECE = 1 << 20 };
    uint64_t  sum[2] = {0, 0};                   /* of all pieces so far, of the next one */
    uint8_t  *piece = gq_malloc(PIECE, 1);
    gq_status st = piece ? GQ_OK : gq_fail(err, GQ_ENOMEM, "%s: no memory to check it", s->path);
    for (int32_t k = 0; st == GQ_OK && k < e->extents; k++)
        for (uint64_t done = 0; st == GQ_OK && done < e->extent[k].bytes;) {
            uint64_t left = e->extent[k].bytes - done;
            size_t   n = left < PIECE ? (size_t)left : PIECE;
            st = read_at(s, e->extent[k].at + done, piece, n, err);
            sum[1] = st == GQ_OK ? gq_xxh64(piece, n) : 0;
            sum[0] = gq_xxh64(sum, sizeof sum);
            done += n;
        }
    gq_free(piece);
    *hash = sum[0];
    return st;
}

static int by_place(const void *x, const void *y)
{
    const gq_h5_chunk *a = x, *b = y;
    return (a->at > b->at) - (a->at < b->at);
}

/* The gaps between the chunks (sorted); gaps nearer than `join` become one extent, chunks
 * between them included. false: more than fit. */
static bool gaps(const gq_h5_chunk *chunk, size_t n, uint64_t file, uint64_t join,
                 gq_shard_entry *e)
{
    uint64_t at = 0;
    e->extents = 0;
    for (size_t k = 0; k <= n; k++) {
        uint64_t end = k < n ? chunk[k].at : file;
        if (end > at) {
            int32_t  last = e->extents - 1;
            uint64_t before = last >= 0 ? e->extent[last].at + e->extent[last].bytes : 0;
            if (last >= 0 && at - before <= join) {
                e->extent[last].bytes = end - e->extent[last].at;
            } else {
                if (e->extents == GQ_SHARD_EXTENTS)
                    return false;
                e->extent[e->extents].at = at;
                e->extent[e->extents++].bytes = end - at;
            }
        }
        at = k < n && chunk[k].at + chunk[k].bytes > at ? chunk[k].at + chunk[k].bytes : at;
    }
    return true;
}

gq_status gq_shard_map(const gq_shard *s, gq_shard_entry *e, gq_error *err)
{
    size_t rows = 0, n = 0;
    for (int k = 0; k < GQ_SETS; k++)
        rows += (size_t)s->set[k].rows;
    gq_h5_chunk *all = gq_malloc(rows, sizeof *all);
    if (!all)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory for a list of its chunks", s->path);
    for (int k = 0; k < GQ_SETS; k++) {
        if (s->set[k].rows)
            memcpy(all + n, s->set[k].chunk, (size_t)s->set[k].rows * sizeof *all);
        n += (size_t)s->set[k].rows;
    }
    qsort(all, n, sizeof *all, by_place);
    for (uint64_t join = 4096; !gaps(all, n, s->bytes, join, e);)
        join *= 4;
    gq_free(all);
    return hash_extents(s, e, &e->structure, err);
}

static gq_status check_entry(const gq_shard *s, const gq_shard_entry *e, gq_error *err)
{
    uint64_t hash;
    if (s->bytes != e->bytes)
        return gq_fail(
            err, GQ_EINPUT,
            "%s: has %llu bytes, the manifest says %llu: cut, grown or replaced; build it "
            "again",
            s->path, (unsigned long long)s->bytes, (unsigned long long)e->bytes);
    gq_status st = hash_extents(s, e, &hash, err);
    if (st == GQ_OK && hash != e->structure)
        st = gq_fail(
            err, GQ_EINPUT,
            "%s: the checksum of its structures and arrays differs, the file is damaged; build it "
            "again",
            s->path);
    return st;
}

/* ---- opening --------------------------------------------------------------------------------- */

static gq_status get_offsets(gq_h5 *f, const char *path, const char *name, int64_t n, int64_t end,
                             int64_t **off, gq_error *err)
{
    gq_h5_shape want = {1, {(uint64_t)n + 1}};
    gq_status   s = gq_h5_get_array(f, name, GQ_H5_I64, &want, (void **)off, err);
    bool        ok = s == GQ_OK && (*off)[0] == 0 && (*off)[n] == end;
    for (int64_t k = 0; ok && k < n; k++)
        ok = (*off)[k] <= (*off)[k + 1];
    return s == GQ_OK && !ok
               ? gq_fail(err, GQ_EINPUT, "%s: %s: the offsets are not ascending from 0 to %lld",
                         path, name, (long long)end)
               : s;
}

/* Texts come without separators; in memory each gets its NUL. */
static gq_status terminate(const char *path, const char *name, const char *flat, int64_t n,
                           gq_strings *t, gq_error *err)
{
    char *text = gq_malloc((size_t)t->off[n] + (size_t)n + 1, 1), *to = text;
    if (!text)
        return gq_fail(err, GQ_ENOMEM, "%s: %s: no memory", path, name);
    for (int64_t k = 0; k < n; k++) {
        const char *from = flat + t->off[k];
        size_t      len = (size_t)(t->off[k + 1] - t->off[k]);
        if (memchr(from, 0, len) || !gq_utf8_valid(from, len)) {
            gq_free(text);
            return gq_fail(err, GQ_EINPUT, "%s: %s: text %lld is not UTF-8 or has a NUL", path,
                           name, (long long)k);
        }
        memcpy(to, from, len);
        to[len] = 0;
        to += len + 1;
    }
    for (int64_t k = 0; k <= n; k++)
        t->off[k] += k;
    t->text = text;
    return GQ_OK;
}

static gq_status get_strings(gq_h5 *f, const char *path, const char *flat_name,
                             const char *off_name, int64_t n, gq_strings *t, gq_error *err)
{
    gq_h5_shape any = {.rank = 1};
    char       *flat = NULL;
    gq_status   s = gq_h5_get_array(f, flat_name, GQ_H5_U8, &any, (void **)&flat, err);
    if (s == GQ_OK)
        s = get_offsets(f, path, off_name, n, (int64_t)any.dim[0], &t->off, err);
    if (s == GQ_OK)
        s = terminate(path, flat_name, flat, n, t, err);
    gq_free(flat);
    return s;
}

static gq_status get_ragged(gq_h5 *f, const char *path, const char *flat_name, const char *off_name,
                            int64_t n, gq_ragged *r, gq_error *err)
{
    gq_h5_shape any = {.rank = 1};
    gq_status   s = gq_h5_get_array(f, flat_name, GQ_H5_I32, &any, (void **)&r->value, err);
    if (s == GQ_OK)
        s = get_offsets(f, path, off_name, n, (int64_t)any.dim[0], &r->off, err);
    for (uint64_t k = 0; s == GQ_OK && k < any.dim[0]; k++)
        if (r->value[k] < 0)
            s = gq_fail(err, GQ_EINPUT, "%s: %s: token %llu is negative", path, flat_name,
                        (unsigned long long)k);
    return s;
}

static gq_status get(gq_h5 *f, const char *name, gq_h5_type type, uint64_t n, uint64_t columns,
                     void *to, gq_error *err)
{
    gq_h5_shape want = {columns ? 2 : 1, {n, columns}};
    return gq_h5_get_array(f, name, type, &want, (void **)to, err);
}

static gq_status get_gifs(gq_h5 *f, gq_shard *s, gq_error *err)
{
    uint64_t  g = (uint64_t)s->gifs, t = (uint64_t)s->meta.keyframes;
    gq_status st;
    if ((st = get(f, "gif/sha256", GQ_H5_U8, g, 32, &s->sha256, err)) != GQ_OK ||
        (st = get(f, "gif/frame_idx", GQ_H5_I32, g, t, &s->frame_idx, err)) != GQ_OK ||
        (st = get(f, "gif/delay_cs", GQ_H5_U16, g, t, &s->delay_cs, err)) != GQ_OK ||
        (st = get(f, "gif/n_frames", GQ_H5_I32, g, 0, &s->n_frames, err)) != GQ_OK ||
        (st = get(f, "gif/wh", GQ_H5_U16, g, 2, &s->wh, err)) != GQ_OK ||
        (st = get(f, "gif/flags", GQ_H5_U32, g, 0, &s->flags, err)) != GQ_OK)
        return st;
    return get_strings(f, s->path, "gif/name", "gif/name_off", s->gifs, &s->name, err);
}

static gq_status get_questions(gq_h5 *f, gq_shard *s, gq_error *err)
{
    uint64_t  q = (uint64_t)s->questions;
    int64_t   n = s->questions;
    gq_status st;
    if ((st = get(f, "qa/gif", GQ_H5_I32, q, 0, &s->qa_gif, err)) != GQ_OK ||
        (st = get(f, "qa/type", GQ_H5_I32, q, 0, &s->qa_type, err)) != GQ_OK ||
        (st = get_ragged(f, s->path, "qa/q_tok", "qa/q_off", n, &s->q_tok, err)) != GQ_OK ||
        (st = get_ragged(f, s->path, "qa/a_tok", "qa/a_off", n, &s->a_tok, err)) != GQ_OK ||
        (st = get_strings(f, s->path, "qa/q_text", "qa/q_text_off", n, &s->q_text, err)) != GQ_OK ||
        (st = get_strings(f, s->path, "qa/a_text", "qa/a_text_off", n, &s->a_text, err)) != GQ_OK)
        return st;
    for (int64_t i = 0; i < n; i++)
        if (s->qa_gif[i] < 0 || s->qa_gif[i] >= s->gifs || s->qa_type[i] < 0 ||
            s->qa_type[i] >= s->meta.ntypes)
            return gq_fail(err, GQ_EINPUT,
                           "%s: qa/gif: question %lld names GIF %d and type %d, which do not exist",
                           s->path, (long long)i, s->qa_gif[i], s->qa_type[i]);
    return GQ_OK;
}

/* A set of n rows, packed as the codec says. */
static gq_status get_set(gq_h5 *f, gq_shard *s, gq_set_id id, int64_t n, gq_error *err)
{
    gq_rowset  *set = &s->set[id];
    gq_h5_type  type;
    gq_h5_shape row;
    gq_row_form form = set->form = gq_shard_form(&s->meta, id, &type, &row);
    gq_status   st = get(f, gq_set_hash_name[id], GQ_H5_U64, (uint64_t)n, 0, &set->hash, err);
    set->name = gq_set_name[id];
    if (st == GQ_OK)
        st = gq_h5_get_rows(f, set->name, type, &row, (uint64_t)n, form.stride, &set->form.pack,
                            &set->chunk, err);
    if (st != GQ_OK)
        return st;
    set->rows = n;
    if (!gq__codec_allows(s->meta.codec, form.element, set->form.pack))
        return gq_fail(err, GQ_EINPUT, "%s: %s: is not packed by its codec, %s: refused", s->path,
                       set->name, gq_shard_codec_name[s->meta.codec]);
    size_t most = gq__codec_bound(&set->form), least = set->form.pack == GQ_H5_PLAIN ? most : 1;
    for (int64_t i = 0; i < n; i++)
        if (set->chunk[i].bytes > most || set->chunk[i].bytes < least)
            return gq_fail(err, GQ_EINPUT, "%s: %s: row %lld has %llu bytes, not %s%zu", s->path,
                           set->name, (long long)i, (unsigned long long)set->chunk[i].bytes,
                           least == most ? "" : "1 to ", most);
    return GQ_OK;
}

/* The vectors of all frames: which are whose, then where they lie. */
static gq_status get_pooled(gq_h5 *f, gq_shard *s, gq_error *err)
{
    uint64_t  g = (uint64_t)s->gifs;
    int64_t   all = 0;
    gq_status st = get(f, "gif/pooled_at", GQ_H5_I64, g, 0, &s->pooled_at, err);
    if (st == GQ_OK)
        st = get(f, "gif/pooled_n", GQ_H5_I32, g, 0, &s->pooled_n, err);
    for (int64_t i = 0; st == GQ_OK && i < s->gifs; i++) {
        int64_t at = s->pooled_at[i], n = s->pooled_n[i];
        if (at < 0 || n < 1 || at > all)
            return gq_fail(err, GQ_EINPUT,
                           "%s: gif/pooled_at: the vectors of GIF %lld are %lld from %lld on: "
                           "refused",
                           s->path, (long long)i, (long long)n, (long long)at);
        all = at + n > all ? at + n : all;
    }
    return st == GQ_OK ? get_set(f, s, GQ_SET_POOLED, (all + GQ_SHARD_BLOCK - 1) / GQ_SHARD_BLOCK,
                                 err)
                       : st;
}

static gq_status get_all(gq_h5 *f, gq_shard *s, gq_error *err)
{
    uint64_t  gifs, questions;
    gq_status st = gq_shard_get_meta(f, s->path, &s->meta, &gifs, &questions, err);
    if (st != GQ_OK)
        return st;
    if (!gifs || gifs > INT32_MAX || questions > INT32_MAX || gifs > s->bytes)
        return gq_fail(err, GQ_EINPUT, "%s: says it has %llu GIFs and %llu questions: refused",
                       s->path, (unsigned long long)gifs, (unsigned long long)questions);
    s->gifs = (int64_t)gifs;
    s->questions = (int64_t)questions;
    if ((st = get_gifs(f, s, err)) != GQ_OK || (st = get_questions(f, s, err)) != GQ_OK)
        return st;
    if (s->meta.size)
        st = get_set(f, s, GQ_SET_FRAMES, s->gifs, err);
    if (st == GQ_OK && s->meta.tokens)
        st = get_set(f, s, GQ_SET_TOKENS, s->gifs, err);
    return st == GQ_OK && s->meta.pooled ? get_pooled(f, s, err) : st;
}

gq_status gq_shard_open(const char *path, const gq_shard_entry *entry, gq_shard **out,
                        gq_error *err)
{
    gq_h5      *f = NULL;
    struct stat st;
    gq_shard   *s = *out = gq_calloc(1, sizeof *s);
    if (!s)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory to open it", path);
    s->fd = -1;
    gq_status status = GQ_OK;
    if (!(s->path = gq_strdup(path)))
        status = gq_fail(err, GQ_ENOMEM, "%s: no memory to open it", path);
    else if ((s->fd = gq_open_read(path)) < 0 || fstat(s->fd, &st) != 0)
        status = gq_fail(err, errno == EIO ? GQ_EDISK : GQ_EINPUT, "%s: cannot open it: %s", path,
                         strerror(errno));
    else
        s->bytes = (uint64_t)st.st_size;
    if (status == GQ_OK && entry)
        status = check_entry(s, entry, err);
    if (status == GQ_OK)
        status = gq_h5_open(path, &f, err);
    if (status == GQ_OK)
        status = get_all(f, s, err);
    gq_h5_close(f);
    if (status != GQ_OK) {
        gq_shard_free(s);
        *out = NULL;
    }
    return status;
}

void gq_shard_free(gq_shard *s)
{
    if (!s)
        return;
    void *all[] = {s->path,        s->frame_idx,   s->delay_cs,  s->n_frames,  s->wh,
                   s->flags,       s->sha256,      s->pooled_at, s->pooled_n,  s->qa_gif,
                   s->qa_type,     s->name.text,   s->name.off,  s->q_text.text, s->q_text.off,
                   s->a_text.text, s->a_text.off,  s->q_tok.value, s->q_tok.off, s->a_tok.value,
                   s->a_tok.off};
    for (int k = 0; k < GQ_SETS; k++) {
        gq_free(s->set[k].chunk);
        gq_free(s->set[k].hash);
    }
    if (s->fd >= 0)
        close(s->fd);
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        gq_free(all[k]);
    gq_free(s);
}
