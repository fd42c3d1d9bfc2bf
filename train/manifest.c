#include "train/manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/io.h"
#include "core/json.h"
#include "core/mem.h"

#define TAIL_HEAD "\"manifest_sha256\": \""
#define TAIL_END  "\"}\n"

enum {
    LIMIT = 64 << 10,                                        /* bytes of a manifest               */
    TAIL = sizeof TAIL_HEAD - 1 + 64 + sizeof TAIL_END - 1,  /* bytes of its last line            */
};

/* ---- making ---------------------------------------------------------------------------------- */

static gq_status add_file(const char *dir, const char *name, gq_ckpt_manifest *m, gq_error *err)
{
    gq_ckpt_file *f = &m->file[m->count];
    if (name[0] == '.' || strlen(name) >= GQ_CKPT_NAME_MAX)
        return gq_fail(err, GQ_EBUG, "%s/%s: an unfinished or oddly named file in a checkpoint",
                       dir, name);
    if (m->count == GQ_CKPT_FILES_MAX)
        return gq_fail(err, GQ_EBUG, "%s: more than %d files", dir, (int)GQ_CKPT_FILES_MAX);
    char *path = gq_path(dir, name);
    if (!path)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory to list it", dir);
    gq_status s = gq_sha256_file(path, &f->bytes, f->sha256, err);
    gq_free(path);
    if (s != GQ_OK)
        return s;
    snprintf(f->name, sizeof f->name, "%s", name);
    m->bytes += f->bytes;
    m->count++;
    return GQ_OK;
}

gq_status gq_manifest_make(const char *dir, uint64_t step, gq_ckpt_manifest *out, gq_error *err)
{
    char    **names;
    size_t    count;
    gq_status s = gq_list_dir(dir, &names, &count, err);

    *out = (gq_ckpt_manifest){.step = step};
    if (s != GQ_OK)
        return s;
    for (size_t i = 0; i < count; i++) {
        if (s == GQ_OK && strcmp(names[i], GQ_CKPT_MANIFEST) != 0)
            s = add_file(dir, names[i], out, err);
        gq_free(names[i]);
    }
    gq_free(names);
    return s;
}

gq_status gq_manifest_write(const char *dir, const gq_ckpt_manifest *m, gq_error *err)
{
    char     *path = gq_path(dir, GQ_CKPT_MANIFEST), *text = gq_malloc(LIMIT, 1);
    char      quoted[6 * GQ_CKPT_NAME_MAX + 3], hex[65];
    uint8_t   hash[32];
    int       n = 0;
    gq_status s;

    if (!path || !text) {
        gq_free(path);
        gq_free(text);
        return gq_fail(err, GQ_ENOMEM, "%s: no memory for its manifest", dir);
    }
    /* 32 files of at most 600 bytes each: LIMIT is never met */
    n += snprintf(text, LIMIT,
                  "{\"format\": \"gifqa-checkpoint\", \"version\": %d, \"step\": %" PRIu64
                  ",\n\"files\": [",
                  (int)GQ_CKPT_FORMAT, m->step);
    for (int i = 0; i < m->count; i++) {
        const gq_ckpt_file *f = &m->file[i];
        gq_hex(f->sha256, 32, hex);
        gq_json_quote(f->name, quoted, sizeof quoted);
        n += snprintf(text + n, (size_t)(LIMIT - n),
                      "%s\n {\"name\": %s, \"bytes\": %" PRIu64 ", \"sha256\": \"%s\"}",
                      i ? "," : "", quoted, f->bytes, hex);
    }
    n += snprintf(text + n, (size_t)(LIMIT - n), "],\n");
    gq_sha256(text, (size_t)n, hash);
    gq_hex(hash, 32, hex);
    n += snprintf(text + n, (size_t)(LIMIT - n), "%s%s%s", TAIL_HEAD, hex, TAIL_END);
    s = gq_write_file(path, text, (size_t)n, err);
    gq_free(path);
    gq_free(text);
    return s;
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool own_checksum_holds(const gq_bytes *b)
{
    uint8_t hash[32];
    char    tail[TAIL + 1], hex[65];
    if (b->size < TAIL)
        return false;
    gq_sha256(b->data, b->size - TAIL, hash);
    gq_hex(hash, 32, hex);
    snprintf(tail, sizeof tail, "%s%s%s", TAIL_HEAD, hex, TAIL_END);
    return memcmp(b->data + b->size - TAIL, tail, TAIL) == 0;
}

static bool unhex(const char *text, uint8_t out[32])
{
    if (strlen(text) != 64 || strspn(text, "0123456789abcdef") != 64)
        return false;
    for (int i = 0; i < 32; i++) {
        int hi = text[2 * i], lo = text[2 * i + 1];
        out[i] = (uint8_t)((hi <= '9' ? hi - '0' : hi - 'a' + 10) << 4 |
                           (lo <= '9' ? lo - '0' : lo - 'a' + 10));
    }
    return true;
}

static void read_file_entry(gq_json *j, gq_ckpt_manifest *m)
{
    char          key[16], hex[65] = "";
    gq_ckpt_file *f = &m->file[m->count];

    *f = (gq_ckpt_file){0};
    gq_json_object(j);
    while (gq_json_key(j, key, sizeof key)) {
        if (strcmp(key, "name") == 0)
            gq_json_string(j, f->name, sizeof f->name);
        else if (strcmp(key, "bytes") == 0)
            gq_json_u64(j, &f->bytes);
        else if (strcmp(key, "sha256") == 0)
            gq_json_string(j, hex, sizeof hex);
        else
            gq_json_skip(j);
    }
    if (!j->failed &&
        (!f->name[0] || f->name[0] == '.' || strchr(f->name, '/') || !unhex(hex, f->sha256)))
        gq_json_fail(j, "a file entry without a plain name or a SHA-256");
    if (!j->failed && m->count && strcmp(m->file[m->count - 1].name, f->name) >= 0)
        gq_json_fail(j, "file entries out of order");
    if (__builtin_add_overflow(m->bytes, f->bytes, &m->bytes))
        gq_json_fail(j, "sizes beyond 64 bits");
}

static void read_files(gq_json *j, gq_ckpt_manifest *m)
{
    gq_json_array(j);
    while (gq_json_item(j)) {
        if (m->count == GQ_CKPT_FILES_MAX) {
            gq_json_fail(j, "more than %d files", (int)GQ_CKPT_FILES_MAX);
            return;
        }
        read_file_entry(j, m);
        m->count++;
    }
}

static gq_status parse(const char *path, const gq_bytes *b, gq_ckpt_manifest *m, gq_error *err)
{
    gq_json  j;
    char     key[32], format[32] = "";
    uint64_t version = 0;

    *m = (gq_ckpt_manifest){.step = GQ_CKPT_NONE};
    gq_json_begin(&j, path, b->data, b->size, GQ_EWEIGHTS, err);
    gq_json_object(&j);
    while (gq_json_key(&j, key, sizeof key)) {
        if (strcmp(key, "format") == 0)
            gq_json_string(&j, format, sizeof format);
        else if (strcmp(key, "version") == 0)
            gq_json_u64(&j, &version);
        else if (strcmp(key, "step") == 0)
            gq_json_u64(&j, &m->step);
        else if (strcmp(key, "files") == 0 && m->count == 0)
            read_files(&j, m);
        else
            gq_json_skip(&j);
    }
    if (gq_json_end(&j) != GQ_OK)
        return j.failed;
    if (strcmp(format, "gifqa-checkpoint") != 0 || m->step == GQ_CKPT_NONE)
        return gq_fail(err, GQ_EWEIGHTS, "%s: is not the manifest of a checkpoint", path);
    if (version != GQ_CKPT_FORMAT)
        return gq_fail(err, GQ_EWEIGHTS,
                       "%s: format version %" PRIu64 ", this program reads %d; use the "
                       "program that wrote it",
                       path, version, (int)GQ_CKPT_FORMAT);
    return GQ_OK;
}

gq_status gq_ckpt_manifest_read(const char *dir, gq_ckpt_manifest *out, gq_error *err)
{
    char     *path = gq_path(dir, GQ_CKPT_MANIFEST);
    gq_bytes  b;
    gq_status s;

    if (!path)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory to read its manifest", dir);
    if (gq_is_dir(dir) && !gq_is_file(path)) {
        s = gq_fail(err, GQ_EWEIGHTS, "%s: is missing; %s is not a checkpoint or an incomplete one",
                    path, dir);
    } else if ((s = gq_read_file(path, LIMIT, &b, err)) == GQ_OK) {
        s = own_checksum_holds(&b)
                ? parse(path, &b, out, err)
                : gq_fail(err, GQ_EWEIGHTS, "%s: damaged: its checksum does not hold", path);
        gq_bytes_free(&b);
    }
    gq_free(path);
    return s;
}

/* ---- verifying ------------------------------------------------------------------------------- */

static gq_status verify_file(const char *dir, const gq_ckpt_file *f, gq_error *err)
{
    char     *path = gq_path(dir, f->name);
    uint64_t  bytes;
    uint8_t   hash[32];
    gq_status s;

    if (!path)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory to verify it", dir);
    if (!gq_is_file(path))
        s = gq_fail(err, GQ_EWEIGHTS, "%s: is missing", path);
    else
        s = gq_sha256_file(path, &bytes, hash, err);
    if (s == GQ_OK && bytes != f->bytes)
        s = gq_fail(err, GQ_EWEIGHTS, "%s: %" PRIu64 " bytes, the manifest says %" PRIu64, path,
                    bytes, f->bytes);
    if (s == GQ_OK && memcmp(hash, f->sha256, 32) != 0)
        s = gq_fail(err, GQ_EWEIGHTS, "%s: damaged: its SHA-256 is not that of the manifest", path);
    gq_free(path);
    return s;
}

gq_status gq_ckpt_verify(const char *dir, gq_ckpt_manifest *out, gq_error *err)
{
    gq_ckpt_manifest *m = gq_malloc(1, sizeof *m);
    gq_status         s;

    if (!m)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory to verify it", dir);
    s = gq_ckpt_manifest_read(dir, m, err);
    for (int i = 0; s == GQ_OK && i < m->count; i++)
        s = verify_file(dir, &m->file[i], err);
    if (s == GQ_OK && out)
        *out = *m;
    gq_free(m);
    return s;
}
