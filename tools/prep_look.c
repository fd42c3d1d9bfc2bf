/* gifqa-prep verify, stats, head: looking at a data set without changing it. */
#include <stdlib.h>
#include <string.h>

#include "core/io.h"
#include "core/mem.h"
#include "data/jsonfile.h"
#include "data/shard.h"
#include "tools/prep.h"

static bool    json;
static int64_t lines = 5;

static gq_status no_memory(const char *path, gq_error *err)
{
    return gq_fail(err, GQ_ENOMEM, "%s: no memory for the result", path);
}

/* ---- verify ---------------------------------------------------------------------------------- */

static const gq_cli_option json_only[] = {
    {"json", 0, GQ_CLI_FLAG, &json, NULL, "one JSON object", 0, 0},
};
static const gq_cli_program verify = {
    .name = "gifqa-prep verify",
    .summary = "reads every byte of a data set and compares all checksums",
    .usage = "[--json] DIR|SHARD",
    .examples = "gifqa-prep verify data/train\n"
                "gifqa-prep verify data/train/shard-00003.h5",
    .options = json_only,
    .n_options = 1,
    .least = 1,
    .most = 1,
    .notes = "Exit codes: 0 whole, 2 usage, 4 missing or damaged, 6 memory.",
};

int gq_prep_verify(int argc, char **argv)
{
    gq_cli_list rest;
    gq_error    err = {0};
    uint64_t    gifs = 0, questions = 0;
    double      start = gq_now();
    int         code = gq_cli_parse(&verify, argc, argv, &rest);
    gq_status   s;

    if (code != GQ_CLI_GO)
        return code;
    s = gq_shard_verify(rest.item[0], &gifs, &questions, &err);
    if (s == GQ_OK && json)
        s = gq_cli_json(json_pack("{s:b, s:o, s:I, s:I, s:f}", "ok", 1, "path",
                                  gq_cli_string(rest.item[0]), "gifs", (json_int_t)gifs,
                                  "questions", (json_int_t)questions, "seconds", gq_now() - start),
                        &err);
    else if (s == GQ_OK)
        printf("%s: whole: %llu GIFs, %llu questions, %.1f s\n", rest.item[0],
               (unsigned long long)gifs, (unsigned long long)questions, gq_now() - start);
    return s == GQ_OK ? 0 : gq_cli_fail(verify.name, &err, json);
}

/* ---- stats ----------------------------------------------------------------------------------- */

static const gq_cli_program stats = {
    .name = "gifqa-prep stats",
    .summary = "counts, sizes, answers and origin of a data set",
    .usage = "[--json] DIR",
    .examples = "gifqa-prep stats data/train",
    .options = json_only,
    .n_options = 1,
    .least = 1,
    .most = 1,
    .notes = "Exit codes: 0 done, 2 usage, 4 missing or damaged, 6 memory.",
};

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s && *s ? s : "-";
}

static long long int_of(const json_t *o, const char *key)
{
    return (long long)json_integer_value(json_object_get(o, key));
}

static void show_lengths(const json_t *o, const char *key, const char *what)
{
    const json_t *l = json_object_get(o, key);
    printf("%-11s %.1f tokens on average, %lld at most\n", what,
           json_number_value(json_object_get(l, "mean")), int_of(l, "max"));
}

static void show_type(const char *name, const json_t *type)
{
    const char *answer;
    json_t     *times;
    int         shown = 0;

    gq_cli_show(stdout, name);
    printf(": %lld questions, %lld different answers:", int_of(type, "questions"),
           int_of(type, "answers"));
    json_object_foreach(json_object_get(type, "most_frequent"), answer, times) {
        if (shown++ == 5)
            break;
        printf(" ");
        gq_cli_show(stdout, answer);
        printf(" %lld", (long long)json_integer_value(times));
    }
    putchar('\n');
}

static void show_stats(const json_t *o)
{
    static const char *const origin[] = {"sampler",   "preprocess", "features",
                                         "tokenizer", "prompt",     "source"};
    const char              *name;
    json_t                  *type;

    printf("%-11s %lld GIFs, %lld questions, %lld shards, %.1f MiB\n", "holds", int_of(o, "gifs"),
           int_of(o, "questions"), int_of(o, "shards"), (double)int_of(o, "bytes") / 1048576.0);
    printf("%-11s %lld frames", "each GIF", int_of(o, "keyframes"));
    if (int_of(o, "image_size"))
        printf(" of %lldx%lld pixels", int_of(o, "image_size"), int_of(o, "image_size"));
    if (int_of(o, "tokens"))
        printf(", features %lldx%lld a frame", int_of(o, "tokens"), int_of(o, "width"));
    printf(", codec %s\n", text_of(o, "codec"));
    for (size_t i = 0; i < sizeof origin / sizeof origin[0]; i++) {
        printf("%-11s ", origin[i]);
        gq_cli_show(stdout, text_of(o, origin[i]));
        putchar('\n');
    }
    show_lengths(o, "question_tokens", "questions");
    show_lengths(o, "answer_tokens", "answers");
    json_object_foreach(json_object_get(o, "types"), name, type)
        show_type(name, type);
}

static gq_status run_stats(const char *dir, gq_error *err)
{
    char     *text = NULL;
    json_t      *o;
    json_error_t at;
    gq_status    s = gq_shard_stats(dir, &text, err);

    if (s != GQ_OK)
        return s;
    s = gq_json_parse(text, strlen(text), &o, &at);
    gq_free(text);
    if (s != GQ_OK)
        return no_memory(dir, err);
    if (json) {
        json_object_set_new(o, "ok", json_true());
        return gq_cli_json(o, err);
    }
    show_stats(o);
    json_decref(o);
    return GQ_OK;
}

int gq_prep_stats(int argc, char **argv)
{
    gq_cli_list rest;
    gq_error    err = {0};
    int         code = gq_cli_parse(&stats, argc, argv, &rest);

    if (code != GQ_CLI_GO)
        return code;
    return run_stats(rest.item[0], &err) == GQ_OK ? 0 : gq_cli_fail(stats.name, &err, json);
}

/* ---- head ------------------------------------------------------------------------------------ */

static const gq_cli_option head_options[] = {
    {"lines", 'n', GQ_CLI_INT, &lines, "N", "questions to show: 5", 1, 1000000},
    {"json", 0, GQ_CLI_FLAG, &json, NULL, "one JSON object a question, with its token ids", 0, 0},
};
static const gq_cli_program head = {
    .name = "gifqa-prep head",
    .summary = "the first questions of a data set",
    .usage = "[options] DIR",
    .examples = "gifqa-prep head data/train -n 5\ngifqa-prep head data/train --json",
    .options = head_options,
    .n_options = 2,
    .least = 1,
    .most = 1,
    .notes = "Exit codes: 0 done, 2 usage, 4 missing or damaged, 6 memory.",
};

static void show_question(const json_t *q)
{
    const json_t *frames = json_object_get(q, "keyframes");

    gq_cli_show(stdout, text_of(q, "gif"));
    printf("  frames");
    for (size_t i = 0; i < json_array_size(frames); i++)
        printf(" %lld", (long long)json_integer_value(json_array_get(frames, i)));
    printf(" of %lld  ", int_of(q, "n_frames"));
    gq_cli_show(stdout, text_of(q, "type"));
    printf("\n  ");
    gq_cli_show(stdout, text_of(q, "question"));
    printf("\n  ");
    gq_cli_show(stdout, text_of(q, "answer"));
    putchar('\n');
}

static gq_status run_head(const char *dir, gq_error *err)
{
    char     *text = NULL, *line, *rest;
    gq_status s = gq_shard_head(dir, (int)lines, &text, err);

    if (s != GQ_OK)
        return s;
    if (json) {
        fputs(text, stdout);
        gq_free(text);
        return GQ_OK;
    }
    rest = text;
    while (s == GQ_OK && (line = strsep(&rest, "\n")) && *line) {
        json_t      *q;
        json_error_t at;
        if ((s = gq_json_parse(line, strlen(line), &q, &at)) == GQ_OK)
            show_question(q);
        else
            s = no_memory(dir, err);
        json_decref(q);
    }
    gq_free(text);
    return s;
}

int gq_prep_head(int argc, char **argv)
{
    gq_cli_list rest;
    gq_error    err = {0};
    int         code = gq_cli_parse(&head, argc, argv, &rest);

    if (code != GQ_CLI_GO)
        return code;
    return run_head(rest.item[0], &err) == GQ_OK ? 0 : gq_cli_fail(head.name, &err, json);
}
