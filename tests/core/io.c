/* core/io*.c: whole files, gzip, atomic replacement under every fault, torn logs, directories,
 * locks, hashes. */
#include "core/io.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <zlib.h>

#include "core/mem.h"
#include "faults.h"
#include "support.h"

static const char *dir;                 /* scratch, fresh for each test                           */

static int make_dir(void **state)
{
    static char path[64];
    (void)state;
    snprintf(path, sizeof path, "%s", gq_scratch());
    dir = path;
    return 0;
}

static int drop_dir(void **state)
{
    (void)state;
    return gq_remove_tree(dir, NULL) == GQ_OK && !gq_is_dir(dir) ? 0 : -1;
}

static const char *in_dir(const char *name)
{
    static char paths[4][256];
    static int  next;
    char       *p = paths[next++ & 3];
    snprintf(p, sizeof paths[0], "%s/%s", dir, name);
    return p;
}

static void put_text(const char *path, const char *text)
{
    gq_error err = {0};
    assert_ok(gq_write_file(path, text, strlen(text), &err), &err);
}

static void expect_text(const char *path, const char *want)
{
    gq_error err = {0};
    gq_bytes b;
    assert_ok(gq_read_file(path, 1 << 20, &b, &err), &err);
    assert_int_equal(b.size, strlen(want));
    assert_string_equal((char *)b.data, want);
    gq_bytes_free(&b);
}

/* All names in the scratch directory, joined by spaces. */
static void expect_names(const char *want)
{
    char     have[512] = "", **names;
    size_t   n;
    gq_error err = {0};
    assert_ok(gq_list_dir(dir, &names, &n, &err), &err);
    for (size_t i = 0; i < n; i++) {
        snprintf(have + strlen(have), sizeof have - strlen(have), "%s%s", i ? " " : "", names[i]);
        gq_free(names[i]);
    }
    gq_free(names);
    assert_string_equal(have, want);
}

/* Runs fn in a child; its exit code, or minus the signal. */
static int in_child(int (*fn)(void))
{
    int   status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(fn());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/* ---- reading --------------------------------------------------------------------------------- */

static void whole_files(void **state)
{
    gq_error err = {0};
    gq_bytes b;
    (void)state;
    put_text(in_dir("f"), "hello");
    assert_ok(gq_read_file(in_dir("f"), 5, &b, &err), &err);
    assert_string_equal((char *)b.data, "hello");
    gq_bytes_free(&b);
    assert_null(b.data);
    assert_fails(gq_read_file(in_dir("f"), 4, &b, &err), GQ_EINPUT, &err,
                 "5 bytes, larger than the limit of 4");
    assert_null(b.data);
    put_text(in_dir("empty"), "");
    gq_error_clear(&err);
    assert_ok(gq_read_file(in_dir("empty"), 0, &b, &err), &err);
    assert_true(b.size == 0 && b.data[0] == 0);
    gq_bytes_free(&b);
    assert_fails(gq_read_file(in_dir("none"), 9, &b, &err), GQ_EINPUT, &err, "No such file");
    assert_fails(gq_read_file(dir, 9, &b, &err), GQ_EINPUT, &err, "is a directory");
    assert_int_equal(mkfifo(in_dir("fifo"), 0600), 0);       /* must not hang */
    assert_fails(gq_read_file(in_dir("fifo"), 9, &b, &err), GQ_EINPUT, &err, "not a regular file");
    assert_fails(gq_read_file("/dev/zero", 9, &b, &err), GQ_EINPUT, &err, "not a regular file");
    gq_error_clear(&err);
    assert_ok(gq_read_file("/proc/self/status", 1 << 20, &b, &err), &err); /* says it has 0 bytes */
    assert_true(b.size > 100 && strlen((char *)b.data) == b.size);
    gq_bytes_free(&b);
    assert_fails(gq_read_file("/proc/self/status", 100, &b, &err), GQ_EINPUT, &err, "limit of 100");
}

static void maps(void **state)
{
    gq_error err = {0};
    gq_map   m;
    (void)state;
    put_text(in_dir("f"), "hello");
    put_text(in_dir("empty"), "");
    assert_ok(gq_map_open(in_dir("f"), &m, &err), &err);
    assert_int_equal(m.size, 5);
    assert_memory_equal(m.data, "hello", 5);
    gq_map_close(&m);
    assert_ok(gq_map_open(in_dir("empty"), &m, &err), &err);
    assert_int_equal(m.size, 0);
    assert_non_null(m.data);
    gq_map_close(&m);
    gq_map_close(&m);                                        /* closing nothing is fine */
    assert_fails(gq_map_open(in_dir("none"), &m, &err), GQ_EINPUT, &err, "cannot open");
    assert_fails(gq_map_open(dir, &m, &err), GQ_EINPUT, &err, "is a directory");
}

/* ---- gzip ------------------------------------------------------------------------------------ */

static size_t deflated(const void *data, size_t n, uint8_t *out, size_t room)
{
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)data;
    z.avail_in = (uInt)n;
    z.next_out = out;
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return room - z.avail_out;
}

static void gzip_files(void **state)
{
    static uint8_t plain[300000], packed[400000];
    gq_error       err = {0};
    gq_bytes       b;
    size_t         n, two;
    (void)state;

    for (size_t i = 0; i < sizeof plain; i++)
        plain[i] = (uint8_t)(i * i >> 7);
    n = deflated(plain, sizeof plain, packed, sizeof packed);
    assert_ok(gq_write_file(in_dir("a.gz"), packed, n, &err), &err);
    assert_ok(gq_read_gz(in_dir("a.gz"), sizeof plain, &b, &err),
              &err); /* the limit is met exactly */
    assert_int_equal(b.size, sizeof plain);
    assert_memory_equal(b.data, plain, sizeof plain);
    assert_int_equal(b.data[b.size], 0);
    gq_bytes_free(&b);
    assert_fails(gq_read_gz(in_dir("a.gz"), sizeof plain - 1, &b, &err), GQ_EINPUT, &err,
                 "inflated, it is larger");
    assert_null(b.data);

    two = n + deflated("more", 4, packed + n, sizeof packed - n);    /* two members, then padding */
    memset(packed + two, 0, 100);
    gq_error_clear(&err);
    assert_ok(gq_write_file(in_dir("a.gz"), packed, two + 100, &err), &err);
    assert_ok(gq_read_gz(in_dir("a.gz"), 1 << 20, &b, &err), &err);
    assert_int_equal(b.size, sizeof plain + 4);
    assert_memory_equal(b.data + sizeof plain, "more", 4);
    gq_bytes_free(&b);

    packed[two] = 'x';
    assert_ok(gq_write_file(in_dir("a.gz"), packed, two + 1, &err), &err);
    assert_fails(gq_read_gz(in_dir("a.gz"), 1 << 20, &b, &err), GQ_EINPUT, &err, "data after gzip");
    for (size_t cut = 2; cut < n; cut += n / 37) {
        gq_error_clear(&err);
        assert_ok(gq_write_file(in_dir("a.gz"), packed, cut, &err), &err);
        assert_fails(gq_read_gz(in_dir("a.gz"), 1 << 20, &b, &err), GQ_EINPUT, &err, "ends early");
    }
    packed[n / 2] ^= 1;
    gq_error_clear(&err);
    assert_ok(gq_write_file(in_dir("a.gz"), packed, n, &err), &err);
    assert_fails(gq_read_gz(in_dir("a.gz"), 1 << 20, &b, &err), GQ_EINPUT, &err,
                 "damaged gzip data");
    gq_error_clear(&err);
    put_text(in_dir("plain"), "not packed");                 /* taken as it is */
    assert_ok(gq_read_gz(in_dir("plain"), 10, &b, &err), &err);
    assert_string_equal((char *)b.data, "not packed");
    gq_bytes_free(&b);
    assert_fails(gq_read_gz(in_dir("plain"), 9, &b, &err), GQ_EINPUT, &err, "limit of 9");
}

static void gzip_bomb(void **state)
{
    static uint8_t zeros[1 << 20], packed[1 << 16];
    gq_error       err = {0};
    gq_bytes       b;
    (void)state;
    size_t n = deflated(zeros, sizeof zeros, packed, sizeof packed);
    assert_true(n < 2000);
    assert_ok(gq_write_file(in_dir("bomb"), packed, n, &err), &err);
    assert_fails(gq_read_gz(in_dir("bomb"), 100000, &b, &err), GQ_EINPUT, &err, "limit of 100000");
}

/* ---- atomic writing -------------------------------------------------------------------------- */

static void atomic_replace(void **state)
{
    gq_error err = {0};
    gq_file *f;
    char     tmp[64];
    (void)state;
    put_text(in_dir("f"), "old");
    assert_ok(gq_atomic_open(in_dir("f"), &f, &err), &err);
    snprintf(tmp, sizeof tmp, ".tmp-f-%ld f", (long)getpid());
    expect_names(tmp);
    assert_ok(gq_file_printf(f, &err, "%s %d\n", "new", 7), &err);
    assert_ok(gq_file_write(f, "", 0, &err), &err);
    assert_int_equal(gq_file_tell(f), 6);
    expect_text(in_dir("f"), "old");
    assert_ok(gq_atomic_commit(f, &err), &err);
    expect_text(in_dir("f"), "new 7\n");
    expect_names("f");
    assert_ok(gq_atomic_open(in_dir("f"), &f, &err), &err);
    assert_ok(gq_file_write(f, "x", 1, &err), &err);
    gq_atomic_abort(f);
    gq_atomic_abort(NULL);
    expect_text(in_dir("f"), "new 7\n");
    expect_names("f");
    assert_fails(gq_atomic_open(in_dir("no/such/dir"), &f, &err), GQ_EDISK, &err, "cannot create");
    assert_null(f);
    assert_fails(gq_write_file(dir, "x", 1, &err), GQ_EDISK, &err,
                 "cannot replace"); /* a directory */
}

/* Pieces of all sizes around the buffer's, and a text longer than the stack buffer. */
static void pieces(void **state)
{
    enum { TOTAL = 700000 };
    uint8_t *want = gq_malloc(TOTAL + 5000, 1);
    char    *text = gq_malloc(5001, 1);
    gq_error err = {0};
    gq_bytes b;
    gq_file *f;
    size_t   at = 0;
    (void)state;
    assert_true(want && text);
    for (size_t i = 0; i < TOTAL; i++)
        want[i] = (uint8_t)(i * 2654435761u >> 11);
    memset(text, 'y', 5000);
    text[5000] = 0;
    assert_ok(gq_atomic_open(in_dir("f"), &f, &err), &err);
    const size_t sizes[] = {1, 65535, 65536, 65537, 3, 65535, 1, 200000, 0, 17};
    for (size_t k = 0; at < TOTAL; k++) {
        size_t n = sizes[k % 10] < TOTAL - at ? sizes[k % 10] : TOTAL - at;
        assert_ok(gq_file_write(f, want + at, n, &err), &err);
        at += n;
        assert_int_equal(gq_file_tell(f), at);
    }
    assert_ok(gq_file_printf(f, &err, "%s", text), &err);
    memcpy(want + TOTAL, text, 5000);
    assert_ok(gq_atomic_commit(f, &err), &err);
    assert_ok(gq_read_file(in_dir("f"), 1 << 20, &b, &err), &err);
    assert_int_equal(b.size, TOTAL + 5000);
    assert_memory_equal(b.data, want, b.size);
    gq_bytes_free(&b);
    gq_free(want);
    gq_free(text);
}

/* The fault is armed while a file of three pieces replaces an old one. */
static gq_status replace_under(enum fault_mode mode, long at, gq_error *err)
{
    gq_file  *f;
    char      big[70000];
    memset(big, 'n', sizeof big);
    fault.mode = mode;
    fault.at = at;
    fault.count = 0;
    fault.unsynced = fault.open_renames = 0;
    fault.armed = true;
    gq_status s = gq_atomic_open(in_dir("f"), &f, err);
    for (int i = 0; s == GQ_OK && i < 3; i++)
        gq_file_write(f, big, i == 1 ? sizeof big : 100, err);   /* failures stay on the file */
    if (s == GQ_OK)
        s = gq_atomic_commit(f, err);
    fault.armed = false;
    return s;
}

static void every_fault(void **state)
{
    gq_error err = {0};
    gq_bytes b;
    (void)state;
    put_text(in_dir("f"), "old");
    assert_ok(replace_under(FAULT_NONE, 0, &err), &err);
    assert_int_equal(fault.unsynced + fault.open_renames, 0);
    long count = fault.count, lies = 0;
    assert_true(count >= 7);                               /* 3 writes, 2 syncs, 2 closes, rename */
    for (enum fault_mode mode = FAULT_ENOSPC; mode <= FAULT_LIE; mode++)
        for (long at = 1; at <= count; at++) {
            put_text(in_dir("f"), "old");
            gq_error_clear(&err);
            gq_status s = replace_under(mode, at, &err);
            assert_ok(gq_read_file(in_dir("f"), 1 << 20, &b, &(gq_error){0}), &err);
            bool fresh = b.size == 70200;
            if (!fresh)
                assert_string_equal((char *)b.data, "old");
            gq_bytes_free(&b);
            lies += mode == FAULT_LIE && strstr(err.text, "/f: reads back differently");
            if (s != GQ_OK && (s != GQ_EDISK || !strstr(err.text, "/f: cannot ")) &&
                !strstr(err.text, "directory") && mode != FAULT_LIE)
                fail_msg("mode %d at %ld: %d, %s", (int)mode, at, (int)s, err.text);
            if (s == GQ_OK && !fresh)
                fail_msg("mode %d at %ld: success reported for an old file", (int)mode, at);
            expect_names("f");
        }
    assert_int_equal(lies, 3);                               /* as many as there are writes */
    for (enum fault_mode mode = FAULT_EINTR; mode <= FAULT_SHORT; mode++) {
        put_text(in_dir("f"), "old");
        gq_error_clear(&err);
        assert_ok(replace_under(mode, 0, &err), &err);
        assert_ok(gq_read_file(in_dir("f"), 1 << 20, &b, &err), &err);
        assert_int_equal(b.size, 70200);
        gq_bytes_free(&b);
    }
}

static int write_too_much(void)
{
    struct rlimit small = {10000, 10000};
    static char   big[200000];
    gq_error      err = {0};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    if (gq_write_file(in_dir("f"), big, sizeof big, &err) != GQ_EDISK)
        return 1;
    return strstr(err.text, "ulimit -f") ? 0 : 2;
}

static void size_limit(void **state)
{
    (void)state;
    put_text(in_dir("f"), "old");
    assert_int_equal(in_child(write_too_much), 0);
    expect_text(in_dir("f"), "old");
    expect_names("f");
}

/* ---- logs ------------------------------------------------------------------------------------ */

static void raw_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

static void append_and_repair(void **state)
{
    static const struct { const char *before, *after; } torn[] = {
        {"", ""}, {"a\n", "a\n"}, {"a\nbc", "a\n"}, {"abc", ""}, {"\n", "\n"}, {"a\n\nb", "a\n\n"},
    };
    gq_append *a;
    gq_error   err = {0};
    (void)state;
    for (size_t i = 0; i < sizeof torn / sizeof *torn; i++) {
        raw_text(in_dir("log"), torn[i].before);
        assert_ok(gq_append_open(in_dir("log"), &a, &err), &err);
        assert_int_equal(gq_append_size(a), strlen(torn[i].after));
        assert_ok(gq_append_close(a, &err), &err);
        expect_text(in_dir("log"), torn[i].after);
    }
    assert_ok(gq_remove_tree(in_dir("log"), &err), &err);
    assert_ok(gq_append_open(in_dir("log"), &a, &err), &err);        /* makes the file */
    assert_ok(gq_append_line(a, "one", &err), &err);
    assert_ok(gq_append_line(a, "", &err), &err);
    assert_ok(gq_append_line(a, "three", &err), &err);
    assert_int_equal(gq_append_size(a), 11);
    assert_ok(gq_append_sync(a, &err), &err);
    assert_ok(gq_append_truncate(a, 5, &err), &err);
    assert_fails(gq_append_truncate(a, 6, &err), GQ_EINPUT, &err, "cannot keep 6");
    gq_error_clear(&err);
    assert_ok(gq_append_line(a, "3", &err), &err);
    assert_ok(gq_append_close(a, &err), &err);
    assert_ok(gq_append_close(NULL, &err), &err);
    expect_text(in_dir("log"), "one\n\n3\n");
    assert_fails(gq_append_open(dir, &a, &err), GQ_EDISK, &err, "open for appending");
}

/* A torn last line longer than the block that is searched at a time. */
static void long_torn_line(void **state)
{
    char      *text = gq_malloc(20000, 1);
    gq_append *a;
    gq_error   err = {0};
    (void)state;
    assert_non_null(text);
    for (size_t newline = 0; newline < 19000; newline += 1531) {
        memset(text, 'x', 19999);
        text[19999] = 0;
        text[newline] = '\n';
        raw_text(in_dir("log"), text);
        assert_ok(gq_append_open(in_dir("log"), &a, &err), &err);
        assert_int_equal(gq_append_size(a), newline + 1);
        assert_ok(gq_append_close(a, &err), &err);
    }
    gq_free(text);
}

static void log_faults(void **state)
{
    gq_append *a;
    gq_error   err = {0};
    (void)state;
    assert_ok(gq_append_open(in_dir("log"), &a, &err), &err);
    for (enum fault_mode mode = FAULT_EINTR; mode <= FAULT_SHORT; mode++) {
        fault.mode = mode;
        fault.at = fault.count = 0;
        fault.armed = true;
        gq_status s = gq_append_line(a, "a line", &err);
        fault.armed = false;
        assert_ok(s, &err);
    }
    fault.mode = FAULT_ENOSPC;
    fault.at = 1;
    fault.count = 0;
    fault.armed = true;
    gq_status s = gq_append_line(a, "lost", &err);
    fault.armed = false;
    assert_int_equal(s, GQ_EDISK);
    assert_non_null(strstr(err.text, "bytes free"));
    gq_error_clear(&err);
    assert_ok(gq_append_line(a, "kept", &err), &err);
    assert_ok(gq_append_close(a, &err), &err);
    expect_text(in_dir("log"), "a line\na line\nkept\n");
}

static int log_into_limit(void)
{
    struct rlimit small = {20, 20};
    gq_append    *a;
    gq_error      err = {0};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    if (gq_append_open(in_dir("log"), &a, &err) != GQ_OK ||
        gq_append_line(a, "0123456789", &err) != GQ_OK)
        return 1;
    if (gq_append_line(a, "01234567890123456789", &err) != GQ_EDISK)     /* 9 bytes of it fit */
        return 2;
    return gq_append_size(a) == 11 && gq_append_close(a, &err) == GQ_OK ? 0 : 3;
}

static void no_torn_line_on_a_full_disk(void **state)
{
    (void)state;
    assert_int_equal(in_child(log_into_limit), 0);
    expect_text(in_dir("log"), "0123456789\n");
}

/* ---- directories ----------------------------------------------------------------------------- */

static void directories(void **state)
{
    gq_error err = {0};
    (void)state;
    assert_ok(gq_mkdirs(in_dir("a/b//c/"), &err), &err);
    assert_ok(gq_mkdirs(in_dir("a/b/c"), &err), &err);       /* again is fine */
    assert_true(gq_is_dir(in_dir("a/b/c")) && !gq_is_file(in_dir("a/b/c")));
    put_text(in_dir("a/file"), "x");
    assert_true(gq_is_file(in_dir("a/file")) && !gq_is_dir(in_dir("a/file")));
    assert_fails(gq_mkdirs(in_dir("a/file"), &err), GQ_EDISK, &err, "is not a directory");
    assert_fails(gq_mkdirs(in_dir("a/file/sub"), &err), GQ_EDISK, &err, "is not a directory");
    assert_fails(gq_mkdirs("/proc/nothing/here", &err), GQ_EDISK, &err, "cannot create directory");
    gq_error_clear(&err);
    assert_ok(gq_rename(in_dir("a/file"), in_dir("a/b/moved"), &err), &err);
    assert_true(gq_is_file(in_dir("a/b/moved")) && !gq_is_file(in_dir("a/file")));
    assert_fails(gq_rename(in_dir("a/file"), in_dir("x"), &err), GQ_EDISK, &err, "cannot rename");
    assert_fails(gq_sync_dir(in_dir("none"), &err), GQ_EDISK, &err, "none");
}

static void sorted_names(void **state)
{
    static const char *const made[] = {"b", "B", "a", "\xc3\xa9", ".hidden", "a10", "a2", "_"};
    char                   **names;
    size_t                   n;
    gq_error                 err = {0};
    (void)state;
    expect_names("");
    for (size_t i = 0; i < 8; i++)
        put_text(in_dir(made[i]), "");
    expect_names(".hidden B _ a a10 a2 b \xc3\xa9");
    for (int i = 0; i < 100; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%03d", i * 37 % 100);
        put_text(in_dir(name), "");
    }
    assert_ok(gq_list_dir(dir, &names, &n, &err), &err);
    assert_int_equal(n, 108);
    for (size_t i = 1; i < n; i++)
        assert_true(strcmp(names[i - 1], names[i]) < 0);
    for (size_t i = 0; i < n; i++)
        gq_free(names[i]);
    gq_free(names);
    assert_fails(gq_list_dir(in_dir("none"), &names, &n, &err), GQ_EINPUT, &err, "cannot list");
    for (uint64_t k = 1; k < 20; k++) {                      /* out of memory anywhere: clean */
        gq_error_clear(&err);
        gq_mem_fail_at(k, false);
        gq_status s = gq_list_dir(dir, &names, &n, &err);
        gq_mem_fail_at(0, false);
        assert_int_equal(s, GQ_ENOMEM);
    }
}

static void remove_tree_follows_nothing(void **state)
{
    gq_error err = {0};
    (void)state;
    assert_ok(gq_mkdirs(in_dir("keep"), &err), &err);
    put_text(in_dir("keep/precious"), "x");
    assert_ok(gq_mkdirs(in_dir("go/deep/er"), &err), &err);
    put_text(in_dir("go/deep/f"), "x");
    assert_int_equal(symlink(in_dir("keep"), in_dir("go/deep/link")), 0);
    assert_int_equal(symlink(in_dir("keep"), in_dir("toplink")), 0);
    assert_ok(gq_remove_tree(in_dir("go"), &err), &err);
    assert_ok(gq_remove_tree(in_dir("toplink"), &err), &err);
    expect_names("keep");
    expect_text(in_dir("keep/precious"), "x");
    assert_ok(gq_remove_tree(in_dir("never/was"), &err), &err);
    assert_ok(gq_remove_tree(in_dir("keep/precious"), &err), &err);
    assert_false(gq_is_file(in_dir("keep/precious")));
}

static void paths_and_space(void **state)
{
    static const struct { const char *dir, *name, *want; } joins[] = {
        {"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"/", "b", "/b"}, {"", "b", "b"}, {".", "", "./"},
    };
    gq_error err = {0};
    uint64_t left = 0;
    (void)state;
    for (size_t i = 0; i < sizeof joins / sizeof *joins; i++) {
        char *p = gq_path(joins[i].dir, joins[i].name);
        assert_string_equal(p, joins[i].want);
        gq_free(p);
    }
    assert_ok(gq_free_space(dir, &left, &err), &err);
    assert_true(left > 0 && left < UINT64_MAX / 2);
    assert_fails(gq_free_space(in_dir("none"), &left, &err), GQ_EINPUT, &err, "none");
}

/* ---- locks ----------------------------------------------------------------------------------- */

static int try_lock(void)
{
    gq_lock *l;
    gq_error err = {0};
    char     pid[32];
    if (gq_lock_take(in_dir("run.lock"), &l, &err) == GQ_OK)
        return 0;
    snprintf(pid, sizeof pid, "pid %ld, since 2", (long)getppid());
    return err.code == GQ_EBUSY && strstr(err.text, pid) && strstr(err.text, "host ") ? 9 : 1;
}

static void lock_exclusion(void **state)
{
    gq_lock *l, *again;
    gq_error err = {0};
    (void)state;
    assert_ok(gq_lock_take(in_dir("run.lock"), &l, &err), &err);
    assert_int_equal(in_child(try_lock), 9);
    assert_fails(gq_lock_take(in_dir("run.lock"), &again, &err), GQ_EBUSY, &err, "in use by host");
    assert_null(again);
    gq_lock_release(l);
    gq_lock_release(NULL);
    assert_int_equal(in_child(try_lock), 0);
    assert_fails(gq_lock_take(in_dir("no/lock"), &l, &err), GQ_EDISK, &err, "open lock file");
}

/* 20 processes start at once: one wins. It is killed: the next one wins. */
static void lock_race(void **state)
{
    int   go[2], result[2];
    pid_t pids[20];
    (void)state;
    for (int round = 0; round < 2; round++) {
        struct { pid_t pid; int won; } r;
        pid_t winner = 0;
        assert_true(pipe(go) == 0 && pipe(result) == 0);
        for (int i = 0; i < 20; i++)
            if ((pids[i] = fork()) == 0) {
                gq_lock *l;
                char     c;
                close(go[1]);
                while (read(go[0], &c, 1) > 0) {}            /* until the parent closes it */
                r.pid = getpid();
                r.won = gq_lock_take(in_dir("run.lock"), &l, NULL) == GQ_OK;
                syscall(SYS_write, result[1], &r, sizeof r);
                pause();
                _exit(0);
            }
        close(go[0]);
        close(go[1]);
        for (int i = 0; i < 20; i++) {
            assert_int_equal(read(result[0], &r, sizeof r), sizeof r);
            if (r.won) {
                assert_int_equal(winner, 0);
                winner = r.pid;
            }
        }
        assert_int_not_equal(winner, 0);
        for (int i = 0; i < 20; i++) {
            kill(pids[i], SIGKILL);
            waitpid(pids[i], NULL, 0);
        }
        close(result[0]);
        close(result[1]);
    }
}

/* ---- hashes and time ------------------------------------------------------------------------- */

/* FIPS 180-2 examples; XXH3 of the empty input from its specification. */
static void hashes(void **state)
{
    uint8_t  h[32];
    char     hex[65], *million = gq_malloc(1000001, 1);
    gq_error err = {0};
    uint64_t n;
    int64_t  changed;
    (void)state;
    gq_sha256("abc", 3, h);
    gq_hex(h, 32, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    gq_sha256("", 0, h);
    gq_hex(h, 32, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_non_null(million);
    memset(million, 'a', 1000000);
    million[1000000] = 0;
    put_text(in_dir("f"), million);
    assert_ok(gq_sha256_file(in_dir("f"), &n, h, &err), &err);
    gq_hex(h, 32, hex);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    assert_int_equal(n, 1000000);
    gq_xxh128(million, 1000000, h);
    assert_ok(gq_xxh128_file(in_dir("f"), &n, h + 16, &err), &err);
    assert_memory_equal(h, h + 16, 16);
    assert_int_equal(n, 1000000);
    assert_true(gq_file_age(in_dir("f"), &n, &changed));
    assert_true(n == 1000000 && changed > 1000000000000000000);
    assert_false(gq_file_age(in_dir("none"), &n, &changed) || gq_file_age(dir, &n, &changed));
    gq_free(million);
    assert_fails(gq_sha256_file(in_dir("none"), &n, h, &err), GQ_EINPUT, &err, "cannot open");
    assert_fails(gq_xxh128_file(in_dir("none"), &n, h, &err), GQ_EINPUT, &err, "cannot open");
    assert_true(gq_xxh64("", 0) == 0x2d06800538d394c2ull);
    gq_xxh128("", 0, h);
    gq_hex(h, 16, hex);
    assert_string_equal(hex, "99aa06d3014798d86001c324468d497f");
    gq_hex((const uint8_t *)"\x00\xff\x1a", 3, hex);
    assert_string_equal(hex, "00ff1a");
}

static void clocks(void **state)
{
    char   stamp[32];
    double a = gq_now(), b = gq_now();
    (void)state;
    assert_true(b >= a && b - a < 10);
    gq_timestamp(stamp);
    assert_int_equal(strlen(stamp), 20);
    assert_true(stamp[4] == '-' && stamp[10] == 'T' && stamp[19] == 'Z' && stamp[0] == '2');
    uint64_t before = gq_rss_peak();
    assert_true(before > 100000);
    char *touched = gq_malloc(32 << 20, 1);
    assert_non_null(touched);
    memset(touched, 1, 32 << 20);
    assert_true(gq_rss_peak() >= before + (24 << 20));
    gq_free(touched);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define WITH_DIR(test) cmocka_unit_test_setup_teardown(test, make_dir, drop_dir)
        WITH_DIR(whole_files),     WITH_DIR(maps),           WITH_DIR(gzip_files),
        WITH_DIR(gzip_bomb),       WITH_DIR(atomic_replace), WITH_DIR(pieces),
        WITH_DIR(every_fault),     WITH_DIR(size_limit),     WITH_DIR(append_and_repair),
        WITH_DIR(long_torn_line),  WITH_DIR(log_faults),     WITH_DIR(no_torn_line_on_a_full_disk),
        WITH_DIR(directories),     WITH_DIR(sorted_names),   WITH_DIR(remove_tree_follows_nothing),
        WITH_DIR(paths_and_space), WITH_DIR(lock_exclusion), WITH_DIR(lock_race),
        WITH_DIR(hashes),          WITH_DIR(clocks),
    };
    return cmocka_run_group_tests_name("core/io", tests, NULL, NULL);
}
