#include "data/qagen/conllu.h"

#include <stdbool.h>
#include <string.h>

#include "core/mem.h"
#include "core/text.h"

enum { COLUMNS = 10, ID = 0, FORM = 1, UPOS = 3, XPOS = 4 };
static const size_t max_file = (size_t)1 << 30;

typedef struct reader {
    const char  *path;
    gq_treebank *to;
    size_t       word_room, first_room;
    size_t       at;      /* where the next line begins                             */
    uint64_t     line;    /* number of the line that is read, 1-based               */
    bool         inside;  /* a sentence has begun                                   */
    uint32_t     covered; /* last word of its last multiword token                  */
} reader;

static gq_status refuse(const reader *r, gq_error *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static gq_status refuse(const reader *r, gq_error *err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    gq_vfail(err, GQ_EINPUT, fmt, ap);
    va_end(ap);
    return gq_context(err, "%s:%llu", r->path, (unsigned long long)r->line);
}

/* ---- growing --------------------------------------------------------------------------------- */

static gq_status grow(const reader *r, void **array, size_t *room, size_t need, size_t size,
                      gq_error *err)
{
    if (need <= *room)
        return GQ_OK;
    size_t more = *room ? 2 * *room : 1024;
    void  *p = gq_realloc(*array, more, size);
    if (!p)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory for its words", r->path);
    *array = p;
    *room = more;
    return GQ_OK;
}

static gq_status add_word(reader *r, gq_conllu_word w, gq_error *err)
{
    gq_treebank *t = r->to;
    void        *p = t->word;
    gq_status    s = grow(r, &p, &r->word_room, t->words + 1, sizeof *t->word, err);
    t->word = p;
    if (s == GQ_OK)
        t->word[t->words++] = w;
    return s;
}

/* Notes that a sentence begins with the next word. */
static gq_status add_first(reader *r, gq_error *err)
{
    gq_treebank *t = r->to;
    void        *p = t->first;
    gq_status    s = grow(r, &p, &r->first_room, t->sentences + 1, sizeof *t->first, err);
    t->first = p;
    if (s == GQ_OK)
        t->first[t->sentences] = t->words;
    return s;
}

/* ---- one line -------------------------------------------------------------------------------- */

/* A number without sign, of at most seven digits; NULL: there is none at p. */
static const char *number(const char *p, uint32_t *value)
{
    const char *from = p;
    for (*value = 0; *p >= '0' && *p <= '9' && p - from < 7; p++)
        *value = *value * 10 + (uint32_t)(*p - '0');
    return p == from || (*p >= '0' && *p <= '9') ? NULL : p;
}

/* What a line is by its first column, of a sentence with n words so far. */
static gq_status check_id(reader *r, const char *id, size_t n, bool *is_word, gq_error *err)
{
    uint32_t    first, second;
    const char *p = number(id, &first), *q;
    *is_word = p && !*p;
    if (*is_word)
        return first == n + 1 ? GQ_OK : refuse(r, err, "word %u follows word %zu", first, n);
    if (!p || (*p != '-' && *p != '.') || !(q = number(p + 1, &second)) || *q)
        return refuse(r, err, "column 1 is neither N, N-M nor N.M");
    if (*p == '.')
        return first == n && second > 0
                   ? GQ_OK
                   : refuse(r, err, "empty node %u.%u stands behind word %zu", first, second, n);
    if (first != n + 1 || second < first || first <= r->covered)
        return refuse(r, err, "multiword token %u-%u stands before word %zu", first, second, n + 1);
    r->covered = second;
    return GQ_OK;
}

static gq_status check_text(const reader *r, int column, const char *text, gq_error *err)
{
    size_t   n = strlen(text);
    uint32_t code;
    if (!n || n > GQ_CONLLU_FORM)
        return refuse(r, err, "column %d has %zu bytes; 1 to %d are allowed", column + 1, n,
                      GQ_CONLLU_FORM);
    for (size_t k = 0, step; k < n; k += step)
        if (!(step = gq_utf8_next(text + k, n - k, &code)))
            return refuse(r, err, "column %d is not UTF-8", column + 1);
    return GQ_OK;
}

/* A line that is neither empty nor a comment. */
static gq_status take_word(reader *r, char *text, size_t size, gq_error *err)
{
    char     *column[COLUMNS] = {text};
    int       columns = 1;
    size_t    n = r->to->words - r->to->first[r->to->sentences];
    bool      is_word;
    gq_status s;

    if (memchr(text, 0, size))
        return refuse(r, err, "there is a NUL byte");
    text[size] = 0; /* over the line's end, or the NUL behind the file        */
    for (char *p = text; (p = strchr(p, '\t')); *p++ = 0, columns++)
        if (columns < COLUMNS)
            column[columns] = p + 1;
    if (columns != COLUMNS)
        return refuse(r, err, "%d columns between tabs, not %d", columns, COLUMNS);
    s = check_id(r, column[ID], n, &is_word, err);
    if (s != GQ_OK || !is_word)
        return s;
    if (n == GQ_CONLLU_WORDS)
        return refuse(r, err, "a sentence of more than %d words", GQ_CONLLU_WORDS);
    static const int read[] = {FORM, UPOS, XPOS};
    for (size_t k = 0; k < sizeof read / sizeof *read && s == GQ_OK; k++)
        s = check_text(r, read[k], column[read[k]], err);
    if (s == GQ_OK)
        s = add_word(r, (gq_conllu_word){column[FORM], column[UPOS], column[XPOS], r->line}, err);
    return s;
}

/* ---- the file -------------------------------------------------------------------------------- */

static gq_status end_sentence(reader *r, gq_error *err)
{
    gq_treebank *t = r->to;
    size_t       n = t->words - t->first[t->sentences];
    if (!n)
        return refuse(r, err, "a sentence without words ends here");
    if (r->covered > n)
        return refuse(r, err, "the sentence ends with word %zu, inside a multiword token up to %u",
                      n, r->covered);
    t->sentences++;
    r->inside = false;
    r->covered = 0;
    return add_first(r, err);
}

static gq_status read_line(reader *r, gq_error *err)
{
    char  *text = (char *)r->to->bytes.data + r->at;
    size_t left = r->to->bytes.size - r->at;
    char  *end = memchr(text, '\n', left);
    size_t n = end ? (size_t)(end - text) : left;

    r->line++;
    r->at += n + (end != NULL);
    if (n && text[n - 1] == '\r')
        n--;
    if (!n)
        return r->inside ? end_sentence(r, err) : GQ_OK;
    if (*text == '#')
        return r->inside ? refuse(r, err, "a comment inside a sentence") : GQ_OK;
    r->inside = true;
    return take_word(r, text, n, err);
}

gq_status gq_conllu_read(const char *path, gq_treebank *out, gq_error *err)
{
    reader    r = {.path = path, .to = out};
    gq_status s;

    *out = (gq_treebank){0};
    s = gq_read_gz(path, max_file, &out->bytes, err);
    if (s == GQ_OK && out->bytes.size >= 3 && !memcmp(out->bytes.data, "\xEF\xBB\xBF", 3))
        r.at = 3;
    if (s == GQ_OK)
        s = add_first(&r, err);
    while (s == GQ_OK && r.at < out->bytes.size)
        s = read_line(&r, err);
    if (s == GQ_OK && r.inside)
        s = end_sentence(&r, err);
    if (s == GQ_OK && !out->sentences)
        s = gq_fail(err, GQ_EINPUT, "%s: there is no sentence in it", path);
    if (s != GQ_OK)
        gq_treebank_free(out);
    return s;
}

void gq_treebank_free(gq_treebank *t)
{
    gq_bytes_free(&t->bytes);
    gq_free(t->word);
    gq_free(t->first);
    *t = (gq_treebank){0};
}
