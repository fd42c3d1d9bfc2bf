/* gifqa-bench shards: a data set of any number of GIFs, from files to shuffled batches: what each
 * step takes, and that its memory does not follow the number.
 *
 * The GIFs are the toy world's; gq_build() makes shards of them as gifqa-prep build does, with
 * made-up features of any size instead of CLIP's. The build is killed half way and run again; the
 * loader's order is compared with that of a loader that begins in the middle. Each step is a
 * process of its own, so that its peak is its own; all of it lies in a scratch directory that is
 * removed at the end.
 */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/mem.h"
#include "core/philox.h"
#include "data/build.h"
#include "data/loader.h"
#include "data/world.h"
#include "tools/bench.h"

enum { SEED = 1, BATCH = 32, STEPS = 8 };

static const char         *codec = "none", *scratch;
static gq_shard_codec      packing;
static bool                json;
static int64_t             gifs = 10000, keyframes = 1, tokens = 50, width = 768, threads = 2;
static int64_t             shard_mib = 64;
static const gq_cli_option options[] = {
    {"gifs", 'g', GQ_CLI_INT, &gifs, "N", "GIFs, a question each (default: 10000)", 1, 10000000},
    {"keyframes", 'k', GQ_CLI_INT, &keyframes, "T", "frames of each (default: 1)", 1, 8},
    {"tokens", 0, GQ_CLI_INT, &tokens, "N", "features [N,D] of a frame (default: 50)", 1, 1024},
    {"width", 0, GQ_CLI_INT, &width, "D", "(default: 768)", 1, 4096},
    {"codec", 0, GQ_CLI_TEXT, &codec, "NAME", "none, gzip, row-delta+zstd (default: none)", 0, 0},
    {"shard-mib", 0, GQ_CLI_INT, &shard_mib, "N", "features of a shard (default: 64)", 1, 1 << 20},
    {"threads", 't', GQ_CLI_INT, &threads, "N", "readers (default: 2)", 1, 64},
    {"scratch", 0, GQ_CLI_TEXT, &scratch, "DIR", "where it is made (default: $TMPDIR)", 0, 0},
    {"json", 0, GQ_CLI_FLAG, &json, NULL, "one object instead of text", 0, 0},
};
static const gq_cli_program program = {
    .name = "gifqa-bench shards",
    .summary = "builds, verifies, shuffles and resumes a made-up data set; memory of each step",
    .usage = "[options]",
    .examples = "gifqa-bench shards --gifs 10000 --tokens 10 --width 32\n"
                "gifqa-bench shards --gifs 100000 --json",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .notes = "Needs 77 KB of disk a GIF with features of the default size, and 2 KB for the GIF.\n"
             "Exit codes: 0 done, 1 the orders differ, 2 usage, 4 data, 6 memory or disk.",
};

typedef struct place {
    char dir[512], world[560], table[600], gif[600], words[600], out[560];
} place;

typedef struct found {                  /* what a step says when it ends                          */
    gq_error err;
    uint64_t shards, continued, gifs, questions, bytes;
    uint64_t first, second;             /* hashes of the order and content of two half epochs     */
    uint64_t held;                      /* bytes on the heap while the data set is open           */
} found;

typedef struct step { const char *name; double seconds, peak_mib; } step;

/* ---- the steps ------------------------------------------------------------------------------- */

static gq_status make_world(const place *p, found *f, gq_error *err)
{
    gq_world_files  files = {.spec = {.seed = SEED}, .scale = 1};
    gq_world_report report;
    files.count[GQ_WORLD_TRAIN] = (uint32_t)gifs;
    gq_status s = gq_world_write(p->world, &files, NULL, NULL, &report, err);
    f->bytes = s == GQ_OK ? report.gif_bytes : 0;
    return s;
}

static int64_t last_feature;            /* at which the process dies; 0: it lives                 */

/* A pure function of the pixels. */
static gq_status invent(void *ctx, const uint8_t *frames, float *to, gq_error *err)
{
    size_t   n = (size_t)(keyframes * tokens * width), pixels = GQ_WORLD_SIZE * GQ_WORLD_SIZE * 3;
    uint64_t seed = gq_xxh64(frames, (size_t)keyframes * pixels);
    (void)ctx, (void)err;
    if (last_feature && !--last_feature)
        raise(SIGKILL);
    for (size_t i = 0; i < n; i += 4) {
        gq_philox p = gq_philox_block(seed, i / 4, GQ_RNG_INIT, 0);
        for (size_t k = 0; k < 4 && i + k < n; k++)
            to[i + k] = 4 * gq_u01(p.w[k]) - 2;
    }
    return GQ_OK;
}

static gq_status build(const place *p, found *f, gq_error *err)
{
    gq_tokenizer   *tok = NULL;
    gq_build_report report = {0};
    gq_build_opts   o = {.table = p->table,
                         .gifs = p->gif,
                         .out = p->out,
                         .keyframes = (int32_t)keyframes,
                         .size = GQ_WORLD_SIZE,
                         .filter = GQ_NEAREST,
                         .codec = packing,
                         .shard_bytes = (uint64_t)shard_mib << 20,
                         .template = "{q}",
                         .answer_prefix = "",
                         .max_question = 16,
                         .max_answer = 2,
                         .source = "made up",
                         .features = invent,
                         .tower = "made up",
                         .tokens = (int32_t)tokens,
                         .width = (int32_t)width,
                         .bf16 = true};
    gq_status       s = gq_tokenizer_open(p->words, &tok, err);
    o.tokenizer = tok;
    if (s == GQ_OK)
        s = gq_build(&o, &report, err);
    gq_tokenizer_close(tok);
    f->shards = report.shards;
    f->continued = report.continued;
    f->gifs = report.gifs;
    f->bytes = report.bytes;
    return s;
}

static gq_status verify(const place *p, found *f, gq_error *err)
{
    return gq_shard_verify(p->out, &f->gifs, &f->questions, err);
}

/* Order and content of `n` samples from where the loader is. each: sum over the samples of a hash
 * of their number, the same for every order. */
static gq_status digest(const gq_dataset *d, gq_loader *l, int64_t n, uint64_t *hash,
                        uint64_t *each, gq_error *err)
{
    size_t    floats = gq_shard_token_count(gq_dataset_meta(d));
    gq_status s = GQ_OK;
    gq_batch  b = {.count = 1};
    *hash = 0;
    for (int64_t done = 0; s == GQ_OK && done < n && b.count; done += b.count) {
        s = gq_loader_next(l, &b, err);
        for (int32_t k = 0; s == GQ_OK && k < b.count; k++) {
            uint64_t content = gq_xxh64(b.tokens + (size_t)k * floats, floats * sizeof *b.tokens);
            uint64_t all[3] = {*hash, (uint64_t)b.index[k], content};
            *hash = gq_xxh64(all, sizeof all);
            *each += gq_xxh64(&b.index[k], sizeof b.index[k]);
        }
        gq_loader_release(l);
    }
    return s;
}

static int64_t half(int64_t n) { return n / 2 / BATCH * BATCH; }

static uint64_t heap(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

/* From the beginning, both halves; or the second one alone. */
static gq_status read_epoch(const place *p, bool whole, found *f, gq_error *err)
{
    uint64_t    before = heap(), each = 0, want = 0;
    gq_dataset *d = NULL;
    gq_loader  *l = NULL;
    gq_status   s = gq_dataset_open(p->out, &d, err);
    if (s != GQ_OK)
        return s;
    int64_t        n = gq_dataset_count(d);
    gq_loader_opts o = {.batch = BATCH, .threads = (int32_t)threads, .seed = SEED, .shuffle = true,
                        .tokens = true, .stop = (uint64_t)n};
    f->held = heap() - before;
    f->questions = (uint64_t)n;
    s = gq_loader_open(d, &o, &l, err);
    if (s == GQ_OK && whole)
        s = digest(d, l, half(n), &f->first, &each, err);
    else if (s == GQ_OK)
        s = gq_loader_seek(l, (uint64_t)half(n), err);
    if (s == GQ_OK)
        s = digest(d, l, n - half(n), &f->second, &each, err);
    for (int64_t i = 0; s == GQ_OK && whole && i < n; i++)
        want += gq_xxh64(&i, sizeof i);
    if (s == GQ_OK && whole && each != want)
        s = gq_fail(err, GQ_EBUG, "%s: an epoch does not give every question once", p->out);
    gq_loader_close(l);
    gq_dataset_close(d);
    return s;
}

static gq_status whole_epoch(const place *p, found *f, gq_error *err)
{
    return read_epoch(p, true, f, err);
}

static gq_status half_epoch(const place *p, found *f, gq_error *err)
{
    return read_epoch(p, false, f, err);
}

static gq_status nothing(const place *p, found *f, gq_error *err)
{
    (void)p, (void)f, (void)err;
    return GQ_OK;
}

/* ---- processes ------------------------------------------------------------------------------- */

typedef gq_status (*step_fn)(const place *p, found *f, gq_error *err);

/* fn in a process of its own. killed: by SIGKILL, at the feature with that number. */
static gq_status run_step(const char *name, step_fn fn, const place *p, int64_t killed, step *st,
                          found *f, gq_error *err)
{
    struct rusage use = {0};
    int           fd[2];
    double        begin = gq_now();
    pid_t         child = pipe(fd) == 0 ? fork() : -1;
    if (child < 0)
        return gq_fail(err, GQ_ENOMEM, "%s: no process for it: %s", name, strerror(errno));
    if (child == 0) {
        found mine = {0};
        last_feature = killed;
        mine.err.code = fn(p, &mine, &mine.err);
        _exit(write(fd[1], &mine, sizeof mine) == (ssize_t)sizeof mine ? 0 : 1);
    }
    close(fd[1]);
    int status = 0;
    while (wait4(child, &status, 0, &use) < 0 && errno == EINTR)
        continue;
    ssize_t got = read(fd[0], f, sizeof *f);
    close(fd[0]);
    *st = (step){name, gq_now() - begin, (double)use.ru_maxrss / 1024};
    if (killed && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        return GQ_OK;
    if (got != (ssize_t)sizeof *f)
        return gq_fail(err, GQ_EBUG, "%s: its process ended with status %d", name, status);
    return f->err.code == GQ_OK ? GQ_OK : gq_fail(err, f->err.code, "%s: %s", name, f->err.text);
}

static gq_status run(const place *p, step st[STEPS], found *built, found *epoch, gq_error *err)
{
    found     f, resumed;
    gq_status s;
    if ((s = run_step("an empty process", nothing, p, 0, &st[0], &f, err)) != GQ_OK ||
        (s = run_step("the GIF files", make_world, p, 0, &st[1], &f, err)) != GQ_OK ||
        (s = run_step("build, killed half way", build, p, gifs - gifs / 2, &st[2], &f,
                      err)) != GQ_OK ||
        (s = run_step("build, the rest", build, p, 0, &st[3], built, err)) != GQ_OK ||
        (s = run_step("build, nothing to do", build, p, 0, &st[4], &f, err)) != GQ_OK ||
        (s = run_step("verify", verify, p, 0, &st[5], &f, err)) != GQ_OK ||
        (s = run_step("an epoch, shuffled", whole_epoch, p, 0, &st[6], epoch, err)) != GQ_OK ||
        (s = run_step("its second half", half_epoch, p, 0, &st[7], &resumed, err)) != GQ_OK)
        return s;
    if (!built->continued)
        return gq_fail(err, GQ_EUSAGE,
                       "no shard was whole when the build was killed: more --gifs, or a smaller "
                       "--shard-mib");
    if (built->gifs != (uint64_t)gifs || f.gifs != (uint64_t)gifs)
        return gq_fail(err, GQ_EBUG, "%llu of %lld GIFs are there", (unsigned long long)built->gifs,
                       (long long)gifs);
    if (resumed.second != epoch->second)
        return gq_fail(err, GQ_EBUG, "a loader that begins in the middle gives other samples");
    return GQ_OK;
}

/* ---- the result ------------------------------------------------------------------------------ */

static void report(const step *st, const found *built, const found *epoch)
{
    char machine[192];
    bench_machine(machine, sizeof machine);
    printf("%lld GIFs with a question each, features [%lld,%lld,%lld] as bfloat16, codec %s: "
           "%.1f MiB in %llu shards, %llu of them\nkept when the build continued. The data set "
           "holds %.0f bytes of memory a GIF while it is open. %s.\n\n",
           (long long)gifs, (long long)keyframes, (long long)tokens, (long long)width, codec,
           (double)built->bytes / 1048576, (unsigned long long)built->shards,
           (unsigned long long)built->continued, (double)epoch->held / (double)gifs, machine);
    printf("| step | seconds | peak memory, MiB |\n|---|--:|--:|\n");
    for (int k = 0; k < STEPS; k++)
        printf("| %s | %.2f | %.1f |\n", st[k].name, st[k].seconds, st[k].peak_mib);
}

static json_t *report_json(const step *st, const found *built, const found *epoch)
{
    char    machine[192];
    json_t *steps = json_object();
    bench_machine(machine, sizeof machine);
    for (int k = 0; k < STEPS; k++)
        json_object_set_new(steps, st[k].name, json_pack("{s:f, s:f}", "seconds", st[k].seconds,
                                                         "peak_mib", st[k].peak_mib));
    return json_pack("{s:b, s:I, s:I, s:I, s:I, s:s, s:I, s:I, s:I, s:f, s:o, s:o}", "ok", 1,
                     "gifs", (json_int_t)gifs, "keyframes", (json_int_t)keyframes, "tokens",
                     (json_int_t)tokens, "width", (json_int_t)width, "codec", codec, "bytes",
                     (json_int_t)built->bytes, "shards", (json_int_t)built->shards, "continued",
                     (json_int_t)built->continued, "held_per_gif",
                     (double)epoch->held / (double)gifs, "steps", steps, "machine",
                     gq_cli_string(machine));
}

static bool name_places(place *p)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(p->dir, sizeof p->dir, "%.480s/gifqa-bench-XXXXXX",
             scratch ? scratch : tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(p->dir))
        return false;
    snprintf(p->world, sizeof p->world, "%s/world", p->dir);
    snprintf(p->table, sizeof p->table, "%s/train.tsv", p->world);
    snprintf(p->gif, sizeof p->gif, "%s/gif", p->world);
    snprintf(p->words, sizeof p->words, "%s/words.txt", p->world);
    snprintf(p->out, sizeof p->out, "%s/shards", p->dir);
    return true;
}

int bench_shards(int argc, char **argv)
{
    gq_cli_list rest;
    gq_error    err = {0}, ignored = {0};
    place       p;
    step        st[STEPS] = {{0}};
    found       built = {0}, epoch = {0};
    int         code = gq_cli_parse(&program, argc, argv, &rest);

    if (code != GQ_CLI_GO)
        return code;
    if (!gq_shard_codec_find(codec, &packing))
        return gq_cli_usage(program.name, "--codec is one of %s, not '%s'", gq_shard_codec_names,
                            codec);
    if (gq_shard_codec_lack(packing))
        return gq_cli_usage(program.name, "--codec: %s", gq_shard_codec_lack(packing));
    if (!name_places(&p)) {
        gq_fail(&err, GQ_EDISK, "%s: cannot make a directory there", p.dir);
        return gq_cli_fail(program.name, &err, json);
    }
    gq_status s = run(&p, st, &built, &epoch, &err);
    gq_remove_tree(p.dir, &ignored);
    if (s == GQ_OK && json)
        s = gq_cli_json(report_json(st, &built, &epoch), &err);
    else if (s == GQ_OK)
        report(st, &built, &epoch);
    return s == GQ_OK ? 0 : gq_cli_fail(program.name, &err, json);
}
