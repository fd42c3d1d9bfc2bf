/* fetch_made.h - what the tests of gq_fetch_gifs() share: GIFs to serve, a directory, options, and a
 * look into the record. Included once a program.
 */
#ifndef GIFQA_TESTS_DATA_FETCH_MADE_H
#define GIFQA_TESTS_DATA_FETCH_MADE_H

#include "core/io.h"
#include "core/mem.h"
#include "data/fetch.h"
#include "faults/report.h"
#include "fetch_server.h"
#include "gif_maker.h"

static char dir[64];

/* ---- material -------------------------------------------------------------------------------- */

static const uint8_t palette[4][3] = {{255, 0, 0}, {0, 255, 0}, {0, 0, 255}, {255, 255, 255}};

/* Two frames; another `mark`, other bytes. */
static inline made gif(unsigned mark)
{
    made       m = made_screen(4, 2, 0, palette, 4);
    made_frame f = {.w = 4, .h = 2, .transparent = -1, .pixels = "rgbwwbgr"};
    m.delay = mark;
    made_image(&m, &f, 2);
    made_image(&m, &f, 2);
    made_end(&m);
    return m;
}

/* A GIF of many frames: more than a write buffer or a small limit holds. */
static inline made big_gif(void)
{
    made       m = made_screen(4, 2, 0, palette, 4);
    made_frame f = {.w = 4, .h = 2, .transparent = -1, .pixels = "rgbwwbgr"};
    while (m.size < 12000)
        made_image(&m, &f, 2);
    made_end(&m);
    return m;
}

static inline bool send_gif(int fd, const made *m)
{
    return server_say(fd, "HTTP/1.1 200 OK\r\nContent-Type: image/gif\r\nContent-Length: %zu\r\n\r\n",
                      m->size) && server_send(fd, m->data, m->size);
}

static inline bool send_status(int fd, const char *line, const char *more)
{
    return server_say(fd, "HTTP/1.1 %s\r\n%sContent-Length: 5\r\n\r\nsorry", line, more);
}

static inline void in_dir(const char *name, char path[1024])
{
    snprintf(path, 1024, "%s/%s", dir, name);
}

static inline const char *put(const char *name, const char *text)
{
    static char paths[4][1024];         /* in rotation */
    static int  next;
    char       *path = paths[next++ & 3];
    gq_error    err = {0};
    in_dir(name, path);
    assert_ok(gq_write_file(path, text, strlen(text), &err), &err);
    return path;
}

static inline void fresh(void)
{
    char     path[1024];
    gq_error err = {0};
    in_dir("out", path);
    assert_ok(gq_remove_tree(path, &err), &err);
}

/* Options for a test: this server may be asked, nothing is waited for longer than needed. */
static inline gq_fetch_opts options(const char *const *list)
{
    static char              out[1024];
    static const char *const allow[] = {"127.0.0.1"};
    gq_fetch_opts            o = gq_fetch_defaults();
    in_dir("out", out);
    o.list = list;
    o.n = 1;
    o.out = out;
    o.allow = allow;
    o.allows = 1;
    o.connections = o.per_host = 16;
    o.interval_ms = 0;
    o.tries = 2;
    o.backoff_ms = o.backoff_max_ms = 5;
    o.losses = 1000;
    o.limits.max_bytes = 1 << 20;
    return o;
}

static inline bool here(void)
{
    gq_fetch_opts   o = options(NULL);
    gq_fetch_report r;
    gq_error        err = {0};
    o.connections = 0;
    return gq_fetch_gifs(&o, &r, &err) == GQ_EUSAGE && !strstr(err.text, "built without libcurl");
}
#define need_libcurl() do { if (!here()) skip(); } while (0)

/* ---- the record ------------------------------------------------------------------------------ */

enum { URL, GIF, FATE, STATUS, BYTES, SHA, ATTEMPTS, TIME, NOTE, CELLS };
static char *cell[CELLS];               /* of the last line of a URL                              */

static inline int lines_of(const char *url)
{
    static char text[1 << 18];
    char        path[1024], *line, *rest = text;
    gq_bytes    b;
    gq_error    err = {0};
    int         n = 0;
    in_dir("out/fetch.tsv", path);
    assert_ok(gq_read_file(path, sizeof text - 1, &b, &err), &err);
    memcpy(text, b.data, b.size + 1);
    gq_bytes_free(&b);
    while ((line = strsep(&rest, "\n")) && *line)
        if (strncmp(line, url, strlen(url)) == 0 && line[strlen(url)] == '\t') {
            n++;
            for (int c = 0; c < CELLS; c++)
                assert_non_null(cell[c] = strsep(&line, "\t"));
            assert_null(line);
        }
    return n;
}

static inline void is_gif(const char *name, const made *want)
{
    char     path[1024];
    gq_bytes b;
    gq_error err = {0};
    snprintf(path, sizeof path, "%s/out/%s", dir, name);
    assert_ok(gq_read_file(path, 1 << 20, &b, &err), &err);
    if (b.size != want->size || memcmp(b.data, want->data, b.size) != 0)
        fail_msg("%s: %zu bytes are not those that were sent", name, b.size);
    gq_bytes_free(&b);
}

static inline void no_file(const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/out/%s", dir, name);
    assert_int_not_equal(access(path, F_OK), 0);
}

/* ---- answers --------------------------------------------------------------------------------- */

static inline bool bare(const server_request *r) { made m = gif(1); return send_gif(r->fd, &m); }
static inline bool gone404(const server_request *r) { return send_status(r->fd, "404 Not Found", ""); }
static inline bool always500(const server_request *r) { return send_status(r->fd, "500 Oops", ""); }

static inline int begin_all(void **state)
{
    (void)state;
    if (access("/dev/shm", W_OK) == 0)  /* many small files, each synced: not on a slow disk */
        setenv("TMPDIR", "/dev/shm", 0);
    snprintf(dir, sizeof dir, "%s", gq_scratch());
    return 0;
}

static inline int end_all(void **state)
{
    (void)state;
    gq_remove_tree(dir, NULL);
    return 0;
}

#endif
