#include "data/qagen/pairs.h"

#include <string.h>

#include "core/mem.h"
#include "data/table.h"

enum { COLUMNS = 7, BLOCK = 1 << 20 };
static const char *const header[COLUMNS] = {"gif",      "question",  "answer",   "type",
                                            "template", "candidate", "generator"};

typedef struct block { /* texts, which must not move                             */
    struct block *before;
    size_t        used, room;
    char          text[];
} block;

struct gq_pairs {
    const char *generator;
    block      *blocks;
    gq_pair    *pair; /* [n] their texts in blocks                              */
    bool       *drop; /* [room]                                                 */
    size_t      n, room;
};

static gq_status no_memory(gq_error *err)
{
    return gq_fail(err, GQ_ENOMEM, "no memory for the questions");
}

gq_status gq_pairs_new(const char *generator, gq_pairs **out, gq_error *err)
{
    if (!(*out = gq_calloc(1, sizeof **out)))
        return no_memory(err);
    (*out)->generator = generator;
    return GQ_OK;
}

void gq_pairs_free(gq_pairs *p)
{
    if (!p)
        return;
    for (block *b = p->blocks, *before; b; b = before) {
        before = b->before;
        gq_free(b);
    }
    gq_free(p->pair);
    gq_free(p->drop);
    gq_free(p);
}

static const char *keep_text(gq_pairs *p, const char *text)
{
    size_t n = strlen(text) + 1;
    if (!p->blocks || p->blocks->room - p->blocks->used < n) {
        size_t room = n > BLOCK ? n : BLOCK;
        block *b = gq_malloc(1, sizeof *b + room);
        if (!b)
            return NULL;
        *b = (block){p->blocks, 0, room};
        p->blocks = b;
    }
    char *to = memcpy(p->blocks->text + p->blocks->used, text, n);
    p->blocks->used += n;
    return to;
}

static bool grow(gq_pairs *p)
{
    size_t   room = p->room ? 2 * p->room : 4096;
    gq_pair *pair = gq_realloc(p->pair, room, sizeof *pair);
    if (pair)
        p->pair = pair;
    bool *drop = pair ? gq_realloc(p->drop, room, sizeof *drop) : NULL;
    if (!drop)
        return false;
    p->drop = drop;
    p->room = room;
    return true;
}

gq_status gq_pairs_add(gq_pairs *p, const gq_pair *pair, gq_error *err)
{
    if (p->n == p->room && !grow(p))
        return no_memory(err);
    gq_pair k = *pair;
    bool    same = p->n && !strcmp(p->pair[p->n - 1].gif, k.gif); /* as its neighbour, mostly */
    k.gif = same ? p->pair[p->n - 1].gif : keep_text(p, k.gif);
    k.question = keep_text(p, k.question);
    k.answer = keep_text(p, k.answer);
    if (!k.gif || !k.question || !k.answer)
        return no_memory(err);
    p->drop[p->n] = false;
    p->pair[p->n++] = k;
    return GQ_OK;
}

size_t gq_pairs_count(const gq_pairs *p)
{
    return p->n;
}

gq_pair gq_pairs_at(const gq_pairs *p, size_t k)
{
    return p->pair[k];
}

const char *gq_pairs_answer(const char *answer)
{
    static const char *const articles[] = {"a ", "an ", "the "};
    for (size_t k = 0; k < sizeof articles / sizeof *articles; k++)
        if (!strncmp(answer, articles[k], strlen(articles[k])))
            return answer + strlen(articles[k]);
    return answer;
}

static bool in_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c & 0x80);
}

bool gq_pairs_told(const char *question, const char *answer)
{
    const char *own = gq_pairs_answer(answer);
    size_t      n = strlen(own);
    for (const char *p = question; n && (p = strstr(p, own)); p++)
        if ((p == question || !in_word(p[-1])) && !in_word(p[n]))
            return true;
    return false;
}

gq_status gq_pairs_balance(gq_pairs *p, double share, uint32_t groups, gq_cap_count *count,
                           gq_error *err)
{
    gq_cap_row *row = gq_malloc(p->n, sizeof *row);
    bool       *keep = row ? gq_malloc(p->n, sizeof *keep) : NULL;
    gq_status   s = keep ? GQ_OK : no_memory(err);
    for (size_t k = 0, end; k < p->n && s == GQ_OK; k = end) {
        for (end = k; end < p->n && p->pair[end].gif == p->pair[k].gif; end++)
            ;
        for (size_t j = k; j < end; j++)
            row[j] = (gq_cap_row){p->pair[j].group, gq_pairs_answer(p->pair[j].answer),
                                  (uint32_t)(end - k)};
    }
    if (s == GQ_OK)
        s = gq_cap(row, p->n, share, groups, keep, count, err);
    for (size_t k = 0; k < p->n && s == GQ_OK; k++)
        p->drop[k] = !keep[k];
    gq_free(keep);
    gq_free(row);
    return s;
}

gq_status gq_pairs_write(const gq_pairs *p, const char *path, gq_error *err)
{
    gq_file  *f;
    gq_status s = gq_atomic_open(path, &f, err);
    if (s != GQ_OK)
        return s;
    s = gq_table_put(f, header, COLUMNS, err);
    for (size_t k = 0; k < p->n && s == GQ_OK; k++) {
        const gq_pair    *q = &p->pair[k];
        const char *const cell[COLUMNS] = {q->gif,      q->question,  q->answer,   q->type,
                                           q->template, q->candidate, p->generator};
        if (!p->drop[k])
            s = gq_table_put(f, cell, COLUMNS, err);
    }
    if (s == GQ_OK)
        return gq_atomic_commit(f, err);
    gq_atomic_abort(f);
    return s;
}
