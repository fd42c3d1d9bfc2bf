#include "data/table.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "core/io.h"
#include "core/json.h"
#include "core/mem.h"
#include "data/unicode.h"

enum { MAX_FIELDS = 256, REASON = 256 };
static const size_t max_file = 2u << 30;

typedef enum format { TSV, CSV, JSONL } format;
typedef enum column { C_GIF, C_QUESTION, C_ANSWER, C_TYPE, C_DESCRIPTION, COLUMNS } column;

static const gq_table_column question_columns[COLUMNS] = {
    {"gif", "gif_name", GQ_TABLE_GIF, false},
    {"question", NULL, GQ_TABLE_QUESTION, false},
    {"answer", NULL, GQ_TABLE_ANSWER, false},
    {"type", NULL, GQ_TABLE_TYPE, true},
    {"description", NULL, GQ_TABLE_QUESTION, false}};
static const gq_table_form questions = {.columns = question_columns, .n = C_DESCRIPTION},
                           described = {.columns = question_columns, .n = COLUMNS};

struct gq_table {
    char         *path;
    gq_table_form form;
    format        format;
    gq_bytes      bytes;
    size_t        at;                   /* next byte to read */
    uint64_t      line;                 /* its line, 1-based */
    int           fields;               /* in the header */
    int           column[GQ_TABLE_COLUMNS];      /* which field it is, -1: none */
    gq_bad_row_fn bad;
    void         *ctx;
    char         *buffer;               /* fields of the row, each with its NUL */
    size_t        room;
    char          empty[1];             /* stands for a column that is not there */
};

const char gq_table_example[] =
    "gif\tquestion\tanswer\ttype\n"
    "cat.gif\twhat is the cat licking?\tpaw\taction\n"
    "cat.gif\twhat color is the cat?\twhite\tcolor\n"
    "dog/run.gif\thow many dogs are there?\ttwo\tcount\n";

/* ---- lines and fields ------------------------------------------------------------------------ */

typedef struct field {
    char  *text;                        /* in the buffer; NUL at the end */
    size_t size;
} field;

/* Bytes up to the newline or the end, without CR; *next: where the following line begins. */
static size_t line_length(const gq_table *t, size_t at, size_t *next)
{
    const uint8_t *from = t->bytes.data + at;
    size_t         left = t->bytes.size - at;
    const uint8_t *newline = memchr(from, '\n', left);
    size_t         n = newline ? (size_t)(newline - from) : left;
    *next = at + n + (newline != NULL);
    return n && from[n - 1] == '\r' ? n - 1 : n;
}

static bool make_room(gq_table *t, size_t bytes)
{
    if (bytes <= t->room)
        return true;
    char *more = gq_realloc(t->buffer, bytes, 1);
    if (!more)
        return false;
    t->buffer = more;
    t->room = bytes;
    return true;
}

/* Length of the quoted field that starts at p, quotes counted; 0: its closing quote is missing
 * before `end`. */
static size_t quoted_length(const char *p, const char *end)
{
    const char *q = p + 1;
    while (q < end) {
        if (*q != '"')
            q++;
        else if (q + 1 < end && q[1] == '"')
            q += 2;
        else
            return (size_t)(q + 1 - p);
    }
    return 0;
}

static char *unquote(char *to, const char *from, size_t n)
{
    for (const char *p = from + 1; p < from + n - 1; p++) {
        *to++ = *p;
        p += *p == '"';
    }
    return to;
}

/* Cuts [p, end) at `separator` into fields; the row ends at `end`, or for CSV at the newline
 * after a closed quote. *stop: where it ended. Returns the number of fields, or -1 with a
 * reason. */
static int cut(const gq_table *t, const char *p, const char *end, field *f, const char **stop,
               const char **reason)
{
    char  separator = t->format == CSV ? ',' : '\t', *to = t->buffer;
    int   n = 0;
    for (;; p++) {
        if (n == MAX_FIELDS)
            return *reason = "more than 256 fields", -1;
        f[n].text = to;
        size_t quoted = p < end && *p == '"' && !t->form.plain ? quoted_length(p, end) : 0;
        if (p < end && *p == '"' && !quoted && t->format == CSV)
            return *reason = "a quote is not closed", -1;
        bool whole = quoted && (p + quoted == end || p[quoted] == separator || p[quoted] == '\n' ||
                                p[quoted] == '\r');
        if (quoted && !whole && t->format == CSV)
            return *reason = "text after a closing quote", -1;
        if (whole) {
            to = unquote(to, p, quoted);
            p += quoted;
        }
        while (p < end && *p != separator && *p != '\n')
            *to++ = *p++;
        if (p == end || *p == '\n')
            to -= to > f[n].text && to[-1] == '\r';
        f[n].size = (size_t)(to - f[n].text);
        *to++ = 0;
        n++;
        if (p == end || *p == '\n') {
            *stop = p;
            return n;
        }
    }
}

/* The next record of a TSV or CSV table: its fields, or -1 with a reason. Moves on behind it in
 * either case. */
static int next_fields(gq_table *t, field *f, const char **reason, bool *no_memory)
{
    const char *text = (const char *)t->bytes.data, *stop;
    size_t      next, n = line_length(t, t->at, &next);
    const char *from = text + t->at, *end = from + n;
    uint64_t    lines = 1;
    int         fields = -1;

    *no_memory = false;
    if (n > GQ_TABLE_LINE) {
        *reason = "longer than 1 MiB";
    } else {
        if (t->format == CSV) {                  /* a quoted field may run on over further lines */
            size_t left = (size_t)(text + t->bytes.size - from);
            end = from + (left < GQ_TABLE_LINE ? left : GQ_TABLE_LINE);
        }
        *no_memory = !make_room(t, (size_t)(end - from) + MAX_FIELDS + 1);
        fields = *no_memory ? -1 : cut(t, from, end, f, &stop, reason);
        if (fields > 0 && stop > text + next) {
            for (const char *p = from; p < stop; p++)
                lines += *p == '\n';
            next = (size_t)(stop - text) + (stop < text + t->bytes.size);
        }
    }
    t->at = next;
    t->line += lines;
    return fields;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static void trim(field *f)
{
    while (f->size && strchr(" \t\r\n", f->text[f->size - 1]))
        f->text[--f->size] = 0;
    while (f->size && strchr(" \t\r\n", f->text[0])) {
        f->text++;
        f->size--;
    }
}

/* NULL: the fields make a row. */
static const char *check(const gq_table *t, field *cell, char reason[REASON])
{
    for (int c = 0; c < t->form.n; c++) {
        const gq_table_column *is = &t->form.columns[c];
        field                 *f = &cell[c];
        if (memchr(f->text, 0, f->size) &&
            snprintf(reason, REASON, "%s has a NUL byte", is->name))
            return reason;
        trim(f);
        if (!f->size && !is->optional && snprintf(reason, REASON, "%s is empty", is->name))
            return reason;
        if (f->size > is->limit && snprintf(reason, REASON, "%s has %zu bytes, more than %zu",
                                            is->name, f->size, is->limit))
            return reason;
        if (!gq_utf8_valid(f->text, f->size) &&
            snprintf(reason, REASON, "%s is not UTF-8", is->name))
            return reason;
    }
    return NULL;
}

static gq_status delimited_row(gq_table *t, field *cell, const char **reason,
                               char text[REASON], gq_error *err)
{
    field f[MAX_FIELDS];
    bool  no_memory;
    int   n = next_fields(t, f, reason, &no_memory);
    if (no_memory)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory for a row", t->path);
    if (n < 0)
        return GQ_OK;
    if (n != t->fields) {
        snprintf(text, REASON, "%d fields, %s %d", n,
                 t->form.headless ? "there should be" : "the header has", t->fields);
        *reason = text;
        return GQ_OK;
    }
    for (int c = 0; c < t->form.n; c++)
        cell[c] = t->column[c] >= 0 ? f[t->column[c]] : (field){t->empty, 0};
    return GQ_OK;
}

static int column_of(const gq_table *t, const char *name)
{
    for (int c = 0; c < t->form.n; c++) {
        const gq_table_column *is = &t->form.columns[c];
        if (strcmp(name, is->name) == 0 || (is->also && strcmp(name, is->also) == 0))
            return c;
    }
    return -1;
}

/* One object of strings; other keys are skipped. */
static gq_status object_row(gq_table *t, field *cell, const char **reason,
                            char text[REASON], gq_error *err)
{
    size_t      next, n = line_length(t, t->at, &next), each = GQ_TABLE_QUESTION + 64;
    const char *from = (const char *)t->bytes.data + t->at;
    char        key[64];
    gq_error    why = {0};
    gq_json     j;

    t->at = next;
    t->line++;
    if (n > GQ_TABLE_LINE)
        return *reason = "longer than 1 MiB", GQ_OK;
    if (!make_room(t, (size_t)t->form.n * each))
        return gq_fail(err, GQ_ENOMEM, "%s: no memory for a row", t->path);
    for (int c = 0; c < t->form.n; c++)
        cell[c] = (field){NULL, 0};
    gq_json_begin(&j, "row", from, n, GQ_EINPUT, &why);
    gq_json_object(&j);
    while (gq_json_key(&j, key, sizeof key)) {
        int c = column_of(t, key);
        if (c < 0) {
            gq_json_skip(&j);
        } else if (cell[c].text) {
            gq_json_fail(&j, "'%s' is there twice", key);
        } else {
            cell[c].text = t->buffer + (size_t)c * each;
            gq_json_string(&j, cell[c].text, each);
        }
    }
    if (gq_json_end(&j) != GQ_OK) {
        snprintf(text, REASON, "%.*s", REASON - 1, why.text);
        *reason = text;
    }
    for (int c = 0; c < t->form.n && !*reason; c++) {
        if (!cell[c].text) {
            cell[c].text = t->buffer + (size_t)c * each;
            cell[c].text[0] = 0;
        }
        cell[c].size = strlen(cell[c].text);
    }
    return GQ_OK;
}

static bool blank_line(const gq_table *t, size_t *next)
{
    size_t n = line_length(t, t->at, next);
    for (size_t k = 0; k < n; k++)
        if (!strchr(" \t\r", t->bytes.data[t->at + k]) || !t->bytes.data[t->at + k])
            return false;
    return true;
}

gq_status gq_table_fields(gq_table *t, uint64_t *line, const char **cell, gq_error *err)
{
    field  f[GQ_TABLE_COLUMNS];
    char   text[REASON];
    size_t next;
    while (t->at < t->bytes.size) {
        const char *reason = NULL;
        *line = t->line;
        if (blank_line(t, &next)) {
            t->at = next;
            t->line++;
            continue;
        }
        gq_status s = t->format == JSONL ? object_row(t, f, &reason, text, err)
                                         : delimited_row(t, f, &reason, text, err);
        if (s != GQ_OK)
            return s;
        if (!reason)
            reason = check(t, f, text);
        for (int c = 0; c < t->form.n && !reason; c++)
            cell[c] = f[c].text;
        if (!reason)
            return GQ_OK;
        if (t->bad && (s = t->bad(t->ctx, *line, reason, err)) != GQ_OK)
            return s;
    }
    *line = t->line;
    cell[0] = NULL;
    return GQ_OK;
}

gq_status gq_table_next(gq_table *t, gq_row *row, gq_error *err)
{
    const char *cell[COLUMNS] = {NULL};
    uint64_t    line = 0;
    gq_status   s = gq_table_fields(t, &line, cell, err);
    *row = (gq_row){.line = line};
    if (s == GQ_OK && cell[C_GIF])
        *row = (gq_row){line,           cell[C_GIF],  cell[C_QUESTION],
                        cell[C_ANSWER], cell[C_TYPE], cell[C_DESCRIPTION]};
    return s;
}

/* ---- opening --------------------------------------------------------------------------------- */

static bool ends_in(const char *path, size_t n, const char *ending)
{
    size_t m = strlen(ending);
    return n >= m && strncasecmp(path + n - m, ending, m) == 0;
}

static gq_status find_format(gq_table *t, gq_error *err)
{
    static const struct { const char *ending; format format; } known[] = {
        {".tsv", TSV}, {".txt", TSV}, {".csv", CSV}, {".jsonl", JSONL}, {".ndjson", JSONL}};
    size_t n = strlen(t->path);
    t->format = TSV;
    if (t->form.tabs)
        return GQ_OK;
    if (ends_in(t->path, n, ".gz"))
        n -= 3;
    for (size_t k = 0; k < sizeof known / sizeof *known; k++)
        if (ends_in(t->path, n, known[k].ending)) {
            t->format = known[k].format;
            return GQ_OK;
        }
    return gq_fail(err, GQ_EINPUT, "%s: a table ends in .tsv, .csv or .jsonl (perhaps with .gz)",
                   t->path);
}

/* Ends the message on a header that lacks a column: the name alone says what separates fields. */
static const char *named_wrongly(const gq_table *t, int fields, const field *only)
{
    if (fields != 1)
        return "";
    if (t->form.tabs)
        return "";
    if (t->format == TSV && strchr(only->text, ','))
        return "; this one has commas: such a table is named .csv";
    if (t->format == CSV && strchr(only->text, '\t'))
        return "; this one has tabs: such a table is named .tsv";
    return "";
}

/* "gif, question, answer and perhaps type" */
static void list_columns(const gq_table *t, char out[REASON])
{
    size_t at = 0;
    for (int perhaps = 0; perhaps < 2; perhaps++)
        for (int c = 0, before = 0; c < t->form.n; c++)
            if (t->form.columns[c].optional == (perhaps != 0) && at < REASON)
                at += (size_t)snprintf(out + at, REASON - at, "%s%s",
                                       before++  ? ", "
                                       : perhaps ? " and perhaps "
                                                 : "",
                                       t->form.columns[c].name);
}

/* Which column each field is; t->column is -1 everywhere. */
static gq_status name_fields(gq_table *t, field *f, int n, gq_error *err)
{
    char list[REASON] = "";
    for (int k = 0; k < n; k++) {
        trim(&f[k]);
        int c = column_of(t, f[k].text + (k == 0 && f[k].text[0] == '#')); /* some write "#gif" */
        if (c >= 0 && t->column[c] >= 0)
            return gq_fail(err, GQ_EINPUT, "%s:1: the header has the column '%s' twice", t->path,
                           t->form.columns[c].name);
        if (c >= 0)
            t->column[c] = k;
    }
    for (int c = 0; c < t->form.n; c++)
        if (t->column[c] < 0 && !t->form.columns[c].optional) {
            list_columns(t, list);
            return gq_fail(
                err, GQ_EINPUT,
                "%s:1: the header has no column '%s'; it should be %s, separated by %s%s", t->path,
                t->form.columns[c].name, list, t->format == CSV ? "commas" : "tabs",
                named_wrongly(t, n, f));
        }
    return GQ_OK;
}

static gq_status read_header(gq_table *t, gq_error *err)
{
    field       f[MAX_FIELDS];
    const char *reason = NULL;
    bool        no_memory = false;
    int         n = 0;
    t->fields = t->form.n;
    for (int c = 0; c < t->form.n; c++)
        t->column[c] = t->form.headless ? c : -1;
    if (t->form.headless)
        return GQ_OK;
    if (t->at < t->bytes.size)
        n = next_fields(t, f, &reason, &no_memory);
    if (no_memory)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory for a row", t->path);
    if (n < 0)
        return gq_fail(err, GQ_EINPUT, "%s:1: the header cannot be read: %s", t->path, reason);
    t->fields = n;
    return name_fields(t, f, n, err);
}

static gq_status skip_mark(gq_table *t, gq_error *err)
{
    const uint8_t *d = t->bytes.data;
    size_t         n = t->bytes.size;
    if (n >= 2 && ((d[0] == 0xFF && d[1] == 0xFE) || (d[0] == 0xFE && d[1] == 0xFF)))
        return gq_fail(err, GQ_EINPUT, "%s: is UTF-16; save it as UTF-8", t->path);
    t->at = n >= 3 && memcmp(d, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    t->line = 1;
    return GQ_OK;
}

gq_status gq_table_open_form(const char *path, const gq_table_form *form, gq_bad_row_fn bad,
                             void *ctx, gq_table **out, gq_error *err)
{
    gq_table *t = gq_calloc(1, sizeof *t);
    *out = NULL;
    if (!t || !(t->path = gq_strdup(path))) {
        gq_free(t);
        return gq_fail(err, GQ_ENOMEM, "%s: no memory to read it", path);
    }
    t->form = *form;
    t->bad = bad;
    t->ctx = ctx;
    gq_status s = find_format(t, err);
    if (s == GQ_OK)
        s = gq_read_gz(path, max_file, &t->bytes, err);
    if (s == GQ_OK)
        s = skip_mark(t, err);
    if (s == GQ_OK && t->format != JSONL)
        s = read_header(t, err);
    if (s != GQ_OK) {
        gq_table_close(t);
        return s;
    }
    *out = t;
    return GQ_OK;
}

gq_status gq_table_open(const char *path, gq_bad_row_fn bad, void *ctx, gq_table **out,
                        gq_error *err)
{
    return gq_table_open_form(path, &questions, bad, ctx, out, err);
}

gq_status gq_table_open_described(const char *path, gq_bad_row_fn bad, void *ctx, gq_table **out,
                                  gq_error *err)
{
    return gq_table_open_form(path, &described, bad, ctx, out, err);
}

void gq_table_close(gq_table *t)
{
    if (!t)
        return;
    gq_bytes_free(&t->bytes);
    gq_free(t->buffer);
    gq_free(t->path);
    gq_free(t);
}

void gq_table_hash(const gq_table *t, uint8_t out[32])
{
    gq_sha256(t->bytes.data, t->bytes.size, out);
}

/* ---- writing --------------------------------------------------------------------------------- */

/* In quotes when it would be read as something else without. */
static gq_status put_field(gq_file *f, const char *text, gq_error *err)
{
    gq_status s;
    if (strchr(text, '\n'))
        return gq_fail(err, GQ_EINPUT, "a text of two lines does not fit a row of a TSV table");
    if (*text != '"' && !strchr(text, '\t'))
        return gq_file_write(f, text, strlen(text), err);
    s = gq_file_write(f, "\"", 1, err);
    for (; s == GQ_OK && *text; text++)
        s = *text == '"' ? gq_file_write(f, "\"\"", 2, err) : gq_file_write(f, text, 1, err);
    return s == GQ_OK ? gq_file_write(f, "\"", 1, err) : s;
}

gq_status gq_table_put(gq_file *f, const char *const *cell, int n, gq_error *err)
{
    gq_status s = GQ_OK;
    for (int c = 0; s == GQ_OK && c < n; c++) {
        s = put_field(f, cell[c], err);
        if (s == GQ_OK)
            s = gq_file_write(f, c + 1 < n ? "\t" : "\n", 1, err);
    }
    return s;
}
