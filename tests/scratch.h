/* scratch.h - a directory for the files of a test program, from scratch_begin to scratch_end: the
 * setup and teardown of its group. */
#ifndef GIFQA_TESTS_SCRATCH_H
#define GIFQA_TESTS_SCRATCH_H

#include "core/io.h"
#include "support.h"

static inline char *scratch_dir(void)
{
    static char dir[64];
    return dir;
}

static inline int scratch_begin(void **state)
{
    (void)state;
    snprintf(scratch_dir(), 64, "%s", gq_scratch());
    return 0;
}

static inline int scratch_end(void **state)
{
    (void)state;
    return gq_remove_tree(scratch_dir(), NULL) == GQ_OK ? 0 : -1;
}

/* Path of a file there; static, 64 in rotation. */
static inline const char *scratch(const char *name)
{
    static char path[64][256];
    static int  next;
    char       *p = path[next++ & 63];
    snprintf(p, sizeof path[0], "%s/%s", scratch_dir(), name);
    return p;
}

/* Writes it; its path. */
static inline const char *scratch_put(const char *name, const void *data, size_t n)
{
    const char *path = scratch(name);
    gq_error    err = {0};
    assert_ok(gq_write_file(path, data, n, &err), &err);
    return path;
}

#endif
