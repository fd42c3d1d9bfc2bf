/* The URLs of the lists, each once, and the names of their files. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "core/mem.h"
#include "core/text.h"
#include "data/fetch_private.h"
#include "data/table.h"

static const uint32_t most_jobs = 1u << 30;
static const size_t   max_list = 2u << 30;       /* bytes */

/* ---- names ----------------------------------------------------------------------------------- */

static bool plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("._-+~=,@%()!", c));
}

/* What a file may be called whatever the file system and whoever looks at it. */
static bool fit(const char *stem, size_t n)
{
    if (!n || n + strlen(".gif") > GQ_FETCH_NAME || stem[0] == '.' || stem[0] == '-')
        return false;
    for (size_t k = 0; k < n; k++)
        if (!plain(stem[k]))
            return false;
    return true;
}

static size_t without_ending(const char *text, size_t n)
{
    return n > 4 && strncmp(text + n - 4, ".gif", 4) == 0 ? n - 4 : n;
}

static void make_up(const char *url, const char *stem, int n, char name[GQ_FETCH_NAME + 1])
{
    uint8_t hash[32];
    char    hex[65];
    gq_sha256(url, strlen(url), hash);
    gq_hex(hash, sizeof hash, hex);
    snprintf(name, GQ_FETCH_NAME + 1, "%.*s-%.16s.gif", n < 150 ? n : 150, stem, hex);
}

bool gq__fetch_name_of(const char *url, const char *gif, char name[GQ_FETCH_NAME + 1])
{
    const char *stem = gif;
    size_t      n;
    if (gif && *gif) {
        n = without_ending(gif, strlen(gif));
    } else {
        size_t path = strcspn(url, "?#"), from = path;
        while (from && url[from - 1] != '/')
            from--;
        stem = url + from;
        n = without_ending(stem, path - from);
        if (n == path - from)                    /* no ".gif": nothing that tables could name */
            n = 0;
    }
    if (!fit(stem, n)) {
        make_up(url, "url", 3, name);
        return false;
    }
    snprintf(name, GQ_FETCH_NAME + 1, "%.*s.gif", (int)n, stem);
    return true;
}

/* ---- the list in memory ---------------------------------------------------------------------- */

static gq_status no_memory(const gq_fetch_list *l, gq_error *err)
{
    return gq_fail(err, GQ_ENOMEM, "no memory for %u URLs", l->jobs + 1);
}

/* The job of a URL, *is_new when it has no name yet. */
static gq_status job_of(gq_fetch_list *l, const char *url, uint32_t *job, bool *is_new,
                        gq_error *err)
{
    if (!l->urls && !(l->urls = gq_names_new()))
        return no_memory(l, err);
    if (!l->files && !(l->files = gq_names_new()))
        return no_memory(l, err);
    if (l->jobs == l->job_room) {
        uint32_t      room = l->job_room ? 2 * l->job_room : 1024;
        gq_fetch_job *more = gq_realloc(l->job, room, sizeof *more);
        if (!more)
            return no_memory(l, err);
        l->job = more;
        l->job_room = room;
    }
    uint32_t *number = gq_names_add(l->urls, url);
    if (!number)
        return no_memory(l, err);
    *is_new = *number == 0;
    *job = *is_new ? l->jobs : *number - 1;
    if (!*is_new)
        return GQ_OK;
    if (l->jobs == most_jobs)
        return gq_fail(err, GQ_EINPUT, "more than %u URLs", most_jobs);
    l->job[l->jobs] = (gq_fetch_job){.host = GQ_FETCH_NONE, .next = GQ_FETCH_NONE};
    if (!gq_texts_put(&l->texts, url, &l->job[l->jobs].url))
        return no_memory(l, err);
    *number = ++l->jobs;
    return GQ_OK;
}

/* False: another URL has the name. */
static bool take_name(gq_fetch_list *l, uint32_t job, const char *name, gq_status *s, gq_error *err)
{
    uint32_t *owner = gq_names_add(l->files, name);
    if (!owner) {
        *s = no_memory(l, err);
        return true;
    }
    if (*owner)
        return false;
    *owner = job + 1;
    if (!gq_texts_put(&l->texts, name, &l->job[job].name))
        *s = no_memory(l, err);
    return true;
}

gq_status gq__fetch_list_known(gq_fetch_list *l, const char *url, const char *name, uint32_t *job,
                               gq_error *err)
{
    bool      is_new;
    gq_status s = job_of(l, url, job, &is_new, err);
    size_t    n = strlen(name);
    if (s != GQ_OK)
        return s;
    if (!is_new && strcmp(gq__fetch_name(l, *job), name) == 0)
        return GQ_OK;
    if (!is_new || n < 5 || strcmp(name + n - 4, ".gif") != 0 || !fit(name, n - 4))
        return gq_fail(err, GQ_EINPUT, "'%s' is not the name it gave to this URL", name);
    if (!take_name(l, *job, name, &s, err))
        return gq_fail(err, GQ_EINPUT, "'%s' belongs to another URL", name);
    return s;
}

static gq_status add(gq_fetch_list *l, const char *raw, const char *gif, gq_fetch_report *r,
                     gq_error *err)
{
    char      url[4 * GQ_FETCH_URL + 8], name[GQ_FETCH_NAME + 1];
    uint32_t  job;
    bool      is_new;
    gq_printable(raw, strlen(raw), url, sizeof url);          /* so that the record can show it */
    gq_status s = job_of(l, url, &job, &is_new, err);
    if (s != GQ_OK)
        return s;
    r->rows++;
    r->urls += !l->job[job].listed;
    l->job[job].listed = true;
    l->job[job].odd = strcmp(url, raw) != 0;
    bool own = gq__fetch_name_of(url, gif, name);
    if (is_new && !take_name(l, job, name, &s, err)) {
        char stem[GQ_FETCH_NAME + 1];
        own = false;
        snprintf(stem, sizeof stem, "%s", name);
        make_up(url, stem, (int)strlen(stem) - 4, name);
        if (!take_name(l, job, name, &s, err))
            return gq_fail(err, GQ_EINPUT, "%s: its name %s belongs to another URL", url, name);
    }
    r->renamed += is_new && !own;
    return s;
}

void gq__fetch_list_free(gq_fetch_list *l)
{
    for (uint32_t k = 0; k < l->jobs; k++)
        gq_free(l->job[k].at);
    gq_free(l->job);
    gq_free(l->texts.base);
    gq_names_free(l->urls);
    gq_names_free(l->files);
    memset(l, 0, sizeof *l);
}

/* ---- files ----------------------------------------------------------------------------------- */

enum { C_URL, C_GIF, C_SPLIT, COLUMNS };
static const gq_table_column named[COLUMNS] = {{"url", NULL, GQ_FETCH_URL, false},
                                               {"gif", "gif_name", GQ_TABLE_GIF, true},
                                               {"split", NULL, GQ_TABLE_TYPE, true}};
static const gq_table_column bare[] = {{"url", NULL, GQ_FETCH_URL, false},
                                       {"sentence", NULL, GQ_TABLE_LINE, true}};
static const gq_table_form   with_header = {.columns = named, .n = COLUMNS};
static const gq_table_form   list_form = {bare, 1, true, true, true};
static const gq_table_form   tgif_form = {bare, 2, true, true, true};

typedef struct reader { const char *path; gq_fetch_report *r; } reader;

static gq_status bad_row(void *ctx, uint64_t line, const char *reason, gq_error *err)
{
    const reader *m = ctx;
    (void)err;
    if (!m->r->bad_rows++)
        snprintf(m->r->bad_row, sizeof m->r->bad_row, "%.120s:%llu: %.110s", m->path,
                 (unsigned long long)line, reason);
    return GQ_OK;
}

/* A first line that begins with a URL is no header. */
static gq_status form_of(const char *path, const gq_table_form **form, gq_error *err)
{
    gq_bytes  b;
    gq_status s = gq_read_gz(path, max_list, &b, err);
    if (s != GQ_OK)
        return s;
    const char *line = (const char *)b.data;
    line += strncmp(line, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    line += strspn(line, " \t\r\n");
    size_t n = strcspn(line, "\n"), first = strcspn(line, "\t\n");
    bool   url = memmem(line, first, "://", 3) && *line != '{' && *line != '"';
    *form = url || !*line ? (memchr(line, '\t', n) ? &tgif_form : &list_form) : &with_header;
    gq_bytes_free(&b);
    return GQ_OK;
}

static gq_status read_one(const gq_fetch_opts *o, const char *path, gq_fetch_list *l,
                          gq_fetch_report *r, gq_error *err)
{
    const gq_table_form *form;
    reader               m = {path, r};
    gq_table            *t;
    uint64_t             line;
    const char          *cell[COLUMNS];
    gq_status            s = form_of(path, &form, err);
    if (s == GQ_OK && o->split && form != &with_header)
        s = gq_fail(err, GQ_EINPUT, "%s: has no column 'split' to choose '%s' by", path, o->split);
    if (s != GQ_OK)
        return s;
    s = gq_table_open_form(path, form, bad_row, &m, &t, err);
    if (s != GQ_OK)
        return s;
    while (s == GQ_OK && (s = gq_table_fields(t, &line, cell, err)) == GQ_OK && cell[C_URL]) {
        bool named_columns = form == &with_header;
        if (named_columns && o->split && strcmp(cell[C_SPLIT], o->split) != 0)
            continue;
        s = add(l, cell[C_URL], named_columns ? cell[C_GIF] : NULL, r, err);
    }
    gq_table_close(t);
    return s;
}

gq_status gq__fetch_list_read(const gq_fetch_opts *o, gq_fetch_list *l, gq_fetch_report *r,
                              gq_error *err)
{
    gq_status s = GQ_OK;
    for (size_t k = 0; s == GQ_OK && k < o->n; k++)
        s = read_one(o, o->list[k], l, r, err);
    if (s == GQ_OK && !r->rows)
        s = gq_fail(err, GQ_EINPUT, "%s: has no URL%s%s%s%s", o->n ? o->list[0] : "the list",
                    o->split ? " of split " : "", o->split ? o->split : "",
                    r->bad_rows ? "; the first bad row: " : "", r->bad_row);
    return s;
}
