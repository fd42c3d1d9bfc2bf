/* export.h - a trained model in a directory of its own, in the layout of Hugging Face's classes.
 *
 *   DIR/gifqa.json             what this is: format, step, prompt, and size, SHA-256 and XXH3 (128 bits) of every other file
 *   DIR/config.yaml            the configuration, without the paths of the machine it was trained on
 *   DIR/README.md              model card
 *   DIR/clip/                  CLIPModel, or CLIPVisionModel without a text tower; CLIP's vocabulary
 *   DIR/qformer/               Blip2QFormerModel; query_tokens beside it
 *   DIR/gpt2/                  GPT2LMHeadModel and its tokenizer files
 *   DIR/t5/                    of model.kind t5 instead of all these: T5ForConditionalGeneration and its tokenizer
 *   DIR/stllm.safetensors      bridge, projection, predictor
 *   DIR/tokenizer/             the tokenizer of the run
 * Weights are float32: reading them back gives the same bits. Memory is bounded by the largest tensor
 * when the session left the weights of a run in their files (gq_session_opts.stored).
 *
 * Invariants: the directory is made under another name beside DIR and renamed when everything in it is synced, so DIR
 * is whole or not there. A DIR with something in it is refused, never merged with. Every byte of every file is compared
 * with gifqa.json before an export is used. That guards against accidents, which XXH3 finds as surely as SHA-256 and at
 * the speed of memory; SHA-256 is there for people, and for exports whose gifqa.json has nothing else.
 */
#ifndef GIFQA_TRAIN_EXPORT_H
#define GIFQA_TRAIN_EXPORT_H

#include "models/hf.h"
#include "train/session.h"

enum { GQ_EXPORT_FORMAT = 1 };

typedef struct gq_export_report {
    uint64_t bytes;                     /* of all files                                           */
    int      files;
    char     note[512];                 /* what a person should know, "" nothing                  */
} gq_export_report;

/* report may be NULL. GQ_EUSAGE when dir exists and is not empty. */
gq_status gq_export(gq_session *s, const char *dir, gq_export_report *report, gq_error *err);

/* Outputs of every tower for seeded random inputs, as JSON for tests/reference/check_export.py. The weights must be in
 * memory. */
gq_status gq_export_numbers(gq_session *s, uint64_t seed, const char *file, gq_error *err);

typedef struct gq_export_about {
    uint64_t format, step;
    int      files;                     /* listed, all of them verified                           */
} gq_export_about;

/* Reads gifqa.json and compares every file that it lists, `threads` (0: all cores) at a time; GQ_EWEIGHTS names the
 * first in the list that differs. */
gq_status gq_export_check(const char *dir, int threads, gq_export_about *out, gq_error *err);

/* Where a family's weights lie in an export: what gq_safetensors_open() takes, below DIR. */
const char *gq_export_weights(gq_hf_family f);

#endif
