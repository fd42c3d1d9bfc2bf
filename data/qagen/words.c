#include "data/qagen/words.h"

#include <string.h>

typedef struct splitter {
    gq_words *to;
    size_t    used; /* bytes of text                                          */
    bool      full;
} splitter;

static bool is_space(unsigned char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}
static bool is_mark(unsigned char c)
{
    return c && strchr(".,;:!?\"()[]{}*", c);
}

static void put(splitter *s, const char *from, size_t n, bool glued)
{
    gq_words *w = s->to;
    if (s->full || w->n == GQ_WORDS || s->used + n + 1 > GQ_WORDS_TEXT) {
        s->full = true;
        return;
    }
    char *to = w->text + s->used;
    for (size_t k = 0; k < n; k++)
        to[k] = (char)(from[k] >= 'A' && from[k] <= 'Z' ? from[k] | 32 : from[k]);
    to[n] = 0;
    w->word[w->n] = to;
    w->glued[w->n++] = glued;
    s->used += n + 1;
}

static bool same(const char *a, const char *lower, size_t n)
{
    for (size_t k = 0; k < n; k++)
        if ((a[k] | 32) != (lower[k] | 32) || (a[k] == '\'') != (lower[k] == '\''))
            return false;
    return true;
}

/* Bytes at the end of a word that are a word of their own: n't, 's, 're; 0: none. */
static size_t clitic(const char *p, size_t n)
{
    static const char *const known[] = {"n't", "'s", "'re", "'ve", "'ll", "'d", "'m"};
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        size_t size = strlen(known[k]);
        if (n > size && same(p + n - size, known[k], size))
            return size;
    }
    return n > 1 && p[n - 1] == '\'' ? 1 : 0;
}

/* What stands between two white spaces. */
static void split(splitter *s, const char *p, size_t n)
{
    bool glued = false;
    for (; n && (is_mark((unsigned char)*p) || (*p == '\'' && n > 3 && clitic(p, n) == 0));
         p++, n--, glued = true)
        put(s, p, 1, glued);
    size_t word = n;
    /* a mark within a word stays ("3.5", "t.v"), those behind it do not */
    while (word && is_mark((unsigned char)p[word - 1]))
        word--;
    size_t tail = clitic(p, word);
    if (word > tail)
        put(s, p, word - tail, glued);
    if (tail)
        put(s, p + word - tail, tail, glued || word > tail);
    for (; word < n; word++)
        put(s, p + word, 1, true);
}

bool gq_words_split(const char *caption, gq_words *out)
{
    splitter s = {.to = out};
    out->n = 0;
    for (const char *p = caption; *p;) {
        size_t n = 0;
        while (p[n] && !is_space((unsigned char)p[n]))
            n++;
        if (n)
            split(&s, p, n);
        p += n;
        while (is_space((unsigned char)*p))
            p++;
    }
    return !s.full;
}
