/* fuzz.h - what the fuzz targets share.
 *
 * A target is one file fuzz_<name>.c with LLVMFuzzerTestOneInput(). It states properties with
 * must(), not only the absence of crashes. The same file is built twice: with clang it becomes a
 * libFuzzer program (tests/fuzz/run), with any compiler a test that replays the inputs in
 * tests/fuzz/corpus/<name> (replay.c). Targets keep no state between inputs but what they build
 * once from nothing, so that an input reproduces by itself.
 */
#ifndef GIFQA_TESTS_FUZZ_H
#define GIFQA_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/status.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A property of the product: says what does not hold, and where, and aborts. */
#define must(holds, ...)                                                                           \
    do {                                                                                           \
        if (!(holds))                                                                              \
            fz_fail(__FILE__, __LINE__, #holds, __VA_ARGS__);                                      \
    } while (0)
_Noreturn void fz_fail(const char *file, int line, const char *what, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* What every refusal owes its reader: a code of its family, and a text. */
void fz_refused(gq_status s, const gq_error *err, gq_status want);

/* A directory of this process, in memory where /dev/shm is there; removed at exit. */
const char *fz_dir(void);
/* Path of `name` in it; static buffers, four in rotation. */
const char *fz_path(const char *name);
/* Writes a file in it, plainly (core/io.h would sync it and read it back each time). */
const char *fz_put(const char *name, const void *data, size_t size);
/* $GIFQA_SHARED/<name> (default: ../shared beside the project), NULL when it is not there. */
const char *fz_shared(const char *name);

#endif
