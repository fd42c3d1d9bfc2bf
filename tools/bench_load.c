/* gifqa-bench load: samples a second through the loader, from shards made for it.
 *
 * The shards hold made-up pictures and features of the real sizes, a pure function of the seed;
 * they lie in a scratch directory and are removed at the end. What was just written is in the page
 * cache: this measures reading, checking, unpacking and handing over, not the disk.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/mem.h"
#include "core/philox.h"
#include "data/loader.h"
#include "tools/bench.h"

enum { SIDE = 224, TOKENS = 50, WIDTH = 768, ROUNDS_MAX = 100, SEED = 1 };

static const char          *what = "frames", *codec = "none", *scratch, *data;
static gq_shard_codec       packing;
static bool                 f32, json;
static int64_t              keyframes = 8, threads = 2, batch = 8, gifs = 256, rounds = 5;
static const gq_cli_option  options[] = {
    {"what", 'w', GQ_CLI_TEXT, &what, "frames|features", "what a sample holds (default: frames)", 0,
     0},
    {"keyframes", 'k', GQ_CLI_INT, &keyframes, "T", "frames a sample (default: 8)", 1, 1024},
    {"codec", 0, GQ_CLI_TEXT, &codec, "NAME", "none, gzip, row-delta+zstd (default: none)", 0, 0},
    {"f32", 0, GQ_CLI_FLAG, &f32, NULL, "features as float32, not bfloat16", 0, 0},
    {"threads", 't', GQ_CLI_INT, &threads, "N", "readers (default: 2)", 1, 64},
    {"batch", 'b', GQ_CLI_INT, &batch, "N", "samples (default: 8)", 1, 4096},
    {"gifs", 'g', GQ_CLI_INT, &gifs, "N", "samples in the shard (default: 256)", 1, 1 << 20},
    {"rounds", 'r', GQ_CLI_INT, &rounds, "N", "timed epochs (default: 5)", 1, ROUNDS_MAX},
    {"data", 'd', GQ_CLI_TEXT, &data, "DIR", "read this data set, make none", 0, 0},
    {"scratch", 0, GQ_CLI_TEXT, &scratch, "DIR", "where the shard is made (default: $TMPDIR)", 0,
     0},
    {"json", 0, GQ_CLI_FLAG, &json, NULL, "one object instead of text", 0, 0},
};
static const gq_cli_program program = {
    .name = "gifqa-bench load",
    .summary = "samples a second through the loader",
    .usage = "[options]",
    .examples = "gifqa-bench load --what frames --threads 2\n"
                "gifqa-bench load --what features --keyframes 3 --json",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .notes = "Frames are [T,224,224,3] bytes, features [T,50,768].\n"
             "Exit codes: 0 done, 2 usage, 4 data, 6 memory or disk.",
};

/* ---- making the shard ------------------------------------------------------------------------ */

typedef struct sample {
    uint8_t  *frames; /* [T,SIDE,SIDE,3] or NULL */
    float    *tokens; /* [T,TOKENS,WIDTH] or NULL */
    int32_t  *frame;  /* [T] */
    uint16_t *delay;  /* [T] */
} sample;

static void sample_free(sample *s)
{
    gq_free(s->frames);
    gq_free(s->tokens);
    gq_free(s->frame);
    gq_free(s->delay);
}

/* Slow waves with two bits of noise, like a photograph to a compressor. */
static void paint(uint8_t *to, int64_t gif)
{
    size_t bytes = (size_t)keyframes * SIDE * SIDE * 3;
    for (size_t i = 0; i < bytes; i += 4) {
        gq_philox p = gq_philox_block(SEED, i / 4, GQ_RNG_WORLD, (uint32_t)gif);
        for (size_t k = 0; k < 4; k++) {
            size_t x = (i + k) / 3 % SIDE, y = (i + k) / (3 * SIDE);
            to[i + k] = (uint8_t)((x * x / 64 + y * (uint64_t)(gif + 3) / 8) + (p.w[k] & 3));
        }
    }
}

static void invent(float *to, int64_t gif)
{
    size_t n = (size_t)keyframes * TOKENS * WIDTH;
    for (size_t i = 0; i < n; i++)
        to[i] = 4 * gq_u01(gq_philox_at(SEED, i, GQ_RNG_INIT, (uint32_t)gif)) - 2;
}

static gq_status sample_new(sample *s, bool frames, gq_error *err)
{
    size_t t = (size_t)keyframes;

    *s = (sample){0};
    if (frames)
        s->frames = gq_malloc(t, (size_t)SIDE * SIDE * 3);
    else
        s->tokens = gq_malloc(t * TOKENS * WIDTH, sizeof *s->tokens);
    s->frame = gq_calloc(t, sizeof *s->frame);
    s->delay = gq_calloc(t, sizeof *s->delay);
    if ((s->frames || s->tokens) && s->frame && s->delay)
        return GQ_OK;
    return gq_fail(err, GQ_ENOMEM, "no memory for a sample of %lld frames", (long long)keyframes);
}

static gq_status add(gq_shard_writer *w, sample *s, int64_t g, gq_error *err)
{
    static const int32_t question[] = {1, 2, 3, 4, 5, 6, 7, 8}, answer[] = {9, 10};
    char                 name[32];
    gq_shard_gif         gif = {.name = name,
                                .n_frames = (int32_t)keyframes,
                                .width = SIDE,
                                .height = SIDE,
                                .frame_idx = s->frame,
                                .delay_cs = s->delay};
    gq_qa                qa = {.question = "what is the cat doing?",
                               .answer = "it sleeps",
                               .q_ids = question,
                               .a_ids = answer,
                               .nq = sizeof question / sizeof question[0],
                               .na = sizeof answer / sizeof answer[0]};

    snprintf(name, sizeof name, "made-%lld.gif", (long long)g);
    if (s->frames)
        paint(s->frames, g);
    else
        invent(s->tokens, g);
    gq_status st = gq_shard_add_gif(w, &gif, s->frames, s->tokens, &qa.gif, err);
    return st == GQ_OK ? gq_shard_add_qa(w, &qa, err) : st;
}

static gq_status make(const char *dir, const gq_shard_meta *m, uint64_t *bytes, gq_error *err)
{
    gq_manifest      manifest = {.complete = true};
    gq_shard_writer *w;
    gq_shard_entry   e;
    sample           one;
    gq_status        s = sample_new(&one, m->size > 0, err);

    if (s == GQ_OK)
        s = gq_shard_writer_open(dir, 0, m, &w, err);
    if (s == GQ_OK) {
        for (int64_t g = 0; s == GQ_OK && g < gifs; g++)
            s = add(w, &one, g, err);
        if (s == GQ_OK)
            s = gq_shard_writer_close(w, &e, err);
        else
            gq_shard_writer_abort(w);
    }
    if (s == GQ_OK)
        s = gq_manifest_add(&manifest, &e, err);
    if (s == GQ_OK)
        s = gq_manifest_save(dir, &manifest, err);
    *bytes = s == GQ_OK ? e.bytes : 0;
    gq_manifest_free(&manifest);
    sample_free(&one);
    return s;
}

/* ---- reading it ------------------------------------------------------------------------------ */

/* One epoch a round; the first is not timed. */
static gq_status read_epochs(const gq_dataset *d, bool frames, double *seconds, gq_error *err)
{
    gq_loader_opts o = {.batch = (int32_t)batch,
                        .threads = (int32_t)threads,
                        .seed = SEED,
                        .shuffle = true,
                        .frames = frames,
                        .tokens = !frames,
                        .stop = (uint64_t)(gq_dataset_count(d) * (rounds + 1))};
    gq_loader     *l = NULL;
    gq_batch       b = {.count = 1};
    gq_status      s = gq_loader_open(d, &o, &l, err);
    int64_t        read = 0, round = -1, epoch = gq_dataset_count(d);
    double         begin = gq_now();

    while (s == GQ_OK && b.count) {
        s = gq_loader_next(l, &b, err);
        gq_loader_release(l);
        read += b.count;
        if (round < 0 && read >= epoch) {
            begin = gq_now();
            read -= epoch;
            round = 0;
        } else if (round >= 0 && round < rounds && (read >= epoch || !b.count)) {
            seconds[round++] = (gq_now() - begin) / (double)(read ? read : 1);
            begin = gq_now();
            read = 0;
        }
    }
    gq_loader_close(l);
    return s;
}

static void report(double *each, uint64_t file, const gq_shard_meta *m)
{
    double median = bench_median(each, (size_t)rounds);
    double bytes = m->size ? (double)gq_shard_frame_bytes(m)
                           : (double)gq_shard_token_count(m) * sizeof(float);
    char   machine[192];

    bench_machine(machine, sizeof machine);
    printf("| sample | stored | threads | samples/s | spread | MB/s |\n|---|---|--:|--:|---|--:|\n"
           "| %s, T=%lld | %s%s, %.0f KB | %lld | %.0f | %.0f..%.0f | %.0f |\n\n%s.\n",
           what, (long long)keyframes, m->size ? "" : f32 ? "float32, " : "bfloat16, ", codec,
           1e-3 * (double)file / (double)gifs, (long long)threads, 1 / median, 1 / each[rounds - 1],
           1 / each[0], 1e-6 * bytes / median, machine);
}

static json_t *report_json(double *each, uint64_t file, const gq_shard_meta *m)
{
    double  median = bench_median(each, (size_t)rounds);
    char    machine[192];
    json_t *all = json_array();

    bench_machine(machine, sizeof machine);
    for (int64_t k = 0; k < rounds; k++)
        json_array_append_new(all, json_real(1 / each[k]));
    return json_pack("{s:b, s:s, s:I, s:s, s:b, s:I, s:I, s:f, s:f, s:o, s:o}", "ok", 1, "what",
                     what, "keyframes", (json_int_t)keyframes, "codec", codec, "bf16",
                     m->bf16 ? 1 : 0, "threads", (json_int_t)threads, "batch", (json_int_t)batch,
                     "stored_bytes", (double)file / (double)gifs, "samples_per_s", 1 / median,
                     "rounds", all, "machine", gq_cli_string(machine));
}

/* Of an open data set: bytes of its shards, and what it says of itself instead of the options. */
static gq_status look_at(const gq_dataset *d, gq_shard_meta *m, uint64_t *bytes, gq_error *err)
{
    gq_manifest list;
    gq_status   s = gq_manifest_load(data, &list, err);
    *bytes = 0;
    for (int k = 0; k < list.count; k++)
        *bytes += list.shard[k].bytes;
    gq_manifest_free(&list);
    *m = *gq_dataset_meta(d);
    if (strcmp(what, "features") == 0)           /* the other one is not read */
        m->size = 0;
    else
        m->tokens = 0;
    keyframes = m->keyframes;
    codec = gq_shard_codec_name[m->codec];
    gifs = gq_dataset_gifs(d);
    f32 = !m->bf16;
    return s;
}

static gq_status run(const char *dir, gq_error *err)
{
    bool          frames = strcmp(what, "frames") == 0;
    double        each[ROUNDS_MAX] = {0};
    uint64_t      file = 0;
    gq_dataset   *d = NULL;
    gq_shard_meta m = {.keyframes = (int32_t)keyframes,
                       .size = frames ? SIDE : 0,
                       .tokens = frames ? 0 : TOKENS,
                       .width = frames ? 0 : WIDTH,
                       .bf16 = !frames && !f32,
                       .codec = packing,
                       .seed = SEED,
                       .source = "made up",
                       .sampler = "none",
                       .tokenizer = "words"};

    gq_shard_type_add(&m, "made");
    gq_status s = data ? GQ_OK : make(dir, &m, &file, err);
    if (s == GQ_OK)
        s = gq_dataset_open(data ? data : dir, &d, err);
    if (s == GQ_OK && data)
        s = look_at(d, &m, &file, err);
    if (s == GQ_OK)
        s = read_epochs(d, frames, each, err);
    gq_dataset_close(d);
    if (s == GQ_OK && json)
        s = gq_cli_json(report_json(each, file, &m), err);
    else if (s == GQ_OK)
        report(each, file, &m);
    return s;
}

int bench_load(int argc, char **argv)
{
    gq_cli_list rest;
    gq_error    err = {0}, ignored = {0};
    char        dir[512];
    const char *tmp = getenv("TMPDIR");
    int         code = gq_cli_parse(&program, argc, argv, &rest);

    if (code != GQ_CLI_GO)
        return code;
    if (strcmp(what, "frames") != 0 && strcmp(what, "features") != 0)
        return gq_cli_usage(program.name, "--what is frames or features, not '%s'", what);
    if (!gq_shard_codec_find(codec, &packing))
        return gq_cli_usage(program.name, "--codec is one of %s, not '%s'", gq_shard_codec_names,
                            codec);
    if (gq_shard_codec_lack(packing))
        return gq_cli_usage(program.name, "--codec: %s", gq_shard_codec_lack(packing));
    snprintf(dir, sizeof dir, "%.480s/gifqa-bench-XXXXXX",
             scratch ? scratch : tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(dir)) {
        gq_fail(&err, GQ_EDISK, "%s: cannot make a directory there", dir);
        return gq_cli_fail(program.name, &err, json);
    }
    gq_status s = run(dir, &err);
    gq_remove_tree(dir, &ignored);
    return s == GQ_OK ? 0 : gq_cli_fail(program.name, &err, json);
}
