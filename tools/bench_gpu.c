/* gifqa-bench gpu: what a GPU can do at best, and attention beside it.
 *
 * The roofs: a device-to-device copy (bytes read and written; by the device's copy or a kernel) and square
 * matrix products through the op `linear`, bf16 and fp32. Attention: the op `sdpa` as the models call it (packed q, k, v; packed k, v for
 * cross-attention), each way of engine.attention, forward and backward. Ops of a step: gifqa-bench step
 * --device cuda --profile 1.
 */
#include <string.h>

#include "core/bf16.h"
#include "core/mem.h"
#include "tools/bench.h"
#include "tools/bench_device.h"
#include "train/peak.h"

enum { HEADS = 12, WIDTH = 768, WAYS = 3, BATCHES = 2, SHAPES = 5, CASES = SHAPES * BATCHES * WAYS };

static const char         *device;
static bool                json, roofs;
static int64_t             most = 64;
static const gq_cli_option options[] = {
    GQ_CLI_DEVICE(device),
    {"batch", 'b', GQ_CLI_INT, &most, "N", "samples of the larger batch (default: 64)", 1, 4096},
    {"roofs", 0, GQ_CLI_FLAG, &roofs, NULL, "no attention", 0, 0},
    {"json", 0, GQ_CLI_FLAG, &json, NULL, "one object instead of tables", 0, 0},
};
static const gq_cli_program program = {
    .name = "gifqa-bench gpu",
    .summary = "roofs of a GPU, and attention",
    .usage = "[options]",
    .examples = "gifqa-bench gpu --device cuda:0 --json",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .notes = "Exit codes: 0 done, 2 usage or no GPU, 6 memory.",
};

typedef struct shape { const char *what; int tq, tk; gq_mask mask; } shape;    /* tk 0: self-attention */

static const shape shapes[SHAPES] = {
    {"CLIP's frames", 50, 0, GQ_MASK_NONE},          {"CLIP's text", 77, 0, GQ_MASK_CAUSAL},
    {"GPT-2, 4 frames", 160, 0, GQ_MASK_CAUSAL},     {"GPT-2, 8 frames", 296, 0, GQ_MASK_CAUSAL},
    {"Q-Former on a frame", 32, 50, GQ_MASK_NONE},
};
static const char *const way_name[WAYS] = {"own", "cudnn", "unfused"};

typedef struct result { const shape *s; int64_t batch; int way; double fwd, bwd, flops; char why[200]; } result;

typedef struct bench {
    const gq_backend *half, *full;      /* bf16, float                                            */
    double copy, bf16, fp32;            /* GB/s; GFLOP/s                                          */
    result r[CASES];
    int    n;
} bench;

/* ---- roofs ----------------------------------------------------------------------------------- */

static gq_status products(const gq_backend *b, double *gflops, gq_error *err)
{
    gq_engine     *e;
    gq_engine_opts o = {.backend = b, .threads = 1};
    gq_status      s = gq_engine_new(&o, &e, err);

    if (s != GQ_OK)
        return s;
    *gflops = gq_measure_gemm(e, 0.5);
    gq_engine_free(e);
    return b->device->finish(b->device, err);
}

static gq_status measure_roofs(bench *b, gq_error *err)
{
    gq_status s = products(b->half, &b->bf16, err);

    if (s == GQ_OK)
        s = products(b->full, &b->fp32, err);
    b->copy = bench_device_copy(b->half);
    return s;
}

/* ---- attention ------------------------------------------------------------------------------- */

typedef struct attention { const gq_backend *b; gq_call call; gq_work work; bool backward; } attention;

static void run(void *ctx)
{
    attention *a = ctx;
    (a->backward ? a->b->ops[GQ_OP_SDPA].bwd : a->b->ops[GQ_OP_SDPA].fwd)(&a->call);
}

static size_t bytes_of(const gq_buf *x)
{
    return (size_t)gq_size(x) * gq_dtype_size(x->dtype);
}

/* Numbers of about 1; NULL p: no room. */
static gq_buf tensor(gq_device *d, gq_dtype dtype, int64_t x, int64_t y, int64_t z)
{
    gq_buf b = {.shape = {x, y, z, 1}, .rank = 3, .dtype = dtype};
    size_t n = (size_t)(x * y * z), bytes = bytes_of(&b);
    float *f = gq_malloc(n, sizeof *f);

    b.p = f ? d->alloc(d, bytes) : NULL;
    if (b.p) {
        bench_fill(f, n, (uint32_t)(y + z));
        for (size_t i = 0; dtype == GQ_BF16 && i < n; i++)
            ((uint16_t *)(void *)f)[i] = gq_f32_to_bf16(f[i]);
        d->upload(d, b.p, f, bytes);
    }
    gq_free(f);
    return b;
}

static gq_status make(attention *a, const shape *s, int64_t batch, gq_error *err)
{
    gq_device *d = a->b->device;
    gq_call   *c = &a->call;
    gq_dtype   real = a->b->real;
    gq_buf    *all[] = {&c->in[0], &c->out[0], &c->save[0], &c->din[0], &c->dout[0], &c->in[1], &c->din[1]};
    size_t     temp;

    c->in[0] = tensor(d, real, batch, s->tq, s->tk ? WIDTH : 3 * WIDTH);
    c->din[0] = tensor(d, real, batch, s->tq, s->tk ? WIDTH : 3 * WIDTH);
    c->out[0] = tensor(d, real, batch, s->tq, WIDTH);
    c->dout[0] = tensor(d, real, batch, s->tq, WIDTH);
    c->save[0] = tensor(d, GQ_F32, batch, HEADS, s->tq);
    if (s->tk) {
        c->in[1] = tensor(d, real, batch, s->tk, 2 * WIDTH);
        c->din[1] = tensor(d, real, batch, s->tk, 2 * WIDTH);
    }
    for (int i = 0; i < (s->tk ? 7 : 5); i++)
        if (!all[i]->p)
            return gq_fail(err, GQ_ENOMEM, "no room for attention of %lld samples", (long long)batch);
    c->attr = (gq_attr){.heads = HEADS, .width = WIDTH, .mask = s->mask, .scale = 0.125f,
                        .koff = s->tk ? 0 : WIDTH, .voff = s->tk ? WIDTH : 2 * WIDTH};
    c->work = &a->work;
    a->work.device = d;
    for (int backward = 0; backward < 2; backward++) {
        temp = a->b->ops[GQ_OP_SDPA].temp ? a->b->ops[GQ_OP_SDPA].temp(c, backward, 1) : 0;
        a->work.temp_bytes = temp > a->work.temp_bytes ? temp : a->work.temp_bytes;
    }
    a->work.temp = d->alloc(d, a->work.temp_bytes + 1);
    return a->work.temp ? GQ_OK : gq_fail(err, GQ_ENOMEM, "no room for a workspace");
}

static void drop(attention *a)
{
    gq_device *d = a->b->device;

    for (int k = 0; k < 2; k++) {
        d->release(d, a->call.in[k].p);
        d->release(d, a->call.din[k].p);
    }
    d->release(d, a->call.out[0].p);
    d->release(d, a->call.dout[0].p);
    d->release(d, a->call.save[0].p);
    d->release(d, a->work.temp);
}

/* A way that is not there is part of the result. */
static void measure_attention(const bench *b, result *r)
{
    static const gq_step_block step = {.seed = 1};
    attention  a = {.b = b->half, .call.step = &step};
    gq_device *d = b->half->device;
    gq_error   err = {0};
    gq_status  s;

    d->attention(d, r->way + 1);
    s = make(&a, r->s, r->batch, &err);
    r->flops = 4.0 * (double)(r->batch * r->s->tq * (r->s->tk ? r->s->tk : r->s->tq)) * WIDTH;
    if (s == GQ_OK) {
        d->set_step(d, &step);
        run(&a);                        /* a way that is not there says so here                   */
        s = d->finish(d, &err);
    }
    if (s == GQ_OK)
        s = bench_device_time(d, run, &a, &r->fwd, &err);
    a.backward = true;
    if (s == GQ_OK)
        s = bench_device_time(d, run, &a, &r->bwd, &err);
    if (s != GQ_OK)
        snprintf(r->why, sizeof r->why, "%.190s", err.text);
    drop(&a);
    d->finish(d, &err);
    d->attention(d, 0);
}

static void measure_all(bench *b)
{
    for (int i = 0; i < SHAPES; i++)
        for (int k = 0; k < BATCHES; k++)
            for (int way = 0; way < WAYS; way++) {
                result *r = &b->r[b->n++];
                *r = (result){.s = &shapes[i], .batch = k ? most : (most < 8 ? most : 8), .way = way};
                measure_attention(b, r);
            }
}

/* ---- report ---------------------------------------------------------------------------------- */

static json_t *to_json(const bench *b)
{
    json_t *list = json_array();

    for (int i = 0; i < b->n; i++) {
        const result *r = &b->r[i];
        json_t *o = json_pack("{s:s, s:i, s:i, s:b, s:I, s:s}", "what", r->s->what, "tq", r->s->tq, "tk",
                              r->s->tk ? r->s->tk : r->s->tq, "causal", r->s->mask == GQ_MASK_CAUSAL,
                              "batch", (json_int_t)r->batch, "way", way_name[r->way]);
        if (*r->why)
            json_object_set_new(o, "why", gq_cli_string(r->why));
        else
            json_object_update_new(o, json_pack("{s:f, s:f, s:f}", "forward_s", r->fwd, "backward_s", r->bwd, "gflop",
                                                1e-9 * r->flops));
        json_array_append_new(list, o);
    }
    return json_pack("{s:b, s:f, s:f, s:f, s:i, s:i, s:o}", "ok", 1, "copy_gbytes", b->copy, "bf16_gflops",
                     b->bf16, "fp32_gflops", b->fp32, "heads", HEADS, "width", WIDTH, "attention", list);
}

static void print(const bench *b)
{
    printf("copy %.0f GB/s; matrix products: bf16 %.1f TFLOP/s, fp32 %.1f TFLOP/s\n", b->copy, b->bf16 / 1e3,
           b->fp32 / 1e3);
    if (b->n)
        printf("\n| attention | queries, keys | samples | way | forward us | backward us | TFLOP/s |\n"
               "|---|---|--:|---|--:|--:|--:|\n");
    for (int i = 0; i < b->n; i++) {
        const result *r = &b->r[i];
        printf("| %s | %d, %d%s | %lld | %s |", r->s->what, r->s->tq, r->s->tk ? r->s->tk : r->s->tq,
               r->s->mask == GQ_MASK_CAUSAL ? " causal" : "", (long long)r->batch, way_name[r->way]);
        if (*r->why)
            printf(" not measured: %s | | |\n", r->why);
        else
            printf(" %.1f | %.1f | %.1f |\n", 1e6 * r->fwd, 1e6 * r->bwd, 3.5e-12 * r->flops / (r->fwd + r->bwd));
    }
}

int bench_gpu(int argc, char **argv)
{
    static bench b;
    gq_cli_list  none;
    gq_error     err = {0};
    gq_status    s = GQ_OK;
    int          code = gq_cli_parse(&program, argc, argv, &none), index;

    if (code != GQ_CLI_GO)
        return code;
    index = gq_config_gpu(device ? device : "cuda");
    if (index < 0)
        return gq_cli_usage(program.name, "--device is cuda or cuda:N, not '%s'", device);
    b.half = gq_backend_cuda(index, 1, &err);
    b.full = b.half ? gq_backend_cuda(index, 0, &err) : NULL;
    if (!b.full)
        return gq_cli_fail(program.name, &err, json);
    s = measure_roofs(&b, &err);
    if (s == GQ_OK && !roofs)
        measure_all(&b);
    if (s == GQ_OK && json)
        s = gq_cli_json(to_json(&b), &err);
    else if (s == GQ_OK)
        print(&b);
    return s == GQ_OK ? 0 : gq_cli_fail(program.name, &err, json);
}
