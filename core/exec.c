/* exec.c - binding addresses to a planned tape, and running it: loops over one array. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/bf16.h"
#include "core/io.h"
#include "core/mem.h"
#include "core/tape.h"

/* ---- binding --------------------------------------------------------------------------------- */

static gq_buf buffer(const gq_tape *t, int32_t i, void *p)
{
    const gq_tensor *x = &t->tensor[i];
    gq_buf           b = {.p = p, .rank = x->rank, .dtype = x->dtype};
    memcpy(b.shape, x->shape, sizeof b.shape);
    return b;
}

static void *grad_pointer(const gq_tape *t, int32_t i)
{
    const gq_tensor *root = &t->tensor[t->tensor[i].root];
    if (root->flags & GQ_TF_PARAM)
        return gq_param_grad(t->params, &t->params->param[root->param]);
    return root->grad ? t->tensor[root->grad].data : NULL;
}

static void build_call(gq_tape *t, int32_t i, gq_call *c)
{
    const gq_node *n = &t->node[i];

    memset(c, 0, sizeof *c);
    for (int k = 0; k < n->nin; k++)
        if (n->in[k]) {
            bool wanted = n->bwd && t->tensor[n->in[k]].flags & GQ_TF_NEEDS_GRAD &&
                          !(gq_op_table[n->op].rule->no_grad >> k & 1);
            c->in[k] = buffer(t, n->in[k], t->tensor[n->in[k]].data);
            if (!wanted)
                continue;
            c->din[k] = buffer(t, n->in[k], grad_pointer(t, n->in[k]));
            if (t->tensor[t->tensor[n->in[k]].root].flags & GQ_TF_PARAM)
                c->din[k].dtype = (int32_t)t->engine->backend->stat;
        }
    for (int k = 0; k < n->nout; k++) {
        c->out[k] = buffer(t, n->out[k], t->tensor[n->out[k]].data);
        if (n->bwd)
            c->dout[k] = buffer(t, n->out[k], grad_pointer(t, n->out[k]));
    }
    for (int k = 0; k < n->nsave; k++)
        c->save[k] = buffer(t, n->save[k], t->tensor[n->save[k]].data);
    c->acc = n->acc;
    c->rng_op = n->rng_op;
    c->attr = n->attr;
    c->step = &t->engine->step;
    c->work = &t->engine->work;
}

static size_t temp_bytes(const gq_tape *t)
{
    size_t most = 0;
    for (int32_t i = 0; i < t->nnode; i++) {
        const gq_op_kernels *k = &t->engine->backend->ops[t->node[i].op];
        for (int backward = 0; k->temp && backward <= t->node[i].bwd; backward++) {
            size_t bytes = k->temp(&t->call[i], backward, gq_pool_size(t->engine->pool));
            if (bytes > most)
                most = bytes;
        }
    }
    return most;
}

static void point(gq_tape *t)
{
    for (int32_t i = 1; i < t->ntensor; i++) {
        gq_tensor *x = &t->tensor[i];
        if (x->root != i || t->eager)
            continue;
        if (x->flags & GQ_TF_INPUT)
            x->data = (char *)t->input + x->offset;
        else if (x->life[0][0] >= 0 && !(x->flags & (GQ_TF_PARAM | GQ_TF_EXTERN)))
            x->data = (char *)t->engine->act.base + x->offset;
    }
    for (int32_t i = 1; i < t->ntensor; i++)
        t->tensor[i].data = t->tensor[t->tensor[i].root].data;
    for (int32_t i = 0; i < t->nnode; i++)
        build_call(t, i, &t->call[i]);
    t->bound_act = t->engine->act.generation;
}

/* Page-locked; behind the inputs the number that seed_loss() copies. */
static void *page_locked(const gq_tape *t)
{
    gq_device *d = t->engine->backend->device;
    void      *p = d->alloc_host(d, t->host_bytes + sizeof(float));
    if (p)
        *(float *)((char *)p + t->host_bytes) = 1.0f;
    return p;
}

static bool make_inputs(gq_tape *t)
{
    gq_device *d = t->engine->backend->device;
    if (d) {
        t->host = page_locked(t);
        t->input = d->alloc(d, t->host_bytes + sizeof(float));
        if (t->loss) {
            t->spare = page_locked(t);
            t->stage = d->alloc(d, t->host_bytes + sizeof(float));
        }
        return t->host && t->input && (!t->loss || (t->spare && t->stage));
    }
    t->host = t->input = gq_aligned(256, t->host_bytes);
    if (t->host)
        memset(t->host, 0, t->host_bytes);
    return t->host != NULL;
}

void gq__free_inputs(gq_tape *t)
{
    gq_device *d = t->engine->backend->device;
    if (d) {
        if (t->stage_free)                          /* a copy may be on its way                   */
            d->finish(d, NULL);
        d->release_host(d, t->host);
        d->release_host(d, t->spare);
        d->release(d, t->input);
        d->release(d, t->stage);
    } else {
        gq_free(t->host);
    }
    t->host = t->input = t->spare = t->stage = NULL;
}

gq_status gq__bind(gq_tape *t, gq_error *err)
{
    gq_status s;

    t->call = gq_calloc((size_t)t->nnode + 1, sizeof *t->call);
    if (!t->call || !make_inputs(t))
        return gq_fail(err, GQ_ENOMEM, "tape '%s': out of memory", t->name);
    s = t->eager ? GQ_OK : gq_arena_reserve(&t->engine->act, t->act_bytes, err);
    if (s != GQ_OK)
        return s;
    point(t);
    t->temp_bytes = temp_bytes(t);
    return gq_engine_workspace(t->engine, t->temp_bytes, err);
}

gq_status gq_tape_finish(gq_tape *t, gq_t loss, const gq_plan_opts *o, gq_error *err)
{
    gq_plan_opts keep = {0};
    gq_status    s;

    if (t->err.code == GQ_OK && loss.i &&
        (t->tensor[loss.i].rank != 1 || t->tensor[loss.i].shape[0] != 1))
        gq_fail(&t->err, GQ_EBUG, "tape '%s': the loss is not a scalar", t->name);
    if (t->err.code == GQ_OK && loss.i && !(t->tensor[loss.i].flags & GQ_TF_NEEDS_GRAD))
        gq_fail(&t->err, GQ_ECONFIG, "tape '%s': the loss depends on no trained parameter",
                t->name);
    if (t->err.code != GQ_OK)
        return gq_fail(err, t->err.code, "%s", t->err.text);
    t->loss = loss.i;
    if (loss.i)
        t->tensor[t->tensor[loss.i].root].flags |= GQ_TF_KEEP;
    s = gq__plan(t, o ? o : &keep, err);
    if (s == GQ_OK)
        s = gq__bind(t, err);
    t->finished = s == GQ_OK;
    return s;
}

/* ---- data ------------------------------------------------------------------------------------ */

/* On the host: where the caller writes an input. */
static void *written_at(const gq_tape *t, int32_t i)
{
    const gq_tensor *root = &t->tensor[t->tensor[i].root];
    return root->flags & GQ_TF_INPUT && t->host ? (char *)t->host + root->offset : t->tensor[i].data;
}

void *gq_data(gq_tape *t, gq_t x)
{
    if (t->finished && t->bound_act != t->engine->act.generation)
        point(t);
    return t->eager ? t->tensor[x.i].data : written_at(t, x.i);
}

void gq_put_real(gq_tape *t, gq_t x, int64_t first, const float *src, int64_t n)
{
    void *d = gq_data(t, x);
    if (t->tensor[x.i].dtype == GQ_F64)
        for (int64_t i = 0; i < n; i++)
            ((double *)d)[first + i] = src[i];
    else if (t->tensor[x.i].dtype == GQ_BF16)
        for (int64_t i = 0; i < n; i++)
            ((uint16_t *)d)[first + i] = gq_f32_to_bf16(src[i]);
    else
        memcpy((float *)d + first, src, (size_t)n * sizeof *src);
}

/* Copies what kernels wrote to the host. */
static void fetch(const gq_tape *t, const void *src, void *dst, size_t bytes)
{
    gq_device *d = t->engine->backend->device;
    if (d)
        d->download(d, dst, src, bytes);
    else
        memcpy(dst, src, bytes);
}

void gq_get_real(gq_tape *t, gq_t x, int64_t first, float *dst, int64_t n)
{
    int32_t     type = t->tensor[x.i].dtype;
    const char *d;

    gq_data(t, x);                                  /* binds again if the arena has moved         */
    d = (const char *)t->tensor[x.i].data + (size_t)first * gq_dtype_size(type);
    if (type == GQ_F64) {
        for (int64_t i = 0; i < n; i++)
            dst[i] = (float)((const double *)(const void *)d)[i];
    } else if (type == GQ_BF16) {                   /* into the upper half, then spread upwards   */
        uint16_t *half = (uint16_t *)dst + n;
        fetch(t, d, half, (size_t)n * sizeof *half);
        for (int64_t i = 0; i < n; i++)
            dst[i] = gq_bf16_to_f32(half[i]);
    } else {
        fetch(t, d, dst, (size_t)n * sizeof *dst);
    }
}

double gq_scalar(gq_tape *t, gq_t x)
{
    float v;
    gq_data(t, x);
    if (t->tensor[x.i].dtype == GQ_F64)
        return *(const double *)t->tensor[x.i].data;
    gq_get_real(t, x, 0, &v, 1);
    return (double)v;
}

void gq_fetch(gq_tape *t, gq_t x, float *dst, int64_t n)
{
    gq_device *d = t->engine->backend->device;
    gq_data(t, x);
    if (d)
        d->fetch(d, dst, t->tensor[x.i].data, (size_t)n * sizeof *dst);
    else
        gq_get_real(t, x, 0, dst, n);
}

void *gq_tape_inputs(const gq_tape *t)
{
    return t->host;
}

void gq_tape_recall(gq_tape *t, void *inputs)
{
    if (inputs == t->spare && inputs) {
        t->spare = t->host;
        t->host = inputs;
    }
}

const void *gq_grad_data(gq_tape *t, gq_t x)
{
    gq_data(t, x);
    return grad_pointer(t, x.i);
}

/* ---- running --------------------------------------------------------------------------------- */

static void fill(const gq_tape *t, void *p, int byte, size_t bytes)
{
    gq_device *d = t->engine->backend->device;
    if (d)
        d->fill(d, p, byte, bytes);
    else
        memset(p, byte, bytes);
}

/* Inputs and the step's scalars to where kernels read them. */
static void send(const gq_tape *t)
{
    gq_device *d = t->engine->backend->device;
    if (!d)
        return;
    d->upload(d, t->input, t->host, t->host_bytes + sizeof(float));
    d->set_step(d, &t->engine->step);
}

/* The same beside the work that runs: to the stage, from there when it is this step's turn. The caller gets the
 * inputs of the step before to write into, whose copy has been made by then. */
static gq_status send_ahead(gq_tape *t, gq_error *err)
{
    gq_device *d = t->engine->backend->device;
    size_t     bytes = t->host_bytes + sizeof(float);
    void      *given = t->host;
    uint64_t   copied = d->ahead(d, t->stage, given, bytes, t->stage_free);
    gq_status  s;

    d->follow(d, copied);
    d->copy(d, t->input, t->stage, bytes);
    t->stage_free = d->mark(d);
    d->set_step(d, &t->engine->step);
    s = d->wait(d, t->spare_free, err);
    t->host = t->spare;
    t->spare = given;
    t->spare_free = copied;
    return s;
}

static gq_status finish(const gq_tape *t, gq_error *err)
{
    gq_device *d = t->engine->backend->device;
    return d ? d->finish(d, err) : GQ_OK;
}

/* Ids, rows, lengths come from data: an index outside its table is an error here, not a wild read
 * in a kernel. */
static gq_status check_indices(const gq_tape *t, gq_error *err)
{
    for (int32_t i = 0; i < t->nnode; i++) {
        const gq_node    *n = &t->node[i];
        const gq_op_rule *rule = gq_op_table[n->op].rule;
        for (int k = 0; rule->range && k < n->nin; k++) {
            const gq_tensor *x = &t->tensor[n->in[k]];
            int64_t          lo, hi, count = (int64_t)(x->bytes / 4);
            if (!n->in[k] || !rule->range(t, n, k, &lo, &hi))
                continue;
            for (int64_t j = 0; j < count; j++) {
                int32_t v = ((const int32_t *)written_at(t, n->in[k]))[j];
                if ((v < lo || v >= hi) && !(v == GQ_IGNORE && rule->ignore >> k & 1))
                    return gq_fail(err, GQ_EINPUT,
                                   "%s:%d: %s: element %lld of '%s' is %d, outside [%lld,%lld)",
                                   n->file, n->line, gq_op_table[n->op].name, (long long)j, x->name,
                                   v, (long long)lo, (long long)hi);
            }
        }
    }
    return GQ_OK;
}

#ifdef GIFQA_CHECKED
/* Checked builds: every slot written by an entry is followed by a guard that must survive it. */
enum { GUARD_BYTES = 64, GUARD_VALUE = 0xA5 };

static bool guards(gq_tape *t, const gq_entry *e, bool set)
{
    const gq_node *n = &t->node[e->node];
    int32_t        list[GQ_MAX_IN + GQ_MAX_OUT + GQ_MAX_SAVE];
    int            count = 0;

    for (int k = 0; e->phase != GQ_BACKWARD && k < n->nout; k++)
        list[count++] = n->out[k];
    for (int k = 0; e->phase != GQ_BACKWARD && k < n->nsave; k++)
        list[count++] = n->save[k];
    for (int k = 0; e->phase == GQ_BACKWARD && k < n->nin; k++)
        if (t->call[e->node].din[k].p && t->tensor[t->tensor[n->in[k]].root].grad)
            list[count++] = t->tensor[t->tensor[n->in[k]].root].grad;
    for (int k = 0; k < count; k++) {
        const gq_tensor *x = &t->tensor[list[k]];
        uint8_t         *g = (uint8_t *)x->data + x->bytes, seen[GUARD_BYTES];
        if (set) {
            fill(t, g, GUARD_VALUE, GUARD_BYTES);
            continue;
        }
        fetch(t, g, seen, GUARD_BYTES);
        for (int i = 0; i < GUARD_BYTES; i++)
            if (seen[i] != GUARD_VALUE)
                return false;
    }
    return true;
}

static void poison(gq_tape *t)
{
    uint32_t *w = t->engine->act.base;
    if (t->engine->act.device) {
        fill(t, w, 0x7f, t->act_bytes);             /* 0x7f7f: 3e38 as bf16 and as float          */
        return;
    }
    for (size_t i = 0; !t->eager && i < t->act_bytes / 4; i++)
        w[i] = 0x7ff4dead;                          /* a NaN as float and, twice, as double       */
}
#endif

static double now(const gq_tape *t)
{
    gq_device *d = t->engine->backend->device;
    return d ? d->seconds(d) : gq_now();
}

static gq_status run_entry(gq_tape *t, const gq_entry *e, bool accumulate, gq_error *err)
{
    const gq_node       *n = &t->node[e->node];
    const gq_op_kernels *k = &t->engine->backend->ops[n->op];
    gq_call             *c = &t->call[e->node];
    double               start = t->seconds ? now(t) : 0.0;

#ifdef GIFQA_CHECKED
    bool                 watched = !t->eager && !t->capturing;
    if (watched)
        guards(t, e, true);
#endif
    if (e->phase == GQ_BACKWARD) {
        c->acc = n->acc | (accumulate ? n->acc_param : 0);
        k->bwd(c);
    } else {
        k->fwd(c);
    }
#ifdef GIFQA_CHECKED
    if (watched && !guards(t, e, false))
        return gq_fail(err, GQ_EBUG, "%s:%d: %s wrote past the end of a buffer (backend %s)",
                       n->file, n->line, gq_op_table[n->op].name, t->engine->backend->name);
#else
    (void)err;
#endif
    if (t->seconds)
        t->seconds[e->node * 3 + e->phase] += now(t) - start;
    return GQ_OK;
}

void gq__eager_run(gq_tape *t, int32_t node)
{
    gq_engine           *e = t->engine;
    const gq_op_kernels *k = &e->backend->ops[t->node[node].op];
    gq_call              c;

    build_call(t, node, &c);
    if (k->temp && gq_engine_workspace(e, k->temp(&c, 0, gq_pool_size(e->pool)), &t->err) != GQ_OK)
        return;
    k->fwd(&c);
}

static gq_status ready(gq_tape *t, gq_error *err)
{
    if (!t->finished)
        return gq_fail(err, GQ_EBUG, "tape '%s' is not finished", t->name);
    if (t->bound_act != t->engine->act.generation)
        point(t);
    return check_indices(t, err);
}

static gq_status run_forward(gq_tape *t, gq_error *err)
{
    gq_status s = GQ_OK;
#ifdef GIFQA_CHECKED
    poison(t);
#endif
    for (int32_t i = 0; s == GQ_OK && i < t->forward_entries; i++)
        s = run_entry(t, &t->entry[i], false, err);
    return s;
}

gq_status gq_forward(gq_tape *t, gq_error *err)
{
    gq_status s = ready(t, err);

    if (s != GQ_OK)
        return s;
    send(t);
    s = run_forward(t, err);
    return s == GQ_OK && !t->loss ? finish(t, err) : s;
}

/* Parameters that this tape does not reach have a gradient of zero, not last tape's. */
static void clear_unreached(gq_tape *t)
{
    size_t stat = gq_dtype_size(t->engine->backend->stat);
    for (int32_t i = 0; i < t->nunreached; i++) {
        gq_param *q = &t->params->param[t->unreached[i]];
        fill(t, gq_param_grad(t->params, q), 0, (size_t)q->n * stat);
    }
}

static void seed_loss(gq_tape *t)                   /* d loss / d loss = 1                        */
{
    gq_tensor *d = &t->tensor[t->tensor[t->tensor[t->loss].root].grad];
    gq_device *device = t->engine->backend->device;
    if (device)
        device->copy(device, d->data, (char *)t->input + t->host_bytes, sizeof(float));
    else if (d->dtype == GQ_F64)
        *(double *)d->data = 1.0;
    else
        *(float *)d->data = 1.0f;
}

static gq_status run_backward(gq_tape *t, bool accumulate, gq_error *err)
{
    gq_status s = GQ_OK;

    seed_loss(t);
    if (!accumulate)
        clear_unreached(t);
    for (int32_t i = t->forward_entries; s == GQ_OK && i < t->nentry; i++)
        s = run_entry(t, &t->entry[i], accumulate, err);
    return s;
}

gq_status gq_backward(gq_tape *t, bool accumulate, gq_error *err)
{
    gq_status s;

    if (!t->finished || !t->loss)
        return gq_fail(err, GQ_EBUG, "tape '%s' has no loss to go backward from", t->name);
    s = run_backward(t, accumulate, err);
    return s == GQ_OK ? finish(t, err) : s;
}

/* ---- a step as one piece of the device's work ------------------------------------------------ */

static gq_status run_step(gq_tape *t, bool accumulate, bool update, gq_error *err)
{
    gq_status s = run_forward(t, err);
    if (s == GQ_OK)
        s = run_backward(t, accumulate, err);
    if (s == GQ_OK && update)
        gq_params_update_run(t->params, t->tensor[t->loss].data);
    return s;
}

/* A graph holds addresses: it is of no use once an arena has moved. */
static void drop_moved_graphs(gq_tape *t)
{
    gq_device *d = t->engine->backend->device;
    if (t->graph_act == t->engine->act.generation && t->graph_temp == t->engine->temp.generation)
        return;
    for (int i = 0; i < 4; i++) {
        d->graph_free(d, t->graph[i]);
        t->graph[i] = NULL;
        t->warm[i] = false;
    }
    t->graph_act = t->engine->act.generation;
    t->graph_temp = t->engine->temp.generation;
}

static gq_status capture(gq_tape *t, bool accumulate, bool update, void **graph, gq_error *err)
{
    gq_device *d = t->engine->backend->device;
    gq_status  s;

    d->capture_begin(d);
    t->capturing = true;
    s = run_step(t, accumulate, update, err);
    t->capturing = false;
    *graph = d->capture_end(d);
    return s != GQ_OK || *graph ? s : finish(t, err);
}

gq_status gq_tape_step(gq_tape *t, bool accumulate, bool update, bool graph, gq_error *err)
{
    gq_device *d = t->engine->backend->device;
    int        kind = (accumulate ? 1 : 0) + (update ? 2 : 0);
    gq_status  s = ready(t, err);

    if (s != GQ_OK)
        return s;
    drop_moved_graphs(t);
    graph = graph && !t->seconds;
    if (graph && t->warm[kind] && !t->graph[kind])
        s = capture(t, accumulate, update, &t->graph[kind], err);
    if (s == GQ_OK)
        s = send_ahead(t, err);
    if (s != GQ_OK)
        return s;
    if (graph && t->graph[kind]) {
        d->graph_run(d, t->graph[kind]);
        return GQ_OK;
    }
    s = run_step(t, accumulate, update, err);
    t->warm[kind] = true;                   /* products have their plans, nothing is allocated any more */
    return s;
}

/* ---- looking for trouble --------------------------------------------------------------------- */

static double element(int32_t type, const void *p, int64_t i)
{
    return type == GQ_F64    ? ((const double *)p)[i]
           : type == GQ_BF16 ? (double)gq_bf16_to_f32(((const uint16_t *)p)[i])
                             : (double)((const float *)p)[i];
}

static bool finite_buffer(const gq_tape *t, const gq_buf *b)
{
    enum { PIECE = 4096 };
    size_t  size = gq_dtype_size(b->dtype);
    int64_t n = gq_size(b);
    bool    ok = true;

    if (!b->p || b->dtype == GQ_I32 || b->dtype == GQ_U8)
        return true;
    for (int64_t at = 0; ok && at < n; at += PIECE) {
        double      piece[PIECE];
        int64_t     m = n - at < PIECE ? n - at : PIECE;
        const char *from = (const char *)b->p + (size_t)at * size;
        if (t->engine->backend->device)
            fetch(t, from, piece, (size_t)m * size);
        for (int64_t i = 0; ok && i < m; i++)
            ok = isfinite(element(b->dtype, t->engine->backend->device ? (const void *)piece : from, i));
    }
    return ok;
}

static bool finite_entry(const gq_tape *t, const gq_entry *e)
{
    const gq_call *c = &t->call[e->node];
    bool           ok = true;
    for (int k = 0; k < GQ_MAX_OUT && e->phase != GQ_BACKWARD; k++)
        ok &= finite_buffer(t, &c->out[k]);
    for (int k = 0; k < GQ_MAX_IN && e->phase == GQ_BACKWARD; k++)
        ok &= finite_buffer(t, &c->din[k]);
    return ok;
}

static bool blame(const gq_tape *t, const gq_entry *e, char *text, size_t size)
{
    const gq_node *n = &t->node[e->node];
    const char    *name = n->nin > 1 ? t->tensor[n->in[1]].name : "";
    for (int k = 0; k < n->nin && e->phase != GQ_BACKWARD; k++)
        if (!finite_buffer(t, &t->call[e->node].in[k])) {
            snprintf(text, size, "input '%s' of %s '%s' (%s:%d)", t->tensor[n->in[k]].name,
                     gq_op_table[n->op].name, name, n->file, n->line);
            return true;
        }
    snprintf(text, size, "%s of %s '%s' (%s:%d)", e->phase == GQ_BACKWARD ? "backward" : "output",
             gq_op_table[n->op].name, name, n->file, n->line);
    return true;
}

bool gq_find_nonfinite(gq_tape *t, char *text, size_t size)
{
    gq_error err = {0};
    if (t->bound_act != t->engine->act.generation)
        point(t);
    send(t);
    for (int32_t i = 0; i < t->forward_entries; i++)
        if (run_entry(t, &t->entry[i], false, &err) == GQ_OK && !finite_entry(t, &t->entry[i]))
            return blame(t, &t->entry[i], text, size);
    if (!t->loss || gq_forward(t, &err) != GQ_OK)
        return false;
    seed_loss(t);
    for (int32_t i = t->forward_entries; i < t->nentry; i++)
        if (run_entry(t, &t->entry[i], false, &err) == GQ_OK && !finite_entry(t, &t->entry[i]))
            return blame(t, &t->entry[i], text, size);
    return false;
}

gq_status gq_tape_profile(gq_tape *t, bool on, gq_error *err)
{
    gq_free(t->seconds);
    t->seconds = on ? gq_calloc(3 * (size_t)t->nnode + 1, sizeof *t->seconds) : NULL;
    return on && !t->seconds ? gq_fail(err, GQ_ENOMEM, "tape '%s': out of memory", t->name) : GQ_OK;
}
