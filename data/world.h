/* world.h - the toy world: procedural clips with questions whose answers are known exactly.
 *
 * Preset "micro": 8 frames of 12x12 pixels, a torus of 3x3 cells. One object (two in turn for
 * `order`), 4 shapes x 6 colours, on a grey background. Every question ends in "?", every answer is
 * one word. Clip i of a split is a pure function of (spec, split, i): nothing is stored, any clip
 * can be made alone, by any thread.
 *
 * Balance: the answer is drawn first, uniformly; then what the question names; then a scene that
 * realises both.
 *
 * Splits. The identity of a sample is its pictures without the background grey, and its question.
 * The hash of the identity puts each into one of ten parts: part 0 belongs to `test`, part 1 to
 * `val`, the others to `train`, so no test question about the same clip is ever trained on. Six of
 * the 24 shape x colour pairs occur in none of the three: `novel` is made of them alone.
 */
#ifndef GIFQA_DATA_WORLD_H
#define GIFQA_DATA_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"
#include "data/progress.h"

#define GQ_WORLD_VERSION "micro-1"      /* changes whenever a clip changes                        */

enum {
    GQ_WORLD_FRAMES = 8,
    GQ_WORLD_SIZE   = 12,               /* pixels, both sides                                     */
    GQ_WORLD_COLORS = 7,          /* palette: background, then red green blue yellow purple white */
    GQ_WORLD_PIXELS = GQ_WORLD_FRAMES * GQ_WORLD_SIZE * GQ_WORLD_SIZE,
};

/*   id          name           answers: how many                                                 */
#define GQ_WORLD_KIND_LIST(X)                                                                      \
 X(COLOUR,      "colour",      6)                                                                  \
 X(OBJECT,      "object",      4)                                                                  \
 X(WHERE,       "where",       4)                                                                  \
 X(ACTION,      "action",      3)                                                                  \
 X(DIRECTION,   "direction",   4)                                                                  \
 X(COUNT,       "count",       3)                                                                  \
 X(TRANSITION,  "transition",  3)                                                                  \
 X(ORDER,       "order",       6)

typedef enum gq_world_kind {
#define GQ_WORLD_ENUM(id, name, answers) GQ_WORLD_##id,
    GQ_WORLD_KIND_LIST(GQ_WORLD_ENUM)
#undef GQ_WORLD_ENUM
    GQ_WORLD_KINDS
} gq_world_kind;

typedef enum gq_world_split {
    GQ_WORLD_TRAIN,
    GQ_WORLD_VAL,
    GQ_WORLD_TEST,
    GQ_WORLD_NOVEL,
    GQ_WORLD_SPLITS
} gq_world_split;

typedef struct gq_world_spec {
    uint64_t seed;
    uint32_t weight[GQ_WORLD_KINDS];  /* how often a kind is drawn, 0..1000; all 0: equally often */
} gq_world_spec;

typedef struct gq_world_clip {
    uint8_t       index[GQ_WORLD_PIXELS];        /* palette indices [8,12,12]                     */
    uint8_t       palette[GQ_WORLD_COLORS][3];   /* RGB                                           */
    char          question[64];
    char          answer[16];
    gq_world_kind kind;
    uint64_t      identity;                      /* hash of index and question, not of the grey   */
} gq_world_clip;

gq_status gq_world_sample(const gq_world_spec *spec, gq_world_split split, uint64_t i,
                          gq_world_clip *out, gq_error *err);
void      gq_world_rgb(const gq_world_clip *clip, uint8_t *rgb);     /* u8 [8,12,12,3]            */

const char *gq_world_kind_name(gq_world_kind kind);
int         gq_world_kind_answers(gq_world_kind kind);               /* how many answers it has   */
const char *gq_world_split_name(gq_world_split split);
/* Word `i` of the closed vocabulary, all questions' and answers' words and "?"; NULL after the
 * last. */
const char *gq_world_word(int i);
/* True for the shape x colour pairs (0..3, 0..5) that only `novel` shows. */
bool        gq_world_held_out(int shape, int color);

/* ---- real files ------------------------------------------------------------------------------ */

typedef struct gq_world_files {
    gq_world_spec spec;
    uint32_t      count[GQ_WORLD_SPLITS];        /* samples of each split                         */
    uint32_t      scale;                         /* a pixel becomes scale x scale, 1..64; 0: 8    */
} gq_world_files;

typedef struct gq_world_report {                 /* per split and kind                            */
    uint32_t samples[GQ_WORLD_SPLITS][GQ_WORLD_KINDS];
    uint32_t distinct[GQ_WORLD_SPLITS][GQ_WORLD_KINDS];    /* identities                          */
    uint32_t shared[GQ_WORLD_SPLITS][GQ_WORLD_KINDS];      /* samples whose identity is in train  */
    uint64_t gif_bytes;
    double   seconds;
} gq_world_report;

/* Writes <dir>/gif/<split>-<number>.gif, the tables <dir>/<split>.tsv (gif, question, answer,
 * type), the vocabulary words.txt (<pad>, <end>, <unk>, then the words) and world.json, which comes
 * last: without it the directory is not complete. A complete directory of exactly this world is
 * left as it is; one of another world is refused. */
gq_status gq_world_write(const char *dir, const gq_world_files *files, gq_progress_fn progress,
                         void *ctx, gq_world_report *report, gq_error *err);

#endif
