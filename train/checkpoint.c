#include "train/checkpoint.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/io.h"
#include "core/mem.h"
#include "train/manifest.h"

/* ---- names ----------------------------------------------------------------------------------- */

static gq_status no_memory(gq_error *err, const char *where)
{
    return gq_fail(err, GQ_ENOMEM, "%s: no memory for a file name", where);
}

static char *home_of(const char *run_dir) { return gq_path(run_dir, "checkpoints"); }

/* "<dir>/<formatted name>", owned by the caller; NULL: no memory */
static char *named(const char *dir, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static char *named(const char *dir, const char *fmt, ...)
{
    char    name[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    return gq_path(dir, name);
}

static char *step_in(const char *home, uint64_t step)
{
    return named(home, "step-%08" PRIu64, step);
}

char *gq_ckpt_step_path(const char *run_dir, uint64_t step)
{
    char *home = home_of(run_dir), *path = home ? step_in(home, step) : NULL;
    gq_free(home);
    return path;
}

/* "<prefix>00001200" to 1200; only the spelling that step_in() would give counts */
static bool parse_step(const char *name, const char *prefix, uint64_t *step)
{
    char   again[32];
    size_t n = strlen(prefix);
    if (strncmp(name, prefix, n) != 0)
        return false;
    *step = strtoull(name + n, NULL, 10);
    snprintf(again, sizeof again, "%08" PRIu64, *step);
    return strcmp(name + n, again) == 0 && *step != GQ_CKPT_NONE;
}

static bool starts(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

/* ---- walking the directory ------------------------------------------------------------------- */

typedef gq_status (*name_fn)(void *ctx, const char *home, const char *name, gq_error *err);

/* Calls fn for every name in checkpoints/, in byte order; a missing directory is empty. */
static gq_status each_name(const char *run_dir, name_fn fn, void *ctx, gq_error *err)
{
    char     *home = home_of(run_dir), **names = NULL;
    size_t    count = 0;
    gq_status s = GQ_OK;

    if (!home)
        return no_memory(err, run_dir);
    if (gq_is_dir(home))
        s = gq_list_dir(home, &names, &count, err);
    for (size_t i = 0; i < count; i++) {
        if (s == GQ_OK)
            s = fn(ctx, home, names[i], err);
        gq_free(names[i]);
    }
    gq_free(names);
    gq_free(home);
    return s;
}

typedef struct steps { uint64_t *list; size_t count, room; } steps;

static gq_status collect_step(void *ctx, const char *home, const char *name, gq_error *err)
{
    steps   *s = ctx;
    uint64_t step;
    if (!parse_step(name, "step-", &step))
        return GQ_OK;
    if (s->count == s->room) {
        size_t    room = s->room ? 2 * s->room : 16;
        uint64_t *grown = gq_realloc(s->list, room, sizeof *grown);
        if (!grown)
            return no_memory(err, home);
        s->list = grown;
        s->room = room;
    }
    s->list[s->count++] = step;
    return GQ_OK;
}

static int by_step(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

gq_status gq_ckpt_list(const char *run_dir, uint64_t **list, size_t *count, gq_error *err)
{
    steps     all = {0};
    gq_status s = each_name(run_dir, collect_step, &all, err);

    *list = NULL;
    *count = 0;
    if (s != GQ_OK) {
        gq_free(all.list);
        return s;
    }
    if (all.count)
        qsort(all.list, all.count, sizeof *all.list, by_step);
    *list = all.list;
    *count = all.count;
    return GQ_OK;
}

/* ---- housekeeping ---------------------------------------------------------------------------- */

/* Renames first: a half-deleted directory must not look like a checkpoint. */
static gq_status discard(const char *home, const char *path, const char *tag, gq_error *err)
{
    char     *trash = named(home, ".trash-%s-%ld", tag, (long)getpid());
    gq_status s = trash ? GQ_OK : no_memory(err, home);
    if (s == GQ_OK)
        s = gq_remove_tree(trash, err);
    if (s == GQ_OK)
        s = gq_rename(path, trash, err);
    if (s == GQ_OK)
        s = gq_remove_tree(trash, err);
    gq_free(trash);
    return s;
}

/* The former checkpoint of a step whose replacement was interrupted: back if the new one did not
 * arrive. */
static gq_status settle_old(const char *home, const char *old, uint64_t step, gq_error *err)
{
    char     *now = step_in(home, step);
    gq_status s;
    if (!now)
        return no_memory(err, home);
    s = gq_is_dir(now) ? discard(home, old, "old", err) : gq_rename(old, now, err);
    gq_free(now);
    return s;
}

static gq_status clean_name(void *ctx, const char *home, const char *name, gq_error *err)
{
    char     *path;
    uint64_t  step;
    bool      old = parse_step(name, ".old-", &step);
    gq_status s;

    (void)ctx;
    if (!old && !starts(name, ".tmp-") && !starts(name, ".trash-"))
        return GQ_OK;
    if (!(path = gq_path(home, name)))
        return no_memory(err, home);
    s = old ? settle_old(home, path, step, err) : gq_remove_tree(path, err);
    gq_free(path);
    return s;
}

gq_status gq_ckpt_clean(const char *run_dir, gq_error *err)
{
    return each_name(run_dir, clean_name, NULL, err);
}

/* Renames checkpoint `name` to "<prefix><name>[-k]", the first free one; *to (owned by the
 * caller) is its path. */
static gq_status rename_away(const char *home, const char *prefix, const char *name, char **to,
                             gq_error *err)
{
    char     *from = gq_path(home, name);
    gq_status s;

    *to = named(home, "%s%s", prefix, name);
    for (int k = 2; *to && (gq_is_dir(*to) || gq_is_file(*to)); k++) {
        gq_free(*to);
        *to = named(home, "%s%s-%d", prefix, name, k);
    }
    s = from && *to ? gq_rename(from, *to, err) : no_memory(err, home);
    gq_free(from);
    if (s != GQ_OK) {
        gq_free(*to);
        *to = NULL;
    }
    return s;
}

typedef struct aside { uint64_t after; int count; } aside;

static gq_status aside_name(void *ctx, const char *home, const char *name, gq_error *err)
{
    aside    *a = ctx;
    uint64_t  step;
    char     *to;
    gq_status s;
    if (!parse_step(name, "step-", &step) || step <= a->after)
        return GQ_OK;
    if ((s = rename_away(home, ".aside-", name, &to, err)) == GQ_OK)
        a->count++;
    gq_free(to);
    return s;
}

gq_status gq_ckpt_set_aside(const char *run_dir, uint64_t step, int *count, gq_error *err)
{
    aside     a = {.after = step};
    gq_status s = each_name(run_dir, aside_name, &a, err);
    if (count)
        *count = a.count;
    return s;
}

/* ---- writing --------------------------------------------------------------------------------- */

struct gq_ckpt {
    char    *home, *tmp, *final;     /* checkpoints/, the directory being written, its later name */
    uint64_t step;
};

static void ckpt_free(gq_ckpt *c)
{
    gq_free(c->home);
    gq_free(c->tmp);
    gq_free(c->final);
    gq_free(c);
}

static gq_status check_room(const char *run_dir, const char *home, uint64_t step, uint64_t bytes,
                            gq_error *err)
{
    uint64_t  need, left;
    gq_status s;
    if (__builtin_mul_overflow(bytes, 2u, &need))
        need = UINT64_MAX;
    if ((s = gq_free_space(home, &left, err)) != GQ_OK || left >= need)
        return s;
    if ((s = gq_ckpt_clean(run_dir, err)) != GQ_OK ||
        (s = gq_free_space(home, &left, err)) != GQ_OK)
        return s;
    if (left >= need)
        return GQ_OK;
    return gq_fail(err, GQ_EDISK,
                   "%s: no room for the checkpoint of step %" PRIu64 ": %" PRIu64 " bytes "
                   "needed (twice its size), %" PRIu64
                   " free; free some space or keep fewer checkpoints",
                   home, step, need, left);
}

gq_status gq_ckpt_begin(const char *run_dir, uint64_t step, uint64_t bytes, gq_ckpt **out,
                        gq_error *err)
{
    gq_ckpt  *c = gq_calloc(1, sizeof *c);
    gq_status s = GQ_OK;

    *out = NULL;
    if (!c)
        return no_memory(err, run_dir);
    c->step = step;
    c->home = home_of(run_dir);
    c->tmp = c->home ? named(c->home, ".tmp-%" PRIu64 "-%ld", step, (long)getpid()) : NULL;
    c->final = c->home ? step_in(c->home, step) : NULL;
    if (!c->tmp || !c->final)
        s = no_memory(err, run_dir);
    if (s == GQ_OK)
        s = gq_mkdirs(c->home, err);
    if (s == GQ_OK)
        s = check_room(run_dir, c->home, step, bytes, err);
    if (s == GQ_OK)
        s = gq_remove_tree(c->tmp, err);         /* of an earlier process with our number */
    if (s == GQ_OK)
        s = gq_mkdirs(c->tmp, err);
    if (s != GQ_OK) {
        if (c->tmp)
            gq_remove_tree(c->tmp, NULL);
        ckpt_free(c);
        return s;
    }
    *out = c;
    return GQ_OK;
}

const char *gq_ckpt_dir(const gq_ckpt *c) { return c->tmp; }

void gq_ckpt_abort(gq_ckpt *c)
{
    if (!c)
        return;
    gq_remove_tree(c->tmp, NULL);                /* what stays behind, gq_ckpt_clean() takes */
    ckpt_free(c);
}

/* A directory cannot be renamed over another, so the former one of this step steps back to .old
 * first; a kill between the two renames is undone by gq_ckpt_clean(). */
static gq_status put_in_place(gq_ckpt *c, gq_error *err)
{
    gq_status s;
    if (!gq_is_dir(c->final))
        return gq_rename(c->tmp, c->final, err);
    char *old = named(c->home, ".old-%08" PRIu64, c->step);
    if (!old)
        return no_memory(err, c->home);
    if ((s = gq_remove_tree(old, err)) == GQ_OK && (s = gq_rename(c->final, old, err)) == GQ_OK) {
        s = gq_rename(c->tmp, c->final, err);
        if (s != GQ_OK)
            gq_rename(old, c->final, NULL);
        else
            discard(c->home, old, "old", NULL); /* the new one stands; clean() takes what is left */
    }
    gq_free(old);
    return s;
}

static void write_latest(const gq_ckpt *c)
{
    char  text[32];
    char *path = gq_path(c->home, "LATEST");
    snprintf(text, sizeof text, "step-%08" PRIu64 "\n", c->step);
    if (path)                                    /* a hint: the checkpoint is complete without it */
        gq_write_file(path, text, strlen(text), NULL);
    gq_free(path);
}

gq_status gq_ckpt_commit(gq_ckpt *c, gq_ckpt_manifest *out, gq_error *err)
{
    gq_ckpt_manifest *m = gq_malloc(1, sizeof *m);
    gq_status         s = m ? gq_manifest_make(c->tmp, c->step, m, err) : no_memory(err, c->home);

    if (s == GQ_OK)
        s = gq_manifest_write(c->tmp, m, err);
    if (s == GQ_OK)
        s = gq_sync_dir(c->tmp, err);
    if (s == GQ_OK)
        s = put_in_place(c, err);
    if (s == GQ_OK) {
        write_latest(c);
        if (out)
            *out = *m;
        ckpt_free(c);
    } else {
        gq_ckpt_abort(c);
    }
    gq_free(m);
    return s;
}

/* ---- finding --------------------------------------------------------------------------------- */

static void note(gq_ckpt_found *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void note(gq_ckpt_found *f, const char *fmt, ...)
{
    size_t  used = strlen(f->notes);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(f->notes + used, sizeof f->notes - used, fmt, ap);
    va_end(ap);
}

/* Verifies one candidate, also that it is the step its name says. */
static gq_status verify_step(const char *path, uint64_t step, gq_error *err)
{
    gq_ckpt_manifest *m = gq_malloc(1, sizeof *m);
    gq_status         s = m ? gq_ckpt_verify(path, m, err) : no_memory(err, path);
    if (s == GQ_OK && m->step != step)
        s = gq_fail(err, GQ_EWEIGHTS, "%s: holds step %" PRIu64 ": it was renamed", path, m->step);
    gq_free(m);
    return s;
}

static void report_broken(gq_ckpt_found *f, const char *home, const char *path, bool rename,
                          const gq_error *why)
{
    gq_error   err = {0};
    char      *to = NULL;
    f->broken++;
    if (f->notes[0])
        note(f, "\n");
    note(f, "%s", why->text);
    if (!rename)
        return;
    if (rename_away(home, ".bad-", strrchr(path, '/') + 1, &to, &err) == GQ_OK)
        note(f, "; renamed to %s", strrchr(to, '/') + 1);
    else
        note(f, "; and cannot be renamed: %s", err.text);
    gq_free(to);
}

/* One candidate; *path is set when it is the answer. */
static gq_status try_step(gq_ckpt_found *f, const char *home, uint64_t step, bool repair,
                          gq_error *err)
{
    char     *path = step_in(home, step);
    gq_error  why = {0};
    gq_status s = path ? verify_step(path, step, &why) : no_memory(&why, home);

    if (s == GQ_ENOMEM || s == GQ_EDISK) {       /* says nothing about the checkpoint */
        gq_fail(err, s, "%s", why.text);
    } else if (s == GQ_OK) {
        f->path = path;
        f->step = step;
        return GQ_OK;
    } else {
        report_broken(f, home, path, repair && s == GQ_EWEIGHTS, &why);
        s = GQ_OK;
    }
    gq_free(path);
    return s;
}

gq_status gq_ckpt_find(const char *run_dir, bool repair, gq_ckpt_found *out, gq_error *err)
{
    char     *home = home_of(run_dir);
    uint64_t *list = NULL;
    size_t    n = 0;
    gq_status s = home ? GQ_OK : no_memory(err, run_dir);

    *out = (gq_ckpt_found){.step = GQ_CKPT_NONE};
    if (s == GQ_OK && repair)
        s = gq_ckpt_clean(run_dir, err);
    if (s == GQ_OK)
        s = gq_ckpt_list(run_dir, &list, &n, err);
    while (s == GQ_OK && n > 0 && !out->path)
        s = try_step(out, home, list[--n], repair, err);
    gq_free(list);
    gq_free(home);
    return s;
}

/* ---- rotation -------------------------------------------------------------------------------- */

typedef struct keep {
    const uint64_t *list;               /* [count] ascending                                      */
    size_t          count, last;        /* the newest `last` stay                                 */
    uint64_t        best, healthy;      /* these stay too                                         */
} keep;

static bool stays(const keep *k, size_t i)
{
    return i + k->last >= k->count || k->list[i] == k->best || k->list[i] == k->healthy;
}

/* Makes sure that k->healthy is a step that verifies, unless nothing would go. */
static gq_status find_healthy(const char *home, keep *k, uint64_t verified, gq_error *err)
{
    size_t    victims = 0;
    gq_status s = GQ_OK;
    for (size_t i = 0; i < k->count; i++) {
        victims += !stays(k, i);
        if (k->list[i] == verified) {
            k->healthy = verified;
            return GQ_OK;
        }
    }
    for (size_t i = k->count; victims && i-- > 0 && k->healthy == GQ_CKPT_NONE;) {
        gq_error why = {0};
        char    *path = step_in(home, k->list[i]);
        s = path ? verify_step(path, k->list[i], &why) : no_memory(&why, home);
        gq_free(path);
        if (s == GQ_OK)
            k->healthy = k->list[i];
        else if (s == GQ_ENOMEM || s == GQ_EDISK)
            return gq_fail(err, s, "%s", why.text);
    }
    if (victims && k->healthy == GQ_CKPT_NONE)
        return gq_fail(err, GQ_EWEIGHTS, "%s: no checkpoint verifies, so none is removed", home);
    return GQ_OK;
}

gq_status gq_ckpt_rotate(const char *run_dir, int keep_last, uint64_t best_step,
                         uint64_t verified_step, gq_error *err)
{
    char     *home = home_of(run_dir);
    uint64_t *list = NULL;
    keep      k = {.last = keep_last < 1 ? 1 : (size_t)keep_last,
                   .best = best_step,
                   .healthy = GQ_CKPT_NONE};
    gq_status s = home ? gq_ckpt_list(run_dir, &list, &k.count, err) : no_memory(err, run_dir);

    k.list = list;
    if (s == GQ_OK)
        s = find_healthy(home, &k, verified_step, err);
    for (size_t i = 0; s == GQ_OK && i < k.count; i++) {
        if (stays(&k, i))
            continue;
        char *path = step_in(home, list[i]);
        s = path ? discard(home, path, "rotated", err) : no_memory(err, home);
        gq_free(path);
    }
    gq_free(list);
    gq_free(home);
    return s;
}
