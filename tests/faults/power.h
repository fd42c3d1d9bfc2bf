/* power.h - what a disk may hold after a power cut: a model of files and directories that replays
 * the operations recorded by shim.c.
 *
 * A file is what it was at its last fsync, plus what the disk happened to keep of the rest; a name
 * is there when its directory was synced after it was made, and may be there when it was not. Names
 * in one directory become durable in their order, directories independently of each other.
 */
#ifndef GIFQA_TESTS_FAULTS_POWER_H
#define GIFQA_TESTS_FAULTS_POWER_H

#include <sys/stat.h>

#include "rig.h"

enum { POWER_NODES = 2048, POWER_NAMES = 4096, POWER_FDS = 1024, POWER_NEVER = 1 << 30 };

typedef struct power_node {
    bool     dir;
    uint8_t *now, *synced;              /* contents; synced: at the last fsync                    */
    size_t   size, synced_size;
} power_node;

typedef struct power_name {             /* one change of names                                    */
    int  at, synced_at;                 /* operations; POWER_NEVER: not yet                       */
    int  node;                          /* that gets the name, -1: a removal                      */
    int  from, to;                      /* directories; -1: none                                  */
    char old[80], new[80];              /* names in them                                          */
} power_name;

typedef struct power {
    power_node node[POWER_NODES];       /* 0: the directory that is there before                  */
    power_name name[POWER_NAMES];
    int        nodes, names, op;        /* op: the last one replayed                              */
    int        fd[POWER_FDS];           /* nodes, -1                                              */
} power;

typedef enum power_names { POWER_NAMES_SYNCED, POWER_NAMES_ALL } power_names;
typedef enum power_data { POWER_DROPPED, POWER_ZEROED, POWER_HALF, POWER_KEPT } power_data;

/* ---- names ----------------------------------------------------------------------------------- */

/* The node called `name` in directory `dir` at operation `at`, or -1. */
static inline int power_look(const power *p, int dir, const char *name, size_t len, int at,
                             power_names which)
{
    for (int i = p->names - 1; i >= 0; i--) {
        const power_name *n = &p->name[i];
        if (n->at > at || (which == POWER_NAMES_SYNCED && n->synced_at > at))
            continue;
        if (n->to == dir && strlen(n->new) == len && !memcmp(n->new, name, len))
            return n->node;
        if (n->from == dir && strlen(n->old) == len && !memcmp(n->old, name, len))
            return -1;
    }
    return -1;
}

/* Splits a path below the root: its directory, -1 when that is not there, and the last name. */
static inline int power_split(const power *p, const char *path, const char **last)
{
    int         dir = 0;
    const char *at = path + strcspn(path, "/");     /* the first part is the root's own name */

    if (!*at) {
        *last = "";
        return 0;
    }
    for (at++; strchr(at, '/') && dir >= 0; at = strchr(at, '/') + 1)
        dir = power_look(p, dir, at, strcspn(at, "/"), p->op, POWER_NAMES_ALL);
    *last = at;
    return dir;
}

static inline int power_find(const power *p, const char *path)
{
    const char *last;
    int         dir = power_split(p, path, &last);
    return dir < 0 || !*last ? dir : power_look(p, dir, last, strlen(last), p->op, POWER_NAMES_ALL);
}

static inline void power_rename(power *p, int node, const char *old, const char *new)
{
    assert_true(p->names < POWER_NAMES);
    power_name *n = &p->name[p->names];
    const char *last;

    *n = (power_name){.at = p->op, .synced_at = POWER_NEVER, .node = node, .from = -1, .to = -1};
    if (old && (n->from = power_split(p, old, &last)) >= 0)
        snprintf(n->old, sizeof n->old, "%s", last);
    if (new && (n->to = power_split(p, new, &last)) >= 0)
        snprintf(n->new, sizeof n->new, "%s", last);
    p->names++;
}

static inline int power_create(power *p, const char *path, bool dir)
{
    assert_true(p->nodes < POWER_NODES);
    p->node[p->nodes] = (power_node){.dir = dir};
    power_rename(p, p->nodes, NULL, path);
    return p->nodes++;
}

/* ---- data ------------------------------------------------------------------------------------ */

static inline void power_resize(power_node *f, size_t size)
{
    f->now = gq_realloc(f->now, size + 1, 1);
    assert_non_null(f->now);
    if (size > f->size)
        memset(f->now + f->size, 0, size - f->size);
    f->size = size;
}

static inline void power_write(power_node *f, long offset, const uint8_t *data, size_t n)
{
    size_t at = offset < 0 ? f->size : (size_t)offset;  /* logs and new files grow at the end */
    if (at + n > f->size)
        power_resize(f, at + n);
    memcpy(f->now + at, data, n);
}

static inline void power_sync(power *p, int node)
{
    power_node *f = &p->node[node];
    if (f->dir) {
        for (int i = 0; i < p->names; i++) {
            power_name *n = &p->name[i];
            if (n->synced_at == POWER_NEVER && (n->to >= 0 ? n->to : n->from) == node)
                n->synced_at = p->op;
        }
        return;
    }
    f->synced = gq_realloc(f->synced, f->size + 1, 1);
    assert_non_null(f->synced);
    if (f->size)
        memcpy(f->synced, f->now, f->size);
    f->synced_size = f->size;
}

/* Contents of a file after a cut; the caller's. */
static inline uint8_t *power_contents(const power_node *f, power_data what, size_t *size)
{
    size_t   kept = f->synced_size < f->size ? f->synced_size : f->size, more = f->size - kept;
    uint8_t *data = gq_calloc(f->size + 1, 1);

    assert_non_null(data);
    *size = what == POWER_DROPPED ? kept : what == POWER_HALF ? kept + more / 2 : f->size;
    if (kept)
        memcpy(data, f->synced, kept);
    if (f->size && what == POWER_KEPT)
        memcpy(data, f->now, f->size);
    else if (more && what == POWER_HALF)
        memcpy(data + kept, f->now + kept, more / 2);
    return data;
}

/* ---- replay ---------------------------------------------------------------------------------- */

typedef struct power_op {               /* one line of the record                                 */
    char           name[16], path[300], path2[300];
    int            fd;
    long           offset, bytes;
    const uint8_t *data;
} power_op;

/* The operation at *at, which moves on; false at the end. */
static inline bool power_next(const uint8_t **at, const uint8_t *end, power_op *o)
{
    const uint8_t *line = memchr(*at, '\n', (size_t)(end - *at));
    if (!line || sscanf((const char *)*at, "%*d %15s %d %ld %ld %299s %299s", o->name, &o->fd,
                        &o->offset, &o->bytes, o->path, o->path2) != 6)
        return false;
    o->data = line + 1;
    *at = o->data + (strstr(o->name, "write") && strcmp(o->name, "openwrite") ? o->bytes : 0);
    return true;
}

static inline void power_open(power *p, const power_op *o)
{
    int node = power_find(p, o->path), fd = (int)o->bytes;

    if (node < 0 && strcmp(o->name, "openread") && strcmp(o->name, "opendir"))
        node = power_create(p, o->path, false);
    else if (node >= 0 && !strcmp(o->name, "create"))
        power_resize(&p->node[node], 0);
    if (fd >= 0 && fd < POWER_FDS)
        p->fd[fd] = node;
}

static inline void power_step(power *p, const power_op *o)
{
    int node = o->fd >= 0 && o->fd < POWER_FDS ? p->fd[o->fd] : -1;

    p->op++;
    if (!strncmp(o->name, "open", 4) || !strcmp(o->name, "create"))
        power_open(p, o);
    else if (!strcmp(o->name, "mkdir"))
        power_create(p, o->path, true);
    else if (!strcmp(o->name, "rename"))
        power_rename(p, power_find(p, o->path), o->path, o->path2);
    else if (!strcmp(o->name, "unlink") || !strcmp(o->name, "rmdir"))
        power_rename(p, -1, o->path, NULL);
    else if (!strcmp(o->name, "syncfs"))
        for (int i = 0; i < p->nodes; i++)
            power_sync(p, i);
    else if (node < 0)
        return;
    else if (!strcmp(o->name, "write") || !strcmp(o->name, "pwrite"))
        power_write(&p->node[node], o->offset, o->data, (size_t)o->bytes);
    else if (!strcmp(o->name, "ftruncate"))
        power_resize(&p->node[node], (size_t)o->bytes);
    else if (!strcmp(o->name, "fsync"))
        power_sync(p, node);
    else if (!strcmp(o->name, "close"))
        p->fd[o->fd] = -1;
}

static inline void power_begin(power *p)
{
    memset(p, 0, sizeof *p);
    p->nodes = 1;
    p->node[0].dir = true;
    memset(p->fd, 0xff, sizeof p->fd);
}

static inline void power_end(power *p)
{
    for (int i = 0; i < p->nodes; i++) {
        gq_free(p->node[i].now);
        gq_free(p->node[i].synced);
    }
}

/* ---- the state after a cut ------------------------------------------------------------------- */

/* Writes directory `dir` of the model to `path` (NULL: only the hash of everything is wanted). */
static inline uint64_t power_render(const power *p, int dir, power_names names, power_data data,
                                    const char *path, uint64_t hash)
{
    for (int i = 0; i < p->names; i++) {
        const power_name *n = &p->name[i];
        char              below[1024];
        size_t            size;
        /* each name once: at the change that gave it to the node that has it */
        if (n->to != dir || n->node < 0 ||
            power_look(p, dir, n->new, strlen(n->new), p->op, names) != n->node ||
            (names == POWER_NAMES_SYNCED && n->synced_at > p->op))
            continue;
        bool again = false;
        for (int k = i + 1; k < p->names && !again; k++)
            again = p->name[k].to == dir && p->name[k].node == n->node &&
                    !strcmp(p->name[k].new, n->new) &&
                    (names == POWER_NAMES_ALL || p->name[k].synced_at <= p->op);
        if (again)
            continue;
        hash = hash * 0x100000001b3u ^ gq_xxh64(n->new, strlen(n->new)) ^ (uint64_t)n->node << 40;
        if (path)
            snprintf(below, sizeof below, "%s/%s", path, n->new);
        if (p->node[n->node].dir) {
            if (path)
                assert_int_equal(mkdir(below, 0777), 0);
            hash = power_render(p, n->node, names, data, path ? below : NULL, hash * 31 + 1);
            continue;
        }
        uint8_t *bytes = power_contents(&p->node[n->node], data, &size);
        hash = hash * 0x100000001b3u ^ gq_xxh64(bytes, size);
        if (path) {
            int fd = open(below, O_WRONLY | O_CREAT | O_TRUNC, 0666);
            assert_true(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
            close(fd);
        }
        gq_free(bytes);
    }
    return hash * 31 + 2;
}

#endif
