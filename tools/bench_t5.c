/* gifqa-bench t5: a T5 that writes questions, on random weights or those of a directory.
 *
 * Prompts are ordinary tokens of lengths spread evenly between the shortest and the longest, in batches of like
 * length as gifqa-qagen makes them; every answer has exactly as many tokens as asked for. A first pass over all
 * of them is not timed: it records what the second runs again.
 */
#include <string.h>

#include "core/mem.h"
#include "models/t5_generate.h"
#include "tools/bench.h"
#include "train/t5_dir.h"

enum { BUCKET = 8, ORDINARY = 3 };      /* the first ids have a meaning: pad, end, unknown        */

static const char         *model = "random:1", *device;
static bool                json;
static int64_t             batch = 16, beams = 1, tokens = 16, prompts = 48, shortest = 16, longest = 40, threads;
static gq_cli_list         set;
static const gq_cli_option options[] = {
    {"model", 'm', GQ_CLI_TEXT, &model, "DIR", "a T5 as published; or random:SEED, of T5-base's sizes (default)", 0, 0},
    {"batch", 'b', GQ_CLI_INT, &batch, "N", "prompts at once (default: 16)", 1, 1024},
    {"beams", 0, GQ_CLI_INT, &beams, "N", "beam search; 1 is greedy (default: 1)", 1, 64},
    {"tokens", 'n', GQ_CLI_INT, &tokens, "N", "tokens of each answer (default: 16)", 1, 512},
    {"prompts", 'p', GQ_CLI_INT, &prompts, "N", "how many (default: 48)", 1, 100000},
    {"shortest", 0, GQ_CLI_INT, &shortest, "N", "tokens of the shortest prompt (default: 16)", 1, 4096},
    {"longest", 0, GQ_CLI_INT, &longest, "N", "tokens of the longest prompt (default: 40)", 1, 4096},
    GQ_CLI_DEVICE(device),
    {"threads", 't', GQ_CLI_INT, &threads, "N", "threads (default: engine.threads)", 1, 256},
    {"set", 's', GQ_CLI_LIST, &set, "KEY=V", "overrides a key of section engine; repeatable", 0, 0},
    {"json", 0, GQ_CLI_FLAG, &json, NULL, "one object instead of text", 0, 0},
};
static const gq_cli_program program = {
    .name = "gifqa-bench t5",
    .summary = "text from text with a T5: prompts a second",
    .usage = "[options]",
    .examples = "gifqa-bench t5 --batch 16 --tokens 16 --threads 2 --json\n"
                "gifqa-bench t5 --beams 4 --set engine.precision=bf16",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .notes = "encoder: all prompts read, their keys and values kept. decoder: all answers, token by token.",
};

typedef struct bench {
    gq_config        c;
    gq_t5_model     *model;
    gq_t5_generator *generator;
    int32_t         *ids;               /* [longest]: a prompt of n tokens is the last n of them  */
    int32_t         *written;           /* [batch * tokens]                                       */
    gq_source       *source;            /* [batch]                                                */
    gq_answer       *answer;            /* [batch]                                                */
    double           init_s, seconds[2];
} bench;

static gq_status configure(bench *b, gq_error *err)
{
    static char count[48];

    snprintf(count, sizeof count, "engine.threads=%lld", (long long)threads);
    gq_cli_rung(&set);
    gq_cli_device(&set, device);
    if (threads && set.n < GQ_CLI_LIST_MAX)
        set.item[set.n++] = count;
    return gq_config_load(NULL, set.item, set.n, &b->c, NULL, err);
}

static gq_status open_all(bench *b, gq_error *err)
{
    gq_decode_opts o = {.max_new = (int)tokens,
                        .min_new = (int)tokens,
                        .beams = (int)beams,
                        .length_penalty = 1,
                        .end_id = 1,
                        .bucket = BUCKET};
    double         begin = gq_now();
    gq_status      s = gq_t5_open(model, NULL, &b->c, &b->model, err);

    if (s == GQ_OK)
        s = gq_t5_generator_new(b->model->engine, b->model->params, &b->model->c, (int)batch, &o, &b->generator, err);
    b->ids = gq_calloc((size_t)longest, sizeof *b->ids);
    b->written = gq_calloc((size_t)(batch * tokens), sizeof *b->written);
    b->source = gq_calloc((size_t)batch, sizeof *b->source);
    b->answer = gq_calloc((size_t)batch, sizeof *b->answer);
    if (s == GQ_OK && (!b->ids || !b->written || !b->source || !b->answer))
        s = gq_fail(err, GQ_ENOMEM, "no memory for %lld prompts", (long long)batch);
    for (int64_t i = 0; s == GQ_OK && i < longest; i++)
        b->ids[i] = i + 1 == longest ? o.end_id
                                     : (int32_t)(ORDINARY + i * 7919 % (b->model->c.vocab - ORDINARY));
    for (int64_t k = 0; s == GQ_OK && k < batch; k++)
        b->answer[k].ids = b->written + k * tokens;
    b->init_s = gq_now() - begin;
    return s;
}

static int length_of(int64_t prompt)
{
    return (int)(prompts > 1 ? shortest + prompt * (longest - shortest) / (prompts - 1) : longest);
}

/* Prompts from `first` on, as many as fit a batch. */
static gq_status run(bench *b, int64_t first, double *seconds, gq_error *err)
{
    int       n = (int)(prompts - first < batch ? prompts - first : batch);
    gq_status s;

    for (int k = 0; k < n; k++) {
        int length = length_of(first + k);
        b->source[k] = (gq_source){b->ids + longest - length, length};
    }
    s = gq_t5_generate(b->generator, b->source, n, b->answer, seconds, err);
    for (int k = 0; s == GQ_OK && k < n; k++)
        if (b->answer[k].n != tokens)
            s = gq_fail(err, GQ_EBUG, "%d tokens were generated, not %lld", b->answer[k].n, (long long)tokens);
    return s;
}

/* The longest first: caches grow once. Then all lengths, so that what is timed was recorded before. */
static gq_status measure(bench *b, gq_error *err)
{
    gq_status s = run(b, prompts > batch ? prompts - batch : 0, NULL, err);

    for (int64_t at = 0; s == GQ_OK && at < prompts; at += batch)
        s = run(b, at, NULL, err);
    for (int64_t at = 0; s == GQ_OK && at < prompts; at += batch)
        s = run(b, at, b->seconds, err);
    return s;
}

static gq_status report(const bench *b, gq_error *err)
{
    double      rss = (double)gq_rss_peak() / 1048576, all = b->seconds[0] + b->seconds[1];
    double      rate = all > 0 ? (double)prompts / all : 0;
    const char *kernels = b->model->engine->backend->name;
    int         used = gq_pool_size(b->model->engine->pool);
    char        machine[192];

    bench_machine(machine, sizeof machine);
    if (json)
        return gq_cli_json(json_pack("{s:b, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:[i,i], s:f, s:f, s:f, s:f, s:f}", "ok",
                                     1, "machine", machine, "kernels", kernels, "threads", used, "batch", (int)batch,
                                     "beams", (int)beams, "tokens", (int)tokens, "prompts", (int)prompts, "lengths",
                                     (int)shortest, (int)longest, "pairs_per_s", rate, "encoder_s", b->seconds[0],
                                     "decoder_s", b->seconds[1], "init_s", b->init_s, "peak_rss_mib", rss),
                           err);
    printf("%s, %d threads, %s\n%lld prompts of %lld to %lld tokens, %lld new ones, batches of %lld, %lld beams: "
           "%.2f a second; encoder %.3f s, decoder %.3f s, %.1f ms a step; peak %.0f MiB\n",
           machine, used, kernels, (long long)prompts, (long long)shortest, (long long)longest, (long long)tokens,
           (long long)batch, (long long)beams, rate, b->seconds[0], b->seconds[1],
           1e3 * b->seconds[1] / (double)(tokens * ((prompts + batch - 1) / batch)), rss);
    return GQ_OK;
}

static void close_all(bench *b)
{
    gq_t5_generator_free(b->generator);
    gq_t5_close(b->model);
    gq_free(b->ids);
    gq_free(b->written);
    gq_free(b->source);
    gq_free(b->answer);
}

int bench_t5(int argc, char **argv)
{
    static bench b;                     /* large: not on the stack                                */
    gq_cli_list  none;
    gq_error     err = {0};
    gq_status    s;
    int          code = gq_cli_parse(&program, argc, argv, &none);

    if (code != GQ_CLI_GO)
        return code;
    if (shortest > longest)
        return gq_cli_usage(program.name, "--shortest %lld is longer than --longest %lld", (long long)shortest,
                            (long long)longest);
    s = configure(&b, &err);
    if (s == GQ_OK)
        s = open_all(&b, &err);
    if (s == GQ_OK)
        s = measure(&b, &err);
    if (s == GQ_OK)
        s = report(&b, &err);
    close_all(&b);
    return s == GQ_OK ? 0 : gq_cli_fail(program.name, &err, json);
}
