/* Building a tokenizer from its entries: strings, maps, merge rules, checks, and the hash that
 * names it. */
#include <string.h>

#include "core/mem.h"
#include "data/tok_unigram.h"

#define MAX_PROBES 4096                /* a file whose entries collide so often was made to do it */

/* ---- maps ------------------------------------------------------------------------------------ */

static uint32_t mask_for(size_t entries)
{
    uint32_t size = 16;
    while (size < 2 * entries)
        size *= 2;
    return size - 1;
}

static inline uint64_t key_of(const char *s, size_t len)
{
    uint64_t key = 0;
    if (len > 8)
        return gq_xxh64(s, len);
    memcpy(&key, s, len);
    return key;
}

static inline uint32_t slot_of(uint64_t key, size_t len)
{
    return (uint32_t)((key ^ len * 0xD6E8FEB86659FD93u) * 0x9E3779B97F4A7C15u >> 32);
}

int32_t gq_tok_map_find(const tok_map *map, const char *pool, const tok_span *strings,
                        const char *s, size_t len)
{
    uint64_t        key = key_of(s, len);
    uint32_t        i = slot_of(key, len) & map->mask;
    const tok_slot *slot;

    for (slot = &map->slots[i]; slot->len; i = (i + 1) & map->mask, slot = &map->slots[i])
        if (slot->key == key && slot->len == len &&
            (len <= 8 || memcmp(pool + strings[slot->id].off, s, len) == 0))
            return slot->id;
    return -1;
}

gq_status gq_tok_map_init(tok_map *map, size_t entries, gq_error *err)
{
    map->mask = mask_for(entries);
    map->slots = gq_calloc((size_t)map->mask + 1, sizeof *map->slots);
    return map->slots ? GQ_OK
                      : gq_fail(err, GQ_ENOMEM, "no memory for a table of %zu tokens", entries);
}

gq_status gq_tok_map_add(tok_map *map, const char *s, size_t len, int32_t id, gq_error *err)
{
    uint64_t key = key_of(s, len);
    uint32_t i = slot_of(key, len) & map->mask, probes = 0;

    for (; map->slots[i].len; i = (i + 1) & map->mask)
        if (++probes > MAX_PROBES)
            return gq_fail(err, GQ_EWEIGHTS,
                           "the entries of the vocabulary collide too often to be an accident");
    map->slots[i] = (tok_slot){ key, (uint32_t)len, id };
    return GQ_OK;
}

/* ---- entries --------------------------------------------------------------------------------- */

gq_status gq_tok_new(gq_tok_kind kind, size_t entries, size_t merges, gq_tokenizer **out,
                     gq_error *err)
{
    gq_tokenizer *t;
    size_t        room = entries + GQ_TOK_MAX_ADDED, i;

    *out = NULL;
    if (entries > GQ_TOK_MAX_VOCAB || merges > GQ_TOK_MAX_VOCAB)
        return gq_fail(err, GQ_EWEIGHTS, "%zu entries and %zu merges; at most %d of each are taken",
                       entries, merges, GQ_TOK_MAX_VOCAB);
    t = gq_calloc(1, sizeof *t);
    if (!t)
        return gq_fail(err, GQ_ENOMEM, "no memory for a tokenizer");
    t->kind = kind;
    t->room = (int32_t)room;
    t->merge_room = merges;
    t->rule_mask = mask_for(merges);
    t->begin_id = t->end_id = t->pad_id = t->unknown_id = -1;
    t->symbol = gq_calloc(room, sizeof *t->symbol);
    t->bytes = gq_calloc(room, sizeof *t->bytes);
    t->flags = gq_calloc(room, sizeof *t->flags);
    t->rules = gq_malloc((size_t)t->rule_mask + 1, sizeof *t->rules);
    t->merges = gq_malloc(merges, sizeof *t->merges);
    if (!t->symbol || !t->bytes || !t->flags || !t->rules || !t->merges ||
        gq_tok_map_init(&t->names, room, err) ||
        (kind == GQ_TOK_UNIGRAM && gq_tok_unigram_new(t, err))) {
        gq_tokenizer_close(t);
        return gq_fail(err, GQ_ENOMEM, "no memory for a tokenizer of %zu entries", entries);
    }
    for (i = 0; i <= t->rule_mask; i++)
        t->rules[i].rank = TOK_NO_RANK;
    *out = t;
    return GQ_OK;
}

void gq_tokenizer_close(gq_tokenizer *t)
{
    if (!t)
        return;
    gq_free(t->pool);
    gq_free(t->symbol);
    gq_free(t->bytes);
    gq_free(t->flags);
    gq_free(t->names.slots);
    gq_free(t->pieces.slots);
    gq_free(t->rules);
    gq_free(t->merges);
    gq_tok_unigram_free(t->unigram);
    gq_free(t);
}

gq_status gq_tok_store(gq_tokenizer *t, const char *s, size_t len, tok_span *out, gq_error *err)
{
    if (t->pool_cap - t->pool_used < len) {
        size_t cap = 2 * t->pool_cap + len + 4096;
        char  *pool = cap <= UINT32_MAX ? gq_realloc(t->pool, cap, 1) : NULL;
        if (!pool)
            return gq_fail(err, GQ_ENOMEM, "no memory for %zu bytes of vocabulary", cap);
        t->pool = pool;
        t->pool_cap = cap;
    }
    memcpy(t->pool + t->pool_used, s, len);
    *out = (tok_span){ (uint32_t)t->pool_used, (uint32_t)len };
    t->pool_used += len;
    return GQ_OK;
}

int32_t gq_tok_find(const gq_tokenizer *t, const char *symbol, size_t len)
{
    return len ? gq_tok_map_find(&t->names, t->pool, t->symbol, symbol, len) : -1;
}

gq_status gq_tok_add(gq_tokenizer *t, int64_t id, const char *symbol, size_t len, gq_error *err)
{
    gq_status status;
    if (len == 0)
        return gq_fail(err, GQ_EWEIGHTS, "the entry with id %lld is empty", (long long)id);
    if (id < 0 || id >= t->room)
        return gq_fail(err, GQ_EWEIGHTS,
                       "'%.*s' has id %lld; ids must be 0, 1, 2 ... without holes", TOK_SHOW(len),
                       symbol, (long long)id);
    if (t->symbol[id].len)
        return gq_fail(err, GQ_EWEIGHTS, "id %lld belongs to two entries, the second is '%.*s'",
                       (long long)id, TOK_SHOW(len), symbol);
    if (gq_tok_find(t, symbol, len) >= 0)
        return gq_fail(err, GQ_EWEIGHTS, "the entry '%.*s' is there twice (ids %d and %lld)",
                       TOK_SHOW(len), symbol, (int)gq_tok_find(t, symbol, len), (long long)id);
    if ((status = gq_tok_store(t, symbol, len, &t->symbol[id], err)) ||
        (status = gq_tok_map_add(&t->names, symbol, len, (int32_t)id, err)))
        return status;
    if (id >= t->size)
        t->size = (int32_t)id + 1;
    return GQ_OK;
}

gq_status gq_tok_special(gq_tokenizer *t, int64_t id, const char *content, size_t len,
                         gq_error *err)
{
    int32_t   known = gq_tok_find(t, content, len);
    gq_status status;

    if (t->special_count == GQ_TOK_MAX_ADDED)
        return gq_fail(err, GQ_EWEIGHTS, "more than %d special tokens", GQ_TOK_MAX_ADDED);
    if (known >= 0 && known != id)
        return gq_fail(err, GQ_EWEIGHTS,
                       "special token '%.*s' has id %lld here and %d in the vocabulary",
                       TOK_SHOW(len), content, (long long)id, (int)known);
    if (known < 0 && (status = gq_tok_add(t, id, content, len, err)))
        return status;
    if (t->flags[id] & TOK_IS_SPECIAL)
        return gq_fail(err, GQ_EWEIGHTS, "special token '%.*s' is there twice", TOK_SHOW(len),
                       content);
    t->flags[id] |= TOK_IS_SPECIAL;
    t->special[t->special_count++] = (int32_t)id;
    t->special_first[(unsigned char)content[0]] = true;
    return GQ_OK;
}

gq_status gq_tok_merge(gq_tokenizer *t, const char *left, size_t left_len, const char *right,
                       size_t right_len, gq_error *err)
{
    char     both[2048];
    int32_t  a = gq_tok_find(t, left, left_len), b = gq_tok_find(t, right, right_len), ab;
    uint32_t i, probes = 0;
    uint64_t pair;

    if (a < 0 || b < 0)
        return gq_fail(err, GQ_EWEIGHTS,
                       "'%.*s' is not in the vocabulary; vocabulary and merges must be of one "
                       "tokenizer",
                       TOK_SHOW(a < 0 ? left_len : right_len), a < 0 ? left : right);
    if (left_len + right_len > sizeof both)
        return gq_fail(err, GQ_EWEIGHTS, "a merged token of more than %zu bytes", sizeof both);
    memcpy(both, left, left_len);
    memcpy(both + left_len, right, right_len);
    ab = gq_tok_find(t, both, left_len + right_len);
    if (ab < 0)
        return gq_fail(err, GQ_EWEIGHTS,
                       "'%.*s', what the merge makes, is not in the vocabulary; vocabulary and "
                       "merges must be of one tokenizer",
                       TOK_SHOW(left_len + right_len), both);
    if (t->merge_count == t->merge_room)
        return gq_fail(err, GQ_EBUG, "more merges than announced");
    pair = tok_pair(a, b);
    for (i = tok_pair_slot(pair) & t->rule_mask; t->rules[i].rank != TOK_NO_RANK;
         i = (i + 1) & t->rule_mask) {
        if (t->rules[i].pair == pair)
            return gq_fail(err, GQ_EWEIGHTS, "the merge is there twice, first as number %u",
                           t->rules[i].rank + 1);
        if (++probes > MAX_PROBES)
            return gq_fail(err, GQ_EWEIGHTS, "the merges collide too often to be an accident");
    }
    t->rules[i] = (tok_rule){ pair, (uint32_t)t->merge_count, ab };
    t->merges[t->merge_count++] = pair;
    return GQ_OK;
}
