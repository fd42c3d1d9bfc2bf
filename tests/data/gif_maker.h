/* gif_maker.h - hand-made GIFs for the decoder's tests: bytes written straight from the format's
 * description, every pixel its own LZW code with a clear code before it, so that no encoder is
 * involved.
 */
#ifndef GIFQA_TESTS_DATA_GIF_MAKER_H
#define GIFQA_TESTS_DATA_GIF_MAKER_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

typedef struct made {
    uint8_t  data[16384];
    size_t   size;                      /* bytes used                                             */
    bool     control;                   /* write a graphics control extension before images       */
    uint32_t delay;                     /* 1/100 s                                                */
    const uint8_t (*local)[3];          /* palette of the next image, or NULL                     */
    int      nlocal;                    /* its entries: 2, 4, 8 ...                               */
} made;

typedef struct made_frame {
    uint32_t    x, y, w, h;             /* pixels                                                 */
    uint8_t     disposal;
    int16_t     transparent;            /* palette index, -1: none                                */
    bool        interlaced;
    const char *pixels;               /* [h, w] letters r g b w or digits: indices 0 1 2 3, 4 ... */
} made_frame;

static inline void made_bytes(made *m, const void *bytes, size_t n)
{
    assert_true(m->size + n <= sizeof m->data);
    memcpy(m->data + m->size, bytes, n);
    m->size += n;
}

static inline void made_word(made *m, uint32_t v)
{
    made_bytes(m, (uint8_t[2]){ (uint8_t)v, (uint8_t)(v >> 8) }, 2);
}

static inline uint8_t made_bits(int ncolors)        /* the palette size field: 2 -> 0, 4 -> 1 ... */
{
    uint8_t bits = 0;
    while (2 << bits < ncolors)
        bits++;
    return bits;
}

static inline made made_screen(uint32_t w, uint32_t h, uint8_t background,
                               const uint8_t (*palette)[3], int n)
{
    made m = { .control = true };
    made_bytes(&m, "GIF89a", 6);
    made_word(&m, w);
    made_word(&m, h);
    made_bytes(&m, (uint8_t[3]){ (uint8_t)(n ? 0x80 | made_bits(n) : 0), background, 0 }, 3);
    if (n)
        made_bytes(&m, palette, (size_t)n * 3);
    return m;
}

static inline void made_local_palette(made *m, const uint8_t (*palette)[3], int n)
{
    m->local = palette;
    m->nlocal = n;
}

static inline uint8_t made_index(char letter)
{
    switch (letter) {
    case 'r': return 0;
    case 'g': return 1;
    case 'b': return 2;
    case 'w': return 3;
    default:  return (uint8_t)(letter - '0');
    }
}

typedef struct made_coder {
    uint8_t  block[256];                /* [0] is the length                                      */
    uint32_t acc;
    int      bits;
} made_coder;

static inline void made_code(made *m, made_coder *c, uint32_t code, int width)
{
    c->acc |= code << c->bits;
    for (c->bits += width; c->bits >= 8; c->bits -= 8, c->acc >>= 8) {
        c->block[++c->block[0]] = (uint8_t)c->acc;
        if (c->block[0] == 255) {
            made_bytes(m, c->block, 256);
            c->block[0] = 0;
        }
    }
}

/* The k-th stored row of an interlaced image of h rows. */
static inline uint32_t made_row(uint32_t k, uint32_t h)
{
    static const uint32_t start[4] = { 0, 4, 2, 1 }, step[4] = { 8, 8, 4, 2 };
    for (int pass = 0; pass < 4; pass++)
        for (uint32_t y = start[pass]; y < h; y += step[pass])
            if (!k--)
                return y;
    return 0;
}

static inline void made_image(made *m, const made_frame *f, int min_bits)
{
    if (m->control) {
        uint8_t flags = (uint8_t)(f->disposal << 2 | (f->transparent >= 0));
        made_bytes(m, (uint8_t[4]){ '!', 0xf9, 4, flags }, 4);
        made_word(m, m->delay);
        made_bytes(m, (uint8_t[2]){ (uint8_t)(f->transparent < 0 ? 0 : f->transparent), 0 }, 2);
    }
    made_bytes(m, ",", 1);
    made_word(m, f->x);
    made_word(m, f->y);
    made_word(m, f->w);
    made_word(m, f->h);
    uint8_t flags =
        (uint8_t)((f->interlaced ? 0x40 : 0) | (m->local ? 0x80 | made_bits(m->nlocal) : 0));
    made_bytes(m, &flags, 1);
    if (m->local)
        made_bytes(m, m->local, (size_t)m->nlocal * 3);
    m->local = NULL;
    made_bytes(m, (uint8_t[1]){ (uint8_t)min_bits }, 1);
    made_coder c = { .acc = 0 };
    for (uint32_t k = 0; k < f->h; k++)
        for (uint32_t x = 0; x < f->w; x++) {
            uint32_t y = f->interlaced ? made_row(k, f->h) : k;
            made_code(m, &c, 1u << min_bits, min_bits + 1);
            made_code(m, &c, made_index(f->pixels[y * f->w + x]), min_bits + 1);
        }
    made_code(m, &c, (1u << min_bits) + 1, min_bits + 1);
    made_code(m, &c, 0, 7);                                   /* pushes the last bits out         */
    made_bytes(m, c.block, (size_t)c.block[0] + 1);
    made_bytes(m, "", 1);
}

static inline void made_end(made *m) { made_bytes(m, ";", 1); }

#endif
