/* gifqa-prep fetch as a user meets it: help, usage, the report, exit codes, and a program that is
 * killed or told to stop while a GIF is on its way. */
#include "shell.h"

#include <signal.h>

#include "data/fetch_server.h"
#include "data/gifwrite.h"

static gq_bytes gif;                    /* what the server sends                                  */
static int      deadly;                 /* signal to send to the client at ...                    */
static char     deadly_at[64];          /* ... the first request of this path, half way           */
static bool     with_curl;

#define FETCH "gifqa-prep fetch --allow-private 127.0.0.1 --rate 1000 --pause-ms 1 "

static void signal_client(int number)
{
    char path[1024], text[32] = "";
    shell_path("pid", path);
    FILE *f = fopen(path, "r");
    if (f && fgets(text, sizeof text, f))
        kill((pid_t)atoi(text), number);
    if (f)
        fclose(f);
}

static bool serve(const server_request *r)
{
    if (strstr(r->path, "gone"))
        return server_say(r->fd, "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n");
    if (strstr(r->path, "never"))
        return server_say(r->fd, "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n");
    server_say(r->fd, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", gif.size);
    if (strcmp(r->path, deadly_at) == 0 && r->nth == 1) {
        server_send(r->fd, gif.data, gif.size / 2);
        signal_client(deadly);
        server_nap(r->fd, 20000);
        return false;
    }
    return server_send(r->fd, gif.data, gif.size);
}

static int begin(void **state)
{
    uint8_t     index[4 * 64];
    static const uint8_t palette[2][3] = {{0, 0, 0}, {250, 200, 150}};
    char        path[1024];
    gq_error    err = {0};
    (void)state;
    if (access("/dev/shm", W_OK) == 0)  /* every GIF is synced: not on a slow disk */
        setenv("TMPDIR", "/dev/shm", 0);
    shell_begin("gifqa-prep");
    for (int k = 0; k < 4 * 64; k++)
        index[k] = (uint8_t)(k * k / 7 % 2);
    shell_path("one.gif", path);
    assert_ok(gq_gif_write(path, 8, 8, index, 4, palette, 2, 7, &err), &err);
    assert_ok(gq_read_file(path, 1 << 20, &gif, &err), &err);
    if (!shell_absent)
        with_curl = shell_run("touch none.txt; gifqa-prep fetch none.txt -o none") != 2;
    if (!with_curl)
        assert_non_null(strstr(shell.err, "libcurl4-openssl-dev"));
    return 0;
}

static int end(void **state)
{
    gq_bytes_free(&gif);
    return shell_end(state);
}

static void urls(const char *name, const char *const *path, int n)
{
    char text[4096] = "";
    for (int k = 0; k < n; k++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "http://127.0.0.1:%d/%s.gif\n",
                 server.port, path[k]);
    shell_put(name, text);
}

static void usage(void **state)
{
    (void)state;
    need_program();
    shell_help("gifqa-prep fetch");
    shell_expect("gifqa-prep fetch", 2, NULL, "arguments are missing");
    shell_expect("gifqa-prep fetch urls.txt", 2, NULL, "-o DIR is missing");
    shell_expect("gifqa-prep fetch urls.txt -o out --rate 0", 2, NULL, "--rate");
    if (!with_curl)
        skip();
    shell_expect("gifqa-prep fetch absent.txt -o out", 4, NULL, "absent.txt");
    shell_expect("gifqa-prep fetch none.txt -o out", 4, NULL, "none.txt: has no URL");
    shell_expect("gifqa-prep fetch none.txt -o out --contact '(me)'", 2, NULL, "plain text");
    shell_expect("gifqa-prep fetch none.txt -o out --placeholder 12", 2, NULL, "is no SHA-256");
}

static void fetching(void **state)
{
    static const char *const some[] = {"a", "b", "gone", "never", "c"};
    static const char *const none[] = {"never"};
    (void)state;
    need_program();
    if (!with_curl)
        skip();
    *deadly_at = 0;
    server_start(serve);
    urls("urls.txt", some, 5);
    shell_expect(FETCH "urls.txt -o gifs", 0, "alive              3  the GIF is there\n",
                 "1 URLs are open: the same command asks for them again");
    assert_non_null(strstr(shell.out, "gifs: 5 URLs in 5 rows; alive share 0.7500; "));
    assert_non_null(strstr(shell.err, "3 GIFs are the same"));
    shell_expect("cmp one.gif gifs/b.gif && ! ls gifs/gone.gif", 0, "", "");
    shell_expect(FETCH "urls.txt -o gifs --json", 0, "", "");
    json_t *o = shell_json();
    json_t *fates = json_object_get(o, "fates");
    assert_int_equal(shell_int(o, "known"), 4);
    assert_int_equal(shell_int(o, "requests"), 4);
    assert_int_equal(shell_int(fates, "alive"), 3);
    assert_int_equal(shell_int(fates, "gone"), 1);
    assert_int_equal(shell_int(fates, "failed"), 1);
    json_decref(o);
    shell_expect("gifqa-prep fetch urls.txt -o other", 0, "barred             5", "");
    urls("urls.txt", none, 1);
    shell_expect(FETCH "urls.txt -o open", 4, "", "none of 4 requests had an answer");
    server_stop();
}

/* The same list again and again, each time ended at another URL: at the end all is there, and no GIF
 * was asked for twice but the one that was on its way. */
static void ended_half_way(int number, int code, int last)
{
    static const char *const some[] = {"1", "2", "3", "gone", "4", "5"};
    char                     path[64];
    for (int k = 0; k <= last; k++) {
        if (k == 3)
            continue;
        deadly = number;
        snprintf(deadly_at, sizeof deadly_at, "/%s.gif", some[k]);
        server_start(serve);
        urls("urls.txt", some, 6);
        shell_run("rm -rf cut");
        int got = shell_run("sh -c 'echo $$ > pid; exec " FETCH "urls.txt -o cut --connections 1'; exit $?");
        if (got != code)
            fail_msg("signal %d at %s: exit %d: %s", number, deadly_at, got, shell.err);
        shell_expect(FETCH "urls.txt -o cut", 0, "alive              5", "");
        shell_expect("ls -A cut | tr '\\n' ' '", 0,
                     ".lock 1.gif 2.gif 3.gif 4.gif 5.gif fetch.tsv ", NULL);
        shell_expect("for f in cut/*.gif; do cmp one.gif $f || exit 1; done", 0, NULL, NULL);
        for (int i = 0; i < 6; i++) {
            snprintf(path, sizeof path, "/%s.gif", some[i]);
            assert_int_equal(server_count(path), i == k ? 2 : 1);
        }
        server_stop();
    }
}

static void killed(void **state)
{
    (void)state;
    need_program();
    if (!with_curl)
        skip();
    ended_half_way(SIGKILL, 128 + SIGKILL, 5);
}

static void stopped(void **state)
{
    (void)state;
    need_program();
    if (!with_curl)
        skip();
    ended_half_way(SIGTERM, 75, 4);
    ended_half_way(SIGINT, 75, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usage),
        cmocka_unit_test(fetching),
        cmocka_unit_test(killed),
        cmocka_unit_test(stopped),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
