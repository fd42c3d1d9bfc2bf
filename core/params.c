#include "core/params.h"

#include <math.h>
#include <string.h>

#include "core/bf16.h"
#include "core/mem.h"
#include "core/philox.h"

/* ---- registry -------------------------------------------------------------------------------- */

static uint32_t hash_name(const char *s)
{
    uint32_t h = 2166136261u;                       /* FNV-1a */
    for (; *s; s++)
        h = (h ^ (uint8_t)*s) * 16777619u;
    return h;
}

gq_status gq_params_new(gq_engine *e, gq_params **out, gq_error *err)
{
    gq_params *p = gq_calloc(1, sizeof *p);
    *out = p;
    if (!p)
        return gq_fail(err, GQ_ENOMEM, "parameter registry: out of memory");
    p->engine = e;
    p->weights.device = p->grad.device = p->m.device = p->v.device = p->master.device =
        e->backend->device;
    return GQ_OK;
}

/* What gq_params_update_run() reads and writes, in the backend's memory; scalars go there from page-locked
 * memory, which the copy may still be reading when the next step's are set: hence two. */
struct gq_update_state {
    gq_update_part    *part;
    int32_t            parts;
    gq_update_scalars *scalars, *host;  /* [1]; [2]                                               */
    int                slot;
    double            *norm;
    int32_t           *halted;
};

static void close_update(gq_params *p)
{
    struct gq_update_state *u = p->update;
    gq_device              *d = p->engine->backend->device;
    if (!u)
        return;
    d->release(d, u->part);
    d->release(d, u->scalars);
    d->release(d, u->norm);
    d->release(d, u->halted);
    d->release_host(d, u->host);
    gq_free(u);
    p->update = NULL;
}

void gq_params_free(gq_params *p)
{
    if (!p)
        return;
    for (int32_t i = 0; i < p->count; i++)
        gq_free(p->param[i].name);
    gq_free(p->param);
    gq_free(p->index);
    gq_arena_free(&p->weights);
    gq_arena_free(&p->grad);
    gq_arena_free(&p->m);
    gq_arena_free(&p->v);
    gq_arena_free(&p->master);
    close_update(p);
    gq_free(p);
}

gq_param *gq_params_find(const gq_params *p, const char *name)
{
    if (!p->index_size)
        return NULL;
    for (uint32_t h = hash_name(name);; h++) {
        int32_t i = p->index[h & (p->index_size - 1)];
        if (i == 0)
            return NULL;
        if (strcmp(p->param[i - 1].name, name) == 0)
            return &p->param[i - 1];
    }
}

static bool grow(gq_params *p)
{
    int32_t   capacity = p->capacity ? 2 * p->capacity : 64;
    uint32_t  size = 4u * (uint32_t)capacity;
    gq_param *param = gq_realloc(p->param, (size_t)capacity, sizeof *param);
    int32_t  *index;

    if (!param)
        return false;
    p->param = param;
    index = gq_calloc(size, sizeof *index);
    if (!index)
        return false;
    for (int32_t i = 0; i < p->count; i++) {
        uint32_t h = hash_name(param[i].name);
        while (index[h & (size - 1)])
            h++;
        index[h & (size - 1)] = i + 1;
    }
    gq_free(p->index);
    p->index = index;
    p->index_size = size;
    p->capacity = capacity;
    return true;
}

static gq_status check_again(const gq_param *q, int rank, const int64_t *shape, gq_error *err)
{
    for (int i = 0; i < rank; i++)
        if (rank != q->rank || shape[i] != q->shape[i])
            return gq_fail(err, GQ_EBUG, "parameter '%s' is declared twice with different shapes",
                           q->name);
    return GQ_OK;
}

gq_status gq_params_add(gq_params *p, const char *name, gq_init init, int rank,
                        const int64_t *shape, gq_error *err)
{
    gq_param *q = gq_params_find(p, name);
    uint32_t  h;

    if (q)
        return check_again(q, rank, shape, err);
    if (p->sealed)
        return gq_fail(err, GQ_EBUG, "parameter '%s' is declared after the registry was sealed",
                       name);
    if (p->count == p->capacity && !grow(p))
        return gq_fail(err, GQ_ENOMEM, "parameter registry: out of memory");
    q = &p->param[p->count];
    memset(q, 0, sizeof *q);
    q->name = gq_strdup(name);
    if (!q->name)
        return gq_fail(err, GQ_ENOMEM, "parameter registry: out of memory");
    q->rank = rank;
    q->n = 1;
    for (int i = 0; i < GQ_MAX_RANK; i++) {
        q->shape[i] = i < rank ? shape[i] : 1;
        if (q->shape[i] < 1 || __builtin_mul_overflow(q->n, q->shape[i], &q->n) ||
            q->n > (int64_t)1 << 40) {
            gq_free(q->name);
            return gq_fail(err, GQ_ECONFIG, "parameter '%s': dimension %d is %lld", name, i,
                           (long long)q->shape[i]);
        }
    }
    q->init = init;
    q->trainable = q->active = true;
    q->lr_mult = 1.0;
    h = hash_name(name);
    while (p->index[h & (p->index_size - 1)])
        h++;
    p->index[h & (p->index_size - 1)] = ++p->count;
    return GQ_OK;
}

/* ---- patterns -------------------------------------------------------------------------------- */

bool gq_glob(const char *pattern, const char *name)
{
    const char *star = NULL, *back = name;        /* last '*' seen, and how much it has swallowed */
    while (*name) {
        if (*pattern == '*') {
            star = pattern++;
            back = name;
        } else if (*pattern == '?' || *pattern == *name) {
            pattern++;
            name++;
        } else if (star) {
            pattern = star + 1;
            name = ++back;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

/* ---- arenas ---------------------------------------------------------------------------------- */

static int64_t padded(const gq_params *p, int64_t n)
{
    int64_t unit = (int64_t)(64 / gq_dtype_size(p->engine->backend->real));
    return (n + unit - 1) / unit * unit;
}

/* A device's memory is asked before any of it is taken: no smaller batch makes room for parameters. */
static gq_status fits(const gq_params *p, size_t weights, size_t state, gq_error *err)
{
    gq_device *d = p->engine->backend->device;
    size_t     room, total;

    if (!d)
        return GQ_OK;
    d->room(d, &room, &total);
    if (weights + state <= room)
        return GQ_OK;
    return gq_fail(err, GQ_ENOMEM,
                   "GPU memory: the model needs %zu bytes before any activation, and %zu of %zu are free\n"
                   "  parameters   %15zu\n  state        %15zu   gradient and two moments; freeze groups to shrink",
                   weights + state, room, total, weights, state);
}

gq_status gq_params_seal(gq_params *p, bool with_state, gq_error *err)
{
    int64_t   at = 0;
    size_t    real = gq_dtype_size(p->engine->backend->real),
           stat = gq_dtype_size(p->engine->backend->stat);
    gq_arena *state[] = {&p->grad, &p->m, &p->v, &p->master};
    int       arrays = !with_state ? 0 : stat == real ? 3 : 4;
    gq_status s;

    for (int32_t i = p->count - 1; i >= 0; i--) {   /* reverse order of use: see the header */
        if (p->param[i].trainable) {
            p->param[i].offset = at;
            at += padded(p, p->param[i].n);
        }
    }
    p->trainable_n = at;
    for (int32_t i = 0; i < p->count; i++)
        if (!p->param[i].trainable) {
            p->param[i].offset = at;
            at += padded(p, p->param[i].n);
        }
    p->total_n = at;
    s = fits(p, (size_t)p->total_n * real, (size_t)arrays * (size_t)p->trainable_n * stat, err);
    if (s == GQ_OK)
        s = gq_arena_reserve(&p->weights, (size_t)p->total_n * real, err);  /* fresh arenas are zero */
    for (int i = 0; s == GQ_OK && i < arrays; i++)
        s = gq_arena_reserve(state[i], (size_t)p->trainable_n * stat, err);
    p->sealed = s == GQ_OK;
    return s;
}

void gq_params_release(gq_params *p, const char *pattern)
{
    for (int32_t i = 0; i < p->count; i++) {
        gq_param *q = &p->param[i];
        if (q->trainable || q->released || !gq_glob(pattern, q->name))
            continue;
        q->released = true;
        if (p->engine->backend->device)
            continue;                               /* one block of the device: nothing to give back */
        p->released_bytes += gq_pages_drop(
            gq_param_data(p, q), (size_t)q->n * gq_dtype_size(p->engine->backend->real));
    }
}

void *gq_param_data(const gq_params *p, const gq_param *q)
{
    return (char *)p->weights.base + (size_t)q->offset * gq_dtype_size(p->engine->backend->real);
}

void *gq_param_grad(const gq_params *p, const gq_param *q)
{
    if (!q->trainable || !p->grad.base)
        return NULL;
    return (char *)p->grad.base + (size_t)q->offset * gq_dtype_size(p->engine->backend->stat);
}

static const gq_arena *arena_of(const gq_params *p, const gq_param *q, gq_param_part part)
{
    if (part == GQ_WEIGHT)
        return p->master.base && q->trainable ? &p->master : &p->weights;
    return part == GQ_GRADIENT ? &p->grad : part == GQ_MOMENT1 ? &p->m : &p->v;
}

static gq_dtype type_of(const gq_params *p, const gq_arena *a)
{
    return a == &p->weights ? p->engine->backend->real : p->engine->backend->stat;
}

static char *place(const gq_params *p, const gq_param *q, const gq_arena *a, int64_t first)
{
    return (char *)a->base + (size_t)(q->offset + first) * gq_dtype_size(type_of(p, a));
}

void *gq_param_view(const gq_params *p, const gq_param *q, gq_param_part part)
{
    const gq_arena *a = arena_of(p, q, part);
    return p->engine->backend->device || type_of(p, a) != p->engine->backend->stat ? NULL : place(p, q, a, 0);
}

void gq_param_read(const gq_params *p, const gq_param *q, gq_param_part part, int64_t first, void *dst,
                   int64_t n)
{
    const gq_arena *a = arena_of(p, q, part);
    const char     *src = place(p, q, a, first);
    size_t          bytes = (size_t)n * gq_dtype_size(type_of(p, a));
    gq_device      *d = p->engine->backend->device;
    bool            widen = type_of(p, a) == GQ_BF16;
    char           *to = widen ? (char *)dst + bytes : dst;    /* into the upper half, then spread    */

    if (d)
        d->download(d, to, src, bytes);
    else
        memcpy(to, src, bytes);
    for (int64_t i = 0; widen && i < n; i++)
        ((float *)dst)[i] = gq_bf16_to_f32(((const uint16_t *)(const void *)to)[i]);
}

static void store(gq_params *p, gq_param *q, const gq_arena *a, int64_t first, const void *src, int64_t n)
{
    enum { PIECE = 8192 };
    gq_device *d = p->engine->backend->device;
    uint16_t   half[PIECE];

    if (type_of(p, a) != GQ_BF16) {
        size_t size = gq_dtype_size(type_of(p, a));
        if (d)
            d->upload(d, place(p, q, a, first), src, (size_t)n * size);
        else
            memcpy(place(p, q, a, first), src, (size_t)n * size);
        return;
    }
    for (int64_t at = 0; at < n; at += PIECE) {
        int64_t m = n - at < PIECE ? n - at : PIECE;
        for (int64_t i = 0; i < m; i++)
            half[i] = gq_f32_to_bf16(((const float *)src)[at + i]);
        if (d)
            d->upload(d, place(p, q, a, first + at), half, (size_t)m * sizeof *half);
        else
            memcpy(place(p, q, a, first + at), half, (size_t)m * sizeof *half);
    }
}

void gq_param_write(gq_params *p, gq_param *q, gq_param_part part, int64_t first, const void *src,
                    int64_t n)
{
    const gq_arena *a = arena_of(p, q, part);
    store(p, q, a, first, src, n);
    if (a == &p->master)
        store(p, q, &p->weights, first, src, n);
}

void gq_param_set_f32(gq_params *p, gq_param *q, int64_t first, const float *src, int64_t n)
{
    double *w = gq_param_data(p, q);
    if (p->engine->backend->stat == GQ_F32)
        gq_param_write(p, q, GQ_WEIGHT, first, src, n);
    else
        for (int64_t i = 0; i < n; i++)
            w[first + i] = src[i];
}

void gq_param_get_f32(const gq_params *p, const gq_param *q, int64_t first, float *dst, int64_t n)
{
    const double *w = gq_param_data(p, q);
    if (p->engine->backend->stat == GQ_F32)
        gq_param_read(p, q, GQ_WEIGHT, first, dst, n);
    else
        for (int64_t i = 0; i < n; i++)
            dst[i] = (float)w[first + i];
}

/* ---- initialisation -------------------------------------------------------------------------- */

/* position table: sin and cos of pos / base^(2i/D), amplitude value*sqrt(2) so that its rms is
 * `value` */
static float sinusoid(const gq_param *q, int64_t e)
{
    int64_t d = q->shape[q->rank - 1], pos = e / d, c = e % d;
    double  angle = (double)pos * exp(-log(q->init.base) * (double)(c - (c & 1)) / (double)d);
    return (float)(q->init.value * 1.4142135623730951 * (c & 1 ? cos(angle) : sin(angle)));
}

typedef struct init_job {
    gq_params *p;
    gq_param  *q;
    uint64_t   seed;
    float     *staging;      /* [n]: where tiles go when threads cannot write the weights themselves */
} init_job;

enum { INIT_TILE = 8192 };                          /* even: normals come in pairs                */

static double init_value(const gq_param *q, int64_t i)
{
    int64_t split = q->init.split ? q->n / q->shape[0] * q->init.split : (q->n + 1) / 2;
    return q->init.second != 0.0 && i >= split ? q->init.second : q->init.value;
}

static void fill_normal(const init_job *j, int64_t first, int64_t last, float *x)
{
    uint32_t purpose = hash_name(j->q->name);
    double   normal[512];
    for (int64_t i = first; i < last; i += 512) {
        int64_t n = last - i < 512 ? last - i : 512;
        gq_normal_pairs(j->seed, (uint64_t)i >> 1, GQ_RNG_INIT, purpose, ((size_t)n + 1) / 2,
                        normal);
        for (int64_t l = 0; l < n; l++)
            x[i - first + l] = (float)(init_value(j->q, i + l) * normal[l]);
    }
}

static void init_tile(void *ctx, int64_t tile, int thread)
{
    const init_job *j = ctx;
    const gq_param *q = j->q;
    int64_t first = tile * INIT_TILE, last = first + INIT_TILE < q->n ? first + INIT_TILE : q->n;
    float           x[INIT_TILE];

    (void)thread;
    if (q->init.dist == GQ_INIT_NORMAL) {
        fill_normal(j, first, last, x);
    } else {
        for (int64_t i = first; i < last; i++)
            x[i - first] = q->init.dist == GQ_INIT_SINUSOID ? sinusoid(q, i)
                           : q->init.dist == GQ_INIT_CONST  ? (float)init_value(q, i)
                                                            : 0.0f;
    }
    if (j->staging)
        memcpy(j->staging + first, x, (size_t)(last - first) * sizeof *x);
    else
        gq_param_set_f32(j->p, j->q, first, x, last - first);
}

/* Copies to a device come from one thread: a parameter is made on the host, in parallel, then sent. */
static float *staging_for(const gq_params *p)
{
    int64_t most = 1;
    for (int32_t i = 0; i < p->count; i++)
        if (!p->param[i].loaded && p->param[i].n > most)
            most = p->param[i].n;
    return gq_malloc((size_t)most, sizeof(float));
}

gq_status gq_params_init(gq_params *p, uint64_t seed, gq_error *err)
{
    bool   away = p->engine->backend->device != NULL;
    float *staging = away ? staging_for(p) : NULL;

    if (away && !staging)
        return gq_fail(err, GQ_ENOMEM, "initial weights: out of memory");
    for (int32_t i = 0; i < p->count; i++)
        if (!p->param[i].loaded) {
            gq_param *q = &p->param[i];
            init_job  j = {p, q, seed, staging};
            gq_parallel(p->engine->pool, (q->n + INIT_TILE - 1) / INIT_TILE, init_tile, &j);
            if (away)
                gq_param_set_f32(p, q, 0, staging, q->n);
        }
    gq_free(staging);
    return GQ_OK;
}

/* ---- optimiser ------------------------------------------------------------------------------- */

double gq_params_grad_norm(gq_params *p)
{
    return p->grad.base
               ? sqrt(p->engine->backend->sumsq(p->grad.base, p->trainable_n, &p->engine->work))
               : 0.0;
}

void gq_params_adamw(gq_params *p, const gq_adamw_opts *o, int64_t t, double norm)
{
    size_t        stat = gq_dtype_size(p->engine->backend->stat);
    gq_adamw_call c = {
        .beta1 = o->beta1, .beta2 = o->beta2, .eps = o->eps,
        .gscale = o->clip > 0 ? fmin(1.0, o->clip / (norm + 1e-6)) : 1.0,    /* as PyTorch has it */
        .c1 = 1.0 - pow(o->beta1, (double)t), .c2 = 1.0 - pow(o->beta2, (double)t),
    };

    for (int32_t i = 0; i < p->count; i++) {
        const gq_param *q = &p->param[i];
        size_t          at = (size_t)q->offset * stat;
        if (!q->active || !gq_param_grad(p, q))
            continue;
        c.w = gq_param_data(p, q);
        c.master = p->master.base ? (char *)p->master.base + at : NULL;
        c.g = (char *)p->grad.base + at;
        c.m = (char *)p->m.base + at;
        c.v = (char *)p->v.base + at;
        c.n = q->n;
        c.real = (int32_t)p->engine->backend->real;
        c.lr = o->lr * q->lr_mult;
        c.decay = q->decay;
        p->engine->backend->adamw(&c, &p->engine->work);
    }
}

/* ---- the update as one piece of the device's work ----------------------------------------------- */

static void fill_parts(const gq_params *p, gq_update_part *part, struct gq_update_state *u)
{
    for (int32_t i = 0; i < p->count; i++) {
        const gq_param *q = &p->param[i];
        if (!q->active || !gq_param_grad(p, q))
            continue;
        part[u->parts++] = (gq_update_part){q->offset, q->n, (float)q->lr_mult, (float)q->decay};
    }
}

gq_status gq_params_update_open(gq_params *p, gq_error *err)
{
    gq_device              *d = p->engine->backend->device;
    size_t                  bytes = ((size_t)p->count + 1) * sizeof(gq_update_part);
    gq_update_part         *part;
    struct gq_update_state *u;

    part = gq_calloc(1, bytes);
    u = p->update;
    if (!u && (u = p->update = gq_calloc(1, sizeof *u))) {       /* graphs keep its addresses       */
        u->part = d->alloc(d, bytes);
        u->scalars = d->alloc(d, sizeof *u->scalars);
        u->norm = d->alloc(d, sizeof *u->norm);
        u->halted = d->alloc(d, sizeof *u->halted);
        u->host = d->alloc_host(d, 2 * sizeof *u->host);
    }
    if (!part || !u || !u->part || !u->scalars || !u->norm || !u->halted || !u->host) {
        gq_free(part);
        return gq_fail(err, GQ_ENOMEM, "the optimiser's table: out of memory");
    }
    u->parts = 0;
    fill_parts(p, part, u);
    d->upload(d, u->part, part, bytes);
    gq_free(part);
    return gq_engine_workspace(p->engine, p->engine->backend->update_temp(p->trainable_n, u->parts), err);
}

void gq_params_update_set(gq_params *p, const gq_adamw_opts *o, int64_t t)
{
    struct gq_update_state *u = p->update;
    gq_device              *d = p->engine->backend->device;
    gq_update_scalars      *s = &u->host[u->slot];

    u->slot ^= 1;
    *s = (gq_update_scalars){.lr = (float)o->lr,
                             .beta1 = (float)o->beta1,
                             .beta2 = (float)o->beta2,
                             .eps = (float)o->eps,
                             .clip = (float)o->clip,
                             .c1 = (float)(1.0 - pow(o->beta1, (double)t)),
                             .c2 = (float)(1.0 - pow(o->beta2, (double)t))};
    d->upload(d, u->scalars, s, sizeof *s);
}

void gq_params_update_run(gq_params *p, const void *loss)
{
    const struct gq_update_state *u = p->update;
    gq_update_call                c = {.w = p->weights.base,
                                       .master = p->master.base,
                                       .g = p->grad.base,
                                       .m = p->m.base,
                                       .v = p->v.base,
                                       .n = p->trainable_n,
                                       .part = u->part,
                                       .parts = u->parts,
                                       .scalars = u->scalars,
                                       .norm = u->norm,
                                       .halted = u->halted,
                                       .loss = loss,
                                       .real = (int32_t)p->engine->backend->real};
    p->engine->backend->update(&c, &p->engine->work);
}

void gq_params_update_norm(gq_params *p, double *norm)
{
    gq_device *d = p->engine->backend->device;
    d->fetch(d, norm, p->update->norm, sizeof *norm);
}

void gq_params_update_again(gq_params *p)
{
    gq_device *d = p->engine->backend->device;
    d->fill(d, p->update->halted, 0, sizeof *p->update->halted);
}
