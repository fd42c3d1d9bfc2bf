#include "train/gifqa.h"

#include <stdio.h>
#include <string.h>

#include "core/io.h"
#include "core/mem.h"
#include "train/ask.h"

_Static_assert(sizeof(int) == sizeof(int32_t), "gifqa_answer.frame is what gq_reply.frame is");

struct gifqa {
    gq_session *session;
    gq_asker   *asker;
    gq_reply    reply; /* of the last question */
    gq_error    err;
};

const char *gifqa_version(void)
{
    return GIFQA_VERSION;
}

const char *gifqa_error(const gifqa *model)
{
    return model ? model->err.text : "there is no model";
}

void gifqa_close(gifqa *model)
{
    if (!model)
        return;
    gq_reply_free(&model->reply);
    gq_asker_close(model->asker);
    gq_session_close(model->session);
    gq_free(model);
}

static gq_status open_model(gifqa *m, const char *path, const gifqa_options *o)
{
    gq_session_opts session = {.threads = o->threads,
                               .which = o->last ? GQ_SESSION_LAST : GQ_SESSION_BEST};
    gq_ask_opts ask = {.beams = o->beams,
                       .evenly = o->evenly != 0,
                       .vocabulary = o->vocabulary,
                       .cache = o->cache,
                       .cache_bytes = (uint64_t)(o->cache_mib ? o->cache_mib : GQ_CACHE_MIB) << 20};
    gq_status   s;

    if (!path || o->threads < 0 || o->beams < 0 || o->cache_mib < 0)
        return gq_fail(&m->err, GQ_EUSAGE,
                       "gifqa_open: a path is needed, threads, beams and cache_mib are 0 or more");
    s = gq_session_open(path, &session, &m->session, &m->err);
    return s == GQ_OK ? gq_asker_open(m->session, &ask, &m->asker, &m->err) : s;
}

int gifqa_open(const char *path, const gifqa_options *options, gifqa **model, char *error,
               size_t error_size)
{
    static const gifqa_options defaults;
    gifqa                     *m = gq_calloc(1, sizeof *m);
    gq_status                  s;

    *model = NULL;
    if (!m) {
        if (error && error_size)
            snprintf(error, error_size, "out of memory");
        return GIFQA_ERESOURCE;
    }
    s = open_model(m, path, options ? options : &defaults);
    if (error && error_size)
        snprintf(error, error_size, "%s", m->err.text);
    if (s != GQ_OK) {
        gifqa_close(m);
        return gq_exit_code(s);
    }
    *model = m;
    return GIFQA_OK;
}

static gq_status ask(gifqa *m, const gq_gif_bytes *gif, const char *question, gifqa_answer *out)
{
    double    start = gq_now();
    gq_status s = gq_asker_ask(m->asker, gif, question, &m->reply, &m->err);

    if (s != GQ_OK)
        return s;
    *out = (gifqa_answer){.text = m->reply.answer,
                          .confidence = m->reply.confidence,
                          .complete = m->reply.ended,
                          .frame = m->reply.frame,
                          .frames = m->reply.k,
                          .gif_frames = (int)m->reply.frames,
                          .seconds = gq_now() - start};
    return GQ_OK;
}

/* What every question starts with: nothing is left of the one before. */
static gq_status ready(gifqa *m, const void *gif, const char *question, gifqa_answer *answer)
{
    gq_reply_free(&m->reply);
    gq_error_clear(&m->err);
    if (!gif || !question || !answer)
        return gq_fail(&m->err, GQ_EUSAGE,
                       "a GIF, a question and a place for the answer are needed");
    memset(answer, 0, sizeof *answer);
    return GQ_OK;
}

int gifqa_ask_bytes(gifqa *model, const void *gif, size_t bytes, const char *question,
                    gifqa_answer *answer)
{
    gq_gif_bytes in = {gif, bytes, "GIF in memory"};
    gq_status    s;

    if (!model)
        return GIFQA_EUSAGE;
    s = ready(model, gif, question, answer);
    return gq_exit_code(s == GQ_OK ? ask(model, &in, question, answer) : s);
}

int gifqa_ask(gifqa *model, const char *gif_path, const char *question, gifqa_answer *answer)
{
    gq_bytes  b = {0};
    gq_status s;

    if (!model)
        return GIFQA_EUSAGE;
    s = ready(model, gif_path, question, answer);
    if (s == GQ_OK)
        s = gq_gif_read(gif_path, model->session->cfg.data.limits.bytes, &b, &model->err);
    if (s == GQ_OK) {
        gq_gif_bytes in = {b.data, b.size, gif_path};
        s = ask(model, &in, question, answer);
    }
    gq_bytes_free(&b);
    return gq_exit_code(s);
}
