#include "train/session.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/io.h"
#include "core/json.h"
#include "core/mem.h"
#include "train/checkpoint.h"
#include "train/evaluate.h"
#include "train/export.h"

/* ---- configuration --------------------------------------------------------------------------- */

static gq_status read_config(gq_session *s, const gq_session_opts *o, gq_error *err)
{
    const char **set = gq_calloc(o->n_set + 1, sizeof *set);
    char        *file = gq_path(s->path, "config.yaml"), threads[48];
    size_t       n = 0;
    gq_status    st = GQ_OK;

    if (!set || !file)
        st = gq_fail(err, GQ_ENOMEM, "%s: out of memory", s->path);
    else if (!gq_is_file(file))
        st = gq_fail(err, GQ_EWEIGHTS, "%s is missing: neither a run nor an export lacks it", file);
    if (st == GQ_OK) {
        for (; n < o->n_set; n++)
            set[n] = o->set[n];
        snprintf(threads, sizeof threads, "engine.threads=%d", o->threads);
        if (o->threads > 0)
            set[n++] = threads;
        st = gq_config_load(file, set, n, &s->cfg, NULL, err);
    }
    gq_free(set);
    gq_free(file);
    return st;
}

/* ---- a run ----------------------------------------------------------------------------------- */

/* best_step of a checkpoint's state.json; GQ_CKPT_NONE when there was no evaluation. */
static gq_status read_best(const char *ckpt, uint64_t *best, gq_error *err)
{
    char     *path = gq_path(ckpt, "state.json"), key[64];
    gq_bytes  b = {0};
    gq_json   j;
    gq_status s = path ? gq_read_file(path, 1 << 20, &b, err)
                       : gq_fail(err, GQ_ENOMEM, "%s: out of memory", ckpt);

    *best = GQ_CKPT_NONE;
    if (s == GQ_OK) {
        gq_json_begin(&j, path, b.data, b.size, GQ_EWEIGHTS, err);
        gq_json_object(&j);
        while (gq_json_key(&j, key, sizeof key))
            if (strcmp(key, "best_step") == 0)
                gq_json_u64(&j, best);
            else
                gq_json_skip(&j);
        s = gq_json_end(&j);
    }
    gq_bytes_free(&b);
    gq_free(path);
    return s;
}

/* Replaces the newest checkpoint in *found by the best one, when there is a healthy one. */
static gq_status prefer_best(gq_session *s, gq_ckpt_found *found, gq_error *err)
{
    uint64_t  best;
    gq_error  why = {0};
    char     *path;
    gq_status st = read_best(found->path, &best, err);

    if (st != GQ_OK || best == GQ_CKPT_NONE || best == found->step)
        return st;
    path = gq_ckpt_step_path(s->path, best);
    if (!path)
        return gq_fail(err, GQ_ENOMEM, "%s: out of memory", s->path);
    if (gq_ckpt_verify(path, NULL, &why) != GQ_OK) {
        snprintf(s->note, sizeof s->note,
                 "the best checkpoint (step %" PRIu64 ") cannot be used, the "
                 "newest is: %.300s",
                 best, why.text);
        gq_free(path);
        return GQ_OK;
    }
    gq_free(found->path);
    found->path = path;
    found->step = best;
    return GQ_OK;
}

static gq_status open_run(gq_session *s, const gq_session_opts *o, gq_error *err)
{
    gq_ckpt_found found = {0};
    gq_net_report report;
    gq_run_state  state;
    gq_status     st = gq_ckpt_find(s->path, false, &found, err);

    if (st == GQ_OK && !found.path)
        st = gq_fail(err, GQ_EWEIGHTS, "%s: no healthy checkpoint in %s/checkpoints%s%s", s->path,
                     s->path, *found.notes ? ": " : "; train first", found.notes);
    if (st == GQ_OK && o->which == GQ_SESSION_BEST)
        st = prefer_best(s, &found, err);
    if (st == GQ_OK)
        st = gq_net_open(&s->cfg, o->stored ? GQ_NET_DECLARE : GQ_NET_INFER, false, &s->net,
                         &report, err);
    if (st == GQ_OK && o->stored)
        st = gq_stored_open(s->net->params, s->path, found.path, &s->stored, &state, err);
    else if (st == GQ_OK)
        st = gq_snapshot_load(s->net, s->path, found.path, false, &state, err);
    if (st == GQ_OK)
        s->score = state.best;
    s->step = found.step;
    gq_free(found.path);
    return st;
}

/* ---- an export ------------------------------------------------------------------------------- */

static gq_status load_family(gq_session *s, gq_hf_family f, const char *name, gq_error *err)
{
    char           *path = gq_path(s->path, name);
    gq_safetensors *st = NULL;
    gq_load_report  report = {0};
    gq_status       r = path ? gq_safetensors_open(path, &st, err)
                             : gq_fail(err, GQ_ENOMEM, "%s: out of memory", s->path);

    if (r == GQ_OK)
        r = gq_hf_load(s->net->params, f, st, &report, err);
    if (r == GQ_OK && report.missing)
        r = gq_fail(err, GQ_EWEIGHTS,
                    "%s: %d tensors of the model in config.yaml are missing, the "
                    "first is '%s'",
                    path, report.missing, report.first_missing);
    gq_safetensors_close(st);
    gq_free(path);
    return r;
}

static gq_status open_export(gq_session *s, gq_error *err)
{
    gq_export_about about = {0};
    gq_net_report   report;
    gq_status       st = gq_export_check(s->path, (int)s->cfg.engine.threads, &about, err);

    if (st == GQ_OK && s->cfg.model.kind == GQ_CFG_KIND_STLLM && s->cfg.clip.text && !*s->cfg.model.tokenizer.clip) {
        size_t n =
            sizeof s->cfg.model.tokenizer.clip; /* CLIP's vocabulary lies beside its weights */
        if (snprintf(s->cfg.model.tokenizer.clip, n, "%s/clip", s->path) >= (int)n)
            st = gq_fail(err, GQ_EWEIGHTS, "%s: the path is too long", s->path);
    }
    if (st == GQ_OK)
        st = gq_net_open(&s->cfg, GQ_NET_INFER, false, &s->net, &report, err);
    for (int f = 0; st == GQ_OK && f < GQ_HF_FAMILIES; f++)
        if (gq_hf_has(s->net->params, (gq_hf_family)f))
            st = load_family(s, (gq_hf_family)f, gq_export_weights((gq_hf_family)f), err);
    s->step = about.step;
    return st;
}

/* ---- both ------------------------------------------------------------------------------------ */

/* GQ_EWEIGHTS when the directory is neither a run nor an export. */
static gq_status tell_kind(const char *path, bool *exported, gq_error *err)
{
    char     *run = gq_path(path, "config.yaml"), *export = gq_path(path, "gifqa.json");
    char     *inner = gq_path(path, "run/config.yaml");
    gq_status s = GQ_OK;

    if (!run || !export || !inner)
        s = gq_fail(err, GQ_ENOMEM, "%s: out of memory", path);
    else if (!gq_is_dir(path))
        s = gq_fail(err, GQ_EWEIGHTS,
                    "%s: there is no such directory: give the directory of a run "
                    "(gifqa-train --run-dir) or of an export (gifqa-export -o)",
                    path);
    else if (!(*exported = gq_is_file(export)) && !gq_is_file(run))
        s = gq_fail(err, GQ_EWEIGHTS,
                    "%s: neither a run (it has no config.yaml) nor an export (no gifqa.json)%s%s%s",
                    path, gq_is_file(inner) ? "; did you mean " : "",
                    gq_is_file(inner) ? path : "", gq_is_file(inner) ? "/run?" : "");
    gq_free(run);
    gq_free(export);
    gq_free(inner);
    return s;
}

gq_status gq_session_open(const char *path, const gq_session_opts *o, gq_session **out,
                          gq_error *err)
{
    static const gq_session_opts defaults;
    gq_session                  *s;
    gq_language                  language;
    bool                         exported = false;
    gq_status                    st = tell_kind(path, &exported, err);

    *out = NULL;
    if (!o)
        o = &defaults;
    if (st != GQ_OK)
        return st;
    s = gq_calloc(1, sizeof *s);
    if (!s || !(s->path = gq_strdup(path))) {
        gq_free(s);
        return gq_fail(err, GQ_ENOMEM, "%s: out of memory", path);
    }
    s->exported = exported;
    s->score = -1.0;
    st = read_config(s, o, err);
    if (st == GQ_OK)
        st = s->exported ? open_export(s, err) : open_run(s, o, err);
    if (st == GQ_OK)
        st = gq_run_tokenizer(&s->cfg, path, NULL, &s->tokenizer, err);
    language = gq_net_language(&s->cfg);
    if (st == GQ_OK && gq_tokenizer_vocab_size(s->tokenizer) > language.vocab)
        st = gq_fail(err, GQ_EWEIGHTS, "%s/tokenizer: %d tokens do not fit the %d rows of %s", path,
                     gq_tokenizer_vocab_size(s->tokenizer), (int)language.vocab, language.vocab_key);
    if (st != GQ_OK) {
        gq_session_close(s);
        return st;
    }
    *out = s;
    return GQ_OK;
}

void gq_session_close(gq_session *s)
{
    if (!s)
        return;
    gq_tokenizer_close(s->tokenizer);
    gq_stored_close(s->stored);
    gq_net_close(s->net);
    gq_free(s->path);
    gq_free(s);
}
