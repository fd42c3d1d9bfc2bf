/* t5_dir.h - a T5 that a person names: a directory as the Hugging Face hub has it (config.json,
 * model.safetensors or its shards, spiece.model or tokenizer.json), or random weights.
 *
 * Everything that is wrong with a directory is GQ_EWEIGHTS with file, place and what to do.
 */
#ifndef GIFQA_TRAIN_T5_DIR_H
#define GIFQA_TRAIN_T5_DIR_H

#include "data/tokenizer.h"
#include "models/hf.h"
#include "models/t5.h"
#include "train/config.h"

/* The sizes of the model in `dir`, from config.json; keys that it leaves out have the values of transformers'
 * T5Config. Rows of the token table are the weights': checkpoints with added tokens often have another number
 * in config.json. */
gq_status gq_t5_dir_sizes(const char *dir, gq_t5_config *out, gq_error *err);

typedef struct gq_t5_model {            /* ready to answer, not to learn                          */
    gq_t5_config  c;
    gq_engine    *engine;
    gq_params    *params;
    gq_tokenizer *tokenizer;            /* NULL: random weights without one                       */
} gq_t5_model;

/* from: a directory, or "random", "random:SEED": weights of the sizes of t5-base that know nothing,
 * for measuring and for trying things out. tokenizer: what gq_tokenizer_open() takes; NULL: the
 * directory's own. Of `c` the section engine says where it runs. */
gq_status gq_t5_open(const char *from, const char *tokenizer, const gq_config *c, gq_t5_model **out,
                     gq_error *err);
void      gq_t5_close(gq_t5_model *m);                       /* NULL allowed                      */

#endif
