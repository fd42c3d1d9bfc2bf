/* gifqa-prep import: the files of TGIF and TGIF-QA as published to tables of captions and
 * questions, with their counts beside the published ones. */
#include <string.h>

#include "data/import.h"
#include "tools/prep.h"

static const char *out, *list[GQ_TGIF_UNLISTED];
static bool        whole, json;
static gq_cli_list tests;

static const char *verdict(uint32_t rows, uint32_t published)
{
    return rows == published ? "whole" : rows < published ? "a part" : "more than published";
}

/* ---- TGIF-QA --------------------------------------------------------------------------------- */

static const gq_cli_option qa_options[] = {
    {"out", 'o', GQ_CLI_TEXT, &out, "DIR", "train.tsv and test.tsv for gifqa-prep build", 0, 0},
    {"whole", 0, GQ_CLI_FLAG, &whole, NULL, "another count than the published one is an error", 0,
     0},
    {"json", 0, GQ_CLI_FLAG, &json, NULL, "the counts as one JSON object", 0, 0},
};
static const gq_cli_program qa_program = {
    .name = "gifqa-prep import tgif-qa",
    .summary = "questions of TGIF-QA to tables",
    .usage = "[options] FILE... -o DIR",
    .examples = "gifqa-prep import tgif-qa tgif-qa/dataset/*.csv -o tables\n"
                "gifqa-prep import tgif-qa Test_*.csv Total_*.csv -o tables --whole",
    .options = qa_options,
    .n_options = sizeof qa_options / sizeof qa_options[0],
    .least = 1,
    .most = GQ_CLI_LIST_MAX,
    .notes = "FILE is Test_, Train_ or Total_..._question.csv as published. No GIF of a Test file "
             "enters train.tsv:\n"
             "give all four Test files. Exit codes: 0 done, 2 usage, 4 a file is not as published, "
             "6 disk or memory.",
};

static void show_qa_row(const gq_tgifqa_report *r, int k, int p)
{
    const gq_tgifqa_count *c = &r->count[k][p];
    const gq_published     is = gq_tgifqa_published[k][p];
    if (!c->rows)
        return;
    printf("%-10s %-5s %7u %7u %8u %8u %7u %8u  %s of %u", gq_tgifqa_kind_name((gq_tgifqa_kind)k),
           gq_tgifqa_part_name((gq_tgifqa_part)p), c->rows, c->gifs, c->repaired, c->overlap,
           c->known, c->written, verdict(c->rows, is.has), is.has);
    printf(is.said != is.has ? " (its README: %u)\n" : "\n", is.said);
}

static void show_frames(const gq_tgifqa_report *r)
{
    for (int p = 0; p < GQ_TGIFQA_PARTS; p++) {
        if (!r->count[GQ_TGIFQA_FRAMEQA][p].rows)
            continue;
        printf("frameqa %s:", gq_tgifqa_part_name((gq_tgifqa_part)p));
        for (int t = 0; t < GQ_TGIFQA_FRAMES; t++) {
            printf("%s %s %u", t ? "," : "", strchr(gq_tgifqa_frame_type(t), '-') + 1,
                   r->frame[p][t]);
            if (p == GQ_TGIFQA_TEST)
                printf(" of %u", gq_tgifqa_published_frame[t]);
        }
        putchar('\n');
    }
}

static json_t *qa_json(const gq_tgifqa_report *r)
{
    json_t *o = json_pack("{s:b, s:o}", "ok", 1, "dir", gq_cli_string(out));
    for (int k = 0; o && k < GQ_TGIFQA_KINDS; k++) {
        json_t *kind = json_object();
        for (int p = 0; p < GQ_TGIFQA_PARTS; p++) {
            const gq_tgifqa_count *c = &r->count[k][p];
            if (c->rows)
                json_object_set_new(
                    kind, gq_tgifqa_part_name((gq_tgifqa_part)p),
                    json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "rows", (json_int_t)c->rows,
                              "gifs", (json_int_t)c->gifs, "repaired", (json_int_t)c->repaired,
                              "overlap", (json_int_t)c->overlap, "known", (json_int_t)c->known,
                              "written", (json_int_t)c->written, "published",
                              (json_int_t)gq_tgifqa_published[k][p].has));
        }
        json_object_set_new(o, gq_tgifqa_kind_name((gq_tgifqa_kind)k), kind);
    }
    return o;
}

/* Without a kind's Test file nobody knows which GIFs must stay out of training. */
static void warn_of_tests(const gq_tgifqa_report *r)
{
    bool training = false;
    for (int k = 0; k < GQ_TGIFQA_KINDS; k++)
        training |= r->count[k][GQ_TGIFQA_TRAIN].rows || r->count[k][GQ_TGIFQA_TOTAL].rows;
    for (int k = 0; training && k < GQ_TGIFQA_KINDS; k++)
        if (!r->count[k][GQ_TGIFQA_TEST].rows)
            gq_cli_warn(qa_program.name,
                        "without Test_%s_question.csv its GIFs may be among those to train on",
                        gq_tgifqa_kind_name((gq_tgifqa_kind)k));
}

static int import_qa(int argc, char **argv)
{
    gq_cli_list      rest;
    gq_error         err = {0};
    gq_tgifqa_report report;
    int              code = gq_cli_parse(&qa_program, argc, argv, &rest);
    gq_status        s;

    if (code == GQ_CLI_GO && !out)
        code = gq_cli_usage(qa_program.name, "-o DIR is missing");
    if (code != GQ_CLI_GO)
        return code;
    s = gq_import_tgifqa(&(gq_tgifqa_opts){rest.item, rest.n, whole, out}, &report, &err);
    if (s == GQ_OK)
        warn_of_tests(&report);
    if (s == GQ_OK && json)
        s = gq_cli_json(qa_json(&report), &err);
    if (s != GQ_OK || json)
        return s == GQ_OK ? 0 : gq_cli_fail(qa_program.name, &err, json);
    printf("%-10s %-5s %7s %7s %8s %8s %7s %8s  %s\n", "kind", "file", "rows", "GIFs", "repaired",
           "overlap", "known", "written", "published");
    for (int k = 0; k < GQ_TGIFQA_KINDS; k++)
        for (int p = 0; p < GQ_TGIFQA_PARTS; p++)
            show_qa_row(&report, k, p);
    show_frames(&report);
    printf("repaired: rows with a word that had lost its \"rep\"; overlap: left out of train.tsv, "
           "their GIFs are in a Test file;\nknown: of a Total, rows that Test or Train has\n");
    return 0;
}

/* ---- TGIF ------------------------------------------------------------------------------------ */

static const gq_cli_option tgif_options[] = {
    {"out", 'o', GQ_CLI_TEXT, &out, "FILE.tsv", "gif, description, split, url", 0, 0},
    {"train", 0, GQ_CLI_TEXT, &list[GQ_TGIF_TRAIN], "LIST",
     "splits/train.txt; without: what is in neither of the others", 0, 0},
    {"val", 0, GQ_CLI_TEXT, &list[GQ_TGIF_VAL], "LIST", "splits/val.txt", 0, 0},
    {"test", 0, GQ_CLI_TEXT, &list[GQ_TGIF_TEST], "LIST", "splits/test.txt", 0, 0},
    {"tgif-qa", 0, GQ_CLI_LIST, &tests, "FILE",
     "a Test file of TGIF-QA: its GIFs enter neither train nor val; repeat it", 0, 0},
    {"whole", 0, GQ_CLI_FLAG, &whole, NULL, "another count than the published one is an error", 0,
     0},
    {"json", 0, GQ_CLI_FLAG, &json, NULL, "the counts as one JSON object", 0, 0},
};
static const gq_cli_program tgif_program = {
    .name = "gifqa-prep import tgif",
    .summary = "sentences of TGIF to a table of captions",
    .usage = "SENTENCES.tsv --val LIST --test LIST [options] -o FILE.tsv",
    .examples = "gifqa-prep import tgif data/tgif-v1.0.tsv --train data/splits/train.txt "
                "--val data/splits/val.txt \\\n"
                "    --test data/splits/test.txt --tgif-qa Test_frameqa_question.csv -o "
                "captions.tsv",
    .options = tgif_options,
    .n_options = sizeof tgif_options / sizeof tgif_options[0],
    .least = 1,
    .most = 1,
    .notes = "Exit codes: 0 done, 2 usage, 4 a file is not as published, 6 disk or memory.",
};

static json_t *tgif_json(const gq_tgif_report *r)
{
    json_t *o = json_pack("{s:b, s:o, s:I}", "ok", 1, "file", gq_cli_string(out), "test_gifs",
                          (json_int_t)r->tests);
    for (int k = 0; o && k < GQ_TGIF_SPLITS; k++)
        json_object_set_new(
            o, gq_tgif_split_name((gq_tgif_split)k),
            json_pack("{s:I, s:I, s:I, s:I, s:I}", "listed", (json_int_t)r->split[k].listed,
                      "sentences", (json_int_t)r->split[k].sentences, "gifs",
                      (json_int_t)r->split[k].gifs, "dropped", (json_int_t)r->split[k].dropped,
                      "dropped_gifs", (json_int_t)r->split[k].dropped_gifs));
    return o;
}

static void show_tgif(const gq_tgif_report *r)
{
    uint32_t sentences = 0;
    printf("%-9s %7s %9s %7s %8s %12s  %s\n", "split", "listed", "sentences", "GIFs", "dropped",
           "dropped GIFs", "published list");
    for (int k = 0; k < GQ_TGIF_SPLITS; k++) {
        sentences += r->split[k].sentences;
        printf("%-9s %7u %9u %7u %8u %12u", gq_tgif_split_name((gq_tgif_split)k),
               r->split[k].listed, r->split[k].sentences, r->split[k].gifs, r->split[k].dropped,
               r->split[k].dropped_gifs);
        if (k < GQ_TGIF_UNLISTED && list[k])
            printf("  %s of %u", verdict(r->split[k].listed, gq_tgif_published[k]),
                   gq_tgif_published[k]);
        putchar('\n');
    }
    printf("sentences: %u, %s of %d; dropped: GIFs of TGIF-QA's test files (%u were named), and "
           "all that is in no list\n",
           sentences, verdict(sentences, GQ_TGIF_SENTENCES), GQ_TGIF_SENTENCES, r->tests);
}

static int import_tgif(int argc, char **argv)
{
    gq_cli_list    rest;
    gq_error       err = {0};
    gq_tgif_report report;
    int            code = gq_cli_parse(&tgif_program, argc, argv, &rest);
    gq_status      s;

    if (code == GQ_CLI_GO && (!out || !list[GQ_TGIF_VAL] || !list[GQ_TGIF_TEST]))
        code = gq_cli_usage(tgif_program.name, "%s is missing: usage: %s %s",
                            !out                 ? "-o FILE.tsv"
                            : !list[GQ_TGIF_VAL] ? "--val LIST"
                                                 : "--test LIST",
                            tgif_program.name, tgif_program.usage);
    if (code != GQ_CLI_GO)
        return code;
    gq_tgif_opts o = {.captions = rest.item[0], .tests = tests.item, .n_tests = tests.n,
                      .whole = whole, .out = out};
    memcpy(o.list, list, sizeof o.list);
    s = gq_import_tgif(&o, &report, &err);
    if (s == GQ_OK && !tests.n)
        gq_cli_warn(tgif_program.name, "without TGIF-QA's Test files (--tgif-qa) their GIFs may be "
                                       "among those to train on");
    if (s == GQ_OK && json)
        s = gq_cli_json(tgif_json(&report), &err);
    else if (s == GQ_OK)
        show_tgif(&report);
    return s == GQ_OK ? 0 : gq_cli_fail(tgif_program.name, &err, json);
}

/* ---- the door -------------------------------------------------------------------------------- */

int gq_prep_import(int argc, char **argv)
{
    static const gq_cli_program program = {
        .name = "gifqa-prep import",
        .summary = "TGIF and TGIF-QA as published to tables",
        .usage = "tgif|tgif-qa ...",
        .examples = "gifqa-prep import tgif-qa tgif-qa/dataset/*.csv -o tables\n"
                    "gifqa-prep import tgif --help",
        .notes = "Both corpora are for research only; they are not part of gifqa.",
    };
    static const gq_cli_command commands[] = {
        {"tgif", "sentences to a table of captions", import_tgif},
        {"tgif-qa", "questions to tables for gifqa-prep build", import_qa},
    };
    return gq_cli_dispatch(&program, commands, sizeof commands / sizeof commands[0], argc, argv);
}
