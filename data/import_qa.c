/* TGIF-QA: its twelve files to a table to train on and one to test with. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/io.h"
#include "core/mem.h"
#include "data/import_private.h"

typedef enum column {
    C_GIF, C_QUESTION, C_ANSWER, C_ID, C_KEY, C_CHOICE,
    C_SORT = C_CHOICE + GQ_IMPORT_CHOICES, C_DESCRIPTION, COLUMNS
} column;

static const gq_table_column columns[COLUMNS] = {
    {"gif_name", NULL, GQ_TABLE_GIF, false},  {"question", NULL, GQ_TABLE_QUESTION, false},
    {"answer", NULL, GQ_TABLE_ANSWER, false}, {"vid_id", NULL, 64, false},
    {"key", NULL, 64, false},                 {"a1", NULL, GQ_TABLE_ANSWER, true},
    {"a2", NULL, GQ_TABLE_ANSWER, true},      {"a3", NULL, GQ_TABLE_ANSWER, true},
    {"a4", NULL, GQ_TABLE_ANSWER, true},      {"a5", NULL, GQ_TABLE_ANSWER, true},
    {"type", NULL, GQ_TABLE_TYPE, true},      {"description", NULL, GQ_TABLE_QUESTION, true}};
static const gq_table_form form = {.columns = columns, .n = COLUMNS, .tabs = true};

/* What a row of a kind looks like. `top`: the largest number in `number`, which is the answer, the
 * index of the right choice, or the sort. */
static const struct {
    const char *id;                     /* begins vid_id                                          */
    column      number;
    long        top;
    column      first, last;            /* columns that others may lack and this kind has; of count
                                           none: key                                              */
} kinds[GQ_TGIFQA_KINDS] = {{"FRAMEQA", C_SORT, GQ_TGIFQA_FRAMES - 1, C_SORT, C_DESCRIPTION},
                            {"COUNT", C_ANSWER, 10, C_KEY, C_KEY},
                            {"ACTION", C_ANSWER, GQ_IMPORT_CHOICES - 1, C_CHOICE, C_SORT - 1},
                            {"TRANS", C_ANSWER, GQ_IMPORT_CHOICES - 1, C_CHOICE, C_SORT - 1}};

enum { TABLES = 2 };                    /* GQ_TGIFQA_TEST and GQ_TGIFQA_TRAIN                     */
static const char *const table_name[TABLES] = {"test.tsv", "train.tsv"};

typedef struct import {
    const gq_tgifqa_opts *o;
    gq_tgifqa_report     *r;
    gq_names             *gifs;         /* number: bit(kind, part) of the files that have it      */
    gq_names             *ids;          /* number: bits of the parts that have it                 */
    char                 *path[TABLES];
    gq_file              *out[TABLES];  /* NULL: nothing to write there                           */
} import;

typedef struct row {                    /* one row of a published file, texts in its buffer       */
    const char    *path;
    uint64_t       line;
    gq_tgifqa_kind kind;
    gq_tgifqa_part part;
    char          *cell[COLUMNS];       /* trimmed, not yet repaired                              */
    long           number;
} row;

static const long most = 999999999;

static uint32_t bit(int kind, int part)
{
    return 1u << (kind * GQ_TGIFQA_PARTS + part);
}

static bool in_a_test(uint32_t bits)
{
    uint32_t tests = 0;
    for (int k = 0; k < GQ_TGIFQA_KINDS; k++)
        tests |= bit(k, GQ_TGIFQA_TEST);
    return bits & tests;
}

static gq_status bad(const row *r, const char *reason, gq_error *err)
{
    return gq_import_bad_row((void *)(uintptr_t)r->path, r->line, reason, err);
}

/* ---- one row --------------------------------------------------------------------------------- */

/* A number of digits alone; -1: it is none, or above `top`. */
static long number_of(const char *text, long top)
{
    char *end;
    if (strspn(text, "0123456789") != strlen(text) || strlen(text) > 9)
        return -1;
    long n = strtol(text, &end, 10);
    return end != text && n <= top ? n : -1;
}

/* A vid_id is its kind and a number. */
static int kind_of(const char *id)
{
    for (int k = 0; k < GQ_TGIFQA_KINDS; k++) {
        size_t n = strlen(kinds[k].id);
        if (strncmp(id, kinds[k].id, n) == 0 && number_of(id + n, most) >= 0)
            return k;
    }
    return -1;
}

/* Kind and number of a row, and whether it has what its kind needs. `file`: the kind of the rows
 * before it, -1 at the first. */
static gq_status understand(row *r, int file, gq_error *err)
{
    char reason[160];
    int  kind = kind_of(r->cell[C_ID]);
    if (kind < 0)
        return bad(r, "vid_id is none of FRAMEQA, COUNT, ACTION, TRANS with a number", err);
    if (file >= 0 && kind != file)
        return bad(r, "another kind of question than in the row before", err);
    r->kind = (gq_tgifqa_kind)kind;
    if (number_of(r->cell[C_KEY], most) < 0)
        return bad(r, "key is no number", err);
    for (int c = kinds[kind].first; c <= (int)kinds[kind].last; c++)
        if (!*r->cell[c]) {
            snprintf(reason, sizeof reason, "%s is empty; %s has it", columns[c].name,
                     gq_tgifqa_kind_name(r->kind));
            return bad(r, reason, err);
        }
    r->number = number_of(r->cell[kinds[kind].number], kinds[kind].top);
    if (r->number < 0) {
        snprintf(reason, sizeof reason, "%s is no number from 0 to %ld",
                 columns[kinds[kind].number].name, kinds[kind].top);
        return bad(r, reason, err);
    }
    return GQ_OK;
}

static gq_status put_row(gq_file *f, const row *r, gq_error *err)
{
    bool        choices = kinds[r->kind].first == C_CHOICE, frames = r->kind == GQ_TGIFQA_FRAMEQA;
    char        choice[8] = "";
    const char *type = frames ? gq_tgifqa_frame_type((int)r->number) : gq_tgifqa_kind_name(r->kind);
    char *const *c = r->cell;
    if (choices)
        snprintf(choice, sizeof choice, "%ld", r->number);
    const char *const cell[] = {
        c[C_GIF], c[C_QUESTION], choices ? c[C_CHOICE + r->number] : c[C_ANSWER], type,
        choices ? c[C_CHOICE] : "", choices ? c[C_CHOICE + 1] : "", choices ? c[C_CHOICE + 2] : "",
        choices ? c[C_CHOICE + 3] : "", choices ? c[C_CHOICE + 4] : "", choice, c[C_ID], c[C_KEY],
        frames ? c[C_DESCRIPTION] : ""};
    return gq_table_put(f, cell, (int)(sizeof cell / sizeof *cell), err);
}

/* Counts the row and writes it, or not. */
static gq_status take_row(import *m, row *r, gq_error *err)
{
    gq_tgifqa_count *count = &m->r->count[r->kind][r->part];
    uint32_t        *gif = gq_import_name(m->gifs, r->cell[C_GIF], err);
    uint32_t        *id = gif ? gq_import_name(m->ids, r->cell[C_ID], err) : NULL;
    bool             repaired = false;
    if (!id)
        return GQ_ENOMEM;
    if (*id & 1u << r->part)
        return bad(r, "this vid_id is there twice", err);
    bool known = *id, overlap = r->part != GQ_TGIFQA_TEST &&
                                (in_a_test(*gif) || *id & 1u << GQ_TGIFQA_TEST);
    count->rows++;
    count->gifs += !(*gif & bit(r->kind, r->part));
    if (r->kind == GQ_TGIFQA_FRAMEQA)
        m->r->frame[r->part][r->number]++;
    *gif |= bit(r->kind, r->part);
    *id |= 1u << r->part;
    for (int c = 0; c < COLUMNS; c++)
        if (c != C_GIF && c != C_ID && c != C_KEY)
            repaired |= gq_tgif_repair(r->cell[c]);
    count->repaired += repaired;
    if (r->part == GQ_TGIFQA_TOTAL && known) {
        count->known++;
        return GQ_OK;
    }
    if (overlap) {
        count->overlap++;
        return GQ_OK;
    }
    count->written++;
    return put_row(m->out[r->part == GQ_TGIFQA_TEST ? GQ_TGIFQA_TEST : GQ_TGIFQA_TRAIN], r, err);
}

/* ---- files ----------------------------------------------------------------------------------- */

/* By the beginning of the file's name; -1: no such name. */
static int part_of(const char *path)
{
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    for (int p = 0; p < GQ_TGIFQA_PARTS; p++) {
        const char *part = gq_tgifqa_part_name((gq_tgifqa_part)p);
        if (strncasecmp(name, part, strlen(part)) == 0 && name[strlen(part)] == '_')
            return p;
    }
    return -1;
}

/* What a file must be before its rows are taken; called at its first row. */
static gq_status check_file(const import *m, const row *r, gq_error *err)
{
    const char *kind = gq_tgifqa_kind_name(r->kind), *part = gq_tgifqa_part_name(r->part);
    if (m->r->count[r->kind][r->part].rows)
        return gq_fail(err, GQ_EINPUT, "%s: there is another %s file of %s", r->path, part, kind);
    if (r->part == GQ_TGIFQA_TOTAL && !m->r->count[r->kind][GQ_TGIFQA_TEST].rows)
        return gq_fail(err, GQ_EINPUT,
                       "%s: the test questions are among these; name Test_%s_question.csv too, "
                       "which says which they are",
                       r->path, kind);
    return GQ_OK;
}

/* The repair writes into the reader's buffer, so each text is copied: *room holds a whole row. */
static gq_status copy_cells(row *r, const char *const *cell, char **room, size_t *size,
                            gq_error *err)
{
    size_t need = 0, at = 0;
    for (int c = 0; c < COLUMNS; c++)
        need += strlen(cell[c]) + 1;
    if (need > *size) {
        char *more = gq_realloc(*room, need, 1);
        if (!more)
            return gq_fail(err, GQ_ENOMEM, "%s: no memory for a row", r->path);
        *room = more;
        *size = need;
    }
    for (int c = 0; c < COLUMNS; c++) {
        r->cell[c] = *room + at;
        at += strlen(cell[c]) + 1;
        strcpy(r->cell[c], cell[c]);
    }
    return GQ_OK;
}

static gq_status read_file(import *m, const char *path, gq_tgifqa_part part, gq_error *err)
{
    row         r = {.path = path, .part = part};
    const char *cell[COLUMNS];
    gq_table   *t;
    char       *room = NULL;
    size_t      size = 0;
    int         kind = -1;
    gq_status   s = gq_table_open_form(path, &form, gq_import_bad_row, (void *)(uintptr_t)path, &t,
                                       err);
    while (s == GQ_OK && (s = gq_table_fields(t, &r.line, cell, err)) == GQ_OK && cell[0]) {
        s = copy_cells(&r, cell, &room, &size, err);
        if (s == GQ_OK)
            s = understand(&r, kind, err);
        if (s == GQ_OK && kind < 0)
            s = check_file(m, &r, err);
        if (s == GQ_OK)
            s = take_row(m, &r, err);
        kind = (int)r.kind;
    }
    gq_table_close(t);
    gq_free(room);
    if (s == GQ_OK && kind < 0)
        s = gq_fail(err, GQ_EINPUT, "%s: has no row", path);
    return s;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static gq_status check_whole(const import *m, gq_error *err)
{
    for (int k = 0; k < GQ_TGIFQA_KINDS; k++)
        for (int p = 0; p < GQ_TGIFQA_PARTS; p++) {
            uint32_t rows = m->r->count[k][p].rows, has = gq_tgifqa_published[k][p].has;
            if (rows && rows != has)
                return gq_fail(err, GQ_EINPUT, "%s file of %s: %u rows; the published one has %u",
                               gq_tgifqa_part_name((gq_tgifqa_part)p),
                               gq_tgifqa_kind_name((gq_tgifqa_kind)k), rows, has);
        }
    return GQ_OK;
}

/* Opens the tables that the files will fill, and refuses to leave an older one beside them. */
static gq_status open_tables(import *m, const bool *part, gq_error *err)
{
    static const char *const head[] = {"gif", "question", "answer", "type", "a1",
                                       "a2",  "a3",       "a4",     "a5",   "choice",
                                       "vid_id", "key", "description"};
    const bool               wanted[TABLES] = {part[GQ_TGIFQA_TEST],
                                               part[GQ_TGIFQA_TRAIN] || part[GQ_TGIFQA_TOTAL]};
    gq_status                s = gq_mkdirs(m->o->out, err);
    for (int k = 0; s == GQ_OK && k < TABLES; k++) {
        if (!(m->path[k] = gq_path(m->o->out, table_name[k])))
            return gq_fail(err, GQ_ENOMEM, "%s: no memory for a path", m->o->out);
        if (!wanted[k] && gq_is_file(m->path[k]))
            return gq_fail(err, GQ_EINPUT,
                           "%s: is there from another import; name its files too, or another "
                           "directory",
                           m->path[k]);
        if (wanted[k])
            s = gq_atomic_open(m->path[k], &m->out[k], err);
        if (wanted[k] && s == GQ_OK)
            s = gq_table_put(m->out[k], head, (int)(sizeof head / sizeof *head), err);
    }
    return s;
}

/* Test files first: they say what must not be trained on. Totals last: they add what is missing. */
static gq_status run(import *m, gq_error *err)
{
    bool      part[GQ_TGIFQA_PARTS] = {false};
    gq_status s = GQ_OK;
    for (size_t k = 0; k < m->o->n; k++) {
        int p = part_of(m->o->file[k]);
        if (p < 0)
            return gq_fail(err, GQ_EINPUT,
                           "%s: a file of TGIF-QA is called Train_, Test_ or "
                           "Total_..._question.csv",
                           m->o->file[k]);
        part[p] = true;
    }
    s = open_tables(m, part, err);
    for (int p = 0; p < GQ_TGIFQA_PARTS; p++)
        for (size_t k = 0; s == GQ_OK && k < m->o->n; k++)
            if (part_of(m->o->file[k]) == p)
                s = read_file(m, m->o->file[k], (gq_tgifqa_part)p, err);
    return s == GQ_OK && m->o->whole ? check_whole(m, err) : s;
}

gq_status gq_import_tgifqa(const gq_tgifqa_opts *o, gq_tgifqa_report *report, gq_error *err)
{
    import m = {.o = o, .r = report, .gifs = gq_names_new(), .ids = gq_names_new()};
    memset(report, 0, sizeof *report);
    gq_status s = m.gifs && m.ids ? run(&m, err)
                                  : gq_fail(err, GQ_ENOMEM, "no memory for the names of GIFs");
    for (int k = 0; k < TABLES; k++) {
        if (m.out[k] && s == GQ_OK)
            s = gq_atomic_commit(m.out[k], err);
        else
            gq_atomic_abort(m.out[k]);
        gq_free(m.path[k]);
    }
    gq_names_free(m.gifs);
    gq_names_free(m.ids);
    return s;
}
