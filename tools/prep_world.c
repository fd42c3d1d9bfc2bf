/* gifqa-prep world: the toy world as real GIF files with tables, and what was written, counted. */
#include <string.h>

#include "data/world.h"
#include "tools/prep.h"

static const char *preset = "micro", *dir;
static bool        json;
static int64_t     seed = 1, scale = 8, count[GQ_WORLD_SPLITS] = {10000, 1000, 2000, 1000};

static const gq_cli_option options[] = {
    {"preset", 0, GQ_CLI_TEXT, &preset, "NAME",
     "micro: 8 frames of 12x12 pixels, eight kinds of questions", 0, 0},
    {"out", 'o', GQ_CLI_TEXT, &dir, "DIR",
     "gif/, train.tsv, val.tsv, test.tsv, novel.tsv, words.txt, world.json", 0, 0},
    {"seed", 0, GQ_CLI_INT, &seed, "N", "1", 0, 0x1p53},
    {"train", 0, GQ_CLI_INT, &count[GQ_WORLD_TRAIN], "N", "clips: 10000", 0, 1e7},
    {"val", 0, GQ_CLI_INT, &count[GQ_WORLD_VAL], "N", "1000", 0, 1e7},
    {"test", 0, GQ_CLI_INT, &count[GQ_WORLD_TEST], "N",
     "2000; no clip with its question occurs in train", 0, 1e7},
    {"novel", 0, GQ_CLI_INT, &count[GQ_WORLD_NOVEL], "N",
     "1000; of shapes in colours that train never shows", 0, 1e7},
    {"scale", 0, GQ_CLI_INT, &scale, "N", "a pixel becomes N x N in the GIF files: 8", 1, 64},
    {"json", 0, GQ_CLI_FLAG, &json, NULL, "the counts as one JSON object", 0, 0},
};
static const gq_cli_program program = {
    .name = "gifqa-prep world",
    .summary = "writes the toy world: GIFs, questions, exact answers",
    .usage = "[options] -o DIR",
    .examples = "gifqa-prep world --preset micro -o world\ngifqa-prep world -o world --seed 7 "
                "--train 20000 --json",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .least = 0,
    .most = 0,
    .notes = "A finished world of the same seed and counts is left as it is; another one is never "
             "overwritten.\n"
             "Exit codes: 0 done, 2 usage, 4 DIR holds another world, 6 disk or memory, 75 stopped "
             "(run it again).",
};

static json_t *counts(const gq_world_report *r, int split)
{
    json_t *kinds = json_object();
    for (int k = 0; k < GQ_WORLD_KINDS; k++)
        json_object_set_new(kinds, gq_world_kind_name((gq_world_kind)k),
                            json_pack("{s:I, s:I, s:I}", "samples",
                                      (json_int_t)r->samples[split][k], "distinct",
                                      (json_int_t)r->distinct[split][k], "in_train",
                                      (json_int_t)r->shared[split][k]));
    return kinds;
}

static gq_status show_json(const gq_world_report *r, gq_error *err)
{
    json_t *o =
        json_pack("{s:b, s:s, s:s, s:I, s:o, s:I, s:f}", "ok", 1, "preset", preset, "version",
                  GQ_WORLD_VERSION, "seed", (json_int_t)seed, "dir", gq_cli_string(dir),
                  "gif_bytes", (json_int_t)r->gif_bytes, "seconds", r->seconds);
    for (int s = 0; o && s < GQ_WORLD_SPLITS; s++)
        json_object_set_new(o, gq_world_split_name((gq_world_split)s), counts(r, s));
    return gq_cli_json(o, err);
}

static void show_table(const gq_world_report *r)
{
    printf("%-11s", "");
    for (int s = 0; s < GQ_WORLD_SPLITS; s++)
        printf("  %-24s", gq_world_split_name((gq_world_split)s));
    printf("\n%-11s", "kind");
    for (int s = 0; s < GQ_WORLD_SPLITS; s++)
        printf("  %7s %8s %7s", "clips", "distinct", s == GQ_WORLD_TRAIN ? "" : "overlap");
    putchar('\n');
    for (int k = 0; k < GQ_WORLD_KINDS; k++) {
        printf("%-11s", gq_world_kind_name((gq_world_kind)k));
        for (int s = 0; s < GQ_WORLD_SPLITS; s++) {
            printf("  %7u %8u", r->samples[s][k], r->distinct[s][k]);
            if (s == GQ_WORLD_TRAIN)
                printf(" %7s", "");
            else
                printf(" %7u", r->shared[s][k]);
        }
        putchar('\n');
    }
    printf(
        "overlap: samples whose clip and question occur in train\n%s: %.1f MiB of GIFs, %.1f s\n",
        dir, (double)r->gif_bytes / 1048576.0, r->seconds);
}

static int usage_problem(void)
{
    if (!dir)
        return gq_cli_usage(program.name, "-o DIR is missing");
    if (strcmp(preset, "micro") != 0)
        return gq_cli_usage(program.name, "--preset: there is no '%s', only micro", preset);
    return GQ_CLI_GO;
}

int gq_prep_world(int argc, char **argv)
{
    gq_cli_list      rest;
    gq_error         err = {0};
    gq_world_report  report;
    gq_cli_progress progress = {.what = program.name, .unit = "clips"};
    gq_world_files   files = {0};
    int              code = gq_cli_parse(&program, argc, argv, &rest);
    gq_status        s;

    if (code == GQ_CLI_GO)
        code = usage_problem();
    if (code != GQ_CLI_GO)
        return code;
    gq_prep_catch_signals();
    files.spec.seed = (uint64_t)seed;
    files.scale = (uint32_t)scale;
    for (int i = 0; i < GQ_WORLD_SPLITS; i++)
        files.count[i] = (uint32_t)count[i];
    s = gq_world_write(dir, &files, gq_cli_progress_show, &progress, &report, &err);
    gq_cli_progress_end(&progress);
    if (s == GQ_OK && json)
        s = show_json(&report, &err);
    else if (s == GQ_OK)
        show_table(&report);
    return s == GQ_OK ? 0 : gq_cli_fail(program.name, &err, json);
}
