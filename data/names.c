#include "data/names.h"

#include <string.h>

#include "core/io.h"
#include "core/mem.h"

typedef struct name { size_t text; uint32_t number; } name;

struct gq_names {
    gq_texts  texts;
    name     *name;                     /* [most]                                                 */
    uint32_t  used, most;
    uint32_t *slot;                     /* [slots] index into name + 1; a power of two            */
    uint32_t  slots;
};

bool gq_texts_put(gq_texts *t, const char *text, size_t *at)
{
    size_t bytes = strlen(text) + 1;
    if (t->room - t->size < bytes) {
        size_t room = 2 * t->room + bytes + 65536;
        char  *more = gq_realloc(t->base, room, 1);
        if (!more)
            return false;
        t->base = more;
        t->room = room;
    }
    memcpy(t->base + t->size, text, bytes);
    *at = t->size;
    t->size += bytes;
    return true;
}

gq_names *gq_names_new(void)
{
    return gq_calloc(1, sizeof(gq_names));
}

void gq_names_free(gq_names *n)
{
    if (!n)
        return;
    gq_free(n->texts.base);
    gq_free(n->name);
    gq_free(n->slot);
    gq_free(n);
}

/* Where `text` is, or the empty slot where it belongs. */
static uint32_t *slot_of(const gq_names *n, const char *text)
{
    for (uint64_t k = gq_xxh64(text, strlen(text));; k++) {
        uint32_t *s = &n->slot[k & (n->slots - 1)];
        if (!*s || strcmp(n->texts.base + n->name[*s - 1].text, text) == 0)
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
        *slot_of(n, n->texts.base + n->name[k].text) = k + 1;
    gq_free(old);
    return true;
}

static bool grow_names(gq_names *n)
{
    if (n->used == n->most) {
        uint32_t most = n->most ? 2 * n->most : 1024;
        name    *more = gq_realloc(n->name, most, sizeof *more);
        if (!more)
            return false;
        n->name = more;
        n->most = most;
    }
    return true;
}

uint32_t *gq_names_add(gq_names *n, const char *text)
{
    size_t at;
    if (!grow_slots(n))
        return NULL;
    uint32_t *s = slot_of(n, text);
    if (!*s) {
        if (!grow_names(n) || !gq_texts_put(&n->texts, text, &at))
            return NULL;
        n->name[n->used] = (name){at, 0};
        *s = ++n->used;
    }
    return &n->name[*s - 1].number;
}

const uint32_t *gq_names_find(const gq_names *n, const char *text)
{
    uint32_t at = n->slots ? *slot_of(n, text) : 0;
    return at ? &n->name[at - 1].number : NULL;
}
