/* names.h - many texts in one block of memory, and a set of texts, each with a number.
 *
 * Open addressing over one block of text; grows by doubling. Numbers start at 0 and are the
 * caller's. Pointers to numbers hold until the next gq_names_add(). The texts are copied.
 */
#ifndef GIFQA_DATA_NAMES_H
#define GIFQA_DATA_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct gq_texts {               /* one text behind the other, each with its NUL           */
    char  *base;                        /* gq_free()                                              */
    size_t size, room;                  /* bytes                                                  */
} gq_texts;

/* A copy of `text` at base + *at, from now on; base may move. False: no memory, nothing changed. */
bool gq_texts_put(gq_texts *t, const char *text, size_t *at);

typedef struct gq_names gq_names;

gq_names *gq_names_new(void);                                /* NULL: no memory                   */
void      gq_names_free(gq_names *n);                        /* NULL allowed                      */
/* The number of `text`, which is in the set from now on; NULL: no memory, the set is as it was. */
uint32_t *gq_names_add(gq_names *n, const char *text);
const uint32_t *gq_names_find(const gq_names *n, const char *text);          /* NULL: not in it   */

#endif
