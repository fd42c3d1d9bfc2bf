#include "tools/cli_cache.h"

#include <stdlib.h>

const char *gq_cli_cache_dir(const gq_cli_cache *c)
{
    static char path[4096];
    const char *base = getenv("XDG_CACHE_HOME"), *tail = "/gifqa";

    if (c->none || c->dir)
        return c->none ? NULL : c->dir;
    if (!base || *base != '/') {        /* the specification wants relative ones ignored */
        base = getenv("HOME");
        tail = "/.cache/gifqa";
    }
    if (!base || *base != '/')
        return NULL;
    return snprintf(path, sizeof path, "%s%s", base, tail) < (int)sizeof path ? path : NULL;
}

uint64_t gq_cli_cache_bytes(const gq_cli_cache *c)
{
    return (uint64_t)c->mib << 20;
}

const char *gq_cli_origin(gq_origin from)
{
    static const char *const names[] = {
        [GQ_COMPUTED] = "computed", [GQ_FROM_MEMORY] = "memory", [GQ_FROM_DISK] = "disk"};
    return names[from];
}

void gq_cli_cache_warn(const char *program, const char *note)
{
    if (*note)
        gq_cli_warn(program, "the cache is not used (--no-cache does without): %s", note);
}
