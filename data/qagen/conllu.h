/* conllu.h - treebanks in CoNLL-U: sentences of words with their tags.
 *
 * A file is lines of ten columns between tabs, an empty line behind each sentence, comments (#) in
 * front of it. Multiword tokens (3-4) and empty nodes (3.1) are checked and skipped: words are the
 * lines with plain numbers. Read are ID, FORM, UPOS and XPOS. UTF-8, LF or CRLF, also gzip.
 *
 * Invariants: what breaks the format is GQ_EINPUT with file, line and reason; the last sentence may
 * lack its empty line. A treebank owns the text that its words point into.
 */
#ifndef GIFQA_DATA_QAGEN_CONLLU_H
#define GIFQA_DATA_QAGEN_CONLLU_H

#include <stddef.h>
#include <stdint.h>

#include "core/io.h"
#include "core/status.h"

enum {
    GQ_CONLLU_WORDS = 1024,             /* words of one sentence                                  */
    GQ_CONLLU_FORM  = 1023,             /* bytes of a word or a tag                               */
};

typedef struct gq_conllu_word {
    const char *form, *upos, *xpos;     /* "_": not given                                         */
    uint64_t    line;                   /* 1-based                                                */
} gq_conllu_word;

typedef struct gq_treebank {
    gq_conllu_word *word;               /* [words]                                                */
    size_t         *first;              /* [sentences + 1] index into word                        */
    size_t          words, sentences;
    gq_bytes        bytes;              /* the file                                               */
} gq_treebank;

gq_status gq_conllu_read(const char *path, gq_treebank *out, gq_error *err);
void      gq_treebank_free(gq_treebank *t);                  /* also of one that was not read     */

#endif
