/* hf.h - the published names: our parameters as Hugging Face checkpoints store them, both ways.
 *
 * One table says, for each parameter name pattern of ours, which tensors of a checkpoint make it
 * up: one or several stacked along the rows (our packed qkv and kv), stored as [out,in] or
 * transposed (GPT-2's Conv1D), with the checkpoint's shape where it differs from ours by dimensions
 * of one or by a flattened kernel. Loader, exporter and the parity tests read this table. Families
 * are files: a CLIP directory, a BLIP-2 directory, a GPT-2 directory, a T5 directory, and our own
 * `stllm` extras (bridge, projection, predictor).
 */
#ifndef GIFQA_MODELS_HF_H
#define GIFQA_MODELS_HF_H

#include <stdbool.h>

#include "core/params.h"
#include "core/safetensors.h"

typedef enum gq_hf_family { GQ_HF_CLIP, GQ_HF_QFORMER, GQ_HF_GPT2, GQ_HF_STLLM, GQ_HF_T5, GQ_HF_FAMILIES } gq_hf_family;

typedef struct gq_hf_part {
    char    name[160];                  /* in the checkpoint                                      */
    int64_t first, n;                   /* elements of our parameter that it holds                */
    int     rank;                       /* of the checkpoint's tensor                             */
    int64_t shape[GQ_MAX_RANK];
    bool    transposed;                 /* stored [in,out]                                        */
} gq_hf_part;

/* Which checkpoint tensors hold parameter q in this family: 0 (not of this family) to 3 parts. */
int gq_hf_parts(gq_hf_family f, const gq_param *q, gq_hf_part part[3]);

/* Are there parameters of this family among these? */
bool gq_hf_has(const gq_params *p, gq_hf_family f);

typedef struct gq_load_report {         /* what a load did, for the log                           */
    int  matched, missing, unexpected;  /* parameters with, parameters without, tensors without a use    */
    char first_missing[160], first_unexpected[160];
} gq_load_report;

/* Fills every parameter of the family found in st (names with and without the usual prefixes; old
 * buffers ignored) and marks it loaded. A tensor of the wrong shape is GQ_EWEIGHTS; missing and
 * unexpected ones are counted. */
gq_status gq_hf_load(gq_params *p, gq_hf_family f, const gq_safetensors *st, gq_load_report *report, gq_error *err);

/* Where the values of a saved model come from: elements first..first+n of q, which are one
 * gq_hf_part, to dst. */
typedef struct gq_hf_source {
    gq_status (*read)(void *ctx, const gq_param *q, int64_t first, float *dst, int64_t n, gq_error *err);
    void       *ctx;
} gq_hf_source;

/* A gq_hf_source's read: from sealed parameters in memory, ctx is their gq_params. */
gq_status gq_hf_from_params(void *ctx, const gq_param *q, int64_t first, float *dst, int64_t n, gq_error *err);

/* Writes the family's parameters as <path> in float32. p need not be sealed: names and shapes are
 * all it is asked for. Memory: twice the largest tensor. */
gq_status gq_hf_save(const gq_params *p, gq_hf_family f, const gq_hf_source *from, const char *path, gq_error *err);

/* A tensor read as our layout: part of q from t, into dst[part->n] (double for tests of gradients).
 */
gq_status gq_hf_read(const gq_hf_part *part, const gq_st_tensor *t, double *dst, gq_error *err);

#endif
