/* known.c - every backend against numbers that others published, and against facts that need no
 * number.
 *
 * ONNX's vectors are float32 results of its own reference implementation. Both that and a backend
 * lie within the rounding bound of formulas.h from the true value, so they lie within twice the
 * bound of each other; the bound is that of float also for ref64, because the published number is a
 * float.
 */
#include "tests/ops/contenders.h"
#include "tests/ops/onnx.h"

static contender who[8];
static int       nwho;

/* Every backend's forward of this case against `want` (NULL: not published) for out[k], k < 2, and
 * save[k]. */
static void expect(const op_case *c, const values *v, const double *const want[4])
{
    for (int j = 0; j < nwho; j++) {
        how_to_run how = {.be = who[j].be};
        values     got = *v;
        estimate   may = estimate_of(c);
        unit = 0x1p-24;
        gemm_operand = c->op == GQ_OP_LINEAR ? who[j].gemm_operand : 0;
        op_rows[c->op].values(c, &got, &may);
        run_forward(c, v, &how, got.out, got.save);
        for (int k = 0; k < 4; k++)
            if (want[k])
                compare(who[j].be->name, count(k < 2 ? &c->out[k] : &c->save[k - 2]),
                        k < 2 ? got.out[k] : got.save[k - 2], want[k],
                        k < 2 ? may.out[k] : may.save[k - 2]);
    }
}

/* A case whose inputs are given; outputs get room. */
static values values_with(const op_case *c, double *const in[], int n)
{
    values v = {0};
    for (int k = 0; k < n; k++)
        v.in[k] = in[k];
    for (int k = 0; k < 2; k++) {
        v.out[k] = c->out[k].rank ? doubles(count(&c->out[k])) : NULL;
        v.save[k] = c->save[k].rank ? doubles(count(&c->save[k])) : NULL;
    }
    return v;
}

/* ---- linear and activations ------------------------------------------------------------------ */

/* y = act(x w^T + b): x [rows,K], w [N,K], b [N] or NULL */
static void expect_linear(const char *name, int act, int64_t rows, int64_t K, int64_t N, double *x,
                          double *w, double *b, const double *y)
{
    op_case c = {.op = GQ_OP_LINEAR, .attr = {.act = act}};
    double *in[] = {x, w, b};
    values  v;
    snprintf(c.name, sizeof c.name, "%s", name);
    c.in[0] = reals(FILL_NORMAL, 2, rows, K, 1);
    c.in[1] = reals(FILL_NORMAL, 2, N, K, 1);
    if (b)
        c.in[2] = reals(FILL_NORMAL, 1, N, 1, 1);
    c.out[0] = reals(FILL_NORMAL, 2, rows, N, 1);
    if (act != GQ_NONE)
        c.save[0] = c.out[0];
    v = values_with(&c, in, 3);
    expect(&c, &v, (const double *[4]){y});
}

/* The table of three GELUs that must not be confused: exact, tanh, x * sigmoid(1.702 x); nine
 * digits behind the point, so it may be off by 5e-10, far below the float bound at every one of
 * these x (3e-8 and more). */
static void test_activation_table(void **state)
{
    static const double x[6] = {-3, -1, -0.5, 0.5, 1, 3};
    static const double y[3][6] = {
        {-0.004049694, -0.158655254, -0.154268769, 0.345731231, 0.841344746, 2.995950306},
        {-0.003637392, -0.158808009, -0.154285990, 0.345714010, 0.841191991, 2.996362608},
        {-0.018071310, -0.154204234, -0.149611563, 0.350388437, 0.845795766, 2.981928690},
    };
    static const int act[3] = {GQ_GELU, GQ_GELU_TANH, GQ_QUICK_GELU};
    double w = 1, in[6];
    (void)state;
    memcpy(in, x, sizeof in);
    for (int k = 0; k < 3; k++)
        expect_linear("activation table", act[k], 6, 1, 1, in, &w, NULL, y[k]);
    for (int i = 0; i < 6; i++) {
        op_case    c = {.op = GQ_OP_LINEAR, .attr.act = GQ_GELU, .name = "ref64's table"};
        how_to_run how = {.be = &gq_backend_ref64, .no_saves = 1};
        values     v = {.in = {&in[i], &w}};
        double     got, *out[2] = {&got};
        c.in[0] = c.in[1] = c.out[0] = reals(FILL_NORMAL, 2, 1, 1, 1);
        for (int k = 0; k < 3; k++) {
            c.attr.act = act[k];
            run_forward(&c, &v, &how, out, NULL);
            assert_true(fabs(got - y[k][i]) <= 0.5e-9 + 1e-15);
        }
    }
    drop_from(0, "activation table");
}

static void test_onnx_gelu(void **state)
{
    static const struct { const char *name; int act; } t[] = {
        {"gelu_default_1", GQ_GELU}, {"gelu_default_2", GQ_GELU}, {"gelu_tanh_1", GQ_GELU_TANH},
    };
    onnx_test o;
    double    one = 1;
    (void)state;
    need_shared("data/onnx_ops");
    for (int i = 0; i < COUNT(t); i++) {
        assert_true(onnx_read(t[i].name, &o));
        expect_linear(t[i].name, t[i].act, o.in[0].size, 1, 1, o.in[0].x, &one, NULL, o.out[0].x);
        drop_from(0, t[i].name);
    }
}

static double *transposed(const double *x, int64_t rows, int64_t cols)
{
    double *y = doubles(rows * cols);
    for (int64_t i = 0; i < rows * cols; i++)
        y[i % cols * rows + i / cols] = x[i];
    return y;
}

static void test_onnx_gemm(void **state)
{
    static const struct { const char *name; double alpha; int ta, tb; } t[] = {
        {"gemm_default_no_bias", 1, 0, 0},
        {"gemm_default_scalar_bias", 1, 0, 0},
        {"gemm_default_single_elem_vector_bias", 1, 0, 0},
        {"gemm_transposeA", 1, 1, 0},
        {"gemm_transposeB", 1, 0, 1},
        {"gemm_alpha", 0.5, 0, 0},
        {"matmul_2d", 1, 0, 0},
    };
    (void)state;
    need_shared("data/onnx_ops");
    for (int i = 0; i < COUNT(t); i++) {
        onnx_test o;
        int64_t   rows, K, N;
        double   *x, *w, *b = NULL;
        assert_true(onnx_read(t[i].name, &o));
        rows = o.in[0].shape[t[i].ta];
        K = o.in[0].shape[!t[i].ta];
        N = o.in[1].shape[!t[i].tb];
        x = t[i].ta ? transposed(o.in[0].x, K, rows) : o.in[0].x;
        w = t[i].tb ? o.in[1].x : transposed(o.in[1].x, K, N);
        for (int64_t k = 0; k < rows * K; k++)
            x[k] *= t[i].alpha;
        if (o.in[2].x) {
            b = doubles(N);
            for (int64_t n = 0; n < N; n++)
                b[n] = o.in[2].x[o.in[2].size == 1 ? 0 : n];
        }
        expect_linear(t[i].name, GQ_NONE, rows, K, N, x, w, b, o.out[0].x);
        drop_from(0, t[i].name);
    }
}

/* ---- layernorm ------------------------------------------------------------------------------- */

/* The norm of x over its last axes, as many as the gain has elements. */
static void expect_norm(const char *name, float eps, int rms)
{
    op_case   c = {.op = GQ_OP_LAYERNORM, .attr = {.eps = eps, .rms = rms}};
    onnx_test o;
    int64_t   D, rows;
    values    v;
    snprintf(c.name, sizeof c.name, "%s_normalization_%s", rms ? "rms" : "layer", name);
    assert_true(onnx_read(c.name, &o));
    D = o.in[1].size;
    rows = o.in[0].size / D;
    c.in[0] = c.out[0] = reals(FILL_NORMAL, 2, rows, D, 1);
    c.in[1] = reals(FILL_NORMAL, 1, D, 1, 1);
    if (o.in[2].x)
        c.in[2] = c.in[1];
    c.save[0] = c.save[1] = reals(FILL_NORMAL, 1, rows, 1, 1);
    v = values_with(&c, (double *[]){o.in[0].x, o.in[1].x, o.in[2].x}, 3);
    expect(&c, &v, (const double *[4]){o.out[0].x, NULL, o.out[1].x, o.out[2].x});
    drop_from(0, c.name);
}

static void test_onnx_layernorm(void **state)
{
    static const struct { const char *name; float eps; } t[] = {
        {"2d_axis0", 1e-5f},
        {"2d_axis1", 1e-5f},
        {"2d_axis_negative_1", 1e-5f},
        {"3d_axis2_epsilon", 0.1f},
        {"3d_axis_negative_2_epsilon", 0.1f},
        {"4d_axis0", 1e-5f},
        {"4d_axis2", 1e-5f},
        {"4d_axis3", 1e-5f},
        {"default_axis", 1e-5f},
    };
    (void)state;
    need_shared("data/onnx_ops");
    for (int i = 0; i < COUNT(t); i++)
        expect_norm(t[i].name, t[i].eps, 0);
}

static void test_onnx_rmsnorm(void **state)
{
    static const struct { const char *name; float eps; } t[] = {
        {"2d_axis1", 1e-5f},
        {"2d_axis_negative_1", 1e-5f},
        {"2d_axis_negative_2", 1e-5f},
        {"3d_axis2_epsilon", 0.1f},
        {"3d_axis_negative_2_epsilon", 0.1f},
        {"3d_axis_negative_3_epsilon", 0.1f},
        {"4d_axis2", 1e-5f},
        {"4d_axis3", 1e-5f},
        {"4d_axis_negative_1", 1e-5f},
        {"4d_axis_negative_3", 1e-5f},
        {"4d_axis_negative_4", 1e-5f},
        {"default_axis", 1e-5f},
    };
    (void)state;
    need_shared("data/onnx_ops");
    for (int i = 0; i < COUNT(t); i++)
        expect_norm(t[i].name, t[i].eps, 1);
}

/* ---- sdpa ------------------------------------------------------------------------------------ */

typedef enum how_masked { UNMASKED, CAUSAL, PER_QUERY } how_masked;

typedef struct onnx_attention {
    const char *name;
    int    rank, H, Hkv;                /* heads of q, of k and v (each serves H/Hkv query heads) */
    float  scale;                       /* 0: 1/sqrt(head width)                                  */
    how_masked mask;
} onnx_attention;

/* Element (b, head, row, d) of a 4-d [B,H,T,w] or 3-d [B,T,H*w] tensor. */
static double head_element(const onnx_attention *t, const onnx_tensor *x, int H, int64_t b,
                           int64_t h, int64_t i, int64_t d)
{
    int64_t w = t->rank == 4 ? x->shape[3] : x->shape[2] / H,
            T = t->rank == 4 ? x->shape[2] : x->shape[1];
    return x->x[t->rank == 4 ? ((b * H + h) * T + i) * w + d : (b * T + i) * H * w + h * w + d];
}

/* ONNX's rule for query i: the boolean mask, the number of keys that are no padding, and with both
 * padding and causality the last query sees the last real key. */
static int onnx_sees(const onnx_test *o, int64_t b, int64_t i, int64_t j, int64_t Tq, int64_t Tk,
                     int causal)
{
    const onnx_tensor *mask = &o->in[3], *real = o->in[4].x ? &o->in[4] : NULL;
    if (!mask->is_bool && mask->x)
        real = mask;
    if (mask->is_bool && !mask->x[(mask->rank > 2 ? b * Tq * Tk : 0) + i * Tk + j])
        return 0;
    return !real || (j < real->x[b] && (!causal || j <= i + real->x[b] - Tq));
}

/* Each query becomes a sequence of its own, so that any mask is one over keys. */
static void expect_attention(const onnx_attention *t, const onnx_test *o)
{
    int     apart = t->mask == PER_QUERY, self = t->mask == CAUSAL, is4 = t->rank == 4;
    int64_t B = o->in[0].shape[0], Tq = o->in[0].shape[is4 ? 2 : 1],
            Tk = o->in[1].shape[is4 ? 2 : 1];
    int64_t w = is4 ? o->in[0].shape[3] : o->in[0].shape[2] / t->H, C = t->H * w,
            seqs = apart ? B * Tq : B;
    int64_t rows = apart ? 1 : Tq, keys = self ? Tq : Tk;    /* causal: later keys are never seen */
    op_case c = {.op = GQ_OP_SDPA};
    double *q = doubles(seqs * rows * C * (self ? 3 : 1)), *kv = doubles(seqs * keys * 2 * C);
    double *visible = doubles(seqs * keys), *y = doubles(seqs * rows * C);
    values  v;
    snprintf(c.name, sizeof c.name, "%s", t->name);
    c.attr = (gq_attr){.heads = t->H,
                       .width = (int32_t)C,
                       .mask = self ? GQ_MASK_CAUSAL : GQ_MASK_NONE,
                       .scale = t->scale != 0 ? t->scale : (float)(1 / sqrt((double)w)),
                       .koff = self ? (int32_t)C : 0,
                       .voff = (int32_t)(self ? 2 * C : C)};
    c.in[0] = reals(FILL_NORMAL, 3, seqs, rows, self ? 3 * C : C);
    if (!self)
        c.in[1] = reals(FILL_NORMAL, 3, seqs, keys, 2 * C);
    if (apart)
        c.in[3] = reals(FILL_NORMAL, 2, seqs, keys, 1);
    c.out[0] = reals(FILL_NORMAL, 3, seqs, rows, C);
    c.save[0] = reals(FILL_NORMAL, 3, seqs, t->H, rows);
    for (int64_t s = 0; s < seqs; s++)
        for (int64_t e = 0; e < (rows > keys ? rows : keys) * C; e++) {
            int64_t r = e / C, h = e % C / w, d = e % w, b = apart ? s / Tq : s,
                    i = apart ? s % Tq : r;
            int64_t group = h / (t->H / t->Hkv);
            double *to =
                self ? &q[(s * rows + r) * 3 * C + C + e % C] : &kv[(s * keys + r) * 2 * C + e % C];
            if (r < rows) {
                q[(s * rows + r) * (self ? 3 : 1) * C + e % C] =
                    head_element(t, &o->in[0], t->H, b, h, i, d);
                y[(s * rows + r) * C + e % C] = head_element(t, &o->out[0], t->H, b, h, i, d);
            }
            if (r < keys) {
                to[0] = head_element(t, &o->in[1], t->Hkv, b, group, r, d);
                to[C] = head_element(t, &o->in[2], t->Hkv, b, group, r, d);
                visible[s * keys + r] =
                    apart && onnx_sees(o, b, i, r, Tq, Tk, strstr(t->name, "causal") != NULL);
            }
        }
    v = values_with(&c, (double *[]){q, self ? NULL : kv, NULL, apart ? visible : NULL}, 4);
    expect(&c, &v, (const double *[4]){y});
}

static void test_onnx_attention(void **state)
{
    static const onnx_attention t[] = {
        {"attention_3d_scaled", 3, 3, 3, 0.01f, UNMASKED},
        {"attention_3d_causal", 3, 3, 3, 0, CAUSAL},
        {"attention_3d_gqa_causal", 3, 9, 3, 0, CAUSAL},
        {"attention_3d_gqa_scaled", 3, 9, 3, 0.01f, UNMASKED},
        {"attention_4d_scaled", 4, 3, 3, 0.01f, UNMASKED},
        {"attention_4d_with_qk_matmul", 4, 3, 3, 0, UNMASKED},
        {"attention_4d_gqa_causal", 4, 9, 3, 0, CAUSAL},
        {"attention_4d_attn_mask_bool", 4, 3, 3, 0, PER_QUERY},
        {"attention_23_boolmask_fullymasked_row_nan_robustness", 4, 2, 2, 0, PER_QUERY},
        {"attention_24_fullymasked_qk_matmul_output_mode3_zero", 4, 2, 2, 0, PER_QUERY},
        {"attention_4d_causal_nonpad_batch_prefill", 4, 2, 2, 0, PER_QUERY},
        {"attention_4d_causal_nonpad_attn_mask_composition", 4, 2, 2, 0, PER_QUERY},
        {"attention_4d_gqa_causal_nonpad_decode", 4, 4, 2, 0, PER_QUERY},
    };
    (void)state;
    need_shared("data/onnx_ops");
    for (int i = 0; i < COUNT(t); i++) {
        onnx_test o;
        assert_true(onnx_read(t[i].name, &o));
        expect_attention(&t[i], &o);
        drop_from(0, t[i].name);
    }
}

/* T5's buckets: the smallest distance of each row after those of a single distance, as published
 * for 32 rows and distances up to 128. The last row has no end. */
static void test_relative_buckets(void **state)
{
    static const int back[] = {16, 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113};
    static const int side[] = {8, 12, 16, 23, 32, 46, 64, 91};
    gq_relative one = {0}, two = {0};
    (void)state;
    assert_true(gq_relative_set(&one, 32, 128, 0) && gq_relative_set(&two, 32, 128, 1));
    for (int d = 0; d <= 200; d++) {
        int row = d < 16 ? d : 15, half = d < 8 ? d : 7;
        for (int k = 0; k < COUNT(back) && d >= back[k]; k++)
            row++;
        for (int k = 0; k < COUNT(side) && d >= side[k]; k++)
            half++;
        assert_int_equal(gq_relative_bucket(&one, -d), row);
        assert_int_equal(gq_relative_bucket(&one, d), 0);
        assert_int_equal(gq_relative_bucket(&two, -d), half);
        assert_int_equal(gq_relative_bucket(&two, d), d > 0 ? 16 + half : 0);
    }
    assert_int_equal(gq_relative_bucket(&one, -INT32_MAX), 31);
    assert_int_equal(gq_relative_bucket(&two, -INT32_MAX), 15);
    assert_int_equal(gq_relative_bucket(&two, INT32_MAX), 31);
}

/* Counts of rows, and distances, that cannot be laid out. */
static void test_relative_refused(void **state)
{
    static const struct { int rows, far, both; } t[] = {
        {0, 8, 0}, {2, 8, 0}, {5, 8, 0},     {66, 128, 0},
        {4, 2, 0}, {6, 8, 1}, {132, 256, 1}, {8, 2, 1},
    };
    gq_relative rel;
    (void)state;
    for (int i = 0; i < COUNT(t); i++)
        assert_false(gq_relative_set(&rel, t[i].rows, t[i].far, t[i].both));
    assert_true(gq_relative_set(&rel, 64, 128, 0) && gq_relative_set(&rel, 128, 128, 1));
}

/* A bias that is the same at all distances changes no probability, however large it is: exp(200) is
 * no float. */
static void test_constant_table(void **state)
{
    op_case c;
    (void)state;
    for (int i = 0; next_case(GQ_OP_SDPA, i, &c); i++) {
        values     v = values_of(&c, 5);
        op_case    without = c;
        how_to_run how = {.be = &gq_backend_ref64};
        double    *want[4] = {v.out[0]}, *save[GQ_MAX_SAVE] = {v.save[0]};
        for (int64_t e = 0; v.in[4] && e < count(&c.in[4]); e++)
            v.in[4][e] = 200;
        without.in[4].rank = 0;
        run_forward(&without, &v, &how, want, save);
        if (v.in[4]) {
            values w = values_with(&c, v.in, GQ_MAX_IN);
            expect(&c, &w, (const double *[4]){want[0]});
        }
        for (int j = 0; v.in[4] && j < nwho; j++) {
            values  w = values_with(&c, v.in, GQ_MAX_IN);
            double *din[GQ_MAX_IN] = {[4] = doubles(count(&c.in[4]))};
            w.dout[0] = v.dout[0];
            how = (how_to_run){.be = who[j].be, .wants = 16, .gives = 1};
            run_forward(&c, &w, &how, w.out, w.save);
            run_backward(&c, &w, &how, din);
            for (int64_t e = 0; e < count(&c.in[4]); e++)
                assert_true(isfinite(din[4][e]));
        }
        drop_from(0, c.name);
    }
}

/* What a hidden key holds cannot change a bit of what the others see. */
static void test_hidden_keys_do_not_matter(void **state)
{
    op_case c;
    (void)state;
    for (int i = 0; next_case(GQ_OP_SDPA, i, &c); i++)
        for (int j = 0; j < nwho; j++) {
            values     v = values_of(&c, 5), w = values_of(&c, 5);
            how_to_run how = {.be = who[j].be};
            attention  a = attention_of(&c, &w);
            int64_t    C = a.C;
            for (int64_t b = 0; b < a.B; b++)
                for (int64_t k = 0; k < a.Tk; k++) {
                    int seen = 0;
                    for (int64_t q = 0; q < a.Tq; q++)
                        seen |= sees(&c, &a, b, q, k);
                    for (int64_t d = 0; !seen && d < C; d++) {
                        double *row = w.in[a.self ? 0 : 1] + (b * a.Tk + k) * a.Wk;
                        row[c.attr.koff + d] = 1e4 * (double)(d + 1);
                        row[c.attr.voff + d] = -1e6;
                    }
                }
            run_forward(&c, &v, &how, v.out, v.save);
            run_forward(&c, &w, &how, w.out, w.save);
            same_bits(c.name, count(&c.out[0]), v.out[0], w.out[0]);
            same_bits(c.name, count(&c.save[0]), v.save[0], w.save[0]);
            drop_from(0, c.name);
        }
}

/* ---- losses ---------------------------------------------------------------------------------- */

/* Cross entropy of logits x[R,V]: the head is the identity, so hidden states are logits. */
static op_case loss_case(const char *name, int64_t n, int64_t D, int64_t V, int64_t R)
{
    op_case c = {.op = GQ_OP_LM_LOSS, .wants = 3, .gives = 1};
    snprintf(c.name, sizeof c.name, "%s", name);
    c.in[0] = reals(FILL_NORMAL, 2, n, D, 1);
    c.in[1] = reals(FILL_NORMAL, 2, V, D, 1);
    c.in[2] = ints(FILL_INDEX, n, 1, R, 1);
    c.in[3] = ints(FILL_LABEL, V, 1, R, 1);
    c.in[4] = c.out[0] = reals(FILL_NORMAL, 1, 1, 1, 1);
    c.out[1] = reals(FILL_NORMAL, 2, R, 2, 1);
    c.save[0] = reals(FILL_NORMAL, 1, R, 1, 1);
    c.save[1] = reals(FILL_NORMAL, 2, R, V, 1);
    return c;
}

static void expect_cross_entropy(const char *name, const onnx_test *o, int64_t ignore, int mean)
{
    int64_t V = o->in[0].shape[1], R = o->in[1].size, inner = R / o->in[0].shape[0], counted = 0;
    op_case c = loss_case(name, R, V, V, R);
    double *x = doubles(R * V), *eye = doubles(V * V), *rows = doubles(R), *labels = doubles(R),
           one = 1, total;
    double *nll = doubles(2 * R);
    values  v;
    for (int64_t i = 0; i < R * V; i++)                       /* [N,V,inner] to [N*inner,V]       */
        x[i] = o->in[0].x[(i / V / inner * V + i % V) * inner + i / V % inner];
    for (int64_t i = 0; i < V; i++)
        eye[i * V + i] = 1;
    for (int64_t r = 0; r < R; r++) {
        rows[r] = (double)r;
        labels[r] = (int64_t)o->in[1].x[r] == ignore ? -100 : o->in[1].x[r];
        counted += labels[r] >= 0;
    }
    v = values_with(&c, (double *[]){x, eye, rows, labels, &one}, 5);
    total = o->out[0].x[0] * (mean ? (double)counted : 1);
    if (o->out[0].size == 1) {
        expect(&c, &v, (const double *[4]){&total});
        return;
    }
    for (int j = 0; j < nwho; j++) {                          /* not reduced: one nll a row       */
        how_to_run how = {.be = who[j].be};
        estimate   may = estimate_of(&c);
        values     got = v;
        unit = 0x1p-24;
        op_rows[c.op].values(&c, &got, &may);
        run_forward(&c, &v, &how, got.out, got.save);
        for (int64_t r = 0; r < R; r++) {
            nll[2 * r] = o->out[0].x[r];
            nll[2 * r + 1] = got.out[1][2 * r + 1];
        }
        compare(name, 2 * R, got.out[1], nll, may.out[1]);
    }
}

static void test_onnx_cross_entropy(void **state)
{
    static const struct { const char *name; int64_t ignore; int mean; } t[] = {
        {"sce_mean_3d", -1, 1}, {"sce_mean_no_weight_ii", 2, 1}, {"sce_mean_no_weight_ii_3d", 2, 1},
        {"sce_mean_no_weight_ii_4d", 2, 1}, {"sce_none_log_prob", -1, 0}, {"sce_sum", -1, 0},
        {"sce_sum_log_prob", -1, 0},
    };
    (void)state;
    need_shared("data/onnx_ops");
    for (int i = 0; i < COUNT(t); i++) {
        onnx_test o;
        assert_true(onnx_read(t[i].name, &o));
        expect_cross_entropy(t[i].name, &o, t[i].ignore, t[i].mean);
        drop_from(0, t[i].name);
    }
}

/* Equal logits: nll is log V for every label, and the argmax is the lowest index. */
static void test_lm_loss_of_equal_logits(void **state)
{
    enum { R = 5, V = 37, D = 3 };
    op_case c = loss_case("equal logits", 1, D, V, R);
    double *wte = filled(&c.in[1], 1, 0), *h = doubles(D), *rows = doubles(R),
           labels[R] = {0, 1, V - 1, -100, 0};
    double  fifth = 0.25, loss = 4 * log(V) * 0.25, stats[2 * R];
    values  v = values_with(&c, (double *[]){h, wte, rows, labels, &fifth}, 5);
    (void)state;
    for (int r = 0; r < R; r++) {
        stats[2 * r] = labels[r] < 0 ? 0 : log(V);
        stats[2 * r + 1] = labels[r] == 0;
    }
    expect(&c, &v, (const double *[4]){&loss, stats});
    drop_from(0, c.name);
}

/* A row asked for m times has m times the gradient of one. */
static void test_lm_loss_repeats(void **state)
{
    enum { V = 11, D = 5, N = 3, M = 7 };
    op_case one = loss_case("row once", N, D, V, 1),
            many = loss_case("row seven times", N, D, V, M);
    double *h = filled(&one.in[0], 1, 0), *wte = filled(&one.in[1], 1, 1), *rows = doubles(M),
           *labels = doubles(M);
    double  inv = 0.5, up = 1;
    (void)state;
    for (int r = 0; r < M; r++) {
        rows[r] = 1;
        labels[r] = 4;
    }
    for (int j = 0; j < nwho; j++) {
        how_to_run how = {.be = who[j].be, .wants = 3, .gives = 1};
        values     a = values_with(&one, (double *[]){h, wte, rows, labels, &inv}, 5);
        values     b = values_with(&many, (double *[]){h, wte, rows, labels, &inv}, 5);
        double    *once[GQ_MAX_IN] = {doubles(N * D), doubles(V * D)};
        double    *often[GQ_MAX_IN] = {doubles(N * D), doubles(V * D)};
        estimate   may = estimate_of(&many);
        unit = who[j].unit;
        a.dout[0] = b.dout[0] = &up;
        run_forward(&one, &a, &how, a.out, a.save);
        run_forward(&many, &b, &how, b.out, b.save);
        run_backward(&one, &a, &how, once);
        run_backward(&many, &b, &how, often);
        op_rows[GQ_OP_LM_LOSS].gradients(&many, &b, &may);
        for (int k = 0; k < 2; k++) {
            for (int64_t i = 0; i < count(&one.in[k]); i++)
                once[k][i] *= M;
            compare(who[j].be->name, count(&one.in[k]), often[k], once[k], may.din[k]);
        }
        for (int64_t i = 0; i < N * D; i++)
            assert_true(i / D == 1 || often[0][i] == 0);
    }
    drop_from(0, "repeats");
}

/* Equal vectors are 0 apart, orthogonal ones 2 (cos), opposite ones 4 (cos); sse = D * mse. */
static void test_mvm_identities(void **state)
{
    static const double t[12] = {3, 0, 4, 0, 3, 0, 4, 0, 3, 0, 4, 0};
    static const double h[12] = {6, 0, 8, 0, 0, 2, 0, -5, -3, 0, -4, 0};
    static const double angle[3] = {0, 2, 4}, sse[3] = {25, 54, 100};
    op_case c = {.op = GQ_OP_MVM_LOSS, .name = "mvm identities"};
    (void)state;
    c.in[0] = c.in[1] = reals(FILL_NORMAL, 2, 3, 4, 1);
    c.in[2] = reals(FILL_NORMAL, 1, 3, 1, 1);
    c.in[3] = c.out[0] = reals(FILL_NORMAL, 1, 1, 1, 1);
    for (int r = 0; r < 3; r++)
        for (int kind = GQ_MVM_COS; kind <= GQ_MVM_MSE; kind++) {
            double *in[] = {doubles(12), doubles(12), doubles(3), doubles(1)}, want;
            values  v;
            memcpy(in[0], h, sizeof h);
            memcpy(in[1], t, sizeof t);
            in[2][r] = 1;
            in[3][0] = 1;
            c.attr.kind = kind;
            want = kind == GQ_MVM_COS ? angle[r] : kind == GQ_MVM_SSE ? sse[r] : sse[r] / 4;
            v = values_with(&c, in, 4);
            expect(&c, &v, (const double *[4]){&want});
            drop_from(0, c.name);
        }
}

/* ---- gather ---------------------------------------------------------------------------------- */

static void test_onnx_gather(void **state)
{
    static const char *const names[] = {"gather_1", "gather_2d_indices"};
    (void)state;
    need_shared("data/onnx_ops");
    for (int t = 0; t < COUNT(names); t++) {            /* axis 1 of [N,A,...] is rows of [N*A,D] */
        op_case   c = {.op = GQ_OP_GATHER_ROWS};
        onnx_test o;
        int64_t   N, A, D, I;
        double   *idx;
        values    v;
        assert_true(onnx_read(names[t], &o));
        N = o.in[0].shape[0];
        A = o.in[0].shape[1];
        D = o.in[0].size / N / A;
        I = o.in[1].size;
        idx = doubles(N * I);
        for (int64_t i = 0; i < N * I; i++)
            idx[i] = (double)(i / I * A) + o.in[1].x[i % I];
        c.in[0] = reals(FILL_NORMAL, 2, N * A, D, 1);
        c.in[1] = ints(FILL_INDEX, N * A, 1, N * I, 1);
        c.out[0] = reals(FILL_NORMAL, 2, N * I, D, 1);
        v = values_with(&c, (double *[]){o.in[0].x, idx}, 2);
        expect(&c, &v, (const double *[4]){o.out[0].x});
        drop_from(0, names[t]);
    }
}

/* ---- dropout --------------------------------------------------------------------------------- */

/* The share kept lies within 5 standard deviations of 1-p; every backend keeps the same elements;
 * another step, micro-batch, purpose or seed keeps others: two independent draws agree on (1-p)^2 +
 * p^2 of them. */
static void test_dropout_rate(void **state)
{
    enum { N = 100003 };
    static const float   rates[] = {0.1f, 0.5f, 0.9f};
    static const gq_step_block blocks_of_steps[] = {{1, 0, 0}, {1, 1, 0}, {1, 0, 1}, {2, 0, 0}};
    float *x = guarded(N * sizeof *x, 0), *y[5];
    (void)state;
    for (int k = 0; k < 5; k++)
        y[k] = guarded(N * sizeof *x, 0);
    for (int i = 0; i < N; i++)
        x[i] = 1;
    for (int j = 0; j < nwho; j++)
        for (int r = 0; r < COUNT(rates) && who[j].be->real == GQ_F32; r++) {
            double  p = rates[r], kept = 0, same = p * p + (1 - p) * (1 - p);
            gq_work work = {0};
            gq_call call = {
                .in[0] = {x, {N, 1, 1, 1}, 1, GQ_F32}, .attr.p = rates[r], .work = &work};
            for (int k = 0; k < 5; k++) {                     /* the fifth: another purpose       */
                call.out[0] = (gq_buf){y[k], {N, 1, 1, 1}, 1, GQ_F32};
                call.step = &blocks_of_steps[k % 4];
                call.rng_op = k == 4 ? 2 : 1;
                who[j].be->ops[GQ_OP_DROPOUT].fwd(&call);
            }
            for (int i = 0; i < N; i++) {
                kept += y[0][i] != 0;
                assert_true(y[0][i] == 0 || fabs(y[0][i] - 1 / (1 - p)) <= 4 * 0x1p-24 / (1 - p));
            }
            assert_true(fabs(kept - N * (1 - p)) < 5 * sqrt(N * p * (1 - p)));
            for (int k = 1; k < 5; k++) {
                double agree = 0;
                for (int i = 0; i < N; i++)
                    agree += (y[0][i] != 0) == (y[k][i] != 0);
                assert_true(fabs(agree - N * same) < 5 * sqrt(N * same * (1 - same)));
            }
        }
    drop_from(0, "dropout rate");
}

/* ---- adamw ----------------------------------------------------------------------------------- */

/* Three steps of torch.optim.AdamW (float64; lr 0.01, betas 0.9 0.95, eps 1e-8, weight decay 0.1).
 * One weight sees a zero gradient first and one is zero. float: three steps of at most 8 roundings
 * of numbers up to 3. */
static void test_adamw_pytorch(void **state)
{
    static const double start[4] = {0.5, -1.25, 3.0, 0.0};
    static const double grads[3][4] = {
        {0.1, -2.0, 0.0, 1e-3}, {0.3, 1.0, -0.5, -2e-3}, {-0.2, 4.0, 0.25, 5e-4}};
    static const double want[3][4] = {
        {0.4895000009999999, -1.23875000005, 2.997, -0.009999900000999989},
        {0.4799235800039695, -1.2348275555862172, 3.001352599817773, -0.006356183403100058},
        {0.4768778790998042, -1.2381009555176228, 3.000626936114819, -0.00497760616823006},
    };
    operand o = reals(FILL_NORMAL, 1, 4, 1, 1);
    (void)state;
    for (int j = 0; j < nwho; j++) {
        double  zero[4] = {0}, got[4];
        gq_buf  w = make_buffer(&o, who[j].be, start, 0), m = make_buffer(&o, who[j].be, zero, 0);
        gq_buf  v = make_buffer(&o, who[j].be, zero, 0), g = make_buffer(&o, who[j].be, zero, 0);
        gq_work work = {0};
        double  off = who[j].be->real == GQ_F64 ? 1e-14 : 3 * 8 * 3 * 0x1p-24;
        for (int t = 0; t < 3; t++) {
            gq_adamw_call a = {w.p, g.p, m.p, v.p, 4, 0.01, 0.9, 0.95, 1e-8, 0.1, 1,
                               1 - pow(0.9, t + 1), 1 - pow(0.95, t + 1), NULL, GQ_F32};
            to_buffer(&o, who[j].be, grads[t], g.p);
            who[j].be->adamw(&a, &work);
            from_buffer(&w, got);
            for (int i = 0; i < 4; i++)
                if (!(fabs(got[i] - want[t][i]) <= off))
                    fail_msg("%s: weight %d after step %d is %.17g, PyTorch has %.17g",
                             who[j].be->name, i, t + 1, got[i], want[t][i]);
        }
        drop_from(0, "adamw");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_activation_table),
        cmocka_unit_test(test_onnx_gelu),
        cmocka_unit_test(test_onnx_gemm),
        cmocka_unit_test(test_onnx_layernorm),
        cmocka_unit_test(test_onnx_rmsnorm),
        cmocka_unit_test(test_onnx_attention),
        cmocka_unit_test(test_relative_buckets),
        cmocka_unit_test(test_relative_refused),
        cmocka_unit_test(test_constant_table),
        cmocka_unit_test(test_hidden_keys_do_not_matter),
        cmocka_unit_test(test_onnx_cross_entropy),
        cmocka_unit_test(test_lm_loss_of_equal_logits),
        cmocka_unit_test(test_lm_loss_repeats),
        cmocka_unit_test(test_mvm_identities),
        cmocka_unit_test(test_onnx_gather),
        cmocka_unit_test(test_dropout_rate),
        cmocka_unit_test(test_adamw_pytorch),
    };
    nwho = contenders(who);
    return cmocka_run_group_tests_name("known", tests, NULL, NULL);
}
