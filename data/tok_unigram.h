/* tok_unigram.h - what the files of the unigram tokenizer share; nobody else includes it.
 *
 * A piece of the vocabulary is spelt with U+2581 for a space. Inside, that character is the byte
 * ' ', in normalised text as in the tries: normalised text holds no other space, and most words
 * become three bytes shorter by it.
 */
#ifndef GIFQA_DATA_TOK_UNIGRAM_H
#define GIFQA_DATA_TOK_UNIGRAM_H

#include "data/tok_private.h"

#define TOK_SPACE     "\xE2\x96\x81"    /* U+2581, how the files write a space                    */
#define TOK_MAX_PIECE 512               /* bytes: encoding takes up to this many steps a byte     */
#define TOK_MAX_RULE  255               /* bytes that a rule of the character map may give        */

/* ---- tok_trie.c: a double array -------------------------------------------------------------- */

typedef struct tok_unit {
    uint32_t base;                      /* child c of this node is unit base ^ c; 0: no child     */
    uint32_t from;                      /* base of the node whose child this is; other: free      */
    int32_t  id;                        /* of the string that ends here; -1: none does            */
} tok_unit;

typedef struct tok_trie {
    tok_unit *unit;                     /* [units], a multiple of 256; NULL: no strings           */
    uint32_t  units;
    uint32_t  root;                     /* base of the root                                       */
} tok_trie;

typedef struct tok_key {
    const char *s;
    uint32_t    len;                    /* bytes, > 0                                             */
    int32_t     id;
} tok_key;

/* Of keys that are not equal and at most TOK_MAX_PIECE long; sorts them. */
gq_status gq_tok_trie_make(tok_trie *t, tok_key *keys, size_t n, gq_error *err);
/* Bytes of the longest string of the trie that the text begins with, 0: none. */
size_t    gq_tok_trie_longest(const tok_trie *t, const char *s, size_t n);

/* ---- the tokenizer --------------------------------------------------------------------------- */

struct tok_unigram {
    float    *score;                    /* [room] what an entry adds to a path                    */
    float     unknown;                  /* what a character that no piece covers adds             */
    tok_trie  pieces;
    tok_trie  literal;                  /* USER_DEFINED pieces: they pass the character map       */
    int32_t   model_size;               /* entries of the model file, without what was added      */

    uint32_t *rule;                     /* [rules] the character map: Darts' double array         */
    uint32_t  rules;                    /* a multiple of 256, or 0                                */
    char     *pool;                     /* [pool_size] what rules give, each with a NUL           */
    size_t    pool_size;
    bool      plain[128];               /* no rule begins with this byte and another ASCII byte   */

    bool      prefix;                   /* a space in front of the text                           */
    bool      prefix_once;              /* only where none is there                               */
    bool      keep_spaces;              /* runs of them, and those at the ends                    */

    gq_bytes    source;                 /* the model file, for gq_tokenizer_save()                */
    const char *source_name;            /* "spiece.model", "tokenizer.json"                       */
};

/* ---- tok_charsmap.c: the normaliser ---------------------------------------------------------- */

/* Takes the precompiled character map and checks it once, so that no later walk can leave it.
 * `origin` is added to the bytes that errors name. size 0: every character stays. */
gq_status gq_tok_charsmap(tok_unigram *u, const uint8_t *map, size_t size, size_t origin,
                          gq_error *err);
void      gq_tok_charsmap_plain(tok_unigram *u);    /* fills u->plain, when u->literal is there   */

typedef struct tok_text {               /* normalised text, valid UTF-8                           */
    char  *data;                        /* `own`, or gq_free() it                                 */
    size_t begin, n, cap;               /* bytes; the text is data[begin .. n)                    */
    char   own[1024];
} tok_text;

/* *out: gq_tok_text_free() it, also on failure. */
gq_status gq_tok_normalize(const tok_unigram *u, const char *s, size_t n, tok_text *out,
                           gq_error *err);
void      gq_tok_text_free(tok_text *t);

/* ---- tok_unigram.c --------------------------------------------------------------------------- */

gq_status gq_tok_unigram_new(gq_tokenizer *t, gq_error *err);      /* kind and room are set       */
void      gq_tok_unigram_free(tok_unigram *u);                     /* NULL allowed                */
/* Spaces of pieces, tries, scores: when all entries are there. */
gq_status gq_tok_unigram_finish(gq_tokenizer *t, gq_error *err);
gq_status gq_tok_unigram(const gq_tokenizer *t, const char *s, size_t n, tok_scratch *scratch,
                         tok_sink *sink, gq_error *err);

/* ---- tok_proto.c: protocol buffers ----------------------------------------------------------- */

typedef enum tok_wire { TOK_VARINT, TOK_FIXED64, TOK_BYTES, TOK_FIXED32 = 5 } tok_wire;

typedef struct tok_proto {              /* walks the fields of one message                        */
    const uint8_t *data;                /* of the whole file                                      */
    size_t         at, end;             /* bytes in it                                            */
} tok_proto;

typedef struct tok_field {
    uint32_t  number;
    tok_wire  wire;
    size_t    at;                       /* byte of its tag in the file                            */
    uint64_t  value;                    /* all but TOK_BYTES                                      */
    tok_proto body;                     /* TOK_BYTES: what is inside                              */
} tok_field;

/* The next field; false at the end of the message, and when it is broken: then *status is
 * GQ_EWEIGHTS. Set *status to GQ_OK before. */
bool      gq_tok_proto_next(tok_proto *p, tok_field *f, gq_status *status, gq_error *err);
/* A field of a known number is of the type that its format says. */
gq_status gq_tok_proto_want(const tok_field *f, tok_wire want, const char *name, gq_error *err);

/* ---- tok_spiece.c, tok_unigram_json.c -------------------------------------------------------- */

/* Everything of a spiece.model but the sentinels, unfinished. Takes over `file` in any case. */
gq_status gq_tok_from_spiece(gq_bytes *file, gq_tokenizer **out, gq_error *err);
/* T5's sentinels behind the entries of the model, unless they are there. */
gq_status gq_tok_sentinels(gq_tokenizer *t, gq_error *err);
/* A tokenizer.json whose model is Unigram. Takes over `file` when it succeeds. */
gq_status gq_tok_from_unigram_json(const json_t *root, gq_bytes *file, gq_tokenizer **out,
                                   gq_error *err);

#endif
