/* gifqa-qagen CAPTIONS: the command line, and what is read in a caption (--explain). */
#include <stdio.h>
#include <string.h>

#include "data/qagen/captions.h"
#include "data/qagen/rules.h"
#include "tools/cli.h"
#include "tools/qagen.h"

static const char *tagger, *gif, *sentence, *output, *split, *generator = "rules";
static bool        explain;
static int64_t     line = 0;
static double      cap = 20;

enum { BATCH = 16 };
static gq_qagen_t5_options t5;

static const gq_cli_option options[] = {
    {"output", 'o', GQ_CLI_TEXT, &output, "FILE.tsv",
     "the questions, as gifqa-prep build reads them", 0, 0},
    {"cap", 0, GQ_CLI_REAL, &cap, "PERCENT",
     "the most that one answer may have of its template, or kind (default 20)", 0.01, 100},
    {"split", 0, GQ_CLI_TEXT, &split, "NAME", "only captions with this in their column split", 0,
     0},
    {"explain", 0, GQ_CLI_FLAG, &explain, NULL,
     "tags, chunks, candidates and questions of each caption", 0, 0},
    {"line", 0, GQ_CLI_INT, &line, "N", "only the caption in this line of the file", 1, 1e15},
    {"gif", 0, GQ_CLI_TEXT, &gif, "NAME", "only the captions of this GIF", 0, 0},
    {"sentence", 0, GQ_CLI_TEXT, &sentence, "TEXT", "this caption instead of a file", 0, 0},
    {"tagger", 0, GQ_CLI_TEXT, &tagger, "FILE", "another tagger than the one of gifqa", 0, 0},
    {"generator", 0, GQ_CLI_TEXT, &generator, "NAME", "who asks: rules (default), or t5, a language model:", 0, 0},
    {"model", 0, GQ_CLI_TEXT, &t5.model, "DIR",
     "a T5 taught to ask: config.json, model.safetensors, spiece.model as published", 0, 0},
    {"tokenizer", 0, GQ_CLI_TEXT, &t5.tokenizer, "PATH", "another tokenizer than DIR's", 0, 0},
    {"form", 0, GQ_CLI_TEXT, &t5.form, "NAME|FILE.json",
     "its prompt: qg-ap (default), qg-prepend, qg-hl, squad-v1, or as in the file", 0, 0},
    {"beams", 'b', GQ_CLI_INT, &t5.beams, "N", "beam search; 1 is greedy (default: the form's)", 1, 64},
    {"max-new", 0, GQ_CLI_INT, &t5.max_new, "N", "tokens of a question (default: the form's)", 1, 512},
    {"batch", 0, GQ_CLI_INT, &t5.batch, "N", "prompts at once; results do not depend on it (default 16)", 1, 1024},
    {"set", 's', GQ_CLI_LIST, &t5.set, "KEY=V", "overrides a key of section engine: engine.precision=bf16", 0, 0},
    GQ_CLI_DEVICE(t5.device),
    {"threads", 0, GQ_CLI_INT, &t5.threads, "N", "threads (default: all cores)", 1, 256},
};
static const gq_cli_program program = {
    .name = "gifqa-qagen",
    .summary = "from captions of GIFs to questions and answers",
    .usage = "CAPTIONS.tsv -o QA.tsv|--explain [options]\n       gifqa-qagen "
             "triples|train-tagger|eval-tagger ...",
    .examples = "gifqa-qagen captions.tsv -o qa.tsv\n"
                "gifqa-qagen captions.tsv --explain --line 7\n"
                "gifqa-qagen captions.tsv -o qa.tsv --generator t5 --model t5-base-finetuned-question-generation-ap\n"
                "gifqa-qagen --explain --sentence \"a man in a black hat is dancing.\"",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .least = 0,
    .most = 1,
    .notes = "CAPTIONS.tsv has the columns gif_name and description, or is TGIF's own file of URLs "
             "and sentences.\n"
             "An asterisk marks a tag that a rule changed. Exit codes: 2 usage, 3 --set, 4 captions "
             "or form, 5\ntagger or model, 6 memory or disk, 75 stopped.",
};

static void show_words(const gq_caption *c)
{
    for (size_t k = 0; k < c->chunks; k++) {
        const gq_chunk *h = &c->chunk[k];
        printf("%s%s", k ? " " : "  ", h->kind == GQ_CHUNK_O ? "" : "[");
        for (size_t w = h->from; w < h->to; w++) {
            gq_cli_show(stdout, c->words.word[w]);
            printf("/%s%s%s", gq_pos_name(c->pos[w]), c->repaired[w] ? "*" : "",
                   w + 1 < h->to ? " " : "");
        }
        if (h->kind != GQ_CHUNK_O)
            printf(" %s]", gq_chunk_name(h->kind));
    }
    putchar('\n');
}

static void show_candidates(const gq_caption *c)
{
    static gq_candidate list[GQ_CANDIDATES];
    size_t              n = gq_candidates(c, list);
    for (int category = 0; category < GQ_CATEGORIES; category++) {
        const char *between = "  ";
        printf("  %-7s", gq_category_name((gq_category)category));
        for (size_t k = 0; k < n; k++) {
            char text[GQ_WORDS_TEXT];
            if ((int)list[k].category != category ||
                !gq_caption_text(c, list[k].from, list[k].to, text, sizeof text))
                continue;
            fputs(between, stdout);
            gq_cli_show(stdout, text);
            between = " | ";
        }
        putchar('\n');
    }
}

static void show_questions(const gq_caption *c)
{
    static gq_generated list[GQ_RULE_MOST];
    const char         *why;
    size_t              n = gq_rules(c, list, &why);
    for (size_t k = 0; k < n; k++) {
        printf("  %-7s ", gq_rule_name(list[k].rule));
        gq_cli_show(stdout, list[k].question);
        printf("  ");
        gq_cli_show(stdout, list[k].answer);
        putchar('\n');
    }
    if (why)
        printf("  its verb asks nothing: %s\n", why);
}

typedef struct reader {
    const gq_chunker *chunker;
    gq_qagen_t5      *t5;               /* NULL: rules ask */
    bool              any;
} reader;

static gq_status show(const reader *r, const char *text, gq_error *err)
{
    static gq_caption c;
    gq_cli_show(stdout, text);
    putchar('\n');
    if (!gq_chunker_read(r->chunker, text, &c)) {
        printf("  longer than %d words, or without one: nothing is made of it\n", GQ_WORDS);
        return GQ_OK;
    }
    show_words(&c);
    show_candidates(&c);
    if (r->t5)
        return gq_qagen_t5_show(r->t5, &c, err);
    show_questions(&c);
    return GQ_OK;
}

static gq_status show_row(void *ctx, const gq_captions_row *row, gq_error *err)
{
    reader *r = ctx;
    if ((line && row->line != (uint64_t)line) || (gif && strcmp(gif, row->gif) != 0))
        return GQ_OK;
    r->any = true;
    gq_cli_show(stdout, row->gif);
    printf(", line %llu: ", (unsigned long long)row->line);
    return show(r, row->text, err);
}

static gq_status explain_them(const gq_chunker *chunker, gq_qagen_t5 *model, const char *path,
                              gq_error *err)
{
    reader    r = {chunker, model, false};
    gq_status s = sentence ? show(&r, sentence, err) : gq_qagen_each(path, split, show_row, &r, err);

    if (s == GQ_OK && !sentence && !r.any)
        s = gq_fail(err, GQ_EINPUT, "%s: has no such caption", path);
    return s;
}

static int check(const gq_cli_list *rest)
{
    bool by_t5 = strcmp(generator, "t5") == 0;

    if ((rest->n == 1) == (sentence != NULL))
        return gq_cli_usage(program.name, "give a file of captions, or --sentence TEXT");
    if (explain == (output != NULL))
        return gq_cli_usage(program.name, "give -o FILE.tsv, or --explain");
    if (output && (sentence || line || gif))
        return gq_cli_usage(program.name, "--sentence, --line and --gif go with --explain");
    if (!by_t5 && strcmp(generator, "rules") != 0)
        return gq_cli_usage(program.name, "--generator is rules or t5, not %s", generator);
    if (by_t5 && !t5.model)
        return gq_cli_usage(program.name, "--generator t5 needs --model DIR");
    if (!by_t5 && (t5.model || t5.tokenizer || t5.form || t5.beams || t5.max_new || t5.batch || t5.set.n ||
                   t5.device || t5.threads))
        return gq_cli_usage(program.name, "--model and what follows it in --help go with --generator t5");
    return GQ_CLI_GO;
}

int gq_qagen_captions(int argc, char **argv)
{
    static gq_chunker chunker;
    gq_cli_list       rest;
    gq_tagger        *t = NULL;
    gq_qagen_t5      *model = NULL;
    gq_error          err = {0};
    int               code = gq_cli_parse(&program, argc, argv, &rest);

    if (code == GQ_CLI_GO)
        code = check(&rest);
    if (code != GQ_CLI_GO)
        return code;
    t5.batch = explain ? 1 : t5.batch ? t5.batch : BATCH;
    gq_status s = gq_qagen_chunker(tagger, &chunker, &t, &err);
    if (s == GQ_OK && t5.model)
        s = gq_qagen_t5_open(&t5, &model, &err);
    if (s == GQ_OK && output)
        gq_cli_listen("stopping\n");
    if (s == GQ_OK && explain)
        s = explain_them(&chunker, model, rest.n ? rest.item[0] : NULL, &err);
    else if (s == GQ_OK && model)
        s = gq_qagen_t5_write(model, &chunker, rest.item[0], output, cap / 100, split, &err);
    else if (s == GQ_OK)
        s = gq_qagen_write(&chunker, rest.item[0], output, cap / 100, split, &err);
    gq_qagen_t5_close(model);
    gq_tagger_free(t);
    return s == GQ_OK ? 0 : gq_cli_fail(program.name, &err, false);
}
