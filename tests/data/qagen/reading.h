/* reading.h - a chunker over the tagger that came with gifqa, for tests that read captions: their
 * main() runs the group between read_begin and read_end, those that write files too between
 * read_scratch_begin and read_scratch_end; tests that need a caption begin with need_reader(). */
#ifndef GIFQA_TESTS_DATA_QAGEN_READING_H
#define GIFQA_TESTS_DATA_QAGEN_READING_H

#include "scratch.h"

#include "data/qagen/chunk.h"
#include "data/qagen/wordnet.h"

typedef struct reading {
    gq_tagger *tagger;                  /* NULL: this build has no WordNet                        */
    gq_chunker chunker;
} reading;

static inline reading *the_reader(void)
{
    static reading r;
    return &r;
}

static inline int read_begin(void **state)
{
    (void)state;
    gq_error err = {0};
    reading *r = the_reader();
    if (gq_wordnet_present()) {
        assert_ok(gq_tagger_load(GQ_SOURCE_DIR "/data/qagen/english/english.tagger", &r->tagger,
                                 &err), &err);
        gq_chunker_begin(&r->chunker, r->tagger);
    }
    return 0;
}

static inline int read_end(void **state)
{
    (void)state;
    gq_tagger_free(the_reader()->tagger);
    return 0;
}

static inline int read_scratch_begin(void **state)
{
    return scratch_begin(state) || read_begin(state);
}

static inline int read_scratch_end(void **state)
{
    return scratch_end(state) || read_end(state);
}

static inline void need_reader(void)
{
    if (!the_reader()->tagger)
        skip();
}

/* Into *c, which must not move. */
static inline const gq_caption *read_words(const char *text, gq_caption *c)
{
    assert_true(gq_chunker_read(&the_reader()->chunker, text, c));
    return c;
}

#endif
