/* gifqa-ask - a GIF, a question, an answer. */
#include <math.h>
#include <string.h>

#include "core/io.h"
#include "tools/cli_cache.h"
#include "tools/cli_cut.h"
#include "tools/cli_model.h"
#include "train/ask.h"

static gq_ask_opts  ask;
static gq_cli_model model;
static gq_cli_cache cache = GQ_CLI_CACHE;
static gq_cli_cut   cut = GQ_CLI_CUT;
static bool         json;

static const gq_cli_option options[] = {
    GQ_CLI_MODEL_BEAMS(model),
    {"evenly", 0, GQ_CLI_FLAG, &ask.evenly, NULL, "take frames evenly, without CLIP-Cut", 0, 0},
    GQ_CLI_CUT_OPTIONS(cut),
    {"description", 0, GQ_CLI_TEXT, &ask.description, "TEXT", NULL, 0, 0},
    {"weights", 0, GQ_CLI_TEXT, &ask.clip, "DIR",
     "a CLIP for CLIP-Cut when the model has no text tower; or random:SEED", 0, 0},
    {"vocabulary", 0, GQ_CLI_TEXT, &ask.vocabulary, "DIR",
     "CLIP's vocabulary, when it is not beside the weights", 0, 0},
    GQ_CLI_CACHE_OPTIONS(cache),
    GQ_CLI_MODEL_REST(model),
    {"json", 0, GQ_CLI_FLAG, &json, NULL, "answer, confidence, frames, seconds as one object", 0,
     0},
};

static const gq_cli_program program = {
    .name = "gifqa-ask",
    .summary = "answers a question about a GIF",
    .usage = "[options] RUN|EXPORT GIF QUESTION",
    .examples = "gifqa-ask runs/nano cat.gif \"what is it licking?\"\n"
                "gifqa-ask exports/nano cat.gif \"what is it licking?\" --beams 4 --json",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .least = 3,
    .most = GQ_CLI_LIST_MAX,            /* the words of a question without quotes                 */
    .notes = "\nConfidence is the product of the probabilities of the answer's tokens.\n"
             "Exit codes: 0 answered, 2 usage, 3 configuration, 4 GIF, 5 weights or vocabulary, 6 "
             "memory.",
};

typedef struct work {
    gq_session *session;
    gq_asker   *asker;
    gq_bytes    gif;
    gq_reply    reply;
    double      open;
} work;

/* A missing GIF is found first, because weights take long to read. */
static gq_status prepare(work *w, const char *path, const char *gif, gq_error *err)
{
    double    start = gq_now();
    gq_status s = GQ_OK;

    if (gq_is_file(path))
        return gq_fail(err, GQ_EINPUT, "%s: is a file; RUN comes first, then the GIF", path);
    if (gq_is_dir(path) && gq_is_dir(gif))
        return gq_fail(err, GQ_EINPUT, "%s: is a directory, not a GIF", gif);
    if (gq_is_dir(path) && !gq_is_file(gif))
        return gq_fail(err, GQ_EINPUT, "%s: there is no such GIF", gif);
    s = gq_cli_cut_set(&cut, &model.set, err);
    if (s == GQ_OK)
        s = gq_cli_open_model(&model, path, &w->session, err);
    if (s == GQ_OK)
        fprintf(stderr, "%s: runs on %s\n", program.name, w->session->net->device);
    if (s == GQ_OK)
        s = gq_gif_read(gif, w->session->cfg.data.limits.bytes, &w->gif, err);
    if (s != GQ_OK)
        return s;
    ask.cache = gq_cli_cache_dir(&cache);
    ask.cache_bytes = gq_cli_cache_bytes(&cache);
    s = gq_asker_open(w->session, &ask, &w->asker, err);
    w->open = gq_now() - start;
    if (s == GQ_EWEIGHTS && !ask.evenly)
        gq_context(
            err,
            "CLIP-Cut chooses the frames (--vocabulary DIR names CLIP's vocabulary, --evenly does "
            "without)");
    return s;
}

static void warn(const work *w, const char *gif)
{
    if (*w->session->note)
        gq_cli_warn(program.name, "%s", w->session->note);
    if (ask.description)
        gq_cli_cut_warn(program.name);
    if (!w->reply.retrieved && gq_cli_cut_given(&cut))
        gq_cli_warn(program.name,
                    "--mode and --apart are CLIP-Cut's; this model has no CLIP with a text tower, "
                    "and the frames were taken evenly");
    if (w->reply.cut)
        gq_cli_warn(
            program.name,
            "the question is longer than prompt.max_question_tokens; its start was left out");
    if (w->reply.flags & (GQ_GIF_TRUNCATED | GQ_GIF_DAMAGED))
        gq_cli_warn(program.name, "%s: the file is %s; only what is there was read", gif,
                    w->reply.flags & GQ_GIF_DAMAGED ? "damaged" : "cut short");
    if (w->reply.flags & GQ_GIF_FRAME_LIMIT)
        gq_cli_warn(program.name, "%s: only the first %u frames were read (data.limits.frames)",
                    gif, w->reply.frames);
    if (ask.clip && strncmp(ask.clip, "random", 6) == 0 && w->reply.retrieved)
        gq_cli_warn(program.name, "random CLIP weights: the choice of frames means nothing");
    gq_cli_cache_warn(program.name, gq_asker_note(w->asker));
}

static json_t *seconds_object(const work *w)
{
    const gq_ask_seconds *t = &w->reply.seconds;
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f}", "open", w->open, "decode", t->decode,
                     "preprocess", t->preprocess, "retrieve", t->retrieve, "vision", t->vision,
                     "answer", t->answer);
}

static json_t *cut_object(const work *w)
{
    const gq_config *c = &w->session->net->cfg;
    return json_pack("{s:s, s:I, s:o}", "mode", gq_cli_cut_mode(c->clipcut.mode), "apart",
                     (json_int_t)c->clipcut.apart, "description",
                     ask.description ? gq_cli_string(ask.description) : json_null());
}

static gq_status print_json(const work *w, const char *const *arg, gq_error *err)
{
    const gq_reply *r = &w->reply;
    json_t *frames = json_array(), *distances = r->retrieved ? json_array() : json_null(), *o;

    for (int i = 0; i < r->k; i++) {
        json_array_append_new(frames, json_integer(r->frame[i]));
        if (r->retrieved)
            json_array_append_new(distances, json_real(r->distance[i]));
    }
    o = json_pack("{s:b, s:o, s:f, s:b, s:i, s:o, s:o, s:s, s:s?, s:o, s:o, s:{s:I, s:I, s:I}, "
                  "s:I, s:o}",
                  "ok", 1, "answer", gq_cli_string(r->answer), "confidence", r->confidence, "ended",
                  r->ended, "tokens", r->tokens, "gif", gq_cli_string(arg[1]), "question",
                  gq_cli_string(arg[2]), "chosen_by", r->retrieved ? "clipcut" : "evenly",
                  "embeddings", r->retrieved ? gq_cli_origin(r->origin) : NULL, "frames", frames,
                  "distances", distances, "of", "frames", (json_int_t)r->frames, "width",
                  (json_int_t)r->width, "height", (json_int_t)r->height, "step",
                  (json_int_t)w->session->step, "seconds", seconds_object(w));
    if (o && r->retrieved)
        json_object_set_new(o, "clipcut", cut_object(w));
    return gq_cli_json(o, err);
}

static const char *how(const work *w)
{
    static const char *const text[] = {
        [GQ_CFG_CUT_CLIP] = "nearest to the question (CLIP-Cut)",
        [GQ_CFG_CUT_UNIFORM] = "evenly spread (CLIP-Cut)",
        [GQ_CFG_CUT_MIX] = "half evenly spread, half nearest to the question (CLIP-Cut)"};

    return w->reply.retrieved ? text[w->session->net->cfg.clipcut.mode] : "evenly spread";
}

static void print_text(const work *w)
{
    const gq_reply       *r = &w->reply;
    const gq_ask_seconds *t = &r->seconds;

    gq_cli_show(stdout, *r->answer ? r->answer : "(an empty answer)");
    printf("\n\nconfidence  %.3f%s\nframes     ", r->confidence,
           r->ended ? "" : "  (cut at decode.max_new_tokens)");
    for (int i = 0; i < r->k; i++)
        printf(" %d", r->frame[i]);
    printf("  of %u, %s\nseconds     decode %.3f, preprocess %.3f, ", r->frames,
           how(w), t->decode, t->preprocess);
    if (r->retrieved)
        printf("choose %.3f%s, ", t->retrieve, r->origin == GQ_FROM_DISK ? " (GIF known)" : "");
    printf("vision and prefill %.3f, answer %.3f; opening the model %.3f\n", t->vision, t->answer,
           w->open);
}

static int run(const char *const *arg)
{
    static work w;
    gq_error    err = {0};
    gq_status   s = prepare(&w, arg[0], arg[1], &err);

    if (s == GQ_OK) {
        gq_gif_bytes gif = {w.gif.data, w.gif.size, arg[1]};
        s = gq_asker_ask(w.asker, &gif, arg[2], &w.reply, &err);
    }
    if (s == GQ_OK) {
        warn(&w, arg[1]);
        if (json)
            s = print_json(&w, arg, &err);
        else
            print_text(&w);
    }
    gq_reply_free(&w.reply);
    gq_asker_close(w.asker);
    gq_session_close(w.session);
    gq_bytes_free(&w.gif);
    return s == GQ_OK ? 0 : gq_cli_fail(program.name, &err, json);
}

int main(int argc, char **argv)
{
    gq_cli_list rest;
    int         code;

    gq_cli_begin();
    code = gq_cli_parse(&program, argc, argv, &rest);
    if (code == GQ_CLI_GO && rest.n > 3)
        code = gq_cli_usage(program.name, "%zu arguments instead of 3: put the question in quotes",
                            rest.n);
    if (code == GQ_CLI_GO && !rest.item[2][strspn(rest.item[2], " \t\r\n")])
        code = gq_cli_usage(program.name, "the question is empty");
    if (code == GQ_CLI_GO && ask.evenly && (gq_cli_cut_given(&cut) || ask.description))
        code = gq_cli_usage(program.name, "--evenly does without CLIP-Cut: --mode, --apart and "
                                          "--description are of no use with it");
    if (code == GQ_CLI_GO)
        code = run(rest.item);
    return gq_cli_end(program.name, code);
}
