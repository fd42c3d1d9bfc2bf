/* tokenizer.h - text to token ids and back: GPT-2's byte-level BPE, CLIP's BPE, T5's SentencePiece
 * unigram model, and a small whole-word vocabulary.
 *
 * Invariants: an open tokenizer is never written again, so any number of threads may use one at
 * once. Text is bytes with a length, valid UTF-8 or not; every byte string encodes. GPT-2:
 * decode(encode(x)) is x for every x, and the ids are those of Hugging Face's tokenizer. CLIP: the
 * ids are those of Hugging Face's fast tokenizer (NFC, lower case; ill-formed UTF-8 reads as
 * U+FFFD); decoding gives lower-case words joined by single spaces. Words: lower case, split at
 * whitespace and at each of . , ? ! - decoding is exact for text of known words in that form.
 * Unigram: the ids are those of libsentencepiece, with special tokens split out as Hugging Face
 * does; decoding gives the normalised text (the model's own character map, single spaces, none at
 * the ends) where the vocabulary covers it. Time and memory are linear in the text up to one
 * logarithm, whatever the text is.
 *
 * Special tokens are matched in the text only when the caller asks (GQ_TOK_SPECIAL): text from
 * strangers must not be able to write an end-of-text token. Unigram: </s>, <pad>, <unk>, the
 * sentinels <extra_id_0> .. <extra_id_99>, and added tokens such as <hl>; spaces beside them count
 * for nothing.
 */
#ifndef GIFQA_DATA_TOKENIZER_H
#define GIFQA_DATA_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

typedef struct gq_tokenizer gq_tokenizer;

typedef enum gq_tok_kind {
    GQ_TOK_GPT2,
    GQ_TOK_CLIP,
    GQ_TOK_WORDS,
    GQ_TOK_UNIGRAM,
} gq_tok_kind;

enum {
    GQ_TOK_SPECIAL  = 1,           /* encode: "<|endoftext|>" and the like in the text are tokens */
    GQ_TOK_FRAME    = 2,                /* encode: CLIP 49406 ... 49407; the others: ... end id,
                                         * one more also where the text itself ends in one        */
    GQ_TOK_TRUNCATE = 4,         /* encode: at most `cap` ids; the frame's end stays the last one */
    GQ_TOK_SKIP     = 8,                /* decode: leave special tokens out                       */
    GQ_TOK_REPAIR   = 16,               /* decode: ill-formed UTF-8 becomes U+FFFD (for showing)  */
};

/* Opens `path`: a directory with tokenizer.json, or spiece.model (+ added_tokens.json), or
 * vocab.json + merges.txt (+ added_tokens.json), or bpe_simple_vocab_16e6.txt.gz, or words.txt (the
 * first of these that is there), or one of these files (any *.model is SentencePiece's); beside
 * vocab.json its merges are looked for (also under OpenAI's names encoder.json and vocab.bpe). A
 * spiece.model without sentinels of its own gets T5's 100, <extra_id_k> at pieces + 99 - k.
 * GQ_EWEIGHTS with the file and the place when anything is missing or broken; GQ_EINPUT with the
 * file and the byte for a broken *.model. */
gq_status gq_tokenizer_open(const char *path, gq_tokenizer **out, gq_error *err);
void      gq_tokenizer_close(gq_tokenizer *t);               /* NULL allowed                      */

/* Writes the ids of text[0..len) to ids (at most `cap` of them) and how many there are to *n, which
 * may be more than cap: call with cap 0 to size. With GQ_TOK_TRUNCATE the sequence itself ends at
 * cap (so CLIP's 77 is `GQ_TOK_FRAME | GQ_TOK_TRUNCATE, ids, 77`) and *n <= cap. */
gq_status gq_tokenizer_encode(const gq_tokenizer *t, const char *text, size_t len, unsigned flags,
                              int32_t *ids, size_t cap, size_t *n, gq_error *err);

/* The text of ids[0..n), owned by the caller (gq_free), NUL at the end; it may hold NULs itself:
 * *len (may be NULL) is its length. GQ_EINPUT for an id outside the vocabulary. */
gq_status gq_tokenizer_decode(const gq_tokenizer *t, const int32_t *ids, size_t n, unsigned flags,
                              char **text, size_t *len, gq_error *err);

gq_tok_kind gq_tokenizer_kind(const gq_tokenizer *t);
const char *gq_tokenizer_kind_name(gq_tok_kind kind);    /* "gpt2", "clip", "words", "unigram"    */
int32_t     gq_tokenizer_vocab_size(const gq_tokenizer *t);
int32_t     gq_tokenizer_begin_id(const gq_tokenizer *t);    /* CLIP 49406; -1 for the others     */
int32_t     gq_tokenizer_end_id(const gq_tokenizer *t);      /* 50256, 49407, "<end>", T5 1       */
int32_t     gq_tokenizer_pad_id(const gq_tokenizer *t);      /* 50256, 49407, "<pad>", T5 0       */
bool        gq_tokenizer_is_special(const gq_tokenizer *t, int32_t id);

/* The bytes one token stands for (not NUL-terminated, owned by the tokenizer; CLIP's without the
 * space that ends a word, unigram's with the one that begins it); NULL for an id outside the
 * vocabulary. */
const char *gq_tokenizer_token(const gq_tokenizer *t, int32_t id, size_t *len);

/* sha256 over kind, vocabulary, special tokens and merges (unigram: scores and character map): the
 * same for the same tokenizer in any of its files. */
void        gq_tokenizer_hash(const gq_tokenizer *t, uint8_t out[32]);

/* Writes Hugging Face's files into `dir` (made when missing): vocab.json, merges.txt and, when
 * there are tokens beyond the usual ones, added_tokens.json; or words.txt; or, unigram, the file it
 * was opened from as spiece.model or tokenizer.json (and added_tokens.json). Refuses a directory whose files would win over
 * them. */
gq_status   gq_tokenizer_save(const gq_tokenizer *t, const char *dir, gq_error *err);

#endif
