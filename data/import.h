/* import.h - the published files of TGIF and TGIF-QA become tables of this project.
 *
 *   captions   tgif-v1.0.tsv (URL TAB sentence, no header) and the lists of its splits
 *              -> TSV: gif, description, split, url
 *   questions  TGIF-QA's Train_, Test_ and Total_ files of its four kinds (named .csv, but tabs
 *              separate; CRLF) -> train.tsv and test.tsv: gif, question, answer, type, a1 to a5,
 *              choice, vid_id, key, description. gifqa-prep build reads the first four.
 * A GIF is called by the last part of its URL, without ".gif". `answer` of a multiple choice is the
 * text of the right one, `choice` its index from 0 (TGIF-QA's own answer); a1 to a5, choice and
 * description are empty where a kind has none. Texts stay as published, but for TGIF-QA's "rep",
 * which its authors replaced by the name of the kind inside words (see gq_tgif_repair()).
 *
 * Invariants: no GIF of a TGIF-QA test file enters training; what that drops is counted. (As
 * published, count and action train on some GIFs that other kinds test with.) A row that is not as
 * published - fields, quotes, ids, ranges - ends the import with GQ_EINPUT, file, line and reason.
 * Tables appear whole or not at all.
 */
#ifndef GIFQA_DATA_IMPORT_H
#define GIFQA_DATA_IMPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

enum { GQ_IMPORT_CHOICES = 5 };

/* ---- captions -------------------------------------------------------------------------------- */

typedef enum gq_tgif_split {
    GQ_TGIF_TRAIN, GQ_TGIF_VAL, GQ_TGIF_TEST,
    GQ_TGIF_UNLISTED,                   /* in none of the lists                                   */
    GQ_TGIF_SPLITS
} gq_tgif_split;
const char *gq_tgif_split_name(gq_tgif_split s);

typedef struct gq_tgif_opts {
    const char        *captions;
    const char        *list[GQ_TGIF_UNLISTED];   /* files of URLs; train may be NULL: all that is in
                                           neither of the others, which then must be whole        */
    const char *const *tests;           /* [n_tests] TGIF-QA's test files: their GIFs stay out of
                                           train and val                                          */
    size_t             n_tests;
    bool               whole;           /* another count than the published one is an error       */
    const char        *out;
} gq_tgif_opts;

typedef struct gq_tgif_report {
    struct {
        uint32_t listed;                /* GIFs of the list                                       */
        uint32_t sentences, gifs;       /* read                                                   */
        uint32_t dropped, dropped_gifs; /* of them, because of TGIF-QA's test; unlisted: all      */
    } split[GQ_TGIF_SPLITS];
    uint32_t tests;                     /* GIFs in TGIF-QA's test files                           */
} gq_tgif_report;

gq_status gq_import_tgif(const gq_tgif_opts *o, gq_tgif_report *report, gq_error *err);

/* ---- questions ------------------------------------------------------------------------------- */

typedef enum gq_tgifqa_kind {
    GQ_TGIFQA_FRAMEQA, GQ_TGIFQA_COUNT, GQ_TGIFQA_ACTION, GQ_TGIFQA_TRANSITION, GQ_TGIFQA_KINDS
} gq_tgifqa_kind;
const char *gq_tgifqa_kind_name(gq_tgifqa_kind k);           /* "frameqa"                         */

enum { GQ_TGIFQA_FRAMES = 4 };          /* sorts of frameqa; types "frameqa-object" ...           */
const char *gq_tgifqa_frame_type(int sort);

typedef enum gq_tgifqa_part {           /* as the file's name begins                              */
    GQ_TGIFQA_TEST, GQ_TGIFQA_TRAIN,
    GQ_TGIFQA_TOTAL,                    /* both, and rows that Train lost                         */
    GQ_TGIFQA_PARTS
} gq_tgifqa_part;
const char *gq_tgifqa_part_name(gq_tgifqa_part p);           /* "Test"                            */

typedef struct gq_tgifqa_opts {
    const char *const *file;            /* [n]; a Total needs the Test of its kind beside it      */
    size_t             n;
    bool               whole;           /* another count than the published one is an error       */
    const char        *out;             /* directory; a table in it that this import does not
                                           write again is GQ_EINPUT                               */
} gq_tgifqa_opts;

typedef struct gq_tgifqa_count {
    uint32_t rows, gifs;                /* of the file; 0: it was not given                       */
    uint32_t repaired;                  /* rows with a repaired word                              */
    uint32_t overlap;                   /* left out: the GIF is in a test file                    */
    uint32_t known;                     /* of a Total: Test or Train has the row                  */
    uint32_t written;
} gq_tgifqa_count;

typedef struct gq_tgifqa_report {
    gq_tgifqa_count count[GQ_TGIFQA_KINDS][GQ_TGIFQA_PARTS];
    uint32_t        frame[GQ_TGIFQA_PARTS][GQ_TGIFQA_FRAMES];       /* rows of frameqa by sort   */
} gq_tgifqa_report;

gq_status gq_import_tgifqa(const gq_tgifqa_opts *o, gq_tgifqa_report *report, gq_error *err);

/* ---- what is published ----------------------------------------------------------------------- */

enum { GQ_TGIF_SENTENCES = 125782 };
extern const uint32_t gq_tgif_published[GQ_TGIF_UNLISTED];          /* GIFs of the splits        */

typedef struct gq_published {
    uint32_t said;                      /* rows by the corpus's README                            */
    uint32_t has;                       /* rows the published file has                            */
} gq_published;
extern const gq_published gq_tgifqa_published[GQ_TGIFQA_KINDS][GQ_TGIFQA_PARTS];
extern const uint32_t     gq_tgifqa_published_frame[GQ_TGIFQA_FRAMES];     /* of Test_frameqa    */

/* Puts "rep" back where FRAMEQA, COUNT, ACTION or TRANS touches a lower-case letter ("pCOUNTare").
 * False: nothing was to be done. Never longer than it was. */
bool gq_tgif_repair(char *text);

#endif
