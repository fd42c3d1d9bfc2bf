/* The reader. One shard is parsed by read_header(); an index adds several; lookups go through
 * one sorted array. */
#include "core/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "core/io.h"
#include "core/json.h"
#include "core/mem.h"
#include "core/text.h"

enum {
    INDEX_LIMIT = 16 << 20,             /* bytes of an index file                                 */
    SHARDS_MAX = 4096,                  /* files named by an index                                */
    SHOWN = 128,                        /* bytes of a tensor name in an error text                */
};

typedef struct shard {
    char  *path;
    gq_map map;
    char  *names;                       /* decoded strings of the header, NUL after each          */
} shard;

struct gq_safetensors {
    shard        *shards;               /* [shard_count]                                          */
    size_t        shard_count;
    gq_st_tensor *tensors;              /* [count], order of shards, then of data                 */
    size_t        count, room;
    size_t       *by_name;              /* [count], indices into tensors                          */
    gq_st_meta   *meta;                 /* [meta_count], strings in the shards' names             */
    size_t        meta_count, meta_room;
};

/* ---- types ----------------------------------------------------------------------------------- */

static const struct { const char *name; size_t size; } dtypes[GQ_ST_DTYPE_COUNT] = {
#define DTYPE_ROW(name, bytes) {#name, bytes},
    GQ_ST_DTYPES(DTYPE_ROW)
#undef DTYPE_ROW
};

const char *gq_st_dtype_name(gq_st_dtype dtype)
{
    return (unsigned)dtype < GQ_ST_DTYPE_COUNT ? dtypes[dtype].name : "?";
}

size_t gq_st_dtype_size(gq_st_dtype dtype)
{
    return (unsigned)dtype < GQ_ST_DTYPE_COUNT ? dtypes[dtype].size : 0;
}

static bool find_dtype(const char *name, gq_st_dtype *out)
{
    for (int i = 0; i < GQ_ST_DTYPE_COUNT; i++)
        if (strcmp(dtypes[i].name, name) == 0) {
            *out = (gq_st_dtype)i;
            return true;
        }
    return false;
}

/* ---- header ---------------------------------------------------------------------------------- */

typedef struct header {                 /* what parsing one shard needs                           */
    gq_json   json;
    gq_map    map;
    uint64_t  data_bytes;               /* file size minus length field and header                */
    char     *names;                    /* next free byte of the shard's names                    */
    char     *names_end;
    char      within[SHOWN + 16];       /* "tensor 'x'" for error texts                           */
} header;

/* The list with room for one more element; NULL: no memory, and the list is as it was. */
static void *reserve(void *list, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return list;
    size_t want = *room ? *room * 2 : 64;
    void  *grown = gq_realloc(list, want, size);
    if (grown)
        *room = want;
    return grown;
}

/* Errors from here on are about this tensor; its name comes from a stranger. */
static void within_tensor(header *h, const char *name)
{
    char shown[SHOWN];
    snprintf(h->within, sizeof h->within, "tensor '%s'",
             gq_printable(name, strlen(name), shown, sizeof shown));
    h->json.within = h->within;
}

static bool no_memory(header *h)
{
    h->json.code = GQ_ENOMEM;
    return gq_json_fail(&h->json, "no memory for the header");
}

/* A string of the header, kept. It fits: quotes are longer than the NUL. */
static const char *keep_string(header *h, bool key)
{
    char  *s = h->names;
    size_t room = (size_t)(h->names_end - s);
    if (!(key ? gq_json_key(&h->json, s, room) : gq_json_string(&h->json, s, room)))
        return NULL;
    h->names += strlen(s) + 1;
    return s;
}

static bool read_metadata(gq_safetensors *st, header *h)
{
    const char *key, *value;
    gq_json_object(&h->json);
    while ((key = keep_string(h, true))) {
        if (!(value = keep_string(h, false)))
            return false;
        gq_st_meta *grown = reserve(st->meta, st->meta_count, &st->meta_room, sizeof *st->meta);
        if (!grown)
            return no_memory(h);
        st->meta = grown;
        st->meta[st->meta_count++] = (gq_st_meta){key, value};
    }
    return !h->json.failed;
}

static bool read_shape(header *h, gq_st_tensor *t)
{
    uint64_t extent;
    t->rank = 0;
    t->count = 1;
    gq_json_array(&h->json);
    while (gq_json_item(&h->json)) {
        if (!gq_json_u64(&h->json, &extent))
            return false;
        if (t->rank == GQ_ST_MAX_RANK)
            return gq_json_fail(&h->json, "more than %d dimensions", (int)GQ_ST_MAX_RANK);
        t->shape[t->rank++] = extent;
        /* as the reference: left to right, so [2^63,2,0] is an overflow and [0,2^63,2] is not */
        if (__builtin_mul_overflow(t->count, extent, &t->count))
            return gq_json_fail(&h->json, "the product of its shape is beyond 64 bits");
    }
    return !h->json.failed;
}

/* {"dtype": ..., "shape": [...], "data_offsets": [begin, end]}, each once, nothing else */
static bool read_fields(header *h, gq_st_tensor *t, uint64_t offsets[2])
{
    static const char *const fields[] = {"dtype", "shape", "data_offsets"};
    char                     key[16], type[16];
    unsigned                 seen = 0, n = 0;

    gq_json_object(&h->json);
    while (gq_json_key(&h->json, key, sizeof key)) {
        unsigned f = 0;
        while (f < 3 && strcmp(key, fields[f]) != 0)
            f++;
        if (f == 3)
            return gq_json_fail(&h->json, "unknown key '%s'", key);
        if (seen & 1u << f)
            return gq_json_fail(&h->json, "'%s' given twice", fields[f]);
        seen |= 1u << f;
        if (f == 0 && gq_json_string(&h->json, type, sizeof type) && !find_dtype(type, &t->dtype))
            return gq_json_fail(&h->json, "type '%s' is not known", type);
        if (f == 1)
            read_shape(h, t);
        if (f == 2) {
            gq_json_array(&h->json);
            while (gq_json_item(&h->json))
                if (n == 2 || !gq_json_u64(&h->json, &offsets[n++]))
                    return gq_json_fail(&h->json, "data_offsets must be two whole numbers");
        }
    }
    if (h->json.failed)
        return false;
    for (unsigned f = 0; f < 3; f++)
        if (!(seen & 1u << f))
            return gq_json_fail(&h->json, "'%s' is missing", fields[f]);
    return n == 2 || gq_json_fail(&h->json, "data_offsets must be two whole numbers");
}

static bool read_tensor(gq_safetensors *st, header *h, const char *name)
{
    gq_st_tensor t = {.name = name, .file = h->json.file};
    uint64_t     at[2] = {0, 0}, bytes;

    within_tensor(h, name);
    if (!read_fields(h, &t, at))
        return false;
    if (__builtin_mul_overflow(t.count, gq_st_dtype_size(t.dtype), &bytes))
        return gq_json_fail(&h->json, "its size in bytes is beyond 64 bits");
    if (at[1] < at[0])
        return gq_json_fail(&h->json, "data_offsets [%llu,%llu] run backwards",
                            (unsigned long long)at[0], (unsigned long long)at[1]);
    if (at[1] - at[0] != bytes)
        return gq_json_fail(&h->json, "%llu elements of %s need %llu bytes, data_offsets hold %llu",
                          (unsigned long long)t.count, gq_st_dtype_name(t.dtype),
                          (unsigned long long)bytes, (unsigned long long)(at[1] - at[0]));
    if (at[1] > h->data_bytes)
        return gq_json_fail(&h->json,
                            "ends at byte %llu of the data, the file has %llu: truncated?",
                            (unsigned long long)at[1], (unsigned long long)h->data_bytes);
    gq_st_tensor *grown = reserve(st->tensors, st->count, &st->room, sizeof *st->tensors);
    if (!grown)
        return no_memory(h);
    st->tensors = grown;
    t.bytes = (size_t)bytes;
    t.data = h->map.data + (h->map.size - h->data_bytes) + at[0];
    st->tensors[st->count++] = t;
    h->json.within = NULL;
    return true;
}

static int by_place(const void *a, const void *b)
{
    const gq_st_tensor *x = a, *y = b;
    uintptr_t           p = (uintptr_t)x->data, q = (uintptr_t)y->data;
    if (p != q)
        return p < q ? -1 : 1;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* The tensors of one shard from number `first` on must tile its data block. */
static bool check_cover(gq_safetensors *st, header *h, size_t first)
{
    const uint8_t *at = h->map.data + (h->map.size - h->data_bytes),
                  *end = h->map.data + h->map.size;
    if (st->count > first)
        qsort(st->tensors + first, st->count - first, sizeof *st->tensors, by_place);
    for (size_t i = first; i < st->count; i++) {
        const gq_st_tensor *t = &st->tensors[i];
        const uint8_t      *p = t->data;
        if (p != at)
            within_tensor(h, t->name);
        if (p < at)
            return gq_json_fail(&h->json, "overlaps the tensor before it");
        if (p > at)
            return gq_json_fail(&h->json, "a hole of %zu bytes before it", (size_t)(p - at));
        at = p + t->bytes;
    }
    if (at != end)
        return gq_json_fail(&h->json, "%zu bytes after the last tensor", (size_t)(end - at));
    return true;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const gq_st_meta *)a)->key, ((const gq_st_meta *)b)->key);
}

static bool check_metadata(gq_safetensors *st, header *h, size_t first)
{
    if (st->meta_count > first)
        qsort(st->meta + first, st->meta_count - first, sizeof *st->meta, by_key);
    for (size_t i = first + 1; i < st->meta_count; i++)
        if (strcmp(st->meta[i - 1].key, st->meta[i].key) == 0)
            return gq_json_fail(&h->json, "__metadata__: a key given twice");
    return true;
}

static const char *not_ours(const gq_map *m)
{
    static const char lfs[] = "version https://git-lfs";
    if (m->size >= sizeof lfs - 1 && memcmp(m->data, lfs, sizeof lfs - 1) == 0)
        return "; this is a Git LFS pointer: fetch the real file with 'git lfs pull'";
    if (m->size >= 2 && (memcmp(m->data, "PK", 2) == 0 || memcmp(m->data, "\x80\x02", 2) == 0))
        return "; this looks like a PyTorch file: save it as safetensors";
    return "";
}

/* Adds the tensors of a mapped shard. */
static gq_status read_header(gq_safetensors *st, shard *s, gq_error *err)
{
    header   h = {.map = s->map};
    uint64_t n = 0;
    size_t   first = st->count, first_meta = st->meta_count;
    bool     metadata = false;

    if (s->map.size < 8)
        return gq_fail(err, GQ_EWEIGHTS, "%s: %zu bytes; a safetensors file has at least 8",
                       s->path, s->map.size);
    for (int i = 0; i < 8; i++)
        n |= (uint64_t)s->map.data[i] << 8 * i;
    if (n > GQ_ST_MAX_HEADER)
        return gq_fail(err, GQ_EWEIGHTS, "%s: a header of %llu bytes, the limit is %d%s", s->path,
                       (unsigned long long)n, (int)GQ_ST_MAX_HEADER, not_ours(&s->map));
    if (n > s->map.size - 8)
        return gq_fail(err, GQ_EWEIGHTS, "%s: a header of %llu bytes in a file of %zu: truncated?",
                       s->path, (unsigned long long)n, s->map.size);
    if (n == 0 || s->map.data[8] != '{')
        return gq_fail(err, GQ_EWEIGHTS, "%s: the header does not start with '{'", s->path);
    if (!(s->names = gq_malloc((size_t)n + 1, 1)))
        return gq_fail(err, GQ_ENOMEM, "%s: no memory for the header", s->path);
    h.names = s->names;
    h.names_end = s->names + n + 1;
    h.data_bytes = s->map.size - 8 - n;
    gq_json_begin(&h.json, s->path, s->map.data, 8 + (size_t)n, GQ_EWEIGHTS, err);
    h.json.at += 8;                         /* so that bytes in error texts are those of the file */

    const char *name;
    gq_json_object(&h.json);
    while ((name = keep_string(&h, true))) {
        if (strcmp(name, "__metadata__") != 0)
            read_tensor(st, &h, name);
        else if (metadata)
            gq_json_fail(&h.json, "__metadata__ given twice");
        else
            metadata = read_metadata(st, &h);
    }
    if (gq_json_end(&h.json) == GQ_OK && check_cover(st, &h, first))
        check_metadata(st, &h, first_meta);
    return h.json.failed;
}

/* ---- lookup ---------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b, void *tensors)
{
    const gq_st_tensor *t = tensors;
    return strcmp(t[*(const size_t *)a].name, t[*(const size_t *)b].name);
}

static gq_status build_index(gq_safetensors *st, gq_error *err)
{
    char shown[SHOWN];
    if (!(st->by_name = gq_malloc(st->count, sizeof *st->by_name)))
        return gq_fail(err, GQ_ENOMEM, "%s: no memory for the list of tensors", st->shards[0].path);
    for (size_t i = 0; i < st->count; i++)
        st->by_name[i] = i;
    if (st->count)
        qsort_r(st->by_name, st->count, sizeof *st->by_name, by_name, st->tensors);
    for (size_t i = 1; i < st->count; i++) {
        const gq_st_tensor *a = &st->tensors[st->by_name[i - 1]], *b = &st->tensors[st->by_name[i]];
        if (strcmp(a->name, b->name) == 0)
            return gq_fail(err, GQ_EWEIGHTS, "%s: tensor '%s': given twice%s%s", b->file,
                           gq_printable(b->name, strlen(b->name), shown, SHOWN),
                           a->file == b->file ? "" : ", also in ",
                           a->file == b->file ? "" : a->file);
    }
    return GQ_OK;
}

size_t gq_st_count(const gq_safetensors *st) { return st->count; }

const gq_st_tensor *gq_st_at(const gq_safetensors *st, size_t i)
{
    return i < st->count ? &st->tensors[i] : NULL;
}

const gq_st_tensor *gq_st_find(const gq_safetensors *st, const char *name)
{
    size_t lo = 0, hi = st->count;
    while (lo < hi) {
        size_t              mid = lo + (hi - lo) / 2;
        const gq_st_tensor *t = &st->tensors[st->by_name[mid]];
        int                 c = strcmp(name, t->name);
        if (c == 0)
            return t;
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

const char *gq_st_metadata(const gq_safetensors *st, const char *key)
{
    for (size_t i = 0; i < st->meta_count; i++)
        if (strcmp(st->meta[i].key, key) == 0)
            return st->meta[i].value;
    return NULL;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* A file that cannot be read is bad weights here, whatever it is elsewhere. */
static gq_status as_weights(gq_status s, gq_error *err)
{
    if (s == GQ_EINPUT && err && err->code == GQ_EINPUT)
        err->code = GQ_EWEIGHTS;
    return s == GQ_EINPUT ? GQ_EWEIGHTS : s;
}

/* Takes over `path` (NULL: no memory). */
static gq_status add_shard(gq_safetensors *st, char *path, gq_error *err)
{
    shard    *s = &st->shards[st->shard_count];
    gq_status r;
    if (!path)
        return gq_fail(err, GQ_ENOMEM, "no memory for a file name");
    *s = (shard){.path = path};
    st->shard_count++;
    if ((r = as_weights(gq_map_open(path, &s->map, err), err)) != GQ_OK)
        return r;
    return read_header(st, s, err);
}

typedef struct place { char *name, *file; } place;           /* one entry of a weight_map */

static int place_by_name(const void *a, const void *b)
{
    return strcmp(((const place *)a)->name, ((const place *)b)->name);
}

static int place_by_file(const void *a, const void *b)
{
    return strcmp(((const place *)a)->file, ((const place *)b)->file);
}

/* Reads the weight_map into `places`; names and files point into `text`, which is as large as
 * the index. */
static void read_weight_map(gq_json *j, char *text, size_t text_room, place **places, size_t *count)
{
    size_t room = 0;
    char  *end = text + text_room;
    gq_json_object(j);
    while (gq_json_key(j, text, (size_t)(end - text))) {
        place p = {.name = text};
        text += strlen(text) + 1;
        if (!gq_json_string(j, text, (size_t)(end - text)))
            return;
        p.file = text;
        text += strlen(text) + 1;
        if (!*p.file || strchr(p.file, '/') || strcmp(p.file, ".") == 0 ||
            strcmp(p.file, "..") == 0) {
            gq_json_fail(j, "a weight_map may only name files beside it, without '/' or '..'");
            return;
        }
        place *grown = reserve(*places, *count, &room, sizeof **places);
        if (!grown) {
            j->code = GQ_ENOMEM;
            gq_json_fail(j, "no memory for the weight_map");
            return;
        }
        *places = grown;
        grown[(*count)++] = p;
    }
}

static gq_status parse_index(const char *path, const gq_bytes *in, char *text, place **places,
                             size_t *count, gq_error *err)
{
    gq_json j;
    char    key[64];
    bool    seen = false;

    gq_json_begin(&j, path, in->data, in->size, GQ_EWEIGHTS, err);
    gq_json_object(&j);
    while (gq_json_key(&j, key, sizeof key)) {
        if (strcmp(key, "weight_map") != 0) {
            gq_json_skip(&j);
        } else if (seen) {
            gq_json_fail(&j, "weight_map given twice");
        } else {
            seen = true;
            read_weight_map(&j, text, in->size + 1, places, count);
        }
    }
    if (gq_json_end(&j) == GQ_OK && *count == 0)
        gq_json_fail(&j, "no weight_map with files in it");
    return j.failed;
}

/* Opens every file of the places, which come sorted by file. */
static gq_status open_places(gq_safetensors *st, const char *index, const place *places,
                             size_t count, gq_error *err)
{
    const char *slash = strrchr(index, '/');
    char       *dir = slash ? gq_strndup(index, (size_t)(slash - index) + 1) : gq_strdup(".");
    size_t      files = 0;
    gq_status   s = GQ_OK;

    for (size_t i = 0; i < count; i++)
        files += i == 0 || strcmp(places[i].file, places[i - 1].file) != 0;
    if (files > SHARDS_MAX)
        s = gq_fail(err, GQ_EWEIGHTS, "%s: names %zu files, the limit is %d", index, files,
                    SHARDS_MAX);
    else if (!dir || !(st->shards = gq_calloc(files, sizeof *st->shards)))
        s = gq_fail(err, GQ_ENOMEM, "%s: no memory to open its files", index);
    for (size_t i = 0; s == GQ_OK && i < count; i++)
        if (i == 0 || strcmp(places[i].file, places[i - 1].file) != 0)
            if ((s = add_shard(st, gq_path(dir, places[i].file), err)) != GQ_OK)
                gq_context(err, "%s", index);
    gq_free(dir);
    return s;
}

/* Everything the index promises must be where it says. */
static gq_status check_places(const gq_safetensors *st, const char *index, place *places,
                              size_t count, gq_error *err)
{
    char shown[SHOWN];
    qsort(places, count, sizeof *places, place_by_name);
    for (size_t i = 0; i < count; i++) {
        const char *name = places[i].name;
        gq_printable(name, strlen(name), shown, SHOWN);
        if (i && strcmp(name, places[i - 1].name) == 0)
            return gq_fail(err, GQ_EWEIGHTS, "%s: tensor '%s': given twice in weight_map", index,
                           shown);
        const gq_st_tensor *t = gq_st_find(st, name);
        const char         *slash = t ? strrchr(t->file, '/') : NULL;
        if (!t || strcmp(slash ? slash + 1 : t->file, places[i].file) != 0)
            return gq_fail(err, GQ_EWEIGHTS, "%s: tensor '%s': is not in %s", index, shown,
                           places[i].file);
    }
    return GQ_OK;
}

static gq_status open_index(gq_safetensors *st, const char *path, gq_error *err)
{
    gq_bytes  in;
    place    *places = NULL;
    size_t    count = 0;
    gq_status s = as_weights(gq_read_file(path, INDEX_LIMIT, &in, err), err);
    if (s != GQ_OK)
        return s;
    char *text = gq_malloc(in.size + 1, 1);
    if (!text)
        s = gq_fail(err, GQ_ENOMEM, "%s: no memory to read it", path);
    else
        s = parse_index(path, &in, text, &places, &count, err);
    if (s == GQ_OK) {
        qsort(places, count, sizeof *places, place_by_file);
        s = open_places(st, path, places, count, err);
    }
    if (s == GQ_OK)
        s = build_index(st, err);
    if (s == GQ_OK)
        s = check_places(st, path, places, count, err);
    gq_free(places);
    gq_free(text);
    gq_bytes_free(&in);
    return s;
}

static gq_status open_single(gq_safetensors *st, const char *path, gq_error *err)
{
    gq_status s;
    if (!(st->shards = gq_calloc(1, sizeof *st->shards)))
        return gq_fail(err, GQ_ENOMEM, "%s: no memory to open it", path);
    s = add_shard(st, gq_strdup(path), err);
    return s == GQ_OK ? build_index(st, err) : s;
}

static gq_status open_dir(gq_safetensors *st, const char *dir, gq_error *err)
{
    char     *one = gq_path(dir, "model.safetensors");
    char     *many = gq_path(dir, "model.safetensors.index.json");
    gq_status s;
    if (!one || !many)
        s = gq_fail(err, GQ_ENOMEM, "%s: no memory to open it", dir);
    else if (gq_is_file(one))
        s = open_single(st, one, err);
    else if (gq_is_file(many))
        s = open_index(st, many, err);
    else
        s = gq_fail(
            err, GQ_EWEIGHTS,
            "%s: holds neither model.safetensors nor model.safetensors.index.json; put one there",
            dir);
    gq_free(one);
    gq_free(many);
    return s;
}

gq_status gq_safetensors_open(const char *path, gq_safetensors **out, gq_error *err)
{
    gq_safetensors *st = gq_calloc(1, sizeof *st);
    size_t          n = strlen(path);
    gq_status       s;

    *out = NULL;
    if (!st)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory to open it", path);
    if (gq_is_dir(path))
        s = open_dir(st, path, err);
    else if (n > 5 && strcmp(path + n - 5, ".json") == 0)
        s = open_index(st, path, err);
    else
        s = open_single(st, path, err);
    if (s != GQ_OK) {
        gq_safetensors_close(st);
        return s;
    }
    *out = st;
    return GQ_OK;
}

void gq_safetensors_close(gq_safetensors *st)
{
    if (!st)
        return;
    for (size_t i = 0; i < st->shard_count; i++) {
        gq_map_close(&st->shards[i].map);
        gq_free(st->shards[i].names);
        gq_free(st->shards[i].path);
    }
    gq_free(st->shards);
    gq_free(st->tensors);
    gq_free(st->by_name);
    gq_free(st->meta);
    gq_free(st);
}

/* ---- values ---------------------------------------------------------------------------------- */

static float f32_of_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}


float gq_f16_to_f32(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16, e = half >> 10 & 31, m = half & 1023;
    if (e == 31)
        return f32_of_bits(sign | 0x7f800000u | m << 13);
    if (e)
        return f32_of_bits(sign | (e + 112) << 23 | m << 13);
    float f = (float)m * 0x1p-24f;               /* subnormal halves are normal floats: exact */
    return sign ? -f : f;
}

/* dst[i] = the i-th element of t; `load` gives one element at byte pointer p */
#define CONVERT(type, load) do {                                        \
        for (uint64_t i = 0; i < t->count; i++, p += sizeof(type)) {    \
            type raw;                                                   \
            memcpy(&raw, p, sizeof raw);                                \
            dst[i] = load;                                              \
        }                                                               \
    } while (0)

static gq_status not_float(const gq_st_tensor *t, gq_error *err)
{
    char shown[SHOWN];
    return gq_fail(err, GQ_EWEIGHTS, "%s: tensor '%s': is %s, a float type is needed", t->file,
                   gq_printable(t->name, strlen(t->name), shown, SHOWN),
                   gq_st_dtype_name(t->dtype));
}

gq_st_tensor gq_st_slice(const gq_st_tensor *t, uint64_t first, uint64_t n)
{
    size_t       size = gq_st_dtype_size(t->dtype);
    gq_st_tensor part = *t;

    part.rank = 1;
    part.shape[0] = part.count = n;
    part.bytes = (size_t)n * size;
    part.data = (const uint8_t *)t->data + (size_t)first * size;
    return part;
}

gq_status gq_st_read_f32(const gq_st_tensor *t, float *dst, gq_error *err)
{
    const uint8_t *p = t->data;
    switch (t->dtype) {
    case GQ_ST_F32:
        if (t->bytes)
            memcpy(dst, p, t->bytes);
        return GQ_OK;
    case GQ_ST_F64:  CONVERT(double, (float)raw); return GQ_OK;
    case GQ_ST_F16:  CONVERT(uint16_t, gq_f16_to_f32(raw)); return GQ_OK;
    case GQ_ST_BF16: CONVERT(uint16_t, gq_bf16_to_f32(raw)); return GQ_OK;
    default:         return not_float(t, err);
    }
}

gq_status gq_st_read_f64(const gq_st_tensor *t, double *dst, gq_error *err)
{
    const uint8_t *p = t->data;
    switch (t->dtype) {
    case GQ_ST_F64:
        if (t->bytes)
            memcpy(dst, p, t->bytes);
        return GQ_OK;
    case GQ_ST_F32:  CONVERT(float, raw); return GQ_OK;
    case GQ_ST_F16:  CONVERT(uint16_t, gq_f16_to_f32(raw)); return GQ_OK;
    case GQ_ST_BF16: CONVERT(uint16_t, gq_bf16_to_f32(raw)); return GQ_OK;
    default:         return not_float(t, err);
    }
}
