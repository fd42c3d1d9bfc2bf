/* replay.c - the driver of a fuzz target in an ordinary build: every input of its corpus, and every
 * input damaged in a few places that are always the same.
 *
 *   build/dev/tests/test_fuzz_gif           the tests
 *   build/dev/tests/test_fuzz_gif FILE...   these inputs, to reproduce a finding
 */
#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>

#include "fuzz.h"
#include "support.h"

#include "core/io.h"
#include "core/mem.h"

enum { CUTS = 8, FLIPS = 24 };

static char what[1200];                 /* the input that runs now                                */

static void on_abort(int sig)
{
    (void)!write(STDERR_FILENO, "\nwith the input ", 16);
    (void)!write(STDERR_FILENO, what, strlen(what));
    (void)!write(STDERR_FILENO, "\n", 1);
    signal(sig, SIG_DFL);
    raise(sig);
}

/* In a block of exactly its size, so that AddressSanitizer sees the first byte read behind it. */
static void feed(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void as_it_is(const gq_bytes *in) { feed(in->data, in->size); }

static void damaged(const gq_bytes *in)
{
    uint32_t noise = 1;
    size_t   named = strlen(what);
    for (size_t k = 0; k < CUTS && in->size; k++) {
        snprintf(what + named, sizeof what - named, " cut to %zu bytes", in->size * k / CUTS);
        feed(in->data, in->size * k / CUTS);
    }
    for (int k = 0; k < FLIPS && in->size; k++) {
        noise = noise * 1664525 + 1013904223;
        size_t  at = (noise >> 3) % in->size;
        uint8_t bit = (uint8_t)(1u << (noise >> 29)), *byte = &in->data[at];
        snprintf(what + named, sizeof what - named, " with bit 0x%02x of byte %zu turned", bit, at);
        *byte ^= bit;
        feed(in->data, in->size);
        *byte ^= bit;
    }
}

static void each_input(void (*run)(const gq_bytes *in))
{
    static const char corpus[] = GQ_SOURCE_DIR "/tests/fuzz/corpus/" FZ_NAME;
    char            **name;
    size_t            n, ran = 0;
    gq_error          err = {0};

    assert_ok(gq_list_dir(corpus, &name, &n, &err), &err);
    for (size_t i = 0; i < n; i++) {
        gq_bytes in;
        snprintf(what, sizeof what, "%s/%s", corpus, name[i]);
        assert_ok(gq_read_file(what, 1 << 20, &in, &err), &err);
        run(&in);
        gq_bytes_free(&in);
        gq_free(name[i]);
        ran++;
    }
    gq_free(name);
    assert_true(ran > 0);
}

static void corpus(void **state)
{
    (void)state;
    each_input(as_it_is);
}

static void corpus_damaged(void **state)
{
    (void)state;
    each_input(damaged);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(corpus), cmocka_unit_test(corpus_damaged)};
    signal(SIGABRT, on_abort);
    for (int i = 1; i < argc; i++) {
        gq_bytes in;
        gq_error err = {0};
        snprintf(what, sizeof what, "%s", argv[i]);
        if (gq_read_file(argv[i], 64 << 20, &in, &err) != GQ_OK)
            return fprintf(stderr, "%s\n", err.text), 2;
        as_it_is(&in);
        gq_bytes_free(&in);
    }
    return argc > 1 ? 0 : cmocka_run_group_tests_name("fuzz/" FZ_NAME, tests, NULL, NULL);
}
