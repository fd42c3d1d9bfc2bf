/* status.h - result codes and error text, used by every room.
 *
 * Invariants: a function that can fail returns gq_status: GQ_OK (0) or a negative code. The code
 * says which family the failure belongs to and, through gq_exit_code(), with what a program ends.
 * The text says what was found, where (file, line, column, tensor, key) and what to do about it.
 * The first failure stays: gq_fail() never overwrites a text that is already there, so the deepest
 * and most precise message wins; gq_context() puts "where" in front of it on the way out.
 *
 * Library code never prints, exits, aborts on input, or reads the environment.
 */
#ifndef GIFQA_CORE_STATUS_H
#define GIFQA_CORE_STATUS_H

#include <stdarg.h>
#include <stddef.h>

/*   name          exit   meaning                                                                 */
#define GQ_STATUS_LIST(X) \
 X(GQ_EBUG,        -1, 1, "internal error")                                                        \
 X(GQ_EUSAGE,      -2, 2, "wrong usage")                                                           \
 X(GQ_ECONFIG,     -3, 3, "wrong configuration")                                                   \
 X(GQ_EINPUT,      -4, 4, "bad input data")                                                        \
 X(GQ_EWEIGHTS,    -5, 5, "bad or missing weights or checkpoint")                                  \
 X(GQ_ENOMEM,      -6, 6, "out of memory")                                                         \
 X(GQ_EDISK,       -7, 6, "disk full or I/O error")                                                \
 X(GQ_ENUMERIC,    -8, 7, "numbers failed")                                                        \
 X(GQ_ERANK,       -9, 8, "a rank died")                                                           \
 X(GQ_EBUSY,      -10, 9, "directory in use")                                                      \
 X(GQ_ESTOPPED,   -11, 75, "stopped on request, state saved")

typedef enum gq_status {
    GQ_OK = 0,
#define GQ_STATUS_ENUM(name, value, code, text) name = value,
    GQ_STATUS_LIST(GQ_STATUS_ENUM)
#undef GQ_STATUS_ENUM
} gq_status;

typedef struct gq_error {
    gq_status code;                     /* GQ_OK while nothing failed                             */
    char      text[1024];               /* one or more lines, no newline at the end               */
} gq_error;

/* Records a failure in *err (err may be NULL) unless one is there already; returns `code` always,
 * so that callers write `return gq_fail(err, GQ_EINPUT, ...)`. */
gq_status gq_fail(gq_error *err, gq_status code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
gq_status gq_vfail(gq_error *err, gq_status code, const char *fmt, va_list ap);

/* Puts "<prefix>: " in front of the recorded text; returns the recorded code. */
gq_status gq_context(gq_error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

void        gq_error_clear(gq_error *err);
const char *gq_status_text(gq_status code);        /* "bad input data"                            */
int         gq_exit_code(gq_status code);          /* the process exit code of design section 4   */

#endif
