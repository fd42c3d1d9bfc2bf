/* json.h - a strict pull reader for JSON from strangers, and quoting for JSON we write.
 *
 * Invariants: nothing is allocated and nothing is built: the caller says what it expects and gets
 * it or an error. Errors are sticky: after the first one every call returns false, so straight-line
 * code may check at the end. The text must be RFC 8259 JSON to the byte: no comments, no trailing
 * commas, valid UTF-8, no NUL in strings, integers exact to 64 bits. Nesting is limited to
 * GQ_JSON_DEPTH. Error texts name the file and the byte.
 *
 *   gq_json_object(&j);
 *   while (gq_json_key(&j, key, sizeof key))
 *       if (!strcmp(key, "size")) gq_json_u64(&j, &size);
 *       else                      gq_json_skip(&j);
 *   return gq_json_end(&j);
 */
#ifndef GIFQA_CORE_JSON_H
#define GIFQA_CORE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

enum { GQ_JSON_DEPTH = 64 };

typedef struct gq_json {
    const char *text, *at, *end;        /* borrowed; need not end in NUL                          */
    const char *file;                   /* borrowed, for error texts                              */
    const char *within;          /* borrowed, "tensor 'x'", put before error texts; NULL: nothing */
    gq_error   *err;                    /* borrowed, may be NULL                                  */
    gq_status   code;               /* what a fault of the text counts as: GQ_EINPUT, GQ_EWEIGHTS */
    gq_status   failed;                 /* first failure; GQ_OK before it                         */
    int         depth;                  /* open objects and arrays                                */
    bool        first;                  /* nothing read yet in the innermost one                  */
} gq_json;

void gq_json_begin(gq_json *j, const char *file, const void *text, size_t bytes, gq_status code,
                   gq_error *err);
bool gq_json_object(gq_json *j);                             /* expects '{'                       */
bool gq_json_key(gq_json *j, char *key, size_t room);       /* false at '}' (taken) and on errors */
bool gq_json_array(gq_json *j);                              /* expects '['                       */
bool gq_json_item(gq_json *j);                              /* false at ']' (taken) and on errors */
bool gq_json_string(gq_json *j, char *out, size_t room);   /* decoded, NUL added; too long: error */
bool gq_json_u64(gq_json *j, uint64_t *out);                 /* a non-negative integer            */
bool gq_json_double(gq_json *j, double *out);                /* any number                        */
bool gq_json_bool(gq_json *j, bool *out);                    /* true or false                     */
bool gq_json_null(gq_json *j);                     /* takes a null; false: something else is next */
bool gq_json_skip(gq_json *j);                               /* any value                         */
gq_status gq_json_end(gq_json *j);                           /* only white space may be left      */
/* Records "<file>: byte <n>: [<within>: ]<text>" unless something failed before; returns false. */
bool gq_json_fail(gq_json *j, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Writes `text` (valid UTF-8) as a JSON string with its quotes; returns the bytes needed without
 * the NUL, as snprintf does. out may be NULL when room is 0. */
size_t gq_json_quote(const char *text, char *out, size_t room);

#endif
