/* font.h - a bitmap font for captions in pictures: ASCII 32 to 126, 5x7 pixels and one row below
 * the line.
 *
 * Text is UTF-8; what is not in the font is drawn as one box per character. Pictures are RGB
 * [height, width, 3]; what lies outside is not drawn.
 */
#ifndef GIFQA_DATA_FONT_H
#define GIFQA_DATA_FONT_H

#include <stdint.h>

enum { GQ_FONT_HEIGHT = 8, GQ_FONT_STEP = 6 }; /* pixels at scale 1; step: width with the gap */

typedef struct gq_picture {
    uint32_t width, height;             /* pixels */
    uint8_t *rgb;                       /* [height, width, 3] */
} gq_picture;

typedef struct gq_color { uint8_t r, g, b; } gq_color;

void gq_draw_box(gq_picture *p, int64_t x, int64_t y, int64_t w, int64_t h, gq_color c);
/* Upper left corner at (x, y); every font pixel is scale x scale pixels. */
void gq_draw_text(gq_picture *p, int64_t x, int64_t y, int scale, gq_color c, const char *text);
/* Width in pixels, without the gap behind the last character. */
int64_t gq_text_width(const char *text, int scale);
/* Cuts text (in place) to what fits into width pixels, the last characters replaced by "..". */
void gq_text_fit(char *text, int scale, int64_t width);

#endif
