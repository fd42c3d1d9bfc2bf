#include "data/unicode.h"

#include <string.h>
#include <utf8proc.h>

#include "core/mem.h"
#include "core/text.h"

/* Bytes of the longest beginning of a character that these bytes are, at least 1: what one U+FFFD
 * stands for. */
static size_t broken_part(const unsigned char *p, size_t n)
{
    unsigned char lo = 0x80, hi = 0xBF;    /* range of the second byte: no overlong, no surrogate */
    size_t        need, i;

    if (p[0] < 0xC2 || p[0] > 0xF4)
        return 1;
    need = p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    if (p[0] == 0xE0) lo = 0xA0;
    if (p[0] == 0xED) hi = 0x9F;
    if (p[0] == 0xF0) lo = 0x90;
    if (p[0] == 0xF4) hi = 0x8F;
    for (i = 1; i < need && i < n && p[i] >= lo && p[i] <= hi; i++) {
        lo = 0x80;
        hi = 0xBF;
    }
    return i;
}

size_t gq_utf8_read(const char *s, size_t n, uint32_t *cp)
{
    size_t taken = gq_utf8_next(s, n, cp);
    if (taken)
        return taken;
    *cp = GQ_UTF8_BAD;
    return broken_part((const unsigned char *)s, n);
}

size_t gq_utf8_put(uint32_t cp, char out[4])
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (char)(0xC0 | cp >> 6);
        out[1] = (char)(0x80 | (cp & 0x3F));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (char)(0xE0 | cp >> 12);
        out[1] = (char)(0x80 | (cp >> 6 & 0x3F));
        out[2] = (char)(0x80 | (cp & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | cp >> 18);
    out[1] = (char)(0x80 | (cp >> 12 & 0x3F));
    out[2] = (char)(0x80 | (cp >> 6 & 0x3F));
    out[3] = (char)(0x80 | (cp & 0x3F));
    return 4;
}

bool gq_utf8_valid(const char *s, size_t n)
{
    uint32_t cp;
    size_t   i;
    for (i = 0; i < n;) {
        i += gq_utf8_read(s + i, n - i, &cp);
        if (cp == GQ_UTF8_BAD)
            return false;
    }
    return true;
}

gq_status gq_utf8_repair(const char *s, size_t n, char **out, size_t *out_len, gq_error *err)
{
    size_t   i, step, len = 0;
    uint32_t cp;
    char    *text;

    for (i = 0; i < n; i += step) {
        step = gq_utf8_read(s + i, n - i, &cp);
        len += cp == GQ_UTF8_BAD ? 3 : step;        /* at most 3 n: no overflow for n in memory   */
    }
    text = gq_malloc(len + 1, 1);
    if (!text)
        return gq_fail(err, GQ_ENOMEM, "no memory for %zu bytes of text", len + 1);
    for (i = len = 0; i < n; i += step) {
        step = gq_utf8_read(s + i, n - i, &cp);
        len += gq_utf8_put(cp == GQ_UTF8_BAD ? GQ_UTF8_REPLACEMENT : cp, text + len);
    }
    text[len] = '\0';
    *out = text;
    if (out_len)
        *out_len = len;
    return GQ_OK;
}

bool gq_is_letter(uint32_t cp)
{
    utf8proc_category_t c;
    if (cp < 0x80)
        return (cp | 0x20) - 'a' < 26;
    c = utf8proc_category((utf8proc_int32_t)cp);
    return c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
}

bool gq_is_number(uint32_t cp)
{
    utf8proc_category_t c;
    if (cp < 0x80)
        return cp - '0' < 10;
    c = utf8proc_category((utf8proc_int32_t)cp);
    return c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO;
}

bool gq_is_space(uint32_t cp)
{
    if (cp < 0x80)
        return cp == ' ' || (cp >= 9 && cp <= 13);
    return cp == 0x85 || cp == 0xA0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200A) ||
           cp == 0x2028 || cp == 0x2029 || cp == 0x202F || cp == 0x205F || cp == 0x3000;
}

unsigned gq_lower(uint32_t cp, uint32_t out[2])
{
    if (cp < 0x80) {
        out[0] = cp - 'A' < 26 ? cp | 0x20 : cp;
        return 1;
    }
    if (cp == 0x130) {
        /* SpecialCasing.txt: i and a combining dot; utf8proc knows only one-to-one mappings */
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    }
    out[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp);
    return 1;
}

/* Puts a run of combining marks into canonical order: stable, by combining class. Counting, not
 * swapping: utf8proc's own decomposition swaps neighbours, which is quadratic on a long run written
 * by an opponent. */
static void order_marks(utf8proc_int32_t *run, size_t n, utf8proc_int32_t *spare)
{
    size_t start[257] = { 0 };
    size_t i;

    for (i = 0; i < n; i++)
        start[utf8proc_get_property(run[i])->combining_class + 1]++;
    for (i = 1; i < 257; i++)
        start[i] += start[i - 1];
    for (i = 0; i < n; i++)
        spare[start[utf8proc_get_property(run[i])->combining_class]++] = run[i];
    memcpy(run, spare, n * sizeof *run);
}

static void order_all(utf8proc_int32_t *text, size_t n, utf8proc_int32_t *spare)
{
    size_t i, run = 0;                           /* length of the run of marks that ends before i */
    for (i = 0; i < n; i++) {
        if (utf8proc_get_property(text[i])->combining_class) {
            run++;
            continue;
        }
        if (run > 1)
            order_marks(text + i - run, run, spare);
        run = 0;
    }
    if (run > 1)
        order_marks(text + n - run, run, spare);
}

gq_status gq_text_nfc(const char *s, size_t n, uint32_t **out, size_t *out_n, gq_error *err)
{
    const utf8proc_option_t split = UTF8PROC_DECOMPOSE | UTF8PROC_STABLE;
    utf8proc_int32_t       *text, *spare, one[8];
    utf8proc_ssize_t        got;
    uint32_t                cp;
    size_t                  i, step, count, total = 0;
    bool                    plain = true;           /* nothing at or above U+0300: is its own NFC */

    for (i = 0; i < n; i += step) {
        step = gq_utf8_read(s + i, n - i, &cp);
        cp = cp == GQ_UTF8_BAD ? GQ_UTF8_REPLACEMENT : cp;
        plain &= cp < 0x300;
        got = cp < 0xC0 ? 1 : utf8proc_decompose_char((utf8proc_int32_t)cp, one, 8, split, NULL);
        total += got > 0 ? (size_t)got : 1;
    }
    text = gq_malloc(total, sizeof *text);
    spare = plain ? NULL : gq_malloc(total, sizeof *spare);
    if (!text || (!plain && !spare)) {
        gq_free(text);
        gq_free(spare);
        return gq_fail(err, GQ_ENOMEM, "no memory for %zu characters of text", total);
    }
    for (i = count = 0; i < n; i += step) {
        step = gq_utf8_read(s + i, n - i, &cp);
        cp = cp == GQ_UTF8_BAD ? GQ_UTF8_REPLACEMENT : cp;
        text[count] = (utf8proc_int32_t)cp;
        got = plain ? 1 : utf8proc_decompose_char((utf8proc_int32_t)cp, text + count,
                                                  (utf8proc_ssize_t)(total - count), split, NULL);
        count += got > 0 ? (size_t)got : 1;
    }
    if (!plain) {
        order_all(text, count, spare);
        gq_free(spare);
        got = utf8proc_normalize_utf32(text, (utf8proc_ssize_t)count,
                                       UTF8PROC_COMPOSE | UTF8PROC_STABLE);
        /* it fails only on options that are not given here */
        count = got < 0 ? count : (size_t)got;
    }
    *out = (uint32_t *)text;
    *out_n = count;
    return GQ_OK;
}
