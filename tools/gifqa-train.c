/* gifqa-train - trains the model of a configuration. */
#include <math.h>
#include <string.h>

#include "core/text.h"
#include "tools/cli.h"
#include "tools/train.h"
#include "train/trainer.h"

static const char *config, *run_dir, *resume = "auto", *explain, *prove;
static bool        check, print_config, dry_run, keys, reference, json, quiet, overfit;
static gq_cli_list set;
static const char *device;

static const gq_cli_option options[] = {
    {.name = "config",
     .alias = 'c',
     .type = GQ_CLI_TEXT,
     .to = &config,
     .arg = "FILE",
     .help = "the configuration (YAML)"},
    {.name = "run-dir",
     .alias = 'o',
     .type = GQ_CLI_TEXT,
     .to = &run_dir,
     .arg = "DIR",
     .help = "where the run lives"},
    {.name = "set",
     .alias = 's',
     .type = GQ_CLI_LIST,
     .to = &set,
     .arg = "KEY=V",
     .help = "overrides a key; repeatable"},
    GQ_CLI_DEVICE(device),
    {.name = "resume",
     .type = GQ_CLI_TEXT,
     .to = &resume,
     .arg = "HOW",
     .help = "auto (default), never, must, or a checkpoint"},
    {.name = "dry-run",
     .type = GQ_CLI_FLAG,
     .to = &dry_run,
     .help = "memory, FLOPs, predicted time, one real step"},
    {.name = "overfit-batch",
     .type = GQ_CLI_FLAG,
     .to = &overfit,
     .help = "always the first batch: the loss must fall"},
    {.name = "prove-resume",
     .type = GQ_CLI_TEXT,
     .to = &prove,
     .arg = "KILLS",
     .help = "kills itself that often, compares every bit"},
    {.name = "check",
     .type = GQ_CLI_FLAG,
     .to = &check,
     .help = "checks the configuration and stops"},
    {.name = "print-config",
     .type = GQ_CLI_FLAG,
     .to = &print_config,
     .help = "prints the resolved configuration"},
    {.name = "keys", .type = GQ_CLI_FLAG, .to = &keys, .help = "every key with type and default"},
    {.name = "explain",
     .type = GQ_CLI_TEXT,
     .to = &explain,
     .arg = "KEY",
     .help = "everything about one key or section"},
    {.name = "reference", .type = GQ_CLI_FLAG, .to = &reference, .help = NULL},
    {.name = "quiet", .alias = 'q', .type = GQ_CLI_FLAG, .to = &quiet, .help = "no status lines"},
    {.name = "json",
     .type = GQ_CLI_FLAG,
     .to = &json,
     .help = "result as one object on the last line of stdout"},
};

static const gq_cli_program program = {
    .name = "gifqa-train",
    .summary = "trains a model that answers questions about GIFs",
    .usage = "--config FILE --run-dir DIR [options]",
    .examples = "gifqa-train --config configs/stllm_nano.yaml --run-dir runs/nano --set "
                "data.train=shards/train\n"
                "gifqa-train --config configs/stllm_gpt2.yaml --explain mvm",
    .options = options,
    .n_options = sizeof options / sizeof *options,
};

/* ---- status --------------------------------------------------------------------------------------------------- */

typedef struct screen { bool tty, open; int64_t every; } screen;

static void end_line(screen *s)
{
    if (s->open)
        fputc('\n', stderr);
    s->open = false;
}

static void duration(double seconds, char out[32])
{
    long s = (long)(seconds + 0.5);
    if (s >= 3600)
        snprintf(out, 32, "%ldh%02ldm", s / 3600, s / 60 % 60);
    else if (s >= 60)
        snprintf(out, 32, "%ldm%02lds", s / 60, s % 60);
    else
        snprintf(out, 32, "%.1fs", seconds);
}

static void on_note(void *ctx, const char *text)
{
    screen *s = ctx;
    if (quiet)
        return;
    end_line(s);
    gq_cli_show(stderr, text);
    fputc('\n', stderr);
}

static void on_step(void *ctx, const gq_step_info *i)
{
    screen *s = ctx;
    char    eta[32], mvm[32] = "", peak[32] = "";

    if (quiet || (!s->tty && i->step % s->every && i->step != i->total && i->step != 1))
        return;
    duration(i->eta_s, eta);
    if (i->masked)
        snprintf(mvm, sizeof mvm, " mvm %.4f", i->mvm_loss);
    if (i->gemm_peak > 0)
        snprintf(peak, sizeof peak, " (%.0f%% of peak)", 100.0 * i->gflops / i->gemm_peak);
    fprintf(stderr,
            "%sstep %lld/%lld  loss %.4f  lm %.4f%s  ppl %.4g  |g| %.3g  lr %.3g  %.4g samples/s  "
            "%.4g tok/s  "
            "%.1f GFLOP/s%s  wait %.1f%%  %.0f MiB  ETA %s%s",
            s->tty ? "\r\033[K" : "", (long long)i->step, (long long)i->total, i->loss, i->lm_loss,
            mvm, i->ppl, i->grad_norm, i->lr, i->samples_per_s, i->tokens_per_s, i->gflops, peak,
            100.0 * i->data_wait_s / i->seconds, (double)i->rss / 1048576.0, eta,
            s->tty ? "" : "\n");
    s->open = s->tty;
}

static void on_evaluated(void *ctx, int64_t step, const gq_evaluation *e, bool best)
{
    screen *s = ctx;
    if (quiet)
        return;
    end_line(s);
    fprintf(stderr, "step %lld: accuracy %.3f on %lld questions%s  lm %.4f ", (long long)step,
            e->table.rows[0].value[GQ_METRIC_EXACT], (long long)e->n, best ? " (best so far)" : "",
            e->lm_loss);
    for (size_t i = 1; i < e->table.n_rows; i++) {
        fputc(' ', stderr);
        gq_cli_show(stderr, e->table.rows[i].type);
        fprintf(stderr, " %.2f", e->table.rows[i].value[GQ_METRIC_EXACT]);
    }
    fputc('\n', stderr);
}

/* ---- the run ---------------------------------------------------------------------------------------------------- */

static void parse_resume(gq_train_opts *o)
{
    o->resume = strcmp(resume, "auto") == 0    ? GQ_RESUME_AUTO
                : strcmp(resume, "never") == 0 ? GQ_RESUME_NEVER
                : strcmp(resume, "must") == 0  ? GQ_RESUME_MUST
                                               : GQ_RESUME_PATH;
    o->resume_path = resume;
}

/* JSON has no NaN: what there is not is null. */
static json_t *real(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

static json_t *result(const gq_train_result *r)
{
    return json_pack("{s:b, s:o, s:I, s:I, s:o, s:o, s:o, s:o, s:f, s:f}", "ok", 1, "run",
                     gq_cli_string(run_dir), "steps", (json_int_t)r->steps, "resumed_from",
                     (json_int_t)r->resumed_from, "loss", real(r->loss), "lm_loss",
                     real(r->lm_loss), "mvm_loss", real(r->mvm_loss), "best_accuracy",
                     real(r->best >= 0 ? r->best : NAN), "seconds", r->seconds, "peak_rss_mib",
                     (double)r->rss / 1048576.0);
}

static int train(const gq_config *c)
{
    screen        s = {.tty = gq_cli_tty(stderr),
                       .every = c->train.log_every > 0 ? c->train.log_every : 1};
    gq_train_opts o = {
        .run_dir = run_dir,
        .stop = &gq_cli_stop,
        .events = {.ctx = &s, .note = on_note, .step = on_step, .evaluated = on_evaluated}};
    gq_train_result r;
    gq_error        err = {0};
    gq_status       status;

    parse_resume(&o);
    status = gq_train(c, &o, &r, &err);
    end_line(&s);
    if (status != GQ_OK)
        return gq_cli_fail(program.name, &err, json);
    if (json) {
        status = gq_cli_json(result(&r), &err);
        return status == GQ_OK ? 0 : gq_cli_fail(program.name, &err, false);
    }
    printf("%s: %lld steps", run_dir, (long long)r.steps);
    if (isfinite(r.loss))
        printf(", loss %.4f", r.loss);
    if (r.best >= 0)
        printf(", best accuracy %.3f", r.best);
    printf(", %.1f s\n", r.seconds);
    return 0;
}

static int show_plan(const gq_config *c)
{
    gq_dry_run d;
    gq_error   err = {0};
    double     total;

    if (gq_train_dry_run(c, &d, &err) != GQ_OK)
        return gq_cli_fail(program.name, &err, json);
    total = d.param_bytes + d.state_bytes + d.act_bytes + d.temp_bytes + d.host_bytes;
    if (json)
        return gq_cli_json(
                   json_pack(
                       "{s:b, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:I, s:I, s:f}",
                       "ok", 1, "param_bytes", d.param_bytes, "state_bytes", d.state_bytes,
                       "act_bytes", d.act_bytes, "temp_bytes", d.temp_bytes, "host_bytes",
                       d.host_bytes, "total_bytes", total, "flops_per_step", d.flops, "predicted_s",
                       d.predicted_s, "measured_s", d.measured_s, "gemm_peak_gflops", d.gemm_peak,
                       "trained", (json_int_t)d.trained, "parameters", (json_int_t)d.total, "loss",
                       d.loss),
                   &err) == GQ_OK
                   ? 0
                   : gq_cli_fail(program.name, &err, false);
    printf(
        "memory, bytes\n"
        "  parameters   %15.0f   %lld values, %lld trained\n"
        "  state        %15.0f   gradient and two moments; freeze groups to shrink\n"
        "  activations  %15.0f   by lifetime; train.batch or train.checkpoint: segment shrink it\n"
        "  workspace    %15.0f\n  inputs       %15.0f\n  total        %15.0f   %.0f MiB\n",
        d.param_bytes, (long long)d.total, (long long)d.trained, d.state_bytes, d.act_bytes,
        d.temp_bytes, d.host_bytes, total, total / 1048576.0);
    printf("one step: %.3f GFLOP, predicted %.3f s at 80 %% of the measured %.1f GFLOP/s; measured "
           "%.3f s (first step, "
           "loss %.4f)\n",
           d.flops / 1e9, d.predicted_s, d.gemm_peak, d.measured_s, d.loss);
    return 0;
}

static int report(gq_status s, gq_error *err)
{
    return s == GQ_OK ? 0 : gq_cli_fail(program.name, err, json);
}

/* From the start: reading weights may take long. */
static void listen(void)
{
    static const char text[] =
        "\ngifqa-train: stopping after this step and saving; once more to stop at once\n";
    gq_cli_listen(gq_cli_tty(stderr) ? text : text + 1);     /* below the status line */
}

static int with_config(const char *self)
{
    static gq_config c;                             /* large: not on the stack                    */
    gq_error         err = {0};

    if (!check && !print_config && !dry_run && !prove)
        listen();
    gq_cli_rung(&set);
    gq_cli_device(&set, device);
    if (overfit && set.n < GQ_CLI_LIST_MAX)
        set.item[set.n++] = "train.overfit_batch=true";
    if (gq_config_load(config, set.item, set.n, &c, NULL, &err) != GQ_OK)
        return gq_cli_fail(program.name, &err, json);
    if (print_config)
        return report(gq_config_write(&c, stdout, &err), &err);
    if (check) {
        printf("%s: ok\n", config ? config : "defaults");
        return 0;
    }
    if (dry_run)
        return show_plan(&c);
    if (!run_dir && *c.run.dir)
        run_dir = c.run.dir;
    if (!run_dir)
        return gq_cli_usage(program.name, "--run-dir DIR is needed");
    if (prove)
        return gq_prove_resume(program.name, self, config, &set, run_dir, prove, json);
    return train(&c);
}

int main(int argc, char **argv)
{
    gq_cli_list none;
    gq_error    err = {0};
    int         code;

    gq_cli_begin();
    code = gq_cli_parse(&program, argc, argv, &none);
    if (code != GQ_CLI_GO)
        return gq_cli_end(program.name, code);
    if (keys)
        code = report(gq_config_help(stdout, &err), &err);
    else if (explain)
        code = report(gq_config_explain(explain, stdout, &err), &err);
    else if (reference)
        code = report(gq_config_reference(stdout, &err), &err);
    else if (!config)
        code = gq_cli_usage(program.name, "--config FILE is needed");
    else
        code = with_config(argv[0]);
    return gq_cli_end(program.name, code);
}
