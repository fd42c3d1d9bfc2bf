/* The writer: header first, data streamed behind it. */
#include "core/safetensors.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/io.h"
#include "core/json.h"
#include "core/mem.h"
#include "core/text.h"

struct gq_st_writer {
    gq_file  *file;
    char     *path;
    char    **names;                    /* [count], copies                                        */
    uint64_t *bytes;                    /* [count], bytes each tensor still needs                 */
    size_t    count, turn;              /* tensors; the one being filled                          */
    uint64_t  total;                    /* bytes of the finished file                             */
};

typedef struct text {                   /* the header while it grows                              */
    char *data;
    size_t used, room;
    bool  failed;                       /* no memory                                              */
} text;

static bool text_room(text *t, size_t more)
{
    if (!t->failed && t->room - t->used <= more) {
        size_t want = t->room * 2 + more + 1024;
        char  *grown = gq_realloc(t->data, want, 1);
        t->failed = !grown;
        if (grown) {
            t->data = grown;
            t->room = want;
        }
    }
    return !t->failed;
}

static void text_add(text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void text_add(text *t, const char *fmt, ...)
{
    va_list ap;
    if (!text_room(t, 64))                      /* all formats here are short: two 64-bit numbers */
        return;
    va_start(ap, fmt);
    t->used += (size_t)vsnprintf(t->data + t->used, 64, fmt, ap);
    va_end(ap);
}

static void text_quote(text *t, const char *s)
{
    if (text_room(t, strlen(s) * 6 + 3))
        t->used += gq_json_quote(s, t->data + t->used, t->room - t->used);
}

static bool valid_utf8(const char *s)
{
    uint32_t code;
    for (size_t left = strlen(s), n; left; s += n, left -= n)
        if (!(n = gq_utf8_next(s, left, &code)))
            return false;
    return true;
}

static int by_string(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A mistake of the program, not of data: names that repeat or cannot be JSON, absurd shapes. */
static gq_status check_names(const char *path, char *const *names, size_t count, gq_error *err)
{
    char    **sorted = gq_malloc(count, sizeof *sorted);
    gq_status s = GQ_OK;

    if (!sorted)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory to write it", path);
    for (size_t i = 0; i < count; i++)
        sorted[i] = names[i];
    if (count)
        qsort(sorted, count, sizeof *sorted, by_string);
    for (size_t i = 0; s == GQ_OK && i < count; i++) {
        if (!valid_utf8(sorted[i]) || strcmp(sorted[i], "__metadata__") == 0)
            s = gq_fail(err, GQ_EBUG, "%s: '%s' cannot name a tensor", path, sorted[i]);
        else if (i && strcmp(sorted[i - 1], sorted[i]) == 0)
            s = gq_fail(err, GQ_EBUG, "%s: tensor '%s': declared twice", path, sorted[i]);
    }
    gq_free(sorted);
    return s;
}

static gq_status tensor_bytes(const char *path, const gq_st_tensor *t, uint64_t *bytes,
                              gq_error *err)
{
    if (t->rank < 0 || t->rank > GQ_ST_MAX_RANK || gq_st_dtype_size(t->dtype) == 0)
        return gq_fail(err, GQ_EBUG, "%s: tensor '%s': %d dimensions of type %d", path, t->name,
                       t->rank, (int)t->dtype);
    uint64_t count = 1;                          /* the reader's order: what it takes is written */
    bool     fits = true;
    for (int i = 0; fits && i < t->rank; i++)
        fits = !__builtin_mul_overflow(count, t->shape[i], &count);
    if (!fits || __builtin_mul_overflow(count, gq_st_dtype_size(t->dtype), bytes))
        return gq_fail(err, GQ_EBUG, "%s: tensor '%s': its size is beyond 64 bits", path, t->name);
    return GQ_OK;
}

static gq_status declare(gq_st_writer *w, const gq_st_tensor *t, size_t i, uint64_t *at, text *h,
                         gq_error *err)
{
    gq_status s = tensor_bytes(w->path, t, &w->bytes[i], err);
    uint64_t  end;

    if (s != GQ_OK)
        return s;
    if (!(w->names[i] = gq_strdup(t->name)))
        return gq_fail(err, GQ_ENOMEM, "%s: no memory to write it", w->path);
    if (__builtin_add_overflow(*at, w->bytes[i], &end))
        return gq_fail(err, GQ_EBUG, "%s: its size is beyond 64 bits", w->path);
    text_quote(h, t->name);
    text_add(h, ":{\"dtype\":\"%s\",\"shape\":[", gq_st_dtype_name(t->dtype));
    for (int k = 0; k < t->rank; k++)
        text_add(h, "%s%" PRIu64, k ? "," : "", t->shape[k]);
    text_add(h, "],\"data_offsets\":[");
    text_add(h, "%" PRIu64 ",%" PRIu64 "]}", *at, end);
    *at = end;
    return GQ_OK;
}

static gq_status build_header(gq_st_writer *w, const gq_st_tensor *tensors, const gq_st_meta *meta,
                              size_t meta_count, text *h, gq_error *err)
{
    uint64_t  at = 0;
    gq_status s = GQ_OK;

    text_add(h, "{");
    if (meta_count)
        text_add(h, "\"__metadata__\":{");
    for (size_t i = 0; i < meta_count; i++) {
        if (!valid_utf8(meta[i].key) || !valid_utf8(meta[i].value))
            return gq_fail(err, GQ_EBUG, "%s: metadata that is not UTF-8", w->path);
        text_add(h, "%s", i ? "," : "");
        text_quote(h, meta[i].key);
        text_add(h, ":");
        text_quote(h, meta[i].value);
    }
    if (meta_count)
        text_add(h, "}");
    for (size_t i = 0; s == GQ_OK && i < w->count; i++) {
        if (i || meta_count)
            text_add(h, ",");
        s = declare(w, &tensors[i], i, &at, h, err);
    }
    text_add(h, "}");
    while (!h->failed && h->used % 8)
        text_add(h, " ");
    if (s == GQ_OK && h->failed)
        s = gq_fail(err, GQ_ENOMEM, "%s: no memory for its header", w->path);
    if (s == GQ_OK && h->used > GQ_ST_MAX_HEADER)
        s = gq_fail(err, GQ_EBUG, "%s: a header of %zu bytes, the limit is %d", w->path, h->used,
                    (int)GQ_ST_MAX_HEADER);
    w->total = 8 + h->used + at;
    return s == GQ_OK ? check_names(w->path, w->names, w->count, err) : s;
}

gq_status gq_st_writer_open(const char *path, const gq_st_tensor *tensors, size_t count,
                            const gq_st_meta *meta, size_t meta_count, gq_st_writer **out,
                            gq_error *err)
{
    gq_st_writer *w = gq_calloc(1, sizeof *w);
    text          h = {0};
    uint8_t       length[8];
    gq_status     s = GQ_OK;

    *out = NULL;
    if (w) {
        w->path = gq_strdup(path);
        w->count = count;
        w->names = gq_calloc(count, sizeof *w->names);
        w->bytes = gq_calloc(count, sizeof *w->bytes);
    }
    if (!w || !w->path || !w->names || !w->bytes)
        s = gq_fail(err, GQ_ENOMEM, "%s: no memory to write it", path);
    if (s == GQ_OK)
        s = build_header(w, tensors, meta, meta_count, &h, err);
    if (s == GQ_OK)
        s = gq_atomic_open(path, &w->file, err);
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)((uint64_t)h.used >> 8 * i);
    if (s == GQ_OK)
        s = gq_file_write(w->file, length, sizeof length, err);
    if (s == GQ_OK)
        s = gq_file_write(w->file, h.data, h.used, err);
    gq_free(h.data);
    if (s != GQ_OK) {
        gq_st_abort(w);
        return s;
    }
    *out = w;
    return GQ_OK;
}

static void skip_finished(gq_st_writer *w)
{
    while (w->turn < w->count && w->bytes[w->turn] == 0)
        w->turn++;
}

static gq_status out_of_turn(const gq_st_writer *w, const char *name, gq_error *err)
{
    return gq_fail(err, GQ_EBUG, "%s: tensor '%s' written where '%s' is due", w->path, name,
                   w->turn < w->count ? w->names[w->turn] : "nothing");
}

gq_status gq_st_put(gq_st_writer *w, const char *name, const void *data, size_t bytes,
                    gq_error *err)
{
    if (bytes == 0)
        return GQ_OK;
    skip_finished(w);
    if (w->turn == w->count || strcmp(w->names[w->turn], name) != 0)
        return out_of_turn(w, name, err);
    if (bytes > w->bytes[w->turn])
        return gq_fail(err, GQ_EBUG, "%s: tensor '%s': %zu bytes given, %llu are left of it",
                       w->path, name, bytes, (unsigned long long)w->bytes[w->turn]);
    w->bytes[w->turn] -= bytes;
    return gq_file_write(w->file, data, bytes, err);
}

uint64_t gq_st_file_size(const gq_st_writer *w) { return w->total; }

static void writer_free(gq_st_writer *w)
{
    for (size_t i = 0; w->names && i < w->count; i++)
        gq_free(w->names[i]);
    gq_free(w->names);
    gq_free(w->bytes);
    gq_free(w->path);
    gq_free(w);
}

void gq_st_abort(gq_st_writer *w)
{
    if (!w)
        return;
    gq_atomic_abort(w->file);
    writer_free(w);
}

gq_status gq_st_commit(gq_st_writer *w, gq_error *err)
{
    gq_status s;
    skip_finished(w);
    if (w->turn < w->count) {
        s = gq_fail(err, GQ_EBUG, "%s: tensor '%s': %llu bytes are missing", w->path,
                    w->names[w->turn], (unsigned long long)w->bytes[w->turn]);
        gq_st_abort(w);
        return s;
    }
    s = gq_atomic_commit(w->file, err);
    writer_free(w);
    return s;
}
