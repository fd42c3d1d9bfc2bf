#include "core/tape.h"

#include <stdio.h>
#include <string.h>

#include "core/mem.h"

/* ---- errors: the first one stays ------------------------------------------------------------- */

gq_tape *gq__at(gq_tape *t, const char *file, int line)
{
    t->file = file;
    t->line = line;
    return t;
}

const char *gq__shape(const gq_tensor *x, char buf[64])
{
    int at = snprintf(buf, 64, "[");
    for (int i = 0; i < x->rank; i++)
        at += snprintf(buf + at, 64 - (size_t)at, "%s%lld", i ? "," : "", (long long)x->shape[i]);
    snprintf(buf + at, 64 - (size_t)at, "]");
    return buf;
}

bool gq__fail(gq_tape *t, const gq_node *n, const char *fmt, ...)
{
    char    what[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    if (n)
        gq_fail(&t->err, GQ_ECONFIG, "%s:%d: %s '%s': %s", t->file, t->line,
                gq_op_table[n->op].name,
                n->nin > 1 && n->in[1] ? t->tensor[n->in[1]].name : t->tensor[n->in[0]].name, what);
    else
        gq_fail(&t->err, GQ_ECONFIG, "%s:%d: %s", t->file ? t->file : "tape", t->line, what);
    return false;
}

static bool no_memory(gq_tape *t)
{
    gq_fail(&t->err, GQ_ENOMEM, "tape '%s': out of memory", t->name ? t->name : "");
    return false;
}

/* ---- growing arrays -------------------------------------------------------------------------- */

static bool reserve(gq_tape *t, void **array, int32_t count, int32_t *capacity, size_t size)
{
    void   *p;
    int32_t want;
    if (count < *capacity)
        return true;
    want = *capacity ? 2 * *capacity : 64;
    p = gq_realloc(*array, (size_t)want, size);
    if (!p)
        return no_memory(t);
    *array = p;
    *capacity = want;
    return true;
}

static const char *own_name(gq_tape *t, const char *name)
{
    char *copy;
    if (!name || !*name)
        return "";
    copy = gq_strdup(name);
    if (!copy || !reserve(t, (void **)&t->names, t->nnames, &t->names_cap, sizeof *t->names)) {
        gq_free(copy);
        no_memory(t);
        return "";
    }
    return t->names[t->nnames++] = copy;
}

static int32_t new_tensor(gq_tape *t, const char *name, int32_t dtype, int rank,
                          const int64_t *shape, uint32_t flags)
{
    gq_tensor *x;
    size_t     bytes = gq_dtype_size(dtype);

    if (t->err.code != GQ_OK ||
        !reserve(t, (void **)&t->tensor, t->ntensor, &t->tensor_cap, sizeof *t->tensor))
        return 0;
    x = &t->tensor[t->ntensor];
    memset(x, 0, sizeof *x);
    x->rank = rank;
    x->dtype = dtype;
    x->flags = flags;
    x->root = t->ntensor;
    x->node = x->param = -1;
    for (int i = 0; i < 2; i++)
        x->life[i][0] = x->life[i][1] = -1;
    for (int i = 0; i < GQ_MAX_RANK; i++) {
        x->shape[i] = i < rank ? shape[i] : 1;
        if (x->shape[i] < 0 || !gq_mul_size(bytes, (size_t)x->shape[i], &bytes) ||
            bytes > (size_t)1 << 46) {
            gq__fail(t, NULL, "'%s': dimension %d is %lld", name ? name : "", i,
                     (long long)x->shape[i]);
            return 0;
        }
    }
    x->bytes = bytes;
    x->name = own_name(t, name);
    return t->ntensor++;
}

/* ---- life ------------------------------------------------------------------------------------ */

gq_status gq_tape_new(gq_engine *e, gq_params *p, const char *name, gq_tape **out, gq_error *err)
{
    gq_tape *t = gq_calloc(1, sizeof *t);
    int64_t  one = 1;

    *out = NULL;
    if (!t)
        return gq_fail(err, GQ_ENOMEM, "tape '%s': out of memory", name);
    t->engine = e;
    t->params = p;
    t->name = gq_strdup(name);
    new_tensor(t, "", GQ_I32, 1, &one, 0);          /* tensor 0 means "none" */
    gq_segment(t, "start");
    if (!t->name || t->err.code != GQ_OK) {
        gq_tape_free(t);
        return gq_fail(err, GQ_ENOMEM, "tape '%s': out of memory", name);
    }
    *out = t;
    return GQ_OK;
}

void gq_tape_free(gq_tape *t)
{
    if (!t)
        return;
    for (int32_t i = 0; i < t->nnames; i++)
        gq_free(t->names[i]);
    for (int32_t i = 0; i < t->nsegment; i++)
        gq_free(t->segment[i]);
    for (int32_t i = 0; i < t->neager; i++)
        gq_free(t->eager_mem[i]);
    gq_free(t->names);
    gq_free(t->segment);
    gq_free(t->eager_mem);
    gq_free(t->name);
    gq_free(t->tensor);
    gq_free(t->node);
    gq_free(t->entry);
    gq_free(t->call);
    gq_free(t->unreached);
    for (int i = 0; i < 4; i++)
        if (t->graph[i])
            t->engine->backend->device->graph_free(t->engine->backend->device, t->graph[i]);
    gq__free_inputs(t);
    gq_free(t->seconds);
    gq_free(t);
}

void gq_tape_no_grad(gq_tape *t)
{
    t->inference = true;
}

void gq_grad_pause(gq_tape *t, bool paused)
{
    t->paused = paused;
}

void gq_tape_eager(gq_tape *t)
{
    if (t->engine->backend->device)
        gq__fail(t, NULL, "an eager tape needs a backend that works in the host's memory");
    t->eager = true;
}

/* ---- leaves ---------------------------------------------------------------------------------- */

/* An eager tape has storage at once; a planned one when it is finished. */
static bool eager_storage(gq_tape *t, int32_t i)
{
    gq_tensor *x = &t->tensor[i];
    if (!t->eager || x->data)
        return true;
    if (!reserve(t, (void **)&t->eager_mem, t->neager, &t->eager_cap, sizeof *t->eager_mem))
        return false;
    x->data = gq_aligned(64, x->bytes);
    if (!x->data)
        return no_memory(t);
    memset(x->data, 0, x->bytes);
    t->eager_mem[t->neager++] = x->data;
    return true;
}

gq_t gq_input(gq_tape *t, const char *name, gq_dtype d, int rank, const int64_t *shape)
{
    int32_t i = new_tensor(t, name, (int32_t)d, rank, shape, GQ_TF_INPUT);
    if (i && !eager_storage(t, i))
        i = 0;
    return (gq_t){i};
}

gq_t gq_input_real(gq_tape *t, const char *name, int rank, const int64_t *shape)
{
    return gq_input(t, name, t->engine->backend->real, rank, shape);
}

gq_t gq_input_stat(gq_tape *t, const char *name, int rank, const int64_t *shape)
{
    return gq_input(t, name, t->engine->backend->stat, rank, shape);
}

gq_t gq_extern(gq_tape *t, const char *name, gq_dtype d, int rank, const int64_t *shape, void *data)
{
    int32_t i = new_tensor(t, name, (int32_t)d, rank, shape, GQ_TF_EXTERN);
    if (i)
        t->tensor[i].data = data;
    return (gq_t){i};
}

static gq_t parameter(gq_tape *t, bool required, const char *name)
{
    gq_param *q;
    int32_t   i;
    uint32_t  flags = GQ_TF_PARAM;

    if (t->err.code != GQ_OK)
        return GQ_T_NONE;
    q = gq_params_find(t->params, name);
    if (!q) {
        if (required)
            gq__fail(t, NULL, "no parameter '%s' is declared", name);
        return GQ_T_NONE;
    }
    if (q->released) {
        gq__fail(t, NULL, "parameter '%s' was released", name);
        return GQ_T_NONE;
    }
    for (i = 1; i < t->ntensor; i++)        /* one tensor per parameter: gradients of ties add up */
        if (t->tensor[i].param == (int32_t)(q - t->params->param))
            return (gq_t){i};
    if (!t->inference && q->active && gq_param_grad(t->params, q))
        flags |= GQ_TF_NEEDS_GRAD;
    i = new_tensor(t, name, t->engine->backend->real, q->rank, q->shape, flags);
    if (i) {
        t->tensor[i].param = (int32_t)(q - t->params->param);
        t->tensor[i].data = gq_param_data(t->params, q);
    }
    return (gq_t){i};
}

gq_t gq_p(gq_tape *t, const char *fmt, ...)
{
    char    name[128];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    return parameter(t, true, name);
}

gq_t gq_p_opt(gq_tape *t, const char *fmt, ...)
{
    char    name[128];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    return parameter(t, false, name);
}

static gq_t alias(gq_tape *t, gq_t x, int rank, const int64_t *shape, bool grad)
{
    int32_t    i;
    gq_tensor *a, *b;

    if (t->err.code != GQ_OK || !x.i)
        return GQ_T_NONE;
    i = new_tensor(t, t->tensor[x.i].name, t->tensor[x.i].dtype, rank, shape,
                   t->tensor[x.i].flags & GQ_TF_NEEDS_GRAD);
    if (!i)
        return GQ_T_NONE;
    a = &t->tensor[i];
    b = &t->tensor[x.i];
    if (a->bytes != b->bytes) {
        char s0[64], s1[64];
        gq__fail(t, NULL, "reshape '%s': %s does not hold as many elements as %s", b->name,
                 gq__shape(b, s0), gq__shape(a, s1));
        return GQ_T_NONE;
    }
    a->root = b->root;
    a->node = b->node;
    a->data = b->data;
    if (!grad)
        a->flags &= ~(uint32_t)GQ_TF_NEEDS_GRAD;
    return (gq_t){i};
}

gq_t gq_reshape(gq_tape *t, gq_t x, int rank, const int64_t *shape)
{
    return alias(t, x, rank, shape, true);
}

gq_t gq_stop_grad(gq_tape *t, gq_t x)
{
    if (t->err.code != GQ_OK || !x.i)
        return GQ_T_NONE;
    int64_t shape[GQ_MAX_RANK];
    memcpy(shape, t->tensor[x.i].shape, sizeof shape);
    return alias(t, x, t->tensor[x.i].rank, shape, false);
}

void gq_segment(gq_tape *t, const char *name)
{
    char **s;
    if (t->err.code != GQ_OK)
        return;
    s = gq_realloc(t->segment, (size_t)t->nsegment + 1, sizeof *s);
    if (s)
        t->segment = s;
    if (!s || !(s[t->nsegment] = gq_strdup(name))) {
        no_memory(t);
        return;
    }
    t->nsegment++;
}

void gq_keep(gq_tape *t, gq_t x, const char *name)
{
    if (t->err.code != GQ_OK || !x.i)
        return;
    t->tensor[t->tensor[x.i].root].flags |= GQ_TF_KEEP;
    t->tensor[x.i].flags |= GQ_TF_KEEP;
    t->tensor[x.i].name = own_name(t, name);
}

gq_t gq_find(const gq_tape *t, const char *name)
{
    for (int32_t i = t->ntensor - 1; i > 0; i--)
        if (t->tensor[i].flags & (GQ_TF_KEEP | GQ_TF_INPUT | GQ_TF_EXTERN) &&
            strcmp(t->tensor[i].name, name) == 0)
            return (gq_t){i};
    return GQ_T_NONE;
}

int64_t gq_dim(const gq_tape *t, gq_t x, int axis)
{
    const gq_tensor *a = &t->tensor[x.i];
    return x.i ? a->shape[axis < 0 ? a->rank + axis : axis] : 1;
}

int gq_rank(const gq_tape *t, gq_t x)
{
    return t->tensor[x.i].rank;
}

/* ---- recording ------------------------------------------------------------------------------- */

static int32_t out(gq_tape *t, gq_node *n, gq_dtype type, int rank, const int64_t *shape)
{
    int32_t i = new_tensor(t, "", (int32_t)type, rank, shape, 0);
    if (i) {
        t->tensor[i].node = (int32_t)(n - t->node);
        n->out[n->nout++] = i;
    }
    return i;
}

static int32_t save(gq_tape *t, gq_node *n, gq_dtype type, int rank, const int64_t *shape)
{
    int32_t i = new_tensor(t, "", (int32_t)type, rank, shape, GQ_TF_SAVE);
    if (i) {
        t->tensor[i].node = (int32_t)(n - t->node);
        n->save[n->nsave++] = i;
    }
    return i;
}

int32_t gq__out(gq_tape *t, gq_node *n, int rank, const int64_t *shape)
{
    return out(t, n, t->engine->backend->real, rank, shape);
}

int32_t gq__out_stat(gq_tape *t, gq_node *n, int rank, const int64_t *shape)
{
    return out(t, n, t->engine->backend->stat, rank, shape);
}

int32_t gq__save(gq_tape *t, gq_node *n, int rank, const int64_t *shape)
{
    return save(t, n, t->engine->backend->stat, rank, shape);
}

int32_t gq__save_real(gq_tape *t, gq_node *n, int rank, const int64_t *shape)
{
    return save(t, n, t->engine->backend->real, rank, shape);
}

/* Gradients flow into this node when an input needs one; then its backward must exist in the
 * backend. */
static bool settle_grad(gq_tape *t, gq_node *n)
{
    const gq_op_info *info = &gq_op_table[n->op];
    bool              wanted = false;

    for (int k = 0; k < n->nin; k++)
        if (n->in[k] && !(info->rule->no_grad >> k & 1) &&
            t->tensor[n->in[k]].flags & GQ_TF_NEEDS_GRAD)
            wanted = true;
    if (!wanted || t->paused)
        return true;
    if (info->flags & GQ_OP_NOGRAD || !t->engine->backend->ops[n->op].bwd)
        return gq__fail(
            t, n, "a gradient is needed through this op, and backend %s has no backward for it",
            t->engine->backend->name);
    for (int k = 0; k < n->nout; k++)
        t->tensor[n->out[k]].flags |= GQ_TF_NEEDS_GRAD;
    return true;
}

static bool check_inputs(gq_tape *t, gq_node *n, const gq_op_info *info)
{
    for (int k = 0; k < n->nin; k++) {
        if (!n->in[k] && k < info->min_in)
            return gq__fail(t, NULL, "%s: input %d is missing", info->name, k);
        for (int j = 0; n->in[k] && j < k; j++)
            if (n->in[j] && t->tensor[n->in[k]].root == t->tensor[n->in[j]].root &&
                t->tensor[n->in[k]].flags & t->tensor[n->in[j]].flags & GQ_TF_NEEDS_GRAD)
                return gq__fail(
                    t, n, "inputs %d and %d are the same tensor: their gradients would overlap", j,
                    k);
    }
    if (!t->engine->backend->ops[n->op].fwd)
        return gq__fail(t, NULL, "backend %s has no kernel for op %s", t->engine->backend->name,
                        info->name);
    return true;
}

gq_node *gq__record(gq_tape *t, gq_op op, int nin, const gq_t *in, const gq_attr *attr)
{
    const gq_op_info *info = &gq_op_table[op];
    gq_node          *n;

    if (t->err.code != GQ_OK ||
        !reserve(t, (void **)&t->node, t->nnode, &t->node_cap, sizeof *t->node))
        return NULL;
    if (t->finished) {
        gq__fail(t, NULL, "%s: the tape is finished", info->name);
        return NULL;
    }
    n = &t->node[t->nnode++];
    memset(n, 0, sizeof *n);
    n->op = (uint16_t)op;
    n->segment = (uint16_t)(t->nsegment - 1);
    n->nin = (uint8_t)nin;
    n->file = t->file;
    n->line = t->line;
    n->rng_op = (uint32_t)t->nnode;
    n->attr = *attr;
    for (int k = 0; k < nin; k++)
        n->in[k] = in[k].i;
    if (!check_inputs(t, n, info) || !info->rule->infer(t, n) || t->err.code != GQ_OK ||
        !settle_grad(t, n))
        return NULL;
    if (t->eager) {
        for (int k = 0; k < n->nout; k++)
            eager_storage(t, n->out[k]);
        for (int k = 0; k < n->nsave; k++)
            eager_storage(t, n->save[k]);
        if (t->err.code == GQ_OK)
            gq__eager_run(t, t->nnode - 1);
    }
    return t->err.code == GQ_OK ? n : NULL;
}

/* The gradient tensor of a root, made on first use; 0 after an error. */
int32_t gq__grad_tensor(gq_tape *t, int32_t root)
{
    int32_t g = t->tensor[root].grad;
    if (!g) {
        int64_t shape[GQ_MAX_RANK];
        memcpy(shape, t->tensor[root].shape, sizeof shape);
        g = new_tensor(t, t->tensor[root].name, t->tensor[root].dtype, t->tensor[root].rank, shape,
                       GQ_TF_GRAD);
        if (g && !eager_storage(t, g))
            g = 0;
        t->tensor[root].grad = g;
    }
    return g;
}

/* ---- looking --------------------------------------------------------------------------------- */

gq_cost gq_tape_cost(const gq_tape *t)
{
    gq_cost sum = {0};
    for (int32_t i = 0; i < t->nentry; i++) {
        const gq_node *n = &t->node[t->entry[i].node];
        gq_cost        c = {0};
        gq_op_table[n->op].rule->cost(t, n, &c);
        if (t->entry[i].phase == GQ_BACKWARD) {
            sum.bwd_flops += c.bwd_flops;
            sum.bwd_bytes += c.bwd_bytes;
        } else {
            sum.fwd_flops += c.fwd_flops;
            sum.fwd_bytes += c.fwd_bytes;
        }
    }
    return sum;
}

int gq_tape_line(const gq_tape *t, int32_t i, char *text, size_t size)
{
    const gq_node *n = &t->node[i];
    char           shape[64] = "";
    gq_cost        c = {0};
    int            k = n->nin > 1 ? 1 : 0;

    gq_op_table[n->op].rule->cost(t, n, &c);
    if (n->nout)
        gq__shape(&t->tensor[n->out[0]], shape);
    return snprintf(text, size, "%4d %-12s %-28s %-18s %10.3f MFLOP %8.3f MB  %s:%d", i,
                    gq_op_table[n->op].name, n->in[k] ? t->tensor[n->in[k]].name : "", shape,
                    c.fwd_flops / 1e6, c.fwd_bytes / 1e6, n->file, n->line);
}
