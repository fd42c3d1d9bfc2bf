/* TGIF: sentences and the lists of its splits to one table of captions. */
#include <stdio.h>
#include <string.h>

#include "core/io.h"
#include "core/mem.h"
#include "data/import_private.h"

/* The number of a GIF's name: its split + 1, and what is known of it. */
enum { SPLIT = 7, IN_TEST = 8, COUNTED = 16 };

static const gq_table_column url_column[] = {{"url", NULL, GQ_TABLE_GIF, false}};
static const gq_table_column sentence_columns[] = {{"url", NULL, GQ_TABLE_GIF, false},
                                                   {"sentence", NULL, GQ_TABLE_QUESTION, false}};
static const gq_table_column name_column[] = {{"gif_name", "gif", GQ_TABLE_GIF, false}};
static const gq_table_form   list_form = {url_column, 1, true, true, true};
static const gq_table_form   captions_form = {sentence_columns, 2, true, true, true};
static const gq_table_form   tests_form = {name_column, 1, true, false, false};

typedef struct import {
    const gq_tgif_opts *o;
    gq_tgif_report     *r;
    gq_names           *gifs;
    gq_file            *out;
    uint32_t            sentences;
} import;

typedef struct place { const char *path; uint64_t line; } place;

static gq_status bad(place at, const char *reason, gq_error *err)
{
    return gq_import_bad_row((void *)(uintptr_t)at.path, at.line, reason, err);
}

/* The name of the GIF behind a URL: its last part without ".gif". */
static gq_status name_of(const char *url, place at, char name[GQ_TABLE_GIF + 1], gq_error *err)
{
    const char *last = strrchr(url, '/');
    size_t      n = strlen(url);
    if (!last || n - (size_t)(last + 1 - url) < sizeof ".gif" ||
        strcmp(url + n - 4, ".gif") != 0)
        return bad(at, "this is no URL of a GIF: it should end in /NAME.gif", err);
    snprintf(name, GQ_TABLE_GIF + 1, "%.*s", (int)(url + n - 4 - (last + 1)), last + 1);
    return GQ_OK;
}

/* ---- files ----------------------------------------------------------------------------------- */

typedef gq_status (*row_fn)(import *m, place at, const char *const *cell, int what, gq_error *err);

static gq_status each_row(import *m, const char *path, const gq_table_form *form, row_fn row,
                          int what, gq_error *err)
{
    const char *cell[2];
    place       at = {path, 0};
    gq_table   *t;
    bool        any = false;
    gq_status   s = gq_table_open_form(path, form, gq_import_bad_row, (void *)(uintptr_t)path, &t,
                                       err);
    while (s == GQ_OK && (s = gq_table_fields(t, &at.line, cell, err)) == GQ_OK && cell[0]) {
        s = row(m, at, cell, what, err);
        any = true;
    }
    gq_table_close(t);
    if (s == GQ_OK && !any)
        s = gq_fail(err, GQ_EINPUT, "%s: has no row", path);
    return s;
}

static gq_status test_row(import *m, place at, const char *const *cell, int what, gq_error *err)
{
    (void)at, (void)what;
    uint32_t *number = gq_import_name(m->gifs, cell[0], err);
    if (!number)
        return GQ_ENOMEM;
    m->r->tests += !(*number & IN_TEST);
    *number |= IN_TEST;
    return GQ_OK;
}

static gq_status list_row(import *m, place at, const char *const *cell, int split, gq_error *err)
{
    char      name[GQ_TABLE_GIF + 1], reason[128];
    uint32_t *number;
    gq_status s = name_of(cell[0], at, name, err);
    if (s != GQ_OK)
        return s;
    if (!(number = gq_import_name(m->gifs, name, err)))
        return GQ_ENOMEM;
    uint32_t other = *number & SPLIT;
    if (other && other != (uint32_t)split + 1) {
        snprintf(reason, sizeof reason, "this GIF is in the list of %s too",
                 gq_tgif_split_name((gq_tgif_split)(other - 1)));
        return bad(at, reason, err);
    }
    m->r->split[split].listed += !other;
    *number |= (uint32_t)split + 1;
    return GQ_OK;
}

static gq_status caption_row(import *m, place at, const char *const *cell, int what, gq_error *err)
{
    char      name[GQ_TABLE_GIF + 1];
    uint32_t *number;
    gq_status s = name_of(cell[0], at, name, err);
    (void)what;
    if (s != GQ_OK)
        return s;
    if (!(number = gq_import_name(m->gifs, name, err)))
        return GQ_ENOMEM;
    gq_tgif_split split = *number & SPLIT             ? (gq_tgif_split)((*number & SPLIT) - 1)
                          : m->o->list[GQ_TGIF_TRAIN] ? GQ_TGIF_UNLISTED
                                                      : GQ_TGIF_TRAIN;
    bool          drop = split == GQ_TGIF_UNLISTED || (split != GQ_TGIF_TEST && *number & IN_TEST);
    bool          first = !(*number & COUNTED);
    *number |= COUNTED;
    m->sentences++;
    m->r->split[split].sentences++;
    m->r->split[split].gifs += first;
    m->r->split[split].dropped += drop;
    m->r->split[split].dropped_gifs += drop && first;
    if (drop)
        return GQ_OK;
    const char *const row[] = {name, cell[1], gq_tgif_split_name(split), cell[0]};
    return gq_table_put(m->out, row, 4, err);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static gq_status check_whole(const import *m, gq_error *err)
{
    if (m->sentences != GQ_TGIF_SENTENCES)
        return gq_fail(err, GQ_EINPUT, "%s: %u sentences; the published file has %d",
                       m->o->captions, m->sentences, GQ_TGIF_SENTENCES);
    for (int s = 0; s < GQ_TGIF_UNLISTED; s++)
        if (m->o->list[s] && m->r->split[s].listed != gq_tgif_published[s])
            return gq_fail(err, GQ_EINPUT, "%s: %u GIFs; the published list has %u", m->o->list[s],
                           m->r->split[s].listed, gq_tgif_published[s]);
    return GQ_OK;
}

/* Without the list of train, what the others miss would become training. */
static gq_status check_lists(const import *m, gq_error *err)
{
    for (int s = GQ_TGIF_VAL; s <= GQ_TGIF_TEST && !m->o->list[GQ_TGIF_TRAIN]; s++)
        if (m->r->split[s].listed != gq_tgif_published[s])
            return gq_fail(err, GQ_EINPUT,
                           "there is no list of train, and that of %s has %u GIFs of %u: who is in "
                           "neither list cannot be told",
                           gq_tgif_split_name((gq_tgif_split)s), m->r->split[s].listed,
                           gq_tgif_published[s]);
    return GQ_OK;
}

static gq_status run(import *m, gq_error *err)
{
    static const char *const head[] = {"gif", "description", "split", "url"};
    const gq_tgif_opts      *o = m->o;
    gq_status                s = GQ_OK;
    for (size_t k = 0; s == GQ_OK && k < o->n_tests; k++)
        s = each_row(m, o->tests[k], &tests_form, test_row, 0, err);
    for (int k = 0; s == GQ_OK && k < GQ_TGIF_UNLISTED; k++)
        if (o->list[k])
            s = each_row(m, o->list[k], &list_form, list_row, k, err);
    if (s == GQ_OK)
        s = check_lists(m, err);
    if (s == GQ_OK)
        s = gq_atomic_open(o->out, &m->out, err);
    if (s == GQ_OK)
        s = gq_table_put(m->out, head, 4, err);
    if (s == GQ_OK)
        s = each_row(m, o->captions, &captions_form, caption_row, 0, err);
    return s == GQ_OK && o->whole ? check_whole(m, err) : s;
}

gq_status gq_import_tgif(const gq_tgif_opts *o, gq_tgif_report *report, gq_error *err)
{
    import m = {.o = o, .r = report, .gifs = gq_names_new()};
    memset(report, 0, sizeof *report);
    gq_status s = m.gifs ? run(&m, err)
                         : gq_fail(err, GQ_ENOMEM, "no memory for the names of GIFs");
    gq_names_free(m.gifs);
    if (s == GQ_OK)
        return gq_atomic_commit(m.out, err);
    gq_atomic_abort(m.out);
    return s;
}
