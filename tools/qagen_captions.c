/* gifqa-qagen CAPTIONS: the command line, and what is read in a caption (--explain). */
#include <stdio.h>
#include <string.h>

#include "core/mem.h"
#include "data/qagen/captions.h"
#include "data/qagen/rules.h"
#include "tools/cli.h"
#include "tools/qagen.h"

static const char *tagger, *gif, *sentence, *output, *split;
static bool        explain;
static int64_t     line = 0;
static double      cap = 20;

static const gq_cli_option options[] = {
    {"output", 'o', GQ_CLI_TEXT, &output, "FILE.tsv",
     "the questions, as gifqa-prep build reads them", 0, 0},
    {"cap", 0, GQ_CLI_REAL, &cap, "PERCENT",
     "the most that one answer may have of its template (default 20)", 0.01, 100},
    {"split", 0, GQ_CLI_TEXT, &split, "NAME", "only captions with this in their column split", 0,
     0},
    {"explain", 0, GQ_CLI_FLAG, &explain, NULL,
     "tags, chunks, candidates and questions of each caption", 0, 0},
    {"line", 0, GQ_CLI_INT, &line, "N", "only the caption in this line of the file", 1, 1e15},
    {"gif", 0, GQ_CLI_TEXT, &gif, "NAME", "only the captions of this GIF", 0, 0},
    {"sentence", 0, GQ_CLI_TEXT, &sentence, "TEXT", "this caption instead of a file", 0, 0},
    {"tagger", 0, GQ_CLI_TEXT, &tagger, "FILE", "another tagger than the one of gifqa", 0, 0},
};
static const gq_cli_program program = {
    .name = "gifqa-qagen",
    .summary = "from captions of GIFs to questions and answers",
    .usage = "CAPTIONS.tsv -o QA.tsv|--explain [options]\n       gifqa-qagen "
             "triples|train-tagger|eval-tagger ...",
    .examples = "gifqa-qagen captions.tsv -o qa.tsv\n"
                "gifqa-qagen captions.tsv --explain --line 7\n"
                "gifqa-qagen --explain --sentence \"a man in a black hat is dancing.\"",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .least = 0,
    .most = 1,
    .notes = "CAPTIONS.tsv has the columns gif_name and description, or is TGIF's own file of URLs "
             "and sentences.\n"
             "An asterisk marks a tag that a rule changed. Exit codes: 2 usage, 4 captions, 5 "
             "tagger, 6 memory or disk.",
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

static void show(const gq_chunker *chunker, const char *text)
{
    static gq_caption c;
    gq_cli_show(stdout, text);
    putchar('\n');
    if (!gq_chunker_read(chunker, text, &c)) {
        printf("  longer than %d words, or without one: nothing is made of it\n", GQ_WORDS);
        return;
    }
    show_words(&c);
    show_candidates(&c);
    show_questions(&c);
}

static gq_status show_file(const gq_chunker *chunker, const char *path, gq_error *err)
{
    gq_captions    *c;
    gq_captions_row row;
    bool            any = false;
    gq_status       s = gq_captions_open(path, &c, err);
    while (s == GQ_OK && (s = gq_captions_next(c, &row, err)) == GQ_OK && row.gif) {
        if ((line && row.line != (uint64_t)line) || (gif && strcmp(gif, row.gif) != 0))
            continue;
        any = true;
        gq_cli_show(stdout, row.gif);
        printf(", line %llu: ", (unsigned long long)row.line);
        show(chunker, row.text);
    }
    gq_captions_close(c);
    if (s == GQ_OK && !any)
        s = gq_fail(err, GQ_EINPUT, "%s: has no such caption", path);
    return s;
}

int gq_qagen_captions(int argc, char **argv)
{
    static gq_chunker chunker;
    gq_cli_list       rest;
    gq_tagger        *t = NULL;
    gq_error          err = {0};
    int               code = gq_cli_parse(&program, argc, argv, &rest);

    if (code == GQ_CLI_GO && (rest.n == 1) == (sentence != NULL))
        code = gq_cli_usage(program.name, "give a file of captions, or --sentence TEXT");
    if (code == GQ_CLI_GO && explain == (output != NULL))
        code = gq_cli_usage(program.name, "give -o FILE.tsv, or --explain");
    if (code == GQ_CLI_GO && output && (sentence || line || gif))
        code = gq_cli_usage(program.name, "--sentence, --line and --gif go with --explain");
    if (code != GQ_CLI_GO)
        return code;
    gq_status s = gq_qagen_chunker(tagger, &chunker, &t, &err);
    if (s == GQ_OK) {
        if (output) {
            gq_cli_listen("stopping\n");
            s = gq_qagen_write(&chunker, rest.item[0], output, cap / 100, split, &err);
        } else if (sentence)
            show(&chunker, sentence);
        else
            s = show_file(&chunker, rest.item[0], &err);
    }
    gq_tagger_free(t);
    return s == GQ_OK ? 0 : gq_cli_fail(program.name, &err, false);
}
