/* SentencePiece's normaliser: a character map (Darts' double array of what is replaced, and a pool
 * of what replaces it), the longest rule at each place, then spaces. The map comes from strangers:
 * it is checked once, unit by unit, and then no walk in it can leave it. */
#include <string.h>

#include "core/mem.h"
#include "data/tok_unigram.h"
#include "data/unicode.h"

/* A unit of Darts: the label of the edge to it (bit 31: it is a value, not a node), the distance of
 * its children (xor), whether a string ends at it, or the value. */
static inline uint32_t label_of(uint32_t unit)    { return unit & 0x800000FFu; }
static inline uint32_t distance_of(uint32_t unit) { return unit >> 10 << ((unit & 0x200) >> 6); }
static inline bool     has_value(uint32_t unit)   { return unit >> 8 & 1; }
static inline uint32_t value_of(uint32_t unit)    { return unit & 0x7FFFFFFFu; }

/* ---- the map --------------------------------------------------------------------------------- */

/* Children of a node differ in the low 8 bits of their place: with whole blocks of 256 it is enough
 * that one of them is inside. Walks begin at unit 0 and come to no value. */
static gq_status check_unit(const tok_unigram *u, uint32_t i, size_t at, gq_error *err)
{
    uint32_t unit = u->rule[i], first = i ^ distance_of(unit), value;

    if (unit >> 31)
        return i ? GQ_OK : gq_fail(err, GQ_EWEIGHTS, "byte %zu: the first unit is a value", at);
    if (first >= u->rules)
        return gq_fail(err, GQ_EWEIGHTS, "byte %zu: unit %u leads to unit %u of %u", at, i, first,
                       u->rules);
    if (!has_value(unit))
        return GQ_OK;
    value = value_of(u->rule[first]);
    if (u->rule[first] >> 31 == 0 || value >= u->pool_size || (value && u->pool[value - 1]))
        return gq_fail(err, GQ_EWEIGHTS,
                       "byte %zu: unit %u has no replacement (a value of %u; %zu bytes are there)",
                       at, i, value, u->pool_size);
    return GQ_OK;
}

static gq_status check_pool(const tok_unigram *u, size_t at, gq_error *err)
{
    const char *s = u->pool, *end = s + u->pool_size;

    if (s == end || end[-1])
        return gq_fail(err, GQ_EWEIGHTS, "byte %zu: the last replacement is not ended by a NUL",
                       at + u->pool_size);
    for (; s < end; s += strlen(s) + 1)
        if (strlen(s) > TOK_MAX_RULE || !gq_utf8_valid(s, strlen(s)))
            return gq_fail(err, GQ_EWEIGHTS,
                           "byte %zu: a replacement is not UTF-8 or longer than %d bytes",
                           at + (size_t)(s - u->pool), TOK_MAX_RULE);
    return GQ_OK;
}

gq_status gq_tok_charsmap(tok_unigram *u, const uint8_t *map, size_t size, size_t origin,
                          gq_error *err)
{
    uint32_t  bytes = 0, i;
    gq_status status;

    if (size == 0)
        return GQ_OK;
    for (i = 0; size >= 4 && i < 4; i++)
        bytes |= (uint32_t)map[i] << 8 * i;
    if (bytes == 0 || bytes % 1024 || bytes > size - 4)
        return gq_fail(err, GQ_EWEIGHTS,
                       "byte %zu: a character map of %zu bytes cannot hold %u bytes of units "
                       "(which come in blocks of 1024)",
                       origin, size, bytes);
    u->rules = bytes / 4;
    u->pool_size = size - 4 - bytes;
    u->rule = gq_malloc(u->rules, sizeof *u->rule);
    u->pool = gq_malloc(u->pool_size, 1);
    if (!u->rule || !u->pool)
        return gq_fail(err, GQ_ENOMEM, "no memory for a character map of %zu bytes", size);
    memcpy(u->pool, map + 4 + bytes, u->pool_size);
    for (i = 0; i < u->rules; i++, map += 4)
        u->rule[i] = (uint32_t)map[4] | (uint32_t)map[5] << 8 | (uint32_t)map[6] << 16 |
                     (uint32_t)map[7] << 24;
    status = check_pool(u, origin + 4 + bytes, err);
    for (i = 0; status == GQ_OK && i < u->rules; i++)
        status = check_unit(u, i, origin + 4 + 4 * (size_t)i, err);
    return status;
}

/* One step from the node at *place; false: there is no such child. */
static inline bool step(const tok_unigram *u, uint32_t *place, uint8_t c)
{
    uint32_t to = *place ^ distance_of(u->rule[*place]) ^ c;
    if (label_of(u->rule[to]) != c)
        return false;
    *place = to;
    return true;
}

void gq_tok_charsmap_plain(tok_unigram *u)
{
    for (int c = 0; c < 128; c++) {
        uint32_t place = 0, below;
        char     one = (char)c;
        int      d;
        u->plain[c] = true;
        if (u->literal.unit &&
            u->literal.unit[u->literal.root ^ (uint8_t)one].from == u->literal.root)
            u->plain[c] = false;
        if (!u->rules || !step(u, &place, (uint8_t)c))
            continue;
        if (has_value(u->rule[place]))
            u->plain[c] = false;
        for (d = 0; d < 128; d++)
            if (below = place, step(u, &below, (uint8_t)d))
                u->plain[c] = false;
    }
}

typedef struct change {                 /* what stands at a place, and what it becomes            */
    size_t      taken;                  /* bytes of the text                                      */
    const char *s;
    size_t      len;
} change;

static change change_at(const tok_unigram *u, const char *s, size_t n)
{
    uint32_t place = 0, value = 0, cp;
    size_t   i, longest = gq_tok_trie_longest(&u->literal, s, n);

    if (longest)
        return (change){longest, s, longest};
    for (i = 0; u->rules && i < n && step(u, &place, (uint8_t)s[i]); i++)
        if (has_value(u->rule[place])) {
            longest = i + 1;
            value = value_of(u->rule[place ^ distance_of(u->rule[place])]);
        }
    if (longest)
        return (change){longest, u->pool + value, strlen(u->pool + value)};
    i = gq_utf8_read(s, n, &cp);
    return cp == GQ_UTF8_BAD ? (change){1, "\xEF\xBF\xBD", 3} : (change){i, s, i};
}

/* ---- text ------------------------------------------------------------------------------------ */

static gq_status make_room(tok_text *t, size_t more, gq_error *err)
{
    size_t cap = 2 * t->cap + more;
    char  *data;

    if (t->n + more > 2 * GQ_TOK_MAX_TEXT)
        return gq_fail(err, GQ_EINPUT, "the text becomes longer than %zu bytes when normalised",
                       2 * GQ_TOK_MAX_TEXT - more);
    data = gq_realloc(t->data == t->own ? NULL : t->data, cap, 1);
    if (!data)
        return gq_fail(err, GQ_ENOMEM, "no memory for %zu bytes of text", cap);
    if (t->data == t->own)
        memcpy(data, t->own, t->n);
    t->data = data;
    t->cap = cap;
    return GQ_OK;
}

static void put(tok_text *t, const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        bool space = s[i] == TOK_SPACE[0] && len - i >= 3 && memcmp(s + i, TOK_SPACE, 3) == 0;
        t->data[t->n++] = space ? ' ' : s[i];
        i += space ? 2 : 0;
    }
}

/* Appends what the text becomes, from the first byte that is no space. `after`: the character
 * before was a space, and spaces that follow it are dropped. */
static gq_status put_all(const tok_unigram *u, const char *s, size_t n, tok_text *t, gq_error *err)
{
    bool      after = !u->keep_spaces;
    size_t    i;
    change    c;
    gq_status status;

    for (i = 0; i < n; i += c.taken) {
        if (t->cap - t->n <= TOK_MAX_PIECE &&
            (status = make_room(t, n - i + TOK_MAX_PIECE + 1, err)))
            return status;
        c.taken = 1;
        if ((uint8_t)s[i] < 0x80 && u->plain[(uint8_t)s[i]] &&
            (i + 1 == n || (uint8_t)s[i + 1] < 0x80)) {
            bool space = s[i] == ' ';
            if (!space || !after)
                t->data[t->n++] = s[i];
            after = space && !u->keep_spaces;
            continue;
        }
        c = change_at(u, s + i, n - i);
        for (; after && c.len && *c.s == ' '; c.s++, c.len--)
            continue;
        if (c.len) {
            put(t, c.s, c.len);
            after = c.s[c.len - 1] == ' ' && !u->keep_spaces;
        }
    }
    return GQ_OK;
}

gq_status gq_tok_normalize(const tok_unigram *u, const char *s, size_t n, tok_text *out,
                           gq_error *err)
{
    gq_status status;
    size_t    i = 0;
    change    c;

    out->data = out->own;
    out->begin = out->n = 0;
    out->cap = sizeof out->own;
    for (; !u->keep_spaces && i < n; i += c.taken)
        if (c = change_at(u, s + i, n - i), c.len != 1 || *c.s != ' ')
            break;
    if (i == n)
        return GQ_OK;
    if (u->prefix)
        out->data[out->n++] = ' ';
    if ((status = put_all(u, s + i, n - i, out, err)))
        return status;
    while (!u->keep_spaces && out->n && out->data[out->n - 1] == ' ')
        out->n--;
    if (u->prefix_once && (out->n == 1 || out->data[1] == ' '))
        out->begin = 1;                             /* it has its space, or nothing is left       */
    return GQ_OK;
}

void gq_tok_text_free(tok_text *t)
{
    if (t->data != t->own)
        gq_free(t->data);
}
