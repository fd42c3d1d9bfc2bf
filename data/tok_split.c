/* Where one piece of text ends and the next begins: the regular expressions of GPT-2 and CLIP as
 * scanners, and the words of the toy world. The functions look at one stretch of text without
 * special tokens in it.
 */
#include <string.h>

#include "core/mem.h"
#include "data/unicode.h"
#include "data/tok_private.h"

typedef enum char_class { OTHER, LETTER, NUMBER, SPACE, NONE } char_class;

static const uint8_t ascii_class[128] = {           /* the rest is OTHER                          */
    ['A' ... 'Z'] = LETTER, ['a' ... 'z'] = LETTER, ['0' ... '9'] = NUMBER,
    [9 ... 13] = SPACE,     [' '] = SPACE,
};

/* Class and length of the character at s; bytes that are no character are OTHER, as any symbol
 * is. */
static inline char_class class_at(const char *s, size_t n, size_t *len)
{
    uint32_t cp;
    *len = 1;
    if (n == 0)
        return NONE;
    cp = (unsigned char)*s;
    if (cp < 0x80)
        return ascii_class[cp];
    *len = gq_utf8_read(s, n, &cp);
    if (cp == GQ_UTF8_BAD)
        return OTHER;
    return gq_is_letter(cp) ? LETTER : gq_is_space(cp) ? SPACE : gq_is_number(cp) ? NUMBER : OTHER;
}

/* Length of the run of class `want` at s. */
static size_t run_of(char_class want, const char *s, size_t n)
{
    size_t i = 0, len;
    while (class_at(s + i, n - i, &len) == want)
        i += len;
    return i;
}

/* 's 't 're 've 'm 'll 'd, else 0. */
static size_t contraction(const char *s, size_t n)
{
    if (n < 2 || s[0] != '\'')
        return 0;
    if (s[1] == 's' || s[1] == 't' || s[1] == 'm' || s[1] == 'd')
        return 2;
    if (n >= 3 && ((s[1] == 'r' && s[2] == 'e') || (s[1] == 'v' && s[2] == 'e') ||
                   (s[1] == 'l' && s[2] == 'l')))
        return 3;
    return 0;
}

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
size_t gq_tok_piece_gpt2(const char *s, size_t n)
{
    size_t     i, len = 0, last = 0, lead = contraction(s, n);
    char_class c;

    if (lead)
        return lead;
    c = class_at(s, n, &len);
    if (*s == ' ') {
        c = class_at(s + 1, n - 1, &len);
        lead = c != SPACE && c != NONE;
    }
    if (c != SPACE && c != NONE)
        return lead + run_of(c, s + lead, n - lead);
    for (i = 0; class_at(s + i, n - i, &len) == SPACE; i += len)
        last = len;
    return i == n || i == last ? i : i - last;      /* a last space belongs to what follows       */
}

/* <\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+
 * A special token that is written in the text but not matched as one is a piece of its own here;
 * Hugging Face cuts it with GPT-2's expression once more, and so does the caller. */
size_t gq_tok_piece_clip(const char *s, size_t n, size_t *skip)
{
    static const char *const specials[] = { GQ_TOK_START_TEXT, GQ_TOK_END_TEXT };
    size_t                   len = 0, k;
    char_class               c;

    *skip = run_of(SPACE, s, n);
    s += *skip;
    n -= *skip;
    if (n == 0)
        return 0;
    for (k = 0; k < 2 && *s == '<'; k++)
        if (n >= strlen(specials[k]) && memcmp(s, specials[k], strlen(specials[k])) == 0)
            return strlen(specials[k]);
    k = contraction(s, n);
    if (k)
        return k;
    c = class_at(s, n, &len);
    return c == NUMBER ? len : run_of(c, s, n);
}

size_t gq_tok_piece_words(const char *s, size_t n, size_t *skip)
{
    size_t i = 0, len = 0;

    *skip = run_of(SPACE, s, n);
    s += *skip;
    n -= *skip;
    if (n && gq_tok_is_mark(*s))
        return 1;
    for (; i < n && !gq_tok_is_mark(s[i]); i += len)
        if (class_at(s + i, n - i, &len) == SPACE)
            break;
    return i;
}

bool gq_tok_is_mark(char c)
{
    return c == '.' || c == ',' || c == '?' || c == '!';
}

static bool lower_ascii(const char *s, size_t n, char *out)
{
    size_t        i;
    unsigned char c, seen = 0;
    for (i = 0; i < n; i++) {
        c = (unsigned char)s[i];
        seen |= c;
        out[i] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
    }
    return seen < 0x80;
}

/* Runs of whitespace stay as they are: the splitters drop them, so making each one space (as
 * Hugging Face's normaliser does) would change nothing. */
gq_status gq_tok_clean(const char *s, size_t n, char **out, size_t *out_len, gq_error *err)
{
    uint32_t *cps = NULL, low[2];
    size_t    i, k, count, len = 0;
    char     *text = gq_malloc(n + 1, 1), *more;

    if (!text)
        return gq_fail(err, GQ_ENOMEM, "no memory for %zu bytes of text", n);
    *out = text;
    *out_len = n;
    if (lower_ascii(s, n, text))
        return GQ_OK;
    *out = NULL;
    if (gq_text_nfc(s, n, &cps, &count, err)) {
        gq_free(text);
        return GQ_ENOMEM;
    }
    more = gq_realloc(text, count + 1, 4);          /* no lower case is longer than 4 bytes       */
    if (!more) {
        gq_free(text);
        gq_free(cps);
        return gq_fail(err, GQ_ENOMEM, "no memory for %zu characters of text", count);
    }
    for (i = 0; i < count; i++) {
        unsigned lows = gq_lower(cps[i], low);
        for (k = 0; k < lows; k++)
            len += gq_utf8_put(low[k], more + len);
    }
    gq_free(cps);
    *out = more;
    *out_len = len;
    return GQ_OK;
}
