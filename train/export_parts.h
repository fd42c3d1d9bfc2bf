/* export_parts.h - what an export says about its towers: Hugging Face configurations and the model card. Private to
 * train/export*.c.
 *
 * The json_t functions return a new object that the caller owns, NULL when there is no memory.
 */
#ifndef GIFQA_TRAIN_EXPORT_PARTS_H
#define GIFQA_TRAIN_EXPORT_PARTS_H

#include <jansson.h>

#include "core/io.h"
#include "train/session.h"

json_t *gq_export_clip(const gq_config *c);                  /* CLIPConfig or CLIPVisionConfig    */
json_t *gq_export_preprocessor(const gq_config *c);          /* CLIPImageProcessor                */
json_t *gq_export_qformer(const gq_config *c);               /* Blip2QFormerConfig                */
json_t *gq_export_t5(const gq_config *c, int end_id);        /* T5Config                          */
json_t *gq_export_gpt2(const gq_config *c, int end_id);      /* GPT2Config                        */
json_t *gq_export_tokenizer(const gq_config *c);        /* tokenizer_config.json of GPT2Tokenizer */

gq_status gq_export_card(const gq_session *s, gq_file *f, gq_error *err);    /* README.md         */

#endif
