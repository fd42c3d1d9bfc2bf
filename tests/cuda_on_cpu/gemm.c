/* gemm.c - matrix products of the CUDA column against double loops: layouts, types, epilogues, batches; plans are made
 * once; choices of algorithms survive as text; failures are told and leave nothing behind. */
#include "tests/cuda_on_cpu/lt_on_host.h"
#include "tests/support.h"

#include "core/philox.h"

static gq_device *dev;

static int device_opened(void **state)
{
    gq_error          err = {0};
    const gq_backend *be = gq_backend_on_host(0, &err);
    (void)state;
    if (!be)
        fail_msg("%s", err.text);
    dev = be->device;
    return 0;
}

static void finished(void)
{
    gq_error err = {0};
    assert_ok(dev->finish(dev, &err), &err);
}

/* ---- matrices -------------------------------------------------------------------------------- */

enum { SEED = 7, GAP = 0x5b };

typedef struct matrix {                 /* numbers on the host, their copy in device memory       */
    double  *x;
    char    *there, *image;             /* shifted address; what was uploaded                     */
    void    *block;
    size_t   bytes;
    int64_t  rows, cols, ld, stride;
    int32_t  batch, type;
} matrix;

static size_t size_of(int32_t type) { return type == GQ_BF16 ? 2 : 4; }

static double element_of(const char *p, int32_t type, int64_t i)
{
    if (type == GQ_F32)
        return ((const float *)(const void *)p)[i];
    uint32_t u = (uint32_t)((const uint16_t *)(const void *)p)[i] << 16;
    float    f;
    memcpy(&f, &u, 4);
    return f;
}

/* Normal numbers with few bits, so that both types hold them; gaps between rows are GAP. shift: elements. */
static matrix made(int64_t rows, int64_t cols, int64_t ld, int32_t batch, int32_t type, int shift, uint32_t stream)
{
    matrix m = {.rows = rows, .cols = cols, .ld = ld, .batch = batch, .type = type};
    m.stride = batch > 1 ? rows * ld + 5 : 0;
    m.bytes = (size_t)((batch - 1) * m.stride + (rows - 1) * ld + cols) * size_of(type);
    m.x = calloc((size_t)(batch * rows * cols), sizeof *m.x);
    m.image = malloc(m.bytes);
    m.block = dev->alloc(dev, m.bytes + (size_t)shift * size_of(type));
    assert_true(m.x && m.image && m.block);
    m.there = (char *)m.block + (size_t)shift * size_of(type);
    memset(m.image, GAP, m.bytes);
    for (int64_t i = 0; i < batch * rows * cols; i++) {
        int64_t  at = i / (rows * cols) * m.stride + i / cols % rows * ld + i % cols;
        float    f = (float)((double)(gq_philox_at(SEED, (uint64_t)i, stream, 0) % 255) - 127) / 64;
        uint32_t u;
        memcpy(&u, &f, 4);
        m.x[i] = f;
        if (type == GQ_F32)
            memcpy(m.image + at * 4, &f, 4);
        else
            memcpy(m.image + at * 2, (char *)&u + 2, 2);
    }
    dev->upload(dev, m.there, m.image, m.bytes);
    return m;
}

static void dropped(matrix *m)
{
    free(m->x);
    free(m->image);
    dev->release(dev, m->block);
    *m = (matrix){0};
}

static double at(const matrix *m, int64_t b, int64_t r, int64_t c, int transposed)
{
    int64_t row = transposed ? c : r, col = transposed ? r : c;
    return m->x[(b * m->rows + row) * m->cols + col];
}

/* want and bound are [batch,rows,cols]; gaps must be as they were. */
static void compare(const matrix *m, const double *want, const double *bound, const char *what)
{
    char *got = malloc(m->bytes);
    assert_non_null(got);
    dev->download(dev, got, m->there, m->bytes);
    for (int64_t i = 0; i < m->batch * m->rows * m->cols; i++) {
        int64_t e = i / (m->rows * m->cols) * m->stride + i / m->cols % m->rows * m->ld + i % m->cols;
        double  x = element_of(got, m->type, e), slack = m->type == GQ_BF16 ? fabs(want[i]) / 256 + 1e-30 : 0;
        if (!(fabs(x - want[i]) <= bound[i] + slack))
            fail_msg("%s: element %lld is %.9g instead of %.9g (bound %.3g)", what, (long long)i, x, want[i], bound[i]);
        memset(got + (size_t)e * size_of(m->type), GAP, size_of(m->type));
    }
    for (size_t i = 0; i < m->bytes; i++)
        if (got[i] != GAP)
            fail_msg("%s: byte %zu between the rows was written", what, i);
    free(got);
}

/* ---- one product ----------------------------------------------------------------------------- */

typedef struct product_case {
    int64_t m, n, k;
    int32_t batch, ta, tb, type, type_d;
    int     epilogue, adds, apart, pad, shift; /* adds: beta 1; apart: C is not D                 */
    float   alpha;
} product_case;

static double gelu(double x) { return 0.5 * x * (1 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x))); }
static double gelu_slope(double x)
{
    double t = tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x));
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * 0.79788456080286535588 * (1 + 0.134145 * x * x);
}

static gq_gemm description(const product_case *c, const matrix *a, const matrix *b, const matrix *d, int64_t ld_aux)
{
    return (gq_gemm){.m = c->m, .n = c->n, .k = c->k, .lda = a->ld, .ldb = b->ld, .ldd = d->ld, .ld_aux = ld_aux,
                     .stride_a = a->stride, .stride_b = b->stride, .stride_d = d->stride, .batch = c->batch,
                     .ta = c->ta, .tb = c->tb, .type_ab = c->type, .type_d = c->type_d, .type_bias = c->type_d,
                     .epilogue = c->epilogue, .alpha = c->alpha, .beta = c->adds ? 1.0f : 0.0f};
}

typedef struct operands { matrix a, b, d, c, bias, aux; gq_gemm g; } operands;

static operands operands_of(const product_case *c)
{
    int64_t  ra = c->ta ? c->k : c->m, ca = c->ta ? c->m : c->k, rb = c->tb ? c->n : c->k, cb = c->tb ? c->k : c->n;
    int64_t  bias = c->epilogue == GQ_EPI_BGRAD_A ? c->m : c->n;
    operands o = {.a = made(ra, ca, ca + c->pad, c->batch, c->type, c->shift, 1),
                  .b = made(rb, cb, cb + c->pad, c->batch, c->type, c->shift, 2),
                  .d = made(c->m, c->n, c->n + c->pad, c->batch, c->type_d, c->shift, 3),
                  .c = made(c->m, c->n, c->n + c->pad, c->batch, c->type_d, c->shift, 4),
                  .bias = made(1, bias, bias, 1, c->type_d, 0, 5),
                  .aux = made(c->m, c->n, (c->n + 7) / 8 * 8, 1, c->type_d, 0, 6)};
    o.g = description(c, &o.a, &o.b, &o.d, o.aux.ld);
    return o;
}

static void operands_dropped(operands *o)
{
    matrix *all[] = {&o->a, &o->b, &o->d, &o->c, &o->bias, &o->aux};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        dropped(all[i]);
}

static void start(const operands *o, int apart)
{
    gq_lt_test_gemm(dev, &o->g, o->a.there, o->b.there, o->d.there, o->bias.there, o->aux.there, apart ? o->c.there : NULL);
}

/* What the case should give for D, aux and bias; bound: for errors of float sums. */
typedef struct expected { double *d, *aux, *bias, *bound, *bias_bound; } expected;

static expected expected_of(const product_case *c, const operands *o)
{
    int64_t   bias_n = o->bias.cols;
    size_t    n = (size_t)(c->batch * c->m * c->n);
    expected  w = {calloc(n, 8), calloc(n, 8), calloc((size_t)bias_n, 8), calloc(n, 8), calloc((size_t)bias_n, 8)};
    const double eps = 6e-8;
    for (int64_t i = 0; i < (int64_t)n; i++) {
        int64_t b = i / (c->m * c->n), r = i / c->n % c->m, col = i % c->n;
        double  sum = 0, size = 0, x;
        for (int64_t k = 0; k < c->k; k++) {
            double term = at(&o->a, b, r, k, c->ta) * at(&o->b, b, k, col, c->tb);
            sum += term;
            size += fabs(term);
        }
        x = c->alpha * sum + (c->adds ? at(c->apart ? &o->c : &o->d, b, r, col, 0) : 0);
        w.bound[i] = eps * ((double)c->k + 8) * (size * fabs((double)c->alpha) + 8);
        if (c->epilogue == GQ_EPI_BIAS || c->epilogue == GQ_EPI_BIAS_GELU || c->epilogue == GQ_EPI_BIAS_GELU_AUX)
            x += o->bias.x[col];
        w.aux[i] = c->epilogue == GQ_EPI_BIAS_GELU_AUX ? x : o->aux.x[i % (c->m * c->n)];
        if (c->epilogue == GQ_EPI_BIAS_GELU || c->epilogue == GQ_EPI_BIAS_GELU_AUX)
            x = gelu(x);
        if (c->epilogue == GQ_EPI_DGELU_BGRAD) {
            x *= gelu_slope(w.aux[i]);
            w.bias[col] += x;
            w.bias_bound[col] += 2 * w.bound[i] + eps * (double)c->m * fabs(x);
        }
        w.bound[i] *= 2;
        w.d[i] = x;
    }
    if (c->epilogue == GQ_EPI_BGRAD_A)
        for (int64_t r = 0; r < c->m; r++)
            for (int64_t k = 0; k < c->k; k++) {
                w.bias[r] += at(&o->a, 0, r, k, c->ta);
                w.bias_bound[r] += eps * (double)c->k * fabs(at(&o->a, 0, r, k, c->ta));
            }
    else if (c->epilogue != GQ_EPI_DGELU_BGRAD)
        memcpy(w.bias, o->bias.x, (size_t)bias_n * 8);
    return w;
}

static void expected_dropped(expected *w)
{
    free(w->d);
    free(w->aux);
    free(w->bias);
    free(w->bound);
    free(w->bias_bound);
}

static void check_case(const product_case *c)
{
    char     what[200];
    operands o = operands_of(c);
    expected w = expected_of(c, &o);
    snprintf(what, sizeof what, "[%lld,%lld] over %lld, batch %d, ta %d, tb %d, %s to %s, epilogue %d, beta %d%s, pad %d, shift %d",
             (long long)c->m, (long long)c->n, (long long)c->k, c->batch, c->ta, c->tb, c->type == GQ_BF16 ? "bf16" : "float",
             c->type_d == GQ_BF16 ? "bf16" : "float", c->epilogue, c->adds, c->apart ? " apart" : "", c->pad, c->shift);
    start(&o, c->apart);
    finished();
    compare(&o.d, w.d, w.bound, what);
    if (c->batch == 1) {
        compare(&o.aux, w.aux, w.bound, what);
        compare(&o.bias, w.bias, w.bias_bound, what);
    }
    expected_dropped(&w);
    operands_dropped(&o);
}

static const int32_t types[3][2] = {{GQ_F32, GQ_F32}, {GQ_BF16, GQ_BF16}, {GQ_BF16, GQ_F32}};

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_layouts(void **state)
{
    static const int64_t size[][3] = {{1, 1, 1}, {3, 5, 7}, {16, 6, 32}, {17, 33, 65}, {40, 97, 260}, {100, 800, 3}, {5, 2, 600}};
    (void)state;
    for (size_t s = 0; s < sizeof size / sizeof *size; s++)
        for (int bits = 0; bits < 64; bits++)
            for (int t = 0; t < 3; t++)
                check_case(&(product_case){.m = size[s][0], .n = size[s][1], .k = size[s][2], .ta = bits & 1, .tb = bits >> 1 & 1,
                                           .type = types[t][0], .type_d = types[t][1], .adds = bits >> 2 & 1,
                                           .apart = bits >> 2 & bits >> 3 & 1, .pad = bits >> 4 & 1 ? 3 : 0,
                                           .shift = bits >> 5 & 1, .batch = 1, .alpha = bits & 8 ? 0.125f : 1.0f});
}

static void test_batches(void **state)
{
    (void)state;
    for (int bits = 0; bits < 32; bits++)
        for (int t = 0; t < 3; t++)
            check_case(&(product_case){.m = 19, .n = 21, .k = 40, .ta = bits & 1, .tb = bits >> 1 & 1, .type = types[t][0],
                                       .type_d = types[t][1], .adds = bits >> 2 & 1, .apart = bits >> 2 & bits >> 3 & 1,
                                       .pad = bits >> 4 & 1 ? 8 : 0, .batch = 4, .alpha = 0.125f});
}

static void test_epilogues(void **state)
{
    (void)state;
    for (int epilogue = GQ_EPI_BIAS; epilogue <= GQ_EPI_BGRAD_A; epilogue++)
        for (int bits = 0; bits < 32; bits++)
            for (int t = 0; t < 3; t++)
                check_case(&(product_case){.m = 23, .n = bits & 4 ? 48 : 29, .k = bits & 8 ? 300 : 24, .ta = bits & 1,
                                           .tb = bits >> 1 & 1, .type = types[t][0], .type_d = types[t][1],
                                           .adds = bits >> 4 & 1, .apart = bits >> 4 & 1, .epilogue = epilogue, .batch = 1,
                                           .alpha = 0.25f});
}

/* A sum of nothing: zeros, or what is there; no epilogue is promised for it. */
static void test_empty_sums(void **state)
{
    (void)state;
    for (int bits = 0; bits < 4; bits++) {
        product_case c = {.m = 5, .n = 12, .k = 1, .type = GQ_BF16, .type_d = bits & 1 ? GQ_BF16 : GQ_F32, .batch = 1,
                          .adds = bits >> 1, .alpha = 1};
        operands     o = operands_of(&c);
        double       want[60], bound[60] = {0};
        for (int i = 0; i < 60; i++)
            want[i] = c.adds ? o.d.x[i] : 0;
        o.g.k = 0;
        start(&o, 0);
        finished();
        compare(&o.d, want, bound, "a product over 0");
        o.g.epilogue = GQ_EPI_BIAS;
        assert_false(gq_lt_test_has(dev, &o.g));
        operands_dropped(&o);
    }
}

/* The first use makes a plan, the second no descriptor call; another bias is another plan of the same choice. */
static void test_plans(void **state)
{
    product_case c = {.m = 31, .n = 16, .k = 8, .tb = 1, .type = GQ_BF16, .type_d = GQ_BF16, .epilogue = GQ_EPI_BIAS,
                      .batch = 1, .alpha = 1};
    gq_error     err = {0};
    operands     o;
    matrix       other;
    size_t       plans, choices;
    uint64_t     calls;
    (void)state;
    assert_ok(gq_lt_test_reopen(dev, &err), &err);
    o = operands_of(&c);
    other = made(1, 16, 16, 1, GQ_BF16, 0, 9);
    assert_true(gq_lt_test_has(dev, &o.g));
    gq_lt_test_count(dev, &plans, &choices);
    assert_int_equal(plans, 0);
    assert_int_equal(choices, 1);
    start(&o, 0);
    calls = gq_lt_test_descriptor_calls(dev);
    for (int i = 0; i < 5; i++) {
        start(&o, 0);
        assert_true(gq_lt_test_has(dev, &o.g));
    }
    assert_int_equal(gq_lt_test_descriptor_calls(dev), calls);
    gq_lt_test_gemm(dev, &o.g, o.a.there, o.b.there, o.d.there, other.there, NULL, NULL);
    assert_true(gq_lt_test_descriptor_calls(dev) > calls);
    gq_lt_test_count(dev, &plans, &choices);
    assert_int_equal(plans, 2);
    assert_int_equal(choices, 1);
    o.g.m = 30;
    start(&o, 0);
    gq_lt_test_count(dev, &plans, &choices);
    assert_int_equal(plans, 3);
    assert_int_equal(choices, 2);
    finished();
    assert_int_equal(gq_lt_on_host_alive(), 1 + 3 * 4);
    dropped(&other);
    operands_dropped(&o);
    assert_ok(gq_lt_test_reopen(dev, &err), &err);
    assert_int_equal(gq_lt_on_host_alive(), 1);
}

static void test_capture(void **state)
{
    product_case c = {.m = 9, .n = 10, .k = 11, .type = GQ_F32, .type_d = GQ_F32, .batch = 1, .alpha = 1};
    gq_error     err = {0};
    operands     o = operands_of(&c);
    expected     w = expected_of(&c, &o);
    void        *graph;
    (void)state;
    dev->capture_begin(dev);
    o.g.k = 10;
    start(&o, 0);
    dev->graph_free(dev, dev->capture_end(dev));
    assert_fails(dev->finish(dev, &err), GQ_EBUG, &err, "new inside a capture");
    o.g.k = 11;
    start(&o, 0);
    finished();
    dev->capture_begin(dev);
    start(&o, 0);
    graph = dev->capture_end(dev);
    assert_non_null(graph);
    for (int i = 0; i < 2; i++) {
        dev->upload(dev, o.d.there, o.d.image, o.d.bytes);
        dev->graph_run(dev, graph);
        compare(&o.d, w.d, w.bound, "captured");
    }
    dev->graph_free(dev, graph);
    finished();
    expected_dropped(&w);
    operands_dropped(&o);
}

/* Every call of the library fails once: the error names it, the next try works, nothing stays behind. */
static void test_failures(void **state)
{
    product_case c = {.m = 12, .n = 16, .k = 20, .ta = 1, .type = GQ_F32, .type_d = GQ_F32, .epilogue = GQ_EPI_BIAS_GELU_AUX,
                      .batch = 1, .alpha = 1};
    gq_error     err = {0};
    operands     o = operands_of(&c);
    expected     w = expected_of(&c, &o);
    int          failures = 0;
    (void)state;
    for (int n = 1; n <= 40; n++) {
        assert_ok(gq_lt_test_reopen(dev, &err), &err);
        gq_lt_on_host_fail(n);
        start(&o, 0);
        gq_lt_on_host_fail(0);
        gq_error_clear(&err);
        if (dev->finish(dev, &err) != GQ_OK) {
            failures++;
            if (!strstr(err.text, "cublasLtMa") || !strstr(err.text, " on GPU 0, float product [12,16] over 20 (A transposed, B, "
                "batch 1 + bias, GELU, aux): an internal operation failed"))
                fail_msg("call %d: %s", n, err.text);
            assert_int_equal(gq_lt_on_host_alive(), strstr(err.text, "cublasLtMatmul on") ? 1 + 4 : 1);
        }
        gq_error_clear(&err);
        start(&o, 0);
        finished();
        compare(&o.d, w.d, w.bound, "after a failure");
        assert_int_equal(gq_lt_on_host_alive(), 1 + 4);
    }
    assert_int_equal(failures, 20);
    gq_lt_on_host_fail(1);
    assert_fails(gq_lt_test_reopen(dev, &err), GQ_EBUG, &err, "cublasLtCreate on GPU 0: an internal operation failed");
    gq_error_clear(&err);
    assert_ok(gq_lt_test_reopen(dev, &err), &err);
    expected_dropped(&w);
    operands_dropped(&o);
}

static void test_nothing_fits(void **state)
{
    product_case c = {.m = 12, .n = 16, .k = 20, .type = GQ_F32, .type_d = GQ_F32, .epilogue = GQ_EPI_BIAS, .batch = 1, .alpha = 1};
    gq_error     err = {0};
    operands     o = operands_of(&c);
    gq_gemm      odd = o.g, bias = o.g, batch = o.g;
    (void)state;
    odd.epilogue = GQ_EPI_BIAS_GELU_AUX;
    odd.ld_aux = 17;
    assert_false(gq_lt_test_has(dev, &odd));
    odd.ld_aux = 24;
    assert_true(gq_lt_test_has(dev, &odd));
    bias.type_ab = bias.type_d = GQ_BF16;                   /* a float bias gradient beside bf16  */
    bias.epilogue = GQ_EPI_BGRAD_A;
    bias.type_bias = GQ_F32;
    assert_false(gq_lt_test_has(dev, &bias));
    batch.batch = 2;
    assert_false(gq_lt_test_has(dev, &batch));
    finished();
    gq_lt_on_host_offer(0);
    o.g.k = 19;
    assert_false(gq_lt_test_has(dev, &o.g));
    start(&o, 0);
    gq_lt_on_host_offer(3);
    assert_fails(dev->finish(dev, &err), GQ_EBUG, &err, "over 19 (A, B, batch 1 + bias): the functionality requested is not supported");
    operands_dropped(&o);
    gq_error_clear(&err);
    assert_ok(gq_lt_test_reopen(dev, &err), &err);
}

static void timed_product(operands *o, int64_t k)
{
    o->g.k = k;
    start(o, 0);
    finished();
}

/* Timed choices, out as text, back into a library that would have chosen otherwise. */
static void test_choices(void **state)
{
    static char  text[1 << 16], again[1 << 16], bad[1 << 16];
    product_case c = {.m = 12, .n = 16, .k = 20, .type = GQ_F32, .type_d = GQ_F32, .adds = 1, .batch = 1, .alpha = 1};
    gq_error     err = {0};
    operands     o;
    size_t       n, plans, choices;
    int          used[2];
    (void)state;
    assert_ok(gq_lt_test_reopen(dev, &err), &err);
    o = operands_of(&c);
    expected w = expected_of(&c, &o);
    gq_lt_test_tune(dev, true);
    start(&o, 0);
    finished();
    compare(&o.d, w.d, w.bound, "after timing on other buffers");
    used[0] = gq_lt_on_host_used();
    timed_product(&o, 13);
    used[1] = gq_lt_on_host_used();
    n = gq_lt_test_choices(dev, text, sizeof text);
    assert_true(n > 0);
    assert_ok(gq_lt_test_reopen(dev, &err), &err);
    assert_ok(gq_lt_test_choices_take(dev, text, &err), &err);
    assert_int_equal(gq_lt_test_choices(dev, again, sizeof again), n);
    assert_string_equal(text, again);
    gq_lt_on_host_offer(0);                                 /* nobody asks the library            */
    timed_product(&o, 20);
    assert_int_equal(gq_lt_on_host_used(), used[0]);
    timed_product(&o, 13);
    assert_int_equal(gq_lt_on_host_used(), used[1]);
    gq_lt_on_host_offer(3);
    assert_ok(gq_lt_test_reopen(dev, &err), &err);
    for (size_t i = 0; i < n; i++) {
        memcpy(bad, text, n + 1);
        bad[i] ^= 1;
        assert_fails(gq_lt_test_choices_take(dev, bad, &err), GQ_EINPUT, &err, "choices of matrix products: ");
        memcpy(bad, text, n + 1);
        bad[i] = 0;
        assert_fails(gq_lt_test_choices_take(dev, bad, &err), GQ_EINPUT, &err, "choices of matrix products: ");
    }
    memcpy(bad, text, n + 1);
    memcpy(strstr(bad, "cublaslt 1"), "cublaslt 9", 10);
    assert_fails(gq_lt_test_choices_take(dev, bad, &err), GQ_EINPUT, &err, "not of this library and GPU (cublaslt 120400");
    gq_lt_test_count(dev, &plans, &choices);
    assert_int_equal(choices, 0);
    expected_dropped(&w);
    operands_dropped(&o);
}

/* A stored algorithm that this library refuses: it is asked for another one. */
static void test_refused_choice(void **state)
{
    static char  text[1 << 16];
    product_case c = {.m = 12, .n = 16, .k = 20, .type = GQ_F32, .type_d = GQ_F32, .batch = 1, .alpha = 1};
    gq_error     err = {0};
    operands     o = operands_of(&c);
    expected     w = expected_of(&c, &o);
    (void)state;
    assert_ok(gq_lt_test_reopen(dev, &err), &err);
    timed_product(&o, 20);
    assert_true(gq_lt_test_choices(dev, text, sizeof text) > 0);
    assert_ok(gq_lt_test_reopen(dev, &err), &err);
    assert_ok(gq_lt_test_choices_take(dev, text, &err), &err);
    gq_lt_on_host_fail(4 + 3 + 1);          /* the operation, three layouts, then the check      */
    start(&o, 0);
    gq_lt_on_host_fail(0);
    finished();
    compare(&o.d, w.d, w.bound, "after a refused choice");
    expected_dropped(&w);
    operands_dropped(&o);
}

static void test_no_memory_to_time(void **state)
{
    product_case c = {.m = 12, .n = 16, .k = 21, .type = GQ_BF16, .type_d = GQ_F32, .batch = 1, .alpha = 1};
    gq_error     err = {0};
    (void)state;
    for (int n = 1; n <= 3; n++) {
        operands o = operands_of(&c);
        expected w = expected_of(&c, &o);
        uint64_t blocks;
        assert_ok(gq_lt_test_reopen(dev, &err), &err);
        gq_lt_test_tune(dev, true);
        blocks = gq_shim_count().device_blocks;
        gq_shim_fail_malloc(n);
        start(&o, 0);
        gq_shim_fail_malloc(0);
        finished();
        assert_int_equal(gq_shim_count().device_blocks, blocks);
        compare(&o.d, w.d, w.bound, "not timed");
        expected_dropped(&w);
        operands_dropped(&o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layouts),  cmocka_unit_test(test_batches),      cmocka_unit_test(test_epilogues),
        cmocka_unit_test(test_empty_sums),
        cmocka_unit_test(test_plans),    cmocka_unit_test(test_capture),      cmocka_unit_test(test_failures),
        cmocka_unit_test(test_choices),  cmocka_unit_test(test_nothing_fits), cmocka_unit_test(test_refused_choice),
        cmocka_unit_test(test_no_memory_to_time),
    };
    return cmocka_run_group_tests(tests, device_opened, NULL);
}
