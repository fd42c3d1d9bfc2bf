/* chunk.h - a caption read: words, repaired tags, flat chunks.
 *
 *   [a man NP] [in P] [a black hat NP] [is putting V] [his hand NP] [into P] [his pocket NP] .
 *
 * The tagger's tags become a small set of our own (gq_pos), and rules of the domain repair what
 * newspapers and mails teach wrongly about captions: "is X-ing" is a verb, "red" before a noun an
 * adjective, "and sings" a verb; "two man" is read as two men. A chunk is a run of words; words in
 * no chunk are chunks of kind GQ_CHUNK_O. Chunks cover the caption without gaps.
 *
 * Invariants: nothing here allocates; a caption is a value (some kilobytes) that must not move, its
 * words point into it.
 */
#ifndef GIFQA_DATA_QAGEN_CHUNK_H
#define GIFQA_DATA_QAGEN_CHUNK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/qagen/tagger.h"
#include "data/qagen/words.h"

/*   name   tags of the treebank                                                                  */
#define GQ_POS_LIST(X)                                                                             \
 X(DT,   "DT") X(PDT, "PDT") X(CD, "CD") X(JJ, "JJ") X(JJR, "JJR") X(JJS, "JJS") X(NN, "NN")       \
 X(NNS,  "NNS") X(PRP, "PRP") X(PRPS, "PRP$") X(POSS, "POS") X(EX, "EX") X(IN, "IN") X(TO, "TO")   \
 X(RP,   "RP") X(RB, "RB") X(RBR, "RBR") X(VB, "VB") X(VBD, "VBD") X(VBG, "VBG") X(VBN, "VBN")     \
 X(VBP,  "VBP") X(VBZ, "VBZ") X(MD, "MD") X(CC, "CC") X(WDT, "WDT") X(WP, "WP") X(WRB, "WRB")      \
 X(COMMA, ",") X(STOP, ".") X(HYPH, "HYPH") X(OTHER, "?")

typedef enum gq_pos {
#define GQ_POS_ENUM(name, tag) GQ_POS_##name,
    GQ_POS_LIST(GQ_POS_ENUM)
#undef GQ_POS_ENUM
    GQ_POS_COUNT
} gq_pos;

typedef enum gq_chunk_kind {
    GQ_CHUNK_NP,                        /* determiner to noun, with possessors; or a pronoun      */
    GQ_CHUNK_V,                         /* auxiliaries, adverbs between them, one verb, particle  */
    GQ_CHUNK_P,                         /* a preposition, perhaps of several words                */
    GQ_CHUNK_O,                         /* one word of anything else                              */
} gq_chunk_kind;

typedef struct gq_chunk {
    gq_chunk_kind kind;
    uint8_t       from, to;             /* words [from, to)                                       */
    uint8_t       head;                 /* the noun, the verb itself, the first word              */
} gq_chunk;

typedef struct gq_caption {
    gq_words words;
    gq_pos   pos[GQ_WORDS];
    bool     repaired[GQ_WORDS];        /* the tagger said something else                         */
    size_t   chunks;
    gq_chunk chunk[GQ_WORDS];
} gq_caption;

typedef struct gq_chunker {             /* a tagger and what its tags mean here                   */
    const gq_tagger *tagger;
    gq_pos           pos[GQ_TAGS];
} gq_chunker;

void gq_chunker_begin(gq_chunker *c, const gq_tagger *tagger);
/* False: the caption is too long (GQ_WORDS) or has no words. */
bool gq_chunker_read(const gq_chunker *c, const char *text, gq_caption *out);

const char *gq_pos_name(gq_pos p);
const char *gq_chunk_name(gq_chunk_kind k);
/* Words [from, to) with spaces, marks close to the word before, into out; false: no room. */
bool gq_caption_text(const gq_caption *c, size_t from, size_t to, char *out, size_t room);

#endif
