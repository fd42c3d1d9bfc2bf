/* unicode.h - UTF-8 and the few Unicode facts that text handling needs (tables: libutf8proc).
 *
 * Invariants: text is bytes with a length; it need not be valid UTF-8 and may hold NULs. Nothing
 * here keeps state. An ill-formed sequence is cut into maximal subparts (Unicode 3.9, what Python's
 * errors="replace" does), so every byte string has exactly one reading. Functions that return
 * memory give it to the caller: gq_free(). Characters younger than the installed utf8proc (2.8:
 * Unicode 15.0) count as unassigned: neither letter nor number, no case.
 */
#ifndef GIFQA_DATA_UNICODE_H
#define GIFQA_DATA_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

#define GQ_UTF8_BAD         UINT32_MAX  /* gq_utf8_read(): these bytes are no character           */
#define GQ_UTF8_REPLACEMENT 0xFFFDu

/* Reads one character at s (n > 0 bytes are there): its code point or GQ_UTF8_BAD in *cp; returns
 * the bytes taken, 1..4. */
size_t gq_utf8_read(const char *s, size_t n, uint32_t *cp);
/* Writes one code point (a scalar value); returns the bytes written, 1..4. */
size_t gq_utf8_put(uint32_t cp, char out[4]);
bool   gq_utf8_valid(const char *s, size_t n);
/* A copy with every ill-formed part as one U+FFFD, NUL at the end. *out_len without that NUL; may
 * be NULL. */
gq_status gq_utf8_repair(const char *s, size_t n, char **out, size_t *out_len, gq_error *err);

bool gq_is_letter(uint32_t cp);         /* general category L*                                    */
bool gq_is_number(uint32_t cp);         /* general category N* (Nd, Nl, No)                       */
bool gq_is_space(uint32_t cp);          /* property White_Space                                   */

/* Lower case without context (no final sigma): 1 or 2 code points. U+0130 is the one character that
 * gives two. */
unsigned gq_lower(uint32_t cp, uint32_t out[2]);

/* The canonical composition (NFC) of the text as code points; ill-formed parts are U+FFFD. Linear
 * in the text even where combining marks never end. */
gq_status gq_text_nfc(const char *s, size_t n, uint32_t **out, size_t *out_n, gq_error *err);

#endif
