/* fuzz_safetensors.c - any bytes as a safetensors file, beside a second implementation of the
 * format's rules on top of jansson: both accept the same files. What is accepted goes through our
 * writer and comes back the same.
 *
 * Meant differences: jansson's integers end at 2^63 - 1, ours at 2^64 - 1; jansson reads "-0" and
 * numbers with exponents where the format wants plain whole numbers, so "-0" is refused here.
 */
#include "fuzz.h"

#include <jansson.h>
#include <math.h>

#include "core/mem.h"
#include "core/safetensors.h"

enum { TENSORS = 4096 };

/* ---- the second implementation --------------------------------------------------------------- */

typedef struct span { uint64_t begin, end; } span;

static uint64_t width_of(const char *dtype)
{
    for (int d = 0; dtype && d < GQ_ST_DTYPE_COUNT; d++)
        if (!strcmp(gq_st_dtype_name((gq_st_dtype)d), dtype))
            return gq_st_dtype_size((gq_st_dtype)d);
    return 0;
}

static bool whole(const json_t *v) { return json_is_integer(v) && json_integer_value(v) >= 0; }

static bool tensor_is_right(const json_t *t, span *out)
{
    const json_t *shape = json_object_get(t, "shape"), *at = json_object_get(t, "data_offsets");
    uint64_t      count = 1, width = width_of(json_string_value(json_object_get(t, "dtype")));
    if (json_object_size(t) != 3 || !json_is_array(shape) || !json_is_array(at) || !width ||
        json_array_size(at) != 2 || json_array_size(shape) > GQ_ST_MAX_RANK)
        return false;
    for (size_t i = 0; i < json_array_size(shape); i++) {
        const json_t *extent = json_array_get(shape, i);
        if (!whole(extent) ||
            __builtin_mul_overflow(count, (uint64_t)json_integer_value(extent), &count))
            return false;
    }
    if (!whole(json_array_get(at, 0)) || !whole(json_array_get(at, 1)))
        return false;
    out->begin = (uint64_t)json_integer_value(json_array_get(at, 0));
    out->end = (uint64_t)json_integer_value(json_array_get(at, 1));
    return !__builtin_mul_overflow(count, width, &count) && out->end >= out->begin &&
           out->end - out->begin == count;
}

static int by_place(const void *a, const void *b)
{
    const span *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

static bool metadata_is_right(json_t *meta)
{
    const char *key;
    json_t     *v;
    if (!json_is_object(meta))
        return false;
    json_object_foreach(meta, key, v)
        if (!json_is_string(v))
            return false;
    return true;
}

static bool header_is_right(json_t *head, uint64_t data_bytes)
{
    static span spans[TENSORS];
    size_t      n = 0;
    uint64_t    at = 0;
    const char *key;
    json_t     *v;
    json_object_foreach(head, key, v) {
        if (!strcmp(key, "__metadata__")) {
            if (!metadata_is_right(v))
                return false;
        } else if (n == TENSORS || !tensor_is_right(v, &spans[n++])) {
            return false;
        }
    }
    qsort(spans, n, sizeof *spans, by_place);
    for (size_t i = 0; i < n; i++) {
        if (spans[i].begin != at)
            return false;
        at = spans[i].end;
    }
    return at == data_bytes;
}

/* 1: right, 0: wrong, -1: not for jansson to say */
static int verdict(const uint8_t *data, size_t size)
{
    uint64_t     n = 0;
    json_error_t at;
    for (int i = 7; i >= 0 && size >= 8; i--)
        n = n << 8 | data[i];
    if (size < 8 || !n || n > GQ_ST_MAX_HEADER || n > size - 8 || data[8] != '{')
        return 0;
    if (memchr(data + 8, 0, n))              /* jansson loses one behind a number                */
        return 0;
    json_t *head = json_loadb((const char *)data + 8, n, JSON_REJECT_DUPLICATES, &at);
    if (!head)
        return json_error_code(&at) == json_error_numeric_overflow ? -1 : 0;
    int right = header_is_right(head, size - 8 - n);
    json_decref(head);
    return right && memmem(data + 8, n, "-0", 2) ? -1 : right;
}

/* ---- what was opened ------------------------------------------------------------------------- */

static void check_tensor(const gq_safetensors *st, const gq_st_tensor *t)
{
    gq_error err = {0};
    bool     real = t->dtype <= GQ_ST_BF16;
    float   *f = gq_malloc(t->count, sizeof *f);
    double  *d = gq_malloc(t->count, sizeof *d);
    must(gq_st_find(st, t->name) == t, "'%s' is not found", t->name);
    must(t->bytes == t->count * gq_st_dtype_size(t->dtype) && t->rank <= GQ_ST_MAX_RANK, "%s",
         t->name);
    if (f && d) {                       /* no elements but many of them: nothing to read          */
        must((gq_st_read_f32(t, f, &err) == GQ_OK) == real, "%s", err.text);
        must((gq_st_read_f64(t, d, &err) == GQ_OK) == real, "%s", err.text);
        for (uint64_t i = 0; real && i < t->count; i++)
            must(f[i] == (float)d[i] || (isnan(f[i]) && isnan(d[i])), "%g, %g", f[i], d[i]);
    }
    gq_free(f);
    gq_free(d);
}

static void write_again(const gq_safetensors *st, const char *path)
{
    gq_st_writer *w;
    gq_error      err = {0};
    size_t        n = gq_st_count(st);
    gq_st_tensor *t = gq_malloc(n, sizeof *t);
    must(t, "memory");
    for (size_t i = 0; i < n; i++)
        t[i] = *gq_st_at(st, i);
    must(gq_st_writer_open(path, t, n, NULL, 0, &w, &err) == GQ_OK, "%s", err.text);
    for (size_t i = 0; i < n; i++)
        must(gq_st_put(w, t[i].name, t[i].data, t[i].bytes, &err) == GQ_OK, "%s", err.text);
    must(gq_st_commit(w, &err) == GQ_OK, "%s", err.text);
    gq_free(t);
}

static void compare(const gq_safetensors *a, const gq_safetensors *b)
{
    must(gq_st_count(a) == gq_st_count(b), "%zu, %zu", gq_st_count(a), gq_st_count(b));
    for (size_t i = 0; i < gq_st_count(a); i++) {
        const gq_st_tensor *x = gq_st_at(a, i), *y = gq_st_find(b, x->name);
        must(y && x->dtype == y->dtype && x->rank == y->rank && x->bytes == y->bytes, "%s",
             x->name);
        must(!memcmp(x->shape, y->shape, (size_t)x->rank * sizeof *x->shape), "%s", x->name);
        must(!x->bytes || !memcmp(x->data, y->data, x->bytes), "%s: other bytes", x->name);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gq_safetensors *st, *back;
    gq_error        err = {0};
    const char     *path = fz_put("model.safetensors", data, size);
    const int       want = verdict(data, size);
    gq_status       s = gq_safetensors_open(path, &st, &err);

    if (s != GQ_OK) {
        must(!st, "open in spite of '%s'", err.text);
        fz_refused(s, &err, GQ_EWEIGHTS);
        must(want != 1, "a right file is refused: %s", err.text);
        return 0;
    }
    must(want != 0, "a wrong file is accepted");
    for (size_t i = 0; i < gq_st_count(st); i++)
        check_tensor(st, gq_st_at(st, i));
    path = fz_path("again.safetensors");
    write_again(st, path);
    must(gq_safetensors_open(path, &back, &err) == GQ_OK, "%s", err.text);
    compare(st, back);
    gq_safetensors_close(back);
    gq_safetensors_close(st);
    return 0;
}
