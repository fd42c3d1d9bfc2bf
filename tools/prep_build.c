/* gifqa-prep build: a table of questions and its GIFs become shards. */
#include <string.h>

#include "core/io.h"
#include "core/mem.h"
#include "data/contexts.h"
#include "data/table.h"
#include "tools/cli_cut.h"
#include "tools/prep_build.h"
#include "train/net.h"
#include "train/retrieve.h"

enum { SHOWN = 10, REJECTS_MAX = 1 << 28 };

static const char    *gifs, *out, *config, *device, *tokenizer, *weights, *source, *contexts;
static const char    *sampler = "uniform", *kind = "none", *codec = "none";
static bool           example, bf16, all_frames, json, description;
static gq_shard_codec packing;
static int64_t        frames;
static gq_cli_list    sets;
static gq_cli_cut     cut = GQ_CLI_CUT;

static const gq_cli_option options[] = {
    {"gifs", 'g', GQ_CLI_TEXT, &gifs, "DIR", "where the GIFs of the table are", 0, 0},
    {"context", 0, GQ_CLI_TEXT, &contexts, "FILE",
     "instead of GIFs: their captions, for a model that reads text (T5)", 0, 0},
    {"out", 'o', GQ_CLI_TEXT, &out, "DIR", "the data set", 0, 0},
    {"tokenizer", 't', GQ_CLI_TEXT, &tokenizer, "DIR|FILE",
     "GPT-2's or T5's vocabulary, or words.txt; else the table's words", 0, 0},
    {"frames", 'k', GQ_CLI_INT, &frames, "N", "frames of each GIF: data.frames", 1, 1024},
    GQ_CLI_DEVICE(device),
    {"sampler", 0, GQ_CLI_TEXT, &sampler, "HOW",
     "uniform, or clipcut: those nearest to the question", 0, 0},
    GQ_CLI_CUT_OPTIONS(cut),
    {"description", 0, GQ_CLI_FLAG, &description, NULL, NULL, 0, 0},
    {"features", 0, GQ_CLI_TEXT, &kind, "WHAT", "none: pixels; clip: CLIP's states instead; both",
     0, 0},
    {"weights", 0, GQ_CLI_TEXT, &weights, "DIR",
     "CLIP: model.safetensors, vocabulary; or random:SEED", 0, 0},
    {"all-frames", 0, GQ_CLI_FLAG, &all_frames, NULL,
     "also CLIP's embedding of every frame, for gifqa-prep index", 0, 0},
    {"bf16", 0, GQ_CLI_FLAG, &bf16, NULL, NULL, 0, 0},        /* NULL: named in another's line */
    {"codec", 0, GQ_CLI_TEXT, &codec, "NAME",
     "none, gzip, row-delta+zstd; --bf16: CLIP's numbers in half the space", 0, 0},
    {"source", 0, GQ_CLI_TEXT, &source, "TEXT", "corpus and licence, stored with the data", 0, 0},
    {"config", 0, GQ_CLI_TEXT, &config, "FILE",
     "image size, prompt, limits, ...; --set KEY=VALUE changes one of its keys", 0, 0},
    {"set", 0, GQ_CLI_LIST, &sets, "KEY=VALUE", NULL, 0, 0},
    {"example", 0, GQ_CLI_FLAG, &example, NULL, NULL, 0, 0},
    {"json", 0, GQ_CLI_FLAG, &json, NULL,
     "the result as one JSON object; --example: a table to start from", 0, 0},
};
static const gq_cli_program program = {
    .name = "gifqa-prep build",
    .summary = "a table of questions and its GIFs to shards",
    .usage = "TABLE --gifs DIR -o DIR [options]",
    .examples = "gifqa-prep build questions.tsv --gifs gifs -o data/train --tokenizer gpt2\n"
                "gifqa-prep build questions.tsv --context captions.tsv -o data/text --config configs/t5_qa.yaml",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .least = 0,
    .most = 1,
    .notes = "Bad rows and GIFs are listed in DIR/rejects.tsv; more than data.max_bad: exit 4. 75: "
             "stopped; run it again.",
};

/* ---- configuration --------------------------------------------------------------------------- */

static bool from_clip(void)
{
    return !strcmp(sampler, "clipcut") || strcmp(kind, "none") != 0 || all_frames;
}

static gq_status configure(gq_config **c, gq_error *err)
{
    char                 count[48];
    gq_prep_clip_options from = {
        .config = config, .weights = weights, .device = device, .sets = &sets};

    snprintf(count, sizeof count, "data.frames=%lld", (long long)frames);
    from.more = contexts ? "model.kind=t5" : frames ? count : NULL;
    if (gq_cli_cut_set(&cut, &sets, err) != GQ_OK)
        return GQ_EUSAGE;
    return gq_prep_clip_config(&from, from_clip(), c, err);
}

static gq_status words_of(const char *table, const gq_contexts *texts, const gq_config *c,
                          gq_tokenizer **tok, gq_error *err)
{
    gq_prep_words_report r;
    gq_language          l = gq_net_language(c);
    gq_status            s = gq_mkdirs(out, err);

    if (s == GQ_OK)
        s = gq_prep_words(table, texts, out, c, tok, &r, err);
    if (s != GQ_OK)
        return s;
    fprintf(stderr,
            "%s: no --tokenizer: the vocabulary is %u of the %u words of %s and the prompt, and "
            "%d special tokens; other parts of this data need --tokenizer %s/tokenizer\n",
            program.name, r.words - r.lost, r.words, table,
            (int)gq_tokenizer_vocab_size(*tok) - (int)(r.words - r.lost), out);
    if (r.lost)
        gq_cli_warn(program.name,
                    "%u of %u words do not fit into %s = %lld rows and become <unk>; "
                    "%llu answers contain one: raise %s",
                    r.lost, r.words, l.vocab_key, (long long)l.vocab,
                    (unsigned long long)r.lost_answers, l.vocab_key);
    return GQ_OK;
}

static gq_status open_tokenizer(const gq_config *c, const char *table, const gq_contexts *texts,
                                gq_tokenizer **tok, gq_error *err)
{
    gq_language l = gq_net_language(c);
    const char *path = tokenizer ? tokenizer : *l.tokenizer ? l.tokenizer : NULL;
    gq_status   s;

    if (!path && c->model.init == GQ_CFG_INIT_WEIGHTS && *l.weights)
        path = l.weights;
    s = path ? gq_tokenizer_open(path, tok, err) : words_of(table, texts, c, tok, err);
    if (s == GQ_OK && gq_tokenizer_vocab_size(*tok) > l.vocab)
        s = gq_fail(err, GQ_ECONFIG, "%s: %d tokens do not fit the %lld rows of %s",
                    path ? path : table, (int)gq_tokenizer_vocab_size(*tok), (long long)l.vocab,
                    l.vocab_key);
    return s;
}

/* ---- the result ------------------------------------------------------------------------------ */

/* What was refused by an earlier command is not shown as if it were news. */
static void show_old_rejects(const char *path, const gq_bytes *b)
{
    unsigned rows = 0;
    for (size_t i = 0; i < b->size; i++)
        rows += b->data[i] == '\n';
    gq_cli_warn(program.name,
                "already built; %s lists %u rows refused then; remove %s to build again", path,
                rows - (rows > 0), out); /* without the header */
}

/* The first lines of rejects.tsv. */
static void show_rejects(const gq_build_report *r)
{
    gq_bytes b;
    char    *path = gq_path(out, "rejects.tsv"), *rest, *line;
    int      shown = -1; /* the first line is the header */

    if (!(r->bad_rows + r->bad_gifs) || !path ||
        gq_read_file(path, REJECTS_MAX, &b, NULL) != GQ_OK) {
        gq_free(path);
        return;
    }
    rest = (char *)b.data;
    if (r->already)
        show_old_rejects(path, &b);
    while (!r->already && shown < SHOWN && (line = strsep(&rest, "\n")) && *line)
        if (shown++ >= 0) {
            fprintf(stderr, "  ");
            gq_cli_show(stderr, line);
            fputc('\n', stderr);
        }
    if (!r->already)
        gq_cli_warn(program.name, "%u bad rows and %u bad GIFs were left out, listed in %s",
                    r->bad_rows, r->bad_gifs, path);
    gq_bytes_free(&b);
    gq_free(path);
}

static void show_cuts(const gq_build_report *r, const gq_config *c)
{
    if (r->cut_questions + r->cut_answers)
        gq_cli_warn(program.name,
                    "%u questions lost their %s beyond prompt.max_question_tokens = %lld and %u "
                    "answers their end beyond prompt.max_answer_tokens = %lld",
                    r->cut_questions, contexts ? "context's end" : "start",
                    (long long)c->prompt.max_question_tokens, r->cut_answers,
                    (long long)c->prompt.max_answer_tokens);
}

static gq_status show(const gq_build_report *r, gq_error *err)
{
    if (json)
        return gq_cli_json(
            json_pack("{s:b, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f}", "ok", 1,
                      "dir", gq_cli_string(out), "shards", (json_int_t)r->shards, "gifs",
                      (json_int_t)r->gifs, "questions", (json_int_t)r->questions, "bad_rows",
                      (json_int_t)r->bad_rows, "bad_gifs", (json_int_t)r->bad_gifs, "cut_questions",
                      (json_int_t)r->cut_questions, "cut_answers", (json_int_t)r->cut_answers,
                      "continued", (json_int_t)r->continued, "bytes", (json_int_t)r->bytes,
                      "seconds", r->seconds),
            err);
    printf("%s: %u GIFs, %u questions, %u shard%s, %.1f MiB, %.1f s", out, r->gifs, r->questions,
           r->shards, r->shards == 1 ? "" : "s", (double)r->bytes / 1048576.0, r->seconds);
    if (r->continued)
        printf(" (%u shard%s already there)", r->continued, r->continued == 1 ? " was" : "s were");
    putchar('\n');
    return GQ_OK;
}

/* ---- all of it ------------------------------------------------------------------------------- */

typedef struct job {
    gq_config    *c;
    gq_tokenizer *tok;
    gq_pool      *pool;
    gq_prep_clip *clip;
    gq_contexts  *contexts;
} job;

static const char *context_of(void *ctx, const char *gif)
{
    return gq_contexts_find(ctx, gif);
}

static gq_status open_contexts(job *j, gq_error *err)
{
    if (!strstr(j->c->prompt.template, "{c}"))
        return gq_fail(err, GQ_ECONFIG, "prompt.template is '%s': without {c} no context would be read",
                       j->c->prompt.template);
    return gq_contexts_open(contexts, &j->contexts, err);
}

/* A set of texts. */
static void take_contexts(const job *j, gq_build_opts *o)
{
    o->gifs = NULL;
    o->keyframes = o->size = 1;
    o->store_frames = false;
    o->context = context_of;
    o->contexts_sha256 = gq_contexts_sha256(j->contexts);
    o->ctx = j->contexts;
}

static gq_build_opts build_opts(const job *j, const char *table, gq_cli_progress *progress)
{
    const gq_config *c = j->c;
    return (gq_build_opts){
        .table = table,
        .gifs = gifs,
        .out = out,
        .keyframes = (int32_t)c->data.frames,
        .size = (int32_t)c->image.size,
        .filter = c->image.filter == GQ_CFG_FILTER_NEAREST ? GQ_NEAREST : GQ_BICUBIC,
        .limits = gq_retriever_limits(c),
        .store_frames = strcmp(kind, "clip") != 0,
        .codec = packing,
        .tokenizer = j->tok,
        .template = c->prompt.template,
        .answer_prefix = c->prompt.answer_prefix,
        .max_question = (int32_t)c->prompt.max_question_tokens,
        .max_answer = (int32_t)c->prompt.max_answer_tokens,
        .max_bad = (uint32_t)c->data.max_bad,
        .source = source ? source : "",
        .pool = j->pool,
        .bf16 = bf16,
        .described = description,
        .progress = gq_cli_progress_show,
        .progress_ctx = progress,
    };
}

static gq_status run(job *j, const char *table, gq_error *err)
{
    gq_cli_progress progress = {.what = program.name, .unit = "GIFs"};
    gq_build_report  report = {0};
    gq_build_opts    o;
    gq_status        s = configure(&j->c, err);

    if (s == GQ_OK && !contexts && j->c->model.kind == GQ_CFG_KIND_T5)
        s = gq_fail(err, GQ_ECONFIG,
                    "model.kind 't5' reads no GIFs: give their captions with --context FILE");
    if (s == GQ_OK && contexts)
        s = open_contexts(j, err);
    if (s == GQ_OK)
        s = open_tokenizer(j->c, table, j->contexts, &j->tok, err);
    if (s == GQ_OK)
        s = gq_pool_new(j->c->engine.threads ? (int)j->c->engine.threads : gq_cpu_count(), &j->pool,
                        err);
    if (s != GQ_OK)
        return s;
    o = build_opts(j, table, &progress);
    if (contexts)
        take_contexts(j, &o);
    if (from_clip())
        s = gq_prep_clip_open(j->c, !strcmp(sampler, "clipcut"), strcmp(kind, "none") != 0,
                              all_frames, &o, &j->clip, err);
    if (s == GQ_OK && description)
        gq_cli_cut_warn(program.name);
    if (s == GQ_OK)
        s = gq_build(&o, &report, err);
    gq_cli_progress_end(&progress);
    show_rejects(&report);
    show_cuts(&report, j->c);
    return s == GQ_OK ? show(&report, err) : s;
}

static int wrong_word(const char *option, const char *word, const char *allowed)
{
    return gq_cli_usage(program.name, "--%s: '%s' is not one of %s", option, word, allowed);
}

static int usage_problem(const gq_cli_list *rest)
{
    if (!rest->n || (!gifs && !contexts) || !out)
        return gq_cli_usage(program.name, "%s is missing: usage: %s %s",
                            !rest->n             ? "TABLE"
                            : !gifs && !contexts ? "--gifs DIR"
                                                 : "-o DIR",
                            program.name, program.usage);
    if (contexts && (gifs || frames || from_clip() || weights))
        return gq_cli_usage(program.name, "--context makes a set of texts: it has no frames, so --gifs, --frames, "
                            "--sampler, --features, --all-frames and --weights do not go with it");
    if (strcmp(sampler, "uniform") != 0 && strcmp(sampler, "clipcut") != 0)
        return wrong_word("sampler", sampler, "uniform, clipcut");
    if (strcmp(sampler, "clipcut") != 0 && (gq_cli_cut_given(&cut) || description))
        return gq_cli_usage(program.name,
                            "--mode, --apart and --description belong to --sampler clipcut");
    if (strcmp(kind, "none") != 0 && strcmp(kind, "clip") != 0 && strcmp(kind, "both") != 0)
        return wrong_word("features", kind, "none, clip, both");
    if (!gq_shard_codec_find(codec, &packing))
        return wrong_word("codec", codec, gq_shard_codec_names);
    if (gq_shard_codec_lack(packing))
        return gq_cli_usage(program.name, "--codec: %s", gq_shard_codec_lack(packing));
    return GQ_CLI_GO;
}

int gq_prep_build(int argc, char **argv)
{
    gq_cli_list rest;
    gq_error    err = {0};
    job         j = {0};
    gq_status   s;
    int         code = gq_cli_parse(&program, argc, argv, &rest);

    if (code == GQ_CLI_GO && example) {
        fputs(gq_table_example, stdout);
        return 0;
    }
    if (code == GQ_CLI_GO)
        code = usage_problem(&rest);
    if (code != GQ_CLI_GO)
        return code;
    gq_prep_catch_signals();
    s = run(&j, rest.item[0], &err);
    gq_prep_clip_close(j.clip);
    gq_contexts_close(j.contexts);
    gq_pool_free(j.pool);
    gq_tokenizer_close(j.tok);
    gq_free(j.c);
    return s == GQ_OK ? 0 : gq_cli_fail(program.name, &err, json);
}
