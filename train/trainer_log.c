/* trainer_log.c - what a run tells: metrics.jsonl for programs, log.txt and events for people.
 *
 * Numbers are printed with nine significant digits, which is exact for float and the same on every machine; fields
 * that are times or memory (samples_per_s, gflops, data_wait_s, rss_mib, seconds) are the only ones that may differ
 * between a run and its resumed twin. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/json.h"
#include "train/trainer_private.h"

void gq__trainer_note(gq_trainer *t, const char *fmt, ...)
{
    char    text[3072];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    gq_rundir_note(&t->dir, "%s", text);
    if (t->o && t->o->events.note)
        t->o->events.note(t->o->events.ctx, text);
}

/* JSON has no NaN: what is not a number is null */
static int number(char *out, size_t room, const char *key, double v)
{
    return isfinite(v) ? snprintf(out, room, ",\"%s\":%.9g", key, v)
                       : snprintf(out, room, ",\"%s\":null", key);
}

gq_status gq__trainer_log_step(gq_trainer *t, gq_error *err)
{
    const gq_step_info *i = &t->info;
    struct { const char *key; double v;
    } field[] = {
        {"loss", i->loss},
        {"lm_loss", i->lm_loss},
        {"mvm_loss", i->masked ? i->mvm_loss : NAN},
        {"ppl", i->ppl},
        {"grad_norm", i->grad_norm},
        {"lr", i->lr},
        {"samples_per_s", i->samples_per_s},
        {"gflops", i->gflops},
        {"data_wait_s", i->data_wait_s},
        {"rss_mib", (double)i->rss / 1048576.0},
    };
    char      line[1024];
    int       at = snprintf(line, sizeof line, "{\"step\":%lld,\"epoch\":%lld", (long long)i->step,
                            (long long)i->epoch);
    gq_status s;

    for (size_t k = 0; k < sizeof field / sizeof *field; k++)
        at += number(line + at, sizeof line - (size_t)at, field[k].key, field[k].v);
    snprintf(line + at, sizeof line - (size_t)at, "}");
    s = gq_append_line(t->dir.metrics, line, err);
    if (s == GQ_OK && t->o->events.step)
        t->o->events.step(t->o->events.ctx, i);
    return s;
}

gq_status gq__trainer_log_epoch(gq_trainer *t, int64_t epoch, gq_error *err)
{
    gq_run_state *r = &t->state;
    double        lm = r->epoch_labels ? r->epoch_nll / (double)r->epoch_labels : NAN;
    double        mvm = r->epoch_masked ? r->epoch_mvm / (double)r->epoch_masked : NAN;
    double        loss = r->epoch_steps ? r->epoch_loss / (double)r->epoch_steps : NAN;
    uint64_t      per = (uint64_t)(t->cfg.train.batch * t->cfg.train.accumulate);
    bool          partial = r->epoch_steps * per + per <= (uint64_t)gq_dataset_count(t->data);
    bool          last = t->info.step == t->info.total;
    char          line[512], masked[32] = "";
    int at = snprintf(line, sizeof line, "{\"epoch_end\":%lld,\"step\":%llu", (long long)epoch,
                      (unsigned long long)t->info.step);

    at += number(line + at, sizeof line - (size_t)at, "avg_loss", loss);
    at += number(line + at, sizeof line - (size_t)at, "lm_loss", lm);
    at += number(line + at, sizeof line - (size_t)at, "mvm_loss", mvm);
    at += number(line + at, sizeof line - (size_t)at, "avg_perplexity", exp(lm));
    at += number(line + at, sizeof line - (size_t)at, "token_accuracy",
                 r->epoch_labels ? (double)r->epoch_rows / (double)r->epoch_labels : NAN);
    snprintf(line + at, sizeof line - (size_t)at, ",\"labels\":%llu}",
             (unsigned long long)r->epoch_labels);
    if (r->epoch_masked)
        snprintf(masked, sizeof masked, "  mvm_loss %.4f", mvm);
    /* a data set of a few steps would fill the screen: its epochs are in metrics.jsonl alone */
    if (last || (int64_t)r->epoch_steps >= t->cfg.train.log_every)
        gq__trainer_note(t, "epoch %lld%s: avg_loss %.4f  lm_loss %.4f%s  avg_perplexity %.4f",
                         (long long)epoch, partial ? " (partial)" : "", loss, lm, masked, exp(lm));
    r->epoch_labels = r->epoch_rows = r->epoch_masked = r->epoch_steps = 0;
    r->epoch_nll = r->epoch_mvm = r->epoch_loss = 0.0;
    return gq_append_line(t->dir.metrics, line, err);
}

gq_status gq__trainer_log_evaluation(gq_trainer *t, const gq_evaluation *e, gq_error *err)
{
    char line[8192];
    int  at = snprintf(line, sizeof line, "{\"eval\":\"val\",\"step\":%llu,\"n\":%lld",
                       (unsigned long long)t->state.step, (long long)e->n);

    for (int m = 0; m < GQ_METRICS; m++)
        at += number(line + at, sizeof line - (size_t)at, gq_metric_name((gq_metric)m),
                     e->table.rows[0].value[m]);
    at += number(line + at, sizeof line - (size_t)at, "lm_loss", e->lm_loss);
    at += number(line + at, sizeof line - (size_t)at, "ppl", e->ppl);
    at += number(line + at, sizeof line - (size_t)at, "token_accuracy", e->token_accuracy);
    at += snprintf(line + at, sizeof line - (size_t)at, ",\"exact_match_by_type\":{");
    for (size_t i = 1; i < e->table.n_rows && (size_t)at + 256 < sizeof line; i++) {
        if (i > 1)
            line[at++] = ',';
        at += (int)gq_json_quote(e->table.rows[i].type, line + at, sizeof line - (size_t)at);
        at += snprintf(line + at, sizeof line - (size_t)at, ":%.9g",
                       e->table.rows[i].value[GQ_METRIC_EXACT]);
    }
    snprintf(line + at, sizeof line - (size_t)at, "}}");
    return gq_append_line(t->dir.metrics, line, err);
}
