#include "tools/bench_device.h"

#include <string.h>

#include "core/io.h"
#include "core/mem.h"
#include "tools/bench.h"
#include "tools/bench_profile.h"

enum { ROUNDS = 21, MOST_REPEATS = 400, PHASES = 3 };

/* ---- one piece of work ----------------------------------------------------------------------- */

static void repeat(bench_work work, void *ctx, int times)
{
    while (times--)
        work(ctx);
}

/* How often it fits into some milliseconds, by the second of two runs: the first makes plans. */
static int repeats(gq_device *d, bench_work work, void *ctx)
{
    const double want = 4e-3;
    double       begin, once;

    work(ctx);
    begin = d->seconds(d);
    work(ctx);
    once = d->seconds(d) - begin;
    return once <= want / MOST_REPEATS ? MOST_REPEATS : once >= want ? 1 : (int)(want / once);
}

gq_status bench_device_time(gq_device *d, bench_work work, void *ctx, double *seconds, gq_error *err)
{
    int    times = repeats(d, work, ctx);
    double round[ROUNDS];
    void  *graph;

    d->capture_begin(d);
    repeat(work, ctx, times);
    graph = d->capture_end(d);
    if (!graph)
        return d->finish(d, err) != GQ_OK ? err->code : gq_fail(err, GQ_EBUG, "nothing was captured");
    d->graph_run(d, graph);
    for (int i = 0; i < ROUNDS; i++) {
        double begin = d->seconds(d);
        d->graph_run(d, graph);
        round[i] = d->seconds(d) - begin;
    }
    d->graph_free(d, graph);
    *seconds = bench_median(round, ROUNDS) / times;
    return d->finish(d, err);
}

/* ---- the roof of memory ---------------------------------------------------------------------- */

typedef struct copy_work { const gq_backend *b; gq_work work; char *from, *to; size_t bytes; } copy_work;

static void do_copy(void *ctx)
{
    copy_work *w = ctx;
    gq_device *d = w->b->device;
    d->copy(d, w->to, w->from, w->bytes);
}

/* The same by a kernel: expand_rows to one copy. */
static void do_expand(void *ctx)
{
    enum { COLUMNS = 1024 };
    copy_work *w = ctx;
    int64_t    rows = (int64_t)(w->bytes / gq_dtype_size(w->b->real)) / COLUMNS;
    gq_call    c = {.in[0] = {.p = w->from, .shape = {rows, COLUMNS, 1, 1}, .rank = 2, .dtype = (int32_t)w->b->real},
                    .out[0] = {.p = w->to, .shape = {1, rows, COLUMNS, 1}, .rank = 3, .dtype = (int32_t)w->b->real},
                    .work = &w->work};
    w->b->ops[GQ_OP_EXPAND_ROWS].fwd(&c);
}

double bench_device_copy(const gq_backend *b)
{
    gq_device *d = b->device;
    copy_work  w = {.b = b, .work = {.device = d}};
    bench_work ways[] = {do_copy, do_expand};
    size_t     there, all;
    double     best = 0;
    gq_error   err = {0};

    d->room(d, &there, &all);
    w.bytes = (size_t)1 << 30;
    while (w.bytes > (size_t)1 << 20 && 2 * w.bytes > there / 2)
        w.bytes /= 2;
    w.from = d->alloc(d, w.bytes);
    w.to = d->alloc(d, w.bytes);
    if (w.from && w.to) {
        d->fill(d, w.from, 0x3c, w.bytes);
        for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
            double seconds;
            if (bench_device_time(d, ways[i], &w, &seconds, &err) == GQ_OK && 2e-9 * (double)w.bytes > best * seconds)
                best = 2e-9 * (double)w.bytes / seconds;
        }
    }
    d->release(d, w.from);
    d->release(d, w.to);
    return best;
}

/* ---- the ops of a pass ----------------------------------------------------------------------- */

typedef struct known { char what[BENCH_NAME], sizes[BENCH_NAME]; int32_t phase; double seconds; } known;

typedef struct walk {
    gq_tape   *t;
    gq_device *d;
    known     *seen;                    /* [n], at most one an entry                              */
    int        n;
    char      *backup;                  /* device memory: gradients that an op adds to            */
    size_t     bytes;
} walk;

typedef struct op_work { gq_kernel kernel; const gq_call *call; } op_work;

static void do_op(void *ctx)
{
    const op_work *w = ctx;
    w->kernel(w->call);
}

static size_t bytes_of(const gq_buf *b)
{
    return (size_t)gq_size(b) * gq_dtype_size(b->dtype);
}

/* What a backward op adds to, saved (or put back): repeated additions would leave no ordinary numbers. */
static gq_status keep(walk *w, const gq_call *c, bool back, gq_error *err)
{
    size_t at = 0, need = 0;

    for (int k = 0; k < GQ_MAX_IN; k++)
        need += c->din[k].p && c->acc >> k & 1 ? bytes_of(&c->din[k]) : 0;
    if (need > w->bytes) {
        w->d->release(w->d, w->backup);
        w->backup = w->d->alloc(w->d, need);
        w->bytes = w->backup ? need : 0;
    }
    if (need > w->bytes)
        return gq_fail(err, GQ_ENOMEM, "no room on the device to time ops one by one");
    for (int k = 0; k < GQ_MAX_IN; k++)
        if (c->din[k].p && c->acc >> k & 1) {
            size_t bytes = bytes_of(&c->din[k]);
            w->d->copy(w->d, back ? c->din[k].p : w->backup + at, back ? w->backup + at : c->din[k].p, bytes);
            at += bytes;
        }
    return GQ_OK;
}

static gq_status time_entry(walk *w, const gq_entry *e, known *k, gq_error *err)
{
    const gq_node       *n = &w->t->node[e->node];
    const gq_op_kernels *op = &w->t->engine->backend->ops[n->op];
    const gq_call       *c = &w->t->call[e->node];
    bool                 backward = e->phase == GQ_BACKWARD;
    op_work              work = {backward ? op->bwd : op->fwd, c};
    gq_status            s = backward ? keep(w, c, false, err) : GQ_OK;

    if (s == GQ_OK)
        s = bench_device_time(w->d, do_op, &work, &k->seconds, err);
    if (s == GQ_OK && backward)
        s = keep(w, c, true, err);
    if (s == GQ_OK && backward && n->op == GQ_OP_LM_LOSS)
        op->fwd(c);                     /* backward works in the saved logits                     */
    return s;
}

static gq_status walk_entry(walk *w, const gq_entry *e, gq_error *err)
{
    const gq_node       *n = &w->t->node[e->node];
    const gq_op_kernels *op = &w->t->engine->backend->ops[n->op];
    gq_call             *c = &w->t->call[e->node];
    known               *k = &w->seen[w->n];
    gq_status            s = GQ_OK;
    int                  i = 0;

    if (e->phase == GQ_BACKWARD)
        c->acc = n->acc;
    *k = (known){.phase = e->phase};
    bench_profile_name(w->t, n, k->what, k->sizes);
    while (w->seen[i].phase != k->phase || strcmp(w->seen[i].what, k->what) || strcmp(w->seen[i].sizes, k->sizes))
        i++;
    if (i == w->n) {
        s = time_entry(w, e, k, err);
        w->n++;
    }
    (e->phase == GQ_BACKWARD ? op->bwd : op->fwd)(c);
    w->t->seconds[e->node * PHASES + e->phase] = w->seen[i].seconds;
    return s;
}

gq_status bench_device_ops(gq_tape *t, gq_error *err)
{
    walk             w = {.t = t, .d = t->engine->backend->device};
    const gq_tensor *seed = &t->tensor[t->tensor[t->tensor[t->loss].root].grad];
    gq_status        s = GQ_OK;

    w.seen = gq_calloc((size_t)t->nentry + 1, sizeof *w.seen);
    if (!w.seen)
        return gq_fail(err, GQ_ENOMEM, "out of memory");
    for (int32_t i = 0; s == GQ_OK && i < t->nentry; i++) {
        if (i == t->forward_entries)              /* d loss / d loss = 1, beside the tape's inputs */
            w.d->copy(w.d, seed->data, (char *)t->input + t->host_bytes, sizeof(float));
        s = walk_entry(&w, &t->entry[i], err);
    }
    if (s == GQ_OK)
        s = w.d->finish(w.d, err);
    w.d->release(w.d, w.backup);
    gq_free(w.seen);
    return s;
}

static void do_update(void *ctx) { gq_params_update_run(ctx, NULL); }

gq_status bench_device_update(gq_params *p, double *seconds, gq_error *err)
{
    return bench_device_time(p->engine->backend->device, do_update, p, seconds, err);
}
