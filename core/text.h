/* text.h - small functions over text: nearest spelling, and text from strangers made safe to show.
 *
 * Invariants: no allocation, no locale. Bytes are UTF-8 where they are valid UTF-8 and are shown
 * escaped where not.
 */
#ifndef GIFQA_CORE_TEXT_H
#define GIFQA_CORE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GQ_WORD_MAX = 64 };              /* longer words are far from everything                   */

/* Insertions, deletions, replacements and swaps of neighbours between two words; SIZE_MAX beyond
 * GQ_WORD_MAX bytes. */
size_t gq_edit_distance(const char *a, const char *b);

/* Is `b` close enough to `a` to be what was meant, at this distance? (a third of the word, at least
 * one edit) */
bool   gq_edit_close(const char *a, size_t distance);

/* Copies `bytes` bytes of text so that a terminal or log shows them and nothing else happens:
 * control characters, DEL, C1 controls, bidirectional overrides and invalid UTF-8 become \xNN; what
 * does not fit ends in "...". out_size >= 8. Returns out. */
char  *gq_printable(const char *text, size_t bytes, char *out, size_t out_size);

/* Bytes of the valid UTF-8 character at p (1 to 4), or 0 when there is none; *code its code point.
 */
size_t gq_utf8_next(const char *p, size_t bytes, uint32_t *code);

#endif
