#include "train/words.h"

#include <stdint.h>
#include <string.h>
#include <utf8proc.h>

#include "core/mem.h"

/* ---- a growing string ------------------------------------------------------------------------------ */

typedef struct text {
    char  *s;                           /* owned; NUL-terminated once text_take() returned it     */
    size_t size, room;                  /* bytes used, bytes allocated                            */
    bool   failed;                      /* no memory: everything later is a no-op                 */
} text;

static void put(text *t, const char *s, size_t n)
{
    if (t->failed)
        return;
    if (n >= t->room - t->size) {
        size_t room = (t->size + n + 1) * 2;
        char  *bigger = gq_realloc(t->s, room, 1);
        if (!bigger) {
            t->failed = true;
            return;
        }
        t->s = bigger;
        t->room = room;
    }
    memcpy(t->s + t->size, s, n);
    t->size += n;
    t->s[t->size] = 0;
}

static char *text_take(text *t)
{
    if (!t->s)
        put(t, "", 0);
    if (!t->failed)
        return t->s;
    gq_free(t->s);
    return NULL;
}

/* ---- characters ------------------------------------------------------------------------------------ */

/* One code point and its length; a byte that starts no valid sequence stands for itself with c = -1. */
static size_t decode(const char *s, int32_t *c)
{
    if ((signed char)*s >= 0) {
        *c = *s;
        return 1;
    }
    size_t n = 1;
    while (n < 4 && ((unsigned char)s[n] & 0xC0) == 0x80)    /* stops at the NUL                  */
        n++;
    utf8proc_ssize_t used = utf8proc_iterate((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)n, c);
    if (used > 0)
        return (size_t)used;
    *c = -1;
    return 1;
}

static bool is_space(int32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
           c == 0x205F || c == 0x3000;
}

static bool is_punct(int32_t c)
{
    return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) ||
           (c >= 123 && c <= 126);
}

/* \w of Python's re: letters, numbers, underscore */
static bool is_word(int32_t c)
{
    if (c < 0)
        return true;
    utf8proc_category_t k = utf8proc_category(c);
    return c == '_' || (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO) ||
           (k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO);
}

bool gq_words_next(const char **p, const char **word, size_t *bytes)
{
    const char *s = *p;
    int32_t     c;
    size_t      n;
    while (*s && (n = decode(s, &c), is_space(c)))
        s += n;
    *word = s;
    while (*s && (n = decode(s, &c), !is_space(c)))
        s += n;
    *bytes = (size_t)(s - *word);
    *p = s;
    return *bytes > 0;
}

/* ---- whole texts ----------------------------------------------------------------------------------- */

static void put_lower(text *t, const char *s, size_t n, int32_t c)
{
    if (c < 0) {
        put(t, s, n);
    } else if (c == 0x130) {
        put(t, "i\xCC\x87", 3);
    } else {
        utf8proc_uint8_t low[4];
        utf8proc_ssize_t k = utf8proc_encode_char(utf8proc_tolower(c), low);
        put(t, (const char *)low, (size_t)k);
    }
}

char *gq_words_lower(const char *s)
{
    text    t = {0};
    int32_t c;
    for (size_t n; *s; s += n) {
        n = decode(s, &c);
        put_lower(&t, s, n, c);
    }
    return text_take(&t);
}

/* Tokens of s with single spaces between them; frees s (NULL allowed). `keep` says which tokens stay. */
static char *collapse(char *s, bool (*keep)(const char *word, size_t bytes))
{
    if (!s)
        return NULL;
    text        t = {0};
    const char *p = s, *word;
    size_t      n;
    while (gq_words_next(&p, &word, &n)) {
        if (keep && !keep(word, n))
            continue;
        if (t.size)
            put(&t, " ", 1);
        put(&t, word, n);
    }
    gq_free(s);
    return text_take(&t);
}

char *gq_words_strict(const char *s)
{
    int32_t c;
    size_t  n;
    while (*s && (n = decode(s, &c), is_space(c)))
        s += n;
    const char *newline = strchr(s, '\n'), *stop = strstr(s, "<|endoftext|>");
    if (newline && (!stop || newline < stop))
        stop = newline;
    char *cut = gq_strndup(s, stop ? (size_t)(stop - s) : strlen(s));
    char *low = cut ? gq_words_lower(cut) : NULL;
    gq_free(cut);
    return collapse(low, NULL);
}

/* Length of the article at s when it stands alone there, else 0. */
static size_t article(const char *s)
{
    static const char *const articles[] = {"a", "an", "the"};
    for (int i = 0; i < 3; i++) {
        size_t  n = strlen(articles[i]);
        int32_t c;
        if (strncmp(s, articles[i], n) != 0)
            continue;
        if (!s[n] || (decode(s + n, &c), !is_word(c)))
            return n;
    }
    return 0;
}

char *gq_words_squad(const char *s)
{
    char *low = gq_words_lower(s);
    if (!low)
        return NULL;
    size_t size = 0;
    for (const char *p = low; *p; p++)
        if (!is_punct((unsigned char)*p))
            low[size++] = *p;
    low[size] = 0;

    text t = {0};
    bool inside = false;                               /* the character before was part of a word */
    for (const char *p = low; *p;) {
        size_t n = inside ? 0 : article(p);
        if (n) {
            put(&t, " ", 1);
            inside = true;                             /* as in the regex: the article was a word */
        } else {
            int32_t c;
            n = decode(p, &c);
            put(&t, p, n);
            inside = is_word(c);
        }
        p += n;
    }
    gq_free(low);
    return collapse(text_take(&t), NULL);
}

/* ---- 13a ------------------------------------------------------------------------------------------- */

typedef struct swap { const char *from, *to; } swap;

/* Replaces every `from` by `to`, left to right; frees s (NULL allowed). */
static char *replace(char *s, swap w)
{
    if (!s)
        return NULL;
    text        t = {0};
    const char *p = s, *hit;
    size_t      from = strlen(w.from), to = strlen(w.to);
    for (; (hit = strstr(p, w.from)); p = hit + from) {
        put(&t, p, (size_t)(hit - p));
        put(&t, w.to, to);
    }
    put(&t, p, strlen(p));
    gq_free(s);
    return text_take(&t);
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_point(char c) { return c == '.' || c == ','; }

/* every ASCII symbol but apostrophe, comma, hyphen and point */
static bool is_symbol(char c)
{
    return (c == ' ' || is_punct((unsigned char)c)) && !strchr("',-.", c);
}

/* The four rules are regular expressions of one or two bytes, each applied to the whole line in turn; a match
 * consumes both bytes, so the second byte of one match is never the first of the next. */
typedef enum rule { SYMBOLS, POINT_AFTER, POINT_BEFORE, DASH } rule;

static bool rule_matches(rule r, const char *p)
{
    switch (r) {
    case SYMBOLS: return is_symbol(p[0]);
    case POINT_AFTER: return p[1] && !is_digit(p[0]) && is_point(p[1]);
    case POINT_BEFORE: return p[1] && is_point(p[0]) && !is_digit(p[1]);
    default: return is_digit(p[0]) && p[1] == '-';
    }
}

static char *apply(char *s, rule r)
{
    if (!s)
        return NULL;
    text t = {0};
    for (const char *p = s; *p; p++) {
        if (!rule_matches(r, p)) {
            put(&t, p, 1);
        } else if (r == SYMBOLS) {
            put(&t, (char[]){' ', *p, ' '}, 3);
        } else if (r == POINT_BEFORE) {
            put(&t, (char[]){' ', p[0], ' ', p[1]}, 4);
            p++;
        } else {
            put(&t, (char[]){p[0], ' ', p[1], ' '}, 4);
            p++;
        }
    }
    gq_free(s);
    return text_take(&t);
}

char *gq_words_13a(const char *s)
{
    static const swap swaps[] = {{"<skipped>", ""}, {"-\n", ""},    {"\n", " "},   {"&quot;", "\""},
                                 {"&amp;", "&"},    {"&lt;", "<"}, {"&gt;", ">"}};
    size_t size = strlen(s);
    int32_t c;
    text   t = {0};
    while (size) {                                          /* the reference strips the end first */
        size_t at = size - 1;
        while (at && ((unsigned char)s[at] & 0xC0) == 0x80)
            at--;
        if (at + decode(s + at, &c) != size || !is_space(c))
            break;
        size = at;
    }
    put(&t, s, size);
    char *line = text_take(&t);
    for (size_t i = 0; i < sizeof swaps / sizeof *swaps; i++)
        line = replace(line, swaps[i]);
    if (!line)
        return NULL;
    t = (text){0};
    put(&t, " ", 1);
    put(&t, line, strlen(line));
    put(&t, " ", 1);
    gq_free(line);
    line = text_take(&t);
    for (rule r = SYMBOLS; r <= DASH; r++)
        line = apply(line, r);
    return collapse(line, NULL);
}

char *gq_words_bleu(const char *s)
{
    char *low = gq_words_lower(s);
    char *tokens = low ? gq_words_13a(low) : NULL;
    gq_free(low);
    return tokens;
}

static bool has_letter(const char *word, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (!is_punct((unsigned char)word[i]))
            return true;
    return false;
}

char *gq_words_coco(const char *s) { return collapse(gq_words_bleu(s), has_letter); }
