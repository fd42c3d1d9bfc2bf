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
};

/* ---- cursor ---------------------------------------------------------------------------------- */

static size_t largest_chunk(const gq_rowset *set, int64_t gifs)
{
    size_t most = 0;
    for (int64_t g = 0; set->chunk && g < gifs; g++)
        if (set->chunk[g].bytes > most)
            most = (size_t)set->chunk[g].bytes;
    return most;
}

/* Unpackers for what any of the shards holds. */
static gq_status open_packer(const gq_shard *const *shard, int count, gq_packer **out,
                             gq_error *err)
{
    const gq_row_form **forms = gq_malloc(2 * (size_t)count, sizeof *forms);
    if (!forms)
        return gq_fail(err, GQ_ENOMEM, "no memory to read shards");
    for (int k = 0; k < count; k++) {
        forms[2 * k] = &shard[k]->frames.form;
        forms[2 * k + 1] = &shard[k]->tokens.form;
    }
    gq_status s = gq__packer_new(forms, 2 * count, false, out, err);
    gq_free(forms);
    return s;
}

gq_status gq_shard_cursor_for(const gq_shard *const *shard, int count, gq_shard_cursor **out,
                              gq_error *err)
{
    gq_shard_cursor *c = *out = gq_calloc(1, sizeof *c);
    if (!c)
        return gq_fail(err, GQ_ENOMEM, "no memory to read shards");
    for (int k = 0; k < count; k++) {
        const gq_rowset *sets[] = {&shard[k]->frames, &shard[k]->tokens};
        for (int j = 0; j < 2; j++) {
            size_t most = largest_chunk(sets[j], shard[k]->gifs);
            c->room = most > c->room ? most : c->room;
        }
    }
    gq_status s = open_packer(shard, count, &c->packer, err);
    if (s == GQ_OK && c->packer && !(c->stored = gq_malloc(c->room, 1)))
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

gq_status gq_shard_row(const gq_shard *s, const gq_rowset *set, int64_t row, gq_shard_cursor *c,
                       void *dst, gq_error *err)
{
    gq_h5_chunk chunk = set->chunk[row];
    size_t      n = (size_t)chunk.bytes;
    bool        packed = set->form.pack != GQ_H5_PLAIN;
    void       *stored = packed ? c->stored : dst;
    const char *why;
    gq_status   st = read_at(s, chunk.at, stored, n, err);
    if (st != GQ_OK)
        return st;
    if (gq_xxh64(stored, n) != set->hash[row])
        return gq_fail(
            err, GQ_EINPUT,
            "%s: %s: row %lld (%s): the checksum differs, the file is damaged; build it again",
            s->path, set->name, (long long)row, s->name.text + s->name.off[row]);
    if (packed && (why = gq__unpack(c->packer, &set->form, stored, n, dst)))
        return gq_fail(err, GQ_EINPUT,
                       "%s: %s: row %lld (%s): cannot be unpacked to %zu bytes: %s; build it again",
                       s->path, set->name, (long long)row, s->name.text + s->name.off[row],
                       set->form.bytes, why);
    return GQ_OK;
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
    size_t       g = (size_t)s->gifs, n = 0;
    gq_h5_chunk *all = gq_malloc(2 * g, sizeof *all);
    if (!all)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory for a list of its chunks", s->path);
    for (int k = 0; k < 2; k++) {
        const gq_rowset *set = k ? &s->tokens : &s->frames;
        if (set->chunk)
            memcpy(all + n, set->chunk, g * sizeof *all);
        n += set->chunk ? g : 0;
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

/* form: of rows packed as the codec says. */
static gq_status get_set(gq_h5 *f, gq_shard *s, const char *name, const char *hash_name,
                         gq_h5_type type, const gq_h5_shape *row, const gq_row_form *form,
                         gq_rowset *set, gq_error *err)
{
    uint64_t  g = (uint64_t)s->gifs;
    gq_status st = get(f, hash_name, GQ_H5_U64, g, 0, &set->hash, err);
    set->name = name;
    set->form = *form;
    if (st == GQ_OK)
        st = gq_h5_get_rows(f, name, type, row, g, form->stride, &set->form.pack, &set->chunk, err);
    if (st != GQ_OK)
        return st;
    if (!gq__codec_allows(s->meta.codec, form->element, set->form.pack))
        return gq_fail(err, GQ_EINPUT, "%s: %s: is not packed by its codec, %s: refused", s->path,
                       name, gq_shard_codec_name[s->meta.codec]);
    size_t most = gq__codec_bound(&set->form), least = set->form.pack == GQ_H5_PLAIN ? most : 1;
    for (int64_t i = 0; i < s->gifs; i++)
        if (set->chunk[i].bytes > most || set->chunk[i].bytes < least)
            return gq_fail(err, GQ_EINPUT, "%s: %s: row %lld has %llu bytes, not %s%zu", s->path,
                           name, (long long)i, (unsigned long long)set->chunk[i].bytes,
                           least == most ? "" : "1 to ", most);
    return GQ_OK;
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
    uint64_t    t = (uint64_t)s->meta.keyframes, side = (uint64_t)s->meta.size;
    gq_h5_shape frames = {4, {t, side, side, 3}};
    gq_h5_shape tokens = {3, {t, (uint64_t)s->meta.tokens, (uint64_t)s->meta.width}};
    gq_h5_type  number = s->meta.bf16 ? GQ_H5_BF16 : GQ_H5_F32;
    gq_row_form of_frames, of_tokens;
    gq_shard_forms(&s->meta, &of_frames, &of_tokens);
    if (s->meta.size)
        st = get_set(f, s, "gif/frames", "gif/frames_xxh64", GQ_H5_U8, &frames, &of_frames,
                     &s->frames, err);
    if (st == GQ_OK && s->meta.tokens)
        st = get_set(f, s, "gif/tokens", "gif/tokens_xxh64", number, &tokens, &of_tokens,
                     &s->tokens, err);
    return st;
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
    void *all[] = {s->path,        s->frames.chunk, s->frames.hash, s->tokens.chunk, s->tokens.hash,
                   s->frame_idx,   s->delay_cs,     s->n_frames,    s->wh,           s->flags,
                   s->sha256,      s->qa_gif,       s->qa_type,     s->name.text,    s->name.off,
                   s->q_text.text, s->q_text.off,   s->a_text.text, s->a_text.off,   s->q_tok.value,
                   s->q_tok.off,   s->a_tok.value,  s->a_tok.off};
    if (s->fd >= 0)
        close(s->fd);
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        gq_free(all[k]);
    gq_free(s);
}
