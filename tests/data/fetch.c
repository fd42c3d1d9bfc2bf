/* gq_fetch_gifs() against a server that misbehaves in every way we could think of. R13: servers as
 * strangers. */
#include <zlib.h>

#include "fetch_made.h"

/* ---- misbehaviours --------------------------------------------------------------------------- */

static bool gone410(const server_request *r) { return send_status(r->fd, "410 Gone", ""); }
static bool no403(const server_request *r) { return send_status(r->fd, "403 Forbidden", ""); }
static bool no401(const server_request *r) { return send_status(r->fd, "401 Who are you", ""); }
static bool nothing204(const server_request *r)
{
    return server_say(r->fd, "HTTP/1.1 204 No Content\r\n\r\n");
}

static bool then(const server_request *r, const char *line, const char *more)
{
    return r->nth == 1 ? send_status(r->fd, line, more) : bare(r);
}
static bool later503(const server_request *r) { return then(r, "503 Busy", ""); }
static bool later503b(const server_request *r) { return then(r, "503 Busy", "Retry-After: soon\r\n"); }
static bool later408(const server_request *r) { return then(r, "408 Slow", ""); }
static bool later429(const server_request *r) { return then(r, "429 Too Many", "Retry-After: 0\r\n"); }

static bool chunked(const server_request *r)
{
    made m = gif(2);
    server_say(r->fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n", m.size);
    server_send(r->fd, m.data, m.size);
    return server_say(r->fd, "\r\n0\r\n\r\n");
}

static bool chunks_broken(const server_request *r)
{
    server_say(r->fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nGIF89a, says the server");
    return false;
}

static bool chunks_cut(const server_request *r)
{
    made m = gif(3);
    server_say(r->fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n", m.size);
    server_send(r->fd, m.data, m.size);
    return false;                       /* the last chunk never comes */
}

static bool until_close(const server_request *r)
{
    made m = gif(4);
    server_say(r->fd, "HTTP/1.1 200 OK\r\n\r\n");
    server_send(r->fd, m.data, m.size);
    return false;
}

static bool lies_about_type(const server_request *r)
{
    made m = gif(5);
    server_say(r->fd, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %zu\r\n\r\n",
               m.size);
    return server_send(r->fd, m.data, m.size);
}

static bool shorter(const server_request *r)
{
    made m = gif(6);
    server_say(r->fd, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", m.size + 100);
    server_send(r->fd, m.data, m.size);
    return false;
}

static bool longer(const server_request *r)
{
    made m = gif(7);
    server_say(r->fd, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", m.size);
    server_send(r->fd, m.data, m.size);
    return server_say(r->fd, "and then some, that nobody asked for");
}

static bool endless(const server_request *r)
{
    made m = gif(8);
    server_say(r->fd, "HTTP/1.1 200 OK\r\n\r\n");
    while (server_send(r->fd, m.data, m.size - 1))
        ;
    return false;
}

static bool huge_length(const server_request *r)
{
    server_say(r->fd, "HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\nGIF89a");
    return server_nap(r->fd, 20000);
}

static bool no_length_at_all(const server_request *r)
{
    server_say(r->fd, "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nGIF89a");
    return false;
}

static bool html(const server_request *r)
{
    return server_say(r->fd, "HTTP/1.1 200 OK\r\nContent-Type: image/gif\r\nContent-Length: 22\r\n\r\n"
                             " \n<html>deleted</html>");
}

static bool endless_html(const server_request *r)
{
    server_say(r->fd, "HTTP/1.1 200 OK\r\n\r\n<!doctype html>");
    while (server_say(r->fd, "<p>and this is why we deleted it"))
        ;
    return false;
}

static bool empty(const server_request *r)
{
    return server_say(r->fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

static bool png(const server_request *r)
{
    return server_say(r->fd, "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n\x89PNG\r\n\x1a\n");
}

static bool gif_cut(const server_request *r)
{
    made m = gif(9);
    m.size -= 20;                       /* in its second frame */
    return send_gif(r->fd, &m);
}

static bool gif_cut_no_length(const server_request *r)
{
    made m = gif(10);
    server_say(r->fd, "HTTP/1.1 200 OK\r\n\r\n");
    server_send(r->fd, m.data, m.size - 20);
    return false;
}

static bool gif_header_only(const server_request *r)
{
    made m = gif(11);
    m.size = 13;
    return send_gif(r->fd, &m);
}

static bool gif_huge_screen(const server_request *r)
{
    made m = gif(12);
    memset(m.data + 6, 0xFF, 4);
    return send_gif(r->fd, &m);
}

static bool stub(const server_request *r) { made m = gif(13); return send_gif(r->fd, &m); }

static bool redirect(const server_request *r, const char *to)
{
    return server_say(r->fd, "HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n", to);
}
static bool to_good(const server_request *r) { return redirect(r, "/good.gif"); }
static bool to_html(const server_request *r) { return redirect(r, "html.gif?really"); }
static bool to_file(const server_request *r) { return redirect(r, "file:///etc/passwd"); }
static bool to_gopher(const server_request *r) { return redirect(r, "gopher://127.0.0.1/1"); }
static bool to_user(const server_request *r) { return redirect(r, "http://a:b@127.0.0.1/x.gif"); }
static bool to_nothing(const server_request *r) { return redirect(r, ""); }
static bool to_itself(const server_request *r) { return redirect(r, r->path); }
static bool to_private(const server_request *r)
{
    char to[64];
    snprintf(to, sizeof to, "http://127.0.0.2:%d/good.gif", server.port);
    return redirect(r, to);
}
static bool to_number(const server_request *r)
{
    char to[64];
    snprintf(to, sizeof to, "http://0x7f000002:%d/good.gif", server.port);
    return redirect(r, to);
}
static bool to_far(const server_request *r)
{
    server_say(r->fd, "HTTP/1.1 301 Moved\r\nLocation: /");
    for (int k = 0; k < 400; k++)
        server_say(r->fd, "0123456789");
    return server_say(r->fd, "\r\nContent-Length: 0\r\n\r\n");
}
static bool moved_nowhere(const server_request *r) { return send_status(r->fd, "301 Moved", ""); }

static bool resets(const server_request *r)
{
    server_say(r->fd, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nGIF89a");
    server_reset(r->fd);
    return false;
}
static bool resets_at_once(const server_request *r) { server_reset(r->fd); return false; }
static bool closes(const server_request *r) { (void)r; return false; }
static bool rubbish(const server_request *r)
{
    server_say(r->fd, "HTTP/9.7 yes \x01\x02\r\n\r\nGIF89a");
    return false;
}
static bool no_header(const server_request *r)
{
    made m = gif(14);
    server_send(r->fd, m.data, m.size);
    return false;
}

static bool header_bomb(const server_request *r)
{
    server_say(r->fd, "HTTP/1.1 200 OK\r\n");
    while (server_say(r->fd, "X-Header: and its value, and its value, and its value\r\n"))
        ;
    return false;
}
static bool header_line_bomb(const server_request *r)
{
    server_say(r->fd, "HTTP/1.1 200 OK\r\nX-Header: ");
    while (server_say(r->fd, "and its value, and its value, and its value"))
        ;
    return false;
}
static bool continue_bomb(const server_request *r)
{
    while (server_say(r->fd, "HTTP/1.1 100 Continue\r\n\r\n"))
        ;
    return false;
}

/* 64 MiB of nothing in 64 KiB, if somebody unpacks it. */
static bool gzip_bomb(const server_request *r)
{
    static uint8_t nothing[1 << 16], packed[1 << 18];
    z_stream       z = {.next_out = packed, .avail_out = sizeof packed};
    if (deflateInit2(&z, 9, Z_DEFLATED, 31, 9, Z_DEFAULT_STRATEGY) != Z_OK)
        return false;
    for (int k = 0; k < 1024; k++) {
        z.next_in = nothing;
        z.avail_in = sizeof nothing;
        deflate(&z, k == 1023 ? Z_FINISH : Z_NO_FLUSH);
    }
    deflateEnd(&z);
    server_say(r->fd, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %lu\r\n\r\n",
               z.total_out);
    return server_send(r->fd, packed, z.total_out);
}

typedef struct misbehaviour {
    const char   *path;
    server_answer answer;
    gq_fetch_fate fate;
    int           status;               /* -1: not looked at                                      */
    int           requests;             /* of this path; 0: not looked at                         */
    const char   *note;
} misbehaviour;

static const misbehaviour fast[] = {
    {"/good.gif", bare, GQ_FETCH_ALIVE, 200, 0, ""},
    {"/404.gif", gone404, GQ_FETCH_GONE, 404, 1, "HTTP 404"},
    {"/410.gif", gone410, GQ_FETCH_GONE, 410, 1, "HTTP 410"},
    {"/403.gif", no403, GQ_FETCH_REFUSED, 403, 1, "HTTP 403"},
    {"/401.gif", no401, GQ_FETCH_REFUSED, 401, 1, "HTTP 401"},
    {"/204.gif", nothing204, GQ_FETCH_OTHER, 204, 1, "HTTP 204"},
    {"/500.gif", always500, GQ_FETCH_FAILED, 500, 2, "HTTP 500"},
    {"/503.gif", later503, GQ_FETCH_ALIVE, 200, 2, ""},
    {"/503b.gif", later503b, GQ_FETCH_ALIVE, 200, 2, ""},
    {"/408.gif", later408, GQ_FETCH_ALIVE, 200, 2, ""},
    {"/429.gif", later429, GQ_FETCH_ALIVE, 200, 2, ""},
    {"/chunked.gif", chunked, GQ_FETCH_ALIVE, 200, 1, ""},
    {"/chunks-broken.gif", chunks_broken, GQ_FETCH_FAILED, 200, 2, ""},
    {"/chunks-cut.gif", chunks_cut, GQ_FETCH_FAILED, 200, 2, ""},
    {"/until-close.gif", until_close, GQ_FETCH_ALIVE, 200, 1, ""},
    {"/type.gif", lies_about_type, GQ_FETCH_ALIVE, 200, 1, ""},
    {"/shorter.gif", shorter, GQ_FETCH_FAILED, 200, 2, ""},
    {"/longer.gif", longer, GQ_FETCH_ALIVE, 200, 1, ""},
    {"/endless.gif", endless, GQ_FETCH_LARGE, 200, 1, "more than 1048576 bytes"},
    {"/huge.gif", huge_length, GQ_FETCH_LARGE, 200, 1, "more than 1048576 bytes"},
    {"/negative.gif", no_length_at_all, GQ_FETCH_FAILED, 200, 2, ""},
    {"/html.gif", html, GQ_FETCH_PAGE, 200, 1, "HTML"},
    {"/endless-html.gif", endless_html, GQ_FETCH_PAGE, 200, 1, "HTML"},
    {"/empty.gif", empty, GQ_FETCH_OTHER, 200, 1, "an empty answer"},
    {"/png.gif", png, GQ_FETCH_OTHER, 200, 1, "a PNG"},
    {"/cut.gif", gif_cut, GQ_FETCH_ALIVE, 200, 1, "truncated where it comes from; 1 frames"},
    {"/cut-no-length.gif", gif_cut_no_length, GQ_FETCH_FAILED, 200, 2, "ends before its trailer"},
    {"/header-only.gif", gif_header_only, GQ_FETCH_BROKEN, 200, 1, ""},
    {"/screen.gif", gif_huge_screen, GQ_FETCH_BROKEN, 200, 1, "data.limits.side"},
    {"/stub.gif", stub, GQ_FETCH_PLACEHOLDER, 200, 1, "placeholder"},
    {"/to-good.gif", to_good, GQ_FETCH_ALIVE, 200, 1, ""},
    {"/to-html.gif", to_html, GQ_FETCH_PAGE, 200, 1, "HTML"},
    {"/to-file.gif", to_file, GQ_FETCH_BARRED, 302, 1, "file:///etc/passwd: neither http nor"},
    {"/to-gopher.gif", to_gopher, GQ_FETCH_BARRED, 302, 1, "neither http nor https"},
    {"/to-user.gif", to_user, GQ_FETCH_BARRED, 302, 1, "a name or password"},
    {"/to-nothing.gif", to_nothing, GQ_FETCH_REDIRECT, 302, 1, "nowhere"},
    {"/to-itself.gif", to_itself, GQ_FETCH_REDIRECT, 302, 6, "more than 5 redirects"},
    {"/to-private.gif", to_private, GQ_FETCH_BARRED, 0, 1, "a private or reserved address"},
    {"/to-number.gif", to_number, GQ_FETCH_BARRED, 0, 1, "a private or reserved address"},
    {"/to-far.gif", to_far, GQ_FETCH_REDIRECT, 301, 1, "too long"},
    {"/moved.gif", moved_nowhere, GQ_FETCH_REDIRECT, 301, 1, "nowhere"},
    {"/reset.gif", resets, GQ_FETCH_FAILED, -1, 2, ""},
    {"/reset-at-once.gif", resets_at_once, GQ_FETCH_FAILED, 0, 0, ""},
    {"/closes.gif", closes, GQ_FETCH_FAILED, 0, 0, ""},
    {"/rubbish.gif", rubbish, GQ_FETCH_FAILED, 0, 2, ""},
    {"/no-header.gif", no_header, GQ_FETCH_FAILED, 0, 2, ""},
    {"/header-bomb.gif", header_bomb, GQ_FETCH_FAILED, 200, 2, "bytes of header"},
    {"/header-line-bomb.gif", header_line_bomb, GQ_FETCH_FAILED, 200, 2, ""},
    {"/continue-bomb.gif", continue_bomb, GQ_FETCH_FAILED, 100, 2, "bytes of header"},
    {"/gzip-bomb.gif", gzip_bomb, GQ_FETCH_OTHER, 200, 1, "gzip"},
};
enum { FAST = sizeof fast / sizeof *fast };

/* ---- slow ones ------------------------------------------------------------------------------- */

static bool slow_header(const server_request *r)
{
    server_say(r->fd, "HTTP/1.");
    return server_nap(r->fd, 20000);
}
static bool slow_header_lines(const server_request *r)
{
    server_say(r->fd, "HTTP/1.1 200 OK\r\n");
    while (server_nap(r->fd, 20) && server_say(r->fd, "X: y\r\n"))
        ;
    return false;
}
static bool slow_body(const server_request *r)
{
    server_say(r->fd, "HTTP/1.1 200 OK\r\n\r\nGIF89a");
    while (server_nap(r->fd, 20) && server_say(r->fd, "x"))
        ;
    return false;
}
static bool stalls(const server_request *r)
{
    server_say(r->fd, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nGIF89a");
    return server_nap(r->fd, 20000);
}
static bool silent(const server_request *r) { return server_nap(r->fd, 20000); }

/* How far each gets in its time is not ours to say. */
static const misbehaviour slow[] = {
    {"/slow-header.gif", slow_header, GQ_FETCH_FAILED, -1, 0, "bytes in 150 ms"},
    {"/slow-lines.gif", slow_header_lines, GQ_FETCH_FAILED, -1, 0, "bytes in 150 ms"},
    {"/slow-body.gif", slow_body, GQ_FETCH_FAILED, -1, 0, "bytes in 150 ms"},
    {"/stalls.gif", stalls, GQ_FETCH_FAILED, -1, 0, "bytes in 150 ms"},
    {"/silent.gif", silent, GQ_FETCH_FAILED, -1, 0, "bytes in 150 ms"},
};
enum { SLOW = sizeof slow / sizeof *slow };

static bool misbehave(const server_request *r)
{
    for (int k = 0; k < FAST; k++)
        if (strcmp(r->path, fast[k].path) == 0)
            return fast[k].answer(r);
    for (int k = 0; k < SLOW; k++)
        if (strcmp(r->path, slow[k].path) == 0)
            return slow[k].answer(r);
    return strncmp(r->path, "/html.gif?", 10) == 0 ? html(r) : gone404(r);
}

static void check_all(const misbehaviour *m, int n)
{
    for (int k = 0; k < n; k++) {
        char url[256];
        snprintf(url, sizeof url, "http://127.0.0.1:%d%s", server.port, m[k].path);
        if (lines_of(url) != 1)
            fail_msg("%s: %d lines", url, lines_of(url));
        if (strcmp(cell[FATE], gq_fetch_fate_name(m[k].fate)) != 0 ||
            (m[k].status >= 0 && atoi(cell[STATUS]) != m[k].status) || !strstr(cell[NOTE], m[k].note))
            fail_msg("%s: %s %s '%s', want %s %d '%s'", m[k].path, cell[FATE], cell[STATUS], cell[NOTE],
                     gq_fetch_fate_name(m[k].fate), m[k].status, m[k].note);
        if (m[k].requests && server_count(m[k].path) != m[k].requests)
            fail_msg("%s: %d requests, want %d", m[k].path, server_count(m[k].path), m[k].requests);
        if (m[k].fate != GQ_FETCH_ALIVE)
            no_file(m[k].path + 1);
        if ((m[k].fate == GQ_FETCH_FAILED) != (*cell[NOTE] && !gq_fetch_fate_final(m[k].fate)))
            fail_msg("%s: no reason is given", m[k].path);
    }
}

static const char *list_of(const misbehaviour *m, int n)
{
    static char text[1 << 16];
    size_t      at = 0;
    for (int k = 0; k < n; k++)
        at += (size_t)snprintf(text + at, sizeof text - at, "http://127.0.0.1:%d%s\n", server.port,
                               m[k].path);
    return put("list.txt", text);
}

static void report(const char *what, int n, double begin)
{
    rig_report(&(rig_result){.rig = "R13", .what = what, .injected = n, .survived = n,
                             .seconds = gq_now() - begin, .note = "a local server"});
}

static void misbehaving_servers(void **state)
{
    gq_fetch_report r;
    gq_error        err = {0};
    uint8_t         sum[32];
    char            hex[65];
    made            m = gif(13);
    double          begin = gq_now();
    (void)state;
    need_libcurl();
    fresh();
    server_start(misbehave);
    const char   *list = list_of(fast, FAST);
    gq_fetch_opts o = options(&list);
    gq_sha256(m.data, m.size, sum);
    gq_hex(sum, 32, hex);
    o.placeholder = (const char *const[]){hex};
    o.placeholders = 1;
    o.connect_ms = o.total_ms = o.slow_ms = 60000;
    assert_ok(gq_fetch_gifs(&o, &r, &err), &err);
    check_all(fast, FAST);
    m = gif(1), is_gif("good.gif", &m), is_gif("to-good.gif", &m), is_gif("503.gif", &m);
    m = gif(2), is_gif("chunked.gif", &m);
    m = gif(4), is_gif("until-close.gif", &m);
    m = gif(7), is_gif("longer.gif", &m);
    m = gif(9), m.size -= 20, is_gif("cut.gif", &m);
    assert_int_equal(r.urls, FAST);
    assert_int_equal(r.fate[GQ_FETCH_ALIVE], 11);
    assert_int_equal(r.fate[GQ_FETCH_PENDING], 0);
    assert_int_equal(r.same, 5);
    assert_int_equal(r.most_same, 6);
    assert_true(fabs(gq_fetch_alive_share(&r) - 11.0 / 29) < 1e-12);
    server_stop();
    report("misbehaving servers", FAST, begin);
}

static void slow_servers(void **state)
{
    gq_fetch_report r;
    gq_error        err = {0};
    double          begin = gq_now();
    (void)state;
    need_libcurl();
    fresh();
    server_start(misbehave);
    const char   *list = list_of(slow, SLOW);
    gq_fetch_opts o = options(&list);
    o.slow_ms = 150;
    o.slow_bytes = 1000;
    assert_fails(gq_fetch_gifs(&o, &r, &err), GQ_EINPUT, &err, "none of 10 requests had an answer");
    check_all(slow, SLOW);
    fresh();                            /* the limit on all of a request, with none on the pace */
    o.slow_bytes = 0;
    o.total_ms = 100;
    o.tries = 1;
    assert_fails(gq_fetch_gifs(&o, &r, &err), GQ_EINPUT, &err, "none of 5 requests had an answer");
    assert_int_equal(r.fate[GQ_FETCH_FAILED], SLOW);
    server_stop();
    report("slow servers", 2 * SLOW, begin);
}

/* ---- one connection for many ----------------------------------------------------------------- */

/* A whole answer more than was asked for, which must not become that of the next request. */
static bool two_answers(const server_request *r)
{
    made m = gif(20), other = gif(66);
    if (strcmp(r->path, "/next.gif") == 0)
        m = gif(21);
    send_gif(r->fd, &m);
    return strcmp(r->path, "/late.gif") == 0 ? server_nap(r->fd, 30) && send_gif(r->fd, &other)
                                             : send_gif(r->fd, &other);
}

static void framing(void **state)
{
    gq_fetch_report r;
    gq_error        err = {0};
    char            text[512];
    (void)state;
    need_libcurl();
    for (int late = 0; late < 2; late++) {
        fresh();
        server_start(two_answers);
        snprintf(text, sizeof text, "http://127.0.0.1:%d/%s.gif\nhttp://127.0.0.1:%d/next.gif\n",
                 server.port, late ? "late" : "early", server.port);
        const char   *list = put("list.txt", text);
        gq_fetch_opts o = options(&list);
        o.connections = 1;
        o.interval_ms = late ? 100 : 0;          /* the late answer comes while nobody asks */
        assert_ok(gq_fetch_gifs(&o, &r, &err), &err);
        assert_int_equal(r.fate[GQ_FETCH_ALIVE], 2);
        made m = gif(20);
        is_gif(late ? "late.gif" : "early.gif", &m);
        m = gif(21);
        is_gif("next.gif", &m);
        server_stop();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(misbehaving_servers),
        cmocka_unit_test(slow_servers),
        cmocka_unit_test(framing),
    };
    return cmocka_run_group_tests(tests, begin_all, end_all);
}
