/* fetch_private.h - what the files data/fetch*.c share.
 *
 * Invariants: a job is one URL and is known by its index; it is in exactly one place: with a final
 * fate, in the queue of a host, waiting for its next attempt, or in flight; or left alone, when its
 * host was given up. Times are seconds of the monotonic clock.
 */
#ifndef GIFQA_DATA_FETCH_PRIVATE_H
#define GIFQA_DATA_FETCH_PRIVATE_H

#include <sys/socket.h>

#include "core/io.h"
#include "data/fetch.h"
#include "data/names.h"

enum {
    GQ_FETCH_URL  = 2048,               /* bytes                                                  */
    GQ_FETCH_NAME = 200,                /* bytes of a file's name                                 */
    GQ_FETCH_HOST = 256,                /* "example.org:80"                                       */
    GQ_FETCH_NOTE = 200,
};
#define GQ_FETCH_NONE UINT32_MAX

/* ---- the list: fetch_list.c ------------------------------------------------------------------ */

typedef struct gq_fetch_job {
    size_t        url, name;            /* where in the text                                      */
    gq_fetch_fate fate;
    bool          odd;                  /* held bytes that no URL has                             */
    bool          listed;               /* in a list of this call                                 */
    bool          known;                /* the record has a line of it                            */
    uint8_t       sha256[32];           /* of an alive one                                        */
    uint64_t      bytes;
    uint32_t      attempts;             /* requests, all calls together                           */
    int           tries, hops;          /* in this call                                           */
    char         *at;                   /* where a redirect led, owned; NULL: still the URL       */
    uint32_t      host, next;           /* in the queue                                           */
    double        due;                  /* while waiting                                          */
} gq_fetch_job;

typedef struct gq_fetch_list {
    gq_fetch_job *job;                  /* [jobs]                                                 */
    uint32_t      jobs, job_room;
    gq_texts      texts;                /* URLs and names, as the record shows them               */
    gq_names     *urls;                 /* -> job + 1                                             */
    gq_names     *files;                /* -> job + 1                                             */
} gq_fetch_list;

/* The record has names already: those are taken first. */
gq_status   gq__fetch_list_read(const gq_fetch_opts *o, gq_fetch_list *l, gq_fetch_report *r,
                                gq_error *err);
/* The job of a URL of the record, made when new, under its old name. */
gq_status   gq__fetch_list_known(gq_fetch_list *l, const char *url, const char *name,
                                 uint32_t *job, gq_error *err);
void        gq__fetch_list_free(gq_fetch_list *l);
static inline const char *gq__fetch_url(const gq_fetch_list *l, uint32_t job)
{
    return l->texts.base + l->job[job].url;
}
static inline const char *gq__fetch_name(const gq_fetch_list *l, uint32_t job)
{
    return l->texts.base + l->job[job].name;
}
/* The file's name for a URL (gif: of its row, NULL or "": none), never one that leads elsewhere.
 * False: it had to be made up. */
bool gq__fetch_name_of(const char *url, const char *gif, char name[GQ_FETCH_NAME + 1]);

/* ---- the record: fetch_log.c ----------------------------------------------------------------- */

typedef struct gq_fetch_log gq_fetch_log;

/* Opens or begins DIR/fetch.tsv and takes what it says into the empty list. */
gq_status gq__fetch_log_open(const char *dir, gq_fetch_list *l, gq_fetch_log **out, gq_error *err);
gq_status gq__fetch_log_put(gq_fetch_log *g, const gq_fetch_list *l, uint32_t job, int status,
                            const char *note, gq_error *err);
gq_status gq__fetch_log_close(gq_fetch_log *g, gq_error *err);      /* NULL allowed               */

/* ---- answers: fetch_judge.c ------------------------------------------------------------------ */

typedef enum gq_http_end {
    GQ_HTTP_WHOLE,                      /* an answer, as much of it as matters                    */
    GQ_HTTP_LOST,                       /* none, or not to its end                                */
    GQ_HTTP_LARGE,                      /* cut off at limits.max_bytes, or announced beyond it    */
    GQ_HTTP_BARRED,                     /* all its addresses are private                          */
    GQ_HTTP_NO_MEMORY,                  /* here                                                   */
} gq_http_end;

typedef struct gq_answer {
    uint32_t       job;
    gq_http_end    end;
    int            status;              /* 0: none came                                           */
    const uint8_t *body;                /* [size] of a 200                                        */
    size_t         size;
    bool           vouched;             /* the server said where the body ends                    */
    double         retry_after_s;       /* 0: it did not say                                      */
    const char    *location;            /* absolute; NULL: none                                   */
    char           note[GQ_FETCH_NOTE]; /* why, unless WHOLE                                      */
} gq_answer;

typedef enum gq_verdict_next { GQ_NEXT_FATE, GQ_NEXT_HOP, GQ_NEXT_RETRY } gq_verdict_next;
typedef struct gq_verdict {
    gq_verdict_next next;
    gq_fetch_fate   fate;               /* NEXT_FATE                                              */
    uint8_t         sha256[32];         /* of an alive one                                        */
    char            note[GQ_FETCH_NOTE];
} gq_verdict;

/* Fails for lack of memory only. */
gq_status gq__fetch_judge(const gq_fetch_opts *o, const char *name, const gq_answer *a,
                          gq_verdict *out, gq_error *err);
/* Bytes of a file as if a server had sent them. */
gq_status gq__fetch_judge_gif(const gq_fetch_opts *o, const char *name, const uint8_t *data,
                              size_t size, bool vouched, gq_verdict *out, gq_error *err);
/* Loopback, private, link-local, reserved, multicast, and IPv6 that leads to such IPv4. */
bool gq__address_private(const struct sockaddr *address);

/* ---- hosts: fetch_queue.c -------------------------------------------------------------------- */

typedef struct gq_fetch_queue gq_fetch_queue;

gq_fetch_queue *gq__queue_new(const gq_fetch_opts *o, gq_fetch_list *l);     /* NULL: no memory   */
void      gq__queue_free(gq_fetch_queue *q);                                 /* NULL allowed      */
/* At the end of its host's queue, or at its head. A host that was given up takes none. */
gq_status gq__queue_add(gq_fetch_queue *q, uint32_t job, const char *host, bool first,
                        gq_error *err);
/* At the head of its host's queue from `due` on. */
gq_status gq__queue_later(gq_fetch_queue *q, uint32_t job, double due, gq_error *err);
/* The next job to start, or NONE; *wake: when there may be one if nothing else happens. */
uint32_t  gq__queue_take(gq_fetch_queue *q, double now, double *wake);
/* A job that was taken has an answer; lost: one that was none (or "later"). */
void      gq__queue_done(gq_fetch_queue *q, uint32_t job, bool lost);
void      gq__queue_pause(gq_fetch_queue *q, uint32_t job, double until);    /* its host          */
void      gq__queue_give_up(gq_fetch_queue *q, uint32_t job);                /* its host          */
bool      gq__queue_empty(const gq_fetch_queue *q);          /* none queued, waiting or in flight */
uint64_t  gq__queue_given_up(const gq_fetch_queue *q);       /* hosts                             */

/* ---- the network: fetch_curl.c --------------------------------------------------------------- */

typedef struct gq_http gq_http;

gq_status gq__http_open(const gq_fetch_opts *o, gq_http **out, gq_error *err);
void      gq__http_close(gq_http *h);                        /* ends what runs; NULL allowed      */
/* NULL: a URL that may be asked, its host in lower case with port; else the reason. */
const char *gq__http_host(gq_http *h, const char *url, char host[GQ_FETCH_HOST]);
gq_status gq__http_start(gq_http *h, uint32_t job, const char *url, gq_error *err);
gq_status gq__http_wait(gq_http *h, double seconds, gq_error *err);
/* The next answer; what it points to is valid until the next call of any of these. False: none. */
bool      gq__http_next(gq_http *h, gq_answer *out);

#endif
