#include "train/rundir.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"

static gq_status open_log(const char *dir, const char *name, gq_append **out, gq_error *err)
{
    char     *path = gq_path(dir, name);
    gq_status s =
        path ? gq_append_open(path, out, err) : gq_fail(err, GQ_ENOMEM, "%s: out of memory", dir);
    gq_free(path);
    return s;
}

/* Directories of ours inside it; files are written so that links in their place are replaced. */
static gq_status refuse_links(const char *dir, gq_error *err)
{
    static const char *const inside[] = {"checkpoints", "tokenizer"};
    gq_status                s = GQ_OK;

    for (size_t i = 0; s == GQ_OK && i < sizeof inside / sizeof *inside; i++) {
        char *path = gq_path(dir, inside[i]);
        s = path ? gq_refuse_link(path, err) : gq_fail(err, GQ_ENOMEM, "%s: out of memory", dir);
        gq_free(path);
    }
    return s;
}

gq_status gq_rundir_open(const char *path, gq_rundir *out, gq_error *err)
{
    char     *lock;
    bool      made = !gq_is_dir(path);
    gq_status s = gq_mkdirs(path, err);

    memset(out, 0, sizeof *out);
    if (s != GQ_OK)
        return s;
    out->made = made;
    out->path = gq_strdup(path);
    lock = gq_path(path, "run.lock");
    s = out->path && lock ? gq_lock_take(lock, &out->lock, err)
                          : gq_fail(err, GQ_ENOMEM, "%s: out of memory", path);
    gq_free(lock);
    if (s == GQ_OK)
        s = refuse_links(path, err);
    if (s == GQ_OK)
        s = gq_sweep(path, NULL, err);
    if (s == GQ_OK)
        s = open_log(path, "metrics.jsonl", &out->metrics, err);
    if (s == GQ_OK)
        s = open_log(path, "log.txt", &out->log, err);
    if (s != GQ_OK)
        gq_rundir_close(out);
    return s;
}

void gq_rundir_close(gq_rundir *r)
{
    gq_append_close(r->metrics, NULL);
    gq_append_close(r->log, NULL);
    gq_lock_release(r->lock);
    gq_free(r->path);
    memset(r, 0, sizeof *r);
}

void gq_rundir_discard(const gq_rundir *r)
{
    static const char *const ours[] = {"log.txt", "metrics.jsonl", "run.lock"};
    char                   **name = NULL;
    size_t                   n = 0, known = 0;

    if (!r->made || gq_list_dir(r->path, &name, &n, NULL) != GQ_OK)
        return;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < sizeof ours / sizeof *ours; k++)
            known += strcmp(name[i], ours[k]) == 0;
        gq_free(name[i]);
    }
    gq_free(name);
    if (known == n)                     /* the lock is held: nobody else is at work in it         */
        gq_remove_tree(r->path, NULL);
}

gq_status gq_rundir_read_config(const char *path, gq_config *out, gq_error *err)
{
    char     *file = gq_path(path, "config.yaml");
    gq_status s;

    if (!file)
        return gq_fail(err, GQ_ENOMEM, "%s: out of memory", path);
    if (!gq_is_file(file))
        s = gq_fail(err, GQ_EWEIGHTS, "%s: not a run directory: it has no config.yaml", path);
    else
        s = gq_config_load(file, NULL, 0, out, NULL, err);
    gq_free(file);
    return s;
}

gq_status gq_rundir_freeze(gq_rundir *r, const gq_config *c, gq_error *err)
{
    char     *path = gq_path(r->path, "config.yaml"), *text = NULL;
    size_t    bytes = 0;
    FILE     *f = open_memstream(&text, &bytes);
    gq_status s = path && f ? gq_config_write(c, f, err)
                            : gq_fail(err, GQ_ENOMEM, "%s: out of memory", r->path);

    if (f && fclose(f) != 0 && s == GQ_OK)
        s = gq_fail(err, GQ_ENOMEM, "%s: out of memory", r->path);
    if (s == GQ_OK)
        s = gq_write_file(path, text, bytes, err);
    free(text);                                     /* open_memstream's memory is the C library's */
    gq_free(path);
    return s;
}

gq_status gq_rundir_config(gq_rundir *r, const gq_config *c, gq_config *old, bool *had,
                           gq_error *err)
{
    char *path = gq_path(r->path, "config.yaml");

    if (!path)
        return gq_fail(err, GQ_ENOMEM, "%s: out of memory", r->path);
    *had = gq_is_file(path);
    gq_free(path);
    return *had ? gq_rundir_read_config(r->path, old, err) : gq_rundir_freeze(r, c, err);
}

void gq_rundir_note(gq_rundir *r, const char *fmt, ...)
{
    char    line[4096], when[32];
    va_list ap;
    int     at;

    gq_timestamp(when);
    at = snprintf(line, sizeof line, "%s  ", when);
    va_start(ap, fmt);
    vsnprintf(line + at, sizeof line - (size_t)at, fmt, ap);
    va_end(ap);
    for (char *p = line; *p; p++)
        if (*p == '\n')
            *p = ' ';
    if (r->log)
        gq_append_line(r->log, line, NULL);
}
