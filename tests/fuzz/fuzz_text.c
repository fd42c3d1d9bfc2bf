/* fuzz_text.c - any bytes as text: what is valid UTF-8 (beside utf8proc), what is shown in a
 * terminal, composition, and the distance of two words (before and behind the first NUL). */
#include "fuzz.h"

#include <utf8proc.h>

#include "core/mem.h"
#include "core/text.h"
#include "data/unicode.h"

/* The third opinion; 0: no character stands here. */
static size_t oracle(const uint8_t *s, size_t n, uint32_t *cp)
{
    utf8proc_int32_t c;
    utf8proc_ssize_t len = utf8proc_iterate(s, (utf8proc_ssize_t)n, &c);
    *cp = (uint32_t)c;
    return len > 0 ? (size_t)len : 0;
}

static void check_utf8(const uint8_t *data, size_t size)
{
    const char *s = (const char *)data;
    bool        valid = true;
    size_t      step;
    for (size_t i = 0; i < size; i += step) {
        uint32_t a = 0, b = 0, c = 0;
        size_t   want = oracle(data + i, size - i, &a);
        must(gq_utf8_next(s + i, size - i, &b) == want && (!want || a == b), "byte %zu", i);
        step = gq_utf8_read(s + i, size - i, &c);
        must(step > 0 && step <= size - i && (want ? c == a && step == want : c == GQ_UTF8_BAD),
             "byte %zu: %u, %u", i, a, c);
        valid = valid && want;
    }
    must(gq_utf8_valid(s, size) == valid, "valid: %d", valid);

    char    *fixed;
    size_t   n;
    gq_error err = {0};
    must(gq_utf8_repair(s, size, &fixed, &n, &err) == GQ_OK, "%s", err.text);
    must(gq_utf8_valid(fixed, n) && !fixed[n] && n <= 3 * size, "%zu bytes of %zu", n, size);
    must(!valid || (n == size && !memcmp(fixed, s, n)), "valid text is changed");
    gq_free(fixed);
}

static void check_printable(const char *s, size_t size, size_t room)
{
    char    *out = gq_malloc(room, 1);
    uint32_t cp;
    must(out && gq_printable(s, size, out, room) == out, "memory");
    must(memchr(out, 0, room), "no end");
    for (size_t i = 0, n; out[i]; i += n) {
        n = gq_utf8_next(out + i, strlen(out + i), &cp);
        must(n && cp >= 0x20 && !(cp >= 0x7f && cp < 0xa0) && !(cp >= 0x202a && cp <= 0x202e),
             "%x is shown", cp);
    }
    gq_free(out);
}

/* A second composition changes nothing. */
static void check_nfc(const char *s, size_t size)
{
    uint32_t *once, *twice;
    size_t    n, m, used = 0;
    gq_error  err = {0};
    must(gq_text_nfc(s, size, &once, &n, &err) == GQ_OK, "%s", err.text);
    char *text = gq_malloc(4 * n + 1, 1);
    must(text, "memory");
    for (size_t i = 0; i < n; i++)
        used += gq_utf8_put(once[i], text + used);
    must(gq_text_nfc(text, used, &twice, &m, &err) == GQ_OK, "%s", err.text);
    must(n == m && (!n || !memcmp(once, twice, n * sizeof *once)), "%zu, then %zu of them", n, m);
    gq_free(text);
    gq_free(once);
    gq_free(twice);
}

static void check_distance(const char *s, size_t size)
{
    char   a[2 * GQ_WORD_MAX], b[2 * GQ_WORD_MAX];
    size_t n = strnlen(s, size);
    snprintf(a, sizeof a, "%.*s", (int)n, s);
    snprintf(b, sizeof b, "%.*s", n < size ? (int)(size - n - 1) : 0, n < size ? s + n + 1 : "");
    size_t d = gq_edit_distance(a, b), x = strlen(a), y = strlen(b), most = x > y ? x : y;
    must(gq_edit_distance(b, a) == d, "not the same both ways: '%s', '%s'", a, b);
    must((d == SIZE_MAX) == (most > GQ_WORD_MAX), "%zu", d);
    must(d == SIZE_MAX || (d <= most && d >= most - (x < y ? x : y)), "%zu", d);
    must(strcmp(a, b) || d == 0 || d == SIZE_MAX, "%zu from itself", d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *s = (const char *)data;
    check_utf8(data, size);
    check_printable(s, size, 8 + size % 41);
    check_printable(s, size, 4 * size + 8);
    check_nfc(s, size);
    check_distance(s, size);
    return 0;
}
