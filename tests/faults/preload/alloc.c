/* Preloaded into a program: its n-th allocation fails, see alloc.h.
 *
 * The real allocator is AddressSanitizer's where there is one, else libc's; asking dlsym() for it
 * would allocate. Calls before the map is there, and those of libc, the loader and the sanitizers
 * for themselves, always pass: none of them could tell its caller. So do those of libhdf5 1.10,
 * which writes through a null pointer when there is no memory for its own stack of errors.
 */
#include "alloc.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void *__interceptor_malloc(size_t) __attribute__((weak));
void *__interceptor_calloc(size_t, size_t) __attribute__((weak));
void *__interceptor_realloc(void *, size_t) __attribute__((weak));
int   __interceptor_posix_memalign(void **, size_t, size_t) __attribute__((weak));
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

enum { MOST = 256 };

static struct alloc_rig *rig;
static struct range {
    uintptr_t from, to;
    char      name[64];
    bool      own, exempt;
} range[MOST];
static int ranges;

static const char *const exempt[] = {"libc.", "ld-", "libasan", "libubsan", "libhdf5"};

static int note_object(struct dl_phdr_info *info, size_t size, void *context)
{
    const char *base = strrchr(info->dlpi_name, '/');
    (void)size;
    (void)context;
    base = base ? base + 1 : info->dlpi_name;
    for (int k = 0; k < info->dlpi_phnum && ranges < MOST; k++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[k];
        if (p->p_type != PT_LOAD || !(p->p_flags & PF_X))
            continue;
        struct range *r = &range[ranges++];
        r->from = info->dlpi_addr + p->p_vaddr;
        r->to = r->from + p->p_memsz;
        r->own = !*base;                                     /* the program has no name */
        for (size_t i = 0; i < sizeof exempt / sizeof *exempt; i++)
            r->exempt |= !strncmp(base, exempt[i], strlen(exempt[i]));
        strncpy(r->name, *base ? base : "the program", sizeof r->name - 1);
    }
    return 0;
}

__attribute__((constructor)) static void connect_rig(void)
{
    const char *path = getenv("GIFQA_ALLOC_RIG");
    int         fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    dl_iterate_phdr(note_object, NULL);
    void *p = mmap(NULL, sizeof *rig, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    rig = p == MAP_FAILED ? NULL : p;
}

/* Whether the call that returns to `caller` is to fail. */
static bool refused(const void *caller)
{
    const struct range *r = NULL;
    if (!rig)
        return false;
    for (int k = 0; k < ranges && !r; k++)
        if ((uintptr_t)caller >= range[k].from && (uintptr_t)caller < range[k].to)
            r = &range[k];
    if (!r || r->exempt || (rig->who == ALLOC_OWN && !r->own))
        return false;
    uint64_t n = __atomic_add_fetch(&rig->count, 1, __ATOMIC_RELAXED);
    if (!rig->at || n < rig->at || (n > rig->at && !rig->lasting))
        return false;
    if (n == rig->at)
        memcpy(rig->library, r->name, sizeof rig->library);
    __atomic_add_fetch(&rig->failed, 1, __ATOMIC_RELAXED);
    errno = ENOMEM;
    return true;
}

#define REFUSED() refused(__builtin_return_address(0))

void *malloc(size_t size)
{
    if (REFUSED())
        return NULL;
    return __interceptor_malloc ? __interceptor_malloc(size) : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    if (REFUSED())
        return NULL;
    return __interceptor_calloc ? __interceptor_calloc(count, size) : __libc_calloc(count, size);
}

void *realloc(void *p, size_t size)
{
    if (REFUSED())
        return NULL;
    return __interceptor_realloc ? __interceptor_realloc(p, size) : __libc_realloc(p, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    if (REFUSED())
        return ENOMEM;
    if (__interceptor_posix_memalign)
        return __interceptor_posix_memalign(out, alignment, size);
    *out = __libc_memalign(alignment, size);
    return *out ? 0 : ENOMEM;
}
