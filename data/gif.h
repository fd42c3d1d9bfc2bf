/* gif.h - streaming decoder of (animated) GIFs from bytes in memory: one composed canvas at a time.
 *
 * Composition is the browsers': the canvas starts transparent, the background colour index is
 * ignored, disposal 2 clears the frame's rectangle to transparent, 3 restores what was there,
 * anything else keeps; parts of a frame beyond the screen are cut off; colour indices beyond the
 * palette draw nothing; without any palette index i is grey i. Delays are the raw values of the
 * file.
 *
 * Damage: frames that are complete stay. A frame whose data the end of the file cuts is dropped,
 * unless it is the first (its rest stays transparent); both set GQ_GIF_TRUNCATED, as does a missing
 * trailer. A frame whose data end early or are invalid keeps the pixels before that place and sets
 * GQ_GIF_DAMAGED, as does rubbish between blocks, which ends the animation. A file without one
 * usable frame is an error.
 *
 * Invariants: the bytes stay the caller's and must outlive the reader; nothing is allocated before
 * the limits are checked; memory is the canvas, a copy of one frame's rectangle if disposal 3
 * occurs, and one byte per pixel of the largest frame. After an error a reader only repeats that
 * error. One thread per reader.
 */
#ifndef GIFQA_DATA_GIF_H
#define GIFQA_DATA_GIF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/io.h"

/* Set by the config keys data.limits.*, which the error texts quote. */
typedef struct gq_gif_limits {
    uint64_t max_bytes;                 /* size of the file                                       */
    uint32_t max_side;              /* screen width and height, pixels; frames: max_side^2 pixels */
    uint64_t max_pixels_total;          /* pixels decoded, all frames of a file together          */
    uint32_t max_frames;                /* further frames are left out with GQ_GIF_FRAME_LIMIT    */
    double   max_seconds;               /* CPU time spent in this reader; 0: no limit             */
} gq_gif_limits;

gq_gif_limits gq_gif_limits_default(void);   /* 64 MiB, 4096, 256 Mi, 4096, 5 s                   */

enum {                                  /* gq_gif_flags(), complete once the end was reached      */
    GQ_GIF_TRUNCATED   = 1,             /* the file ends before its trailer                       */
    GQ_GIF_DAMAGED     = 2,           /* invalid or missing image data, or rubbish between blocks */
    GQ_GIF_FRAME_LIMIT = 4,             /* more frames than max_frames: the rest was left out     */
    GQ_GIF_NO_PALETTE  = 8,             /* a frame had no palette: indices taken as grey          */
};

typedef struct gq_gif_frame {
    uint32_t index;                     /* 0, 1, ...                                              */
    int32_t  delay_cs;                  /* 1/100 s, raw; -1: the file gives none                  */
    uint32_t x, y, w, h;          /* rectangle that the file gives, pixels, may exceed the screen */
    uint8_t  disposal;                  /* 0..7, raw                                              */
    int16_t  transparent;               /* palette index, -1: none                                */
    uint16_t local_colors;              /* entries of the frame's own palette, 0: none            */
    bool     interlaced;
    bool     complete;                  /* false: part of its pixels was missing or invalid       */
} gq_gif_frame;

typedef struct gq_gif gq_gif;

/* `name` is for error texts; limits NULL: the defaults. */
gq_status gq_gif_open(const uint8_t *data, size_t size, const char *name,
                      const gq_gif_limits *limits, gq_gif **out, gq_error *err);
void      gq_gif_close(gq_gif *g);                           /* NULL allowed                      */

/* The next composed canvas as RGBA [height, width, 4], alpha 0 or 255, alpha-0 pixels 0,0,0,0; it
 * is the reader's and valid until the next call. At the end of the animation: GQ_OK and *rgba =
 * NULL. */
gq_status gq_gif_next(gq_gif *g, const uint8_t **rgba, gq_gif_frame *info, gq_error *err);

uint32_t gq_gif_width(const gq_gif *g);
uint32_t gq_gif_height(const gq_gif *g);
unsigned gq_gif_flags(const gq_gif *g);
int32_t  gq_gif_loop(const gq_gif *g);           /* raw NETSCAPE value, 0 endless, -1 none so far */

/* A walk over the blocks without decoding pixels. */
typedef struct gq_gif_summary {
    uint32_t width, height;             /* screen, pixels                                         */
    uint32_t frames;                    /* what gq_gif_next() will give                           */
    uint64_t delay_cs;                  /* sum of the raw delays, absent ones as 0, 1/100 s       */
    int32_t  loop;                      /* as gq_gif_loop()                                       */
    unsigned flags;                     /* as gq_gif_flags(), without what only decoding shows    */
} gq_gif_summary;

gq_status gq_gif_count(const uint8_t *data, size_t size, const char *name,
                       const gq_gif_limits *limits, gq_gif_summary *out, gq_error *err);

/* RGBA over an opaque colour. */
void gq_gif_over(const uint8_t *rgba, size_t pixels, const uint8_t matte[3], uint8_t *rgb);

/* A GIF file into memory; one larger than max_bytes is refused before it is read. */
gq_status gq_gif_read(const char *path, uint64_t max_bytes, gq_bytes *out, gq_error *err);

typedef struct gq_gif_clip {            /* owned by the caller: gq_gif_clip_free()                */
    uint32_t width, height, nframes;
    uint8_t *rgb;                       /* [nframes, height, width, 3]                            */
    int32_t *delay_cs;                  /* [nframes] raw, -1: none                                */
    unsigned flags;                     /* gq_gif_flags() where reading stopped                   */
} gq_gif_clip;

/* Frames `wanted` [nwanted] (ascending, repeats allowed) over `matte` (NULL: black), or all frames
 * when wanted is NULL. Refuses results of more than max_bytes before allocating them; a frame that
 * the file lacks is an error. */
gq_status gq_gif_load_rgb(const uint8_t *data, size_t size, const char *name,
                          const gq_gif_limits *limits, const uint32_t *wanted, size_t nwanted,
                          const uint8_t matte[3], size_t max_bytes, gq_gif_clip *out,
                          gq_error *err);
void      gq_gif_clip_free(gq_gif_clip *clip);

#endif
