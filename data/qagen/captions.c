#include "data/qagen/captions.h"

#include <stdio.h>
#include <string.h>

#include "core/mem.h"

static const gq_table_column columns[] = {{"gif_name", "gif", GQ_TABLE_GIF, false},
                                          {"description", "sentence", GQ_TABLE_QUESTION, false},
                                          {"split", NULL, GQ_TABLE_TYPE, true}};
static const gq_table_form   with_header = {columns, 3, false, false, false};
static const gq_table_form   published = {columns, 2, true, true, true};
static const size_t          max_file = (size_t)1 << 31;

struct gq_captions {
    char     *path; /* owned                                                  */
    gq_table *table;
    bool      urls;
    char      name[GQ_TABLE_GIF + 1];
};

static gq_status bad_row(void *ctx, uint64_t line, const char *reason, gq_error *err)
{
    const gq_captions *c = ctx;
    return gq_fail(err, GQ_EINPUT, "%s:%llu: %s", c->path, (unsigned long long)line, reason);
}

/* Does the file begin with a URL? */
static gq_status look(gq_captions *c, gq_error *err)
{
    gq_bytes  b;
    gq_status s = gq_read_gz(c->path, max_file, &b, err);
    if (s != GQ_OK)
        return s;
    const char *p =
        (const char *)b.data + (b.size >= 3 && !memcmp(b.data, "\xEF\xBB\xBF", 3) ? 3 : 0);
    c->urls = !strncmp(p, "http://", 7) || !strncmp(p, "https://", 8);
    gq_bytes_free(&b);
    return GQ_OK;
}

gq_status gq_captions_open(const char *path, gq_captions **out, gq_error *err)
{
    gq_captions *c = gq_calloc(1, sizeof *c);
    gq_status    s = GQ_OK;
    *out = NULL;
    if (!c || !(c->path = gq_strdup(path)))
        s = gq_fail(err, GQ_ENOMEM, "%s: no memory to read it", path);
    if (s == GQ_OK)
        s = look(c, err);
    if (s == GQ_OK)
        s = gq_table_open_form(path, c->urls ? &published : &with_header, bad_row, c, &c->table,
                               err);
    if (s == GQ_OK)
        *out = c;
    else
        gq_captions_close(c);
    return s;
}

gq_status gq_captions_next(gq_captions *c, gq_captions_row *row, gq_error *err)
{
    const char *cell[3];
    gq_status   s = gq_table_fields(c->table, &row->line, cell, err);
    row->gif = row->text = row->split = NULL;
    if (s != GQ_OK || !cell[0])
        return s;
    row->gif = cell[0];
    row->text = cell[1];
    row->split = c->urls ? "" : cell[2];
    if (c->urls) {
        const char *last = strrchr(cell[0], '/');
        size_t      n = last ? strlen(++last) : 0;
        if (n <= 4 || strcmp(last + n - 4, ".gif") != 0)
            return bad_row(c, row->line, "this is no URL of a GIF: it should end in /NAME.gif",
                           err);
        snprintf(c->name, sizeof c->name, "%.*s", (int)(n - 4), last);
        row->gif = c->name;
    }
    return GQ_OK;
}

void gq_captions_close(gq_captions *c)
{
    if (!c)
        return;
    gq_table_close(c->table);
    gq_free(c->path);
    gq_free(c);
}
