/* fuzz_tagger.c - any bytes as a tagger: as they are, and with the checksum that would be right.
 * What is read tags any words and is written as the same bytes. */
#include "fuzz.h"

#include "core/io.h"
#include "data/qagen/tagger.h"

enum { DIGEST = 16, WORDS = 6 };

static void check_tagger(const gq_tagger *t, const uint8_t *data, size_t size)
{
    static const char *const word[WORDS] = {"a", "Cat", "is", "running", "", "\xFF-3"};
    uint8_t                  tag[WORDS];
    gq_bytes                 back;
    gq_error                 err = {0};
    for (size_t n = 0; n <= WORDS; n++)
        gq_tagger_run(t, word, n, tag);
    for (int k = 0; k < WORDS; k++)
        must(tag[k] < gq_tagger_tags(t) && *gq_tagger_name(t, tag[k]), "tag %d", tag[k]);
    must(gq_tagger_save(t, fz_path("t.tagger"), &err) == GQ_OK, "%s", err.text);
    must(gq_read_file(fz_path("t.tagger"), 1 << 26, &back, &err) == GQ_OK, "%s", err.text);
    must(back.size == size && !memcmp(back.data, data, size), "%zu bytes of %zu", back.size, size);
    gq_bytes_free(&back);
}

static void check_bytes(const uint8_t *data, size_t size)
{
    gq_tagger *t = NULL;
    gq_error   err = {0};
    gq_status  s = gq_tagger_read(data, size, "input", &t, &err);
    if (s != GQ_OK) {
        fz_refused(s, &err, GQ_EWEIGHTS);
        must(!t, "a tagger was left");
        return;
    }
    check_tagger(t, data, size);
    gq_tagger_free(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_bytes(data, size);
    if (size < DIGEST)
        return 0;
    uint8_t *copy = malloc(size);
    must(copy, "memory");
    memcpy(copy, data, size);
    gq_xxh128(copy, size - DIGEST, copy + size - DIGEST);
    check_bytes(copy, size);
    free(copy);
    return 0;
}
