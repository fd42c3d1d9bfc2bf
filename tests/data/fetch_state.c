/* What gq_fetch_gifs() keeps to whatever servers do: whose turn it is, who is not asked, names, the
 * record, going on after a stop, full disks and failing allocations. R8, R13. */
#include <signal.h>
#include <sys/resource.h>

#include "data/fetch_private.h"
#include "fetch_made.h"

/* ---- politeness ------------------------------------------------------------------------------ */

static atomic_int asked, most_asked;    /* requests that wait for their answer                    */

static bool keeps_count(const server_request *r)
{
    made m = gif(1);
    int  now = atomic_fetch_add(&asked, 1) + 1, most = atomic_load(&most_asked);
    while (now > most && !atomic_compare_exchange_weak(&most_asked, &most, now))
        ;
    server_nap(r->fd, 20);
    atomic_fetch_sub(&asked, 1);
    return send_gif(r->fd, &m);
}

static const char *numbered(int n)
{
    static char text[1 << 14];
    size_t      at = 0;
    for (int k = 0; k < n; k++)
        at += (size_t)snprintf(text + at, sizeof text - at, "http://127.0.0.1:%d/%d.gif\n", server.port,
                               k);
    return put("list.txt", text);
}

static void politeness(void **state)
{
    gq_fetch_report r;
    gq_error        err = {0};
    (void)state;
    need_libcurl();
    fresh();
    server_start(keeps_count);
    const char   *list = numbered(20);
    gq_fetch_opts o = options(&list);
    o.per_host = 3;
    o.contact = "mailto:me@example.org";
    assert_ok(gq_fetch_gifs(&o, &r, &err), &err);
    assert_int_equal(r.fate[GQ_FETCH_ALIVE], 20);
    assert_true(atomic_load(&most_asked) >= 1 && atomic_load(&most_asked) <= 3);
    assert_non_null(strstr(server.last_header, "\r\nUser-Agent: gifqa/" GIFQA_VERSION
                                               " (gifqa-prep fetch; mailto:me@example.org)\r\n"));
    assert_null(strstr(server.last_header, "Accept-Encoding"));
    assert_null(strstr(server.last_header, "Cookie"));
    server_stop();
}

static bool comes_back_tomorrow(const server_request *r)
{
    return send_status(r->fd, "429 Too Many", "Retry-After: 86400\r\n");
}

static void hosts_given_up(void **state)
{
    gq_fetch_report r;
    gq_error        err = {0};
    char            url[64];
    (void)state;
    need_libcurl();
    fresh();
    server_start(comes_back_tomorrow);
    const char   *list = numbered(5);
    gq_fetch_opts o = options(&list);
    o.connections = 1;
    assert_fails(gq_fetch_gifs(&o, &r, &err), GQ_EINPUT, &err, "HTTP 429");
    assert_int_equal(server.total, 1);
    assert_int_equal(r.given_up, 1);
    assert_int_equal(r.fate[GQ_FETCH_PENDING], 4);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/0.gif", server.port);
    assert_int_equal(lines_of(url), 1);
    assert_string_equal(cell[NOTE], "HTTP 429, come back in 86400 s");
    server_stop();

    fresh();
    server_start(always500);
    list = numbered(9);
    o.losses = 3;
    assert_fails(gq_fetch_gifs(&o, &r, &err), GQ_EINPUT, &err, "HTTP 500");
    assert_int_equal(server.total, 3);
    assert_int_equal(r.given_up, 1);
    server_stop();
}

/* The turns alone, with a clock of our own. */
static void turns(void **state)
{
    gq_fetch_opts   o = options(NULL);
    gq_fetch_job    job[6] = {0};
    gq_fetch_list   l = {.job = job, .jobs = 6};
    gq_error        err = {0};
    double          wake;
    (void)state;
    o.connections = 3;
    o.per_host = 2;
    o.interval_ms = 1000;
    gq_fetch_queue *q = gq__queue_new(&o, &l);
    assert_non_null(q);
    assert_true(gq__queue_empty(q));
    for (uint32_t k = 0; k < 6; k++)
        assert_ok(gq__queue_add(q, k, k < 4 ? "a:80" : "b:80", false, &err), &err);
    assert_int_equal(gq__queue_take(q, 100, &wake), 0);
    assert_int_equal(gq__queue_take(q, 100, &wake), 4);          /* another host need not wait */
    assert_int_equal(gq__queue_take(q, 100, &wake), GQ_FETCH_NONE);
    assert_true(wake == 101);
    assert_int_equal(gq__queue_take(q, 101, &wake), 1);
    assert_int_equal(gq__queue_take(q, 109, &wake), GQ_FETCH_NONE);     /* three in flight */
    gq__queue_done(q, 4, false);
    assert_int_equal(gq__queue_take(q, 109, &wake), 5);          /* "a" has its two */
    gq__queue_done(q, 0, true);
    gq__queue_pause(q, 0, 150);                                  /* "a" said: Retry-After */
    assert_ok(gq__queue_later(q, 0, 130, &err), &err);
    assert_int_equal(gq__queue_take(q, 140, &wake), GQ_FETCH_NONE);
    assert_true(wake == 150);
    assert_int_equal(gq__queue_take(q, 150, &wake), 0);          /* the one that waited is first */
    gq__queue_done(q, 0, true);
    gq__queue_done(q, 1, false);
    gq__queue_give_up(q, 1);
    assert_int_equal(gq__queue_given_up(q), 1);
    assert_ok(gq__queue_add(q, 2, "a:80", false, &err), &err);   /* takes none any more */
    assert_false(gq__queue_empty(q));                            /* 5 is in flight */
    gq__queue_done(q, 5, false);
    assert_true(gq__queue_empty(q));
    gq__queue_free(q);
}

/* ---- who must not be asked ------------------------------------------------------------------- */

static void addresses(void **state)
{
    static const struct { const char *text; bool is; } known[] = {
        {"127.0.0.1", true}, {"127.255.255.254", true}, {"10.0.0.1", true}, {"172.16.0.1", true},
        {"172.31.255.255", true}, {"172.32.0.0", false}, {"192.168.1.1", true},
        {"192.169.0.1", false}, {"169.254.169.254", true}, {"100.64.0.1", true},
        {"100.128.0.0", false}, {"0.0.0.0", true}, {"224.0.0.1", true}, {"240.0.0.1", true},
        {"255.255.255.255", true}, {"198.18.0.1", true}, {"198.20.0.0", false}, {"192.0.2.9", true},
        {"203.0.113.5", true}, {"8.8.8.8", false}, {"1.1.1.1", false}, {"223.255.255.255", false},
        {"::1", true}, {"::", true}, {"::ffff:127.0.0.1", true}, {"::ffff:8.8.8.8", false},
        {"::127.0.0.1", true}, {"fe80::1", true}, {"fc00::1", true}, {"fd12:3456::1", true},
        {"fec0::1", true}, {"ff02::1", true}, {"64:ff9b::10.0.0.1", true},
        {"64:ff9b::8.8.8.8", false}, {"64:ff9b:1::1", true}, {"2002:7f00:1::", true},
        {"2002:808:808::", false}, {"2001::1", true}, {"2001:db8::1", true},
        {"2606:4700::1111", false}, {"2a00:1450::5", false}, {"4000::1", true}};
    (void)state;
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        struct sockaddr_in  four = {.sin_family = AF_INET};
        struct sockaddr_in6 six = {.sin6_family = AF_INET6};
        bool v6 = strchr(known[k].text, ':');
        assert_int_equal(inet_pton(v6 ? AF_INET6 : AF_INET, known[k].text,
                                   v6 ? (void *)&six.sin6_addr : (void *)&four.sin_addr), 1);
        if (gq__address_private(v6 ? (const struct sockaddr *)&six : (const struct sockaddr *)&four) !=
            known[k].is)
            fail_msg("%s should be %s", known[k].text, known[k].is ? "private" : "public");
    }
    assert_true(gq__address_private(&(struct sockaddr){.sa_family = AF_UNIX}));
}

static void barred(void **state)
{
    gq_fetch_report r;
    gq_error        err = {0};
    char            text[2048];
    (void)state;
    need_libcurl();
    fresh();
    server_start(bare);
    int n = snprintf(text, sizeof text,
                     "http://127.0.0.1:%d/a.gif\nhttp://localhost:%d/b.gif\nhttp://127.1:%d/c.gif\n"
                     "http://2130706433:%d/d.gif\nhttp://[::ffff:127.0.0.1]:%d/e.gif\n",
                     server.port, server.port, server.port, server.port, server.port);
    snprintf(text + n, sizeof text - (size_t)n,
             "file:///etc/passwd\nftp://127.0.0.1/f.gif\ngopher://127.0.0.1/g.gif\n"
             "http://a:b@127.0.0.1/i.gif\ndict://127.0.0.1:11211/j.gif\nhttp://127.0.0.1 /k.gif\n"
             "http://127.0.0.1/l \x01.gif\nhttp://127.0.0.1:99999/m.gif\n");
    const char   *list = put("list.txt", text);
    gq_fetch_opts o = options(&list);
    o.allows = 0;
    assert_ok(gq_fetch_gifs(&o, &r, &err), &err);
    assert_int_equal(r.urls, 13);
    assert_int_equal(r.fate[GQ_FETCH_BARRED], 13);
    assert_true(gq_fetch_alive_share(&r) < 0);
    assert_int_equal(server.total, 0);
    assert_ok(gq_fetch_gifs(&o, &r, &err), &err);                /* they stay so ... */
    assert_int_equal(r.known, 13);
    o = options(&list);
    o.retry_dead = true;                                         /* ... until one wants it */
    assert_ok(gq_fetch_gifs(&o, &r, &err), &err);
    assert_true(r.fate[GQ_FETCH_ALIVE] >= 1);    /* libcurl takes 127.1 for 127.0.0.1, or not */
    server_stop();
    rig_report(&(rig_result){.rig = "R13", .what = "URLs that must not be asked", .injected = 13,
                             .survived = 13, .note = "0 requests"});
}

static void no_way_there(void **state)
{
    gq_fetch_report r;
    gq_error        err = {0};
    char            text[512];
    (void)state;
    need_libcurl();
    fresh();
    server_start(bare);
    snprintf(text, sizeof text,
             "https://127.0.0.1:%d/tls.gif\nhttp://127.0.0.1:1/closed.gif\n"
             "http://no-such-host.invalid/x.gif\n", server.port);
    const char   *list = put("list.txt", text);
    gq_fetch_opts o = options(&list);
    o.connect_ms = 500;
    o.tries = 1;
    assert_fails(gq_fetch_gifs(&o, &r, &err), GQ_EINPUT, &err, "none of 3 requests had an answer");
    assert_int_equal(r.fate[GQ_FETCH_FAILED], 3);
    server_stop();
}

/* ---- names ----------------------------------------------------------------------------------- */

static void names(void **state)
{
    static const struct { const char *url, *gif, *name; } known[] = {
        {"http://x/a/tumblr_1o1_400.gif", NULL, "tumblr_1o1_400.gif"},
        {"http://x/a.gif?from=/etc/b.gif#c", NULL, "a.gif"},
        {"http://x/a%20b.gif", NULL, "a%20b.gif"},
        {"http://x/other.gif", "of-the-row", "of-the-row.gif"},
        {"http://x/other.gif", "of-the-row.gif", "of-the-row.gif"},
        {"http://x/other.gif", "", "other.gif"},
        {"http://x/a.gif", "../a", NULL}, {"http://x/a.gif", "/etc/passwd", NULL},
        {"http://x/a.gif", "a\nb", NULL}, {"http://x/a.gif", "a\x1b[2J", NULL},
        {"http://x/.gif", NULL, NULL}, {"http://x/..gif", NULL, NULL},
        {"http://x/..%2f..%2fetc.gif", NULL, NULL}, {"http://x/.lock.gif", NULL, NULL},
        {"http://x/-rf.gif", NULL, NULL}, {"http://x/a\\..\\b.gif", NULL, NULL},
        {"http://x/", NULL, NULL}, {"http://x", NULL, NULL}, {"http://x/fetch.tsv", NULL, NULL},
        {"http://x/a.png", NULL, NULL}, {"http://x/caf\xc3\xa9.gif", NULL, NULL},
        {"http://x/a b.gif", NULL, NULL}, {"", NULL, NULL}};
    char name[GQ_FETCH_NAME + 1], url[400] = "http://x/";
    (void)state;
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        bool own = gq__fetch_name_of(known[k].url, known[k].gif, name);
        if (own != (known[k].name != NULL) || (own && strcmp(name, known[k].name) != 0))
            fail_msg("%s, %s: '%s'", known[k].url, known[k].gif ? known[k].gif : "none", name);
        if (strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.%") !=
                strlen(name) || name[0] == '.' || strlen(name) < 5)
            fail_msg("%s: '%s'", known[k].url, name);
    }
    memset(url + 9, 'a', 300);
    strcpy(url + 309, ".gif");
    assert_false(gq__fetch_name_of(url, NULL, name));
    assert_true(strlen(name) <= GQ_FETCH_NAME);
    rig_report(&(rig_result){.rig = "R13", .what = "names of files from URLs", .note = "0 escapes",
                             .injected = sizeof known / sizeof *known + 1,
                             .survived = sizeof known / sizeof *known + 1});
}

static bool of_its_path(const server_request *r)
{
    made m = gif((unsigned)strlen(r->path));
    return send_gif(r->fd, &m);
}

/* Two URLs that want one name, twice the same URL, and names that lead out. */
static void names_meet(void **state)
{
    gq_fetch_report r;
    gq_error        err = {0};
    char            text[2048], url[256], second[256];
    char          **name;
    size_t          n;
    int             p;
    (void)state;
    need_libcurl();
    fresh();
    server_start(of_its_path);
    p = server.port;
    snprintf(text, sizeof text,
             "http://127.0.0.1:%d/a.gif\tone\nhttp://127.0.0.1:%d/a.gif\tonce more\n"
             "http://127.0.0.1:%d/other/a.gif\tanother\nhttp://127.0.0.1:%d/..%%2f..%%2fx.gif\tout\n"
             "http://127.0.0.1:%d/../../y.gif\tup\nnot\ta\tpair\n", p, p, p, p, p);
    const char   *list = put("list.tsv", text);
    gq_fetch_opts o = options(&list);
    assert_ok(gq_fetch_gifs(&o, &r, &err), &err);
    assert_int_equal(r.rows, 5);
    assert_int_equal(r.bad_rows, 1);
    assert_non_null(strstr(r.bad_row, "list.tsv:6: 3 fields, there should be 2"));
    assert_int_equal(r.urls, 4);
    assert_int_equal(r.renamed, 2);
    assert_int_equal(r.fate[GQ_FETCH_ALIVE], 4);
    made m = gif((unsigned)strlen("/a.gif"));
    is_gif("a.gif", &m);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/other/a.gif", p);
    assert_int_equal(lines_of(url), 1);
    assert_int_equal(strncmp(cell[GIF], "a-", 2), 0);
    m = gif((unsigned)strlen("/other/a.gif"));
    is_gif(cell[GIF], &m);
    snprintf(second, sizeof second, "%s", cell[GIF]);

    snprintf(text, sizeof text, "http://127.0.0.1:%d/other/a.gif\n", p);     /* alone: as before */
    list = put("list.txt", text);
    assert_ok(gq_fetch_gifs(&o, &r, &err), &err);
    assert_int_equal(r.known, 1);
    assert_int_equal(lines_of(url), 1);
    assert_string_equal(cell[GIF], second);
    assert_ok(gq_list_dir(o.out, &name, &n, &err), &err);
    assert_int_equal(n, 6);             /* .lock, fetch.tsv, four GIFs */
    while (n)
        gq_free(name[--n]);
    gq_free(name);
    server_stop();
}

/* ---- going on -------------------------------------------------------------------------------- */

static bool sometimes(const server_request *r)
{
    made m = gif((unsigned)atoi(r->path + 1) + 100);
    if (strcmp(r->path, "/5.gif") == 0 && r->nth == 1)
        return server_nap(r->fd, 20000);         /* somebody will stop the client meanwhile */
    return strcmp(r->path, "/3.gif") == 0 ? gone404(r) : send_gif(r->fd, &m);
}

static bool until_five(void *ctx, const gq_progress *p)
{
    (void)ctx;
    (void)p;
    return server_count("/5.gif") == 0;
}

static void damage(const char *name, const char *with)
{
    char path[1024], to[64];
    snprintf(to, sizeof to, "out/%s", name);
    if (with) {
        put(to, with);
    } else {
        in_dir(to, path);
        assert_int_equal(unlink(path), 0);
    }
}

static void resuming(void **state)
{
    gq_fetch_report r;
    gq_error        err = {0};
    char            url[64], path[1024];
    FILE           *f;
    (void)state;
    need_libcurl();
    fresh();
    server_start(sometimes);
    const char   *list = numbered(8);
    gq_fetch_opts o = options(&list);
    o.most = 2;
    assert_ok(gq_fetch_gifs(&o, &r, &err), &err);
    assert_int_equal(r.fate[GQ_FETCH_ALIVE], 2);
    assert_int_equal(r.fate[GQ_FETCH_PENDING], 6);
    assert_int_equal(server.total, 2);

    o.most = 0;
    o.connections = 1;
    o.progress = until_five;
    assert_fails(gq_fetch_gifs(&o, &r, &err), GQ_ESTOPPED, &err, "run it again");
    err = (gq_error){0};
    assert_int_equal(server.total, 6);
    o.progress = NULL;
    assert_ok(gq_fetch_gifs(&o, &r, &err), &err);
    assert_int_equal(server.total, 9);
    assert_int_equal(r.fate[GQ_FETCH_ALIVE], 7);
    assert_int_equal(r.fate[GQ_FETCH_GONE], 1);

    damage("1.gif", NULL);              /* lost */
    damage("2.gif", "GIF89a");          /* damaged */
    in_dir("out/fetch.tsv", path);      /* a line torn by a kill */
    assert_non_null(f = fopen(path, "a"));
    fputs("http://127.0.0.1/torn", f);
    fclose(f);
    put("out/.tmp-5.gif-1", "what a killed writer left");
    assert_ok(gq_fetch_gifs(&o, &r, &err), &err);
    assert_int_equal(server.total, 11);
    assert_int_equal(r.known, 6);
    made m = gif(102);
    is_gif("2.gif", &m);
    no_file(".tmp-5.gif-1");

    assert_ok(gq_fetch_gifs(&o, &r, &err), &err);
    assert_int_equal(server.total, 11);
    o.retry_dead = true;
    assert_ok(gq_fetch_gifs(&o, &r, &err), &err);
    assert_int_equal(server.total, 12);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/3.gif", server.port);
    assert_int_equal(lines_of(url), 2);
    assert_string_equal(cell[ATTEMPTS], "2");

    damage("fetch.tsv", NULL);          /* the GIFs are there all the same */
    o.retry_dead = false;
    assert_ok(gq_fetch_gifs(&o, &r, &err), &err);
    assert_int_equal(r.adopted, 7);
    assert_int_equal(server.total, 13);
    server_stop();
}

static void record_damaged(void **state)
{
#define HEAD "url\tgif\tfate\tstatus\tbytes\tsha256\tattempts\ttime\tnote\n"
    static const struct { const char *text, *says; } bad[] = {
        {"url\tgif\n", "has no column"},
        {HEAD "http://x/a.gif\ta.gif\tfine\t200\t1\t\t1\tt\t\n", "fetch.tsv:2: there is no such fate"},
        {HEAD "http://x/a.gif\ta.gif\tgone\t-4\t1\t\t1\tt\t\n", "is no such number"},
        {HEAD "http://x/a.gif\ta.gif\talive\t200\t1\t\t1\tt\t\n", "sha256 is none"},
        {HEAD "http://x/a.gif\ta.gif\talive\t200\t1\tABC\t1\tt\t\n", "sha256 is none"},
        {HEAD "http://x/a.gif\t../a.gif\tgone\t404\t0\t\t1\tt\t\n", "is not the name"},
        {HEAD "http://x/a.gif\ta.png\tgone\t404\t0\t\t1\tt\t\n", "is not the name"},
        {HEAD "http://x/a.gif\ta.gif\tgone\t404\t0\t\t1\tt\t\nhttp://x/b.gif\ta.gif\tgone\t404\t0\t\t1"
              "\tt\t\n", "fetch.tsv:3: 'a.gif' belongs to another URL"},
        {HEAD "http://x/a.gif\ta.gif\n", "2 fields, the header has 9; remove this line"}};
    gq_fetch_report r;
    gq_error        err = {0};
    (void)state;
    need_libcurl();
    const char   *list;
    gq_fetch_opts o = options(&list);
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        fresh();
        list = put("list.txt", "http://127.0.0.1:1/a.gif\n");
        err = (gq_error){0};
        assert_ok(gq_mkdirs(o.out, &err), &err);
        put("out/fetch.tsv", bad[k].text);
        assert_fails(gq_fetch_gifs(&o, &r, &err), GQ_EINPUT, &err, bad[k].says);
    }
}

static void in_use(void **state)
{
    gq_fetch_report r;
    gq_error        err = {0};
    gq_lock        *lock;
    char            path[1024];
    (void)state;
    need_libcurl();
    fresh();
    const char   *list = put("list.txt", "http://127.0.0.1:1/a.gif\n");
    gq_fetch_opts o = options(&list);
    assert_ok(gq_mkdirs(o.out, &err), &err);
    in_dir("out/.lock", path);
    assert_ok(gq_lock_take(path, &lock, &err), &err);
    assert_fails(gq_fetch_gifs(&o, &r, &err), GQ_EBUSY, &err, "");
    gq_lock_release(lock);
}

/* ---- disk and memory ------------------------------------------------------------------------- */

static bool large(const server_request *r)
{
    made m = big_gif();
    return send_gif(r->fd, &m);
}

/* No file may have more bytes than the record of these URLs, less than a GIF has. */
static void disk_full(void **state)
{
    struct rlimit   was, now;
    gq_fetch_report r;
    gq_error        err = {0};
    (void)state;
    need_libcurl();
    fresh();
    server_start(large);
    const char   *list = numbered(4);
    gq_fetch_opts o = options(&list);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    now = was;
    now.rlim_cur = 6000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &now), 0);
    gq_status s = gq_fetch_gifs(&o, &r, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    assert_int_equal(s, GQ_EDISK);
    assert_int_equal(r.fate[GQ_FETCH_ALIVE], 0);
    no_file("0.gif");
    err = (gq_error){0};
    assert_ok(gq_fetch_gifs(&o, &r, &err), &err);
    assert_int_equal(r.fate[GQ_FETCH_ALIVE], 4);
    made m = big_gif();
    is_gif("0.gif", &m);
    server_stop();
}

/* Every allocation of ours fails once; each time the same call goes on to the same end. */
static void no_memory(void **state)
{
    gq_fetch_report r;
    gq_error        err = {0};
    gq_status       s = GQ_ENOMEM;
    int             n = 0;
    double          begin = gq_now();
    (void)state;
    need_libcurl();
    server_start(sometimes);
    const char   *list = numbered(4);
    gq_fetch_opts o = options(&list);
    o.connections = 1;
    while (s != GQ_OK) {
        fresh();
        err = (gq_error){0};
        gq_mem_fail_at((uint64_t)++n, false);
        s = gq_fetch_gifs(&o, &r, &err);
        gq_mem_fail_at(0, false);
        if (s != GQ_OK && s != GQ_ENOMEM)
            fail_msg("allocation %d: %d, %s", n, (int)s, err.text);
        if (s != GQ_OK) {
            err = (gq_error){0};
            assert_ok(gq_fetch_gifs(&o, &r, &err), &err);
        }
        assert_int_equal(r.fate[GQ_FETCH_ALIVE], 3);
        assert_int_equal(r.fate[GQ_FETCH_GONE], 1);
    }
    assert_true(n > 30);
    server_stop();
    rig_report(&(rig_result){.rig = "R8", .what = "allocations of a fetch", .injected = n - 1,
                             .survived = n - 1, .seconds = gq_now() - begin});
}

/* ---- lists and options ----------------------------------------------------------------------- */

static void lists(void **state)
{
    gq_fetch_report r;
    gq_error        err = {0};
    char            text[1024], one[1024], two[1024];
    int             p;
    (void)state;
    need_libcurl();
    fresh();
    server_start(sometimes);
    p = server.port;
    snprintf(text, sizeof text,
             "gif\tdescription\tsplit\turl\nzero\ta man\ttrain\thttp://127.0.0.1:%d/0.gif\n"
             "zero\t\"so\ttrain\thttp://127.0.0.1:%d/0.gif\none\ta cat\tval\thttp://127.0.0.1:%d/1.gif\n",
             p, p, p);
    snprintf(one, sizeof one, "%s", put("captions.tsv", text));
    snprintf(text, sizeof text, "\xEF\xBB\xBFhttp://127.0.0.1:%d/2.gif\r\n\r\nhttp://127.0.0.1:%d/0.gif\r\n",
             p, p);
    snprintf(two, sizeof two, "%s", put("list.txt", text));
    const char   *both[] = {one, two};
    gq_fetch_opts o = options(both);
    o.split = "val";
    assert_ok(gq_fetch_gifs(&o, &r, &err), &err);
    assert_int_equal(r.rows, 1);
    made m = gif(101);
    is_gif("one.gif", &m);
    o.split = "test";
    assert_fails(gq_fetch_gifs(&o, &r, &err), GQ_EINPUT, &err, "has no URL of split test");
    o.n = 2;
    assert_fails(gq_fetch_gifs(&o, &r, &err), GQ_EINPUT, &err, "has no column 'split'");
    o.split = NULL;
    assert_ok(gq_fetch_gifs(&o, &r, &err), &err);
    assert_int_equal(r.rows, 5);
    assert_int_equal(r.urls, 3);
    m = gif(100);
    is_gif("zero.gif", &m);
    server_stop();
    o.n = 1;
    snprintf(one, sizeof one, "%s", put("list.txt", "url\n"));
    assert_fails(gq_fetch_gifs(&o, &r, &err), GQ_EINPUT, &err, "has no URL");
    put("list.txt", "name\nhttp://x/a.gif\n");
    assert_fails(gq_fetch_gifs(&o, &r, &err), GQ_EINPUT, &err, "has no column 'url'");
}

static void wrong_options(void **state)
{
    gq_fetch_report r;
    gq_error        err = {0};
    const char     *bad[] = {"12"}, *list = "x";
    (void)state;
    need_libcurl();
    gq_fetch_opts o = options(&list);
    o.per_host = 65;
    assert_fails(gq_fetch_gifs(&o, &r, &err), GQ_EUSAGE, &err, "per_host is 65, not 1 to 64");
    o = options(&list);
    o.limits.max_bytes = 0;
    assert_fails(gq_fetch_gifs(&o, &r, &err), GQ_EUSAGE, &err, "max_bytes");
    o = options(&list);
    o.contact = "me\r\nX-Header: injected";
    assert_fails(gq_fetch_gifs(&o, &r, &err), GQ_EUSAGE, &err, "not plain text");
    o = options(&list);
    o.placeholder = bad;
    o.placeholders = 1;
    assert_fails(gq_fetch_gifs(&o, &r, &err), GQ_EUSAGE, &err, "is no SHA-256");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(politeness),     cmocka_unit_test(hosts_given_up),
        cmocka_unit_test(turns),          cmocka_unit_test(addresses),
        cmocka_unit_test(barred),         cmocka_unit_test(no_way_there),
        cmocka_unit_test(names),          cmocka_unit_test(names_meet),
        cmocka_unit_test(resuming),       cmocka_unit_test(record_damaged),
        cmocka_unit_test(in_use),         cmocka_unit_test(disk_full),
        cmocka_unit_test(no_memory),      cmocka_unit_test(lists),
        cmocka_unit_test(wrong_options),
    };
    return cmocka_run_group_tests(tests, begin_all, end_all);
}
