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
    e->work.device = e->act.device = e->temp.device = o->backend->device;
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

/* The old block goes first: a device has no room for both. */
static gq_status take_on_device(gq_arena *a, gq_error *err)
{
    size_t room, total;

    if (a->held)
        a->device->release(a->device, a->base);
    a->held = 0;
    a->generation++;
    a->device->room(a->device, &room, &total);
    a->base = a->device->alloc(a->device, a->bytes);
    if (!a->base)
        return gq_fail(err, GQ_ENOMEM,
                       "no memory on the GPU for an arena of %.1f MiB (%.1f of %.1f MiB are free): lower "
                       "train.batch or set train.checkpoint: segment",
                       (double)a->bytes / 1048576.0, (double)room / 1048576.0, (double)total / 1048576.0);
    a->held = a->bytes;
    return GQ_OK;
}

static gq_status take(gq_arena *a, gq_error *err)
{
    void *p;

    if (a->device)
        return take_on_device(a, err);
    p = gq_pages(a->bytes);
    if (!p)
        return gq_fail(
            err, GQ_ENOMEM,
            "no memory for an arena of %.1f MiB: lower train.batch or set train.checkpoint: "
            "segment",
            (double)a->bytes / 1048576.0);
    if (a->held)
        gq_pages_free(a->base, a->held);
    a->base = p;
    a->held = a->bytes;
    a->generation++;
    return GQ_OK;
}

/* Addresses of an arena without memory are counted from here: whoever uses one faults. */
#define NOWHERE ((void *)64)

gq_status gq_arena_reserve(gq_arena *a, size_t bytes, gq_error *err)
{
    a->bytes = bytes > a->bytes ? bytes : a->bytes;
    return a->planned || a->bytes == a->held ? GQ_OK : take(a, err);
}

void gq_arena_free(gq_arena *a)
{
    gq_device *device = a->device;
    if (a->held && device)
        device->release(device, a->base);
    else if (a->held)
        gq_pages_free(a->base, a->held);
    *a = (gq_arena){.device = device};
}

void gq_engine_plan(gq_engine *e)
{
    e->act.planned = e->temp.planned = true;
    if (!e->act.held)
        e->act.base = NOWHERE;
}

gq_status gq_engine_reserve(gq_engine *e, gq_error *err)
{
    gq_status s;

    e->act.planned = e->temp.planned = false;
    if (!e->act.held)
        e->act.base = NULL;
    s = gq_arena_reserve(&e->act, 0, err);
    return s == GQ_OK ? gq_engine_workspace(e, 0, err) : s;
}

gq_status gq_engine_workspace(gq_engine *e, size_t bytes, gq_error *err)
{
    gq_status s = gq_arena_reserve(&e->temp, bytes, err);
    e->work.temp = e->temp.base;
    e->work.temp_bytes = e->temp.held;
    return s;
}

void *gq_engine_alloc(gq_engine *e, size_t bytes)
{
    gq_device *d = e->backend->device;
    void      *p = d ? d->alloc(d, bytes) : gq_aligned(64, bytes);
    return p && !d ? memset(p, 0, bytes) : p;
}

void gq_engine_release(gq_engine *e, void *p)
{
    if (e->backend->device)
        e->backend->device->release(e->backend->device, p);
    else
        gq_free(p);
}

void gq_engine_copy(gq_engine *e, void *dst, const void *src, size_t bytes)
{
    if (e->backend->device)
        e->backend->device->copy(e->backend->device, dst, src, bytes);
    else
        memcpy(dst, src, bytes);
}
