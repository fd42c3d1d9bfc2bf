#include "core/mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

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

/* What is mapped for a request: whole pages, and whole huge pages for large ones. */
enum { PAGE = 4096, HUGE_PAGE = 2 << 20 };

static bool mapped_size(size_t bytes, size_t *out)
{
    size_t unit = bytes >= HUGE_PAGE ? HUGE_PAGE : PAGE;
    if (!gq_add_size(bytes ? bytes : 1, unit - 1, out))
        return false;
    *out = *out / unit * unit;
    return true;
}

void *gq_pages(size_t bytes)
{
    size_t size, slack;
    if (refused() || !mapped_size(bytes, &size))
        return NULL;
    slack = size >= HUGE_PAGE ? HUGE_PAGE : 0;
    char *p = size > SIZE_MAX - slack ? MAP_FAILED
                                      : mmap(NULL, size + slack, PROT_READ | PROT_WRITE,
                                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    if (slack) {                        /* what is left of the slack goes back on either side     */
        size_t before = (size_t)(-(uintptr_t)p % HUGE_PAGE);
        if (before)
            (void)munmap(p, before);
        if (slack - before)
            (void)munmap(p + before + size, slack - before);
        p += before;
        (void)madvise(p, size, MADV_HUGEPAGE);                  /* advice: without it, small pages */
    }
    return p;
}

void gq_pages_free(void *p, size_t bytes)
{
    size_t size;
    if (p && mapped_size(bytes, &size))
        (void)munmap(p, size);
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
