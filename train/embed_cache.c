#include "train/embed_cache.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/io.h"
#include "core/mem.h"

enum {
    SLOTS = 16,                         /* GIFs in memory at most */
    SLOT_BYTES = 64 << 20,              /* and bytes of their embeddings, unless it is one GIF */
    HEAD = 64, TAIL = 16,               /* bytes of a file around its arrays */
    FILE_MOST = 64 << 20,               /* bytes of a file; longer animations are not written */
};

static const char MAGIC[8] = "GQEMBED1", SUFFIX[] = ".embeds";

typedef struct slot {
    uint8_t      key[GQ_EMBED_KEY];
    gq_frame_set set;                   /* n 0: a free slot */
    uint64_t     used;                  /* when it was asked for last; larger is later */
} slot;

struct gq_embed_cache {
    slot     slot[SLOTS];
    uint64_t clock;
    char    *dir;                       /* NULL: memory only */
    uint64_t most;                      /* bytes of all files */
    char     note[512];
};

gq_status gq__embeds_open(const char *dir, uint64_t most, gq_embed_cache **out, gq_error *err)
{
    gq_embed_cache *c = *out = gq_calloc(1, sizeof *c);

    if (c && dir)
        c->dir = gq_strdup(dir);
    if (!c || (dir && !c->dir)) {
        gq_free(c);
        *out = NULL;
        return gq_fail(err, GQ_ENOMEM, "out of memory");
    }
    c->most = most;
    return GQ_OK;
}

void gq__embeds_close(gq_embed_cache *c)
{
    if (!c)
        return;
    for (int i = 0; i < SLOTS; i++)
        gq_frame_set_free(&c->slot[i].set);
    gq_free(c->dir);
    gq_free(c);
}

const char *gq__embeds_note(const gq_embed_cache *c) { return c->note; }

/* ---- memory ---------------------------------------------------------------------------------- */

static size_t bytes_of(const gq_frame_set *f)
{
    return (size_t)f->n * (sizeof *f->delay_cs + (size_t)f->dim * sizeof *f->embed);
}

/* Moves *set into a slot; those that were not asked for the longest make room. */
static const gq_frame_set *remember(gq_embed_cache *c, const uint8_t key[GQ_EMBED_KEY],
                                    gq_frame_set *set)
{
    slot *to = NULL;

    for (;;) {
        size_t bytes = bytes_of(set);
        slot  *oldest = NULL, *empty = NULL;
        for (int i = 0; i < SLOTS; i++) {
            slot *s = &c->slot[i];
            bytes += bytes_of(&s->set);
            if (!s->set.n)
                empty = s;
            else if (!oldest || s->used < oldest->used)
                oldest = s;
        }
        to = empty;
        if (to && (bytes <= SLOT_BYTES || !oldest))
            break;
        gq_frame_set_free(&oldest->set);
    }
    memcpy(to->key, key, GQ_EMBED_KEY);
    to->set = *set;
    to->used = ++c->clock;
    memset(set, 0, sizeof *set);
    return &to->set;
}

/* ---- files ----------------------------------------------------------------------------------- */

static char *path_of(const gq_embed_cache *c, const uint8_t key[GQ_EMBED_KEY])
{
    char name[2 * GQ_EMBED_KEY + sizeof SUFFIX];

    gq_hex(key, GQ_EMBED_KEY, name);
    memcpy(name + (size_t)2 * GQ_EMBED_KEY, SUFFIX, sizeof SUFFIX);
    return gq_path(c->dir, name);
}

static bool arrays_fit(uint64_t n, uint64_t dim, size_t *bytes)
{
    size_t row = 0, all = 0;

    return n > 0 && dim > 0 && gq_mul_size((size_t)dim, sizeof(float), &row) &&
           gq_add_size(row, sizeof(int32_t), &row) && gq_mul_size(row, (size_t)n, &all) &&
           gq_add_size(all, HEAD + TAIL, bytes) && *bytes <= FILE_MOST;
}

/* The bytes of a file as a frame set of its own; false: it is not one of this key. */
static bool parse(const gq_bytes *b, const uint8_t key[GQ_EMBED_KEY], int64_t dim,
                  gq_frame_set *out)
{
    uint32_t head[6];
    uint8_t  sum[TAIL];
    size_t   size, n;

    if (b->size < HEAD + TAIL || memcmp(b->data, MAGIC, sizeof MAGIC) != 0 ||
        memcmp(b->data + sizeof MAGIC, key, GQ_EMBED_KEY) != 0)
        return false;
    memcpy(head, b->data + sizeof MAGIC + GQ_EMBED_KEY, sizeof head);
    if (!arrays_fit(head[0], head[1], &size) || size != b->size || head[1] != (uint64_t)dim)
        return false;
    gq_xxh128(b->data, size - TAIL, sum);
    if (memcmp(sum, b->data + size - TAIL, TAIL) != 0)
        return false;
    n = head[0];
    *out = (gq_frame_set){
        .n = head[0], .dim = dim, .width = head[2], .height = head[3], .flags = head[4]};
    out->delay_cs = gq_malloc(n, sizeof *out->delay_cs);
    out->embed = gq_malloc(n * (size_t)dim, sizeof *out->embed);
    if (!out->delay_cs || !out->embed) {
        gq_frame_set_free(out);
        return false;
    }
    memcpy(out->delay_cs, b->data + HEAD, n * sizeof *out->delay_cs);
    memcpy(out->embed, b->data + HEAD + n * sizeof *out->delay_cs,
           n * (size_t)dim * sizeof *out->embed);
    for (size_t i = 0; i < n * (size_t)dim; i++)
        if (!isfinite(out->embed[i])) {
            gq_frame_set_free(out);
            return false;
        }
    return true;
}

static bool read_entry(gq_embed_cache *c, const uint8_t key[GQ_EMBED_KEY], int64_t dim,
                       gq_frame_set *out)
{
    char    *path = path_of(c, key);
    gq_bytes b = {0};
    bool     good;

    good = path && gq_is_file(path) && gq_read_file(path, FILE_MOST, &b, NULL) == GQ_OK &&
           parse(&b, key, dim, out);
    gq_bytes_free(&b);
    gq_free(path);
    return good;
}

static gq_status write_entry(const char *path, const uint8_t key[GQ_EMBED_KEY],
                             const gq_frame_set *f, size_t size, gq_error *err)
{
    uint32_t  head[6] = {(uint32_t)f->n, (uint32_t)f->dim, f->width, f->height, f->flags, 0};
    uint8_t  *b = gq_malloc(size, 1), *at = b;
    size_t    delays = (size_t)f->n * sizeof *f->delay_cs;
    size_t    embeds = (size_t)(f->n * f->dim) * sizeof *f->embed;
    gq_status s;

    if (!b)
        return gq_fail(err, GQ_ENOMEM, "%s: out of memory", path);
    memcpy(at, MAGIC, sizeof MAGIC);
    memcpy(at += sizeof MAGIC, key, GQ_EMBED_KEY);
    memcpy(at += GQ_EMBED_KEY, head, sizeof head);
    memcpy(at += sizeof head, f->delay_cs, delays);
    memcpy(at += delays, f->embed, embeds);
    gq_xxh128(b, size - TAIL, at + embeds);
    s = gq_write_file(path, b, size, err);
    gq_free(b);
    return s;
}

/* ---- the limit of the directory -------------------------------------------------------------- */

typedef struct aged { char *path; uint64_t bytes; int64_t written; } aged;

static int older(const void *a, const void *b)
{
    const aged *x = a, *y = b;
    return x->written < y->written ? -1 : x->written > y->written;
}

/* Entries, and what a killed process left of one: ".tmp-<key>.embeds-<process>" */
static bool ours(const char *name)
{
    const char *suffix;

    if (strncmp(name, ".tmp-", 5) == 0)
        name += 5;
    suffix = name + strspn(name, "0123456789abcdef");
    return suffix - name == 2 * GQ_EMBED_KEY &&
           strncmp(suffix, SUFFIX, sizeof SUFFIX - 1) == 0;
}

/* Removes the oldest entries until `most` bytes are left. */
static gq_status evict(gq_embed_cache *c, gq_error *err)
{
    char    **names = NULL;
    size_t    n = 0, count = 0;
    uint64_t  bytes = 0;
    gq_status s = gq_list_dir(c->dir, &names, &n, err);
    aged     *list = gq_calloc(n + 1, sizeof *list);

    if (s == GQ_OK && !list)
        s = gq_fail(err, GQ_ENOMEM, "%s: out of memory", c->dir);
    for (size_t i = 0; i < n; i++) {
        aged a = {0};
        if (s == GQ_OK && ours(names[i]) && (a.path = gq_path(c->dir, names[i])) &&
            gq_file_age(a.path, &a.bytes, &a.written)) {
            bytes += a.bytes;
            list[count++] = a;
        } else {
            gq_free(a.path);
        }
        gq_free(names[i]);
    }
    gq_free(names);
    if (list)
        qsort(list, count, sizeof *list, older);
    for (size_t i = 0; i < count; i++) {
        if (bytes > c->most && s == GQ_OK) {
            s = gq_remove_tree(list[i].path, err);
            bytes -= list[i].bytes;
        }
        gq_free(list[i].path);
    }
    gq_free(list);
    return s;
}

/* An entry that cannot be written is computed again next time: a note, no error. */
static void store(gq_embed_cache *c, const uint8_t key[GQ_EMBED_KEY], const gq_frame_set *f)
{
    gq_error  err = {0};
    size_t    size;
    char     *path;
    gq_status s;

    if (!arrays_fit((uint64_t)f->n, (uint64_t)f->dim, &size) || size > c->most)
        return;
    path = path_of(c, key);
    s = path ? gq_mkdirs(c->dir, &err) : gq_fail(&err, GQ_ENOMEM, "%s: out of memory", c->dir);
    if (s == GQ_OK)
        s = write_entry(path, key, f, size, &err);
    if (s == GQ_OK)
        s = evict(c, &err);
    snprintf(c->note, sizeof c->note, "%s", err.text);
    gq_free(path);
}

/* ---- both ------------------------------------------------------------------------------------ */

const gq_frame_set *gq__embeds_find(gq_embed_cache *c, const uint8_t key[GQ_EMBED_KEY], int64_t dim,
                                    gq_origin *from)
{
    gq_frame_set set;

    for (int i = 0; i < SLOTS; i++) {
        slot *s = &c->slot[i];
        if (s->set.n && s->set.dim == dim && memcmp(s->key, key, GQ_EMBED_KEY) == 0) {
            s->used = ++c->clock;
            *from = GQ_FROM_MEMORY;
            return &s->set;
        }
    }
    if (!c->dir || !read_entry(c, key, dim, &set))
        return NULL;
    *from = GQ_FROM_DISK;
    return remember(c, key, &set);
}

const gq_frame_set *gq__embeds_keep(gq_embed_cache *c, const uint8_t key[GQ_EMBED_KEY],
                                    gq_frame_set *set)
{
    const gq_frame_set *kept = remember(c, key, set);

    if (c->dir)
        store(c, key, kept);
    return kept;
}
