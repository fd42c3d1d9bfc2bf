/* tok_unigram_fixture.h - a small unigram model written by the test itself: protocol buffers by
 * hand, a character map as Darts would build it, and tokenizer.json in its published shapes. */
#ifndef GIFQA_TESTS_TOK_UNIGRAM_FIXTURE_H
#define GIFQA_TESTS_TOK_UNIGRAM_FIXTURE_H

#include "data/tok_unigram.h"
#include "tok_fixture.h"

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
    {"ab", -6.5f, 1},     {"bc", -7.125f, 1},  {"cd", -7, 1},         {"da", -6.5f, 1},
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

/* NULL: the model above. Not synced as core/io.h would do: tests write thousands. */
static inline void uni_write(const char *dir, const uni_bytes *model)
{
    static uni_bytes made;
    char            *path = gq_path(dir, "spiece.model");
    FILE            *f = fopen(path, "wb");

    if (!model) {
        uni_model(&made, false);
        model = &made;
    }
    assert_non_null(f);
    assert_int_equal(fwrite(model->b, 1, model->n, f), model->n);
    assert_int_equal(fclose(f), 0);
    gq_free(path);
}

static inline int32_t uni_id(const gq_tokenizer *t, const char *piece)
{
    int32_t id = gq_tok_find(t, piece, strlen(piece));
    if (id < 0)
        fail_msg("no piece '%s'", piece);
    return id;
}

/* Fails unless text encodes to these pieces, with spaces between. */
static inline void uni_expect(const gq_tokenizer *t, const char *text, unsigned flags,
                              const char *want)
{
    int32_t  ids[256];
    size_t   n, i, used = 0;
    char     got[4096] = "";
    gq_error err = {0};

    assert_ok(gq_tokenizer_encode(t, text, strlen(text), flags, ids, 256, &n, &err), &err);
    for (i = 0; i < n; i++)
        used += (size_t)snprintf(got + used, sizeof got - used, "%s%.*s", i ? " " : "",
                                 (int)t->symbol[ids[i]].len, t->pool + t->symbol[ids[i]].off);
    if (strcmp(got, want) != 0)
        fail_msg("'%s': got %s, want %s", text, got, want);
}

/* ---- tokenizer.json -------------------------------------------------------------------------- */

enum { UNI_T5, UNI_FLAN, UNI_JOINED };

static inline char *uni_base64(const uint8_t *b, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char             *out = malloc(n / 3 * 4 + 5), *p = out;
    for (size_t i = 0; i < n; i += 3) {
        uint32_t bits = (uint32_t)b[i] << 16 | (i + 1 < n ? (uint32_t)b[i + 1] << 8 : 0) |
                        (i + 2 < n ? b[i + 2] : 0u);
        *p++ = digits[bits >> 18];
        *p++ = digits[bits >> 12 & 63];
        *p++ = i + 1 < n ? digits[bits >> 6 & 63] : '=';
        *p++ = i + 2 < n ? digits[bits & 63] : '=';
    }
    *p = 0;
    return out;
}

static inline json_t *uni_normalizer(const gq_tokenizer *t, int shape)
{
    const tok_unigram *u = t->unigram;
    size_t             n = 4 + 4 * (size_t)u->rules + u->pool_size;
    uint8_t           *map = malloc(n);
    uint32_t           bytes = 4 * u->rules;
    json_t            *one;

    memcpy(map, &bytes, 4);
    memcpy(map + 4, u->rule, bytes);
    memcpy(map + 4 + bytes, u->pool, u->pool_size);
    char *text = uni_base64(map, n);
    one = json_pack("{s:s, s:s}", "type", "Precompiled", "precompiled_charsmap", text);
    free(text);
    free(map);
    if (shape != UNI_JOINED)
        return one;
    return json_pack("{s:s, s:[o, {s:s, s:b, s:b}, {s:s, s:{s:s}, s:s}]}", "type", "Sequence",
                     "normalizers", one, "type", "Strip", "strip_left", 0, "strip_right", 1, "type",
                     "Replace", "pattern", "Regex", " {2,}", "content", TOK_SPACE);
}

/* The tokenizer.json that Hugging Face would write for an open spiece.model of normal pieces. */
static inline json_t *uni_json(const gq_tokenizer *t, int shape)
{
    json_t *vocab = json_array(), *added = json_array(), *space, *pre;

    for (int32_t id = 0; id < t->size; id++) {
        const char *s = t->pool + t->symbol[id].off;
        int         len = (int)t->symbol[id].len;
        json_array_append_new(
            vocab, json_pack("[s%f]", s, len, (double)t->unigram->score[id]));
        if (t->flags[id] & TOK_IS_SPECIAL)
            json_array_append_new(added,
                                  json_pack("{s:i, s:s%, s:b, s:b}", "id", (int)id, "content", s,
                                            len, "special", 1, "lstrip", (int)id % 2));
    }
    space = json_pack("{s:s, s:s, s:s, s:b}", "type", "Metaspace", "replacement", TOK_SPACE,
                      "prepend_scheme", "always", "split", 1);
    pre = shape == UNI_T5 ? json_pack("{s:s, s:[{s:s}, O]}", "type", "Sequence", "pretokenizers",
                                      "type", "WhitespaceSplit", space)
                          : json_incref(space);
    return json_pack(
        "{s:o, s:o, s:o, s:{s:s, s:[{s:{s:s}}, {s:{s:s}}]}, s:o, s:{s:s, s:i, s:o, s:b}}",
        "added_tokens", added, "normalizer", uni_normalizer(t, shape), "pre_tokenizer", pre,
        "post_processor", "type", "TemplateProcessing", "single", "Sequence", "id", "A",
        "SpecialToken", "id", "</s>", "decoder", space, "model", "type", "Unigram", "unk_id",
        (int)t->unknown_id, "vocab", vocab, "byte_fallback", 0);
}

static inline void uni_json_of(const char *dir, const gq_tokenizer *t, int shape)
{
    fix_json(dir, "tokenizer.json", uni_json(t, shape));
}

#endif
