/* Whose turn it is: a queue for each host, with its pause between requests, and those that wait for
 * their next attempt. */
#include <math.h>
#include <string.h>

#include "core/mem.h"
#include "data/fetch_private.h"

typedef struct host {
    uint32_t first, last;               /* of its queue; NONE: empty                              */
    uint32_t in_flight;
    uint32_t losses;                    /* in a row                                               */
    double   next_s;                    /* not before                                             */
    bool     given_up, live;            /* live: in the list of those with a queue                */
} host;

struct gq_fetch_queue {
    const gq_fetch_opts *o;
    gq_fetch_list       *l;
    gq_names            *names;         /* -> host + 1                                            */
    host                *host;          /* [hosts]                                                */
    uint32_t             hosts, host_room;
    uint32_t            *live;          /* [lives] hosts with a queue                             */
    uint32_t             lives, turn;   /* turn: who is looked at first                           */
    uint32_t            *late;          /* [lates] jobs that wait                                 */
    uint32_t             lates, late_room;
    uint32_t             in_flight;
    uint64_t             given_up;
};

gq_fetch_queue *gq__queue_new(const gq_fetch_opts *o, gq_fetch_list *l)
{
    gq_fetch_queue *q = gq_calloc(1, sizeof *q);
    if (!q)
        return NULL;
    q->o = o;
    q->l = l;
    if (!(q->names = gq_names_new())) {
        gq_free(q);
        return NULL;
    }
    return q;
}

void gq__queue_free(gq_fetch_queue *q)
{
    if (!q)
        return;
    gq_names_free(q->names);
    gq_free(q->host);
    gq_free(q->live);
    gq_free(q->late);
    gq_free(q);
}

static gq_status no_memory(const gq_fetch_queue *q, gq_error *err)
{
    return gq_fail(err, GQ_ENOMEM, "no memory for the queues of %u hosts", q->hosts);
}

static gq_status host_of(gq_fetch_queue *q, const char *name, uint32_t *out, gq_error *err)
{
    if (q->hosts == q->host_room) {
        uint32_t  room = q->host_room ? 2 * q->host_room : 64;
        host     *more = gq_realloc(q->host, room, sizeof *more);
        uint32_t *live = more ? gq_realloc(q->live, room, sizeof *live) : NULL;
        if (more)
            q->host = more;
        if (!live)
            return no_memory(q, err);
        q->live = live;
        q->host_room = room;
    }
    uint32_t *number = gq_names_add(q->names, name);
    if (!number)
        return no_memory(q, err);
    if (!*number) {
        q->host[q->hosts] = (host){.first = GQ_FETCH_NONE, .last = GQ_FETCH_NONE};
        *number = ++q->hosts;
    }
    *out = *number - 1;
    return GQ_OK;
}

static void put(gq_fetch_queue *q, uint32_t job, bool first)
{
    uint32_t at = q->l->job[job].host;
    host    *h = &q->host[at];
    if (h->given_up)
        return;
    q->l->job[job].next = first ? h->first : GQ_FETCH_NONE;
    if (h->first == GQ_FETCH_NONE)
        h->first = h->last = job;
    else if (first)
        h->first = job;
    else
        h->last = q->l->job[h->last].next = job;
    if (!h->live)
        q->live[q->lives++] = at;
    h->live = true;
}

gq_status gq__queue_add(gq_fetch_queue *q, uint32_t job, const char *name, bool first,
                        gq_error *err)
{
    gq_status s = host_of(q, name, &q->l->job[job].host, err);
    if (s == GQ_OK)
        put(q, job, first);
    return s;
}

gq_status gq__queue_later(gq_fetch_queue *q, uint32_t job, double due, gq_error *err)
{
    if (q->host[q->l->job[job].host].given_up)
        return GQ_OK;
    if (q->lates == q->late_room) {
        uint32_t  room = q->late_room ? 2 * q->late_room : 256;
        uint32_t *more = gq_realloc(q->late, room, sizeof *more);
        if (!more)
            return no_memory(q, err);
        q->late = more;
        q->late_room = room;
    }
    q->l->job[job].due = due;
    q->late[q->lates++] = job;
    return GQ_OK;
}

/* Those whose time has come, to their queues. */
static void wake_up(gq_fetch_queue *q, double now, double *wake)
{
    uint32_t keep = 0;
    for (uint32_t k = 0; k < q->lates; k++) {
        uint32_t job = q->late[k];
        if (q->l->job[job].due <= now) {
            put(q, job, true);
        } else {
            *wake = fmin(*wake, q->l->job[job].due);
            q->late[keep++] = job;
        }
    }
    q->lates = keep;
}

uint32_t gq__queue_take(gq_fetch_queue *q, double now, double *wake)
{
    *wake = INFINITY;
    wake_up(q, now, wake);
    if (q->in_flight == (uint32_t)q->o->connections)
        return GQ_FETCH_NONE;
    for (uint32_t k = 0; k < q->lives; k++) {
        uint32_t at = (q->turn + k) % q->lives, job;
        host    *h = &q->host[q->live[at]];
        if (h->in_flight == (uint32_t)q->o->per_host)
            continue;
        if (h->next_s > now) {
            *wake = fmin(*wake, h->next_s);
            continue;
        }
        job = h->first;
        h->first = q->l->job[job].next;
        h->in_flight++;
        h->next_s = now + q->o->interval_ms / 1000.0;
        q->in_flight++;
        q->turn = at + 1;
        if (h->first == GQ_FETCH_NONE) {
            h->live = false;
            q->live[at] = q->live[--q->lives];
        }
        return job;
    }
    return GQ_FETCH_NONE;
}

static void give_up(gq_fetch_queue *q, uint32_t at)
{
    host *h = &q->host[at];
    if (h->given_up)
        return;
    h->given_up = true;
    h->first = h->last = GQ_FETCH_NONE;
    q->given_up++;
    for (uint32_t k = 0; k < q->lives && h->live; k++)
        if (q->live[k] == at) {
            q->live[k] = q->live[--q->lives];
            h->live = false;
        }
    uint32_t keep = 0;
    for (uint32_t k = 0; k < q->lates; k++)
        if (q->l->job[q->late[k]].host != at)
            q->late[keep++] = q->late[k];
    q->lates = keep;
}

void gq__queue_done(gq_fetch_queue *q, uint32_t job, bool lost)
{
    uint32_t at = q->l->job[job].host;
    host    *h = &q->host[at];
    h->in_flight--;
    q->in_flight--;
    h->losses = lost ? h->losses + 1 : 0;
    if (h->losses == (uint32_t)q->o->losses)
        give_up(q, at);
}

void gq__queue_pause(gq_fetch_queue *q, uint32_t job, double until)
{
    host *h = &q->host[q->l->job[job].host];
    h->next_s = fmax(h->next_s, until);
}

void gq__queue_give_up(gq_fetch_queue *q, uint32_t job)
{
    give_up(q, q->l->job[job].host);
}

bool gq__queue_empty(const gq_fetch_queue *q)
{
    return !q->in_flight && !q->lives && !q->lates;
}

uint64_t gq__queue_given_up(const gq_fetch_queue *q)
{
    return q->given_up;
}
