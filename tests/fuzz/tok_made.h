/* tok_made.h - files of tokenizers from short descriptions, and what holds for every tokenizer that
 * opens, for the targets of the tokenizers.
 *
 * In a text "$B" stands for the 256 byte symbols with their ids as members of a JSON object, "$W"
 * for those at the end of a word, ids from 256 on: without them no BPE vocabulary is complete, and
 * with them written out no mutation would hit what matters.
 */
#ifndef GIFQA_TESTS_FUZZ_TOK_MADE_H
#define GIFQA_TESTS_FUZZ_TOK_MADE_H

#include "fuzz.h"

#include "core/io.h"
#include "core/mem.h"
#include "data/tok_unigram.h"

static inline size_t made_bytes(char *out, size_t room, const char *end, unsigned first)
{
    uint16_t code[256];
    uint8_t  order[256];
    size_t   n = 0;
    gq_tok_byte_symbols(code, order);
    for (unsigned i = 0; i < 256 && n < room; i++) {
        unsigned c = code[order[i]];
        char     s[3] = {(char)c};
        if (c >= 128) {
            s[0] = (char)(0xC0 | c >> 6);
            s[1] = (char)(0x80 | (c & 63));
        }
        n += (size_t)snprintf(out + n, room - n, "%s\"%s%s%s\":%u", i ? "," : "",
                              c == '"' || c == '\\' ? "\\" : "", s, end, first + i);
    }
    return n < room ? n : room;
}

/* Writes the text with its "$B" and "$W" replaced into a file of fz_dir(). */
static inline void made_put(const char *name, const char *text, size_t size)
{
    static char out[1 << 17];
    size_t      n = 0;
    for (size_t i = 0; i < size && n < sizeof out; i++) {
        char next = text[i] == '$' && i + 1 < size ? text[i + 1] : 0;
        if (next == 'B' || next == 'W') {
            n += made_bytes(out + n, sizeof out - n, next == 'W' ? "</w>" : "",
                            next == 'W' ? 256 : 0);
            i++;
        } else {
            out[n++] = text[i];
        }
    }
    fz_put(name, out, n);
}

static inline void made_check_entries(const gq_tokenizer *t)
{
    int32_t size = gq_tokenizer_vocab_size(t);
    must(size > 0 && gq_tokenizer_end_id(t) < size && gq_tokenizer_end_id(t) >= 0 &&
             gq_tokenizer_pad_id(t) < size && gq_tokenizer_begin_id(t) < size,
         "%d entries", size);
    for (int32_t id = 0; id < size; id++) {
        size_t len = 0;
        char  *text;
        must(gq_tokenizer_token(t, id, &len), "id %d", id);
        gq_error err = {0};
        must(gq_tokenizer_decode(t, &id, 1, 0, &text, NULL, &err) == GQ_OK, "%s", err.text);
        gq_free(text);
    }
}

/* Every byte value, whatever the vocabulary is. */
static inline void made_check_encoding(const gq_tokenizer *t)
{
    enum { BYTES = 256, MOST = (TOK_MAX_RULE + 1) * BYTES };
    static int32_t ids[MOST];
    char           every[BYTES], *text;
    size_t         n, len;
    gq_error       err = {0};
    for (int i = 0; i < BYTES; i++)
        every[i] = (char)(i * 7);
    must(gq_tokenizer_encode(t, every, BYTES, GQ_TOK_SPECIAL, ids, MOST, &n, &err) == GQ_OK, "%s",
         err.text);
    must(n <= (gq_tokenizer_kind(t) == GQ_TOK_UNIGRAM ? MOST : 4 * BYTES), "%zu ids", n);
    must(gq_tokenizer_decode(t, ids, n, 0, &text, &len, &err) == GQ_OK, "%s", err.text);
    must(gq_tokenizer_kind(t) != GQ_TOK_GPT2 || (len == BYTES && !memcmp(text, every, BYTES)),
         "text came back otherwise");
    gq_free(text);
}

/* Saved, opened again: the same. */
static inline void made_check_save(const gq_tokenizer *t)
{
    gq_tokenizer *back;
    uint8_t       a[32], b[32];
    gq_error      err = {0};
    const char   *out = fz_path("saved");
    must(gq_tokenizer_save(t, out, &err) == GQ_OK, "%s", err.text);
    must(gq_tokenizer_open(out, &back, &err) == GQ_OK, "what was saved is refused: %s", err.text);
    gq_tokenizer_hash(t, a);
    gq_tokenizer_hash(back, b);
    must(!memcmp(a, b, 32), "saved otherwise");
    gq_tokenizer_close(back);
    must(gq_remove_tree(out, &err) == GQ_OK, "%s", err.text);
}

#endif
