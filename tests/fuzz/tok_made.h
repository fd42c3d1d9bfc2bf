/* tok_made.h - files of tokenizers from short descriptions, for the targets of the tokenizers.
 *
 * In a text "$B" stands for the 256 byte symbols with their ids as members of a JSON object, "$W"
 * for those at the end of a word, ids from 256 on: without them no BPE vocabulary is complete, and
 * with them written out no mutation would hit what matters.
 */
#ifndef GIFQA_TESTS_FUZZ_TOK_MADE_H
#define GIFQA_TESTS_FUZZ_TOK_MADE_H

#include "fuzz.h"

#include "data/tok_private.h"

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

#endif
