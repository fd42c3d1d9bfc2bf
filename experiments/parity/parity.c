/* gifqa-parity - one training step, or decoding, at a configuration's real sizes, with everything
 * that another implementation may want to compare. tests/reference/full_size.py is that other side
 * and describes the folder both work in:
 *
 * DIR/{clip,qformer,gpt2,stllm}.safetensors  weights under published names, read
 * DIR/batch.safetensors                      in.frames u8, in.text_ids, in.question_len,
 *                                            in.answer_len (with the end token) i32, read
 * DIR/ours/states.safetensors                masks, losses, hidden states, written by step
 * DIR/ours/{grad,m,v,w}.<family>.safetensors gradients before clipping, moments and weights after
 *                                            one AdamW step at train.lr, written by step
 * DIR/prompts.<NAME>.safetensors             in.ids, in.length i32, in.features f32 or absent
 * DIR/<OUT>.safetensors                      out.ids i32 [P,max_new], -1 behind an answer
 */
#include <string.h>

#include "core/io.h"
#include "core/mem.h"
#include "models/generate.h"
#include "tools/cli.h"
#include "train/feed.h"
#include "train/net.h"

enum { SAMPLES_MAX = 16, ROWS = 5 };    /* samples in a batch; prompts decoded together           */

static const char *const family_name[] = {"clip", "qformer", "gpt2", "stllm"};
static gq_cli_list       sets;

static const gq_cli_option options[] = {
    {"set", 0, GQ_CLI_LIST, &sets, "KEY=VALUE", "replace a key of the config", 0, 0},
};

/* ---- files ----------------------------------------------------------------------------------- */

static gq_status open_file(const char *dir, const char *name, gq_safetensors **st, gq_error *err)
{
    char path[GQ_PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/%s.safetensors", dir, name);
    return gq_safetensors_open(path, st, err);
}

/* A copy of a tensor of this type (data of a file may be unaligned), or NULL with an error. */
static void *read_raw(const gq_safetensors *st, const char *name, gq_st_dtype dtype, gq_error *err)
{
    const gq_st_tensor *t = gq_st_find(st, name);
    void               *x;

    if (!t || t->dtype != dtype) {
        gq_fail(err, GQ_EINPUT, "tensor '%s' of type %s is missing", name,
                gq_st_dtype_name(dtype));
        return NULL;
    }
    x = gq_malloc(t->bytes + 1, 1);
    if (x)
        memcpy(x, t->data, t->bytes);
    else
        gq_fail(err, GQ_ENOMEM, "tensor '%s': out of memory", name);
    return x;
}

typedef struct out_tensor {             /* one tensor of states.safetensors                       */
    gq_st_tensor about;
    void        *data;                                                       /* owned             */
} out_tensor;

typedef struct out_file {
    out_tensor item[16];
    int        n;
    bool       failed;                                                       /* out of memory     */
} out_file;

/* Room for a tensor of shape [d0], [d0,d1] (d1 > 0) or [d0,d1,d2] (d2 > 0). */
static void *add(out_file *f, const char *name, gq_st_dtype dtype, int64_t d0, int64_t d1,
                 int64_t d2)
{
    out_tensor *o = &f->item[f->n];
    uint64_t    count = (uint64_t)d0 * (uint64_t)(d1 ? d1 : 1) * (uint64_t)(d2 ? d2 : 1);

    o->about = (gq_st_tensor){.name = name, .dtype = dtype, .rank = d2 ? 3 : d1 ? 2 : 1};
    o->about.shape[0] = (uint64_t)d0;
    o->about.shape[1] = (uint64_t)d1;
    o->about.shape[2] = (uint64_t)d2;
    o->about.bytes = count * gq_st_dtype_size(dtype);
    o->data = gq_calloc(count, gq_st_dtype_size(dtype));
    f->failed |= !o->data;
    f->n++;
    return o->data;
}

static gq_status write_out(out_file *f, const char *path, gq_error *err)
{
    gq_st_tensor  t[16];
    gq_st_writer *w = NULL;
    gq_status     s = f->failed ? gq_fail(err, GQ_ENOMEM, "%s: out of memory", path) : GQ_OK;

    for (int i = 0; i < f->n; i++)
        t[i] = f->item[i].about;
    if (s == GQ_OK)
        s = gq_st_writer_open(path, t, (size_t)f->n, NULL, 0, &w, err);
    for (int i = 0; s == GQ_OK && i < f->n; i++)
        s = gq_st_put(w, t[i].name, f->item[i].data, t[i].bytes, err);
    if (s == GQ_OK)
        s = gq_st_commit(w, err);
    else
        gq_st_abort(w);
    for (int i = 0; i < f->n; i++)
        gq_free(f->item[i].data);
    return s;
}

/* ---- the net --------------------------------------------------------------------------------- */

static gq_status open_config(const char *file, const char *dir, gq_config *c, gq_error *err)
{
    char        weights[3][GQ_PATH_MAX + 64];
    const char *set[GQ_CLI_LIST_MAX + 8];
    size_t      n = 0;

    set[n++] = "model.init=weights";
    set[n++] = "clip.text=false";
    for (int i = 0; i < 3; i++) {
        snprintf(weights[i], sizeof weights[i], "model.weights.%s=%s/%s.safetensors",
                 family_name[i], dir, family_name[i]);
        set[n++] = weights[i];
    }
    gq_cli_rung(&sets);
    for (size_t i = 0; i < sets.n; i++)
        set[n++] = sets.item[i];
    return gq_config_load(file, set, n, c, NULL, err);
}

static gq_status open_net(const char *file, const char *dir, gq_net_use use, gq_net **net,
                          gq_error *err)
{
    gq_config      *c = gq_calloc(1, sizeof *c);
    gq_safetensors *st = NULL;
    gq_load_report  loaded;
    gq_net_report   report;
    gq_status       s = c ? open_config(file, dir, c, err)
                          : gq_fail(err, GQ_ENOMEM, "configuration: out of memory");

    if (s == GQ_OK)
        s = gq_net_open(c, use, true, net, &report, err);
    if (s == GQ_OK && (s = open_file(dir, "stllm", &st, err)) == GQ_OK)
        s = gq_hf_load((*net)->params, GQ_HF_STLLM, st, &loaded, err);
    if (s == GQ_OK && loaded.missing)
        s = gq_fail(err, GQ_EWEIGHTS, "%s: '%s' is missing", dir, loaded.first_missing);
    gq_safetensors_close(st);
    gq_free(c);
    return s;
}

/* ---- the step -------------------------------------------------------------------------------- */

typedef struct step {
    gq_net       *net;
    const char   *dir;
    uint8_t      *frames, *keep;
    int32_t      *ids, *nq, *na;
    int           batch, text, visual;  /* samples, ids a sample, visual tokens a sample          */
    gq_sample     sample[SAMPLES_MAX];
    gq_stllm_tape h;
    double        rate, norm;
} step;

static gq_status read_batch(step *x, gq_error *err)
{
    const gq_config    *c = &x->net->cfg;
    const gq_st_tensor *t;
    gq_safetensors     *st;
    gq_status           s = open_file(x->dir, "batch", &st, err);
    int64_t             image = 3 * c->clip.image_size * c->clip.image_size * c->data.frames;

    if (s != GQ_OK)
        return s;
    x->frames = read_raw(st, "in.frames", GQ_ST_U8, err);
    x->ids = read_raw(st, "in.text_ids", GQ_ST_I32, err);
    x->nq = read_raw(st, "in.question_len", GQ_ST_I32, err);
    x->na = read_raw(st, "in.answer_len", GQ_ST_I32, err);
    if (!x->frames || !x->ids || !x->nq || !x->na) {
        gq_safetensors_close(st);
        return GQ_EINPUT;
    }
    t = gq_st_find(st, "in.text_ids");
    x->batch = (int)t->shape[0];
    x->text = (int)t->shape[1];
    if (x->batch > SAMPLES_MAX ||
        gq_st_find(st, "in.frames")->count != (uint64_t)(x->batch * image))
        s = gq_fail(err, GQ_EINPUT, "batch: more than %d samples, or frames of another size",
                    SAMPLES_MAX);
    for (int b = 0; s == GQ_OK && b < x->batch; b++)
        if (x->nq[b] < 1 || x->na[b] < 1 || x->nq[b] + x->na[b] > x->text)
            s = gq_fail(err, GQ_EINPUT, "batch: the lengths of sample %d do not fit its ids", b);
    gq_safetensors_close(st);
    for (int b = 0; s == GQ_OK && b < x->batch; b++)
        x->sample[b] = (gq_sample){.vision = x->frames + b * image,
                                   .question = x->ids + b * x->text,
                                   .nq = x->nq[b],
                                   .answer = x->ids + b * x->text + x->nq[b],
                                   .na = x->na[b] - 1}; /* feeding adds the end token */
    return s;
}

static gq_status record(step *x, gq_error *err)
{
    const gq_config *c = &x->net->cfg;
    gq_mask_key      key = {c->train.seed, 0};
    gq_stllm_shape   shape;
    gq_feed_opts     o = {.end_id = (int)c->gpt2.vocab - 1};
    gq_plan_opts     plan = {.policy = c->train.checkpoint == GQ_CFG_POLICY_SEGMENT ? GQ_SEGMENT
                                                                                    : GQ_KEEP};
    gq_status        s;
    int              labels = 0;

    x->visual = (int)(c->data.frames * c->qformer.queries);
    x->keep = gq_calloc((size_t)x->batch, (size_t)x->visual);
    if (!x->keep)
        return gq_fail(err, GQ_ENOMEM, "masks: out of memory");
    for (int b = 0; b < x->batch; b++) {
        gq_mask_tokens(c, key, (uint32_t)b, x->visual, x->keep + b * x->visual);
        labels += x->na[b];
    }
    x->rate = gq_mask_rate(c, key, 0);
    o.inv_lm = 1.0 / labels;
    o.inv_mvm = 1.0 / gq_mask_denominator(c, key, (uint32_t)x->batch, x->visual);
    gq_feed_shape(c, x->sample, x->batch, true, true, true, x->keep, &shape);
    s = gq_stllm_record(x->net->engine, x->net->params, &x->net->model, &shape, &plan, true, &x->h,
                        err);
    if (s == GQ_OK)
        gq_feed(c, x->sample, x->keep, NULL, &o, &x->h);
    return s;
}

/* ---- what it made ---------------------------------------------------------------------------- */

/* What the linear with this weight reads: it is kept for the gradient of the weight. */
static gq_t input_of(const gq_tape *t, const char *weight)
{
    for (int32_t i = 0; i < t->nnode; i++)
        if (t->node[i].op == GQ_OP_LINEAR && strcmp(t->tensor[t->node[i].in[1]].name, weight) == 0)
            return (gq_t){t->node[i].in[0]};
    return GQ_T_NONE;
}

static void put_tensor(out_file *f, const char *name, gq_tape *t, gq_t x)
{
    int64_t width = gq_dim(t, x, -1), n = 1;
    float  *to;

    for (int i = 0; i + 1 < gq_rank(t, x); i++)
        n *= gq_dim(t, x, i);
    to = add(f, name, GQ_ST_F32, n, width, 0);
    if (to)
        gq_get_real(t, x, 0, to, n * width);
}

/* Rows at[i] of x, or rows i when at is NULL, for which mark[i] is set. */
static void put_rows(out_file *f, const char *name, gq_tape *t, gq_t x, const int32_t *at,
                     const bool *mark, int64_t n)
{
    int64_t width = gq_dim(t, x, -1), kept = 0;
    float  *to;

    for (int64_t i = 0; i < n; i++)
        kept += mark[i];
    to = add(f, name, GQ_ST_F32, kept, width, 0);
    for (int64_t i = 0; to && i < n; i++)
        if (mark[i]) {
            gq_get_real(t, x, (at ? at[i] : i) * width, to, width);
            to += width;
        }
}

/* The student's rows that a loss reads, and the teacher's beside them. */
static void put_compared(out_file *f, step *x)
{
    gq_tape *t = x->h.tape;
    int64_t  rows = gq_dim(t, x->h.rows, 0), pairs = gq_dim(t, x->h.student_rows, 0);
    int64_t  most = rows > pairs ? rows : pairs;
    bool    *mark = gq_calloc((size_t)most, sizeof *mark);

    if (!mark) {
        f->failed = true;
        return;
    }
    for (int64_t i = 0; i < rows; i++)
        mark[i] = ((int32_t *)gq_data(t, x->h.labels))[i] >= 0;
    put_rows(f, "student_answer", t, x->h.states, gq_data(t, x->h.rows), mark, rows);
    for (int64_t i = 0; i < pairs; i++) {
        float weight;
        gq_get_real(t, x->h.weight, i, &weight, 1);
        mark[i] = weight != 0.0f;
    }
    put_rows(f, "student_visual", t, x->h.states, gq_data(t, x->h.student_rows), mark, pairs);
    put_rows(f, "teacher", t, x->h.teacher, NULL, mark, pairs);
    gq_free(mark);
}

/* Returns where the norm of the gradient belongs, NULL without memory. */
static double *put_states(out_file *f, step *x)
{
    uint8_t *keep = add(f, "in.keep", GQ_ST_U8, x->batch, x->visual, 0);
    double  *rate = add(f, "in.rate", GQ_ST_F64, 1, 0, 0);
    double  *loss = add(f, "losses", GQ_ST_F64, 4, 0, 0);

    if (!keep || !rate || !loss)
        return NULL;
    memcpy(keep, x->keep, (size_t)x->batch * (size_t)x->visual);
    *rate = x->rate;
    loss[0] = gq_scalar(x->h.tape, x->h.lm_loss);
    loss[1] = gq_scalar(x->h.tape, x->h.mvm_loss);
    loss[2] = gq_scalar(x->h.tape, x->h.loss);
    if (x->net->model.qformer.bridge == GQ_BRIDGE_ADAPTER)
        put_tensor(f, "clip", x->h.tape, input_of(x->h.tape, "bridge.w"));
    put_tensor(f, "encoded", x->h.tape, x->h.encoded);
    put_tensor(f, "queries", x->h.tape, x->h.queries);
    put_tensor(f, "visual", x->h.tape, x->h.visual);
    put_compared(f, x);
    return loss + 3;
}

typedef struct arena_reader { const gq_params *params; const gq_arena *arena; } arena_reader;

static gq_status read_arena(void *ctx, const gq_param *q, int64_t first, float *dst, int64_t n,
                            gq_error *err)
{
    const arena_reader *a = ctx;

    (void)err;
    for (int64_t i = 0; i < n; i++)
        dst[i] = a->params->engine->backend->real == GQ_F64
                     ? (float)((const double *)a->arena->base)[q->offset + first + i]
                     : ((const float *)a->arena->base)[q->offset + first + i];
    return GQ_OK;
}

/* CLIP is frozen: the other three families, each in a file of its own. */
static gq_status save_arena(const step *x, const gq_arena *arena, const char *kind, gq_error *err)
{
    arena_reader reader = {x->net->params, arena};
    gq_hf_source from = {read_arena, &reader};
    gq_status    s = GQ_OK;

    for (int f = GQ_HF_QFORMER; s == GQ_OK && f < GQ_HF_FAMILIES; f++) {
        char path[GQ_PATH_MAX + 64];
        snprintf(path, sizeof path, "%s/ours/%s.%s.safetensors", x->dir, kind, family_name[f]);
        s = gq_hf_save(x->net->params, (gq_hf_family)f, &from, path, err);
    }
    return s;
}

static gq_status update(step *x, gq_error *err)
{
    gq_params       *p = x->net->params;
    const gq_config *c = &x->net->cfg;
    gq_adamw_opts    o = {c->train.lr, c->train.beta1, c->train.beta2, c->train.eps, c->train.clip};
    gq_status        s = save_arena(x, &p->grad, "grad", err);

    gq_params_adamw(p, &o, 1, x->norm);
    if (s == GQ_OK)
        s = save_arena(x, &p->m, "m", err);
    if (s == GQ_OK)
        s = save_arena(x, &p->v, "v", err);
    return s == GQ_OK ? save_arena(x, &p->weights, "w", err) : s;
}

static gq_status run_step(step *x, gq_error *err)
{
    char      path[GQ_PATH_MAX + 64];
    out_file  out = {0};
    double   *norm;
    gq_status s;

    snprintf(path, sizeof path, "%s/ours", x->dir);
    s = gq_mkdirs(path, err);
    if (s == GQ_OK)
        s = gq_forward(x->h.tape, err);
    if (s != GQ_OK)
        return s;
    norm = put_states(&out, x);
    s = gq_backward(x->h.tape, false, err);
    x->norm = gq_params_grad_norm(x->net->params);
    if (norm)
        *norm = x->norm;
    snprintf(path, sizeof path, "%s/ours/states.safetensors", x->dir);
    if (s == GQ_OK)
        s = write_out(&out, path, err);
    return s == GQ_OK ? update(x, err) : s;
}

static gq_status step_main(const char *config, const char *dir, gq_error *err)
{
    step      x = {.dir = dir};
    gq_status s = open_net(config, dir, GQ_NET_TRAIN, &x.net, err);

    if (s == GQ_OK)
        s = read_batch(&x, err);
    if (s == GQ_OK)
        s = record(&x, err);
    if (s == GQ_OK) {
        s = run_step(&x, err);
        if (s == GQ_OK)
            printf("%s: LM %.9g, MVM %.9g, gradient norm %.9g, backend %s\n", config,
                   gq_scalar(x.h.tape, x.h.lm_loss), gq_scalar(x.h.tape, x.h.mvm_loss), x.norm,
                   x.net->engine->backend->name);
        gq_tape_free(x.h.tape);
    }
    gq_net_close(x.net);
    gq_free(x.frames);
    gq_free(x.keep);
    gq_free(x.ids);
    gq_free(x.nq);
    gq_free(x.na);
    return s;
}

/* ---- decoding -------------------------------------------------------------------------------- */

typedef struct questions {
    gq_net  *net;
    int32_t *ids, *length;
    float   *features;                  /* [P,k,E,V]; NULL: text alone                            */
    int      count, width;              /* prompts; columns of ids                                */
} questions;

static gq_status read_prompts(questions *x, const char *dir, const char *name, gq_error *err)
{
    char            file[96];
    gq_safetensors *st;
    gq_status       s;

    snprintf(file, sizeof file, "prompts.%.64s", name);
    s = open_file(dir, file, &st, err);
    if (s != GQ_OK)
        return s;
    x->ids = read_raw(st, "in.ids", GQ_ST_I32, err);
    x->length = read_raw(st, "in.length", GQ_ST_I32, err);
    if (!x->ids || !x->length) {
        s = GQ_EINPUT;
    } else {
        x->count = (int)gq_st_find(st, "in.ids")->shape[0];
        x->width = (int)gq_st_find(st, "in.ids")->shape[1];
    }
    if (s == GQ_OK && gq_st_find(st, "in.features")) {
        x->features = read_raw(st, "in.features", GQ_ST_F32, err);
        s = x->features ? GQ_OK : GQ_EINPUT;
    }
    gq_safetensors_close(st);
    return s;
}

static gq_status answer_all(questions *x, const gq_decode_opts *o, out_file *out, gq_error *err)
{
    const gq_stllm_config *m = &x->net->model;
    int           frames = x->features ? (int)x->net->cfg.data.frames : 0;
    int64_t       each = (int64_t)frames * gq_clip_tokens(&m->clip) * m->clip.width;
    int32_t      *ids = add(out, "out.ids", GQ_ST_I32, x->count, o->max_new, 0);
    gq_generator *g = NULL;
    gq_status     s = gq_generator_new(x->net->engine, x->net->params, m, ROWS, frames, false, o,
                                       &g, err);

    for (int64_t i = 0; ids && i < (int64_t)x->count * o->max_new; i++)
        ids[i] = -1;
    for (int first = 0; s == GQ_OK && ids && first < x->count; first += ROWS) {
        int       n = x->count - first < ROWS ? x->count - first : ROWS;
        gq_prompt prompt[ROWS];
        gq_answer answer[ROWS] = {0};
        for (int b = 0; b < n; b++) {
            int at = first + b;
            prompt[b] = (gq_prompt){.vision = frames ? x->features + at * each : NULL,
                                    .ids = x->ids + at * x->width,
                                    .n = x->length[at]};
            answer[b].ids = ids + at * o->max_new;
        }
        s = gq_generate(g, prompt, n, answer, NULL, err);
        for (int b = 0; s == GQ_OK && b < n; b++)
            if (answer[b].ended)
                answer[b].ids[answer[b].n] = o->end_id;
    }
    gq_generator_free(g);
    return s;
}

static gq_status decode_main(const char *config, const char *dir, const char *name,
                             const char *result, gq_error *err)
{
    questions x = {0};
    out_file  out = {0};
    char      path[GQ_PATH_MAX + 64];
    gq_status s = open_net(config, dir, GQ_NET_INFER, &x.net, err);

    if (s == GQ_OK)
        s = read_prompts(&x, dir, name, err);
    if (s == GQ_OK) {
        const gq_config *c = &x.net->cfg;
        gq_decode_opts   o = {.max_new = (int)c->decode.max_new_tokens,
                              .beams = (int)c->decode.beams,
                              .length_penalty = c->decode.length_penalty,
                              .early = (gq_early)c->decode.early_stopping,
                              .end_id = (int)c->gpt2.vocab - 1,
                              .bucket = (int)c->prompt.bucket};
        s = answer_all(&x, &o, &out, err);
        snprintf(path, sizeof path, "%s/%s.safetensors", dir, result);
        if (s == GQ_OK)
            s = write_out(&out, path, err);
    }
    gq_net_close(x.net);
    gq_free(x.ids);
    gq_free(x.length);
    gq_free(x.features);
    return s;
}

static const gq_cli_program program = {
    .name = "gifqa-parity",
    .summary = "one step, or decoding, at real sizes, for comparison with another implementation",
    .usage = "step CONFIG DIR [--set KEY=VALUE]...\n"
             "       gifqa-parity decode CONFIG DIR NAME OUT [--set KEY=VALUE]...",
    .examples = "gifqa-parity step configs/stllm_gpt2.yaml scratch",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .least = 3,
    .most = 5,
};

int main(int argc, char **argv)
{
    gq_cli_list rest;
    gq_error    err = {0};
    int         code;

    gq_cli_begin();
    code = gq_cli_parse(&program, argc, argv, &rest);
    if (code == GQ_CLI_GO) {
        gq_status s = GQ_OK;
        if (strcmp(rest.item[0], "step") == 0 && rest.n == 3)
            s = step_main(rest.item[1], rest.item[2], &err);
        else if (strcmp(rest.item[0], "decode") == 0 && rest.n == 5)
            s = decode_main(rest.item[1], rest.item[2], rest.item[3], rest.item[4], &err);
        else
            return gq_cli_end(program.name, gq_cli_usage(program.name, "step or decode"));
        code = s == GQ_OK ? 0 : gq_cli_fail(program.name, &err, false);
    }
    return gq_cli_end(program.name, code);
}
