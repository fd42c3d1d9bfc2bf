/* tok_unigram_made.h - a small unigram model in memory, for tests and fuzz targets: protocol
 * buffers by hand and a character map in Darts' format. */
#ifndef GIFQA_TESTS_TOK_UNIGRAM_MADE_H
#define GIFQA_TESTS_TOK_UNIGRAM_MADE_H

#include <string.h>

#include "data/tok_unigram.h"

typedef struct uni_piece {
    const char *s;
    float       score;
    int         type;      /* 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused            */
} uni_piece;

static const uni_piece uni_pieces[] = {
    {"<pad>", 0, 3},      {"</s>", 0, 3},      {"<unk>", 0, 2},       {"▁", -2, 1},
    {"▁the", -3, 1},      {"▁cat", -4.5f, 1},  {"a", -3.5f, 1},       {"▁a", -3, 1},
    {"b", -4, 1},         {"c", -4.125f, 1},   {"d", -4.25f, 1},      {"e", -5, 1},
    {"h", -5.5f, 1},      {"n", -6, 1},        {"p", -6.25f, 1},      {"t", -4, 1},
    {"ab", -6.5f, 1},     {"bc", -6.75f, 1},   {"cd", -7, 1},         {"da", -6.5f, 1},
    {"abc", -9.5f, 1},    {"the", -8, 1},      {"aaaa", -13.625f, 1}, {"never", -1, 5},
    {"NAME", 0, 4},       {"ca", -8, 1},
};
enum { UNI_PIECES = sizeof uni_pieces / sizeof *uni_pieces };

typedef struct uni_bytes {              /* grows on the stack of a test                           */
    uint8_t b[1 << 16];
    size_t  n;
} uni_bytes;

static inline void uni_varint(uni_bytes *o, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        o->b[o->n++] = (uint8_t)(v | 0x80);
    o->b[o->n++] = (uint8_t)v;
}

static inline void uni_field(uni_bytes *o, unsigned number, const void *data, size_t len)
{
    uni_varint(o, number << 3 | TOK_BYTES);
    uni_varint(o, len);
    memcpy(o->b + o->n, data, len);
    o->n += len;
}

static inline void uni_number(uni_bytes *o, unsigned number, uint64_t v)
{
    uni_varint(o, number << 3 | TOK_VARINT);
    uni_varint(o, v);
}

static inline void uni_put_piece(uni_bytes *o, const char *s, size_t len, float score, int type)
{
    uni_bytes p = {.n = 0};
    uni_field(&p, 1, s, len);
    uni_varint(&p, 2 << 3 | TOK_FIXED32);
    memcpy(p.b + p.n, &score, 4);
    p.n += 4;
    if (type != 1)
        uni_number(&p, 3, (uint64_t)type);
    uni_field(o, 1, p.b, p.n);
}

/* ---- a character map ------------------------------------------------------------------------- */

typedef struct uni_rule {
    const char *from, *to;
} uni_rule;

static const uni_rule uni_rules[] = {   /* sorted by bytes                                        */
    {"\t", " "},                                    /* a tab is a space                           */
    {"\xE2\x80\x8B", ""},                           /* U+200B is nothing                          */
    {"\xE2\x80\xA6", "..."},
    {"\xEF\xBD\x81", "a"},                          /* full-width a                               */
    {"\xEF\xBD\x81\xCC\x81", "aa"},                 /* the longer rule wins                       */
};
enum { UNI_RULES = sizeof uni_rules / sizeof *uni_rules };

/* One block of 256 units for each node: simple, and in Darts' format. Offsets of 256 and more carry
 * the bit that shifts them. */
static inline void uni_map(uni_bytes *o)
{
    static uint32_t unit[64 * 256];
    static char     pool[256];
    uint32_t        blocks = 1, used = 0, i, k;

    memset(unit, 0, sizeof unit);
    for (i = 1; i < sizeof unit / sizeof *unit; i++)
        unit[i] = 0x80000000u;                      /* a value: no label is this                  */
    for (i = 0; i < UNI_RULES; i++) {
        uint32_t at = 0;
        size_t   len = strlen(uni_rules[i].from);
        for (k = 0; k < len; k++) {
            uint8_t  c = (uint8_t)uni_rules[i].from[k];
            uint32_t first = at ^ (unit[at] >> 10 << ((unit[at] & 0x200) >> 6));
            if (unit[at] >> 10 == 0) {              /* no children yet: a block for them          */
                first = 256 * blocks++;
                unit[at] |= ((at ^ first) >> 8) << 10 | 0x200;
                first = at ^ (unit[at] >> 10 << 8);
            }
            at = first ^ c;
            if (unit[at] >> 31)
                unit[at] = c;
        }
        if (unit[at] >> 10 == 0)
            unit[at] |= ((at ^ 256 * blocks++) >> 8) << 10 | 0x200;
        unit[at] |= 0x100;
        unit[at ^ (unit[at] >> 10 << 8)] = 0x80000000u | used;
        strcpy(pool + used, uni_rules[i].to);
        used += (uint32_t)strlen(uni_rules[i].to) + 1;
    }
    blocks *= 1024;
    memcpy(o->b + o->n, &blocks, 4);
    memcpy(o->b + o->n + 4, unit, blocks);
    memcpy(o->b + o->n + 4 + blocks, pool, used);
    o->n += 4 + blocks + used;
}

/* ---- spiece.model ---------------------------------------------------------------------------- */

static inline void uni_put_pieces(uni_bytes *o, bool normal)
{
    o->n = 0;
    for (int i = 0; i < UNI_PIECES; i++)
        uni_put_piece(o, uni_pieces[i].s, strlen(uni_pieces[i].s), uni_pieces[i].score,
                      normal && uni_pieces[i].type > 3 ? 1 : uni_pieces[i].type);
}

/* A normalizer_spec that says nothing: without one a file counts as cut off. */
static inline void uni_end(uni_bytes *o)
{
    uni_field(o, 3, "", 0);
}

/* `normal`: without types that no tokenizer.json has. */
static inline void uni_model(uni_bytes *o, bool normal)
{
    static uni_bytes part, map;
    part.n = map.n = 0;
    uni_put_pieces(o, normal);
    uni_number(&part, 3, 1);                        /* model_type UNIGRAM                         */
    uni_number(&part, 40, 2);                       /* unk_id, which the pieces say as well       */
    uni_field(o, 2, part.b, part.n);
    part.n = 0;
    uni_map(&map);
    uni_field(&part, 1, "made here", 9);
    uni_field(&part, 2, map.b, map.n);
    uni_field(o, 3, part.b, part.n);
}

#endif
