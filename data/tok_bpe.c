/* Byte-pair merging of one piece: always the pair of lowest rank, the leftmost of equals, until
 * none is left. Pieces of usual length are done on the stack by searching the row of ranks again
 * after each merge; long ones (a megabyte of one letter is one piece) with a heap over a linked
 * row, n log n. Both give the same ids.
 */
#include <string.h>

#include "core/mem.h"
#include "data/tok_private.h"

#define SHORT   48                      /* symbols: up to here searching beats a heap             */
#define NOBODY  UINT32_MAX

static const tok_rule *find_rule(const gq_tokenizer *t, int32_t left, int32_t right)
{
    uint64_t pair = tok_pair(left, right);
    uint32_t i = tok_pair_slot(pair) & t->rule_mask;
    for (; t->rules[i].rank != TOK_NO_RANK; i = (i + 1) & t->rule_mask)
        if (t->rules[i].pair == pair)
            return &t->rules[i];
    return NULL;
}

static inline uint32_t rank_of(const gq_tokenizer *t, int32_t left, int32_t right)
{
    const tok_rule *rule = find_rule(t, left, right);
    return rule ? rule->rank : TOK_NO_RANK;
}

static inline int32_t first_id(const gq_tokenizer *t, const char *piece, size_t len, size_t i)
{
    unsigned char byte = (unsigned char)piece[i];
    return t->kind == GQ_TOK_CLIP && i + 1 == len ? t->byte_end_id[byte] : t->byte_id[byte];
}

static void merge_short(const gq_tokenizer *t, const char *piece, size_t len, tok_sink *sink)
{
    int32_t  id[SHORT];
    uint32_t rank[SHORT];               /* of the pair (i, i + 1)                                 */
    size_t   n = len, i, best;

    for (i = 0; i < n; i++)
        id[i] = first_id(t, piece, len, i);
    for (i = 0; i + 1 < n; i++)
        rank[i] = rank_of(t, id[i], id[i + 1]);
    while (n > 1) {
        for (best = 0, i = 1; i + 1 < n; i++)
            if (rank[i] < rank[best])
                best = i;
        if (rank[best] == TOK_NO_RANK)
            break;
        id[best] = find_rule(t, id[best], id[best + 1])->id;
        n--;
        memmove(id + best + 1, id + best + 2, (n - best - 1) * sizeof *id);
        if (best + 1 < n) {
            memmove(rank + best + 1, rank + best + 2, (n - best - 2) * sizeof *rank);
            rank[best] = rank_of(t, id[best], id[best + 1]);
        }
        if (best > 0)
            rank[best - 1] = rank_of(t, id[best - 1], id[best]);
    }
    for (i = 0; i < n; i++)
        tok_emit(sink, id[i]);
}

typedef struct row {                    /* the symbols of a long piece, linked                    */
    uint64_t *heap;              /* [2 n] rank << 32 | place, a minimum heap; may hold stale ones */
    size_t    heap_n;
    int32_t  *id;                       /* [n]                                                    */
    uint32_t *rank;        /* [n] of the pair that begins here; TOK_NO_RANK: none, or merged away */
    uint32_t *prev, *next;              /* [n] places, NOBODY at the ends                         */
} row;

static void heap_push(row *r, uint64_t value)
{
    size_t i = r->heap_n++;
    for (; i > 0 && r->heap[(i - 1) / 2] > value; i = (i - 1) / 2)
        r->heap[i] = r->heap[(i - 1) / 2];
    r->heap[i] = value;
}

static uint64_t heap_pop(row *r)
{
    uint64_t top = r->heap[0], last = r->heap[--r->heap_n];
    size_t   i = 0, child;
    while ((child = 2 * i + 1) < r->heap_n) {
        if (child + 1 < r->heap_n && r->heap[child + 1] < r->heap[child])
            child++;
        if (r->heap[child] >= last)
            break;
        r->heap[i] = r->heap[child];
        i = child;
    }
    r->heap[i] = last;
    return top;
}

static void rate_pair(const gq_tokenizer *t, row *r, uint32_t at)
{
    uint32_t next = r->next[at];
    r->rank[at] = next == NOBODY ? TOK_NO_RANK : rank_of(t, r->id[at], r->id[next]);
    if (r->rank[at] != TOK_NO_RANK)
        heap_push(r, (uint64_t)r->rank[at] << 32 | at);
}

static gq_status make_row(tok_scratch *s, size_t n, row *r, gq_error *err)
{
    const size_t each = 2 * sizeof *r->heap + sizeof *r->id + 3 * sizeof(uint32_t);
    char        *p;

    if (s->room < n) {
        gq_free(s->memory);
        s->memory = gq_malloc(n, each);
        s->room = s->memory ? n : 0;
        if (!s->memory)
            return gq_fail(err, GQ_ENOMEM,
                           "no memory to tokenize a piece of %zu bytes (%zu bytes each)", n, each);
    }
    p = s->memory;
    r->heap_n = 0;
    r->heap = (uint64_t *)p;
    r->id = (int32_t *)(p + 2 * n * sizeof *r->heap);
    r->rank = (uint32_t *)(r->id + n);
    r->prev = r->rank + n;
    r->next = r->prev + n;
    return GQ_OK;
}

/* At most n - 1 pairs at first and two for each of n - 1 merges, each of which popped one: 2 n heap
 * places. */
static gq_status merge_long(const gq_tokenizer *t, const char *piece, size_t len,
                            tok_scratch *scratch, tok_sink *sink, gq_error *err)
{
    row      r = { 0 };
    uint32_t i, at, gone, n = (uint32_t)len;

    if (make_row(scratch, len, &r, err))
        return GQ_ENOMEM;
    for (i = 0; i < n; i++) {
        r.id[i] = first_id(t, piece, len, i);
        r.prev[i] = i ? i - 1 : NOBODY;
        r.next[i] = i + 1 < n ? i + 1 : NOBODY;
    }
    for (i = 0; i < n; i++)
        rate_pair(t, &r, i);
    while (r.heap_n) {
        uint64_t top = heap_pop(&r);
        at = (uint32_t)top;
        if (r.rank[at] != top >> 32)
            continue;                               /* stale: one of the two was merged since     */
        gone = r.next[at];
        r.id[at] = find_rule(t, r.id[at], r.id[gone])->id;
        r.rank[gone] = TOK_NO_RANK;
        r.next[at] = r.next[gone];
        if (r.next[at] != NOBODY)
            r.prev[r.next[at]] = at;
        rate_pair(t, &r, at);
        if (r.prev[at] != NOBODY)
            rate_pair(t, &r, r.prev[at]);
    }
    for (i = 0; i != NOBODY; i = r.next[i])
        tok_emit(sink, r.id[i]);
    return GQ_OK;
}

gq_status gq_tok_bpe(const gq_tokenizer *t, const char *piece, size_t len, tok_scratch *scratch,
                     tok_sink *sink, gq_error *err)
{
    int32_t whole =
        t->pieces.slots ? gq_tok_map_find(&t->pieces, t->pool, t->bytes, piece, len) : -1;
    if (whole >= 0)
        tok_emit(sink, whole);
    else if (len <= SHORT)
        merge_short(t, piece, len, sink);
    else
        return merge_long(t, piece, len, scratch, sink, err);
    return GQ_OK;
}
