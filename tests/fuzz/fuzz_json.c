/* fuzz_json.c - any bytes as JSON: core/json.c beside jansson. Both must accept the same texts and
 * read the same values out of them, but for differences that are meant:
 *
 *   nesting beyond 64         refused here, jansson goes deeper
 *   numbers beyond their type jansson refuses while it reads, gq_json_skip() passes over them and
 *                             the typed readers refuse whole ones
 *   a NUL behind a number     jansson loses it
 */
#include "fuzz.h"

#include <jansson.h>

#include "core/json.h"

enum { TEXT = 1 << 12 };

typedef struct walker {
    gq_json j;
    char    text[TEXT];
} walker;

static void walk(walker *w, const json_t *v);

static void walk_object(walker *w, const json_t *v)
{
    size_t n = 0;
    must(gq_json_object(&w->j), "an object");
    while (gq_json_key(&w->j, w->text, sizeof w->text)) {
        const json_t *member = json_object_get(v, w->text);
        must(member, "a key that jansson does not see: '%s'", w->text);
        n++;
        walk(w, member);
    }
    must(!w->j.failed && n == json_object_size(v), "%zu of %zu", n, json_object_size(v));
}

static void walk_array(walker *w, const json_t *v)
{
    size_t n = 0;
    must(gq_json_array(&w->j), "an array");
    while (gq_json_item(&w->j)) {
        must(n < json_array_size(v), "more than %zu items", n);
        walk(w, json_array_get(v, n++));
    }
    must(!w->j.failed && n == json_array_size(v), "%zu of %zu", n, json_array_size(v));
}

static void walk_number(walker *w, const json_t *v)
{
    const gq_json before = w->j;
    uint64_t      whole;
    double        real;
    if (json_is_integer(v) && json_integer_value(v) >= 0 && gq_json_u64(&w->j, &whole)) {
        must(whole == (uint64_t)json_integer_value(v), "%llu", (unsigned long long)whole);
        return;
    }
    gq_error *err = w->j.err;
    *err = (gq_error){0};
    w->j = before;
    must(gq_json_double(&w->j, &real) || strstr(err->text, "characters"), "%s", err->text);
    if (w->j.failed) {                       /* digits without end: only passed over              */
        w->j = before;
        *err = (gq_error){0};
        must(gq_json_skip(&w->j), "a number");
        return;
    }
    must(real == json_number_value(v), "%.17g, %.17g", real, json_number_value(v));
}

static void walk(walker *w, const json_t *v)
{
    if (json_is_object(v)) {
        walk_object(w, v);
    } else if (json_is_array(v)) {
        walk_array(w, v);
    } else if (json_is_number(v)) {
        walk_number(w, v);
    } else if (json_is_string(v)) {
        must(gq_json_string(&w->j, w->text, sizeof w->text), "a string");
        must(!strcmp(w->text, json_string_value(v)), "'%s', '%s'", w->text, json_string_value(v));
    } else {
        must(gq_json_skip(&w->j), "a word");
    }
}

/* What gq_json_quote() writes both readers read back. */
static void check_quote(const char *text)
{
    char     quoted[6 * TEXT + 3], back[TEXT];
    gq_json  j;
    gq_error err = {0};
    size_t   n = gq_json_quote(text, quoted, sizeof quoted);
    must(n < sizeof quoted && n == gq_json_quote(text, NULL, 0), "%zu bytes", n);
    gq_json_begin(&j, "x", quoted, n, GQ_EINPUT, &err);
    must(gq_json_string(&j, back, sizeof back) && gq_json_end(&j) == GQ_OK, "%s", err.text);
    must(!strcmp(back, text), "'%s', '%s'", back, text);
    json_t *v = json_loadb(quoted, n, JSON_DECODE_ANY, NULL);
    must(v && !strcmp(json_string_value(v), text), "jansson: %s", quoted);
    json_decref(v);
}

static void check_strings(const json_t *v)
{
    const char *key;
    json_t     *member;
    if (json_is_string(v))
        check_quote(json_string_value(v));
    json_object_foreach((json_t *)(uintptr_t)v, key, member) {
        check_quote(key);
        check_strings(member);
    }
    for (size_t i = 0; i < json_array_size(v); i++)
        check_strings(json_array_get(v, i));
}

static bool number_too_large(const json_error_t *at)
{
    return json_error_code(at) == json_error_numeric_overflow;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_error_t at;
    gq_error     err = {0};
    walker       w;

    if (size >= TEXT)
        return 0;
    gq_json_begin(&w.j, "x.json", data, size, GQ_EINPUT, &err);
    gq_json_skip(&w.j);
    bool ours = gq_json_end(&w.j) == GQ_OK;
    if (!ours)
        fz_refused(w.j.failed, &err, GQ_EINPUT);

    json_t *v = json_loadb((const char *)data, size, JSON_DECODE_ANY, &at);
    must(!v || ours || strstr(err.text, "nested deeper") || memchr(data, 0, size),
         "only jansson accepts: %s", err.text);
    must(!ours || !memchr(data, 0, size), "a NUL in a text");
    must(v || !ours || number_too_large(&at), "jansson refuses: %d:%d: %s", at.line, at.column,
         at.text);
    json_decref(v);

    /* values only where no key is there twice: jansson keeps the last */
    v = ours ? json_loadb((const char *)data, size, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &at)
             : NULL;
    if (v) {
        gq_json_begin(&w.j, "x.json", data, size, GQ_EINPUT, &err);
        walk(&w, v);
        must(gq_json_end(&w.j) == GQ_OK, "%s", err.text);
        check_strings(v);
    }
    json_decref(v);
    return 0;
}
