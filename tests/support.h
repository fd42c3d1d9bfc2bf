/* support.h - what every test program shares: cmocka, places, and comparisons that print both values.
 *
 * Test material that may not be committed lives in $GIFQA_SHARED (default: ../shared beside the project);
 * gq_shared() gives the path of something there, and tests that need it skip with a message when it is absent.
 */
#ifndef GIFQA_TESTS_SUPPORT_H
#define GIFQA_TESTS_SUPPORT_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/status.h"

/* Path of shared test material ("data/gif/good"), or NULL with a message when it is not here. Static buffers,
 * four in rotation. */
static inline const char *gq_shared(const char *name)
{
    static char paths[4][1024];
    static int  next;
    char       *path = paths[next++ & 3];
    const char *root = getenv("GIFQA_SHARED");
    snprintf(path, sizeof paths[0], "%s/%s", root ? root : GQ_SOURCE_DIR "/../shared", name);
    if (access(path, R_OK) == 0)
        return path;
    print_message("skipped: %s is absent (test material that is not part of the project)\n", path);
    return NULL;
}

/* In a test: `const char *dir = need_shared("data/gif/good");` - skips the test when it is absent. */
#define need_shared(name) __extension__({ const char *p_ = gq_shared(name); if (!p_) skip(); p_; })

/* A fresh directory for this process, "/tmp/gifqa-test-<pid>-<n>"; remove it with gq_remove_tree(). */
static inline const char *gq_scratch(void)
{
    static char path[64];
    const char *tmp = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/gifqa-test-XXXXXX", tmp && strlen(tmp) < 40 ? tmp : "/tmp");
    assert_non_null(mkdtemp(path));
    return path;
}

#define assert_ok(call, err)                                                                       \
    do {                                                                                           \
        if ((call) != GQ_OK)                                                                       \
            fail_msg("%s: %s", #call, (err)->text);                                                \
    } while (0)
#define assert_fails(call, want, err, needle)                                                      \
    do {                                                                                           \
        (err)->code = GQ_OK;                                                                       \
        (err)->text[0] = 0;                                                                        \
        gq_status got_ = (call);                                                                   \
        if (got_ != (want))                                                                        \
            fail_msg("%s: got %d (%s), want %d", #call, (int)got_, (err)->text, (int)(want));      \
        if (!strstr((err)->text, needle))                                                          \
            fail_msg("%s: '%s' is not in '%s'", #call, needle, (err)->text);                       \
    } while (0)

#endif
