/* gifqa-prep convert: a data set with its frames and features packed otherwise. */
#include <string.h>

#include "core/mem.h"
#include "data/convert.h"
#include "tools/prep.h"

static const char         *out, *codec = "none";
static bool                json;
static const gq_cli_option options[] = {
    {"out", 'o', GQ_CLI_TEXT, &out, "DIR", "the new data set", 0, 0},
    {"codec", 0, GQ_CLI_TEXT, &codec, "NAME", "none, gzip, row-delta+zstd (default: none)", 0, 0},
    {"json", 0, GQ_CLI_FLAG, &json, NULL, "the result as one JSON object", 0, 0},
};
static const gq_cli_program program = {
    .name = "gifqa-prep convert",
    .summary = "a data set with its frames and features packed otherwise",
    .usage = "DIR -o DIR [--codec NAME]",
    .examples = "gifqa-prep convert shards/train -o shards/plain      # for other HDF5 tools\n"
                "gifqa-prep convert shards/train -o shards/small --codec row-delta+zstd",
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .least = 1,
    .most = 1,
    .notes = "Numbers and questions stay as they are.\n"
             "Exit codes: 0 done, 2 usage, 4 missing or damaged, 6 disk or memory, 75 stopped; run "
             "it again.",
};

static gq_status show(const gq_convert_report *r, gq_error *err)
{
    if (json)
        return gq_cli_json(
            json_pack("{s:b, s:o, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:f}", "ok", 1, "dir",
                      gq_cli_string(out), "codec", codec, "shards", (json_int_t)r->shards,
                      "continued", (json_int_t)r->continued, "gifs", (json_int_t)r->gifs,
                      "questions", (json_int_t)r->questions, "from_bytes",
                      (json_int_t)r->from_bytes, "bytes", (json_int_t)r->bytes, "seconds",
                      r->seconds),
            err);
    printf("%s: %llu GIFs, %llu questions, %u shard%s, codec %s, %.1f MiB (before: %.1f MiB), "
           "%.1f s\n",
           out, (unsigned long long)r->gifs, (unsigned long long)r->questions, r->shards,
           r->shards == 1 ? "" : "s", codec, (double)r->bytes / 1048576,
           (double)r->from_bytes / 1048576, r->seconds);
    return GQ_OK;
}

int gq_prep_convert(int argc, char **argv)
{
    gq_cli_list       rest;
    gq_error          err = {0};
    gq_convert_report report;
    gq_cli_progress  progress = {.what = program.name, .unit = "GIFs"};
    gq_shard_codec    to;
    int               code = gq_cli_parse(&program, argc, argv, &rest);

    if (code != GQ_CLI_GO)
        return code;
    if (!out)
        return gq_cli_usage(program.name, "-o DIR is missing");
    if (!gq_shard_codec_find(codec, &to))
        return gq_cli_usage(program.name, "--codec: '%s' is not one of %s", codec,
                            gq_shard_codec_names);
    if (gq_shard_codec_lack(to))
        return gq_cli_usage(program.name, "--codec: %s", gq_shard_codec_lack(to));
    gq_prep_catch_signals();
    gq_status s = gq_convert(rest.item[0], out, to, gq_cli_progress_show, &progress, &report, &err);
    gq_cli_progress_end(&progress);
    if (s == GQ_OK)
        s = show(&report, &err);
    return s == GQ_OK ? 0 : gq_cli_fail(program.name, &err, json);
}
