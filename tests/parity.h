/* parity.h - comparing a recorded model with numbers that another implementation wrote.
 *
 * Errors are relative to the largest magnitude of the tensor compared. Gradients: or to a
 * hundredth of the largest gradient of all, because some are exactly zero in theory (key
 * biases).
 */
#ifndef GIFQA_TESTS_PARITY_H
#define GIFQA_TESTS_PARITY_H

#include "core/ops.h"
#include "models/hf.h"
#include "support.h"

#define FIXTURE(name) GQ_SOURCE_DIR "/tests/reference/" name

/* Element i of a real array of the backend. */
static inline double parity_value(const gq_engine *e, const void *p, int64_t i)
{
    return e->backend->real == GQ_F64 ? ((const double *)p)[i] : (double)((const float *)p)[i];
}

static inline double parity_largest(const double *x, int64_t n)
{
    double m = 0.0;
    for (int64_t i = 0; i < n; i++)
        m = fmax(m, fabs(x[i]));
    return m;
}

/* All of a stored tensor, which must have n elements; the caller frees it. */
static inline double *parity_read(const gq_safetensors *st, const char *name, int64_t n)
{
    const gq_st_tensor *t = gq_st_find(st, name);
    double             *x = malloc((size_t)n * sizeof *x);
    gq_error            err = {0};

    if (!t)
        fail_msg("no tensor '%s'", name);
    assert_int_equal(t->count, n);
    assert_ok(gq_st_read_f64(t, x, &err), &err);
    return x;
}

/* All of a tensor of a tape that has run; the caller frees it. */
static inline double *parity_get(gq_tape *t, gq_t x)
{
    int64_t n = (int64_t)(t->tensor[x.i].bytes / gq_dtype_size(t->tensor[x.i].dtype));
    double *v = malloc((size_t)n * sizeof *v);
    for (int64_t i = 0; i < n; i++)
        v[i] = parity_value(t->engine, gq_data(t, x), i);
    return v;
}

static inline void parity_close(const double *got, const double *want, int64_t n, double bound,
                                const char *what)
{
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(got[i] - want[i]) <= bound))
            fail_msg("%s[%lld]: got %.9g, want %.9g (bound %.3g)", what, (long long)i, got[i],
                     want[i], bound);
}

static inline void parity_expect(const gq_safetensors *st, const double *got, int64_t n,
                                 const char *name, double bound)
{
    double *want = parity_read(st, name, n);
    parity_close(got, want, n, bound * parity_largest(want, n), name);
    free(want);
}

/* x has as many elements as the stored tensor and the same values. */
static inline void parity_tensor(const gq_safetensors *st, gq_tape *t, gq_t x, const char *name,
                                 double bound)
{
    double *v = parity_get(t, x);
    parity_expect(st, v, (int64_t)(t->tensor[x.i].bytes / gq_dtype_size(t->tensor[x.i].dtype)),
                  name, bound);
    free(v);
}

/* ---- inner tensors by the parameter that reads or makes them (needs a separate plan) ---------- */

static inline const gq_node *parity_node(const gq_tape *t, gq_op op, int input,
                                         const char *parameter)
{
    for (int32_t i = 0; i < t->nnode; i++)
        if (t->node[i].op == op && input < t->node[i].nin &&
            strcmp(t->tensor[t->node[i].in[input]].name, parameter) == 0)
            return &t->node[i];
    return NULL;
}

/* What the linear with this weight makes. */
static inline gq_t parity_linear(const gq_tape *t, const char *weight)
{
    const gq_node *n = parity_node(t, GQ_OP_LINEAR, 1, weight);
    if (!n)
        fail_msg("no linear with '%s'", weight);
    return (gq_t){n->out[0]};
}

/* The residual stream that the norm with this gain reads, and what the norm makes. */
static inline gq_t parity_stream(const gq_tape *t, const char *gain, gq_t *normed)
{
    const gq_node *sum = parity_node(t, GQ_OP_ADD_NORM, 2, gain);
    const gq_node *plain = parity_node(t, GQ_OP_LAYERNORM, 1, gain);
    if (!sum && !plain)
        fail_msg("no norm with '%s'", gain);
    if (normed)
        *normed = (gq_t){sum ? sum->out[1] : plain->out[0]};
    return (gq_t){sum ? sum->out[0] : plain->in[0]};
}

/* ---- gradients ------------------------------------------------------------------------------- */

static inline double parity_largest_gradient(const gq_safetensors *st)
{
    double most = 0.0;
    for (size_t i = 0; i < gq_st_count(st); i++) {
        const gq_st_tensor *t = gq_st_at(st, i);
        double             *x;
        if (strncmp(t->name, "grad.", 5) != 0)
            continue;
        x = parity_read(st, t->name, (int64_t)t->count);
        most = fmax(most, parity_largest(x, (int64_t)t->count));
        free(x);
    }
    return most;
}

static inline void parity_gradient(const gq_params *p, const gq_param *q, const gq_hf_part *part,
                                   const gq_st_tensor *t, double floor, double bound)
{
    double  *want = malloc((size_t)part->n * sizeof *want), scale;
    gq_error err = {0};

    assert_ok(gq_hf_read(part, t, want, &err), &err);
    scale = fmax(parity_largest(want, part->n), floor);
    for (int64_t j = 0; j < part->n; j++) {
        double got = parity_value(p->engine, gq_param_grad(p, q), part->first + j);
        if (!(fabs(got - want[j]) <= bound * scale))
            fail_msg("%s[%lld]: got %.9g, want %.9g (scale %.3g)", t->name, (long long)j, got,
                     want[j], scale);
    }
    free(want);
}

/* Every gradient "grad.<published name>" of st; returns how many tensors there were. */
static inline int parity_gradients(const gq_params *p, const gq_safetensors *st, double bound)
{
    double floor = 1e-2 * parity_largest_gradient(st);
    int    compared = 0;

    for (int32_t i = 0; i < p->count; i++)
        for (int family = 0; family < GQ_HF_FAMILIES; family++) {
            gq_hf_part part[3];
            int        parts = gq_hf_parts((gq_hf_family)family, &p->param[i], part);
            for (int k = 0; k < parts; k++) {
                const gq_st_tensor *t;
                char                name[200];
                snprintf(name, sizeof name, "grad.%s", part[k].name);
                t = gq_st_find(st, name);
                if (t)
                    parity_gradient(p, &p->param[i], &part[k], t, floor, bound);
                compared += t != NULL;
            }
        }
    return compared;
}

#endif
