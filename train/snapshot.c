#include "train/snapshot.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/io.h"
#include "core/json.h"
#include "core/mem.h"
#include "train/checkpoint.h"

enum { NAME = 160 };

#define WEIGHTS_FILE "weights.safetensors"
#define FROZEN_FILE  "frozen.safetensors"

/* Which parameters a file holds, and from which arena. */
typedef enum section { WEIGHTS, FROZEN, MOMENTS } section;

static bool holds(section which, const gq_param *q)
{
    return which == FROZEN ? !q->trainable : q->trainable;
}

/* Files hold the backend's stat, so that a run may go on with another backend. */
static gq_param_part part_of(section which, int moment)
{
    return which != MOMENTS ? GQ_WEIGHT : moment ? GQ_MOMENT2 : GQ_MOMENT1;
}

/* Room for the largest parameter of a section, where its arrays cannot be used in place; else NULL. */
static gq_status make_scratch(const gq_net *n, section which, void **scratch, gq_error *err)
{
    size_t most = 0, stat = gq_dtype_size(n->engine->backend->stat);

    *scratch = NULL;
    for (int32_t i = 0; i < n->params->count; i++) {
        const gq_param *q = &n->params->param[i];
        if (holds(which, q) && !gq_param_view(n->params, q, part_of(which, 0)) && (size_t)q->n > most)
            most = (size_t)q->n;
    }
    if (!most)
        return GQ_OK;
    *scratch = gq_malloc(most, stat);
    return *scratch ? GQ_OK : gq_fail(err, GQ_ENOMEM, "a copy of the weights: out of memory");
}

static void entry_name(section which, int moment, const gq_param *q, char name[NAME])
{
    snprintf(name, NAME, "%s%s", which == MOMENTS ? (moment ? "v." : "m.") : "", q->name);
}

/* ---- writing ------------------------------------------------------------------------------------------------ */

static gq_status put_all(gq_net *n, section which, gq_st_writer *w, gq_error *err)
{
    size_t    stat = gq_dtype_size(n->engine->backend->stat);
    char      name[NAME];
    void     *scratch;
    gq_status s = make_scratch(n, which, &scratch, err);

    for (int moment = 0; moment < (which == MOMENTS ? 2 : 1); moment++)
        for (int32_t i = 0; s == GQ_OK && i < n->params->count; i++) {
            const gq_param *q = &n->params->param[i];
            const void     *at = gq_param_view(n->params, q, part_of(which, moment));
            if (!holds(which, q))
                continue;
            entry_name(which, moment, q, name);
            if (!at) {
                gq_param_read(n->params, q, part_of(which, moment), 0, scratch, q->n);
                at = scratch;
            }
            s = gq_st_put(w, name, at, (size_t)q->n * stat, err);
        }
    gq_free(scratch);
    return s;
}

static size_t declare_all(gq_net *n, section which, gq_st_tensor *t, char (*names)[NAME])
{
    size_t count = 0;
    for (int moment = 0; moment < (which == MOMENTS ? 2 : 1); moment++)
        for (int32_t i = 0; i < n->params->count; i++) {
            const gq_param *q = &n->params->param[i];
            if (!holds(which, q))
                continue;
            entry_name(which, moment, q, names[count]);
            t[count] =
                (gq_st_tensor){.name = names[count],
                               .rank = q->rank,
                               .dtype = n->engine->backend->stat == GQ_F64 ? GQ_ST_F64 : GQ_ST_F32};
            for (int d = 0; d < q->rank; d++)
                t[count].shape[d] = (uint64_t)q->shape[d];
            count++;
        }
    return count;
}

static gq_status write_section(gq_net *n, section which, const char *dir, const char *file,
                               gq_error *err)
{
    size_t        most = 2 * (size_t)n->params->count + 1;
    gq_st_tensor *t = gq_calloc(most, sizeof *t);
    char        (*names)[NAME] = gq_calloc(most, sizeof *names), *path = gq_path(dir, file);
    gq_st_writer *w = NULL;
    gq_st_meta    meta = {"format", "gifqa"};
    gq_status     s =
        t && names && path ? GQ_OK : gq_fail(err, GQ_ENOMEM, "%s/%s: out of memory", dir, file);

    if (s == GQ_OK)
        s = gq_st_writer_open(path, t, declare_all(n, which, t, names), &meta, 1, &w, err);
    if (s == GQ_OK)
        s = put_all(n, which, w, err);
    if (s == GQ_OK)
        s = gq_st_commit(w, err);
    else
        gq_st_abort(w);
    gq_free(t);
    gq_free(names);
    gq_free(path);
    return s;
}

static gq_status write_state(const gq_run_state *r, const char *dir, gq_error *err)
{
    char     *path = gq_path(dir, "state.json"), text[2048];
    gq_status s;

    if (!path)
        return gq_fail(err, GQ_ENOMEM, "%s: out of memory", dir);
    snprintf(text, sizeof text,
             "{\n  \"format\": 1,\n  \"step\": %" PRIu64 ",\n  \"samples\": %" PRIu64
             ",\n  \"metrics_bytes\": %" PRIu64 ",\n  \"best\": %.17g,\n  \"best_step\": %" PRIu64
             ",\n  \"evaluated_step\": %" PRIu64 ",\n  \"epoch_labels\": %" PRIu64
             ",\n  \"epoch_rows\": %" PRIu64
             ",\n  \"epoch_nll\": %.17g,\n  \"epoch_mvm\": %.17g,\n  \"epoch_loss\": %.17g,"
             "\n  \"epoch_masked\": %" PRIu64 ",\n  \"epoch_steps\": %" PRIu64
             ",\n  \"tokenizer_sha256\": \"%s\""
             ",\n  \"frozen_sha256\": \"%s\"\n}\n",
             r->step, r->samples, r->metrics_bytes, r->best, r->best_step, r->evaluated_step,
             r->epoch_labels, r->epoch_rows, r->epoch_nll, r->epoch_mvm, r->epoch_loss,
             r->epoch_masked, r->epoch_steps, r->tokenizer_sha256, r->frozen_sha256);
    s = gq_write_file(path, text, strlen(text), err);
    gq_free(path);
    return s;
}

uint64_t gq_snapshot_bytes(const gq_net *n)
{
    return 3 * (uint64_t)n->params->trainable_n * gq_dtype_size(n->engine->backend->stat) + 65536;
}

/* A state with a value that is not finite is never written: a healthy checkpoint must not be rotated away by it. */
static gq_status refuse_nonfinite(gq_net *n, gq_error *err)
{
    const gq_params *p = n->params;
    double w = n->engine->backend->sumsq(p->master.base ? p->master.base : p->weights.base,
                                         p->trainable_n, &n->engine->work);
    double m =
        n->engine->backend->sumsq(n->params->m.base, n->params->trainable_n, &n->engine->work);
    gq_device *d = n->engine->backend->device;
    gq_status  s = d ? d->finish(d, err) : GQ_OK;          /* a sum that could not be had is NaN, too */

    if (s == GQ_OK && n->params->trainable_n && !(isfinite(w) && isfinite(m)))
        return gq_fail(err, GQ_ENUMERIC,
                       "a weight or moment is not finite: this state is not saved");
    return s;
}

gq_status gq_snapshot_save(gq_net *n, const char *run_dir, const gq_run_state *state, gq_error *err)
{
    gq_ckpt  *c;
    gq_status s = refuse_nonfinite(n, err);

    if (s == GQ_OK)
        s = gq_ckpt_begin(run_dir, state->step, gq_snapshot_bytes(n), &c, err);
    if (s != GQ_OK)
        return s;
    s = write_section(n, WEIGHTS, gq_ckpt_dir(c), WEIGHTS_FILE, err);
    if (s == GQ_OK)
        s = write_section(n, MOMENTS, gq_ckpt_dir(c), "optim.safetensors", err);
    if (s == GQ_OK)
        s = write_state(state, gq_ckpt_dir(c), err);
    if (s == GQ_OK)
        return gq_ckpt_commit(c, NULL, err);
    gq_ckpt_abort(c);
    return s;
}

/* ---- reading -------------------------------------------------------------------------------------------------- */

/* The tensor of q in st, which is `file`; it has q's shape. */
static gq_status find(const gq_param *q, section which, int moment, const gq_safetensors *st,
                      const char *file, const gq_st_tensor **out, gq_error *err)
{
    char                name[NAME];
    const gq_st_tensor *t;
    bool                same;

    entry_name(which, moment, q, name);
    t = *out = gq_st_find(st, name);
    if (!t)
        return gq_fail(
            err, GQ_EWEIGHTS,
            "%s: tensor '%s' is missing: the model in the config is not the one that was saved",
            file, name);
    same = t->rank == q->rank;
    for (int d = 0; same && d < q->rank; d++)
        same = t->shape[d] == (uint64_t)q->shape[d];
    if (!same)
        return gq_fail(
            err, GQ_EWEIGHTS,
            "%s: tensor '%s' has another shape: the model in the config is not the one that "
            "was saved",
            file, name);
    return GQ_OK;
}

static gq_status take(gq_net *n, gq_param *q, section which, int moment, const gq_safetensors *st,
                      const char *file, void *scratch, gq_error *err)
{
    const gq_st_tensor *t;
    void               *at = gq_param_view(n->params, q, part_of(which, moment));
    gq_status           s = find(q, which, moment, st, file, &t, err);

    if (s == GQ_OK && n->engine->backend->stat == GQ_F64)
        return gq_st_read_f64(t, at ? at : scratch, err);
    if (s == GQ_OK)
        s = gq_st_read_f32(t, at ? at : scratch, err);
    if (s == GQ_OK && !at)
        gq_param_write(n->params, q, part_of(which, moment), 0, scratch, q->n);
    return s;
}

static gq_status read_section(gq_net *n, section which, const char *dir, const char *file,
                              gq_error *err)
{
    char           *path = gq_path(dir, file);
    gq_safetensors *st = NULL;
    void           *scratch = NULL;
    gq_status       s = path ? gq_safetensors_open(path, &st, err)
                             : gq_fail(err, GQ_ENOMEM, "%s: out of memory", dir);

    if (s == GQ_OK)
        s = make_scratch(n, which, &scratch, err);
    for (int moment = 0; moment < (which == MOMENTS ? 2 : 1); moment++)
        for (int32_t i = 0; s == GQ_OK && i < n->params->count; i++) {
            gq_param *q = &n->params->param[i];
            if (!holds(which, q))
                continue;
            s = take(n, q, which, moment, st, path, scratch, err);
            q->loaded = true;
        }
    gq_free(scratch);
    gq_safetensors_close(st);
    gq_free(path);
    return s;
}

static void read_field(gq_json *j, const char *key, gq_run_state *r)
{
    struct { const char *name; uint64_t *to;
    } whole[] = {
        {"step", &r->step},
        {"samples", &r->samples},
        {"metrics_bytes", &r->metrics_bytes},
        {"best_step", &r->best_step},
        {"evaluated_step", &r->evaluated_step},
        {"epoch_labels", &r->epoch_labels},
        {"epoch_rows", &r->epoch_rows},
        {"epoch_masked", &r->epoch_masked},
        {"epoch_steps", &r->epoch_steps},
    };
    struct { const char *name; double *to;
    } real[] = {
        {"best", &r->best},
        {"epoch_nll", &r->epoch_nll},
        {"epoch_mvm", &r->epoch_mvm},
        {"epoch_loss", &r->epoch_loss},
    };
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (strcmp(key, whole[i].name) == 0) {
            gq_json_u64(j, whole[i].to);
            return;
        }
    for (size_t i = 0; i < sizeof real / sizeof *real; i++)
        if (strcmp(key, real[i].name) == 0) {
            gq_json_double(j, real[i].to);
            return;
        }
    if (strcmp(key, "tokenizer_sha256") == 0)
        gq_json_string(j, r->tokenizer_sha256, sizeof r->tokenizer_sha256);
    else if (strcmp(key, "frozen_sha256") == 0)
        gq_json_string(j, r->frozen_sha256, sizeof r->frozen_sha256);
    else
        gq_json_skip(j);
}

static gq_status read_state(const char *dir, gq_run_state *r, gq_error *err)
{
    char     *path = gq_path(dir, "state.json"), key[64];
    gq_bytes  b = {0};
    gq_json   j;
    gq_status s = path ? gq_read_file(path, 1 << 20, &b, err)
                       : gq_fail(err, GQ_ENOMEM, "%s: out of memory", dir);

    memset(r, 0, sizeof *r);
    if (s == GQ_OK) {
        gq_json_begin(&j, path, b.data, b.size, GQ_EWEIGHTS, err);
        gq_json_object(&j);
        while (gq_json_key(&j, key, sizeof key))
            read_field(&j, key, r);
        s = gq_json_end(&j);
    }
    gq_bytes_free(&b);
    gq_free(path);
    return s;
}

static bool any_frozen(const gq_params *p)
{
    for (int32_t i = 0; i < p->count; i++)
        if (!p->param[i].trainable)
            return true;
    return false;
}

static gq_status hash_frozen(const char *path, char hex[65], gq_error *err)
{
    uint8_t   hash[32];
    uint64_t  bytes;
    gq_status s = gq_sha256_file(path, &bytes, hash, err);
    if (s == GQ_OK)
        gq_hex(hash, sizeof hash, hex);
    return s;
}

gq_status gq_snapshot_frozen(gq_net *n, const char *run_dir, gq_run_state *state, gq_error *err)
{
    char     *path = gq_path(run_dir, FROZEN_FILE);
    gq_status s = path ? GQ_OK : gq_fail(err, GQ_ENOMEM, "%s: out of memory", run_dir);

    *state->frozen_sha256 = 0;
    if (s == GQ_OK && any_frozen(n->params)) {
        s = write_section(n, FROZEN, run_dir, FROZEN_FILE, err);
        if (s == GQ_OK)
            s = hash_frozen(path, state->frozen_sha256, err);
    }
    gq_free(path);
    return s;
}

/* Is frozen.safetensors in `dir` the one that the state names? */
static gq_status check_frozen(const char *dir, const gq_run_state *state, gq_error *err)
{
    char      hex[65], *path = gq_path(dir, FROZEN_FILE);
    gq_status s = path ? GQ_OK : gq_fail(err, GQ_ENOMEM, "%s: out of memory", dir);

    if (s == GQ_OK && !gq_is_file(path))
        s = gq_fail(err, GQ_EWEIGHTS, "%s is missing", path);
    if (s == GQ_OK)
        s = hash_frozen(path, hex, err);
    if (s == GQ_OK && *state->frozen_sha256 && strcmp(hex, state->frozen_sha256) != 0)
        s = gq_fail(
            err, GQ_EWEIGHTS,
            "%s: damaged, or of another run: its SHA-256 is %.12s... and the checkpoint names "
            "%.12s...",
            path, hex, state->frozen_sha256);
    gq_free(path);
    return s;
}

/* The directory of the frozen file, the caller's: a checkpoint of another run has it two levels above. */
static gq_status find_frozen(const char *run_dir, const char *ckpt_dir, const gq_run_state *state,
                             char **dir, gq_error *err)
{
    gq_error  other = {0};
    gq_status s = check_frozen(run_dir, state, err);

    *dir = NULL;
    if (s != GQ_OK && s != GQ_EWEIGHTS)
        return s;
    *dir = s == GQ_OK ? gq_strdup(run_dir) : gq_path(ckpt_dir, "../..");
    if (!*dir)
        return gq_fail(err, GQ_ENOMEM, "%s: out of memory", run_dir);
    if (s == GQ_OK || check_frozen(*dir, state, &other) != GQ_OK)
        return s;
    gq_error_clear(err);
    return GQ_OK;
}

gq_status gq_snapshot_load(gq_net *n, const char *run_dir, const char *ckpt_dir, bool optimiser,
                           gq_run_state *state, gq_error *err)
{
    char     *frozen = NULL;
    gq_status s = read_state(ckpt_dir, state, err);

    if (s == GQ_OK)
        s = read_section(n, WEIGHTS, ckpt_dir, WEIGHTS_FILE, err);
    if (s == GQ_OK && optimiser)
        s = read_section(n, MOMENTS, ckpt_dir, "optim.safetensors", err);
    if (s == GQ_OK && any_frozen(n->params)) {
        s = find_frozen(run_dir, ckpt_dir, state, &frozen, err);
        if (s == GQ_OK)
            s = read_section(n, FROZEN, frozen, FROZEN_FILE, err);
    }
    gq_free(frozen);
    return s;
}

/* ---- reading without a net's memory --------------------------------------------------------------------------- */

struct gq_stored { gq_safetensors *weights, *frozen; };      /* frozen: NULL when nothing is      */

static gq_status map_section(const gq_params *p, section which, const char *dir, const char *file,
                             gq_safetensors **st, gq_error *err)
{
    const gq_st_tensor *t;
    char               *path = gq_path(dir, file);
    gq_status           s = path ? gq_safetensors_open(path, st, err)
                                 : gq_fail(err, GQ_ENOMEM, "%s: out of memory", dir);

    for (int32_t i = 0; s == GQ_OK && i < p->count; i++)
        if (holds(which, &p->param[i]))
            s = find(&p->param[i], which, 0, *st, path, &t, err);
    gq_free(path);
    return s;
}

gq_status gq_stored_open(const gq_params *p, const char *run_dir, const char *ckpt_dir,
                         gq_stored **out, gq_run_state *state, gq_error *err)
{
    gq_stored *f = gq_calloc(1, sizeof *f);
    char      *frozen = NULL;
    gq_status  s = f ? read_state(ckpt_dir, state, err)
                     : gq_fail(err, GQ_ENOMEM, "%s: out of memory", ckpt_dir);

    *out = NULL;
    if (s == GQ_OK)
        s = map_section(p, WEIGHTS, ckpt_dir, WEIGHTS_FILE, &f->weights, err);
    if (s == GQ_OK && any_frozen(p)) {
        s = find_frozen(run_dir, ckpt_dir, state, &frozen, err);
        if (s == GQ_OK)
            s = map_section(p, FROZEN, frozen, FROZEN_FILE, &f->frozen, err);
    }
    gq_free(frozen);
    if (s == GQ_OK)
        *out = f;
    else
        gq_stored_close(f);
    return s;
}

void gq_stored_close(gq_stored *f)
{
    if (!f)
        return;
    gq_safetensors_close(f->weights);
    gq_safetensors_close(f->frozen);
    gq_free(f);
}

gq_status gq_stored_read(void *stored, const gq_param *q, int64_t first, float *dst, int64_t n,
                         gq_error *err)
{
    const gq_stored    *f = stored;
    const gq_st_tensor *t = gq_st_find(q->trainable ? f->weights : f->frozen, q->name);
    /* gq_stored_open() found it */
    gq_st_tensor        some = gq_st_slice(t, (uint64_t)first, (uint64_t)n);
    gq_status           s = gq_st_read_f32(&some, dst, err);

    gq_map_forget(some.data, some.bytes);
    return s;
}
