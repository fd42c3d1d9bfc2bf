/* gif_lzw.c - GIF's LZW, decoded into one flat buffer.
 *
 * A new string is always the previous one plus the pixel that follows it in the output. So the
 * table needs no prefix chains: an entry is a place in the output and a length, and decoding a code
 * is one forward copy.
 */
#include "data/gif_parts.h"

#include <endian.h>
#include <string.h>

typedef struct bit_reader {
    GifFileType   *gif;
    const uint8_t *at, *end;            /* rest of the current data block                         */
    uint64_t       acc;                 /* bits not yet used, lowest first                        */
    unsigned       bits;                /* how many of them                                       */
} bit_reader;

/* Makes `need` bits available. False: the data end before, *why says how. */
static bool refill(bit_reader *r, unsigned need, gq_lzw_end *why)
{
    while (r->bits < need) {
        if (r->end - r->at >= 8) {
            uint64_t word;
            memcpy(&word, r->at, sizeof word);
            r->acc |= le64toh(word) << r->bits;
            r->at += (63 - r->bits) >> 3;
            r->bits |= 56;
        } else if (r->at < r->end) {
            r->acc |= (uint64_t)*r->at++ << r->bits;
            r->bits += 8;
        } else {
            GifByteType *block = NULL;
            if (DGifGetCodeNext(r->gif, &block) != GIF_OK) {
                *why = GQ_LZW_CUT;
                return false;
            }
            if (!block) {
                *why = GQ_LZW_NO_MORE;
                return false;
            }
            r->at = block + 1;
            r->end = r->at + block[0];
        }
    }
    return true;
}

/* Forward copy of a string to `to`. Source and target never overlap within the `len` bytes that
 * count, so moving eight at a time is right although it may write up to seven bytes of rubbish
 * behind, which come later anyway. */
static inline void copy_string(uint8_t *to, const uint8_t *from, size_t len)
{
    size_t done = 0;
    do {
        uint64_t word;
        memcpy(&word, from + done, sizeof word);
        memcpy(to + done, &word, sizeof word);
        done += sizeof word;
    } while (done < len);
}

gq_lzw_end gq_lzw_decode(gq_lzw *z, GifFileType *gif, uint8_t *out, size_t want, size_t *got)
{
    int          min_bits = 0;
    GifByteType *block = NULL;
    *got = 0;
    if (DGifGetCode(gif, &min_bits, &block) != GIF_OK)
        return GQ_LZW_CUT;
    bit_reader r = {
        .gif = gif, .at = block ? block + 1 : NULL, .end = block ? block + 1 + block[0] : NULL};
    const uint32_t clear = 1u << min_bits, stop = clear + 1;
    uint32_t       next = stop + 1;     /* the code that the next new string gets                 */
    unsigned       width = (unsigned)min_bits + 1;
    /* last_len 0: nothing since the clear code */
    size_t         pos = 0, last_at = 0, last_len = 0;
    gq_lzw_end     why = GQ_LZW_FULL;
    if (!block)
        return GQ_LZW_NO_MORE;
    while (pos < want) {
        if (r.bits < width && !refill(&r, width, &why))
            break;
        uint32_t code = (uint32_t)(r.acc & ((1u << width) - 1));
        r.acc >>= width;
        r.bits -= width;
        if (code == clear) {
            next = stop + 1;
            width = (unsigned)min_bits + 1;
            last_len = 0;
            continue;
        }
        if (code == stop) {
            why = GQ_LZW_SHORT;
            break;
        }
        if (last_len && next < 4096) {
            z->string[next].at = (uint32_t)last_at;
            z->string[next].len = (uint32_t)last_len + 1;
            if (++next == 1u << width && width < 12)
                width++;
        }
        if (code >= next) {
            why = GQ_LZW_INVALID;
            break;
        }
        size_t len = 1;
        if (code < clear) {
            out[pos] = (uint8_t)code;
        } else {
            size_t from = z->string[code].at;
            len = z->string[code].len;
            if (len > want - pos)
                len = want - pos;
            if (from + len > pos) {   /* the string just made: it ends with the pixel written now */
                copy_string(out + pos, out + from, len - 1);
                out[pos + len - 1] = out[from + len - 1];
            } else {
                copy_string(out + pos, out + from, len);
            }
        }
        last_at = pos;
        last_len = len;
        pos += len;
    }
    *got = pos;
    return pos == want ? GQ_LZW_FULL : why;
}
