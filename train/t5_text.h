/* t5_text.h - text for text with an open T5: prompts to tokens, tokens that it generates to text.
 *
 *   gq_t5_writer_new(model, 8, &decode, false, &w, err)
 *   gq_t5_write(w, prompts, n, texts, sizeof text, err)           n <= 8, of like length
 */
#ifndef GIFQA_TRAIN_T5_TEXT_H
#define GIFQA_TRAIN_T5_TEXT_H

#include "models/t5_generate.h"
#include "train/t5_dir.h"

typedef struct gq_t5_writer gq_t5_writer;

/* o: how tokens are chosen; what the tokenizer knows (end_id, tokens) and bucket are set here.
 * special: "<hl>" and the like in a prompt are tokens. The model outlives the writer. */
gq_status gq_t5_writer_new(gq_t5_model *m, int batch, const gq_decode_opts *o, bool special,
                           gq_t5_writer **out, gq_error *err);
void      gq_t5_writer_free(gq_t5_writer *w);                /* NULL allowed                      */

/* text[k][room] for prompt[k]: without special tokens, valid UTF-8, cut where there is no room. */
gq_status gq_t5_write(gq_t5_writer *w, const char *const *prompt, size_t n, char *const *text, size_t room,
                      gq_error *err);
/* Tokens of a prompt, the end token included; 0: it cannot be encoded. */
size_t    gq_t5_length(const gq_t5_writer *w, const char *prompt);
/* Seconds so far: of encoding prompts, of decoding answers. */
void      gq_t5_seconds(const gq_t5_writer *w, double out[2]);

#endif
