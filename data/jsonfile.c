#include "data/jsonfile.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "core/io.h"
#include "core/mem.h"

/* ---- jansson and memory ---------------------------------------------------------------------- */

/* jansson hides most of the allocations that fail: it calls some of them a syntax error, and where
 * its text buffer cannot grow it drops a byte, goes on, and looks for the lost quote beyond the
 * end. So they are noted on their way, and the parser is fed from a reserve until it sees the end
 * of its input, which comes early then. */
static _Thread_local bool refused;      /* to this thread since it began to watch                 */
static _Thread_local struct { char *base, *next, *end; } reserve; /* while this thread parses    */
static json_malloc_t      inner_malloc;
static json_free_t        inner_free;

enum { PIECE = 1024, RESERVE = 256 << 10 };      /* bytes given to the parser; what they need */

static void *noting_malloc(size_t bytes)
{
    void  *p = inner_malloc(bytes);
    size_t aligned = (bytes + 15) & ~(size_t)15;
    refused |= !p;
    if (!p && aligned >= bytes && aligned <= (size_t)(reserve.end - reserve.next)) {
        p = reserve.next;
        reserve.next += aligned;
    }
    return p;
}

static void noting_free(void *p)
{
    if (!reserve.base || (char *)p < reserve.base || (char *)p >= reserve.end)
        inner_free(p);
}

static void install(void)
{
    json_get_alloc_funcs(&inner_malloc, &inner_free);
    json_set_alloc_funcs(noting_malloc, noting_free);
}

void gq_json_watch(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install);
    refused = false;
}

json_t *gq_json_whole(json_t *object)
{
    if (refused) {
        json_decref(object);
        return NULL;
    }
    return object;
}

typedef struct input { const char *at; size_t left; } input;

static size_t feed(void *buffer, size_t room, void *data)
{
    input *t = data;
    size_t n = refused ? 0 : t->left < room ? t->left : room;
    n = n < PIECE ? n : PIECE;
    memcpy(buffer, t->at, n);
    t->at += n;
    t->left -= n;
    return n;
}

gq_status gq_json_parse(const char *text, size_t bytes, json_t **out, json_error_t *at)
{
    bool      before = refused;
    size_t    room;
    input     t = {text, bytes};
    gq_status s = GQ_ENOMEM;

    gq_json_watch();
    *out = NULL;
    /* the longest text doubles its buffer once more, all else is values within a piece */
    if (gq_mul_size(2, bytes, &room) && gq_add_size(room, RESERVE, &room) &&
        (reserve.base = inner_malloc(room))) {
        reserve.next = reserve.base;
        reserve.end = reserve.base + room;
        *out = gq_json_whole(json_load_callback(feed, &t, JSON_REJECT_DUPLICATES, at));
        s = refused ? GQ_ENOMEM : *out ? GQ_OK : GQ_EINPUT;
        char *base = reserve.base;
        reserve.base = reserve.next = reserve.end = NULL;
        inner_free(base);
    }
    refused = before;
    return s;
}

/* ---- files ----------------------------------------------------------------------------------- */

#define SEAL_HEAD ",\n \"seal\": \""
#define SEAL_END  "\"\n}\n"

_Static_assert(sizeof SEAL_HEAD - 1 + 64 + sizeof SEAL_END - 1 == GQ_JSON_SEAL, "see jsonfile.h");

void gq_json_seal(const void *text, size_t bytes, char end[GQ_JSON_SEAL + 1])
{
    uint8_t hash[32];
    char    hex[65];
    gq_sha256(text, bytes, hash);
    gq_hex(hash, sizeof hash, hex);
    snprintf(end, GQ_JSON_SEAL + 1, "%s%s%s", SEAL_HEAD, hex, SEAL_END);
}

static bool seal_holds(const gq_bytes *file)
{
    char end[GQ_JSON_SEAL + 1];
    if (file->size < GQ_JSON_SEAL)
        return false;
    gq_json_seal(file->data, file->size - GQ_JSON_SEAL, end);
    return memcmp(file->data + file->size - GQ_JSON_SEAL, end, GQ_JSON_SEAL) == 0;
}

static gq_status load(const char *path, size_t limit, bool sealed, json_t **out, gq_error *err)
{
    gq_bytes     bytes;
    json_error_t at;

    *out = NULL;
    gq_status s = gq_read_file(path, limit, &bytes, err);
    if (s == GQ_OK && sealed && !seal_holds(&bytes)) {
        gq_bytes_free(&bytes);
        return gq_fail(err, GQ_EINPUT,
                       "%s: its own checksum is not right: it is damaged, was edited, or is older "
                       "than version " GIFQA_VERSION "; make it again",
                       path);
    }
    if (s != GQ_OK)
        return s;
    const uint8_t *nul = memchr(bytes.data, 0, bytes.size);  /* jansson loses one behind a number */
    if (nul)
        s = gq_fail(err, GQ_EINPUT, "%s: not JSON: byte %zu is NUL", path,
                    (size_t)(nul - bytes.data));
    else
        s = gq_json_parse((const char *)bytes.data, bytes.size, out, &at);
    gq_bytes_free(&bytes);
    if (nul)
        return s;
    if (s == GQ_ENOMEM)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory to read it", path);
    if (!*out)
        return gq_fail(err, GQ_EINPUT, "%s:%d:%d: not JSON: %s", path, at.line, at.column, at.text);
    if (!json_is_object(*out)) {
        json_decref(*out);
        *out = NULL;
        return gq_fail(err, GQ_EINPUT, "%s: is not a JSON object", path);
    }
    return GQ_OK;
}

gq_status gq_json_load(const char *path, size_t limit, json_t **out, gq_error *err)
{
    return load(path, limit, false, out, err);
}

gq_status gq_json_load_sealed(const char *path, size_t limit, json_t **out, gq_error *err)
{
    return load(path, limit, true, out, err);
}

typedef struct sink {
    gq_file  *file;
    gq_error *err;
} sink;

static int put(const char *text, size_t n, void *data)
{
    sink *s = data;
    return gq_file_write(s->file, text, n, s->err) == GQ_OK ? 0 : -1;
}

gq_status gq_json_save(const char *path, json_t *object, gq_error *err)
{
    sink to = {NULL, err};
    if (!object)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory to write it", path);
    gq_status s = gq_atomic_open(path, &to.file, err);
    if (s == GQ_OK &&
        (json_dump_callback(object, put, &to, JSON_INDENT(1)) != 0 || put("\n", 1, &to) != 0)) {
        gq_atomic_abort(to.file);
        /* a failed write has its text */
        s = gq_fail(err, GQ_ENOMEM, "%s: no memory to write it", path);
    } else if (s == GQ_OK) {
        s = gq_atomic_commit(to.file, err);
    }
    json_decref(object);
    return s;
}

gq_status gq_json_save_sealed(const char *path, json_t *object, gq_error *err)
{
    char       *text = object ? json_dumps(object, JSON_INDENT(1)) : NULL, *whole = NULL;
    size_t      n = text ? strlen(text) - strlen("\n}") : 0;
    json_free_t release;
    gq_status   s = GQ_OK;

    if (text && (whole = gq_malloc(n + GQ_JSON_SEAL + 1, 1))) {
        memcpy(whole, text, n);
        gq_json_seal(whole, n, whole + n);
        s = gq_write_file(path, whole, n + GQ_JSON_SEAL, err);
    } else {
        s = gq_fail(err, GQ_ENOMEM, "%s: no memory to write it", path);
    }
    gq_free(whole);
    json_get_alloc_funcs(NULL, &release);
    release(text);
    json_decref(object);
    return s;
}
