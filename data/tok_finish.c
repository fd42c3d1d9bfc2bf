/* The last step of building a tokenizer: what its entries mean, which of them are whole pieces, and
 * its hash. */
#include <string.h>

#include "core/mem.h"
#include "data/unicode.h"
#include "data/tok_unigram.h"

/* Bytes that print stay as they are; the others get the code points from 256 on, in byte order.
 * Tokens are numbered in the order: the bytes that print, then the others. */
void gq_tok_byte_symbols(uint16_t code[256], uint8_t order[256])
{
    unsigned b, other = 0, n = 0;
    for (b = 0; b < 256; b++) {
        bool prints = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        code[b] = (uint16_t)(prints ? b : 256 + other++);
        if (prints)
            order[n++] = (uint8_t)b;
    }
    for (b = 0; b < 256; b++)
        if (code[b] >= 256)
            order[n++] = (uint8_t)b;
}

static bool ends_word(const char *symbol, size_t len)
{
    const size_t mark = strlen(GQ_TOK_WORD_END);
    return len >= mark && memcmp(symbol + len - mark, GQ_TOK_WORD_END, mark) == 0;
}

static gq_status need_special(gq_tokenizer *t, const char *content, int32_t *out, gq_error *err)
{
    *out = gq_tok_find(t, content, strlen(content));
    if (*out < 0)
        return gq_fail(err, GQ_EWEIGHTS,
                       "the vocabulary lacks '%s', which ends or begins every %s text", content,
                       gq_tokenizer_kind_name(t->kind));
    if (t->flags[*out] & TOK_IS_SPECIAL)
        return GQ_OK;
    return gq_tok_special(t, *out, content, strlen(content), err);
}

/* Fills bytes[id] and the flag of its end from the spelling. */
static gq_status read_symbol(gq_tokenizer *t, int32_t id, const int16_t byte_of[324], gq_error *err)
{
    tok_span    symbol = t->symbol[id];
    size_t      i, n = 0;
    const char *s = t->pool + symbol.off;
    char       *bytes;
    uint32_t    cp;
    gq_status   status;

    if (t->flags[id] & TOK_IS_SPECIAL) {
        t->bytes[id] = symbol;
        return GQ_OK;
    }
    if (t->kind == GQ_TOK_CLIP && ends_word(s, symbol.len)) {
        symbol.len -= (uint32_t)strlen(GQ_TOK_WORD_END);
        t->flags[id] |= TOK_ENDS_WORD;
    }
    bytes = gq_malloc(symbol.len, 1);
    if (!bytes)
        return gq_fail(err, GQ_ENOMEM, "no memory for a token");
    for (i = 0; i < symbol.len; n++) {
        i += gq_utf8_read(s + i, symbol.len - i, &cp);
        if (cp >= 324 || byte_of[cp] < 0) {
            gq_free(bytes);
            return gq_fail(
                err, GQ_EWEIGHTS,
                "'%.*s' (id %d) is not spelt in the byte alphabet of GPT-2 and CLIP, and "
                "no list of added tokens names it",
                TOK_SHOW(symbol.len), s, (int)id);
        }
        bytes[n] = (char)byte_of[cp];
    }
    status = gq_tok_store(t, bytes, n, &t->bytes[id], err);
    gq_free(bytes);
    return status;
}

static gq_status read_symbols(gq_tokenizer *t, gq_error *err)
{
    uint16_t  code[256];
    uint8_t   order[256];
    int16_t   byte_of[324];
    int32_t   id, b;
    gq_status status;

    gq_tok_byte_symbols(code, order);
    memset(byte_of, 0xFF, sizeof byte_of);
    for (b = 0; b < 256; b++)
        byte_of[code[b]] = (int16_t)b;
    memset(t->byte_id, 0xFF, sizeof t->byte_id);
    memset(t->byte_end_id, 0xFF, sizeof t->byte_end_id);
    for (id = 0; id < t->size; id++) {
        if ((status = read_symbol(t, id, byte_of, err)))
            return status;
        if (t->bytes[id].len == 1 && !(t->flags[id] & TOK_IS_SPECIAL)) {
            unsigned char byte = (unsigned char)t->pool[t->bytes[id].off];
            (t->flags[id] & TOK_ENDS_WORD ? t->byte_end_id : t->byte_id)[byte] = id;
        }
    }
    for (b = 0; b < 256; b++)
        if (t->byte_id[b] < 0 || (t->kind == GQ_TOK_CLIP && t->byte_end_id[b] < 0))
            return gq_fail(
                err, GQ_EWEIGHTS,
                "the vocabulary has no token for byte 0x%02x%s; byte-level BPE needs all 256",
                (unsigned)b, t->byte_id[b] < 0 ? "" : " at the end of a word");
    return GQ_OK;
}

/* Most pieces of text are one token. They are found by one look instead of by merging; but a token
 * counts only when merging gives it too (a vocabulary may hold tokens that no merge reaches). */
static gq_status find_whole_pieces(gq_tokenizer *t, gq_error *err)
{
    tok_map     whole = { 0 };
    tok_scratch scratch = { 0 };
    int32_t     id, got;
    gq_status   status = gq_tok_map_init(&whole, (size_t)t->size, err);

    for (id = 0; id < t->size && status == GQ_OK; id++) {
        const char *bytes = t->pool + t->bytes[id].off;
        tok_sink    sink = { &got, 1, 0, SIZE_MAX };
        if (t->bytes[id].len == 0 || (t->kind == GQ_TOK_CLIP && !(t->flags[id] & TOK_ENDS_WORD)))
            continue;
        status = gq_tok_bpe(t, bytes, t->bytes[id].len, &scratch, &sink, err);
        if (status == GQ_OK && sink.n == 1 && got == id)
            status = gq_tok_map_add(&whole, bytes, t->bytes[id].len, id, err);
    }
    gq_free(scratch.memory);
    t->pieces = whole;
    return status;
}

static gq_status finish_bpe(gq_tokenizer *t, gq_error *err)
{
    gq_status status = need_special(t, GQ_TOK_END_TEXT, &t->end_id, err);
    t->pad_id = t->end_id;
    if (status == GQ_OK && t->kind == GQ_TOK_CLIP)
        status = need_special(t, GQ_TOK_START_TEXT, &t->begin_id, err);
    if (status == GQ_OK)
        status = read_symbols(t, err);
    return status ? status : find_whole_pieces(t, err);
}

static gq_status check_word(const gq_tokenizer *t, int32_t id, gq_error *err)
{
    const char *s = t->pool + t->symbol[id].off, *why = NULL;
    size_t      len = t->symbol[id].len, clean_len, skip;
    char       *clean;
    gq_status   status = gq_tok_clean(s, len, &clean, &clean_len, err);

    if (status)
        return status;
    if (gq_tok_piece_words(s, len, &skip) != len)
        why = "holds a space or one of . , ? ! beside other letters";
    else if (clean_len != len || memcmp(clean, s, len) != 0)
        why = "is not lower case (or not NFC)";
    gq_free(clean);
    return why ? gq_fail(err, GQ_EWEIGHTS, "line %d: '%.*s' %s, so no text could ever give it",
                         (int)id + 1, TOK_SHOW(len), s, why)
               : GQ_OK;
}

static gq_status finish_words(gq_tokenizer *t, gq_error *err)
{
    static const char *const first[] = { "<pad>", "<end>", "<unk>" };
    gq_status                status;
    int32_t                  id;

    for (id = 0; id < 3; id++)
        if (gq_tok_find(t, first[id], 5) != id)
            return gq_fail(err, GQ_EWEIGHTS, "line %d must be '%s'", (int)id + 1, first[id]);
        else if ((status = gq_tok_special(t, id, first[id], 5, err)))
            return status;
    for (id = 0; id < t->size; id++) {
        if ((status = check_word(t, id, err)))
            return status;
        t->bytes[id] = t->symbol[id];
    }
    t->pad_id = 0;
    t->end_id = 1;
    t->unknown_id = 2;
    return GQ_OK;
}

static gq_status finish_unigram(gq_tokenizer *t, gq_error *err)
{
    t->end_id = gq_tok_find(t, TOK_UNIGRAM_END, strlen(TOK_UNIGRAM_END));
    t->pad_id = gq_tok_find(t, TOK_UNIGRAM_PAD, strlen(TOK_UNIGRAM_PAD));
    if (t->end_id < 0 || !(t->flags[t->end_id] & TOK_IS_SPECIAL) || t->pad_id < 0 ||
        !(t->flags[t->pad_id] & TOK_IS_SPECIAL) || t->unknown_id < 0)
        return gq_fail(err, GQ_EWEIGHTS,
                       "the vocabulary lacks '%s' or '%s' as special tokens, or an unknown token; "
                       "T5's models have them",
                       TOK_UNIGRAM_END, TOK_UNIGRAM_PAD);
    return gq_tok_unigram_finish(t, err);
}

static char *put_u32(char *p, uint32_t v)
{
    int i;
    for (i = 0; i < 4; i++)
        *p++ = (char)(v >> 8 * i);
    return p;
}

/* Of each entry whether it is matched and its score, how spaces are treated, the character map. */
static size_t unigram_bytes(const gq_tokenizer *t)
{
    const tok_unigram *u = t->unigram;
    return u ? 12 + 8 * (size_t)t->size + 4 * (size_t)u->rules + u->pool_size : 0;
}

static char *put_unigram(const gq_tokenizer *t, char *p)
{
    const tok_unigram *u = t->unigram;
    int32_t            id;
    uint32_t           i;

    p = put_u32(p, u->prefix + 2u * u->prefix_once + 4u * u->keep_spaces);
    for (id = 0; id < t->size; id++) {
        float    score = t->flags[id] & TOK_IS_SPECIAL ? 0 : u->score[id];
        uint32_t bits;
        memcpy(&bits, &score, sizeof bits);
        p = put_u32(p, t->flags[id] & (TOK_IS_UNUSED | TOK_IS_LITERAL));
        p = put_u32(p, bits);
    }
    p = put_u32(p, u->rules);
    for (i = 0; i < u->rules; i++)
        p = put_u32(p, u->rule[i]);
    p = put_u32(p, (uint32_t)u->pool_size);
    memcpy(p, u->pool ? u->pool : "", u->pool_size);
    return p + u->pool_size;
}

/* "gifqa-tok-1", kind, entries (flags, length, spelling), merges (left, right), what unigram models
 * have more; numbers little-endian, 32 bit. */
static gq_status compute_hash(gq_tokenizer *t, gq_error *err)
{
    static const char head[] = "gifqa-tok-1";
    size_t            bytes = sizeof head + 12 + unigram_bytes(t), i;
    char             *all, *p;
    int32_t           id;

    for (id = 0; id < t->size; id++)
        bytes += 8 + (size_t)t->symbol[id].len;
    bytes += 8 * t->merge_count;
    all = p = gq_malloc(bytes, 1);
    if (!all)
        return gq_fail(err, GQ_ENOMEM, "no memory for %zu bytes to hash", bytes);
    memcpy(p, head, sizeof head);
    p = put_u32(p + sizeof head, (uint32_t)t->kind);
    p = put_u32(p, (uint32_t)t->size);
    for (id = 0; id < t->size; id++) {
        p = put_u32(p, t->flags[id] & TOK_IS_SPECIAL);
        p = put_u32(p, t->symbol[id].len);
        memcpy(p, t->pool + t->symbol[id].off, t->symbol[id].len);
        p += t->symbol[id].len;
    }
    p = put_u32(p, (uint32_t)t->merge_count);
    for (i = 0; i < t->merge_count; i++)
        p = put_u32(put_u32(p, (uint32_t)(t->merges[i] >> 32)), (uint32_t)t->merges[i]);
    if (t->unigram)
        p = put_unigram(t, p);
    gq_sha256(all, (size_t)(p - all), t->hash);
    gq_free(all);
    return GQ_OK;
}

gq_status gq_tok_finish(gq_tokenizer *t, gq_error *err)
{
    gq_status status;
    int32_t   id;

    for (id = 0; id < t->size; id++)
        if (t->symbol[id].len == 0)
            return gq_fail(err, GQ_EWEIGHTS,
                           "id %d is missing; the largest is %d and there must be no holes",
                           (int)id, (int)t->size - 1);
    status = t->kind == GQ_TOK_WORDS     ? finish_words(t, err)
             : t->kind == GQ_TOK_UNIGRAM ? finish_unigram(t, err)
                                         : finish_bpe(t, err);
    return status ? status : compute_hash(t, err);
}
