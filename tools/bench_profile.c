#include "tools/bench_profile.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "core/io.h"
#include "core/mem.h"
#include "core/ops.h"

enum { NAME = BENCH_NAME, PHASES = 3 };

static const char *const phase_name[PHASES] = {"forward", "again", "backward"};

typedef struct row {
    char   what[NAME];            /* "linear gpt2.h.*.mlp.fc1.w"                            */
    char   sizes[NAME];           /* "512x3072x768"                                         */
    int    phase;                 /* gq_phase; -1: not an op                                */
    int    calls;                 /* a step                                                 */
    double seconds, flops, bytes; /* seconds of all profiled steps; the others of one       */
} row;

typedef struct event {
    int32_t row;
    double  seconds;
} event;

struct bench_profile {
    const gq_step  *step;
    int             steps;
    double          seconds; /* of the steps, wall clock                               */
    double          last_s;  /* of the last one                                        */
    gq_step_seconds last;
    row            *rows; /* [n], unsorted                                          */
    int             n, cap;
    event          *events; /* of the last step, in order; [entries]                  */
    int             entries, forward_entries, events_cap;
};

/* ---- names ----------------------------------------------------------------------------------- */

/* Digits become '*': the blocks of a tower are one row. */
static void without_numbers(const char *name, char *out, size_t size)
{
    size_t n = 0;

    for (const char *c = name; *c && n + 1 < size; c++) {
        bool digit = isdigit((unsigned char)*c) && (c == name || c[-1] == '.' || n == 0);
        if (digit)
            while (isdigit((unsigned char)c[1]))
                c++;
        out[n++] = digit ? '*' : *c;
    }
    out[n] = 0;
}

/* The parameter of the node, or the segment it belongs to. */
static void describe(const gq_tape *t, const gq_node *n, char out[NAME])
{
    const char *name = t->segment[n->segment];
    char        plain[NAME / 2];

    for (int k = n->nin - 1; k >= 0; k--)
        if (n->in[k] && t->tensor[n->in[k]].param >= 0 && t->tensor[n->in[k]].rank == 2)
            name = t->tensor[n->in[k]].name;
    without_numbers(name, plain, sizeof plain);
    snprintf(out, NAME, "%s %s", gq_op_table[n->op].name, plain);
}

static void sizes_of(const gq_tape *t, const gq_node *n, char out[NAME])
{
    const gq_tensor *x = gq__in(t, n, 0), *y = &t->tensor[n->out[0]];
    int64_t          rows = 1;
    char             text[64];

    for (int i = 0; i + 1 < y->rank; i++)
        rows *= y->shape[i];
    switch (n->op) {
    case GQ_OP_LINEAR:
        snprintf(out, NAME, "%lldx%lldx%lld", (long long)rows, (long long)y->shape[y->rank - 1],
                 (long long)x->shape[x->rank - 1]);
        break;
    case GQ_OP_LM_LOSS:
        snprintf(out, NAME, "%lldx%lldx%lld", (long long)gq__in(t, n, 2)->shape[0],
                 (long long)gq__in(t, n, 1)->shape[0], (long long)gq__in(t, n, 1)->shape[1]);
        break;
    case GQ_OP_SDPA: {
        const gq_tensor *kv = n->nin > 1 && n->in[1] ? gq__in(t, n, 1) : x;
        snprintf(out, NAME, "%s on %lld", gq__shape(y, text), (long long)kv->shape[1]);
        break;
    }
    default:
        snprintf(out, NAME, "%s", n->nout ? gq__shape(y, text) : "");
        break;
    }
}

void bench_profile_name(const gq_tape *t, const gq_node *n, char what[BENCH_NAME], char sizes[BENCH_NAME])
{
    describe(t, n, what);
    sizes_of(t, n, sizes);
}

/* ---- collecting ------------------------------------------------------------------------------ */

static row *find_row(bench_profile *p, const char *what, const char *sizes, int phase)
{
    row *r;

    for (int i = 0; i < p->n; i++)
        if (p->rows[i].phase == phase && strcmp(p->rows[i].what, what) == 0 &&
            strcmp(p->rows[i].sizes, sizes) == 0)
            return &p->rows[i];
    if (p->n == p->cap) {
        int  cap = p->cap ? 2 * p->cap : 128;
        row *grown = gq_realloc(p->rows, (size_t)cap, sizeof *grown);
        if (!grown)
            return NULL;
        p->rows = grown;
        p->cap = cap;
    }
    r = &p->rows[p->n++];
    *r = (row){.phase = phase};
    snprintf(r->what, sizeof r->what, "%s", what);
    snprintf(r->sizes, sizeof r->sizes, "%s", sizes);
    return r;
}

static gq_status add_entry(bench_profile *p, const gq_tape *t, const gq_entry *e, gq_error *err)
{
    const gq_node *n = &t->node[e->node];
    double         s = t->seconds[e->node * PHASES + e->phase];
    bool           back = e->phase == GQ_BACKWARD;
    char           what[NAME], sizes[NAME];
    gq_cost        c = {0};
    row           *r;

    describe(t, n, what);
    sizes_of(t, n, sizes);
    gq_op_table[n->op].rule->cost(t, n, &c);
    r = find_row(p, what, sizes, e->phase);
    if (!r)
        return gq_fail(err, GQ_ENOMEM, "out of memory");
    r->seconds += s;
    if (p->steps == 0) {
        r->calls++;
        r->flops += back ? c.bwd_flops : c.fwd_flops;
        r->bytes += back ? c.bwd_bytes : c.fwd_bytes;
    }
    p->events[p->entries++] = (event){(int32_t)(r - p->rows), s};
    return GQ_OK;
}

static gq_status add_other(bench_profile *p, const char *what, double seconds, double flops,
                           double bytes, gq_error *err)
{
    row *r = find_row(p, what, "", -1);

    if (!r)
        return gq_fail(err, GQ_ENOMEM, "out of memory");
    r->seconds += seconds;
    r->calls = 1;
    r->flops = flops;
    r->bytes = bytes;
    return GQ_OK;
}

/* The norm reads every gradient, AdamW reads weight, gradient and moments and writes all but the
 * gradient. On a device the two are one piece of work, and a rounding of the weights is written, too. */
static gq_status add_others(bench_profile *p, double seconds, gq_error *err)
{
    gq_step_seconds s = p->step->seconds;
    double          n = (double)p->step->net->params->trainable_n, ops = 0;
    gq_status       status;

    for (int i = 0; i < p->entries; i++)
        ops += p->events[i].seconds;
    if (p->step->net->engine->backend->device) {
        double wide = p->step->net->params->master.base ? 34 : 32;
        status = add_other(p, "gradient norm, AdamW", s.update, 14 * n, wide * n, err);
        return status == GQ_OK ? add_other(p, "between ops", seconds - ops - s.update, 0, 0, err) : status;
    }
    status = add_other(p, "inputs", s.feed, 0, 0, err);
    if (status == GQ_OK)
        status = add_other(p, "gradient norm", s.norm, 2 * n, 4 * n, err);
    if (status == GQ_OK)
        status = add_other(p, "AdamW", s.update, 12 * n, 28 * n, err);
    if (status == GQ_OK)
        status = add_other(p, "between ops", seconds - ops - s.feed - s.norm - s.update, 0, 0, err);
    return status;
}

static gq_status watch(const bench_profile *p, gq_error *err)
{
    const gq_net *n = p->step->net;
    gq_status     s = GQ_OK;

    for (int i = 0; s == GQ_OK && i < n->passes; i++)
        s = gq_tape_profile(n->pass[i]->tape, true, err);
    return s;
}

gq_status bench_profile_begin(const gq_step *s, bench_profile **out, gq_error *err)
{
    bench_profile *p = gq_calloc(1, sizeof *p);

    *out = p;
    if (!p)
        return gq_fail(err, GQ_ENOMEM, "out of memory");
    p->step = s;
    for (int i = 0; i < s->net->passes; i++)
        p->events_cap += s->net->pass[i]->tape->nentry;
    p->events = gq_calloc((size_t)p->events_cap, sizeof *p->events);
    return p->events ? watch(p, err) : gq_fail(err, GQ_ENOMEM, "out of memory");
}

/* The pass of this step: the one whose clock moved. */
static bool ran(const gq_tape *t)
{
    for (int32_t i = 0; i < t->nentry; i++)
        if (t->seconds[t->entry[i].node * PHASES + t->entry[i].phase] > 0)
            return true;
    return false;
}

gq_status bench_profile_add(bench_profile *p, double seconds, gq_error *err)
{
    const gq_net *n = p->step->net;
    gq_status     s = GQ_OK;

    p->entries = p->forward_entries = 0;
    for (int i = 0; i < n->passes; i++) {
        const gq_tape *t = n->pass[i]->tape;
        if (!ran(t))
            continue;
        for (int32_t e = 0; s == GQ_OK && e < t->nentry; e++) {
            s = add_entry(p, t, &t->entry[e], err);
            p->forward_entries += e < t->forward_entries;
        }
    }
    if (s == GQ_OK)
        s = add_others(p, seconds, err);
    p->steps++;
    p->seconds += seconds;
    p->last_s = seconds;
    p->last = p->step->seconds;
    return s == GQ_OK ? watch(p, err) : s; /* clocks back to zero */
}

void bench_profile_free(bench_profile *p)
{
    if (!p)
        return;
    gq_free(p->rows);
    gq_free(p->events);
    gq_free(p);
}

/* ---- reports --------------------------------------------------------------------------------- */

/* Seconds that the roof allows; *memory: bandwidth is the lower roof. 0: neither counts. */
static double at_roof(const row *r, bench_roof roof, bool *memory)
{
    double compute = roof.gflops > 0 ? 1e-9 * r->flops / roof.gflops : 0,
           move = roof.gbytes > 0 ? 1e-9 * r->bytes / roof.gbytes : 0;

    *memory = move > compute;
    return *memory ? move : compute;
}

static int by_time(const void *a, const void *b)
{
    double x = (*(const row *const *)a)->seconds, y = (*(const row *const *)b)->seconds;
    return (x < y) - (x > y);
}

static const row **sorted(const bench_profile *p)
{
    const row **list = gq_malloc((size_t)p->n + 1, sizeof *list);

    for (int i = 0; list && i < p->n; i++)
        list[i] = &p->rows[i];
    if (list)
        qsort(list, (size_t)p->n, sizeof *list, by_time);
    return list;
}

static void print_row(const bench_profile *p, const row *r, bench_roof roof)
{
    double s = r->seconds / p->steps, least;
    bool   memory;

    least = at_roof(r, roof, &memory);
    printf("| %s | %s | %s | %d | %.3f | %.1f %% |", r->what,
           r->phase < 0 ? "" : phase_name[r->phase], r->sizes, r->calls, 1e3 * s,
           100 * r->seconds / p->seconds);
    if (r->flops > 0)
        printf(" %.1f |", 1e-9 * r->flops / s);
    else
        printf(" |");
    if (r->bytes > 0)
        printf(" %.1f |", 1e-9 * r->bytes / s);
    else
        printf(" |");
    if (least > 0)
        printf(" %.0f %% %s |\n", 100 * least / s, memory ? "of memory" : roof.gpu ? "of products" : "of FMA");
    else
        printf(" |\n");
}

void bench_profile_print(const bench_profile *p, bench_roof roof)
{
    const double small = 0.005;
    const row  **list = sorted(p);
    row          rest = {.what = "everything smaller", .phase = -1};

    if (!list)
        return;
    printf("| op | direction | sizes | calls | ms | share | GFLOP/s | GB/s | roof |\n"
           "|---|---|---|--:|--:|--:|--:|--:|--:|\n");
    for (int i = 0; i < p->n; i++) {
        if (list[i]->seconds >= small * p->seconds) {
            print_row(p, list[i], roof);
            continue;
        }
        rest.calls += list[i]->calls;
        rest.seconds += list[i]->seconds;
        rest.flops += list[i]->flops;
        rest.bytes += list[i]->bytes;
    }
    if (rest.calls)
        print_row(p, &rest, roof);
    if (roof.gpu)
        printf("\nEach op repeated by itself, beside a step of %.6f s. The roof: large matrix products %.0f "
               "GFLOP/s, a copy outside all caches %.1f GB/s.\n",
               p->seconds / p->steps, roof.gflops, roof.gbytes);
    else
        printf("\nMeans of %d steps of %.4f s. The roof: fused multiply-adds in registers %.1f GFLOP/s, "
               "a triad outside all caches %.1f GB/s.\n",
               p->steps, p->seconds / p->steps, roof.gflops, roof.gbytes);
    gq_free(list);
}

json_t *bench_profile_json(const bench_profile *p, bench_roof roof)
{
    json_t     *out = json_array();
    const row **list = sorted(p);

    for (int i = 0; list && i < p->n; i++) {
        const row *r = list[i];
        bool       memory;
        double     s = r->seconds / p->steps, least = at_roof(r, roof, &memory);
        json_array_append_new(
            out, json_pack("{s:s, s:s, s:s, s:i, s:f, s:f, s:f, s:f, s:f, s:s}", "op", r->what,
                           "direction", r->phase < 0 ? "" : phase_name[r->phase], "sizes", r->sizes,
                           "calls", r->calls, "seconds", s, "share", r->seconds / p->seconds,
                           "gflop", 1e-9 * r->flops, "gbytes", 1e-9 * r->bytes, "of_roof",
                           s > 0 ? least / s : 0, "bound", memory ? "memory" : roof.gpu ? "products" : "fma"));
    }
    gq_free(list);
    return out;
}

static void put_event(json_t *list, const char *name, const char *kind, const char *sizes,
                      double *at, double seconds)
{
    json_array_append_new(list,
                          json_pack("{s:s, s:s, s:s, s:f, s:f, s:i, s:i, s:{s:s}}", "name", name,
                                    "cat", kind, "ph", "X", "ts", 1e6 * *at, "dur", 1e6 * seconds,
                                    "pid", 1, "tid", 1, "args", "sizes", sizes));
    *at += seconds;
}

gq_status bench_profile_trace(const bench_profile *p, const char *path, gq_error *err)
{
    json_t   *list = json_array(), *o = json_pack("{s:o}", "traceEvents", list);
    double    at = 0;
    char     *text;
    gq_status s;

    put_event(list, "inputs", "step", "", &at, p->last.feed);
    for (int i = 0; i < p->entries; i++) {
        const row *r = &p->rows[p->events[i].row];
        if (i == p->forward_entries && at < p->last.feed + p->last.forward)
            at = p->last.feed + p->last.forward; /* what lay between the ops of forward */
        put_event(list, r->what, phase_name[r->phase], r->sizes, &at, p->events[i].seconds);
    }
    at = p->last_s - p->last.norm - p->last.update;
    put_event(list, "gradient norm", "step", "", &at, p->last.norm);
    put_event(list, "AdamW", "step", "", &at, p->last.update);
    text = o ? json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(o);
    if (!text)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory for the trace", path);
    s = gq_write_file(path, text, strlen(text), err);
    free(text);
    return s;
}
