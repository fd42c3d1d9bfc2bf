/* gifqa-qagen train-tagger, eval-tagger. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/io.h"
#include "core/mem.h"
#include "data/qagen/wordnet.h"
#include "tools/cli.h"
#include "tools/qagen.h"

gq_status gq_qagen_tagger(const char *path, gq_tagger **out, gq_error *err)
{
    static const char place[] = "/../share/gifqa/english.tagger";
    char              self[PATH_MAX];
    if (path)
        return gq_tagger_load(path, out, err);
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - sizeof place);
    char   *slash = n > 0 ? (self[n] = 0, strrchr(self, '/')) : NULL;
    *out = NULL;
    if (!slash)
        return gq_fail(err, GQ_EWEIGHTS, "cannot find where this program is; give --tagger FILE");
    strcpy(slash, place);
    return gq_tagger_load(self, out, err);
}

gq_status gq_qagen_chunker(const char *path, gq_chunker *chunker, gq_tagger **out, gq_error *err)
{
    *out = NULL;
    if (!gq_wordnet_present())
        return gq_fail(err, GQ_EUSAGE,
                       "built without WordNet: install it (Debian: wordnet-base) and build gifqa "
                       "again");
    gq_status s = gq_qagen_tagger(path, out, err);
    if (s == GQ_OK)
        gq_chunker_begin(chunker, *out);
    return s;
}

/* ---- measuring ------------------------------------------------------------------------------- */

typedef struct measured {
    gq_tagger_score score;
    size_t          sentences;
    double          seconds; /* of tagging alone                                       */
} measured;

static gq_status measure(const gq_tagger *t, const char *path, bool fold, measured *out,
                         gq_error *err)
{
    gq_treebank bank;
    gq_status   s = gq_conllu_read(path, &bank, err);
    if (s != GQ_OK)
        return s;
    double start = gq_now();
    gq_tagger_measure(t, &bank, fold, &out->score);
    out->seconds = gq_now() - start;
    out->sentences = bank.sentences;
    gq_treebank_free(&bank);
    return GQ_OK;
}

static double percent(uint64_t part, uint64_t whole)
{
    return whole ? 100.0 * (double)part / (double)whole : 0.0;
}

static void print_measured(const char *path, const measured *m)
{
    const gq_tagger_score *s = &m->score;
    gq_cli_show(stdout, path);
    printf(": %.2f %% of %llu words right, %zu sentences, %.0f words/s\n",
           percent(s->right, s->words), (unsigned long long)s->words, m->sentences,
           m->seconds > 0 ? (double)s->words / m->seconds : 0.0);
}

/* The most frequent mistakes. */
static void print_confused(const gq_tagger *t, gq_tagger_score *s)
{
    printf("%-6s %-6s %8s\n", "is", "given", "times");
    for (int row = 0; row < 12; row++) {
        int a = 0, b = 0;
        for (int i = 0; i < GQ_TAGS; i++)
            for (int k = 0; k < GQ_TAGS; k++)
                if (i != k && s->confused[i][k] > (a == b ? 0 : s->confused[a][b]))
                    a = i, b = k;
        if (a == b)
            break;
        printf("%-6s %-6s %8llu\n", gq_tagger_name(t, a), gq_tagger_name(t, b),
               (unsigned long long)s->confused[a][b]);
        s->confused[a][b] = 0;
    }
}

/* ---- train-tagger ---------------------------------------------------------------------------- */

static const char *output, *dev, *tagger;
static int64_t     epochs = 8, prune = 20;
static bool        names, json;

static const gq_cli_option train_options[] = {
    {"output", 'o', GQ_CLI_TEXT, &output, "MODEL", "where the tagger goes", 0, 0},
    {"dev", 0, GQ_CLI_TEXT, &dev, "FILE.conllu", "measure it on this treebank", 0, 0},
    {"epochs", 0, GQ_CLI_INT, &epochs, "N", "passes over the treebank (default 8)", 1, 100},
    {"prune", 0, GQ_CLI_INT, &prune, "N",
     "leave out weights below N thousandths of the largest (default 20)", 0, 1000},
    {"names", 0, GQ_CLI_FLAG, &names, NULL, "keep NNP and NNPS, which are else NN and NNS", 0, 0},
};
static const gq_cli_program train_program = {
    .name = "gifqa-qagen train-tagger",
    .summary = "a part-of-speech tagger from a treebank in CoNLL-U, by its XPOS column",
    .usage = "TRAIN.conllu -o MODEL [options]",
    .examples = "gifqa-qagen train-tagger en_ewt-ud-train.conllu.gz -o english.tagger "
                "--dev en_ewt-ud-dev.conllu.gz",
    .options = train_options,
    .n_options = sizeof train_options / sizeof *train_options,
    .least = 1,
    .most = 1,
    .notes = "Letters count as lower case. The tagger inherits the licence of the treebank.",
};

static gq_status show_epoch(void *ctx, int epoch, uint64_t words, uint64_t wrong, gq_error *err)
{
    (void)ctx;
    fprintf(stderr, "pass %d: %.2f %% of %llu words right\n", epoch, percent(words - wrong, words),
            (unsigned long long)words);
    return gq_cli_stop ? gq_fail(err, GQ_ESTOPPED, "stopped; nothing was written") : GQ_OK;
}

static gq_status train(const char *path, gq_error *err)
{
    gq_tagger_plan plan = {.epochs = (int)epochs, .prune = (int)prune, .fold = !names};
    gq_treebank    bank;
    gq_tagger     *t = NULL;
    measured       m;
    gq_status      s = gq_conllu_read(path, &bank, err);
    double         start = gq_now();

    if (s != GQ_OK)
        return s;
    s = gq_tagger_train(&bank, &plan, show_epoch, NULL, &t, err);
    if (s != GQ_OK)
        gq_context(err, "%s", path);
    if (s == GQ_OK)
        s = gq_tagger_save(t, output, err);
    if (s == GQ_OK) {
        gq_cli_show(stdout, output);
        printf(": %d tags, %zu weights, from %zu sentences and %zu words in %.1f s\n",
               gq_tagger_tags(t), gq_tagger_weights(t), bank.sentences, bank.words,
               gq_now() - start);
    }
    if (s == GQ_OK && dev)
        s = measure(t, dev, plan.fold, &m, err);
    if (s == GQ_OK && dev)
        print_measured(dev, &m);
    gq_tagger_free(t);
    gq_treebank_free(&bank);
    return s;
}

int gq_qagen_train_tagger(int argc, char **argv)
{
    gq_cli_list rest;
    gq_error    err = {0};
    int         code = gq_cli_parse(&train_program, argc, argv, &rest);
    if (code == GQ_CLI_GO && !output)
        code = gq_cli_usage(train_program.name, "-o MODEL is missing");
    if (code != GQ_CLI_GO)
        return code;
    gq_cli_listen("stopping after this pass\n");
    return train(rest.item[0], &err) == GQ_OK ? 0 : gq_cli_fail(train_program.name, &err, false);
}

/* ---- eval-tagger ----------------------------------------------------------------------------- */

static const gq_cli_option eval_options[] = {
    {"tagger", 0, GQ_CLI_TEXT, &tagger, "FILE", "another tagger than the one of gifqa", 0, 0},
    {"names", 0, GQ_CLI_FLAG, &names, NULL, "NNP and NNPS are not NN and NNS", 0, 0},
    {"json", 0, GQ_CLI_FLAG, &json, NULL, "one object instead", 0, 0},
};
static const gq_cli_program eval_program = {
    .name = "gifqa-qagen eval-tagger",
    .summary = "how often a tagger gives the tags of a treebank (XPOS)",
    .usage = "TEST.conllu [options]",
    .examples = "gifqa-qagen eval-tagger en_ewt-ud-test.conllu.gz",
    .options = eval_options,
    .n_options = sizeof eval_options / sizeof *eval_options,
    .least = 1,
    .most = 1,
};

static gq_status eval(const char *path, gq_error *err)
{
    gq_tagger *t;
    measured   m;
    gq_status  s = gq_qagen_tagger(tagger, &t, err);
    if (s != GQ_OK)
        return s;
    s = measure(t, path, !names, &m, err);
    if (s == GQ_OK && json) {
        s = gq_cli_json(json_pack("{s:b, s:I, s:I, s:f, s:f}", "ok", 1, "words",
                                  (json_int_t)m.score.words, "right", (json_int_t)m.score.right,
                                  "accuracy", percent(m.score.right, m.score.words) / 100.0,
                                  "seconds", m.seconds),
                        err);
    } else if (s == GQ_OK) {
        print_measured(path, &m);
        print_confused(t, &m.score);
    }
    gq_tagger_free(t);
    return s;
}

int gq_qagen_eval_tagger(int argc, char **argv)
{
    gq_cli_list rest;
    gq_error    err = {0};
    int         code = gq_cli_parse(&eval_program, argc, argv, &rest);
    if (code != GQ_CLI_GO)
        return code;
    return eval(rest.item[0], &err) == GQ_OK ? 0 : gq_cli_fail(eval_program.name, &err, json);
}
