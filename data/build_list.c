/* The table of a build, in memory: rows grouped by GIF. */
#include <stdio.h>
#include <string.h>

#include "core/mem.h"
#include "core/text.h"
#include "data/build_private.h"
#include "data/clipcut.h"
#include "data/table.h"

static const uint32_t no_row = UINT32_MAX, max_rows = 1u << 30;

gq_status gq_reject(gq_append *rejects, const char *file, uint64_t line, const char *reason,
                    gq_error *err)
{
    char name[512], why[1024], text[1600];
    gq_printable(file, strlen(file), name, sizeof name);
    gq_printable(reason, strlen(reason), why, sizeof why);
    snprintf(text, sizeof text, "%s\t%llu\t%s", name, (unsigned long long)line, why);
    return rejects ? gq_append_line(rejects, text, err) : GQ_OK;
}

typedef struct reader {
    const gq_build_opts *o;
    gq_append           *rejects;
    gq_items            *list;
    char                 first[320]; /* bad row: line and reason                               */
} reader;

static gq_status bad_row(void *ctx, uint64_t line, const char *reason, gq_error *err)
{
    reader *r = ctx;
    if (!r->list->bad_rows++)
        snprintf(r->first, sizeof r->first, "line %llu: %.280s", (unsigned long long)line, reason);
    return gq_reject(r->rejects, r->o->table, line, reason, err);
}

/* Room for one more element of an array that doubles. */
static bool room(void **array, uint32_t *have, uint32_t used, size_t size)
{
    if (used < *have)
        return true;
    uint32_t more = *have ? *have * 2 : 1024;
    void    *p = gq_realloc(*array, more, size);
    if (!p)
        return false;
    *array = p;
    *have = more;
    return true;
}

/* The item of a GIF name, made when new; NULL: no memory. */
static gq_item *item_of(gq_items *l, const char *name)
{
    uint32_t *number = gq_names_add(l->names, name);              /* of its item, + 1 */
    if (!number || !room((void **)&l->item, &l->item_room, l->items, sizeof *l->item))
        return NULL;
    if (!*number) {
        gq_item *it = &l->item[l->items];
        *it = (gq_item){0, no_row, no_row, 0};
        if (!gq_texts_put(&l->texts, name, &it->name))
            return NULL;
        *number = ++l->items;
    }
    return &l->item[*number - 1];
}

static bool put_choice(gq_items *l, const gq_row *row, gq_item_row *to)
{
    char *text;
    bool  good;

    to->choice = to->question;
    if (!row->description)
        return true;
    text = gq_clipcut_text(row->question, row->description);
    good = text && gq_texts_put(&l->texts, text, &to->choice);
    gq_free(text);
    return good;
}

static gq_status add_row(reader *r, const gq_row *row, int type, gq_error *err)
{
    gq_items    *l = r->list;
    gq_item     *it = item_of(l, row->gif);
    gq_item_row *to;
    if (!it || !room((void **)&l->row, &l->row_room, l->rows, sizeof *l->row) ||
        !gq_texts_put(&l->texts, row->question, &l->row[l->rows].question) ||
        !gq_texts_put(&l->texts, row->answer, &l->row[l->rows].answer))
        return gq_fail(err, GQ_ENOMEM, "%s: no memory for %u rows", r->o->table, l->rows + 1);
    if (!put_choice(l, row, &l->row[l->rows]))
        return gq_fail(err, GQ_ENOMEM, "%s: no memory for its descriptions", r->o->table);
    to = &l->row[l->rows];
    to->line = row->line;
    to->type = type;
    to->next = no_row;
    if (it->first == no_row)
        it->first = l->rows;
    else
        l->row[it->last].next = l->rows;
    it->last = l->rows++;
    it->rows++;
    return l->rows < max_rows
               ? GQ_OK
               : gq_fail(err, GQ_EINPUT, "%s: more than %u rows", r->o->table, max_rows);
}

static gq_status read_rows(reader *r, gq_table *t, gq_shard_meta *meta, gq_error *err)
{
    gq_row    row;
    gq_status s;
    while ((s = gq_table_next(t, &row, err)) == GQ_OK && row.gif) {
        int type = gq_shard_type_add(meta, *row.type ? row.type : "all");
        if (type < 0)
            s = bad_row(r, row.line, "more than 64 different types", err);
        else
            s = add_row(r, &row, type, err);
        if (s != GQ_OK)
            break;
    }
    return s;
}

gq_status gq_items_read(const gq_build_opts *o, gq_shard_meta *meta, gq_append *rejects,
                        gq_items *out, gq_error *err)
{
    reader    r = {.o = o, .rejects = rejects, .list = out};
    gq_table *t;
    memset(out, 0, sizeof *out);
    gq_status s = o->described ? gq_table_open_described(o->table, bad_row, &r, &t, err)
                               : gq_table_open(o->table, bad_row, &r, &t, err);
    if (s != GQ_OK)
        return s;
    if (!(out->names = gq_names_new())) {
        gq_table_close(t);
        return gq_fail(err, GQ_ENOMEM, "%s: no memory for its GIFs", o->table);
    }
    gq_table_hash(t, out->table_sha256);
    s = read_rows(&r, t, meta, err);
    gq_table_close(t);
    if (s == GQ_OK && !out->rows)
        s = gq_fail(err, GQ_EINPUT, "%s: has no usable row (%u bad ones%s%s)", o->table,
                    out->bad_rows, out->bad_rows ? "; the first, " : "", r.first);
    if (s != GQ_OK)
        gq_items_free(out);
    return s;
}

void gq_items_free(gq_items *l)
{
    gq_free(l->texts.base);
    gq_free(l->row);
    gq_free(l->item);
    gq_names_free(l->names);
    memset(l, 0, sizeof *l);
}
