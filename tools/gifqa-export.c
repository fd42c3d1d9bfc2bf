/* gifqa-export - a trained model as safetensors in Hugging Face layout. */
#include <string.h>

#include "tools/cli_model.h"
#include "train/export.h"

static const char *out, *numbers;
static bool        json, best, last;
static int64_t     seed = 1;

static const gq_cli_option options[] = {
    {"output", 'o', GQ_CLI_TEXT, &out, "DIR", "the directory to make", 0, 0},
    {"best", 0, GQ_CLI_FLAG, &best, NULL, "the best checkpoint by validation (default)", 0, 0},
    {"last", 0, GQ_CLI_FLAG, &last, NULL, "the newest checkpoint", 0, 0},
    {"numbers", 0, GQ_CLI_TEXT, &numbers, "FILE.json",
     "also outputs for seeded random inputs, to check other loaders", 0, 0},
    {"seed", 0, GQ_CLI_INT, &seed, "N", "of those inputs (default 1)", 0, 1e15},
    {"json", 0, GQ_CLI_FLAG, &json, NULL, "result as one object", 0, 0},
};

static const gq_cli_program program = {
    .name = "gifqa-export",
    .summary = "a trained model as safetensors in Hugging Face layout, per tower",
    .usage = "RUN -o DIR [options]",
    .examples = "gifqa-export runs/nano -o exports/nano\n"
                "gifqa-export runs/nano -o exports/nano --numbers numbers.json",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .least = 1,
    .most = 1,
    .notes = "\nDIR gets clip/, qformer/, gpt2/, stllm.safetensors, tokenizer/, config.yaml, "
             "gifqa.json and a\n"
             "model card, and appears when it is whole.\n"
             "Exit codes: 0 done, 2 usage or DIR is not empty, 5 no healthy checkpoint, 6 disk.",
};

static gq_status print(const gq_session *s, const gq_export_report *r, gq_error *err)
{
    if (json)
        return gq_cli_json(json_pack("{s:b, s:o, s:I, s:i, s:I, s:o}", "ok", 1, "export",
                                     gq_cli_string(out), "step", (json_int_t)s->step, "files",
                                     r->files, "bytes", (json_int_t)r->bytes, "numbers",
                                     numbers ? gq_cli_string(numbers) : json_null()),
                           err);
    printf("%s: step %llu, %d files, %.1f MB\n", out, (unsigned long long)s->step, r->files,
           (double)r->bytes / 1e6);
    return GQ_OK;
}

/* Of the export itself, because the weights of a run were not read into memory for it. */
static gq_status put_numbers(gq_error *err)
{
    gq_session *session = NULL;
    gq_status   s = gq_cli_open_model(&(gq_cli_model){0}, out, &session, err);

    if (s == GQ_OK)
        s = gq_export_numbers(session, (uint64_t)seed, numbers, err);
    gq_session_close(session);
    return s;
}

static int run(const char *path)
{
    gq_session_opts  o = {.which = last ? GQ_SESSION_LAST : GQ_SESSION_BEST, .stored = true};
    gq_session      *session = NULL;
    gq_export_report report;
    gq_error         err = {0};
    gq_status        s = gq_session_open(path, &o, &session, &err);

    if (s == GQ_OK)
        s = gq_export(session, out, &report, &err);
    if (s == GQ_OK && numbers)
        s = put_numbers(&err);
    if (s == GQ_OK) {
        if (*session->note)
            gq_cli_warn(program.name, "%s", session->note);
        if (*report.note)
            gq_cli_warn(program.name, "%s", report.note);
        s = print(session, &report, &err);
    }
    gq_session_close(session);
    return s == GQ_OK ? 0 : gq_cli_fail(program.name, &err, json);
}

int main(int argc, char **argv)
{
    gq_cli_list rest;
    int         code;

    gq_cli_begin();
    code = gq_cli_parse(&program, argc, argv, &rest);
    if (code == GQ_CLI_GO && !out)
        code = gq_cli_usage(program.name, "-o DIR is needed");
    else if (code == GQ_CLI_GO && best && last)
        code = gq_cli_usage(program.name, "--best and --last exclude each other");
    if (code == GQ_CLI_GO)
        code = run(rest.item[0]);
    return gq_cli_end(program.name, code);
}
