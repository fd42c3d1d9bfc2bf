/* The vocabulary of a table: every word of its questions and answers, most frequent first, as
 * words.txt. For tables that come without a tokenizer; such a model starts from random weights
 * anyway. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/io.h"
#include "core/mem.h"
#include "data/table.h"
#include "data/unicode.h"
#include "tools/prep_build.h"
#include "train/net.h"

enum { SPECIALS = 3, FIRST_SLOTS = 4096 };
static const char *const specials[SPECIALS] = {"<pad>", "<end>", "<unk>"};

typedef struct entry {
    char    *word;                      /* owned                                                */
    uint64_t count;                     /* 0: a special token                                   */
} entry;

typedef struct bag {
    entry    *entry;                    /* [used]                                               */
    uint32_t  used, room;
    uint32_t *slot;                     /* [slots] index of an entry + 1, open addressing       */
    uint32_t  slots;                    /* a power of two                                       */
} bag;

static uint32_t *find(const bag *b, const char *word)
{
    for (uint64_t k = gq_xxh64(word, strlen(word));; k++) {
        uint32_t *s = &b->slot[k & (b->slots - 1)];
        if (!*s || !strcmp(b->entry[*s - 1].word, word))
            return s;
    }
}

static bool grow(bag *b)
{
    uint32_t  slots = b->slots ? 2 * b->slots : FIRST_SLOTS;
    entry    *entries = gq_realloc(b->entry, slots / 2, sizeof *entries);
    uint32_t *slot = gq_calloc(slots, sizeof *slot);

    b->entry = entries ? entries : b->entry;
    if (!entries || !slot) {
        gq_free(slot);
        return false;
    }
    gq_free(b->slot);
    b->slot = slot;
    b->slots = slots;
    b->room = slots / 2;
    for (uint32_t i = 0; i < b->used; i++)
        *find(b, b->entry[i].word) = i + 1;
    return true;
}

static bool count_word(bag *b, const char *word, uint64_t times)
{
    if (b->used == b->room && !grow(b))
        return false;
    uint32_t *s = find(b, word);
    if (!*s) {
        char *copy = gq_strdup(word);
        if (!copy)
            return false;
        b->entry[b->used] = (entry){copy, 0};
        *s = ++b->used;
    }
    if (*s > SPECIALS)
        b->entry[*s - 1].count += times;
    return true;
}

/* ---- words of a text ------------------------------------------------------------------------- */

static bool is_mark(uint32_t cp)
{
    return cp == '.' || cp == ',' || cp == '?' || cp == '!';
}

/* The tokenizer's own form: NFC, then lower case. *n code points, new; NULL: no memory. */
static uint32_t *clean(const char *text, size_t *n, gq_error *err)
{
    uint32_t *cp, *low;
    size_t    from, to = 0;

    if (gq_text_nfc(text, strlen(text), &cp, &from, err) != GQ_OK)
        return NULL;
    low = gq_malloc(2 * from + 1, sizeof *low);
    for (size_t i = 0; low && i < from; i++)
        to += gq_lower(cp[i], low + to);
    gq_free(cp);
    if (!low)
        gq_fail(err, GQ_ENOMEM, "no memory for a text of the table");
    *n = to;
    return low;
}

/* Words that change when they are cleaned once more (a few rare letters) could never be met: they
 * stay unknown. */
static bool stable(const char *word)
{
    size_t    n, len = 0;
    char      back[4], *at = (char *)(uintptr_t)word;
    gq_error  ignored = {0};
    uint32_t *cp = clean(word, &n, &ignored);
    bool      same = cp != NULL;

    for (size_t i = 0; same && i < n; i++, at += len) {
        len = gq_utf8_put(cp[i], back);
        same = strlen(at) >= len && !memcmp(at, back, len);
    }
    same = same && !*at;
    gq_free(cp);
    return same;
}

/* Takes one word of a text; false: no memory. */
typedef bool (*take_fn)(void *ctx, const char *word);

static gq_status each_word(const char *text, take_fn take, void *ctx, gq_error *err)
{
    size_t    n, len = 0;
    uint32_t *cp = clean(text, &n, err);
    char     *word = cp ? gq_malloc(n + 1, 4) : NULL;
    bool      ok = word != NULL;

    for (size_t i = 0; ok && i <= n; i++) {
        bool mark = i < n && is_mark(cp[i]);
        if (len && (i == n || mark || gq_is_space(cp[i]))) {
            word[len] = 0;
            len = 0;
            ok = !stable(word) || take(ctx, word);
        }
        if (ok && mark)
            ok = take(ctx, (char[]){(char)cp[i], 0});
        else if (i < n && !gq_is_space(cp[i]))
            len += gq_utf8_put(cp[i], word + len);
    }
    gq_free(cp);
    gq_free(word);
    return ok ? GQ_OK : gq_fail(err, GQ_ENOMEM, "no memory for the words of the table");
}

static bool count_once(void *ctx, const char *word)
{
    return count_word(ctx, word, 1);
}

static gq_status count_text(bag *b, const char *text, gq_error *err)
{
    return each_word(text, count_once, b, err);
}

/* ---- the table ------------------------------------------------------------------------------- */

static gq_status ignore(void *ctx, uint64_t line, const char *reason, gq_error *err)
{
    (void)ctx, (void)line, (void)reason, (void)err;
    return GQ_OK; /* the build lists bad rows */
}

static gq_status count_table(bag *b, const char *table, const gq_config *c, gq_error *err)
{
    gq_table   *t;
    gq_row      row;
    char        around[GQ_TEXT_MAX + 1];
    gq_status   s = gq_table_open(table, ignore, NULL, &t, err);

    if (s != GQ_OK)
        return s;
    snprintf(around, sizeof around, "%s", c->prompt.template);
    for (char *p = around; *p; p++)                  /* its places are no words */
        if (strncmp(p, "{q}", 3) == 0 || strncmp(p, "{c}", 3) == 0)
            memset(p, ' ', 3);
    s = count_text(b, around, err);
    if (s == GQ_OK)
        s = count_text(b, c->prompt.answer_prefix, err);
    while (s == GQ_OK && (s = gq_table_next(t, &row, err)) == GQ_OK && row.gif) {
        s = count_text(b, row.question, err);
        if (s == GQ_OK)
            s = count_text(b, row.answer, err);
    }
    gq_table_close(t);
    return s;
}

static int by_count(const void *x, const void *y)
{
    const entry *a = x, *b = y;
    if (a->count != b->count)
        return a->count < b->count ? 1 : -1;
    return strcmp(a->word, b->word);
}

typedef struct search {
    const bag *bag;                     /* sorted                                               */
    uint32_t   most;                    /* entries that are kept                                */
    bool       lost;                    /* a word behind them was met                           */
} search;

static bool look_up(void *ctx, const char *word)
{
    search *f = ctx;
    f->lost |= *find(f->bag, word) > f->most;
    return true;
}

/* How many answers of the table have a word that was left out. Numbers the sorted entries anew. */
static gq_status count_lost(bag *b, const char *table, uint32_t most, uint64_t *answers,
                            gq_error *err)
{
    gq_table *t;
    gq_row    row;
    gq_status s = gq_table_open(table, ignore, NULL, &t, err);

    if (s != GQ_OK)
        return s;
    memset(b->slot, 0, b->slots * sizeof *b->slot);
    for (uint32_t i = 0; i < b->used; i++)
        *find(b, b->entry[i].word) = i + 1;
    while (s == GQ_OK && (s = gq_table_next(t, &row, err)) == GQ_OK && row.gif) {
        search f = {b, most, false};
        s = each_word(row.answer, look_up, &f, err);
        *answers += f.lost;
    }
    gq_table_close(t);
    return s;
}

static gq_status write_words(const bag *b, const char *path, uint32_t most, gq_error *err)
{
    gq_file  *f;
    gq_status s = gq_atomic_open(path, &f, err);

    if (s != GQ_OK)
        return s;
    for (uint32_t i = 0; s == GQ_OK && i < b->used && i < most; i++)
        s = gq_file_printf(f, err, "%s\n", b->entry[i].word);
    if (s == GQ_OK)
        return gq_atomic_commit(f, err);
    gq_atomic_abort(f);
    return s;
}

/* The tokenizer is read back from a file, as every other one, so that it is the same when the
 * build is continued. */
static gq_status through_a_file(const bag *b, const char *out, uint32_t most, gq_tokenizer **tok,
                                gq_error *err)
{
    char      name[48];
    char     *dir, *path = NULL;
    gq_status s;

    snprintf(name, sizeof name, ".tmp-words-%ld", (long)getpid());
    dir = gq_path(out, name);
    path = dir ? gq_path(dir, "words.txt") : NULL;
    s = path ? gq_mkdirs(dir, err) : gq_fail(err, GQ_ENOMEM, "%s: no memory for a path", out);
    if (s == GQ_OK)
        s = write_words(b, path, most, err);
    if (s == GQ_OK)
        s = gq_tokenizer_open(path, tok, err);
    if (dir)
        gq_remove_tree(dir, NULL);
    gq_free(path);
    gq_free(dir);
    return s;
}

gq_status gq_prep_words(const char *table, const gq_contexts *contexts, const char *out, const gq_config *c,
                        gq_tokenizer **tok, gq_prep_words_report *report, gq_error *err)
{
    bag       b = {0};
    uint32_t  most = (uint32_t)gq_net_language(c).vocab;
    gq_status s = GQ_OK;

    *report = (gq_prep_words_report){0};
    for (int i = 0; s == GQ_OK && i < SPECIALS; i++)
        if (!count_word(&b, specials[i], 0))
            s = gq_fail(err, GQ_ENOMEM, "no memory for a vocabulary");
    if (s == GQ_OK)
        s = count_table(&b, table, c, err);
    for (uint32_t i = 0; s == GQ_OK && contexts && i < gq_contexts_gifs(contexts); i++)
        s = count_text(&b, gq_contexts_text(contexts, i), err);
    if (s == GQ_OK) {
        qsort(b.entry + SPECIALS, b.used - SPECIALS, sizeof *b.entry, by_count);
        report->words = b.used - SPECIALS;
        report->lost = b.used > most ? b.used - most : 0;
        s = through_a_file(&b, out, most, tok, err);
    }
    if (s == GQ_OK && report->lost)
        s = count_lost(&b, table, most, &report->lost_answers, err);
    for (uint32_t i = 0; i < b.used; i++)
        gq_free(b.entry[i].word);
    gq_free(b.entry);
    gq_free(b.slot);
    return s;
}
