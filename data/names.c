#include "data/names.h"

#include <stdbool.h>
#include <string.h>

#include "core/io.h"
#include "core/mem.h"

typedef struct name { size_t text; uint32_t number; } name;

struct gq_names {
    char     *text;
    size_t    size, room;               /* bytes of it                                            */
    name     *name;                     /* [most]                                                 */
    uint32_t  used, most;
    uint32_t *slot;                     /* [slots] index into name + 1; a power of two            */
    uint32_t  slots;
};

gq_names *gq_names_new(void)
{
    return gq_calloc(1, sizeof(gq_names));
}

void gq_names_free(gq_names *n)
{
    if (!n)
        return;
    gq_free(n->text);
    gq_free(n->name);
    gq_free(n->slot);
    gq_free(n);
}

/* Where `text` is, or the empty slot where it belongs. */
static uint32_t *slot_of(const gq_names *n, const char *text)
{
    for (uint64_t k = gq_xxh64(text, strlen(text));; k++) {
        uint32_t *s = &n->slot[k & (n->slots - 1)];
        if (!*s || strcmp(n->text + n->name[*s - 1].text, text) == 0)
            return s;
    }
}

static bool grow_slots(gq_names *n)
{
    uint32_t *old = n->slot, slots = n->slots ? 2 * n->slots : 4096;
    if (2 * n->used < n->slots)
        return true;
    if (n->slots > UINT32_MAX / 2 || !(n->slot = gq_calloc(slots, sizeof *n->slot))) {
        n->slot = old;
        return false;
    }
    n->slots = slots;
    for (uint32_t k = 0; k < n->used; k++)
        *slot_of(n, n->text + n->name[k].text) = k + 1;
    gq_free(old);
    return true;
}

static bool grow_names(gq_names *n, size_t bytes)
{
    if (n->used == n->most) {
        uint32_t most = n->most ? 2 * n->most : 1024;
        name    *more = gq_realloc(n->name, most, sizeof *more);
        if (!more)
            return false;
        n->name = more;
        n->most = most;
    }
    if (n->room - n->size < bytes) {
        size_t room = 2 * n->room + bytes + 65536;
        char  *more = gq_realloc(n->text, room, 1);
        if (!more)
            return false;
        n->text = more;
        n->room = room;
    }
    return true;
}

uint32_t *gq_names_add(gq_names *n, const char *text)
{
    size_t bytes = strlen(text) + 1;
    if (!grow_slots(n))
        return NULL;
    uint32_t *s = slot_of(n, text);
    if (!*s) {
        if (!grow_names(n, bytes))
            return NULL;
        memcpy(n->text + n->size, text, bytes);
        n->name[n->used] = (name){n->size, 0};
        n->size += bytes;
        *s = ++n->used;
    }
    return &n->name[*s - 1].number;
}

const uint32_t *gq_names_find(const gq_names *n, const char *text)
{
    uint32_t at = n->slots ? *slot_of(n, text) : 0;
    return at ? &n->name[at - 1].number : NULL;
}
