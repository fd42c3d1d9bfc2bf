/* gifqa-bench features: pixels through CLIP's vision tower to the states that shards cache, as gifqa-prep
 * build does it for each sample. Weights are random.
 */
#include <string.h>

#include "core/mem.h"
#include "tools/bench.h"
#include "train/retrieve.h"

enum { OWN_SETS = 3, ROUNDS_MAX = 1000 };

static const char         *config, *device;
static bool                json;
static int64_t             frames = 8, rounds = 20, threads;
static gq_cli_list         set;
static const gq_cli_option options[] = {
    {"config", 'c', GQ_CLI_TEXT, &config, "FILE", "sizes of CLIP (default: ViT-B/32)", 0, 0},
    {"frames", 'k', GQ_CLI_INT, &frames, "N", "frames at a time (default: 8)", 1, 4096},
    {"rounds", 'r', GQ_CLI_INT, &rounds, "N", "timed rounds, after a first one (default: 20)", 1,
     ROUNDS_MAX},
    GQ_CLI_DEVICE(device),
    {"threads", 't', GQ_CLI_INT, &threads, "N", "threads (default: engine.threads)", 1, 256},
    {"set", 's', GQ_CLI_LIST, &set, "KEY=V", "overrides a key; repeatable", 0, 0},
    {"json", 0, GQ_CLI_FLAG, &json, NULL, "one object instead of text", 0, 0},
};
static const gq_cli_program program = {
    .name = "gifqa-bench features",
    .summary = "frames a second through CLIP",
    .usage = "[options]",
    .examples = "gifqa-bench features --device cuda --frames 32 --json",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
};

static gq_status configure(gq_config *c, gq_error *err)
{
    const char *item[OWN_SETS + GQ_CLI_LIST_MAX] = {"model.init=random", "clip.text=false"};
    char        count[48];
    size_t      n = 2;

    snprintf(count, sizeof count, "engine.threads=%lld", (long long)threads);
    if (threads)
        item[n++] = count;
    gq_cli_rung(&set);
    gq_cli_device(&set, device);
    memcpy(item + n, set.item, set.n * sizeof *item);
    return gq_config_load(config, item, n + set.n, c, NULL, err);
}

/* Seconds of each round. */
static gq_status measure(gq_retriever *r, double *round, gq_error *err)
{
    const gq_clip_config *clip = gq_retriever_clip(r);
    size_t              side = (size_t)clip->image, n = (size_t)frames * side * side * 3;
    uint8_t            *pixels = gq_malloc(n, 1);
    size_t              numbers = (size_t)frames * (size_t)(gq_clip_tokens(clip) * clip->width);
    float              *states = gq_malloc(numbers, sizeof *states);
    gq_retrieve_seconds seconds = {0};
    gq_status           s = GQ_OK;

    if (!pixels || !states)
        s = gq_fail(err, GQ_ENOMEM, "no memory for %lld frames", (long long)frames);
    for (size_t i = 0; s == GQ_OK && i < n; i++)
        pixels[i] = (uint8_t)((uint32_t)i * 2654435761u >> 24);
    for (int64_t i = -1; s == GQ_OK && i < rounds; i++) {
        double begin = gq_now();
        s = gq_retriever_features(r, pixels, frames, states, &seconds, err);
        round[i < 0 ? 0 : i] = gq_now() - begin;
    }
    gq_free(pixels);
    gq_free(states);
    return s;
}

static gq_status report(const gq_config *c, double *round, gq_error *err)
{
    const gq_backend *backend = gq_net_backend(c, err);
    double            median = bench_median(round, (size_t)rounds);
    char              machine[192];

    if (!backend)
        return err->code;
    bench_machine(machine, sizeof machine);
    if (json)
        return gq_cli_json(json_pack("{s:b, s:s, s:s, s:I, s:f, s:f, s:f, s:f}", "ok", 1, "machine", machine,
                                     "kernels", backend->name, "frames", (json_int_t)frames, "min_s",
                                     round[0], "median_s", median, "max_s", round[rounds - 1],
                                     "frames_per_s", (double)frames / median),
                           err);
    printf("%s, %s\n%lld frames at a time: median %.5f s (%.5f..%.5f), %.1f frames/s\n", machine, backend->name,
           (long long)frames, median, round[0], round[rounds - 1], (double)frames / median);
    return GQ_OK;
}

int bench_features(int argc, char **argv)
{
    static gq_config c;                 /* large: not on the stack                                */
    static double    round[ROUNDS_MAX];
    gq_retriever    *r = NULL;
    gq_cli_list      none;
    gq_error         err = {0};
    gq_status        s;
    int              code = gq_cli_parse(&program, argc, argv, &none);

    if (code != GQ_CLI_GO)
        return code;
    s = configure(&c, &err);
    if (s == GQ_OK)
        s = gq_retriever_open(&c, &r, NULL, &err);
    if (s == GQ_OK)
        s = measure(r, round, &err);
    if (s == GQ_OK)
        s = report(&c, round, &err);
    gq_retriever_close(r);
    return s == GQ_OK ? 0 : gq_cli_fail(program.name, &err, json);
}
