/* gifqa-bench ask: one question to a GIF, as gifqa-ask answers it, on random weights of a
 * configuration's sizes.
 *
 * Random weights have no vocabulary: words that stand for nothing are written into a directory that
 * is removed again, as many as CLIP has tokens, so that the sizes are right. The question is
 * sixteen of them; the answer has exactly as many tokens as asked for.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/mem.h"
#include "tools/bench.h"
#include "train/ask.h"

enum { OWN_SETS = 8, QUESTION = 16, GIF_MOST = 1 << 30 };

static const char         *config, *device, *gif_path;
static bool                json;
static int64_t             tokens = 16, threads;
static gq_cli_list         set;
static const gq_cli_option options[] = {
    {"gif", 'g', GQ_CLI_TEXT, &gif_path, "FILE", "the GIF", 0, 0},
    {"config", 'c', GQ_CLI_TEXT, &config, "FILE",
     "sizes of the model (default: ViT-B/32, BLIP-2's Q-Former, GPT-2 124M)", 0, 0},
    {"tokens", 'n', GQ_CLI_INT, &tokens, "N", "tokens of the answer (default: 16)", 1, 4096},
    GQ_CLI_DEVICE(device),
    {"threads", 't', GQ_CLI_INT, &threads, "N", "threads (default: engine.threads)", 1, 256},
    {"set", 's', GQ_CLI_LIST, &set, "KEY=V", "overrides a key; repeatable", 0, 0},
    {"json", 0, GQ_CLI_FLAG, &json, NULL, "one object instead of text", 0, 0},
};
static const gq_cli_program program = {
    .name = "gifqa-bench ask",
    .summary = "a question to a GIF, phase by phase",
    .usage = "--gif FILE [options]",
    .examples = "gifqa-bench ask --gif cat.gif --tokens 16 --threads 2 --json",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .notes = "init: making random weights. clip_vision: all frames through CLIP. qformer: the "
             "chosen ones to\n"
             "visual tokens, and with the question through GPT-2. generate: the tokens after the "
             "first.\n"
             "total: since the launch of this process.",
};

typedef struct bench {
    gq_config  c;
    gq_session session;
    gq_asker  *asker;
    gq_bytes   gif;
    gq_reply   reply;
    char       dir[256];                /* of the vocabulary, "" none                             */
    double     init_s, total_s;
} bench;

static gq_status configure(bench *b, gq_error *err)
{
    const char *item[OWN_SETS + GQ_CLI_LIST_MAX];
    char        most[48], least[48], count[48], vocabulary[300];
    size_t      n = 0;

    snprintf(most, sizeof most, "decode.max_new_tokens=%lld", (long long)tokens);
    snprintf(least, sizeof least, "decode.min_new_tokens=%lld", (long long)tokens);
    snprintf(count, sizeof count, "engine.threads=%lld", (long long)threads);
    snprintf(vocabulary, sizeof vocabulary, "model.tokenizer.clip=%s", b->dir);
    item[n++] = "model.init=random";
    item[n++] = "prompt.template={q}";
    item[n++] = most;
    item[n++] = least;
    item[n++] = vocabulary;
    if (threads)
        item[n++] = count;
    gq_cli_rung(&set);
    gq_cli_device(&set, device);
    memcpy(item + n, set.item, set.n * sizeof *item);
    return gq_config_load(config, item, n + set.n, &b->c, NULL, err);
}

/* "<pad>", "<end>", "<unk>", "w3", "w4", ...: `count` lines. */
static gq_status write_words(const char *dir, int64_t count, gq_error *err)
{
    char     *text = gq_malloc((size_t)count + 8, 16), *path = gq_path(dir, "words.txt");
    size_t    at = text ? (size_t)sprintf(text, "<pad>\n<end>\n<unk>\n") : 0;
    gq_status s = text && path ? GQ_OK : gq_fail(err, GQ_ENOMEM, "out of memory");

    for (int64_t i = 3; s == GQ_OK && i < count; i++)
        at += (size_t)sprintf(text + at, "w%lld\n", (long long)i);
    if (s == GQ_OK)
        s = gq_write_file(path, text, at, err);
    gq_free(path);
    gq_free(text);
    return s;
}

static gq_status make_directory(bench *b, gq_error *err)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(b->dir, sizeof b->dir, "%s/gifqa-bench-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (mkdtemp(b->dir))
        return GQ_OK;
    b->dir[0] = 0;
    return gq_fail(err, GQ_EDISK, "cannot make a directory for a vocabulary: set TMPDIR");
}

static gq_status open_all(bench *b, gq_error *err)
{
    int64_t       words = b->c.clip.vocab < b->c.gpt2.vocab ? b->c.clip.vocab : b->c.gpt2.vocab;
    gq_net_report report;
    gq_status     s = write_words(b->dir, words, err);
    double        begin = gq_now();

    if (s == GQ_OK)
        s = gq_net_open(&b->c, GQ_NET_INFER, true, &b->session.net, &report, err);
    if (s == GQ_OK)
        s = gq_tokenizer_open(b->dir, &b->session.tokenizer, err);
    b->session.cfg = b->c;
    if (s == GQ_OK)
        s = gq_asker_open(&b->session, NULL, &b->asker, err);
    b->init_s = gq_now() - begin;
    return s;
}

static gq_status ask(bench *b, gq_error *err)
{
    char         question[QUESTION * 8];
    size_t       at = 0;
    gq_gif_bytes gif = {b->gif.data, b->gif.size, gif_path};
    gq_status    s;

    for (int i = 0; i < QUESTION; i++)
        at += (size_t)snprintf(question + at, sizeof question - at, "w%d ", 10 + i);
    s = gq_asker_ask(b->asker, &gif, question, &b->reply, err);
    b->total_s = bench_since_launch();
    if (s == GQ_OK && b->reply.tokens != (int)tokens)
        s = gq_fail(err, GQ_EBUG, "%d tokens were generated, not %lld", b->reply.tokens,
                    (long long)tokens);
    return s;
}

static gq_status report(const bench *b, gq_error *err)
{
    const gq_ask_seconds *t = &b->reply.seconds;
    double      rss = (double)gq_rss_peak() / 1048576, vision = t->retrieve - t->text;
    const char *kernels = b->session.net->engine->backend->name;
    char        machine[192];

    bench_machine(machine, sizeof machine);
    if (json)
        return gq_cli_json(
            json_pack("{s:b, s:s, s:s, s:o, s:i, s:[i,i], s:i, s:i, s:f, s:f, s:f, s:{s:f, s:f, s:f, s:f, "
                      "s:f, s:f, s:f, s:f}}",
                      "ok", 1, "machine", machine, "kernels", kernels, "gif",
                      gq_cli_string(gif_path), "frames", (int)b->reply.frames, "size",
                      (int)b->reply.width, (int)b->reply.height, "tokens", b->reply.tokens,
                      "threads", gq_pool_size(b->session.net->engine->pool), "peak_rss_mib", rss,
                      "frames_per_s", vision > 0 ? b->reply.frames / vision : 0, "tokens_per_s",
                      tokens > 1 ? (double)(tokens - 1) / t->answer : 0, "seconds", "init", b->init_s, "decode",
                      t->decode, "preprocess", t->preprocess, "clip_vision", vision, "text_and_topk", t->text,
                      "qformer", t->vision, "generate", t->answer, "total", b->total_s),
            err);
    printf("%s, %d threads, %s\n%s: %u frames of %ux%u, %d tokens, peak %.0f MiB\n", machine,
           gq_pool_size(b->session.net->engine->pool), kernels, gif_path, b->reply.frames,
           b->reply.width, b->reply.height, b->reply.tokens, rss);
    printf("init %.3f  decode %.3f  preprocess %.3f  clip_vision %.3f  text_and_topk %.3f  "
           "qformer %.3f  generate %.3f  total %.3f s\n",
           b->init_s, t->decode, t->preprocess, vision, t->text, t->vision, t->answer, b->total_s);
    printf("%.1f ms a frame in CLIP, %.1f ms a token after the first\n",
           1e3 * vision / b->reply.frames,
           tokens > 1 ? 1e3 * t->answer / (double)(tokens - 1) : 0);
    return GQ_OK;
}

static void close_all(bench *b)
{
    gq_asker_close(b->asker);
    gq_reply_free(&b->reply);
    gq_net_close(b->session.net);
    gq_tokenizer_close(b->session.tokenizer);
    gq_bytes_free(&b->gif);
    if (*b->dir)
        gq_remove_tree(b->dir, NULL);
}

int bench_ask(int argc, char **argv)
{
    static bench b;                     /* large: not on the stack                                */
    gq_cli_list  none;
    gq_error     err = {0};
    gq_status    s;
    int          code = gq_cli_parse(&program, argc, argv, &none);

    if (code != GQ_CLI_GO)
        return code;
    if (!gif_path)
        return gq_cli_usage(program.name, "--gif FILE is needed");
    s = gq_read_file(gif_path, GIF_MOST, &b.gif, &err);
    if (s == GQ_OK)
        s = make_directory(&b, &err);
    if (s == GQ_OK)
        s = configure(&b, &err);
    if (s == GQ_OK)
        s = open_all(&b, &err);
    if (s == GQ_OK)
        s = ask(&b, &err);
    if (s == GQ_OK)
        s = report(&b, &err);
    close_all(&b);
    return s == GQ_OK ? 0 : gq_cli_fail(program.name, &err, json);
}
