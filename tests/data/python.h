/* python.h - an independent reader of shards, where there is one: Python with h5py. */
#ifndef GIFQA_TESTS_DATA_PYTHON_H
#define GIFQA_TESTS_DATA_PYTHON_H

#include "support.h"

/* $GIFQA_PYTHON or python3, when it has h5py. */
static inline const char *python_with_h5py(void)
{
    static char command[512];
    const char *python = getenv("GIFQA_PYTHON");
    snprintf(command, sizeof command, "%s -c 'import h5py' 2>/dev/null",
             python ? python : "python3");
    if (system(command) != 0)
        return NULL;
    return python ? python : "python3";
}

/* In a test: skips it when there is none. */
#define need_h5py()                                                                                \
    __extension__({                                                                                \
        const char *p_ = python_with_h5py();                                                       \
        if (!p_) {                                                                                 \
            print_message("skipped: no Python with h5py (set GIFQA_PYTHON)\n");                    \
            skip();                                                                                \
        }                                                                                          \
        p_;                                                                                        \
    })

/* What tests/reference/shard.py prints of the first shard of a directory; pclose() it. */
static inline FILE *read_with_h5py(const char *python, const char *dir)
{
    char command[1024];
    snprintf(command, sizeof command,
             "PYTHONIOENCODING=utf-8 LD_PRELOAD= %s %s/tests/reference/shard.py %s/shard-00000.h5",
             python, GQ_SOURCE_DIR, dir);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    return f;
}

static inline void expect_line(FILE *f, const char *want)
{
    char got[512];
    assert_non_null(fgets(got, sizeof got, f));
    got[strcspn(got, "\n")] = 0;
    assert_string_equal(got, want);
}

#endif
