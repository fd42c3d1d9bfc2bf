/* The way of URLs from a list to files: what is known already, whose turn it is, what the answer
 * means, what is written. One thread; libcurl has the connections side by side. */
#include "data/fetch.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/mem.h"
#include "core/philox.h"
#include "data/fetch_private.h"

typedef struct fetch {
    const gq_fetch_opts *o;
    gq_fetch_report     *r;
    gq_fetch_list        list;
    gq_fetch_log        *log;
    gq_fetch_queue      *queue;
    gq_http             *http;
    gq_ticker            tick;
    uint64_t             done;          /* URLs that this call need not look at again             */
    uint64_t             decided;       /* of them, with a final fate from this call              */
    uint64_t             dead;          /* of all done                                            */
} fetch;

/* ---- options --------------------------------------------------------------------------------- */

static gq_status check_int(const char *name, int value, int lo, int hi, gq_error *err)
{
    return value >= lo && value <= hi
               ? GQ_OK
               : gq_fail(err, GQ_EUSAGE, "%s is %d, not %d to %d", name, value, lo, hi);
}

static gq_status check_contact(const char *text, gq_error *err)
{
    if (text && strlen(text) > 80)
        return gq_fail(err, GQ_EUSAGE, "the contact has more than 80 bytes");
    for (const char *p = text; p && *p; p++)
        if (*p < ' ' || *p > '~' || *p == '(' || *p == ')' || *p == '\\')
            return gq_fail(err, GQ_EUSAGE, "the contact is not plain text without brackets");
    return GQ_OK;
}

static gq_status check_placeholders(const gq_fetch_opts *o, gq_error *err)
{
    for (size_t k = 0; k < o->placeholders; k++)
        if (strlen(o->placeholder[k]) != 64 ||
            strspn(o->placeholder[k], "0123456789abcdefABCDEF") != 64)
            return gq_fail(err, GQ_EUSAGE, "'%s' is no SHA-256 of 64 hexadecimal digits",
                           o->placeholder[k]);
    return GQ_OK;
}

static gq_status check(const gq_fetch_opts *o, gq_error *err)
{
    enum { DAY_MS = 86400000 };
    const struct { const char *name; int value, lo, hi; } is[] = {
        {"connections", o->connections, 1, 64}, {"per_host", o->per_host, 1, 64},
        {"interval_ms", o->interval_ms, 0, DAY_MS}, {"tries", o->tries, 1, 100},
        {"backoff_ms", o->backoff_ms, 1, DAY_MS}, {"backoff_max_ms", o->backoff_max_ms, 1, DAY_MS},
        {"patience_ms", o->patience_ms, 0, DAY_MS}, {"losses", o->losses, 1, 1000000},
        {"redirects", o->redirects, 0, 50}, {"connect_ms", o->connect_ms, 1, DAY_MS},
        {"total_ms", o->total_ms, 1, DAY_MS}, {"slow_ms", o->slow_ms, 1, DAY_MS},
        {"slow_bytes", o->slow_bytes, 0, 1 << 30}};
    gq_status s = GQ_OK;
    for (size_t k = 0; s == GQ_OK && k < sizeof is / sizeof *is; k++)
        s = check_int(is[k].name, is[k].value, is[k].lo, is[k].hi, err);
    if (s == GQ_OK && (o->limits.max_bytes < 1 || o->limits.max_bytes > 1u << 30))
        s = gq_fail(err, GQ_EUSAGE, "limits.max_bytes is not 1 byte to 1 GiB");
    if (s == GQ_OK)
        s = check_contact(o->contact, err);
    return s == GQ_OK ? check_placeholders(o, err) : s;
}

/* ---- fates ----------------------------------------------------------------------------------- */

static gq_status settle(fetch *f, uint32_t job, gq_fetch_fate fate, int status, const char *note,
                        gq_error *err)
{
    gq_fetch_job *j = &f->list.job[job];
    j->fate = fate;
    if (fate != GQ_FETCH_ALIVE)
        j->bytes = 0;
    f->done++;
    f->decided += gq_fetch_fate_final(fate);
    f->dead += fate != GQ_FETCH_ALIVE && gq_fetch_fate_final(fate);
    gq_free(j->at);
    j->at = NULL;
    return gq__fetch_log_put(f->log, &f->list, job, status, note, err);
}

static gq_status keep_gif(fetch *f, const gq_answer *a, const gq_verdict *v, gq_error *err)
{
    gq_fetch_job *j = &f->list.job[a->job];
    char         *path = gq_path(f->o->out, gq__fetch_name(&f->list, a->job));
    gq_status     s = path ? gq_write_file(path, a->body, a->size, err)
                           : gq_fail(err, GQ_ENOMEM, "no memory for a path");
    gq_free(path);
    if (s != GQ_OK)
        return s;
    memcpy(j->sha256, v->sha256, sizeof j->sha256);
    j->bytes = a->size;
    f->r->bytes += a->size;
    return settle(f, a->job, GQ_FETCH_ALIVE, a->status, v->note, err);
}

/* Seconds: doubles with every try, by chance between half and all of it. */
static double backoff(const fetch *f, uint32_t job)
{
    int    n = f->list.job[job].tries - 1;
    double ms = fmin(f->o->backoff_ms * exp2(n), f->o->backoff_max_ms);
    float  u = gq_u01(gq_philox_at(f->o->seed, job, GQ_RNG_FETCH, (uint32_t)n));
    return ms / 1000 * (0.5 + 0.5 * (double)u);
}

static gq_status retry(fetch *f, const gq_answer *a, const gq_verdict *v, gq_error *err)
{
    gq_fetch_job *j = &f->list.job[a->job];
    bool          asks = a->end == GQ_HTTP_WHOLE && (a->status == 429 || a->status == 503);
    double        wait = backoff(f, a->job);
    char          note[GQ_FETCH_NOTE + 64];

    snprintf(note, sizeof note, "%s", v->note);
    snprintf(f->r->last_note, sizeof f->r->last_note, "%s: %s", gq__fetch_url(&f->list, a->job),
             note);
    if (asks && a->retry_after_s * 1000 > f->o->patience_ms) {
        snprintf(note, sizeof note, "%s, come back in %.0f s", v->note, a->retry_after_s);
        gq__queue_give_up(f->queue, a->job);
        return settle(f, a->job, GQ_FETCH_FAILED, a->status, note, err);
    }
    wait = asks ? fmax(wait, a->retry_after_s) : wait;
    if (asks)
        gq__queue_pause(f->queue, a->job, gq_now() + wait);
    if (j->tries >= f->o->tries)
        return settle(f, a->job, v->fate, a->status, note, err);
    f->r->retries++;
    return gq__queue_later(f->queue, a->job, gq_now() + wait, err);
}

/* ---- redirects ------------------------------------------------------------------------------- */

static gq_status hop(fetch *f, const gq_answer *a, gq_error *err)
{
    gq_fetch_job *j = &f->list.job[a->job];
    char          host[GQ_FETCH_HOST], note[GQ_FETCH_NOTE];
    const char   *why;

    if (j->hops == f->o->redirects) {
        snprintf(note, sizeof note, "more than %d redirects", f->o->redirects);
        return settle(f, a->job, GQ_FETCH_REDIRECT, a->status, note, err);
    }
    if (strlen(a->location) > GQ_FETCH_URL)
        return settle(f, a->job, GQ_FETCH_REDIRECT, a->status, "redirects to too long a URL",
                      err);
    if ((why = gq__http_host(f->http, a->location, host))) {
        snprintf(note, sizeof note, "redirects to %.100s: %s", a->location, why);
        return settle(f, a->job, GQ_FETCH_BARRED, a->status, note, err);
    }
    char *at = gq_strdup(a->location);
    if (!at)
        return gq_fail(err, GQ_ENOMEM, "no memory for a redirect");
    gq_free(j->at);
    j->at = at;
    j->hops++;
    j->tries--;                                  /* the same attempt goes on */
    f->r->hops++;
    return gq__queue_add(f->queue, a->job, host, true, err);
}

static gq_status answer(fetch *f, const gq_answer *a, gq_error *err)
{
    gq_verdict v;
    gq_status  s = gq__fetch_judge(f->o, gq__fetch_name(&f->list, a->job), a, &v, err);
    if (s != GQ_OK)
        return s;
    gq__queue_done(f->queue, a->job, v.next == GQ_NEXT_RETRY);
    if (v.next == GQ_NEXT_RETRY)
        return retry(f, a, &v, err);
    if (v.next == GQ_NEXT_HOP)
        return hop(f, a, err);
    return v.fate == GQ_FETCH_ALIVE ? keep_gif(f, a, &v, err)
                                    : settle(f, a->job, v.fate, a->status, v.note, err);
}

/* ---- what is there already ------------------------------------------------------------------- */

/* A GIF without a line in the record: of a call that was killed in between, or from elsewhere. */
static gq_status adopt(fetch *f, uint32_t job, const char *path, gq_error *err)
{
    gq_fetch_job *j = &f->list.job[job];
    gq_verdict    v;
    gq_bytes      b;
    if (gq_gif_read(path, f->o->limits.max_bytes, &b, NULL) != GQ_OK)
        return GQ_OK;                            /* fetched again, over it */
    gq_status s = gq__fetch_judge_gif(f->o, path, b.data, b.size, false, &v, err);
    j->bytes = b.size;
    gq_bytes_free(&b);
    if (s != GQ_OK || v.next != GQ_NEXT_FATE || v.fate != GQ_FETCH_ALIVE)
        return s;
    memcpy(j->sha256, v.sha256, sizeof j->sha256);
    f->r->adopted++;
    return settle(f, job, GQ_FETCH_ALIVE, 0, "was there", err);
}

static gq_status look_at(fetch *f, uint32_t job, gq_error *err)
{
    gq_fetch_job *j = &f->list.job[job];
    uint64_t      bytes = 0;
    int64_t       changed;
    bool          there;
    gq_status     s = GQ_OK;
    char         *path = gq_path(f->o->out, gq__fetch_name(&f->list, job));
    if (!path)
        return gq_fail(err, GQ_ENOMEM, "no memory for a path");
    there = gq_file_age(path, &bytes, &changed);
    if (j->fate == GQ_FETCH_ALIVE && (!there || bytes != j->bytes))
        j->fate = GQ_FETCH_PENDING;              /* lost or damaged since */
    else if (!j->known && there)
        s = adopt(f, job, path, err);
    gq_free(path);
    return s;
}

static gq_status stopped(const fetch *f, gq_error *err)
{
    return gq_fail(err, GQ_ESTOPPED, "%s: stopped; %llu of %llu URLs are done, run it again for "
                   "the others", f->o->out, (unsigned long long)f->done,
                   (unsigned long long)f->r->urls);
}

static gq_status plan_one(fetch *f, uint32_t job, uint64_t *asked, gq_error *err)
{
    gq_fetch_job *j = &f->list.job[job];
    char          host[GQ_FETCH_HOST];
    const char   *why;
    gq_status     s = look_at(f, job, err);
    if (s != GQ_OK || (gq_fetch_fate_final(j->fate) && !j->known))
        return s;                                /* adopted */
    if (j->fate == GQ_FETCH_ALIVE || (gq_fetch_fate_final(j->fate) && !f->o->retry_dead)) {
        f->done++;
        f->r->known++;
        f->dead += j->fate != GQ_FETCH_ALIVE;
        return GQ_OK;
    }
    if (f->o->most && *asked == f->o->most)
        return GQ_OK;
    ++*asked;
    why = j->odd ? "this is no URL" : gq__http_host(f->http, gq__fetch_url(&f->list, job), host);
    if (why)
        return settle(f, job, GQ_FETCH_BARRED, 0, why, err);
    return gq__queue_add(f->queue, job, host, false, err);
}

static gq_status plan(fetch *f, gq_error *err)
{
    uint64_t  asked = 0;
    gq_status s = GQ_OK;
    for (uint32_t k = 0; s == GQ_OK && k < f->list.jobs; k++) {
        if (!f->list.job[k].listed)
            continue;
        s = plan_one(f, k, &asked, err);
        if (s == GQ_OK && !gq_tick(&f->tick, f->done, f->dead))
            s = stopped(f, err);
    }
    f->tick.total = f->r->known + f->r->adopted + asked;
    f->tick.skipped = f->done;
    f->tick.start_s = 0;                         /* the rate is that of the network */
    return s;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static gq_status start_all(fetch *f, double *wake, gq_error *err)
{
    gq_status s = GQ_OK;
    uint32_t  job;
    while (s == GQ_OK && (job = gq__queue_take(f->queue, gq_now(), wake)) != GQ_FETCH_NONE) {
        gq_fetch_job *j = &f->list.job[job];
        f->r->requests++;
        j->attempts++;
        j->tries++;
        s = gq__http_start(f->http, job, j->at ? j->at : gq__fetch_url(&f->list, job), err);
    }
    return s;
}

static gq_status run(fetch *f, gq_error *err)
{
    gq_answer a;
    gq_status s = plan(f, err);
    while (s == GQ_OK && !gq__queue_empty(f->queue)) {
        double wake;
        s = start_all(f, &wake, err);
        if (s == GQ_OK)
            s = gq__http_wait(f->http, wake - gq_now(), err);
        while (s == GQ_OK && gq__http_next(f->http, &a))
            s = answer(f, &a, err);
        if (s == GQ_OK && !gq_tick(&f->tick, f->done, f->dead))
            s = stopped(f, err);
    }
    if (s == GQ_OK && f->r->requests && !f->decided && !f->r->known)
        s = gq_fail(err, GQ_EINPUT, "none of %llu requests had an answer; the last, %s",
                    (unsigned long long)f->r->requests, f->r->last_note);
    return s;
}

/* Alive ones that have their bytes in common: perhaps the picture of a deleted one. */
static gq_status count_same(fetch *f, gq_error *err)
{
    gq_names *sums = gq_names_new();
    char      hex[65];
    gq_status s = sums ? GQ_OK : gq_fail(err, GQ_ENOMEM, "no memory for hashes");
    for (uint32_t k = 0; s == GQ_OK && k < f->list.jobs; k++) {
        const gq_fetch_job *j = &f->list.job[k];
        if (!j->listed || j->fate != GQ_FETCH_ALIVE)
            continue;
        gq_hex(j->sha256, sizeof j->sha256, hex);
        uint32_t *n = gq_names_add(sums, hex);
        if (!n) {
            s = gq_fail(err, GQ_ENOMEM, "no memory for hashes");
        } else if (++*n > 1) {
            f->r->same++;
            if (*n > f->r->most_same) {
                f->r->most_same = *n;
                memcpy(f->r->same_sha256, hex, sizeof hex);
            }
        }
    }
    gq_names_free(sums);
    return s;
}

static gq_status open_all(fetch *f, gq_error *err)
{
    gq_status s = gq_sweep(f->o->out, NULL, err);
    if (s == GQ_OK)
        s = gq__fetch_log_open(f->o->out, &f->list, &f->log, err);
    if (s == GQ_OK)
        s = gq__fetch_list_read(f->o, &f->list, f->r, err);
    if (s == GQ_OK && !(f->queue = gq__queue_new(f->o, &f->list)))
        s = gq_fail(err, GQ_ENOMEM, "no memory for queues");
    if (s == GQ_OK)
        s = gq__http_open(f->o, &f->http, err);
    f->tick = (gq_ticker){.fn = f->o->progress, .ctx = f->o->progress_ctx, .total = f->r->urls};
    return s;
}

static gq_status locked(fetch *f, gq_error *err)
{
    double    begin = gq_now();
    gq_error  late = {0};
    gq_status s = open_all(f, err), closed;
    if (s == GQ_OK)
        s = run(f, err);
    gq__http_close(f->http);
    closed = gq__fetch_log_close(f->log, &late);
    if (s == GQ_OK && closed != GQ_OK)
        s = gq_fail(err, closed, "%s", late.text);
    for (uint32_t k = 0; k < f->list.jobs; k++)
        f->r->fate[f->list.job[k].fate] += f->list.job[k].listed;
    if (f->queue)
        f->r->given_up = gq__queue_given_up(f->queue);
    if (s == GQ_OK)
        s = count_same(f, err);
    gq__queue_free(f->queue);
    gq__fetch_list_free(&f->list);
    f->r->seconds = gq_now() - begin;
    return s;
}

gq_status gq_fetch_gifs(const gq_fetch_opts *o, gq_fetch_report *report, gq_error *err)
{
    fetch     f = {.o = o, .r = report};
    gq_lock  *lock = NULL;
    char     *path;
    gq_status s;

    memset(report, 0, sizeof *report);
    s = check(o, err);
    if (s == GQ_OK)
        s = gq_mkdirs(o->out, err);
    if (s != GQ_OK)
        return s;
    path = gq_path(o->out, ".lock");
    s = path ? gq_lock_take(path, &lock, err) : gq_fail(err, GQ_ENOMEM, "no memory for a path");
    gq_free(path);
    if (s == GQ_OK)
        s = locked(&f, err);
    gq_lock_release(lock);
    return s;
}
