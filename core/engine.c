#include "core/engine.h"

#include <string.h>

#include "core/mem.h"

gq_status gq_engine_new(const gq_engine_opts *o, gq_engine **out, gq_error *err)
{
    gq_engine *e = gq_calloc(1, sizeof *e);
    gq_status  s;
    int        threads = o->threads > 0 ? o->threads : gq_cpu_count();

    *out = NULL;
    if (!e)
        return gq_fail(err, GQ_ENOMEM, "engine: out of memory");
    e->backend = o->backend;
    e->work.device = o->backend->device;
    e->step.seed = o->seed;
    s = gq_pool_new(threads, &e->pool, err);
    if (s != GQ_OK) {
        gq_free(e);
        return s;
    }
    e->work.pool = e->pool;
    *out = e;
    return GQ_OK;
}

void gq_engine_free(gq_engine *e)
{
    if (!e)
        return;
    gq_pool_free(e->pool);
    gq_arena_free(&e->act);
    gq_arena_free(&e->temp);
    gq_free(e);
}

gq_status gq_arena_reserve(gq_arena *a, size_t bytes, gq_error *err)
{
    void *p;
    if (bytes <= a->bytes)
        return GQ_OK;
    p = gq_pages(bytes);
    if (!p)
        return gq_fail(
            err, GQ_ENOMEM,
            "no memory for an arena of %.1f MiB: lower train.batch or set train.checkpoint: "
            "segment",
            (double)bytes / 1048576.0);
    gq_pages_free(a->base, a->bytes);
    a->base = p;
    a->bytes = bytes;
    a->generation++;
    return GQ_OK;
}

void gq_arena_free(gq_arena *a)
{
    gq_pages_free(a->base, a->bytes);
    memset(a, 0, sizeof *a);
}
