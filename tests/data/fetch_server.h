/* fetch_server.h - an HTTP server that misbehaves as told: one thread a connection on 127.0.0.1, plain
 * sockets. A test gives a function that answers one request with whatever bytes it likes. Included
 * once a program.
 *
 * Invariants: server_stop() returns when all threads are gone. A handler that waits does so with
 * server_nap(), which ends when the client leaves or the server stops.
 */
#ifndef GIFQA_TESTS_DATA_FETCH_SERVER_H
#define GIFQA_TESTS_DATA_FETCH_SERVER_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "support.h"

enum { SERVER_PATHS = 256, SERVER_BUFFER = 16384 };

typedef struct server_request {
    int         fd;
    const char *path;                   /* "/good.gif"                                            */
    const char *header;                 /* all of it, from the request line on                    */
    int         nth;                    /* request of this path, from 1                           */
} server_request;

/* False: close the connection. */
typedef bool (*server_answer)(const server_request *r);

static struct {
    int             fd, port;
    server_answer   answer;
    pthread_t       thread;
    pthread_mutex_t lock;
    pthread_cond_t  gone;
    atomic_bool     stop;
    int             open;               /* connections                                            */
    int             total;              /* requests                                               */
    struct { char path[64]; int n; } seen[SERVER_PATHS];
    char            last_header[SERVER_BUFFER];
} server = {.lock = PTHREAD_MUTEX_INITIALIZER, .gone = PTHREAD_COND_INITIALIZER};

/* ---- for handlers ---------------------------------------------------------------------------- */

/* False: the client has left. */
static inline bool server_send(int fd, const void *data, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t n = send(fd, (const char *)data + done, bytes - done, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || atomic_load(&server.stop))
            return false;
        done += (size_t)n;
    }
    return true;
}

static inline bool server_say(int fd, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline bool server_say(int fd, const char *fmt, ...)
{
    char    text[4096];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return n >= 0 && n < (int)sizeof text && server_send(fd, text, (size_t)n);
}

/* False: the client has left, or the server stops. */
static inline bool server_nap(int fd, int ms)
{
    for (int k = 0; k < ms && !atomic_load(&server.stop); k += 10) {
        struct pollfd p = {.fd = fd, .events = POLLRDHUP};
        if (poll(&p, 1, 10) > 0)
            return false;
    }
    return !atomic_load(&server.stop);
}

/* The connection ends with a reset instead of an end. */
static inline void server_reset(int fd)
{
    struct linger hard = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
}

/* ---- the server ------------------------------------------------------------------------------ */

static inline int server_count(const char *path)
{
    int n = 0;
    pthread_mutex_lock(&server.lock);
    for (int k = 0; k < SERVER_PATHS && *server.seen[k].path; k++)
        n = strcmp(server.seen[k].path, path) == 0 ? server.seen[k].n : n;
    pthread_mutex_unlock(&server.lock);
    return n;
}

static inline int server__note(const char *path, const char *header)
{
    int n = 0;
    pthread_mutex_lock(&server.lock);
    server.total++;
    snprintf(server.last_header, sizeof server.last_header, "%s", header);
    for (int k = 0; k < SERVER_PATHS && !n; k++)
        if (!*server.seen[k].path || strncmp(server.seen[k].path, path, 63) == 0) {
            snprintf(server.seen[k].path, sizeof server.seen[k].path, "%s", path);
            n = ++server.seen[k].n;
        }
    pthread_mutex_unlock(&server.lock);
    return n;
}

/* One header into text; bytes behind it stay for the next. False: the client has left. */
static inline bool server__read(int fd, char *text, size_t *have)
{
    while (!memmem(text, *have, "\r\n\r\n", 4)) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (atomic_load(&server.stop) || *have == SERVER_BUFFER - 1)
            return false;
        if (poll(&p, 1, 20) <= 0)
            continue;
        ssize_t n = recv(fd, text + *have, SERVER_BUFFER - 1 - *have, 0);
        if (n <= 0)
            return false;
        *have += (size_t)n;
        text[*have] = 0;
    }
    return true;
}

static inline bool server__one(int fd, char *text, size_t *have)
{
    char  header[SERVER_BUFFER], path[4096] = "";
    char *end;
    if (!server__read(fd, text, have))
        return false;
    end = strstr(text, "\r\n\r\n") + 4;
    snprintf(header, sizeof header, "%.*s", (int)(end - text), text);
    *have -= (size_t)(end - text);
    memmove(text, end, *have + 1);
    if (sscanf(header, "GET %4095s HTTP/1.1", path) != 1)
        return false;
    server_request r = {fd, path, header, server__note(path, header)};
    return server.answer(&r);
}

static inline void *server__serve(void *arg)
{
    int    fd = (int)(intptr_t)arg;
    char  *text = calloc(1, SERVER_BUFFER);
    size_t have = 0;
    while (text && server__one(fd, text, &have))
        ;
    free(text);
    close(fd);
    pthread_mutex_lock(&server.lock);
    server.open--;
    pthread_cond_broadcast(&server.gone);
    pthread_mutex_unlock(&server.lock);
    return NULL;
}

static inline void *server__accept(void *arg)
{
    (void)arg;
    while (!atomic_load(&server.stop)) {
        struct pollfd p = {.fd = server.fd, .events = POLLIN};
        pthread_t     t;
        int           fd;
        if (poll(&p, 1, 20) <= 0 || (fd = accept4(server.fd, NULL, NULL, SOCK_CLOEXEC)) < 0)
            continue;
        pthread_mutex_lock(&server.lock);
        server.open++;
        pthread_mutex_unlock(&server.lock);
        if (pthread_create(&t, NULL, server__serve, (void *)(intptr_t)fd) == 0) {
            pthread_detach(t);
        } else {
            close(fd);
            pthread_mutex_lock(&server.lock);
            server.open--;
            pthread_mutex_unlock(&server.lock);
        }
    }
    return NULL;
}

static inline void server_start(server_answer answer)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t          n = sizeof a;
    server.answer = answer;
    server.total = 0;
    memset(server.seen, 0, sizeof server.seen);
    atomic_store(&server.stop, false);
    server.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(server.fd >= 0);
    assert_int_equal(bind(server.fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(server.fd, 128), 0);
    assert_int_equal(getsockname(server.fd, (struct sockaddr *)&a, &n), 0);
    server.port = ntohs(a.sin_port);
    assert_int_equal(pthread_create(&server.thread, NULL, server__accept, NULL), 0);
}

static inline void server_stop(void)
{
    atomic_store(&server.stop, true);
    pthread_join(server.thread, NULL);
    close(server.fd);
    pthread_mutex_lock(&server.lock);
    while (server.open)
        pthread_cond_wait(&server.gone, &server.lock);
    pthread_mutex_unlock(&server.lock);
}

#endif
