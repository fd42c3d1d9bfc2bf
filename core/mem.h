/* mem.h - the allocator seam. Every heap allocation of the library goes through here.
 *
 * Invariants: sizes are products checked for overflow (count * size); a NULL result always means
 * "no memory", never "zero bytes" (zero-byte requests give a valid pointer). gq_mem_count() counts
 * calls that may allocate, which is how "no allocation after step 1" is asserted. Memory from here
 * is released with gq_free(), that of gq_pages() with gq_pages_free().
 *
 * Fault injection: gq_mem_fail_at(n, persistent) makes the n-th allocation from now (1 = the next)
 * return NULL, and all later ones too when `persistent`; n = 0 switches it off. For tests.
 */
#ifndef GIFQA_CORE_MEM_H
#define GIFQA_CORE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *gq_malloc(size_t count, size_t size);                  /* uninitialised                     */
void *gq_calloc(size_t count, size_t size);                  /* zeroed                            */
void *gq_realloc(void *p, size_t count, size_t size);    /* p stays valid when the result is NULL */
void *gq_aligned(size_t alignment, size_t bytes);          /* alignment: power of two; for arenas */
/* Zero-filled pages straight from the system, huge ones where it has them, for the large arrays of a run:
 * what is never touched costs nothing, and whoever touches first (all threads at once) pays. Released with the same size. */
void *gq_pages(size_t bytes);
void  gq_pages_free(void *p, size_t bytes);                  /* NULL is allowed                   */
char *gq_strdup(const char *s);
char *gq_strndup(const char *s, size_t n);
void  gq_free(void *p);                                      /* NULL is allowed                   */

/* a * b into *out; false on overflow. For every size that comes from a file. */
static inline bool gq_mul_size(size_t a, size_t b, size_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool gq_add_size(size_t a, size_t b, size_t *out) { return !__builtin_add_overflow(a, b, out); }

uint64_t gq_mem_count(void);                              /* allocating calls since program start */
void     gq_mem_fail_at(uint64_t n, bool persistent);

#endif
