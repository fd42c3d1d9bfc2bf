/* A double array over byte strings: a step of a walk is one look at one unit. Children of a node
 * share a base that no other node has, so a unit belongs to a node exactly when its `from` is the
 * node's base. Bases are looked for among the free units of the last blocks only, and not for
 * long: building stays linear whatever the strings are. */
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "data/tok_unigram.h"

#define BLOCK      256u
#define OPEN       (16 * BLOCK)         /* units at the end in which free ones are remembered     */
#define TRIES      256                  /* free units looked at for one node                      */
#define MOST_UNITS (1u << 23)
#define NOBODY     UINT32_MAX

typedef struct maker {
    tok_trie      *t;
    const tok_key *keys;
    bool          *is_base;             /* [units]                                                */
    uint32_t      *next, *prev;         /* [units] list of the free units that are remembered     */
    uint32_t       head, tail;          /* NOBODY: the list is empty                              */
    uint32_t       cap;                 /* units                                                  */
    gq_error      *err;
} maker;

static int by_bytes(const void *left, const void *right)
{
    const tok_key *a = left, *b = right;
    int            c = memcmp(a->s, b->s, a->len < b->len ? a->len : b->len);
    return c ? c : (a->len > b->len) - (a->len < b->len);
}

static void forget(maker *m, uint32_t u)
{
    if (m->prev[u] == NOBODY)
        m->head = m->next[u];
    else
        m->next[m->prev[u]] = m->next[u];
    if (m->next[u] == NOBODY)
        m->tail = m->prev[u];
    else
        m->prev[m->next[u]] = m->prev[u];
}

static gq_status make_room(maker *m)
{
    uint32_t  cap = 2 * m->cap + OPEN;
    tok_unit *unit = gq_realloc(m->t->unit, cap, sizeof *unit);
    uint32_t *next = gq_realloc(m->next, cap, sizeof *next);
    uint32_t *prev = gq_realloc(m->prev, cap, sizeof *prev);
    bool     *is_base = gq_realloc(m->is_base, cap, sizeof *is_base);

    m->t->unit = unit ? unit : m->t->unit;
    m->next = next ? next : m->next;
    m->prev = prev ? prev : m->prev;
    m->is_base = is_base ? is_base : m->is_base;
    if (!unit || !next || !prev || !is_base)
        return gq_fail(m->err, GQ_ENOMEM, "no memory for a trie of %u units", cap);
    m->cap = cap;
    return GQ_OK;
}

/* 256 free units at the end; the oldest ones that are still free are not remembered any more. */
static gq_status add_block(maker *m)
{
    tok_trie *t = m->t;
    uint32_t  u, first = t->units;

    if (first == MOST_UNITS)
        return gq_fail(m->err, GQ_EWEIGHTS, "the pieces do not fit %u units", MOST_UNITS);
    if (first == m->cap && make_room(m))
        return GQ_ENOMEM;
    t->units += BLOCK;
    for (u = first; u < t->units; u++) {
        t->unit[u] = (tok_unit){0, NOBODY, -1};
        m->is_base[u] = u == 0;                     /* 0 is the base of nodes without children    */
        m->prev[u] = m->tail;
        m->next[u] = NOBODY;
        if (m->tail == NOBODY)
            m->head = u;
        else
            m->next[m->tail] = u;
        m->tail = u;
    }
    for (u = first - OPEN; first >= OPEN && u < first - OPEN + BLOCK; u++)
        if (t->unit[u].from == NOBODY)
            forget(m, u);
    return GQ_OK;
}

static bool fits(const maker *m, uint32_t base, const uint8_t *label, uint32_t n)
{
    uint32_t k;
    if (m->is_base[base])
        return false;
    for (k = 1; k < n && m->t->unit[base ^ label[k]].from == NOBODY; k++)
        continue;
    return k >= n;
}

static gq_status find_base(maker *m, const uint8_t *label, uint32_t n, uint32_t *base)
{
    uint32_t  u = m->tail, tries;
    gq_status status;

    for (tries = 0; u != NOBODY && tries < TRIES; tries++, u = m->prev[u])
        if (fits(m, *base = u ^ label[0], label, n))
            return GQ_OK;
    status = add_block(m);
    /* not the block's first unit, which may be 0 */
    *base = status ? 0 : m->t->units - 1;
    return status;
}

/* Children of the node that is the first `depth` bytes of keys lo .. hi - 1; their base goes into
 * *base. At most TOK_MAX_PIECE deep. */
static gq_status add_children(maker *m, size_t lo, size_t hi, uint32_t depth, uint32_t *base)
{
    uint8_t   label[BLOCK];
    uint32_t  n = 0, k;
    size_t    i, from;
    gq_status status;

    for (i = lo; i < hi; i++)
        if (i == lo || m->keys[i].s[depth] != m->keys[i - 1].s[depth])
            label[n++] = (uint8_t)m->keys[i].s[depth];
    if ((status = find_base(m, label, n, base)))
        return status;
    m->is_base[*base] = true;
    for (k = 0; k < n; k++) {
        forget(m, *base ^ label[k]);
        m->t->unit[*base ^ label[k]].from = *base;
    }
    for (i = lo, k = 0; k < n; k++) {
        uint32_t unit = *base ^ label[k], below = 0;
        for (from = i; i < hi && (uint8_t)m->keys[i].s[depth] == label[k]; i++)
            continue;
        if (m->keys[from].len == depth + 1)
            m->t->unit[unit].id = m->keys[from++].id;
        if (from < i && (status = add_children(m, from, i, depth + 1, &below)))
            return status;
        m->t->unit[unit].base = below;
    }
    return GQ_OK;
}

gq_status gq_tok_trie_make(tok_trie *t, tok_key *keys, size_t n, gq_error *err)
{
    maker     m = {.t = t, .keys = keys, .head = NOBODY, .tail = NOBODY, .err = err};
    gq_status status;

    if (n == 0)
        return GQ_OK;
    qsort(keys, n, sizeof *keys, by_bytes);
    status = add_block(&m);
    if (status == GQ_OK)
        status = add_children(&m, 0, n, 0, &t->root);
    gq_free(m.is_base);
    gq_free(m.next);
    gq_free(m.prev);
    return status;
}

size_t gq_tok_trie_longest(const tok_trie *t, const char *s, size_t n)
{
    uint32_t base = t->root;
    size_t   i, longest = 0;

    for (i = 0; t->unit && i < n; i++) {
        const tok_unit *u = &t->unit[base ^ (uint8_t)s[i]];
        if (u->from != base)
            break;
        base = u->base;
        if (u->id >= 0)
            longest = i + 1;
    }
    return longest;
}
