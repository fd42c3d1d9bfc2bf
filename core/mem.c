#include "core/mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static _Atomic uint64_t calls;          /* allocating calls so far                                */
static _Atomic uint64_t fail_at;        /* value of `calls` that fails; 0: none                   */
static _Atomic bool     fail_persistent;

static bool refused(void)
{
    uint64_t n = atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed) + 1;
    uint64_t f = atomic_load_explicit(&fail_at, memory_order_relaxed);
    return f && (n == f || (n > f && atomic_load_explicit(&fail_persistent, memory_order_relaxed)));
}

void *gq_malloc(size_t count, size_t size)
{
    size_t bytes;
    if (refused() || !gq_mul_size(count, size, &bytes))
        return NULL;
    return malloc(bytes ? bytes : 1);
}

void *gq_calloc(size_t count, size_t size)
{
    size_t bytes;
    if (refused() || !gq_mul_size(count, size, &bytes))
        return NULL;
    return calloc(bytes ? bytes : 1, 1);
}

void *gq_realloc(void *p, size_t count, size_t size)
{
    size_t bytes;
    if (refused() || !gq_mul_size(count, size, &bytes))
        return NULL;
    return realloc(p, bytes ? bytes : 1);
}

void *gq_aligned(size_t alignment, size_t bytes)
{
    void *p = NULL;
    if (refused() || posix_memalign(&p, alignment, bytes ? bytes : 1) != 0)
        return NULL;
    return p;
}

char *gq_strdup(const char *s)
{
    return gq_strndup(s, strlen(s));
}

char *gq_strndup(const char *s, size_t n)
{
    size_t len = strnlen(s, n);
    char  *copy = gq_malloc(len + 1, 1);
    if (copy) {
        memcpy(copy, s, len);
        copy[len] = '\0';
    }
    return copy;
}

void gq_free(void *p)
{
    free(p);
}

uint64_t gq_mem_count(void)
{
    return atomic_load_explicit(&calls, memory_order_relaxed);
}

void gq_mem_fail_at(uint64_t n, bool persistent)
{
    atomic_store(&fail_persistent, persistent);
    atomic_store(&fail_at, n ? atomic_load(&calls) + n : 0);
}
