/* R2: every file operation of training, building, exporting and fetching is killed, fails, is cut
 * short or is interrupted in turn; the same command without the fault must then end with the same
 * bytes. */
#include "rig.h"

#include "data/fetch_server.h"

enum { OPS = 4096, SHORT_FAULTS = 52 };     /* SHORT_FAULTS: per program, in the short mode       */

typedef struct subject {
    const char *what, *command;         /* it makes or continues `made`                           */
    const char *made, *from;            /* alone in its directory; what it starts as, or NULL     */
    const char *twin;                   /* what it made without faults                            */
    int         step;                   /* of the last checkpoint of a run; 0: not a run          */
    bool        fetched;                /* its record has times and attempts                      */
} subject;

#define TRAIN "gifqa-train --config t.yaml --quiet --set train.steps=4 --set train.eval_every=2 " \
              "--set train.keep_last=1 --set clip.train=false --run-dir "
#define FETCH "gifqa-prep fetch urls.txt --allow-private 127.0.0.1 --rate 1000 --connections 1 "    \
              "--pause-ms 1 -o "
#define BUILD "gifqa-prep build world/broken.tsv --gifs world/gif --config t.yaml -o "

static const subject subjects[] = {
    {"gifqa-train", TRAIN "out/made", "out/made", NULL, "trained", 4, false},
    {"gifqa-train that resumes", TRAIN "out/made", "out/made", "half", "trained", 4, false},
    {"gifqa-prep build", BUILD "out/made", "out/made", NULL, "built", 0, false},
    {"gifqa-export", "gifqa-export run -o out/made", "out/made", NULL, "exported", 0, false},
    {"gifqa-prep fetch", FETCH "out/made", "out/made", NULL, "fetched", 0, true},
};

/* ---- the operations of a program ------------------------------------------------------------- */

typedef struct operations { char name[OPS][16]; int n; } operations;

static void list_operations(const subject *s, operations *o)
{
    gq_bytes b;
    gq_error err = {0};
    int      code = rig_run(rig_shim("none:0"), "%s", s->command);

    if (code != 0)
        fail_msg("%s: exit %d: %s", s->what, code, rig_text("child.err"));
    assert_ok(gq_read_file(rig_path("shim.log"), 1 << 24, &b, &err), &err);
    o->n = 0;
    for (char *line = (char *)b.data; o->n < OPS && sscanf(line, "%*d %15s", o->name[o->n]) == 1;
         line = strchr(line, '\n') + 1)
        o->n++;
    gq_bytes_free(&b);
    assert_true(o->n > 40 && o->n < OPS);
}

static bool is_one_of(const char *name, const char *const *list)
{
    while (*list && strcmp(name, *list) != 0)
        list++;
    return *list != NULL;
}

static const char *const takes_room[] = {"write", "pwrite", "create", "openwrite", "mkdir",
                                         "rename", "fsync", "syncfs", "ftruncate", "fallocate",
                                         "close", NULL};
/* A kill before an operation that changes nothing leaves what a kill before the next one leaves. */
static const char *const changes[] = {"write", "pwrite", "create", "openwrite", "mkdir", "rename",
                                      "unlink", "rmdir", "ftruncate", "fallocate", NULL};
static const char *const moves_bytes[] = {"write", "pwrite", NULL};
static const char *const may_wait[] = {"write", "pwrite", "create", "openwrite", "openread",
                                       "opendir", "ftruncate", "close", NULL};

typedef struct mode { const char *name; const char *const *on; } mode;      /* on NULL: all       */
static const mode modes[] = {
    {"kill", changes}, {"EIO", NULL}, {"ENOSPC", takes_room}, {"short", moves_bytes},
    {"EINTR", may_wait},
};
enum { MODES = sizeof modes / sizeof *modes };

/* ---- one fault ------------------------------------------------------------------------------- */

static const char *fault_line(void)
{
    static char line[1200];
    char       *end;
    gq_bytes    b;

    snprintf(line, sizeof line, "(no fault)");
    if (gq_read_file(rig_path("shim.log"), 1 << 24, &b, NULL) != GQ_OK)
        return line;
    if ((end = strstr((char *)b.data, " fault\n"))) {
        char *start = end;
        while (start > (char *)b.data && start[-1] != '\n')
            start--;
        snprintf(line, sizeof line, "%.*s", (int)(end - start), start);
    }
    gq_bytes_free(&b);
    return line;
}

static void prepare(const subject *s)
{
    rig_remove("out");
    assert_int_equal(mkdir(rig_path("out"), 0777), 0);
    if (s->from && rig_run(NULL, "cp -r %s %s", s->from, s->made) != 0)
        fail_msg("%s: %s", s->from, rig_text("child.err"));
}

static bool allowed(const char *fault, int code, const char *said)
{
    if (!strcmp(fault, "kill"))
        return code == -SIGKILL;
    if (code == 0)                      /* a hint, or a file that had been read already */
        return true;
    if (!strcmp(fault, "EIO"))
        return code == 6 && strstr(said, "Input/output error");
    if (!strcmp(fault, "ENOSPC"))
        return code == 6 && strstr(said, "No space left on device") && strstr(said, "free");
    /* short and interrupted calls are invisible, but for what libhdf5 opens and closes by itself */
    return !strcmp(fault, "EINTR") && code == 6 && strstr(said, "libhdf5") &&
           strstr(said, "Interrupted system call");
}

/* The files are the same, and so are name, fate, bytes and hash in the last line of every URL. */
static const char *fetched_differ(const char *a, const char *b)
{
    rig_put("same.awk", "FNR == 1 { f++; next } { v[f, $1] = $2 \" \" $3 \" \" $5 \" \" $6; u[$1] }\n"
                        "END { for (k in u) if (v[1, k] != v[2, k]) { print k, v[1, k], \"|\", v[2, k]; "
                        "bad = 1 } exit bad }\n");
    if (rig_run(NULL, "diff -r -x .lock -x fetch.tsv %s %s", a, b) == 0 &&
        rig_run(NULL, "awk -F\t -f same.awk %s/fetch.tsv %s/fetch.tsv", a, b) == 0)
        return NULL;
    return rig_text("child.out");
}

/* done: it ended well in spite of the fault, so there is nothing left to do. */
static const char *check(const subject *s, bool done)
{
    const char *why = NULL;
    int         broken = 0, code = 0;

    if (s->step) {
        rig_newest(s->made, &broken);
        if (broken)
            return "a checkpoint does not verify";
    }
    if (!done)
        code = rig_run(NULL, "%s", s->command);
    if (code != 0 && (code != 2 || !strstr(rig_text("child.err"), "is not empty")))
        return rig_text("child.err");
    if (s->step)
        why = runs_differ(rig_path("%s", s->twin), rig_path("%s", s->made), s->step);
    else
        why = s->fetched ? fetched_differ(s->twin, s->made) : rig_trees_differ(s->twin, s->made);
    return why ? why : rig_leftover("out");
}

/* Without a fault at operation `n` in this run (threads may take other turns): false. */
static bool inject(const subject *s, const mode *m, int n)
{
    char        what[32], said[2048], where[1200];
    const char *why;
    int         code;

    prepare(s);
    snprintf(what, sizeof what, "%s:%d", m->name, n);
    code = rig_run(rig_shim(what), "%s", s->command);
    snprintf(said, sizeof said, "%s", rig_text("child.err"));
    snprintf(where, sizeof where, "%s", fault_line());
    if (!strcmp(where, "(no fault)"))
        return false;
    if (!allowed(m->name, code, said))
        fail_msg("%s, %s at %s: exit %d: %s", s->what, m->name, where, code, said);
    if ((why = check(s, code == 0)))
        fail_msg("%s, after %s at %s (exit %d): %s", s->what, m->name, where, code, why);
    return true;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static void every_operation(const subject *s)
{
    static operations o;
    double            begin = rig_now(), turn = 0, stride;
    long              done = 0, possible = 0, missed = 0;
    char              what[128], note[64];

    prepare(s);
    list_operations(s, &o);
    rig_remove(s->twin);
    assert_int_equal(rename(rig_path("%s", s->made), rig_path("%s", s->twin)), 0);
    for (int m = 0; m < MODES; m++)
        for (int i = 0; i < o.n; i++)
            possible += !modes[m].on || is_one_of(o.name[i], modes[m].on);
    stride = rig_long() || possible < SHORT_FAULTS ? 1.0 : (double)possible / SHORT_FAULTS;
    for (int m = 0; m < MODES; m++)
        for (int i = 0; i < o.n; i++) {
            if (modes[m].on && !is_one_of(o.name[i], modes[m].on))
                continue;
            if (--turn > 0)
                continue;
            turn += stride;
            if (inject(s, &modes[m], i + 1))
                done++;
            else
                missed++;
        }
    snprintf(what, sizeof what, "every file operation of %s", s->what);
    snprintf(note, sizeof note, "%d operations; kill, EIO, ENOSPC, short, EINTR", o.n);
    rig_report(&(rig_result){.rig = "R2", .what = what, .injected = done, .survived = done,
                             .not_run = possible - done, .seconds = rig_now() - begin,
                             .note = note});
    assert_true(missed <= possible / 50);
}

static void training(void **state)
{
    (void)state;
    need_rig();
    every_operation(&subjects[0]);
}

/* From a run that a kill left with rubbish in it. */
static void resuming(void **state)
{
    (void)state;
    need_rig();
    rig_must("gifqa-train --config t.yaml --quiet --set train.steps=2 --set train.eval_every=2 "
             "--set train.keep_last=1 --set clip.train=false --run-dir half");
    rig_must("mkdir -p half/checkpoints/.tmp-4-77 half/checkpoints/.trash-old-77");
    rig_put("half/checkpoints/.tmp-4-77/weights.safetensors", "half");
    every_operation(&subjects[1]);
}

/* A table with two bad rows and no vocabulary: rejects.tsv and words are part of it. */
static void building(void **state)
{
    (void)state;
    need_rig();
    rig_must("cp world/train.tsv world/broken.tsv");
    gq_bytes b;
    gq_error err = {0};
    assert_ok(gq_read_file(rig_path("world/broken.tsv"), 1 << 20, &b, &err), &err);
    char *text = gq_malloc(b.size + 256, 1);
    assert_non_null(text);
    snprintf(text, b.size + 256, "%sabsent.gif\twhat is it?\tred\tcolor\n../x\twhat?\tred\tcolor\n",
             (char *)b.data);
    rig_put("world/broken.tsv", text);
    gq_free(text);
    gq_bytes_free(&b);
    every_operation(&subjects[2]);
}

static void exporting(void **state)
{
    (void)state;
    need_rig();
    little_train("run", NULL);
    every_operation(&subjects[3]);
}

/* GIFs, a dead one, one behind a redirect, and one that comes the second time it is asked for. */
static bool serve(const server_request *r)
{
    gq_bytes b;
    int      n = 0;
    bool     ok;

    if (strcmp(r->path, "/dead.gif") == 0)
        return server_say(r->fd, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    if (strcmp(r->path, "/moved.gif") == 0)
        return server_say(r->fd, "HTTP/1.1 302 Found\r\nLocation: /3.gif\r\nContent-Length: 0\r\n\r\n");
    if (strcmp(r->path, "/busy.gif") == 0 && r->nth % 2)
        return server_say(r->fd, "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n");
    sscanf(r->path, "/%d", &n);
    char path[1024];
    snprintf(path, sizeof path, "%s/world/gif/train-%06d.gif", little_dir, n);
    if (gq_read_file(path, 1 << 20, &b, NULL) != GQ_OK)
        return false;
    ok = server_say(r->fd, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", b.size) &&
         server_send(r->fd, b.data, b.size);
    gq_bytes_free(&b);
    return ok;
}

static void fetching(void **state)
{
    static const char *const name[] = {"1", "2", "dead", "moved", "busy"};
    char                     text[512] = "";
    (void)state;
    need_rig();
    rig_put("urls.txt", "");
    if (rig_run(NULL, FETCH "none") == 2) {
        print_message("skipped: built without libcurl\n");
        skip();
    }
    server_start(serve);
    for (size_t k = 0; k < sizeof name / sizeof *name; k++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "http://127.0.0.1:%d/%s.gif\n",
                 server.port, name[k]);
    rig_put("urls.txt", text);
    every_operation(&subjects[4]);
    server_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training),
        cmocka_unit_test(resuming),
        cmocka_unit_test(building),
        cmocka_unit_test(exporting),
        cmocka_unit_test(fetching),
    };
    return cmocka_run_group_tests_name("faults/everyop", tests, rig_begin, rig_done);
}
