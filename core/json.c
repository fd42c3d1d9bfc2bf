#include "core/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"

void gq_json_begin(gq_json *j, const char *file, const void *text, size_t bytes, gq_status code,
                   gq_error *err)
{
    *j = (gq_json){.text = text, .at = text, .end = (const char *)text + bytes, .file = file,
                   .err = err, .code = code, .first = true};
}

bool gq_json_fail(gq_json *j, const char *fmt, ...)
{
    char    why[512];
    va_list ap;

    if (j->failed)
        return false;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    j->failed = gq_fail(j->err, j->code, "%s: byte %zu: %s%s%s", j->file, (size_t)(j->at - j->text),
                        j->within ? j->within : "", j->within ? ": " : "", why);
    return false;
}

static void blank(gq_json *j)
{
    while (j->at < j->end && (*j->at == ' ' || *j->at == '\t' || *j->at == '\n' || *j->at == '\r'))
        j->at++;
}

static bool expected(gq_json *j, const char *what)
{
    char shown[16] = "end of text";
    if (j->at < j->end)
        gq_printable(j->at, 1, shown, sizeof shown);
    return gq_json_fail(j, "%s expected, found %s", what, shown);
}

/* Skips white space, then takes `c` or fails. */
static bool take(gq_json *j, char c, const char *what)
{
    if (j->failed)
        return false;
    blank(j);
    if (j->at == j->end || *j->at != c)
        return expected(j, what);
    j->at++;
    return true;
}

static bool open_nested(gq_json *j, char c, const char *what)
{
    if (!take(j, c, what))
        return false;
    if (++j->depth > GQ_JSON_DEPTH)
        return gq_json_fail(j, "nested deeper than %d", (int)GQ_JSON_DEPTH);
    j->first = true;
    return true;
}

bool gq_json_object(gq_json *j) { return open_nested(j, '{', "an object '{'"); }
bool gq_json_array(gq_json *j) { return open_nested(j, '[', "an array '['"); }

/* Steps to the next member of the innermost object or array: true when there is one. */
static bool step(gq_json *j, char close, const char *what)
{
    bool first = j->first;
    if (j->failed)
        return false;
    j->first = false;
    blank(j);
    if (j->at < j->end && *j->at == close) {
        j->at++;
        j->depth--;
        return false;
    }
    return first || take(j, ',', what);
}

bool gq_json_item(gq_json *j) { return step(j, ']', "',' or ']'"); }

bool gq_json_key(gq_json *j, char *key, size_t room)
{
    return step(j, '}', "',' or '}'") && gq_json_string(j, key, room) && take(j, ':', "':'");
}

/* ---- strings --------------------------------------------------------------------------------- */

static bool hex4(gq_json *j, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < 4; i++) {
        char c = j->at < j->end ? *j->at : 0;
        bool letter = (c | 32) >= 'a' && (c | 32) <= 'f';
        if (!letter && (c < '0' || c > '9'))
            return gq_json_fail(j, "four hexadecimal digits expected after \\u");
        *out = *out << 4 | (uint32_t)(letter ? (c | 32) - 'a' + 10 : c - '0');
        j->at++;
    }
    return true;
}

/* \uXXXX, with its second half when it is a surrogate */
static bool escaped_code(gq_json *j, uint32_t *code)
{
    uint32_t low;
    if (!hex4(j, code))
        return false;
    if (*code == 0)
        return gq_json_fail(j, "a string with a NUL character");
    if (*code < 0xd800 || *code > 0xdfff)
        return true;
    if (*code > 0xdbff || j->end - j->at < 2 || j->at[0] != '\\' || j->at[1] != 'u')
        return gq_json_fail(j, "half of a surrogate pair");
    j->at += 2;
    if (!hex4(j, &low))
        return false;
    if (low < 0xdc00 || low > 0xdfff)
        return gq_json_fail(j, "half of a surrogate pair");
    *code = 0x10000 + ((*code - 0xd800) << 10) + (low - 0xdc00);
    return true;
}

static size_t put_utf8(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 63));
    out[0] = (char)((0xf00u >> n & 0xffu) | c);
    return n;
}

/* One character of a string, decoded into piece[]; its length, or 0 after an error. */
static size_t string_piece(gq_json *j, char piece[4])
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    uint32_t          code;
    unsigned char     c = (unsigned char)*j->at;

    if (c < 0x20) {
        gq_json_fail(j, "a control character in a string");
        return 0;
    }
    if (c == '\\') {
        const char *known;
        if (++j->at == j->end || !*j->at)
            return expected(j, "an escape");
        if (*j->at == 'u') {
            j->at++;
            return escaped_code(j, &code) ? put_utf8(code, piece) : 0;
        }
        if (!(known = strchr(from, *j->at)))
            return expected(j, "one of \" \\ / b f n r t u");
        piece[0] = to[known - from];
        j->at++;
        return 1;
    }
    size_t n = c < 0x80 ? 1 : gq_utf8_next(j->at, (size_t)(j->end - j->at), &code);
    if (n == 0) {
        gq_json_fail(j, "invalid UTF-8");
        return 0;
    }
    memcpy(piece, j->at, n);
    j->at += n;
    return n;
}

/* out NULL: only checked */
static bool read_string(gq_json *j, char *out, size_t room)
{
    size_t used = 0, n;
    char   piece[4];

    if (!take(j, '"', "a string"))
        return false;
    const char *start = j->at;
    while (j->at < j->end && *j->at != '"') {
        if (!(n = string_piece(j, piece)))
            return false;
        if (!out)
            continue;
        if (used + n >= room) {
            j->at = start;
            return gq_json_fail(j, "a string longer than %zu bytes", room - 1);
        }
        memcpy(out + used, piece, n);
        used += n;
    }
    if (out)
        out[used] = '\0';
    return take(j, '"', "'\"'");
}

bool gq_json_string(gq_json *j, char *out, size_t room) { return read_string(j, out, room); }

/* ---- numbers and the rest -------------------------------------------------------------------- */

static bool digit_at(const gq_json *j) { return j->at < j->end && *j->at >= '0' && *j->at <= '9'; }

/* Moves over a number of the grammar; *integer: without sign, fraction and exponent. */
static bool scan_number(gq_json *j, bool *integer)
{
    blank(j);
    *integer = true;
    if (j->at < j->end && *j->at == '-') {
        *integer = false;
        j->at++;
    }
    if (!digit_at(j))
        return expected(j, "a number");
    if (*j->at == '0' && j->end - j->at > 1 && j->at[1] >= '0' && j->at[1] <= '9')
        return gq_json_fail(j, "a number with a leading zero");
    while (digit_at(j))
        j->at++;
    if (j->at < j->end && *j->at == '.') {
        *integer = false;
        j->at++;
        if (!digit_at(j))
            return expected(j, "a digit");
        while (digit_at(j))
            j->at++;
    }
    if (j->at < j->end && (*j->at | 32) == 'e') {
        *integer = false;
        j->at++;
        if (j->at < j->end && (*j->at == '+' || *j->at == '-'))
            j->at++;
        if (!digit_at(j))
            return expected(j, "a digit");
        while (digit_at(j))
            j->at++;
    }
    return true;
}

bool gq_json_u64(gq_json *j, uint64_t *out)
{
    bool integer;
    if (j->failed)
        return false;
    blank(j);
    const char *start = j->at;
    if (!scan_number(j, &integer))
        return false;
    const char *stop = j->at;
    j->at = start;
    if (!integer)
        return gq_json_fail(j, "a non-negative whole number expected");
    *out = 0;
    for (const char *c = start; c < stop; c++)
        if (__builtin_mul_overflow(*out, 10u, out) ||
            __builtin_add_overflow(*out, (unsigned)(*c - '0'), out))
            return gq_json_fail(j, "a number beyond 64 bits");
    j->at = stop;
    return true;
}

bool gq_json_double(gq_json *j, double *out)
{
    char text[64];
    bool integer;
    if (j->failed)
        return false;
    blank(j);
    const char *start = j->at;
    if (!scan_number(j, &integer))
        return false;
    size_t n = (size_t)(j->at - start);
    if (n >= sizeof text)
        return gq_json_fail(j, "a number of %zu characters", n);
    memcpy(text, start, n);
    text[n] = '\0';
    *out = strtod(text, NULL);
    return true;
}

static bool take_word(gq_json *j, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(j->end - j->at) < n || memcmp(j->at, word, n) != 0)
        return false;
    j->at += n;
    return true;
}

bool gq_json_bool(gq_json *j, bool *out)
{
    if (j->failed)
        return false;
    blank(j);
    *out = take_word(j, "true");
    return *out || take_word(j, "false") || expected(j, "true or false");
}

bool gq_json_null(gq_json *j)
{
    if (j->failed)
        return false;
    blank(j);
    return take_word(j, "null");
}

static bool skip_word(gq_json *j)
{
    return take_word(j, "true") || take_word(j, "false") || take_word(j, "null") ||
           expected(j, "a value");
}

bool gq_json_skip(gq_json *j)
{
    bool integer;
    if (j->failed)
        return false;
    blank(j);
    if (j->at == j->end)
        return expected(j, "a value");
    switch (*j->at) {
    case '"':
        return read_string(j, NULL, 0);
    case '{':                                    /* depth is limited, so is this recursion */
        gq_json_object(j);
        while (step(j, '}', "',' or '}'"))
            if (read_string(j, NULL, 0) && take(j, ':', "':'"))
                gq_json_skip(j);
        return !j->failed;
    case '[':
        gq_json_array(j);
        while (step(j, ']', "',' or ']'"))
            gq_json_skip(j);
        return !j->failed;
    default:
        if (*j->at == '-' || digit_at(j))
            return scan_number(j, &integer);
        return skip_word(j);
    }
}

gq_status gq_json_end(gq_json *j)
{
    if (!j->failed) {
        blank(j);
        if (j->at != j->end)
            expected(j, "the end of the text");
    }
    return j->failed;
}

size_t gq_json_quote(const char *text, char *out, size_t room)
{
    size_t n = 0;
#define PUT(c) do { if (n + 1 < room) out[n] = (char)(c); n++; } while (0)
    PUT('"');
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            PUT('\\');
            PUT(c);
        } else if (c < 0x20 || c == 0x7f) {
            PUT('\\');
            PUT('u');
            PUT('0');
            PUT('0');
            PUT('0' + (c >> 4));
            PUT("0123456789abcdef"[c & 15]);
        } else {
            PUT(c);
        }
    }
    PUT('"');
#undef PUT
    if (room)
        out[n < room ? n : room - 1] = '\0';
    return n;
}
