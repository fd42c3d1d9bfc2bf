/* tok_private.h - what the files of the tokenizer share; nobody else includes it.
 *
 * Life of a tokenizer: gq_tok_new() with the number of entries, gq_tok_add() for each,
 * gq_tok_special() for those that are matched literally, gq_tok_merge() in rank order,
 * gq_tok_finish(), then read-only for ever. Strings live in one pool; spans name parts of it. A BPE
 * token has a *symbol*, its spelling in the files (each byte as a printable character, "</w>" at
 * the end of a word), and *bytes*, what it stands for.
 */
#ifndef GIFQA_DATA_TOK_PRIVATE_H
#define GIFQA_DATA_TOK_PRIVATE_H

#include <jansson.h>

#include "core/io.h"
#include "data/tokenizer.h"

#define GQ_TOK_MAX_FILE  ((size_t)16 << 20)     /* bytes: vocab.json, merges, words, inflated .gz */
#define GQ_TOK_MAX_JSON  ((size_t)64 << 20)     /* bytes: tokenizer.json                          */
#define GQ_TOK_MAX_VOCAB 1000000                /* entries, and merges                            */
#define GQ_TOK_MAX_ADDED 256                    /* special tokens                                 */
#define GQ_TOK_MAX_TEXT  ((size_t)256 << 20)    /* bytes of text in one call                      */

#define TOK_NO_RANK      UINT32_MAX             /* free slot of the rules; no such rule           */
#define TOK_SHOW(len)    ((int)((len) < 60 ? (len) : 60))   /* "%.*s" of untrusted strings        */

#define GQ_TOK_END_TEXT   "<|endoftext|>"
#define GQ_TOK_START_TEXT "<|startoftext|>"
#define GQ_TOK_WORD_END   "</w>"

#define TOK_UNIGRAM_END   "</s>"
#define TOK_UNIGRAM_PAD   "<pad>"

enum {
    TOK_IS_SPECIAL = 1,
    TOK_ENDS_WORD  = 2,
    TOK_IS_UNUSED  = 4,                 /* unigram: no text gives it                              */
    TOK_IS_LITERAL = 8,                 /* unigram: USER_DEFINED                                  */
    TOK_IS_MADE    = 16,                /* unigram: a sentinel that no file names                 */
};

typedef struct tok_span {
    uint32_t off;                       /* bytes into the pool                                    */
    uint32_t len;                       /* bytes; 0: no such string (no token is empty)           */
} tok_span;

typedef struct tok_slot {               /* string -> id                                           */
    uint64_t key;                       /* the bytes themselves up to 8 of them, else their hash  */
    uint32_t len;                       /* bytes of the string; 0: free slot                      */
    int32_t  id;
} tok_slot;

typedef struct tok_map {
    tok_slot *slots;                    /* [mask + 1], open addressing, at most half full         */
    uint32_t  mask;
} tok_map;

typedef struct tok_rule {               /* (left, right) -> merged                                */
    uint64_t pair;                      /* left << 32 | right                                     */
    uint32_t rank;                      /* TOK_NO_RANK: free slot                                 */
    int32_t  id;                        /* of the merged token                                    */
} tok_rule;

typedef struct tok_unigram tok_unigram;         /* tok_unigram.h                                  */

static inline uint64_t tok_pair(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

static inline uint32_t tok_pair_slot(uint64_t pair)     /* & rule_mask                            */
{
    return (uint32_t)(pair * 0x9E3779B97F4A7C15u >> 32);
}

struct gq_tokenizer {
    gq_tok_kind kind;
    int32_t     size;                   /* entries, ids 0 .. size - 1                             */
    int32_t     room;                   /* entries that fit                                       */
    char       *pool;
    size_t      pool_used, pool_cap;    /* bytes                                                  */
    tok_span   *symbol;                 /* [room]                                                 */
    tok_span   *bytes;                  /* [room] CLIP: without "</w>"; unigram: with spaces      */
    uint8_t    *flags;                  /* [room] TOK_IS_SPECIAL | ...                            */
    tok_map     names;                  /* symbol -> id                                           */
    tok_map     pieces;                /* bytes -> id, only tokens that BPE gives for these bytes */
    tok_rule   *rules;                  /* [rule_mask + 1]                                        */
    uint32_t    rule_mask;
    uint64_t   *merges;                 /* [merge_count] pairs by rank                            */
    size_t      merge_count, merge_room;
    int32_t     special[GQ_TOK_MAX_ADDED];      /* ids                                            */
    size_t      special_count;
    bool        special_first[256];     /* can a special token begin with this byte               */
    int32_t     byte_id[256];           /* token of one byte                                      */
    int32_t     byte_end_id[256];       /* CLIP: of one byte that ends a word                     */
    int32_t     begin_id, end_id, pad_id, unknown_id;   /* -1: there is none                      */
    tok_unigram *unigram;               /* NULL for the other kinds                               */
    uint8_t     hash[32];
};

/* ---- tok_vocab.c: building ------------------------------------------------------------------- */

gq_status gq_tok_new(gq_tok_kind kind, size_t entries, size_t merges, gq_tokenizer **out,
                     gq_error *err);
gq_status gq_tok_add(gq_tokenizer *t, int64_t id, const char *symbol, size_t len, gq_error *err);
/* Marks an entry as special, adding it first when its id is free. */
gq_status gq_tok_special(gq_tokenizer *t, int64_t id, const char *content, size_t len,
                         gq_error *err);
gq_status gq_tok_merge(gq_tokenizer *t, const char *left, size_t left_len, const char *right,
                       size_t right_len, gq_error *err);
/* Copies bytes into the pool. */
gq_status gq_tok_store(gq_tokenizer *t, const char *s, size_t len, tok_span *out, gq_error *err);
gq_status gq_tok_finish(gq_tokenizer *t, gq_error *err);
int32_t   gq_tok_find(const gq_tokenizer *t, const char *symbol, size_t len);      /* -1: none    */
int32_t   gq_tok_map_find(const tok_map *map, const char *pool, const tok_span *strings,
                          const char *s, size_t len);
gq_status gq_tok_map_init(tok_map *map, size_t entries, gq_error *err);
/* len > 0 */
gq_status gq_tok_map_add(tok_map *map, const char *s, size_t len, int32_t id, gq_error *err);
/* The printable character of each byte, and the bytes in the order in which GPT-2 and CLIP number
 * them. */
void      gq_tok_byte_symbols(uint16_t code[256], uint8_t order[256]);

/* ---- tok_files.c, tok_json.c, tok_save.c ----------------------------------------------------- */

/* jansson behind limits: bytes, depth, values, duplicate keys refused. *out: json_decref(). *file
 * (may be NULL): what was read, gq_bytes_free() it, also on failure. */
gq_status gq_tok_json_load(const char *path, size_t limit, gq_bytes *file, json_t **out,
                           gq_error *err);
/* A tokenizer.json; may take the bytes of the file it is from. */
gq_status gq_tok_from_json(json_t *root, gq_bytes *file, gq_tokenizer **out, gq_error *err);
/* "type" of an object, "null", "without type"; whether it is that; nothing set; a text. */
const char *gq_tok_type(const json_t *v);
bool        gq_tok_is(const json_t *v, const char *type);
bool        gq_tok_off(const json_t *v);
bool        gq_tok_is_text(const json_t *v, const char *text);
gq_status   gq_tok_refuse(gq_error *err, const char *where, const char *what, const char *want);
/* The list of added tokens; `sides`: those that take the spaces beside them are read as well. */
gq_status gq_tok_add_added(gq_tokenizer *t, const json_t *added, bool sides, gq_error *err);
/* Fills a new tokenizer from a vocabulary object {"symbol": id}. */
gq_status gq_tok_add_vocab(gq_tokenizer *t, json_t *vocab, gq_error *err);
/* A whole file; every failure but missing memory and I/O is GQ_EWEIGHTS. */
gq_status gq_tok_read(const char *path, bool gz, size_t limit, gq_bytes *out, gq_error *err);

/* ---- tok_split.c: where pieces end ----------------------------------------------------------- */

size_t    gq_tok_piece_gpt2(const char *s, size_t n);        /* bytes of the piece at s; n > 0    */
/* The same for cleaned CLIP text; *skip bytes of whitespace come first; 0: no piece is left. */
size_t    gq_tok_piece_clip(const char *s, size_t n, size_t *skip);
/* The word or mark at s in cleaned text, after *skip bytes of whitespace; 0: none is left. */
size_t    gq_tok_piece_words(const char *s, size_t n, size_t *skip);
bool      gq_tok_is_mark(char c);                        /* . , ? ! stand alone in the words kind */
/* NFC and lower case; *out: gq_free(). */
gq_status gq_tok_clean(const char *s, size_t n, char **out, size_t *out_len, gq_error *err);

/* ---- tok_bpe.c: from a piece to ids ---------------------------------------------------------- */

typedef struct tok_sink {               /* where ids go                                           */
    int32_t *ids;                       /* [cap]                                                  */
    size_t   cap;
    size_t   n;                         /* ids so far, also those beyond cap                      */
    size_t   limit;                     /* enough: encoding may stop here                         */
} tok_sink;

typedef struct tok_scratch {            /* for pieces too long for the stack; zero it first       */
    void   *memory;                     /* gq_free() at the end                                   */
    size_t  room;                       /* symbols it is made for                                 */
} tok_scratch;

static inline void tok_emit(tok_sink *sink, int32_t id)
{
    if (sink->n < sink->cap)
        sink->ids[sink->n] = id;
    sink->n++;
}

gq_status gq_tok_bpe(const gq_tokenizer *t, const char *piece, size_t len, tok_scratch *scratch,
                     tok_sink *sink, gq_error *err);

#endif
