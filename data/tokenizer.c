/* The public face of the tokenizers: encode, decode, and what is known about one. */
#include "data/tokenizer.h"

#include <string.h>

#include "core/mem.h"
#include "data/unicode.h"
#include "data/tok_unigram.h"

/* ---- encoding -------------------------------------------------------------------------------- */

static gq_status encode_gpt2(const gq_tokenizer *t, const char *s, size_t n, tok_scratch *scratch,
                             tok_sink *sink, gq_error *err)
{
    gq_status status = GQ_OK;
    size_t    i, len;
    for (i = 0; i < n && status == GQ_OK && sink->n < sink->limit; i += len) {
        len = gq_tok_piece_gpt2(s + i, n - i);
        status = gq_tok_bpe(t, s + i, len, scratch, sink, err);
    }
    return status;
}

static gq_status encode_clip(const gq_tokenizer *t, const char *s, size_t n, tok_scratch *scratch,
                             tok_sink *sink, gq_error *err)
{
    gq_status status = GQ_OK;
    size_t    i = 0, len, skip;
    while (status == GQ_OK && sink->n < sink->limit &&
           (len = gq_tok_piece_clip(s + i, n - i, &skip))) {
        i += skip;
        if (len > 2 && s[i] == '<' && s[i + 2] >= 'a') /* a special token as text: "<|" name "|>" */
            status = encode_gpt2(t, s + i, len, scratch, sink, err);
        else
            status = gq_tok_bpe(t, s + i, len, scratch, sink, err);
        i += len;
    }
    return status;
}

static void encode_words(const gq_tokenizer *t, const char *s, size_t n, tok_sink *sink)
{
    size_t  i = 0, len, skip;
    int32_t id;
    while (sink->n < sink->limit && (len = gq_tok_piece_words(s + i, n - i, &skip))) {
        id = gq_tok_find(t, s + i + skip, len);
        tok_emit(sink, id < 0 || t->flags[id] & TOK_IS_SPECIAL ? t->unknown_id : id);
        i += skip + len;
    }
}

/* Text without special tokens in it. */
static gq_status encode_plain(const gq_tokenizer *t, const char *s, size_t n, tok_scratch *scratch,
                              tok_sink *sink, gq_error *err)
{
    char     *clean;
    size_t    len;
    gq_status status;

    if (n == 0)
        return GQ_OK;
    if (t->kind == GQ_TOK_GPT2)
        return encode_gpt2(t, s, n, scratch, sink, err);
    if (t->kind == GQ_TOK_UNIGRAM)
        return gq_tok_unigram(t, s, n, scratch, sink, err);
    status = gq_tok_clean(s, n, &clean, &len, err);
    if (status)
        return status;
    if (t->kind == GQ_TOK_CLIP)
        status = encode_clip(t, clean, len, scratch, sink, err);
    else
        encode_words(t, clean, len, sink);
    gq_free(clean);
    return status;
}

/* The first special token in the text, the longest of those that begin there; its place, or n when
 * there is none. */
static size_t find_special(const gq_tokenizer *t, const char *s, size_t n, int32_t *id)
{
    size_t i, k, best = 0;
    for (i = 0; i < n && best == 0; i++)
        for (k = 0; t->special_first[(unsigned char)s[i]] && k < t->special_count; k++) {
            tok_span name = t->symbol[t->special[k]];
            if (name.len > best && name.len <= n - i &&
                memcmp(s + i, t->pool + name.off, name.len) == 0) {
                best = name.len;
                *id = t->special[k];
            }
        }
    return best ? i - 1 : n;
}

static gq_status encode_text(const gq_tokenizer *t, const char *s, size_t n, unsigned flags,
                             tok_scratch *scratch, tok_sink *sink, gq_error *err)
{
    gq_status status = GQ_OK;
    while (n && status == GQ_OK && sink->n < sink->limit) {
        int32_t id = -1;
        size_t  plain = flags & GQ_TOK_SPECIAL ? find_special(t, s, n, &id) : n;
        status = encode_plain(t, s, plain, scratch, sink, err);
        s += plain;
        n -= plain;
        if (id >= 0 && status == GQ_OK) {
            tok_emit(sink, id);
            s += t->symbol[id].len;
            n -= t->symbol[id].len;
        }
    }
    return status;
}

gq_status gq_tokenizer_encode(const gq_tokenizer *t, const char *text, size_t len, unsigned flags,
                              int32_t *ids, size_t cap, size_t *n, gq_error *err)
{
    const bool   frame = flags & GQ_TOK_FRAME, cut = flags & GQ_TOK_TRUNCATE;
    const size_t ends = frame ? 1u + (t->begin_id >= 0) : 0;
    tok_sink     sink = { ids, cap, 0, cut ? cap - (frame ? 1 : 0) : SIZE_MAX };
    tok_scratch  scratch = { 0 };
    gq_status    status;

    *n = 0;
    if (flags & ~(unsigned)(GQ_TOK_SPECIAL | GQ_TOK_FRAME | GQ_TOK_TRUNCATE))
        return gq_fail(err, GQ_EUSAGE, "encode: flags 0x%x are not known", flags);
    if (len > GQ_TOK_MAX_TEXT)
        return gq_fail(err, GQ_EINPUT, "text of %zu bytes; at most %zu are tokenized at once", len,
                       GQ_TOK_MAX_TEXT);
    if (cut && cap < ends)
        return gq_fail(err, GQ_EUSAGE, "encode: %zu ids cannot hold the %zu of the frame", cap,
                       ends);
    if (frame && t->begin_id >= 0)
        tok_emit(&sink, t->begin_id);
    status = encode_text(t, text, len, flags, &scratch, &sink, err);
    gq_free(scratch.memory);
    if (cut && sink.n > sink.limit)
        sink.n = sink.limit;
    if (frame)
        tok_emit(&sink, t->end_id);
    *n = status ? 0 : sink.n;
    return status;
}

/* ---- decoding -------------------------------------------------------------------------------- */

/* What stands between the token before and this one, and after this one: the space of the words
 * kind, of CLIP. */
static bool space_before(const gq_tokenizer *t, int32_t id, bool first)
{
    tok_span word = t->bytes[id];
    return t->kind == GQ_TOK_WORDS && !first &&
           !(word.len == 1 && gq_tok_is_mark(t->pool[word.off]));
}

/* The space that a unigram text's first token begins with is the one that encoding put there. */
static bool loses_space(const gq_tokenizer *t, int32_t id, bool first)
{
    return first && t->unigram && t->unigram->prefix && !(t->flags[id] & TOK_IS_SPECIAL) &&
           t->pool[t->bytes[id].off] == ' ';
}

static bool space_after(const gq_tokenizer *t, int32_t id)
{
    return t->flags[id] & TOK_ENDS_WORD;
}

gq_status gq_tokenizer_decode(const gq_tokenizer *t, const int32_t *ids, size_t n, unsigned flags,
                              char **text, size_t *len, gq_error *err)
{
    size_t    i, room = 1, used = 0, fixed_len;
    char     *out, *fixed;
    bool      first = true;
    gq_status status;

    *text = NULL;
    for (i = 0; i < n; i++) {
        if (ids[i] < 0 || ids[i] >= t->size)
            return gq_fail(err, GQ_EINPUT,
                           "id %d at place %zu is outside the vocabulary of %d tokens", (int)ids[i],
                           i, (int)t->size);
        if (!gq_add_size(room, (size_t)t->bytes[ids[i]].len + 2, &room))
            return gq_fail(err, GQ_ENOMEM, "the text of %zu tokens is too long", n);
    }
    out = gq_malloc(room, 1);
    if (!out)
        return gq_fail(err, GQ_ENOMEM, "no memory for %zu bytes of text", room);
    for (i = 0; i < n; i++) {
        tok_span token = t->bytes[ids[i]];
        if (flags & GQ_TOK_SKIP && t->flags[ids[i]] & TOK_IS_SPECIAL)
            continue;
        if (space_before(t, ids[i], used == 0))
            out[used++] = ' ';
        if (loses_space(t, ids[i], first)) {
            token.off++;
            token.len--;
        }
        first = false;
        memcpy(out + used, t->pool + token.off, token.len);
        used += token.len;
        if (space_after(t, ids[i]))
            out[used++] = ' ';
    }
    while (t->kind == GQ_TOK_CLIP && used && out[used - 1] == ' ')
        used--;
    out[used] = '\0';
    if (flags & GQ_TOK_REPAIR) {
        status = gq_utf8_repair(out, used, &fixed, &fixed_len, err);
        gq_free(out);
        if (status)
            return status;
        out = fixed;
        used = fixed_len;
    }
    *text = out;
    if (len)
        *len = used;
    return GQ_OK;
}

/* ---- what is known --------------------------------------------------------------------------- */

gq_tok_kind gq_tokenizer_kind(const gq_tokenizer *t)       { return t->kind; }
int32_t     gq_tokenizer_vocab_size(const gq_tokenizer *t) { return t->size; }
int32_t     gq_tokenizer_begin_id(const gq_tokenizer *t)   { return t->begin_id; }
int32_t     gq_tokenizer_end_id(const gq_tokenizer *t)     { return t->end_id; }
int32_t     gq_tokenizer_pad_id(const gq_tokenizer *t)     { return t->pad_id; }

const char *gq_tokenizer_kind_name(gq_tok_kind kind)
{
    static const char *const names[] = {"gpt2", "clip", "words", "unigram"};
    return names[kind];
}

bool gq_tokenizer_is_special(const gq_tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->size && t->flags[id] & TOK_IS_SPECIAL;
}

const char *gq_tokenizer_token(const gq_tokenizer *t, int32_t id, size_t *len)
{
    if (id < 0 || id >= t->size)
        return NULL;
    *len = t->bytes[id].len;
    return t->pool + t->bytes[id].off;
}

void gq_tokenizer_hash(const gq_tokenizer *t, uint8_t out[32])
{
    memcpy(out, t->hash, sizeof t->hash);
}
