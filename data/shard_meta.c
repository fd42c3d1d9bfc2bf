/* The attributes of a shard, from one table, and MANIFEST.json. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/io.h"
#include "core/mem.h"
#include "data/jsonfile.h"
#include "data/shard_private.h"

enum {
    MAX_KEYFRAMES = 4096,
    MAX_SIZE = 4096,
    MAX_TOKENS = 65536,
    MAX_WIDTH = 65536,
    MAX_SHARDS = 100000
};
static const uint64_t max_row = 1ull << 30;      /* bytes of one GIF's frames or tokens */

typedef struct text_field {
    const char *name;
    size_t      at, size;
} text_field;
#define TEXT(f) {#f, offsetof(gq_shard_meta, f), sizeof(((gq_shard_meta *)0)->f)}
static const text_field  texts[] = {TEXT(source),        TEXT(sampler),   TEXT(preprocess),
                                    TEXT(matte),         TEXT(features),  TEXT(prompt),
                                    TEXT(answer_prefix), TEXT(tokenizer), TEXT(tokenizer_sha256),
                                    TEXT(created)};

enum {
    NTEXTS = sizeof texts / sizeof *texts,
    TYPES_TEXT = GQ_SHARD_TYPES * GQ_SHARD_TYPE_NAME,
    SUM = 8192
};

size_t gq_shard_frame_bytes(const gq_shard_meta *m)
{
    return (size_t)m->keyframes * (size_t)m->size * (size_t)m->size * 3;
}

size_t gq_shard_token_count(const gq_shard_meta *m)
{
    return (size_t)m->keyframes * (size_t)m->tokens * (size_t)m->width;
}

const char *const gq_set_name[GQ_SETS] = {"gif/frames", "gif/tokens", "gif/pooled"};
const char *const gq_set_hash_name[GQ_SETS] = {"gif/frames_xxh64", "gif/tokens_xxh64",
                                               "gif/pooled_xxh64"};

gq_row_form gq_shard_form(const gq_shard_meta *m, gq_set_id set, gq_h5_type *type,
                          gq_h5_shape *shape)
{
    const uint64_t    t = (uint64_t)m->keyframes, s = (uint64_t)m->size;
    const gq_h5_shape all[GQ_SETS] = {
        {4, {t, s, s, 3}},
        {3, {t, (uint64_t)m->tokens, (uint64_t)m->width}},
        {2, {GQ_SHARD_BLOCK, (uint64_t)m->pooled}},
    };
    gq_row_form f = {.element = 1};
    *type = set == GQ_SET_FRAMES ? GQ_H5_U8 : m->bf16 ? GQ_H5_BF16 : GQ_H5_F32;
    *shape = all[set];
    f.bytes = f.element = gq_h5_size(*type);
    for (int k = 0; k < shape->rank; k++)
        f.bytes *= (size_t)shape->dim[k];
    f.stride = set == GQ_SET_FRAMES ? (size_t)m->size * 3 : 0;
    f.pack = gq__codec_pack(m->codec, f.element);
    return f;
}

int gq_shard_type(const gq_shard_meta *m, const char *name)
{
    for (int k = 0; k < m->ntypes; k++)
        if (strcmp(m->types[k], name) == 0)
            return k;
    return -1;
}

int gq_shard_type_add(gq_shard_meta *m, const char *name)
{
    int k = gq_shard_type(m, name);
    if (k >= 0)
        return k;
    if (m->ntypes >= GQ_SHARD_TYPES || strlen(name) >= GQ_SHARD_TYPE_NAME || strchr(name, '\n'))
        return -1;
    snprintf(m->types[m->ntypes], GQ_SHARD_TYPE_NAME, "%s", name);
    return m->ntypes++;
}

gq_status gq_shard_check_meta(const gq_shard_meta *m, const char *path, gq_status code,
                              gq_error *err)
{
    if (m->keyframes < 1 || m->keyframes > MAX_KEYFRAMES)
        return gq_fail(err, code, "%s: keyframes is %d, not 1..%d", path, m->keyframes,
                       MAX_KEYFRAMES);
    if (m->size < 0 || m->size > MAX_SIZE)
        return gq_fail(err, code, "%s: the image size is %d, not 0..%d", path, m->size, MAX_SIZE);
    if (m->tokens < 0 || m->tokens > MAX_TOKENS || m->width < 0 || m->width > MAX_WIDTH ||
        !m->tokens != !m->width)
        return gq_fail(err, code, "%s: features of %d x %d are not possible", path, m->tokens,
                       m->width);
    if (m->pooled < 0 || m->pooled > MAX_WIDTH)
        return gq_fail(err, code, "%s: vectors of %d numbers are not possible", path, m->pooled);
    if (gq_shard_frame_bytes(m) > max_row || gq_shard_token_count(m) > max_row / 4)
        return gq_fail(err, code, "%s: one GIF would take more than 1 GiB", path);
    if (!m->size && !m->tokens && m->keyframes != 1)
        return gq_fail(err, code, "%s: %d keyframes of which neither pixels nor features are there",
                       path, m->keyframes);
    if (m->ntypes < 1 || m->ntypes > GQ_SHARD_TYPES)
        return gq_fail(err, code, "%s: %d question types, 1..%d are possible", path, m->ntypes,
                       GQ_SHARD_TYPES);
    if (gq_shard_codec_lack(m->codec))
        return gq_fail(err, code, "%s: %s", path, gq_shard_codec_lack(m->codec));
    return GQ_OK;
}

/* All attributes as one text, for their checksum. */
static uint64_t attributes_hash(const gq_shard_meta *m, const char *types, uint64_t gifs,
                                uint64_t questions)
{
    char sum[SUM];
    int  n =
        snprintf(sum, sizeof sum,
                 "%s %d T=%d S=%d N=%d D=%d bf16=%d codec=%d seed=%llu gifs=%llu qas=%llu\n%s\n",
                 GQ_SHARD_FORMAT, GQ_SHARD_VERSION, m->keyframes, m->size, m->tokens, m->width,
                 m->bf16, (int)m->codec, (unsigned long long)m->seed, (unsigned long long)gifs,
                 (unsigned long long)questions, types);
    for (int k = 0; k < NTEXTS; k++)
        n += snprintf(sum + n, sizeof sum - (size_t)n, "%s=%s\n", texts[k].name,
                      (const char *)m + texts[k].at);
    if (m->pooled)                               /* shards without are older than these */
        n += snprintf(sum + n, sizeof sum - (size_t)n, "pooled=%d by %s\n", m->pooled,
                      m->pooled_tower);
    return gq_xxh64(sum, (size_t)n);
}

gq_status gq_shard_put_meta(gq_h5 *f, const gq_shard_meta *m, uint64_t gifs, uint64_t questions,
                            gq_error *err)
{
    const struct { const char *name; uint64_t value;
    } numbers[] = {
        {"version", GQ_SHARD_VERSION},
        {"keyframes", (uint64_t)m->keyframes},
        {"size", (uint64_t)m->size},
        {"tokens", (uint64_t)m->tokens},
        {"width", (uint64_t)m->width},
        {"bf16", m->bf16},
        {"seed", m->seed},
        {"n_gif", gifs},
        {"n_qa", questions},
    };
    char   types[TYPES_TEXT] = "";
    size_t n = 0;
    for (int k = 0; k < m->ntypes; k++)
        n += (size_t)snprintf(types + n, sizeof types - n, "%s%s", k ? "\n" : "", m->types[k]);
    gq_status s = gq_h5_put_text(f, "format", GQ_SHARD_FORMAT, err);
    for (size_t k = 0; s == GQ_OK && k < sizeof numbers / sizeof *numbers; k++)
        s = gq_h5_put_u64(f, numbers[k].name, numbers[k].value, err);
    if (s == GQ_OK)
        s = gq_h5_put_text(f, "codec", gq_shard_codec_name[m->codec], err);
    if (s == GQ_OK)
        s = gq_h5_put_text(f, "types", types, err);
    for (int k = 0; s == GQ_OK && k < NTEXTS; k++)
        s = gq_h5_put_text(f, texts[k].name, (const char *)m + texts[k].at, err);
    if (s == GQ_OK && m->pooled)
        s = gq_h5_put_u64(f, "pooled", (uint64_t)m->pooled, err);
    if (s == GQ_OK && m->pooled)
        s = gq_h5_put_text(f, "pooled_tower", m->pooled_tower, err);
    return s == GQ_OK
               ? gq_h5_put_u64(f, "attrs_xxh64", attributes_hash(m, types, gifs, questions), err)
               : s;
}

static gq_status get_i32(gq_h5 *f, const char *path, const char *name, int32_t *value,
                         gq_error *err)
{
    uint64_t  v;
    gq_status s = gq_h5_get_u64(f, name, &v, err);
    if (s == GQ_OK && v > INT32_MAX)
        s = gq_fail(err, GQ_EINPUT, "%s: the attribute '%s' is %llu: refused", path, name,
                    (unsigned long long)v);
    *value = s == GQ_OK ? (int32_t)v : 0;
    return s;
}

static gq_status get_format(gq_h5 *f, const char *path, gq_error *err)
{
    char      text[32];
    uint64_t  version;
    gq_status s = gq_h5_get_text(f, "format", text, sizeof text, err);
    if (s == GQ_OK && strcmp(text, GQ_SHARD_FORMAT) != 0)
        return gq_fail(err, GQ_EINPUT, "%s: is HDF5 but not a shard of gifqa", path);
    if (s == GQ_OK)
        s = gq_h5_get_u64(f, "version", &version, err);
    if (s == GQ_OK && version != GQ_SHARD_VERSION)
        s = gq_fail(err, GQ_EINPUT, "%s: shard version %llu, this program reads version %d", path,
                    (unsigned long long)version, GQ_SHARD_VERSION);
    return s;
}

static gq_status get_types(const char *path, const char *types, gq_shard_meta *m, gq_error *err)
{
    char  copy[TYPES_TEXT], *rest = copy;
    char *name;
    snprintf(copy, sizeof copy, "%s", types);
    while ((name = strsep(&rest, "\n")))
        if (gq_shard_type(m, name) >= 0 || gq_shard_type_add(m, name) < 0)
            return gq_fail(err, GQ_EINPUT, "%s: the attribute 'types' is malformed", path);
    return GQ_OK;
}

gq_status gq_shard_get_meta(gq_h5 *f, const char *path, gq_shard_meta *m, uint64_t *gifs,
                            uint64_t *questions, gq_error *err)
{
    const struct { const char *name; int32_t *to;
    } numbers[] = {
        {"keyframes", &m->keyframes},
        {"size", &m->size},
        {"tokens", &m->tokens},
        {"width", &m->width},
    };
    char      types[TYPES_TEXT], codec[64];
    uint64_t  bf16 = 0, hash = 0;
    gq_status s = get_format(f, path, err);
    memset(m, 0, sizeof *m);
    for (size_t k = 0; s == GQ_OK && k < sizeof numbers / sizeof *numbers; k++)
        s = get_i32(f, path, numbers[k].name, numbers[k].to, err);
    if (s != GQ_OK || (s = gq_h5_get_u64(f, "bf16", &bf16, err)) != GQ_OK ||
        (s = gq_h5_get_u64(f, "seed", &m->seed, err)) != GQ_OK ||
        (s = gq_h5_get_u64(f, "n_gif", gifs, err)) != GQ_OK ||
        (s = gq_h5_get_u64(f, "n_qa", questions, err)) != GQ_OK ||
        (s = gq_h5_get_u64(f, "attrs_xxh64", &hash, err)) != GQ_OK ||
        (s = gq_h5_get_text(f, "codec", codec, sizeof codec, err)) != GQ_OK ||
        (s = gq_h5_get_text(f, "types", types, sizeof types, err)) != GQ_OK)
        return s;
    for (int k = 0; s == GQ_OK && k < NTEXTS; k++)
        s = gq_h5_get_text(f, texts[k].name, (char *)m + texts[k].at, texts[k].size, err);
    if (s == GQ_OK && gq_h5_has_attribute(f, "pooled") &&
        (s = get_i32(f, path, "pooled", &m->pooled, err)) == GQ_OK)
        s = gq_h5_get_text(f, "pooled_tower", m->pooled_tower, sizeof m->pooled_tower, err);
    if (s != GQ_OK)
        return s;
    m->bf16 = bf16 == 1;
    if (!gq_shard_codec_find(codec, &m->codec))
        return gq_fail(err, GQ_EINPUT,
                       "%s: its codec '%.40s' is not one of %s; build it again, or convert it with "
                       "the gifqa that wrote it (gifqa-prep convert --codec none)",
                       path, codec, gq_shard_codec_names);
    if (bf16 > 1 || attributes_hash(m, types, *gifs, *questions) != hash)
        return gq_fail(
            err, GQ_EINPUT,
            "%s: the checksum of its attributes differs, the file is damaged; build it again",
            path);
    if ((s = get_types(path, types, m, err)) != GQ_OK)
        return s;
    return gq_shard_check_meta(m, path, GQ_EINPUT, err);
}

/* ---- MANIFEST.json --------------------------------------------------------------------------- */

static char *manifest_path(const char *dir)
{
    return gq_path(dir, "MANIFEST.json");
}

void gq_manifest_free(gq_manifest *m)
{
    gq_free(m->shard);
    memset(m, 0, sizeof *m);
}

gq_status gq_manifest_add(gq_manifest *m, const gq_shard_entry *e, gq_error *err)
{
    gq_shard_entry *more = gq_realloc(m->shard, (size_t)m->count + 1, sizeof *more);
    if (!more)
        return gq_fail(err, GQ_ENOMEM, "no memory for a list of %d shards", m->count + 1);
    m->shard = more;
    more[m->count++] = *e;
    return GQ_OK;
}

static json_t *extents_json(const gq_shard_entry *e)
{
    json_t *list = json_array();
    for (int32_t k = 0; k < e->extents; k++) {
        json_array_append_new(list, json_integer((json_int_t)e->extent[k].at));
        json_array_append_new(list, json_integer((json_int_t)e->extent[k].bytes));
    }
    return list;
}

gq_status gq_manifest_save(const char *dir, const gq_manifest *m, gq_error *err)
{
    gq_json_watch();
    json_t *list = json_array();
    for (int k = 0; k < m->count; k++) {
        const gq_shard_entry *e = &m->shard[k];
        char                  hash[17];
        snprintf(hash, sizeof hash, "%016llx", (unsigned long long)e->structure);
        json_array_append_new(
            list, json_pack("{s:s, s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:o}", "file",
                            e->file, "bytes", (json_int_t)e->bytes, "sha256", e->sha256, "gifs",
                            (json_int_t)e->gifs, "questions", (json_int_t)e->questions, "next",
                            (json_int_t)e->next, "rejects", (json_int_t)e->rejects, "cut_questions",
                            (json_int_t)e->cut_questions, "cut_answers",
                            (json_int_t)e->cut_answers, "rejects_bytes",
                            (json_int_t)e->rejects_bytes, "structure_xxh64", hash, "extents",
                            extents_json(e)));
    }
    char *path = manifest_path(dir);
    if (!path) {
        json_decref(list);
        return gq_fail(err, GQ_ENOMEM, "%s: no memory for a path", dir);
    }
    json_t   *o = json_pack("{s:s, s:i, s:s, s:b, s:o}", "format", "gifqa-dataset", "version",
                            GQ_SHARD_VERSION, "build", m->build, "complete", (int)m->complete,
                            "shards", list);
    gq_status s = gq_json_save_sealed(path, gq_json_whole(o), err);
    gq_free(path);
    return s;
}

static bool is_hex(const char *text)
{
    return text && strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64;
}

/* [at, bytes, at, bytes, ...] within the file. */
static bool extents_from_json(const json_t *list, gq_shard_entry *e)
{
    size_t n = json_array_size(list);
    if (!n || n % 2 || n / 2 > GQ_SHARD_EXTENTS)
        return false;
    e->extents = (int32_t)(n / 2);
    for (int32_t k = 0; k < e->extents; k++) {
        json_int_t at = json_integer_value(json_array_get(list, 2 * (size_t)k));
        json_int_t bytes = json_integer_value(json_array_get(list, 2 * (size_t)k + 1));
        if (at < 0 || bytes <= 0 || (uint64_t)at > e->bytes ||
            (uint64_t)bytes > e->bytes - (uint64_t)at)
            return false;
        e->extent[k].at = (uint64_t)at;
        e->extent[k].bytes = (uint64_t)bytes;
    }
    return true;
}

static bool entry_from_json(const json_t *o, int k, gq_shard_entry *e)
{
    const char *file = json_string_value(json_object_get(o, "file"));
    const char *sha256 = json_string_value(json_object_get(o, "sha256"));
    json_int_t  bytes = json_integer_value(json_object_get(o, "bytes"));
    json_int_t  gifs = json_integer_value(json_object_get(o, "gifs"));
    json_int_t  questions = json_integer_value(json_object_get(o, "questions"));
    json_int_t  follow = json_integer_value(json_object_get(o, "next"));
    json_int_t  rejects = json_integer_value(json_object_get(o, "rejects"));
    json_int_t  cut_questions = json_integer_value(json_object_get(o, "cut_questions"));
    json_int_t  cut_answers = json_integer_value(json_object_get(o, "cut_answers"));
    json_int_t  rejects_bytes = json_integer_value(json_object_get(o, "rejects_bytes"));
    const char *structure = json_string_value(json_object_get(o, "structure_xxh64"));

    snprintf(e->file, sizeof e->file, "shard-%05d.h5", k); /* never a name from the file */
    if (!file || strcmp(file, e->file) != 0 || !is_hex(sha256) || bytes <= 0 || gifs <= 0 ||
        gifs > INT32_MAX || questions < 0 || questions > INT32_MAX || follow < 0 ||
        follow > UINT32_MAX || rejects < 0 || rejects > UINT32_MAX || rejects_bytes < 0 ||
        cut_questions < 0 || cut_questions > questions || cut_answers < 0 ||
        cut_answers > questions || !structure || strlen(structure) != 16 ||
        strspn(structure, "0123456789abcdef") != 16)
        return false;
    snprintf(e->sha256, sizeof e->sha256, "%s", sha256);
    e->bytes = (uint64_t)bytes;
    e->gifs = (uint32_t)gifs;
    e->questions = (uint32_t)questions;
    e->next = (uint32_t)follow;
    e->rejects = (uint32_t)rejects;
    e->cut_questions = (uint32_t)cut_questions;
    e->cut_answers = (uint32_t)cut_answers;
    e->rejects_bytes = (uint64_t)rejects_bytes;
    e->structure = strtoull(structure, NULL, 16);
    return extents_from_json(json_object_get(o, "extents"), e);
}

static gq_status manifest_from_json(const char *path, const json_t *o, gq_manifest *m,
                                    gq_error *err)
{
    const char   *format = json_string_value(json_object_get(o, "format"));
    const char   *build = json_string_value(json_object_get(o, "build"));
    const json_t *list = json_object_get(o, "shards");
    json_int_t    version = json_integer_value(json_object_get(o, "version"));

    if (!format || strcmp(format, "gifqa-dataset") != 0)
        return gq_fail(err, GQ_EINPUT, "%s: is not the manifest of a dataset", path);
    if (version != GQ_SHARD_VERSION)
        return gq_fail(err, GQ_EINPUT, "%s: dataset version %lld, this program reads version %d",
                       path, (long long)version, GQ_SHARD_VERSION);
    if (!build || (*build && !is_hex(build)) || !json_is_array(list) ||
        json_array_size(list) > MAX_SHARDS)
        return gq_fail(err, GQ_EINPUT, "%s: 'build' or 'shards' is malformed", path);
    snprintf(m->build, sizeof m->build, "%s", build);
    m->complete = json_is_true(json_object_get(o, "complete"));
    for (size_t k = 0; k < json_array_size(list); k++) {
        gq_shard_entry e = {0};
        if (!entry_from_json(json_array_get(list, k), (int)k, &e))
            return gq_fail(err, GQ_EINPUT, "%s: shard %zu of the list is malformed", path, k);
        gq_status s = gq_manifest_add(m, &e, err);
        if (s != GQ_OK)
            return s;
    }
    return GQ_OK;
}

gq_status gq_manifest_load(const char *dir, gq_manifest *out, gq_error *err)
{
    json_t *o = NULL;
    char   *path = manifest_path(dir);
    memset(out, 0, sizeof *out);
    if (!path)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory for a path", dir);
    gq_status s = gq_is_file(path)
                      ? gq_json_load_sealed(path, 64 << 20, &o, err)
                      : gq_fail(err, GQ_EINPUT,
                                "%s: is not a directory with shards (it has no MANIFEST.json); "
                                "make one with gifqa-prep build",
                                dir);
    if (s == GQ_OK)
        s = manifest_from_json(path, o, out, err);
    json_decref(o);
    gq_free(path);
    if (s != GQ_OK)
        gq_manifest_free(out);
    return s;
}
