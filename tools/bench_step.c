/* gifqa-bench step: training steps of a configuration, as gifqa-train does them, on samples made up
 * in memory.
 *
 * The step is that of train/step.h: masks, forward, backward, gradient norm, clipping, AdamW, on
 * random weights. What is missing beside a run is what surrounds a step: shards and their reader
 * thread, logs, evaluation, checkpoints. Freezing by train.stages is left out.
 */
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "core/mem.h"
#include "tools/bench.h"
#include "tools/bench_device.h"
#include "tools/bench_profile.h"
#include "train/peak.h"
#include "train/step.h"

enum { OWN_SETS = 16, END_ID = 0 };

static const char         *config, *device, *vision, *checkpoint, *trace;
static bool                masked, unmasked, json;
static int64_t             batch, frames, text = 32, labelled = 6, threads, steps = 5, profile;
static gq_cli_list         set;
static const gq_cli_option options[] = {
    {"config", 'c', GQ_CLI_TEXT, &config, "FILE",
     "the configuration (YAML); its weights are random", 0, 0},
    {"batch", 'b', GQ_CLI_INT, &batch, "N", "samples a step (default: train.batch)", 1, 4096},
    {"frames", 'k', GQ_CLI_INT, &frames, "N", "frames a sample (default: data.frames)", 1, 1024},
    {"text", 0, GQ_CLI_INT, &text, "N", "text tokens a sample (default: 32)", 2, 1 << 20},
    {"labelled", 0, GQ_CLI_INT, &labelled, "N", "of them with a label, the last (default: 6)", 1,
     1 << 20},
    GQ_CLI_DEVICE(device),
    {"threads", 't', GQ_CLI_INT, &threads, "N", "threads (default: engine.threads)", 1, 256},
    {"steps", 'n', GQ_CLI_INT, &steps, "N", "timed steps, after a first one (default: 5)", 1,
     1000000},
    {"vision", 0, GQ_CLI_TEXT, &vision, "cached|live",
     "CLIP's states or pixels (default: what the configuration can cache)", 0, 0},
    {"masked", 0, GQ_CLI_FLAG, &masked, NULL, "every step with the teacher pass and its loss", 0,
     0},
    {"unmasked", 0, GQ_CLI_FLAG, &unmasked, NULL, "not (default: as the configuration begins)", 0,
     0},
    {"checkpoint", 0, GQ_CLI_TEXT, &checkpoint, "keep|segment", "activations kept or made again", 0,
     0},
    {"profile", 'p', GQ_CLI_INT, &profile, "N",
     "that many more steps, op by op; on a GPU each op repeated by itself", 1, 1000},
    {"trace", 0, GQ_CLI_TEXT, &trace, "FILE", "the last of them as a Chrome trace", 0, 0},
    {"set", 's', GQ_CLI_LIST, &set, "KEY=V", "overrides a key; repeatable", 0, 0},
    {"json", 0, GQ_CLI_FLAG, &json, NULL, "one object instead of text", 0, 0},
};
static const gq_cli_program program = {
    .name = "gifqa-bench step",
    .summary = "time and memory of a training step",
    .usage = "--config FILE [options]",
    .examples = "gifqa-bench step --config configs/stllm_gpt2.yaml --batch 4 --threads 2 --json\n"
                "gifqa-bench step --config configs/stllm_gpt2.yaml --profile 3 --trace step.json",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
};

/* ---- configuration --------------------------------------------------------------------------- */

typedef struct sets {
    char        text[OWN_SETS][64];
    const char *item[OWN_SETS + GQ_CLI_LIST_MAX];
    size_t      n;
} sets;

static void put(sets *s, const char *key, const char *value)
{
    snprintf(s->text[s->n], sizeof s->text[0], "%s=%s", key, value);
    s->item[s->n] = s->text[s->n];
    s->n++;
}

static void put_int(sets *s, const char *key, int64_t value)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%lld", (long long)value);
    put(s, key, digits);
}

/* The options of this command are overrides of the configuration; the user's own come last and
 * win. */
static gq_status configure(gq_config *c, gq_error *err)
{
    static sets s;

    s.n = 0;
    put(&s, "model.init", "random");
    put_int(&s, "train.steps", 1 + steps + profile);
    if (batch)
        put_int(&s, "train.batch", batch);
    if (frames)
        put_int(&s, "data.frames", frames);
    if (threads)
        put_int(&s, "engine.threads", threads);
    if (vision)
        put(&s, "data.features", vision);
    if (checkpoint)
        put(&s, "train.checkpoint", checkpoint);
    if (masked || unmasked)
        put(&s, "mvm.enable", masked ? "true" : "false");
    if (masked) {
        put(&s, "mvm.start", "0");
        put(&s, "mvm.prob", "1");
    }
    gq_cli_rung(&set);
    gq_cli_device(&set, device);
    memcpy(s.item + s.n, set.item, set.n * sizeof *set.item);
    return gq_config_load(config, s.item, s.n + set.n, c, NULL, err);
}

/* ---- samples --------------------------------------------------------------------------------- */

typedef struct bench {
    gq_config       c;
    gq_net         *net;
    gq_step         step;
    gq_step_outcome out;                /* of the last step                                       */
    gq_sample      *sample;             /* [batch]                                                */
    void           *vision;             /* of all samples                                         */
    int32_t        *ids;                /* [batch, text]                                          */
    uint64_t        number;             /* steps done                                             */
    double         *seconds;            /* [steps]                                                */
    double          first_s, first_done_s, flops, first_loss, loss;
    double          rss_start, rss_peak; /* bytes                                                 */
    double          gpu_start, gpu_peak; /* bytes in use on the device, by whomever; 0: no device */
    double          taken;              /* clock at the last result                               */
    double          gemm;               /* GFLOP/s, 0 unknown                                     */
    bench_roof      roof;
    gq_step_seconds part;               /* sums over the timed steps                              */
    bench_profile  *profile;            /* NULL: not asked for                                    */
} bench;

static gq_status make_samples(bench *b, gq_error *err)
{
    const gq_config *c = &b->c;
    size_t           n = (size_t)c->train.batch, k = (size_t)c->data.frames,
           side = (size_t)c->clip.image_size, grid = side / (size_t)c->clip.patch,
           per = b->step.live ? k * side * side * 3 : k * (grid * grid + 1) * (size_t)c->clip.width;
    int64_t answer = labelled - 1, question = text - labelled;

    b->sample = gq_calloc(n, sizeof *b->sample);
    b->vision = gq_malloc(n * per, b->step.live ? 1 : sizeof(float));
    b->ids = gq_malloc(n * (size_t)text, sizeof *b->ids);
    if (!b->sample || !b->vision || !b->ids)
        return gq_fail(err, GQ_ENOMEM, "no memory for %zu samples", n);
    if (!b->step.live)
        bench_fill(b->vision, n * per, 1);
    for (size_t i = 0; b->step.live && i < n * per; i++)
        ((uint8_t *)b->vision)[i] = (uint8_t)(i * 2654435761u >> 24);
    for (size_t i = 0; i < n * (size_t)text; i++)
        b->ids[i] = (int32_t)(i * 7919u % (size_t)c->gpt2.vocab);
    for (size_t i = 0; i < n; i++)
        b->sample[i] = (gq_sample){.vision = b->step.live ? (void *)((uint8_t *)b->vision + i * per)
                                                          : (void *)((float *)b->vision + i * per),
                                   .question = b->ids + i * (size_t)text,
                                   .nq = (int)question,
                                   .answer = b->ids + i * (size_t)text + question,
                                   .na = (int)answer,
                                   .index = (int64_t)i};
    return GQ_OK;
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* Bytes of this process in memory now; what it loses later is small. */
static double resident(void)
{
    gq_bytes b;
    double   pages = 0;

    if (gq_read_file("/proc/self/statm", 4096, &b, NULL) == GQ_OK) {
        unsigned long all, held;
        if (sscanf((char *)b.data, "%lu %lu", &all, &held) == 2)
            pages = (double)held;
        gq_bytes_free(&b);
    }
    return pages * (double)sysconf(_SC_PAGESIZE);
}

static double used(gq_device *d)
{
    size_t there = 0, all = 0;
    if (d)
        d->room(d, &there, &all);
    return (double)(all - there);
}

/* As a run does it: the results of a step are taken while the next one runs; `most` may be left without. The time
 * is that from one result to the next. */
static gq_status one_step(bench *b, int most, double *seconds, gq_error *err)
{
    int64_t   micros = b->c.train.accumulate;
    double    begin = b->step.flying ? b->taken : gq_now();
    gq_status s = GQ_OK;

    gq_step_begin(&b->step, b->number, (uint64_t)(b->c.train.batch * micros * labelled), END_ID);
    for (int m = 0; s == GQ_OK && m < (int)micros; m++)
        s = gq_step_micro(&b->step, m, b->sample, err);
    if (s == GQ_OK)
        s = gq_step_end(&b->step, err);
    while (s == GQ_OK && b->step.flying > (b->step.device && micros == 1 ? most : 0))
        s = gq_step_result(&b->step, &b->out, err);
    b->taken = gq_now();
    *seconds = b->taken - begin;
    b->number++;
    b->loss = b->out.lm + (b->out.masked ? b->c.mvm.weight * b->out.mvm : 0);
    return s;
}

static gq_status prepare(bench *b, gq_error *err)
{
    const gq_config *c = &b->c;
    int64_t          rows = c->data.frames * c->qformer.queries + gq_feed_text(c, (int)text - 1, 0);
    bool             live = c->clip.train || c->data.features == GQ_CFG_SOURCE_LIVE;
    const gq_backend *backend = gq_net_backend(c, err);
    gq_net_report    report;
    gq_status        s;

    if (!backend)
        return err->code;
    if (rows > c->gpt2.positions)
        return gq_fail(err, GQ_ECONFIG,
                       "%lld visual tokens and %lld text tokens, padded, need %lld positions; "
                       "gpt2.positions is %lld: lower --frames or --text",
                       (long long)(c->data.frames * c->qformer.queries), (long long)text,
                       (long long)rows, (long long)c->gpt2.positions);
    s = gq_step_open(&b->step, c, live, (int)c->train.batch * gq_feed_labels((int)labelled - 1),
                     err);
    b->seconds = gq_malloc((size_t)steps, sizeof *b->seconds);
    if (s == GQ_OK && !b->seconds)
        s = gq_fail(err, GQ_ENOMEM, "out of memory");
    if (s == GQ_OK)
        s = make_samples(b, err);
    b->rss_start = resident();
    b->gpu_start = used(backend->device);
    if (s == GQ_OK)
        s = gq_net_open(c, GQ_NET_TRAIN, true, &b->net, &report, err);
    b->step.net = b->net;
    if (s == GQ_OK)
        gq_net_release(b->net, live);
    if (s == GQ_OK && backend->device && c->engine.tune)
        backend->device->tune(backend->device, 1);
    return s == GQ_OK
               ? gq_step_record(&b->step, gq_feed_text(c, (int)text - 1, 0), c->mvm.enable, err)
               : s;
}

static gq_status measure(bench *b, gq_error *err)
{
    gq_status s = one_step(b, 0, &b->first_s, err);
    double    full;

    b->first_done_s = bench_since_launch();
    b->first_loss = b->loss;
    if (s == GQ_OK && b->step.device)
        s = one_step(b, 1, &full, err);             /* fills the queue                            */
    for (int64_t i = 0; s == GQ_OK && i < steps; i++) {
        s = one_step(b, 1, &b->seconds[i], err);
        b->part.feed += b->step.seconds.feed;
        b->part.forward += b->step.seconds.forward;
        b->part.backward += b->step.seconds.backward;
        b->part.norm += b->step.seconds.norm;
        b->part.update += b->step.seconds.update;
    }
    if (s == GQ_OK && b->step.flying)
        s = gq_step_result(&b->step, &b->out, err);
    b->flops = b->out.flops;
    b->rss_peak = (double)gq_rss_peak();
    b->gpu_peak = used(b->net->engine->backend->device);     /* nothing went back so far         */
    if (s != GQ_OK)
        return s;
    b->gemm = gq_measure_gemm(b->net->engine, 0.3);
    b->roof.gpu = b->net->engine->backend->device != NULL;
    b->roof.gflops = b->roof.gpu ? b->gemm
                                 : bench_fma_peak(b->net->engine->pool, b->net->engine->backend->name, 0.2);
    return GQ_OK;
}

/* Every op of the last step's pass by itself; what the step takes longer lies between them. */
static gq_status look_inside_device(bench *b, gq_error *err)
{
    gq_status s = bench_profile_begin(&b->step, &b->profile, err);

    b->roof.gbytes = bench_device_copy(b->net->engine->backend);
    if (s == GQ_OK)
        s = bench_device_ops(b->step.tape, err);
    b->step.seconds = (gq_step_seconds){0};
    if (s == GQ_OK)
        s = bench_device_update(b->net->params, &b->step.seconds.update, err);
    if (s == GQ_OK)
        s = bench_profile_add(b->profile, bench_median(b->seconds, (size_t)steps), err);
    return s;
}

/* After everything else: its clocks and buffers are not part of what was measured. */
static gq_status look_inside(bench *b, gq_error *err)
{
    gq_status s = bench_profile_begin(&b->step, &b->profile, err);
    double    seconds;

    for (int64_t i = 0; s == GQ_OK && i < profile; i++) {
        s = one_step(b, 0, &seconds, err);
        if (s == GQ_OK)
            s = bench_profile_add(b->profile, seconds, err);
    }
    if (s == GQ_OK && trace)
        s = bench_profile_trace(b->profile, trace, err);
    /* a triad's writes first read their lines, which gq_measure_memory() does not count */
    b->roof.gbytes = 4.0 / 3.0 * gq_measure_memory(b->net->engine->pool, 0.3);
    return s;
}

static void close_all(bench *b)
{
    bench_profile_free(b->profile);
    gq_step_close(&b->step);
    gq_net_close(b->net);
    gq_free(b->sample);
    gq_free(b->vision);
    gq_free(b->ids);
    gq_free(b->seconds);
}

/* ---- report ---------------------------------------------------------------------------------- */

static double mib(double bytes)
{
    return bytes / 1048576;
}

static double total(const gq_step_bytes *p)
{
    return p->param + p->state + p->act + p->temp + p->host;
}

static void count_parameters(const gq_params *p, int64_t *all, int64_t *trained)
{
    *all = *trained = 0;
    for (int32_t i = 0; i < p->count; i++) {
        *all += p->param[i].n;
        *trained += p->param[i].trainable ? p->param[i].n : 0;
    }
}

static json_t *to_json(bench *b, double median)
{
    gq_step_bytes p = gq_step_plan(b->net);
    double        n = (double)steps, growth = b->rss_peak - b->rss_start;
    int64_t       all, trained;
    char          machine[192];
    json_t       *o, *part;

    bench_machine(machine, sizeof machine);
    count_parameters(b->net->params, &all, &trained);
    o = json_pack("{s:b, s:s, s:s, s:I, s:I, s:I, s:I, s:i, s:s, s:b, s:s, s:I, s:I}", "ok", 1,
                  "machine", machine, "kernels", b->net->engine->backend->name, "batch",
                  (json_int_t)b->c.train.batch, "frames", (json_int_t)b->c.data.frames, "text",
                  (json_int_t)text, "labelled", (json_int_t)labelled, "threads",
                  gq_pool_size(b->net->engine->pool), "vision", b->step.live ? "live" : "cached",
                  "masked", b->out.masked, "checkpoint",
                  b->c.train.checkpoint == GQ_CFG_POLICY_SEGMENT ? "segment" : "keep", "parameters",
                  (json_int_t)all, "trained", (json_int_t)trained);
    part = json_pack("{s:f, s:f, s:f, s:f, s:f}", "feed", b->part.feed / n, "forward",
                     b->part.forward / n, "backward", b->part.backward / n, "norm",
                     b->part.norm / n, "update", b->part.update / n);
    if (o && b->profile)
        json_object_set_new(o, "ops", bench_profile_json(b->profile, b->roof));
    if (o && part)
        json_object_update_new(
            o, json_pack("{s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:o, s:f, s:f}", "steps",
                         (json_int_t)steps, "min_s", b->seconds[0], "median_s", median, "max_s",
                         b->seconds[steps - 1], "first_step_s", b->first_s, "first_step_done_s",
                         b->first_done_s, "gflop", b->flops / 1e9, "gflops",
                         b->flops / median / 1e9, "fma_gflops", b->roof.gflops, "mean_s", part,
                         "first_loss", b->first_loss, "loss", b->loss));
    if (o)
        json_object_update_new(
            o, json_pack("{s:f, s:f}", "samples_per_s",
                         (double)(b->c.train.batch * b->c.train.accumulate) / median, "of_gemm",
                         b->gemm > 0 ? b->flops / median / 1e9 / b->gemm : 0));
    if (o && b->gpu_peak > 0)
        json_object_update_new(o, json_pack("{s:f, s:f, s:f}", "gpu_used_mib", mib(b->gpu_peak), "gpu_growth_mib",
                                            mib(b->gpu_peak - b->gpu_start), "copy_gbytes",
                                            b->roof.gbytes));
    if (o)
        json_object_update_new(
            o, json_pack("{s:f, s:f, s:f, s:f, s:f, s:{s:f, s:f, s:f, s:f, s:f}}", "gemm_gflops",
                         b->gemm, "peak_rss_mib", mib(b->rss_peak), "growth_mib", mib(growth),
                         "plan_mib", mib(total(&p)), "growth_over_plan", growth / total(&p),
                         "plan_bytes", "param", p.param, "state", p.state, "act", p.act, "temp",
                         p.temp, "host", p.host));
    return o;
}

static void to_text(bench *b, double median)
{
    gq_step_bytes p = gq_step_plan(b->net);
    double        n = (double)steps, growth = b->rss_peak - b->rss_start;
    int64_t       all, trained;
    char          machine[192];

    bench_machine(machine, sizeof machine);
    count_parameters(b->net->params, &all, &trained);
    printf("%s, %d threads, %s\n", machine, gq_pool_size(b->net->engine->pool),
           b->net->engine->backend->name);
    printf("batch %lld, %lld frames, %lld text tokens (%lld labelled), vision %s, %s, %s; %lld "
           "parameters, %lld trained\n",
           (long long)b->c.train.batch, (long long)b->c.data.frames, (long long)text,
           (long long)labelled, b->step.live ? "live" : "cached",
           b->out.masked ? "masked" : "not masked",
           b->c.train.checkpoint == GQ_CFG_POLICY_SEGMENT ? "segment" : "keep", (long long)all,
           (long long)trained);
    printf("step: min %.4f s, median %.4f, max %.4f of %lld; the first %.4f, done %.2f s after "
           "launch; loss %.4f, then %.4f\n",
           b->seconds[0], median, b->seconds[steps - 1], (long long)steps, b->first_s,
           b->first_done_s, b->first_loss, b->loss);
    printf("  inputs %.4f, forward %.4f, backward %.4f, norm %.4f, AdamW %.4f s\n",
           b->part.feed / n, b->part.forward / n, b->part.backward / n, b->part.norm / n,
           b->part.update / n);
    printf("%.1f GFLOP a step: %.1f GFLOP/s; matrix products here %.1f", b->flops / 1e9,
           b->flops / median / 1e9, b->gemm);
    if (b->roof.gpu)
        printf("; %.1f samples/s; GPU memory %.0f MiB in use, of them %.0f of this run\n",
               (double)(b->c.train.batch * b->c.train.accumulate) / median, mib(b->gpu_peak),
               mib(b->gpu_peak - b->gpu_start));
    else
        printf(", fused multiply-adds %.1f\n", b->roof.gflops);
    printf("memory: peak %.0f MiB; grew by %.0f, planned %.0f (%+.1f %%): parameters %.0f, state "
           "%.0f, activations %.0f, workspace %.0f, inputs %.1f\n",
           mib(b->rss_peak), mib(growth), mib(total(&p)), 100 * (growth / total(&p) - 1),
           mib(p.param), mib(p.state), mib(p.act), mib(p.temp), mib(p.host));
    if (b->profile) {
        putchar('\n');
        bench_profile_print(b->profile, b->roof);
    }
}

static gq_status report(bench *b, gq_error *err)
{
    double median = bench_median(b->seconds, (size_t)steps); /* sorts: the first is the least */

    if (json)
        return gq_cli_json(to_json(b, median), err);
    to_text(b, median);
    return GQ_OK;
}

/* ---- the command ----------------------------------------------------------------------------- */

static int usage(void)
{
    if (!config)
        return gq_cli_usage(program.name, "--config FILE is needed");
    if (masked && unmasked)
        return gq_cli_usage(program.name, "--masked and --unmasked exclude each other");
    if (text <= labelled)
        return gq_cli_usage(program.name, "--text must be larger than --labelled");
    if (trace && !profile)
        return gq_cli_usage(program.name, "--trace needs --profile N");
    return GQ_CLI_GO;
}

int bench_step(int argc, char **argv)
{
    static bench b; /* large: not on the stack                                */
    gq_cli_list  none;
    gq_error     err = {0};
    gq_status    s;
    int          code = gq_cli_parse(&program, argc, argv, &none);

    if (code == GQ_CLI_GO)
        code = usage();
    if (code != GQ_CLI_GO)
        return code;
    s = configure(&b.c, &err);
    if (s == GQ_OK)
        s = prepare(&b, &err);
    if (s == GQ_OK)
        s = measure(&b, &err);
    if (s == GQ_OK && profile)
        s = b.roof.gpu ? look_inside_device(&b, &err) : look_inside(&b, &err);
    if (s == GQ_OK)
        s = report(&b, &err);
    close_all(&b);
    return s == GQ_OK ? 0 : gq_cli_fail(program.name, &err, json);
}
