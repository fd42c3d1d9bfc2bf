/* fetch.h - the GIFs of a list of URLs, over HTTP and HTTPS, into one directory.
 *
 *   list    URLs, one a line; TGIF's own table (URL TAB sentence); or a table with a column `url`
 *           and perhaps `gif` and `split`, as gq_import_tgif() writes it
 *   out     NAME.gif, where NAME is the `gif` of the row or else the last part of the URL, as an
 *           import calls it. A name that is none for a file ("..%2fx", empty, 300 bytes) or that
 *           another URL has already becomes one made from a hash of the URL.
 *           fetch.tsv, the record: url, gif, fate, status, bytes, sha256, attempts, time, note. The
 *           last line of a URL holds.
 *
 * Invariants: servers are strangers. Only http and https, also behind redirects, and only public
 * addresses, looked at when a socket is made for one. Nothing that a server sends is unpacked, its
 * word on type and length is not trusted, and what it can cost is bounded: header, body, time, hops,
 * attempts. A body stays in memory until data/gif.h has walked through it, so memory is about
 * connections * limits.max_bytes at worst; then it is written as core/io.h writes. A GIF is on disk
 * before the record says so: whenever this is killed, the same call goes on, and a GIF that is there
 * without a line is checked and kept. One process a directory (.lock). Proxies, cookies and
 * passwords are not used, whatever the environment says.
 *
 * Politeness: few connections and a pause between requests to one host, the User-Agent says who asks,
 * a host that says when to come back (Retry-After) is left alone until then and given up for this
 * call when that is too long, or when it fails many times in a row.
 */
#ifndef GIFQA_DATA_FETCH_H
#define GIFQA_DATA_FETCH_H

#include "data/gif.h"
#include "data/progress.h"

/*   name         text          final  meaning                                                    */
#define GQ_FETCH_FATES(X) \
 X(PENDING,       "pending",     0, "not tried yet, or its host was given up")                      \
 X(FAILED,        "failed",      0, "no answer, or none but \"later\", in all attempts")            \
 X(ALIVE,         "alive",       1, "the GIF is there")                                             \
 X(GONE,          "gone",        1, "404 or 410")                                                   \
 X(REFUSED,       "refused",     1, "403 or another answer that is none")                           \
 X(PAGE,          "page",        1, "a page of HTML")                                               \
 X(OTHER,         "other",       1, "something else than a GIF, or nothing")                        \
 X(BROKEN,        "broken",      1, "begins like a GIF, but has no frame that can be used")         \
 X(PLACEHOLDER,   "placeholder", 1, "the picture that stands for a deleted one")                    \
 X(REDIRECT,      "redirect",    1, "redirects without end, or to nowhere")                         \
 X(LARGE,         "large",       1, "more bytes than the limit")                                    \
 X(BARRED,        "barred",      1, "no URL, or one that must not be asked: scheme, address")

typedef enum gq_fetch_fate {
#define GQ_FETCH_ENUM(name, text, final, meaning) GQ_FETCH_##name,
    GQ_FETCH_FATES(GQ_FETCH_ENUM)
#undef GQ_FETCH_ENUM
    GQ_FETCH_FATE_COUNT
} gq_fetch_fate;
const char *gq_fetch_fate_name(gq_fetch_fate f);             /* "alive"                           */
const char *gq_fetch_fate_meaning(gq_fetch_fate f);
bool        gq_fetch_fate_final(gq_fetch_fate f);            /* later calls do not ask again      */

typedef struct gq_fetch_opts {          /* gq_fetch_defaults(), then list, n and out              */
    const char *const *list;            /* [n] files                                              */
    size_t             n;
    const char        *split;           /* only rows of this split; NULL: all                     */
    const char        *out;
    const char        *contact;         /* into the User-Agent, printable ASCII; NULL: nothing    */
    const char *const *placeholder;     /* [placeholders] SHA-256 in hex of pictures that count as
                                           dead                                                   */
    size_t             placeholders;
    gq_gif_limits      limits;          /* of a GIF: 64 MiB, ...                                  */
    int                connections;     /* at the same time, 1 to 64: 8                           */
    int                per_host;        /* of them, to one host: 2                                */
    int                interval_ms;     /* between two requests to one host: 250                  */
    int                tries;           /* attempts of a URL in one call: 4                       */
    int                backoff_ms;      /* before the second; doubles; half to all of it: 2000    */
    int                backoff_max_ms;  /* 60000                                                  */
    int                patience_ms;     /* Retry-After beyond it gives the host up: 600000        */
    int                losses;          /* failures in a row that give a host up: 20              */
    int                redirects;       /* of a URL: 5                                            */
    int                connect_ms;      /* name, connection and TLS: 15000                        */
    int                total_ms;        /* a request: 300000                                      */
    int                slow_ms;         /* in any such time ...: 20000                            */
    int                slow_bytes;      /* ... at least this many bytes of the body: 20000        */
    size_t             header_bytes;    /* of one answer: 65536                                   */
    uint64_t           seed;            /* of the chance in pauses: 1                             */
    uint64_t           most;            /* URLs to ask in this call; 0: all                       */
    const char *const *allow;           /* [allows] hosts ("mirror.local", "127.0.0.1") whose
                                           addresses may be private                               */
    size_t             allows;
    bool               retry_dead;      /* those with a final fate but `alive` are asked again    */
    gq_progress_fn     progress;        /* URLs with a final fate; rejected: not alive            */
    void              *progress_ctx;
} gq_fetch_opts;
gq_fetch_opts gq_fetch_defaults(void);

typedef struct gq_fetch_report {
    uint64_t rows;                      /* read; bad ones not counted                             */
    uint64_t bad_rows;                  /* left out                                               */
    char     bad_row[256];              /* the first: file, line, reason                          */
    uint64_t urls;                      /* different ones                                         */
    uint64_t renamed;                   /* that could not have the name in the row or URL         */
    uint64_t fate[GQ_FETCH_FATE_COUNT]; /* urls by fate, whenever it was found                    */
    uint64_t known;                     /* urls that had a final fate before this call            */
    uint64_t adopted;                   /* GIFs that were there without a line in the record      */
    uint64_t requests, retries, hops;   /* of this call                                           */
    uint64_t bytes;                     /* of GIFs written by this call                           */
    uint64_t same;                      /* alive ones with the bytes of another alive one         */
    uint64_t most_same;                 /* the most that share theirs (0 or at least 2) ...       */
    char     same_sha256[65];           /* ... and their hash; "": none                           */
    uint64_t given_up;                  /* hosts                                                  */
    char     last_note[256];            /* why a request of this call failed last; "": none did   */
    double   seconds;
} gq_fetch_report;

/* alive / (final ones but `barred` and `large`, which say nothing about the world); -1: none. */
double gq_fetch_alive_share(const gq_fetch_report *r);

/* `report` is filled whatever comes out. GQ_EUSAGE without libcurl and for options out of range;
 * GQ_EINPUT for a list or record that cannot be read, or when every request failed; GQ_EBUSY;
 * GQ_EDISK, the state kept; GQ_ESTOPPED when progress said so. URLs that failed are no error. */
gq_status gq_fetch_gifs(const gq_fetch_opts *o, gq_fetch_report *report, gq_error *err);

#endif
