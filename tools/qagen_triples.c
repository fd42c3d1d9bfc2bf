/* gifqa-qagen triples: captions to a table of subjects, predicates and objects. */
#include <stdio.h>
#include <string.h>

#include "core/io.h"
#include "core/mem.h"
#include "data/qagen/captions.h"
#include "data/qagen/triples.h"
#include "tools/cli.h"
#include "tools/qagen.h"

enum { COLUMNS = 4 };
static const char *const header[COLUMNS] = {"gif", "subject", "predicate", "object"};

static const char *tagger, *sentence, *output, *split;

static const gq_cli_option options[] = {
    {"output", 'o', GQ_CLI_TEXT, &output, "FILE.tsv", "the triples", 0, 0},
    {"split", 0, GQ_CLI_TEXT, &split, "NAME", "only captions with this in their column split", 0,
     0},
    {"sentence", 0, GQ_CLI_TEXT, &sentence, "TEXT", "print those of this caption instead", 0, 0},
    {"tagger", 0, GQ_CLI_TEXT, &tagger, "FILE", "another tagger than the one of gifqa", 0, 0},
};
static const gq_cli_program program = {
    .name = "gifqa-qagen triples",
    .summary = "who does what to whom: subject, predicate, object of each verb of captions",
    .usage = "CAPTIONS.tsv -o TRIPLES.tsv [options]",
    .examples = "gifqa-qagen triples captions.tsv -o triples.tsv\n"
                "gifqa-qagen triples --sentence \"a man and a boy sit on a couch.\"",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .least = 0,
    .most = 1,
    .notes = "Columns: gif, subject, predicate, object. The predicate is a base form with its "
             "preposition: \"sit on\".\nThe object is empty where there is none.",
};

typedef struct counts {
    size_t captions, triples, silent, too_long;
} counts;

/* Those of one caption, in out[GQ_TRIPLES]; how many. */
static size_t read_caption(const gq_chunker *chunker, const char *text, counts *n, gq_triple *out)
{
    static gq_caption c;
    n->captions++;
    if (!gq_chunker_read(chunker, text, &c)) {
        n->too_long++;
        return 0;
    }
    size_t made = gq_triples(&c, out);
    n->triples += made;
    n->silent += !made;
    return made;
}

typedef struct job {
    const gq_chunker *chunker;
    gq_file          *file;
    counts            n;
} job;

static gq_status put_caption(void *ctx, const gq_captions_row *row, gq_error *err)
{
    static gq_triple list[GQ_TRIPLES];
    job             *j = ctx;
    gq_status        s = GQ_OK;
    size_t           made = read_caption(j->chunker, row->text, &j->n, list);
    for (size_t k = 0; k < made && s == GQ_OK; k++) {
        const char *const cell[COLUMNS] = {row->gif, list[k].subject, list[k].predicate,
                                           list[k].object};
        s = gq_table_put(j->file, cell, COLUMNS, err);
    }
    return s;
}

static gq_status write_triples(const gq_chunker *chunker, const char *from, gq_error *err)
{
    job           j = {.chunker = chunker};
    const counts *n = &j.n;
    double        start = gq_now();
    gq_status     s = gq_atomic_open(output, &j.file, err);
    if (s != GQ_OK)
        return s;
    s = gq_table_put(j.file, header, COLUMNS, err);
    if (s == GQ_OK)
        s = gq_qagen_each(from, split, put_caption, &j, err);
    if (s != GQ_OK) {
        gq_atomic_abort(j.file);
        return s;
    }
    s = gq_atomic_commit(j.file, err);
    if (s == GQ_OK)
        printf("%zu captions, %zu triples (%.2f each); %zu captions gave none, %zu were too long; "
               "%.2f s\n",
               n->captions, n->triples, n->captions ? (double)n->triples / (double)n->captions : 0.0,
               n->silent, n->too_long, gq_now() - start);
    return s;
}

static void show(const gq_chunker *chunker, const char *text)
{
    static gq_triple list[GQ_TRIPLES];
    counts           n = {0};
    size_t           made = read_caption(chunker, text, &n, list);
    for (size_t k = 0; k < made; k++) {
        gq_cli_show(stdout, list[k].subject);
        putchar('\t');
        gq_cli_show(stdout, list[k].predicate);
        putchar('\t');
        gq_cli_show(stdout, list[k].object);
        putchar('\n');
    }
}

int gq_qagen_triples(int argc, char **argv)
{
    static gq_chunker chunker;
    gq_cli_list       rest;
    gq_tagger        *t = NULL;
    gq_error          err = {0};
    int               code = gq_cli_parse(&program, argc, argv, &rest);

    if (code == GQ_CLI_GO && (rest.n == 1) == (sentence != NULL))
        code = gq_cli_usage(program.name, "give a file of captions, or --sentence TEXT");
    if (code == GQ_CLI_GO && (output != NULL) == (sentence != NULL))
        code = gq_cli_usage(program.name, "-o FILE.tsv goes with a file of captions");
    if (code != GQ_CLI_GO)
        return code;
    gq_status s = gq_qagen_chunker(tagger, &chunker, &t, &err);
    if (s == GQ_OK && sentence) {
        show(&chunker, sentence);
    } else if (s == GQ_OK) {
        gq_cli_listen("stopping\n");
        s = write_triples(&chunker, rest.item[0], &err);
    }
    gq_tagger_free(t);
    return s == GQ_OK ? 0 : gq_cli_fail(program.name, &err, false);
}
