/* gifqa-eval - what a model's answers are worth, beside what costs nothing. */
#include <math.h>
#include <string.h>

#include "core/mem.h"
#include "tools/cli_model.h"
#include "tools/eval.h"

enum { RESAMPLES = 1000 };

static const char  *train_data, *output, *verify, *benchmark, *frequent;
static bool         more, none, json;
static int64_t      samples, batch;
static gq_cli_model model;

static const gq_cli_option options[] = {
    GQ_CLI_MODEL_BEAMS(model),
    {"samples", 'n', GQ_CLI_INT, &samples, "N", "the first N questions only", 1, 1e9},
    {"baselines", 0, GQ_CLI_FLAG, &more, NULL,
     "also with shuffled frames and with one frame repeated", 0, 0},
    {"no-baselines", 0, GQ_CLI_FLAG, &none, NULL, "the model alone: no other GIF, majority, chance",
     0, 0},
    {"train", 0, GQ_CLI_TEXT, &train_data, "DATA",
     "where majority and chance come from (default: data.train of the run)", 0, 0},
    {"output", 'o', GQ_CLI_TEXT, &output, "FILE.jsonl", "every answer, and a summary to verify", 0,
     0},
    {"verify", 0, GQ_CLI_TEXT, &verify, "FILE.jsonl",
     "computes the tables again from such a file alone", 0, 0},
    {"benchmark", 0, GQ_CLI_TEXT, &benchmark, "FILE.tsv",
     "TGIF-QA's measures by an imported table; without RUN its baselines", 0, 0},
    {"most-frequent", 0, GQ_CLI_TEXT, &frequent, "FILE.tsv",
     "where they come from (default: the table itself)", 0, 0},
    {"batch", 0, GQ_CLI_INT, &batch, "N", "questions at once (default: train.batch)", 1, 256},
    GQ_CLI_MODEL_REST(model),
    {"json", 0, GQ_CLI_FLAG, &json, NULL, "tables and baselines as one object", 0, 0},
};

static const gq_cli_program program = {
    .name = "gifqa-eval",
    .summary = "scores the answers of a model, beside the baselines",
    .usage = "[options] RUN|EXPORT [DATA]   or   --verify FILE   or   --benchmark FILE",
    .examples = "gifqa-eval runs/nano shards/test --baselines -o predictions.jsonl\n"
                "gifqa-eval --verify predictions.jsonl",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .least = 0,
    .most = 2,
    .notes = "Exit codes: 0 done, 2 usage, 3 configuration, 4 data, 5 checkpoint or "
             "tokenizer.",
};

typedef struct work {
    gq_session   *session;
    gq_dataset   *data;
    gq_append    *file; /* NULL: no predictions wanted */
    char         *part; /* its name until it is whole */
    eval_report   report;
    eval_bench    bench;
    gq_evaluation first;   /* of the true view; its table is the report's */
    double        seconds; /* all views */
} work;

/* ---- opening --------------------------------------------------------------------------------- */

static gq_status open_session(work *w, const char *path, gq_error *err)
{
    gq_cli_model m = model;
    char         text[48];

    snprintf(text, sizeof text, "train.batch=%lld", (long long)batch);
    if (batch && m.set.n == GQ_CLI_LIST_MAX)
        return gq_fail(err, GQ_EUSAGE, "--set is given too often");
    if (batch)
        m.set.item[m.set.n++] = text;
    return gq_cli_open_model(&m, path, &w->session, err);
}

static gq_status open_list(const gq_paths *p, gq_dataset **out, gq_error *err)
{
    const char *path[GQ_SHARDS_MAX];
    for (size_t i = 0; i < p->n; i++)
        path[i] = p->path[i];
    return gq_dataset_open_list(path, (int)p->n, out, err);
}

static gq_status open_data(work *w, const char *path, gq_error *err)
{
    const gq_config *c = &w->session->cfg;
    const gq_paths  *p = c->data.test.n ? &c->data.test : &c->data.val;
    gq_tokenizer    *same = NULL;
    gq_status        s;

    if (path)
        s = gq_dataset_open(path, &w->data, err);
    else if (p->n)
        s = open_list(p, &w->data, err);
    else
        s = gq_fail(err, GQ_EUSAGE, "no data: name shards, or set data.test");
    if (s == GQ_OK && gq_dataset_count(w->data) == 0)
        s = gq_fail(err, GQ_EINPUT, "%s: there is no question in it", gq_dataset_dir(w->data));
    if (s == GQ_OK) /* ids mean nothing to a model with another tokenizer */
        s = gq_run_tokenizer(c, w->session->path, gq_dataset_meta(w->data), &same, err);
    gq_tokenizer_close(same);
    return s;
}

static gq_status open_output(work *w, gq_error *err)
{
    size_t n = strlen(output) + 8;

    w->part = gq_malloc(n, 1);
    if (!w->part)
        return gq_fail(err, GQ_ENOMEM, "%s: out of memory", output);
    snprintf(w->part, n, "%s.part", output);
    gq_status s = gq_append_open(w->part, &w->file, err);
    return s == GQ_OK ? gq_append_truncate(w->file, 0, err) : s;
}

/* ---- baselines from training data ------------------------------------------------------------ */

static gq_status put_type(eval_report *r, const gq_tally *t, const char *type, gq_error *err)
{
    if (json_object_set_new(r->majority, type, gq_cli_string(gq_tally_majority(t, type))) ||
        json_object_set_new(r->chance, type, json_real(gq_tally_chance(t, type))))
        return gq_fail(err, GQ_ENOMEM, "out of memory");
    return GQ_OK;
}

/* Majority and chance of every type of the data under test. */
static gq_status from_tally(work *w, const gq_tally *t, gq_error *err)
{
    const gq_shard_meta *m = gq_dataset_meta(w->data);
    gq_status            s = GQ_OK;

    w->report.majority = json_object();
    w->report.chance = json_object();
    for (int i = 0; s == GQ_OK && i < m->ntypes; i++)
        s = put_type(&w->report, t, m->types[i], err);
    if (s == GQ_OK)
        s = put_type(&w->report, t, "", err);
    return s;
}

static gq_status tally_answers(const gq_dataset *d, gq_tally *t, gq_error *err)
{
    gq_status s = GQ_OK;

    for (int64_t i = 0; s == GQ_OK && i < gq_dataset_count(d); i++) {
        gq_qa       qa;
        const char *type;
        gq_dataset_qa(d, i, &qa);
        type = gq_dataset_type_name(d, qa.type);
        s = gq_tally_add(t, type ? type : "", qa.answer, err);
    }
    return s;
}

static gq_status score_majority(work *w, gq_error *err)
{
    gq_scorer *scorer = gq_scorer_new();
    gq_status  s = scorer ? GQ_OK : gq_fail(err, GQ_ENOMEM, "out of memory");

    for (int64_t i = 0; s == GQ_OK && i < w->first.n; i++) {
        gq_qa       qa;
        const char *type;
        gq_dataset_qa(w->data, i, &qa);
        type = gq_dataset_type_name(w->data, qa.type);
        s = eval_add_majority(&w->report, scorer, type ? type : "", qa.answer, err);
    }
    if (s == GQ_OK)
        s = gq_scorer_table(scorer, w->report.seed, w->report.resamples, 0.95,
                            &w->report.table[EVAL_MAJORITY], err);
    w->report.have[EVAL_MAJORITY] = s == GQ_OK;
    gq_scorer_free(scorer);
    return s;
}

static gq_status train_baselines(work *w, gq_error *err)
{
    gq_dataset *d = NULL;
    gq_tally   *t = gq_tally_new();
    gq_error    why = {0};
    gq_status   s = t ? GQ_OK : gq_fail(err, GQ_ENOMEM, "out of memory");

    if (s == GQ_OK && train_data)
        s = gq_dataset_open(train_data, &d, err);
    else if (s == GQ_OK && (!w->session->cfg.data.train.n ||
                            open_list(&w->session->cfg.data.train, &d, &why) != GQ_OK))
        gq_cli_warn(program.name,
                    "without the training data there is no majority and no chance: name it with "
                    "--train%s%s",
                    *why.text ? "; " : "", why.text);
    if (s == GQ_OK && d) {
        s = tally_answers(d, t, err);
        if (s == GQ_OK)
            s = from_tally(w, t, err);
        if (s == GQ_OK)
            s = score_majority(w, err);
    }
    gq_tally_free(t);
    gq_dataset_close(d);
    return s;
}

/* ---- work ------------------------------------------------------------------------------------ */

static gq_status answered(void *ctx, const gq_answered *a, gq_error *err)
{
    work     *w = ctx;
    gq_status s = w->file ? gq_prediction_write(w->file, a, err) : GQ_OK;
    if (s == GQ_OK && w->bench.table && a->view == GQ_VIEW_TRUE)
        s = eval_bench_answer(&w->bench, w->data, a, err);
    return s;
}

static gq_status run_view(work *w, gq_view view, gq_error *err)
{
    gq_evaluate_opts o = {.samples = samples,
                          .view = view,
                          .loss = view == GQ_VIEW_TRUE,
                          .resamples = RESAMPLES,
                          .answered = w->file || w->bench.table ? answered : NULL,
                          .ctx = w};
    gq_evaluation    e;
    gq_status        s;

    if (gq_cli_tty(stderr))
        fprintf(stderr, "\r%s: %s ...\033[K", program.name, gq_view_name(view));
    s = gq_evaluate(w->session->net, w->data, w->session->tokenizer, &o, &e, err);
    if (gq_cli_tty(stderr))
        fprintf(stderr, "\r\033[K");
    if (s != GQ_OK)
        return s;
    if (view == GQ_VIEW_TRUE)
        w->first = e;
    w->report.table[view] = e.table;
    w->report.have[view] = true;
    w->seconds += e.seconds;
    return GQ_OK;
}

static gq_status finish_output(work *w, gq_error *err)
{
    json_t    *line = json_pack("{s:o}", "summary", eval_summary(&w->report));
    char      *text = line ? json_dumps(line, JSON_COMPACT) : NULL;
    gq_status  s = text ? gq_append_line(w->file, text, err)
                        : gq_fail(err, GQ_ENOMEM, "%s: out of memory", output);
    gq_append *file = w->file;

    free(text); /* jansson's memory */
    json_decref(line);
    w->file = NULL;
    if (s == GQ_OK)
        s = gq_append_close(file, err);
    else
        gq_append_close(file, NULL);
    return s == GQ_OK ? gq_rename(w->part, output, err) : s;
}

static gq_status evaluate(work *w, gq_error *err)
{
    bool      sees = w->session->cfg.model.kind != GQ_CFG_KIND_T5;
    gq_status s;

    w->report.seed = w->session->cfg.train.seed;
    w->report.resamples = RESAMPLES;
    s = run_view(w, GQ_VIEW_TRUE, err);
    if (s == GQ_OK && w->bench.table)
        s = eval_bench_choose(&w->bench, w->session->net, w->data, w->session->tokenizer,
                              w->first.n, err);
    if (more && !sees)
        gq_cli_warn(program.name, "a T5 reads text: there are no frames to change");
    if (s == GQ_OK && !none && sees)
        s = run_view(w, GQ_VIEW_OTHER, err);
    for (int v = GQ_VIEW_SHUFFLED; s == GQ_OK && more && sees && v <= GQ_VIEW_ONE; v++)
        s = run_view(w, (gq_view)v, err);
    if (s == GQ_OK && !none)
        s = train_baselines(w, err);
    return s == GQ_OK && w->file ? finish_output(w, err) : s;
}

/* ---- results --------------------------------------------------------------------------------- */

static gq_status print_json(const work *w, const char *path, gq_error *err)
{
    json_t *o = eval_summary(&w->report);

    if (!o)
        return gq_fail(err, GQ_ENOMEM, "out of memory");
    json_object_set_new(o, "ok", json_true());
    if (verify) {
        json_object_set_new(o, "file", gq_cli_string(verify));
        json_object_set_new(o, "verified", json_boolean(w->report.compared));
        return gq_cli_json(o, err);
    }
    json_object_set_new(o, "model", gq_cli_string(path));
    json_object_set_new(o, "step", json_integer((json_int_t)w->session->step));
    json_object_set_new(o, "data", gq_cli_string(gq_dataset_dir(w->data)));
    json_object_set_new(o, "n", json_integer(w->first.n));
    json_object_set_new(o, "accuracy",
                        json_real(w->report.table[EVAL_TRUE].rows[0].value[GQ_METRIC_EXACT]));
    json_object_set_new(o, "beams", json_integer(w->session->cfg.decode.beams));
    json_object_set_new(o, "lm_loss", json_real(w->first.lm_loss));
    json_object_set_new(o, "ppl", json_real(w->first.ppl));
    json_object_set_new(o, "token_accuracy", json_real(w->first.token_accuracy));
    json_object_set_new(o, "seconds", json_real(w->seconds));
    if (output)
        json_object_set_new(o, "predictions", gq_cli_string(output));
    if (w->bench.table)
        json_object_set_new(o, "benchmark", eval_bench_json(&w->bench));
    return gq_cli_json(o, err);
}

static void print_text(const work *w, const char *path)
{
    const gq_config *c = &w->session->cfg;

    printf("%s, step %llu, on %s: %lld questions, ", path, (unsigned long long)w->session->step,
           gq_dataset_dir(w->data), (long long)w->first.n);
    if (c->decode.beams > 1)
        printf("%lld beams", (long long)c->decode.beams);
    else
        printf("greedy");
    printf(", %.1f s\nteacher-forced: loss %.4f, perplexity %.4f, next token right %.4f\n\n",
           w->seconds, w->first.lm_loss, w->first.ppl, w->first.token_accuracy);
    eval_print(&w->report);
    if (w->bench.table) {
        putchar('\n');
        eval_bench_print(&w->bench);
    }
    if (output)
        fprintf(stderr, "%s: answers and summary in %s\n", program.name, output);
}

static int run(const char *path, const char *data)
{
    static work w;
    gq_error    err = {0};
    gq_status   s = benchmark ? eval_bench_open(&w.bench, benchmark, frequent, &err) : GQ_OK;

    if (s == GQ_OK)
        s = open_session(&w, path, &err);
    if (s == GQ_OK)
        fprintf(stderr, "%s: runs on %s\n", program.name, w.session->net->device);
    if (s == GQ_OK)
        s = open_data(&w, data, &err);
    if (s == GQ_OK && output)
        s = open_output(&w, &err);
    if (s == GQ_OK)
        s = evaluate(&w, &err);
    if (s == GQ_OK && *w.session->note)
        gq_cli_warn(program.name, "%s", w.session->note);
    if (s == GQ_OK && json)
        s = print_json(&w, path, &err);
    else if (s == GQ_OK)
        print_text(&w, path);
    gq_append_close(w.file, NULL);
    if (s != GQ_OK && w.part)
        gq_remove_tree(w.part, NULL);
    gq_free(w.part);
    eval_report_free(&w.report);
    eval_bench_close(&w.bench);
    gq_dataset_close(w.data);
    gq_session_close(w.session);
    return s == GQ_OK ? 0 : gq_cli_fail(program.name, &err, json);
}

/* No model: what a table's most frequent answers are worth. */
static int run_baselines(void)
{
    eval_bench b = {0};
    gq_error   err = {0};
    gq_status  s = eval_bench_open(&b, benchmark, frequent, &err);

    if (s == GQ_OK && json)
        s = gq_cli_json(json_pack("{s:b, s:o}", "ok", 1, "benchmark", eval_bench_json(&b)), &err);
    else if (s == GQ_OK)
        eval_bench_print(&b);
    eval_bench_close(&b);
    return s == GQ_OK ? 0 : gq_cli_fail(program.name, &err, json);
}

static int run_verify(void)
{
    static work w;
    gq_error    err = {0};
    gq_status   s = eval_verify(verify, &w.report, &err);

    if (s == GQ_OK && json)
        s = print_json(&w, NULL, &err);
    else if (s == GQ_OK) {
        printf("%s: %zu answers, computed again\n\n", verify, w.report.table[EVAL_TRUE].rows[0].n);
        eval_print(&w.report);
        printf(w.report.compared ? "verified: every number is the one of the file's summary\n"
                                 : "not compared: the file has no summary\n");
    }
    eval_report_free(&w.report);
    return s == GQ_OK ? 0 : gq_cli_fail(program.name, &err, json);
}

int main(int argc, char **argv)
{
    gq_cli_list rest;
    int         code;

    gq_cli_begin();
    code = gq_cli_parse(&program, argc, argv, &rest);
    if (code == GQ_CLI_GO && verify && (rest.n || benchmark))
        code = gq_cli_usage(program.name, "--verify needs the file alone");
    else if (code == GQ_CLI_GO && frequent && !benchmark)
        code = gq_cli_usage(program.name, "--most-frequent goes with --benchmark");
    else if (code == GQ_CLI_GO && !verify && !benchmark && rest.n == 0)
        code = gq_cli_usage(program.name, "the directory of a run or an export is missing");
    else if (code == GQ_CLI_GO && more && none)
        code = gq_cli_usage(program.name, "--baselines and --no-baselines exclude each other");
    if (code == GQ_CLI_GO)
        code = verify    ? run_verify()
               : !rest.n ? run_baselines()
                         : run(rest.item[0], rest.n > 1 ? rest.item[1] : NULL);
    return gq_cli_end(program.name, code);
}
