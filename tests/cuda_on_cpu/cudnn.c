/* cudnn.c - attention by cuDNN, as far as it can be seen without a GPU.
 *
 * Two questions. Do the graphs say what the op means? They are computed on the CPU (cudnn_on_cpu.h), with all that
 * cudnn_sdpa.cu does around them, and compared with kernels/ref. Does cuDNN take them? Its heuristics need no GPU but a
 * text that describes one; where there is no cuDNN this is skipped, and the skip says so.
 */
#include <dlfcn.h>
#include <time.h>

#include "core/bf16.h"
#include "kernels/cuda/cudnn_graph.h"
#include "tests/cuda_on_cpu/cudnn_on_cpu.h"
#include "tests/support.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
#else
#define __lsan_disable() ((void)0)
#define __lsan_enable() ((void)0)
#endif

enum { HEAD = 64 };

/* ---- the graphs, computed ---------------------------------------------------------------------- */

typedef struct shape {
    int32_t B, H, Tq, Tk;               /* Tk 0: self-attention                                   */
    int     causal;
    int32_t lengths[4];                 /* of sequences; the first negative: none                 */
} shape;

/* All operands of one sdpa; reals as floats that bfloat16 holds, and as bfloat16 */
typedef struct sdpa {
    gq_call   call;
    int64_t   n[7];                     /* elements of q source, kv source, o, lse, dq, dkv, do   */
    float    *f[7];
    uint16_t *h[7];
} sdpa;
enum { Q, KV, O, LSE, DQ, DKV, DO };

static gq_buf buffer(int32_t dtype, void *p, int64_t a, int64_t b, int64_t c)
{
    return (gq_buf){.p = p, .shape = {a, b, c, 1}, .rank = 3, .dtype = dtype};
}

static void describe_call(sdpa *x, const shape *s, const int32_t *lengths, int32_t dtype)
{
    int64_t C = s->H * HEAD, Tk = s->Tk ? s->Tk : s->Tq;
    void  **p = dtype == GQ_F32 ? (void **)x->f : (void **)x->h;
    x->call.in[0] = buffer(dtype, p[Q], s->B, s->Tq, s->Tk ? C : 3 * C);
    x->call.din[0] = buffer(dtype, p[DQ], s->B, s->Tq, s->Tk ? C : 3 * C);
    if (s->Tk) {
        x->call.in[1] = buffer(dtype, p[KV], s->B, Tk, 2 * C);
        x->call.din[1] = buffer(dtype, p[DKV], s->B, Tk, 2 * C);
    }
    if (s->lengths[0] >= 0)
        x->call.in[2] = (gq_buf){.p = (void *)lengths, .shape = {s->B, 1, 1, 1}, .rank = 1, .dtype = GQ_I32};
    x->call.out[0] = buffer(dtype, p[O], s->B, s->Tq, C);
    x->call.dout[0] = buffer(dtype, p[DO], s->B, s->Tq, C);
    x->call.save[0] = buffer(GQ_F32, x->f[LSE], s->B, s->H, s->Tq);
    x->call.attr = (gq_attr){.heads = s->H, .width = (int32_t)C, .mask = s->causal ? GQ_MASK_CAUSAL : GQ_MASK_NONE,
                             .scale = 0.125f, .koff = s->Tk ? 0 : (int32_t)C,
                             .voff = s->Tk ? (int32_t)C : 2 * (int32_t)C};
}

/* Inputs and dout are random, everything else NaN. */
static void make(sdpa *x, const shape *s, const int32_t *lengths, int32_t dtype)
{
    int64_t  C = s->H * HEAD, rows = (int64_t)s->B * s->Tq;
    int64_t  q = rows * (s->Tk ? C : 3 * C), kv = (int64_t)s->B * s->Tk * 2 * C;
    uint64_t seed = 7;
    *x = (sdpa){.n = {q, kv, rows * C, (int64_t)s->H * rows, q, kv, rows * C}};
    for (int k = 0; k < 7; k++) {
        size_t room = ((size_t)x->n[k] * 4 + 64) / 64 * 64;
        x->f[k] = aligned_alloc(64, room);
        x->h[k] = aligned_alloc(64, room);
        assert_true(x->f[k] && x->h[k]);
        for (int64_t i = 0; i < x->n[k]; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            float v = k == Q || k == KV || k == DO ? (float)(int32_t)(seed >> 32) * 0x1p-31f * 2 : NAN;
            x->h[k][i] = gq_f32_to_bf16(v);
            x->f[k][i] = gq_bf16_to_f32(x->h[k][i]);
        }
    }
    describe_call(x, s, lengths, dtype);
}

static void drop(sdpa *x)
{
    for (int k = 0; k < 7; k++) {
        free(x->f[k]);
        free(x->h[k]);
    }
}

static void by_reference(sdpa *x, int backward)
{
    const gq_op_kernels *k = &gq_backend_ref32.ops[GQ_OP_SDPA];
    size_t               bytes = k->temp(&x->call, backward, 1);
    gq_work              work = {.temp = aligned_alloc(64, (bytes + 64) / 64 * 64), .temp_bytes = bytes};
    assert_non_null(work.temp);
    x->call.work = &work;
    (backward ? k->bwd : k->fwd)(&x->call);
    free(work.temp);
}

/* Root of the mean squared error in units of the root of the mean square; a NaN is an error of infinity. */
static void compare(const shape *s, const char *what, const sdpa *want, const sdpa *got, int k, double bound)
{
    double error = 0, norm = 0;
    char   text[120];
    snprintf(text, sizeof text, "B %d, H %d, Tq %d, Tk %d, causal %d, lengths %d", s->B, s->H, s->Tq, s->Tk, s->causal,
             s->lengths[0]);
    for (int64_t i = 0; i < want->n[k]; i++) {
        double w = want->f[k][i], g = k == LSE ? got->f[k][i] : gq_bf16_to_f32(got->h[k][i]);
        if (w == 0 && fabs(g) > 1e-6)                /* the softmax of one key has rounding left    */
            fail_msg("%s of %s: element %lld is %g where the reference has zero", what, text, (long long)i, g);
        error += (w - g) * (w - g);
        norm += w * w;
    }
    if (!(error <= bound * bound * norm))
        fail_msg("%s of %s: error %.3g, bound %.3g", what, text, sqrt(error / norm), bound);
}

static int through_cudnn(sdpa *x, int backward)
{
    gq_error err = {GQ_OK, ""};
    int      did = gq_shim_cudnn_sdpa(&x->call, backward, 1, &err);
    if (did < 0)
        fail_msg("%s", err.text);
    return did;
}

/* Bounds: results are rounded to bfloat16 (2^-9 at most, 2^-8/sqrt(12) on average), and so are P and dS. */
static void check_shape(const shape *s)
{
    int32_t lengths[4];
    sdpa    want, got;
    memcpy(lengths, s->lengths, sizeof lengths);
    make(&want, s, lengths, GQ_F32);
    make(&got, s, lengths, GQ_BF16);
    by_reference(&want, 0);
    assert_int_equal(through_cudnn(&got, 0), 1);
    compare(s, "o", &want, &got, O, 0x1p-8);
    compare(s, "lse", &want, &got, LSE, 1e-5);
    for (int64_t i = 0; i < want.n[O]; i++)          /* backward of both reads the same o          */
        want.f[O][i] = gq_bf16_to_f32(got.h[O][i]);
    by_reference(&want, 1);
    assert_int_equal(through_cudnn(&got, 1), 1);
    compare(s, "dq or dqkv", &want, &got, DQ, 0x1p-7);
    compare(s, "dkv", &want, &got, DKV, 0x1p-7);
    drop(&want);
    drop(&got);
}

static void test_meaning(void **state)
{
    static const shape shapes[] = {
        {2, 2, 9, 0, 0, {-1}},
        {2, 2, 9, 0, 1, {-1}},
        {1, 1, 1, 0, 1, {-1}},
        {4, 1, 11, 0, 0, {11, 1, 0, 6}},
        {4, 2, 11, 0, 1, {5, 0, 11, 12}},
        {2, 2, 5, 8, 0, {-1}},
        {3, 2, 3, 7, 0, {7, 0, 4}},
        {2, 1, 33, 0, 1, {17, 33}},
    };
    (void)state;
    gq_shim_cudnn(1);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check_shape(&shapes[i]);
    gq_shim_cudnn(0);
}

/* What cuDNN is not asked for: 0 comes back and nothing was written. */
static void test_not_for_cudnn(void **state)
{
    static const shape s = {2, 2, 8, 0, 1, {-1}};
    static float       visible[16];
    static uint16_t    table[8];
    (void)state;
    gq_shim_cudnn(1);
    for (int i = 0; i < 10; i++) {
        sdpa x;
        int  backward = i >= 6;
        make(&x, &s, NULL, i == 0 ? GQ_F32 : GQ_BF16);
        gq_call *c = &x.call;
        if (i == 1)
            c->attr.p = 0.1f;
        if (i == 2)
            c->in[3] = (gq_buf){.p = visible, .shape = {2, 8, 1, 1}, .rank = 2, .dtype = GQ_F32};
        if (i == 3)
            c->attr.heads = 4;
        if (i == 4)
            c->in[0].p = x.h[Q] + 1;
        if (i == 5)
            c->in[4] = (gq_buf){.p = table, .shape = {4, 2, 1, 1}, .rank = 2, .dtype = GQ_BF16};
        if (i == 6)
            c->acc = 1;
        if (i == 7)
            c->din[0].p = NULL;
        if (i == 8)
            c->dout[0].p = NULL;
        if (i == 9)
            c->din[0].shape[2] = c->in[0].shape[2] = x.call.in[0].shape[2] + 8;
        assert_int_equal(through_cudnn(&x, backward), 0);
        for (int64_t k = 0; k < x.n[O]; k++)
            assert_true(isnan(gq_bf16_to_f32(x.h[backward ? DQ : O][k])));
        drop(&x);
    }
    gq_shim_cudnn(0);
}

/* ---- the graphs, handed to cuDNN --------------------------------------------------------------- */

/* A GPU with sm_90 as cuDNN writes it down. The names are those that libcudnn_graph.so of 9.19 reads (its error texts
 * list them); the numbers are NVIDIA's for the H200, from the CUDA programming guide's table of compute capability 9.0
 * and the data sheet; 141 GB of memory. A dump of a real one should take its place once there is one. */
static const char h200[] =
    "{\"cudaDeviceId\":0,\"deviceName\":\"NVIDIA H200\",\"deviceVer\":900,\"driverVer\":13000,\"isTccDriver\":0,"
    "\"l2CacheSize\":52428800,\"maxBlockSize\":[1024,1024,64],\"maxCtasPerSM\":32,"
    "\"maxGridSize\":[2147483647,65535,65535],\"maxRegistersPerSM\":65536,\"maxSharedMemoryPerBlock\":49152,"
    "\"maxSharedMemoryPerBlockOptin\":232448,\"maxThreadsPerBlock\":1024,\"maxThreadsPerSM\":2048,"
    "\"memClockRateKHz\":3201000,\"multiProcessorCount\":132,\"pciDeviceId\":0,\"regsPerBlock\":65536,"
    "\"reservedSharedMemoryPerBlock\":1024,\"smClockRateKHz\":1980000,\"supportCoopLaunch\":1,"
    "\"totalGlobalMem\":141000000000,\"warpSize\":32}";

static gq_cudnn_case case_of(int64_t B, int64_t Tq, int64_t Tk, int mask, int backward)
{
    int64_t C = 12 * HEAD;
    return (gq_cudnn_case){.batch = B, .heads = 12, .tq = Tq, .tk = Tk ? Tk : Tq, .width = HEAD,
                           .q_row = Tk ? C : 3 * C, .kv_row = Tk ? 2 * C : 3 * C, .causal = mask & 1,
                           .lengths = mask >> 1, .backward = backward};
}

static void test_operations(void **state)
{
    static const int count[2][4] = {{10, 14, 16, 20}, {17, 21, 23, 27}};
    gq_graph         g;
    (void)state;
    for (int backward = 0; backward < 2; backward++)
        for (int mask = 0; mask < 4; mask++) {
            gq_cudnn_case a = case_of(8, 50, 0, mask, backward);
            gq_cudnn_graph(&a, &g);
            assert_int_equal(g.nodes, count[backward][mask]);
            assert_true(g.nodes <= GQ_GRAPH_NODES && g.tensors <= GQ_GRAPH_TENSORS);
        }
}

/* cuDNN takes no graph without a driver, but the toolkit's stand-in for one is enough. */
static int has_driver(void)
{
    return dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL) ||
           dlopen(GQ_CUDA_HOME "/lib64/stubs/libcuda.so", RTLD_NOW | RTLD_GLOBAL) ||
           dlopen("/usr/local/cuda/lib64/stubs/libcuda.so", RTLD_NOW | RTLD_GLOBAL);
}

static const gq_cudnn_api *need_cudnn(void)
{
    gq_error            err = {GQ_OK, ""};
    const gq_cudnn_api *api = gq_cudnn_open(&err);
    if (!api)
        print_message("skipped: whether cuDNN accepts our attention was not checked: %s\n", err.text);
    else if (!has_driver())
        print_message("skipped: whether cuDNN accepts our attention was not checked: there is neither a CUDA driver "
                      "nor the toolkit's stub of it\n");
    else
        return api;
    skip();
    return NULL;
}

/* What cuDNN itself leaves allocated is not looked for. */
static gq_cudnn_plan *plan_of(const gq_cudnn_api *api, const gq_cudnn_case *a, gq_plan_depth depth, gq_error *err)
{
    __lsan_disable();
    gq_cudnn_plan *p = gq_cudnn_plan_make(api, NULL, h200, a, depth, err);
    __lsan_enable();
    return p;
}

static int accepted(const gq_cudnn_api *api, gq_cudnn_case a)
{
    gq_error       err = {GQ_OK, ""};
    gq_cudnn_plan *p = plan_of(api, &a, GQ_PLAN_ACCEPT, &err);
    if (!p)
        fail_msg("%s of B %lld, Tq %lld, Tk %lld, causal %d, lengths %d: %s", a.backward ? "backward" : "forward",
                 (long long)a.batch, (long long)a.tq, (long long)a.tk, a.causal, a.lengths, err.text);
    gq_cudnn_plan_free(p);
    return 1;
}

static void test_accepted(void **state)
{
    static const int64_t self[] = {50, 77, 160, 256, 296}, batch[] = {8, 64};
    const gq_cudnn_api  *api = need_cudnn();
    int                  count = 0;
    (void)state;
    for (int b = 0; b < 2; b++)
        for (int backward = 0; backward < 2; backward++)
            for (int mask = 0; mask < 4; mask++) {
                for (int i = 0; i < 5; i++)
                    count += accepted(api, case_of(batch[b], self[i], 0, mask, backward));
                if (!(mask & 1))
                    count += accepted(api, case_of(batch[b], 32, 50, mask, backward));
            }
    print_message("cuDNN %zu accepts %d attention graphs on an sm_90\n", api->version(), count);
}

/* A plan can be compiled without a GPU; what it cannot be is loaded, and cuDNN says so. */
static void test_compiled(void **state)
{
    const gq_cudnn_api *api = need_cudnn();
    (void)state;
    for (int backward = 0; backward < 2; backward++) {
        gq_error       err = {GQ_OK, ""};
        gq_cudnn_case  a = case_of(64, 296, 0, 3, backward);
        gq_cudnn_plan *p = plan_of(api, &a, GQ_PLAN_BUILD, &err);
        if (p)
            print_message("%s: workspace of %zu bytes\n", backward ? "backward" : "forward",
                          gq_cudnn_plan_workspace(p));
        else
            assert_non_null(strstr(err.text, "CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER"));
        gq_cudnn_plan_free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_meaning), cmocka_unit_test(test_not_for_cudnn),
                                       cmocka_unit_test(test_operations), cmocka_unit_test(test_accepted),
                                       cmocka_unit_test(test_compiled)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
