/* libcurl, and the only file that knows it: requests side by side, each within its limits. */
#include <curl/curl.h>
#include <math.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "core/mem.h"
#include "data/fetch_private.h"

enum {
    SNIFF   = 1024,                     /* bytes of a body that is no GIF are enough              */
    KEEP    = 1 << 20,                  /* bytes of memory that a slot keeps between requests     */
    WAIT_MS = 200,                      /* the caller looks at its signals that often             */
};

typedef struct slot {                   /* one request in flight                                  */
    gq_http   *h;
    CURL      *easy;
    uint32_t   job;
    bool       running;
    bool       allowed;                 /* to a private address                                   */
    bool       barred, opened;          /* addresses that were refused, that were not             */
    bool       large, enough, no_memory, long_header, slow;
    bool       vouched, headed;         /* headed: its header is whole                            */
    size_t     header;                  /* bytes                                                  */
    uint8_t   *body;
    size_t     size, room;
    double     window_s;                /* when the pace is looked at next ...                    */
    size_t     window_size;             /* ... and what was there last time                       */
    char       error[CURL_ERROR_SIZE];
} slot;

struct gq_http {
    const gq_fetch_opts *o;
    CURLM               *multi;
    CURLU               *url;
    struct curl_slist   *headers;
    char                 agent[160];
    slot                *slot;          /* [o->connections]                                       */
};

/* ---- what libcurl calls ---------------------------------------------------------------------- */

static curl_socket_t open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *a)
{
    slot *s = ctx;
    (void)purpose;
    if (!s->allowed && gq__address_private(&a->addr)) {
        s->barred = true;
        return CURL_SOCKET_BAD;
    }
    s->opened = true;
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

static bool starts(const char *line, size_t n, const char *with)
{
    size_t m = strlen(with);
    return n >= m && strncasecmp(line, with, m) == 0;
}

static size_t on_header(char *line, size_t one, size_t n, void *ctx)
{
    slot *s = ctx;
    n *= one;
    s->header += n;
    if (s->header > s->h->o->header_bytes) {
        s->long_header = true;
        return 0;
    }
    if (starts(line, n, "HTTP/"))
        s->vouched = s->headed = false;          /* one more after 100 Continue and its like */
    if (n <= 2)
        s->headed = true;
    if (starts(line, n, "Content-Length:") || starts(line, n, "Transfer-Encoding:"))
        s->vouched = true;
    return n;
}

static bool grow(slot *s, size_t bytes)
{
    size_t room = s->room ? s->room : KEEP / 16;
    while (room < bytes)
        room *= 2;
    if (room == s->room)
        return true;
    uint8_t *more = gq_realloc(s->body, room, 1);
    if (!more)
        return false;
    s->body = more;
    s->room = room;
    return true;
}

static size_t on_body(char *data, size_t one, size_t n, void *ctx)
{
    slot *s = ctx;
    long  status = 0;
    n *= one;
    curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200) {                         /* nobody wants it */
        s->enough = true;
        return 0;
    }
    s->large = n > s->h->o->limits.max_bytes - s->size;
    s->no_memory = !s->large && !grow(s, s->size + n);
    if (s->large || s->no_memory)
        return 0;
    memcpy(s->body + s->size, data, n);
    s->size += n;
    s->enough = s->size >= SNIFF && memcmp(s->body, "GIF8", 4) != 0;
    return s->enough ? 0 : n;
}

/* ---- one request ----------------------------------------------------------------------------- */

static bool set_where(slot *s, const char *url)
{
    const gq_fetch_opts *o = s->h->o;
    CURL                *e = s->easy;
    bool                 ok = curl_easy_setopt(e, CURLOPT_URL, url) == CURLE_OK;
    ok &= curl_easy_setopt(e, CURLOPT_USERAGENT, s->h->agent) == CURLE_OK;
    ok &= curl_easy_setopt(e, CURLOPT_HTTPHEADER, s->h->headers) == CURLE_OK;
    /* no proxy, whatever the environment says: it would connect to any address for us */
    ok &= curl_easy_setopt(e, CURLOPT_PROXY, "") == CURLE_OK;
#if LIBCURL_VERSION_NUM >= 0x075500
    ok &= curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK;
#else
    ok &= curl_easy_setopt(e, CURLOPT_PROTOCOLS, CURLPROTO_HTTP | CURLPROTO_HTTPS) == CURLE_OK;
#endif
#if LIBCURL_VERSION_NUM >= 0x075700
    ok &= curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK;  /* no waiting for slow DNS */
#endif
    /* redirects come back to the caller, so that each has its host's turn */
    ok &= curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK;
    ok &= curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK;
    /* a server that sends more than it announced must not answer the next request with it */
    ok &= curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L) == CURLE_OK;
    ok &= curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L) == CURLE_OK;
    ok &= curl_easy_setopt(e, CURLOPT_HTTP_CONTENT_DECODING, 0L) == CURLE_OK;
    ok &= curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK;
    ok &= curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L) == CURLE_OK;
    ok &= curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) == CURLE_OK;
    ok &= curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)o->connect_ms) == CURLE_OK;
    ok &= curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)o->total_ms) == CURLE_OK;
    ok &= curl_easy_setopt(e, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)o->limits.max_bytes) ==
          CURLE_OK;
    return ok;
}

static bool set_calls(slot *s)
{
    CURL *e = s->easy;
    bool  ok = curl_easy_setopt(e, CURLOPT_ERRORBUFFER, s->error) == CURLE_OK;
    ok &= curl_easy_setopt(e, CURLOPT_PRIVATE, s) == CURLE_OK;
    ok &= curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, open_socket) == CURLE_OK;
    ok &= curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, s) == CURLE_OK;
    ok &= curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK;
    ok &= curl_easy_setopt(e, CURLOPT_HEADERDATA, s) == CURLE_OK;
    ok &= curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK;
    ok &= curl_easy_setopt(e, CURLOPT_WRITEDATA, s) == CURLE_OK;
    return ok;
}

/* Ready for the next request; the memory of its body stays if it is not much. */
static void clear(slot *s)
{
    CURL    *easy = s->easy;
    gq_http *h = s->h;
    uint8_t *body = s->room <= KEEP ? s->body : NULL;
    size_t   room = body ? s->room : 0;
    if (!body)
        gq_free(s->body);
    *s = (slot){.h = h, .easy = easy, .body = body, .room = room};
}

const char *gq__http_host(gq_http *h, const char *url, char host[GQ_FETCH_HOST])
{
    char       *scheme = NULL, *name = NULL, *port = NULL;
    const char *why = NULL;
    CURLUcode   c = curl_url_set(h->url, CURLUPART_URL, url,
                                 CURLU_DISALLOW_USER | CURLU_NON_SUPPORT_SCHEME);
    if (c == CURLUE_USER_NOT_ALLOWED)
        return "a URL with a name or password";
    if (c != CURLUE_OK || curl_url_get(h->url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK)
        return "this is no URL";
    if (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0)
        why = "neither http nor https";
    else if (curl_url_get(h->url, CURLUPART_HOST, &name, 0) != CURLUE_OK || !*name ||
             curl_url_get(h->url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK ||
             strlen(name) + strlen(port) + 2 > GQ_FETCH_HOST)
        why = "this URL names no host";
    if (!why) {
        snprintf(host, GQ_FETCH_HOST, "%s:%s", name, port);
        for (char *p = host; *p; p++)
            *p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 'a' - 'A') : *p;
    }
    curl_free(scheme);
    curl_free(name);
    curl_free(port);
    return why;
}

/* host: "name:port" */
static bool may_be_private(const gq_fetch_opts *o, const char *host)
{
    size_t n = (size_t)(strrchr(host, ':') - host);
    for (size_t k = 0; k < o->allows; k++)
        if (strlen(o->allow[k]) == n && strncasecmp(o->allow[k], host, n) == 0)
            return true;
    return false;
}

gq_status gq__http_start(gq_http *h, uint32_t job, const char *url, gq_error *err)
{
    slot *s = h->slot;
    char  host[GQ_FETCH_HOST];
    while (s->running)                           /* the queue lets out no more than there are */
        s++;
    clear(s);
    curl_easy_reset(s->easy);
    s->job = job;
    s->allowed = !gq__http_host(h, url, host) && may_be_private(h->o, host);
    s->window_s = gq_now() + h->o->slow_ms / 1000.0;
    if (!set_where(s, url) || !set_calls(s) || curl_multi_add_handle(h->multi, s->easy) != CURLM_OK)
        return gq_fail(err, GQ_ENOMEM, "no memory for a request");
    s->running = true;
    return GQ_OK;
}

/* ---- answers --------------------------------------------------------------------------------- */

static void judge_end(const slot *s, CURLcode code, gq_answer *a)
{
    const gq_fetch_opts *o = s->h->o;
    const char          *text = *s->error ? s->error : curl_easy_strerror(code);
    a->end = GQ_HTTP_LOST;
    /* not for CURLE_OUT_OF_MEMORY: libcurl says so of a long line of header, too */
    if (s->no_memory) {
        a->end = GQ_HTTP_NO_MEMORY;
        snprintf(a->note, sizeof a->note, "no memory for more than %zu bytes of a GIF", s->size);
    } else if (s->headed && a->status != 200 && a->status >= 200) {
        a->end = GQ_HTTP_WHOLE;                  /* whatever became of a body that nobody wants */
    } else if (s->large || code == CURLE_FILESIZE_EXCEEDED) {
        a->end = GQ_HTTP_LARGE;
        snprintf(a->note, sizeof a->note, "more than %llu bytes",
                 (unsigned long long)o->limits.max_bytes);
    } else if (s->long_header) {
        snprintf(a->note, sizeof a->note, "more than %zu bytes of header", o->header_bytes);
    } else if (s->slow) {
        snprintf(a->note, sizeof a->note, "less than %d bytes in %d ms", o->slow_bytes, o->slow_ms);
    } else if (s->barred && !s->opened) {
        a->end = GQ_HTTP_BARRED;
        snprintf(a->note, sizeof a->note, "a private or reserved address");
    } else if (s->headed && (code == CURLE_OK || s->enough)) {
        a->end = GQ_HTTP_WHOLE;
    } else {
        snprintf(a->note, sizeof a->note, "%s", text);
    }
}

static void answer_of(gq_http *h, slot *s, CURLcode code, gq_answer *a)
{
    long       status = 0;
    curl_off_t wait = 0;
    char      *location = NULL;

    curl_multi_remove_handle(h->multi, s->easy);
    s->running = false;
    curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(s->easy, CURLINFO_RETRY_AFTER, &wait);
    curl_easy_getinfo(s->easy, CURLINFO_REDIRECT_URL, &location);
    *a = (gq_answer){.job = s->job, .status = (int)status, .body = s->body, .size = s->size,
                     .vouched = s->vouched, .retry_after_s = (double)wait, .location = location};
    judge_end(s, code, a);
}

bool gq__http_next(gq_http *h, gq_answer *out)
{
    int      left;
    CURLMsg *m;
    slot    *s = NULL;

    while ((m = curl_multi_info_read(h->multi, &left)))
        if (m->msg == CURLMSG_DONE &&
            curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &s) == CURLE_OK) {
            answer_of(h, s, m->data.result, out);
            return true;
        }
    for (int k = 0; k < h->o->connections; k++)
        if (h->slot[k].running && h->slot[k].slow) {
            answer_of(h, &h->slot[k], CURLE_OPERATION_TIMEDOUT, out);
            return true;
        }
    return false;
}

/* Marks those that were slower than allowed; the time until the next look. */
static double look_at_pace(gq_http *h)
{
    double now = gq_now(), next = INFINITY;
    for (int k = 0; k < h->o->connections; k++) {
        slot *s = &h->slot[k];
        if (!s->running)
            continue;
        if (now >= s->window_s) {
            s->slow = s->size - s->window_size < (size_t)h->o->slow_bytes;
            s->window_size = s->size;
            s->window_s = now + h->o->slow_ms / 1000.0;
        }
        next = fmin(next, s->slow ? 0 : s->window_s - now);
    }
    return next;
}

gq_status gq__http_wait(gq_http *h, double seconds, gq_error *err)
{
    int       running;
    double    ms = fmax(0, fmin(WAIT_MS, 1000 * fmin(seconds, look_at_pace(h))));
    CURLMcode c = curl_multi_poll(h->multi, NULL, 0, (int)ceil(ms), NULL);
    if (c == CURLM_OK)
        c = curl_multi_perform(h->multi, &running);
    look_at_pace(h);
    if (c == CURLM_OK)
        return GQ_OK;
    return gq_fail(err, c == CURLM_OUT_OF_MEMORY ? GQ_ENOMEM : GQ_EDISK, "libcurl: %s",
                   curl_multi_strerror(c));
}

/* ---- life ------------------------------------------------------------------------------------ */

static bool open_all(gq_http *h)
{
    bool ok = h->multi && h->url && h->slot && h->headers;
    for (int k = 0; ok && k < h->o->connections; k++) {
        h->slot[k].h = h;
        ok = (h->slot[k].easy = curl_easy_init()) != NULL;
    }
    return ok;
}

gq_status gq__http_open(const gq_fetch_opts *o, gq_http **out, gq_error *err)
{
    gq_http *h;
    *out = NULL;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return gq_fail(err, GQ_ENOMEM, "libcurl cannot be set up");
    if (!(h = gq_calloc(1, sizeof *h))) {
        curl_global_cleanup();
        return gq_fail(err, GQ_ENOMEM, "no memory for connections");
    }
    h->o = o;
    snprintf(h->agent, sizeof h->agent, "gifqa/%s (gifqa-prep fetch%s%s)", GIFQA_VERSION,
             o->contact ? "; " : "", o->contact ? o->contact : "");
    h->slot = gq_calloc((size_t)o->connections, sizeof *h->slot);
    h->multi = curl_multi_init();
    h->url = curl_url();
    h->headers = curl_slist_append(NULL, "Connection: close");
    if (!open_all(h)) {
        gq__http_close(h);
        return gq_fail(err, GQ_ENOMEM, "no memory for %d connections", o->connections);
    }
    *out = h;
    return GQ_OK;
}

void gq__http_close(gq_http *h)
{
    if (!h)
        return;
    for (int k = 0; h->slot && k < h->o->connections; k++) {
        if (h->slot[k].running)
            curl_multi_remove_handle(h->multi, h->slot[k].easy);
        if (h->slot[k].easy)
            curl_easy_cleanup(h->slot[k].easy);
        gq_free(h->slot[k].body);
    }
    gq_free(h->slot);
    curl_slist_free_all(h->headers);
    curl_url_cleanup(h->url);
    if (h->multi)
        curl_multi_cleanup(h->multi);
    gq_free(h);
    curl_global_cleanup();
}
